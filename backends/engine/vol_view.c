#include "backends/engine/vol_view.h"

#include "backends/engine/log.h"
#include "backends/engine/runtime.h"
#include "backends/engine/svc.h"
#include "backends/engine/vol.h"
#include "backends/grpc/frame.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define FRESH_NS 100000000 /* a file that changed so short ago may change again without its time showing it */

struct view {
    char *volume_id, *target, *path; /* path: the copy, bound to target */
    char *below;                     /* of a sub_path: what of the volume is shown, else "" */
    bool read_only;
    int dir;              /* the copy */
    struct vol_tree base; /* what the copy was when it was last in step, with the files' looks */
    uint64_t generation;  /* of the volume then */
};

struct vol_views {
    struct volumes *volumes;
    struct vol_views *next;
    char *dir, *name;
    struct view *items;
    size_t len;
};

/* ---- from the copy to entries ---- */

struct scan {
    struct volumes *volumes;
    const struct vol_tree *base;
    struct vol_tree *found;
    const char *path; /* of the directory that is read */
    int dir, list;
    unsigned depth;
    int64_t now;
    struct err *err;
};

static int64_t wall_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static bool looks_the_same(const struct vol_entry *e, const struct stat *st)
{
    return e && S_ISREG(e->mode) && e->ctime_ns && e->ctime_ns == beneath_ctime(st) && e->ino == st->st_ino &&
           e->size == (uint64_t)st->st_size;
}

/* A file's contents go into the store unless they are known to be there. 0 = it vanished meanwhile. */
static int scan_file(struct scan *s, const char *name, struct vol_entry *e, struct stat *st)
{
    const struct vol_entry *was = vol_tree_find(s->base, e->path);
    cleanup_close int fd = -1;

    if (looks_the_same(was, st)) {
        memcpy(e->hash, was->hash, sizeof(e->hash));
    } else {
        fd = beneath_read_open(s->dir, name, st);
        if (fd < 0)
            return 0;
        if (content_put_fd(s->volumes, fd, e->hash, &e->size, s->err) < 0)
            return -1;
    }
    e->size = (uint64_t)st->st_size;
    e->mtime_ns = beneath_mtime(st);
    e->ino = st->st_ino;
    e->ctime_ns = s->now - beneath_ctime(st) < FRESH_NS ? 0 : beneath_ctime(st);
    return 1;
}

static int scan_dir(struct scan *s);

static int scan_below(struct scan *s, const char *name, const char *path)
{
    struct scan below = *s;
    cleanup_close int list = beneath_child_list(s->dir, name);
    int rc;

    if (list < 0)
        return 0;
    if (s->depth >= LIMIT_DEPTH)
        return svc_err(s->err, GRPC_RESOURCE_EXHAUSTED, "a volume is nested more than %u directories deep",
                       LIMIT_DEPTH);
    below.depth++;
    below.path = path;
    below.dir = below.list = list;
    rc = scan_dir(&below);
    return rc;
}

/* One name of a directory. What is neither file, directory nor link does not travel. */
static int scan_name(void *arg, const char *name, uint8_t type)
{
    struct scan *s = arg;
    struct vol_entry e = {.path = *s->path ? xasprintf("%s/%s", s->path, name) : xstrdup(name)};
    cleanup_free char *path = xstrdup(e.path);
    struct stat st;
    int got = 1;

    (void)type;
    if (beneath_stat(s->dir, name, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode)) ||
        strlen(e.path) > LIMIT_PATH) {
        vol_entry_clear(&e);
        return 0;
    }
    e.mode = st.st_mode & (S_IFMT | 0777);
    e.mtime_ns = beneath_mtime(&st);
    if (S_ISREG(st.st_mode))
        got = scan_file(s, name, &e, &st);
    else if (S_ISLNK(st.st_mode) && !(e.link = beneath_readlink(s->dir, name)))
        got = 0;
    if (got > 0 && s->found->len >= LIMIT_ENTRIES)
        got = svc_err(s->err, GRPC_RESOURCE_EXHAUSTED, "a volume has %u entries at most", LIMIT_ENTRIES);
    if (got > 0)
        vol_tree_append(s->found, &e);
    vol_entry_clear(&e);
    if (got > 0 && S_ISDIR(st.st_mode))
        return scan_below(s, name, path);
    return got < 0 ? -1 : 0;
}

