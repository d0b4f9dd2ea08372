/*
 * Copying by descriptors: for moves between file systems, and for writing into a file that must keep its inode.
 */
#ifndef ATP_SYNC_COPY_H
#define ATP_SYNC_COPY_H

#include <stdint.h>

/* Copies the content of `from`, holes as holes, over that of `to`, and cuts `to` to the same size. -1 and errno. */
int copy_content(int from, int to);
/* Copies a file with mode, owner (as far as allowed) and time; `name` appears complete or not at all. -1 and errno. */
int copy_file(int from, const char *from_name, int to, const char *to_name);
/* A file, link or directory with everything in it; special files are left out. -1 and errno: nothing is left at
 * `to_name`. */
int copy_tree(int from, const char *from_name, int to, const char *to_name);

#endif
