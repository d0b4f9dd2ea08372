#include "backends/engine/img_layer.h"

#include "backends/engine/img_store.h"
#include "backends/engine/img_view.h"
#include "backends/engine/rootless.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_NAME  3400u /* PATH_MAX less the store's own folder: what is made can be removed again by path */
#define MAX_LINKS 40    /* the kernel's own limit for one path */
#define MAX_LAYER_ENTRIES                                                                                              \
    4000000u /* inodes: four times the largest image seen; bounds what an archive makes us create */

struct dir_time {
    char *path;
    struct timespec mtime;
};

struct img_writer {
    char *dir, *tmp;
    int root;
    struct img_writer_options options;
    bool privileged;
    /* The directory used last: most entries follow one another in one. */
    char *last_asked, *last_real;
    int last_fd;
    struct dir_time *times; /* set at the end, since every new entry changes its directory's own */
    size_t times_len, times_cap;
    size_t entries;
    int64_t size;
};

DEFINE_CLEANUP(struct img_writer *, img_writer_free)

struct img_writer *img_writer_new(const char *dir, const struct img_writer_options *options, struct err *err)
{
    cleanup_with(img_writer_freep) struct img_writer *w = xcalloc(1, sizeof(*w));
    cleanup_free char *root = NULL;

    *w = (struct img_writer){.root = -1, .last_fd = -1, .options = *options, .privileged = geteuid() == 0};
    if (!w->options.mode)
        w->options.mode = 0755;
    w->dir = xstrdup(dir);
    w->tmp = img_store_tmp(dir, err);
    if (!w->tmp)
        return NULL;
    root = xasprintf("%s/f", w->tmp);
    if (fs_mkdirs(root, 0755, err) < 0)
        return NULL;
    w->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->root < 0 || fchmod(w->root, 0755) < 0) {
        err_set_errno(err, 0, errno, "opening %s", root);
        return NULL;
    }
    return steal(&w);
}

char *img_writer_dir_path(const struct img_writer *w)
{
    return xasprintf("%s/f", w->tmp);
}

/* Forgets the directory used last. */
static void forget(struct img_writer *w)
{
    if (w->last_fd >= 0)
        close(w->last_fd);
    free(w->last_asked);
    free(w->last_real);
    w->last_fd = -1;
    w->last_asked = w->last_real = NULL;
}

void img_writer_free(struct img_writer *w)
{
    if (!w)
        return;
    forget(w);
    if (w->root >= 0)
        close(w->root);
    for (size_t i = 0; i < w->times_len; i++)
        free(w->times[i].path);
    free(w->times);
    if (w->tmp)
        img_store_remove(w->tmp);
    free(w->tmp);
    free(w->dir);
    free(w);
}

/* One more inode of this layer. */
static int count_entry(struct img_writer *w, struct err *err)
{
    if (++w->entries > MAX_LAYER_ENTRIES)
        return err_set(err, 0, "more than %u files in one layer", MAX_LAYER_ENTRIES);
    return 0;
}

static void remember_time(struct img_writer *w, const char *real, struct timespec mtime)
{
    if (w->times_len == w->times_cap) {
        w->times_cap = w->times_cap ? w->times_cap * 2 : 64;
        w->times = xreallocarray(w->times, w->times_cap, sizeof(*w->times));
    }
    w->times[w->times_len++] = (struct dir_time){xstrdup(real), mtime};
}

/* ---- the way to an entry ---- */

/* Opens a directory of the layer by a path that is known to be free of links; they are not followed in any case. */
static int open_real(const struct img_writer *w, const char *real)
{
    int fd = fcntl(w->root, F_DUPFD_CLOEXEC, 3);

    for (const char *p = real; *p && fd >= 0;) {
        size_t len = strcspn(p, "/");
        cleanup_free char *name = xstrndup(p, len);
        int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        int saved = errno;

        close(fd);
        errno = saved;
        fd = next;
        p += len + (p[len] == '/');
    }
    return fd;
}

/* The state of one walk. */
struct walk {
    struct strlist pending;
    struct buf real;
    int fd;
    int links;
    bool create;
};

static void walk_clear(struct walk *k)
{
    strlist_clear(&k->pending);
    buf_clear(&k->real);
    if (k->fd >= 0)
        close(k->fd);
}

