#include "translate/sync/stream.h"
#include "translate/sync/stream_impl.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/sync/code.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum step { STEP_MAGIC, STEP_BLOCK_HEAD, STEP_BLOCK, STEP_RECORDS };
enum phase { PHASE_BEGIN, PHASE_OPS, PHASE_FILES, PHASE_CONTENT, PHASE_ENDED };

struct stream_parser {
    enum step step;
    enum phase phase;
    struct buf in; /* the block's stored bytes (or its head, or the magic) as they come */
    size_t want;   /* bytes that in must reach */
    char *raw;     /* LIMIT_SYNC_BLOCK bytes: the block, unpacked */
    size_t raw_len, raw_at;
    uint32_t head[2];
    ZSTD_DCtx *zstd;

    uint8_t type;      /* of the record being taken; 0 = its head is not complete */
    uint32_t left;     /* payload bytes still to come */
    struct buf record; /* head and payload of a control record */
    struct sha256 control;

    uint8_t begin_flags;
    uint8_t base[SHA256_LEN];
    uint64_t announced; /* number of operations that BEGIN promised */
    struct stream_ops ops;
    size_t ops_cap;
    char path[LIMIT_PATH]; /* of the last operation */
    size_t closed;         /* 1 + index of the last operation below which nothing can be made */
    size_t next;           /* first operation whose content may still come */
    size_t current;        /* the one whose content is coming */
    unsigned tries;
    struct content content;
    struct manifest_entry done;
    bool failed;
};

struct stream_parser *stream_parser_new(void)
{
    struct stream_parser *p = xcalloc(1, sizeof(*p));

    buf_init(&p->in, ZSTD_COMPRESSBOUND(LIMIT_SYNC_BLOCK));
    buf_init(&p->record, STREAM_RECORD_HEAD + LIMIT_SYNC_RECORD);
    sha256_init(&p->control);
    p->want = STREAM_MAGIC_LEN;
    return p;
}

void stream_parser_free(struct stream_parser *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->ops.entries.len; i++)
        free(p->ops.leader[i]);
    manifest_clear(&p->ops.entries);
    free(p->ops.kind);
    free(p->ops.flags);
    free(p->ops.leader);
    buf_clear(&p->in);
    buf_clear(&p->record);
    ZSTD_freeDCtx(p->zstd);
    free(p->raw);
    free(p);
}

const struct stream_ops *stream_ops(const struct stream_parser *p)
{
    return &p->ops;
}

uint8_t stream_begin_flags(const struct stream_parser *p)
{
    return p->begin_flags;
}

const uint8_t *stream_begin_base(const struct stream_parser *p)
{
    return p->base;
}

static int bad(struct err *err, const char *what)
{
    return err_set(err, 125, "unacceptable sync stream: %s", what);
}

/* ---- operations ---- */

static void read_attributes(struct reader *r, struct manifest_entry *e)
{
    e->mode = read_varint32(r);
    e->uid = read_varint32(r);
    e->gid = read_varint32(r);
    e->mtime = read_signed(r);
}

static void read_digest(struct reader *r, uint8_t ret[SHA256_LEN])
{
    const uint8_t *bytes = read_bytes(r, SHA256_LEN);

    if (bytes)
        memcpy(ret, bytes, SHA256_LEN);
}

/* True if an operation of this kind may speak of an entry of this type. */
static bool kind_fits(uint8_t kind, uint8_t type)
{
    switch (kind) {
    case SYNC_OP_DIR:
        return type == MANIFEST_DIR;
    case SYNC_OP_FILE:
    case SYNC_OP_LINK:
        return type == MANIFEST_FILE;
    case SYNC_OP_SYMLINK:
        return type == MANIFEST_SYMLINK;
    default:
        return kind == SYNC_OP_META;
    }
}

