#include "backends/tree/writer_impl.h"

#include "backends/sync/copy.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int writer_fail(const struct tree_writer *w, const char *path, struct err *err)
{
    int errnum = errno;

    return err_set_errno(err, 1, errnum, "writing %s%s%s", w->dest.shown, strcmp(w->dest.shown, "/") ? "/" : "", path);
}

int writer_keep_names(struct tree_writer *w, size_t len, struct err *err)
{
    w->names += len;
    return w->names <= LIMIT_SYNC_NAMES ? 0 : err_set(err, 1, "the names in the tree are too long altogether");
}

void writer_owner(const struct tree_writer *w, uint32_t *uid, uint32_t *gid)
{
    if (w->dest.one_owner) {
        *uid = w->dest.uid;
        *gid = w->dest.gid;
    }
}

static bool owned(const struct tree_writer *w)
{
    return w->dest.owners || w->dest.one_owner;
}

static uint16_t mode_of(const struct tree_writer *w, const struct tree_entry *e)
{
    return w->dest.set_ids ? e->mode : e->mode & 0777;
}

/* The entry's path below dest.dir; owned by caller; NULL for dest.dir itself. */
static char *path_of(const struct tree_writer *w, const char *path)
{
    if (!w->dest.name)
        return *path ? xstrdup(path) : NULL;
    return *path ? xasprintf("%s/%s", w->dest.name, path) : xstrdup(w->dest.name);
}

/* ---- directories ---- */

static int make_parents(struct tree_writer *w, const char *path, struct err *err)
{
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        cleanup_free char *prefix = xstrndup(path, (size_t)(slash - path));
        const char *name;
        int dir = dirs_parent(w->dirs, prefix, &name);

        if (dir < 0 || (beneath_mkdir(dir, name, 0755) < 0 && errno != EEXIST))
            return writer_fail(w, prefix, err);
    }
    return 0;
}

int writer_parent(struct tree_writer *w, const char *path, const char **ret_name, struct err *err)
{
    int dir = dirs_parent(w->dirs, path, ret_name);

    if (dir < 0 && errno == ENOENT && make_parents(w, path, err) < 0)
        return -1;
    if (dir < 0)
        dir = dirs_parent(w->dirs, path, ret_name);
    return dir < 0 ? writer_fail(w, path, err) : dir;
}

int writer_refuse_dir(const struct tree_writer *w, int dir, const char *name, const char *path, struct err *err)
{
    const char *slash = strcmp(w->dest.shown, "/") ? "/" : "";
    struct stat st;

    if (beneath_stat(dir, name, &st) < 0 || !S_ISDIR(st.st_mode))
        return 0;
    return err_set(err, 1, "cannot overwrite directory \"%s%s%s\" with non-directory \"%s\"", w->dest.shown, slash,
                   path, w->dest.shown);
}

/* What a copy that was killed left beside its destination goes before the next one to it. */
static void sweep(int dir, const char *name)
{
    cleanup_close int there = beneath_child_dir(dir, name);

    if (there >= 0)
        beneath_temp_sweep_dir(there);
}

/* Makes it, or takes the one that is there; how it shall look in the end is remembered. */
static int add_dir(struct tree_writer *w, const struct tree_entry *e, const char *path, struct err *err)
{
    struct merge_meta meta = {.mode = mode_of(w, e), .uid = e->uid, .gid = e->gid, .mtime = e->mtime};
    const char *name, *slash = strcmp(w->dest.shown, "/") ? "/" : "";
    int dir = writer_parent(w, path, &name, err);
    struct stat st;

    if (dir < 0)
        return -1;
    if (beneath_mkdir(dir, name, (meta.mode & 0777) | 0700) < 0) {
        if (errno != EEXIST || beneath_stat(dir, name, &st) < 0)
            return writer_fail(w, path, err);
        if (!S_ISDIR(st.st_mode))
            return err_set(err, 1, "cannot overwrite non-directory \"%s%s%s\" with directory \"%s\"", w->dest.shown,
                           slash, path, w->dest.shown);
        sweep(dir, name);
    }
    writer_owner(w, &meta.uid, &meta.gid);
    dirs_set(w->dirs, path, &meta);
    return writer_keep_names(w, strlen(path), err);
}

/* ---- files ---- */

