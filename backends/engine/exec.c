#include "backends/engine/exec.h"

#include "backends/engine/engine.h"
#include "backends/engine/log.h"
#include "backends/engine/rpc.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/sidecar.h"
#include "backends/engine/svc.h"
#include "backends/engine/timer.h"
#include "backends/engine/waiter.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EXECS_KEPT   1000          /* of one sandbox: how they ended can still be asked */
#define OUTPUTS_KEPT 256           /* of all sandboxes: what they wrote can still be read; two open files each */
#define OUTPUT_MS    (300u * 1000) /* for so long */

/* A write that the process has not taken yet. The runtime keeps a pointer to it until it calls back or is freed. */
struct stdin_write {
    struct stdin_write *next;
    struct exec *exec;
    void (*done)(void *arg, bool ok); /* NULL = nobody waits any more */
    void *arg;
};

struct exec *exec_by_id(const struct sandbox *s, const char *id)
{
    for (struct exec *e = s->execs; e; e = e->next)
        if (strcmp(e->id, id) == 0)
            return e;
    return NULL;
}

/* ---- the output of ended execs ---- */

static void unlist(struct exec *e)
{
    struct engine *engine = e->sandbox->engine;

    if (engine->ended_first != e && !e->ended_before)
        return;
    *(e->ended_before ? &e->ended_before->ended_after : &engine->ended_first) = e->ended_after;
    *(e->ended_after ? &e->ended_after->ended_before : &engine->ended_last) = e->ended_before;
    e->ended_before = e->ended_after = NULL;
    engine->ended_len--;
}

/* Nobody reads it, and nothing more will come: a child that holds the pipe would be killed by what it writes. */
static bool is_over(const struct exec *e)
{
    return e->rt && e->reading == 0 && !e->writes && rt_stream_ended(rt_exec_stream(e->rt, 1)) &&
           rt_stream_ended(rt_exec_stream(e->rt, 2));
}

static void drop_output(struct exec *e)
{
    timer_stop(&e->expiry);
    unlist(e);
    rt_exec_stdin_status(e->rt, &e->accepted, &e->closed);
    rt_exec_free(e->rt);
    e->rt = NULL;
}

static void on_expiry(void *arg)
{
    struct exec *e = arg;

    if (is_over(e))
        drop_output(e);
    else
        timer_start(&e->expiry, e->sandbox->engine->loop, OUTPUT_MS, on_expiry, e);
}

/* e has ended; the oldest give way to it. */
static void keep_output(struct exec *e)
{
    struct engine *engine = e->sandbox->engine;

    e->ended_before = engine->ended_last;
    *(engine->ended_last ? &engine->ended_last->ended_after : &engine->ended_first) = e;
    engine->ended_last = e;
    engine->ended_len++;
    timer_start(&e->expiry, engine->loop, OUTPUT_MS, on_expiry, e);
    for (struct exec *old = engine->ended_first, *next; old != e && engine->ended_len > OUTPUTS_KEPT; old = next) {
        next = old->ended_after;
        if (is_over(old))
            drop_output(old);
    }
}

/* ---- the end ---- */

static void exec_free(struct exec *e)
{
    struct exec **p = &e->sandbox->execs;

    while (*p != e)
        p = &(*p)->next;
    *p = e->next;
    if (!e->ended)
        e->sandbox->execs_active--;
    e->ended = true;
    if (e->upload)
        call_fail(e->upload, GRPC_NOT_FOUND, "exec %s is gone", e->id);
    timer_stop(&e->expiry);
    unlist(e);
    if (e->rt)
        rt_exec_free(e->rt);
    e->rt = NULL;
    waiter_wake_all(&e->waiters);
    waiter_wake_all(&e->readers[0]);
    waiter_wake_all(&e->readers[1]);
    while (e->writes) {
        struct stdin_write *w = e->writes;

        e->writes = w->next;
        if (w->done)
            w->done(w->arg, false);
        free(w);
    }
    free(e->id);
    free(e);
}

void exec_free_all(struct sandbox *s)
{
    while (s->execs)
        exec_free(s->execs);
}

void exec_free_of(struct sandbox *s, const struct sidecar *c)
{
    for (struct exec *e = s->execs, *next; e; e = next) {
        next = e->next;
        if (e->sidecar == c)
            exec_free(e);
    }
}

