#include "shim/attach.h"

#include "backends/modal/exec.h"
#include "backends/modal/sandbox.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/limits.h"
#include "compat/sys/loop.h"
#include "compat/sys/tty.h"
#include "shim/app.h"
#include "shim/output.h"
#include "translate/detach_keys.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Docker passes on every signal that can be caught but these; WINCH becomes a resize. */
static bool is_proxied(int signo)
{
    switch (signo) {
    case SIGKILL:
    case SIGSTOP:
    case SIGCHLD:
    case SIGPIPE:
    case SIGURG:
    case SIGWINCH:
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGABRT:
        return false;
    default:
        return true;
    }
}

#define START_MS    300000 /* for a sandbox to be scheduled and its image to be brought; its end is noticed at once */
#define STOP_MS     10000  /* Docker's grace between TERM and KILL */
#define LAST_MS     2000   /* for PULLED to be taken by the server: without it the next push repeats what we have */
#define CLOSED_MS   500    /* for a command to end when nobody reads it any more */
#define LOG_MAX     (256u << 20) /* what a window of log can become: a time before each of the shortest lines */
#define LAST_TURNS  4            /* of the loop: a write is begun in one and sent in the next */
#define SIGNALS_MAX 32           /* the ordinary ones */
#define EARLY_MAX   (256u << 10) /* more than that is worth a write of its own */

struct attach {
    const struct attach_request *req;
    struct attach_result *result;
    struct loop *loop;
    struct session *session;
    struct modal_exec *exec;
    struct modal_watch *watch;
    struct loop_timer *lifetime, *deadline;
    bool expired;
    struct output *out[3]; /* by stream, 1 and 2 */
    struct loop_io *in;
    struct detach_keys keys;
    bool terminal;     /* the process has one: keys count */
    struct buf log[3]; /* by stream: what is to be printed of the log */
    size_t log_sent[3];
    size_t log_owed; /* bytes of the log that were not credited yet */
    struct loop_timer *leaving;
    struct loop_signal *signals[SIGNALS_MAX];
    /*
     * The server takes one write at a time, and each costs a round trip: what is said before the first answer is
     * gathered, so that it leaves as one.
     */
    bool corked;
    struct buf early;
    bool lost; /* the exec has ended: nothing more can be said */
    bool done;
};

/* ---- the session's side ---- */

static void write_out(struct attach *a, const void *bytes, size_t len)
{
    if (modal_exec_write(a->exec, bytes, len) < 0)
        session_lost(a->session, "the server takes no more input");
}

/* Sends what was gathered: from now on every write goes at once. */
static void uncork(struct attach *a)
{
    if (a->corked) {
        a->corked = false;
        write_out(a, a->early.data, a->early.len);
        buf_clear(&a->early);
    }
}

static void on_out(void *arg, const void *bytes, size_t len)
{
    struct attach *a = arg;

    if (a->corked && buf_add(&a->early, bytes, len) == 0)
        return;
    uncork(a);
    write_out(a, bytes, len);
}

static size_t on_out_pending(void *arg)
{
    const struct attach *a = arg;

    return a->early.len + modal_exec_pending(a->exec);
}

static size_t on_output(void *arg, int stream, const void *bytes, size_t len)
{
    struct attach *a = arg;

    return a->out[stream] ? output_write(a->out[stream], bytes, len) : len;
}

/* Prints what waits; the agent may send more of the log once all is out. */
static void flush_log(struct attach *a)
{
    bool waits = false;

    for (int i = 1; i < 3; i++) {
        size_t left = a->log[i].len - a->log_sent[i];

        if (left)
            a->log_sent[i] += output_write(a->out[i], a->log[i].data + a->log_sent[i], left);
        if (a->log_sent[i] == a->log[i].len) {
            buf_reset(&a->log[i]);
            a->log_sent[i] = 0;
        }
        waits = waits || a->log[i].len;
    }
    if (waits || !a->log_owed)
        return;
    if (!a->done)
        session_log_taken(a->session, a->log_owed);
    a->log_owed = 0;
}

