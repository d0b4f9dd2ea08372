#include "backends/session/internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/tame.h"
#include "compat/sys/loop.h"
#include "compat/sys/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FRAME_MAX (WIRE_START_MAX + WIRE_RECORD_MAX + 4 * LIMIT_FRAME)
#define SKEW_TOLD INT64_C(1000000000) /* ns of clock difference worth a line (sync-rules 7) */

static int64_t wall_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* ---- out ---- */

void session_send(struct session *s)
{
    if (!s->frame.len)
        return;
    s->spoke = loop_now();
    s->cb->out(s->arg, s->frame.data, s->frame.len);
    buf_reset(&s->frame);
}

bool session_out_full(const struct session *s)
{
    return s->cb->out_pending(s->arg) >= SESSION_OUT_HIGH;
}

void session_pump_soon(struct session *s)
{
    loop_timer_set(s->pump_timer, 0);
}

void session_note(struct session *s, const char *fmt, ...)
{
    cleanup_free char *line = NULL;
    va_list ap;

    if (!s->cb->note)
        return;
    va_start(ap, fmt);
    line = xvasprintf(fmt, ap);
    va_end(ap);
    tame(line, /* keep_lines= */ false); /* names come from outside */
    s->cb->note(s->arg, line);
}

/* ---- the end ---- */

void session_end(struct session *s, enum session_end end, int code, struct err *err)
{
    if (s->over)
        return;
    s->over = true;
    loop_timer_stop(s->pump_timer);
    loop_timer_stop(s->beat_timer);
    s->result.end = end;
    s->result.code = code;
    if (err)
        err_move(&s->result.err, err);
    tame(s->result.err.msg, /* keep_lines= */ false); /* it may have the agent's words in it */
    s->cb->done(s->arg, &s->result);
}

static void end_lost(struct session *s, const char *why)
{
    cleanup_err struct err err = ERR_INIT;

    err_set(&err, 125, "%s", why);
    session_end(s, SESSION_LOST, 125, &err);
}

/* Docker's sentence around the reason why a process could not be started. */
static void refusal_text(const struct session *s, struct err *err)
{
    const char *text = s->exit.text;
    bool main = s->start.flags & WIRE_START_MAIN;
    int code = s->exit.value;

    if (s->exit.refusal == WIRE_REFUSAL_NOT_RUNNING)
        err_set(err, code, "container %s", text);
    else if (s->exit.refusal >= WIRE_REFUSAL_USER)
        err_set(err, code, "%s", text);
    else if (main)
        err_set(
            err, code,
            "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create "
            "failed: unable to start container process: %s: unknown",
            text);
    else
        err_set(err, code, "OCI runtime exec failed: exec failed: unable to start container process: %s: unknown",
                text);
}

static void say_goodbye(struct session *s, bool keep)
{
    bool finish = (s->start.flags & WIRE_START_MAIN) && !keep && !s->keep;

    wire_put(&s->frame, finish ? WIRE_FINISH : WIRE_BYE, NULL, 0);
    session_send(s);
}

void session_maybe_end(struct session *s)
{
    cleanup_err struct err err = ERR_INIT;
    int code = s->exit.value;

    if (s->over || !s->exit_came || output_waits(s) || !pull_finished(s))
        return;
    if (s->exit.kind == WIRE_EXIT_REFUSED) {
        refusal_text(s, &err);
        s->result.refusal = s->exit.refusal;
        s->result.agent_failed = (s->ask.kind == WIRE_ASK_STOP || s->ask.kind == WIRE_ASK_SIGNAL) &&
                                 s->exit.refusal != WIRE_REFUSAL_NOT_RUNNING;
        say_goodbye(s, /* keep= */ false);
        session_end(s, SESSION_REFUSED, code, &err);
        return;
    }
    if (s->exit.kind == WIRE_EXIT_SIGNAL) {
        s->result.signal = code;
        code += 128;
    }
    s->result.pull_failed = pull_error(s, &err);
    say_goodbye(s, s->result.pull_failed);
    session_end(s, SESSION_EXITED, s->result.pull_failed && !code ? 125 : code, err.msg ? &err : NULL);
}

/* ---- frames from the agent ---- */

