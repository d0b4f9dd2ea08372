#include "backends/agent/mounts_impl.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/sys/fs.h"
#include "compat/sys/loop.h"
#include "compat/sys/random.h"
#include "compat/sys/work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct mounts *mounts_new(struct loop *loop, const char *run_dir, struct link *link, const struct mounts_events *events,
                          void *arg)
{
    struct mounts *m = xcalloc(1, sizeof(*m));

    m->loop = loop;
    m->link = link;
    m->events = events;
    m->arg = arg;
    m->dirfd = -1;
    m->run_dir = xstrdup(run_dir);
    for (size_t i = 0; i < WIRE_MOUNTS_MAX; i++) {
        m->items[i] = (struct mount){.all = m, .store = {.lock_fd = -1}, .target = {.dirfd = -1}};
        manifest_init(&m->items[i].agreed);
        manifest_init(&m->items[i].now);
        manifest_init(&m->items[i].next);
    }
    return m;
}

/* Forgets everything but that the slot exists. */
static void mount_reset(struct mount *mt)
{
    work_cancel(mt->work);
    sync_receiver_free(mt->receiver);
    sync_sender_free(mt->sender);
    mt->work = NULL;
    mt->receiver = NULL;
    mt->sender = NULL;
    manifest_clear(&mt->agreed);
    manifest_clear(&mt->now);
    manifest_clear(&mt->next);
    mt->known = mt->offered = (struct mark){0};
    mt->due = mt->pulled = mt->asked = mt->moved_on = false;
    target_clear(&mt->target);
    wire_mount_clear(&mt->words);
    store_unlock(&mt->store);
    sync_report_clear(&mt->report);
    err_clear(&mt->work_err);
    mt->phase = PHASE_NONE;
}

void mounts_free(struct mounts *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < WIRE_MOUNTS_MAX; i++)
        mount_reset(&m->items[i]);
    if (m->dirfd >= 0)
        close(m->dirfd);
    free(m->run_dir);
    free(m);
}

struct sync_tree mount_tree(const struct mount *mt)
{
    return (struct sync_tree){.dirfd = mt->target.dirfd, .file = mt->target.file};
}

void mounts_busy(struct mounts *m)
{
    if (!m->busy++)
        m->events->busy(m->arg, true);
}

void mounts_unbusy(struct mounts *m)
{
    if (!--m->busy)
        m->events->busy(m->arg, false);
}

static int open_state_dir(struct mounts *m, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/mounts", m->run_dir);

    if (m->dirfd >= 0)
        return 0;
    if (fs_mkdirs(path, 0700, err) < 0)
        return -1;
    m->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return m->dirfd < 0 ? err_set_errno(err, 125, errno, "opening %s", path) : 0;
}

/* ---- the beginning of a push ---- */

static void push_failed(struct mount *mt, struct err *err)
{
    struct mounts *m = mt->all;
    cleanup_free char *text =
        xasprintf("%s: %s", mt->words.target ? mt->words.target : "mount", err->msg ? err->msg : "unknown error");

    err_clear(err);
    mount_reset(mt);
    m->events->push_failed(m->arg, text);
}

/* The client does not have what we have: it sends again. */
static void say_stale(struct mount *mt)
{
    struct mounts *m = mt->all;

    sync_receiver_free(mt->receiver);
    mt->receiver = NULL;
    mt->phase = PHASE_STALE;
    wire_put_stale(&m->link->queue, mt->words.index, mt->has_state);
    link_send(m->link);
}

static void say_pushed(struct mount *mt)
{
    struct mounts *m = mt->all;
    struct wire_pushed p = {.index = mt->words.index,
                            .generation = mt->known.generation,
                            .files = mt->report.files,
                            .bytes = mt->report.bytes,
                            .deleted = mt->report.deleted,
                            .conflicts = mt->report.conflicts};

    mt->phase = PHASE_PUSHED;
    memcpy(p.nonce, mt->known.nonce, WIRE_NONCE);
    sync_report_clear(&mt->report);
    wire_put_pushed(&m->link->queue, &p);
    link_send(m->link);
}