/* Puts a link's text in front of what is still to go; an absolute one begins at the root again. */
static int follow(struct img_writer *w, struct walk *k, const char *text, struct err *err)
{
    cleanup_strlist struct strlist parts = STRLIST_INIT;

    if (++k->links > MAX_LINKS)
        return err_set(err, 0, "too many levels of symbolic links");
    strlist_split(&parts, text, '/');
    for (size_t i = parts.len; i-- > 0;) {
        if (*parts.items[i] && strcmp(parts.items[i], ".") != 0)
            strlist_insert(&k->pending, 0, parts.items[i]);
    }
    if (*text != '/')
        return 0;
    buf_truncate(&k->real, 0);
    close(k->fd);
    k->fd = open_real(w, "");
    return k->fd < 0 ? err_set_errno(err, 0, errno, "opening the layer") : 0;
}

/* "..": the root's parent is the root. */
static int step_up(struct img_writer *w, struct walk *k, struct err *err)
{
    char *slash = strrchr(k->real.data, '/');

    buf_truncate(&k->real, slash ? (size_t)(slash - k->real.data) : 0);
    close(k->fd);
    k->fd = open_real(w, k->real.data);
    return k->fd < 0 ? err_set_errno(err, 0, errno, "opening /%s", k->real.data) : 0;
}

/* Extended attributes of a directory below, for its copy in this layer: overlay shows those of the topmost. */
static void copy_xattrs(int from, int to)
{
    char names[4096], value[4096];
    ssize_t len = flistxattr(from, names, sizeof(names));

    for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1) {
        const char *name = names + at;
        ssize_t n;

        if (strncmp(name, "user.", 5) != 0 || strncmp(name, "user.overlay.", 13) == 0)
            continue;
        n = fgetxattr(from, name, value, sizeof(value));
        if (n >= 0)
            fsetxattr(to, name, value, (size_t)n, 0);
    }
}

/*
 * COPY: a directory that comes up from below is no change, of itself or of the one that it is in; only what is put
 * there changes it.
 */
static void copy_up_times(int parent, const struct stat *was, int fd, const struct stat *below)
{
    const struct timespec of_parent[2] = {was->st_atim, was->st_mtim}, own[2] = {below->st_atim, below->st_mtim};

    futimens(parent, of_parent);
    futimens(fd, own);
}

/* Makes a directory that nobody mentioned: a copy of the one below, or a plain one. */
static int make_parent(struct img_writer *w, struct walk *k, const char *name, struct err *err)
{
    struct stat st = {.st_mode = w->options.mode, .st_uid = w->options.uid, .st_gid = w->options.gid};
    cleanup_free char *text = NULL;
    cleanup_close int below = -1;
    cleanup_close int fd = -1;
    struct stat above;
    int found = 0;

    if (w->options.below)
        found = img_view_look(w->options.below, k->real.data, &st, &text, &below, err);
    if (found < 0)
        return -1;
    if (found && text && w->options.follow_below) {
        char *slash = strrchr(k->real.data, '/');

        buf_truncate(&k->real, slash ? (size_t)(slash - k->real.data) : 0);
        return follow(w, k, text, err);
    }
    if (found && !S_ISDIR(st.st_mode) && w->options.follow_below)
        return err_set(err, 0, "/%s: not a directory", k->real.data);
    if (!found || !S_ISDIR(st.st_mode))
        st = (struct stat){.st_mode = w->options.mode, .st_uid = w->options.uid, .st_gid = w->options.gid};
    if (count_entry(w, err) < 0)
        return -1;
    if (fstat(k->fd, &above) < 0 || mkdirat(k->fd, name, 0700) < 0)
        return err_set_errno(err, 0, errno, "mkdir /%s", k->real.data);
    fd = openat(k->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || (w->privileged && fchown(fd, st.st_uid, st.st_gid) < 0) || fchmod(fd, st.st_mode & 07777) < 0)
        return err_set_errno(err, 0, errno, "mkdir /%s", k->real.data);
    if (below >= 0) {
        copy_xattrs(below, fd);
        if (w->options.follow_below)
            copy_up_times(k->fd, &above, fd, &st);
        else
            remember_time(w, k->real.data, st.st_mtim);
    }
    close(k->fd);
    k->fd = steal_fd(&fd);
    return 0;
}

