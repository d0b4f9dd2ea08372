/* Files of version 2 volumes, which come in blocks (protocol 4.5): what is missing is asked for by URL, then the file
 * is put together. A block's digest is that of its bytes without the zeros at its end. */
#include "backends/engine/blobs.h"
#include "backends/engine/engine.h"
#include "backends/engine/svc.h"
#include "backends/engine/svc_volume.h"
#include "backends/engine/vol.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef Modal__Client__VolumePutFiles2Request__File file_t;
typedef Modal__Client__VolumePutFiles2Request__Block block_t;

#define ASKED_MAX 5000 /* blocks that were asked for and did not come yet */

static void hash_of(const block_t *b, char ret[65])
{
    sha256_hex(b->contents_sha256.data, ret);
}

/* How many bytes of the file the block stands for. */
static uint64_t block_len(const file_t *f, size_t i)
{
    uint64_t at = (uint64_t)i * VOL_BLOCK;

    return f->size - at < VOL_BLOCK ? f->size - at : VOL_BLOCK;
}

static int check_file(const file_t *f, struct err *err)
{
    uint64_t blocks = (f->size + VOL_BLOCK - 1) / VOL_BLOCK;

    if (f->n_blocks != blocks)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "%s has %llu bytes and %zu blocks", svc_text(f->path),
                       (unsigned long long)f->size, f->n_blocks);
    for (size_t i = 0; i < f->n_blocks; i++)
        if (f->blocks[i]->contents_sha256.len != SHA256_LEN)
            return svc_err(err, GRPC_INVALID_ARGUMENT, "%s: not a SHA-256 digest", svc_text(f->path));
    return 0;
}

/* The blob that the block was asked for as; NULL: it was not. */
static const char *asked_blob(const struct volumes *v, const char *hash)
{
    for (size_t i = 0; i < v->block_hashes.len; i++)
        if (strcmp(v->block_hashes.items[i], hash) == 0)
            return v->block_blobs.items[i];
    return NULL;
}

static void forget_asked(struct engine *e, const char *hash)
{
    struct volumes *v = e->volumes;

    for (size_t i = 0; i < v->block_hashes.len; i++)
        if (strcmp(v->block_hashes.items[i], hash) == 0) {
            blobs_drop(e->blobs, v->block_blobs.items[i]);
            strlist_remove(&v->block_hashes, i);
            strlist_remove(&v->block_blobs, i);
            return;
        }
}

static bool is_empty(const char *hash)
{
    uint8_t digest[SHA256_LEN];
    char none[65];

    sha256("", 0, digest);
    sha256_hex(digest, none);
    return strcmp(hash, none) == 0;
}

/* Whether the block's bytes are here; what was uploaded and is something else does not count. */
static bool has_block(struct engine *e, const char *hash)
{
    const char *blob = asked_blob(e->volumes, hash);
    char got[65];
    uint64_t len;
    cleanup_close int fd = -1;

    if (is_empty(hash) || content_has(e->volumes, hash))
        return true;
    fd = blob ? blobs_open(e->blobs, blob, NULL, &len, NULL) : -1;
    if (fd < 0)
        return false;
    if (content_put_fd(e->volumes, fd, got, &len, NULL) == 0 && strcmp(got, hash) == 0) {
        forget_asked(e, hash);
        return true;
    }
    forget_asked(e, hash);
    return false;
}

/* A URL for the block, which is not here. */
static int ask_for(struct call *c, const char *hash, struct strlist *urls, struct err *err)
{
    struct engine *e = c->engine;
    cleanup_free char *base = svc_http_url(c);
    const char *id, *key;

    forget_asked(e, hash);
    if (e->volumes->block_hashes.len >= ASKED_MAX) {
        cleanup_free char *oldest = xstrdup(e->volumes->block_hashes.items[0]);

        forget_asked(e, oldest);
    }
    if (blobs_create_at_most(e->blobs, VOL_BLOCK, &id, &key, err) < 0)
        return svc_err(err, GRPC_RESOURCE_EXHAUSTED, "too many uploads are under way");
    strlist_add(&e->volumes->block_hashes, hash);
    strlist_add(&e->volumes->block_blobs, id);
    strlist_addf(urls, "%s/blob/%s/%s", base, id, key);
    return 0;
}