static void begin_receiving(struct mount *mt)
{
    struct sync_tree tree = mount_tree(mt);
    struct sync_policy policy = {
        .ancestor = mt->known.generation ? &mt->agreed : NULL,
        .replace = mt->words.flags & WIRE_MOUNT_REPLACE,
        .conflict = SYNC_CONFLICT_CONTAINER, /* ours stays until the pull shows it to the host, which keeps both */
        .keep_dirfd = -1,
        .exclude = &mt->words.exclude,
    };

    mt->receiver = sync_receiver_new(&tree, &policy);
    mt->phase = PHASE_RECEIVING;
}

/*
 * What the client knows, under the lock. A host that has no state of its own, or one that we could not make out, sends
 * everything; what we have counts for that only if it is of the same nonce.
 */
static int judge(struct mount *mt, struct err *err)
{
    struct mark theirs = {.generation = mt->words.generation}, now;
    int got;

    memcpy(theirs.nonce, mt->words.nonce, WIRE_NONCE);
    mt->begin = BEGIN_RECEIVE;
    mt->known = (struct mark){0};
    if (mt->words.flags & WIRE_MOUNT_REPLACE)
        return 0;
    got = theirs.generation ? store_resolve(&mt->store, &theirs, &now, err) : store_mark(&mt->store, &now, err);
    if (got < 0)
        return -1;
    mt->has_state = now.generation;
    if (!theirs.generation && (!now.generation || memcmp(now.nonce, theirs.nonce, WIRE_NONCE) != 0))
        return 0;
    mt->known = now;
    if (got || !theirs.generation)
        mt->begin = mt->words.flags & WIRE_MOUNT_SAME ? BEGIN_SAME : BEGIN_RECEIVE;
    else if ((mt->words.flags & WIRE_MOUNT_SAME) && store_only_pulled_since(&mt->store, &theirs, &now))
        mt->begin = BEGIN_SAME;
    else
        mt->begin = BEGIN_STALE;
    /* What the client has seen is never drawn again, though we have lost it. */
    if (mt->begin == BEGIN_STALE && !memcmp(now.nonce, theirs.nonce, WIRE_NONCE))
        store_seen(&mt->store, theirs.generation);
    return 0;
}

/* In a thread. */
static void run_begin(void *arg)
{
    struct mount *mt = arg;
    int got = store_lock(&mt->store, &mt->work_err);

    if (got == 0)
        got = judge(mt, &mt->work_err);
    store_unlock(&mt->store);
    if (got < 0 || mt->begin != BEGIN_RECEIVE || !mt->known.generation)
        return;
    got = store_load(&mt->store, &mt->known, &mt->agreed, &mt->work_err);
    if (got == 0 && mt->words.generation) { /* damaged */
        mt->begin = BEGIN_STALE;
        mt->has_state = false;
    }
}

static void on_begun(void *arg)
{
    struct mount *mt = arg;

    mt->work = NULL;
    if (mt->work_err.msg) {
        push_failed(mt, &mt->work_err);
        return;
    }
    if (mt->begin == BEGIN_STALE)
        say_stale(mt);
    else if (mt->begin == BEGIN_SAME)
        say_pushed(mt);
    else
        begin_receiving(mt);
    mounts_unbusy(mt->all);
}

static int take_mount(struct mounts *m, const struct wire_frame *f, struct err *err)
{
    struct wire_mount words;
    struct mount *mt;

    if (wire_get_mount(f, &words, err) < 0)
        return -1;
    mt = &m->items[words.index];
    if (mt->phase != PHASE_NONE && mt->phase != PHASE_STALE) {
        wire_mount_clear(&words);
        return err_set(err, 125, "MOUNT %u came twice", words.index);
    }
    mount_reset(mt);
    mt->words = words;
    mt->phase = PHASE_RECEIVING;
    if (open_state_dir(m, &mt->work_err) < 0 ||
        target_open(words.target, words.flags & WIRE_MOUNT_FILE, m->run_dir, &mt->target, &mt->work_err) < 0) {
        push_failed(mt, &mt->work_err);
        return 0;
    }
    store_init(&mt->store, m->dirfd, words.target);
    mounts_busy(m);
    mt->work = work_start(m->loop, run_begin, on_begun, mt);
    return 0;
}

