#include "backends/engine/sidecar.h"

#include "backends/engine/engine.h"
#include "backends/engine/exec.h"
#include "backends/engine/ids.h"
#include "backends/engine/images.h"
#include "backends/engine/launch.h"
#include "backends/engine/log.h"
#include "backends/engine/svc.h"
#include "backends/engine/timer.h"
#include "backends/engine/vol_view.h"
#include "backends/engine/waiter.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define SETTLE_MS    1000 /* how long those who read the output of its execs get, and again if they do not */
#define RECORDS_KEPT 1000 /* ended ones of one sandbox */

enum {
    SUCCESS = MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_SUCCESS,
    FAILURE = MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_FAILURE,
    TERMINATED = MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_TERMINATED,
    INIT_FAILURE = MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_INIT_FAILURE,
    INTERNAL_FAILURE = MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_INTERNAL_FAILURE,
};

/* ---- the end ---- */

static void release_image(struct sidecar *c)
{
    if (c->holds_image)
        images_release(c->sandbox->engine->images, c->plan.image_id);
    c->holds_image = false;
}

/* Gives the handle of the container back. */
static void drop_container(struct sidecar *c)
{
    timer_stop(&c->later);
    release_image(c);
    if (!c->rt)
        return;
    exec_free_of(c->sandbox, c);
    rt_sandbox_free(c->rt);
    c->rt = NULL;
}

static void sidecar_free(struct sidecar *c)
{
    drop_container(c);
    vol_views_close(steal(&c->plan.views));
    plan_clear(&c->plan);
    free(c->id);
    free(c->name);
    free(c->exception);
    free(c);
}

/* A moment after the end: nobody can start anything in it any more, and who reads has come to the end. */
static void settle(void *arg)
{
    struct sidecar *c = arg;

    if (exec_being_read(c->sandbox, c))
        timer_start(&c->later, c->sandbox->engine->loop, SETTLE_MS, settle, c);
    else
        drop_container(c);
}

/* Only so many ended ones are remembered; the oldest goes first. */
static void limit_kept(struct sandbox *s)
{
    struct sidecar **last = NULL;
    size_t ended = 0;

    for (struct sidecar **p = &s->sidecars; *p; p = &(*p)->next)
        if ((*p)->state == SANDBOX_ENDED) {
            ended++;
            last = p;
        }
    if (ended > RECORDS_KEPT && !(*last)->rt) {
        struct sidecar *old = *last;

        *last = old->next;
        sidecar_free(old);
    }
}

/* The one way a sidecar ends. */
static void end(struct sidecar *c, int status, int exit_code, const char *exception)
{
    c->state = SANDBOX_ENDED;
    c->status = status;
    c->exit_code = exit_code;
    c->exception = xstrdup(exception);
    log_line("container %s (%s) of sandbox %s ended: status %d, exit code %d%s%s", c->id, c->name, c->sandbox->id,
             status, exit_code, exception ? ": " : "", svc_text(exception));
    exec_sidecar_ended(c->sandbox, c);
    release_image(c);
    plan_forget_words(&c->plan);
    vol_views_close(steal(&c->plan.views));
    timer_start(&c->later, c->sandbox->engine->loop, SETTLE_MS, settle, c);
    waiter_wake_all(&c->changes);
    limit_kept(c->sandbox);
}

static void on_end(struct rt_sandbox *rt, enum rt_end how, int code, const char *message, void *arg)
{
    struct sidecar *c = arg;

    (void)rt;
    if (how == RT_END_KILLED || c->ending)
        end(c, TERMINATED, 137, NULL);
    else if (how == RT_END_EXITED)
        end(c, code == 0 ? SUCCESS : FAILURE, code, NULL);
    else if (how == RT_END_SIGNALED)
        end(c, FAILURE, 128 + code, NULL);
    else if (how == RT_END_START_FAILED)
        end(c, INIT_FAILURE, 1, message ? message : "the container could not be started");
    else
        end(c, INTERNAL_FAILURE, 1, message ? message : "the container was lost");
}

