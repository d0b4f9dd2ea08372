#include "backends/engine/img_gc.h"

#include "backends/engine/img_blobs.h"
#include "backends/engine/img_export.h"
#include "backends/engine/img_fold.h"
#include "backends/engine/img_internal.h"
#include "backends/engine/img_known.h"
#include "backends/engine/img_layer.h"
#include "backends/engine/img_store.h"
#include "backends/engine/img_task.h"
#include "backends/engine/img_uploads.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/sys/fs.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHOWN       20u /* of a layer's key: its folder's name (img_layer.c) */
#define SLACK_SECS  2   /* a build's own clock is coarser than that of files */
#define MAX_RECORDS 1000000u

/* One thing that no image stands on: a layer, or a cache mount. */
struct record {
    char *name; /* of its folder */
    char *parent;
    enum img_layer_kind kind;
    bool mount, cache; /* cache: it counts as build cache, or something of that stands on it */
    int64_t size;
    struct timespec own, used; /* own: when it was used itself; used: or one that stands on it */
    unsigned above;            /* records that stand on it and are still there */
    unsigned depth;            /* records below it */
};

struct records {
    struct record *items;
    size_t len, cap;
};

static void records_clear(struct records *r)
{
    for (size_t i = 0; i < r->len; i++) {
        free(r->items[i].name);
        free(r->items[i].parent);
    }
    free(r->items);
}

static int by_time(const struct timespec *a, const struct timespec *b)
{
    if (a->tv_sec != b->tv_sec)
        return a->tv_sec < b->tv_sec ? -1 : 1;
    return a->tv_nsec < b->tv_nsec ? -1 : a->tv_nsec > b->tv_nsec;
}

/* ---- on the loop ---- */

/* The layers that builds under way began with. */
static void add_bases(const struct img_job *job, struct strlist *ret)
{
    strlist_copy(ret, &job->base_layers);
    for (size_t i = 0; i < job->bases_len; i++)
        strlist_copy(ret, &job->bases[i].layers);
}

void img_gc_prepare(struct images *im, struct img_gc *gc)
{
    *gc = (struct img_gc){.dir = xstrdup(im->dir), .unused_secs = -1, .keep_bytes = -1, .busy.tv_sec = INT64_MAX};
    gc->last_use = img_layer_last_use();
    clock_gettime(CLOCK_REALTIME_COARSE, &gc->since); /* the clock of files' times */
    for (const struct image *i = im->list; i; i = i->next) {
        strlist_copy(&gc->used, &i->layers);
        if (!i->run)
            continue;
        add_bases(&i->run->job, &gc->used);
        if (i->made / 1000 - SLACK_SECS < gc->busy.tv_sec)
            gc->busy.tv_sec = i->made / 1000 - SLACK_SECS;
    }
    if (by_time(&gc->busy, &gc->since) < 0)
        gc->since = gc->busy;
    strlist_sort(&gc->used);
}

void img_gc_clear(struct img_gc *gc)
{
    strlist_clear(&gc->used);
    free(gc->dir);
    *gc = (struct img_gc){0};
}

/* ---- what there is ---- */

static int by_shown(const void *name, const void *item)
{
    return strncmp(name, *(char *const *)item, SHOWN);
}

static bool is_used(const struct img_gc *gc, const char *name)
{
    return gc->used.len && bsearch(name, gc->used.items, gc->used.len, sizeof(char *), by_shown);
}

static void add_record(struct records *r, const struct record *record)
{
    if (r->len == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 64;
        r->items = xreallocarray(r->items, r->cap, sizeof(*r->items));
    }
    r->items[r->len++] = *record;
}

static void add_layer(const struct img_gc *gc, struct records *r, const char *name)
{
    struct record record = {.size = img_layer_size(gc->dir, name)};
    struct img_layer_meta meta;

    if (img_layer_used(gc->dir, name, &record.own) < 0)
        return;
    /* What nothing is known of is no layer. */
    if (img_layer_load(gc->dir, name, &meta, NULL) == 0) {
        record.kind = meta.kind;
        record.parent = meta.parent ? xstrndup(meta.parent, SHOWN) : NULL;
        img_layer_meta_clear(&meta);
    }
    record.name = xstrdup(name);
    record.used = record.own;
    add_record(r, &record);
}