/* ---- its changes, and its end ---- */

static int take_delta(struct mounts *m, const struct wire_frame *f, struct err *err)
{
    cleanup_err struct err why = ERR_INIT;
    uint16_t index;
    const uint8_t *bytes;
    size_t len;
    struct mount *mt;

    if (wire_get_delta(f, &index, &bytes, &len, err) < 0)
        return -1;
    mt = &m->items[index];
    if (mt->phase == PHASE_STALE)
        return 0;
    if (mt->phase != PHASE_RECEIVING)
        return err_set(err, 125, "DELTA for mount %u, which was not announced", index);
    if (sync_receiver_write(mt->receiver, bytes, len, &why) == 0)
        return 0;
    if (why.code == ESTALE)
        say_stale(mt); /* same name, other state: a full exchange mends it */
    else
        push_failed(mt, &why);
    return 0;
}

/* Names the state that this push leads to: a nonce of its own unless it continues one. */
static int name_state(struct mount *mt, struct mark *ret, struct err *err)
{
    struct mark now;

    if (store_mark(&mt->store, &now, err) < 0)
        return -1;
    mt->moved_on = mt->known.generation && !mark_same(&now, &mt->known);
    if (mt->moved_on)
        return 0;
    *ret = mt->known;
    if (!mt->known.generation && random_bytes(ret->nonce, SYNC_NONCE_LEN, err) < 0)
        return -1;
    return store_draw(&mt->store, now.generation, &ret->generation, err);
}

/* In a thread: many deletions take their time. */
static void run_finish(void *arg)
{
    struct mount *mt = arg;
    struct mark mark;

    manifest_clear(&mt->next);
    if (sync_receiver_finish(mt->receiver, &mt->next, &mt->report, &mt->work_err) < 0 ||
        store_lock(&mt->store, &mt->work_err) < 0)
        return;
    if (name_state(mt, &mark, &mt->work_err) == 0 && !mt->moved_on &&
        store_push(&mt->store, &mark, &mt->next, &mt->work_err) == 0)
        mt->known = mark;
    store_unlock(&mt->store);
}

static void on_finished(void *arg)
{
    struct mount *mt = arg;

    mt->work = NULL;
    if (mt->work_err.msg) {
        push_failed(mt, &mt->work_err);
        return;
    }
    sync_receiver_free(mt->receiver);
    mt->receiver = NULL;
    manifest_move(&mt->agreed, &mt->next);
    if (mt->moved_on)
        say_stale(mt);
    else
        say_pushed(mt);
    mounts_unbusy(mt->all);
}

static int take_delta_end(struct mounts *m, const struct wire_frame *f, struct err *err)
{
    struct wire_delta_end e;
    struct mount *mt;

    if (wire_get_delta_end(f, &e, err) < 0)
        return -1;
    mt = &m->items[e.index];
    if (mt->phase == PHASE_STALE)
        return 0;
    if (mt->phase != PHASE_RECEIVING)
        return err_set(err, 125, "DELTA_END for mount %u, which was not announced", e.index);
    mounts_busy(m);
    mt->work = work_start(m->loop, run_finish, on_finished, mt);
    return 0;
}

bool mounts_ready(const struct mounts *m)
{
    if (m->busy)
        return false;
    for (size_t i = 0; i < WIRE_MOUNTS_MAX; i++)
        if (m->items[i].phase == PHASE_RECEIVING || m->items[i].phase == PHASE_STALE)
            return false;
    return true;
}

int mounts_frame(struct mounts *m, const struct wire_frame *f, struct err *err)
{
    switch (f->type) {
    case WIRE_MOUNT:
        return take_mount(m, f, err);
    case WIRE_DELTA:
        return take_delta(m, f, err);
    case WIRE_DELTA_END:
        return take_delta_end(m, f, err);
    case WIRE_PULL:
        return pull_take_pull(m, f, err);
    default:
        return pull_take_pulled(m, f, err);
    }
}