/* Takes one more row in the arrays beside the entries. */
static void grow_ops(struct stream_parser *p)
{
    struct stream_ops *ops = &p->ops;

    if (ops->entries.len < p->ops_cap)
        return;
    p->ops_cap = p->ops_cap ? p->ops_cap * 2 : 64;
    ops->kind = xreallocarray(ops->kind, p->ops_cap, 1);
    ops->flags = xreallocarray(ops->flags, p->ops_cap, 1);
    ops->leader = xreallocarray(ops->leader, p->ops_cap, sizeof(*ops->leader));
}

/* True if something would be made below a path that is to be no directory. */
static bool below_closed(const struct stream_parser *p, const char *path, uint8_t kind)
{
    const char *closed = p->closed ? p->ops.entries.entries[p->closed - 1].path : NULL;

    return closed && kind != SYNC_OP_DELETE && strcmp(closed, path) != 0 && manifest_path_below(path, closed);
}

/* Remembers the topmost path that is to be no directory; what is below it follows at once in the manifest's order. */
static void note_closed(struct stream_parser *p, size_t i)
{
    const struct manifest_entry *entries = p->ops.entries.entries;
    uint8_t kind = p->ops.kind[i];

    if (kind == SYNC_OP_DIR || (kind == SYNC_OP_META && entries[i].type == MANIFEST_DIR) || !*entries[i].path)
        return;
    if (!p->closed || !manifest_path_below(entries[i].path, entries[p->closed - 1].path))
        p->closed = i + 1;
}

static int read_op(struct stream_parser *p, struct reader *r, struct err *err)
{
    struct manifest_entry e = {.path = p->path, .type = MANIFEST_FILE};
    char link[LIMIT_PATH] = "", leader[LIMIT_PATH] = "";
    uint8_t kind = read_u8(r), flags = read_u8(r);
    size_t i = p->ops.entries.len;

    read_path(r, p->path, sizeof(p->path));
    if (kind != SYNC_OP_DELETE) {
        e.type = read_u8(r);
        read_attributes(r, &e);
        if (e.type == MANIFEST_FILE) {
            e.size = read_varint(r);
            read_digest(r, e.digest);
        } else if (e.type == MANIFEST_SYMLINK) {
            read_string(r, link, sizeof(link));
            e.link = link;
        }
        if (kind == SYNC_OP_LINK)
            read_string(r, leader, sizeof(leader));
    }
    if (r->bad || (flags & ~(SYNC_OP_SAME_INODE | SYNC_OP_CONTESTED | SYNC_OP_UNTOUCHED)))
        return bad(err, "damaged operation");
    if (kind != SYNC_OP_DELETE && !kind_fits(kind, e.type))
        return bad(err, "impossible operation");
    if (kind == SYNC_OP_LINK && (!*leader || !manifest_path_valid(leader) || manifest_path_cmp(leader, p->path) >= 0))
        return bad(err, "impossible hard link");
    if (i >= p->announced || below_closed(p, p->path, kind))
        return bad(err, "operation in an impossible place");
    grow_ops(p);
    if (!manifest_add(&p->ops.entries, &e, NULL))
        return bad(err, "a name or an attribute that is not allowed");
    p->ops.kind[i] = kind;
    p->ops.flags[i] = flags;
    p->ops.leader[i] = kind == SYNC_OP_LINK ? xstrdup(leader) : NULL;
    note_closed(p, i);
    return 0;
}

static int on_ops(struct stream_parser *p, struct reader *r, struct err *err)
{
    p->path[0] = '\0';
    do {
        if (read_op(p, r, err) < 0)
            return -1;
    } while (r->left);
    return 0;
}

static int on_begin(struct stream_parser *p, struct reader *r, struct err *err)
{
    uint8_t version = read_u8(r);

    if (!r->bad && version != STREAM_VERSION)
        return err_set(err, 125, "the sync stream has version %d, this program speaks %d", version, STREAM_VERSION);
    p->begin_flags = read_u8(r);
    read_digest(r, p->base);
    p->announced = read_varint(r);
    if (r->bad || r->left || (p->begin_flags & ~STREAM_FULL))
        return bad(err, "damaged beginning");
    if (p->announced > LIMIT_ENTRIES)
        return err_set(err, 125, "sync: more than %u changes at once", LIMIT_ENTRIES);
    p->phase = PHASE_OPS;
    return 0;
}