/* Opens the file that is there, to be rewritten; false if that cannot be. */
static bool open_in_place(struct tree_writer *w, int dir, const char *name)
{
    struct stat st;

    w->file = beneath_write_open(dir, name, &st);
    if (w->file < 0)
        return false;
    if (ftruncate(w->file, 0) == 0) {
        w->temp[0] = '\0';
        return true;
    }
    close(steal_fd(&w->file));
    return false;
}

static int add_file(struct tree_writer *w, const struct tree_entry *e, const char *path, struct err *err)
{
    const char *name;
    int dir = writer_parent(w, path, &name, err);

    if (dir < 0 || writer_refuse_dir(w, dir, name, path, err) < 0)
        return -1;
    w->file_dir = dir;
    w->path = xstrdup(path);
    w->mode = mode_of(w, e);
    w->uid = e->uid;
    w->gid = e->gid;
    writer_owner(w, &w->uid, &w->gid);
    w->mtime = e->mtime;
    w->size = e->size;
    w->at = 0;
    if (w->dest.in_place && !*e->path && open_in_place(w, dir, name))
        return 0;
    w->file = beneath_temp_open(dir, w->temp);
    return w->file < 0 ? writer_fail(w, path, err) : 0;
}

/* What is mounted there keeps its inode and gets the contents. -1 and errno. */
static int rewrite(struct tree_writer *w, const char *name)
{
    struct stat st;
    cleanup_close int to = beneath_write_open(w->file_dir, name, &st);

    if (to < 0 || copy_content(w->file, to) < 0)
        return -1;
    beneath_unlink(w->file_dir, w->temp);
    return 0;
}

/* The complete file gets its look, then its name. A name that cannot be replaced (a mount) is rewritten instead. */
static int settle_file(struct tree_writer *w, struct err *err)
{
    const char *slash = strrchr(w->path, '/'), *name = slash ? slash + 1 : w->path;

    if (ftruncate(w->file, (off_t)w->size) < 0)
        return writer_fail(w, w->path, err);
    if (owned(w) && beneath_chown(w->file, w->uid, w->gid) < 0)
        return writer_fail(w, w->path, err);
    if (beneath_chmod(w->file, w->mode) < 0 && (w->temp[0] || errno != EPERM))
        return writer_fail(w, w->path, err);
    if (beneath_set_mtime(w->file, w->mtime) < 0 && (w->temp[0] || errno != EPERM))
        return writer_fail(w, w->path, err);
    if (!w->temp[0] || beneath_rename(w->file_dir, w->temp, w->file_dir, name) == 0)
        return 0;
    if (errno != EBUSY || rewrite(w, name) < 0)
        return writer_fail(w, w->path, err);
    return 0;
}

static void leave_file(struct tree_writer *w, bool complete)
{
    if (w->file < 0)
        return;
    if (!complete && w->temp[0])
        beneath_unlink(w->file_dir, w->temp);
    close(steal_fd(&w->file));
    free(steal(&w->path));
}

static int add_fifo(struct tree_writer *w, const struct tree_entry *e, const char *path, struct err *err)
{
    char temp[BENEATH_TEMP_MAX];
    const char *name;
    uint32_t uid = e->uid, gid = e->gid;
    int dir = writer_parent(w, path, &name, err);

    if (dir < 0 || writer_refuse_dir(w, dir, name, path, err) < 0)
        return -1;
    beneath_temp_name(temp);
    if (beneath_mkfifo(dir, temp, e->mode & 0777) < 0)
        return writer_fail(w, path, err);
    writer_owner(w, &uid, &gid);
    if ((owned(w) && beneath_link_chown(dir, temp, uid, gid) < 0) || beneath_link_set_mtime(dir, temp, e->mtime) < 0 ||
        beneath_rename(dir, temp, dir, name) < 0) {
        int errnum = errno;

        beneath_unlink(dir, temp);
        errno = errnum;
        return writer_fail(w, path, err);
    }
    return 0;
}

/* ---- the stream's events ---- */

static int place_it(struct tree_writer *w, const struct tree_entry *root, struct err *err)
{
    w->dest.dir = -1;
    if (w->place(w->arg, &w->head, root, &w->dest, err) < 0)
        return -1;
    w->dirs = dirs_new(w->dest.dir);
    w->placed = true;
    beneath_temp_sweep_dir(w->dest.dir);
    return 0;
}

