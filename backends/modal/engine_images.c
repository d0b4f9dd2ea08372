#include "backends/modal/engine_images.h"

#include "backends/modal/internal.h"
#include "backends/proto/engine.pb-c.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/sha256.h"
#include "compat/sys/loop.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENGINE(method) "/atp.engine.Engine/" #method
#define DIGEST_PREFIX  "sha256:"
#define HEX_LEN        (2 * SHA256_LEN)

/* What a first question may take: the engine reads every layer once to know its digest. */
#define DESCRIBE_MS   (30 * 60 * 1000)
#define TURN_MS       (10 * 60 * 1000) /* one stream of a layer; then it is asked again from there on */
#define TURN_FAILURES 3                /* streams in a row that broke without news */
#define TURN_PAUSE_MS 300

static const struct modal_method image_describe = {
    .path = ENGINE(ImageDescribe),
    .reply = &atp__engine__image_describe_response__descriptor,
};

static const struct modal_method store_usage = {
    .path = ENGINE(StoreUsage),
    .reply = &atp__engine__store_usage_response__descriptor,
};

static const struct modal_method store_prune = {
    .path = ENGINE(StorePrune),
    .reply = &atp__engine__store_prune_response__descriptor,
};

void engine_image_clear(struct engine_image *im)
{
    for (size_t i = 0; i < im->len; i++) {
        free(im->layers[i].diff_id);
        free(im->layers[i].digest);
        free(im->layers[i].media_type);
    }
    free(im->layers);
    free(im->config);
    *im = (struct engine_image)ENGINE_IMAGE_INIT;
}

/* A call of the engine's own: 1 = *ret_reply is filled, 0 = this server has no such calls, which is asked once. */
static int ask(struct modal_client *c, const struct modal_method *method, const void *request, void *ret_reply,
               struct err *err)
{
    static const struct modal_rpc_options options = {.attempt_ms = DESCRIBE_MS, .budget_ms = DESCRIBE_MS};
    struct err why cleanup_err = ERR_INIT;

    if (c->not_engine)
        return 0;
    if (modal_rpc_sync(&c->control, method, request, &options, ret_reply, &why) == 0)
        return 1;
    if (why.code == GRPC_UNIMPLEMENTED) {
        c->not_engine = true;
        return 0;
    }
    err_move(err, &why);
    return -1;
}

/* ---- an image ---- */

/* "sha256:" and 64 hex digits. */
static bool is_digest(const char *s)
{
    size_t prefix = sizeof(DIGEST_PREFIX) - 1;

    return s && strncmp(s, DIGEST_PREFIX, prefix) == 0 && strlen(s + prefix) == HEX_LEN &&
           strspn(s + prefix, "0123456789abcdef") == HEX_LEN;
}

static bool is_layer(const Atp__Engine__ImageLayer *layer)
{
    return is_digest(layer->diff_id) && is_digest(layer->digest) && layer->media_type && *layer->media_type &&
           layer->has_size && layer->size >= 0;
}

int engine_is_there(struct modal_client *c, struct err *err)
{
    Atp__Engine__ImageDescribeRequest request = ATP__ENGINE__IMAGE_DESCRIBE_REQUEST__INIT;
    cleanup_message Atp__Engine__ImageDescribeResponse *reply = NULL;
    struct err why cleanup_err = ERR_INIT;
    int r;

    if (c->engine)
        return 1;
    r = ask(c, &image_describe, &request, &reply, &why);
    if (r < 0 && why.code != GRPC_NOT_FOUND)
        return err_move(err, &why);
    c->engine = r != 0; /* an image without a name is not found where images are described */
    return c->engine;
}

/* An older engine does not tell it. */
static int64_t content_of(const Atp__Engine__ImageLayer *layer)
{
    return layer->has_content_size && layer->content_size >= 0 ? layer->content_size : layer->size;
}

