#include "backends/agent/share_tree.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/limits.h"
#include "compat/sys/beneath.h"
#include "translate/wire/share.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#define FRESH_NS 100000000
#define SLOTS    1024
#define EVENTS                                                                                                         \
    (IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE_SELF |   \
     IN_ONLYDIR | IN_DONT_FOLLOW)

struct share_name {
    uint64_t ino;
    char *path;
};

void share_tree_init(struct share_tree *t, int root, const char *target, const struct strlist *closed)
{
    *t = (struct share_tree){.root = root, .target = target, .closed = closed, .n_slots = SLOTS, .watch = -1};
    t->slots = xcalloc(t->n_slots, sizeof(struct share_node *));
}

static void free_node(struct share_node *n)
{
    free(n->path);
    free(n->link);
    free(n);
}

void share_tree_reset(struct share_tree *t)
{
    for (size_t i = 0; i < t->n_slots; i++)
        while (t->slots[i]) {
            struct share_node *n = t->slots[i];

            t->slots[i] = n->next;
            free_node(n);
        }
    t->n_nodes = 0;
    share_tree_forget_changes(t);
}

void share_tree_forget_changes(struct share_tree *t)
{
    for (size_t i = 0; i < t->n_changed; i++) {
        free(t->changed[i].path);
        free(t->changed[i].link);
    }
    t->n_changed = 0;
    strlist_clear(&t->gone);
}

void share_tree_clear(struct share_tree *t)
{
    share_tree_unwatch(t);
    if (t->slots)
        share_tree_reset(t);
    free(t->slots);
    free(t->changed);
    free(t->names);
    *t = (struct share_tree){.watch = -1};
}

/* ---- nodes ---- */

static uint64_t hash(const char *path)
{
    uint64_t h = 14695981039346656037u;

    for (; *path; path++)
        h = (h ^ (uint8_t)*path) * 1099511628211u;
    return h;
}

struct share_node *share_tree_find(const struct share_tree *t, const char *path)
{
    struct share_node *n = t->slots[hash(path) & (t->n_slots - 1)];

    while (n && strcmp(n->path, path) != 0)
        n = n->next;
    return n;
}

static void grow(struct share_tree *t)
{
    size_t n_slots = 4 * t->n_slots;
    struct share_node **slots = xcalloc(n_slots, sizeof(struct share_node *));

    for (size_t i = 0; i < t->n_slots; i++)
        while (t->slots[i]) {
            struct share_node *n = t->slots[i], **to = &slots[hash(n->path) & (n_slots - 1)];

            t->slots[i] = n->next;
            n->next = *to;
            *to = n;
        }
    free(t->slots);
    t->slots = slots;
    t->n_slots = n_slots;
}

struct share_node *share_tree_add(struct share_tree *t, const char *path)
{
    struct share_node *n = share_tree_find(t, path), **to;

    if (n)
        return n;
    if (t->n_nodes >= t->n_slots)
        grow(t);
    to = &t->slots[hash(path) & (t->n_slots - 1)];
    n = xcalloc(1, sizeof(*n));
    n->path = xstrdup(path);
    n->next = *to;
    n->seen = t->scan;
    *to = n;
    t->n_nodes++;
    return n;
}

void share_tree_drop(struct share_tree *t, struct share_node *n)
{
    struct share_node **p = n ? &t->slots[hash(n->path) & (t->n_slots - 1)] : NULL;

    if (!n)
        return;
    while (*p != n)
        p = &(*p)->next;
    *p = n->next;
    t->n_nodes--;
    free_node(n);
}

static int64_t wall_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static uint8_t kind_of(const struct stat *st)
{
    if (S_ISREG(st->st_mode))
        return SHARE_FILE;
    if (S_ISDIR(st->st_mode))
        return SHARE_DIR;
    if (S_ISLNK(st->st_mode))
        return SHARE_SYMLINK;
    return S_ISFIFO(st->st_mode) ? SHARE_FIFO : 0;
}

void share_node_set(struct share_node *n, uint8_t kind, const struct stat *st, const char *link)
{
    char *copy = link && *link ? xstrdup(link) : NULL;

    free(n->link);
    n->link = copy;
    n->kind = kind;
    n->mode = (uint16_t)(st->st_mode & 07777);
    n->uid = st->st_uid;
    n->gid = st->st_gid;
    n->size = (uint64_t)st->st_size;
    n->ino = st->st_ino;
    n->mtime_ns = beneath_mtime(st);
    n->ctime_ns = beneath_ctime(st);
}

