/*
 * An image of this machine as a registry or an archive wants it: manifest, configuration and each layer's bytes,
 * wherever they are. push and save are made of it.
 *
 *     pulled from a registry    from there, byte for byte (state_image.pull); where it is not to be had, its layers
 *                               from the server that has pulled it
 *     loaded, imported          backends/blobs
 *     built, committed          from the server that tells (backends/modal/engine_images.h); else the layers of what it
 *                               was built on (state_image.parent), and one layer that the agent makes
 *     nothing is known of it    one layer of everything, which is said on stderr
 */
#ifndef ATP_SHIM_IMAGE_LAYERS_H
#define ATP_SHIM_IMAGE_LAYERS_H

#include "backends/state/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct app;
struct err;

struct image_layer {
    char *diff_id;    /* of the tar */
    char *digest;     /* of the bytes that image_layer_read() gives */
    char *media_type; /* of them: a plain tar, gzip or zstd */
    int64_t size;
    char *repository; /* "docker.io/library/x": a registry that has the blob, NULL = none known */
};

struct image_layers_source; /* private: how to get at them */

struct image_layers {
    char *config;   /* the exact text */
    char *manifest; /* the exact text where a registry had one, else NULL */
    char *manifest_type;
    struct image_layer *items; /* bottom first */
    size_t len;
    struct image_layers_source *source;
};

#define IMAGE_LAYERS_INIT                                                                                              \
    {                                                                                                                  \
        NULL, NULL, NULL, NULL, 0, NULL                                                                                \
    }

/* May take as long as making a layer does; the image's own id changes when its configuration only now gets its diff ids
 * (servers that do not tell): *image and the state then have the new one. */
int image_layers_open(struct app *app, struct state_image *image, struct image_layers *ret, struct err *err);
void image_layers_clear(struct image_layers *l);

typedef int image_sink_fn(const void *bytes, size_t len, void *arg, struct err *err);
/* Digest and size are checked at the end. Not for several threads at once. */
int image_layer_read(struct app *app, struct image_layers *l, size_t index, image_sink_fn *sink, void *arg,
                     struct err *err);

#endif
