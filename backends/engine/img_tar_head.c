#include "backends/engine/img_tar_head.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Where the fields of a ustar head are. */
enum {
    AT_NAME = 0,
    AT_MODE = 100,
    AT_UID = 108,
    AT_GID = 116,
    AT_SIZE = 124,
    AT_MTIME = 136,
    AT_SUM = 148,
    AT_TYPE = 156,
    AT_LINK = 157,
    AT_MAGIC = 257,
    AT_MAJOR = 329,
    AT_MINOR = 337,
    AT_PREFIX = 345,
};

#define NAME_LEN   100u
#define PREFIX_LEN 155u
#define OCTAL_7    07777777u      /* the largest number in a field of 8 */
#define OCTAL_11   077777777777ll /* in a field of 12 */
#define PAX_NAME   "././@PaxHeader"
#define GNU_NAME   "././@LongLink"

/* Digits with leading zeros and a NUL. */
static void put_octal(char *at, size_t width, uint64_t value)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%0*" PRIo64, (int)width - 1, value);
    memcpy(at, digits, width - 1);
}

/* The sum of the head's bytes, its own field taken as blanks. */
static void put_sum(char *block)
{
    unsigned sum = 0;

    memset(block + AT_SUM, ' ', 8);
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += (unsigned char)block[i];
    put_octal(block + AT_SUM, 7, sum);
    block[AT_SUM + 6] = '\0';
}

static void put_magic(char *block)
{
    memcpy(block + AT_MAGIC, "ustar\00000", 8);
    put_octal(block + AT_MAJOR, 8, 0);
    put_octal(block + AT_MINOR, 8, 0);
}

/* Where a name can be cut so that its parts fit into prefix and name; 0 = nowhere. */
static size_t split_at(const char *name, size_t len)
{
    for (size_t i = len < PREFIX_LEN + 1 ? len : PREFIX_LEN + 1; i-- > 1;) {
        if (name[i] == '/' && i <= PREFIX_LEN && len - i - 1 <= NAME_LEN && len - i - 1 > 0)
            return i;
    }
    return 0;
}

static bool name_fits(const char *name)
{
    size_t len = strlen(name);

    return len <= NAME_LEN || split_at(name, len) > 0;
}

/* A name that does not fit leaves its beginning here, for readers that know no better. */
static void put_name(char *block, const char *name)
{
    size_t len = strlen(name), cut = len <= NAME_LEN ? 0 : split_at(name, len);

    if (cut) {
        memcpy(block + AT_PREFIX, name, cut);
        memcpy(block + AT_NAME, name + cut + 1, len - cut - 1);
    } else {
        memcpy(block + AT_NAME, name, len < NAME_LEN ? len : NAME_LEN);
    }
}

static int pad(struct buf *out, size_t len)
{
    static const char zeros[TAR_BLOCK];

    return len % TAR_BLOCK ? buf_add(out, zeros, TAR_BLOCK - len % TAR_BLOCK) : 0;
}

/* An entry that says something about the next one. */
static int put_note(struct buf *out, char type, const char *name, const char *bytes, size_t len)
{
    char block[TAR_BLOCK] = {0};

    put_name(block, name);
    put_octal(block + AT_MODE, 8, 0644);
    put_octal(block + AT_UID, 8, 0);
    put_octal(block + AT_GID, 8, 0);
    put_octal(block + AT_SIZE, 12, len);
    put_octal(block + AT_MTIME, 12, 0);
    block[AT_TYPE] = type;
    put_magic(block);
    put_sum(block);
    return buf_add(out, block, sizeof(block)) < 0 || buf_add(out, bytes, len) < 0 ? -1 : pad(out, len);
}

int img_tar_record(struct buf *out, const char *key, const void *value, size_t len)
{
    size_t fixed = strlen(key) + len + 3, total = fixed;
    char digits[24];

    /* The length counts its own digits. */
    for (size_t before = 0; before != total;) {
        before = total;
        total = fixed + (size_t)snprintf(digits, sizeof(digits), "%zu", total);
    }
    if (buf_addf(out, "%zu %s=", total, key) < 0 || buf_add(out, value, len) < 0)
        return -1;
    return buf_addc(out, '\n');
}

static int add_text(struct buf *out, const char *key, const char *text)
{
    return img_tar_record(out, key, text, strlen(text));
}

static int add_number(struct buf *out, const char *key, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRId64, value);
    return add_text(out, key, text);
}

