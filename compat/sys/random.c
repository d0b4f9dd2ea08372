#include "compat/sys/random.h"

#include "compat/base/err.h"

#include <errno.h>
#include <sys/random.h>

int random_bytes(void *bytes, size_t len, struct err *err)
{
    unsigned char *to = bytes;

    while (len) {
        ssize_t n = getrandom(to, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 125, errno, "reading random bytes");
        to += n;
        len -= (size_t)n;
    }
    return 0;
}

int random_hex(char *out, size_t digits, struct err *err)
{
    unsigned char *bytes = (unsigned char *)out;

    if (random_bytes(bytes, digits, err) < 0)
        return -1;
    for (size_t i = 0; i < digits; i++)
        out[i] = "0123456789abcdef"[bytes[i] & 15];
    out[digits] = '\0';
    return 0;
}
