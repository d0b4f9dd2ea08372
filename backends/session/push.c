#include "backends/session/internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/sys/loop.h"
#include "compat/sys/work.h"

#include <string.h>

/* Sent in one turn of the loop, so that it stays live on a link that takes everything; and what it may take to read
 * that. */
#define TURN_BYTES (1u << 20)
#define TURN_MS    100

#define STALE_MAX 8 /* other commands may be faster a few times */

static void begin_scan(struct smount *m);

void session_agreed(struct smount *m)
{
    struct session *s = m->session;

    if (s->cb->agreed)
        s->cb->agreed(s->arg, m->index, m->state.nonce, m->state.generation, &m->known);
}

static void fail(struct smount *m, struct err *err)
{
    struct session *s = m->session;

    err_wrap(err, "pushing %s", m->label);
    if (wire_put(&s->frame, s->start.flags & WIRE_START_MAIN ? WIRE_FINISH : WIRE_BYE, NULL, 0) == 0)
        session_send(s);
    session_end(s, SESSION_PUSH_FAILED, 125, err);
}

/* ---- what changed ---- */

/*
 * Nothing changed, so nothing will be stored by this push and the lock is let go. What had to be read to find that out
 * need not be read the next time.
 */
static void settle(struct smount *m)
{
    if (m->stats.hashed_files) {
        sync_sender_agreed(m->sender, &m->next);
        manifest_move(&m->known, &m->next);
        mount_save(m, NULL); /* only saves time */
    }
    sync_sender_free(m->sender);
    m->sender = NULL;
    mount_unlock(m);
}

/* In a thread. */
static void run_scan(void *arg)
{
    struct smount *m = arg;
    struct sync_tree tree = mount_tree(m);

    if (mount_lock(m, &m->work_err) < 0 || mount_load(m, &m->work_err) < 0)
        return;
    /* STALE: with what another command has stored meanwhile all may be well; with the same state it never will. */
    m->full = !m->state.generation || (m->stale && state_same(&m->state, &m->announced));
    if (sync_scan(&tree, m->state.generation ? &m->known : NULL, &m->exclude, &m->now, &m->stats, &m->work_err) < 0)
        return;
    m->sender = sync_sender_new(&tree, m->full ? NULL : &m->known, &m->now);
    m->same = sync_sender_empty(m->sender);
    if (m->same)
        settle(m);
}

/* One tree is read at a time. */
static void begin_next(struct session *s)
{
    for (size_t i = 0; i < s->n_mounts; i++)
        if (s->mounts[i].phase == MOUNT_IDLE) {
            begin_scan(&s->mounts[i]);
            return;
        }
}

static void on_scanned(void *arg)
{
    struct smount *m = arg;
    struct session *s = m->session;

    m->work = NULL;
    if (s->over)
        return;
    if (m->work_err.msg) {
        fail(m, &m->work_err);
        return;
    }
    m->phase = MOUNT_READY;
    begin_next(s);
    push_pump(s);
}

static void begin_scan(struct smount *m)
{
    manifest_clear(&m->now);
    m->phase = MOUNT_SCANNING;
    m->work = work_start(m->session->loop, run_scan, on_scanned, m);
}

void push_begin(struct session *s)
{
    begin_next(s);
    push_pump(s);
}

/* ---- sending ---- */

/*
 * True if the target is to be made equal to the host, whatever is there. That is for a container that has not begun:
 * later its own changes count, also when we do not know any more what was agreed.
 */
static bool replaces(const struct smount *m)
{
    bool begins = (m->session->start.flags & WIRE_START_MAIN) || !m->stored;

    return begins && (m->stale ? m->container_is_new : !m->state.generation);
}

/* Says MOUNT. */
static void announce(struct session *s, struct smount *m)
{
    struct wire_mount w = {.index = m->index, .target = m->target, .exclude = m->exclude};

    if (m->words.read_only)
        w.flags |= WIRE_MOUNT_RO;
    if (m->file)
        w.flags |= WIRE_MOUNT_FILE;
    if (m->same)
        w.flags |= WIRE_MOUNT_SAME;
    if (m->full && replaces(m))
        w.flags |= WIRE_MOUNT_REPLACE;
    else
        memcpy(w.nonce, m->state.nonce, WIRE_NONCE);
    if (!m->full)
        w.generation = m->state.generation;
    m->announced = m->state;
    if (wire_put_mount(&s->frame, &w) < 0) {
        cleanup_err struct err err = ERR_INIT;

        err_set(&err, 125, "the mount's target and its exclusions are too long");
        fail(m, &err);
        return;
    }
    session_send(s);
    m->phase = m->same ? MOUNT_SENT : MOUNT_SENDING;
    if (m->stats.moving)
        session_note(s, "%s: %llu file(s) kept changing while they were read and are left for the next time", m->label,
                     (unsigned long long)m->stats.moving);
}

/* Everything of this mount is sent. */
static void end_mount(struct session *s, struct smount *m)
{
    struct wire_delta_end e = {.index = m->index,
                               .base_generation = m->full ? 0 : m->state.generation,
                               .skipped_special = m->stats.skipped_special,
                               .moving = m->stats.moving};

    manifest_clear(&m->next);
    sync_sender_agreed(m->sender, &m->next);
    sync_sender_free(m->sender);
    m->sender = NULL;
    m->phase = MOUNT_SENT;
    wire_put_delta_end(&s->frame, &e);
    session_send(s);
}

