#include "backends/engine/entrypoint.h"

#include "backends/engine/engine.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/svc.h"
#include "backends/engine/timer.h"
#include "backends/engine/waiter.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <errno.h>
#include <stdlib.h>

/* ---- stdin ---- */

/* Between the call and the runtime, each of which may be done first. */
struct entry_write {
    struct call *call; /* NULL once the call is over */
    void (*reply)(struct call *c);
};

static void release_write(struct call *c)
{
    struct entry_write *w = c->state;

    w->call = NULL;
}

static void on_written(void *arg)
{
    struct entry_write *w = arg;
    struct call *c = w->call;

    if (c) {
        c->release = NULL;
        w->reply(c);
    }
    free(w);
}

bool entrypoint_write(struct call *c, struct sandbox *s, uint64_t offset, const void *bytes, size_t len, bool eof,
                      void (*reply)(struct call *c))
{
    struct entry_write *w = xcalloc(1, sizeof(*w));
    cleanup_err struct err err = ERR_INIT;

    w->call = c;
    w->reply = reply;
    if (rt_sandbox_stdin(s->rt, offset, bytes, len, eof, on_written, w, &err) < 0) {
        free(w);
        call_fail_err(c, err.code == ENOBUFS ? GRPC_RESOURCE_EXHAUSTED : GRPC_FAILED_PRECONDITION, &err);
        return false;
    }
    c->state = w;
    c->release = release_write;
    sandbox_activity(s);
    return true;
}

/* ---- output ---- */

struct entrypoint_reader {
    struct waiter waiter;
    struct timer *timer;
    struct call *call;
    struct sandbox *sandbox;
    int fd;
    uint64_t offset;
    bool over;
};

static void release_reader(struct call *c)
{
    struct entrypoint_reader *r = c->state;

    waiter_del(&r->waiter);
    timer_stop(&r->timer);
    r->sandbox->reading--;
    free(r);
}

static void wake_reader(struct waiter *w, void *arg)
{
    struct entrypoint_reader *r = arg;

    (void)w;
    call_wake(r->call);
}

static void on_over(void *arg)
{
    struct entrypoint_reader *r = arg;

    r->over = true;
    call_wake(r->call);
}

void entrypoint_read(struct call *c, struct sandbox *s, int fd, uint64_t offset, double seconds,
                     void (*source)(struct call *c))
{
    struct entrypoint_reader *r = xcalloc(1, sizeof(*r));

    r->call = c;
    r->sandbox = s;
    r->fd = fd;
    r->offset = offset;
    s->reading++;
    c->state = r;
    c->release = release_reader;
    if (seconds >= 0)
        timer_start(&r->timer, c->engine->loop, (uint64_t)((seconds < 3600 ? seconds : 3600) * 1000), on_over, r);
    call_stream(c, source);
}

struct sandbox *entrypoint_sandbox(const struct call *c)
{
    const struct entrypoint_reader *r = c->state;

    return r->sandbox;
}

struct rt_stream *entrypoint_stream(const struct call *c)
{
    const struct entrypoint_reader *r = c->state;

    return sandbox_stream(r->sandbox, r->fd);
}

uint64_t entrypoint_offset(const struct call *c)
{
    const struct entrypoint_reader *r = c->state;
    const struct rt_stream *st = entrypoint_stream(c);

    return st && rt_stream_base(st) > r->offset ? rt_stream_base(st) : r->offset;
}

bool entrypoint_over(const struct call *c)
{
    const struct entrypoint_reader *r = c->state;

    return r->over;
}

void entrypoint_advance(struct call *c, size_t len)
{
    struct entrypoint_reader *r = c->state;

    r->offset = entrypoint_offset(c) + len;
}

void entrypoint_wait(struct call *c)
{
    struct entrypoint_reader *r = c->state;

    waiter_add(&r->sandbox->readers[r->fd == 2], &r->waiter, wake_reader, r);
}
