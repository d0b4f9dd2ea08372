#include "backends/engine/jwt.h"

#include "backends/grpc/frame.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#define JWT_MAX    4096 /* our tokens have some 200 bytes */
#define JWT_HEADER "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

/* Base64 as tokens have it: the URL alphabet, no padding. */
static void add_base64url(struct buf *out, const void *data, size_t len)
{
    size_t from = out->len;

    grpc_base64_encode(out, data, len);
    while (out->len > from && out->data[out->len - 1] == '=')
        buf_truncate(out, out->len - 1);
    for (size_t i = from; i < out->len; i++) {
        if (out->data[i] == '+')
            out->data[i] = '-';
        else if (out->data[i] == '/')
            out->data[i] = '_';
    }
}

/* Appends "." and the signature of what out holds. */
static void add_signature(struct buf *out, const char *key)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int len = 0;

    HMAC(EVP_sha256(), key, (int)strlen(key), (const unsigned char *)out->data, out->len, mac, &len);
    buf_addc(out, '.');
    add_base64url(out, mac, len);
}

char *jwt_sign(const json_t *claims, const char *key)
{
    struct buf out = BUF_INIT(JWT_MAX);
    cleanup_free char *text = json_dumps(claims, JSON_COMPACT | JSON_SORT_KEYS);

    add_base64url(&out, JWT_HEADER, strlen(JWT_HEADER));
    buf_addc(&out, '.');
    add_base64url(&out, text, strlen(text));
    add_signature(&out, key);
    return buf_detach(&out);
}

json_t *jwt_verify(const char *token, const char *key)
{
    cleanup_buf struct buf mine = BUF_INIT(JWT_MAX);
    cleanup_buf struct buf payload = BUF_INIT(JWT_MAX);
    const char *dot = token ? strchr(token, '.') : NULL, *last = dot ? strchr(dot + 1, '.') : NULL;

    if (!last || strlen(token) > JWT_MAX / 2)
        return NULL;
    buf_add(&mine, token, (size_t)(last - token));
    add_signature(&mine, key);
    if (mine.len != strlen(token) || CRYPTO_memcmp(mine.data, token, mine.len) != 0)
        return NULL;
    if (grpc_base64_decode(&payload, dot + 1, (size_t)(last - dot - 1)) < 0)
        return NULL;
    return json_loadb(payload.data, payload.len, 0, NULL);
}
