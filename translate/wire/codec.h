/*
 * Private to this room: little-endian pieces of a payload, written into a growing buffer and read from a bounded slice.
 * A reader that runs out of bytes turns `bad` and yields zeroes from then on, so a payload is read in one go and judged
 * once, by rd_end().
 */
#ifndef ATP_WIRE_CODEC_H
#define ATP_WIRE_CODEC_H

#include "translate/wire/wire.h"

#define WIRE_TEXT_MAX   8192u        /* one message for a person */
#define WIRE_NAME_MAX   256u         /* program and machine */
#define WIRE_STRING_MAX (256u << 10) /* one argument or variable: Linux takes 128 KiB */

/* A frame under construction. If anything does not fit, fr_end() takes all of it back. */
struct fr {
    struct buf *b;
    size_t start;
    bool was_overflowed;
    bool bad;
};
struct fr fr_begin(struct buf *b, uint8_t type);
void fr_u8(struct fr *f, uint8_t v);
void fr_u16(struct fr *f, uint16_t v);
void fr_u32(struct fr *f, uint32_t v);
void fr_u64(struct fr *f, uint64_t v);
void fr_bytes(struct fr *f, const void *bytes, size_t len);
void fr_string(struct fr *f, const char *s, size_t max); /* u32 length, bytes; NULL is "" */
void fr_text(struct fr *f, const char *s);               /* the same, cut at WIRE_TEXT_MAX */
int fr_end(struct fr *f);

struct rd {
    const uint8_t *at;
    size_t left;
    bool bad;
};
struct rd rd_begin(const struct wire_frame *f);
uint8_t rd_u8(struct rd *r);
uint16_t rd_u16(struct rd *r);
uint32_t rd_u32(struct rd *r);
uint64_t rd_u64(struct rd *r);
const uint8_t *rd_bytes(struct rd *r, size_t len); /* borrowed; NULL if there are fewer */
char *rd_string(struct rd *r, size_t max);         /* owned; NULL and bad if too long or with a NUL byte inside */
/* Sets err if the payload of f was malformed or, with all, has bytes left. */
int rd_end(const struct rd *r, const struct wire_frame *f, bool all, struct err *err);

#endif
