#include "backends/registry/digest.h"

#include "compat/base/err.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* struct digest is OpenSSL's own context: never dereferenced here. */
static EVP_MD_CTX *context(struct digest *d)
{
    return (EVP_MD_CTX *)(void *)d;
}

/* SHA-256 cannot fail but for memory, and memory never fails visibly (alloc.h). */
static void must(int ok)
{
    if (!ok)
        abort();
}

struct digest *digest_new(void)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    must(ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL));
    return (struct digest *)(void *)ctx;
}

void digest_add(struct digest *d, const void *bytes, size_t len)
{
    must(EVP_DigestUpdate(context(d), bytes, len));
}

void digest_hex(struct digest *d, char out[DIGEST_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned int len = 0;

    must(EVP_DigestFinal_ex(context(d), sum, &len) && len * 2 == DIGEST_HEX);
    for (unsigned int i = 0; i < len; i++) {
        out[i * 2] = digits[sum[i] >> 4];
        out[i * 2 + 1] = digits[sum[i] & 15];
    }
    out[DIGEST_HEX] = '\0';
}

void digest_free(struct digest *d)
{
    EVP_MD_CTX_free(context(d));
}

void digest_of(const void *bytes, size_t len, char out[DIGEST_HEX + 1])
{
    struct digest *d = digest_new();

    digest_add(d, bytes, len);
    digest_hex(d, out);
    digest_free(d);
}

int digest_of_fd(int fd, char out[DIGEST_HEX + 1], struct err *err)
{
    struct digest *d = digest_new();
    char chunk[65536];
    ssize_t n;

    while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            digest_free(d);
            return err_set_errno(err, 0, errno, "reading");
        }
        digest_add(d, chunk, (size_t)n);
    }
    digest_hex(d, out);
    digest_free(d);
    return 0;
}

bool digest_is_hex(const char *s)
{
    return strspn(s, "0123456789abcdef") == DIGEST_HEX && !s[DIGEST_HEX];
}

const char *digest_strip(const char *s)
{
    size_t prefix = strlen(DIGEST_PREFIX);

    if (!s || strncmp(s, DIGEST_PREFIX, prefix) != 0 || !digest_is_hex(s + prefix))
        return NULL;
    return s + prefix;
}
