#include "backends/agent/volume_manifest.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/beneath.h"

#include "backends/agent/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/*
 * On disk: MAGIC, u64 generation, u32 packs, pieces, entries; then each of them; then the SHA-256 of all that. Integers
 * are little endian, texts have a u32 length.
 */
#define MAGIC     "ATPVOL1\n"
#define MAGIC_LEN 8u

void volume_manifest_clear(struct volume_manifest *m)
{
    for (size_t i = 0; i < m->n_entries; i++) {
        free(m->entries[i].path);
        free(m->entries[i].link);
    }
    free(m->packs);
    free(m->pieces);
    free(m->entries);
    *m = (struct volume_manifest){0};
}

/* Room for one more of a list. */
static void *grow(void *list, size_t len, size_t *room, size_t size)
{
    if (len < *room)
        return list;
    *room = *room ? 2 * *room : 16;
    return xreallocarray(list, *room, size);
}

struct volume_pack *volume_add_pack(struct volume_manifest *m)
{
    m->packs = grow(m->packs, m->n_packs, &m->room_packs, sizeof(*m->packs));
    m->packs[m->n_packs] = (struct volume_pack){0};
    return &m->packs[m->n_packs++];
}

struct volume_piece *volume_add_piece(struct volume_manifest *m)
{
    m->pieces = grow(m->pieces, m->n_pieces, &m->room_pieces, sizeof(*m->pieces));
    m->pieces[m->n_pieces] = (struct volume_piece){0};
    return &m->pieces[m->n_pieces++];
}

struct volume_entry *volume_add_entry(struct volume_manifest *m)
{
    m->entries = grow(m->entries, m->n_entries, &m->room_entries, sizeof(*m->entries));
    m->entries[m->n_entries] = (struct volume_entry){0};
    return &m->entries[m->n_entries++];
}

/* ---- writing ---- */

static void put_int(struct buf *b, uint64_t v, unsigned bytes)
{
    uint8_t raw[8];

    for (unsigned i = 0; i < bytes; i++)
        raw[i] = (uint8_t)(v >> (8 * i));
    buf_add(b, raw, bytes);
}

static void put_text(struct buf *b, const char *s)
{
    put_int(b, s ? strlen(s) : 0, 4);
    buf_adds(b, s ? s : "");
}

static void put_entry(struct buf *b, const struct volume_entry *e)
{
    put_int(b, e->kind, 1);
    put_int(b, e->mode, 2);
    put_int(b, e->uid, 4);
    put_int(b, e->gid, 4);
    put_int(b, (uint64_t)e->mtime_ns, 8);
    put_int(b, e->size, 8);
    put_int(b, e->first_piece, 4);
    put_int(b, e->pieces, 4);
    put_int(b, e->ino, 8);
    put_int(b, (uint64_t)e->ctime_ns, 8);
    put_text(b, e->path);
    put_text(b, e->link);
}

int volume_manifest_put(const struct volume_manifest *m, struct buf *out, struct err *err)
{
    uint8_t sum[SHA256_LEN];

    buf_adds(out, MAGIC);
    put_int(out, m->generation, 8);
    put_int(out, m->n_packs, 4);
    put_int(out, m->n_pieces, 4);
    put_int(out, m->n_entries, 4);
    for (size_t i = 0; i < m->n_packs; i++) {
        buf_add(out, m->packs[i].hash, SHA256_LEN);
        put_int(out, m->packs[i].size, 8);
    }
    for (size_t i = 0; i < m->n_pieces; i++) {
        buf_add(out, m->pieces[i].hash, SHA256_LEN);
        put_int(out, m->pieces[i].pack, 4);
        put_int(out, m->pieces[i].stored, 4);
        put_int(out, m->pieces[i].len, 4);
        put_int(out, m->pieces[i].at, 8);
    }
    for (size_t i = 0; i < m->n_entries; i++)
        put_entry(out, &m->entries[i]);
    sha256(out->data, out->len, sum);
    buf_add(out, sum, sizeof(sum));
    return out->overflowed ? err_set(err, 125, "the volume has too many files to be saved") : 0;
}

/* ---- reading ---- */

struct input {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static const uint8_t *take(struct input *in, size_t len)
{
    const uint8_t *at = in->at;

