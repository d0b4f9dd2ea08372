/*
 * Sandboxes: the record behind an id, from its creation to some time after its end, and the container that carries it
 * out (runtime.h). Lives are limited here: time-out, idle time, faults.
 *
 * A sandbox is STARTING, then RUNNING, then ENDED (or straight from STARTING to ENDED). `changes` is woken at both
 * steps. After the end the container's files go at once, its execs a second later; the output of the first process
 * stays readable for some minutes, the result for a day, of the last few thousand.
 */
#ifndef ATP_ENGINE_SANDBOX_H
#define ATP_ENGINE_SANDBOX_H

#include "backends/engine/plan.h"
#include "backends/engine/runtime.h"
#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SANDBOX_PIDS 32768 /* a fork bomb ends here */

struct engine;
struct err;
struct exec;
struct ready;
struct sandboxes;
struct sidecar;
struct timer;
struct tunnels;
struct waiter;

enum sandbox_state { SANDBOX_STARTING, SANDBOX_RUNNING, SANDBOX_ENDED };

struct sandbox {
    struct engine *engine;
    struct sandbox *next; /* older ones */
    char *id, *task_id, *app_id;
    bool is_v2;
    struct plan plan;
    struct strlist tags; /* "name=value" */
    enum sandbox_state state;
    double created_at, started_at, finished_at; /* Unix seconds, 0 = not yet; created_at is unique */
    int status;                                 /* GENERIC_STATUS_* once ENDED */
    int exit_code;
    char *exception;
    struct waiter *changes;    /* waiting for the next state */
    struct waiter *readers[2]; /* waiting for output on stdout, stderr */
    size_t reading;            /* streams that read the output now */
    uint64_t stdin_len;        /* bytes accepted by index (V1) */
    uint32_t stdin_index;      /* of the last V1 write */
    struct exec *execs;        /* of all its containers */
    size_t execs_active;
    struct sidecar *sidecars; /* the newest first */
    double ready_at;          /* when its probe succeeded, 0 = not yet */
    struct waiter *ready_waiters;

    struct rt_sandbox *rt; /* the first container's; NULL before the container is made and when its output is gone */

    size_t tunnels_active;   /* connections */
    struct tunnels *tunnels; /* private to tunnel.c */
    struct ready *ready;     /* private to ready.c */

    /* private to sandbox.c */
    struct timer *lifetime, *idle, *later, *reap;
    bool holds_image;
    int ending_as; /* why it is being killed: a GENERIC_STATUS_*, 0 = it is not */
};

struct sandboxes *sandboxes_new(struct engine *e);
/* The engine is going away: gives every container back to the runtime, which kills it in rt_free(). */
void sandboxes_end_all(struct sandboxes *all);
void sandboxes_free(struct sandboxes *all); /* after rt_free() */

/* Takes plan and tags (both emptied). Returns before the container runs. err->code is a gRPC status. */
struct sandbox *sandbox_create(struct sandboxes *all, bool is_v2, const char *app_id, struct plan *plan,
                               struct strlist *tags, struct err *err);
void sandbox_terminate(struct sandbox *s); /* harmless when it has ended */

struct sandbox *sandbox_by_id(const struct sandboxes *all, const char *id);
struct sandbox *sandbox_by_task(const struct sandboxes *all, const char *task_id);
/* The one that has not ended and has the name. */
struct sandbox *sandbox_by_name(const struct sandboxes *all, const char *app_id, const char *name);
/* The newest one; go on with ->next. */
struct sandbox *sandboxes_newest(const struct sandboxes *all);
/* How many have not ended; app_id NULL = of any app. */
size_t sandboxes_alive(const struct sandboxes *all, const char *app_id);

/* The drained output (fd 1 or 2), NULL before the container is made and when it is gone. */
struct rt_stream *sandbox_stream(const struct sandbox *s, int fd);
/* Something was done in it: its idle time starts anew. */
void sandbox_activity(struct sandbox *s);

#endif
