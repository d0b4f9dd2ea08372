#include "backends/agent/mounts_store.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/beneath.h"
#include "compat/sys/loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_RETRY 2000 /* us between two tries */
#define OFFERS_MAX 64   /* pending states kept of clients that were killed; an older one costs its client a full pull */

/* What KEY.lock holds. */
struct numbers {
    uint64_t drawn;  /* the last generation given out */
    uint64_t pushed; /* that of the last push that changed something */
};

bool mark_same(const struct mark *a, const struct mark *b)
{
    return a->generation && a->generation == b->generation && !memcmp(a->nonce, b->nonce, SYNC_NONCE_LEN);
}

void store_init(struct store *s, int dirfd, const char *target)
{
    uint8_t digest[SHA256_LEN];

    *s = (struct store){.dirfd = dirfd, .lock_fd = -1};
    sha256(target, strlen(target), digest);
    sha256_hex(digest, s->key);
}

/* ---- the lock ---- */

int store_lock(struct store *s, struct err *err)
{
    cleanup_free char *name = xasprintf("%s.lock", s->key);
    int64_t until = loop_now() + STORE_LOCK_WAIT;
    cleanup_close int fd = openat(s->dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return err_set_errno(err, 125, errno, "opening the mount's lock");
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_set_errno(err, 125, errno, "locking the mount");
        if (loop_now() > until)
            return err_set(err, 125, "another command holds the mount's lock for more than %d s",
                           STORE_LOCK_WAIT / 1000);
        usleep(LOCK_RETRY);
    }
    s->lock_fd = steal_fd(&fd);
    return 0;
}

void store_unlock(struct store *s)
{
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    s->lock_fd = -1;
}

static uint64_t from_le(const uint8_t *p)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

/* Zeros where nothing was written yet. */
static struct numbers read_numbers(const struct store *s)
{
    uint8_t bytes[16] = {0};

    if (pread(s->lock_fd, bytes, sizeof(bytes), 0) != sizeof(bytes))
        return (struct numbers){0};
    return (struct numbers){.drawn = from_le(bytes), .pushed = from_le(bytes + 8)};
}

static int write_numbers(struct store *s, struct numbers n, struct err *err)
{
    uint8_t bytes[16];

    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(n.drawn >> 8 * i);
        bytes[8 + i] = (uint8_t)(n.pushed >> 8 * i);
    }
    if (pwrite(s->lock_fd, bytes, sizeof(bytes), 0) != sizeof(bytes))
        return err_set_errno(err, 125, errno, "writing the mount's generation");
    return 0;
}

/* ---- states ---- */

int store_mark(const struct store *s, struct mark *ret, struct err *err)
{
    int got = sync_ancestor_mark(s->dirfd, s->key, ret->nonce, &ret->generation, err);

    if (got == 0)
        *ret = (struct mark){0};
    return got < 0 ? -1 : 0;
}

int store_load(const struct store *s, struct mark *ret, struct manifest *ret_manifest, struct err *err)
{
    int got;

    manifest_clear(ret_manifest);
    got = sync_ancestor_load(s->dirfd, s->key, ret->nonce, &ret->generation, ret_manifest, err);
    if (got == 0)
        *ret = (struct mark){0};
    return got;
}

static char *pending_name(const struct store *s, uint64_t base, uint64_t generation)
{
    return xasprintf("%s.pending.%llu.%llu", s->key, (unsigned long long)base, (unsigned long long)generation);
}

/* The last number of the name of one of our pending states; 0 if it is none. */
static uint64_t pending_generation(const struct store *s, const char *name)
{
    size_t len = strlen(s->key);
    const char *dot;

    if (strncmp(name, s->key, len) != 0 || strncmp(name + len, ".pending.", 9) != 0)
        return 0;
    dot = strchr(name + len + 9, '.');
    return dot ? strtoull(dot + 1, NULL, 10) : 0;
}

