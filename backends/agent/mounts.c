#include "backends/agent/mounts.h"

#include "backends/agent/link.h"
#include "backends/agent/target.h"
#include "backends/sync/sync.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/sys/fs.h"
#include "compat/sys/loop.h"
#include "compat/sys/random.h"
#include "compat/sys/work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#define LOCK_RETRY 10   /* ms between two tries for a lock that another session holds */
#define AHEAD_WAIT 3000 /* ms for another session's PULLED that this client knows of already */
#define KEY_LEN    (2 * SHA256_LEN + 1)

enum phase {
    PHASE_NONE,      /* not announced */
    PHASE_RECEIVING, /* MOUNT came, DELTA comes */
    PHASE_STALE,     /* DELTA is for a state that we do not have: dropped until the next MOUNT */
    PHASE_PUSHED,
};

struct mount {
    struct mounts *all;
    enum phase phase;
    struct wire_mount words; /* what MOUNT said */
    struct target target;
    char key[KEY_LEN];
    int lock_fd;
    struct loop_timer *timer; /* waits for the lock, then calls next */
    void (*next)(struct mount *mt);
    /* what is agreed */
    uint8_t nonce[WIRE_NONCE];
    uint64_t generation;
    struct manifest agreed;
    struct sync_receiver *receiver;
    /* the pull */
    struct manifest now;
    struct manifest pending; /* what the client has once it says PULLED */
    bool has_pending;
    struct sync_scan_stats stats;
    struct sync_sender *sender;
};

struct mounts {
    struct loop *loop;
    struct link *link;
    const struct mounts_events *events;
    void *arg;
    int dirfd; /* <run dir>/mounts */
    char *run_dir;
    struct mount items[WIRE_MOUNTS_MAX];
    struct work *work; /* one piece at a time */
    struct err work_err;
    struct sync_report report;
    int64_t wait_until;
    unsigned busy; /* reasons to be given no frames */
    bool pulling;
    size_t pull_index;
};

static void on_timer(struct loop *loop, void *arg)
{
    struct mount *mt = arg;

    (void)loop;
    mt->next(mt);
}

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
        m->items[i] = (struct mount){.all = m, .lock_fd = -1, .target = {.dirfd = -1}};
        manifest_init(&m->items[i].agreed);
        manifest_init(&m->items[i].now);
        manifest_init(&m->items[i].pending);
    }
    return m;
}

static void unlock(struct mount *mt)
{
    if (mt->lock_fd >= 0)
        close(mt->lock_fd);
    mt->lock_fd = -1;
}

/* Forgets everything but that the slot exists. */
static void mount_reset(struct mount *mt)
{
    sync_receiver_free(mt->receiver);
    sync_sender_free(mt->sender);
    mt->receiver = NULL;
    mt->sender = NULL;
    manifest_clear(&mt->agreed);
    manifest_clear(&mt->now);
    manifest_clear(&mt->pending);
    mt->has_pending = false;
    target_clear(&mt->target);
    wire_mount_clear(&mt->words);
    unlock(mt);
    loop_timer_del(mt->timer);
    mt->timer = NULL;
    mt->phase = PHASE_NONE;
}

void mounts_free(struct mounts *m)
{
    if (!m)
        return;
    work_cancel(m->work);
    for (size_t i = 0; i < WIRE_MOUNTS_MAX; i++)
        mount_reset(&m->items[i]);
    sync_report_clear(&m->report);
    err_clear(&m->work_err);
    if (m->dirfd >= 0)
        close(m->dirfd);
    free(m->run_dir);
    free(m);
}

static struct sync_tree tree_of(const struct mount *mt)
{
    return (struct sync_tree){.dirfd = mt->target.dirfd, .file = mt->target.file};
}

static void busy(struct mounts *m)
{
    if (!m->busy++)
        m->events->busy(m->arg, true);
}