int engine_image_describe(struct modal_client *c, const char *image_id, struct engine_image *ret, struct err *err)
{
    Atp__Engine__ImageDescribeRequest request = ATP__ENGINE__IMAGE_DESCRIBE_REQUEST__INIT;
    cleanup_message Atp__Engine__ImageDescribeResponse *reply = NULL;
    struct engine_image image = ENGINE_IMAGE_INIT;
    int r;

    request.image_id = (char *)image_id;
    r = ask(c, &image_describe, &request, &reply, err);
    if (r <= 0)
        return r;
    if (!reply->config || strlen(reply->config) > LIMIT_MANIFEST)
        return err_set(err, 125, "image %s: the server gave no configuration", image_id);
    image.config = xstrdup(reply->config);
    image.layers = xcalloc(reply->n_layers + 1, sizeof(*image.layers));
    for (size_t i = 0; i < reply->n_layers; i++) {
        const Atp__Engine__ImageLayer *layer = reply->layers[i];

        if (!is_layer(layer)) {
            engine_image_clear(&image);
            return err_set(err, 125, "image %s: the server's description of layer %zu cannot be used", image_id, i);
        }
        image.layers[image.len++] = (struct engine_layer){.diff_id = xstrdup(layer->diff_id),
                                                          .digest = xstrdup(layer->digest),
                                                          .media_type = xstrdup(layer->media_type),
                                                          .size = layer->size,
                                                          .shown = content_of(layer)};
    }
    *ret = image;
    return 1;
}

/* ---- a layer's bytes ---- */

struct reading {
    const struct engine_layer *layer;
    Atp__Engine__ImageLayerPiece *piece; /* what came last; the stream is paused until it is gone */
    struct sha256 sha;
    int64_t at; /* bytes that the sink has */
    bool ended, broken;
    int status;
    char *message;
};

/* Only keeps the piece: what the sink does may take the loop itself. */
static void on_piece(struct grpc_call *call, const void *data, size_t len, void *arg)
{
    struct reading *r = arg;

    grpc_call_pause(call);
    r->piece = atp__engine__image_layer_piece__unpack(NULL, len, data);
    r->broken = !r->piece;
}

static void on_pieces_end(struct grpc_call *call, const struct grpc_result *result, void *arg)
{
    struct reading *r = arg;

    (void)call;
    r->ended = true;
    r->status = result->status;
    free(r->message);
    r->message = xstrdup(*result->message ? result->message : grpc_status_name(result->status));
}

/* Hands the piece on. */
static int take_piece(struct reading *r, engine_sink_fn *sink, void *arg, struct err *err)
{
    cleanup_message Atp__Engine__ImageLayerPiece *piece = steal(&r->piece);

    if ((int64_t)piece->data.len > r->layer->size - r->at)
        return err_set(err, 125, "layer %s is larger than the server said", r->layer->digest);
    if (piece->data.len && sink(piece->data.data, piece->data.len, arg, err) < 0)
        return -1;
    sha256_update(&r->sha, piece->data.data, piece->data.len);
    r->at += (int64_t)piece->data.len;
    return 0;
}

static struct grpc_call *start_stream(struct modal_client *c, const char *image_id, size_t index, struct reading *r)
{
    static const struct grpc_handlers handlers = {.on_message = on_piece, .on_end = on_pieces_end};
    Atp__Engine__ImageLayerGetRequest request = ATP__ENGINE__IMAGE_LAYER_GET_REQUEST__INIT;
    cleanup_free uint8_t *packed = NULL;
    struct grpc_call *call;
    size_t len;

    request.image_id = (char *)image_id;
    request.has_index = request.has_offset = 1;
    request.index = (uint32_t)index;
    request.offset = r->at;
    len = atp__engine__image_layer_get_request__get_packed_size(&request);
    packed = xmalloc(len + 1);
    atp__engine__image_layer_get_request__pack(&request, packed);
    r->ended = r->broken = false;
    call = grpc_call_start(c->control.channel, ENGINE(ImageLayerGet), &c->metadata, TURN_MS, &handlers, r);
    grpc_call_send(call, packed, len);
    grpc_call_finish(call);
    return call;
}

/* One stream, to its end. -1: the sink or the server's bytes are at fault, which no other stream would change. */
static int read_turn(struct modal_client *c, const char *image_id, size_t index, struct reading *r,
                     engine_sink_fn *sink, void *arg, struct err *err)
{
    struct grpc_call *call = start_stream(c, image_id, index, r);

    while (!r->ended) {
        loop_step(c->loop, -1);
        if (r->broken || (r->piece && take_piece(r, sink, arg, err) < 0)) {
            if (!r->ended)
                grpc_call_cancel(call);
            return r->broken ? err_set(err, 125, "layer %s: the server's answer cannot be read", r->layer->digest) : -1;
        }
        if (!r->ended)
            grpc_call_resume(call);
    }
    return 0;
}