/* Our own clock at the moment when the agent looked at its own lies between the two we know. */
static void check_skew(struct session *s, int64_t theirs)
{
    int64_t now = wall_ns(), skew = 0;

    if (theirs > now)
        skew = theirs - now;
    else if (theirs < s->hello_sent_ns)
        skew = theirs - s->hello_sent_ns;
    if (!s->n_mounts || (skew < SKEW_TOLD && skew > -SKEW_TOLD))
        return;
    session_note(s, "the container's clock is %.1f s %s this machine's: files made there may look %s than they are",
                 (double)(skew < 0 ? -skew : skew) / 1e9, skew < 0 ? "behind" : "ahead of",
                 skew < 0 ? "older" : "newer");
}

static void meet(struct session *s, const struct wire_hello *h)
{
    struct session_peer peer = {.capabilities = h->capabilities,
                                .program = h->program,
                                .machine = h->machine,
                                .main_state = h->main_state,
                                .main_code = h->main_code,
                                .main_started_ns = h->main_started_ns,
                                .main_ended_ns = h->main_ended_ns,
                                .restarts = h->restarts,
                                .health = h->health,
                                .paused = h->paused};

    check_skew(s, h->clock_ns);
    if (s->cb->greeted)
        s->cb->greeted(s->arg, &peer);
}

static int take_hello(struct session *s, const struct wire_frame *f, struct err *err)
{
    struct wire_hello ours = {.oldest = WIRE_VERSION, .newest = WIRE_VERSION}, theirs;
    int ret = 0;

    if (s->greeted)
        return err_set(err, 125, "a second HELLO");
    if (wire_get_hello(f, &theirs, err) < 0)
        return -1;
    s->greeted = true;
    if (!wire_hello_version(&ours, &theirs))
        ret = err_set(err, 125, "%s speaks versions %u to %u of the session protocol, this program %d", theirs.program,
                      theirs.oldest, theirs.newest, WIRE_VERSION);
    else
        meet(s, &theirs);
    wire_hello_clear(&theirs);
    return ret;
}

static int take_credit(struct session *s, const struct wire_frame *f, struct err *err)
{
    uint8_t stream;
    uint32_t bytes;

    if (wire_get_credit(f, &stream, &bytes, err) < 0)
        return -1;
    if (stream != WIRE_STREAM_STDIN || s->stdin_credit + bytes > WIRE_WINDOW)
        return err_set(err, 125, "more CREDIT than was used");
    s->stdin_credit += bytes;
    return 0;
}

static int take_error(struct session *s, const struct wire_frame *f, struct err *err)
{
    cleanup_free char *text = NULL;
    cleanup_err struct err why = ERR_INIT;
    uint8_t kind;

    if (wire_get_error(f, &kind, &text, err) < 0)
        return -1;
    s->result.agent_failed = s->asks || kind != WIRE_ERROR_PUSH;
    if (kind == WIRE_ERROR_PUSH) {
        err_set(&why, 125, "pushing to the container: %s", text);
        session_end(s, SESSION_PUSH_FAILED, 125, &why);
    } else {
        err_set(&why, 125, "the container's agent ended the session: %s", text);
        session_end(s, SESSION_LOST, 125, &why);
    }
    return 0;
}

static int take_started(struct session *s, const struct wire_frame *f, struct err *err)
{
    int32_t pid;

    if (wire_get_started(f, &pid, err) < 0)
        return -1;
    s->started = true;
    if (s->cb->started)
        s->cb->started(s->arg);
    if (s->start.flags & WIRE_START_DETACHED) /* the mounts are agreed: PUSHED comes before STARTED */
        session_detach(s);
    return 0;
}

static int take_exit(struct session *s, const struct wire_frame *f, struct err *err)
{
    if (wire_get_exit(f, &s->exit, err) < 0)
        return -1;
    s->exit_came = true;
    session_maybe_end(s);
    return 0;
}

