/*
 * One client's command. Stands between the client (stdin and stdout) and init (a socket): sync, logs and files are
 * done here, in this process, which can be killed without harm; everything about processes is passed on to init and
 * back.
 */
#include "backends/agent/agent.h"

#include "backends/agent/answer.h"
#include "backends/agent/facts.h"
#include "backends/agent/link.h"
#include "backends/agent/mounts.h"
#include "backends/agent/share_barrier.h"
#include "backends/agent/socket.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LAST_WORDS 2000 /* ms to get the last frame out */
#define HELD_MAX                                                                                                       \
    (WIRE_START_MAX + WIRE_RECORD_MAX + LIMIT_FRAME + 2 * WIRE_WINDOW) /* START and stdin that wait for the pushes */

struct session {
    const struct agent_options *options;
    struct loop *loop;
    struct link client, init;
    struct mounts *mounts;
    struct share_barrier *before, *after; /* shared volumes are in step before a command begins, and after its end */
    struct loop_timer *beat;
    struct buf held;      /* frames for init that wait until all mounts are pushed */
    struct answer answer; /* kind set: the ASK is not init's */
    struct wire_exit exit;
    pid_t init_pid;
    uint8_t main_state;
    int64_t born;
    int64_t beat_at;   /* when the lease was looked at last */
    bool greeted;      /* the client's HELLO came and suits us */
    bool init_greeted; /* init's HELLO came */
    bool start_seen;   /* the last START frame */
    bool starts_main;  /* START is the container's own: its volumes are brought by init */
    bool asks_init;    /* an ASK that is not the session's to answer */
    bool in_step;      /* `before` is over */
    bool released;     /* held was given to init */
    bool ended;        /* EXIT came from init, or the answer is complete */
    bool exit_sent;
    bool over;
};

static void fail(struct session *s, uint8_t kind, const char *text)
{
    if (s->over)
        return;
    s->over = true;
    wire_put_error(&s->client.queue, kind, text);
    link_send(&s->client);
}

static void pass_on(struct link *to, const struct wire_frame *f)
{
    wire_put(&to->queue, f->type, f->data, f->len);
    link_send(to);
}

/* ---- from the client ---- */

/* Frames that came before they could be answered. */
static int answer_held(struct session *s, struct err *err)
{
    struct wire_parser p;
    struct wire_frame f;
    int got = 0;

    wire_parser_init(&p);
    for (size_t at = 0; at < s->held.len && got >= 0;) {
        size_t n = s->held.len - at < LIMIT_FRAME ? s->held.len - at : LIMIT_FRAME;

        wire_parser_feed(&p, s->held.data + at, n, NULL);
        at += n;
        while ((got = wire_parser_next(&p, &f, err)) > 0)
            if (answer_frame(&s->answer, &f, err) < 0) {
                got = -1;
                break;
            }
    }
    wire_parser_clear(&p);
    return got;
}

/* What the session answers itself. To follow a log is to know when the main process has ended, so init is asked. */
static int begin_answer(struct session *s, struct err *err)
{
    const struct wire_ask attach = {.kind = WIRE_ASK_ATTACH};

    s->answer.init_pid = s->init_pid;
    s->answer.main_state = s->main_state;
    if (s->answer.kind->follows && (s->answer.kind->lasts || (s->answer.ask.flags & WIRE_ASK_FOLLOW))) {
        wire_put_ask(&s->init.queue, &attach);
        link_send(&s->init);
    }
    answer_start(&s->answer);
    return answer_held(s, err);
}

static void release(struct session *s);

static void on_in_step(void *arg)
{
    struct session *s = arg;

    s->in_step = true;
    if (!s->over)
        release(s);
}

/* A command, and whoever looks at files or brings some, sees what was written before, wherever in the pod it was. */
static bool wants_step(const struct session *s)
{
    if (!s->answer.kind)
        return !s->starts_main && !s->asks_init;
    return s->answer.ask.kind == WIRE_ASK_READ || s->answer.ask.kind == WIRE_ASK_STAT ||
           s->answer.ask.kind == WIRE_ASK_WRITE;
}

