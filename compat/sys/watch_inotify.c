#include "compat/sys/watch.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/paths.h"
#include "compat/base/strlist.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 256 /* folders below one another */
#define WANTED                                                                                                         \
    (IN_CREATE | IN_MODIFY | IN_ATTRIB | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF |     \
     IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK)

/* A folder that the kernel tells us about. */
struct watched {
    int wd;
    char *path;
};

struct watch {
    int fd;
    struct strlist roots;  /* as they were asked for */
    struct watched *items; /* by wd, which only grows */
    size_t len, size;
};

/* ---- the table ---- */

static size_t place_of(const struct watch *w, int wd)
{
    size_t low = 0, high = w->len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (w->items[middle].wd < wd)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct watched *find(const struct watch *w, int wd)
{
    size_t at = place_of(w, wd);

    return at < w->len && w->items[at].wd == wd ? &w->items[at] : NULL;
}

/* A folder that was watched already may have another name now. */
static void remember(struct watch *w, int wd, const char *path)
{
    size_t at = place_of(w, wd);

    if (at < w->len && w->items[at].wd == wd) {
        free(w->items[at].path);
        w->items[at].path = xstrdup(path);
        return;
    }
    if (w->len == w->size) {
        w->size = w->size ? 2 * w->size : 64;
        w->items = xreallocarray(w->items, w->size, sizeof(*w->items));
    }
    memmove(&w->items[at + 1], &w->items[at], (w->len - at) * sizeof(*w->items));
    w->items[at] = (struct watched){wd, xstrdup(path)};
    w->len++;
}

static void forget(struct watch *w, int wd)
{
    struct watched *one = find(w, wd);

    if (!one)
        return;
    free(one->path);
    memmove(one, one + 1, (w->len - 1 - (size_t)(one - w->items)) * sizeof(*one));
    w->len--;
}

/* A folder went where we do not look: what is below it is somebody else's now. */
static void forget_below(struct watch *w, const char *path)
{
    cleanup_free char *top = xstrdup(path); /* it is one of those that go */

    for (size_t i = w->len; i-- > 0;)
        if (path_within(w->items[i].path, top)) {
            inotify_rm_watch(w->fd, w->items[i].wd);
            free(w->items[i].path);
            memmove(&w->items[i], &w->items[i + 1], (w->len - i - 1) * sizeof(*w->items));
            w->len--;
        }
}

/* ---- what is of interest ---- */

static bool is_told(const struct watch *w, const char *path)
{
    struct stat st;

    if (strlist_has(&w->roots, path))
        return lstat(path, &st) < 0 || !S_ISDIR(st.st_mode);
    for (size_t i = 0; i < w->roots.len; i++)
        if (path_within(path, w->roots.items[i]))
            return true;
    return false;
}

/* A folder in or above what was asked for. */
static bool is_on_the_way(const struct watch *w, const char *path)
{
    for (size_t i = 0; i < w->roots.len; i++)
        if (path_within(path, w->roots.items[i]) || path_within(w->roots.items[i], path))
            return true;
    return false;
}

/* ---- the tree ---- */

static int add_one(struct watch *w, const char *path, struct err *err)
{
    int wd = inotify_add_watch(w->fd, path, WANTED);

    if (wd >= 0) {
        remember(w, wd, path);
        return 0;
    }
    if (errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ELOOP)
        return 0; /* it is gone again, or not for us */
    if (errno == ENOSPC)
        return err_set(err, 1,
                       "no more folders can be watched: the limit is what `sysctl fs.inotify.max_user_watches` says");
    return err_set_errno(err, 1, errno, "watching %s", path);
}

/* What is there now: folders are watched; told (NULL: nobody is told) gets all paths. */
static int add_tree(struct watch *w, const char *path, unsigned depth, struct strlist *told, struct err *err)
{
    cleanup_dir DIR *dir = NULL;
    struct dirent *entry;
    struct stat st;

    if (told && is_told(w, path))
        strlist_add(told, path);
    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || !is_on_the_way(w, path))
        return 0;
    if (depth > DEPTH_MAX)
        return err_set(err, 1, "%s lies too deep to be watched", path);
    if (add_one(w, path, err) < 0) /* before it is read: what comes in between is told twice rather than never */
        return -1;
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        cleanup_free char *below = NULL;

        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        below = xasprintf("%s/%s", path, entry->d_name);
        if ((told || entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN) &&
            add_tree(w, below, depth + 1, told, err) < 0)
            return -1;
    }
    return 0;
}

/* The folder that is there and leads to it. Owned by caller. */
static char *existing_folder(const char *path)
{
    char *at = xstrdup(path);
    struct stat st;

    while (strlen(at) > 1 && (lstat(at, &st) < 0 || !S_ISDIR(st.st_mode))) {
        char *slash = strrchr(at, '/');

        slash[slash == at] = '\0';
    }
    return at;
}

static int add_roots(struct watch *w, struct strlist *told, struct err *err)
{
    for (size_t i = 0; i < w->roots.len; i++) {
        cleanup_free char *from = existing_folder(w->roots.items[i]);

        if (!strcmp(from, "/"))
            return err_set(err, 1, "cannot watch root directory");
        if (add_tree(w, from, 0, told, err) < 0)
            return -1;
    }
    return 0;
}

struct watch *watch_new(const struct strlist *paths, struct err *err)
{
    struct watch *w = xcalloc(1, sizeof(*w));

    strlist_copy(&w->roots, paths);
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0 && errno == EMFILE)
        err_set(err, 1, "nothing more can be watched: the limit is what `sysctl fs.inotify.max_user_instances` says");
    else if (w->fd < 0)
        err_set_errno(err, 1, errno, "watching files");
    if (w->fd >= 0 && add_roots(w, NULL, err) == 0)
        return w;
    watch_free(w);
    return NULL;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->len; i++)
        free(w->items[i].path);
    free(w->items);
    strlist_clear(&w->roots);
    if (w->fd >= 0)
        close(w->fd);
    free(w);
}

int watch_fd(const struct watch *w)
{
    return w->fd;
}

/* ---- events ---- */

static int take(struct watch *w, const struct inotify_event *e, struct strlist *ret, struct err *err)
{
    const struct watched *one = find(w, e->wd);
    cleanup_free char *path = NULL;
    struct stat st;

    if (e->mask & IN_Q_OVERFLOW)
        return add_roots(w, ret, err) < 0 ? -1 : 1;
    if (!one)
        return 0;
    if (e->mask & IN_IGNORED) {
        forget(w, e->wd);
        return 0;
    }
    if (e->mask & IN_MOVE_SELF) {
        if (lstat(one->path, &st) < 0) /* else somebody told us its new name */
            forget_below(w, one->path);
        return 0;
    }
    path = e->len ? xasprintf("%s/%s", one->path, e->name) : xstrdup(one->path);
    if (e->mask & (IN_CREATE | IN_MOVED_TO))
        return add_tree(w, path, 0, ret, err);
    if (is_told(w, path))
        strlist_add(ret, path);
    return 0;
}

int watch_read(struct watch *w, struct strlist *ret, struct err *err)
{
    char bytes[64 << 10] __attribute__((aligned(__alignof__(struct inotify_event))));
    int lost = 0;

    for (;;) {
        ssize_t n = read(w->fd, bytes, sizeof(bytes));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return lost;
        if (n <= 0)
            return err_set_errno(err, 1, errno, "watching files");
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const struct inotify_event *)(bytes + at);
            int got = take(w, e, ret, err);

            if (got < 0)
                return -1;
            lost |= got;
            at += (ssize_t)(sizeof(*e) + e->len);
        }
    }
}