/* Sends the next piece of a mount. Returns the bytes, about. */
static size_t send_piece(struct session *s, struct smount *m)
{
    cleanup_err struct err err = ERR_INIT;
    uint8_t bytes[WIRE_CHUNK];
    ssize_t n = sync_sender_read(m->sender, bytes, sizeof(bytes), &err);

    if (n < 0) {
        fail(m, &err);
        return 0;
    }
    if (n == 0) {
        end_mount(s, m);
        return 0;
    }
    wire_put_delta(&s->frame, m->index, bytes, (size_t)n);
    session_send(s);
    return (size_t)n;
}

static void send_early_signals(struct session *s)
{
    for (unsigned i = 0; i < 64; i++) {
        if (s->early_signals & (UINT64_C(1) << i))
            wire_put_signal(&s->frame, (uint8_t)(i + 1), WIRE_SIGNAL_PROCESS);
        if (s->early_group_signals & (UINT64_C(1) << i))
            wire_put_signal(&s->frame, (uint8_t)(i + 1), WIRE_SIGNAL_GROUP);
    }
}

static void send_start(struct session *s)
{
    cleanup_err struct err err = ERR_INIT;

    if (session_put_request(s) < 0) {
        err_set(&err, 126, "exec: argument list too long: arguments and environment are over %u MiB, or one of them is",
                WIRE_START_MAX >> 20);
        wire_put(&s->frame, s->start.flags & WIRE_START_MAIN ? WIRE_FINISH : WIRE_BYE, NULL, 0);
        session_send(s);
        session_end(s, SESSION_REFUSED, 126, &err);
        return;
    }
    s->start_sent = true;
    if (s->asks && s->start.rows) /* a START has it in itself */
        wire_put_resize(&s->frame, s->start.rows, s->start.cols);
    send_early_signals(s);
    if (s->stdin_eof && !s->stdin_eof_sent) {
        s->stdin_eof_sent = true;
        wire_put(&s->frame, WIRE_STDIN_EOF, NULL, 0);
    }
    session_send(s);
    if (s->attach_stdin && s->cb->stdin_ready && !s->stdin_eof)
        s->cb->stdin_ready(s->arg);
    if (s->cb->asked && !s->over)
        s->cb->asked(s->arg);
}

/* The mount to go on with: one that was begun, else the first that is ready. No mount waits for another one's lock. */
static struct smount *next_to_send(struct session *s, bool *ret_all_sent)
{
    struct smount *ready = NULL;

    *ret_all_sent = true;
    for (size_t i = 0; i < s->n_mounts; i++) {
        struct smount *m = &s->mounts[i];

        if (m->phase == MOUNT_SENDING)
            return m;
        if (m->phase == MOUNT_READY && !ready)
            ready = m;
        if (m->phase < MOUNT_SENT)
            *ret_all_sent = false;
    }
    return ready;
}

void push_pump(struct session *s)
{
    struct smount *m;
    bool all_sent = false;
    size_t sent = 0;
    int64_t began = loop_now();

    while (!s->over && (m = next_to_send(s, &all_sent))) {
        if (session_out_full(s))
            return;
        if (sent >= TURN_BYTES || loop_now() - began >= TURN_MS) {
            session_pump_soon(s);
            return;
        }
        if (m->phase == MOUNT_READY)
            announce(s, m);
        else
            sent += send_piece(s, m);
    }
    if (!s->over && all_sent && !s->start_sent)
        send_start(s);
}

/* ---- the agent's answer ---- */

/* In a thread. */
static void run_save(void *arg)
{
    struct smount *m = arg;

    mount_save(m, &m->work_err);
    mount_unlock(m);
}

/* Without it the next command sends everything: a pity, not a failure. */
static void on_saved(void *arg)
{
    struct smount *m = arg;
    struct session *s = m->session;

    m->work = NULL;
    if (s->over)
        return;
    if (m->work_err.msg)
        session_note(s, "%s: what was agreed with the container could not be kept: %s", m->label, m->work_err.msg);
    err_clear(&m->work_err);
    session_agreed(m);
    pull_saved(m);
    session_maybe_end(s);
}

int push_take_pushed(struct session *s, const struct wire_frame *f, struct err *err)
{
    struct wire_pushed p;
    struct smount *m;

    if (wire_get_pushed(f, &p, err) < 0)
        return -1;
    m = p.index < s->n_mounts ? &s->mounts[p.index] : NULL;
    if (!m || m->phase != MOUNT_SENT)
        return err_set(err, 125, "PUSHED for a mount that was not sent");
    m->phase = MOUNT_AGREED;
    if (m->same)
        return 0;
    if (!p.generation)
        return err_set(err, 125, "PUSHED without a generation");
    memcpy(m->state.nonce, p.nonce, SYNC_NONCE_LEN);
    m->state.generation = p.generation;
    manifest_move(&m->known, &m->next);
    m->work = work_start(s->loop, run_save, on_saved, m);
    return 0;
}

/*
 * The container's agent does not hold what we last agreed on with it, or another command has stored something newer
 * since we let the lock go. Once more, then.
 */
int push_take_stale(struct session *s, const struct wire_frame *f, struct err *err)
{
    uint16_t index;
    bool known;
    struct smount *m;

    if (wire_get_stale(f, &index, &known, err) < 0)
        return -1;
    m = index < s->n_mounts ? &s->mounts[index] : NULL;
    if (!m || m->full || ++m->stale > STALE_MAX || (m->phase != MOUNT_SENT && m->phase != MOUNT_SENDING))
        return err_set(err, 125, "STALE for a mount that is not");
    sync_sender_free(m->sender);
    m->sender = NULL;
    m->container_is_new = !known;
    begin_scan(m);
    return 0;
}