/* Whether a frame brings what was asked for nearer; others do not help an agent that never answers. */
static bool gets_on(const struct session *s, const struct wire_frame *f)
{
    switch (f->type) {
    case WIRE_HEARTBEAT:
        return false;
    case WIRE_STARTED:
        return !s->started;
    case WIRE_CREDIT:
    case WIRE_STDOUT:
    case WIRE_STDERR:
    case WIRE_LOG:
    case WIRE_TREE:
    case WIRE_TREE_END:
    case WIRE_STAT:
        return !s->asks || s->ask.kind == WIRE_ASK_ATTACH || s->ask.kind == WIRE_ASK_LOGS ||
               s->ask.kind == WIRE_ASK_TOP || s->ask.kind == WIRE_ASK_RECORD || s->ask.kind >= WIRE_ASK_STAT;
    default:
        return true;
    }
}

static int take_frame(struct session *s, const struct wire_frame *f, struct err *err)
{
    if (gets_on(s, f))
        s->moved = loop_now();
    if (f->type == WIRE_ERROR)
        return take_error(s, f, err);
    if (!s->greeted && f->type != WIRE_HELLO)
        return err_set(err, 125, "%s frame before HELLO", wire_type_name(f->type));
    if (s->exit_came && f->type != WIRE_HEARTBEAT && !pull_expects(s, f->type))
        return err_set(err, 125, "%s frame after EXIT", wire_type_name(f->type));
    switch (f->type) {
    case WIRE_HELLO:
        return take_hello(s, f, err);
    case WIRE_PUSHED:
        return push_take_pushed(s, f, err);
    case WIRE_STALE:
        return push_take_stale(s, f, err);
    case WIRE_STARTED:
        return take_started(s, f, err);
    case WIRE_STDOUT:
    case WIRE_STDERR:
        return output_take(s, f, err);
    case WIRE_LOG:
        return output_take_log(s, f, err);
    case WIRE_TREE:
    case WIRE_TREE_END:
    case WIRE_STAT:
        return tree_take(s, f, err);
    case WIRE_PORT_OPENED:
    case WIRE_PORT_CLOSED:
    case WIRE_PORT_DATA:
    case WIRE_PORT_EOF:
    case WIRE_PORT_CREDIT:
        return s->cb->port ? s->cb->port(s->arg, f, err)
                           : err_set(err, 125, "%s frame out of place", wire_type_name(f->type));
    case WIRE_CREDIT:
        return take_credit(s, f, err);
    case WIRE_OFFER:
        return pull_take_offer(s, f, err);
    case WIRE_DELTA:
        return pull_take_delta(s, f, err);
    case WIRE_DELTA_END:
        return pull_take_delta_end(s, f, err);
    case WIRE_PULL_FAILED:
        return pull_take_failed(s, f, err);
    case WIRE_EXIT:
        return take_exit(s, f, err);
    case WIRE_HEARTBEAT:
        return 0;
    default:
        return err_set(err, 125, "%s frame out of place", wire_type_name(f->type));
    }
}

/* Tells the user's side once that stdin is taken again. */
static void offer_stdin(struct session *s)
{
    if (s->over || !s->stdin_full || !session_stdin_room(s))
        return;
    s->stdin_full = false;
    if (s->cb->stdin_ready)
        s->cb->stdin_ready(s->arg);
}

void session_feed(struct session *s, const void *bytes, size_t len)
{
    const char *at = bytes;
    cleanup_err struct err err = ERR_INIT;

    s->heard = loop_now();
    while (len && !s->over) {
        size_t piece = len < WIRE_CHUNK ? len : WIRE_CHUNK;
        struct wire_frame f;
        int got;

        if (wire_parser_feed(&s->parser, at, piece, &err) < 0) {
            s->result.agent_failed = true;
            end_lost(s, err.msg);
            return;
        }
        at += piece;
        len -= piece;
        while (!s->over && (got = wire_parser_next(&s->parser, &f, &err)) != 0)
            if (got < 0 || take_frame(s, &f, &err) < 0) {
                err_wrap(&err, "the container's agent");
                s->result.agent_failed = true;
                end_lost(s, err.msg);
                return;
            }
    }
    offer_stdin(s);
}

void session_writable(struct session *s)
{
    if (s->over)
        return;
    push_pump(s);
    offer_stdin(s);
}

void session_lost(struct session *s, const char *why)
{
    if (s->over)
        return;
    end_lost(s, why ? why : "the connection to the container ended");
}

/* ---- from the user ---- */

