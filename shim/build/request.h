/*
 * What a line of `docker build` asks for, checked. Nothing is read but the files that secrets come from, and nothing is
 * asked of a server.
 */
#ifndef ATP_SHIM_BUILD_REQUEST_H
#define ATP_SHIM_BUILD_REQUEST_H

#include "compat/base/strlist.h"
#include "shim/build/board.h"

#include <stdbool.h>

struct app;
struct err;
struct opt_parsed;

enum build_output {
    BUILD_OUTPUT_IMAGE,  /* here, and on the server */
    BUILD_OUTPUT_DOCKER, /* the same, and as an archive of `docker save` in dest */
    BUILD_OUTPUT_TAR,    /* the files alone, as a tar */
    BUILD_OUTPUT_LOCAL,  /* the files alone, in a directory */
    BUILD_OUTPUT_NONE    /* built, and kept by the server alone */
};

struct build_request {
    const char *context, *file, *target, *iidfile, *metadata_file; /* borrowed; NULL or "" = not said */
    struct strlist build_args;                                     /* K=V, or K when nobody knows its value */
    struct strlist tags;                                           /* normalised */
    struct strlist labels;                                         /* K=V */
    struct strlist add_hosts;                                      /* host:ip */
    struct strlist contexts;                                       /* name=value */
    struct strlist secrets; /* ATP_SECRET_<id in hex>=<base64>: wiped by build_request_clear() */
    struct strlist secret_ids;
    bool no_cache, pull, quiet, push, no_network, classic, caches;
    bool host_network; /* RUN --network=host is allowed: a Dockerfile alone cannot have the builder's own network */
    enum build_output output;
    char *dest; /* DOCKER, TAR, LOCAL: a path, "-" is stdout */
    enum board_look look;
    bool foreign_platform; /* somebody else's: what is asked for is not linux/amd64 */
    char *platform;        /* the foreign one */
};

int build_request_read(struct app *app, const struct opt_parsed *opts, struct build_request *ret, struct err *err);
void build_request_clear(struct build_request *r);

#endif
