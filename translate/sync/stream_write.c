#include "translate/sync/stream.h"
#include "translate/sync/stream_impl.h"

#include "compat/base/alloc.h"
#include "compat/base/limits.h"
#include "translate/sync/code.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* Level 1 keeps up with any link; what it leaves to gain is not worth a core (sync-rules 1). */
#define ZSTD_LEVEL         1
/* After a block that did not shrink, so many are stored untried: content that is compressed already comes in long runs.
 */
#define SKIP_AFTER_FAILURE 7

struct stream_writer {
    struct buf raw;        /* the block being filled */
    struct buf ops;        /* the OPS record being filled */
    struct buf out;        /* finished blocks */
    size_t taken;          /* bytes of out that are gone */
    char path[LIMIT_PATH]; /* of the last operation */
    struct sha256 control;
    ZSTD_CCtx *zstd;
    unsigned skip;
    bool no_zstd;
};

struct stream_writer *stream_writer_new(void)
{
    struct stream_writer *w = xcalloc(1, sizeof(*w));

    buf_init(&w->raw, 2 * LIMIT_SYNC_BLOCK + LIMIT_SYNC_RECORD);
    buf_init(&w->ops, LIMIT_SYNC_RECORD);
    /* A caller that takes when told holds at most a few blocks; one operation adds at most one record. */
    buf_init(&w->out, 16 * (size_t)LIMIT_SYNC_BLOCK);
    sha256_init(&w->control);
    buf_add(&w->out, STREAM_MAGIC, STREAM_MAGIC_LEN);
    return w;
}

void stream_writer_free(struct stream_writer *w)
{
    if (!w)
        return;
    buf_clear(&w->raw);
    buf_clear(&w->ops);
    buf_clear(&w->out);
    ZSTD_freeCCtx(w->zstd);
    free(w);
}

void stream_writer_no_zstd(struct stream_writer *w)
{
    w->no_zstd = true;
}

/* Compresses len raw bytes into out; 0 if that saves less than 5 %. */
static size_t compress_block(struct stream_writer *w, char *to, size_t cap, size_t len)
{
    size_t n;

    if (w->no_zstd || len < 64)
        return 0;
    if (w->skip) {
        w->skip--;
        return 0;
    }
    if (!w->zstd)
        w->zstd = ZSTD_createCCtx();
    n = w->zstd ? ZSTD_compressCCtx(w->zstd, to, cap, w->raw.data, len, ZSTD_LEVEL) : 0;
    if (!n || ZSTD_isError(n) || n > len - len / 20) {
        /* Only a full block is a fair sample. */
        w->skip = len == LIMIT_SYNC_BLOCK ? SKIP_AFTER_FAILURE : 0;
        return 0;
    }
    return n;
}

/* Moves the first len raw bytes to out as a block. */
static void finish_block(struct stream_writer *w, size_t len)
{
    size_t cap = ZSTD_compressBound(len), at = w->out.len, stored;
    char *to;

    if (!len)
        return;
    put_u32(&w->out, 0);
    put_u32(&w->out, 0);
    to = buf_reserve(&w->out, cap);
    if (!to)
        return;
    stored = compress_block(w, to, cap, len);
    if (!stored)
        memcpy(to, w->raw.data, len);
    buf_advance(&w->out, stored ? stored : len);
    for (int i = 0; i < 4; i++) {
        w->out.data[at + (size_t)i] = (char)((stored ? len | STREAM_ZSTD_BIT : len) >> 8 * i);
        w->out.data[at + 4 + (size_t)i] = (char)((stored ? stored : len) >> 8 * i);
    }
    buf_consume(&w->raw, len);
}

static void put_record(struct stream_writer *w, enum stream_record type, const void *payload, size_t len)
{
    size_t at = w->raw.len;

    put_u8(&w->raw, (uint8_t)type);
    put_u32(&w->raw, (uint32_t)len);
    buf_add(&w->raw, payload, len);
    if (type != RECORD_DATA)
        sha256_update(&w->control, w->raw.data + at, w->raw.len - at);
    while (w->raw.len >= LIMIT_SYNC_BLOCK)
        finish_block(w, LIMIT_SYNC_BLOCK);
}