/* May hand out frames at once: the last thing that a caller does. */
static void unbusy(struct mounts *m)
{
    if (!--m->busy)
        m->events->busy(m->arg, false);
}

/* ---- the lock ---- */

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

/* 1 = locked, 0 = somebody else has it now, -1 = err. */
static int try_lock(struct mount *mt, struct err *err)
{
    cleanup_free char *name = xasprintf("%s.lock", mt->key);

    if (mt->lock_fd < 0)
        mt->lock_fd = openat(mt->all->dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (mt->lock_fd < 0)
        return err_set_errno(err, 125, errno, "opening the lock of %s", mt->words.target);
    if (flock(mt->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 1;
    if (errno == EWOULDBLOCK || errno == EINTR)
        return 0;
    return err_set_errno(err, 125, errno, "locking %s", mt->words.target);
}

/* Calls next(mt) again a little later. */
static void later(struct mount *mt, void (*next)(struct mount *mt))
{
    mt->next = next;
    if (mt->timer)
        loop_timer_set(mt->timer, LOCK_RETRY);
    else
        mt->timer = loop_timer_add(mt->all->loop, LOCK_RETRY, on_timer, mt);
}

static int load_agreed(struct mount *mt, struct err *err)
{
    manifest_clear(&mt->agreed);
    return sync_ancestor_load(mt->all->dirfd, mt->key, mt->nonce, &mt->generation, &mt->agreed, err);
}

/* ---- push ---- */

static void push_failed(struct mount *mt, struct err *err)
{
    struct mounts *m = mt->all;
    cleanup_free char *text =
        xasprintf("%s: %s", mt->words.target ? mt->words.target : "mount", err->msg ? err->msg : "unknown error");

    err_clear(err);
    mount_reset(mt);
    m->events->push_failed(m->arg, text);
}

static void begin_receiving(struct mount *mt, bool known)
{
    struct sync_tree tree = tree_of(mt);
    struct sync_policy policy = {
        .ancestor = known ? &mt->agreed : NULL,
        .replace = mt->words.flags & WIRE_MOUNT_REPLACE,
        .conflict = SYNC_CONFLICT_CONTAINER, /* ours stays until the pull shows it to the host, which keeps both */
        .keep_dirfd = -1,
        .exclude = &mt->words.exclude,
    };

    mt->receiver = sync_receiver_new(&tree, &policy);
    mt->phase = PHASE_RECEIVING;
}

/* Compares what the client knows with what we hold, now that the lock is ours. */
static void begin_push(struct mount *mt)
{
    cleanup_err struct err err = ERR_INIT;
    struct mounts *m = mt->all;
    bool fresh = (mt->words.flags & WIRE_MOUNT_REPLACE) || !mt->words.generation;
    int got = try_lock(mt, &err);

    if (got == 0) {
        later(mt, begin_push);
        return;
    }
    if (got > 0)
        got = fresh ? random_bytes(mt->nonce, WIRE_NONCE, &err) : load_agreed(mt, &err);
    if (got < 0) {
        push_failed(mt, &err);
        return;
    }
    if (fresh) {
        mt->generation = 0;
    } else if (got && !memcmp(mt->nonce, mt->words.nonce, WIRE_NONCE) && mt->generation + 1 == mt->words.generation &&
               loop_now() < m->wait_until) {
        unlock(mt); /* another session's PULLED is on its way */
        later(mt, begin_push);
        return;
    } else if (!got || memcmp(mt->nonce, mt->words.nonce, WIRE_NONCE) != 0 || mt->generation != mt->words.generation) {
        uint16_t index = mt->words.index;

        unlock(mt);
        mt->phase = PHASE_STALE;
        wire_put_stale(&m->link->queue, index, true);
        link_send(m->link);
        unbusy(m);
        return;
    }
    begin_receiving(mt, !fresh);
    unbusy(m);
}

static int take_mount(struct mounts *m, const struct wire_frame *f, struct err *err)
{
    struct wire_mount words;
    uint8_t digest[SHA256_LEN];
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
    sha256(words.target, strlen(words.target), digest);
    sha256_hex(digest, mt->key);
    m->wait_until = loop_now() + AHEAD_WAIT;
    if (open_state_dir(m, &m->work_err) < 0 ||
        target_open(words.target, words.flags & WIRE_MOUNT_FILE, m->run_dir, &mt->target, &m->work_err) < 0) {
        push_failed(mt, &m->work_err);
        return 0;
    }
    busy(m);
    begin_push(mt);
    return 0;
}

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
    if (sync_receiver_write(mt->receiver, bytes, len, &why) < 0)
        push_failed(mt, &why);
    return 0;
}

/* In a thread: many deletions take their time. */
static void run_finish(void *arg)
{
    struct mount *mt = arg;
    struct mounts *m = mt->all;
    struct manifest agreed = MANIFEST_INIT;

    if (sync_receiver_finish(mt->receiver, &agreed, &m->report, &m->work_err) < 0)
        return;
    manifest_move(&mt->agreed, &agreed);
    mt->generation++;
    sync_ancestor_save(m->dirfd, mt->key, mt->nonce, mt->generation, &mt->agreed, &m->work_err);
}

static void on_finished(void *arg)
{
    struct mount *mt = arg;
    struct mounts *m = mt->all;
    struct wire_pushed p = {.index = mt->words.index, .generation = mt->generation};

    m->work = NULL;
    if (m->work_err.msg) {
        push_failed(mt, &m->work_err);
        return;
    }
    sync_receiver_free(mt->receiver);
    mt->receiver = NULL;
    unlock(mt);
    mt->phase = PHASE_PUSHED;
    memcpy(p.nonce, mt->nonce, WIRE_NONCE);
    p.files = m->report.files;
    p.bytes = m->report.bytes;
    p.deleted = m->report.deleted;
    p.conflicts = m->report.conflicts;
    sync_report_clear(&m->report);
    wire_put_pushed(&m->link->queue, &p);
    link_send(m->link);
    unbusy(m);
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
    busy(m);
    m->work = work_start(m->loop, run_finish, on_finished, mt);
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

/* ---- pull ---- */

static void pull_next(struct mounts *m);

static void pull_failed(struct mount *mt, struct err *err)
{
    struct mounts *m = mt->all;

    unlock(mt);
    wire_put_pull_failed(&m->link->queue, mt->words.index, err->msg);
    link_send(m->link);
    err_clear(err);
    m->pull_index++;
    pull_next(m);
}

static void run_scan(void *arg)
{
    struct mount *mt = arg;
    struct sync_tree tree = tree_of(mt);

    manifest_clear(&mt->now);
    sync_scan(&tree, &mt->agreed, &mt->words.exclude, &mt->now, &mt->stats, &mt->all->work_err);
}

static void on_scanned(void *arg)
{
    struct mount *mt = arg;
    struct mounts *m = mt->all;
    struct sync_tree tree = tree_of(mt);

    m->work = NULL;
    if (m->work_err.msg) {
        pull_failed(mt, &m->work_err);
        return;
    }
    mt->sender = sync_sender_new(&tree, &mt->agreed, &mt->now);
    mounts_drained(m);
}

/* Takes the lock, then the newest agreed state: another session may have moved it on since our push. */
static void begin_pull(struct mount *mt)
{
    struct mounts *m = mt->all;
    uint64_t generation = mt->generation;
    uint8_t nonce[WIRE_NONCE];
    int got = try_lock(mt, &m->work_err);

    if (got == 0) {
        later(mt, begin_pull);
        return;
    }
    memcpy(nonce, mt->nonce, WIRE_NONCE);
    if (got > 0)
        got = load_agreed(mt, &m->work_err);
    if (got == 0 || (got > 0 && memcmp(nonce, mt->nonce, WIRE_NONCE) != 0)) {
        err_set(&m->work_err, 125, "the state agreed at generation %llu is gone", (unsigned long long)generation);
        got = -1;
    }
    if (got < 0) {
        pull_failed(mt, &m->work_err);
        return;
    }
    m->work = work_start(m->loop, run_scan, on_scanned, mt);
}

static void pull_next(struct mounts *m)
{
    for (; m->pull_index < WIRE_MOUNTS_MAX; m->pull_index++) {
        struct mount *mt = &m->items[m->pull_index];

        if (mt->phase == PHASE_PUSHED && !(mt->words.flags & WIRE_MOUNT_RO)) {
            begin_pull(mt);
            return;
        }
    }
    m->pulling = false;
    m->events->pulled(m->arg);
}

static void end_pull(struct mount *mt)
{
    struct mounts *m = mt->all;
    struct wire_delta_end e = {.index = mt->words.index,
                               .base_generation = mt->generation,
                               .skipped_special = mt->stats.skipped_special,
                               .moving = mt->stats.moving};

    manifest_clear(&mt->pending);
    sync_sender_agreed(mt->sender, &mt->pending);
    mt->has_pending = true;
    sync_sender_free(mt->sender);
    mt->sender = NULL;
    unlock(mt);
    wire_put_delta_end(&m->link->queue, &e);
    link_send(m->link);
    m->pull_index++;
    pull_next(m);
}

void mounts_drained(struct mounts *m)
{
    uint8_t bytes[WIRE_CHUNK];

    while (m->pulling && m->pull_index < WIRE_MOUNTS_MAX && m->items[m->pull_index].sender) {
        struct mount *mt = &m->items[m->pull_index];
        ssize_t n;

        if (link_pending(m->link) >= LINK_HIGH)
            return;
        n = sync_sender_read(mt->sender, bytes, sizeof(bytes), &m->work_err);
        if (n < 0) {
            sync_sender_free(mt->sender);
            mt->sender = NULL;
            pull_failed(mt, &m->work_err);
            return;
        }
        if (n == 0) {
            end_pull(mt);
            return;
        }
        wire_put_delta(&m->link->queue, mt->words.index, bytes, (size_t)n);
        link_send(m->link);
    }
}

void mounts_pull(struct mounts *m)
{
    m->pulling = true;
    m->pull_index = 0;
    pull_next(m);
}

/*
 * The client has stored what we sent: it becomes the agreed state here too. If another session has moved the state on
 * meanwhile, the client will find out by STALE.
 */
static void store_pulled(struct mount *mt)
{
    cleanup_err struct err err = ERR_INIT;
    struct manifest newest = MANIFEST_INIT;
    uint8_t nonce[WIRE_NONCE];
    uint64_t generation;
    int got = try_lock(mt, &err);

    if (got == 0) {
        later(mt, store_pulled);
        return;
    }
    if (got > 0 && sync_ancestor_load(mt->all->dirfd, mt->key, nonce, &generation, &newest, &err) > 0 &&
        generation == mt->generation && !memcmp(nonce, mt->nonce, WIRE_NONCE))
        sync_ancestor_save(mt->all->dirfd, mt->key, mt->nonce, mt->generation + 1, &mt->pending, &err);
    manifest_clear(&newest);
    unlock(mt);
    unbusy(mt->all);
}

static int take_pulled(struct mounts *m, const struct wire_frame *f, struct err *err)
{
    uint16_t index;
    uint64_t generation;
    struct mount *mt;

    if (wire_get_pulled(f, &index, &generation, err) < 0)
        return -1;
    mt = &m->items[index];
    if (!mt->has_pending || generation != mt->generation + 1)
        return err_set(err, 125, "PULLED for a state that was not sent");
    mt->has_pending = false;
    busy(m);
    store_pulled(mt);
    return 0;
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
    default:
        return take_pulled(m, f, err);
    }
}
