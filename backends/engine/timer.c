#include "backends/engine/timer.h"

#include "compat/base/alloc.h"

#include <stdlib.h>

struct timer {
    uv_timer_t handle; /* first: libuv's pointer is ours */
    struct timer **slot;
    void (*fn)(void *arg);
    void *arg;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_fire(uv_timer_t *handle)
{
    struct timer *t = (struct timer *)handle;
    void (*fn)(void *arg) = t->fn;
    void *arg = t->arg;

    timer_stop(t->slot);
    fn(arg);
}

void timer_start(struct timer **slot, uv_loop_t *loop, uint64_t ms, void (*fn)(void *arg), void *arg)
{
    struct timer *t = xcalloc(1, sizeof(*t));

    timer_stop(slot);
    t->slot = slot;
    t->fn = fn;
    t->arg = arg;
    uv_timer_init(loop, &t->handle);
    uv_update_time(loop);
    uv_timer_start(&t->handle, on_fire, ms, /* repeat= */ 0);
    *slot = t;
}

void timer_stop(struct timer **slot)
{
    struct timer *t = *slot;

    if (!t)
        return;
    *slot = NULL;
    uv_timer_stop(&t->handle);
    uv_close((uv_handle_t *)&t->handle, on_closed);
}