void stream_put_begin(struct stream_writer *w, uint8_t flags, const uint8_t base[SHA256_LEN], uint64_t ops)
{
    struct buf b = BUF_INIT(64);

    put_u8(&b, STREAM_VERSION);
    put_u8(&b, flags);
    buf_add(&b, base, SHA256_LEN);
    put_varint(&b, ops);
    put_record(w, RECORD_BEGIN, b.data, b.len);
    buf_clear(&b);
}

static void put_attributes(struct buf *b, const struct manifest_entry *e)
{
    put_varint(b, e->mode);
    put_varint(b, e->uid);
    put_varint(b, e->gid);
    put_signed(b, e->mtime);
}

static void put_op(struct buf *b, const char *before, const struct sync_op *op)
{
    const struct manifest_entry *e = op->now;

    put_u8(b, op->kind);
    put_u8(b, op->flags);
    put_path(b, before, e ? e->path : op->old->path);
    if (!e)
        return;
    put_u8(b, e->type);
    put_attributes(b, e);
    if (e->type == MANIFEST_FILE) {
        put_varint(b, e->size);
        buf_add(b, e->digest, sizeof(e->digest));
    } else if (e->type == MANIFEST_SYMLINK) {
        put_string(b, e->link);
    }
    if (op->kind == SYNC_OP_LINK)
        put_string(b, op->leader);
}

/* Closes the OPS record; the next one begins with a whole path. */
static void flush_ops(struct stream_writer *w)
{
    if (w->ops.len)
        put_record(w, RECORD_OPS, w->ops.data, w->ops.len);
    buf_reset(&w->ops);
    w->path[0] = '\0';
}

void stream_put_op(struct stream_writer *w, const struct sync_op *op)
{
    const char *path = op->now ? op->now->path : op->old->path;

    /* Three names of the greatest length and the numbers fit into what is left above this mark. */
    if (w->ops.len > LIMIT_SYNC_RECORD / 2)
        flush_ops(w);
    put_op(&w->ops, w->path, op);
    memcpy(w->path, path, strlen(path) + 1);
}

static void put_digest(struct stream_writer *w, enum stream_record type)
{
    struct sha256 copy = w->control;
    uint8_t digest[SHA256_LEN];

    sha256_final(&copy, digest);
    put_record(w, type, digest, sizeof(digest));
}

void stream_put_announced(struct stream_writer *w)
{
    flush_ops(w);
    put_digest(w, RECORD_ANNOUNCED);
}

static void put_number(struct stream_writer *w, enum stream_record type, uint64_t n)
{
    struct buf b = BUF_INIT(16);

    put_varint(&b, n);
    put_record(w, type, b.data, b.len);
    buf_clear(&b);
}

void stream_put_file(struct stream_writer *w, uint64_t op)
{
    put_number(w, RECORD_FILE, op);
}

void stream_put_data(struct stream_writer *w, const void *bytes, size_t len)
{
    if (len)
        put_record(w, RECORD_DATA, bytes, len);
}

void stream_put_hole(struct stream_writer *w, uint64_t len)
{
    if (len)
        put_number(w, RECORD_HOLE, len);
}

void stream_put_again(struct stream_writer *w)
{
    put_record(w, RECORD_AGAIN, "", 0);
}

void stream_put_gone(struct stream_writer *w)
{
    put_record(w, RECORD_GONE, "", 0);
}

void stream_put_done(struct stream_writer *w, const struct manifest_entry *e)
{
    struct buf b = BUF_INIT(128);

    put_attributes(&b, e);
    put_varint(&b, e->size);
    buf_add(&b, e->digest, sizeof(e->digest));
    put_record(w, RECORD_DONE, b.data, b.len);
    buf_clear(&b);
}

void stream_put_end(struct stream_writer *w)
{
    put_digest(w, RECORD_END);
    finish_block(w, w->raw.len);
}

bool stream_writer_full(const struct stream_writer *w)
{
    return w->out.len > w->taken;
}

size_t stream_writer_take(struct stream_writer *w, void *bytes, size_t cap)
{
    size_t n = w->out.len - w->taken;

    if (n > cap)
        n = cap;
    memcpy(bytes, w->out.data + w->taken, n);
    w->taken += n;
    if (w->taken == w->out.len) {
        buf_reset(&w->out);
        w->taken = 0;
    }
    return n;
}