bool share_node_is(const struct share_node *n, const struct stat *st)
{
    uint8_t kind = n->kind == SHARE_LINK ? SHARE_FILE : n->kind;

    if (kind != kind_of(st) || n->uid != st->st_uid || n->gid != st->st_gid)
        return false;
    if (kind != SHARE_SYMLINK && n->mode != (st->st_mode & 07777))
        return false;
    if (kind == SHARE_DIR || kind == SHARE_FIFO)
        return true;
    return n->ino == st->st_ino && n->ctime_ns == beneath_ctime(st) && n->mtime_ns == beneath_mtime(st) &&
           n->size == (uint64_t)st->st_size;
}

bool share_tree_untouched(const struct share_tree *t, const struct share_node *n, int dir, const char *name)
{
    struct stat st;

    (void)t;
    if (beneath_stat(dir, name, &st) < 0)
        return !n || !n->kind;
    return n && n->kind && share_node_is(n, &st);
}

void share_tree_renamed(struct share_tree *t, uint64_t ino)
{
    for (size_t i = 0; i < t->n_slots; i++)
        for (struct share_node *n = t->slots[i]; n; n = n->next) {
            const char *name;
            struct stat st;

            if (n->ino == ino && (n->kind == SHARE_FILE || n->kind == SHARE_LINK)) {
                cleanup_close int dir = beneath_open_parent(t->root, n->path, &name);

                if (dir >= 0 && beneath_stat(dir, name, &st) == 0 && st.st_ino == ino &&
                    beneath_mtime(&st) == n->mtime_ns && (uint64_t)st.st_size == n->size)
                    n->ctime_ns = beneath_ctime(&st);
            }
        }
}

bool share_tree_closed(const struct share_tree *t, const char *path)
{
    for (size_t i = 0; i < t->closed->len; i++) {
        size_t len = strlen(t->closed->items[i]);

        if (strncmp(path, t->closed->items[i], len) == 0 && (!path[len] || path[len] == '/'))
            return true;
    }
    return false;
}

/* ---- watching ---- */

void share_tree_watch(struct share_tree *t)
{
    if (t->watch < 0)
        t->watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    t->unwatched = t->watch < 0;
}

void share_tree_unwatch(struct share_tree *t)
{
    if (t->watch >= 0)
        close(steal_fd(&t->watch));
}

/* By its path: a link that somebody puts in between leads to a needless look at worst. */
static void watch_dir(struct share_tree *t, const char *path)
{
    cleanup_free char *whole = NULL;

    if (t->watch < 0)
        return;
    whole = xasprintf("%s/%s", t->target, path);
    if (inotify_add_watch(t->watch, whole, EVENTS) < 0)
        t->unwatched = true;
}

/* ---- scanning ---- */

static void add_change(struct share_tree *t, const char *path, const char *link)
{
    if (t->n_changed == t->room_changed) {
        t->room_changed = t->room_changed ? 2 * t->room_changed : 64;
        t->changed = xreallocarray(t->changed, t->room_changed, sizeof(*t->changed));
    }
    t->changed[t->n_changed++] = (struct share_change){xstrdup(path), link ? xstrdup(link) : NULL};
}

/* The path of this file that was met first, NULL: this is it. */
static const char *other_name(struct share_tree *t, const struct stat *st, const char *path)
{
    if (!S_ISREG(st->st_mode) || st->st_nlink < 2)
        return NULL;
    for (size_t i = 0; i < t->n_names; i++)
        if (t->names[i].ino == st->st_ino)
            return t->names[i].path;
    if (t->n_names == t->room_names) {
        t->room_names = t->room_names ? 2 * t->room_names : 16;
        t->names = xreallocarray(t->names, t->room_names, sizeof(*t->names));
    }
    t->names[t->n_names++] = (struct share_name){st->st_ino, xstrdup(path)};
    return NULL;
}

static bool same_contents(const struct share_node *n, int dir, const char *name)
{
    struct stat st;
    cleanup_close int fd = beneath_read_open(dir, name, &st);
    cleanup_free char *bytes = fd < 0 ? NULL : xmalloc(SHARE_PIECE);
    uint8_t digest[SHA256_LEN];
    struct sha256 sum;
    ssize_t got = -1;

    sha256_init(&sum);
    while (fd >= 0 && (got = read(fd, bytes, SHARE_PIECE)) > 0)
        sha256_update(&sum, bytes, (size_t)got);
    sha256_final(&sum, digest);
    return got == 0 && memcmp(digest, n->digest, SHA256_LEN) == 0;
}

