#include "backends/agent/share_place.h"

#include "backends/agent/share_tree.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/limits.h"
#include "compat/sys/beneath.h"
#include "translate/wire/share.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file that is on its way. */
struct share_in {
    struct share_in *next;
    struct share head;
    int fd; /* -1: it cannot be written */
    char temp[BENEATH_TEMP_MAX];
    struct sha256 sum;
    uint64_t at;
};

void share_place_init(struct share_place *p, struct share_tree *tree, int stage)
{
    *p = (struct share_place){.tree = tree, .stage = stage};
}

static void complain(const char *path)
{
    int e = errno;

    fprintf(stderr, "atp-agent: a shared volume: %s: %s\n", *path ? path : ".", strerror(e));
}

/* ---- files on their way ---- */

static struct share_in **in_of(struct share_place *p, uint32_t from)
{
    struct share_in **at = &p->ins;

    while (*at && (*at)->head.from != from)
        at = &(*at)->next;
    return at;
}

static void end_in(struct share_place *p, struct share_in **at)
{
    struct share_in *in = *at;

    if (in->fd >= 0) {
        beneath_unlink(p->stage, in->temp); /* it may have its own name by now */
        close(in->fd);
    }
    *at = in->next;
    share_clear(&in->head);
    free(in);
}

void share_place_drop(struct share_place *p, uint32_t from)
{
    while (p->ins && !from)
        end_in(p, &p->ins);
    if (from && *in_of(p, from))
        end_in(p, in_of(p, from));
}

void share_place_clear(struct share_place *p)
{
    share_place_drop(p, 0);
}

static void begin_file(struct share_place *p, const struct share *s)
{
    struct share_in *in;

    share_place_drop(p, s->from);
    in = xcalloc(1, sizeof(*in));
    in->next = p->ins;
    p->ins = in;
    in->head = *s;
    in->head.path = xstrdup(s->path);
    in->head.link = in->head.text = NULL;
    in->fd = beneath_temp_open(p->stage, in->temp);
    sha256_init(&in->sum);
    if (in->fd < 0)
        complain(s->path);
}

static void sum_zeros(struct share_in *in, uint64_t until)
{
    static const uint8_t zeros[4096];

    while (in->at < until) {
        size_t n = until - in->at < sizeof(zeros) ? (size_t)(until - in->at) : sizeof(zeros);

        sha256_update(&in->sum, zeros, n);
        in->at += n;
    }
}

static void take_data(struct share_place *p, const struct share *s)
{
    struct share_in *in = *in_of(p, s->from);
    const uint8_t *bytes = s->bytes;
    size_t left = s->len;
    uint64_t at = s->number;

    if (!in || in->fd < 0 || at < in->at || at + left > in->head.size)
        return;
    sum_zeros(in, at);
    sha256_update(&in->sum, bytes, left);
    in->at += left;
    while (left) {
        ssize_t n = pwrite(in->fd, bytes, left, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            complain(in->head.path);
            beneath_unlink(p->stage, in->temp);
            close(steal_fd(&in->fd));
            return;
        }
        bytes += n;
        at += (uint64_t)n;
        left -= (size_t)n;
    }
}

/* ---- may it be? ---- */

static bool may(const struct share_place *p, int dir, const char *name, const struct share *s)
{
    const struct share_node *n = share_tree_find(p->tree, s->path);
    struct stat st;

    if (p->yields)
        return true;
    if (n && n->pending > p->acked)
        return false;
    if (!n && p->merging && beneath_stat(dir, name, &st) == 0)
        return beneath_mtime(&st) <= s->mtime_ns;
    return share_tree_untouched(p->tree, n, dir, name);
}

/* The directory that path is in; what is missing on the way is made. */
static int open_parent(struct share_place *p, const char *path, const char **ret_name)
{
    int dir = beneath_open_parent(p->tree->root, path, ret_name);
    cleanup_free char *above = NULL;
    cleanup_close int upper = -1;
    const char *name;

    if (dir >= 0 || errno != ENOENT || !strchr(path, '/'))
        return dir;
    above = xstrndup(path, (size_t)(strrchr(path, '/') - path));
    upper = open_parent(p, above, &name);
    if (upper < 0 || beneath_mkdir(upper, name, 0755) < 0)
        return -1;
    return beneath_open_parent(p->tree->root, path, ret_name);
}

