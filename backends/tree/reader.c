#include "backends/tree/reader.h"

#include "backends/sync/extent.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"
#include "compat/sys/beneath.h"
#include "translate/tree/tree.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define ROUND_BYTES (64u << 10) /* a call adds at least that much, unless the tree ends */

/* A directory that is being gone through. */
struct level {
    int fd;
    struct strlist names;
    size_t at;
    size_t path_len; /* of the directory itself */
};

/* Where a file with several names was met first: a table by inode. */
struct seen {
    uint64_t ino, dev;
    char *path; /* owned; NULL = free slot */
};

struct tree_reader {
    struct tree_source source;
    struct tree_head head;
    struct level levels[LIMIT_DEPTH + 1];
    size_t depth; /* levels in use */
    char path[LIMIT_PATH];
    size_t path_len;
    struct seen *seen;
    size_t seen_len, seen_cap;
    uint32_t entries;
    uint64_t tar_size;
    /* the file that is being read */
    int file;
    struct extent_reader extent;
    bool begun, ended;
    uint8_t bytes[TREE_CHUNK];
};

static int fail_errno(const struct tree_reader *r, const char *what, struct err *err)
{
    int errnum = errno;

    return err_set_errno(err, 1, errnum, "%s %s%s%s", what, r->source.shown, r->path_len ? "/" : "", r->path);
}

static bool listed(const char *const *list, const char *path)
{
    for (; list && *list; list++)
        if (strcmp(*list, path) == 0)
            return true;
    return false;
}

/* ---- hard links ---- */

static struct seen *slot_of(const struct tree_reader *r, uint64_t ino, uint64_t dev)
{
    size_t at = (size_t)((ino ^ dev << 32) * 0x9e3779b97f4a7c15u >> 20) & (r->seen_cap - 1);

    while (r->seen[at].path && (r->seen[at].ino != ino || r->seen[at].dev != dev))
        at = (at + 1) & (r->seen_cap - 1);
    return &r->seen[at];
}

static void grow_seen(struct tree_reader *r)
{
    struct seen *old = r->seen;
    size_t cap = r->seen_cap;

    r->seen_cap = cap ? cap * 2 : 64;
    r->seen = xcalloc(r->seen_cap, sizeof(*r->seen));
    for (size_t i = 0; i < cap; i++)
        if (old[i].path)
            *slot_of(r, old[i].ino, old[i].dev) = old[i];
    free(old);
}

/* The path under which this file was met before, NULL if this is the first; then it is remembered. */
static const char *first_path(struct tree_reader *r, const struct stat *st)
{
    struct seen *slot;

    if (st->st_nlink < 2)
        return NULL;
    if (r->seen_len * 2 >= r->seen_cap)
        grow_seen(r);
    slot = slot_of(r, st->st_ino, st->st_dev);
    if (slot->path)
        return slot->path;
    *slot = (struct seen){.ino = st->st_ino, .dev = st->st_dev, .path = xstrdup(r->path)};
    r->seen_len++;
    return NULL;
}

/* ---- entries ---- */

static int put(struct tree_reader *r, struct buf *out, const struct tree_entry *e, struct err *err)
{
    if (++r->entries > LIMIT_ENTRIES)
        return err_set(err, 1, "%s has more than %u files and directories", r->source.shown, LIMIT_ENTRIES);
    if (tree_put_entry(out, e) < 0)
        return err_set(err, 1, "%s/%s is too long a path", r->source.shown, r->path);
    r->tar_size += tree_tar_size(e);
    return 0;
}

static struct tree_entry entry_of(const struct tree_reader *r, const struct stat *st)
{
    return (struct tree_entry){.mode = st->st_mode & 07777,
                               .uid = st->st_uid,
                               .gid = st->st_gid,
                               .mtime = beneath_mtime(st),
                               .path = r->path,
                               .link = ""};
}

/* Reads the names of a directory, but those of unfinished files of ours, and goes into it. */
static int enter(struct tree_reader *r, int fd, struct err *err)
{
    struct level *level = &r->levels[r->depth];
    cleanup_dir DIR *dir = NULL;
    struct dirent *d;

    if (r->depth > LIMIT_DEPTH - 1) {
        close(fd);
        return err_set(err, 1, "%s/%s is nested too deep", r->source.shown, r->path);
    }
    *level = (struct level){.fd = fd, .names = STRLIST_INIT, .path_len = r->path_len};
    r->depth++;
    dir = fdopendir(dup(fd));
    if (!dir)
        return fail_errno(r, "reading", err);
    while (errno = 0, (d = readdir(dir))) {
        if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..") || beneath_temp_ours(d->d_name))
            continue;
        if (level->names.len >= LIMIT_ENTRIES)
            return err_set(err, 1, "%s has more than %u files and directories", r->source.shown, LIMIT_ENTRIES);
        strlist_add(&level->names, d->d_name);
    }
    if (errno)
        return fail_errno(r, "reading", err);
    strlist_sort(&level->names);
    return 0;
}

