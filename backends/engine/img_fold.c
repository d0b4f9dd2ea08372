#include "backends/engine/img_fold.h"

#include "backends/engine/img_view.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <linux/fs.h>
#include <unistd.h>

#define MAX_NAME    3400u       /* of a path in the layer: what is made can be removed again by path (img_writer.c) */
#define MAX_ENTRIES 4000000u    /* inodes of a layer, as the writer allows */
#define MAX_NAMES   (64u << 10) /* of extended attributes: the kernel's own limit, and that of a value */
#define COPY_STEP   (64u << 20) /* bytes between two looks at cancelled */
#define LINK_SLOTS  4096u

/* A file of several names that was copied under its first one. */
struct linked {
    struct linked *next;
    dev_t dev;
    ino_t ino;
    char *path; /* in the target */
};

struct folding {
    const struct img_fold *what;
    int target;
    struct buf path; /* of the directory at work, relative */
    struct linked **links;
    size_t entries;
    int64_t size;
};

/* The directories, topmost first, that together make one directory of the new layer. */
struct stack {
    int *fds;
    size_t len;
    bool closed; /* nothing of the layers below is to be seen in it */
    bool hidden; /* that is so already because of a directory above */
};

static void stack_clear(struct stack *s)
{
    for (size_t i = 0; i < s->len; i++)
        close(s->fds[i]);
    free(s->fds);
    *s = (struct stack){0};
}

/* The path of a descriptor, through which a call that takes names reaches the very inode. */
#define SELF_MAX 32
static const char *self_path(int fd, char out[SELF_MAX])
{
    snprintf(out, SELF_MAX, "/proc/self/fd/%d", fd);
    return out;
}

/* "No space left on device" and its like, with the entry's path. */
static int trouble(struct folding *f, const char *name, const char *what, struct err *err)
{
    int errnum = errno;

    return err_set_errno(err, 0, errnum, "%s /%s%s%s", what, f->path.data, f->path.len ? "/" : "", name);
}

/* ---- attributes ---- */

/* Overlay's own notes say where a file came from; only "opaque" still holds in another place. */
static bool is_overlay_note(const char *name)
{
    const char *rest = strncmp(name, "trusted.overlay.", 16) == 0 ? name + 16
                       : strncmp(name, "user.overlay.", 13) == 0  ? name + 13
                                                                  : NULL;

    return rest && strncmp(rest, "overlay.", 8) != 0; /* that is how overlay keeps a container's own */
}

/* Copies what can be copied; a file system that has no such attributes is no reason to stop. */
static int copy_xattrs(struct folding *f, int from, int to, const char *label, struct err *err)
{
    char source[SELF_MAX], names[MAX_NAMES / 16], *value;
    ssize_t len = listxattr(self_path(from, source), names, sizeof(names));
    cleanup_free char *many = NULL, *room = NULL;
    const char *list = names;

    if (len < 0 && errno == ERANGE) {
        list = many = xmalloc(MAX_NAMES);
        len = listxattr(source, many, MAX_NAMES);
    }
    for (ssize_t at = 0; at < len; at += (ssize_t)strlen(list + at) + 1) {
        const char *name = list + at;
        ssize_t n;

        if (is_overlay_note(name))
            continue;
        value = room ? room : (room = xmalloc(MAX_NAMES));
        n = getxattr(source, name, value, MAX_NAMES);
        if (n >= 0 && fsetxattr(to, name, value, (size_t)n, 0) < 0 && errno != ENOTSUP && errno != EPERM)
            return trouble(f, label, "keeping an attribute of", err);
    }
    return 0;
}

/* Owner, mode, attributes and time of a file or directory, in an order in which none undoes another. */
static int dress(struct folding *f, int from, int to, const struct stat *st, const char *label, struct err *err)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};

    if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0)
        return trouble(f, label, "keeping the owner and mode of", err);
    if (copy_xattrs(f, from, to, label, err) < 0)
        return -1;
    return futimens(to, times) < 0 ? trouble(f, label, "keeping the time of", err) : 0;
}

