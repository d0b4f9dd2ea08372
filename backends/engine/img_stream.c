/*
 * A layer's bytes for somebody who takes them at his own pace: a thread writes them into a small buffer and waits while
 * that is full, the loop takes them out.
 */
#include "backends/engine/img_blobs.h"
#include "backends/engine/img_export.h"
#include "backends/engine/img_internal.h"
#include "backends/engine/img_layer.h"
#include "backends/engine/img_tar.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AHEAD     (1u << 20)   /* bytes that wait for the reader */
#define BLOB_STEP (256u << 10) /* of a blob, read at once */
#define STREAMS   64           /* at a time: each has a thread */

struct images_stream {
    struct images *im;
    char *dir, *id, *key;
    int64_t from;
    pthread_t thread;
    uv_async_t *wake;
    void (*fn)(void *arg);
    void *arg;
    atomic_bool closed;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t taken;
    char *bytes; /* a ring */
    size_t start, len;
    bool ended, hungry; /* hungry: the reader waits to be woken */
    struct err err;
};

static atomic_int streams;

/* ---- in the thread ---- */

static void tell_reader(struct images_stream *s)
{
    if (s->hungry)
        uv_async_send(s->wake);
    s->hungry = false;
}

/* Copies as much as there is room for; waits for room first. 0 = the reader has gone. */
static size_t add_some(struct images_stream *s, const char *bytes, size_t len)
{
    size_t end, n;

    pthread_mutex_lock(&s->lock);
    while (s->len == AHEAD && !atomic_load(&s->closed))
        pthread_cond_wait(&s->taken, &s->lock);
    end = (s->start + s->len) % AHEAD;
    n = AHEAD - s->len;
    if (n > AHEAD - end)
        n = AHEAD - end;
    if (n > len)
        n = len;
    if (atomic_load(&s->closed))
        n = 0;
    memcpy(s->bytes + end, bytes, n);
    s->len += n;
    tell_reader(s);
    pthread_mutex_unlock(&s->lock);
    return n;
}

static int sink(const void *bytes, size_t len, void *arg, struct err *err)
{
    for (const char *at = bytes; len;) {
        size_t n = add_some(arg, at, len);

        if (!n)
            return err_set(err, 0, "context canceled");
        at += n;
        len -= n;
    }
    return 0;
}

static int send_blob(struct images_stream *s, const char *digest, struct err *err)
{
    cleanup_free char *path = img_blob_path(s->dir, digest), *chunk = xmalloc(BLOB_STEP);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    int64_t at = s->from;
    ssize_t n;

    if (fd < 0)
        return err_set_errno(err, 0, errno, "opening blob %s", digest);
    while ((n = pread(fd, chunk, BLOB_STEP, at)) > 0) {
        if (sink(chunk, (size_t)n, s, err) < 0)
            return -1;
        at += n;
    }
    return n < 0 ? err_set_errno(err, 0, errno, "reading blob %s", digest) : 0;
}

static int send_layer(struct images_stream *s, struct err *err)
{
    cleanup_free char *root = img_layer_dir(s->dir, s->key);
    struct img_tar tar = {.dir = root, .from = s->from, .cancelled = &s->closed, .sink = sink, .arg = s};
    struct img_layer_meta meta;
    int ret;

    if (img_layer_load(s->dir, s->key, &meta, err) < 0)
        return -1;
    tar.format = meta.diff_id ? meta.tar_format : IMG_TAR_FORMAT;
    ret = meta.diff_id && !meta.tar_format && meta.blob ? send_blob(s, meta.blob, err) : img_tar_write(&tar, NULL, err);
    img_layer_meta_clear(&meta);
    return ret;
}

static void *stream_thread(void *arg)
{
    struct images_stream *s = arg;
    struct err err = ERR_INIT;

    send_layer(s, &err);
    pthread_mutex_lock(&s->lock);
    if (err.msg)
        err_move(&s->err, &err);
    s->ended = true;
    tell_reader(s);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- on the loop ---- */

static void on_wake(uv_async_t *handle)
{
    struct images_stream *s = handle->data;

    if (s)
        s->fn(s->arg);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void stream_free(struct images_stream *s)
{
    if (s->wake) {
        s->wake->data = NULL;
        uv_close((uv_handle_t *)s->wake, on_closed);
    }
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->taken);
    err_clear(&s->err);
    free(s->bytes);
    free(s->dir);
    free(s->id);
    free(s->key);
    free(s);
    atomic_fetch_sub(&streams, 1);
}

/* The key of a described layer, owned by caller; NULL and err. */
static char *find_layer(struct images *im, const char *id, size_t index, struct err *err)
{
    cleanup_strlist struct strlist keys = STRLIST_INIT;
    const struct image *image = img_find(im, id);

    if (!image || image->state != IMAGES_READY) {
        err_set(err, 0, "image %s not found", id);
    } else {
        img_described_layers(&image->layers, &keys);
        if (index < keys.len)
            return xstrdup(keys.items[index]);
        err_set(err, 0, "image %s has no layer %zu", id, index);
    }
    if (err)
        err->code = ENOENT;
    return NULL;
}

struct images_stream *images_stream_open(struct images *im, const char *id, size_t index, int64_t offset,
                                         void (*wake)(void *arg), void *arg, struct err *err)
{
    char *key = find_layer(im, id, index, err);
    struct images_stream *s;

    if (!key)
        return NULL;
    if (atomic_fetch_add(&streams, 1) >= STREAMS) {
        atomic_fetch_sub(&streams, 1);
        free(key);
        err_set(err, 0, "more than %d layers at a time", STREAMS);
        return NULL;
    }
    s = xcalloc(1, sizeof(*s));
    *s = (struct images_stream){.im = im, .key = key, .from = offset, .fn = wake, .arg = arg, .bytes = xmalloc(AHEAD)};
    s->dir = xstrdup(im->dir);
    s->id = xstrdup(id);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->taken, NULL);
    s->wake = xcalloc(1, sizeof(*s->wake));
    uv_async_init(im->loop, s->wake, on_wake);
    s->wake->data = s;
    if (pthread_create(&s->thread, NULL, stream_thread, s) != 0) {
        err_set(err, 0, "no thread for the layer");
        stream_free(s);
        return NULL;
    }
    images_hold(im, id, NULL);
    return s;
}

ssize_t images_stream_read(struct images_stream *s, void *to, size_t cap, struct err *err)
{
    ssize_t ret = 0;

    pthread_mutex_lock(&s->lock);
    while (s->len && (size_t)ret < cap) {
        size_t n = s->len < AHEAD - s->start ? s->len : AHEAD - s->start;

        if (n > cap - (size_t)ret)
            n = cap - (size_t)ret;
        memcpy((char *)to + ret, s->bytes + s->start, n);
        s->start = (s->start + n) % AHEAD;
        s->len -= n;
        ret += (ssize_t)n;
    }
    if (ret == 0 && s->ended) {
        ret = -1;
        if (s->err.msg)
            err_move(err, &s->err);
    }
    s->hungry = ret == 0;
    pthread_cond_signal(&s->taken);
    pthread_mutex_unlock(&s->lock);
    return ret;
}

void images_stream_close(struct images_stream *s)
{
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->closed, true);
    pthread_cond_signal(&s->taken);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    images_release(s->im, s->id);
    stream_free(s);
}
