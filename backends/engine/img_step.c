#include "backends/engine/img_step.h"

#include "backends/engine/img_layer.h"
#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "compat/sys/random.h"

#include <string.h>

/*
 * A step that was carried out again although its layer was there (--no-cache) has a layer of another key, which stands
 * behind the step's key from then on: the old layer may be in use.
 */
static char *alias_path(const struct img_job *job, const char *key)
{
    return xasprintf("%s/alias/%s", job->dir, key);
}

/* The layer that stands for a key; false when there is none. */
static bool find(const struct img_job *job, const char *key, char ret[DIGEST_HEX + 1])
{
    cleanup_free char *path = alias_path(job, key);
    struct buf text cleanup_buf = BUF_INIT(2 * DIGEST_HEX);

    if (fs_read_file(path, &text, NULL) == 0 && digest_is_hex(text.data) && img_layer_exists(job->dir, text.data)) {
        memcpy(ret, text.data, DIGEST_HEX + 1);
        return true;
    }
    memcpy(ret, key, DIGEST_HEX + 1);
    return img_layer_exists(job->dir, key);
}

static int make_anew(struct img_job *job, const char *key, img_make_fn *make, void *arg, char ret[DIGEST_HEX + 1],
                     struct err *err)
{
    cleanup_free char *path = alias_path(job, key), *folder = xasprintf("%s/alias", job->dir);

    if (!job->force) {
        memcpy(ret, key, DIGEST_HEX + 1);
        return make(arg, key, err);
    }
    if (random_hex(ret, DIGEST_HEX, err) < 0 || make(arg, ret, err) < 0 || fs_mkdirs(folder, 0700, err) < 0)
        return -1;
    return fs_write_file(path, ret, DIGEST_HEX, 0600, err);
}

int img_step_layer(struct img_job *job, const char *kind, const char *what, img_make_fn *make, void *arg,
                   bool *ret_cached, struct err *err)
{
    char key[DIGEST_HEX + 1], layer[DIGEST_HEX + 1];
    int ret = 0;

    img_chain_key(&job->layers, kind, what, key);
    if (img_lock(job->locks, key, &job->cancelled, err) < 0)
        return -1;
    *ret_cached = !job->force && find(job, key, layer);
    if (!*ret_cached)
        ret = make_anew(job, key, make, arg, layer, err);
    img_unlock(job->locks, key);
    if (ret == 0)
        strlist_add(&job->layers, layer);
    return ret;
}

struct img_layer_meta img_step_meta(const struct img_job *job)
{
    return (struct img_layer_meta){
        .kind = IMG_LAYER_BUILT,
        .parent = job->layers.len ? job->layers.items[job->layers.len - 1] : NULL,
        .tar_size = -1,
    };
}

int img_empty_layer(struct img_job *job, char ret_key[65], struct err *err)
{
    static const struct strlist nothing = STRLIST_INIT;
    static const struct img_layer_meta no_cache = {.kind = IMG_LAYER_UNKNOWN, .tar_size = -1};
    struct img_writer_options options = {.meta = &no_cache};
    struct img_writer *w;
    int ret;

    img_chain_key(&nothing, "empty", "", ret_key);
    if (img_layer_exists(job->dir, ret_key))
        return 0;
    w = img_writer_new(job->dir, &options, err);
    ret = w ? img_writer_commit(w, ret_key, err) : -1;
    img_writer_free(w);
    return ret;
}
