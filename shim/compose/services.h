/*
 * The services of a project as those who carry it out need them: chosen, counted, with what each depends on.
 */
#ifndef ATP_SHIM_COMPOSE_SERVICES_H
#define ATP_SHIM_COMPOSE_SERVICES_H

#include "shim/compose/compose.h"

#include <stddef.h>
#include <stdint.h>

#define SERVICE_NONE SIZE_MAX

enum service_condition {
    CONDITION_STARTED,
    CONDITION_HEALTHY,
    CONDITION_COMPLETED,
    CONDITION_RUNNING_OR_HEALTHY /* what --wait asks of each */
};

struct dependency {
    const char *name;
    size_t on; /* in the list; SERVICE_NONE: it is not among those that were chosen */
    enum service_condition condition;
    bool required, restart;
};

struct service {
    const char *name; /* these two are the model's */
    const struct cnode *node;
    char *image;       /* its own, else project-service */
    char *hash;        /* compose_hash() */
    char *image_id;    /* sha256:...; NULL: not looked up */
    const char *title; /* container_name; NULL: project-service-number */
    int64_t scale;
    bool oneoff; /* `run` makes a container of its own: the others are left as they are */
    bool asked;  /* on the command line, or all are */
    struct dependency *depends;
    size_t depends_len;
    struct strlist networks; /* ids of those that its containers are in: make.c */
};

struct services {
    struct service *items; /* in the order of the model, which is by name */
    size_t len;
};

#define SERVICES_INIT                                                                                                  \
    {                                                                                                                  \
        NULL, 0                                                                                                        \
    }

/*
 * chosen: the words of the command line, empty: all. deps: what they depend on comes along. "no such service: x".
 * Strings live as long as the project.
 */
int services_read(struct app *app, const struct compose_project *p, const struct strlist *chosen, bool deps,
                  struct services *ret, struct err *err);
void services_clear(struct services *s);
struct service *services_find(const struct services *s, const char *name); /* NULL */

/* --scale SERVICE=NUMBER, each. */
int services_scale(struct services *s, const struct strlist *words, struct err *err);

/* "p-web-1", or its own name; owned by caller. */
char *service_container_name(struct app *app, const struct compose_project *p, const struct service *s, int number);

#endif