/* True if there is something to wait for. */
static bool get_in_step(struct session *s)
{
    if (s->in_step || !wants_step(s))
        return false;
    if (!s->before)
        s->before = share_barrier_new(s->loop, s->options, on_in_step, s);
    return s->before != NULL;
}

/* Gives init what waited, or answers, once the mounts are as the client wants them. */
static void release(struct session *s)
{
    cleanup_err struct err err = ERR_INIT;

    if (s->released || !s->start_seen || !mounts_ready(s->mounts) || get_in_step(s))
        return;
    s->released = true;
    if (!s->answer.kind) {
        buf_add(&s->init.queue, s->held.data, s->held.len);
        link_send(&s->init);
    } else if (begin_answer(s, &err) < 0) {
        fail(s, WIRE_ERROR_PROTOCOL, err.msg);
    }
    buf_clear(&s->held);
}

/* START or ASK is complete. */
static void take_request(struct session *s)
{
    s->start_seen = true;
    release(s);
}

static int for_init(struct session *s, const struct wire_frame *f, struct err *err)
{
    if (f->type == WIRE_START && s->start_seen)
        return err_set(err, 125, "a second START");
    if (s->answer.kind && s->released)
        return answer_frame(&s->answer, f, err);
    if (s->released) {
        if (!s->ended)
            pass_on(&s->init, f);
        return 0;
    }
    if (f->type == WIRE_START && !s->held.len)
        s->starts_main = wire_start_is_main(f);
    if (wire_put(&s->held, f->type, f->data, f->len) < 0)
        return err_set(err, 125, "too much came before the start");
    if (wire_start_is_last(f))
        take_request(s);
    return 0;
}

static void on_answered(void *arg);

static int take_ask(struct session *s, const struct wire_frame *f, struct err *err)
{
    struct wire_ask ask;

    if (s->start_seen || s->held.len)
        return err_set(err, 125, "ASK behind a START or another");
    if (wire_get_ask(f, &ask, err) < 0)
        return -1;
    s->answer = (struct answer){.kind = answer_find(ask.kind),
                                .loop = s->loop,
                                .options = s->options,
                                .ask = ask,
                                .client = &s->client,
                                .ended = on_answered,
                                .arg = s};
    s->asks_init = !s->answer.kind;
    if (!s->answer.kind && wire_put(&s->held, f->type, f->data, f->len) < 0)
        return err_set(err, 125, "ASK is too large");
    take_request(s);
    return 0;
}

static int take_hello(struct session *s, const struct wire_frame *f, struct err *err)
{
    struct wire_hello ours = {.oldest = WIRE_VERSION, .newest = WIRE_VERSION}, theirs;

    if (s->greeted)
        return err_set(err, 125, "a second HELLO");
    if (wire_get_hello(f, &theirs, err) < 0)
        return -1;
    s->greeted = wire_hello_version(&ours, &theirs);
    if (!s->greeted)
        err_set(err, 125, "%s speaks versions %u to %u of the session protocol, this agent (" ATP_VERSION ") %d",
                theirs.program, theirs.oldest, theirs.newest, WIRE_VERSION);
    wire_hello_clear(&theirs);
    return s->greeted ? 0 : -1;
}

static int on_client_frame(void *arg, const struct wire_frame *f, struct err *err)
{
    struct session *s = arg;

    if (s->over)
        return 0;
    if (!s->greeted && f->type != WIRE_HELLO)
        return err_set(err, 125, "%s frame before HELLO", wire_type_name(f->type));
    switch (f->type) {
    case WIRE_HELLO:
        return take_hello(s, f, err);
    case WIRE_MOUNT:
        if (s->released)
            return err_set(err, 125, "MOUNT after the start");
        return mounts_frame(s->mounts, f, err);
    case WIRE_DELTA:
    case WIRE_DELTA_END:
    case WIRE_PULL:
    case WIRE_PULLED:
        return mounts_frame(s->mounts, f, err);
    case WIRE_ASK:
        return take_ask(s, f, err);
    case WIRE_TREE:
    case WIRE_TREE_END:
    case WIRE_PORT_OPEN:
    case WIRE_PORT_CLOSED:
    case WIRE_PORT_DATA:
    case WIRE_PORT_EOF:
    case WIRE_PORT_CREDIT:
        if (!s->answer.kind)
            return err_set(err, 125, "%s frame out of place", wire_type_name(f->type));
        return for_init(s, f, err);
    case WIRE_START:
    case WIRE_STDIN:
    case WIRE_STDIN_EOF:
    case WIRE_CLOSE:
    case WIRE_RESIZE:
    case WIRE_SIGNAL:
    case WIRE_CREDIT:
        return for_init(s, f, err);
    case WIRE_HEARTBEAT:
        return 0;
    case WIRE_FINISH:
        pass_on(&s->init, f);
        link_flush(&s->init, LAST_WORDS);
        s->over = true;
        return 0;
    case WIRE_BYE:
    case WIRE_ERROR:
        s->over = true;
        return 0;
    default:
        return err_set(err, 125, "%s frame out of place", wire_type_name(f->type));
    }
}

