#include "shim/compose/acts.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"
#include "shim/app.h"
#include "shim/compose/compose.h"
#include "shim/compose/display.h"
#include "shim/container.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS 100 /* a terminal is drawn anew so often */

void acts_clear(struct acts *acts)
{
    for (size_t i = 0; i < acts->len; i++) {
        struct act *a = &acts->items[i];

        for (size_t s = 0; s < a->len; s++)
            strlist_clear(&a->steps[s].words);
        free(a->steps);
        free(a->after);
        free(a->title);
        free(a->text);
    }
    free(acts->items);
    *acts = (struct acts)ACTS_INIT;
}

size_t acts_add(struct acts *acts, const char *title)
{
    acts->items = xreallocarray(acts->items, acts->len + 1, sizeof(*acts->items));
    acts->items[acts->len] = (struct act){.title = xstrdup(title)};
    return acts->len++;
}

static struct step *add_step(struct acts *acts, size_t act, const struct step *step)
{
    struct act *a = &acts->items[act];

    a->steps = xreallocarray(a->steps, a->len + 1, sizeof(*a->steps));
    a->steps[a->len] = *step;
    return &a->steps[a->len++];
}

struct step *acts_call(struct acts *acts, size_t act, const char *doing, const char *done, const char *path, ...)
{
    struct step *s = add_step(acts, act, &(struct step){.doing = doing, .done = done, .path = path});
    va_list ap;
    const char *word;

    va_start(ap, path);
    while ((word = va_arg(ap, const char *)))
        strlist_add(&s->words, word);
    va_end(ap);
    return s;
}

struct step *acts_do(struct acts *acts, size_t act, const char *doing, const char *done, job_fn *fn, void *arg)
{
    return add_step(acts, act, &(struct step){.doing = doing, .done = done, .fn = fn, .arg = arg});
}

void acts_after(struct acts *acts, size_t act, size_t before)
{
    struct act *a = &acts->items[act];

    a->after = xreallocarray(a->after, a->after_len + 1, sizeof(*a->after));
    a->after[a->after_len++] = before;
}

/* ---- carrying out ---- */

struct run {
    struct acts *acts;
    struct jobs *jobs;
    struct display *display;
    bool dry;
};

static void step_ended(struct run *r, struct job_end *end, struct err *first);

static bool is_ready(const struct acts *acts, const struct act *a)
{
    if (a->state != ACT_WAITS)
        return false;
    for (size_t i = 0; i < a->after_len; i++)
        if (acts->items[a->after[i]].state != ACT_DONE)
            return false;
    return true;
}

static void show(struct run *r, enum display_kind kind, const struct act *a, const char *status)
{
    bool text = a->at < a->len && a->steps[a->at].flags & STEP_TEXT && kind <= DISPLAY_DONE;

    if (r->display && status && *a->title)
        display_event(r->display, kind, a->title, text ? status : "", text ? "" : status);
}

static int call_command(struct app *app, void *arg, char **ret_text, struct err *err)
{
    const struct step *s = arg;

    if (s->flags & STEP_DOOMS)
        container_doom(s->words.items[s->words.len - 1], true);
    if (s->flags & STEP_FORGIVE)
        return jobs_command_quiet(app, s->path, &s->words, ret_text, err);
    return jobs_command(app, s->path, &s->words, ret_text, err);
}

/* The act's next step; it is through when there is none. */
static void begin_step(struct run *r, struct act *a)
{
    struct step *s;

    if (a->at == a->len) {
        a->state = ACT_DONE;
        return;
    }
    s = &a->steps[a->at];
    a->state = ACT_WORKS;
    show(r, DISPLAY_WORKING, a, s->doing);
    if (r->dry && !(s->flags & STEP_LOOKS)) {
        cleanup_err struct err none = ERR_INIT;
        struct job_end end = {.token = a, .ok = true, .text = xstrdup("")};

        step_ended(r, &end, &none);
        free(end.text);
        return;
    }
    jobs_add(r->jobs, s->fn ? s->fn : call_command, s->fn ? s->arg : s, a, s->flags & STEP_WAITS);
}

static void begin_ready(struct run *r)
{
    bool more = true;

    while (more) { /* an act without steps is through at once, and others may be ready then */
        more = false;
        for (size_t i = 0; i < r->acts->len; i++)
            if (is_ready(r->acts, &r->acts->items[i])) {
                begin_step(r, &r->acts->items[i]);
                more |= r->acts->items[i].state == ACT_DONE;
            }
    }
}

static void step_failed(struct run *r, struct act *a, struct job_end *end, struct err *first)
{
    const struct step *s = &a->steps[a->at];

    a->state = ACT_FAILED;
    if (!(s->flags & STEP_SILENT))
        show(r, DISPLAY_ERROR, a, s->failed ? s->failed : end->err.msg);
    if (!first->msg)
        err_move(first, &end->err);
}

/* A job is over: the act's next step, or the end of it. */
static void step_ended(struct run *r, struct job_end *end, struct err *first)
{
    struct act *a = end->token;
    const struct step *s = &a->steps[a->at];

    if (!end->ok && (s->flags & STEP_OPTIONAL)) {
        show(r, DISPLAY_WARNING, a, end->err.msg);
        compose_warn(end->err.msg);
    } else if (!end->ok && !(s->flags & STEP_FORGIVE)) {
        step_failed(r, a, end, first);
        return;
    } else if (!end->ok && s->failed) {
        show(r, DISPLAY_WARNING, a, s->failed);
    } else {
        show(r, DISPLAY_DONE, a, s->done && end->ok && *end->text && s->fn ? end->text : s->done);
    }
    free(a->text);
    a->text = end->ok ? steal(&end->text) : NULL; /* what a forgiven one said is no answer */
    a->at++;
    if (first->msg)
        a->state = a->at == a->len ? ACT_DONE : ACT_FAILED;
    else
        begin_step(r, a);
}

/* Those that wait for one another in a circle are done all the same, in turn: what is there may have such labels. */
static bool begin_in_circle(struct run *r)
{
    for (size_t i = 0; i < r->acts->len; i++)
        if (r->acts->items[i].state == ACT_WAITS) {
            begin_step(r, &r->acts->items[i]);
            return true;
        }
    return false;
}

static int wait_for_all(struct run *r, int64_t until_ms, struct err *first)
{
    while (jobs_busy(r->jobs) || (!first->msg && begin_in_circle(r))) {
        struct job_end end;

        if (jobs_next(r->jobs, TICK_MS, &end) > 0) {
            step_ended(r, &end, first);
            free(end.text);
            err_clear(&end.err);
        }
        if (r->display)
            display_tick(r->display);
        if (first->msg)
            jobs_end_waiters(r->jobs);
        else
            begin_ready(r);
        if (until_ms && loop_now() >= until_ms && !first->msg) {
            err_set(first, 1, "the time is over");
            first->code = ACTS_LATE;
        }
    }
    return first->msg ? -1 : 0;
}

int acts_run(struct acts *acts, struct app *app, struct display *d, int64_t until_ms, struct err *err)
{
    struct run r = {.acts = acts, .display = d, .dry = app->dry_run};
    cleanup_err struct err first = ERR_INIT;
    int ret;

    r.jobs = jobs_new(app);
    begin_ready(&r);
    ret = wait_for_all(&r, until_ms, &first);
    jobs_free(r.jobs);
    return ret < 0 ? err_move(err, &first) : 0;
}
