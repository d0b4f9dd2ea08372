#include "backends/session/internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/sys/work.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ASK_MAX 3 /* for a newer state; once more if that turns out to be none in common; and one to spare */

/* The mount that a frame of the pull is about, or NULL with err. */
static struct smount *find(struct session *s, uint16_t index, struct err *err)
{
    struct smount *m = index < s->n_mounts ? &s->mounts[index] : NULL;

    if (!m || m->words.read_only || m->phase != MOUNT_AGREED || m->pull == PULL_FINISHING ||
        (m->pull == PULL_DONE && !m->pull_err.msg)) {
        err_set(err, 125, "changes came for mount %u, which is not to be pulled", index);
        return NULL;
    }
    return m;
}

/* This mount's pull is over, well or not. What still comes for one that failed is dropped; the other mounts go on. */
static void done(struct smount *m)
{
    sync_receiver_free(m->receiver);
    m->receiver = NULL;
    buf_clear(&m->held);
    if (!m->work) /* saving what was pushed lets it go by itself */
        mount_unlock(m);
    m->pull = PULL_DONE;
    session_maybe_end(m->session);
}

/* ---- once more ---- */

/*
 * Asks for what changed since the state that we have by now; with full, for everything. We hold the lock, and keep it:
 * the answer will fit.
 */
static void ask(struct smount *m, bool full)
{
    struct session *s = m->session;
    struct wire_pull p = {.index = m->index, .generation = full ? 0 : m->state.generation};

    if (++m->asked > ASK_MAX) {
        err_set(&m->pull_err, 125, "the container offers changes of a state that nobody has");
        done(m);
        return;
    }
    sync_receiver_free(m->receiver);
    m->receiver = NULL;
    buf_reset(&m->held);
    m->passing_over = !m->end_came;
    m->held_over = m->end_came = false;
    m->pull = PULL_ASKED;
    memcpy(p.nonce, m->state.nonce, WIRE_NONCE);
    wire_put_pull(&s->frame, &p);
    session_send(s);
}

/* ---- an offer ---- */

/* In a thread: many deletions take their time. The new state is stored after the data. */
static void run_finish(void *arg)
{
    struct smount *m = arg;

    manifest_clear(&m->next);
    if (sync_receiver_finish(m->receiver, &m->next, &m->report, &m->pull_err) < 0)
        return;
    sync_receiver_free(m->receiver); /* it looks at what was known */
    m->receiver = NULL;
    manifest_move(&m->known, &m->next);
    memcpy(m->state.nonce, m->offer.nonce, SYNC_NONCE_LEN);
    m->state.generation = m->offer.generation;
    m->moving_on = mount_save(m, &m->work_err) == 0;
    mount_unlock(m);
}

static void tell(struct smount *m)
{
    struct session *s = m->session;

    for (size_t i = 0; m->report.notes && i < m->report.notes->len; i++)
        session_note(s, "%s", m->report.notes->items[i]);
    if (m->work_err.msg)
        session_note(s, "%s: what was agreed with the container could not be kept: %s", m->label, m->work_err.msg);
}

static void on_finished(void *arg)
{
    struct smount *m = arg;
    struct session *s = m->session;

    m->work = NULL;
    if (s->over)
        return;
    tell(m);
    if (!m->pull_err.msg)
        session_agreed(m);
    if (m->moving_on) {
        wire_put_pulled(&s->frame, m->index, m->state.generation);
        session_send(s);
    }
    done(m);
}

static void finish(struct smount *m)
{
    m->pull = PULL_FINISHING;
    m->work = work_start(m->session->loop, run_finish, on_finished, m);
}

static void take_bytes(struct smount *m, const void *bytes, size_t len)
{
    cleanup_err struct err err = ERR_INIT;

    if (sync_receiver_write(m->receiver, bytes, len, &err) == 0)
        return;
    if (err.code == ESTALE && !m->offer.full) { /* same name, other state: a full exchange mends it */
        ask(m, /* full= */ true);
        return;
    }
    err_move(&m->pull_err, &err);
    done(m);
}

/* We have the lock and the newest state: takes the offer if it starts from that. From here on the tree is written to.
 */
static void judge(struct smount *m)
{
    struct state base = {.generation = m->offer.base};
    struct sync_tree tree = mount_tree(m);
    struct sync_policy policy = {
        .ancestor = m->offer.full ? NULL : &m->known,
        .past = m->offer.full && m->behind ? &m->known : NULL,
        .host = true,
        .conflict = m->words.conflict,
        .keep_dirfd = m->words.keep_dirfd,
        .exclude = &m->exclude,
    };

    memcpy(base.nonce, m->offer.nonce, SYNC_NONCE_LEN);
    if (!m->offer.full)
        m->behind = m->state.generation && m->offer.base > m->state.generation &&
                    !memcmp(m->offer.nonce, m->state.nonce, SYNC_NONCE_LEN);
    if (m->held_over || (!m->offer.full && !state_same(&base, &m->state))) {
        ask(m, /* full= */ false);
        return;
    }
    m->receiver = sync_receiver_new(&tree, &policy);
    m->pull = PULL_RECEIVING;
    if (m->held.len)
        take_bytes(m, m->held.data, m->held.len);
    buf_clear(&m->held);
    if (m->pull == PULL_RECEIVING && m->end_came)
        finish(m);
}

