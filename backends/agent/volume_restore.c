#include "backends/agent/volume.h"

#include "backends/agent/target.h"
#include "backends/agent/volume_store.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct restore {
    const struct wire_volume *volume;
    struct volume_store store;
    struct volume_manifest m;
    struct volume_open open;
    int target;
    uint8_t *piece;
};

/* ---- emptying ---- */

struct emptying {
    const struct strlist *closed;
    int dir;
    const char *path;
    unsigned depth;
};

/* Something else is mounted at path or below it. */
static bool holds_closed(const struct strlist *closed, const char *path)
{
    size_t len = strlen(path);

    for (size_t i = 0; i < closed->len; i++)
        if (strncmp(closed->items[i], path, len) == 0 && (!closed->items[i][len] || closed->items[i][len] == '/'))
            return true;
    return false;
}

static int empty_dir(const struct strlist *closed, int dir, const char *path, unsigned depth);

static int drop_name(void *arg, const char *name, uint8_t type)
{
    const struct emptying *e = arg;
    cleanup_free char *path = *e->path ? xasprintf("%s/%s", e->path, name) : xstrdup(name);
    cleanup_close int child = -1;

    (void)type;
    if (!holds_closed(e->closed, path))
        return beneath_remove_tree(e->dir, name);
    if (strlist_has(e->closed, path) || e->depth >= LIMIT_DEPTH)
        return 0;
    child = beneath_child_list(e->dir, name);
    return child < 0 ? 0 : empty_dir(e->closed, child, path, e->depth + 1);
}

static int empty_dir(const struct strlist *closed, int dir, const char *path, unsigned depth)
{
    struct emptying e = {closed, dir, path, depth};

    return beneath_names(dir, drop_name, &e);
}

int volume_empty(int dir, const struct strlist *closed, struct err *err)
{
    cleanup_close int list = beneath_list_open(dir);

    if (list < 0 || empty_dir(closed, list, "", 0) < 0)
        return err_set_errno(err, 125, errno, "emptying it");
    return 0;
}

static int empty_target(const struct restore *r, struct err *err)
{
    if (volume_empty(r->target, &r->volume->closed, err) < 0)
        return err_wrap(err, "%s", r->volume->target);
    return 0;
}

/* ---- laying out ---- */

static int fail(const struct volume_entry *e, struct err *err)
{
    return err_set_errno(err, 125, errno, "%s", *e->path ? e->path : "the volume itself");
}