/* ---- contents ---- */

/* The next operation that has content must be op: none is skipped, none comes twice. */
static int on_file(struct stream_parser *p, struct reader *r, struct err *err)
{
    uint64_t op = read_varint(r);

    while (p->next < p->ops.entries.len && p->ops.kind[p->next] != SYNC_OP_FILE)
        p->next++;
    if (r->bad || r->left || op != p->next || p->next >= p->ops.entries.len)
        return bad(err, "content that was not announced");
    p->current = p->next++;
    p->tries = 1;
    content_init(&p->content);
    p->phase = PHASE_CONTENT;
    return 0;
}

static int on_hole(struct stream_parser *p, struct reader *r, uint64_t *ret_len, struct err *err)
{
    *ret_len = read_varint(r);
    if (r->bad || r->left || !*ret_len || *ret_len > (uint64_t)INT64_MAX - p->content.size)
        return bad(err, "impossible hole");
    content_zeros(&p->content, *ret_len);
    return 0;
}

static int on_again(struct stream_parser *p, struct err *err)
{
    if (++p->tries > STREAM_TRIES)
        return bad(err, "a file begins again too often");
    content_init(&p->content);
    return 0;
}

static int on_done(struct stream_parser *p, struct reader *r, struct err *err)
{
    struct manifest_entry *e = &p->done;
    uint8_t digest[SHA256_LEN];

    *e = p->ops.entries.entries[p->current];
    read_attributes(r, e);
    e->size = read_varint(r);
    read_digest(r, e->digest);
    if (r->bad || r->left || e->mode > 07777)
        return bad(err, "damaged end of a file");
    content_final(&p->content, digest);
    if (e->size != p->content.size || memcmp(digest, e->digest, SHA256_LEN) != 0)
        return bad(err, "a file does not match its digest");
    p->phase = PHASE_FILES;
    return 0;
}

/* Compares the digest of the control records before this one. */
static int check_control(struct stream_parser *p, struct reader *r, struct err *err)
{
    struct sha256 copy = p->control;
    uint8_t mine[SHA256_LEN], theirs[SHA256_LEN] = {0};

    sha256_final(&copy, mine);
    read_digest(r, theirs);
    if (r->bad || r->left || memcmp(mine, theirs, SHA256_LEN) != 0)
        return bad(err, "it is damaged");
    return 0;
}

static int on_announced(struct stream_parser *p, struct reader *r, struct err *err)
{
    if (check_control(p, r, err) < 0)
        return -1;
    if (p->ops.entries.len != p->announced)
        return bad(err, "operations are missing");
    p->phase = PHASE_FILES;
    return 0;
}

static int on_end(struct stream_parser *p, struct reader *r, struct err *err)
{
    if (check_control(p, r, err) < 0)
        return -1;
    for (; p->next < p->ops.entries.len; p->next++)
        if (p->ops.kind[p->next] == SYNC_OP_FILE)
            return bad(err, "announced content is missing");
    p->phase = PHASE_ENDED;
    return 0;
}

/* ---- records ---- */

/* The phase in which a record may come. */
static int phase_of(uint8_t type)
{
    static const uint8_t phases[] = {
        [RECORD_BEGIN] = PHASE_BEGIN,   [RECORD_OPS] = PHASE_OPS,      [RECORD_ANNOUNCED] = PHASE_OPS,
        [RECORD_FILE] = PHASE_FILES,    [RECORD_DATA] = PHASE_CONTENT, [RECORD_HOLE] = PHASE_CONTENT,
        [RECORD_AGAIN] = PHASE_CONTENT, [RECORD_GONE] = PHASE_CONTENT, [RECORD_DONE] = PHASE_CONTENT,
        [RECORD_END] = PHASE_FILES,
    };

    return type >= RECORD_BEGIN && type <= RECORD_END ? phases[type] : -1;
}