static int scan_dir(struct scan *s)
{
    if (beneath_names(s->list, scan_name, s) == 0 || !s->err || s->err->msg)
        return s->err && s->err->msg ? -1 : 0;
    return 0; /* a directory that cannot be read any more is gone */
}

static int scan_view(struct volumes *v, const struct view *view, struct vol_tree *ret, struct err *err)
{
    struct err why = ERR_INIT;
    cleanup_close int list = beneath_list_open(view->dir);
    struct scan s = {.volumes = v,
                     .base = &view->base,
                     .found = ret,
                     .path = "",
                     .dir = view->dir,
                     .list = list,
                     .now = wall_ns(),
                     .err = &why};

    if (list < 0)
        return err_set_errno(err, 125, errno, "reading what a container wrote to a volume");
    if (scan_dir(&s) < 0)
        return err_move(err, &why);
    vol_tree_sort(ret);
    return 0;
}

/* ---- commit ---- */

/* A path of the view as the volume has it; owned by caller. */
static char *in_volume(const struct view *view, const char *path)
{
    return *view->below ? xasprintf("%s/%s", view->below, path) : xstrdup(path);
}

static int carry(struct volume *vol, const struct view *view, const struct vol_entry *e, struct err *err)
{
    struct vol_entry to = *e;

    to.path = in_volume(view, e->path);
    to.link = e->link ? xstrdup(e->link) : NULL;
    to.ino = 0;
    to.ctime_ns = 0;
    return vol_tree_put(&vol->tree, &to, err);
}

/* What the container changed is changed in the volume. *ret_changed: there was something. */
static int merge(struct volume *vol, const struct view *view, const struct vol_tree *now, bool *ret_changed,
                 struct err *err)
{
    *ret_changed = false;
    for (size_t i = 0; i < view->base.len; i++) {
        cleanup_free char *path = NULL;

        if (vol_tree_find(now, view->base.items[i].path))
            continue;
        path = in_volume(view, view->base.items[i].path);
        vol_tree_remove(&vol->tree, path);
        *ret_changed = true;
    }
    for (size_t i = 0; i < now->len; i++) {
        const struct vol_entry *was = vol_tree_find(&view->base, now->items[i].path);

        if (was && vol_entry_same(was, &now->items[i]))
            continue;
        if (carry(vol, view, &now->items[i], err) < 0)
            return -1;
        *ret_changed = true;
    }
    return 0;
}

static int commit_view(struct volumes *v, struct view *view, struct err *err)
{
    struct volume *vol = volume_by_id(v, view->volume_id);
    struct vol_tree now = {0};
    bool changed = false, alone;
    int rc = 0;

    if (view->read_only || !vol)
        return 0;
    if (scan_view(v, view, &now, err) < 0) {
        vol_tree_clear(&now);
        return -1;
    }
    alone = vol->generation == view->generation;
    rc = merge(vol, view, &now, &changed, err);
    if (changed && volume_commit(v, vol, err) < 0)
        rc = -1;
    if (rc == 0) {
        vol_tree_clear(&view->base);
        view->base = now;
        if (alone)
            view->generation = vol->generation;
        if (changed)
            content_sweep(v);
    } else {
        vol_tree_clear(&now);
    }
    return rc;
}

int vol_views_commit(struct vol_views *all, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; all && i < all->len; i++)
        if (commit_view(all->volumes, &all->items[i], rc == 0 ? err : NULL) < 0)
            rc = -1;
    return rc;
}

void vol_views_commit_all(struct volumes *v)
{
    for (struct vol_views *all = v->views; all; all = all->next) {
        cleanup_err struct err err = ERR_INIT;

        if (vol_views_commit(all, &err) < 0)
            log_line("a background commit failed: %s", err.msg);
    }
}

/* ---- from entries to the copy ---- */

static int copy_contents(int from, int to)
{
    for (;;) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, 1u << 30, 0);

        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -1;
    }
}

static void note_look(struct view *view, int dir, const char *name, struct vol_entry *e)
{
    struct stat st;

    (void)view;
    if (beneath_stat(dir, name, &st) == 0) {
        e->ino = st.st_ino;
        e->ctime_ns = beneath_ctime(&st);
        e->mtime_ns = beneath_mtime(&st);
    }
}

