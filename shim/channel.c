#include "shim/channel.h"

#include "backends/modal/exec.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "shim/agent.h"
#include "shim/app.h"

#include <stdlib.h>
#include <string.h>

#define EARLY_MAX (256u << 10)
#define LINE_MAX  (4u << 20) /* the longest answer: a health check's log */

struct channel {
    const struct channel_handlers *handlers;
    void *arg;
    struct session *session;
    struct modal_exec *exec;
    bool corked; /* what is said before the first answer leaves as one write */
    bool over;
    struct buf early, line;
};

/* ---- the session's side ---- */

static void on_out(void *arg, const void *bytes, size_t len)
{
    struct channel *c = arg;

    if (c->corked && buf_add(&c->early, bytes, len) == 0)
        return;
    if (modal_exec_write(c->exec, bytes, len) < 0)
        session_lost(c->session, "the server takes no more input");
}

static void on_asked(void *arg)
{
    struct channel *c = arg;

    if (c->handlers->asked)
        c->handlers->asked(c->arg, c->session);
    c->corked = false;
    modal_exec_write(c->exec, c->early.data, c->early.len);
    buf_clear(&c->early);
}

static size_t on_out_pending(void *arg)
{
    const struct channel *c = arg;

    return c->early.len + modal_exec_pending(c->exec);
}

/* Whole lines go on; what is too long for one is dropped with its line. */
static size_t on_output(void *arg, int stream, const void *bytes, size_t len)
{
    struct channel *c = arg;
    char *newline;

    if (stream != 1 || !c->handlers->line)
        return len;
    if (buf_add(&c->line, bytes, len) < 0) {
        buf_reset(&c->line);
        return len;
    }
    while ((newline = c->line.len ? memchr(c->line.data, '\n', c->line.len) : NULL)) {
        *newline = '\0';
        c->handlers->line(c->arg, c->line.data);
        buf_consume(&c->line, (size_t)(newline - c->line.data) + 1);
    }
    return len;
}

static void on_greeted(void *arg, const struct session_peer *peer)
{
    struct channel *c = arg;

    if (c->handlers->greeted)
        c->handlers->greeted(c->arg, peer);
}

static int on_port(void *arg, const struct wire_frame *f, struct err *err)
{
    struct channel *c = arg;

    return c->handlers->port ? c->handlers->port(c->arg, f, err) : err_set(err, 125, "a PORT frame out of place");
}

static void end(struct channel *c, bool ended, const struct err *why)
{
    if (c->over)
        return;
    c->over = true;
    c->handlers->over(c->arg, ended, why);
}

static void on_done(void *arg, const struct session_result *result)
{
    struct channel *c = arg;

    end(c, result->end == SESSION_EXITED, &result->err);
}

static const struct session_callbacks callbacks = {
    .out = on_out,
    .out_pending = on_out_pending,
    .output = on_output,
    .greeted = on_greeted,
    .asked = on_asked,
    .port = on_port,
    .done = on_done,
};

/* ---- the transport's side ---- */

static void on_stdout(struct modal_exec *exec, const void *data, size_t len, void *arg)
{
    struct channel *c = arg;

    (void)exec;
    if (!c->over)
        session_feed(c->session, data, len);
}

static void on_drained(struct modal_exec *exec, void *arg)
{
    struct channel *c = arg;

    (void)exec;
    if (c->over)
        return;
    session_writable(c->session);
    if (!c->over && c->handlers->writable)
        c->handlers->writable(c->arg);
}

static void on_exec_end(struct modal_exec *exec, int code, void *arg)
{
    struct channel *c = arg;

    (void)exec;
    (void)code;
    if (!c->over)
        session_lost(c->session, "the container's agent has ended");
}

static void on_exec_error(struct modal_exec *exec, const struct err *err, void *arg)
{
    (void)exec;
    end(arg, /* ended= */ false, err);
}

static const struct modal_exec_handlers exec_handlers = {
    .on_stdout = on_stdout,
    .on_drained = on_drained,
    .on_exit = on_exec_end,
    .on_error = on_exec_error,
};

/* ---- life ---- */

struct channel *channel_open(struct app *app, struct modal_task *task, const struct wire_ask *ask,
                             const struct channel_handlers *handlers, void *arg, struct err *err)
{
    struct modal_exec_options options = {.drop_stderr = true, .no_wait = true};
    struct channel *c = xcalloc(1, sizeof(*c));

    *c = (struct channel){
        .handlers = handlers, .arg = arg, .corked = true, .early = BUF_INIT(EARLY_MAX), .line = BUF_INIT(LINE_MAX)};
    strlist_add(&options.argv, AGENT_PATH);
    strlist_add(&options.argv, "session");
    c->exec = modal_exec_start(task, &options, &exec_handlers, c, err);
    modal_exec_options_clear(&options);
    if (!c->exec) {
        free(c);
        return NULL;
    }
    c->session = session_ask(app->loop, ask, NULL, 0, &callbacks, c);
    return c;
}

void channel_free(struct channel *c)
{
    if (!c)
        return;
    session_free(c->session);
    modal_exec_free(c->exec);
    buf_clear(&c->early);
    buf_clear(&c->line);
    free(c);
}
