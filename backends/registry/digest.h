/*
 * Digests: SHA-256, the one digest everywhere. In text it is 64 lower-case hex characters, with "sha256:" in front
 * where a registry wants it.
 */
#ifndef ATP_REGISTRY_DIGEST_H
#define ATP_REGISTRY_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#define DIGEST_HEX    64
#define DIGEST_PREFIX "sha256:"

struct err;
struct digest;

struct digest *digest_new(void); /* owned by caller; ends with digest_free() */
void digest_add(struct digest *d, const void *bytes, size_t len);
void digest_hex(struct digest *d, char out[DIGEST_HEX + 1]); /* once, at the end */
void digest_free(struct digest *d);

/* Of one piece of memory. */
void digest_of(const void *bytes, size_t len, char out[DIGEST_HEX + 1]);
/* Of everything that fd has from its current position on. */
int digest_of_fd(int fd, char out[DIGEST_HEX + 1], struct err *err);

bool digest_is_hex(const char *s); /* exactly 64 lower-case hex characters */
/* The hex part of "sha256:<hex>", borrowed; NULL when s is not such a digest. */
const char *digest_strip(const char *s);

#endif
