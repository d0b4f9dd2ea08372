#include "shim/image_layers.h"

#include "agent_digest.h"
#include "backends/blobs/blobs.h"
#include "backends/modal/client.h"
#include "backends/modal/engine_images.h"
#include "backends/modal/image.h"
#include "backends/registry/auth.h"
#include "backends/registry/client.h"
#include "backends/registry/digest.h"
#include "backends/registry/manifest.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/strlist.h"
#include "shim/agent.h"
#include "shim/agent_layer.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/config_lines.h"
#include "shim/keep.h"
#include "translate/reference.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_PARENTS 64 /* images built on images built on images: a chain that never ends is a damaged state */
#define READ_PIECE  (256u << 10)

DEFINE_CLEANUP(struct blob_writer *, blob_writer_free)

/* Where one layer's bytes are. */
struct place {
    enum { IN_BLOBS, IN_REGISTRY, IN_ENGINE } kind;
    size_t owner; /* of registries or engines */
    size_t index; /* of the layer there */
};

struct engine_source {
    char *modal_id;
    struct engine_image image;
};

struct image_layers_source {
    struct blobs *blobs;  /* the app's */
    struct place *places; /* one for each item */
    struct registry **registries;
    size_t registries_len;
    struct engine_source *engines;
    size_t engines_len;
    char *parent_config; /* of the registry's image that was read last */
};

void image_layers_clear(struct image_layers *l)
{
    struct image_layers_source *s = l->source;

    for (size_t i = 0; i < l->len; i++) {
        free(l->items[i].diff_id);
        free(l->items[i].digest);
        free(l->items[i].media_type);
        free(l->items[i].repository);
    }
    for (size_t i = 0; s && i < s->registries_len; i++)
        registry_free(s->registries[i]);
    for (size_t i = 0; s && i < s->engines_len; i++) {
        free(s->engines[i].modal_id);
        engine_image_clear(&s->engines[i].image);
    }
    if (s) {
        free(s->parent_config);
        free(s->places);
        free(s->registries);
        free(s->engines);
    }
    free(s);
    free(l->items);
    free(l->config);
    free(l->manifest);
    free(l->manifest_type);
    *l = (struct image_layers)IMAGE_LAYERS_INIT;
}

static void add_item(struct image_layers *l, struct image_layer item, struct place place)
{
    l->items = xreallocarray(l->items, l->len + 1, sizeof(*l->items));
    l->source->places = xreallocarray(l->source->places, l->len + 1, sizeof(*l->source->places));
    l->items[l->len] = item;
    l->source->places[l->len++] = place;
}

/* The diff ids that a configuration tells; none when it does not. */
static void diff_ids(const char *config, struct strlist *ret)
{
    json_t *j = json_loads(config, 0, NULL);
    const json_t *list = json_object_get(json_object_get(j, "rootfs"), "diff_ids"), *id;
    size_t i;

    json_array_foreach(list, i, id)
    {
        if (digest_strip(json_string_value(id) ? json_string_value(id) : ""))
            strlist_add(ret, json_string_value(id));
    }
    json_decref(j);
}

/* How many instructions of the history have left a layer. */
static size_t filled_steps(const char *config)
{
    json_t *j = json_loads(config, 0, NULL);
    const json_t *step;
    size_t i, count = 0;

    json_array_foreach(json_object_get(j, "history"), i, step) count +=
        !json_is_true(json_object_get(step, "empty_layer"));
    json_decref(j);
    return count;
}

/* ---- from a registry ---- */

