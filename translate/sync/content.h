/*
 * The digest of a file's content. Up to CONTENT_PIECE bytes it is plain SHA-256. A longer file is cut into pieces of
 * that size and its digest is the SHA-256 of a label and the pieces' digests: then a hole costs one known digest a
 * piece instead of a pass over zeros, and the result does not depend on how the file system lays holes out.
 */
#ifndef ATP_SYNC_CONTENT_H
#define ATP_SYNC_CONTENT_H

#include "compat/base/sha256.h"

#include <stddef.h>
#include <stdint.h>

#define CONTENT_PIECE (1u << 20)

struct content {
    struct sha256 piece, whole;
    uint64_t size; /* bytes taken so far */
};

void content_init(struct content *c);
void content_update(struct content *c, const void *bytes, size_t len);
void content_zeros(struct content *c, uint64_t len); /* as update with that many zero bytes, but quick */
void content_final(struct content *c, uint8_t ret[SHA256_LEN]);

#endif