static void on_log(void *arg, int64_t time_ns, int stream, const void *bytes, size_t len)
{
    struct attach *a = arg;

    a->req->log(a->req->arg, time_ns, stream, bytes, len, &a->log[stream]);
    a->log_owed += len;
    flush_log(a);
    if (a->req->enough && *a->req->enough)
        session_detach(a->session);
}

static void on_stdin_ready(void *arg)
{
    struct attach *a = arg;

    if (a->in)
        loop_io_set(a->in, POLLIN);
}

static void on_note(void *arg, const char *line)
{
    const struct attach *a = arg;

    fprintf(stderr, a->req->raw_terminal ? "docker: %s\r\n" : "docker: %s\n", line);
}

static void on_agreed(void *arg, size_t index, const uint8_t nonce[SYNC_NONCE_LEN], uint64_t generation,
                      const struct manifest *manifest)
{
    const struct attach *a = arg;

    if (a->req->agreed)
        a->req->agreed(a->req->arg, index, nonce, generation, manifest);
}

static void on_done(void *arg, const struct session_result *result)
{
    struct attach *a = arg;

    a->result->end = result->end;
    a->result->code = result->code;
    a->result->refusal = result->refusal;
    a->result->pull_failed = result->pull_failed;
    a->result->agent_failed = a->result->agent_failed || result->agent_failed;
    if (result->err.msg)
        err_set(&a->result->err, result->code, "%s", result->err.msg);
    a->done = true;
    loop_stop(a->loop);
}

/* ---- the transport's side ---- */

static void on_stdout(struct modal_exec *exec, const void *data, size_t len, void *arg)
{
    struct attach *a = arg;

    (void)exec;
    if (!a->done)
        session_feed(a->session, data, len);
}

static void on_drained(struct modal_exec *exec, void *arg)
{
    struct attach *a = arg;

    (void)exec;
    if (!a->done)
        session_writable(a->session);
}

static void on_exec_end(struct modal_exec *exec, int code, void *arg)
{
    struct attach *a = arg;

    (void)exec;
    (void)code;
    a->lost = true;
    session_lost(a->session, "the container's agent has ended");
}

static void on_exec_error(struct modal_exec *exec, const struct err *err, void *arg)
{
    struct attach *a = arg;

    (void)exec;
    a->lost = true;
    session_lost(a->session, err->msg);
}

/* The server says that the sandbox is over: its lifetime, a kill from elsewhere, a start that failed. */
static void on_sandbox_end(void *arg, const struct modal_ending *ending, const struct err *err)
{
    struct attach *a = arg;

    (void)err; /* a watch that fails says nothing of the sandbox */
    if (ending && !a->done)
        session_lost(a->session, ending->exception ? ending->exception : "the sandbox has ended");
}

/* ---- the user's side ---- */

static void on_output_ready(void *arg)
{
    struct attach *a = arg;

    flush_log(a);
    if (!a->done)
        session_output_ready(a->session);
}

/* Ends us, and nothing else. */
static void leave(struct attach *a, int code)
{
    if (a->done)
        return;
    session_detach(a->session);
    a->result->code = code;
}

static void on_leaving(struct loop *loop, void *arg)
{
    (void)loop;
    leave(arg, ATTACH_NO_READER);
}

/* The reader is gone. Docker's client dies of it at once; ours lets the command end, so that its changes come home. */
static void reader_gone(struct attach *a, int stream)
{
    if (a->done)
        return;
    session_output_closed(a->session, stream);
    if (a->req->leaves && !a->done && !a->leaving)
        a->leaving = loop_timer_add(a->loop, a->req->ask ? 0 : CLOSED_MS, on_leaving, a);
}

static void on_stdout_closed(void *arg)
{
    reader_gone(arg, 1);
}

static void on_stderr_closed(void *arg)
{
    reader_gone(arg, 2);
}

/* What was typed, but for the keys that leave. */
static void take_typed(struct attach *a, const char *bytes, size_t len)
{
    uint8_t out[65536 + DETACH_KEYS_MAX];
    size_t n = 0;
    bool left = detach_keys_filter(&a->keys, (const uint8_t *)bytes, len, out, &n);

    session_stdin(a->session, out, n);
    if (!left)
        return;
    a->result->by_keys = true;
    leave(a, 0);
}