/* The layers of a reference by digest; the manifest too when the image itself is meant, else *ret_steps. */
static int add_registry(struct image_layers *l, const char *reference, bool whole, size_t *ret_steps, struct err *err)
{
    static const struct registry_options options = {.credentials = auth_find};
    struct image_layers_source *s = l->source;
    struct registry_image found = REGISTRY_IMAGE_INIT;
    cleanup_strlist struct strlist ids = STRLIST_INIT;
    struct registry *r = registry_open(reference, &options, err);
    struct reference ref = {0};
    cleanup_free char *name = NULL;
    int ret = -1;

    if (!r)
        return -1;
    s->registries = xreallocarray(s->registries, s->registries_len + 1, sizeof(struct registry *));
    s->registries[s->registries_len++] = r;
    if (registry_image(r, NULL, &found, err) < 0 || reference_parse(reference, &ref, err) < 0)
        goto out;
    name = reference_name(&ref);
    diff_ids(found.config, &ids);
    if (ids.len != found.layers_len) {
        err_set(err, 0, "layers from manifest don't match image configuration");
        goto out;
    }
    for (size_t i = 0; i < ids.len; i++) {
        const struct registry_layer *from = &found.layers[i];

        add_item(l,
                 (struct image_layer){xstrdup(ids.items[i]), xstrdup(from->digest), xstrdup(from->media_type),
                                      from->size, xstrdup(name)},
                 (struct place){IN_REGISTRY, s->registries_len - 1, i});
    }
    free(s->parent_config);
    s->parent_config = xstrdup(found.config);
    if (ret_steps)
        *ret_steps = filled_steps(found.config);
    if (whole) {
        l->config = steal(&found.config);
        l->manifest = steal(&found.manifest);
        l->manifest_type = steal(&found.manifest_type);
    }
    ret = 0;
out:
    reference_clear(&ref);
    registry_image_clear(&found);
    return ret;
}

/* ---- from this machine ---- */

/* Adds the layers from the given one on when all of them are here. */
static bool add_blobs(struct image_layers *l, const struct strlist *ids, size_t from)
{
    struct blob_note note;

    for (size_t i = from; i < ids->len; i++) {
        if (!blobs_find(l->source->blobs, ids->items[i], &note))
            return false;
    }
    for (size_t i = from; i < ids->len; i++) {
        if (!blobs_find(l->source->blobs, ids->items[i], &note))
            return false;
        add_item(l,
                 (struct image_layer){xstrdup(ids->items[i]), xstrdup(note.digest), xstrdup(note.media_type), note.size,
                                      NULL},
                 (struct place){IN_BLOBS, 0, i});
    }
    return true;
}

/* The manifest with which the image came here, when its layers are still those that it names. */
static void add_kept_manifest(struct image_layers *l, const char *id)
{
    struct buf text cleanup_buf = BUF_INIT(LIMIT_MANIFEST);
    struct registry_image named = REGISTRY_IMAGE_INIT;
    struct blob_note note;
    int64_t size;
    bool good = blobs_find(l->source->blobs, id, &note) && note.size <= (int64_t)LIMIT_MANIFEST &&
                blobs_read_text(l->source->blobs, note.digest, &text, NULL) == 0 &&
                manifest_parse(text.data, text.len, &named, &size, NULL) == 0 && named.layers_len == l->len &&
                strcmp(named.config_digest, id) == 0;

    for (size_t i = 0; good && i < l->len; i++)
        good = blobs_size(l->source->blobs, named.layers[i].digest) == named.layers[i].size;
    for (size_t i = 0; good && i < l->len; i++) {
        struct image_layer *item = &l->items[i];

        free(item->digest);
        free(item->media_type);
        item->digest = xstrdup(named.layers[i].digest);
        item->media_type = xstrdup(named.layers[i].media_type);
        item->size = named.layers[i].size;
    }
    if (good) {
        l->manifest = buf_detach(&text);
        l->manifest_type = xstrdup(note.media_type);
    }
    registry_image_clear(&named);
}

/* Whether what was added since `from` are the first of these diff ids. */
static bool begins_with(const struct image_layers *l, size_t from, const struct strlist *ids)
{
    if (l->len - from > ids->len)
        return false;
    for (size_t i = from; i < l->len; i++) {
        if (strcmp(l->items[i].diff_id, ids->items[i - from]) != 0)
            return false;
    }
    return true;
}

