/* The place of a mount in the container: made if need be, held by a descriptor, never inside our own directory. */
#ifndef ATP_AGENT_TARGET_H
#define ATP_AGENT_TARGET_H

#include <stdbool.h>

struct err;

struct target {
    int dirfd;  /* the directory, or for a file the directory that holds it; -1 when empty */
    char *file; /* NULL for a directory; owned */
};
void target_clear(struct target *t);

/* path: absolute. Missing directories are made (0755, as root), a missing file is not. Links in path are the
 * container's own and are followed. */
int target_open(const char *path, bool is_file, const char *run_dir, struct target *ret, struct err *err);

#endif