bool session_prelude_done(const struct session *s)
{
    return s->start_sent || s->has_beaten || s->over;
}

size_t session_stdin_room(const struct session *s)
{
    if (s->over || !s->attach_stdin || !s->start_sent || s->stdin_eof || s->exit_came || session_out_full(s))
        return 0;
    return s->stdin_credit;
}

size_t session_put_bytes(struct session *s, uint8_t type, const void *bytes, size_t len)
{
    const char *at = bytes;
    size_t taken = 0;

    while (taken < len) {
        size_t room = session_stdin_room(s), n = len - taken;

        if (n > room)
            n = room;
        if (n > WIRE_CHUNK)
            n = WIRE_CHUNK;
        if (!n) {
            s->stdin_full = true;
            break;
        }
        wire_put(&s->frame, type, at + taken, n);
        session_send(s);
        s->stdin_credit -= n;
        taken += n;
    }
    if (!session_stdin_room(s))
        s->stdin_full = true;
    return taken;
}

size_t session_stdin(struct session *s, const void *bytes, size_t len)
{
    return session_put_bytes(s, WIRE_STDIN, bytes, len);
}

void session_stdin_eof(struct session *s)
{
    if (s->over || s->stdin_eof || !s->attach_stdin)
        return;
    s->stdin_eof = true;
    if (!s->start_sent || s->exit_came)
        return;
    s->stdin_eof_sent = true;
    wire_put(&s->frame, WIRE_STDIN_EOF, NULL, 0);
    session_send(s);
}

void session_resize(struct session *s, uint16_t rows, uint16_t cols)
{
    if (s->over || s->exit_came || !(s->asks || s->start.flags & WIRE_START_TTY))
        return;
    s->start.rows = rows;
    s->start.cols = cols;
    if (!s->start_sent)
        return;
    wire_put_resize(&s->frame, rows, cols);
    session_send(s);
}

void session_signal(struct session *s, int signo, bool group)
{
    if (s->over || s->exit_came || signo < 1 || signo > 64)
        return;
    if (!s->start_sent) {
        *(group ? &s->early_group_signals : &s->early_signals) |= UINT64_C(1) << (signo - 1);
        return;
    }
    wire_put_signal(&s->frame, (uint8_t)signo, group ? WIRE_SIGNAL_GROUP : WIRE_SIGNAL_PROCESS);
    session_send(s);
}

void session_detach(struct session *s)
{
    if (s->over)
        return;
    wire_put(&s->frame, WIRE_BYE, NULL, 0);
    session_send(s);
    session_end(s, SESSION_DETACHED, 0, NULL);
}

/* ---- the lease ---- */

/* How long the agent may go without getting on, in milliseconds; 0: as long as it likes. */
static int64_t patience(const struct session *s)
{
    int64_t answer = s->n_mounts ? SESSION_TREES_MS : SESSION_ANSWER_MS;

    if (s->patience)
        return s->patience;
    if (!s->greeted)
        return s->start.flags & WIRE_START_MAIN ? SESSION_TREES_MS : SESSION_ANSWER_MS;
    if (!s->asks)
        return s->exit_came || !s->started ? SESSION_TREES_MS : 0;
    if (s->exit_came || !s->start_sent)
        return SESSION_TREES_MS;
    switch (s->ask.kind) {
    case WIRE_ASK_ATTACH:
        return 0;
    case WIRE_ASK_FORWARD:
        return 0;
    case WIRE_ASK_HEALTH:
    case WIRE_ASK_STATS:
        return s->ask.flags & WIRE_ASK_FOLLOW ? 0 : answer;
    case WIRE_ASK_LOGS:
        return s->ask.flags & WIRE_ASK_FOLLOW ? 0 : SESSION_TREES_MS;
    case WIRE_ASK_STOP:
    case WIRE_ASK_RESTART:
        return s->ask.grace_ms < 0 ? 0 : s->ask.grace_ms + answer;
    case WIRE_ASK_VOLUME_SAVE:
    case WIRE_ASK_READ:
    case WIRE_ASK_WRITE:
    case WIRE_ASK_LIST:
    case WIRE_ASK_LAYER:
        return SESSION_TREES_MS;
    default:
        return answer;
    }
}