/* ---- from a server that tells ---- */

/* Whether these can be digests at all: they become parts of URLs and names. */
static bool is_sound(const struct engine_image *told)
{
    for (size_t i = 0; i < told->len; i++) {
        const struct engine_layer *l = &told->layers[i];

        if (!l->diff_id || !digest_strip(l->diff_id) || !l->digest || !digest_strip(l->digest) || !l->media_type ||
            l->size < 0)
            return false;
    }
    return told->config != NULL;
}

/* The layers with these diff ids (all when there are none) as the engine tells them; 1, 0 = it tells nothing that fits,
 * -1. */
static int add_engine(struct app *app, struct image_layers *l, const char *modal_id, const struct strlist *ids,
                      char **ret_config, struct err *err)
{
    struct image_layers_source *s = l->source;
    struct engine_image told = ENGINE_IMAGE_INIT;
    size_t count = ids->len;
    int got = engine_image_describe(app->modal, modal_id, &told, err);

    if (got <= 0)
        return got;
    if (!is_sound(&told)) {
        engine_image_clear(&told);
        return err_set(err, 0, "the server tells layers that are none");
    }
    for (size_t i = 0; i < count; i++) {
        if (i >= told.len || strcmp(told.layers[i].diff_id, ids->items[i]) != 0) {
            engine_image_clear(&told);
            return 0;
        }
    }
    count = count ? count : told.len;
    s->engines = xreallocarray(s->engines, s->engines_len + 1, sizeof(*s->engines));
    s->engines[s->engines_len++] = (struct engine_source){xstrdup(modal_id), told};
    for (size_t i = 0; i < count; i++) {
        const struct engine_layer *from = &told.layers[i];

        add_item(l,
                 (struct image_layer){xstrdup(from->diff_id), xstrdup(from->digest), xstrdup(from->media_type),
                                      from->size, NULL},
                 (struct place){IN_ENGINE, s->engines_len - 1, i});
    }
    *ret_config = xstrdup(told.config);
    return 1;
}

/* ---- made by the agent ---- */

/* One of the server's ids of an image of this machine: without the agent where there is one. */
static int server_id(struct app *app, const struct state_image *image, char **ret, struct err *err)
{
    int got = catalog_base_id(app, image->id, ret, err);

    if (got != 0)
        return got < 0 ? -1 : 0;
    return catalog_on_server(app, image, NULL, ret, err);
}

/* The same of what a parent says; config is a registry's. */
static int parent_id(struct app *app, const char *parent, const char *config, char **ret, struct err *err)
{
    struct modal_image_spec spec = {0};
    struct modal_image built = MODAL_IMAGE_INIT;
    struct state_image image = {0};
    cleanup_free char *app_id = NULL, *secret = NULL;
    int got;

    if (digest_strip(parent)) {
        got = state_image_kept(app->state, parent, &image, err);
        if (got > 0)
            got = server_id(app, &image, ret, err);
        else if (got == 0)
            got = err_set(err, 0, "the image that it was built on (%.19s) is not here any more", parent);
        state_image_clear(&image);
        return got;
    }
    if (modal_app_id(app->modal, AGENT_APP, &app_id, err) < 0 || catalog_pull_secret(app, parent, &secret, err) < 0)
        return -1;
    spec.app_id = app_id;
    spec.registry_secret_id = secret;
    config_from_lines(parent, config, &spec.commands);
    got = modal_image_build(app->modal, &spec, NULL, NULL, &built, err);
    if (got == 0)
        *ret = steal(&built.id);
    modal_image_clear(&built);
    modal_image_spec_clear(&spec);
    return got;
}

/* Has the agent make the layer and keeps it among the blobs; *ret_diff_id is owned by caller. */
static int make_layer(struct app *app, struct image_layers *l, const char *base, const char *image, char **ret_diff_id,
                      struct err *err)
{
    cleanup_with(blob_writer_freep) struct blob_writer *w = blob_writer_new(l->source->blobs, err);
    cleanup_free char *path = NULL;
    int64_t size = 0;

