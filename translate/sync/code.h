/*
 * Numbers and strings in the encodings of this room. Writers add to a struct buf; a reader walks over bytes that came
 * from outside: once anything is wrong `bad` stays set and every later read gives zero, so a caller may read a whole
 * record and ask once.
 */
#ifndef ATP_SYNC_CODE_H
#define ATP_SYNC_CODE_H

#include "compat/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
    const uint8_t *p;
    size_t left;
    bool bad;
};

void put_u8(struct buf *b, uint8_t v);
void put_u32(struct buf *b, uint32_t v);       /* little-endian, four bytes */
void put_varint(struct buf *b, uint64_t v);    /* 7 bits a byte, low first */
void put_signed(struct buf *b, int64_t v);     /* varint, zigzag */
void put_string(struct buf *b, const char *s); /* varint length, bytes */

uint8_t read_u8(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_varint(struct reader *r);
uint32_t read_varint32(struct reader *r); /* more than 32 bits is bad */
int64_t read_signed(struct reader *r);
const uint8_t *read_bytes(struct reader *r, size_t len); /* borrowed; NULL if bad */
/* A string of at most cap - 1 bytes without a NUL into s; "" if bad. */
void read_string(struct reader *r, char *s, size_t cap);

/* Paths share a prefix with the one before: shared length, then the rest. path holds the last one and takes the next.
 */
void put_path(struct buf *b, const char *before, const char *path);
void read_path(struct reader *r, char *path, size_t cap);

#endif
