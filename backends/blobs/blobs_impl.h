/* Private to this room: where things are. */
#ifndef ATP_BLOBS_BLOBS_IMPL_H
#define ATP_BLOBS_BLOBS_IMPL_H

#include "compat/base/sha256.h"

#include <stdbool.h>

struct err;

#define BLOBS_HEX    (2 * SHA256_LEN)
#define BLOBS_PREFIX "sha256:"

struct blobs {
    char *dir;
    int lock; /* a descriptor of <dir>/lock */
    bool alone;
};

/* The 64 digits of a digest, borrowed; NULL: it is none. */
const char *blobs_hex(const char *digest);
/* <dir>/<kind>/ab/cdef...; owned by caller; NULL when digest is none. */
char *blobs_path(const struct blobs *b, const char *kind, const char *digest);
/* Moves a finished file to its place, whose folder is made; both must be on the disk when it returns. */
int blobs_settle(const char *from, const char *to, struct err *err);
/* <dir>/tmp/<random>; owned by caller, NULL and err. */
char *blobs_temp(const struct blobs *b, struct err *err);
/* A small file, written beside and moved to its place. */
int blobs_write_text(struct blobs *b, const char *to, const char *text, struct err *err);

#endif
