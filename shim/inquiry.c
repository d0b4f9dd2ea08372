#include "shim/inquiry.h"

#include "backends/grpc/frame.h"
#include "backends/modal/exec.h"
#include "backends/modal/sandbox.h"
#include "backends/modal/task.h"
#include "compat/base/alloc.h"
#include "compat/sys/loop.h"
#include "shim/agent.h"
#include "shim/app.h"
#include "shim/binds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAST_WORDS_MS 300          /* for PULLED and BYE to be taken by the server */
#define LAST_TURNS    4            /* of the loop: a write is begun in one and sent in the next */
#define EARLY_MAX     (256u << 10) /* more than that is worth a write of its own */
#define TASK_MS       10000        /* for a sandbox that exists to have its task */

/* One inquiry while it is under way. */
struct inquiry_work {
    struct app *app;
    struct inquiry *q;
    struct modal_task *task; /* ours, if it was not given */
    struct session *session;
    struct modal_exec *exec;
    struct modal_watch *watch;
    /* what is said before the first answer leaves as one write: each costs a round trip */
    bool corked, dead;
    struct buf early;
};

void inquiry_init(struct inquiry *q, const char *sandbox_id, uint8_t kind)
{
    *q = (struct inquiry){.sandbox_id = sandbox_id, .ask = {.kind = kind}, .out = BUF_INIT(INQUIRY_OUT_MAX)};
}

static void work_free(struct inquiry_work *w)
{
    if (!w)
        return;
    modal_watch_free(w->watch);
    session_free(w->session);
    modal_exec_free(w->exec);
    modal_task_free(w->task);
    buf_clear(&w->early);
    free(w);
}

void inquiry_clear(struct inquiry *q)
{
    work_free(q->work);
    q->work = NULL;
    wire_ask_clear(&q->ask);
    buf_clear(&q->out);
    err_clear(&q->err);
}

bool inquiry_not_running(const struct inquiry *q)
{
    if (!q->done)
        return false;
    return q->gone || (q->end == SESSION_REFUSED && q->refusal == WIRE_REFUSAL_NOT_RUNNING);
}

/* ---- the session's side ---- */

static void on_out(void *arg, const void *bytes, size_t len)
{
    struct inquiry_work *w = arg;

    if (w->corked && buf_add(&w->early, bytes, len) == 0)
        return;
    if (w->corked) {
        w->corked = false;
        modal_exec_write(w->exec, w->early.data, w->early.len);
        buf_clear(&w->early);
    }
    if (modal_exec_write(w->exec, bytes, len) < 0)
        session_lost(w->session, "the server takes no more input");
}

static void uncork(struct inquiry_work *w)
{
    if (!w->corked)
        return;
    w->corked = false;
    modal_exec_write(w->exec, w->early.data, w->early.len);
    buf_clear(&w->early);
}

static size_t on_out_pending(void *arg)
{
    const struct inquiry_work *w = arg;

    return w->early.len + modal_exec_pending(w->exec);
}

static size_t on_output(void *arg, int stream, const void *bytes, size_t len)
{
    struct inquiry_work *w = arg;

    if (stream == 1)
        buf_add(&w->q->out, bytes, len); /* what is too much sets `overflowed`, which its reader asks */
    return len;
}

static void on_greeted(void *arg, const struct session_peer *peer)
{
    struct inquiry *q = ((struct inquiry_work *)arg)->q;

    q->greeted = true;
    q->main_state = peer->main_state;
    q->main_code = peer->main_code;
    q->main_started_ns = peer->main_started_ns;
    q->main_ended_ns = peer->main_ended_ns;
    q->restarts = peer->restarts;
    q->health = peer->health;
    q->paused = peer->paused;
}

static void on_note(void *arg, const char *line)
{
    const struct inquiry_work *w = arg;

    if (!w->q->quiet)
        fprintf(stderr, "docker: %s\n", line);
}

static void on_done(void *arg, const struct session_result *result)
{
    struct inquiry_work *w = arg;
    struct inquiry *q = w->q;

    q->done = true;
    if (q->tree && q->tree->over)
        q->tree->over(q->tree_arg);
    q->end = result->end;
    q->code = result->code;
    q->refusal = result->refusal;
    q->pull_failed = result->pull_failed;
    q->agent_failed = q->agent_failed || result->agent_failed;
    if (result->err.msg && !q->err.msg)
        err_set(&q->err, result->code, "%s", result->err.msg);
    loop_stop(w->app->loop);
}

static void on_tree(void *arg, const void *bytes, size_t len)
{
    const struct inquiry *q = ((struct inquiry_work *)arg)->q;

    if (q->tree && q->tree->bytes)
        q->tree->bytes(q->tree_arg, bytes, len);
}

static void on_tree_end(void *arg)
{
    const struct inquiry *q = ((struct inquiry_work *)arg)->q;

    if (q->tree && q->tree->end)
        q->tree->end(q->tree_arg);
}

static void on_stat(void *arg, const struct wire_frame *stat)
{
    const struct inquiry *q = ((struct inquiry_work *)arg)->q;

    if (q->tree && q->tree->stat)
        q->tree->stat(q->tree_arg, stat);
}

static void on_ready(void *arg)
{
    const struct inquiry *q = ((struct inquiry_work *)arg)->q;

    if (q->tree && q->tree->ready)
        q->tree->ready(q->tree_arg);
}

static const struct session_callbacks callbacks = {
    .out = on_out,
    .tree = on_tree,
    .tree_end = on_tree_end,
    .stat = on_stat,
    .stdin_ready = on_ready,
    .out_pending = on_out_pending,
    .output = on_output,
    .greeted = on_greeted,
    .note = on_note,
    .done = on_done,
};