/* A whiteout in the way of an entry below it: a new directory that shows nothing of the old one. */
static int reopen_whiteout(struct img_writer *w, struct walk *k, const char *name, struct err *err)
{
    if (unlinkat(k->fd, name, 0) < 0 || mkdirat(k->fd, name, 0755) < 0)
        return err_set_errno(err, 0, errno, "mkdir /%s", k->real.data);
    return img_writer_opaque(w, k->real.data, err);
}

/* One component: down into a directory, along a link, or into a directory made for it. */
static int step(struct img_writer *w, struct walk *k, const char *name, struct err *err)
{
    size_t before = k->real.len;
    struct stat st;
    int fd;

    if (buf_addf(&k->real, "%s%s", before ? "/" : "", name) < 0)
        return err_set(err, 0, "file name too long");
    if (fstatat(k->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT || !k->create)
            return err_set_errno(err, 0, errno, "/%s", k->real.data);
        return make_parent(w, k, name, err);
    }
    if (S_ISLNK(st.st_mode)) {
        char text[LIMIT_PATH];
        ssize_t n = readlinkat(k->fd, name, text, sizeof(text) - 1);

        if (n < 0)
            return err_set_errno(err, 0, errno, "/%s", k->real.data);
        text[n] = '\0';
        buf_truncate(&k->real, before);
        return follow(w, k, text, err);
    }
    if (img_is_whiteout(&st) && k->create && reopen_whiteout(w, k, name, err) < 0)
        return -1;
    fd = openat(k->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_set_errno(err, 0, errno, "/%s", k->real.data);
    close(k->fd);
    k->fd = fd;
    return 0;
}

/* Opens the directory that path's last component is in. *ret_fd is borrowed until the next call; *ret_name points into
 * path. */
static int parent_of(struct img_writer *w, const char *path, bool create, int *ret_fd, const char **ret_name,
                     struct err *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    cleanup_free char *asked = xstrndup(path, slash ? (size_t)(slash - path) : 0);
    struct walk k cleanup_with(walk_clear) = {.fd = -1, .create = create, .real = BUF_INIT(MAX_NAME)};

    if (strlen(path) > MAX_NAME)
        return err_set(err, 0, "file name too long");
    *ret_name = name;
    if (!w->last_asked || strcmp(w->last_asked, asked) != 0) {
        strlist_split(&k.pending, asked, '/');
        k.fd = open_real(w, "");
        while (k.pending.len) {
            cleanup_free char *part = xstrdup(k.pending.items[0]);
            int r = 0;

            strlist_remove(&k.pending, 0);
            if (strcmp(part, "..") == 0)
                r = step_up(w, &k, err);
            else if (*part && strcmp(part, ".") != 0)
                r = step(w, &k, part, err);
            if (r < 0)
                return -1;
        }
        if (k.fd < 0)
            return err_set_errno(err, 0, errno, "opening the layer");
        forget(w);
        w->last_fd = steal_fd(&k.fd);
        w->last_asked = steal(&asked);
        w->last_real = buf_detach(&k.real);
    }
    *ret_fd = w->last_fd;
    return 0;
}

/* The entry's path free of links, for messages and for the list of times; owned by caller. */
static char *real_path(const struct img_writer *w, const char *name)
{
    return xasprintf("%s%s%s", w->last_real, *w->last_real ? "/" : "", name);
}

/* Takes away what stands at a name. 1: it was a whiteout of this layer, 0: something else or nothing. */
static int clear_place(struct img_writer *w, int fd, const char *name, struct err *err)
{
    struct stat st;

    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : err_set_errno(err, 0, errno, "%s", name);
    if (S_ISDIR(st.st_mode)) {
        cleanup_free char *real = real_path(w, name);
        cleanup_free char *path = xasprintf("%s/f/%s", w->tmp, real);

        /* By path is fine here: real has no links in it, and nobody else is at work in this folder. */
        img_store_remove(path);
    } else if (unlinkat(fd, name, 0) < 0) {
        return err_set_errno(err, 0, errno, "removing %s", name);
    }
    return img_is_whiteout(&st) ? 1 : 0;
}

/* Opens the parent and clears the place for a new entry that is no directory. */
static int prepare(struct img_writer *w, const char *path, int *ret_fd, const char **ret_name, struct err *err)
{
    if (!*path)
        return err_set(err, 0, "the root of an image must be a directory");
    if (count_entry(w, err) < 0 || parent_of(w, path, true, ret_fd, ret_name, err) < 0)
        return -1;
    return clear_place(w, *ret_fd, *ret_name, err) < 0 ? -1 : 0;
}

/* ---- entries ---- */

/* Owner, mode and time of something that is neither file nor directory. */
static int dress(struct img_writer *w, int fd, const char *name, const struct img_attributes *a, bool link,
                 struct err *err)
{
    struct timespec times[2] = {a->mtime, a->mtime};

    if (w->privileged && fchownat(fd, name, a->uid, a->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return err_set_errno(err, 0, errno, "chown %s", name);
    if (!link && fchmodat(fd, name, a->mode & 07777, 0) < 0)
        return err_set_errno(err, 0, errno, "chmod %s", name);
    if (utimensat(fd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return err_set_errno(err, 0, errno, "utimes %s", name);
    return 0;
}

/* The layer's own top. */
static int dress_root(struct img_writer *w, const struct img_attributes *a, struct err *err)
{
    if ((w->privileged && fchown(w->root, a->uid, a->gid) < 0) || fchmod(w->root, a->mode & 07777) < 0)
        return err_set_errno(err, 0, errno, "chmod /");
    remember_time(w, "", a->mtime);
    return 0;
}

int img_writer_dir(struct img_writer *w, const char *path, const struct img_attributes *a, struct err *err)
{
    cleanup_free char *real = NULL;
    cleanup_close int fd = -1;
    const char *name;
    struct stat st;
    bool opaque = false;
    int parent;

    if (!*path)
        return dress_root(w, a, err);
    if (parent_of(w, path, true, &parent, &name, err) < 0)
        return -1;
    real = real_path(w, name);
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode)) {
        int cleared = clear_place(w, parent, name, err);

        if (cleared < 0 || count_entry(w, err) < 0)
            return -1;
        opaque = cleared == 1;
        if (mkdirat(parent, name, 0700) < 0)
            return err_set_errno(err, 0, errno, "mkdir /%s", real);
    }
    fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || (w->privileged && fchown(fd, a->uid, a->gid) < 0) || fchmod(fd, a->mode & 07777) < 0)
        return err_set_errno(err, 0, errno, "mkdir /%s", real);
    remember_time(w, real, a->mtime);
    return opaque ? img_writer_opaque(w, path, err) : 0;
}

int img_writer_file(struct img_writer *w, const char *path, int *ret_fd, struct err *err)
{
    const char *name;
    int parent, fd;

    if (prepare(w, path, &parent, &name, err) < 0)
        return -1;
    fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, 0, errno, "open /%s", path);
    *ret_fd = fd;
    return 0;
}

int img_writer_file_done(struct img_writer *w, int fd, const struct img_attributes *a, struct err *err)
{
    struct timespec times[2] = {a->mtime, a->mtime};
    struct stat st;

    /* chown takes away set-user-id bits, so it comes before chmod. */
    if (w->privileged && fchown(fd, a->uid, a->gid) < 0)
        return err_set_errno(err, 0, errno, "chown");
    if (fchmod(fd, a->mode & 07777) < 0 || futimens(fd, times) < 0 || fstat(fd, &st) < 0)
        return err_set_errno(err, 0, errno, "chmod");
    w->size += (int64_t)st.st_blocks * 512;
    return 0;
}

int img_writer_symlink(struct img_writer *w, const char *path, const char *target, const struct img_attributes *a,
                       struct err *err)
{
    const char *name;
    int parent;

    if (prepare(w, path, &parent, &name, err) < 0)
        return -1;
    if (symlinkat(target, parent, name) < 0)
        return err_set_errno(err, 0, errno, "symlink /%s", path);
    return dress(w, parent, name, a, true, err);
}

int img_writer_node(struct img_writer *w, const char *path, mode_t type, dev_t device, const struct img_attributes *a,
                    struct err *err)
{
    const char *name;
    int parent;

    if (prepare(w, path, &parent, &name, err) < 0)
        return -1;
    if (mknodat(parent, name, (type & S_IFMT) | 0600, device) < 0)
        return errno == EPERM && rootless() && (S_ISCHR(type) || S_ISBLK(type))
                   ? 0 /* what no container here could use either */
                   : err_set_errno(err, 0, errno, "mknod /%s", path);
    return dress(w, parent, name, a, false, err);
}

int img_writer_link(struct img_writer *w, const char *path, const char *target, struct err *err)
{
    cleanup_close int from = -1;
    const char *name, *from_name;
    int parent;

    if (parent_of(w, target, false, &parent, &from_name, err) < 0)
        return err_wrap(err, "link /%s", path);
    from = fcntl(parent, F_DUPFD_CLOEXEC, 3);
    if (strcmp(path, target) == 0)
        return 0;
    if (prepare(w, path, &parent, &name, err) < 0)
        return -1;
    if (linkat(from, from_name, parent, name, 0) < 0)
        return err_set_errno(err, 0, errno, "link /%s /%s", target, path);
    return 0;
}

int img_writer_whiteout(struct img_writer *w, const char *path, struct err *err)
{
    const char *name;
    struct stat st;
    int parent;

    if (count_entry(w, err) < 0 || parent_of(w, path, true, &parent, &name, err) < 0)
        return -1;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        /* The layer's own entry stays: a whiteout is about what is below. */
        return S_ISDIR(st.st_mode) ? img_writer_opaque(w, path, err) : 0;
    }
    if (mknodat(parent, name, S_IFCHR, makedev(0, 0)) < 0)
        return err_set_errno(err, 0, errno,
                             "whiteout /%s: overlay needs a device 0:0 here, which this user may not make", path);
    return 0;
}

