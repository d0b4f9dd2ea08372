/*
 * Which back end carries a command out, and why. Pure: the caller gathers the facts.
 */
#ifndef ATP_TRANSLATE_PLAN_H
#define ATP_TRANSLATE_PLAN_H

#include <stdbool.h>

struct err;

enum backend { BACKEND_AUTO, BACKEND_MODAL, BACKEND_LOCAL, BACKEND_DOCKER, BACKEND_MAX };

struct route_facts {                 /* strings are borrowed; NULL = not so */
    enum backend setting;            /* what was asked for */
    const char *setting_from;        /* "ATP_DOCKER_BACKEND", "config.yaml:3"; NULL = nobody said */
    const char *docker_host;         /* DOCKER_HOST, -H or --context that names a real daemon */
    const char *docker_host_from;    /* "DOCKER_HOST", "-H", "--context" */
    const char *credentials_from;    /* where Modal credentials were found (credentials.source) */
    const char *credentials_missing; /* why there are none, one clause */
    bool docker_program;             /* a real docker is on the PATH or named by ATP_DOCKER_REAL */
    bool docker_answers;             /* ... and its daemon answers */
};

struct route {
    enum backend backend; /* never BACKEND_AUTO */
    char *why;            /* one sentence without a full stop; owned */
};

void route_clear(struct route *r);

/* "modal", "local", "docker", "auto"; others are an error that lists them. from names the setting in the message. */
int backend_parse(const char *word, const char *from, enum backend *ret, struct err *err);
const char *backend_name(enum backend b);

/* True when the answer depends on docker_answers: asking a daemon costs time, so the caller asks only then. */
bool route_needs_docker(const struct route_facts *f);

/* Decides. An explicit back end that cannot be had is an error that says what is missing; auto always finds one. */
int route_decide(const struct route_facts *f, struct route *ret, struct err *err);

#endif