static int write_at(int fd, const uint8_t *bytes, size_t len, uint64_t at)
{
    while (len) {
        ssize_t n = pwrite(fd, bytes, len, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        bytes += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_pieces(struct restore *r, const struct volume_entry *e, int fd, struct err *err)
{
    uint64_t at = 0;

    for (uint32_t i = 0; i < e->pieces; i++) {
        const struct volume_piece *p = &r->m.pieces[e->first_piece + i];

        if (p->pack != VOLUME_HOLE && (volume_piece_read(&r->store, &r->m, p, &r->open, r->piece, err) < 0))
            return -1;
        if (p->pack != VOLUME_HOLE && write_at(fd, r->piece, p->len, at) < 0)
            return fail(e, err);
        at += p->len;
    }
    return ftruncate(fd, (off_t)e->size) < 0 ? fail(e, err) : 0;
}

static void note_look(struct volume_entry *e, int dir, const char *name)
{
    struct stat st;

    e->ctime_ns = 0;
    if (beneath_stat(dir, name, &st) < 0)
        return;
    e->ino = st.st_ino;
    e->ctime_ns = beneath_ctime(&st);
}

static int lay_file(struct restore *r, struct volume_entry *e, int dir, const char *name, struct err *err)
{
    char temp[BENEATH_TEMP_MAX];
    cleanup_close int fd = beneath_temp_open(dir, temp);

    if (fd < 0)
        return fail(e, err);
    if (write_pieces(r, e, fd, err) < 0) {
        beneath_unlink(dir, temp);
        return -1;
    }
    if (beneath_chown(fd, e->uid, e->gid) < 0 || beneath_chmod(fd, e->mode) < 0 ||
        beneath_set_mtime(fd, e->mtime_ns) < 0 || beneath_rename(dir, temp, dir, name) < 0) {
        fail(e, err);
        beneath_unlink(dir, temp);
        return -1;
    }
    note_look(e, dir, name);
    return 0;
}

static int lay_symlink(const struct volume_entry *e, int dir, const char *name, struct err *err)
{
    if (beneath_symlink(e->link, dir, name) < 0 || beneath_link_chown(dir, name, e->uid, e->gid) < 0)
        return fail(e, err);
    beneath_link_set_mtime(dir, name, e->mtime_ns);
    return 0;
}

static int lay_link(const struct restore *r, const struct volume_entry *e, int dir, const char *name, struct err *err)
{
    const char *first;
    cleanup_close int from = beneath_open_parent(r->target, e->link, &first);

    if (from < 0 || beneath_link(from, first, dir, name) < 0)
        return fail(e, err);
    return 0;
}

static int lay_fifo(const struct volume_entry *e, int dir, const char *name, struct err *err)
{
    mode_t mask = umask(0);
    int rc = beneath_mkfifo(dir, name, e->mode & 0777);

    umask(mask);
    if (rc < 0 || beneath_link_chown(dir, name, e->uid, e->gid) < 0 ||
        beneath_link_set_mtime(dir, name, e->mtime_ns) < 0)
        return fail(e, err);
    return 0;
}

/* Directories are open for us until all is in them. */
static int lay_dir(const struct volume_entry *e, int dir, const char *name, struct err *err)
{
    struct stat st;

    if (beneath_mkdir(dir, name, 0700) == 0)
        return 0;
    if (errno != EEXIST || beneath_stat(dir, name, &st) < 0 || !S_ISDIR(st.st_mode))
        return fail(e, err);
    return 0;
}

static int lay(struct restore *r, struct volume_entry *e, struct err *err)
{
    const char *name;
    cleanup_close int dir = -1;

    if (!*e->path)
        return 0;
    dir = beneath_open_parent(r->target, e->path, &name);
    if (dir < 0)
        return fail(e, err);
    switch (e->kind) {
    case VOLUME_DIR:
        return lay_dir(e, dir, name, err);
    case VOLUME_FILE:
        return lay_file(r, e, dir, name, err);
    case VOLUME_SYMLINK:
        return lay_symlink(e, dir, name, err);
    case VOLUME_LINK:
        return lay_link(r, e, dir, name, err);
    default:
        return lay_fifo(e, dir, name, err);
    }
}

/* A directory below root, for its looks: gVisor changes none through a descriptor that cannot be read. */
static int open_for_looks(int root, const char *path)
{
    cleanup_close int dir = beneath_open_dir(root, path);
    int list = dir < 0 ? -1 : beneath_list_open(dir);

    return list >= 0 || dir < 0 || errno != EACCES ? list : steal_fd(&dir);
}

/* Directories get their looks when nothing is put into them any more, the deepest first. */
static int finish_dirs(const struct restore *r, struct err *err)
{
    for (size_t i = r->m.n_entries; i-- > 0;) {
        const struct volume_entry *e = &r->m.entries[i];
        cleanup_close int dir = -1;

        if (e->kind != VOLUME_DIR || strlist_has(&r->volume->closed, e->path))
            continue;
        dir = open_for_looks(r->target, e->path);
        if (dir < 0 || beneath_chown(dir, e->uid, e->gid) < 0 || beneath_chmod(dir, e->mode) < 0 ||
            beneath_set_mtime(dir, e->mtime_ns) < 0)
            return fail(e, err);
    }
    return 0;
}

static int lay_out(struct restore *r, struct err *err)
{
    if (empty_target(r, err) < 0)
        return -1;
    for (size_t i = 0; i < r->m.n_entries; i++)
        if (lay(r, &r->m.entries[i], err) < 0)
            return -1;
    return finish_dirs(r, err);
}

/* ---- all of it ---- */

/* A volume without anything in it is as good as a new one, as in Docker. */
static bool is_empty(const struct volume_manifest *m)
{
    return m->n_entries <= 1;
}

static int restore(struct restore *r, struct err *err)
{
    uint64_t last = 0;
    int got = volume_store_newest(&r->store, &r->m, &last, err);

    if (got < 0)
        return -1;
    if (got && !is_empty(&r->m)) {
        if (lay_out(r, err) < 0)
            return -1;
        return volume_manifest_save(r->store.looks, r->volume->key, &r->m, err);
    }
    return r->volume->nocopy ? empty_target(r, err) : 0;
}

/* What is there of the image, or of the last life, goes. */
static int make_scratch(const struct volume_dirs *dirs, const struct wire_volume *v, struct err *err)
{
    cleanup_with(target_clear) struct target target = {.dirfd = -1};
    struct restore r = {.volume = v};
    cleanup_close int fd = -1;

    if (target_open(v->target, /* is_file= */ false, dirs->run_dir, &target, err) < 0)
        return -1;
    r.target = target.dirfd;
    if (empty_target(&r, err) < 0)
        return -1;
    fd = open_for_looks(target.dirfd, "");
    if (fd < 0 || beneath_chown(fd, 0, 0) < 0 || beneath_chmod(fd, v->mode) < 0)
        return err_set_errno(err, 125, errno, "%s", v->target);
    return 0;
}

int volume_restore(const struct volume_dirs *dirs, const struct wire_volume *v, struct err *err)
{
    cleanup_with(target_clear) struct target target = {.dirfd = -1};
    struct restore r = {.volume = v, .open = {.fd = -1}};
    int rc;

    if (v->scratch)
        return make_scratch(dirs, v, err);
    if (target_open(v->target, /* is_file= */ false, dirs->run_dir, &target, err) < 0 ||
        volume_store_open(dirs, v->key, /* write= */ false, &r.store, err) < 0)
        return -1;
    r.target = target.dirfd;
    r.piece = xmalloc(VOLUME_PIECE);
    rc = restore(&r, err);
    volume_open_close(&r.open);
    volume_store_close(&r.store);
    volume_manifest_clear(&r.m);
    free(r.piece);
    return rc;
}

int volume_newest(const struct volume_dirs *dirs, const char *key, bool empty_too, uint64_t *ret, struct err *err)
{
    struct volume_store store;
    struct volume_manifest m = {0};
    uint64_t last;
    int got;

    if (volume_store_open(dirs, key, /* write= */ false, &store, err) < 0)
        return -1;
    got = volume_store_newest(&store, &m, &last, err);
    *ret = got > 0 && (empty_too || !is_empty(&m)) ? m.generation : 0;
    volume_manifest_clear(&m);
    volume_store_close(&store);
    return got < 0 ? -1 : 0;
}

int volumes_restore(const struct volume_dirs *dirs, const struct wire_volumes *list, struct err *err)
{
    for (size_t i = 0; i < list->len; i++)
        if (volume_restore(dirs, &list->items[i], err) < 0)
            return err_wrap(err, "restoring the volume at %s", list->items[i].target);
    return 0;
}
