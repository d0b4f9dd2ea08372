#include "backends/engine/sandbox.h"

#include "backends/engine/engine.h"
#include "backends/engine/exec.h"
#include "backends/engine/fault.h"
#include "backends/engine/ids.h"
#include "backends/engine/images.h"
#include "backends/engine/launch.h"
#include "backends/engine/log.h"
#include "backends/engine/ready.h"
#include "backends/engine/sidecar.h"
#include "backends/engine/svc.h"
#include "backends/engine/timer.h"
#include "backends/engine/tunnel.h"
#include "backends/engine/vol_view.h"
#include "backends/engine/waiter.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define SANDBOX_ALIVE_MAX   1000            /* containers at a time */
#define SANDBOX_RECORD_MS   (86400u * 1000) /* how long a result can be asked for; some hundred bytes each */
#define SANDBOX_SETTLE_MS   1000          /* how long those who read get to come to the end, and again if they do not */
#define SANDBOX_OUTPUT_MS   (300u * 1000) /* how long the output of an ended one can be read */
#define SANDBOX_OUTPUT_KEPT 16            /* ended ones whose output is kept; each may be large */
#define SANDBOX_RECORDS     2000          /* ended ones that can be asked for */

enum {
    SUCCESS = MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_SUCCESS,
    FAILURE = MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_FAILURE,
    TERMINATED = MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_TERMINATED,
    TIMEOUT = MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_TIMEOUT,
    INIT_FAILURE = MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_INIT_FAILURE,
    INTERNAL_FAILURE = MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_INTERNAL_FAILURE,
    IDLE_TIMEOUT = MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_IDLE_TIMEOUT,
};

struct sandboxes {
    struct engine *engine;
    struct sandbox *newest;
    double last_created;
};

struct sandboxes *sandboxes_new(struct engine *e)
{
    struct sandboxes *all = xcalloc(1, sizeof(*all));

    all->engine = e;
    return all;
}

static void sandbox_free(struct sandbox *s)
{
    timer_stop(&s->lifetime);
    timer_stop(&s->idle);
    timer_stop(&s->later);
    timer_stop(&s->reap);
    tunnels_close(s);
    ready_stop(s);
    exec_free_all(s);
    sidecars_free(s);
    vol_views_close(steal(&s->plan.views));
    plan_clear(&s->plan);
    strlist_clear(&s->tags);
    free(s->id);
    free(s->task_id);
    free(s->app_id);
    free(s->exception);
    free(s);
}

void sandboxes_free(struct sandboxes *all)
{
    if (!all)
        return;
    while (all->newest) {
        struct sandbox *s = all->newest;

        all->newest = s->next;
        sandbox_free(s);
    }
    free(all);
}

/* ---- the end ---- */

/* Nothing runs on the image any more. */
static void release_image(struct sandbox *s)
{
    if (s->holds_image)
        images_release(s->engine->images, s->plan.image_id);
    s->holds_image = false;
}

/* Gives the handle of the container back; readers of its output find the end. */
static void drop_container(struct sandbox *s)
{
    release_image(s);
    if (!s->rt)
        return;
    tunnels_close(s);
    ready_stop(s);
    exec_free_all(s);
    sidecars_drop_containers(s);
    rt_sandbox_free(s->rt);
    s->rt = NULL;
    waiter_wake_all(&s->readers[0]);
    waiter_wake_all(&s->readers[1]);
}

void sandboxes_end_all(struct sandboxes *all)
{
    for (struct sandbox *s = all->newest; s; s = s->next)
        drop_container(s);
}

/* Takes the record out and frees it; nobody waits for an ended sandbox. */
static void forget(void *arg)
{
    struct sandbox *s = arg;

    if (s->reading) {
        timer_start(&s->reap, s->engine->loop, SANDBOX_OUTPUT_MS, forget, s);
        return;
    }
    for (struct sandbox **p = &s->engine->sandboxes->newest; *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            break;
        }
    drop_container(s);
    sandbox_free(s);
}

static void drop_output(void *arg)
{
    struct sandbox *s = arg;

    if (s->rt && s->reading) {
        timer_start(&s->reap, s->engine->loop, SANDBOX_OUTPUT_MS, drop_output, s);
        return;
    }
    drop_container(s);
    timer_start(&s->reap, s->engine->loop, SANDBOX_RECORD_MS, forget, s);
}

/* Whether its first process ever said anything. */
static bool has_output(const struct sandbox *s)
{
    return s->rt && rt_stream_len(rt_sandbox_stream(s->rt, 1)) + rt_stream_len(rt_sandbox_stream(s->rt, 2)) > 0;
}

/*
 * A moment after the end. Nobody can ask for its execs any more, and who read their output has come to its end; what
 * its first process said can still be read.
 */