static void add_mount(const struct img_gc *gc, struct records *r, const char *name)
{
    cleanup_free char *path = xasprintf("%s/cache/%s", gc->dir, name);
    struct record record = {.mount = true, .kind = IMG_LAYER_BUILT};
    struct stat st;

    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return;
    record.size = gc->thorough ? img_fold_weigh(path, gc->cancelled) : 0;
    record.own = record.used = st.st_mtim;
    record.name = xstrdup(name);
    add_record(r, &record);
}

static int by_name(const void *a, const void *b)
{
    const struct record *x = a, *y = b;

    return x->mount != y->mount ? (x->mount ? 1 : -1) : strcmp(x->name, y->name);
}

/* The record of a layer; the records are sorted by name. NULL: an image stands on it, or it is gone. */
static struct record *find_record(const struct records *r, const char *name)
{
    const struct record wanted = {.name = (char *)(uintptr_t)name};

    return name && r->len ? bsearch(&wanted, r->items, r->len, sizeof(*r->items), by_name) : NULL;
}

/* What stands on what: each record's last use counts for all below it. */
static void link_records(struct records *r)
{
    for (size_t i = 0; i < r->len; i++) {
        const struct record *from = &r->items[i];
        struct record *at = find_record(r, from->parent);

        if (at)
            at->above++;
        r->items[i].cache = r->items[i].cache || from->kind == IMG_LAYER_BUILT;
        /* A damaged note must not lead around for ever. */
        for (size_t steps = 0; at && steps < r->len; steps++, at = find_record(r, at->parent)) {
            r->items[i].depth++;
            at->cache = at->cache || from->kind == IMG_LAYER_BUILT;
            if (by_time(&at->used, &from->own) < 0)
                at->used = from->own;
        }
    }
}

static void each_name(const char *dir, const char *what, const struct img_gc *gc, struct records *r,
                      void (*add)(const struct img_gc *gc, struct records *r, const char *name))
{
    cleanup_free char *path = xasprintf("%s/%s", dir, what);
    cleanup_dir DIR *d = opendir(path);
    const struct dirent *e;

    while (d && (e = readdir(d)) && r->len < MAX_RECORDS) {
        if (e->d_name[0] != '.' && !(add == add_layer && is_used(gc, e->d_name)))
            add(gc, r, e->d_name);
    }
}

/* Everything that no image stands on, by name. */
static void list_records(struct img_gc *gc, struct records *r)
{
    each_name(gc->dir, "l", gc, r, add_layer);
    each_name(gc->dir, "cache", gc, r, add_mount);
    if (r->len)
        qsort(r->items, r->len, sizeof(*r->items), by_name);
    link_records(r);
    for (size_t i = 0; i < r->len; i++) {
        if (!r->items[i].cache)
            continue; /* on its way out */
        gc->cache_records++;
        gc->cache_bytes += r->items[i].size > 0 ? r->items[i].size : 0;
    }
}

void img_gc_count(struct img_gc *gc)
{
    struct records r = {0};

    list_records(gc, &r);
    records_clear(&r);
}

/* ---- what goes ---- */

/* The least recently used first, and of one time those that stand on others. */
static int by_age(const void *a, const void *b)
{
    const struct record *x = *(struct record *const *)a, *y = *(struct record *const *)b;
    int order = by_time(&x->used, &y->used);

    if (order != 0)
        return order;
    return x->depth < y->depth ? 1 : x->depth > y->depth ? -1 : strcmp(x->name, y->name);
}

/* A cache mount goes like a layer: out of sight first, unless a build has begun to use it. */
static char *discard_mount(const struct img_gc *gc, const struct record *record)
{
    cleanup_free char *path = xasprintf("%s/cache/%s", gc->dir, record->name), *tmp = img_store_tmp(gc->dir, NULL);
    struct stat st;

    if (!tmp || stat(path, &st) < 0 || by_time(&st.st_mtim, &record->own) != 0 || rename(path, tmp) < 0)
        return NULL;
    return steal(&tmp);
}