/* The same for what cannot be opened. */
static int dress_by_name(struct folding *f, int dir, const char *name, const struct stat *st, struct err *err)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};

    if (fchownat(dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        (!S_ISLNK(st->st_mode) && fchmodat(dir, name, st->st_mode & 07777, 0) < 0) ||
        utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return trouble(f, name, "keeping the owner and mode of", err);
    return 0;
}

/* ---- contents ---- */

static int is_cancelled(struct folding *f, struct err *err)
{
    return f->what->cancelled && atomic_load(f->what->cancelled) ? err_set(err, 0, "cancelled") : 0;
}

/* Plain reading and writing, where the file system offers nothing better. */
static ssize_t copy_chunk(int in, int out, off_t at, size_t len)
{
    char chunk[65536];
    ssize_t n = pread(in, chunk, len < sizeof(chunk) ? len : sizeof(chunk), at);

    for (ssize_t done = 0, w; done < n; done += w) {
        w = pwrite(out, chunk + done, (size_t)(n - done), at + done);
        if (w < 0)
            return -1;
    }
    return n;
}

/* Copies [at, end) to the same place. A file that became shorter is as long as it is. */
static int copy_range(struct folding *f, int in, int out, off_t at, off_t end, const char *name, struct err *err)
{
    while (at < end) {
        size_t len = end - at < (off_t)COPY_STEP ? (size_t)(end - at) : COPY_STEP;
        off_t from = at, to = at;
        ssize_t n = copy_file_range(in, &from, out, &to, len, 0);

        if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP))
            n = copy_chunk(in, out, at, len);
        if (n < 0)
            return trouble(f, name, "copying", err);
        if (n == 0)
            return 0;
        at += n;
        if (is_cancelled(f, err) < 0)
            return -1;
    }
    return 0;
}

/* The data without its holes. */
static int copy_data(struct folding *f, int in, int out, off_t size, const char *name, struct err *err)
{
    off_t at = 0;

    if (size == 0 || ioctl(out, FICLONE, in) == 0)
        return 0;
    while (at < size) {
        off_t data = lseek(in, at, SEEK_DATA), hole;

        if (data < 0 && errno == ENXIO)
            break;
        if (data < 0)
            data = at; /* no notion of holes here */
        hole = lseek(in, data, SEEK_HOLE);
        if (hole < 0 || hole > size)
            hole = size;
        if (data < hole && copy_range(f, in, out, data, hole, name, err) < 0)
            return -1;
        at = hole > data ? hole : size;
    }
    return ftruncate(out, size) < 0 ? trouble(f, name, "copying", err) : 0;
}

/* ---- hard links ---- */

static struct linked **slot_of(const struct folding *f, const struct stat *st)
{
    return &f->links[(st->st_ino ^ st->st_dev) % LINK_SLOTS];
}

/* 1: the name is now one more of a file that was copied before. */
static int link_again(struct folding *f, int dir, const char *name, const struct stat *st)
{
    for (const struct linked *l = *slot_of(f, st); l; l = l->next)
        if (l->ino == st->st_ino && l->dev == st->st_dev)
            return linkat(f->target, l->path, dir, name, 0) == 0; /* else (too many links, path too long): a copy */
    return 0;
}

static void remember(struct folding *f, const char *name, const struct stat *st)
{
    struct linked **slot = slot_of(f, st), *l = xcalloc(1, sizeof(*l));

    *l = (struct linked){.next = *slot, .dev = st->st_dev, .ino = st->st_ino};
    l->path = xasprintf("%s%s%s", f->path.data, f->path.len ? "/" : "", name);
    *slot = l;
}

static void forget_links(struct folding *f)
{
    for (size_t i = 0; i < LINK_SLOTS; i++) {
        for (struct linked *l = f->links[i], *next; l; l = next) {
            next = l->next;
            free(l->path);
            free(l);
        }
    }
    free(f->links);
}

/* ---- entries ---- */