/* Whether TREE frames go to the agent. */
static bool sends_tree(const struct session *s)
{
    return s->asks && (s->ask.kind == WIRE_ASK_WRITE || s->ask.kind == WIRE_ASK_LAYER);
}

/* Whether it is our side that everything waits for: a tree that is read, a reader or a writer that is slow, a
 * transport that is at work. */
static bool is_our_turn(struct session *s)
{
    size_t pending = s->cb->out_pending(s->arg), was = s->pending;
    bool writes = sends_tree(s) && s->greeted && s->start_sent && !s->stdin_eof && s->stdin_credit;

    s->pending = pending;
    if (pending < was || writes || output_waits(s) || s->granted < WIRE_CHUNK)
        return true;
    for (size_t i = 0; i < s->n_mounts; i++)
        if (s->mounts[i].work)
            return true;
    return false;
}

/* A peer that keeps its lease and does nothing else is given up too: it may be a container's that does not want to be
 * stopped. */
static bool has_stalled(struct session *s, int64_t now)
{
    int64_t limit = patience(s);

    if (is_our_turn(s))
        s->moved = now;
    return limit && now - s->moved >= limit;
}

/*
 * Says something at least every speak_every, and gives up a peer that said nothing for lost_after. A gap in our own
 * life (a suspended machine, a stopped process) is not the peer's silence.
 */
static void on_beat(struct loop *loop, void *arg)
{
    struct session *s = arg;
    int64_t now = loop_now();

    (void)loop;
    if (now - s->beat_at > s->speak_every)
        s->heard = s->moved = now;
    s->beat_at = now;
    if (s->greeted && now - s->heard >= s->lost_after) {
        cleanup_free char *why =
            xasprintf("the container's agent was silent for %lld s", (long long)(now - s->heard) / 1000);

        s->result.agent_failed = true;
        end_lost(s, why);
        return;
    }
    if (has_stalled(s, now)) {
        s->result.agent_failed = true;
        end_lost(s, "the container's agent does not answer");
        return;
    }
    if (now - s->spoke >= s->speak_every && !session_out_full(s)) {
        wire_put(&s->frame, WIRE_HEARTBEAT, NULL, 0);
        session_send(s);
        s->has_beaten = true;
    }
    loop_timer_set(s->beat_timer, s->speak_every / 2 ? s->speak_every / 2 : 1);
}

void session_set_lease(struct session *s, int64_t speak_every, int64_t lost_after)
{
    s->speak_every = speak_every;
    s->lost_after = lost_after;
    s->beat_at = loop_now();
    if (!s->over)
        loop_timer_set(s->beat_timer, speak_every / 2 ? speak_every / 2 : 1);
}

void session_set_patience(struct session *s, int64_t ms)
{
    s->patience = ms;
}

/* ---- life ---- */

static void say_hello(struct session *s)
{
    struct wire_hello h = {.oldest = WIRE_VERSION, .newest = WIRE_VERSION};
    cleanup_free char *program = xstrdup("atp-docker " ATP_VERSION);

    s->hello_sent_ns = h.clock_ns = wall_ns();
    h.program = program;
    wire_put_hello(&s->frame, &h);
    session_send(s);
}

static void refuse_mounts(struct session *s)
{
    cleanup_err struct err err = ERR_INIT;

    err_set(&err, 125, "a container can have %u mounts at most", WIRE_MOUNTS_MAX);
    say_goodbye(s, /* keep= */ false);
    session_end(s, SESSION_PUSH_FAILED, 125, &err);
}

/* The first call greets; later ones go on with a push that gave the loop a turn. */
static void on_pump(struct loop *loop, void *arg)
{
    struct session *s = arg;

    (void)loop;
    if (!s->hello_sent_ns) {
        say_hello(s);
        if (s->too_many)
            refuse_mounts(s);
        else
            push_begin(s);
    } else {
        push_pump(s);
    }
}

static uint32_t start_flags(const struct session_start *start)
{
    uint32_t flags = 0;

    if (start->main)
        flags |= WIRE_START_MAIN;
    if (start->tty)
        flags |= WIRE_START_TTY;
    if (start->attach_stdin || start->keep_stdin_open)
        flags |= WIRE_START_STDIN;
    if (start->keep_stdin_open)
        flags |= WIRE_START_STDIN_STAYS;
    if (start->detached)
        flags |= WIRE_START_DETACHED;
    if (start->main && start->log)
        flags |= WIRE_START_LOG;
    return flags;
}

