/*
 * This machine's side of a copy: the paths of the command line, looked at as docker's client does. These paths are the
 * user's own and trusted; what comes from the container is not, and goes through backends/tree.
 */
#ifndef ATP_SHIM_COPY_HOST_H
#define ATP_SHIM_COPY_HOST_H

#include <stdbool.h>

struct err;
struct tree_dest;
struct tree_entry;
struct tree_head;
struct tree_reader;

/* Absolute and clean, but "/" and "/." at the end stay; owned by caller. */
char *host_path(const char *cwd, const char *given);

/* Before anything is asked: -1 with "invalid output path..." if nothing could be written there. */
int host_check_dest(const char *path, struct err *err);
/* tree_place_fn; arg is the path as host_path() made it. */
int host_place(void *arg, const struct tree_head *head, const struct tree_entry *root, struct tree_dest *ret,
               struct err *err);

/* What is to be copied, opened. */
struct host_source {
    int dir;
    char *real, *name, *base; /* owned */
    struct tree_reader *reader;
};
void host_source_clear(struct host_source *s);
int host_source_open(const char *path, bool follow, struct host_source *ret, struct err *err);

#endif
