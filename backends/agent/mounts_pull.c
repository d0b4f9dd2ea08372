/* After the command: what the container changed is offered to the client, as often as it asks. */
#include "backends/agent/mounts_impl.h"

#include "compat/base/cleanup.h"
#include "compat/sys/loop.h"
#include "compat/sys/work.h"

#include <string.h>

static void pull_next(struct mounts *m);

/* This mount is through, for now. */
static void pull_done(struct mount *mt)
{
    struct mounts *m = mt->all;

    link_send(m->link);
    m->pulling = NULL;
    pull_next(m);
}

static void pull_failed(struct mount *mt, struct err *err)
{
    wire_put_pull_failed(&mt->all->link->queue, mt->words.index, err->msg);
    err_clear(err);
    pull_done(mt);
}

static void say_end(struct mount *mt)
{
    struct wire_delta_end e = {.index = mt->words.index,
                               .base_generation = mt->full ? 0 : mt->known.generation,
                               .skipped_special = mt->stats.skipped_special,
                               .moving = mt->stats.moving};

    wire_put_delta_end(&mt->all->link->queue, &e);
    pull_done(mt);
}

/* ---- what changed ---- */

/* Makes `agreed` the manifest that the store has now: another session may have moved it on since our push. */
static int newest(struct mount *mt, struct err *err)
{
    struct mark now;
    int got = store_mark(&mt->store, &now, err);

    if (got < 0 || (mark_same(&now, &mt->known) && mt->agreed.entries))
        return got;
    got = store_load(&mt->store, &mt->known, &mt->agreed, err);
    return got == 0 ? err_set(err, 125, "the state that was agreed at its push is gone") : got;
}

/* The client says what it has: a state that was pending is agreed then, one that we do not know means everything. */
static int resolve(struct mount *mt, struct err *err)
{
    struct mark now;
    int got;

    mt->full = false;
    if (!mt->asked)
        return 0;
    mt->asked = false;
    if (store_lock(&mt->store, err) < 0)
        return -1;
    got = store_resolve(&mt->store, &mt->theirs, &now, err);
    if (got == 0 && !memcmp(now.nonce, mt->theirs.nonce, SYNC_NONCE_LEN))
        store_seen(&mt->store, mt->theirs.generation);
    store_unlock(&mt->store);
    mt->full = got == 0;
    return got < 0 ? -1 : 0;
}

/* Nothing is to be sent. What had to be read to find that out need not be read the next time. */
static int settle(struct mount *mt, struct err *err)
{
    manifest_clear(&mt->next);
    if (mt->stats.hashed_files)
        sync_sender_agreed(mt->sender, &mt->next);
    sync_sender_free(mt->sender);
    mt->sender = NULL;
    if (!mt->stats.hashed_files)
        return 0;
    manifest_move(&mt->agreed, &mt->next);
    if (store_lock(&mt->store, err) < 0)
        return -1;
    store_refresh(&mt->store, &mt->known, &mt->agreed, NULL); /* only saves time: a full disk is no failure */
    store_unlock(&mt->store);
    return 0;
}

static int draw(struct mount *mt, struct err *err)
{
    int got;

    if (store_lock(&mt->store, err) < 0)
        return -1;
    mt->offered = mt->known;
    got = store_draw(&mt->store, mt->known.generation, &mt->offered.generation, err);
    store_unlock(&mt->store);
    return got;
}

/*
 * In a thread. Scanning and sending need no lock: should somebody else's push be under way, the state that we start
 * from is no longer the agreed one when it ends, and what we offer will be refused.
 */
static void run_scan(void *arg)
{
    struct mount *mt = arg;
    struct sync_tree tree = mount_tree(mt);

    manifest_clear(&mt->now);
    mt->offered = (struct mark){0};
    if (resolve(mt, &mt->work_err) < 0 || newest(mt, &mt->work_err) < 0 ||
        sync_scan(&tree, &mt->agreed, &mt->words.exclude, &mt->now, &mt->stats, &mt->work_err) < 0)
        return;
    mt->sender = sync_sender_new(&tree, mt->full ? NULL : &mt->agreed, &mt->now);
    /* The client's state is not ours but of the same line: it lacks a push that we stored, or we are an older copy. */
    if (mt->full && mt->known.generation && !memcmp(mt->known.nonce, mt->theirs.nonce, SYNC_NONCE_LEN))
        sync_sender_mark_untouched(mt->sender, &mt->agreed);
    if (sync_sender_empty(mt->sender))
        settle(mt, &mt->work_err);
    else
        draw(mt, &mt->work_err);
}

