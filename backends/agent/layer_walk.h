/*
 * The container's whole root as an image holds it, file by file, in the order of tree_path_compare(): without what is
 * ours, what is mounted (file systems of the machine, volumes), and the files that the platform writes into every
 * container. No link is followed, no other file system entered.
 */
#ifndef ATP_AGENT_LAYER_WALK_H
#define ATP_AGENT_LAYER_WALK_H

#include "translate/tree/look.h"

#include <sys/stat.h>

struct err;
struct layer_walk;

struct layer_walk *layer_walk_new(struct err *err);
void layer_walk_free(struct layer_walk *w); /* NULL is fine */

/* 1 and the next one (strings are valid until the next call), 0 at the end, -1. */
int layer_walk_next(struct layer_walk *w, struct tree_look *ret, struct err *err);
/* Of the last one. */
const struct stat *layer_walk_stat(const struct layer_walk *w);
/* Opens the last one, a regular file, for reading; -1 and errno. */
int layer_walk_open(const struct layer_walk *w, struct stat *ret);

/* Digest of its contents, never 0: 0, -1 with err. */
int layer_walk_digest(const struct layer_walk *w, uint64_t *ret, struct err *err);

/* Calls each() with the extended attributes of a path below the root that belong into an image, sorted by name. */
typedef int layer_xattr_fn(void *arg, const char *name, const void *value, size_t len, struct err *err);
int layer_xattrs(const char *path, layer_xattr_fn *each, void *arg, struct err *err);

#endif
