#include "backends/engine/img_build.h"

#include "backends/engine/img_config.h"
#include "backends/engine/img_layer.h"
#include "backends/engine/img_store.h"
#include "backends/engine/img_view.h"
#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DOWNLOADS 3 /* layers on their way at a time, as Docker has it */

/* One layer of the image being pulled. */
struct part {
    const struct registry_layer *layer;
    const char *diff_id; /* borrowed from diff_ids */
    char key[DIGEST_HEX + 1];
    char *file; /* where it is downloaded to; NULL = it is there already */
    bool done;
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

        if (candidate->file)
            part = candidate;
    }
    pthread_mutex_unlock(&p->lock);
    return part;
}

static int download(struct pull *p, const struct part *part, struct err *err)
{
    cleanup_close int fd = open(part->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_set_errno(err, 0, errno, "creating %s", part->file);
    return registry_blob(p->registry, part->layer->digest, part->layer->size, fd, err);
}

static void *downloader(void *arg)
{
    struct pull *p = arg;
    struct part *part;

    while ((part = take_part(p))) {
        struct err why = ERR_INIT;

        if (download(p, part, &why) < 0) {
            fail(p, &why);
            break;
        }
        img_log(p->job, "%.12s: Download complete", part->layer->digest + strlen(DIGEST_PREFIX));
        pthread_mutex_lock(&p->lock);
        part->done = true;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
    }
    return NULL;
}

/* Unpacks one downloaded part onto the layers that are there. */
static int unpack(struct pull *p, struct part *part, struct err *err)
{
    struct img_view *below = img_job_view(p->job, err);
    struct img_writer_options options = {.below = below};
    struct img_unpack how = {.whiteouts = true};
    cleanup_close int fd = open(part->file, O_RDONLY | O_CLOEXEC);
    struct img_writer *w = NULL;
    char diff[DIGEST_HEX + 1];
    int ret = -1;

    if (below && fd < 0)
        err_set_errno(err, 0, errno, "opening %s", part->file);
    else if (below)
        w = img_writer_new(p->job->dir, &options, err);
    if (w && img_unpack(w, fd, &how, diff, err) == 0) {
        if (strcmp(diff, digest_strip(part->diff_id)) != 0) {
            err_set(err, 0, "wrong diff id calculated on extraction \"" DIGEST_PREFIX "%s\"", diff);
            if (err)
                err->code = REGISTRY_CORRUPT;
        } else {
            ret = img_writer_commit(w, part->key, err);
        }
    }
    img_writer_free(w);
    img_view_free(below);
    if (ret < 0)
        err_wrap(err, "failed to register layer %s", part->layer->digest);
    unlink(part->file);
    return ret;
}

/* Waits for a part to be downloaded. */
static int await(struct pull *p, const struct part *part)
{
    bool failed;

    pthread_mutex_lock(&p->lock);
    while (!part->done && !p->failed)
        pthread_cond_wait(&p->changed, &p->lock);
    failed = p->failed;
    pthread_mutex_unlock(&p->lock);
    return failed ? -1 : 0;
}

/* Unpacks every part in its turn; bottom first, since each stands on those below. */
static void unpack_all(struct pull *p)
{
    for (size_t i = 0; i < p->len; i++) {
        struct part *part = &p->parts[i];
        struct err why = ERR_INIT;

        if (part->file) {
            if (await(p, part) < 0)
                return;
            if (unpack(p, part, &why) < 0) {
                fail(p, &why);
                return;
            }
            img_log(p->job, "%.12s: Pull complete", part->layer->digest + strlen(DIGEST_PREFIX));
        }
        strlist_add(&p->job->layers, part->key);
    }
}

/* Says what each layer is, and which must be fetched. */
static int plan(struct pull *p, struct err *err)
{
    cleanup_strlist struct strlist chain = STRLIST_INIT;

    img_config_diff_ids(p->job->config, &p->diff_ids);
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
        if (img_layer_exists(p->job->dir, part->key)) {
            img_log(p->job, "%.12s: Already exists", part->layer->digest + strlen(DIGEST_PREFIX));
            continue;
        }
        img_log(p->job, "%.12s: Pulling fs layer", part->layer->digest + strlen(DIGEST_PREFIX));
        part->file = img_store_tmp(p->job->dir, err);
        if (!part->file)
            return -1;
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
    for (size_t i = 0; i < p->len; i++) {
        if (p->parts[i].file)
            unlink(p->parts[i].file);
    }
    return p->failed ? err_move(err, &p->err) : 0;
}

/* With the image's manifest known and nobody else pulling the same. */
static int pull_locked(struct pull *p, struct err *err)
{
    const char *name = p->image.name, *colon = strrchr(name, ':');

    p->job->config = img_config_load(p->image.config, strlen(p->image.config), err);
    if (!p->job->config)
        return -1;
    img_log(p->job, "%s: Pulling from %.*s", colon && !strchr(name, '@') ? colon + 1 : p->image.digest,
            colon && !strchr(name, '@') ? (int)(colon - name) : (int)strcspn(name, "@"), name);
    if (plan(p, err) < 0 || fetch(p, err) < 0)
        return -1;
    img_log(p->job, "Digest: %s", p->image.digest);
    return 0;
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
    if (registry_image(p.registry, NULL, &p.image, err) == 0 &&
        img_lock(job->locks, p.image.manifest_digest, &job->cancelled, err) == 0) {
        ret = pull_locked(&p, err);
        img_unlock(job->locks, p.image.manifest_digest);
    }
    for (size_t i = 0; i < p.len; i++)
        free(p.parts[i].file);
    free(p.parts);
    strlist_clear(&p.diff_ids);
    registry_image_clear(&p.image);
    registry_free(p.registry);
    pthread_mutex_destroy(&p.lock);
    pthread_cond_destroy(&p.changed);
    err_clear(&p.err);
    return ret;
}