/* In a thread. */
static void run_lock(void *arg)
{
    struct smount *m = arg;

    if (mount_lock(m, &m->work_err) == 0)
        mount_load(m, &m->work_err);
}

static void on_locked(void *arg)
{
    struct smount *m = arg;

    m->work = NULL;
    if (m->session->over)
        return;
    if (!m->pull_err.msg && m->work_err.msg)
        err_move(&m->pull_err, &m->work_err);
    if (m->pull_err.msg)
        done(m);
    else
        judge(m);
}

static void begin_lock(struct smount *m)
{
    m->pull = PULL_LOCKING;
    m->work = work_start(m->session->loop, run_lock, on_locked, m);
}

void pull_saved(struct smount *m)
{
    if (m->pull != PULL_WAITING)
        return;
    if (m->pull_err.msg)
        done(m);
    else
        begin_lock(m);
}

/* ---- frames ---- */

int pull_take_offer(struct session *s, const struct wire_frame *f, struct err *err)
{
    struct wire_offer o;
    struct smount *m;

    if (wire_get_offer(f, &o, err) < 0)
        return -1;
    m = find(s, o.index, err);
    if (!m)
        return -1;
    if (m->pull == PULL_DONE) /* failed */
        return 0;
    if ((m->pull != PULL_NONE && m->pull != PULL_ASKED) || m->passing_over)
        return err_set(err, 125, "OFFER for mount %u within another one", o.index);
    m->offer = o;
    if (m->pull == PULL_ASKED) {
        judge(m);
    } else if (m->work) {
        m->pull = PULL_WAITING;
    } else {
        begin_lock(m);
    }
    return 0;
}

int pull_take_delta(struct session *s, const struct wire_frame *f, struct err *err)
{
    uint16_t index;
    const uint8_t *bytes;
    size_t len;
    struct smount *m;

    if (wire_get_delta(f, &index, &bytes, &len, err) < 0)
        return -1;
    m = find(s, index, err);
    if (!m)
        return -1;
    if (m->pull == PULL_DONE || m->passing_over)
        return 0;
    if (m->pull == PULL_NONE || m->pull == PULL_ASKED || m->end_came)
        return err_set(err, 125, "changes came for mount %u, which were not offered", index);
    if (m->pull == PULL_RECEIVING) {
        take_bytes(m, bytes, len);
    } else if (m->held_over || buf_add(&m->held, bytes, len) < 0) {
        m->held_over = true;
        buf_clear(&m->held);
    }
    return 0;
}

int pull_take_delta_end(struct session *s, const struct wire_frame *f, struct err *err)
{
    struct wire_delta_end e;
    struct smount *m;

    if (wire_get_delta_end(f, &e, err) < 0)
        return -1;
    m = find(s, e.index, err);
    if (!m)
        return -1;
    if (m->pull == PULL_DONE)
        return 0;
    if (m->passing_over) {
        m->passing_over = false;
        return 0;
    }
    if (m->end_came)
        return err_set(err, 125, "changes came for mount %u, which were not offered", e.index);
    if (e.moving)
        session_note(s, "%s: %llu file(s) kept changing in the container and are left for the next time", m->label,
                     (unsigned long long)e.moving);
    if (m->pull == PULL_NONE || m->pull == PULL_ASKED) { /* nothing changed */
        done(m);
        return 0;
    }
    m->end_came = true;
    if (m->pull == PULL_RECEIVING)
        finish(m);
    return 0;
}

int pull_take_failed(struct session *s, const struct wire_frame *f, struct err *err)
{
    cleanup_free char *text = NULL;
    uint16_t index;
    struct smount *m;

    if (wire_get_pull_failed(f, &index, &text, err) < 0)
        return -1;
    m = find(s, index, err);
    if (!m)
        return -1;
    if (m->passing_over) { /* it was not to be taken anyhow */
        m->passing_over = false;
        return 0;
    }
    if (m->pull == PULL_DONE)
        return 0;
    err_set(&m->pull_err, 125, "in the container: %s", text);
    if (m->pull != PULL_LOCKING && m->pull != PULL_WAITING) /* the thread is waited for */
        done(m);
    return 0;
}

bool pull_expects(const struct session *s, uint8_t type)
{
    return (type == WIRE_OFFER || type == WIRE_DELTA || type == WIRE_DELTA_END || type == WIRE_PULL_FAILED) &&
           !pull_finished(s);
}

bool pull_finished(const struct session *s)
{
    for (size_t i = 0; i < s->n_mounts; i++)
        if (s->mounts[i].work || (s->mounts[i].pull != PULL_NONE && s->mounts[i].pull != PULL_DONE))
            return false;
    return true;
}

bool pull_error(const struct session *s, struct err *ret)
{
    for (size_t i = 0; i < s->n_mounts; i++) {
        const struct smount *m = &s->mounts[i];

        if (m->words.read_only || (m->pull == PULL_DONE && !m->pull_err.msg))
            continue;
        err_set(ret, 125, "bringing the changes of %s back to %s: %s", m->target, m->label,
                m->pull_err.msg ? m->pull_err.msg : "they never came");
        return true;
    }
    return false;
}
