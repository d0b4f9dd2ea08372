/*
 * The one growing buffer. It is born with its ceiling, so nothing that an opponent sends can grow without bound; the
 * ceilings are named in limits.h. data is never NULL and a NUL byte always follows data[len - 1], so a buffer that
 * holds text is a C string. Functions that add return 0, or -1 when the ceiling would be passed: then nothing was added
 * and `overflowed` stays set, so a caller may add many pieces and ask once.
 */
#ifndef ATP_BASE_BUF_H
#define ATP_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data;
    size_t len;
    size_t cap; /* 0: data is the shared empty string */
    size_t max; /* ceiling of len */
    bool overflowed;
};

extern char buf_empty[1];

#define BUF_INIT(ceiling)                                                                                              \
    {                                                                                                                  \
        buf_empty, 0, 0, (ceiling), false                                                                              \
    }

void buf_init(struct buf *b, size_t max);
void buf_clear(struct buf *b); /* releases the memory; ready to be used again with the same ceiling */
void buf_reset(struct buf *b); /* empties, keeps the memory */

int buf_add(struct buf *b, const void *data, size_t len);
int buf_adds(struct buf *b, const char *s);
int buf_addc(struct buf *b, char c);
int buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vaddf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* Makes room for len more bytes and returns where to write them (then buf_advance), or NULL past the ceiling. */
char *buf_reserve(struct buf *b, size_t len);
void buf_advance(struct buf *b, size_t len);

/* Removes the first len bytes. */
void buf_consume(struct buf *b, size_t len);
void buf_truncate(struct buf *b, size_t len);

/* Hands out the bytes as a C string owned by the caller and empties the buffer. */
char *buf_detach(struct buf *b);

#define cleanup_buf __attribute__((cleanup(buf_clear)))

#endif
