#include "backends/registry/digest.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct digest {
    struct sha256 sum;
};

struct digest *digest_new(void)
{
    struct digest *d = xmalloc(sizeof(*d));

    sha256_init(&d->sum);
    return d;
}

void digest_add(struct digest *d, const void *bytes, size_t len)
{
    sha256_update(&d->sum, bytes, len);
}

void digest_hex(struct digest *d, char out[DIGEST_HEX + 1])
{
    uint8_t sum[SHA256_LEN];

    sha256_final(&d->sum, sum);
    sha256_hex(sum, out);
}

void digest_free(struct digest *d)
{
    free(d);
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
