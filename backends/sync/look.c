#include "backends/sync/look.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"
#include "compat/sys/beneath.h"
#include "translate/sync/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 4     /* more than this wait for each other in the kernel */
#define ALONE       24    /* directories that the reader looks at before it takes helpers: starting one costs as much */
#define AHEAD_MAX   16384 /* names that the helpers may be ahead of the reader: some 3 MiB */
#define HELP_DEPTH  48    /* deeper ones are left to the reader: each thread holds a descriptor for each level */
#define TRIES       3     /* to open what is a directory at one moment and none at the next */
#define STACK_BYTES (256u << 10)
#define POOLED      24 /* names: rooms for so many are used again; musl would give each one back to the system */

/* Room for the names of a directory, when it is not in use. */
union room {
    union room *next;
    struct look_name names[POOLED];
};

struct look {
    struct look_dir *root;
    const struct strlist *exclude;

    pthread_mutex_t mutex; /* guards all that follows, and what the directories share */
    pthread_cond_t work;   /* there is something to look at, or the end has come */
    pthread_cond_t ready;  /* what the reader waits for was looked at */
    struct look_dir *next; /* what waits to be looked at, as a stack: in about the reader's order */
    const struct look_dir *wanted;
    size_t ahead, total, alone;
    union room *rooms;
    bool stop;

    pthread_t helpers[THREADS_MAX];
    unsigned helper_count;
    bool took_helpers;
};

static unsigned forced_threads;

void look_force_threads(unsigned threads)
{
    forced_threads = threads < THREADS_MAX ? threads : THREADS_MAX;
}

/* ---- one name ---- */

/* What stands at n->name. */
static void look_at_name(int dir, struct look_name *n)
{
    n->kind = LOOK_ENTRY;
    if (beneath_stat(dir, n->name, &n->st) == 0) {
        if (!S_ISLNK(n->st.st_mode))
            return;
        n->text = beneath_readlink(dir, n->name);
        if (n->text)
            return;
        if (errno == EINVAL) /* no link any more */
            errno = ENOENT;
    }
    n->errnum = errno;
    n->kind = n->errnum == ENOENT ? LOOK_GONE : LOOK_FAILED;
}

/* ---- one directory ---- */

/* The names of a directory as they come: a type, the name, a NUL. */
struct listing {
    int fd;
    char *bytes;
    size_t used, cap, count, limit;
};

static int add_name(void *arg, const char *name, uint8_t type)
{
    struct listing *l = arg;
    size_t len = strlen(name) + 2;

    if (beneath_temp_ours(name)) {
        beneath_temp_sweep(l->fd, name);
        return 0;
    }
    if (l->count++ >= l->limit) {
        errno = EOVERFLOW;
        return -1;
    }
    if (len > l->cap - l->used) {
        l->cap = (l->cap ? l->cap * 2 : 256) + len;
        l->bytes = xrealloc(l->bytes, l->cap);
    }
    l->bytes[l->used] = (char)type;
    memcpy(l->bytes + l->used + 1, name, len - 1);
    l->used += len;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct look_name *one = a, *other = b;

    return strcmp(one->name, other->name);
}

/* Zeroed room for so many names; given back with put_names(). */
static struct look_name *get_names(struct look *l, size_t count)
{
    union room *room;

    if (count > POOLED)
        return xcalloc(count, sizeof(struct look_name));
    pthread_mutex_lock(&l->mutex);
    room = l->rooms;
    if (room)
        l->rooms = room->next;
    pthread_mutex_unlock(&l->mutex);
    if (!room)
        room = xmalloc(sizeof(*room));
    memset(room, 0, count * sizeof(struct look_name));
    return room->names;
}

static void put_names(struct look *l, struct look_name *names, size_t count)
{
    union room *room = (union room *)(void *)names;

    if (!names || count > POOLED) {
        free(names);
        return;
    }
    pthread_mutex_lock(&l->mutex);
    room->next = l->rooms;
    l->rooms = room;
    pthread_mutex_unlock(&l->mutex);
}