static int on_head(void *arg, const struct tree_head *head, struct err *err)
{
    struct tree_writer *w = arg;

    w->base = xstrdup(head->base);
    w->head = (struct tree_head){.flags = head->flags, .base = w->base};
    return head->flags & TREE_LOOSE ? place_it(w, NULL, err) : 0;
}

static bool is_closed(const struct tree_writer *w, const char *path)
{
    for (const char *const *c = w->dest.closed; c && *c; c++) {
        size_t len = strlen(*c);

        if (strncmp(path, *c, len) == 0 && (!path[len] || path[len] == '/'))
            return true;
    }
    return false;
}

static int add_special(struct tree_writer *w, const struct tree_entry *e, const char *path, struct err *err)
{
    if (e->type == TREE_FIFO && w->dest.fifos)
        return add_fifo(w, e, path, err);
    w->skipped++;
    return 0;
}

static int on_entry(void *arg, const struct tree_entry *e, struct err *err)
{
    struct tree_writer *w = arg;
    cleanup_free char *path = NULL;

    if (!w->placed && place_it(w, e, err) < 0)
        return -1;
    path = path_of(w, e->path);
    if (!path) /* the directory that is there already stays as it is */
        return e->type == TREE_DIR ? 0 : err_set(err, 1, "not a directory");
    w->dropped = is_closed(w, path);
    if (w->dropped)
        return 0;
    switch (e->type) {
    case TREE_DIR:
        return add_dir(w, e, path, err);
    case TREE_FILE:
        return add_file(w, e, path, err);
    case TREE_SYMLINK:
    case TREE_HARDLINK:
        return writer_add_link(w, e, path, err);
    default:
        return add_special(w, e, path, err);
    }
}

static int on_data(void *arg, const void *bytes, size_t len, struct err *err)
{
    struct tree_writer *w = arg;
    const char *at = bytes;

    if (w->dropped)
        return 0;
    while (len) {
        ssize_t n = pwrite(w->file, at, len, (off_t)w->at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return writer_fail(w, w->path, err);
        at += n;
        len -= (size_t)n;
        w->at += (uint64_t)n;
    }
    return 0;
}

static int on_hole(void *arg, uint64_t len, struct err *err)
{
    struct tree_writer *w = arg;

    (void)err;
    w->at += len;
    return 0;
}

static int on_file_end(void *arg, struct err *err)
{
    struct tree_writer *w = arg;
    int status;

    if (w->dropped)
        return 0;
    status = settle_file(w, err);
    leave_file(w, status == 0);
    return status;
}

static int on_end(void *arg, struct err *err)
{
    (void)arg;
    (void)err;
    return 0;
}

static const struct tree_events events = {on_head, on_entry, on_data, on_hole, on_file_end, on_end, NULL};

/* ---- life ---- */

struct tree_writer *tree_writer_new(tree_place_fn *place, void *arg)
{
    struct tree_writer *w = xcalloc(1, sizeof(*w));

    tree_parser_init(&w->parser, &events, w);
    w->place = place;
    w->arg = arg;
    w->file = w->dest.dir = -1;
    return w;
}

void tree_writer_free(struct tree_writer *w)
{
    if (!w)
        return;
    leave_file(w, /* complete= */ false);
    free(w->path);
    writer_drop_links(w);
    dirs_free(w->dirs);
    if (w->dest.dir >= 0)
        close(w->dest.dir);
    free(w->dest.name);
    free(w->dest.shown);
    free(w->base);
    tree_parser_clear(&w->parser);
    free(w);
}

int tree_writer_feed(struct tree_writer *w, const void *bytes, size_t len, struct err *err)
{
    return tree_parser_feed(&w->parser, bytes, len, err);
}

int tree_writer_finish(struct tree_writer *w, struct err *err)
{
    if (tree_parser_finish(&w->parser, err) < 0 || writer_make_links(w, err) < 0)
        return -1;
    dirs_forget(w->dirs);
    dirs_restore(w->dirs, owned(w));
    return 0;
}

size_t tree_writer_skipped(const struct tree_writer *w)
{
    return w->skipped;
}

uint64_t tree_writer_tar_size(const struct tree_writer *w)
{
    return w->parser.tar_size + TREE_TAR_END;
}
