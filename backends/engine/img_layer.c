#include "backends/engine/img_layer.h"

#include "backends/engine/img_store.h"
#include "backends/engine/img_tar.h"
#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/base/strlist.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KEY_SHOWN 20 /* 80 bits of the key: enough to tell layers apart, short enough for mount options */
#define META_MAX  65536u

/* The words of enum img_layer_kind in meta.json. */
static const char *const kinds[] = {"", "built", "pulled", "snapshot"};

/*
 * Who uses a layer says so here, since the times of files are too coarse to tell what came first. The names are those
 * of folders, each with the number of its last use. Nobody can begin to use a layer between a last look and its
 * removal.
 */
static struct {
    pthread_mutex_t lock;
    struct strlist names;
    uint64_t *numbers, last;
} uses = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The folder of a layer: its directory f, the file size, what is known in meta.json. Its time is that of its last use.
 */
static char *folder(const char *dir, const char *key)
{
    return xasprintf("%s/l/%.*s", dir, KEY_SHOWN, key);
}

char *img_layer_dir(const char *dir, const char *key)
{
    return xasprintf("%s/l/%.*s/f", dir, KEY_SHOWN, key);
}

/* The place of a folder's name among those that were used; SIZE_MAX when it was not. The lock is held. */
static size_t find_use(const char *path)
{
    for (size_t i = 0; i < uses.names.len; i++) {
        if (strcmp(uses.names.items[i], path) == 0)
            return i;
    }
    return SIZE_MAX;
}

static void note_use(const char *path)
{
    size_t at = find_use(path);

    if (at == SIZE_MAX) {
        at = uses.names.len;
        strlist_add(&uses.names, path);
        uses.numbers = xreallocarray(uses.numbers, uses.names.len, sizeof(*uses.numbers));
    }
    uses.numbers[at] = ++uses.last;
}

static void forget_use(const char *path)
{
    size_t at = find_use(path);

    if (at == SIZE_MAX)
        return;
    strlist_remove(&uses.names, at);
    memmove(&uses.numbers[at], &uses.numbers[at + 1], (uses.names.len - at) * sizeof(*uses.numbers));
}

bool img_layer_exists(const char *dir, const char *key)
{
    cleanup_free char *path = folder(dir, key);
    bool there;

    pthread_mutex_lock(&uses.lock);
    there = utimensat(AT_FDCWD, path, NULL, 0) == 0;
    if (there)
        note_use(path);
    pthread_mutex_unlock(&uses.lock);
    return there;
}

uint64_t img_layer_last_use(void)
{
    uint64_t last;

    pthread_mutex_lock(&uses.lock);
    last = uses.last;
    pthread_mutex_unlock(&uses.lock);
    return last;
}

int img_layer_used(const char *dir, const char *key, struct timespec *ret)
{
    cleanup_free char *path = folder(dir, key);
    struct stat st;

    if (stat(path, &st) < 0)
        return -1;
    *ret = st.st_mtim;
    return 0;
}

int64_t img_layer_size(const char *dir, const char *key)
{
    cleanup_free char *path = xasprintf("%s/l/%.*s/size", dir, KEY_SHOWN, key);
    struct buf text cleanup_buf = BUF_INIT(64);

    if (fs_read_file(path, &text, NULL) < 0)
        return -1;
    return strtoll(text.data, NULL, 10);
}

/* ---- what is known of it ---- */

void img_layer_meta_clear(struct img_layer_meta *m)
{
    free(m->key);
    free(m->parent);
    free(m->diff_id);
    free(m->blob);
    free(m->media_type);
    *m = (struct img_layer_meta){.tar_size = -1};
}