static void on_stdin(struct loop *loop, int fd, short revents, void *arg)
{
    struct attach *a = arg;
    size_t room = session_stdin_room(a->session);
    char bytes[65536];
    ssize_t n;

    (void)loop;
    (void)revents;
    room = a->terminal && room > DETACH_KEYS_MAX ? room - DETACH_KEYS_MAX : room;
    if (!room) {
        loop_io_set(a->in, 0); /* until on_stdin_ready */
        return;
    }
    n = read(fd, bytes, room < sizeof(bytes) ? room : sizeof(bytes));
    if (n > 0) {
        if (a->terminal)
            take_typed(a, bytes, (size_t)n);
        else
            session_stdin(a->session, bytes, (size_t)n);
        return;
    }
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    loop_io_del(a->in);
    a->in = NULL;
    session_stdin_eof(a->session);
}

static void on_signal(struct loop *loop, int signo, void *arg)
{
    struct attach *a = arg;
    uint16_t rows, cols;

    (void)loop;
    if (signo != SIGWINCH)
        session_signal(a->session, signo, /* group= */ false);
    else if (tty_size(STDIN_FILENO, &rows, &cols) || tty_size(STDOUT_FILENO, &rows, &cols))
        session_resize(a->session, rows, cols);
}

static void on_leaving_signal(struct loop *loop, int signo, void *arg)
{
    (void)loop;
    (void)signo;
    leave(arg, 0);
}

/* Its time is over: asked to end, and made to if it does not. The sandbox lives on for the pull. */
static void on_lifetime(struct loop *loop, void *arg)
{
    struct attach *a = arg;

    (void)loop;
    session_signal(a->session, a->expired ? SIGKILL : SIGTERM, /* group= */ true);
    a->expired = true;
    loop_timer_set(a->lifetime, STOP_MS);
}

static void on_deadline(struct loop *loop, void *arg)
{
    struct attach *a = arg;

    (void)loop;
    if (a->done)
        return;
    a->result->agent_failed = true;
    session_lost(a->session, "the container's agent does not come to an end");
}

/* A command that was ended by its lifetime says so, whatever it made of the signal. */
static void judge_lifetime(const struct attach *a)
{
    struct attach_result *ret = a->result;

    if (!a->expired || ret->end != SESSION_EXITED)
        return;
    ret->code = ATTACH_TIME_OVER;
    if (!ret->err.msg)
        err_set(&ret->err, ret->code, "the container was stopped: its time is over (label modal.timeout)");
}

/* Watches the signals that go to the container. */
static void watch_signals(struct attach *a)
{
    for (int signo = 1; signo < SIGNALS_MAX; signo++)
        if ((a->req->sig_proxy && is_proxied(signo)) || (a->terminal && signo == SIGWINCH))
            a->signals[signo] = loop_signal_add(a->loop, signo, on_signal, a);
        else if (a->req->leaves && !a->req->ask && (signo == SIGINT || signo == SIGTERM))
            a->signals[signo] = loop_signal_add(a->loop, signo, on_leaving_signal, a);
}

static void on_session_started(void *arg)
{
    const struct attach *a = arg;

    if (a->req->started)
        a->req->started(a->req->arg);
}

static const struct session_callbacks session_callbacks = {
    .out = on_out,
    .out_pending = on_out_pending,
    .output = on_output,
    .log = on_log,
    .stdin_ready = on_stdin_ready,
    .started = on_session_started,
    .note = on_note,
    .agreed = on_agreed,
    .done = on_done,
};

static const struct modal_exec_handlers exec_handlers = {
    .on_stdout = on_stdout,
    .on_drained = on_drained,
    .on_exit = on_exec_end,
    .on_error = on_exec_error,
};

/* The agent's session as an exec of the task. */
static struct modal_exec *start_exec(struct attach *a, struct modal_task *task, struct err *err)
{
    struct modal_exec_options options = {.drop_stderr = true, .no_wait = true};
    struct modal_exec *exec;

    if (!a->req->leaves) /* the others find their sandbox running */
        options.patience_ms = START_MS;
    strlist_add(&options.argv, a->req->agent);
    strlist_add(&options.argv, "session");
    exec = modal_exec_start(task, &options, &exec_handlers, a, err);
    modal_exec_options_clear(&options);
    return exec;
}

