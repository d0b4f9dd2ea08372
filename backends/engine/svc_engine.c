/* What the engine tells beyond Modal's protocol (backends/proto/engine.proto). An engine that is --plain has none of
 * it. */
#include "backends/engine/engine.h"
#include "backends/engine/images.h"
#include "backends/engine/img_export.h"
#include "backends/engine/svc.h"
#include "backends/proto/engine.pb-c.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>

/* ---- describe ---- */

static void release_task(struct call *c)
{
    images_task_cancel(c->state);
}

static void described(const struct images_description *d, const struct err *why, void *arg)
{
    struct call *c = arg;
    Atp__Engine__ImageDescribeResponse response = ATP__ENGINE__IMAGE_DESCRIBE_RESPONSE__INIT;
    cleanup_free Atp__Engine__ImageLayer *items = xcalloc(d ? d->len + 1 : 1, sizeof(*items));
    cleanup_free Atp__Engine__ImageLayer **list = xcalloc(d ? d->len + 1 : 1, sizeof(*list));

    c->state = NULL;
    c->release = NULL;
    if (!d) {
        call_fail(c, GRPC_FAILED_PRECONDITION, "%s", why->msg);
        return;
    }
    for (size_t i = 0; i < d->len; i++) {
        atp__engine__image_layer__init(&items[i]);
        items[i].diff_id = d->layers[i].diff_id;
        items[i].digest = d->layers[i].digest;
        items[i].media_type = d->layers[i].media_type;
        items[i].has_size = 1;
        items[i].size = d->layers[i].size;
        items[i].has_content_size = d->layers[i].content >= 0;
        items[i].content_size = d->layers[i].content;
        list[i] = &items[i];
    }
    response.config = d->config;
    response.layers = list;
    response.n_layers = d->len;
    call_reply(c, &response);
}

/* Ends the call unless the image is there and ready. */
static bool is_ready(struct call *c, const char *id)
{
    enum images_state state;

    if (images_state(c->engine->images, svc_text(id), &state, NULL) < 0)
        call_fail(c, GRPC_NOT_FOUND, "image %s not found", svc_text(id));
    else if (state != IMAGES_READY)
        call_fail(c, GRPC_FAILED_PRECONDITION, "image %s is not built", id);
    else
        return true;
    return false;
}

static void image_describe(struct call *c, const void *request)
{
    const Atp__Engine__ImageDescribeRequest *r = request;
    cleanup_err struct err err = ERR_INIT;

    if (!is_ready(c, r->image_id))
        return;
    c->state = images_describe(c->engine->images, r->image_id, described, c, &err);
    if (c->state)
        c->release = release_task;
    else
        call_fail_err(c, GRPC_INTERNAL, &err);
}

/* ---- a layer ---- */

static void release_stream(struct call *c)
{
    images_stream_close(c->state);
}

static void wake_stream(void *arg)
{
    call_wake(arg);
}

static void layer_source(struct call *c)
{
    static uint8_t bytes[CALL_SEND_MAX];
    Atp__Engine__ImageLayerPiece piece = ATP__ENGINE__IMAGE_LAYER_PIECE__INIT;
    cleanup_err struct err err = ERR_INIT;
    ssize_t n = images_stream_read(c->state, bytes, sizeof(bytes), &err);

    if (n > 0) {
        piece.has_data = 1;
        piece.data.data = bytes;
        piece.data.len = (size_t)n;
        call_send(c, &piece);
    } else if (n < 0 && err.msg) {
        call_fail_err(c, GRPC_DATA_LOSS, &err);
    } else if (n < 0) {
        call_finish(c);
    }
}

static void image_layer_get(struct call *c, const void *request)
{
    const Atp__Engine__ImageLayerGetRequest *r = request;
    cleanup_err struct err err = ERR_INIT;

    if (!is_ready(c, r->image_id))
        return;
    if (r->offset < 0) {
        call_fail(c, GRPC_INVALID_ARGUMENT, "a layer has no negative offset");
        return;
    }
    c->state = images_stream_open(c->engine->images, r->image_id, r->index, r->offset, wake_stream, c, &err);
    if (!c->state) {
        call_fail_err(c, err.code == ENOENT ? GRPC_NOT_FOUND : GRPC_RESOURCE_EXHAUSTED, &err);
        return;
    }
    c->release = release_stream;
    call_stream(c, layer_source);
}

/* ---- the store ---- */

static void used(const struct images_usage *u, void *arg)
{
    struct call *c = arg;
    Atp__Engine__StoreUsageResponse response = ATP__ENGINE__STORE_USAGE_RESPONSE__INIT;

    c->state = NULL;
    c->release = NULL;
    response.has_images = response.has_image_bytes = response.has_cache_records = 1;
    response.has_cache_bytes = response.has_blob_bytes = 1;
    response.images = u->images;
    response.image_bytes = u->image_bytes;
    response.cache_records = u->cache_records;
    response.cache_bytes = u->cache_bytes;
    response.blob_bytes = u->blob_bytes;
    call_reply(c, &response);
}

static void store_usage(struct call *c, const void *request)
{
    (void)request;
    c->state = images_usage(c->engine->images, used, c);
    c->release = release_task;
}

static void pruned(int64_t records, int64_t bytes, void *arg)
{
    struct call *c = arg;
    Atp__Engine__StorePruneResponse response = ATP__ENGINE__STORE_PRUNE_RESPONSE__INIT;

    c->state = NULL;
    c->release = NULL;
    response.has_records = response.has_bytes = 1;
    response.records = records;
    response.bytes = bytes;
    call_reply(c, &response);
}

static void store_prune(struct call *c, const void *request)
{
    const Atp__Engine__StorePruneRequest *r = request;

    if (r->unused_secs < 0 || r->keep_bytes < 0) {
        call_fail(c, GRPC_INVALID_ARGUMENT, "neither time nor size can be negative");
        return;
    }
    c->state = images_prune(c->engine->images, r->unused_secs, r->keep_bytes, pruned, c);
    c->release = release_task;
}

#define REQUEST(name) &atp__engine__##name##__descriptor

const struct rpc_method svc_engine_methods[] = {
    {"ImageDescribe", REQUEST(image_describe_request), RPC_UNARY, RPC_OURS, image_describe},
    {"ImageLayerGet", REQUEST(image_layer_get_request), RPC_SERVER_STREAM, RPC_OURS, image_layer_get},
    {"StorePrune", REQUEST(store_prune_request), RPC_UNARY, RPC_OURS, store_prune},
    {"StoreUsage", REQUEST(store_usage_request), RPC_UNARY, RPC_OURS, store_usage},
    {0},
};