/* Removes one record. False when it stays because somebody needs it. */
static bool discard(struct img_gc *gc, const struct records *r, struct record *record)
{
    cleanup_free char *tmp = NULL;
    struct record *below;

    if (record->above || by_time(&record->used, record->mount ? &gc->since : &gc->busy) >= 0)
        return false;
    tmp = record->mount ? discard_mount(gc, record) : img_layer_discard(gc->dir, record->name, gc->last_use);
    if (!tmp)
        return false;
    img_store_remove(tmp);
    below = find_record(r, record->parent);
    if (below)
        below->above--;
    gc->records += record->cache;
    gc->bytes += record->size > 0 ? record->size : 0;
    return true;
}

/* Build cache goes by age and size; anything else is of no use once nothing stands on it. */
static bool may_go(const struct img_gc *gc, const struct record *record, int64_t left, int64_t now)
{
    bool old = gc->unused_secs >= 0 && now - record->used.tv_sec >= gc->unused_secs;
    bool over = gc->keep_bytes >= 0 && left > gc->keep_bytes;

    if (record->kind != IMG_LAYER_BUILT)
        return true;
    return gc->both ? old && over : old || over;
}

/* The blobs that the layers still there came from. False when that cannot be said: descriptors may have run out. */
static bool needed_blobs(const struct img_gc *gc, struct strlist *ret)
{
    cleanup_free char *path = xasprintf("%s/l", gc->dir);
    cleanup_dir DIR *d = opendir(path);
    const struct dirent *e;
    bool known = d != NULL;

    while (known && (e = readdir(d))) {
        cleanup_free char *notes = xasprintf("%s/%s/meta.json", path, e->d_name);
        struct img_layer_meta meta;

        if (e->d_name[0] == '.' || img_layer_load(gc->dir, e->d_name, &meta, NULL) < 0)
            continue;
        if (meta.blob)
            strlist_add(ret, meta.blob);
        /* What was read tells the whole key. */
        known = strcmp(meta.key, e->d_name) != 0 || !fs_exists(notes);
        img_layer_meta_clear(&meta);
    }
    strlist_sort(ret);
    return known;
}

/* Notes that a step has a layer of another key (img_step.c), when that layer has gone. */
static void drop_aliases(const struct img_gc *gc)
{
    cleanup_free char *path = xasprintf("%s/alias", gc->dir);
    cleanup_dir DIR *d = opendir(path);
    const struct dirent *e;

    while (d && (e = readdir(d))) {
        cleanup_free char *file = xasprintf("%s/%s", path, e->d_name);
        struct buf key cleanup_buf = BUF_INIT(128);
        struct timespec used;

        if (e->d_name[0] != '.' && fs_read_file(file, &key, NULL) == 0 && img_layer_used(gc->dir, key.data, &used) < 0)
            unlink(file);
    }
}

void img_gc_run(struct img_gc *gc)
{
    cleanup_strlist struct strlist blobs = STRLIST_INIT;
    struct records r = {0};
    cleanup_free struct record **order = NULL;
    struct timespec now;
    int64_t left;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    list_records(gc, &r);
    left = gc->cache_bytes;
    order = xcalloc(r.len + 1, sizeof(struct record *));
    for (size_t i = 0; i < r.len; i++)
        order[i] = &r.items[i];
    if (r.len)
        qsort(order, r.len, sizeof(struct record *), by_age);
    for (size_t i = 0; i < r.len && !(gc->cancelled && atomic_load(gc->cancelled)); i++) {
        if (may_go(gc, order[i], left, now.tv_sec) && discard(gc, &r, order[i]) && order[i]->cache)
            left -= order[i]->size > 0 ? order[i]->size : 0;
    }
    records_clear(&r);
    drop_aliases(gc);
    img_known_sweep(gc->dir);
    if (needed_blobs(gc, &blobs))
        gc->bytes += img_blobs_sweep(gc->dir, &blobs, &gc->since);
    if (gc->thorough && gc->unused_secs >= 0)
        gc->bytes += img_uploads_sweep(gc->dir, gc->unused_secs);
}

/* ---- by itself ---- */

