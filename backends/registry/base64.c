#include "backends/registry/base64.h"

#include "backends/grpc/frame.h"
#include "compat/base/buf.h"

#include <string.h>

#define MAX_ENCODED (64u << 10) /* credentials: tokens of a few KiB exist, more is nonsense */

char *base64_encode(const char *bytes, size_t len)
{
    struct buf out = BUF_INIT(len / 3 * 4 + 8);

    grpc_base64_encode(&out, bytes, len);
    return buf_detach(&out);
}

char *base64_decode(const char *s, size_t *ret_len)
{
    struct buf out = BUF_INIT(MAX_ENCODED);
    size_t len = strlen(s);

    /* The alphabet for URLs is fine for gRPC and an error for Docker. */
    if (len > MAX_ENCODED || strpbrk(s, "-_") || grpc_base64_decode(&out, s, len) < 0) {
        buf_clear(&out);
        return NULL;
    }
    *ret_len = out.len;
    return buf_detach(&out);
}
