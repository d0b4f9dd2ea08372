#include "backends/sync/dirs.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/limits.h"
#include "compat/sys/beneath.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct look {
    char *path;
    struct merge_meta meta;
    bool opened; /* its mode was changed so that we may write */
    bool wanted; /* meta is what it shall be, not only what it was */
    bool dropped;
};

struct dirs {
    int root;
    int fd;
    char path[LIMIT_PATH]; /* of fd */
    bool known_rw;         /* the held directory's look is remembered */
    struct look *looks;
    size_t len, cap;
    uint32_t *table; /* 1 + index of a look, by hash of the path */
    size_t table_cap;
};

struct dirs *dirs_new(int root)
{
    struct dirs *d = xcalloc(1, sizeof(*d));

    d->root = root;
    d->fd = -1;
    return d;
}

void dirs_forget(struct dirs *d)
{
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}

/* ---- what is remembered ---- */

static size_t hash_path(const char *path)
{
    uint64_t h = 1469598103934665603u;

    for (; *path; path++)
        h = (h ^ (unsigned char)*path) * 1099511628211u;
    return (size_t)(h ^ h >> 29);
}

/* The slot of path in the table: its look, or where it would go. */
static uint32_t *slot_of(const struct dirs *d, const char *path)
{
    size_t at = hash_path(path) & (d->table_cap - 1);

    while (d->table[at] && strcmp(d->looks[d->table[at] - 1].path, path) != 0)
        at = (at + 1) & (d->table_cap - 1);
    return &d->table[at];
}

static void grow_table(struct dirs *d)
{
    free(d->table);
    d->table_cap = d->table_cap ? d->table_cap * 2 : 64;
    d->table = xcalloc(d->table_cap, sizeof(*d->table));
    for (size_t i = 0; i < d->len; i++)
        *slot_of(d, d->looks[i].path) = (uint32_t)i + 1;
}

static struct look *find_look(struct dirs *d, const char *path)
{
    uint32_t *slot = d->table_cap ? slot_of(d, path) : NULL;

    return slot && *slot ? &d->looks[*slot - 1] : NULL;
}

static struct look *add_look(struct dirs *d, const char *path)
{
    if ((d->len + 1) * 2 > d->table_cap)
        grow_table(d);
    if (d->len == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 32;
        d->looks = xreallocarray(d->looks, d->cap, sizeof(*d->looks));
    }
    d->looks[d->len] = (struct look){.path = xstrdup(path)};
    *slot_of(d, path) = (uint32_t)d->len + 1;
    return &d->looks[d->len++];
}

void dirs_set(struct dirs *d, const char *path, const struct merge_meta *meta)
{
    struct look *look = find_look(d, path);

    if (!look)
        look = add_look(d, path);
    look->meta = *meta;
    look->wanted = true;
    look->dropped = false;
}

void dirs_drop(struct dirs *d, const char *path)
{
    struct look *look = find_look(d, path);

    if (look)
        look->dropped = true;
    dirs_forget(d);
}

/* ---- the held directory ---- */

/* Holds the directory `path` of len bytes. */
static int hold(struct dirs *d, const char *path, size_t len)
{
    if (d->fd >= 0 && strlen(d->path) == len && memcmp(d->path, path, len) == 0)
        return 0;
    dirs_forget(d);
    if (len >= sizeof(d->path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(d->path, path, len);
    d->path[len] = '\0';
    d->known_rw = false;
    d->fd = beneath_open_dir(d->root, d->path);
    return d->fd < 0 ? -1 : 0;
}

int dirs_parent(struct dirs *d, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');

    if (hold(d, path, slash ? (size_t)(slash - path) : 0) < 0)
        return -1;
    *ret_name = slash ? slash + 1 : path;
    return d->fd;
}

int dirs_parent_rw(struct dirs *d, const char *path, const char **ret_name)
{
    struct look *look;
    struct stat st;

    if (dirs_parent(d, path, ret_name) < 0)
        return -1;
    if (d->known_rw)
        return d->fd;
    if (fstat(d->fd, &st) < 0)
        return -1;
    look = find_look(d, d->path);
    if (!look) {
        look = add_look(d, d->path);
        look->meta = (struct merge_meta){
            .mode = st.st_mode & 07777, .uid = st.st_uid, .gid = st.st_gid, .mtime = beneath_mtime(&st)};
    }
    if (geteuid() != 0 && st.st_uid == geteuid() && (st.st_mode & 0300) != 0300 &&
        beneath_chmod(d->fd, (st.st_mode & 07777) | 0300) == 0)
        look->opened = true;
    d->known_rw = true;
    return d->fd;
}

/* ---- the end ---- */

static int deepest_first(const void *a, const void *b)
{
    return manifest_path_cmp(((const struct look *)b)->path, ((const struct look *)a)->path);
}

/* Changes only what differs: a directory of somebody else's that needs nothing is no failure. */
static int restore_look(const struct dirs *d, const struct look *look, bool owners)
{
    cleanup_close int fd = beneath_open_dir(d->root, look->path);
    const struct merge_meta *m = &look->meta;
    struct stat st;
    int status = 0;

    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -1;
    if (fstat(fd, &st) < 0)
        return -1;
    if (owners && look->wanted && (st.st_uid != m->uid || st.st_gid != m->gid))
        status |= beneath_chown(fd, m->uid, m->gid);
    if (fstat(fd, &st) < 0)
        return -1;
    if ((st.st_mode & 07777) != m->mode && (look->wanted || look->opened))
        status |= beneath_chmod(fd, m->mode);
    if (beneath_mtime(&st) != m->mtime)
        status |= beneath_set_mtime(fd, m->mtime);
    return status;
}

size_t dirs_restore(struct dirs *d, bool owners)
{
    size_t failed = 0;

    if (d->len)
        qsort(d->looks, d->len, sizeof(*d->looks), deepest_first);
    for (size_t i = 0; i < d->len; i++) {
        if (!d->looks[i].dropped && restore_look(d, &d->looks[i], owners) < 0)
            failed++;
        d->looks[i].dropped = true;
    }
    return failed;
}

void dirs_free(struct dirs *d)
{
    if (!d)
        return;
    dirs_forget(d);
    for (size_t i = 0; i < d->len; i++) {
        struct look *look = &d->looks[i];
        cleanup_close int fd = -1;

        /* Not finished: only the right to write that we took is given back. */
        if (look->opened && !look->dropped && (fd = beneath_open_dir(d->root, look->path)) >= 0)
            beneath_chmod(fd, look->meta.mode);
        free(look->path);
    }
    free(d->looks);
    free(d->table);
    free(d);
}
