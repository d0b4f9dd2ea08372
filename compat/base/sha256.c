#include "compat/base/sha256.h"

#include "compat/base/sha256_impl.h"

#include <string.h>

const uint32_t sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static bool forced_portable;

static uint32_t rotr(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static uint32_t load_be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The compression function as FIPS 180-4 writes it. */
static void portable_blocks(uint32_t state[8], const uint8_t *bytes, size_t blocks)
{
    for (; blocks; blocks--, bytes += 64) {
        uint32_t w[64], v[8];

        for (int i = 0; i < 16; i++)
            w[i] = load_be(bytes + 4 * i);
        for (int i = 16; i < 64; i++) {
            uint32_t s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
            uint32_t s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;

            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        memcpy(v, state, sizeof(v));
        for (int i = 0; i < 64; i++) {
            uint32_t s1 = rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25);
            uint32_t t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + sha256_k[i] + w[i];
            uint32_t s0 = rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22);
            uint32_t t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));

            memmove(v + 1, v, 7 * sizeof(v[0]));
            v[4] += t1;
            v[0] = t1 + t2;
        }
        for (int i = 0; i < 8; i++)
            state[i] += v[i];
    }
}

/* The best compression function here; asking the processor costs nothing next to one block. */
static sha256_blocks_fn *blocks_fn(void)
{
    sha256_blocks_fn *fn = forced_portable ? NULL : sha256_x86();

    return fn ? fn : portable_blocks;
}

void sha256_force_portable(bool portable)
{
    forced_portable = portable;
}

bool sha256_accelerated(void)
{
    return blocks_fn() != portable_blocks;
}

void sha256_init(struct sha256 *s)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

    memcpy(s->state, start, sizeof(start));
    s->total = 0;
}

void sha256_update(struct sha256 *s, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    size_t held = s->total % 64;

    s->total += len;
    if (held) {
        size_t part = 64 - held < len ? 64 - held : len;

        memcpy(s->block + held, p, part);
        p += part;
        len -= part;
        if (held + part < 64)
            return;
        blocks_fn()(s->state, s->block, 1);
    }
    if (len >= 64)
        blocks_fn()(s->state, p, len / 64);
    if (len % 64)
        memcpy(s->block, p + len / 64 * 64, len % 64);
}

void sha256_final(struct sha256 *s, uint8_t ret[SHA256_LEN])
{
    static const uint8_t padding[64] = {0x80};
    uint64_t bits = s->total * 8;
    uint8_t length[8];

    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_update(s, padding, 1 + (119 - s->total % 64) % 64);
    sha256_update(s, length, sizeof(length));
    for (int i = 0; i < SHA256_LEN; i++)
        ret[i] = (uint8_t)(s->state[i / 4] >> (24 - 8 * (i % 4)));
}

void sha256(const void *bytes, size_t len, uint8_t ret[SHA256_LEN])
{
    struct sha256 s;

    sha256_init(&s);
    sha256_update(&s, bytes, len);
    sha256_final(&s, ret);
}

void sha256_hex(const uint8_t digest[SHA256_LEN], char ret[2 * SHA256_LEN + 1])
{
    static const char hex[] = "0123456789abcdef";

    for (int i = 0; i < SHA256_LEN; i++) {
        ret[2 * i] = hex[digest[i] >> 4];
        ret[2 * i + 1] = hex[digest[i] & 15];
    }
    ret[2 * SHA256_LEN] = '\0';
}