static void settle(void *arg)
{
    struct sandbox *s = arg;

    if (s->reading) {
        timer_start(&s->reap, s->engine->loop, SANDBOX_SETTLE_MS, settle, s);
        return;
    }
    exec_free_all(s);
    if (has_output(s))
        timer_start(&s->reap, s->engine->loop, SANDBOX_OUTPUT_MS, drop_output, s);
    else
        drop_output(s);
}

/* Keeps the output of the last few ended sandboxes, and the records of the last few thousand. */
static void limit_kept(struct sandboxes *all)
{
    struct sandbox *oldest = NULL;
    size_t with_output = 0, ended = 0;

    for (struct sandbox *s = all->newest; s; s = s->next) {
        if (s->state != SANDBOX_ENDED)
            continue;
        if (has_output(s) && ++with_output > SANDBOX_OUTPUT_KEPT && !s->reading)
            drop_container(s);
        ended++;
        oldest = s;
    }
    if (ended > SANDBOX_RECORDS && !oldest->rt && !oldest->reading)
        forget(oldest);
}

/* The one way a sandbox ends. */
static void end(struct sandbox *s, int status, int exit_code, const char *exception)
{
    timer_stop(&s->lifetime);
    timer_stop(&s->idle);
    timer_stop(&s->later);
    s->state = SANDBOX_ENDED;
    s->finished_at = unix_now();
    s->status = status;
    s->exit_code = exit_code;
    s->exception = xstrdup(exception);
    timer_start(&s->reap, s->engine->loop, SANDBOX_SETTLE_MS, settle, s);
    log_line("sandbox %s ended: status %d, exit code %d%s%s", s->id, status, exit_code, exception ? ": " : "",
             svc_text(exception));
    exec_sandbox_ended(s);
    sidecars_sandbox_ended(s);
    ready_stop(s);
    tunnels_close(s);
    release_image(s);
    vol_views_close(steal(&s->plan.views));
    plan_forget_words(&s->plan);
    waiter_wake_all(&s->changes);
    waiter_wake_all(&s->ready_waiters);
    waiter_wake_all(&s->readers[0]);
    waiter_wake_all(&s->readers[1]);
    limit_kept(s->engine->sandboxes);
    engine_activity(s->engine);
}

/* Kills it for a reason, which becomes its result. */
static void kill_as(struct sandbox *s, int status)
{
    if (s->state == SANDBOX_ENDED)
        return;
    if (!s->ending_as)
        s->ending_as = status;
    timer_stop(&s->later);
    if (s->rt)
        rt_sandbox_kill(s->rt);
    else
        end(s, s->ending_as, s->ending_as == TIMEOUT ? 124 : 137, NULL);
}

void sandbox_terminate(struct sandbox *s)
{
    kill_as(s, TERMINATED);
}

static void on_end(struct rt_sandbox *rt, enum rt_end how, int code, const char *message, void *arg)
{
    struct sandbox *s = arg;

    (void)rt;
    if (s->ending_as == INTERNAL_FAILURE)
        end(s, INTERNAL_FAILURE, 1, "the Sandbox was lost (fault)");
    else if (s->ending_as)
        end(s, s->ending_as, s->ending_as == TIMEOUT ? 124 : 137, NULL);
    else if (how == RT_END_EXITED)
        end(s, code == 0 ? SUCCESS : FAILURE, code, NULL);
    else if (how == RT_END_SIGNALED)
        end(s, FAILURE, 128 + code, NULL);
    else if (how == RT_END_KILLED)
        end(s, TERMINATED, 137, NULL);
    else if (how == RT_END_START_FAILED)
        end(s, INIT_FAILURE, 1, message ? message : "the container could not be started");
    else
        end(s, INTERNAL_FAILURE, 1, message ? message : "the container was lost");
}

/* ---- the life ---- */

static void on_lifetime(void *arg)
{
    kill_as(arg, TIMEOUT);
}

static void on_idle(void *arg)
{
    kill_as(arg, IDLE_TIMEOUT);
}

static void on_die(void *arg)
{
    struct sandbox *s = arg;

    log_line("fault: sandbox %s dies", s->id);
    kill_as(s, INTERNAL_FAILURE);
}

void sandbox_activity(struct sandbox *s)
{
    if (s->state != SANDBOX_RUNNING || !s->plan.idle_timeout_secs)
        return;
    if (s->execs_active || s->tunnels_active)
        timer_stop(&s->idle);
    else
        timer_start(&s->idle, s->engine->loop, (uint64_t)s->plan.idle_timeout_secs * 1000, on_idle, s);
}

static void on_started(struct rt_sandbox *rt, void *arg)
{
    struct sandbox *s = arg;
    uint64_t die_after = fault_die_after(s->engine->fault);

    (void)rt;
    if (s->state != SANDBOX_STARTING)
        return;
    s->state = SANDBOX_RUNNING;
    s->started_at = unix_now();
    timer_start(&s->lifetime, s->engine->loop, (uint64_t)s->plan.timeout_secs * 1000, on_lifetime, s);
    if (die_after)
        timer_start(&s->later, s->engine->loop, die_after, on_die, s);
    sandbox_activity(s);
    ready_begin(s);
    waiter_wake_all(&s->changes);
}

