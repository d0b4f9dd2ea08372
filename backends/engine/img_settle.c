#include "backends/engine/img_run.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_NAME    3400u    /* of a path in a layer, as the writer allows */
#define MAX_ENTRIES 4000000u /* inodes of a layer, as the writer allows */

struct settling {
    struct img_view *below;
    struct buf path; /* of the directory at work, relative */
    size_t entries;
    int64_t size;
};

/* Overlay's notes about where something came from; an image that keeps them could not be laid over another. */
static bool is_note(const char *name)
{
    const char *rest = strncmp(name, "trusted.overlay.", 16) == 0 ? name + 16
                       : strncmp(name, "user.overlay.", 13) == 0  ? name + 13
                                                                  : NULL;

    return rest && strncmp(rest, "overlay.", 8) != 0; /* that is how overlay keeps a container's own */
}

static void drop_notes(const char *path, bool keep_opaque)
{
    char names[8192];
    ssize_t len = llistxattr(path, names, sizeof(names));

    for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1) {
        if (is_note(names + at) && !(keep_opaque && strcmp(names + at, img_opaque_name()) == 0))
            lremovexattr(path, names + at);
    }
}

/* Whether a directory's "nothing from below" has something to hide. */
static int hides(struct settling *s, int fd, bool *ret, struct err *err)
{
    struct stat st;
    int found;

    *ret = false;
    if (!img_is_opaque(fd))
        return 0;
    found = img_view_look(s->below, s->path.data, &st, NULL, NULL, err);
    *ret = found > 0 && S_ISDIR(st.st_mode);
    return found < 0 ? -1 : 0;
}

/* Whether a directory is what it was before, but for its time. */
static bool unchanged(struct settling *s, int fd)
{
    struct stat st, was;

    return !img_is_opaque(fd) && fstat(fd, &st) == 0 &&
           img_view_look(s->below, s->path.data, &was, NULL, NULL, NULL) > 0 && S_ISDIR(was.st_mode) &&
           was.st_mode == st.st_mode && was.st_uid == st.st_uid && was.st_gid == st.st_gid;
}

static int settle_dir(struct settling *s, int dir, bool *ret_empty, struct err *err);

static int settle_entry(struct settling *s, int dir, const char *name, bool *ret_gone, struct err *err)
{
    size_t before = s->path.len;
    cleanup_free char *path = xasprintf("/proc/self/fd/%d/%s", dir, name);
    cleanup_close int fd = -1;
    struct stat st;
    bool empty;
    int r;

    *ret_gone = false;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_set_errno(err, 0, errno, "reading /%s/%s", s->path.data, name);
    if (++s->entries > MAX_ENTRIES)
        return err_set(err, 0, "more than %u files in one layer", MAX_ENTRIES);
    *ret_gone = S_ISSOCK(st.st_mode); /* no layer can hold one */
    if (*ret_gone)
        return unlinkat(dir, name, 0) < 0 ? err_set_errno(err, 0, errno, "removing %s", name) : 0;
    if (S_ISREG(st.st_mode))
        s->size += (int64_t)st.st_blocks * 512 / (int64_t)(st.st_nlink ? st.st_nlink : 1);
    if (!S_ISDIR(st.st_mode)) {
        if (!img_is_whiteout(&st))
            drop_notes(path, false);
        return 0;
    }
    if (s->path.len + strlen(name) + 1 > MAX_NAME)
        return err_set(err, 0, "/%.60s...: too deep for an image", s->path.data);
    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_set_errno(err, 0, errno, "reading /%s/%s", s->path.data, name);
    buf_addf(&s->path, "%s%s", before ? "/" : "", name);
    r = settle_dir(s, fd, &empty, err);
    /* What came and went in it, or was mounted there, is no change: BuildKit does not keep it either. */
    *ret_gone = r == 0 && empty && unchanged(s, fd) && unlinkat(dir, name, AT_REMOVEDIR) == 0;
    buf_truncate(&s->path, before);
    return r;
}

static int settle_dir(struct settling *s, int dir, bool *ret_empty, struct err *err)
{
    cleanup_free char *path = xasprintf("/proc/self/fd/%d/.", dir);
    int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_dir DIR *d = again < 0 ? NULL : fdopendir(again);
    const struct dirent *e;
    struct stat before;
    bool opaque, gone;

    if (!d || fstat(dir, &before) < 0)
        return err_set_errno(err, 0, errno, "reading /%s", s->path.data);
    if (hides(s, dir, &opaque, err) < 0)
        return -1;
    drop_notes(path, opaque);
    *ret_empty = true;
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (settle_entry(s, dir, e->d_name, &gone, err) < 0)
            return -1;
        *ret_empty = *ret_empty && gone;
    }
    futimens(dir, (struct timespec[2]){before.st_atim, before.st_mtim}); /* what went was no change */
    return 0;
}

/* The directory that path's last component is in; -1 when there is none. */
static int open_above(int root, const char *path)
{
    const char *slash = strrchr(path, '/');
    cleanup_free char *above = xstrndup(path, slash ? (size_t)(slash - path) : 0);
    int dir = fcntl(root, F_DUPFD_CLOEXEC, 3);

    for (char *part = above, *next; dir >= 0 && part && *part; part = next) {
        int inside;

        next = strchr(part, '/');
        if (next)
            *next++ = '\0';
        inside = openat(dir, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        close(dir);
        dir = inside;
    }
    return dir;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Takes away a place that was made for a mount, if nobody has put anything there. Its directory keeps its time. */
static void drop_stub(int root, const char *path)
{
    cleanup_close int dir = open_above(root, path);
    const char *name = last_part(path);
    struct stat st, parent;

    if (dir < 0 || fstat(dir, &parent) < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    if (S_ISDIR(st.st_mode) ? unlinkat(dir, name, AT_REMOVEDIR) < 0
                            : !S_ISREG(st.st_mode) || st.st_size || unlinkat(dir, name, 0) < 0)
        return;
    futimens(dir, (struct timespec[2]){parent.st_atim, parent.st_mtim});
}

int img_settle(const char *upper, struct img_view *below, const struct strlist *stubs, int64_t *ret_size,
               struct err *err)
{
    struct settling s = {.below = below, .path = BUF_INIT(MAX_NAME + NAME_MAX + 2)};
    cleanup_close int root = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    bool empty;
    int r;

    if (root < 0)
        return err_set_errno(err, 0, errno, "opening %s", upper);
    for (size_t i = 0; i < stubs->len; i++)
        drop_stub(root, stubs->items[i]);
    buf_adds(&s.path, "");
    r = settle_dir(&s, root, &empty, err);
    buf_clear(&s.path);
    if (r == 0)
        *ret_size = s.size;
    return r;
}
