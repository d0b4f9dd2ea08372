/* What a session knows of its mounts, and the host's half of what is kept between commands: its lock and its state. */
#include "backends/session/internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/sys/beneath.h"
#include "compat/sys/loop.h"
#include "compat/sys/work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_RETRY 2000   /* us between two tries */
#define LOCK_WAIT  600000 /* ms; somebody may be bringing gigabytes over a slow line, but not for ever */

/* ---- from the owner's words ---- */

/* The path of `inner` below `outer`, or NULL if it is not below it. */
static const char *path_below(const char *inner, const char *outer)
{
    size_t len = strlen(outer);

    if (strncmp(inner, outer, len) != 0 || inner[len] != '/' || !inner[len + 1])
        return NULL;
    return inner + len + 1;
}

/* What is mounted inside another mount is not part of that one, on either side. */
static void exclude_nested(struct session *s)
{
    for (size_t i = 0; i < s->n_mounts; i++)
        for (size_t j = 0; j < s->n_mounts; j++) {
            const char *rest = path_below(s->mounts[j].target, s->mounts[i].target);

            if (i != j && rest && !strlist_has(&s->mounts[i].exclude, rest))
                strlist_add(&s->mounts[i].exclude, rest);
        }
}

void mounts_init(struct session *s, const struct session_mount *mounts, size_t n)
{
    s->too_many = n > WIRE_MOUNTS_MAX;
    s->n_mounts = s->too_many ? 0 : n;
    s->mounts = xcalloc(s->n_mounts ? s->n_mounts : 1, sizeof(*s->mounts));
    for (size_t i = 0; i < s->n_mounts; i++) {
        struct smount *m = &s->mounts[i];

        m->session = s;
        m->index = (uint16_t)i;
        m->words = mounts[i];
        m->label = xstrdup(mounts[i].label ? mounts[i].label : mounts[i].target);
        m->target = xstrdup(mounts[i].target);
        m->file = xstrdup(mounts[i].host.file);
        m->state_name = xstrdup(mounts[i].state_name);
        m->stored = mounts[i].state_name && mounts[i].state_dirfd >= 0;
        if (mounts[i].exclude)
            strlist_copy(&m->exclude, mounts[i].exclude);
        m->lock_fd = -1;
        m->phase = m->words.absent ? MOUNT_AGREED : MOUNT_IDLE;
        m->pull = m->words.absent ? PULL_DONE : PULL_NONE;
        manifest_init(&m->known);
        manifest_init(&m->now);
        manifest_init(&m->next);
        buf_init(&m->held, MOUNT_HELD_MAX);
    }
    exclude_nested(s);
}

static void mount_clear(struct smount *m)
{
    atomic_store(&m->give_up, true);
    work_cancel(m->work);
    sync_sender_free(m->sender);
    sync_receiver_free(m->receiver);
    mount_unlock(m);
    manifest_clear(&m->known);
    manifest_clear(&m->now);
    manifest_clear(&m->next);
    buf_clear(&m->held);
    sync_report_clear(&m->report);
    err_clear(&m->work_err);
    err_clear(&m->pull_err);
    strlist_clear(&m->exclude);
    free(m->label);
    free(m->target);
    free(m->file);
    free(m->state_name);
}

void session_mounts_clear(struct session *s)
{
    for (size_t i = 0; i < s->n_mounts; i++)
        mount_clear(&s->mounts[i]);
    free(s->mounts);
}

struct sync_tree mount_tree(const struct smount *m)
{
    return (struct sync_tree){.dirfd = m->words.host.dirfd, .file = m->file};
}

/* ---- the state between commands; in threads ---- */

int mount_lock(struct smount *m, struct err *err)
{
    cleanup_free char *name = NULL;
    cleanup_close int fd = -1;
    int64_t until = loop_now() + LOCK_WAIT;

    if (!m->stored || m->lock_fd >= 0)
        return 0;
    name = xasprintf("%s.lock", m->state_name);
    fd = openat(m->words.state_dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set_errno(err, 125, errno, "opening the lock of %s", m->label);
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_set_errno(err, 125, errno, "locking %s", m->label);
        if (atomic_load(&m->give_up) || loop_now() > until)
            return err_set(err, 125, "another command is exchanging %s with the same container for more than %d s",
                           m->label, LOCK_WAIT / 1000);
        usleep(LOCK_RETRY);
    }
    m->lock_fd = steal_fd(&fd);
    return 0;
}

void mount_unlock(struct smount *m)
{
    if (m->lock_fd >= 0)
        close(m->lock_fd);
    m->lock_fd = -1;
}

bool state_same(const struct state *a, const struct state *b)
{
    return a->generation && a->generation == b->generation && !memcmp(a->nonce, b->nonce, SYNC_NONCE_LEN);
}

int mount_load(struct smount *m, struct err *err)
{
    struct state now = {0};
    int got;

    if (!m->stored)
        return 0;
    got = sync_ancestor_mark(m->words.state_dirfd, m->state_name, now.nonce, &now.generation, err);
    if (got < 0 || (got > 0 && state_same(&now, &m->state)))
        return got < 0 ? -1 : 0;
    manifest_clear(&m->known);
    m->state = (struct state){0};
    got = sync_ancestor_load(m->words.state_dirfd, m->state_name, now.nonce, &now.generation, &m->known, err);
    if (got > 0)
        m->state = now;
    return got < 0 ? -1 : 0;
}

int mount_save(struct smount *m, struct err *err)
{
    if (!m->stored)
        return 0;
    beneath_temp_sweep_dir(m->words.state_dirfd); /* of a command that was killed while it saved */
    return sync_ancestor_save(m->words.state_dirfd, m->state_name, m->state.nonce, m->state.generation, &m->known, err);
}