static void on_output(struct rt_sandbox *rt, void *arg)
{
    struct sandbox *s = arg;

    (void)rt;
    waiter_wake_all(&s->readers[0]);
    waiter_wake_all(&s->readers[1]);
}

/* Asks the runtime for the container. */
static int start(struct sandbox *s, struct err *err)
{
    static const struct rt_sandbox_events events = {on_started, on_end, on_output};
    const struct launch l = {.id = s->id, .plan = &s->plan};

    s->rt = launch_start(s->engine, &l, &events, s, err);
    s->holds_image = s->rt != NULL;
    return s->rt ? 0 : -1;
}

/* A start that was put off (fault slow-start): nobody waits for its error any more, so it becomes the result. */
static void start_later(void *arg)
{
    struct sandbox *s = arg;
    cleanup_err struct err err = ERR_INIT;

    if (start(s, &err) < 0)
        end(s, INIT_FAILURE, 1, err.msg);
}

struct sandbox *sandbox_create(struct sandboxes *all, bool is_v2, const char *app_id, struct plan *plan,
                               struct strlist *tags, struct err *err)
{
    struct engine *e = all->engine;
    uint64_t slow_start = fault_slow_start(e->fault);
    cleanup_free char *task = NULL;
    struct sandbox *s;

    if (plan->name && sandbox_by_name(all, app_id, plan->name)) {
        svc_err(err, GRPC_ALREADY_EXISTS, "Sandbox with name \"%s\" already exists", plan->name);
        return NULL;
    }
    if (sandboxes_alive(all, NULL) >= SANDBOX_ALIVE_MAX) {
        svc_err(err, GRPC_RESOURCE_EXHAUSTED, "%d Sandboxes are running already", SANDBOX_ALIVE_MAX);
        return NULL;
    }
    if (launch_prepare(e, plan, err) < 0)
        return NULL;
    s = xcalloc(1, sizeof(*s));
    s->engine = e;
    s->is_v2 = is_v2;
    s->id = is_v2 ? id_new_ulid("sb") : id_new("sb");
    task = is_v2 ? id_new_ulid("ta") : id_new("ta");
    s->task_id = xasprintf("%s%s", task, is_v2 ? "V" : "");
    s->app_id = xstrdup(app_id);
    s->plan = *plan;
    s->tags = *tags;
    *plan = (struct plan){0};
    *tags = (struct strlist)STRLIST_INIT;
    s->created_at = unix_now();
    if (s->created_at < all->last_created + 0.001)
        s->created_at = all->last_created + 0.001;
    strlist_env_set(&s->plan.env, "MODAL_SANDBOX_ID", s->id);
    strlist_env_set(&s->plan.env, "MODAL_TASK_ID", s->task_id);
    if (tunnels_open(s, err) < 0) {
        sandbox_free(s);
        return NULL;
    }
    if (slow_start) {
        timer_start(&s->later, e->loop, slow_start, start_later, s);
    } else if (start(s, err) < 0) {
        err->code = GRPC_FAILED_PRECONDITION;
        drop_container(s);
        sandbox_free(s);
        return NULL;
    }
    all->last_created = s->created_at;
    s->next = all->newest;
    all->newest = s;
    engine_activity(e);
    return s;
}

/* ---- look-ups ---- */

struct sandbox *sandboxes_newest(const struct sandboxes *all)
{
    return all->newest;
}

struct sandbox *sandbox_by_id(const struct sandboxes *all, const char *id)
{
    for (struct sandbox *s = all->newest; s; s = s->next)
        if (strcmp(s->id, id) == 0)
            return s;
    return NULL;
}

struct sandbox *sandbox_by_task(const struct sandboxes *all, const char *task_id)
{
    for (struct sandbox *s = all->newest; s; s = s->next)
        if (strcmp(s->task_id, task_id) == 0)
            return s;
    return NULL;
}

struct sandbox *sandbox_by_name(const struct sandboxes *all, const char *app_id, const char *name)
{
    for (struct sandbox *s = all->newest; s; s = s->next)
        if (s->state != SANDBOX_ENDED && s->plan.name && strcmp(s->plan.name, name) == 0 &&
            strcmp(s->app_id, app_id) == 0)
            return s;
    return NULL;
}

size_t sandboxes_alive(const struct sandboxes *all, const char *app_id)
{
    size_t n = 0;

    for (const struct sandbox *s = all->newest; s; s = s->next)
        n += s->state != SANDBOX_ENDED && (!app_id || strcmp(s->app_id, app_id) == 0);
    return n;
}

struct rt_stream *sandbox_stream(const struct sandbox *s, int fd)
{
    return s->rt ? rt_sandbox_stream(s->rt, fd) : NULL;
}