/* What is there and is of another kind goes. */
static int make_way(int dir, const char *name, uint8_t kind, struct stat *ret_was)
{
    *ret_was = (struct stat){0};
    if (beneath_stat(dir, name, ret_was) < 0)
        return 0;
    if (S_ISDIR(ret_was->st_mode) == (kind == SHARE_DIR))
        return 0;
    return beneath_remove_tree(dir, name);
}

static void note(struct share_place *p, int dir, const char *name, const struct share *s, const struct stat *was)
{
    struct share_node *n;
    struct stat st;

    if (S_ISREG(was->st_mode) && was->st_nlink > 1)
        share_tree_renamed(p->tree, was->st_ino);
    if (beneath_stat(dir, name, &st) < 0)
        return;
    n = share_tree_add(p->tree, s->path);
    share_node_set(n, s->kind, &st, s->link);
    n->seen = p->tree->scan;
    n->fresh = false;
    n->pending = 0;
    if (s->kind == SHARE_FILE && n->mtime_ns != s->mtime_ns)
        n->ctime_ns = 0; /* somebody here has written to it already */
}

/* ---- placing ---- */

static int place_file(struct share_place *p, struct share_in *in, int dir, const char *name)
{
    const struct share *s = &in->head;
    struct share_node *n;
    struct stat was;

    if (make_way(dir, name, s->kind, &was) < 0 || ftruncate(in->fd, (off_t)s->size) < 0 ||
        beneath_chown(in->fd, s->uid, s->gid) < 0 || beneath_chmod(in->fd, s->mode) < 0 ||
        beneath_set_mtime(in->fd, s->mtime_ns) < 0 || beneath_rename(p->stage, in->temp, dir, name) < 0)
        return -1;
    note(p, dir, name, s, &was);
    n = share_tree_find(p->tree, s->path);
    sum_zeros(in, s->size);
    if (n)
        sha256_final(&in->sum, n->digest);
    return 0;
}

/* A directory may be looked at and changed by a descriptor that can be read (gVisor wants one). */
static int place_dir(const struct share *s, int dir, const char *name)
{
    cleanup_close int fd = -1;

    if (*s->path && beneath_mkdir(dir, name, 0700) < 0 && errno != EEXIST)
        return -1;
    fd = *s->path ? beneath_child_list(dir, name) : beneath_list_open(dir);
    return fd < 0 || beneath_chown(fd, s->uid, s->gid) < 0 || beneath_chmod(fd, s->mode) < 0 ? -1 : 0;
}

static int place_symlink(const struct share *s, int dir, const char *name)
{
    char temp[BENEATH_TEMP_MAX];
    cleanup_close int alive = beneath_temp_symlink(s->link, dir, temp);

    if (alive < 0)
        return -1;
    beneath_link_chown(dir, temp, s->uid, s->gid);
    beneath_link_set_mtime(dir, temp, s->mtime_ns);
    if (beneath_rename(dir, temp, dir, name) == 0)
        return 0;
    beneath_unlink(dir, temp);
    return -1;
}

/* Two names of one file cannot be put in each other's place: nothing happens then. */
static int place_link(struct share_place *p, const struct share *s, int dir, const char *name)
{
    const char *first;
    cleanup_close int from = beneath_open_parent(p->tree->root, s->link, &first);
    char temp[BENEATH_TEMP_MAX];
    struct stat one, other;

    if (from < 0 || beneath_stat(from, first, &one) < 0)
        return -1;
    if (beneath_stat(dir, name, &other) == 0 && one.st_ino == other.st_ino)
        return 0;
    beneath_temp_name(temp);
    if (beneath_link(from, first, dir, temp) < 0)
        return -1;
    if (beneath_rename(dir, temp, dir, name) < 0) {
        beneath_unlink(dir, temp);
        return -1;
    }
    share_tree_renamed(p->tree, one.st_ino);
    return 0;
}