static int copy_file(struct folding *f, int held, int dir, const char *name, const struct stat *st, struct err *err)
{
    char source[SELF_MAX];
    cleanup_close int in = -1;
    cleanup_close int out = -1;
    struct stat made;

    if (st->st_nlink > 1 && link_again(f, dir, name, st))
        return 0;
    in = open(self_path(held, source), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (in < 0)
        return trouble(f, name, "reading", err);
    out = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return trouble(f, name, "making", err);
    if (copy_data(f, in, out, st->st_size, name, err) < 0 || dress(f, in, out, st, name, err) < 0)
        return -1;
    if (fstat(out, &made) == 0)
        f->size += (int64_t)made.st_blocks * 512;
    if (st->st_nlink > 1)
        remember(f, name, st);
    return 0;
}

static int copy_link(struct folding *f, int held, int dir, const char *name, const struct stat *st, struct err *err)
{
    char text[LIMIT_PATH];
    ssize_t n = readlinkat(held, "", text, sizeof(text) - 1);

    if (n < 0)
        return trouble(f, name, "reading", err);
    text[n] = '\0';
    if (symlinkat(text, dir, name) < 0)
        return trouble(f, name, "making", err);
    return dress_by_name(f, dir, name, st, err);
}

/* Devices and pipes. A device that this user may not make was none that the container could use. */
static int copy_node(struct folding *f, int dir, const char *name, const struct stat *st, struct err *err)
{
    if (S_ISSOCK(st->st_mode))
        return 0;
    if (mknodat(dir, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev) < 0)
        return errno == EPERM && !S_ISFIFO(st->st_mode) ? 0 : trouble(f, name, "making", err);
    return dress_by_name(f, dir, name, st, err);
}

static int fold_stack(struct folding *f, struct stack *s, int target, struct err *err);

/* The directories of that name in the stack from `first` on, whose own is held already. */
static struct stack stack_below(const struct stack *s, size_t first, int held, const char *name)
{
    struct stack below = {.fds = xcalloc(s->len - first + 1, sizeof(int)), .hidden = s->closed || s->hidden};
    char path[SELF_MAX];

    for (size_t i = first; i < s->len && !below.closed; i++) {
        int fd = i == first ? open(self_path(held, path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                            : openat(s->fds[i], name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0 || img_is_opaque(fd))
            below.closed = true; /* a file or whiteout of that name ends the view downwards as well */
        if (fd >= 0)
            below.fds[below.len++] = fd;
    }
    return below;
}

static int copy_dir(struct folding *f, const struct stack *s, size_t level, int held, int dir, const char *name,
                    struct err *err)
{
    struct stack below = stack_below(s, level, held, name);
    size_t before = f->path.len;
    cleanup_close int out = -1;
    struct stat st;
    int result = -1;

    if (!below.len || fstat(below.fds[0], &st) < 0) {
        result = trouble(f, name, "reading", err);
    } else if (mkdirat(dir, name, 0700) < 0 ||
               (out = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) < 0) {
        trouble(f, name, "making", err);
    } else if (f->path.len + strlen(name) + 1 > MAX_NAME) {
        err_set(err, 0, "/%.60s...: too deep for an image", f->path.data);
    } else {
        buf_addf(&f->path, "%s%s", before ? "/" : "", name);
        result = fold_stack(f, &below, out, err);
        buf_truncate(&f->path, before);
        if (result == 0 && below.closed && fsetxattr(out, img_opaque_name(), "y", 1, 0) < 0)
            result = trouble(f, name, "hiding what is below", err);
        if (result == 0)
            result = dress(f, below.fds[0], out, &st, name, err);
    }
    stack_clear(&below);
    return result;
}

/* One name of one level. whiteouts collects those that were made here. */
static int copy_entry(struct folding *f, const struct stack *s, size_t level, int dir, const char *name,
                      struct strlist *whiteouts, struct err *err)
{
    cleanup_close int held = openat(s->fds[level], name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (held < 0 || fstat(held, &st) < 0)
        return errno == ENOENT ? 0 : trouble(f, name, "reading", err);
    if (++f->entries > MAX_ENTRIES)
        return err_set(err, 0, "more than %u files in one layer", MAX_ENTRIES);
    if (is_cancelled(f, err) < 0)
        return -1;
    if (S_ISDIR(st.st_mode))
        return copy_dir(f, s, level, held, dir, name, err);
    if (S_ISREG(st.st_mode))
        return copy_file(f, held, dir, name, &st, err);
    if (S_ISLNK(st.st_mode))
        return copy_link(f, held, dir, name, &st, err);
    if (img_is_whiteout(&st))
        strlist_add(whiteouts, name);
    return copy_node(f, dir, name, &st, err);
}

/* A whiteout was needed while the stack was walked; now only those stay that hide something of the layers below. */
static int drop_whiteouts(struct folding *f, const struct strlist *whiteouts, bool hidden, int dir, struct err *err)
{
    for (size_t i = 0; i < whiteouts->len; i++) {
        const char *name = whiteouts->items[i];
        cleanup_free char *path = xasprintf("%s%s%s", f->path.data, f->path.len ? "/" : "", name);
        struct stat st;
        int found = 0;

        if (!hidden && f->what->below)
            found = img_view_look(f->what->below, path, &st, NULL, NULL, err);
        if (found < 0)
            return -1;
        if (!found)
            unlinkat(dir, name, 0);
    }
    return 0;
}

/* Fills one directory. What a higher level has, or hides, is there already when a lower one comes. */
static int fold_stack(struct folding *f, struct stack *s, int target, struct err *err)
{
    cleanup_strlist struct strlist whiteouts = STRLIST_INIT;

    for (size_t i = 0; i < s->len; i++) {
        int again = openat(s->fds[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        cleanup_dir DIR *d = again < 0 ? NULL : fdopendir(again);
        const struct dirent *e;
        struct stat st;

        if (!d)
            return trouble(f, "", "reading", err);
        while ((e = readdir(d))) {
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                continue;
            if (fstatat(target, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                continue;
            if (copy_entry(f, s, i, target, e->d_name, &whiteouts, err) < 0)
                return -1;
        }
    }
    return drop_whiteouts(f, &whiteouts, s->closed || s->hidden, target, err);
}

/* The roots of the stack. */
static int open_roots(const struct strlist *dirs, struct stack *ret, struct err *err)
{
    ret->fds = xcalloc(dirs->len + 1, sizeof(int));
    for (size_t i = 0; i < dirs->len && !ret->closed; i++) {
        int fd = open(dirs->items[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

        if (fd < 0)
            return err_set_errno(err, 0, errno, "opening %s", dirs->items[i]);
        ret->fds[ret->len++] = fd;
        ret->closed = img_is_opaque(fd);
    }
    return 0;
}

int img_fold(const struct img_fold *fold, const char *target, int64_t *ret_size, struct err *err)
{
    struct folding f = {.what = fold, .path = BUF_INIT(MAX_NAME + NAME_MAX + 2)};
    struct stack roots = {0};
    struct stat st;
    int result = -1;

    f.links = xcalloc(LINK_SLOTS, sizeof(struct linked *));
    buf_adds(&f.path, "");
    f.target = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (f.target < 0)
        err_set_errno(err, 0, errno, "opening %s", target);
    else if (open_roots(fold->dirs, &roots, err) == 0 && fstat(roots.fds[0], &st) == 0)
        result = fold_stack(&f, &roots, f.target, err);
    if (result == 0 && roots.closed && fsetxattr(f.target, img_opaque_name(), "y", 1, 0) < 0)
        result = trouble(&f, "", "hiding what is below", err);
    if (result == 0)
        result = dress(&f, roots.fds[0], f.target, &st, "", err);
    if (f.target >= 0)
        close(f.target);
    stack_clear(&roots);
    forget_links(&f);
    buf_clear(&f.path);
    if (result == 0)
        *ret_size = f.size;
    return result;
}

/* ---- weighing ---- */

static int weigh(int fd, unsigned depth, const atomic_bool *cancelled, int64_t *sum)
{
    cleanup_dir DIR *d = fdopendir(fd);
    const struct dirent *e;
    struct stat st;

    if (!d) {
        close(fd);
        return -1;
    }
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (cancelled && atomic_load(cancelled))
            return -1;
        if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth < MAX_NAME / 2) {
            int sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

            if (sub >= 0 && weigh(sub, depth + 1, cancelled, sum) < 0)
                return -1;
        } else if (S_ISREG(st.st_mode)) {
            *sum += (int64_t)st.st_blocks * 512 / (int64_t)(st.st_nlink ? st.st_nlink : 1);
        }
    }
    return 0;
}

int64_t img_fold_weigh(const char *dir, const atomic_bool *cancelled)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int64_t sum = 0;

    return fd < 0 || weigh(fd, 0, cancelled, &sum) < 0 ? -1 : sum;
}