static void on_client_closed(void *arg, const char *why)
{
    struct session *s = arg;

    if (why)
        fail(s, WIRE_ERROR_PROTOCOL, why);
    s->over = true;
}

static void on_client_drained(void *arg)
{
    struct session *s = arg;

    mounts_drained(s->mounts);
    if (s->answer.kind && s->released)
        answer_go_on(&s->answer);
}

static const struct link_events client_events = {on_client_frame, on_client_closed, on_client_drained};

/* ---- from the mounts ---- */

static void on_busy(void *arg, bool busy)
{
    struct session *s = arg;

    link_pause(&s->client, busy);
    if (!busy && !s->over)
        release(s);
}

static void on_push_failed(void *arg, const char *text)
{
    fail(arg, WIRE_ERROR_PUSH, text);
}

static void send_exit(struct session *s)
{
    s->exit_sent = true;
    wire_put_exit(&s->client.queue, &s->exit);
    link_send(&s->client);
}

static void on_pulled(void *arg)
{
    send_exit(arg);
}

static void on_told(void *arg)
{
    struct session *s = arg;

    if (!s->over)
        mounts_pull(s->mounts);
}

/* Nothing ran, so nothing is pulled, when it was refused. */
static void take_end(struct session *s)
{
    s->ended = true;
    if (s->exit.kind == WIRE_EXIT_REFUSED) {
        send_exit(s);
        return;
    }
    if (wants_step(s))
        s->after = share_barrier_new(s->loop, s->options, on_told, s);
    if (!s->after)
        mounts_pull(s->mounts);
}

static void on_answered(void *arg)
{
    struct session *s = arg;

    s->exit = s->answer.exit;
    s->answer.exit = (struct wire_exit){0};
    take_end(s);
}

static const struct mounts_events mounts_events = {on_busy, on_push_failed, on_pulled};

/* ---- from init ---- */

static int take_init_hello(struct session *s, const struct wire_frame *f, struct err *err)
{
    struct wire_hello theirs, ours;

    if (wire_get_hello(f, &theirs, err) < 0)
        return -1;
    facts_hello(&ours);
    ours.capabilities |= theirs.capabilities & WIRE_CAP_SUBREAPER;
    ours.main_state = theirs.main_state;
    ours.main_code = theirs.main_code;
    ours.init_pid = theirs.init_pid;
    ours.main_started_ns = theirs.main_started_ns;
    ours.main_ended_ns = theirs.main_ended_ns;
    ours.restarts = theirs.restarts;
    ours.health = theirs.health;
    ours.paused = theirs.paused;
    s->init_pid = theirs.init_pid;
    s->main_state = theirs.main_state;
    wire_put_hello(&s->client.queue, &ours);
    link_send(&s->client);
    wire_hello_clear(&ours);
    wire_hello_clear(&theirs);
    s->init_greeted = true;
    link_pause(&s->client, false);
    return 0;
}