struct level {
    struct share_tree *tree;
    struct strlist names;
};

static int add_name(void *arg, const char *name, uint8_t type)
{
    struct level *l = arg;

    (void)type;
    if (!beneath_temp_ours(name) && l->tree->n_nodes + l->names.len < LIMIT_ENTRIES)
        strlist_add(&l->names, name);
    return 0;
}

/* Is it as it is known? */
static bool is_known(struct share_node *n, int dir, const char *name, const struct stat *st, const char *link,
                     int64_t now)
{
    uint8_t kind = link ? SHARE_LINK : kind_of(st);

    if (!n || n->kind != kind || !share_node_is(n, st) || (link && strcmp(link, n->link ? n->link : "") != 0))
        return false;
    if (n->fresh && (kind == SHARE_FILE)) {
        n->fresh = now - n->ctime_ns < FRESH_NS;
        return same_contents(n, dir, name);
    }
    return true;
}

static void look_at(struct share_tree *t, enum share_scan what, int dir, const char *name, const char *path,
                    const struct stat *st)
{
    struct share_node *n = share_tree_find(t, path);
    const char *link = other_name(t, st, path);
    int64_t now = wall_ns();

    if (what == SHARE_SCAN_TAKE) {
        cleanup_free char *text = S_ISLNK(st->st_mode) ? beneath_readlink(dir, name) : NULL;

        n = share_tree_add(t, path);
        share_node_set(n, link ? SHARE_LINK : kind_of(st), st, text ? text : link);
        n->fresh = now - n->ctime_ns < FRESH_NS;
    } else if (what == SHARE_SCAN_ALL || !is_known(n, dir, name, st, link, now)) {
        add_change(t, path, link);
    }
    if (n)
        n->seen = t->scan;
}

static void walk(struct share_tree *t, enum share_scan what, int dir, const char *path, unsigned depth)
{
    struct level l = {t, STRLIST_INIT};

    watch_dir(t, path);
    t->partly |= beneath_names(dir, add_name, &l) < 0;
    strlist_sort(&l.names);
    for (size_t i = 0; i < l.names.len; i++) {
        const char *name = l.names.items[i];
        cleanup_free char *child = *path ? xasprintf("%s/%s", path, name) : xstrdup(name);
        cleanup_close int below = -1;
        struct stat st;

        if (strlen(child) >= LIMIT_PATH || share_tree_closed(t, child) || beneath_stat(dir, name, &st) < 0 ||
            !kind_of(&st))
            continue;
        look_at(t, what, dir, name, child, &st);
        if (!S_ISDIR(st.st_mode))
            continue;
        below = depth < LIMIT_DEPTH ? beneath_child_list(dir, name) : -1;
        if (below >= 0)
            walk(t, what, below, child, depth + 1);
        else
            t->partly = true;
    }
    strlist_clear(&l.names);
}

static void find_gone(struct share_tree *t, bool forget)
{
    struct strlist paths = STRLIST_INIT;

    for (size_t i = 0; i < t->n_slots; i++)
        for (struct share_node *n = t->slots[i], *next; n; n = next) {
            next = n->next;
            if (n->seen == t->scan || !n->kind)
                continue;
            if (forget)
                share_tree_drop(t, n);
            else
                strlist_add(&paths, n->path);
        }
    strlist_sort(&paths);
    for (size_t i = paths.len; i-- > 0;)
        strlist_add(&t->gone, paths.items[i]);
    strlist_clear(&paths);
}

void share_tree_scan(struct share_tree *t, enum share_scan what)
{
    cleanup_close int list = beneath_list_open(t->root);
    struct stat st;

    share_tree_forget_changes(t);
    t->scan++;
    t->partly = false;
    if (list < 0 || fstat(list, &st) < 0)
        return;
    look_at(t, what, t->root, "", "", &st);
    walk(t, what, list, "", 0);
    if (what != SHARE_SCAN_ALL && !t->partly)
        find_gone(t, what == SHARE_SCAN_TAKE);
    for (size_t i = 0; i < t->n_names; i++)
        free(t->names[i].path);
    t->n_names = 0;
}