static int lay_file(struct volumes *v, struct view *view, int dir, const char *name, struct vol_entry *e,
                    struct err *err)
{
    char temp[BENEATH_TEMP_MAX];
    cleanup_close int from = content_open(v, e->hash, err), to = -1;

    if (from < 0)
        return -1;
    to = beneath_temp_open(dir, temp);
    if (to < 0)
        return err_set_errno(err, 125, errno, "%s", e->path);
    if (copy_contents(from, to) < 0 || beneath_chmod(to, e->mode & 07777) < 0 ||
        beneath_set_mtime(to, e->mtime_ns) < 0 || beneath_rename(dir, temp, dir, name) < 0) {
        err_set_errno(err, 125, errno, "%s", e->path);
        beneath_unlink(dir, temp);
        return -1;
    }
    note_look(view, dir, name, e);
    return 0;
}

static int lay_dir(int dir, const char *name, const struct vol_entry *e, struct err *err)
{
    cleanup_close int fd = -1;

    if (beneath_mkdir(dir, name, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, 125, errno, "%s", e->path);
    fd = beneath_child_dir(dir, name);
    if (fd < 0 || beneath_chmod(fd, e->mode & 07777) < 0)
        return err_set_errno(err, 125, errno, "%s", e->path);
    return 0;
}

/* One entry of the volume, whatever stands in its place. */
static int lay(struct volumes *v, struct view *view, struct vol_entry *e, struct err *err)
{
    const char *name;
    struct stat st;
    cleanup_close int dir = beneath_open_parent(view->dir, e->path, &name);

    if (dir < 0)
        return err_set_errno(err, 125, errno, "%s", e->path);
    if (beneath_stat(dir, name, &st) == 0 && (!S_ISDIR(st.st_mode) != !S_ISDIR(e->mode) || S_ISLNK(e->mode)))
        beneath_remove_tree(dir, name);
    if (S_ISDIR(e->mode))
        return lay_dir(dir, name, e, err);
    if (S_ISREG(e->mode))
        return lay_file(v, view, dir, name, e, err);
    if (beneath_symlink(e->link ? e->link : "", dir, name) < 0)
        return err_set_errno(err, 125, errno, "%s", e->path);
    return 0;
}

/* The part of the volume that the view shows, as paths of the view. */
static void shown(const struct volume *vol, const struct view *view, struct vol_tree *ret)
{
    size_t len = strlen(view->below);

    for (size_t i = 0; i < vol->tree.len; i++) {
        struct vol_entry e = vol->tree.items[i];

        if (len && (strncmp(e.path, view->below, len) != 0 || e.path[len] != '/'))
            continue;
        e.path = xstrdup(e.path + (len ? len + 1 : 0));
        e.link = e.link ? xstrdup(e.link) : NULL;
        vol_tree_append(ret, &e);
    }
}

static void remove_gone(struct view *view, const struct vol_tree *next)
{
    for (size_t i = 0; i < view->base.len; i++) {
        const char *name;
        cleanup_close int dir = -1;

        if (vol_tree_find(next, view->base.items[i].path))
            continue;
        dir = beneath_open_parent(view->dir, view->base.items[i].path, &name);
        if (dir >= 0)
            beneath_remove_tree(dir, name);
    }
}

/* Makes the copy what the volume is. */
static int lay_out(struct volumes *v, struct view *view, struct err *err)
{
    const struct volume *vol = volume_by_id(v, view->volume_id);
    struct vol_tree next = {0};

    if (!vol)
        return 0;
    shown(vol, view, &next);
    remove_gone(view, &next);
    for (size_t i = 0; i < next.len; i++) {
        const struct vol_entry *was = vol_tree_find(&view->base, next.items[i].path);

        if (was && vol_entry_same(was, &next.items[i])) {
            next.items[i].ino = was->ino;
            next.items[i].ctime_ns = was->ctime_ns;
            continue;
        }
        if (lay(v, view, &next.items[i], err) < 0) {
            vol_tree_clear(&next);
            return err_wrap(err, "laying out the volume %s", view->volume_id);
        }
    }
    vol_tree_clear(&view->base);
    view->base = next;
    view->generation = vol->generation;
    return 0;
}

/* ---- reload ---- */

/* Whether a descriptor of this process is a file or directory of a view, other than one of ours. */
static bool process_holds(const char *pid, const struct stat *root, const struct vol_views *all)
{
    cleanup_free char *path = xasprintf("/proc/%s/fd", pid);
    cleanup_dir DIR *d = opendir(path);
    struct dirent *entry;

    while (d && (entry = readdir(d)) != NULL) {
        char link[LIMIT_PATH];
        struct stat st;
        ssize_t n;

        if (entry->d_name[0] == '.' || fstatat(dirfd(d), entry->d_name, &st, 0) < 0 || st.st_dev != root->st_dev)
            continue;
        n = readlinkat(dirfd(d), entry->d_name, link, sizeof(link) - 1);
        if (n <= 0)
            continue;
        link[n] = '\0';
        for (size_t i = 0; i < all->len; i++) {
            size_t len = strlen(all->items[i].target);

            if (strncmp(link, all->items[i].target, len) == 0 && (link[len] == '/' || link[len] == '\0'))
                return true;
            len = strlen(all->items[i].path);
            if (strncmp(link, all->items[i].path, len) == 0 && (link[len] == '/' || link[len] == '\0'))
                return true;
        }
    }
    return false;
}

/* A process's files are looked at by number and by path, as it sees it: containers of another sandbox that have the
 * same target are told apart by the copy that lies there. */
static bool sees_view(const char *pid, const struct view *view)
{
    cleanup_free char *path = xasprintf("/proc/%s/root%s", pid, view->target);
    struct stat theirs, ours;

    return stat(path, &theirs) == 0 && fstat(view->dir, &ours) == 0 && theirs.st_ino == ours.st_ino &&
           theirs.st_dev == ours.st_dev;
}

static bool has_open_files(const struct vol_views *all)
{
    cleanup_dir DIR *d = opendir("/proc");
    struct dirent *entry;
    struct stat root;

    if (!all->len || fstat(all->items[0].dir, &root) < 0)
        return false;
    while (d && (entry = readdir(d)) != NULL) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9' || !sees_view(entry->d_name, &all->items[0]))
            continue;
        if (process_holds(entry->d_name, &root, all))
            return true;
    }
    return false;
}