static int place_fifo(const struct share *s, int dir, const char *name)
{
    struct stat st;
    mode_t mask;
    int rc;

    if (beneath_stat(dir, name, &st) == 0) {
        if (S_ISFIFO(st.st_mode))
            return 0;
        if (beneath_unlink(dir, name) < 0)
            return -1;
    }
    mask = umask(0);
    rc = beneath_mkfifo(dir, name, s->mode & 0777);
    umask(mask);
    return rc < 0 ? -1 : beneath_link_chown(dir, name, s->uid, s->gid);
}

static int place(struct share_place *p, const struct share *s, int dir, const char *name, struct share_in *in)
{
    struct stat was;
    int rc;

    if (in)
        return place_file(p, in, dir, name);
    if (*s->path && make_way(dir, name, s->kind, &was) < 0)
        return -1;
    rc = s->kind == SHARE_DIR       ? place_dir(s, dir, name)
         : s->kind == SHARE_SYMLINK ? place_symlink(s, dir, name)
         : s->kind == SHARE_LINK    ? place_link(p, s, dir, name)
                                    : place_fifo(s, dir, name);
    if (rc == 0 && *s->path)
        note(p, dir, name, s, &was);
    return rc;
}

/* The volume's own directory. */
static void note_root(struct share_place *p, const struct share *s)
{
    struct stat st;

    if (fstat(p->tree->root, &st) == 0)
        share_node_set(share_tree_add(p->tree, ""), SHARE_DIR, &st, NULL);
    (void)s;
}

static void take_whole(struct share_place *p, const struct share *s, struct share_in *in)
{
    const char *name = "";
    cleanup_close int dir = -1;

    if (share_tree_closed(p->tree, s->path))
        return;
    if (!*s->path) {
        if (s->kind == SHARE_DIR && place_dir(s, p->tree->root, "") == 0)
            note_root(p, s);
        return;
    }
    dir = open_parent(p, s->path, &name);
    if (dir < 0) {
        complain(s->path);
        return;
    }
    if (may(p, dir, name, s) && place(p, s, dir, name, in) < 0)
        complain(s->path);
}

static void take_gone(struct share_place *p, const struct share *s)
{
    struct share_node *n = share_tree_find(p->tree, s->path);
    const char *name;
    cleanup_close int dir = *s->path ? beneath_open_parent(p->tree->root, s->path, &name) : -1;
    struct stat st;

    if (dir < 0 || share_tree_closed(p->tree, s->path) || !may(p, dir, name, s) || beneath_stat(dir, name, &st) < 0)
        return;
    if (S_ISDIR(st.st_mode) ? beneath_rmdir(dir, name) < 0 && errno != ENOTEMPTY && errno != EEXIST
                            : beneath_unlink(dir, name) < 0)
        complain(s->path);
    share_tree_drop(p->tree, n); /* a directory with something new in it is news again */
    if (S_ISREG(st.st_mode) && st.st_nlink > 1)
        share_tree_renamed(p->tree, st.st_ino);
}

static void take_end(struct share_place *p, const struct share *s)
{
    struct share_in **at = in_of(p, s->from);

    if (!*at)
        return;
    if (!(s->flags & SHARE_CANCEL) && (*at)->fd >= 0)
        take_whole(p, &(*at)->head, *at);
    end_in(p, at);
}

void share_place_take(struct share_place *p, const struct share *s)
{
    if (s->op == SHARE_ENTRY && s->kind == SHARE_FILE)
        begin_file(p, s);
    else if (s->op == SHARE_ENTRY)
        take_whole(p, s, NULL);
    else if (s->op == SHARE_DATA)
        take_data(p, s);
    else if (s->op == SHARE_END)
        take_end(p, s);
    else if (s->op == SHARE_GONE)
        take_gone(p, s);
    else if (s->op == SHARE_DROP)
        share_place_drop(p, s->from);
}
