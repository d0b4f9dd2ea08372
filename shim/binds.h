/*
 * The host side of a container's bind mounts: sources checked, made where -v makes them, and held open, so that a path
 * that changes its meaning while a command runs cannot redirect what is pulled.
 */
#ifndef ATP_SHIM_BINDS_H
#define ATP_SHIM_BINDS_H

#include "backends/session/session.h"

#include <stddef.h>

struct container_spec;
struct err;

struct binds {
    struct session_mount *mounts; /* what a session is given; labels, targets and lists are borrowed from the spec */
    size_t len;
    char **files; /* names of single-file mounts, owned; NULL for directories */
    int keep_fd;  /* folder for conflict copies and trash, -1 = none needed */
};

#define BINDS_INIT                                                                                                     \
    {                                                                                                                  \
        NULL, 0, NULL, -1                                                                                              \
    }

/* 125 with Docker's text for a source that is not there, or one that cannot be synchronised. */
int binds_open(const struct container_spec *spec, struct binds *ret, struct err *err);
void binds_clear(struct binds *b);

#endif
