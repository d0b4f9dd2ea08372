/*
 * Where things go that must not be lost: the container's side of a conflict, and what was deleted on the host. Below
 * the directory given to the receiver: conflicts/<batch>/<path> and trash/<batch>/<path>, one batch for an exchange,
 * named by time; folders are 0700. The trash is bounded: at the end the oldest batches go until the rest fits.
 */
#ifndef ATP_SYNC_KEEP_H
#define ATP_SYNC_KEEP_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct keep;
struct stat;

enum keep_kind { KEEP_CONFLICTS, KEEP_TRASH };

struct keep *keep_new(int dirfd); /* borrowed; -1: nothing can be kept */
void keep_free(struct keep *k);
bool keep_possible(const struct keep *k);

/*
 * The directory for path in this exchange's batch, made if need be; owned by caller. *ret_name is the name in it to use
 * (path "": "file"). -1 and errno.
 */
int keep_dir(struct keep *k, enum keep_kind kind, const char *path, const char **ret_name);
/* Moves a file, link or whole directory there, by renaming or else by copying. -1 and errno: then it is where it was.
 */
int keep_move(struct keep *k, enum keep_kind kind, const char *path, int from, const char *from_name);
/* Where path is kept, for messages; owned by caller. */
char *keep_where(struct keep *k, enum keep_kind kind, const char *path);
/* Makes the trash fit into max bytes. */
void keep_prune_trash(struct keep *k, uint64_t max);

#endif
