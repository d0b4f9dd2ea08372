/*
 * The directories that a receiver works in. Holds the last used one open (contents come in path order), and remembers
 * of each directory that is written to how it looked before, so that the end can give it back the time and the mode
 * that our own work changed.
 */
#ifndef ATP_SYNC_DIRS_H
#define ATP_SYNC_DIRS_H

#include "translate/sync/merge.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dirs;

struct dirs *dirs_new(int root); /* root is borrowed */
void dirs_free(struct dirs *d);  /* gives modes that were opened for writing back */

/* The directory that holds path, borrowed until the next call; *ret_name points into path. -1 and errno. */
int dirs_parent(struct dirs *d, const char *path, const char **ret_name);
/* The same for writing into it: its look is remembered first, and its owner gets the right to write if that lacks. */
int dirs_parent_rw(struct dirs *d, const char *path, const char **ret_name);
/* Call when a directory at or above the held one was removed or replaced. */
void dirs_forget(struct dirs *d);

/* Sets what a directory shall look like in the end, in place of how it looked before. */
void dirs_set(struct dirs *d, const char *path, const struct merge_meta *meta);
/* A directory that is gone. */
void dirs_drop(struct dirs *d, const char *path);

/*
 * Gives all remembered directories their looks, the deepest first. owners: also uid and gid. A directory that is gone
 * or not ours to change is passed over; returns how many were.
 */
size_t dirs_restore(struct dirs *d, bool owners);

#endif