static bool is_newest(const struct vol_views *all)
{
    for (size_t i = 0; i < all->len; i++) {
        const struct volume *vol = volume_by_id(all->volumes, all->items[i].volume_id);

        if (vol && vol->generation != all->items[i].generation)
            return false;
    }
    return true;
}

int vol_views_reload(struct vol_views *all, struct err *err)
{
    if (!all)
        return 0;
    if (vol_views_commit(all, err) < 0) {
        if (err && !err->code)
            err->code = GRPC_RESOURCE_EXHAUSTED;
        return -1;
    }
    if (has_open_files(all))
        return svc_err(err, GRPC_FAILED_PRECONDITION, "there are open files preventing the operation");
    if (is_newest(all))
        return 0;
    for (size_t i = 0; i < all->len; i++)
        if (lay_out(all->volumes, &all->items[i], err) < 0)
            return -1;
    return 0;
}

/* ---- life ---- */

/* Where nothing may be mounted over. */
static bool is_taboo(const char *path)
{
    static const char *const taboo[] = {"/", "/root", "/tmp"};

    for (size_t i = 0; i < sizeof(taboo) / sizeof(taboo[0]); i++)
        if (strcmp(path, taboo[i]) == 0)
            return true;
    return false;
}

static int check_mount(const struct volumes *v, Modal__Client__VolumeMount *const *mounts, size_t at, struct err *err)
{
    const char *path = svc_text(mounts[at]->mount_path), *id = svc_text(mounts[at]->volume_id);
    cleanup_free char *clean = NULL, *again = NULL;

    if (!volume_by_id(v, id))
        return svc_err(err, GRPC_NOT_FOUND, "volume %s not found", id);
    clean = path[0] == '/' ? vol_path(path, NULL) : NULL;
    again = clean ? xasprintf("/%s", clean) : NULL;
    if (!again || strcmp(again, path) != 0 || is_taboo(path))
        return svc_err(err, GRPC_INVALID_ARGUMENT, "a volume cannot be mounted at \"%s\"", path);
    for (size_t i = 0; i < at; i++) {
        if (strcmp(svc_text(mounts[i]->volume_id), id) == 0)
            return svc_err(err, GRPC_INVALID_ARGUMENT, "volume %s is mounted twice in one container", id);
        if (strcmp(svc_text(mounts[i]->mount_path), path) == 0)
            return svc_err(err, GRPC_INVALID_ARGUMENT, "two volumes are mounted at %s", path);
    }
    return 0;
}

