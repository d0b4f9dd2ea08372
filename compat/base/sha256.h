/*
 * SHA-256 without a library, for the programs and rooms that link none (the static agent, sync). One digest everywhere.
 *
 *     struct sha256 s;
 *     sha256_init(&s); sha256_update(&s, bytes, len); sha256_final(&s, digest);
 */
#ifndef ATP_BASE_SHA256_H
#define ATP_BASE_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_LEN 32

struct sha256 {
    uint32_t state[8];
    uint64_t total; /* bytes taken so far */
    uint8_t block[64];
};

void sha256_init(struct sha256 *s);
void sha256_update(struct sha256 *s, const void *bytes, size_t len);
void sha256_final(struct sha256 *s, uint8_t ret[SHA256_LEN]); /* s may be initialised again */

/* All at once. */
void sha256(const void *bytes, size_t len, uint8_t ret[SHA256_LEN]);
/* Lower-case hexadecimal and a NUL. */
void sha256_hex(const uint8_t digest[SHA256_LEN], char ret[2 * SHA256_LEN + 1]);

/* For tests: take the portable code even where the processor has instructions for it, or (false) whatever is best. */
void sha256_force_portable(bool portable);
/* True if the processor's instructions would be used. */
bool sha256_accelerated(void);

#endif