/* Carries out a complete control record. */
static int on_record(struct stream_parser *p, struct stream_event *ret, struct err *err)
{
    struct reader r = {.p = (const uint8_t *)p->record.data + STREAM_RECORD_HEAD,
                       .left = p->record.len - STREAM_RECORD_HEAD};
    int status;

    *ret = (struct stream_event){.type = STREAM_MORE};
    switch (p->type) {
    case RECORD_BEGIN:
        status = on_begin(p, &r, err);
        break;
    case RECORD_OPS:
        status = on_ops(p, &r, err);
        break;
    case RECORD_ANNOUNCED:
        ret->type = STREAM_ANNOUNCED;
        status = on_announced(p, &r, err);
        break;
    case RECORD_FILE:
        ret->type = STREAM_FILE;
        status = on_file(p, &r, err);
        break;
    case RECORD_HOLE:
        ret->type = STREAM_HOLE;
        status = on_hole(p, &r, &ret->len, err);
        break;
    case RECORD_AGAIN:
        ret->type = STREAM_AGAIN;
        status = r.left ? bad(err, "damaged record") : on_again(p, err);
        break;
    case RECORD_GONE:
        ret->type = STREAM_GONE;
        p->phase = PHASE_FILES;
        status = r.left ? bad(err, "damaged record") : 0;
        break;
    case RECORD_DONE:
        ret->type = STREAM_DONE;
        ret->done = &p->done;
        status = on_done(p, &r, err);
        break;
    default:
        ret->type = STREAM_END;
        status = on_end(p, &r, err);
        break;
    }
    ret->op = p->current;
    sha256_update(&p->control, p->record.data, p->record.len);
    buf_reset(&p->record);
    p->type = 0;
    return status;
}

/* The five bytes before a payload are complete. */
static int on_record_head(struct stream_parser *p, struct err *err)
{
    struct reader r = {.p = (const uint8_t *)p->record.data, .left = STREAM_RECORD_HEAD};

    p->type = read_u8(&r);
    p->left = read_u32(&r);
    if (phase_of(p->type) != (int)p->phase)
        return bad(err, "a record out of order");
    if (p->type == RECORD_DATA) {
        if (!p->left || p->left > LIMIT_SYNC_BLOCK || p->left > (uint64_t)INT64_MAX - p->content.size)
            return bad(err, "data of an impossible length");
        buf_reset(&p->record);
    } else if (p->left > LIMIT_SYNC_RECORD) {
        return bad(err, "a record that is too long");
    }
    return 0;
}

/* Hands out what the block holds of a DATA record. */
static void on_data(struct stream_parser *p, struct stream_event *ret)
{
    size_t n = p->raw_len - p->raw_at < p->left ? p->raw_len - p->raw_at : p->left;

    *ret = (struct stream_event){
        .type = STREAM_DATA, .op = p->current, .bytes = (const uint8_t *)p->raw + p->raw_at, .len = n};
    content_update(&p->content, ret->bytes, n);
    p->raw_at += n;
    p->left -= (uint32_t)n;
    if (!p->left)
        p->type = 0;
}

/* Moves what the block has, at most n bytes, to the record. */
static size_t take_raw(struct stream_parser *p, size_t n)
{
    if (n > p->raw_len - p->raw_at)
        n = p->raw_len - p->raw_at;
    buf_add(&p->record, p->raw + p->raw_at, n);
    p->raw_at += n;
    return n;
}

