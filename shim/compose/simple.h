/* Verbs that do one docker command to containers of a project: stop, start, kill, pause... */
#ifndef ATP_SHIM_COMPOSE_SIMPLE_H
#define ATP_SHIM_COMPOSE_SIMPLE_H

#include "shim/compose/team.h"

struct simple {
    const char *path;         /* the docker command */
    const char *doing, *done; /* what is shown */
    const char *failed;       /* and for a failure; NULL: the error */
    struct strlist options;   /* in front of the container's id */
    unsigned step_flags;
    bool (*takes)(const struct member *m); /* NULL: all that are listed */
    unsigned members;                      /* MEMBERS_* */
    bool orphans;                          /* those of services that the file no longer has, or its profiles, too */
    const char *none;                      /* said when there is nothing to do it to; NULL: nothing is */
    bool wants_some;                       /* without a file it is an error that the project has no containers */
};

/* services: the words of the line. Without a file all of the project's containers are meant. 0 or -1. */
int simple_run(struct app *app, const struct strlist *services, struct simple *what, struct err *err);

#endif
