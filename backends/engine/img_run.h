/* What the parts of RUN share; nobody else includes it. */
#ifndef ATP_ENGINE_IMG_RUN_H
#define ATP_ENGINE_IMG_RUN_H

#include "backends/engine/img_copy.h"
#include "compat/base/buf.h"

/* ---- img_cache.c: --mount=type=cache, directories below <dir>/cache that stay ---- */

struct img_cache {
    char *dir;  /* what is mounted */
    char *lock; /* held until img_cache_close(); NULL = shared */
};

/*
 * The directory of a cache mount, made when it is not there; target: where it is mounted. Waits for its turn when it is
 * locked. Folder: <dir>/cache/<20 hex digits>[-number]/ with f, the directory, and id, its name; the folder's own time
 * is when it was last wanted. from (may be NULL): what a new one is filled from.
 */
int img_cache_open(struct img_build *b, const struct df_mount *m, const struct img_tree *from, struct img_cache *ret,
                   struct err *err);
void img_cache_close(struct img_build *b, struct img_cache *cache);

/* ---- img_settle.c ---- */

/*
 * Makes a layer's directory out of the upper directory of an overlay that is not mounted any more: overlay's own notes
 * and sockets go, and whatever of stubs (relative paths, deepest first) is empty. below: the layers under it.
 */
int img_settle(const char *upper, struct img_view *below, const struct strlist *stubs, int64_t *ret_size,
               struct err *err);

/* ---- img_run_mounts.c ---- */

/* What a RUN is made of; everything that mounts borrow lives here. */
struct img_running {
    struct img_build *b;
    const struct df_step *step;
    struct img_view *view; /* of the layers so far */
    struct strlist lowers, env;
    struct images_run_mount *mounts;
    size_t mounts_len;
    struct img_source *sources; /* one for each mount; empty for most */
    struct img_cache *caches;
    size_t caches_len;
    struct strlist kept; /* texts that mounts point to */
    struct buf *secrets; /* decoded */
    size_t secrets_len;
    struct strlist stubs;
    struct buf what; /* of the key */
};

/* Finds what each mount of the step is, and what of it belongs to the key. Caches are opened later. */
int img_run_mounts(struct img_running *r, struct err *err);
/* Opens the caches: when the step is carried out, not when its layer is there. */
int img_run_caches(struct img_running *r, struct err *err);
void img_run_release(struct img_running *r);
/* Adds a part of the key. */
void img_run_key(struct img_running *r, const char *name, const char *value);

#endif
