#include "backends/engine/img_build.h"

#include "backends/engine/img_blobs.h"
#include "backends/engine/img_known.h"
#include "backends/engine/img_layer.h"
#include "backends/engine/img_store.h"
#include "backends/engine/img_view.h"
#include "backends/registry/digest.h"
#include "backends/registry/tar.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/dockerfile/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DOWNLOADS   3   /* layers on their way at a time, as Docker has it */
#define PROGRESS_MS 250 /* between two words about how far one is */

/* One layer of the image being pulled. */
struct part {
    const struct registry_layer *layer;
    const char *diff_id; /* borrowed from diff_ids */
    char key[DIGEST_HEX + 1];
    enum { PART_NEEDED, PART_THERE, PART_DOWNLOADED } state;
    bool locked; /* nobody else is making this layer */
};

/* A pull under way: threads download parts in order, the build's own thread unpacks them in order. */
struct pull {
    struct img_job *job;
    struct registry *registry;
    struct registry_image image;
    struct strlist diff_ids;
    struct part *parts;
    size_t len;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t next; /* the first part that nobody has taken yet */
    bool failed;
    struct err err; /* the first failure */
};

/* The first failure is the one that is told; the others are its consequence. */
static void fail(struct pull *p, struct err *why)
{
    pthread_mutex_lock(&p->lock);
    if (!p->failed)
        err_move(&p->err, why);
    p->failed = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    atomic_store(&p->job->cancelled, true);
    err_clear(why);
}

/* The next part that must be downloaded; NULL when there is none left, or the pull has failed. */
static struct part *take_part(struct pull *p)
{
    struct part *part = NULL;

    pthread_mutex_lock(&p->lock);
    while (!part && !p->failed && p->next < p->len) {
        struct part *candidate = &p->parts[p->next++];

        if (candidate->state == PART_NEEDED)
            part = candidate;
    }
    pthread_mutex_unlock(&p->lock);
    return part;
}

/* Whether a layer is there, with a blob to give it back from (which older engines did not keep). */
static bool is_there(const struct pull *p, const struct part *part)
{
    struct img_layer_meta meta;
    bool there;

    if (!img_layer_exists(p->job->dir, part->key) || img_layer_load(p->job->dir, part->key, &meta, NULL) < 0)
        return false;
    there = meta.blob && img_blob_size(p->job->dir, meta.blob) == meta.blob_size;
    img_layer_meta_clear(&meta);
    return there;
}

/* A blob on its way, and when it was last told how far it is. */
struct transfer {
    struct pull *pull;
    const struct registry_layer *layer;
    int fd;
    int64_t got, told_ms;
};

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int on_bytes(const void *bytes, size_t len, void *arg, struct err *err)
{
    struct transfer *t = arg;
    const char *p = bytes;

    t->got += (int64_t)len;
    while (len) {
        ssize_t n = write(t->fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 0, errno, "writing a layer");
        p += n;
        len -= (size_t)n;
    }
    if (now_ms() - t->told_ms >= PROGRESS_MS) {
        cleanup_free char *what = xasprintf("%.12s: Downloading", t->layer->digest + strlen(DIGEST_PREFIX));

        t->told_ms = now_ms();
        img_log_progress(t->pull->job, what, t->got, t->layer->size);
    }
    return 0;
}

/* Downloads the blob to tmp/ and keeps it. */
static int download(struct pull *p, const struct part *part, struct err *err)
{
    cleanup_free char *file = img_store_tmp(p->job->dir, err);
    struct transfer t = {.pull = p, .layer = part->layer, .told_ms = now_ms()};
    cleanup_close int fd = -1;
    int ret;

    if (!file)
        return -1;
    t.fd = fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, 0, errno, "creating %s", file);
    ret = registry_blob_read(p->registry, part->layer->digest, part->layer->size, on_bytes, &t, err);
    if (ret == 0)
        ret = img_blob_keep(p->job->dir, part->layer->digest, file, err);
    if (ret < 0)
        unlink(file);
    return ret;
}

/* Gets the blob unless it is there: two layers, also of two images, may have the same. */
static int get_blob(struct pull *p, const struct part *part, struct err *err)
{
    int ret = 0;

    if (img_lock(p->job->locks, part->layer->digest, &p->job->cancelled, err) < 0)
        return -1;
    if (img_blob_size(p->job->dir, part->layer->digest) != part->layer->size)
        ret = download(p, part, err);
    img_unlock(p->job->locks, part->layer->digest);
    return ret;
}

