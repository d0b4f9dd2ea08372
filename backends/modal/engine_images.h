/*
 * What the embedded engine tells about its images beyond Modal's protocol (backends/proto/engine.proto): the exact
 * configuration and each layer's bytes. Other servers do not know these calls.
 */
#ifndef ATP_MODAL_ENGINE_IMAGES_H
#define ATP_MODAL_ENGINE_IMAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct modal_client;

struct engine_layer {
    char *diff_id, *digest, *media_type;
    int64_t size;
    int64_t
        shown; /* what Docker shows: of the files in it; of a registry's layer its size, which is all that is known */
};

struct engine_image {
    char *config; /* the exact text */
    struct engine_layer *layers;
    size_t len;
};

#define ENGINE_IMAGE_INIT                                                                                              \
    {                                                                                                                  \
        NULL, NULL, 0                                                                                                  \
    }

void engine_image_clear(struct engine_image *im);

/* 1 = the server has these calls, 0 = it has not, -1 = err. One round trip, once. */
int engine_is_there(struct modal_client *c, struct err *err);

/* 1 = *ret is filled, 0 = the server has no such calls, -1 = err. */
int engine_image_describe(struct modal_client *c, const char *image_id, struct engine_image *ret, struct err *err);

/*
 * Gives the layer's bytes to sink, in order; its digest and size are checked at the end, so what the sink was given is
 * good only when this returned 0. -1 of sink ends it. A stream that breaks is taken up where it ended. The sink may use
 * the client's loop itself, and take its time: nothing piles up meanwhile. Describe the image first.
 */
typedef int engine_sink_fn(const void *bytes, size_t len, void *arg, struct err *err);
int engine_layer_read(struct modal_client *c, const char *image_id, size_t index, const struct engine_layer *layer,
                      engine_sink_fn *sink, void *arg, struct err *err);

struct engine_usage {
    int64_t images, image_bytes, cache_records, cache_bytes, blob_bytes;
};
/* 1, 0, -1 like above. The engine looks at everything that it has: this takes a while. */
int engine_usage(struct modal_client *c, struct engine_usage *ret, struct err *err);
int engine_prune(struct modal_client *c, bool all, int64_t unused_secs, int64_t keep_bytes, int64_t *ret_records,
                 int64_t *ret_bytes, struct err *err);

#endif
