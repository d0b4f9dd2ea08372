#include "translate/wire/codec.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <string.h>

static void store(uint8_t *to, uint64_t v, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t load(const uint8_t *from, size_t len)
{
    uint64_t v = 0;

    for (size_t i = 0; i < len; i++)
        v |= (uint64_t)from[i] << (8 * i);
    return v;
}

struct fr fr_begin(struct buf *b, uint8_t type)
{
    struct fr f = {.b = b, .start = b->len, .was_overflowed = b->overflowed};

    fr_u8(&f, type);
    fr_u32(&f, 0); /* the length, known at the end */
    return f;
}

void fr_bytes(struct fr *f, const void *bytes, size_t len)
{
    if (f->bad || !len)
        return;
    if (buf_add(f->b, bytes, len) < 0)
        f->bad = true;
}

static void fr_integer(struct fr *f, uint64_t v, size_t len)
{
    uint8_t bytes[8];

    store(bytes, v, len);
    fr_bytes(f, bytes, len);
}

void fr_u8(struct fr *f, uint8_t v)
{
    fr_integer(f, v, 1);
}

void fr_u16(struct fr *f, uint16_t v)
{
    fr_integer(f, v, 2);
}

void fr_u32(struct fr *f, uint32_t v)
{
    fr_integer(f, v, 4);
}

void fr_u64(struct fr *f, uint64_t v)
{
    fr_integer(f, v, 8);
}

static void fr_counted(struct fr *f, const char *s, size_t len)
{
    fr_u32(f, (uint32_t)len);
    fr_bytes(f, s, len);
}

void fr_string(struct fr *f, const char *s, size_t max)
{
    size_t len = s ? strlen(s) : 0;

    if (len > max) {
        f->bad = true;
        return;
    }
    fr_counted(f, s, len);
}

void fr_text(struct fr *f, const char *s)
{
    fr_counted(f, s, s ? strnlen(s, WIRE_TEXT_MAX) : 0);
}

int fr_end(struct fr *f)
{
    size_t len = f->b->len - f->start;

    if (f->bad || len - WIRE_HEADER > LIMIT_FRAME) {
        buf_truncate(f->b, f->start);
        f->b->overflowed = f->was_overflowed;
        return -1;
    }
    store((uint8_t *)f->b->data + f->start + 1, len - WIRE_HEADER, 4);
    return 0;
}

struct rd rd_begin(const struct wire_frame *f)
{
    return (struct rd){.at = f->data, .left = f->len};
}

const uint8_t *rd_bytes(struct rd *r, size_t len)
{
    const uint8_t *at = r->at;

    if (r->bad || len > r->left) {
        r->bad = true;
        return NULL;
    }
    r->at += len;
    r->left -= len;
    return at;
}

static uint64_t rd_integer(struct rd *r, size_t len)
{
    const uint8_t *at = rd_bytes(r, len);

    return at ? load(at, len) : 0;
}

uint8_t rd_u8(struct rd *r)
{
    return (uint8_t)rd_integer(r, 1);
}

uint16_t rd_u16(struct rd *r)
{
    return (uint16_t)rd_integer(r, 2);
}

uint32_t rd_u32(struct rd *r)
{
    return (uint32_t)rd_integer(r, 4);
}

uint64_t rd_u64(struct rd *r)
{
    return rd_integer(r, 8);
}

char *rd_string(struct rd *r, size_t max)
{
    size_t len = rd_u32(r);
    const uint8_t *at;

    if (len > max) {
        r->bad = true;
        return NULL;
    }
    at = rd_bytes(r, len);
    if (at && memchr(at, '\0', len))
        r->bad = true;
    return r->bad ? NULL : xmemdup(at, len);
}

int rd_end(const struct rd *r, const struct wire_frame *f, bool all, struct err *err)
{
    if (r->bad)
        return err_set(err, 125, "malformed %s frame of %zu bytes", wire_type_name(f->type), f->len);
    if (all && r->left)
        return err_set(err, 125, "%s frame is %zu bytes too long", wire_type_name(f->type), r->left);
    return 0;
}
