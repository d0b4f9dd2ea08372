#include "shim/keep.h"

#include "backends/blobs/blobs.h"
#include "backends/registry/archive.h"
#include "backends/registry/manifest.h"
#include "backends/state/state.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/sha256.h"
#include "shim/app.h"
#include "shim/progress.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define PLAIN_TAR "application/vnd.oci.image.layer.v1.tar"
#define HEX(id)   ((id) + strlen("sha256:"))

DEFINE_CLEANUP(struct blob_writer *, blob_writer_free)

char *keep_image_id(const char *config)
{
    char hex[2 * SHA256_LEN + 1];
    uint8_t sum[SHA256_LEN];

    sha256(config, strlen(config), sum);
    sha256_hex(sum, hex);
    return xasprintf("sha256:%s", hex);
}

/* ---- putting ---- */

/* A blob that holds what is called key. */
static int note(struct blobs *b, const char *key, const char *digest, int64_t size, const char *type, struct err *err)
{
    struct blob_note n = {.size = size};

    snprintf(n.digest, sizeof(n.digest), "%s", digest);
    snprintf(n.media_type, sizeof(n.media_type), "%s", type);
    return blobs_note(b, key, &n, err);
}

static int keep_manifest(struct blobs *b, const struct archived_image *image, struct err *err)
{
    cleanup_with(blob_writer_freep) struct blob_writer *w = blob_writer_new(b, err);
    cleanup_free char *digest = NULL;
    size_t len = strlen(image->manifest);

    if (!w || blob_writer_add(w, image->manifest, len, err) < 0 || blob_writer_commit(w, NULL, &digest, err) < 0)
        return -1;
    return note(b, image->id, digest, (int64_t)len, image->manifest_type, err);
}

int keep_archived(struct app *app, struct image_archive *archive, size_t index, struct progress *progress,
                  struct err *err)
{
    const struct archived_image *image = image_archive_get(archive, index);
    struct blobs *b = app_blobs(app, err);

    if (!b)
        return -1;
    for (size_t k = 0; k < image->layers.len; k++) {
        const char *diff_id = image->layers.items[k];
        struct archived_layer layer;
        struct blob_note known;
        bool had = blobs_find(b, diff_id, &known);

        if (image_archive_layer(archive, index, k, &layer, err) < 0 ||
            blobs_put_file(b, layer.path, layer.digest, err) < 0)
            return -1;
        if (had)
            continue; /* in the form in which it came first */
        if (note(b, diff_id, layer.digest, layer.size, layer.media_type, err) < 0)
            return -1;
        progress_bytes(progress, HEX(diff_id), "Loading layer", layer.size, layer.size);
    }
    return image->manifest ? keep_manifest(b, image, err) : 0;
}

int keep_layer(struct app *app, struct blob_writer *w, int64_t size, char **ret_diff_id, char **ret_path,
               struct err *err)
{
    struct blobs *b = app_blobs(app, err);
    cleanup_free char *digest = NULL;

    if (!b || blob_writer_commit(w, NULL, &digest, err) < 0 || note(b, digest, digest, size, PLAIN_TAR, err) < 0)
        return -1;
    *ret_path = blobs_file(b, digest);
    *ret_diff_id = steal(&digest);
    return 0;
}

/* ---- what is needed ---- */

/* The layers of the manifest that came with the image, if there is one. */
static void need_manifest(const struct blobs *b, const char *id, struct strlist *keep)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_MANIFEST);
    struct registry_image manifest = REGISTRY_IMAGE_INIT;
    cleanup_err struct err why = ERR_INIT;
    struct blob_note found;
    int64_t config_size;

    strlist_add(keep, id);
    if (!blobs_find(b, id, &found) || found.size > (int64_t)LIMIT_MANIFEST ||
        blobs_read_text(b, found.digest, &text, &why) < 0)
        return;
    if (manifest_parse(text.data, text.len, &manifest, &config_size, &why) == 0)
        for (size_t i = 0; i < manifest.layers_len; i++)
            strlist_add(keep, manifest.layers[i].digest);
    registry_image_clear(&manifest);
}

static void need_layers(const char *config, struct strlist *keep)
{
    json_auto_t *root = json_loads(config, 0, NULL);
    const json_t *id;
    size_t i;

    json_array_foreach(json_object_get(json_object_get(root, "rootfs"), "diff_ids"), i, id)
    {
        if (json_is_string(id))
            strlist_add(keep, json_string_value(id));
    }
}

int keep_sweep(struct app *app, struct err *err)
{
    cleanup_strlist struct strlist keep = STRLIST_INIT;
    struct state_image *list = NULL;
    struct blobs *b;
    size_t len = 0;
    int got;

    if (app_state(app, err) < 0 || !(b = app_blobs(app, err)))
        return -1;
    got = blobs_alone(b, err);
    if (got <= 0)
        return got;
    if (state_image_list_all(app->state, &list, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        need_manifest(b, list[i].id, &keep);
        need_layers(list[i].config, &keep);
        state_image_clear(&list[i]);
    }
    free(list);
    return blobs_sweep(b, &keep, /* min_age_secs= */ 0, NULL, err);
}
