#include "backends/engine/img_run.h"

#include "backends/engine/img_layer.h"
#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAME_SHOWN  20 /* of the digest */
#define MAX_PRIVATE 64 /* directories of one cache that builds want for themselves */

void img_cache_close(struct img_build *b, struct img_cache *cache)
{
    if (cache->lock)
        img_unlock(b->job->locks, cache->lock);
    free(cache->lock);
    free(cache->dir);
    *cache = (struct img_cache){0};
}

static void name_of(const struct df_mount *m, const struct img_tree *from, char ret[NAME_SHOWN + 1])
{
    const char *top = from && from->layers.len ? from->layers.items[from->layers.len - 1] : "";
    cleanup_free char *text =
        xasprintf("%s\n%s\n%s\n%o %lld %lld", m->id ? m->id : m->target, top, m->source ? m->source : "",
                  (unsigned)m->mode, (long long)m->uid, (long long)m->gid);
    char hex[DIGEST_HEX + 1];

    digest_of(text, strlen(text), hex);
    memcpy(ret, hex, NAME_SHOWN);
    ret[NAME_SHOWN] = '\0';
}

/* Fills a new one from a stage or an image. */
static int fill(struct img_build *b, const struct df_mount *m, const struct img_tree *from, struct img_writer *w,
                struct err *err)
{
    struct copying *c = xcalloc(1, sizeof(*c));
    cleanup_strlist struct strlist dirs = STRLIST_INIT;
    cleanup_free char *real = NULL;
    struct copy_item item = {.source = &c->source};
    struct stat st;
    int ret = -1;

    *c = (struct copying){.b = b, .mode = -1, .w = w};
    strlist_add_owned(&dirs, img_writer_dir_path(w));
    c->so_far = img_view_open(&dirs, err);
    if (c->so_far && img_source_layers(b->job, &from->layers, &c->source, err) == 0 &&
        img_source_resolve(&c->source, m->source ? m->source : "/", &real, &st, err) == 0) {
        if (S_ISDIR(st.st_mode))
            ret = copy_walk(c, &item, real, "", err);
        else
            err_set(err, 1, "cache mount: %s is not a directory", m->source);
    }
    copy_forget_links(c);
    img_source_clear(&c->source);
    img_view_free(c->so_far);
    free(c);
    return ret;
}

static int make(struct img_build *b, const struct df_mount *m, const struct img_tree *from, const char *folder,
                struct err *err)
{
    struct img_attributes a = {.uid = m->uid > 0 ? (uid_t)m->uid : 0,
                               .gid = m->gid > 0 ? (gid_t)m->gid : 0,
                               .mode = m->mode >= 0 ? (mode_t)m->mode & 07777 : 0755};
    struct img_writer_options options = {0};
    cleanup_free char *caches = xasprintf("%s/cache", b->job->dir), *id = xasprintf("%s/id", folder);
    const char *name = m->id ? m->id : m->target;
    struct img_writer *w;
    int ret = -1;

    if (fs_mkdirs(caches, 0700, err) < 0)
        return -1;
    w = img_writer_new(b->job->dir, &options, err);
    clock_gettime(CLOCK_REALTIME, &a.mtime);
    if (w && (!from || fill(b, m, from, w, err) == 0) && img_writer_dir(w, "", &a, err) == 0 &&
        img_writer_keep_as(w, folder, err) == 0)
        ret = fs_write_file(id, name, strlen(name), 0600, err);
    img_writer_free(w);
    return ret;
}

/* The directory of that name, which nobody else is making. */
static int open_named(struct img_build *b, const struct df_mount *m, const struct img_tree *from, const char *name,
                      char **ret, struct err *err)
{
    cleanup_free char *lock = xasprintf("making cache %s", name);
    cleanup_free char *folder = xasprintf("%s/cache/%s", b->job->dir, name), *dir = xasprintf("%s/f", folder);
    int r = 0;

    if (img_lock(b->job->locks, lock, &b->job->cancelled, err) < 0)
        return -1;
    if (!fs_exists(dir))
        r = make(b, m, from, folder, err);
    img_unlock(b->job->locks, lock);
    if (r < 0)
        return -1;
    utimensat(AT_FDCWD, folder, NULL, 0); /* last wanted now */
    *ret = steal(&dir);
    return 0;
}

/* A directory that no other build has at the moment. */
static int take_private(struct img_build *b, const char *base, char **ret_name, char **ret_lock, struct err *err)
{
    for (unsigned i = 0; i < MAX_PRIVATE; i++) {
        cleanup_free char *name = i ? xasprintf("%s-%u", base, i) : xstrdup(base);
        cleanup_free char *lock = xasprintf("cache %s", name);

        if (img_try_lock(b->job->locks, lock)) {
            *ret_name = steal(&name);
            *ret_lock = steal(&lock);
            return 0;
        }
    }
    return err_set(err, 1, "more than %d builds want a private cache of one id", MAX_PRIVATE);
}

int img_cache_open(struct img_build *b, const struct df_mount *m, const struct img_tree *from, struct img_cache *ret,
                   struct err *err)
{
    char base[NAME_SHOWN + 1];
    cleanup_free char *name = NULL;
    struct img_cache cache = {0};

    name_of(m, from, base);
    if (m->sharing == DF_PRIVATE) {
        if (take_private(b, base, &name, &cache.lock, err) < 0)
            return -1;
    } else {
        name = xstrdup(base);
    }
    if (m->sharing == DF_LOCKED) {
        cache.lock = xasprintf("cache %s", base);
        if (img_lock(b->job->locks, cache.lock, &b->job->cancelled, err) < 0) {
            free(cache.lock);
            return -1;
        }
    }
    if (open_named(b, m, from, name, &cache.dir, err) < 0) {
        img_cache_close(b, &cache);
        return -1;
    }
    *ret = cache;
    return 0;
}