static void set_state(struct pull *p, struct part *part, int state)
{
    pthread_mutex_lock(&p->lock);
    part->state = state;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

/*
 * One layer: whoever pulls an image that has it too waits for us, or we for them. That cannot end in a ring: layers are
 * shared from the bottom up only, and the lowest one that is not there is being made by somebody who waits for none.
 */
static int obtain(struct pull *p, struct part *part, struct err *err)
{
    if (img_lock(p->job->locks, part->key, &p->job->cancelled, err) < 0)
        return -1;
    part->locked = true;
    if (is_there(p, part)) {
        img_log(p->job, "%.12s: Already exists", part->layer->digest + strlen(DIGEST_PREFIX));
        set_state(p, part, PART_THERE);
        return 0;
    }
    if (get_blob(p, part, err) < 0)
        return -1;
    img_log(p->job, "%.12s: Download complete", part->layer->digest + strlen(DIGEST_PREFIX));
    set_state(p, part, PART_DOWNLOADED);
    return 0;
}

static void *downloader(void *arg)
{
    struct pull *p = arg;
    struct part *part;

    while ((part = take_part(p))) {
        struct err why = ERR_INIT;

        if (obtain(p, part, &why) < 0) {
            fail(p, &why);
            break;
        }
    }
    return NULL;
}

static int check_diff(const struct part *part, const char *hex, struct err *err)
{
    if (strcmp(hex, digest_strip(part->diff_id)) == 0)
        return 0;
    err_set(err, 0, "wrong diff id calculated on extraction \"" DIGEST_PREFIX "%s\"", hex);
    if (err)
        err->code = REGISTRY_CORRUPT;
    return -1;
}

/* Makes the layer on those that are there. */
static int make_layer(struct pull *p, const struct part *part, const struct img_layer_meta *meta, int fd,
                      struct err *err)
{
    struct img_view *below = img_job_view(p->job, err);
    struct img_writer_options options = {.below = below, .meta = meta};
    struct img_unpack how = {.whiteouts = true};
    struct img_writer *w = below ? img_writer_new(p->job->dir, &options, err) : NULL;
    char diff[DIGEST_HEX + 1];
    int ret = -1;

    if (w && img_unpack(w, fd, &how, diff, err) == 0 && check_diff(part, diff, err) == 0)
        ret = img_writer_commit(w, part->key, err);
    img_writer_free(w);
    img_view_free(below);
    return ret;
}

/* The files are there, from an engine that kept no blobs: from now on it is known where the layer came from. */
static int add_blob(struct pull *p, const struct part *part, struct img_layer_meta *meta, int fd, struct err *err)
{
    struct img_layer_meta old;
    char diff[DIGEST_HEX + 1];
    int64_t size;

    if (tar_uncompress(fd, -1, diff, &size, err) < 0 || check_diff(part, diff, err) < 0 ||
        img_layer_load(p->job->dir, part->key, &old, err) < 0)
        return -1;
    meta->created = old.created;
    img_layer_meta_clear(&old);
    return img_layer_save(p->job->dir, part->key, meta, err);
}

/* Turns one downloaded part into a layer. */
static int unpack(struct pull *p, const struct part *part, struct err *err)
{
    const struct strlist *below = &p->job->layers;
    cleanup_free char *file = img_blob_path(p->job->dir, part->layer->digest);
    cleanup_close int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct img_layer_meta meta = {.kind = IMG_LAYER_PULLED,
                                  .parent = below->len ? below->items[below->len - 1] : NULL,
                                  .diff_id = (char *)(uintptr_t)part->diff_id,
                                  .tar_size = -1,
                                  .blob = part->layer->digest,
                                  .media_type = part->layer->media_type,
                                  .blob_size = part->layer->size};
    int ret;

    if (fd < 0)
        ret = err_set_errno(err, 0, errno, "opening %s", file);
    else if (img_layer_exists(p->job->dir, part->key))
        ret = add_blob(p, part, &meta, fd, err);
    else
        ret = make_layer(p, part, &meta, fd, err);
    return ret < 0 ? err_wrap(err, "failed to register layer %s", part->layer->digest) : 0;
}

/* Waits until a part is there or downloaded. */
static int await(struct pull *p, const struct part *part)
{
    bool failed;

    pthread_mutex_lock(&p->lock);
    while (part->state == PART_NEEDED && !p->failed)
        pthread_cond_wait(&p->changed, &p->lock);
    failed = p->failed;
    pthread_mutex_unlock(&p->lock);
    return failed ? -1 : 0;
}

static void let_go(struct pull *p, struct part *part)
{
    if (part->locked)
        img_unlock(p->job->locks, part->key);
    part->locked = false;
}

/* Unpacks every part in its turn; bottom first, since each stands on those below. */
static void unpack_all(struct pull *p)
{
    for (size_t i = 0; i < p->len; i++) {
        struct part *part = &p->parts[i];
        struct err why = ERR_INIT;

        if (await(p, part) < 0)
            return;
        if (part->state == PART_DOWNLOADED) {
            if (unpack(p, part, &why) < 0) {
                fail(p, &why);
                return;
            }
            img_log(p->job, "%.12s: Pull complete", part->layer->digest + strlen(DIGEST_PREFIX));
        }
        let_go(p, part);
        strlist_add(&p->job->layers, part->key);
    }
}

/* Says what each layer is, and which must be fetched. */
static int plan(struct pull *p, struct err *err)
{
    cleanup_strlist struct strlist chain = STRLIST_INIT;

    df_config_diff_ids(p->job->config, &p->diff_ids);
    if (p->diff_ids.len != p->image.layers_len) {
        err_set(err, 0, "layers from manifest don't match image configuration");
        if (err)
            err->code = REGISTRY_CORRUPT;
        return -1;
    }
    p->len = p->image.layers_len;
    p->parts = xcalloc(p->len + 1, sizeof(*p->parts));
    for (size_t i = 0; i < p->len; i++) {
        struct part *part = &p->parts[i];

        part->layer = &p->image.layers[i];
        part->diff_id = p->diff_ids.items[i];
        img_chain_key(&chain, "layer", part->diff_id, part->key);
        strlist_add(&chain, part->key);
        part->state = is_there(p, part) ? PART_THERE : PART_NEEDED;
        img_log(p->job, part->state == PART_THERE ? "%.12s: Already exists" : "%.12s: Pulling fs layer",
                part->layer->digest + strlen(DIGEST_PREFIX));
    }
    return 0;
}

/* Downloads and unpacks what is missing. */
static int fetch(struct pull *p, struct err *err)
{
    pthread_t threads[DOWNLOADS];
    size_t started = 0;

    for (size_t i = 0; i < DOWNLOADS && i < p->len; i++)
        started += pthread_create(&threads[started], NULL, downloader, p) == 0;
    if (!started)
        downloader(p);
    unpack_all(p);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < p->len; i++)
        let_go(p, &p->parts[i]);
    return p->failed ? err_move(err, &p->err) : 0;
}

