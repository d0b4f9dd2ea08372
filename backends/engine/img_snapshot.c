/*
 * Snapshots: an image made of a container's image and of what the container has changed. Containers are stopped and
 * started again from their snapshots many times, so a chain must not grow for ever: older snapshots' layers that are
 * not much larger than what lies above them are folded into the new one. So each layer is at least twice as large as
 * the next above, there are few of them however many snapshots were made, and a large one is rarely copied again.
 */
#include "backends/engine/img_build.h"
#include "backends/engine/img_fold.h"
#include "backends/engine/img_internal.h"
#include "backends/engine/img_layer.h"
#include "backends/engine/img_store.h"
#include "backends/engine/img_view.h"
#include "backends/engine/timer.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "compat/sys/random.h"
#include "translate/dockerfile/config.h"

#include <errno.h>
#include <string.h>

#define FLOOR      (1 << 20)      /* layers smaller than this are always folded together */
#define MAX_OWN    40u            /* layers of snapshots in one chain, should sizes not do it */
#define EXPIRY_MAX (3600u * 1000) /* the clock may be set: look at it at least so often */

/* ---- in the thread ---- */

/* How many of the base's topmost layers are to be folded into one with `weight` bytes of changes. */
static size_t choose_folded(const struct img_job *job, int64_t weight)
{
    size_t n = 0;

    for (; n < job->own; n++) {
        int64_t size = img_layer_size(job->dir, job->base_layers.items[job->base_layers.len - 1 - n]);

        if (size > FLOOR && size / 2 > weight && job->own - n < MAX_OWN)
            break;
        weight += size > 0 ? size : 0;
    }
    return n;
}

/* The directories to fold, topmost first, and the view of those that stay below. */
static struct img_view *split(const struct img_job *job, size_t folded, struct strlist *dirs, struct err *err)
{
    const struct strlist *layers = &job->base_layers;
    cleanup_strlist struct strlist rest = STRLIST_INIT;

    strlist_add(dirs, job->upper);
    for (size_t i = layers->len; i-- > 0;)
        strlist_add_owned(layers->len - i <= folded ? dirs : &rest, img_layer_dir(job->dir, layers->items[i]));
    return img_view_open(&rest, err);
}

/* Makes the layer; its key says nothing about its contents, which were there for a moment only. */
static int make_layer(struct img_job *job, size_t folded, char key[65], struct err *err)
{
    cleanup_strlist struct strlist dirs = STRLIST_INIT;
    cleanup_free char *tmp = img_store_tmp(job->dir, err);
    cleanup_free char *root = tmp ? xasprintf("%s/f", tmp) : NULL;
    struct img_fold fold = {.dirs = &dirs, .cancelled = &job->cancelled};
    size_t below = job->base_layers.len - folded;
    const struct img_layer_meta meta = {.kind = IMG_LAYER_SNAPSHOT,
                                        .parent = below ? job->base_layers.items[below - 1] : NULL};
    int64_t size = 0;
    int ret = -1;

    if (!tmp || random_hex(key, 64, err) < 0)
        return -1;
    fold.below = split(job, folded, &dirs, err);
    if (fold.below && fs_mkdirs(root, 0755, err) == 0 && img_fold(&fold, root, &size, err) == 0)
        ret = img_layer_keep_as(job->dir, tmp, key, size, &meta, err);
    img_view_free(fold.below);
    if (ret < 0)
        img_store_remove(tmp);
    return ret;
}

int img_snapshot_run(struct img_job *job, struct err *err)
{
    int64_t weight = img_fold_weigh(job->upper, &job->cancelled);
    char key[65];
    size_t folded;

    if (weight < 0)
        return err_set(err, 0, "the container's files cannot be read");
    folded = choose_folded(job, weight);
    job->config = df_config_load(job->base_config, strlen(job->base_config), err);
    if (!job->config || make_layer(job, folded, key, err) < 0)
        return -1;
    for (size_t i = 0; i + folded < job->base_layers.len; i++)
        strlist_add(&job->layers, job->base_layers.items[i]);
    strlist_add(&job->layers, key);
    job->own += 1 - folded;
    return 0;
}

/* ---- on the loop ---- */

/* The image that a container stands on: it may be deleted, its layers are not. */
static struct image *find_base(struct images *im, const char *id)
{
    for (struct image *i = im->list; i; i = i->next)
        if (i->state == IMAGES_READY && strcmp(i->id, id) == 0)
            return i;
    return NULL;
}

char *images_by_key(struct images *im, const char *key)
{
    const struct image *i = img_find_key(im, key);

    return i ? xstrdup(i->id) : NULL;
}

int images_snapshot(struct images *im, const struct images_snapshot *snapshot, char **ret_id, struct err *err)
{
    struct image *base = find_base(im, snapshot->base_id), *image;
    struct build_run *run;

    if (!base)
        return err_set(err, 0, "image %s not found", snapshot->base_id);
    run = xcalloc(1, sizeof(*run));
    run->job.dir = xstrdup(im->dir);
    run->job.upper = xstrdup(snapshot->upper);
    run->job.base_config = xstrdup(base->oci);
    run->job.own = base->own;
    strlist_copy(&run->job.base_layers, &base->layers);
    image = img_start(im, run, snapshot->key, err);
    if (!image)
        return -1;
    run->base = base;
    base->holds++;
    run->done = snapshot->done;
    run->arg = snapshot->arg;
    image->expires = snapshot->ttl_secs < 0 ? 0 : img_now() + snapshot->ttl_secs * 1000;
    img_expire(im);
    *ret_id = xstrdup(image->id);
    return 0;
}

/* ---- expiry ---- */

static void on_expiry(void *arg)
{
    img_expire(arg);
}

void img_expire(struct images *im)
{
    cleanup_strlist struct strlist over = STRLIST_INIT;
    int64_t now = img_now(), next = INT64_MAX;

    for (const struct image *i = im->list; i; i = i->next) {
        if (!i->expires || i->deleted)
            continue;
        if (i->expires <= now && i->state == IMAGES_READY)
            strlist_add(&over, i->id);
        else if (i->expires < next)
            next = i->expires;
    }
    for (size_t i = 0; i < over.len; i++)
        images_delete(im, over.items[i], NULL);
    timer_stop(&im->expiry);
    if (next == INT64_MAX)
        return;
    next = next > now + 1000 ? next - now : 1000;
    timer_start(&im->expiry, im->loop, next < EXPIRY_MAX ? (uint64_t)next : EXPIRY_MAX, on_expiry, im);
}
