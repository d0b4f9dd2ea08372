/*
 * A table from paths to what the layers said about them; for merging layers.
 */
#ifndef ATP_REGISTRY_PATH_MAP_H
#define ATP_REGISTRY_PATH_MAP_H

#include <stdbool.h>
#include <stddef.h>

struct path_map;

struct path_facts {  /* numbers of layers, counted from 1; 0 = none. Of several, the topmost. */
    unsigned hides;  /* nothing of a lower layer is seen at the path or below it */
    unsigned opaque; /* nothing of a lower layer is seen below the path */
    unsigned dir;    /* it is a directory there */
    char *name;      /* owned: another name for the path (see flatten.c) */
};

struct path_map *path_map_new(size_t max); /* at most max paths */
void path_map_free(struct path_map *m);
/* The facts about a path, made when there are none yet; valid until the next call. NULL: the table is full. */
struct path_facts *path_map_put(struct path_map *m, const char *path, size_t len);
const struct path_facts *path_map_get(const struct path_map *m, const char *path, size_t len); /* NULL = none */

#endif