/* With the image's manifest known and nobody else pulling the same. */
static int pull_locked(struct pull *p, const char *reference, struct err *err)
{
    const char *name = p->image.name, *colon = strrchr(name, ':');

    p->job->config = df_config_load(p->image.config, strlen(p->image.config), err);
    if (!p->job->config) {
        if (err)
            err->code = REGISTRY_CORRUPT;
        return -1;
    }
    free(p->job->config_text);
    p->job->config_text = xstrdup(p->image.config);
    img_log(p->job, "%s: Pulling from %.*s", colon && !strchr(name, '@') ? colon + 1 : p->image.digest,
            colon && !strchr(name, '@') ? (int)(colon - name) : (int)strcspn(name, "@"), name);
    if (plan(p, err) < 0 || fetch(p, err) < 0)
        return -1;
    img_log(p->job, "Digest: %s", p->image.digest);
    if (p->len)
        img_known_keep(p->job->dir, reference, &p->image, p->parts[p->len - 1].key);
    return 0;
}

/* Whether the image is known by its digest and has all its layers here: its registry need not be there then. */
static bool find_known(struct pull *p, const char *reference)
{
    cleanup_strlist struct strlist ids = STRLIST_INIT, chain = STRLIST_INIT;
    struct registry_image image = REGISTRY_IMAGE_INIT;
    cleanup_with(df_config_freep) json_t *config = NULL;
    bool there;

    if (img_known_find(p->job->dir, reference, &image) <= 0)
        return false;
    config = df_config_load(image.config, strlen(image.config), NULL);
    if (config)
        df_config_diff_ids(config, &ids);
    there = ids.len && ids.len == image.layers_len;
    for (size_t i = 0; there && i < ids.len; i++) {
        struct part part = {.layer = &image.layers[i], .diff_id = ids.items[i]};

        img_chain_key(&chain, "layer", part.diff_id, part.key);
        strlist_add(&chain, part.key);
        there = is_there(p, &part);
    }
    if (there)
        p->image = image;
    else
        registry_image_clear(&image);
    return there;
}

int img_pull(struct img_job *job, const char *reference, struct err *err)
{
    struct registry_options options = {
        .mirrors = job->mirrors, .user = job->user, .password = job->password, .cancelled = &job->cancelled};
    struct pull p = {.job = job, .registry = registry_open(reference, &options, err), .err = ERR_INIT};
    int ret = -1;

    if (!p.registry)
        return -1;
    pthread_mutex_init(&p.lock, NULL);
    pthread_cond_init(&p.changed, NULL);
    if ((find_known(&p, reference) || registry_image(p.registry, NULL, &p.image, err) == 0) &&
        img_lock(job->locks, p.image.manifest_digest, &job->cancelled, err) == 0) {
        ret = pull_locked(&p, reference, err);
        img_unlock(job->locks, p.image.manifest_digest);
    }
    free(p.parts);
    strlist_clear(&p.diff_ids);
    registry_image_clear(&p.image);
    registry_free(p.registry);
    pthread_mutex_destroy(&p.lock);
    pthread_cond_destroy(&p.changed);
    err_clear(&p.err);
    return ret;
}
