/*
 * Paths as text: nothing here looks at the disk, so symlinks and ".." mean what they say, as in Go's path.Clean.
 */
#ifndef ATP_BASE_PATHS_H
#define ATP_BASE_PATHS_H

#include <stdbool.h>

char *path_clean(const char *path);                     /* "/a//b/../c/" -> "/a/c"; "" -> "."; owned by caller */
char *path_absolute(const char *cwd, const char *path); /* path below cwd unless absolute, clean; owned by caller */
bool path_within(const char *path, const char *parent); /* equal or below; both clean and absolute */
unsigned path_depth(const char *path);                  /* number of components of a clean absolute path */

#endif