static int on_init_frame(void *arg, const struct wire_frame *f, struct err *err)
{
    struct session *s = arg;

    switch (f->type) {
    case WIRE_HELLO:
        return take_init_hello(s, f, err);
    case WIRE_EXIT:
        if (s->answer.kind) { /* that of the main process, which is followed */
            s->answer.main_state = WIRE_MAIN_ENDED;
            answer_go_on(&s->answer);
            return 0;
        }
        if (wire_get_exit(f, &s->exit, err) < 0)
            return -1;
        take_end(s);
        return 0;
    case WIRE_STARTED:
        if (!s->answer.kind)
            pass_on(&s->client, f);
        return 0;
    case WIRE_STDOUT:
    case WIRE_STDERR:
    case WIRE_CREDIT:
        pass_on(&s->client, f);
        return 0;
    case WIRE_ERROR:
        pass_on(&s->client, f);
        s->over = true;
        return 0;
    default:
        return err_set(err, 125, "%s frame from init", wire_type_name(f->type));
    }
}

/* After EXIT we can do without init: the mounts are ours. */
static void on_init_closed(void *arg, const char *why)
{
    struct session *s = arg;

    if (!s->ended)
        fail(s, WIRE_ERROR_INIT, why ? why : "the container's first process has ended");
}

static const struct link_events init_events = {.frame = on_init_frame, .closed = on_init_closed};

/* ---- the lease ---- */

static void on_beat(struct loop *loop, void *arg)
{
    struct session *s = arg;
    int64_t now = loop_now(), every = s->options->speak_every;

    (void)loop;
    if (!s->init_greeted && now - s->born >= s->options->init_wait) {
        fail(s, WIRE_ERROR_INIT, "the container's first process does not answer");
        return;
    }
    /* a paused link, and one that we did not serve (a slow disk, a frozen machine), is not the client's silence */
    if (s->client.paused || now - s->beat_at > every)
        s->client.heard = now;
    s->beat_at = now;
    if (now - s->client.heard >= s->options->orphaned_after) {
        fail(s, WIRE_ERROR_ORPHANED, "nothing was heard from the client for too long");
        return;
    }
    if (now - s->client.spoke >= every && !link_pending(&s->client)) {
        wire_put(&s->client.queue, WIRE_HEARTBEAT, NULL, 0);
        link_send(&s->client);
    }
    loop_timer_set(s->beat, every / 2 ? every / 2 : 1);
}

/* ---- life ---- */

/* The descriptors 0 and 1 speak frames: nothing else may ever use them by accident. */
static int run(struct session *s, int init_fd)
{
    s->loop = loop_new();
    s->born = s->beat_at = loop_now();
    buf_init(&s->held, HELD_MAX);
    link_init(&s->client, s->loop, STDIN_FILENO, STDOUT_FILENO, &client_events, s);
    link_init(&s->init, s->loop, init_fd, init_fd, &init_events, s);
    link_pause(&s->client, true); /* until our HELLO, which needs init's, is out: it comes before any answer */
    s->mounts = mounts_new(s->loop, s->options->run_dir, &s->client, &mounts_events, s);
    s->beat = loop_timer_add(s->loop, s->options->speak_every / 2, on_beat, s);
    while (!s->over && loop_step(s->loop, -1))
        ;
    link_flush(&s->client, LAST_WORDS);
    mounts_free(s->mounts);
    answer_clear(&s->answer);
    share_barrier_free(s->before);
    share_barrier_free(s->after);
    link_clear(&s->client);
    link_clear(&s->init);
    loop_free(s->loop);
    buf_clear(&s->held);
    wire_exit_clear(&s->exit);
    return 0;
}

/* Init does not answer: the client is told in its own language. */
static void report(const struct err *why)
{
    cleanup_buf struct buf b = BUF_INIT(LIMIT_FRAME);

    wire_put_error(&b, WIRE_ERROR_INIT, why->msg);
    (void)!write(STDOUT_FILENO, b.data, b.len);
}

int agent_session(const struct agent_options *options, struct err *err)
{
    struct session s = {.options = options};
    cleanup_close int fd = -1;

    signal(SIGPIPE, SIG_IGN);
    fd = socket_connect(options->run_dir, options->init_wait, err);
    if (fd >= 0 && !socket_trusted(fd)) {
        err_set(err, 125, "the process that answers in %s is not ours", options->run_dir);
        close(steal_fd(&fd));
    }
    if (fd < 0) {
        report(err);
        return 125;
    }
    return run(&s, fd);
}
