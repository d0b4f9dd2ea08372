/* What an image is for others: its layers' digests, and the configuration that names them. */
#include "backends/engine/img_blobs.h"
#include "backends/engine/img_build.h"
#include "backends/engine/img_export.h"
#include "backends/engine/img_internal.h"
#include "backends/engine/img_layer.h"
#include "backends/engine/img_task.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "translate/dockerfile/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MEDIA_TAR "application/vnd.oci.image.layer.v1.tar"

struct describing {
    struct images_task task;
    char *dir, *id, *oci;
    struct strlist layers;
    struct images_description d;
    struct err err;
    bool failed, completed; /* completed: the configuration is another than before */
    images_described_fn *fn;
    void *arg;
};

void img_described_layers(const struct strlist *layers, struct strlist *ret)
{
    const struct strlist nothing = STRLIST_INIT;
    char empty[65];

    img_chain_key(&nothing, "empty", "", empty);
    for (size_t i = 0; i < layers->len; i++) {
        if (strcmp(layers->items[i], empty) != 0)
            strlist_add(ret, layers->items[i]);
    }
}

/* ---- in the thread ---- */

/* One layer's digests; measured when nobody has asked before. */
static int describe_layer(struct describing *g, const char *key, struct images_layer *ret,
                          enum img_layer_kind *ret_kind)
{
    struct img_layer_meta meta;
    cleanup_free char *diff_id = NULL;

    if (img_layer_diff_id(g->dir, key, &g->task.cancelled, &diff_id, &g->err) < 0 ||
        img_layer_load(g->dir, key, &meta, &g->err) < 0)
        return -1;
    *ret_kind = meta.kind;
    if (meta.tar_format)
        *ret = (struct images_layer){.digest = xstrdup(diff_id),
                                     .media_type = xstrdup(MEDIA_TAR),
                                     .size = meta.tar_size,
                                     .content = meta.tar_content};
    else
        *ret = (struct images_layer){.digest = xstrdup(meta.blob),
                                     .media_type = xstrdup(meta.media_type),
                                     .size = meta.blob ? img_blob_size(g->dir, meta.blob) : -1,
                                     .content = -1};
    ret->diff_id = steal(&diff_id);
    if (ret->size < 0 || (!meta.tar_format && ret->size != meta.blob_size))
        err_set(&g->err, 0, "layer %s is not kept here as its registry had it: pull the image again", ret->diff_id);
    img_layer_meta_clear(&meta);
    return g->err.msg ? -1 : 0;
}

/* RFC 3339 with nanoseconds, as Docker writes it. */
static json_t *time_text(const struct timespec *t)
{
    char text[64], out[96];
    struct tm tm;

    gmtime_r(&t->tv_sec, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, sizeof(out), "%s.%09ldZ", text, t->tv_nsec);
    return json_string(out);
}

static bool makes_layer(const json_t *line)
{
    return !json_is_true(json_object_get(line, "empty_layer"));
}

/* The history's lines up to the one of layer number kept, and one line for each layer above. */
static json_t *history_of(const struct describing *g, const json_t *config, size_t kept, const struct strlist *keys)
{
    const json_t *old = json_object_get(config, "history");
    json_t *history = json_array(), *line;
    size_t i, layers = 0;

    json_array_foreach(old, i, line)
    {
        if (makes_layer(line) && ++layers > kept)
            break;
        json_array_append(history, line);
    }
    for (i = kept; i < keys->len; i++) {
        struct timespec created = {0};

        img_layer_created(g->dir, keys->items[i], &created);
        line = json_pack("{s:s}", "comment", "snapshot");
        json_object_set_new(line, "created", time_text(&created));
        json_array_append_new(history, line);
    }
    return history;
}