/* ---- the transport's side ---- */

static void on_stdout(struct modal_exec *exec, const void *data, size_t len, void *arg)
{
    struct inquiry_work *w = arg;

    (void)exec;
    if (!w->q->done)
        session_feed(w->session, data, len);
}

static void on_drained(struct modal_exec *exec, void *arg)
{
    struct inquiry_work *w = arg;

    (void)exec;
    if (!w->q->done)
        session_writable(w->session);
}

static void on_exec_end(struct modal_exec *exec, int code, void *arg)
{
    struct inquiry_work *w = arg;

    (void)exec;
    (void)code;
    w->dead = true;
    if (w->q->done)
        return;
    w->q->agent_failed = true; /* or the whole sandbox is gone, which the server knows */
    session_lost(w->session, "the container's agent has ended");
}

static bool means_gone(const struct err *err)
{
    return err->code == GRPC_NOT_FOUND || err->code == GRPC_FAILED_PRECONDITION;
}

static void on_exec_error(struct modal_exec *exec, const struct err *err, void *arg)
{
    struct inquiry_work *w = arg;

    (void)exec;
    w->dead = true;
    if (w->q->done)
        return;
    w->q->gone = means_gone(err);
    session_lost(w->session, err->msg);
}

static void on_sandbox_end(void *arg, const struct modal_ending *ending, const struct err *err)
{
    struct inquiry_work *w = arg;

    (void)err; /* a watch that fails says nothing of the sandbox */
    if (!ending || w->q->done)
        return;
    w->q->gone = true;
    session_lost(w->session, ending->exception ? ending->exception : "the sandbox has ended");
}

static const struct modal_exec_handlers exec_handlers = {
    .on_stdout = on_stdout,
    .on_drained = on_drained,
    .on_exit = on_exec_end,
    .on_error = on_exec_error,
};

/* ---- begin and end ---- */

/* It could not even be asked. */
static void fail(struct inquiry *q, struct err *err)
{
    q->gone = means_gone(err);
    q->done = true;
    q->end = SESSION_LOST;
    q->code = 125;
    err_move(&q->err, err);
}

static void begin(struct app *app, struct inquiry *q)
{
    struct modal_exec_options options = {.drop_stderr = true, .no_wait = true, .patience_ms = q->patience_ms};
    const struct session_mount *mounts = q->binds ? q->binds->mounts : NULL;
    size_t mounts_len = q->binds ? q->binds->len : 0;
    struct inquiry_work *w = xcalloc(1, sizeof(*w));
    struct err err = ERR_INIT;

    *w = (struct inquiry_work){.app = app, .q = q, .corked = true, .early = BUF_INIT(EARLY_MAX)};
    q->work = w;
    if (!q->ask.text)
        q->ask.text = xstrdup("");
    if (!q->task && modal_task_open(app->modal, q->sandbox_id, TASK_MS, &w->task, &err) < 0) {
        fail(q, &err);
        return;
    }
    strlist_add(&options.argv, AGENT_PATH);
    strlist_add(&options.argv, "session");
    w->exec = modal_exec_start(q->task ? q->task : w->task, &options, &exec_handlers, w, &err);
    modal_exec_options_clear(&options);
    if (!w->exec) {
        fail(q, &err);
        return;
    }
    w->session = q->start ? session_new(app->loop, q->start, mounts, mounts_len, &callbacks, w)
                          : session_ask(app->loop, &q->ask, mounts, mounts_len, &callbacks, w);
    if (q->tree && q->tree->begun)
        q->tree->begun(q->tree_arg, w->session);
    if (q->alone)
        w->watch = modal_sandbox_watch(app->modal, q->sandbox_id, on_sandbox_end, w);
}

/* Lets what was gathered go; true when all have their answers. */
static bool all_done(struct inquiry *list, size_t len)
{
    bool done = true;

    for (size_t i = 0; i < len; i++) {
        struct inquiry_work *w = list[i].work;

        done = done && list[i].done;
        if (!list[i].done && session_prelude_done(w->session))
            uncork(w);
    }
    return done;
}

/* Whether the last words are to be seen through: after a start, and after changes that were pulled. A question has its
 * answer, and should its BYE be lost the session over there ends by its lease. */
static bool words_matter(const struct inquiry *q)
{
    return q->start || (q->binds && q->binds->len);
}

/* The last words of those that have answered: of all, or where they matter. */
static bool all_said(const struct inquiry *list, size_t len, bool all)
{
    for (size_t i = 0; i < len; i++) {
        const struct inquiry_work *w = list[i].work;

        if (list[i].done && !list[i].gone && w->exec && !w->dead && modal_exec_pending(w->exec) &&
            (all || words_matter(&list[i])))
            return false;
    }
    return true;
}

void inquiry_run(struct app *app, struct inquiry *list, size_t len, int64_t timeout_ms)
{
    int64_t until = loop_now() + timeout_ms;

    for (size_t i = 0; i < len; i++)
        begin(app, &list[i]);
    while (!all_done(list, len) && (!timeout_ms || loop_now() < until))
        loop_step(app->loop, timeout_ms ? until - loop_now() : -1);
    until = loop_now() + LAST_WORDS_MS;
    while (!all_said(list, len, false) && loop_now() < until)
        loop_step(app->loop, until - loop_now());
    for (int turns = 0; turns < LAST_TURNS && !all_said(list, len, true); turns++)
        loop_step(app->loop, 0);
    for (size_t i = 0; i < len; i++) {
        work_free(list[i].work);
        list[i].work = NULL;
    }
}