/* Removes pending states, those above `keep_above` excepted. */
static void drop_pending(struct store *s, uint64_t keep_above)
{
    int list = beneath_list_open(s->dirfd);
    cleanup_dir DIR *d = list < 0 ? NULL : fdopendir(list);
    const struct dirent *e;

    if (!d && list >= 0)
        close(list);
    while (d && (e = readdir(d))) {
        uint64_t generation = pending_generation(s, e->d_name);

        if (generation && generation <= keep_above)
            beneath_unlink(s->dirfd, e->d_name);
        else if (!generation)
            beneath_temp_sweep(s->dirfd, e->d_name);
    }
}

/* Makes the pending state the agreed one, if there is such a one with this nonce. */
static int commit(struct store *s, const struct mark *agreed, const struct mark *theirs, struct err *err)
{
    cleanup_free char *name = pending_name(s, agreed->generation, theirs->generation);
    struct mark pending;
    int got = sync_ancestor_mark(s->dirfd, name, pending.nonce, &pending.generation, err);

    if (got <= 0 || !mark_same(&pending, theirs))
        return got < 0 ? -1 : 0;
    if (beneath_rename(s->dirfd, name, s->dirfd, s->key) < 0)
        return err_set_errno(err, 125, errno, "storing the mount's state");
    drop_pending(s, UINT64_MAX);
    return 1;
}

int store_resolve(struct store *s, const struct mark *theirs, struct mark *ret, struct err *err)
{
    int got;

    if (store_mark(s, ret, err) < 0)
        return -1;
    if (mark_same(ret, theirs))
        return 1;
    if (!ret->generation || memcmp(ret->nonce, theirs->nonce, SYNC_NONCE_LEN) != 0)
        return 0;
    got = commit(s, ret, theirs, err);
    if (got > 0)
        *ret = *theirs;
    return got;
}

bool store_only_pulled_since(const struct store *s, const struct mark *theirs, const struct mark *agreed)
{
    struct numbers n = read_numbers(s);

    return agreed->generation && !memcmp(agreed->nonce, theirs->nonce, SYNC_NONCE_LEN) && n.pushed &&
           n.pushed <= theirs->generation && theirs->generation <= agreed->generation;
}

int store_draw(struct store *s, uint64_t seen, uint64_t *ret, struct err *err)
{
    struct numbers n = read_numbers(s);

    if (n.drawn < seen)
        n.drawn = seen;
    if (n.drawn == UINT64_MAX)
        return err_set(err, 125, "the mount's generations are used up");
    n.drawn++;
    if (write_numbers(s, n, err) < 0)
        return -1;
    *ret = n.drawn;
    return 0;
}

void store_seen(struct store *s, uint64_t generation)
{
    struct numbers n = read_numbers(s);

    if (n.drawn >= generation)
        return;
    n.drawn = generation;
    write_numbers(s, n, NULL);
}

int store_push(struct store *s, const struct mark *mark, const struct manifest *m, struct err *err)
{
    struct numbers n = {.drawn = mark->generation, .pushed = mark->generation};

    /* The number first: a kill in between makes somebody ask again who need not, never the other way round. */
    if (write_numbers(s, n, err) < 0 || sync_ancestor_save(s->dirfd, s->key, mark->nonce, mark->generation, m, err) < 0)
        return -1;
    drop_pending(s, UINT64_MAX);
    return 0;
}

int store_refresh(struct store *s, const struct mark *mark, const struct manifest *m, struct err *err)
{
    struct mark now;

    if (store_mark(s, &now, err) < 0)
        return -1;
    if (!mark_same(&now, mark))
        return 0;
    return sync_ancestor_save(s->dirfd, s->key, mark->nonce, mark->generation, m, err);
}

int store_offer(struct store *s, uint64_t base, const struct mark *mark, const struct manifest *m, struct err *err)
{
    cleanup_free char *name = pending_name(s, base, mark->generation);

    if (mark->generation > OFFERS_MAX)
        drop_pending(s, mark->generation - OFFERS_MAX);
    return sync_ancestor_save(s->dirfd, name, mark->nonce, mark->generation, m, err);
}