struct sweeping {
    struct images_task task;
    struct img_gc gc;
};

static void sweep(struct images_task *t)
{
    img_gc_run(&((struct sweeping *)t)->gc);
}

static void swept(struct images_task *t)
{
    t->im->sweeping = false;
    if (t->im->sweep_waits)
        img_sweep(t->im);
}

static void free_sweeping(struct images_task *t)
{
    img_gc_clear(&((struct sweeping *)t)->gc);
    free(t);
}

void img_sweep(struct images *im)
{
    struct sweeping *s;

    im->sweep_waits = im->sweeping;
    if (im->sweeping)
        return;
    im->sweeping = true;
    s = xcalloc(1, sizeof(*s));
    s->task = (struct images_task){.run = sweep, .done = swept, .free = free_sweeping};
    img_gc_prepare(im, &s->gc);
    s->gc.unused_secs = IMG_CACHE_SECS;
    s->gc.keep_bytes = IMG_CACHE_BYTES;
    s->gc.cancelled = &s->task.cancelled;
    s->gc.thorough = img_now() - im->thorough >= IMG_THOROUGH_MS || img_now() < im->thorough;
    if (s->gc.thorough)
        im->thorough = img_now();
    img_task_start(im, &s->task);
}

/* ---- when asked ---- */

struct asking {
    struct images_task task;
    struct img_gc gc;
    struct images_usage usage;
    images_usage_fn *on_usage;
    images_pruned_fn *on_pruned;
    void *arg;
};

static void free_asking(struct images_task *t)
{
    img_gc_clear(&((struct asking *)t)->gc);
    free(t);
}

static struct asking *new_asking(struct images *im, void (*run)(struct images_task *t),
                                 void (*done)(struct images_task *t), void *arg)
{
    struct asking *a = xcalloc(1, sizeof(*a));

    a->task = (struct images_task){.run = run, .done = done, .free = free_asking};
    img_gc_prepare(im, &a->gc);
    a->gc.cancelled = &a->task.cancelled;
    a->gc.thorough = true;
    a->arg = arg;
    return a;
}

static void count(struct images_task *t)
{
    struct asking *a = (struct asking *)t;
    const struct strlist *used = &a->gc.used;

    img_gc_count(&a->gc);
    for (size_t i = 0; i < used->len; i++) {
        int64_t size = img_layer_size(a->gc.dir, used->items[i]);

        if (size > 0 && (i == 0 || strcmp(used->items[i], used->items[i - 1]) != 0))
            a->usage.image_bytes += size;
    }
    a->usage.cache_records = a->gc.cache_records;
    a->usage.cache_bytes = a->gc.cache_bytes;
    a->usage.blob_bytes = img_blobs_weigh(a->gc.dir, "blobs") + img_blobs_weigh(a->gc.dir, "files");
}

static void counted(struct images_task *t)
{
    struct asking *a = (struct asking *)t;

    if (!atomic_load(&t->cancelled))
        a->on_usage(&a->usage, a->arg);
}

struct images_task *images_usage(struct images *im, images_usage_fn *fn, void *arg)
{
    struct asking *a = new_asking(im, count, counted, arg);

    a->on_usage = fn;
    for (const struct image *i = im->list; i; i = i->next)
        a->usage.images += i->state == IMAGES_READY && !i->deleted;
    img_task_start(im, &a->task);
    return &a->task;
}

static void prune(struct images_task *t)
{
    img_gc_run(&((struct asking *)t)->gc);
}

static void pruned(struct images_task *t)
{
    struct asking *a = (struct asking *)t;

    if (!atomic_load(&t->cancelled))
        a->on_pruned(a->gc.records, a->gc.bytes, a->arg);
}

struct images_task *images_prune(struct images *im, int64_t unused_secs, int64_t keep_bytes, images_pruned_fn *fn,
                                 void *arg)
{
    struct asking *a = new_asking(im, prune, pruned, arg);

    a->on_pruned = fn;
    a->gc.both = keep_bytes > 0;
    a->gc.unused_secs = unused_secs;
    a->gc.keep_bytes = keep_bytes ? keep_bytes : -1;
    img_task_start(im, &a->task);
    return &a->task;
}