/* fd is taken. */
static int add_dir(struct tree_reader *r, int fd, struct buf *out, struct err *err)
{
    struct tree_entry e;
    int status;
    struct stat st;

    if (fstat(fd, &st) < 0) {
        close(fd);
        return fail_errno(r, "reading", err);
    }
    e = entry_of(r, &st);
    e.type = TREE_DIR;
    status = put(r, out, &e, err);
    if (status == 0 && !listed(r->source.closed, r->path))
        return enter(r, fd, err);
    close(fd);
    return status;
}

static int add_symlink(struct tree_reader *r, int dir, const char *name, const struct stat *st, struct buf *out,
                       struct err *err)
{
    struct tree_entry e = entry_of(r, st);
    cleanup_free char *text = beneath_readlink(dir, name);

    if (!text)
        return errno == ENOENT || errno == EINVAL ? 0 : fail_errno(r, "reading", err);
    e.type = TREE_SYMLINK;
    e.mode = 0777;
    e.link = text;
    return put(r, out, &e, err);
}

static void end_file(struct tree_reader *r)
{
    close(r->file);
    r->file = -1;
}

/* The size is that of the opened file: nobody can put another in its place any more. */
static int add_file(struct tree_reader *r, int dir, const char *name, struct buf *out, struct err *err)
{
    struct stat st;
    struct tree_entry e;
    int fd = beneath_read_open(dir, name, &st);

    if (fd < 0)
        return errno == ENOENT || errno == ELOOP || errno == EISDIR || errno == EINVAL ? 0 : fail_errno(r, "open", err);
    e = entry_of(r, &st);
    e.type = TREE_FILE;
    e.size = (uint64_t)st.st_size;
    if (put(r, out, &e, err) < 0) {
        close(fd);
        return -1;
    }
    r->file = fd;
    extent_init(&r->extent, fd, &st);
    if (r->source.dense)
        r->extent.data_end = r->extent.size;
    if (!e.size)
        end_file(r);
    return 0;
}

static int add_special(struct tree_reader *r, const struct stat *st, struct buf *out, struct err *err)
{
    struct tree_entry e = entry_of(r, st);

    if (S_ISSOCK(st->st_mode))
        return 0;
    e.type = S_ISFIFO(st->st_mode) ? TREE_FIFO : TREE_DEVICE;
    e.block = S_ISBLK(st->st_mode);
    if (e.type == TREE_DEVICE) {
        e.major = major(st->st_rdev);
        e.minor = minor(st->st_rdev);
    }
    return put(r, out, &e, err);
}

/* Whatever stands at name in dir; r->path is its path. What vanished meanwhile is nothing. */
static int add(struct tree_reader *r, int dir, const char *name, struct buf *out, struct err *err)
{
    const char *first;
    struct stat st;
    int fd;

    if (beneath_stat(dir, name, &st) < 0)
        return errno == ENOENT ? 0 : fail_errno(r, "lstat", err);
    if (S_ISDIR(st.st_mode)) {
        fd = beneath_child_list(dir, name);
        if (fd < 0)
            return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : fail_errno(r, "open", err);
        return add_dir(r, fd, out, err);
    }
    first = first_path(r, &st);
    if (first) {
        struct tree_entry e = entry_of(r, &st);

        e.type = TREE_HARDLINK;
        e.link = first;
        return put(r, out, &e, err);
    }
    if (S_ISLNK(st.st_mode))
        return add_symlink(r, dir, name, &st, out, err);
    return S_ISREG(st.st_mode) ? add_file(r, dir, name, out, err) : add_special(r, &st, out, err);
}

/* ---- contents ---- */

/* A hole, or zeros that stand for what is no more since the file shrank. */
static int add_zeros(struct tree_reader *r, uint64_t at, uint64_t hole, struct buf *out)
{
    uint64_t left = hole ? hole : r->extent.size - at;

    if (r->source.dense) {
        left = left < sizeof(r->bytes) ? left : sizeof(r->bytes);
        memset(r->bytes, 0, left);
        r->extent.at = at + left;
        return tree_put_data(out, r->bytes, left);
    }
    r->extent.at = at + left;
    return tree_put_hole(out, left);
}

