#include "backends/registry/base64.h"

#include "compat/base/alloc.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ENCODED (64u << 10) /* credentials: tokens of a few KiB exist, more is nonsense */

char *base64_encode(const char *bytes, size_t len)
{
    char *out = xcalloc(1, (len + 2) / 3 * 4 + 1);

    EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)bytes, (int)len);
    return out;
}

char *base64_decode(const char *s, size_t *ret_len)
{
    size_t len = strlen(s), bare, pad;
    char *padded, *out;
    int n;

    if (len > MAX_ENCODED)
        return NULL;
    bare = len;
    while (bare && s[bare - 1] == '=')
        bare--;
    if (bare % 4 == 1)
        return NULL;
    pad = (4 - bare % 4) % 4;
    padded = xmalloc(bare + pad + 1);
    memcpy(padded, s, bare);
    memset(padded + bare, '=', pad);
    padded[bare + pad] = '\0';
    out = xcalloc(1, (bare + pad) / 4 * 3 + 1);
    n = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)padded, (int)(bare + pad));
    free(padded);
    if (n < 0 || (size_t)n < pad) {
        free(out);
        return NULL;
    }
    *ret_len = (size_t)n - pad;
    out[*ret_len] = '\0';
    return out;
}
