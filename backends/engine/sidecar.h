/*
 * Sidecars: further containers of a running sandbox (protocol 5.12). A sidecar is STARTING, then RUNNING, then ENDED,
 * as a sandbox is, and ends with its sandbox at the latest. Of one that has ended a record stays while the sandbox's
 * does, of the last thousand; its name is free again. Its files go at once, its execs a second later.
 */
#ifndef ATP_ENGINE_SIDECAR_H
#define ATP_ENGINE_SIDECAR_H

#include "backends/engine/plan.h"
#include "backends/engine/sandbox.h"

#include <stdbool.h>

struct err;
struct rt_sandbox;
struct timer;
struct waiter;

#define SIDECARS_MAX 250 /* of one sandbox at a time: the platform's limit */

struct sidecar {
    struct sandbox *sandbox;
    struct sidecar *next; /* older ones */
    char *id, *name;
    struct plan plan;
    enum sandbox_state state;
    bool ending; /* it is being killed */
    int status;  /* GENERIC_STATUS_* once ENDED */
    int exit_code;
    char *exception;
    struct waiter *changes; /* waiting for the next state */
    struct rt_sandbox *rt;  /* NULL a moment after the end */

    /* private to sidecar.c */
    struct timer *later;
    bool holds_image;
};

/* Takes plan (emptied). s runs. Returns before the container does. err->code is a gRPC status. */
struct sidecar *sidecar_create(struct sandbox *s, const char *name, struct plan *plan, struct err *err);
void sidecar_terminate(struct sidecar *c); /* harmless when it has ended */

struct sidecar *sidecar_by_id(const struct sandbox *s, const char *id);
/* The one that has not ended and has the name, else (with ended_too) the latest that had it. */
struct sidecar *sidecar_by_name(const struct sandbox *s, const char *name, bool ended_too);

/* For sandbox.c */
void sidecars_sandbox_ended(struct sandbox *s);   /* all are terminated */
void sidecars_drop_containers(struct sandbox *s); /* before the first container's handle goes */
void sidecars_free(struct sandbox *s);

#endif
