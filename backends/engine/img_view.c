#include "backends/engine/img_view.h"

#include "backends/engine/rootless.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_LINKS 40 /* the kernel's own limit for one path */

struct img_view {
    int *roots;
    size_t len;
};

/* The directories, topmost first, whose contents together are one directory of the view. */
struct level {
    int *fds;
    size_t len;
};

DEFINE_CLEANUP(struct img_view *, img_view_free)

const char *img_opaque_name(void)
{
    return geteuid() == 0 && !rootless() ? "trusted.overlay.opaque" : "user.overlay.opaque";
}

bool img_is_whiteout(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

bool img_is_opaque(int fd)
{
    char value;

    return fgetxattr(fd, img_opaque_name(), &value, 1) == 1 && value == 'y';
}

struct img_view *img_view_open(const struct strlist *dirs, struct err *err)
{
    cleanup_with(img_view_freep) struct img_view *v = xcalloc(1, sizeof(*v));

    v->roots = xcalloc(dirs->len + 1, sizeof(*v->roots));
    for (size_t i = 0; i < dirs->len; i++) {
        int fd = open(dirs->items[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

        if (fd < 0) {
            err_set_errno(err, 0, errno, "opening layer %s", dirs->items[i]);
            return NULL;
        }
        v->roots[v->len++] = fd;
    }
    return steal(&v);
}

void img_view_free(struct img_view *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->len; i++)
        close(v->roots[i]);
    free(v->roots);
    free(v);
}

static void level_clear(struct level *l)
{
    for (size_t i = 0; i < l->len; i++)
        close(l->fds[i]);
    free(l->fds);
    *l = (struct level){0};
}

/* What one name in a directory of the view is. */
struct found {
    bool any;
    struct stat st;
    struct level dirs; /* when it is a directory */
    int holder;        /* when it is not: borrowed descriptor of the directory that has it */
};

/* Looks one name up in all directories of a level: the topmost wins, directories are merged down to an opaque one. */
static int look_in(const struct level *in, const char *name, struct found *ret, struct err *err)
{
    struct found f = {.holder = -1, .dirs = {.fds = xcalloc(in->len + 1, sizeof(int))}};
    int result = 0;

    for (size_t i = 0; i < in->len && result == 0; i++) {
        struct stat st;
        int fd;

        if (fstatat(in->fds[i], name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            if (errno != ENOENT)
                result = err_set_errno(err, 0, errno, "looking up %s", name);
            continue;
        }
        if (!S_ISDIR(st.st_mode)) {
            if (!f.any && !img_is_whiteout(&st))
                f = (struct found){.any = true, .st = st, .dirs = f.dirs, .holder = in->fds[i]};
            break;
        }
        fd = openat(in->fds[i], name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0) {
            result = err_set_errno(err, 0, errno, "opening %s", name);
            break;
        }
        if (!f.any)
            f.st = st;
        f.any = true;
        f.dirs.fds[f.dirs.len++] = fd;
        if (img_is_opaque(fd))
            break;
    }
    if (result < 0)
        level_clear(&f.dirs);
    else
        *ret = f;
    return result;
}

static int top_level(const struct img_view *v, struct level *ret, struct err *err)
{
    struct level l = {.fds = xcalloc(v->len + 1, sizeof(int))};

    for (size_t i = 0; i < v->len; i++) {
        int fd = fcntl(v->roots[i], F_DUPFD_CLOEXEC, 3);

        if (fd < 0) {
            level_clear(&l);
            return err_set_errno(err, 0, errno, "looking at a layer");
        }
        l.fds[l.len++] = fd;
        if (img_is_opaque(fd))
            break;
    }
    *ret = l;
    return 0;
}

static char *read_link(int dirfd, const char *name)
{
    char text[LIMIT_PATH];
    ssize_t n = readlinkat(dirfd, name, text, sizeof(text));

    return n < 0 ? NULL : xstrndup(text, (size_t)n);
}

/* Fills the outputs of img_view_look() for its last component. */
static int report(const struct found *f, const char *name, struct stat *ret, char **ret_link, int *ret_fd,
                  struct err *err)
{
    char *text = NULL;
    int fd = -1;

    if (ret_fd && f->dirs.len)
        fd = fcntl(f->dirs.fds[0], F_DUPFD_CLOEXEC, 3);
    else if (ret_fd && S_ISREG(f->st.st_mode))
        fd = openat(f->holder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (ret_fd && fd < 0 && (f->dirs.len || S_ISREG(f->st.st_mode)))
        return err_set_errno(err, 0, errno, "opening %s", name);
    if (ret_link && S_ISLNK(f->st.st_mode)) {
        text = read_link(f->holder, name);
        if (!text) {
            if (fd >= 0)
                close(fd);
            return err_set_errno(err, 0, errno, "reading link %s", name);
        }
    }
    *ret = f->st;
    if (ret_link)
        *ret_link = text;
    if (ret_fd)
        *ret_fd = fd;
    return 1;
}

/* The root itself: the topmost layer's, or a plain directory when there are no layers. */
static int report_root(const struct level *top, struct stat *ret, char **ret_link, int *ret_fd, struct err *err)
{
    struct stat st = {.st_mode = S_IFDIR | 0755};

    if (top->len && fstat(top->fds[0], &st) < 0)
        return err_set_errno(err, 0, errno, "looking at a layer");
    *ret = st;
    if (ret_link)
        *ret_link = NULL;
    if (ret_fd)
        *ret_fd = top->len ? fcntl(top->fds[0], F_DUPFD_CLOEXEC, 3) : -1;
    return 1;
}

int img_view_look(struct img_view *v, const char *path, struct stat *ret, char **ret_link, int *ret_fd, struct err *err)
{
    cleanup_free char *copy = xstrdup(path);
    struct level at = {0};
    char *next, *name = copy;
    int result = 0;

    if (top_level(v, &at, err) < 0)
        return -1;
    if (!*path)
        result = report_root(&at, ret, ret_link, ret_fd, err);
    for (; *path && name; name = next) {
        struct found f = {.holder = -1};

        next = strchr(name, '/');
        if (next)
            *next++ = '\0';
        if (look_in(&at, name, &f, err) < 0)
            result = -1;
        else if (f.any && !next)
            result = report(&f, name, ret, ret_link, ret_fd, err);
        level_clear(&at);
        at = f.dirs;
        if (result != 0 || !f.any)
            break;
    }
    level_clear(&at);
    return result;
}

/* Puts the components of text in front of those that wait. */
static void push_front(struct strlist *pending, const char *text)
{
    cleanup_strlist struct strlist parts = STRLIST_INIT;

    strlist_split(&parts, text, '/');
    for (size_t i = parts.len; i-- > 0;) {
        if (*parts.items[i] && strcmp(parts.items[i], ".") != 0)
            strlist_insert(pending, 0, parts.items[i]);
    }
}

/* Takes the last component off a relative path. */
static void pop(struct buf *path)
{
    char *slash = strrchr(path->data, '/');

    buf_truncate(path, slash ? (size_t)(slash - path->data) : 0);
}

int img_view_resolve(struct img_view *v, const char *path, char **ret, struct err *err)
{
    cleanup_strlist struct strlist pending = STRLIST_INIT;
    struct buf at cleanup_buf = BUF_INIT(LIMIT_PATH);
    int links = 0;

    push_front(&pending, path);
    while (pending.len) {
        cleanup_free char *name = xstrdup(pending.items[0]);
        cleanup_free char *text = NULL;
        size_t before = at.len;
        struct stat st;
        int r;

        strlist_remove(&pending, 0);
        if (strcmp(name, "..") == 0) {
            pop(&at);
            continue;
        }
        if (buf_addf(&at, "%s%s", before ? "/" : "", name) < 0)
            return err_set(err, 0, "%s: file name too long", path);
        r = img_view_look(v, at.data, &st, &text, NULL, err);
        if (r < 0)
            return -1;
        if (r == 0 || !text)
            continue;
        if (++links > MAX_LINKS)
            return err_set(err, 0, "%s: too many levels of symbolic links", path);
        buf_truncate(&at, *text == '/' ? 0 : before);
        push_front(&pending, text);
    }
    *ret = buf_detach(&at);
    return 0;
}

/* ---- walking ---- */

struct view_walk {
    img_walk_fn *fn;
    void *arg;
    struct buf path;
};

char *img_entry_path(const struct img_entry *e)
{
    if (e->dir >= 0)
        return xasprintf("/proc/self/fd/%d/.", e->dir);
    return e->holder < 0 || !S_ISREG(e->st.st_mode) ? NULL : xasprintf("/proc/self/fd/%d/%s", e->holder, e->name);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All names of a level's directories, once each, in order. */
static int names_of(const struct level *l, struct strlist *ret, struct err *err)
{
    cleanup_strlist struct strlist all = STRLIST_INIT;

    for (size_t i = 0; i < l->len; i++) {
        int again = openat(l->fds[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        cleanup_dir DIR *d = again < 0 ? NULL : fdopendir(again);
        const struct dirent *e;

        if (!d)
            return err_set_errno(err, 0, errno, "reading a layer");
        while ((e = readdir(d))) {
            if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
                strlist_add(&all, e->d_name);
        }
    }
    if (all.len > 1)
        qsort(all.items, all.len, sizeof(*all.items), by_bytes);
    for (size_t i = 0; i < all.len; i++) {
        if (!ret->len || strcmp(ret->items[ret->len - 1], all.items[i]) != 0)
            strlist_add(ret, all.items[i]);
    }
    return 0;
}

/* Tells of one entry and goes on into it. */
static int walk_entry(struct view_walk *w, const char *name, const struct found *f, struct err *err)
{
    struct img_entry e = {.path = w->path.data, .name = name, .holder = f->holder, .dir = -1, .st = f->st};
    cleanup_strlist struct strlist names = STRLIST_INIT;
    size_t before = w->path.len;
    int r;

    if (f->dirs.len)
        e.dir = f->dirs.fds[0];
    r = w->fn(&e, w->arg, err);
    if (r != 0 || !f->dirs.len)
        return r < 0 ? -1 : 0;
    if (names_of(&f->dirs, &names, err) < 0)
        return -1;
    for (size_t i = 0; i < names.len && r == 0; i++) {
        struct found inside = {.holder = -1};

        if (buf_addf(&w->path, "%s%s", before ? "/" : "", names.items[i]) < 0)
            return err_set(err, 0, "/%.60s...: file name too long", w->path.data);
        if (look_in(&f->dirs, names.items[i], &inside, err) < 0) {
            r = -1;
        } else if (inside.any) {
            if (inside.dirs.len)
                inside.holder = f->dirs.fds[0];
            r = walk_entry(w, names.items[i], &inside, err);
        }
        level_clear(&inside.dirs);
        buf_truncate(&w->path, before);
    }
    return r;
}

int img_view_walk(struct img_view *v, const char *path, img_walk_fn *fn, void *arg, struct err *err)
{
    struct view_walk w = {.fn = fn, .arg = arg, .path = BUF_INIT(LIMIT_PATH)};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    cleanup_strlist struct strlist parts = STRLIST_INIT;
    struct level at = {0};
    struct found f = {.holder = -1};
    int r = top_level(v, &at, err);

    strlist_split(&parts, path, '/');
    for (size_t i = 0; *path && i < parts.len && r == 0; i++) {
        struct found next = {.holder = -1};

        r = look_in(&at, parts.items[i], &next, err);
        if (r == 0 && !next.any)
            r = err_set_errno(err, 0, ENOENT, "/%s", path);
        if (r == 0 && i + 1 == parts.len) {
            f = next;
        } else {
            level_clear(&at);
            at = next.dirs;
        }
    }
    if (r == 0 && !*path) {
        f = (struct found){.any = true, .dirs = at, .holder = -1, .st = {.st_mode = S_IFDIR | 0755}};
        at = (struct level){0};
        if (f.dirs.len && fstat(f.dirs.fds[0], &f.st) < 0)
            r = err_set_errno(err, 0, errno, "looking at a layer");
    }
    buf_adds(&w.path, "");
    if (r == 0)
        r = walk_entry(&w, name, &f, err);
    level_clear(&f.dirs);
    level_clear(&at);
    buf_clear(&w.path);
    return r;
}

int img_view_read(struct img_view *v, const char *path, struct buf *out, struct err *err)
{
    cleanup_free char *real = NULL;
    cleanup_close int fd = -1;
    struct stat st;
    ssize_t n;
    char *room;

    if (img_view_resolve(v, path, &real, err) < 0)
        return -1;
    n = img_view_look(v, real, &st, NULL, &fd, err);
    if (n < 0)
        return -1;
    if (n == 0 || !S_ISREG(st.st_mode))
        return 0;
    while ((room = buf_reserve(out, 4096)) && (n = read(fd, room, 4096)) > 0)
        buf_advance(out, (size_t)n);
    if (!room)
        return err_set(err, 0, "/%s is too large", real);
    return n < 0 ? err_set_errno(err, 0, errno, "reading /%s", real) : 1;
}