/* Takes records from the unpacked block until there is an event or the block is used up. */
static int parse_records(struct stream_parser *p, struct stream_event *ret, struct err *err)
{
    ret->type = STREAM_MORE;
    while (ret->type == STREAM_MORE && p->raw_at < p->raw_len) {
        if (p->phase == PHASE_ENDED)
            return bad(err, "bytes after its end");
        if (p->type == RECORD_DATA) {
            on_data(p, ret);
            continue;
        }
        if (!p->type) {
            take_raw(p, STREAM_RECORD_HEAD - p->record.len);
            if (p->record.len == STREAM_RECORD_HEAD && on_record_head(p, err) < 0)
                return -1;
        }
        /* A record without payload is complete with its head. */
        if (!p->type || p->type == RECORD_DATA)
            continue;
        p->left -= (uint32_t)take_raw(p, p->left);
        if (!p->left && on_record(p, ret, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- blocks ---- */

static int on_block_head(struct stream_parser *p, struct err *err)
{
    struct reader r = {.p = (const uint8_t *)p->in.data, .left = p->in.len};
    uint32_t raw;

    p->head[0] = read_u32(&r);
    p->head[1] = read_u32(&r);
    raw = p->head[0] & ~STREAM_ZSTD_BIT;
    if (!raw || raw > LIMIT_SYNC_BLOCK || !p->head[1] || p->head[1] > p->in.max)
        return bad(err, "a block of an impossible length");
    if (!(p->head[0] & STREAM_ZSTD_BIT) && p->head[1] != raw)
        return bad(err, "a block of two lengths");
    p->step = STEP_BLOCK;
    p->want = p->head[1];
    return 0;
}

/* Unpacks the block; its raw length was bounded before, so the target is always large enough. */
static int on_block(struct stream_parser *p, struct err *err)
{
    size_t raw = p->head[0] & ~STREAM_ZSTD_BIT, n = raw;

    if (!p->raw)
        p->raw = xmalloc(LIMIT_SYNC_BLOCK);
    if (p->head[0] & STREAM_ZSTD_BIT) {
        if (!p->zstd)
            p->zstd = ZSTD_createDCtx();
        if (!p->zstd)
            return err_set(err, 125, "sync: no memory to unpack");
        n = ZSTD_decompressDCtx(p->zstd, p->raw, raw, p->in.data, p->in.len);
        if (ZSTD_isError(n) || n != raw)
            return bad(err, "a block that cannot be unpacked");
    } else {
        memcpy(p->raw, p->in.data, raw);
    }
    p->raw_len = raw;
    p->raw_at = 0;
    p->step = STEP_RECORDS;
    return 0;
}

/* p->in holds what the step wanted. */
static int on_piece(struct stream_parser *p, struct err *err)
{
    int status = 0;

    if (p->step == STEP_MAGIC) {
        if (memcmp(p->in.data, STREAM_MAGIC, STREAM_MAGIC_LEN) != 0)
            status = bad(err, "it is none");
        p->step = STEP_BLOCK_HEAD;
        p->want = STREAM_BLOCK_HEAD;
    } else if (p->step == STEP_BLOCK_HEAD) {
        status = on_block_head(p, err);
    } else {
        status = on_block(p, err);
    }
    buf_reset(&p->in);
    return status;
}

static int parse(struct stream_parser *p, const uint8_t **bytes, size_t *len, struct stream_event *ret, struct err *err)
{
    for (;;) {
        size_t n;

        if (p->step == STEP_RECORDS) {
            if (parse_records(p, ret, err) < 0)
                return -1;
            if (ret->type != STREAM_MORE)
                return 0;
            p->step = STEP_BLOCK_HEAD;
            p->want = STREAM_BLOCK_HEAD;
        }
        ret->type = STREAM_MORE;
        if (!*len)
            return 0;
        if (p->phase == PHASE_ENDED)
            return bad(err, "bytes after its end");
        n = p->want - p->in.len < *len ? p->want - p->in.len : *len;
        buf_add(&p->in, *bytes, n);
        *bytes += n;
        *len -= n;
        if (p->in.len == p->want && on_piece(p, err) < 0)
            return -1;
    }
}

int stream_parse(struct stream_parser *p, const void **bytes, size_t *len, struct stream_event *ret, struct err *err)
{
    const uint8_t *at = *bytes;
    int status;

    if (p->failed)
        return bad(err, "it was refused before");
    status = parse(p, &at, len, ret, err);
    *bytes = at;
    p->failed = status < 0;
    return status;
}