static int write_meta(const char *folder_path, const char *key, const struct img_layer_meta *m, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/meta.json", folder_path);
    json_t *j = json_pack("{s:s, s:s*, s:s, s:I, s:I}", "key", key, "parent", m->parent, "kind", kinds[m->kind],
                          "created", (json_int_t)m->created.tv_sec, "created_ns", (json_int_t)m->created.tv_nsec);
    char *text;
    int ret;

    if (m->diff_id)
        json_object_set_new(j, "diff_id", json_string(m->diff_id));
    if (m->diff_id && m->tar_format) {
        json_object_set_new(j, "tar_format", json_integer(m->tar_format));
        json_object_set_new(j, "tar_size", json_integer(m->tar_size));
        if (m->tar_content >= 0)
            json_object_set_new(j, "tar_content", json_integer(m->tar_content));
    }
    if (m->blob) {
        json_object_set_new(j, "blob", json_string(m->blob));
        json_object_set_new(j, "media_type", json_string(m->media_type ? m->media_type : ""));
        json_object_set_new(j, "blob_size", json_integer(m->blob_size));
    }
    text = json_dumps(j, JSON_INDENT(1));
    ret = text ? fs_write_file(path, text, strlen(text), 0600, err) : err_set(err, 0, "%s: not UTF-8", path);
    json_decref(j);
    free(text);
    return ret;
}

/* Sets what the text says; a damaged one says nothing. */
static void read_meta(const char *path, struct img_layer_meta *m)
{
    struct buf text cleanup_buf = BUF_INIT(META_MAX);
    json_t *j = fs_read_file(path, &text, NULL) == 0 ? json_loadb(text.data, text.len, 0, NULL) : NULL;
    const char *kind = json_string_value(json_object_get(j, "kind"));

    for (size_t i = 1; j && kind && i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (strcmp(kind, kinds[i]) == 0)
            m->kind = (enum img_layer_kind)i;
    }
    if (j) {
        m->key = xstrdup(json_string_value(json_object_get(j, "key")));
        m->parent = xstrdup(json_string_value(json_object_get(j, "parent")));
        m->created.tv_sec = json_integer_value(json_object_get(j, "created"));
        m->created.tv_nsec = json_integer_value(json_object_get(j, "created_ns"));
    }
    if (digest_strip(json_string_value(json_object_get(j, "diff_id")))) {
        m->diff_id = xstrdup(json_string_value(json_object_get(j, "diff_id")));
        m->tar_format = (unsigned)json_integer_value(json_object_get(j, "tar_format"));
        m->tar_size = m->tar_format ? json_integer_value(json_object_get(j, "tar_size")) : -1;
        if (m->tar_format && json_object_get(j, "tar_content"))
            m->tar_content = json_integer_value(json_object_get(j, "tar_content"));
    }
    if (digest_strip(json_string_value(json_object_get(j, "blob")))) {
        m->blob = xstrdup(json_string_value(json_object_get(j, "blob")));
        m->media_type = xstrdup(json_string_value(json_object_get(j, "media_type")));
        m->blob_size = json_integer_value(json_object_get(j, "blob_size"));
    }
    json_decref(j);
}

int img_layer_load(const char *dir, const char *key, struct img_layer_meta *ret, struct err *err)
{
    cleanup_free char *at = folder(dir, key), *size = xasprintf("%s/size", at), *meta = xasprintf("%s/meta.json", at);
    struct stat st;

    if (stat(size, &st) < 0)
        return err_set_errno(err, 0, errno, "layer %.*s", KEY_SHOWN, key);
    *ret = (struct img_layer_meta){
        .tar_size = -1, .tar_content = -1, .created = st.st_mtim}; /* size was written when it was made */
    read_meta(meta, ret);
    if (!ret->key)
        ret->key = xstrdup(key);
    return 0;
}

int img_layer_save(const char *dir, const char *key, const struct img_layer_meta *meta, struct err *err)
{
    cleanup_free char *at = folder(dir, key);

    return write_meta(at, key, meta, err);
}

int img_layer_created(const char *dir, const char *key, struct timespec *ret)
{
    struct img_layer_meta meta;

    if (img_layer_load(dir, key, &meta, NULL) < 0)
        return -1;
    *ret = meta.created;
    img_layer_meta_clear(&meta);
    return 0;
}