/*
 * PULLED and FINISH go to the network if it takes them now; who ran the container's own process ends the sandbox next,
 * which says the same. After any other command nobody does, so what it pulled is seen through.
 */
static void send_last_words(struct attach *a)
{
    int64_t until = loop_now() + LAST_MS;

    while (a->req->leaves && a->req->mounts_len && !a->lost && modal_exec_pending(a->exec) && loop_now() < until)
        loop_step(a->loop, until - loop_now());
    for (int turns = 0; turns < LAST_TURNS && modal_exec_pending(a->exec); turns++)
        loop_step(a->loop, 0);
}

/* The log's last lines, however slow its reader is. */
static void print_the_rest(struct attach *a)
{
    while ((a->log[1].len || a->log[2].len) && loop_step(a->loop, -1))
        flush_log(a);
}

static void release(struct attach *a)
{
    for (int i = 0; i < SIGNALS_MAX; i++)
        loop_signal_del(a->signals[i]);
    loop_io_del(a->in);
    output_free(a->out[1]);
    output_free(a->out[2]);
    modal_watch_free(a->watch);
    loop_timer_del(a->lifetime);
    loop_timer_del(a->deadline);
    loop_timer_del(a->leaving);
    for (int i = 0; i < 3; i++)
        buf_clear(&a->log[i]);
    session_free(a->session);
    modal_exec_free(a->exec);
    buf_clear(&a->early);
    tty_restore();
}

/* The session, and what is watched beside it. */
static void begin(struct attach *a, struct app *app)
{
    const struct attach_request *req = a->req;

    a->session = req->ask ? session_ask(a->loop, req->ask, req->mounts, req->mounts_len, &session_callbacks, a)
                          : session_new(a->loop, &req->start, req->mounts, req->mounts_len, &session_callbacks, a);
    if (req->lifetime_ms)
        a->lifetime = loop_timer_add(a->loop, req->lifetime_ms, on_lifetime, a);
    if (req->deadline_ms)
        a->deadline = loop_timer_add(a->loop, req->deadline_ms, on_deadline, a);
    if (!req->quick)
        a->watch = modal_sandbox_watch(app->modal, req->sandbox_id, on_sandbox_end, a);
    if (req->stdin_attached)
        a->in = loop_io_add(a->loop, STDIN_FILENO, 0, on_stdin, a);
    if (req->ask && a->terminal)
        on_signal(a->loop, SIGWINCH, a); /* the terminal there gets our size */
}

void attach_run(struct app *app, struct modal_task *task, const struct attach_request *req, struct attach_result *ret)
{
    struct attach a = {.req = req, .result = ret, .loop = app->loop, .corked = true, .early = BUF_INIT(EARLY_MAX)};

    *ret = (struct attach_result){.end = SESSION_LOST, .code = 125};
    a.terminal = req->ask ? req->tty : req->start.tty;
    for (int i = 0; i < 3; i++)
        buf_init(&a.log[i], LOG_MAX);
    if (detach_keys_parse(req->detach_keys, &a.keys, &ret->err) < 0) {
        ret->end = SESSION_REFUSED;
        ret->code = ret->err.exit_code = 125;
        return;
    }
    a.exec = start_exec(&a, task, &ret->err);
    if (!a.exec)
        return;
    if (req->stdout_attached || req->log)
        a.out[1] = output_new(a.loop, STDOUT_FILENO, on_output_ready, on_stdout_closed, &a);
    if (req->stderr_attached || req->log)
        a.out[2] = output_new(a.loop, STDERR_FILENO, on_output_ready, on_stderr_closed, &a);
    watch_signals(&a);
    if (!req->raw_terminal || tty_raw(STDIN_FILENO, &ret->err) == 0) {
        begin(&a, app);
        do
            if (session_prelude_done(a.session))
                uncork(&a);
        while (!a.done && loop_step(a.loop, -1));
        judge_lifetime(&a);
        print_the_rest(&a);
        send_last_words(&a);
    }
    release(&a);
}
