/* SHA-256 with the SHA extensions of x86-64 processors, found out at run time. */
#include "compat/base/sha256_impl.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

/*
 * The two state registers hold ABEF and CDGH, as the instructions want them. Each turn of the loop does four rounds and
 * prepares the schedule words that are needed four turns later.
 */
__attribute__((target("sha,sse4.1,ssse3"))) static void x86_blocks(uint32_t state[8], const uint8_t *bytes,
                                                                   size_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i dcba = _mm_loadu_si128((const __m128i *)(const void *)state);
    __m128i hgfe = _mm_loadu_si128((const __m128i *)(const void *)(state + 4));
    __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1), efgh = _mm_shuffle_epi32(hgfe, 0x1b);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8), cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);

    for (; blocks; blocks--, bytes += 64) {
        __m128i abef_before = abef, cdgh_before = cdgh, w[4];

        for (int i = 0; i < 16; i++) {
            __m128i sum;

            if (i < 4) {
                w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(bytes + 16 * i)), swap);
            } else {
                __m128i mid = _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4);
                __m128i next = _mm_add_epi32(_mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]), mid);

                w[i % 4] = _mm_sha256msg2_epu32(next, w[(i + 3) % 4]);
            }
            sum = _mm_add_epi32(w[i % 4], _mm_loadu_si128((const __m128i *)(const void *)(sha256_k + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    dcba = _mm_shuffle_epi32(abef, 0x1b);
    hgfe = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(dcba, hgfe, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(hgfe, dcba, 8));
}

sha256_blocks_fn *sha256_x86(void)
{
    static int has = -1; /* the answer never changes, so that two threads may both find it out */

    if (has < 0) {
        unsigned a, b = 0, c = 0, d;
        bool sse = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1) && (c & bit_SSSE3);

        has = sse && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
    }
    return has ? x86_blocks : NULL;
}

#else

sha256_blocks_fn *sha256_x86(void)
{
    return NULL;
}

#endif