int img_writer_opaque(struct img_writer *w, const char *path, struct err *err)
{
    /* The parent of "path/." is path itself, made like any directory on the way when it is not there. */
    cleanup_free char *inside = xasprintf("%s/.", path);
    const char *name;
    int fd;

    if (parent_of(w, inside, true, &fd, &name, err) < 0)
        return -1;
    if (fsetxattr(fd, img_opaque_name(), "y", 1, 0) < 0)
        return err_set_errno(err, 0, errno, "opaque /%s: setting %s", path, img_opaque_name());
    return 0;
}

int img_writer_xattr(struct img_writer *w, const char *path, const char *name, const void *value, size_t len,
                     struct err *err)
{
    cleanup_free char *at = NULL;
    const char *last;
    int parent;
    bool user = strncmp(name, "user.", 5) == 0 && strncmp(name, "user.overlay.", 13) != 0;

    /* trusted.overlay.redirect and its like would let an image point outside its own layers. */
    if (!user && (!w->privileged || strcmp(name, "security.capability") != 0))
        return 0;
    if (!*path) {
        at = xasprintf("/proc/self/fd/%d/.", w->root);
    } else {
        if (parent_of(w, path, false, &parent, &last, err) < 0)
            return -1;
        at = xasprintf("/proc/self/fd/%d/%s", parent, last);
    }
    if (lsetxattr(at, name, value, len, 0) < 0 && !(user && (errno == ENOTSUP || errno == EPERM)))
        return err_set_errno(err, 0, errno, "setting %.100s of /%s", name, path);
    return 0;
}

/* ---- the end ---- */

/* Directories get their times last: every entry that came into them has changed those. */
static void set_times(struct img_writer *w)
{
    forget(w);
    for (size_t i = 0; i < w->times_len; i++) {
        struct timespec times[2] = {w->times[i].mtime, w->times[i].mtime};
        cleanup_close int fd = open_real(w, w->times[i].path);

        /* A directory that something replaced later has no time to be set. */
        if (fd >= 0)
            futimens(fd, times);
    }
}

int img_writer_commit(struct img_writer *w, const char *key, struct err *err)
{
    set_times(w);
    return w->options.meta ? img_layer_keep_as(w->dir, w->tmp, key, w->size, w->options.meta, err)
                           : img_layer_keep(w->dir, w->tmp, key, w->size, err);
}

int img_writer_keep_as(struct img_writer *w, const char *path, struct err *err)
{
    set_times(w);
    return rename(w->tmp, path) < 0 ? err_set_errno(err, 0, errno, "keeping %s", path) : 0;
}
