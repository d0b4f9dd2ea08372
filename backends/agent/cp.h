/*
 * The container's side of `docker cp`, in a session's process and as root of the container: paths found as Docker finds
 * them, trees read and laid out (backends/tree). What only shows the machine (/proc, /sys, /dev) and what is ours
 * (/.atp) is not there for it.
 */
#ifndef ATP_AGENT_CP_H
#define ATP_AGENT_CP_H

#include <stdbool.h>
#include <sys/stat.h>

struct err;

/*
 * The path with all links followed, the last one too if asked; absolute and clean, owned by caller. What does not exist
 * is taken as it is written. NULL: too many links.
 */
char *cp_resolve(const char *path, bool last, struct err *err);

/* Not for cp: hidden, or below a directory that shows the machine. path is as cp_resolve() made it. */
bool cp_hidden(const char *path);
/* A directory that is shown, without what is in it. */
bool cp_closed(const char *path);

/* lstat of a path that cp_resolve() made; what is hidden is ENOENT. -1 and errno. */
int cp_stat(const char *path, struct stat *ret);
/* The directory at such a path, no link being followed any more. -1 and errno. */
int cp_open_dir(const char *path);

#endif