/* Has the configuration name the layers that there are. */
static int complete(struct describing *g, json_t *config, const struct strlist *keys, size_t kept)
{
    json_t *ids = json_array(), *rootfs = json_object();
    struct timespec created = {0};

    for (size_t i = 0; i < g->d.len; i++)
        json_array_append_new(ids, json_string(g->d.layers[i].diff_id));
    json_object_set_new(config, "history", history_of(g, config, kept, keys));
    json_object_set_new(rootfs, "type", json_string("layers"));
    json_object_set_new(rootfs, "diff_ids", ids);
    json_object_set_new(config, "rootfs", rootfs);
    if (keys->len && img_layer_created(g->dir, keys->items[keys->len - 1], &created) == 0)
        json_object_set_new(config, "created", time_text(&created));
    g->d.config = df_config_text(config);
    g->completed = true;
    return 0;
}

/* The configuration as it is when it names the layers; one of a snapshot, or of an older engine, does not. */
static int settle_config(struct describing *g, const struct strlist *keys, const enum img_layer_kind *kinds)
{
    json_t *config = df_config_load(g->oci, strlen(g->oci), &g->err);
    cleanup_strlist struct strlist ids = STRLIST_INIT;
    size_t same = 0;
    int ret = 0;

    if (!config)
        return -1;
    df_config_diff_ids(config, &ids);
    while (same < ids.len && same < g->d.len && strcmp(ids.items[same], g->d.layers[same].diff_id) == 0)
        same++;
    if (same == ids.len && same == g->d.len)
        g->d.config = xstrdup(g->oci);
    else if (same < ids.len && same < g->d.len && kinds[same] == IMG_LAYER_UNKNOWN)
        ret = err_set(&g->err, 0, "layer %s was made by an earlier version, which did not keep it: %s", ids.items[same],
                      "pull or build the image again");
    else
        ret = complete(g, config, keys, same);
    json_decref(config);
    return ret;
}

static void describe(struct images_task *t)
{
    struct describing *g = (struct describing *)t;
    cleanup_strlist struct strlist keys = STRLIST_INIT;
    cleanup_free enum img_layer_kind *kinds = NULL;

    img_described_layers(&g->layers, &keys);
    kinds = xcalloc(keys.len + 1, sizeof(*kinds));
    g->d.layers = xcalloc(keys.len + 1, sizeof(*g->d.layers));
    for (size_t i = 0; i < keys.len && !g->failed; i++, g->d.len++)
        g->failed = describe_layer(g, keys.items[i], &g->d.layers[i], &kinds[i]) < 0;
    if (!g->failed)
        g->failed = settle_config(g, &keys, kinds) < 0;
}

/* ---- on the loop ---- */

/* What was found out is the image's from now on. */
static void keep_config(struct describing *g)
{
    struct image *image = img_find(g->task.im, g->id);

    if (!image || !g->completed)
        return;
    free(image->oci);
    image->oci = xstrdup(g->d.config);
    img_record_save(g->task.im, image, NULL); /* or it is found out again */
}

static void described(struct images_task *t)
{
    struct describing *g = (struct describing *)t;

    if (!g->failed)
        keep_config(g);
    images_release(t->im, g->id);
    if (!atomic_load(&t->cancelled))
        g->fn(g->failed ? NULL : &g->d, &g->err, g->arg);
}

static void free_describing(struct images_task *t)
{
    struct describing *g = (struct describing *)t;

    for (size_t i = 0; i < g->d.len; i++) {
        free(g->d.layers[i].diff_id);
        free(g->d.layers[i].digest);
        free(g->d.layers[i].media_type);
    }
    free(g->d.layers);
    free(g->d.config);
    strlist_clear(&g->layers);
    err_clear(&g->err);
    free(g->dir);
    free(g->id);
    free(g->oci);
    free(g);
}

struct images_task *images_describe(struct images *im, const char *id, images_described_fn *fn, void *arg,
                                    struct err *err)
{
    const struct image *image = img_find(im, id);
    struct describing *g;

    if (images_hold(im, id, err) < 0)
        return NULL;
    g = xcalloc(1, sizeof(*g));
    g->task = (struct images_task){.run = describe, .done = described, .free = free_describing};
    g->dir = xstrdup(im->dir);
    g->id = xstrdup(id);
    g->oci = xstrdup(image->oci);
    strlist_copy(&g->layers, &image->layers);
    g->fn = fn;
    g->arg = arg;
    img_task_start(im, &g->task);
    return &g->task;
}
