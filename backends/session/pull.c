#include "backends/session/internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/sys/work.h"

#include <stdlib.h>

/* The mount that a frame of the pull is about, or NULL with err. */
static struct smount *find(struct session *s, uint16_t index, struct err *err)
{
    struct smount *m = index < s->n_mounts ? &s->mounts[index] : NULL;

    if (!m || m->words.read_only || m->phase != MOUNT_AGREED || m->pull_ended) {
        err_set(err, 125, "changes came for mount %u, which is not to be pulled", index);
        return NULL;
    }
    return m;
}

/* The first byte of a mount's changes: from here on the host's tree is written to. */
static void begin(struct smount *m)
{
    struct sync_tree tree = {.dirfd = m->words.host.dirfd, .file = m->file};
    struct sync_policy policy = {
        .ancestor = &m->agreed,
        .host = true,
        .conflict = m->words.conflict,
        .keep_dirfd = m->words.keep_dirfd,
        .exclude = &m->exclude,
    };

    m->receiver = sync_receiver_new(&tree, &policy);
}

/* A pull that failed is over: what still comes for it is dropped, the other mounts go on. */
static void abandon(struct smount *m)
{
    sync_receiver_free(m->receiver);
    m->receiver = NULL;
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
    if (m->pull_err.msg)
        return 0;
    if (!m->receiver)
        begin(m);
    if (sync_receiver_write(m->receiver, bytes, len, &m->pull_err) < 0)
        abandon(m);
    return 0;
}

/* In a thread: many deletions take their time. */
static void run_finish(void *arg)
{
    struct smount *m = arg;

    sync_receiver_finish(m->receiver, &m->pulled_state, &m->report, &m->pull_err);
}

static void tell(struct smount *m)
{
    struct session *s = m->session;

    for (size_t i = 0; m->report.notes && i < m->report.notes->len; i++)
        session_note(s, "%s", m->report.notes->items[i]);
}

static void on_finished(void *arg)
{
    struct smount *m = arg;
    struct session *s = m->session;

    m->work = NULL;
    abandon(m);
    m->pulled = true;
    if (s->over)
        return;
    tell(m);
    if (!m->pull_err.msg) {
        manifest_move(&m->agreed, &m->pulled_state);
        m->generation++;
        session_agreed(m);
        wire_put_pulled(&s->frame, m->index, m->generation);
        session_send(s);
    }
    session_maybe_end(s);
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
    m->pull_ended = true;
    if (e.moving)
        session_note(s, "%s: %llu file(s) kept changing in the container and are left for the next time", m->label,
                     (unsigned long long)e.moving);
    if (!m->pull_err.msg && e.base_generation != m->generation)
        err_set(&m->pull_err, 125, "another command has moved the mount on from generation %llu to %llu",
                (unsigned long long)m->generation, (unsigned long long)e.base_generation);
    if (!m->pull_err.msg && !m->receiver)
        begin(m); /* an empty stream: the receiver will say what it thinks of it */
    if (m->pull_err.msg) {
        abandon(m);
        m->pulled = true;
        return 0;
    }
    m->work = work_start(s->loop, run_finish, on_finished, m);
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
    abandon(m);
    m->pull_ended = m->pulled = true;
    if (!m->pull_err.msg)
        err_set(&m->pull_err, 125, "in the container: %s", text);
    return 0;
}

bool pull_finished(const struct session *s)
{
    for (size_t i = 0; i < s->n_mounts; i++)
        if (s->mounts[i].pull_ended && !s->mounts[i].pulled)
            return false;
    return true;
}

bool pull_error(const struct session *s, struct err *ret)
{
    for (size_t i = 0; i < s->n_mounts; i++) {
        const struct smount *m = &s->mounts[i];

        if (m->words.read_only || (m->pulled && !m->pull_err.msg))
            continue;
        err_set(ret, 125, "bringing the changes of %s back to %s: %s", m->target, m->label,
                m->pull_err.msg ? m->pull_err.msg : "they never came");
        return true;
    }
    return false;
}
