/* What the rows say, held against what agents and server say. */
#include "backends/modal/sandbox.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"
#include "shim/app.h"
#include "shim/container.h"
#include "shim/forward.h"
#include "shim/health.h"
#include "shim/inquiry.h"
#include "shim/sandbox.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_MS     10000 /* an agent that lives answers within it */
#define SEEN_MS     5000  /* for whoever watches to write down an end that is known */
#define SEEN_NAP_NS 10000000

/* Whether the row may be out of date: it says that something is there and nobody watches it, or what it does changes
 * without its watcher (restarts). */
static bool is_doubtful(struct container *c)
{
    if (!c->row.sandbox_id)
        return false;
    if (!container_watched(c) || (c->row.health && !forward_lives(c)))
        return true;
    return container_may_run(c) && container_load(c, NULL) == 0 && c->spec.restart != RESTART_NO;
}

/* The row as the answer has it; under the lock. */
static int take_answer(struct container *c, const struct inquiry *q, struct err *err)
{
    struct state_container *row = &c->row;
    int code = 0;

    if (!q->greeted) {
        if (sandbox_ended(c->app, row->sandbox_id, &code, NULL) > 0) {
            sandbox_gone(c->app, row->id, row->sandbox_id, code);
            container_set_exited(row, code, 0);
            free(steal(&row->sandbox_id));
            container_died(c);
            return 0;
        }
        return q->err.msg ? err_set(err, 1, "the container %s: %s", row->name, q->err.msg)
                          : err_set(err, 1, "the container %s does not answer", row->name);
    }
    if (q->main_state == WIRE_MAIN_NONE)
        return container_settle(c, err) < 0 ? -1 : 0;
    row->restarts = (int)q->restarts;
    if (q->main_state == WIRE_MAIN_ENDED)
        container_set_exited(row, q->main_code, q->main_ended_ns);
    else if (!container_is(c, "removing"))
        container_set_status(row, q->paused ? "paused" : "running");
    if (state_container_update(c->app->state, row, STATE_PART_STATUS | STATE_PART_RESTARTS, err) < 0)
        return -1;
    if (q->main_state == WIRE_MAIN_ENDED)
        container_died(c);
    else
        health_hint(c, q->health);
    return 0;
}

/* What was asked without the lock counts only if nobody changed the container's life meanwhile. */
static int settle_doubt(struct container *c, const struct inquiry *q, struct err *err)
{
    cleanup_free char *asked = xstrdup(c->row.sandbox_id);
    bool had = false;
    int ret = 0;

    if (container_lock_now(c, &had, err) < 0)
        return -1;
    if (!had)
        return container_reread(c, err); /* whoever has it knows better */
    if (container_lock(c, err) < 0)
        return -1;
    if (c->row.sandbox_id && !strcmp(c->row.sandbox_id, asked) && is_doubtful(c))
        ret = take_answer(c, q, err);
    container_unlock(c);
    if (ret == 0 && c->row.sandbox_id && !container_watched(c))
        container_watch(c);
    if (ret == 0)
        forward_revive(c);
    return ret;
}

int container_refresh(struct container *c, struct err *err)
{
    cleanup_with(inquiry_clear) struct inquiry q;

    inquiry_init(&q, c->row.sandbox_id, WIRE_ASK_BARRIER);
    if (!is_doubtful(c)) {
        forward_revive(c);
        return 0;
    }
    if (container_reach(c, err) < 0)
        return -1;
    q.quiet = true;
    inquiry_run(c->app, &q, 1, LOOK_MS);
    return settle_doubt(c, &q, err);
}

void container_see_end(struct container *c)
{
    const int64_t started = c->row.started_ns, until = loop_now() + SEEN_MS;

    while (container_reread(c, NULL) == 0 && container_may_run(c) && c->row.started_ns == started &&
           loop_now() < until) {
        if (!container_watched(c)) {
            container_refresh(c, NULL);
            return;
        }
        nanosleep(&(struct timespec){.tv_nsec = SEEN_NAP_NS}, NULL);
    }
}

int container_refresh_all(struct app *app, struct err *err)
{
    struct state_container *rows = NULL;
    struct container *list;
    struct inquiry *questions;
    size_t len = 0, n = 0;

    if (app_state(app, err) < 0 || (container_may_recover(app) && container_recover(app, err) < 0) ||
        state_container_list(app->state, &rows, &len, err) < 0)
        return -1;
    list = xcalloc(len + 1, sizeof(*list));
    questions = xcalloc(len + 1, sizeof(*questions));
    for (size_t i = 0; i < len; i++) {
        container_init(&list[n], app);
        list[n].row = rows[i];
        if (is_doubtful(&list[n]) && container_reach(&list[n], NULL) == 0) {
            inquiry_init(&questions[n], list[n].row.sandbox_id, WIRE_ASK_BARRIER);
            questions[n++].quiet = true;
        } else {
            forward_revive(&list[n]);
            container_clear(&list[n]);
        }
    }
    if (n)
        inquiry_run(app, questions, n, LOOK_MS);
    for (size_t i = 0; i < n; i++) {
        settle_doubt(&list[i], &questions[i], NULL); /* a container that does not answer is listed as it was */
        inquiry_clear(&questions[i]);
        container_clear(&list[i]);
    }
    free(rows);
    free(questions);
    free(list);
    return 0;
}