static void copy_start(struct session *s, const struct session_start *start)
{
    s->attach_stdin = start->attach_stdin;
    s->keep = start->keep;
    s->start = (struct wire_start){.flags = start_flags(start),
                                   .rows = start->rows,
                                   .cols = start->cols,
                                   .user = xstrdup(start->user ? start->user : ""),
                                   .cwd = xstrdup(start->cwd ? start->cwd : ""),
                                   .restart = start->restart,
                                   .restart_max = start->restart_max,
                                   .stop_signal = start->stop_signal,
                                   .record = xstrdup(start->record),
                                   .volumes = xstrdup(start->volumes)};
    if (start->health)
        wire_health_copy(&s->start.health, start->health);
    if (start->names)
        wire_names_copy(&s->start.names, start->names);
    strlist_copy(&s->start.argv, start->argv);
    if (start->env)
        strlist_copy(&s->start.env, start->env);
    if (start->terms)
        strlist_copy(&s->start.terms, start->terms);
}

static void copy_ask(struct session *s, const struct wire_ask *ask)
{
    s->asks = true;
    s->ask = *ask;
    s->ask.text = xstrdup(ask->text ? ask->text : "");
    s->attach_stdin = sends_tree(s) || (ask->kind == WIRE_ASK_ATTACH && (ask->flags & WIRE_ASK_STDIN));
}

int session_put_request(struct session *s)
{
    if (!s->asks)
        return wire_put_start(&s->frame, &s->start);
    if (wire_put_ask(&s->frame, &s->ask) < 0)
        return -1;
    if (sends_tree(s) && s->stdin_eof) {
        s->stdin_eof_sent = true;
        wire_put(&s->frame, WIRE_TREE_END, NULL, 0);
    }
    return 0;
}

static struct session *make(struct loop *loop, const struct session_mount *mounts, size_t n_mounts,
                            const struct session_callbacks *callbacks, void *arg)
{
    struct session *s = xcalloc(1, sizeof(*s));

    s->loop = loop;
    s->cb = callbacks;
    s->arg = arg;
    mounts_init(s, mounts, n_mounts);
    wire_parser_init(&s->parser);
    buf_init(&s->frame, FRAME_MAX);
    for (int i = 0; i < 2; i++)
        buf_init(&s->streams[i].waiting, 2 * WIRE_WINDOW);
    s->granted = s->stdin_credit = WIRE_WINDOW;
    s->speak_every = LEASE_CLIENT_SPEAKS;
    s->lost_after = DEADLINE_LOST_PEER;
    s->heard = s->spoke = s->moved = s->beat_at = loop_now();
    s->pump_timer = loop_timer_add(loop, 0, on_pump, s);
    s->beat_timer = loop_timer_add(loop, s->speak_every / 2, on_beat, s);
    return s;
}

struct session *session_new(struct loop *loop, const struct session_start *start, const struct session_mount *mounts,
                            size_t n_mounts, const struct session_callbacks *callbacks, void *arg)
{
    struct session *s = make(loop, mounts, n_mounts, callbacks, arg);

    copy_start(s, start);
    return s;
}

struct session *session_ask(struct loop *loop, const struct wire_ask *ask, const struct session_mount *mounts,
                            size_t n_mounts, const struct session_callbacks *callbacks, void *arg)
{
    struct session *s = make(loop, mounts, n_mounts, callbacks, arg);

    copy_ask(s, ask);
    return s;
}

void session_free(struct session *s)
{
    if (!s)
        return;
    session_mounts_clear(s);
    wire_start_clear(&s->start);
    wire_ask_clear(&s->ask);
    wire_exit_clear(&s->exit);
    wire_parser_clear(&s->parser);
    buf_clear(&s->frame);
    for (int i = 0; i < 2; i++)
        buf_clear(&s->streams[i].waiting);
    loop_timer_del(s->pump_timer);
    loop_timer_del(s->beat_timer);
    err_clear(&s->result.err);
    free(s);
}