/* Fractions only after 1970: readers do not agree on those before. */
static bool plain_time(const struct timespec *t)
{
    return t->tv_sec >= 0 && t->tv_sec <= OCTAL_11 && t->tv_nsec == 0;
}

static int add_time(struct buf *out, const struct timespec *t)
{
    char text[48];
    int len = snprintf(text, sizeof(text), "%lld", (long long)t->tv_sec);

    if (t->tv_sec >= 0 && t->tv_nsec) {
        len += snprintf(text + len, sizeof(text) - (size_t)len, ".%09ld", t->tv_nsec);
        while (text[len - 1] == '0')
            text[--len] = '\0';
    }
    return add_text(out, "mtime", text);
}

static bool is_text(const char *name)
{
    json_t *text = json_string(name); /* takes UTF-8 only */

    json_decref(text);
    return text != NULL;
}

/* A name that is too long for the head: in PAX if it is text, else in an entry of its own. */
static int add_name(struct buf *out, struct buf *pax, const char *key, char gnu_type, const char *name)
{
    return is_text(name) ? add_text(pax, key, name) : put_note(out, gnu_type, GNU_NAME, name, strlen(name) + 1);
}

static int add_sparse(struct buf *pax, const struct img_tar_head *h)
{
    if (h->real_size < 0)
        return 0;
    return add_text(pax, "GNU.sparse.major", "1") < 0 || add_text(pax, "GNU.sparse.minor", "0") < 0 ||
                   add_text(pax, "GNU.sparse.name", h->name) < 0
               ? -1
               : add_number(pax, "GNU.sparse.realsize", h->real_size);
}

/* What the head has no room for. */
static int add_pax(struct buf *out, struct buf *pax, const struct img_tar_head *h)
{
    bool sparse = h->real_size >= 0;

    if ((!plain_time(&h->mtime) && add_time(pax, &h->mtime) < 0) ||
        (h->uid > OCTAL_7 && add_number(pax, "uid", (int64_t)h->uid) < 0) ||
        (h->gid > OCTAL_7 && add_number(pax, "gid", (int64_t)h->gid) < 0) ||
        (h->size > OCTAL_11 && add_number(pax, "size", h->size) < 0) || add_sparse(pax, h) < 0)
        return -1;
    if (!sparse && !name_fits(h->name) && add_name(out, pax, "path", 'L', h->name) < 0)
        return -1;
    if (h->link && strlen(h->link) > NAME_LEN && add_name(out, pax, "linkpath", 'K', h->link) < 0)
        return -1;
    return h->records ? buf_add(pax, h->records->data, h->records->len) : 0;
}

static void fill(char *block, const struct img_tar_head *h)
{
    const char *slash = strrchr(h->name, '/'), *base = slash ? slash + 1 : h->name;
    char sparse_name[TAR_BLOCK];

    if (h->real_size >= 0) {
        snprintf(sparse_name, sizeof(sparse_name), "GNUSparseFile.0/%.80s", base);
        put_name(block, sparse_name);
    } else {
        put_name(block, h->name);
    }
    put_octal(block + AT_MODE, 8, h->mode & 07777);
    put_octal(block + AT_UID, 8, h->uid > OCTAL_7 ? 0 : h->uid);
    put_octal(block + AT_GID, 8, h->gid > OCTAL_7 ? 0 : h->gid);
    put_octal(block + AT_SIZE, 12, h->size > OCTAL_11 ? 0 : (uint64_t)h->size);
    put_octal(block + AT_MTIME, 12, h->mtime.tv_sec < 0 || h->mtime.tv_sec > OCTAL_11 ? 0 : (uint64_t)h->mtime.tv_sec);
    block[AT_TYPE] = h->type;
    if (h->link)
        memcpy(block + AT_LINK, h->link, strnlen(h->link, NAME_LEN));
    put_magic(block);
    put_octal(block + AT_MAJOR, 8, h->major & OCTAL_7);
    put_octal(block + AT_MINOR, 8, h->minor & OCTAL_7);
    put_sum(block);
}

int img_tar_head(struct buf *out, const struct img_tar_head *h)
{
    struct buf pax cleanup_buf = BUF_INIT(TAR_PAX_MAX);
    char block[TAR_BLOCK] = {0};

    if (add_pax(out, &pax, h) < 0 || (pax.len && put_note(out, 'x', PAX_NAME, pax.data, pax.len) < 0))
        return -1;
    fill(block, h);
    return buf_add(out, block, sizeof(block));
}
