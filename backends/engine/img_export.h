/*
 * Images as others may have them: the OCI configuration with its layers' digests, each layer's bytes, and what the
 * store holds in all. Whatever reads layers does so in threads; every function here belongs to the loop's thread, and
 * callbacks come on the loop.
 */
#ifndef ATP_ENGINE_IMG_EXPORT_H
#define ATP_ENGINE_IMG_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct images;
struct images_stream;
struct images_task;

/* ---- what an image is ---- */

struct images_layer {
    char *diff_id, *digest; /* "sha256:..." of the tar, and of what images_stream_open() gives */
    char *media_type;
    int64_t size;    /* of what images_stream_open() gives */
    int64_t content; /* of the files in it; -1 = not known */
};

struct images_description {
    char *config; /* the exact text: its SHA-256 is the image's id */
    struct images_layer *layers;
    size_t len;
};

/* d is NULL on failure (and err says why); both are borrowed. */
typedef void images_described_fn(const struct images_description *d, const struct err *err, void *arg);

/*
 * Describes a READY image. Layers that nobody asked about yet are read once for their digests, and a configuration that
 * does not name them (a snapshot's) is completed; both are remembered. fn is called once, later, unless the task is
 * cancelled before. NULL and err: there is no such image, or it is not ready.
 */
struct images_task *images_describe(struct images *im, const char *id, images_described_fn *fn, void *arg,
                                    struct err *err);

/* ---- a layer's bytes ---- */

/*
 * The bytes of a described image's layer from an offset on: the registry's own blob, or the tar. wake is called on the
 * loop when there is something to read after images_stream_read() said 0. The image is held meanwhile.
 */
struct images_stream *images_stream_open(struct images *im, const char *id, size_t index, int64_t offset,
                                         void (*wake)(void *arg), void *arg, struct err *err);
/* Bytes copied, 0 = nothing now, -1 = the end: err is set if it is a bad one. */
ssize_t images_stream_read(struct images_stream *s, void *to, size_t cap, struct err *err);
void images_stream_close(struct images_stream *s);

/* ---- the store ---- */

struct images_usage {
    int64_t images, image_bytes;        /* bytes on the disk of all layers that images stand on, each once */
    int64_t cache_records, cache_bytes; /* layers of builds that no image stands on, and cache mounts */
    int64_t blob_bytes;                 /* uploaded files and kept registry blobs */
};

typedef void images_usage_fn(const struct images_usage *usage, void *arg);
struct images_task *images_usage(struct images *im, images_usage_fn *fn, void *arg);

/* Removes build cache: what was not used for unused_secs (0: whatever its age), the least recently used first, until
 * keep_bytes are left (0: nothing). */
typedef void images_pruned_fn(int64_t records, int64_t bytes, void *arg);
struct images_task *images_prune(struct images *im, int64_t unused_secs, int64_t keep_bytes, images_pruned_fn *fn,
                                 void *arg);

/* Nobody waits any more: fn is not called, what has not begun is not done. NULL is fine. */
void images_task_cancel(struct images_task *t);

#endif
