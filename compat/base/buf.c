#include "compat/base/buf.h"

#include "compat/base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char buf_empty[1];

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf)BUF_INIT(max);
}

void buf_clear(struct buf *b)
{
    if (b->cap)
        free(b->data);
    buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->overflowed = false;
    if (b->cap)
        b->data[0] = '\0';
}

char *buf_reserve(struct buf *b, size_t len)
{
    size_t need;

    if (len > b->max || b->len > b->max - len) {
        b->overflowed = true;
        return NULL;
    }
    need = b->len + len + 1;
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 64;

        if (cap < need)
            cap = need;
        if (b->cap) {
            b->data = xrealloc(b->data, cap);
        } else {
            b->data = xmalloc(cap);
            b->data[0] = '\0';
        }
        b->cap = cap;
    }
    return b->data + b->len;
}

void buf_advance(struct buf *b, size_t len)
{
    b->len += len;
    b->data[b->len] = '\0';
}

int buf_add(struct buf *b, const void *data, size_t len)
{
    char *room;

    if (!len)
        return b->overflowed ? -1 : 0;
    room = buf_reserve(b, len);
    if (!room)
        return -1;
    memcpy(room, data, len);
    buf_advance(b, len);
    return 0;
}

int buf_adds(struct buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}

int buf_addc(struct buf *b, char c)
{
    return buf_add(b, &c, 1);
}

int buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    int need, ret = -1;
    char *room;

    va_copy(again, ap);
    need = vsnprintf(NULL, 0, fmt, ap);
    room = need < 0 ? NULL : buf_reserve(b, (size_t)need);
    if (room) {
        vsnprintf(room, (size_t)need + 1, fmt, again);
        buf_advance(b, (size_t)need);
        ret = 0;
    }
    va_end(again);
    return ret;
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    int ret;

    va_start(ap, fmt);
    ret = buf_vaddf(b, fmt, ap);
    va_end(ap);
    return ret;
}

void buf_consume(struct buf *b, size_t len)
{
    if (len >= b->len) {
        buf_truncate(b, 0);
        return;
    }
    memmove(b->data, b->data + len, b->len - len);
    buf_truncate(b, b->len - len);
}

void buf_truncate(struct buf *b, size_t len)
{
    if (b->cap && len <= b->len) {
        b->len = len;
        b->data[len] = '\0';
    }
}

char *buf_detach(struct buf *b)
{
    char *s = b->cap ? b->data : xstrdup("");

    buf_init(b, b->max);
    return s;
}
