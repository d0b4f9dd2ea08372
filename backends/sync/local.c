#include "backends/sync/local.h"

#include "compat/sys/beneath.h"

#include <time.h>

#define NS           1000000000LL
#define GRAIN_FINE   (10 * NS / 1000)
#define GRAIN_COARSE (2 * NS)

bool local_entry(struct manifest_entry *ret, const char *path, const struct stat *st)
{
    struct manifest_entry e = {
        .path = path,
        .mtime = beneath_mtime(st),
        .ctime = beneath_ctime(st),
        .ino = st->st_ino,
        .dev = st->st_dev,
        .mode = st->st_mode & 07777,
        .uid = st->st_uid,
        .gid = st->st_gid,
    };

    if (S_ISREG(st->st_mode)) {
        e.type = MANIFEST_FILE;
        e.size = (uint64_t)st->st_size;
    } else if (S_ISDIR(st->st_mode)) {
        e.type = MANIFEST_DIR;
    } else if (S_ISLNK(st->st_mode)) {
        e.type = MANIFEST_SYMLINK;
    } else {
        return false;
    }
    *ret = e;
    return true;
}

bool local_untouched(const struct manifest_entry *known, const struct manifest_entry *now)
{
    return known && known->ctime && !(known->flags & MANIFEST_UNSURE) && known->type == now->type &&
           known->size == now->size && known->mtime == now->mtime && known->ctime == now->ctime &&
           known->ino == now->ino && known->mode == now->mode;
}

int64_t local_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * NS + ts.tv_nsec;
}

void local_mark_racy(struct manifest_entry *e, int64_t now)
{
    int64_t grain = e->mtime % NS ? GRAIN_FINE : GRAIN_COARSE;

    /* A time in the future proves as little as one of just now. */
    if (e->type == MANIFEST_FILE && e->mtime >= now - grain)
        e->flags |= MANIFEST_UNSURE;
}
