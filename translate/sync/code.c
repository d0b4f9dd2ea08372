#include "translate/sync/code.h"

#include <string.h>

void put_u8(struct buf *b, uint8_t v)
{
    buf_addc(b, (char)v);
}

void put_u32(struct buf *b, uint32_t v)
{
    uint8_t bytes[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};

    buf_add(b, bytes, sizeof(bytes));
}

void put_varint(struct buf *b, uint64_t v)
{
    uint8_t bytes[10];
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        bytes[n++] = (uint8_t)(v | 0x80);
    bytes[n++] = (uint8_t)v;
    buf_add(b, bytes, n);
}

void put_signed(struct buf *b, int64_t v)
{
    put_varint(b, (uint64_t)v << 1 ^ (v < 0 ? ~(uint64_t)0 : 0));
}

void put_string(struct buf *b, const char *s)
{
    size_t len = strlen(s);

    put_varint(b, len);
    buf_add(b, s, len);
}

const uint8_t *read_bytes(struct reader *r, size_t len)
{
    const uint8_t *p = r->p;

    if (r->bad || len > r->left) {
        r->bad = true;
        return NULL;
    }
    r->p += len;
    r->left -= len;
    return p;
}

uint8_t read_u8(struct reader *r)
{
    const uint8_t *p = read_bytes(r, 1);

    return p ? *p : 0;
}

uint32_t read_u32(struct reader *r)
{
    const uint8_t *p = read_bytes(r, 4);

    return p ? (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24 : 0;
}

uint64_t read_varint(struct reader *r)
{
    uint64_t v = 0;

    for (int shift = 0; shift < 64; shift += 7) {
        uint8_t byte = read_u8(r);

        /* The tenth byte holds one bit only. */
        if (r->bad || (shift == 63 && byte > 1))
            break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return v;
    }
    r->bad = true;
    return 0;
}

uint32_t read_varint32(struct reader *r)
{
    uint64_t v = read_varint(r);

    if (v > UINT32_MAX) {
        r->bad = true;
        return 0;
    }
    return (uint32_t)v;
}

int64_t read_signed(struct reader *r)
{
    uint64_t v = read_varint(r);

    return (int64_t)(v >> 1 ^ (v & 1 ? ~(uint64_t)0 : 0));
}

void read_string(struct reader *r, char *s, size_t cap)
{
    uint64_t len = read_varint(r);
    const uint8_t *p = len < cap ? read_bytes(r, (size_t)len) : NULL;

    s[0] = '\0';
    if (!p || memchr(p, '\0', (size_t)len)) {
        r->bad = true;
        return;
    }
    memcpy(s, p, (size_t)len);
    s[len] = '\0';
}

void put_path(struct buf *b, const char *before, const char *path)
{
    size_t shared = 0;

    while (before[shared] && before[shared] == path[shared])
        shared++;
    put_varint(b, shared);
    put_string(b, path + shared);
}

void read_path(struct reader *r, char *path, size_t cap)
{
    uint64_t shared = read_varint(r);

    if (r->bad || shared > strlen(path)) {
        r->bad = true;
        path[0] = '\0';
        return;
    }
    read_string(r, path + shared, cap - (size_t)shared);
}
