/*
 * Merging layer tars: applies whiteouts (.wh.name) and opaque markers (.wh..wh..opq), so that one tar holds what the
 * layers laid over one another show.
 */
#ifndef ATP_REGISTRY_FLATTEN_H
#define ATP_REGISTRY_FLATTEN_H

#include <stdbool.h>

struct err;
struct strlist;

/* Whether any of the layers (paths of tars, plain or compressed) takes something away. */
int flatten_needed(const struct strlist *layers, bool *ret, struct err *err);

/* Writes the merged tar of the layers, bottom first, to fd. */
int flatten_layers(const struct strlist *layers, int fd, struct err *err);

#endif
