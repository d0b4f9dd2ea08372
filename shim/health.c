#include "shim/health.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"
#include "shim/app.h"
#include "shim/channel.h"
#include "shim/container.h"
#include "shim/events.h"
#include "shim/inquiry.h"
#include "translate/health.h"
#include "translate/wire/wire.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define ASK_MS   30000 /* an agent that lives answers in a moment, its machine may be busy */
#define RETRY_MS 200   /* between two looks at a container whose agent cannot be followed */
#define LOOK_MS  500   /* between two looks at the rows: who has ended is known there first */

const char *health_status_name(enum health_status status)
{
    return wire_health_name((uint8_t)status);
}

static enum health_status status_of(const char *json)
{
    json_auto_t *health = json ? json_loads(json, 0, NULL) : NULL;
    const char *word = json_string_value(json_object_get(health, "Status"));

    for (enum health_status s = HEALTH_NONE; word && s < HEALTH_STATUS_MAX; s++)
        if (!strcmp(health_status_name(s), word))
            return s;
    return HEALTH_NONE;
}

/* One line is read by the image's SHELL, where it has said one. */
static void use_shell(const struct strlist *shell, struct strlist *test)
{
    if (!shell->len || test->len != 2 || strcmp(test->items[0], "CMD-SHELL") != 0)
        return;
    strlist_remove(test, 0);
    for (size_t i = 0; i < shell->len; i++)
        strlist_insert(test, i, shell->items[i]);
    strlist_insert(test, 0, "CMD");
}

bool health_on_wire(const struct container *c, struct wire_health *ret)
{
    struct health_plan plan;

    *ret = (struct wire_health){0};
    if (!health_plan_read(c->process.config.healthcheck, &plan))
        return false;
    use_shell(&c->process.config.shell, &plan.test);
    *ret = (struct wire_health){.test = plan.test,
                                .interval_ns = plan.interval_ns,
                                .timeout_ns = plan.timeout_ns,
                                .start_period_ns = plan.start_period_ns,
                                .start_interval_ns = plan.start_interval_ns,
                                .retries = plan.retries};
    return true;
}

enum health_status health_of(const struct container *c)
{
    return status_of(c->row.health);
}

void health_heard(struct container *c, const char *json)
{
    enum health_status was = health_of(c), now = status_of(json);

    if (now == HEALTH_NONE)
        return;
    free(c->row.health);
    c->row.health = xstrdup(json);
    if (state_container_update(c->app->state, &c->row, STATE_PART_HEALTH, NULL) > 0 && now != was &&
        now != HEALTH_STARTING) {
        cleanup_free char *action = xasprintf("health_status: %s", health_status_name(now));

        event_container(c, action, NULL);
    }
}

void health_hint(struct container *c, int wire_status)
{
    cleanup_free char *json = NULL;

    if (!c->row.health || wire_status == WIRE_HEALTH_NONE || (int)health_of(c) == wire_status)
        return;
    json = xasprintf("{\"Status\":\"%s\",\"FailingStreak\":0,\"Log\":[]}", wire_health_name((uint8_t)wire_status));
    health_heard(c, json);
}

/* The line of one answer, without its newline. */
static void take_answer(struct container *c, struct inquiry *q)
{
    char *newline = memchr(q->out.data, '\n', q->out.len);

    if (newline)
        *newline = '\0';
    if (q->out.len && !q->out.overflowed)
        health_heard(c, q->out.data);
}

int health_ask(struct container *c, enum health_status *ret, struct err *err)
{
    cleanup_with(inquiry_clear) struct inquiry q;

    inquiry_init(&q, c->row.sandbox_id, WIRE_ASK_HEALTH);
    if (c->row.health && container_may_run(c)) {
        if (container_open(c, err) < 0)
            return -1;
        q.task = c->task;
        q.quiet = true;
        inquiry_run(c->app, &q, 1, ASK_MS);
        if (!q.done)
            return err_set(err, 1, "the container %s does not answer", c->row.name);
        if (q.end == SESSION_EXITED)
            take_answer(c, &q);
    }
    *ret = health_of(c);
    return 0;
}

/* ---- waiting for many ---- */

struct waiting;

/* One that is followed. */
struct followed {
    struct waiting *all;
    struct health_watch *watch;
    struct channel *channel;
    bool over; /* the channel is: to be freed and opened again */
};

struct waiting {
    struct loop *loop;
    bool changed;
};

static void on_line(void *arg, const char *line)
{
    struct followed *f = arg;
    enum health_status now;

    health_heard(f->watch->c, line);
    now = health_of(f->watch->c);
    if (now == f->watch->status)
        return;
    f->watch->status = now;
    f->watch->changed = true;
    f->all->changed = true;
    loop_stop(f->all->loop);
}

static void on_over(void *arg, bool ended, const struct err *why)
{
    struct followed *f = arg;

    (void)ended;
    (void)why;
    f->over = true;
    loop_stop(f->all->loop);
}

static const struct channel_handlers handlers = {.line = on_line, .over = on_over};

/* Opens what is not followed, where that is possible. */
static void follow(struct followed *f)
{
    const struct wire_ask ask = {.kind = WIRE_ASK_HEALTH, .flags = WIRE_ASK_FOLLOW, .text = (char *)""};
    struct container *c = f->watch->c;

    if (f->over)
        channel_free(steal(&f->channel));
    f->over = false;
    if (f->channel || !c->row.health || !container_may_run(c) || container_open(c, NULL) < 0)
        return;
    f->channel = channel_open(c->app, c->task, &ask, &handlers, f, NULL);
}

/* Whether the row says that it has ended, or says another status: somebody else may have heard first. */
static void look(struct followed *f)
{
    struct health_watch *w = f->watch;
    enum health_status now;

    if (!w->c->row.id)
        return;
    if (container_reread(w->c, NULL) < 0 || (container_refresh(w->c, NULL), !container_may_run(w->c))) {
        w->ended = w->changed = f->all->changed = true;
        return;
    }
    now = health_of(w->c);
    if (now == w->status)
        return;
    w->status = now;
    w->changed = f->all->changed = true;
}

int health_wait(struct health_watch *list, size_t len, int64_t until_ms, struct err *err)
{
    struct followed *all = xcalloc(len + 1, sizeof(*all));
    struct waiting waiting = {.loop = len ? list[0].c->app->loop : NULL};
    bool late = false;

    (void)err;
    for (size_t i = 0; i < len; i++) {
        all[i] = (struct followed){.all = &waiting, .watch = &list[i]};
        list[i].changed = list[i].ended = false;
    }
    for (int64_t looked = 0; len && !waiting.changed && !late;) {
        int64_t now = loop_now(), wait = LOOK_MS;

        for (size_t i = 0; i < len && now - looked >= RETRY_MS; i++) {
            look(&all[i]);
            follow(&all[i]);
        }
        if (now - looked >= RETRY_MS)
            looked = now;
        if (waiting.changed)
            break;
        if (until_ms && until_ms - now < wait)
            wait = until_ms > now ? until_ms - now : 0;
        late = until_ms && until_ms <= now;
        if (!waiting.loop)
            waiting.loop = list[0].c->app->loop;
        if (!late)
            loop_step(waiting.loop, wait);
    }
    for (size_t i = 0; i < len; i++)
        channel_free(all[i].channel);
    free(all);
    return waiting.changed;
}
