/* Waiting until a container is as far as `depends_on` or --wait wants it. A job (jobs.h). */
#ifndef ATP_SHIM_COMPOSE_CONDITION_H
#define ATP_SHIM_COMPOSE_CONDITION_H

#include "shim/compose/services.h"

struct app;
struct err;

struct condition {
    const char *id;      /* the container */
    const char *service; /* for texts */
    enum service_condition kind;
};

/* arg: a struct condition. Errors are complete lines of docker compose's. */
int condition_wait(struct app *app, void *arg, char **ret_text, struct err *err);

#endif