    if (!w || agent_layer_make(app, base, image, blob_writer_fd(w), &size, err) < 0)
        return -1;
    return keep_layer(app, w, size, ret_diff_id, &path, err);
}

/* Of the instructions above what the image was built on, all but the last have left nothing of their own. */
static void fold_history(json_t *config, size_t below)
{
    json_t *history = json_object_get(config, "history"), *step, *last = NULL;
    size_t i, seen = 0;

    if (!json_is_array(history)) {
        history = json_array();
        json_object_set_new(config, "history", history);
    }
    json_array_foreach(history, i, step)
    {
        if (json_is_true(json_object_get(step, "empty_layer")) || seen++ < below)
            continue;
        if (last)
            json_object_set_new(last, "empty_layer", json_true());
        last = step;
    }
    for (; seen < below + 1; seen++)
        json_array_append_new(history, json_pack("{s:s}", "created_by", "atp-docker"));
}

/* The configuration with the layers that there are now; owned by caller. */
static char *with_layers(const char *config, const struct image_layers *l, size_t from, size_t below)
{
    json_t *j = json_loads(config, 0, NULL), *ids = json_array();
    char *text;

    if (!j)
        j = json_object();
    for (size_t i = from; i < l->len; i++)
        json_array_append_new(ids, json_string(l->items[i].diff_id));
    fold_history(j, below);
    json_object_set_new(j, "rootfs", json_pack("{s:s, s:o}", "type", "layers", "diff_ids", ids));
    text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    return text;
}

/* The image's configuration is another one now, and so is its id. */
static int adopt(struct app *app, struct state_image *image, const struct image_layers *l, size_t from,
                 const char *config, struct err *err)
{
    cleanup_free int64_t *sizes = xcalloc(l->len - from + 1, sizeof(*sizes));
    cleanup_free char *old = xstrdup(image->id);
    char hex[DIGEST_HEX + 1];
    int64_t sum = 0;

    for (size_t i = from; i < l->len; i++)
        sum += sizes[i - from] = l->items[i].size;
    digest_of(config, strlen(config), hex);
    free(image->id);
    free(image->config);
    free(image->layers);
    image->id = xasprintf(DIGEST_PREFIX "%s", hex);
    image->config = xstrdup(config);
    image->layers = catalog_layer_sizes(sizes, l->len - from);
    image->size = sum;
    return state_image_replace(app->state, old, image, err);
}

/* What is above the parent's layers (items from `from` on) is not known to anybody: the agent makes it. */
static int add_made(struct app *app, struct image_layers *l, struct state_image *image, size_t from, struct err *err)
{
    cleanup_free char *base = NULL, *server = NULL, *made = NULL, *config = NULL;
    cleanup_strlist struct strlist id = STRLIST_INIT;
    size_t below = l->len - from;

    if (image->parent && parent_id(app, image->parent, l->source->parent_config, &base, err) < 0)
        return -1;
    if (server_id(app, image, &server, err) < 0)
        return -1;
    if (!image->parent)
        fprintf(stderr, "%.12s: what it was made of is not known: all of it is one layer\n",
                image->id + strlen(DIGEST_PREFIX));
    if (make_layer(app, l, base, server, &made, err) < 0)
        return err_wrap(err, "making a layer of %.12s", image->id + strlen(DIGEST_PREFIX));
    strlist_add(&id, made);
    if (!add_blobs(l, &id, 0))
        return err_set(err, 0, "the layer that was made has gone");
    config = with_layers(image->config, l, from, below);
    return adopt(app, image, l, from, config, err);
}

/* ---- all together ---- */

static int add_image(struct app *app, struct image_layers *l, struct state_image *image, int depth, struct err *err);