/* The next piece of the open file. */
static int add_contents(struct tree_reader *r, struct buf *out, struct err *err)
{
    uint64_t hole, size = r->extent.size, at = r->extent.at;
    ssize_t n = extent_read(&r->extent, r->bytes, sizeof(r->bytes), &hole);
    int status = 0;

    if (n < 0)
        return fail_errno(r, "read", err);
    if (n > 0)
        status = tree_put_data(out, r->bytes, (size_t)n);
    else
        status = add_zeros(r, at, hole, out);
    if (status < 0)
        return err_set(err, 1, "no room for the contents of %s", r->source.shown);
    if (r->extent.at >= size)
        end_file(r);
    return 0;
}

/* ---- life ---- */

struct tree_reader *tree_reader_new(const struct tree_source *source, const struct tree_head *head, struct err *err)
{
    struct tree_reader *r = xcalloc(1, sizeof(*r));
    struct stat st;

    r->source = *source;
    r->head = *head;
    r->file = -1;
    if (*source->name ? beneath_stat(source->dir, source->name, &st) < 0 : fstat(source->dir, &st) < 0)
        fail_errno(r, "lstat", err);
    else if (S_ISSOCK(st.st_mode))
        err_set(err, 1, "%s is a socket, which cannot be copied", source->shown);
    else
        return r;
    tree_reader_free(r);
    return NULL;
}

void tree_reader_free(struct tree_reader *r)
{
    if (!r)
        return;
    while (r->depth) {
        struct level *level = &r->levels[--r->depth];

        close(level->fd);
        strlist_clear(&level->names);
    }
    if (r->file >= 0)
        close(r->file);
    for (size_t i = 0; i < r->seen_cap; i++)
        free(r->seen[i].path);
    free(r->seen);
    free(r);
}

/* The tree's own root. It must be there: the stream has promised it. */
static int begin(struct tree_reader *r, struct buf *out, struct err *err)
{
    uint32_t before = r->entries;
    int fd, status;

    r->begun = true;
    if (tree_put_head(out, &r->head) < 0)
        return err_set(err, 1, "%s is no name for a copy", r->head.base);
    if (*r->source.name) {
        status = add(r, r->source.dir, r->source.name, out, err);
    } else {
        fd = beneath_list_open(r->source.dir);
        status = fd < 0 ? fail_errno(r, "open", err) : add_dir(r, fd, out, err);
    }
    if (status == 0 && r->entries == before)
        return err_set(err, 1, "%s was changed while it was looked at", r->source.shown);
    return status;
}

/* Puts name behind the directory's path; false if that is no path any more. */
static bool set_path(struct tree_reader *r, const struct level *level, const char *name)
{
    size_t len = strlen(name), at = level->path_len;

    if (at + 1 + len >= sizeof(r->path))
        return false;
    if (at)
        r->path[at++] = '/';
    memcpy(r->path + at, name, len + 1);
    r->path_len = at + len;
    return true;
}

/* One step: a piece of a file, the next name of a directory, or a level up. */
static int step(struct tree_reader *r, struct buf *out, struct err *err)
{
    struct level *level;
    const char *name;

    if (!r->begun)
        return begin(r, out, err);
    if (r->file >= 0)
        return add_contents(r, out, err);
    if (!r->depth) {
        r->ended = true;
        return tree_put_end(out);
    }
    level = &r->levels[r->depth - 1];
    if (level->at == level->names.len) {
        close(level->fd);
        strlist_clear(&level->names);
        r->depth--;
        return 0;
    }
    name = level->names.items[level->at++];
    if (!set_path(r, level, name))
        return err_set(err, 1, "%s/%s/%s is too long a path", r->source.shown, r->path, name);
    return listed(r->source.left_out, r->path) ? 0 : add(r, level->fd, name, out, err);
}

int tree_reader_next(struct tree_reader *r, struct buf *out, struct err *err)
{
    cleanup_err struct err own = ERR_INIT;
    size_t start = out->len;

    while (!r->ended && out->len - start < ROUND_BYTES)
        if (step(r, out, &own) < 0)
            return own.msg ? err_move(err, &own) : err_set(err, 1, "no room for the tree of %s", r->source.shown);
    return !r->ended;
}

uint64_t tree_reader_tar_size(const struct tree_reader *r)
{
    return r->tar_size + TREE_TAR_END;
}
