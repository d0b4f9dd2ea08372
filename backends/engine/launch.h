/*
 * From a plan to a container of the runtime: the one place for a sandbox's first container and for sidecars alike, so
 * that whatever a plan says holds for both.
 */
#ifndef ATP_ENGINE_LAUNCH_H
#define ATP_ENGINE_LAUNCH_H

#include "backends/engine/runtime.h"

struct engine;
struct err;
struct plan;

struct launch { /* everything borrowed for the call */
    const char *id;
    const struct plan *plan;
    struct rt_sandbox *beside; /* a sidecar's sandbox; NULL = a sandbox of its own */
    const char *name;          /* a sidecar's */
};

/* Without any command the engine's own sleeper is put into the container (protocol 5.3). err->code is a gRPC status. */
int launch_prepare(struct engine *e, struct plan *plan, struct err *err);
/*
 * Asks the runtime for the container. Its image is held from then on, until images_release() by whoever asked; nothing
 * is held when it fails.
 */
struct rt_sandbox *launch_start(struct engine *e, const struct launch *l, const struct rt_sandbox_events *events,
                                void *arg, struct err *err);

#endif
