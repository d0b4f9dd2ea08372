#include "backends/engine/img_layer.h"

#include "backends/registry/tar.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WHITEOUT        ".wh."
#define WHITEOUT_META   ".wh..wh." /* aufs's own files; one of them means "opaque" */
#define WHITEOUT_OPAQUE ".wh..wh..opq"

DEFINE_CLEANUP(struct tar_reader *, tar_close)

struct unpack {
    struct img_writer *w;
    const struct img_unpack *options;
    struct tar_reader *tar;
};

/* The name in the layer of a name in the archive; owned by caller. */
static int place(const struct unpack *u, const char *name, char **ret, struct err *err)
{
    cleanup_free char *clean = NULL;

    if (tar_name(name, &clean, err) < 0)
        return -1;
    if (!u->options->below || !*u->options->below)
        *ret = steal(&clean);
    else
        *ret = xasprintf("%s%s%s", u->options->below, *clean ? "/" : "", clean);
    return 0;
}

static int attributes(const struct unpack *u, struct archive_entry *e, struct img_attributes *ret, struct err *err)
{
    int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);

    if (uid < 0 || gid < 0 || uid >= UINT32_MAX || gid >= UINT32_MAX)
        return err_set(err, 0, "owner %lld:%lld does not exist on this system", (long long)uid, (long long)gid);
    ret->uid = u->options->owner ? u->options->uid : (uid_t)uid;
    ret->gid = u->options->owner ? u->options->gid : (gid_t)gid;
    ret->mode = archive_entry_perm(e) & 07777;
    ret->mtime = (struct timespec){archive_entry_mtime(e), archive_entry_mtime_nsec(e)};
    return 0;
}

/* Writes one piece at its offset; what lies between pieces stays a hole. */
static int write_at(int fd, const char *bytes, size_t len, int64_t offset, struct err *err)
{
    while (len) {
        ssize_t n = pwrite(fd, bytes, len, offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 0, errno, "write");
        bytes += n;
        len -= (size_t)n;
        offset += n;
    }
    return 0;
}

static int fill(struct unpack *u, int fd, int64_t size, struct err *err)
{
    const void *bytes;
    int64_t offset = 0;
    ssize_t n;

    while ((n = tar_data(u->tar, &bytes, &offset, err)) > 0) {
        if (write_at(fd, bytes, (size_t)n, offset, err) < 0)
            return -1;
    }
    if (n < 0)
        return -1;
    return ftruncate(fd, size) < 0 ? err_set_errno(err, 0, errno, "truncate") : 0;
}

static int unpack_file(struct unpack *u, struct archive_entry *e, const char *path, const struct img_attributes *a,
                       struct err *err)
{
    cleanup_close int fd = -1;

    if (img_writer_file(u->w, path, &fd, err) < 0 || fill(u, fd, archive_entry_size(e), err) < 0)
        return -1;
    return img_writer_file_done(u->w, fd, a, err);
}

static int unpack_hard_link(struct unpack *u, struct archive_entry *e, const char *path, struct err *err)
{
    cleanup_free char *target = NULL;

    if (place(u, archive_entry_hardlink(e), &target, err) < 0)
        return -1;
    return img_writer_link(u->w, path, target, err);
}

static int unpack_xattrs(struct unpack *u, struct archive_entry *e, const char *path, struct err *err)
{
    const char *name;
    const void *value;
    size_t len;

    archive_entry_xattr_reset(e);
    while (archive_entry_xattr_next(e, &name, &value, &len) == 0) {
        if (img_writer_xattr(u->w, path, name, value, len, err) < 0)
            return -1;
    }
    return 0;
}

/* Carries one .wh. file out. 1: done, 0: it is an ordinary entry, -1. */
static int whiteout(struct unpack *u, const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    int dir_len = slash ? (int)(slash - path) : 0;
    cleanup_free char *what = NULL;
    const char *hidden = name + strlen(WHITEOUT);

    if (!u->options->whiteouts || strncmp(name, WHITEOUT, strlen(WHITEOUT)) != 0)
        return 0;
    if (strcmp(name, WHITEOUT_OPAQUE) == 0) {
        what = xstrndup(path, (size_t)dir_len);
        return img_writer_opaque(u->w, what, err) < 0 ? -1 : 1;
    }
    if (strncmp(name, WHITEOUT_META, strlen(WHITEOUT_META)) == 0)
        return 1;
    if (!*hidden || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0)
        return err_set(err, 0, "invalid whiteout");
    what = xasprintf("%.*s%s%s", dir_len, path, dir_len ? "/" : "", hidden);
    return img_writer_whiteout(u->w, what, err) < 0 ? -1 : 1;
}

/* One entry of any kind. */
static int unpack_entry(struct unpack *u, struct archive_entry *e, const char *path, struct err *err)
{
    struct img_attributes a;
    int r = whiteout(u, path, err);

    if (r != 0)
        return r < 0 ? -1 : 0;
    if (archive_entry_hardlink(e))
        return unpack_hard_link(u, e, path, err);
    if (attributes(u, e, &a, err) < 0)
        return -1;
    switch (archive_entry_filetype(e)) {
    case AE_IFREG:
        r = unpack_file(u, e, path, &a, err);
        break;
    case AE_IFDIR:
        r = img_writer_dir(u->w, path, &a, err);
        break;
    case AE_IFLNK:
        r = img_writer_symlink(u->w, path, archive_entry_symlink(e), &a, err);
        break;
    case AE_IFCHR:
    case AE_IFBLK:
    case AE_IFIFO:
        r = img_writer_node(u->w, path, archive_entry_filetype(e), archive_entry_rdev(e), &a, err);
        break;
    default:
        return err_set(err, 0, "unhandled tar header type");
    }
    return r < 0 ? -1 : unpack_xattrs(u, e, path, err);
}

/* A name as it can be shown on one line. */
static char *shown(const char *name)
{
    char *s = xstrndup(name, 200);

    for (char *p = s; *p; p++)
        *p = (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p;
    return s;
}

int img_unpack(struct img_writer *w, int fd, const struct img_unpack *options, char *ret_diff, struct err *err)
{
    cleanup_with(tar_closep) struct tar_reader *tar = tar_open(fd, err);
    struct unpack u = {.w = w, .options = options, .tar = tar};
    struct archive_entry *e;
    int r = tar ? 1 : -1;

    while (r > 0 && (r = tar_next(tar, &e, err)) > 0) {
        cleanup_free char *path = NULL;

        if (place(&u, archive_entry_pathname(e), &path, err) < 0)
            return -1;
        if (options->below && strcmp(path, options->below) == 0)
            continue; /* the directory itself is there, and stays what it is */
        if (unpack_entry(&u, e, path, err) < 0) {
            cleanup_free char *name = shown(archive_entry_pathname(e));

            return err_wrap(err, "unpacking %s", name);
        }
    }
    if (r < 0)
        return -1;
    return tar_finish(tar, ret_diff, NULL, err);
}