bool exec_being_read(const struct sandbox *s, const struct sidecar *c)
{
    for (const struct exec *e = s->execs; e; e = e->next)
        if (e->sidecar == c && e->reading)
            return true;
    return false;
}

/* Only so many ended execs are kept; the oldest go first. */
static void limit_kept(struct sandbox *s)
{
    struct exec *last = NULL;
    size_t kept = 0;

    for (struct exec *e = s->execs; e; e = e->next) {
        kept++;
        if (e->ended && !e->reading)
            last = e;
    }
    if (kept > EXECS_KEPT && last)
        exec_free(last);
}

static void wake_all(struct exec *e)
{
    waiter_wake_all(&e->waiters);
    waiter_wake_all(&e->readers[0]);
    waiter_wake_all(&e->readers[1]);
}

void exec_sandbox_ended(struct sandbox *s)
{
    for (struct exec *e = s->execs; e; e = e->next)
        wake_all(e);
}

void exec_sidecar_ended(struct sandbox *s, const struct sidecar *c)
{
    for (struct exec *e = s->execs; e; e = e->next)
        if (e->sidecar == c)
            wake_all(e);
}

static void on_exit_status(struct rt_exec *rt, enum rt_end how, int code, void *arg)
{
    struct exec *e = arg;

    if (how == RT_END_START_FAILED)
        log_line("exec %s in %s could not start: %s", e->id, e->sandbox->id, svc_text(rt_exec_message(rt)));
    e->ended = true;
    e->how = how;
    e->code = code;
    e->sandbox->execs_active--;
    sandbox_activity(e->sandbox);
    waiter_wake_all(&e->waiters);
    keep_output(e);
}

static void on_output(struct rt_exec *rt, int fd, void *arg)
{
    struct exec *e = arg;

    (void)rt;
    waiter_wake_all(&e->readers[fd == 2]);
}

struct exec *exec_start(struct sandbox *s, struct sidecar *c, const char *id, const struct rt_exec_spec *spec,
                        struct err *err)
{
    static const struct rt_exec_events events = {on_output, on_exit_status};
    struct exec *e = xcalloc(1, sizeof(*e));

    e->sandbox = s;
    e->sidecar = c;
    e->id = xstrdup(id);
    e->next = s->execs;
    s->execs = e;
    s->execs_active++;
    e->rt = rt_exec_start(c ? c->rt : s->rt, spec, &events, e, err);
    if (!e->rt) {
        err->code = GRPC_INVALID_ARGUMENT;
        exec_free(e);
        return NULL;
    }
    sandbox_activity(s);
    limit_kept(s);
    return e;
}

/* ---- stdin ---- */

/* The runtime is done with the write: so are we. */
static void on_written(void *arg)
{
    struct stdin_write *w = arg;
    struct stdin_write **p = &w->exec->writes;

    while (*p != w)
        p = &(*p)->next;
    *p = w->next;
    if (w->done)
        w->done(w->arg, true);
    free(w);
}

int exec_stdin(struct exec *e, uint64_t offset, const void *bytes, size_t len, bool eof,
               void (*done)(void *arg, bool ok), void *arg, struct stdin_write **ret, struct err *err)
{
    struct stdin_write *w;

    if (!e->rt) {
        err_set(err, 125, "stdin: the process has ended");
        err->code = GRPC_FAILED_PRECONDITION;
        return -1;
    }
    w = xcalloc(1, sizeof(*w));
    *w = (struct stdin_write){.next = e->writes, .exec = e, .done = done, .arg = arg};
    if (rt_exec_stdin(e->rt, offset, bytes, len, eof, on_written, w, err) < 0) {
        free(w);
        err->code = err->code == ENOBUFS ? GRPC_RESOURCE_EXHAUSTED : GRPC_FAILED_PRECONDITION;
        return -1;
    }
    e->writes = w;
    sandbox_activity(e->sandbox);
    if (ret)
        *ret = w;
    return 0;
}

void exec_stdin_forget(struct stdin_write *w)
{
    if (w)
        w->done = NULL;
}

void exec_stdin_status(const struct exec *e, uint64_t *ret_accepted, bool *ret_closed)
{
    *ret_accepted = e->accepted;
    *ret_closed = e->closed;
    if (e->rt)
        rt_exec_stdin_status(e->rt, ret_accepted, ret_closed);
}