/* The bytes of a block behind what is there, with its zeros. */
static int append(struct engine *e, int to, const char *hash, uint64_t at, uint64_t len, struct err *err)
{
    cleanup_close int from = -1;
    uint64_t left = len;

    if (ftruncate(to, (off_t)(at + len)) < 0 || lseek(to, (off_t)at, SEEK_SET) < 0)
        return err_set_errno(err, 125, errno, "writing to a volume");
    if (is_empty(hash))
        return 0;
    from = content_open(e->volumes, hash, err);
    if (from < 0)
        return -1;
    while (left) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, (size_t)left, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 125, errno, "writing to a volume");
        if (n == 0)
            return 0;
        left -= (uint64_t)n;
    }
    return 0;
}

static int put_file(struct engine *e, struct volume *vol, const file_t *f, struct err *err)
{
    char temp[32], hash[65];
    uint64_t size;
    int fd = content_temp(e->volumes, temp, err);

    if (fd < 0)
        return -1;
    for (size_t i = 0; i < f->n_blocks; i++) {
        char block[65];

        hash_of(f->blocks[i], block);
        if (append(e, fd, block, (uint64_t)i * VOL_BLOCK, block_len(f, i), err) < 0) {
            content_drop(e->volumes, fd, temp);
            return -1;
        }
    }
    if (content_keep(e->volumes, fd, temp, hash, &size, err) < 0)
        return -1;
    return svc_volume_put(vol, svc_text(f->path), f->has_mode ? f->mode : 0644, hash, size, err);
}

struct missing {
    Modal__Client__VolumePutFiles2Response__MissingBlock *items, **list;
    struct strlist urls, asked;
    size_t len;
};

static int look_for_blocks(struct call *c, const Modal__Client__VolumePutFiles2Request *r, struct missing *m,
                           struct err *err)
{
    size_t all = 0;

    for (size_t i = 0; i < r->n_files; i++) {
        if (check_file(r->files[i], err) < 0)
            return -1;
        all += r->files[i]->n_blocks;
    }
    m->items = xcalloc(all + 1, sizeof(*m->items));
    m->list = xcalloc(all + 1, sizeof(*m->list));
    for (size_t i = 0; i < r->n_files; i++)
        for (size_t b = 0; b < r->files[i]->n_blocks; b++) {
            char hash[65];

            hash_of(r->files[i]->blocks[b], hash);
            if (strlist_has(&m->asked, hash) || has_block(c->engine, hash))
                continue; /* asked for once is enough */
            strlist_add(&m->asked, hash);
            if (ask_for(c, hash, &m->urls, err) < 0)
                return -1;
            modal__client__volume_put_files2_response__missing_block__init(&m->items[m->len]);
            m->items[m->len].has_file_index = m->items[m->len].has_block_index = 1;
            m->items[m->len].file_index = i;
            m->items[m->len].block_index = b;
            m->list[m->len] = &m->items[m->len];
            m->len++;
        }
    return 0;
}

static int put_all(struct call *c, struct volume *vol, const Modal__Client__VolumePutFiles2Request *r, struct err *err)
{
    for (size_t i = 0; r->disallow_overwrite_existing_files && i < r->n_files; i++)
        if (svc_volume_check_free(vol, svc_text(r->files[i]->path), err) < 0)
            return -1;
    for (size_t i = 0; i < r->n_files; i++)
        if (put_file(c->engine, vol, r->files[i], err) < 0)
            return -1;
    if (volume_commit(c->engine->volumes, vol, err) < 0)
        return -1;
    content_sweep(c->engine->volumes);
    return 0;
}

static void volume_put_files2(struct call *c, const void *request)
{
    const Modal__Client__VolumePutFiles2Request *r = request;
    Modal__Client__VolumePutFiles2Response response = MODAL__CLIENT__VOLUME_PUT_FILES2_RESPONSE__INIT;
    struct volume *vol = svc_volume(c, r->volume_id);
    cleanup_err struct err err = ERR_INIT;
    struct missing m = {0};
    int rc;

    if (!vol)
        return;
    rc = look_for_blocks(c, r, &m, &err);
    for (size_t i = 0; i < m.len && i < m.urls.len; i++)
        m.items[i].put_url = m.urls.items[i];
    if (rc == 0 && !m.len)
        rc = put_all(c, vol, r, &err);
    response.missing_blocks = m.list;
    response.n_missing_blocks = m.len;
    if (rc < 0)
        svc_fail(c, &err);
    else
        call_reply(c, &response);
    free(m.items);
    free(m.list);
    strlist_clear(&m.urls);
    strlist_clear(&m.asked);
}

const struct rpc_method svc_volume_blocks_methods[] = {
    {"VolumePutFiles2", SVC_REQUEST(volume_put_files2_request), RPC_UNARY, 0, volume_put_files2},
    {0},
};
