/* Private to sha256*.c: one compression function per kind of processor. */
#ifndef ATP_BASE_SHA256_IMPL_H
#define ATP_BASE_SHA256_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const uint32_t sha256_k[64];

typedef void sha256_blocks_fn(uint32_t state[8], const uint8_t *bytes, size_t blocks);

/* NULL where this processor (or this build) has no instructions for it. */
sha256_blocks_fn *sha256_x86(void);

#endif