static void on_scanned(void *arg)
{
    struct mount *mt = arg;
    struct wire_offer o = {.index = mt->words.index, .full = mt->full};

    mt->work = NULL;
    if (mt->work_err.msg) {
        sync_sender_free(mt->sender);
        mt->sender = NULL;
        pull_failed(mt, &mt->work_err);
        return;
    }
    if (!mt->sender) {
        say_end(mt);
        return;
    }
    memcpy(o.nonce, mt->offered.nonce, WIRE_NONCE);
    o.base = mt->full ? 0 : mt->known.generation;
    o.generation = mt->offered.generation;
    wire_put_offer(&mt->all->link->queue, &o);
    mounts_drained(mt->all);
}

static void pull_next(struct mounts *m)
{
    for (size_t i = 0; i < WIRE_MOUNTS_MAX; i++) {
        struct mount *mt = &m->items[i];

        if (!mt->due)
            continue;
        mt->due = false;
        mt->pulled = true;
        m->pulling = mt;
        mt->work = work_start(m->loop, run_scan, on_scanned, mt);
        return;
    }
    if (m->told)
        return;
    m->told = true;
    m->events->pulled(m->arg);
}

void mounts_pull(struct mounts *m)
{
    for (size_t i = 0; i < WIRE_MOUNTS_MAX; i++)
        m->items[i].due = m->items[i].phase == PHASE_PUSHED && !(m->items[i].words.flags & WIRE_MOUNT_RO);
    pull_next(m);
}

/* ---- sending ---- */

/* In a thread. From the moment when the client may have all of it, we must know what it has. */
static void run_offer(void *arg)
{
    struct mount *mt = arg;

    store_offer(&mt->store, mt->known.generation, &mt->offered, &mt->next, &mt->work_err);
}

static void on_offered(void *arg)
{
    struct mount *mt = arg;

    mt->work = NULL;
    if (mt->work_err.msg)
        pull_failed(mt, &mt->work_err);
    else
        say_end(mt);
}

static void all_sent(struct mount *mt)
{
    manifest_clear(&mt->next);
    sync_sender_agreed(mt->sender, &mt->next);
    sync_sender_free(mt->sender);
    mt->sender = NULL;
    mt->work = work_start(mt->all->loop, run_offer, on_offered, mt);
}

void mounts_drained(struct mounts *m)
{
    uint8_t bytes[WIRE_CHUNK];
    struct mount *mt = m->pulling;

    while (mt && mt->sender && !mt->work) {
        ssize_t n;

        if (link_pending(m->link) >= LINK_HIGH)
            return;
        n = sync_sender_read(mt->sender, bytes, sizeof(bytes), &mt->work_err);
        if (n < 0) {
            sync_sender_free(mt->sender);
            mt->sender = NULL;
            pull_failed(mt, &mt->work_err);
            return;
        }
        if (n == 0) {
            all_sent(mt);
            return;
        }
        wire_put_delta(&m->link->queue, mt->words.index, bytes, (size_t)n);
        link_send(m->link);
    }
}

/* ---- the client's answer ---- */

int pull_take_pull(struct mounts *m, const struct wire_frame *f, struct err *err)
{
    struct wire_pull p;
    struct mount *mt;

    if (wire_get_pull(f, &p, err) < 0)
        return -1;
    mt = &m->items[p.index];
    if (!mt->pulled || mt->asked)
        return err_set(err, 125, "PULL for mount %u, which was not offered", p.index);
    mt->asked = mt->due = true;
    mt->theirs.generation = p.generation;
    memcpy(mt->theirs.nonce, p.nonce, WIRE_NONCE);
    if (!m->pulling)
        pull_next(m);
    return 0;
}

/* In a thread. */
static void run_commit(void *arg)
{
    struct mount *mt = arg;
    struct mark now;

    if (store_lock(&mt->store, &mt->work_err) < 0)
        return;
    store_resolve(&mt->store, &mt->offered, &now, &mt->work_err);
    store_unlock(&mt->store);
}

/* Should it have failed: the client's next command says what it has, and then it is tried again. */
static void on_committed(void *arg)
{
    struct mount *mt = arg;

    mt->work = NULL;
    err_clear(&mt->work_err);
    mounts_unbusy(mt->all);
}

int pull_take_pulled(struct mounts *m, const struct wire_frame *f, struct err *err)
{
    uint16_t index;
    uint64_t generation;
    struct mount *mt;

    if (wire_get_pulled(f, &index, &generation, err) < 0)
        return -1;
    mt = &m->items[index];
    if (!mt->offered.generation || generation != mt->offered.generation || mt->work || mt->sender)
        return err_set(err, 125, "PULLED for a state that was not sent");
    mounts_busy(m);
    mt->work = work_start(m->loop, run_commit, on_committed, mt);
    return 0;
}