static int list(struct look *look, struct look_dir *d)
{
    struct listing l = {.fd = d->fd, .limit = LIMIT_ENTRIES};
    const char *at;
    int status = beneath_names(d->fd, add_name, &l);

    d->bytes = l.bytes;
    if (status < 0)
        return -1;
    d->len = l.count;
    d->names = get_names(look, d->len);
    at = l.bytes;
    for (size_t i = 0; i < d->len; i++) {
        d->names[i].type = (uint8_t)*at;
        d->names[i].name = at + 1;
        at += strlen(at + 1) + 2;
    }
    qsort(d->names, d->len, sizeof(*d->names), by_name);
    return 0;
}

/* The path of a name below the tree's root; only exclusions ask for it. */
static char *path_of(const struct look_dir *d, const char *name)
{
    return *d->path ? xasprintf("%s/%s", d->path, name) : xstrdup(name);
}

/* Looks at every name of d but the directories, which are found out about when they are opened. */
static size_t look_at_names(const struct look *l, struct look_dir *d)
{
    size_t dirs = 0;

    for (size_t i = 0; i < d->len; i++) {
        struct look_name *n = &d->names[i];
        cleanup_free char *path = d->path ? path_of(d, n->name) : NULL;

        if (path && manifest_path_excluded(path, l->exclude)) {
            n->kind = LOOK_EXCLUDED;
            continue;
        }
        if (n->type == DT_DIR)
            n->kind = LOOK_DIR;
        else
            look_at_name(d->fd, n);
        if (n->kind == LOOK_ENTRY && S_ISDIR(n->st.st_mode))
            n->kind = LOOK_DIR;
        dirs += n->kind == LOOK_DIR;
    }
    return dirs;
}

/* The directories in d, in one block. */
static void make_children(struct look_dir *d, size_t count)
{
    struct look_dir *child = count ? xcalloc(count, sizeof(*child)) : NULL;

    d->children = child;
    d->unopened += count;
    for (size_t i = 0; count && i < d->len; i++) {
        struct look_name *n = &d->names[i];

        if (n->kind != LOOK_DIR)
            continue;
        n->dir = child;
        *child =
            (struct look_dir){.parent = d, .fd = -1, .unopened = 1, .depth = d->depth + 1, .self = {.name = n->name}};
        if (d->path)
            child->path = path_of(d, n->name);
        child++;
    }
}

/* Opens a directory in its parent; where something else stands by now, that is looked at instead. */
static void open_dir(struct look_dir *d)
{
    struct look_name *self = &d->self;

    if (d->depth > LIMIT_DEPTH) {
        self->kind = LOOK_FAILED;
        self->errnum = ENAMETOOLONG;
        return;
    }
    for (int tries = 0; d->fd < 0 && tries < TRIES; tries++) {
        d->fd = beneath_child_list(d->parent->fd, self->name);
        self->errnum = errno;
        if (d->fd >= 0 || (errno != ENOTDIR && errno != ELOOP))
            break;
        look_at_name(d->parent->fd, self);
        if (self->kind != LOOK_ENTRY || !S_ISDIR(self->st.st_mode))
            return;
    }
    if (d->fd < 0) {
        bool swapped = self->errnum == ENOTDIR || self->errnum == ELOOP;

        self->kind = self->errnum == ENOENT || swapped ? LOOK_GONE : LOOK_FAILED;
        return;
    }
    self->kind = LOOK_DIR;
    if (fstat(d->fd, &self->st) == 0)
        return;
    self->errnum = errno;
    self->kind = LOOK_FAILED;
}

/* d's descriptor is needed once less: by itself, or by a directory in it. In the mutex. */
static void opened(struct look_dir *d)
{
    if (--d->unopened || d->fd < 0)
        return;
    close(d->fd);
    d->fd = -1;
}

/* Puts the directories in d where they are taken from: the last one first, so that the first is taken first. */
static void push_children(struct look *l, struct look_dir *d)
{
    for (size_t i = d->len; d->children && i-- > 0;) {
        struct look_dir *child = d->names[i].dir;

        if (!child)
            continue;
        child->below = l->next;
        l->next = child;
    }
    if (d->children && l->helper_count)
        pthread_cond_broadcast(&l->work);
}