/* The digest is that of all bytes that the sink was given. */
static int check(struct reading *r, struct err *err)
{
    uint8_t digest[SHA256_LEN];
    char hex[HEX_LEN + 1];

    if (r->at != r->layer->size)
        return err_set(err, 125, "layer %s: unexpected EOF: %lld of %lld bytes", r->layer->digest, (long long)r->at,
                       (long long)r->layer->size);
    sha256_final(&r->sha, digest);
    sha256_hex(digest, hex);
    if (strcmp(hex, r->layer->digest + strlen(DIGEST_PREFIX)) != 0)
        return err_set(err, 125, "layer %s: the bytes have another digest: " DIGEST_PREFIX "%s", r->layer->digest, hex);
    return 0;
}

static int stream_failed(struct modal_client *c, const struct reading *r, struct err *err)
{
    cleanup_free char *safe = modal_redact(c, r->message, NULL);

    err_set(err, 125, "layer %s: %s", r->layer->digest, safe);
    if (err)
        err->code = r->status;
    return -1;
}

static void wait_for(struct modal_client *c, int64_t ms)
{
    for (int64_t end = loop_now() + ms; loop_now() < end;)
        if (!loop_step(c->loop, 50))
            usleep(1000);
}

/* Streams until the whole layer is there; a broken one is taken up where it ended. */
static int read_all(struct modal_client *c, const char *image_id, size_t index, struct reading *r, engine_sink_fn *sink,
                    void *arg, struct err *err)
{
    int failures = 0;

    for (;;) {
        int64_t before = r->at;

        if (read_turn(c, image_id, index, r, sink, arg, err) < 0)
            return -1;
        if (r->status == GRPC_OK)
            return check(r, err);
        failures = r->at > before ? 0 : failures + 1;
        if (!modal_status_retried(r->status) || failures >= TURN_FAILURES)
            return stream_failed(c, r, err);
        wait_for(c, (int64_t)TURN_PAUSE_MS << failures);
    }
}

int engine_layer_read(struct modal_client *c, const char *image_id, size_t index, const struct engine_layer *layer,
                      engine_sink_fn *sink, void *arg, struct err *err)
{
    struct reading r = {.layer = layer};
    int ret;

    sha256_init(&r.sha);
    ret = read_all(c, image_id, index, &r, sink, arg, err);
    modal_message_free(r.piece);
    free(r.message);
    return ret;
}

/* ---- the store ---- */

int engine_usage(struct modal_client *c, struct engine_usage *ret, struct err *err)
{
    Atp__Engine__StoreUsageRequest request = ATP__ENGINE__STORE_USAGE_REQUEST__INIT;
    cleanup_message Atp__Engine__StoreUsageResponse *reply = NULL;
    int r = ask(c, &store_usage, &request, &reply, err);

    if (r > 0)
        *ret = (struct engine_usage){.images = reply->images,
                                     .image_bytes = reply->image_bytes,
                                     .cache_records = reply->cache_records,
                                     .cache_bytes = reply->cache_bytes,
                                     .blob_bytes = reply->blob_bytes};
    return r;
}

int engine_prune(struct modal_client *c, bool all, int64_t unused_secs, int64_t keep_bytes, int64_t *ret_records,
                 int64_t *ret_bytes, struct err *err)
{
    Atp__Engine__StorePruneRequest request = ATP__ENGINE__STORE_PRUNE_REQUEST__INIT;
    cleanup_message Atp__Engine__StorePruneResponse *reply = NULL;
    int r;

    request.has_all = request.has_unused_secs = request.has_keep_bytes = 1;
    request.all = all;
    request.unused_secs = unused_secs;
    request.keep_bytes = keep_bytes;
    r = ask(c, &store_prune, &request, &reply, err);
    if (r > 0) {
        *ret_records = reply->records;
        *ret_bytes = reply->bytes;
    }
    return r;
}