/* The layers of what the image was built on, and how many of its instructions have left one. */
static int add_parent(struct app *app, struct image_layers *l, const char *parent, int depth, size_t *ret_steps,
                      struct err *err)
{
    struct state_image image = {0};
    int got;

    if (!digest_strip(parent))
        return add_registry(l, parent, false, ret_steps, err);
    if (depth == MAX_PARENTS)
        return err_set(err, 0, "the image was built on itself");
    got = state_image_kept(app->state, parent, &image, err);
    if (got == 0)
        return err_set(err, 0, "the image that it was built on (%.19s) is not here any more", parent);
    if (got > 0)
        got = add_image(app, l, &image, depth + 1, err);
    if (got == 0)
        *ret_steps = filled_steps(image.config);
    state_image_clear(&image);
    return got;
}

/* Whether the image is what it was built on (the items from `from` on), and what is here beyond that. Who cannot know
 * the layers leaves the diff ids of what it was built on, whatever was run since. */
static bool is_complete(struct image_layers *l, const struct state_image *image, const struct strlist *ids, size_t from,
                        size_t steps)
{
    if (!ids->len || !begins_with(l, from, ids))
        return false;
    if (l->len - from == ids->len)
        return filled_steps(image->config) == steps;
    return add_blobs(l, ids, l->len - from);
}

/* Whether the configuration names all layers, as far as can be said without those of what it was built on. */
static bool stands_alone(struct app *app, const struct state_image *image, const struct strlist *ids)
{
    struct state_image parent = {0};
    bool gone;

    if (!ids->len || !image->parent)
        return ids->len > 0;
    gone = digest_strip(image->parent) && state_image_kept(app->state, image->parent, &parent, NULL) == 0;
    state_image_clear(&parent);
    return gone && filled_steps(image->config) <= ids->len;
}

/* The repository below an image that was built here: who has the layers that came from there. Owned by caller, NULL. */
static char *root_repository(struct app *app, const char *parent, int depth)
{
    struct state_image image = {0};
    struct reference ref = {0};
    char *name = NULL;

    if (!parent || depth == MAX_PARENTS)
        return NULL;
    if (!digest_strip(parent)) {
        if (reference_parse(parent, &ref, NULL) == 0)
            name = reference_name(&ref);
        reference_clear(&ref);
        return name;
    }
    if (state_image_kept(app->state, parent, &image, NULL) > 0)
        name = root_repository(app, image.pull ? image.pull : image.parent, depth + 1);
    state_image_clear(&image);
    return name;
}

/* What the server has compressed is as a registry gave it; its own layers are plain. */
static void note_repository(struct app *app, struct image_layers *l, const struct state_image *image, size_t from)
{
    cleanup_free char *name = root_repository(app, image->parent, 0);

    for (size_t i = from; name && i < l->len; i++) {
        if (strstr(l->items[i].media_type, "gzip") || strstr(l->items[i].media_type, "zstd"))
            l->items[i].repository = xstrdup(name);
    }
}

/* An image that no registry has: by what this machine has, then by what the server tells, then by what it was built on.
 */
static int add_own(struct app *app, struct image_layers *l, struct state_image *image, int depth, struct err *err)
{
    cleanup_strlist struct strlist ids = STRLIST_INIT;
    cleanup_free char *server = NULL, *config = NULL;
    size_t from = l->len, steps = 0;
    int got;

    diff_ids(image->config, &ids);
    if (stands_alone(app, image, &ids) && add_blobs(l, &ids, 0))
        return 0;
    if (app_modal(app, err) < 0)
        return -1;
    got = catalog_base_id(app, image->id, &server, err);
    if (got > 0)
        got = add_engine(app, l, server, &ids, &config, err);
    if (got < 0)
        return -1;
    if (got > 0)
        note_repository(app, l, image, from);
    if (got > 0)
        return ids.len ? 0 : adopt(app, image, l, from, config, err);
    if (image->parent) {
        if (add_parent(app, l, image->parent, depth, &steps, err) < 0)
            return -1;
        if (is_complete(l, image, &ids, from, steps))
            return 0;
    }
    return add_made(app, l, image, from, err);
}

