/* A manifest as bytes: for ancestors on disk. */
#include "translate/sync/manifest.h"

#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/sha256.h"
#include "translate/sync/code.h"

#include <string.h>

#define MAGIC   "ATPM"
#define VERSION 1

static void put_entry(struct buf *out, const char *before, const struct manifest_entry *e)
{
    put_path(out, before, e->path);
    put_u8(out, e->type);
    put_u8(out, e->flags);
    put_varint(out, e->mode);
    put_varint(out, e->uid);
    put_varint(out, e->gid);
    put_signed(out, e->mtime);
    put_signed(out, e->ctime);
    put_varint(out, e->ino);
    put_varint(out, e->dev);
    if (e->type == MANIFEST_FILE) {
        put_varint(out, e->size);
        put_varint(out, e->group);
        buf_add(out, e->digest, sizeof(e->digest));
    } else if (e->type == MANIFEST_SYMLINK) {
        put_string(out, e->link);
    }
}

int manifest_encode(const struct manifest *m, struct buf *out)
{
    size_t start = out->len;
    const char *before = "";
    uint8_t digest[SHA256_LEN];

    out->overflowed = false;
    buf_adds(out, MAGIC);
    put_u8(out, VERSION);
    put_u8(out, m->root_missing);
    put_varint(out, m->len);
    for (size_t i = 0; i < m->len && !out->overflowed; i++) {
        put_entry(out, before, &m->entries[i]);
        before = m->entries[i].path;
    }
    sha256(out->data + start, out->len - start, digest);
    buf_add(out, digest, sizeof(digest));
    return out->overflowed ? -1 : 0;
}

/* Reads one entry and adds it; path holds the one before. */
static int read_entry(struct reader *r, char *path, size_t cap, struct manifest *m)
{
    struct manifest_entry e = {.path = path};
    char link[LIMIT_PATH];
    const char *leader = NULL;
    const uint8_t *digest;

    read_path(r, path, cap);
    e.type = read_u8(r);
    e.flags = read_u8(r);
    e.mode = read_varint32(r);
    e.uid = read_varint32(r);
    e.gid = read_varint32(r);
    e.mtime = read_signed(r);
    e.ctime = read_signed(r);
    e.ino = read_varint(r);
    e.dev = read_varint(r);
    if (e.type == MANIFEST_FILE) {
        uint32_t group;

        e.size = read_varint(r);
        group = read_varint32(r);
        digest = read_bytes(r, sizeof(e.digest));
        if (digest)
            memcpy(e.digest, digest, sizeof(e.digest));
        if (group > m->len + 1)
            return -1;
        if (group && group <= m->len)
            leader = m->entries[group - 1].path;
    } else if (e.type == MANIFEST_SYMLINK) {
        read_string(r, link, sizeof(link));
        e.link = link;
    }
    return r->bad || (e.flags & ~(MANIFEST_UNSURE | MANIFEST_CONTESTED)) || !manifest_add(m, &e, leader) ? -1 : 0;
}

static int decode(struct reader *r, struct manifest *m)
{
    const uint8_t *magic = read_bytes(r, 4);
    char path[LIMIT_PATH] = "";
    uint64_t count;

    if (!magic || memcmp(magic, MAGIC, 4) != 0 || read_u8(r) != VERSION)
        return -1;
    m->root_missing = read_u8(r) != 0;
    count = read_varint(r);
    if (r->bad || count > LIMIT_ENTRIES || (m->root_missing && count))
        return -1;
    for (uint64_t i = 0; i < count; i++)
        if (read_entry(r, path, sizeof(path), m) < 0)
            return -1;
    return r->left ? -1 : 0;
}

int manifest_decode(const void *bytes, size_t len, struct manifest *ret, struct err *err)
{
    struct manifest m = MANIFEST_INIT;
    struct reader r = {.p = bytes, .left = len < SHA256_LEN ? 0 : len - SHA256_LEN};
    uint8_t digest[SHA256_LEN];

    sha256(bytes, r.left, digest);
    if (len < SHA256_LEN || memcmp(digest, (const uint8_t *)bytes + r.left, SHA256_LEN) != 0)
        return err_set(err, 125, "damaged manifest");
    if (decode(&r, &m) < 0) {
        manifest_clear(&m);
        return err_set(err, 125, "unreadable manifest");
    }
    manifest_move(ret, &m);
    return 0;
}
