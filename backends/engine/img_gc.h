/*
 * What the store may throw away, and when:
 *
 *   - a layer that was pulled, or is a snapshot's: when no image stands on it and no layer of the build cache either;
 *   - a layer that a build made, and a cache mount: it stays as build cache when no image stands on it, for 7 days
 * after its last use and within 20 GiB in all, the least recently used go first;
 *   - a registry's blob: with the last layer that came from it; what a forced step noted: with its layer.
 *
 * What clients uploaded goes by age as well (img_uploads.h).
 *
 * A layer counts as used while one that stands on it is used. Nothing goes that a build under way may be counting on:
 * what it has asked for since it began (img_layer_exists()) and the images that it names. A record is first moved out
 * of sight, then removed, so a crash leaves nothing half there. All of it happens in a thread.
 */
#ifndef ATP_ENGINE_IMG_GC_H
#define ATP_ENGINE_IMG_GC_H

#include "compat/base/strlist.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct images;

#define IMG_CACHE_SECS  (7ll * 24 * 3600)
#define IMG_CACHE_BYTES (20ll << 30)
#define IMG_THOROUGH_MS (3600ll * 1000) /* how often the store is thorough by itself */

struct img_gc {
    char *dir;
    struct strlist used;   /* keys of layers that images and builds stand on, sorted */
    uint64_t last_use;     /* layers that were used after it stay */
    struct timespec busy;  /* when the oldest build under way began: its layers stay; none: the end of time */
    struct timespec since; /* blobs and cache mounts that were used from then on stay */
    int64_t unused_secs;   /* build cache goes when it was not used for so long; -1 = not for its age */
    int64_t keep_bytes;    /* and the least recently used, until so much is left; -1 = as much as there is */
    bool both;             /* only what is old enough, and only until so much is left */
    bool thorough;         /* cache mounts are weighed and uploads looked at: this reads many small files */
    const atomic_bool *cancelled;
    /* what came out */
    int64_t records, bytes;             /* removed: of the build cache */
    int64_t cache_records, cache_bytes; /* there before */
};

/* Fills dir, used and since from what the store knows now. */
void img_gc_prepare(struct images *im, struct img_gc *gc);
void img_gc_clear(struct img_gc *gc);
/* In a thread. */
void img_gc_count(struct img_gc *gc);
void img_gc_run(struct img_gc *gc);

#endif