    if (in->bad || len > in->left) {
        in->bad = true;
        return NULL;
    }
    in->at += len;
    in->left -= len;
    return at;
}

static uint64_t get_int(struct input *in, unsigned bytes)
{
    const uint8_t *raw = take(in, bytes);
    uint64_t v = 0;

    for (unsigned i = 0; raw && i < bytes; i++)
        v |= (uint64_t)raw[i] << (8 * i);
    return v;
}

static void get_hash(struct input *in, uint8_t ret[SHA256_LEN])
{
    const uint8_t *raw = take(in, SHA256_LEN);

    if (raw)
        memcpy(ret, raw, SHA256_LEN);
}

static char *get_text(struct input *in)
{
    size_t len = (size_t)get_int(in, 4);
    const uint8_t *raw = len <= LIMIT_PATH ? take(in, len) : NULL;

    if (!raw || memchr(raw, 0, len)) {
        in->bad = true;
        return xstrdup("");
    }
    return xstrndup((const char *)raw, len);
}

/* Plain names with single slashes; "" is the target itself. */
static bool is_path(const char *path)
{
    for (const char *at = path; *path;) {
        size_t len = strcspn(at, "/");

        if (!len || len > LIMIT_NAME || (len == 1 && *at == '.') || (len == 2 && at[0] == '.' && at[1] == '.'))
            return false;
        if (!at[len])
            return true;
        at += len + 1;
    }
    return true;
}

static void get_piece(struct input *in, struct volume_manifest *m)
{
    struct volume_piece *p = volume_add_piece(m);

    get_hash(in, p->hash);
    p->pack = (uint32_t)get_int(in, 4);
    p->stored = (uint32_t)get_int(in, 4);
    p->len = (uint32_t)get_int(in, 4);
    p->at = get_int(in, 8);
    if (!p->len || p->len > VOLUME_PIECE || p->stored > p->len)
        in->bad = true;
    if (p->pack == VOLUME_HOLE)
        return;
    if (p->pack >= m->n_packs || !p->stored || p->at > m->packs[p->pack].size ||
        p->stored > m->packs[p->pack].size - p->at)
        in->bad = true;
}

static void get_entry(struct input *in, struct volume_manifest *m, size_t pieces)
{
    struct volume_entry *e = volume_add_entry(m);
    uint64_t size = 0;

    e->kind = (uint8_t)get_int(in, 1);
    e->mode = (uint16_t)get_int(in, 2) & 07777;
    e->uid = (uint32_t)get_int(in, 4);
    e->gid = (uint32_t)get_int(in, 4);
    e->mtime_ns = (int64_t)get_int(in, 8);
    e->size = get_int(in, 8);
    e->first_piece = (uint32_t)get_int(in, 4);
    e->pieces = (uint32_t)get_int(in, 4);
    e->ino = get_int(in, 8);
    e->ctime_ns = (int64_t)get_int(in, 8);
    e->path = get_text(in);
    e->link = get_text(in);
    if (e->kind < VOLUME_FILE || e->kind > VOLUME_FIFO || !is_path(e->path) || e->first_piece > pieces ||
        e->pieces > pieces - e->first_piece || (!*e->path && e->kind != VOLUME_DIR))
        in->bad = true;
    if (e->kind == VOLUME_LINK && (!*e->link || !is_path(e->link)))
        in->bad = true;
    for (size_t i = 0; !in->bad && i < e->pieces; i++)
        size += m->pieces[e->first_piece + i].len;
    if (e->kind == VOLUME_FILE ? size != e->size : e->pieces != 0)
        in->bad = true;
}

int volume_manifest_get(const void *bytes, size_t len, struct volume_manifest *ret, struct err *err)
{
    struct input in = {.at = bytes, .left = len};
    struct volume_manifest m = {0};
    uint8_t sum[SHA256_LEN];
    uint64_t packs, pieces, entries;
    const uint8_t *magic;

    if (len < MAGIC_LEN + SHA256_LEN)
        return err_set(err, 125, "too short");
    in.left -= SHA256_LEN;
    sha256(bytes, in.left, sum);
    if (memcmp(sum, in.at + in.left, SHA256_LEN) != 0)
        return err_set(err, 125, "its sum is wrong");
    magic = take(&in, MAGIC_LEN);
    m.generation = get_int(&in, 8);
    packs = get_int(&in, 4);
    pieces = get_int(&in, 4);
    entries = get_int(&in, 4);
    if (!magic || memcmp(magic, MAGIC, MAGIC_LEN) != 0 || entries > LIMIT_ENTRIES)
        in.bad = true;
    for (uint64_t i = 0; !in.bad && i < packs; i++) {
        struct volume_pack *p = volume_add_pack(&m);

        get_hash(&in, p->hash);
        p->size = get_int(&in, 8);
    }
    for (uint64_t i = 0; !in.bad && i < pieces; i++)
        get_piece(&in, &m);
    for (uint64_t i = 0; !in.bad && i < entries; i++)
        get_entry(&in, &m, (size_t)pieces);
    if (in.bad || in.left) {
        volume_manifest_clear(&m);
        return err_set(err, 125, "it is malformed");
    }
    *ret = m;
    return 0;
}

/* ---- files ---- */

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = write(fd, bytes, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

int volume_manifest_save(int dir, const char *name, const struct volume_manifest *m, struct err *err)
{
    struct buf b = BUF_INIT(LIMIT_SYNC_MANIFEST);
    char temp[BENEATH_TEMP_MAX] = "";
    int rc = volume_manifest_put(m, &b, err), fd = -1;

    if (rc == 0) {
        fd = beneath_temp_open(dir, temp);
        if (fd < 0 || write_all(fd, b.data, b.len) < 0 || fsync(fd) < 0 || beneath_rename(dir, temp, dir, name) < 0)
            rc = err_set_errno(err, 125, errno, "writing %s", name);
    }
    if (rc < 0 && fd >= 0)
        beneath_unlink(dir, temp);
    if (fd >= 0)
        close(fd);
    buf_clear(&b);
    return rc;
}

int volume_manifest_load(int dir, const char *name, struct volume_manifest *ret, struct err *err)
{
    struct stat st;
    cleanup_close int fd = beneath_read_open(dir, name, &st);
    cleanup_free char *bytes = NULL;
    size_t got = 0;

    if (fd < 0)
        return err_set_errno(err, 125, errno, "%s", name);
    if (st.st_size > (off_t)LIMIT_SYNC_MANIFEST)
        return err_set(err, 125, "%s: too long", name);
    bytes = xmalloc((size_t)st.st_size + 1);
    while (got < (size_t)st.st_size) {
        ssize_t n = read(fd, bytes + got, (size_t)st.st_size - got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set(err, 125, "%s: cut off", name);
        got += (size_t)n;
    }
    if (volume_manifest_get(bytes, got, ret, err) < 0)
        return err_wrap(err, "%s", name);
    return 0;
}
