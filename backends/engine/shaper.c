#include "backends/engine/shaper.h"

#include "backends/engine/timer.h"
#include "compat/base/alloc.h"

#include <stdlib.h>
#include <string.h>

struct chunk {
    struct chunk *next;
    uint64_t due; /* loop time, milliseconds */
    size_t len;
    uint8_t bytes[];
};

struct shaper {
    uv_loop_t *loop;
    void (*deliver)(void *arg, const uint8_t *bytes, size_t len);
    void *arg;
    struct chunk *head, **tail;
    struct timer *timer;
    double line_free; /* when the last byte pushed has left, at the bandwidth */
};

struct shaper *shaper_new(uv_loop_t *loop, void (*deliver)(void *arg, const uint8_t *bytes, size_t len), void *arg)
{
    struct shaper *s = xcalloc(1, sizeof(*s));

    s->loop = loop;
    s->deliver = deliver;
    s->arg = arg;
    s->tail = &s->head;
    return s;
}

void shaper_free(struct shaper *s)
{
    if (!s)
        return;
    timer_stop(&s->timer);
    while (s->head) {
        struct chunk *c = s->head;

        s->head = c->next;
        free(c);
    }
    free(s);
}

static void arm(struct shaper *s);

/* Lets the first chunk go; one per turn of the timer, because deliver may free everything. */
static void on_due(void *arg)
{
    struct shaper *s = arg;
    struct chunk *c = s->head;

    s->head = c->next;
    if (!s->head)
        s->tail = &s->head;
    arm(s);
    s->deliver(s->arg, c->bytes, c->len);
    free(c);
}

static void arm(struct shaper *s)
{
    uint64_t now = uv_now(s->loop);

    if (s->head)
        timer_start(&s->timer, s->loop, s->head->due > now ? s->head->due - now : 0, on_due, s);
}

void shaper_push(struct shaper *s, uint64_t latency, uint64_t bandwidth, const uint8_t *bytes, size_t len)
{
    struct chunk *c;
    double now;

    if (!s->head && !latency && !bandwidth) {
        s->deliver(s->arg, bytes, len);
        return;
    }
    uv_update_time(s->loop);
    now = (double)uv_now(s->loop);
    if (s->line_free < now)
        s->line_free = now;
    if (bandwidth)
        s->line_free += (double)len * 1000 / (double)bandwidth;
    c = xmalloc(sizeof(*c) + len);
    c->next = NULL;
    c->due = (uint64_t)s->line_free + latency;
    c->len = len;
    if (len)
        memcpy(c->bytes, bytes, len);
    *s->tail = c;
    s->tail = &c->next;
    if (s->head == c)
        arm(s);
}