void sidecar_terminate(struct sidecar *c)
{
    if (c->state == SANDBOX_ENDED || c->ending)
        return;
    c->ending = true;
    rt_sandbox_kill(c->rt);
}

void sidecars_sandbox_ended(struct sandbox *s)
{
    for (struct sidecar *c = s->sidecars; c; c = c->next)
        sidecar_terminate(c);
}

void sidecars_drop_containers(struct sandbox *s)
{
    for (struct sidecar *c = s->sidecars; c; c = c->next)
        drop_container(c);
}

void sidecars_free(struct sandbox *s)
{
    while (s->sidecars) {
        struct sidecar *c = s->sidecars;

        s->sidecars = c->next;
        sidecar_free(c);
    }
}

/* ---- the life ---- */

static void on_started(struct rt_sandbox *rt, void *arg)
{
    struct sidecar *c = arg;

    (void)rt;
    c->state = SANDBOX_RUNNING;
    waiter_wake_all(&c->changes);
}

/* Of a terminal: the protocol has no call that would show it. */
static void on_output(struct rt_sandbox *rt, void *arg)
{
    (void)rt, (void)arg;
}

static int check(const struct sandbox *s, const char *name, struct err *err)
{
    size_t alive = 0;

    if (sidecar_by_name(s, name, /* ended_too= */ false))
        return svc_err(err, GRPC_ALREADY_EXISTS, "a container with the name \"%s\" already exists in this Sandbox",
                       name);
    for (const struct sidecar *c = s->sidecars; c; c = c->next)
        alive += c->state != SANDBOX_ENDED;
    if (alive >= SIDECARS_MAX)
        return svc_err(err, GRPC_RESOURCE_EXHAUSTED, "a Sandbox has at most %d sidecars at a time", SIDECARS_MAX);
    return 0;
}

struct sidecar *sidecar_create(struct sandbox *s, const char *name, struct plan *plan, struct err *err)
{
    static const struct rt_sandbox_events events = {on_started, on_end, on_output};
    struct launch l = {.beside = s->rt, .name = name};
    struct sidecar *c;

    if (check(s, name, err) < 0 || launch_prepare(s->engine, plan, err) < 0)
        return NULL;
    c = xcalloc(1, sizeof(*c));
    c->sandbox = s;
    c->id = id_new_ulid("ctr");
    c->name = xstrdup(name);
    c->plan = *plan;
    *plan = (struct plan){0};
    strlist_env_set(&c->plan.env, "MODAL_SANDBOX_ID", s->id);
    strlist_env_set(&c->plan.env, "MODAL_TASK_ID", s->task_id);
    l.id = c->id;
    l.plan = &c->plan;
    c->rt = launch_start(s->engine, &l, &events, c, err);
    if (!c->rt) {
        err->code = GRPC_FAILED_PRECONDITION;
        sidecar_free(c);
        return NULL;
    }
    c->holds_image = true;
    c->next = s->sidecars;
    s->sidecars = c;
    sandbox_activity(s);
    log_line("container %s (%s) of sandbox %s created", c->id, c->name, s->id);
    return c;
}

/* ---- look-ups ---- */

struct sidecar *sidecar_by_id(const struct sandbox *s, const char *id)
{
    for (struct sidecar *c = s->sidecars; c; c = c->next)
        if (strcmp(c->id, id) == 0)
            return c;
    return NULL;
}

struct sidecar *sidecar_by_name(const struct sandbox *s, const char *name, bool ended_too)
{
    struct sidecar *latest = NULL;

    for (struct sidecar *c = s->sidecars; c; c = c->next) {
        if (strcmp(c->name, name) != 0)
            continue;
        if (c->state != SANDBOX_ENDED)
            return c;
        latest = latest ? latest : c;
    }
    return ended_too ? latest : NULL;
}
