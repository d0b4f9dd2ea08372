#include "backends/session/internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/sys/work.h"

#include <string.h>

#define TURN_BYTES                                                                                                     \
    (1u << 20) /* sent in one turn of the loop, so that it stays live on a link that takes everything                  \
                */

static void begin_scan(struct session *s, struct smount *m);

static struct sync_tree tree_of(const struct smount *m)
{
    return (struct sync_tree){.dirfd = m->words.host.dirfd, .file = m->file};
}

void session_agreed(struct smount *m)
{
    struct session *s = m->session;

    if (s->cb->agreed)
        s->cb->agreed(s->arg, m->index, m->nonce, m->generation, &m->agreed);
}

static void fail(struct smount *m, struct err *err)
{
    struct session *s = m->session;

    err_wrap(err, "pushing %s", m->label);
    if (wire_put(&s->frame, s->start.flags & WIRE_START_MAIN ? WIRE_FINISH : WIRE_BYE, NULL, 0) == 0)
        session_send(s);
    session_end(s, SESSION_PUSH_FAILED, 125, err);
}

/* In a thread. */
static void run_scan(void *arg)
{
    struct smount *m = arg;
    struct sync_tree tree = tree_of(m);

    sync_scan(&tree, m->words.ancestor, &m->exclude, &m->now, &m->stats, &m->scan_err);
}

static void on_scanned(void *arg)
{
    struct smount *m = arg;
    struct session *s = m->session;

    m->work = NULL;
    if (s->over)
        return;
    if (m->scan_err.msg) {
        fail(m, &m->scan_err);
        return;
    }
    m->phase = MOUNT_READY;
    if (m->index + 1u < s->n_mounts)
        begin_scan(s, &s->mounts[m->index + 1]);
    push_pump(s);
}

static void begin_scan(struct session *s, struct smount *m)
{
    m->phase = MOUNT_SCANNING;
    m->work = work_start(s->loop, run_scan, on_scanned, m);
}

void push_begin(struct session *s)
{
    if (s->n_mounts)
        begin_scan(s, &s->mounts[0]);
    else
        push_pump(s);
}

/* Says MOUNT, and makes the sender for what must follow it. */
static void announce(struct session *s, struct smount *m)
{
    const struct manifest *base = m->retried ? NULL : m->words.ancestor;
    struct sync_tree tree = tree_of(m);
    struct wire_mount w = {.index = m->index, .target = m->target, .exclude = m->exclude};

    if (m->words.read_only)
        w.flags |= WIRE_MOUNT_RO;
    if (m->file)
        w.flags |= WIRE_MOUNT_FILE;
    if (base) {
        memcpy(w.nonce, m->words.nonce, WIRE_NONCE);
        w.generation = m->words.generation;
    } else if (!m->retried) {
        w.flags |= WIRE_MOUNT_REPLACE;
    }
    if (wire_put_mount(&s->frame, &w) < 0) {
        cleanup_err struct err err = ERR_INIT;

        err_set(&err, 125, "the mount's target and its exclusions are too long");
        fail(m, &err);
        return;
    }
    session_send(s);
    m->sender = sync_sender_new(&tree, base, &m->now);
    m->phase = MOUNT_SENDING;
}

/* Everything of this mount is sent. */
static void end_mount(struct session *s, struct smount *m)
{
    struct wire_delta_end e = {.index = m->index,
                               .base_generation = m->retried || !m->words.ancestor ? 0 : m->words.generation,
                               .skipped_special = m->stats.skipped_special,
                               .moving = m->stats.moving};

    manifest_clear(&m->agreed);
    sync_sender_agreed(m->sender, &m->agreed);
    sync_sender_free(m->sender);
    m->sender = NULL;
    m->phase = MOUNT_SENT;
    wire_put_delta_end(&s->frame, &e);
    session_send(s);
    if (m->stats.moving)
        session_note(s, "%s: %llu file(s) kept changing while they were read and are left for the next time", m->label,
                     (unsigned long long)m->stats.moving);
}

/* Sends the next piece of a mount; 1 = something was sent, 0 = it is complete, -1 = the session has ended. */
static int send_piece(struct session *s, struct smount *m)
{
    cleanup_err struct err err = ERR_INIT;
    uint8_t bytes[WIRE_CHUNK];
    ssize_t n = sync_sender_read(m->sender, bytes, sizeof(bytes), &err);

    if (n < 0) {
        fail(m, &err);
        return -1;
    }
    if (n == 0) {
        end_mount(s, m);
        return 0;
    }
    wire_put_delta(&s->frame, m->index, bytes, (size_t)n);
    session_send(s);
    return 1;
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
    send_early_signals(s);
    if (s->stdin_eof && !s->stdin_eof_sent) {
        s->stdin_eof_sent = true;
        wire_put(&s->frame, WIRE_STDIN_EOF, NULL, 0);
    }
    session_send(s);
    if (s->attach_stdin && s->cb->stdin_ready && !s->stdin_eof)
        s->cb->stdin_ready(s->arg);
}

void push_pump(struct session *s)
{
    size_t sent = 0;

    while (!s->over && s->push_at < s->n_mounts) {
        struct smount *m = &s->mounts[s->push_at];

        if (m->phase == MOUNT_SCANNING || session_out_full(s))
            return;
        if (sent >= TURN_BYTES) {
            session_pump_soon(s);
            return;
        }
        if (m->phase == MOUNT_READY)
            announce(s, m);
        else if (m->phase == MOUNT_SENDING)
            sent += WIRE_CHUNK * (size_t)(send_piece(s, m) > 0);
        else
            s->push_at++;
    }
    if (!s->over && !s->start_sent)
        send_start(s);
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
    memcpy(m->nonce, p.nonce, SYNC_NONCE_LEN);
    m->generation = p.generation;
    session_agreed(m);
    return 0;
}

/*
 * The container's agent does not hold what we last agreed on with it. Everything is sent, without an ancestor: nothing
 * is removed there, and nothing will be deleted here.
 */
int push_take_stale(struct session *s, const struct wire_frame *f, struct err *err)
{
    uint16_t index;
    bool known;
    struct smount *m;

    if (wire_get_stale(f, &index, &known, err) < 0)
        return -1;
    m = index < s->n_mounts ? &s->mounts[index] : NULL;
    if (!m || m->retried || !m->words.ancestor || (m->phase != MOUNT_SENT && m->phase != MOUNT_SENDING))
        return err_set(err, 125, "STALE for a mount that is not");
    if (m->phase == MOUNT_SENDING) {
        sync_sender_free(m->sender);
        m->sender = NULL;
    }
    m->retried = true;
    m->phase = MOUNT_READY;
    if (index < s->push_at)
        s->push_at = index;
    session_pump_soon(s);
    return 0;
}