/* ---- its tar's digest ---- */

static int hash(const void *bytes, size_t len, void *arg, struct err *err)
{
    (void)err;
    sha256_update(arg, bytes, len);
    return 0;
}

/* Writes the tar to nowhere, for its digest. */
static int measure(const char *dir, const char *key, const atomic_bool *cancelled, struct img_layer_meta *m,
                   struct err *err)
{
    cleanup_free char *root = img_layer_dir(dir, key);
    struct sha256 sha;
    struct img_tar tar = {.dir = root,
                          .format = IMG_TAR_FORMAT,
                          .cancelled = cancelled,
                          .sink = hash,
                          .arg = &sha,
                          .ret_content = &m->tar_content};
    uint8_t digest[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];

    sha256_init(&sha);
    if (img_tar_write(&tar, &m->tar_size, err) < 0)
        return -1;
    sha256_final(&sha, digest);
    sha256_hex(digest, hex);
    free(m->diff_id);
    m->diff_id = xasprintf(DIGEST_PREFIX "%s", hex);
    m->tar_format = IMG_TAR_FORMAT;
    return 0;
}

int img_layer_diff_id(const char *dir, const char *key, const atomic_bool *cancelled, char **ret, struct err *err)
{
    struct img_layer_meta meta;
    int result = 0;

    if (img_layer_load(dir, key, &meta, err) < 0)
        return -1;
    if (!meta.diff_id) {
        result = measure(dir, key, cancelled, &meta, err);
        if (result == 0)
            result = img_layer_save(dir, key, &meta, err);
    }
    if (result == 0)
        *ret = steal(&meta.diff_id);
    img_layer_meta_clear(&meta);
    return result;
}

/* ---- beginning and end ---- */

int img_layer_keep_as(const char *dir, const char *tmp, const char *key, int64_t size,
                      const struct img_layer_meta *meta, struct err *err)
{
    cleanup_free char *size_path = xasprintf("%s/size", tmp), *path = folder(dir, key);
    struct img_layer_meta known = *meta;
    char text[32];
    int len = snprintf(text, sizeof(text), "%lld\n", (long long)size);
    bool kept;

    if (!known.created.tv_sec)
        clock_gettime(CLOCK_REALTIME, &known.created);
    if (fs_write_file(size_path, text, (size_t)len, 0600, err) < 0 || write_meta(tmp, key, &known, err) < 0)
        return -1;
    pthread_mutex_lock(&uses.lock);
    kept = rename(tmp, path) == 0 || errno == EEXIST || errno == ENOTEMPTY;
    note_use(path);
    pthread_mutex_unlock(&uses.lock);
    return kept ? 0 : err_set_errno(err, 0, errno, "keeping layer %s", path);
}

int img_layer_keep(const char *dir, const char *tmp, const char *key, int64_t size, struct err *err)
{
    const struct img_layer_meta built = {.kind = IMG_LAYER_BUILT, .tar_size = -1};

    return img_layer_keep_as(dir, tmp, key, size, &built, err);
}

void img_layer_remove(const char *dir, const char *key)
{
    cleanup_free char *path = folder(dir, key);
    cleanup_free char *tmp = img_store_tmp(dir, NULL);

    /* Out of sight first: half a layer is never seen. */
    if (tmp && rename(path, tmp) == 0)
        img_store_remove(tmp);
}

char *img_layer_discard(const char *dir, const char *key, uint64_t last_use)
{
    cleanup_free char *path = folder(dir, key);
    cleanup_free char *tmp = img_store_tmp(dir, NULL);
    bool gone = false;
    size_t at;

    if (!tmp)
        return NULL;
    pthread_mutex_lock(&uses.lock);
    at = find_use(path);
    if (at == SIZE_MAX || uses.numbers[at] <= last_use)
        gone = rename(path, tmp) == 0;
    if (gone)
        forget_use(path);
    pthread_mutex_unlock(&uses.lock);
    return gone ? steal(&tmp) : NULL;
}