/* Looks at d, which was taken from the stack, outside of the mutex; enters and leaves in it. */
static void look_into(struct look *l, struct look_dir *d)
{
    pthread_mutex_unlock(&l->mutex);
    if (d->fd < 0)
        open_dir(d);
    if (d->self.kind == LOOK_DIR && list(l, d) < 0) {
        d->self.errnum = errno;
        d->self.kind = LOOK_FAILED;
        d->len = 0;
    }
    make_children(d, d->self.kind == LOOK_DIR ? look_at_names(l, d) : 0);
    pthread_mutex_lock(&l->mutex);
    if (d->parent)
        opened(d->parent);
    opened(d);
    l->total += d->len;
    if (l->total > LIMIT_ENTRIES && d->self.kind == LOOK_DIR) {
        d->self.errnum = EOVERFLOW;
        d->self.kind = LOOK_FAILED;
    }
    l->ahead += d->len;
    push_children(l, d);
    d->ready = true;
    if (l->wanted == d)
        pthread_cond_signal(&l->ready);
}

static struct look_dir *take(struct look *l)
{
    struct look_dir *d = l->next;

    l->next = d->below;
    return d;
}

/* ---- helpers ---- */

static void *help(void *arg)
{
    struct look *l = arg;

    pthread_mutex_lock(&l->mutex);
    while (!l->stop)
        if (l->next && l->next->depth <= HELP_DEPTH && l->ahead < AHEAD_MAX)
            look_into(l, take(l));
        else
            pthread_cond_wait(&l->work, &l->mutex);
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

static unsigned threads_wanted(void)
{
    long n = forced_threads ? (long)forced_threads : sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n < THREADS_MAX ? (unsigned)n : THREADS_MAX;
}

/* Where no thread can be had the reader does it all. Signals are for the others. In the mutex. */
static void take_helpers(struct look *l)
{
    unsigned wanted = threads_wanted();
    sigset_t all, before;
    pthread_attr_t attr;

    l->took_helpers = true;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (l->helper_count + 1 < wanted && pthread_create(&l->helpers[l->helper_count], &attr, help, l) == 0)
        l->helper_count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
}

/* ---- the reader ---- */

struct look *look_new(int root, const struct strlist *exclude)
{
    struct look *l = xcalloc(1, sizeof(*l));

    l->root = xcalloc(1, sizeof(*l->root));
    *l->root = (struct look_dir){.fd = root, .unopened = 1, .self = {.name = "", .kind = LOOK_DIR}};
    if (fstat(root, &l->root->self.st) < 0) {
        l->root->self.errnum = errno;
        l->root->self.kind = LOOK_FAILED;
    }
    if (exclude && exclude->len)
        l->root->path = xstrdup("");
    l->exclude = exclude;
    l->next = l->root;
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->ready, NULL);
    return l;
}

struct look_dir *look_root(struct look *l)
{
    return l->root;
}

void look_at(struct look *l, struct look_dir *d)
{
    pthread_mutex_lock(&l->mutex);
    if (!l->took_helpers && (forced_threads || l->alone >= ALONE))
        take_helpers(l);
    while (!d->ready)
        if (l->next) {
            l->alone++;
            look_into(l, take(l));
        } else {
            l->wanted = d;
            pthread_cond_wait(&l->ready, &l->mutex);
        }
    l->wanted = NULL;
    if (l->ahead >= AHEAD_MAX && l->ahead - d->len < AHEAD_MAX && l->helper_count)
        pthread_cond_broadcast(&l->work);
    l->ahead -= d->len;
    pthread_mutex_unlock(&l->mutex);
}

/* Nobody else looks at it, or at anything below it, any more. */
static void clear(struct look *l, struct look_dir *d)
{
    for (size_t i = 0; d->names && i < d->len; i++) {
        if (d->names[i].dir)
            clear(l, d->names[i].dir);
        free(d->names[i].text);
    }
    if (d->fd >= 0)
        close(d->fd);
    free(d->self.text);
    put_names(l, d->names, d->len);
    free(d->children);
    free(d->bytes);
    free(d->path);
    *d = (struct look_dir){.fd = -1};
}

void look_done(struct look *l, struct look_dir *d)
{
    clear(l, d);
}

void look_free(struct look *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->mutex);
    l->stop = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->mutex);
    for (unsigned i = 0; i < l->helper_count; i++)
        pthread_join(l->helpers[i], NULL);
    clear(l, l->root);
    free(l->root);
    while (l->rooms) {
        union room *next = l->rooms->next;

        free(l->rooms);
        l->rooms = next;
    }
    pthread_mutex_destroy(&l->mutex);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->ready);
    free(l);
}
