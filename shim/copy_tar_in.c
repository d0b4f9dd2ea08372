/* A tar archive as a tree stream. */
#include "shim/copy_tar.h"

#include "backends/registry/tar.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/paths.h"
#include "compat/lib/archive.h"
#include "translate/tree/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUT_MAX (TREE_RECORD_MAX + TREE_PREFIX)
#define NS      INT64_C(1000000000)

DEFINE_CLEANUP(struct tar_reader *, tar_close)

struct tar_in {
    int in;       /* borrowed */
    int from, to; /* the pipe between the thread and us; `to` is the thread's */
    char *dest;
    pthread_t thread;
    atomic_int owners; /* us and the thread: the last one frees */
    struct err err;    /* the thread's; ours after the pipe's end */
};

static void release(struct tar_in *t)
{
    if (atomic_fetch_sub(&t->owners, 1) != 1)
        return;
    err_clear(&t->err);
    free(t->dest);
    free(t);
}

/* ---- in the thread ---- */

static int write_out(const struct tar_in *t, struct buf *b, struct err *err)
{
    const char *at = b->data;
    size_t left = b->len;

    while (left) {
        ssize_t n = write(t->to, at, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 1, errno, "writing"); /* nobody reads any more */
        at += n;
        left -= (size_t)n;
    }
    buf_reset(b);
    return 0;
}

/* A name of the archive below the destination; owned by caller. NULL with err if it leads out of it. */
static char *clean_name(const struct tar_in *t, const char *name, struct err *err)
{
    char *path = path_clean(name);
    size_t skip = strspn(path, "/");

    if (!strcmp(path, "..") || !strncmp(path, "../", 3)) {
        err_set(err, 1, "\"%s\" is outside of \"%s\"", path, t->dest);
        free(path);
        return NULL;
    }
    memmove(path, path + skip, strlen(path + skip) + 1);
    if (!strcmp(path, "."))
        *path = '\0';
    if (tree_path_ok(path))
        return path;
    err_set(err, 1, "\"%s\": file name too long", path);
    free(path);
    return NULL;
}

static uint8_t type_of(struct archive_entry *from)
{
    if (archive_entry_hardlink(from))
        return TREE_HARDLINK;
    switch (archive_entry_filetype(from)) {
    case AE_IFREG:
        return TREE_FILE;
    case AE_IFDIR:
        return TREE_DIR;
    case AE_IFLNK:
        return TREE_SYMLINK;
    case AE_IFIFO:
        return TREE_FIFO;
    case AE_IFCHR:
    case AE_IFBLK:
        return TREE_DEVICE;
    default:
        return 0; /* a socket, or something new */
    }
}

/* The contents, as the archive says where they lie. */
static int put_contents(const struct tar_in *t, struct tar_reader *tar, uint64_t size, struct buf *b, struct err *err)
{
    uint64_t at = 0;
    const void *bytes;
    int64_t offset;
    ssize_t n = 0;

    while (at < size && (n = tar_data(tar, &bytes, &offset, err)) > 0) {
        const char *piece = bytes;
        uint64_t left = (uint64_t)n;

        if (offset < (int64_t)at || (uint64_t)offset > size || left > size - (uint64_t)offset)
            return err_set(err, 1, "invalid tar header");
        if ((uint64_t)offset > at)
            tree_put_hole(b, (uint64_t)offset - at);
        for (at = (uint64_t)offset; left;) {
            size_t len = left < TREE_CHUNK ? left : TREE_CHUNK;

            if (write_out(t, b, err) < 0 || tree_put_data(b, piece, len) < 0)
                return -1;
            piece += len;
            left -= len;
            at += len;
        }
    }
    if (n < 0)
        return -1;
    if (at < size)
        tree_put_hole(b, size - at);
    return write_out(t, b, err);
}

static int put_entry(const struct tar_in *t, struct tar_reader *tar, struct archive_entry *from, struct buf *b,
                     struct err *err)
{
    cleanup_free char *path = clean_name(t, archive_entry_pathname(from), err), *link = NULL;
    struct tree_entry e = {.type = type_of(from), .path = path, .link = ""};

    if (!path)
        return -1;
    if (!*path || !e.type) /* the destination itself, which keeps its look */
        return 0;
    e.mode = archive_entry_perm(from) & 07777;
    e.uid = (uint32_t)archive_entry_uid(from);
    e.gid = (uint32_t)archive_entry_gid(from);
    e.mtime = (int64_t)archive_entry_mtime(from) * NS + archive_entry_mtime_nsec(from);
    if (e.type == TREE_HARDLINK) {
        e.link = link = clean_name(t, archive_entry_hardlink(from), err);
        if (!link)
            return -1;
    } else if (e.type == TREE_SYMLINK) {
        e.link = archive_entry_symlink(from) ? archive_entry_symlink(from) : "";
    } else if (e.type == TREE_DEVICE) {
        e.block = archive_entry_filetype(from) == AE_IFBLK;
        e.major = (uint32_t)archive_entry_rdevmajor(from);
        e.minor = (uint32_t)archive_entry_rdevminor(from);
    } else if (e.type == TREE_FILE) {
        e.size = (uint64_t)archive_entry_size(from);
    }
    if (tree_put_entry(b, &e) < 0)
        return err_set(err, 1, "\"%s\": link text too long", path);
    return put_contents(t, tar, e.size, b, err);
}

static int convert(const struct tar_in *t, struct err *err)
{
    const struct tree_head head = {.flags = TREE_LOOSE, .base = "."};
    cleanup_with(tar_closep) struct tar_reader *tar = tar_open(t->in, err);
    cleanup_buf struct buf b = BUF_INIT(4 * OUT_MAX);
    struct archive_entry *entry;
    int got = 0;

    if (!tar)
        return -1;
    tree_put_head(&b, &head);
    while ((got = tar_next(tar, &entry, err)) > 0)
        if (put_entry(t, tar, entry, &b, err) < 0)
            return -1;
    if (got < 0)
        return -1;
    tree_put_end(&b);
    return write_out(t, &b, err);
}

static void *run(void *arg)
{
    struct tar_in *t = arg;

    if (convert(t, &t->err) < 0 && !t->err.msg)
        err_set(&t->err, 1, "no room for the archive");
    close(t->to); /* which says that err is set */
    release(t);
    return NULL;
}

/* ---- in front of it ---- */

struct tar_in *tar_in_start(int fd, const char *dest, struct err *err)
{
    struct tar_in *t = xcalloc(1, sizeof(*t));
    int ends[2];

    t->in = fd;
    t->dest = xstrdup(dest);
    atomic_init(&t->owners, 1);
    t->from = -1;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        err_set_errno(err, 1, errno, "reading the archive");
        tar_in_free(t);
        return NULL;
    }
    t->from = ends[0];
    t->to = ends[1];
    fcntl(t->from, F_SETFL, O_NONBLOCK);
    atomic_store(&t->owners, 2);
    if (pthread_create(&t->thread, NULL, run, t) == 0) {
        pthread_detach(t->thread);
        return t;
    }
    atomic_store(&t->owners, 1);
    close(t->to);
    err_set(err, 1, "reading the archive: no thread can be had");
    tar_in_free(t);
    return NULL;
}

int tar_in_fd(const struct tar_in *t)
{
    return t->from;
}

int tar_in_result(struct tar_in *t, struct err *err)
{
    return t->err.msg ? err_move(err, &t->err) : 0;
}

void tar_in_free(struct tar_in *t)
{
    if (!t)
        return;
    if (t->from >= 0)
        close(t->from);
    release(t);
}