/* sub_path is made in the volume if it is missing. */
static int open_sub_path(struct volumes *v, struct view *view, const char *sub_path, struct err *err)
{
    struct volume *vol = volume_by_id(v, view->volume_id);
    const struct vol_entry *there;
    struct vol_entry dir = {.mode = S_IFDIR | 0755, .mtime_ns = wall_ns()};

    view->below = vol_path(sub_path, err);
    if (!view->below || !*view->below)
        return view->below ? 0 : -1;
    there = vol_tree_find(&vol->tree, view->below);
    if (there && S_ISDIR(there->mode))
        return 0;
    if (there)
        return err_set(err, 125, "%s is no directory of the volume", view->below);
    dir.path = xstrdup(view->below);
    if (vol_tree_put(&vol->tree, &dir, err) < 0)
        return -1;
    return volume_commit(v, vol, err);
}

static int open_view(struct vol_views *all, size_t i, const Modal__Client__VolumeMount *mount, struct err *err)
{
    struct view *view = &all->items[i];

    *view = (struct view){.volume_id = xstrdup(mount->volume_id),
                          .target = xstrdup(mount->mount_path),
                          .path = xasprintf("%s/%zu", all->dir, i),
                          .read_only = mount->read_only,
                          .dir = -1};
    all->len++;
    if (open_sub_path(all->volumes, view, svc_text(mount->sub_path), err) < 0)
        return -1;
    if (mkdir(view->path, 0755) < 0 ||
        (view->dir = open(view->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) < 0 || fchmod(view->dir, 0755))
        return err_set_errno(err, 125, errno, "%s", view->path);
    return lay_out(all->volumes, view, err);
}

int vol_views_open(struct volumes *v, Modal__Client__VolumeMount *const *mounts, size_t len, struct vol_views **ret,
                   struct err *err)
{
    struct vol_views *all;

    *ret = NULL;
    for (size_t i = 0; i < len; i++)
        if (check_mount(v, mounts, i, err) < 0)
            return -1;
    if (!len)
        return 0;
    all = xcalloc(1, sizeof(*all));
    all->volumes = v;
    all->name = xasprintf("%lld-%llu", (long long)wall_ns(), (unsigned long long)++v->drawn);
    all->dir = xasprintf("%s/views/%s", v->dir, all->name);
    all->items = xcalloc(len, sizeof(*all->items));
    all->next = v->views;
    v->views = all;
    if (mkdir(all->dir, 0700) < 0) {
        err_set_errno(err, 125, errno, "%s", all->dir);
        vol_views_drop(all);
        return -1;
    }
    for (size_t i = 0; i < len; i++)
        if (open_view(all, i, mounts[i], err) < 0) {
            vol_views_drop(all);
            return -1;
        }
    *ret = all;
    return 0;
}

size_t vol_views_len(const struct vol_views *all)
{
    return all ? all->len : 0;
}

struct rt_mount vol_view_mount(const struct vol_views *all, size_t i)
{
    const struct view *view = &all->items[i];

    return (struct rt_mount){.source = view->path, .target = view->target, .read_write = !view->read_only};
}

void vol_views_drop(struct vol_views *all)
{
    cleanup_close int views = -1;

    if (!all)
        return;
    for (struct vol_views **p = &all->volumes->views; *p; p = &(*p)->next)
        if (*p == all) {
            *p = all->next;
            break;
        }
    for (size_t i = 0; i < all->len; i++) {
        struct view *view = &all->items[i];

        if (view->dir >= 0)
            close(view->dir);
        vol_tree_clear(&view->base);
        free(view->volume_id);
        free(view->target);
        free(view->path);
        free(view->below);
    }
    views = openat(all->volumes->dirfd, "views", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (views >= 0)
        beneath_remove_tree(views, all->name);
    free(all->items);
    free(all->dir);
    free(all->name);
    free(all);
}

void vol_views_close(struct vol_views *all)
{
    cleanup_err struct err err = ERR_INIT;

    if (all && vol_views_commit(all, &err) < 0)
        log_line("the last commit of a container failed: %s", err.msg);
    vol_views_drop(all);
}
