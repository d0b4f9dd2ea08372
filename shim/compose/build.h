/* The images of services, built as `docker build` builds them, one after the other. */
#ifndef ATP_SHIM_COMPOSE_BUILD_H
#define ATP_SHIM_COMPOSE_BUILD_H

#include "shim/compose/team.h"

struct build_how {
    bool quiet, no_cache, pull, push;
    const struct strlist *args; /* K=V or K, of the command line; NULL: none */
    const struct strlist *more; /* options of `docker build` as they are; NULL: none */
};

/* Those that have no `build` are left out. Builds that one is a context of come first. */
int build_services(struct team *w, const struct strlist *names, const struct build_how *how, struct err *err);

#endif