/* A pulled image whose registry is not to be had: the server that has pulled it may tell its layers. 1, 0, -1. */
static int add_pulled(struct app *app, struct image_layers *l, const struct state_image *image, struct err *err)
{
    cleanup_strlist struct strlist ids = STRLIST_INIT;
    cleanup_free char *server = NULL, *config = NULL;
    int got;

    diff_ids(image->config, &ids);
    if (!ids.len || app_modal(app, err) < 0)
        return 0;
    got = state_server_image_get(app->state, app->server_key, image->id, ATP_AGENT_SHA256, &server, err);
    return got > 0 ? add_engine(app, l, server, &ids, &config, err) : got;
}

static int add_image(struct app *app, struct image_layers *l, struct state_image *image, int depth, struct err *err)
{
    struct err why cleanup_err = ERR_INIT;

    if (!image->pull)
        return add_own(app, l, image, depth, err);
    if (add_registry(l, image->pull, depth == 0, NULL, &why) == 0)
        return 0;
    return why.code != REGISTRY_CORRUPT && add_pulled(app, l, image, NULL) > 0 ? 0 : err_move(err, &why);
}

int image_layers_open(struct app *app, struct state_image *image, struct image_layers *ret, struct err *err)
{
    struct image_layers l = IMAGE_LAYERS_INIT;

    l.source = xcalloc(1, sizeof(*l.source));
    l.source->blobs = app_blobs(app, err);
    if (!l.source->blobs || app_state(app, err) < 0 || add_image(app, &l, image, 0, err) < 0) {
        image_layers_clear(&l);
        return -1;
    }
    if (!l.config) {
        l.config = xstrdup(image->config);
        add_kept_manifest(&l, image->id);
    }
    *ret = l;
    return 0;
}

/* ---- reading ---- */

static int read_blob(struct blobs *blobs, const struct image_layer *item, image_sink_fn *sink, void *arg,
                     struct err *err)
{
    cleanup_close int fd = blobs_read(blobs, item->digest, err);
    cleanup_free char *piece = xmalloc(READ_PIECE);
    struct digest *digest;
    char hex[DIGEST_HEX + 1];
    ssize_t n = 1;
    int ret = fd < 0 ? -1 : 0;

    digest = digest_new();
    while (ret == 0 && n > 0) {
        n = read(fd, piece, READ_PIECE);
        if (n < 0 && errno != EINTR)
            ret = err_set_errno(err, 0, errno, "reading %s", item->digest);
        else if (n < 0)
            n = 1;
        else if (n > 0) {
            digest_add(digest, piece, (size_t)n);
            ret = sink(piece, (size_t)n, arg, err);
        }
    }
    digest_hex(digest, hex);
    digest_free(digest);
    if (ret == 0 && strcmp(hex, digest_strip(item->digest)) != 0)
        ret = err_set(err, 0, "the blob %s of this machine is damaged", item->digest);
    return ret;
}

int image_layer_read(struct app *app, struct image_layers *l, size_t index, image_sink_fn *sink, void *arg,
                     struct err *err)
{
    const struct image_layers_source *s = l->source;
    const struct image_layer *item = &l->items[index];
    const struct place *at = &s->places[index];

    switch (at->kind) {
    case IN_REGISTRY:
        return registry_blob_read(s->registries[at->owner], item->digest, item->size, sink, arg, err);
    case IN_ENGINE:
        return engine_layer_read(app->modal, s->engines[at->owner].modal_id, at->index,
                                 &s->engines[at->owner].image.layers[at->index], sink, arg, err);
    case IN_BLOBS:
        return read_blob(s->blobs, item, sink, arg, err);
    }
    return err_set(err, 0, "no such layer");
}
