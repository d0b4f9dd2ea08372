#include "backends/grpc/frame.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <stdio.h>
#include <string.h>

/* What may pile up behind a message that a paused reader has not taken yet: one receive window (protocol 1.7). */
#define BEHIND LIMIT_GRPC_WINDOW

static const char *const status_names[GRPC_STATUS_MAX + 1] = {
    "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
};

const char *grpc_status_name(int status)
{
    return status >= 0 && status <= GRPC_STATUS_MAX ? status_names[status] : status_names[GRPC_UNKNOWN];
}

int grpc_status_parse(const char *s, size_t len)
{
    int value = 0;

    if (!len || len > 2)
        return GRPC_UNKNOWN;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return GRPC_UNKNOWN;
        value = value * 10 + (s[i] - '0');
    }
    return value <= GRPC_STATUS_MAX ? value : GRPC_UNKNOWN;
}

void grpc_head_write(uint8_t head[GRPC_HEAD], uint32_t len)
{
    head[0] = 0;
    head[1] = (uint8_t)(len >> 24);
    head[2] = (uint8_t)(len >> 16);
    head[3] = (uint8_t)(len >> 8);
    head[4] = (uint8_t)len;
}

int grpc_frame_add(struct buf *out, const void *message, size_t len)
{
    uint8_t head[GRPC_HEAD];

    if (len > UINT32_MAX || !buf_reserve(out, len + GRPC_HEAD))
        return -1;
    grpc_head_write(head, (uint32_t)len);
    buf_add(out, head, sizeof(head));
    return buf_add(out, message, len);
}

void grpc_parser_init(struct grpc_parser *p, size_t max_message)
{
    *p = (struct grpc_parser){.max_message = max_message};
    buf_init(&p->bytes, GRPC_HEAD + max_message + BEHIND);
}

void grpc_parser_clear(struct grpc_parser *p)
{
    buf_clear(&p->bytes);
    p->at = 0;
}

int grpc_parser_push(struct grpc_parser *p, const void *data, size_t len, struct err *err)
{
    buf_consume(&p->bytes, p->at);
    p->at = 0;
    if (buf_add(&p->bytes, data, len) == 0)
        return 0;
    err_set(err, 0, "the peer sent more than its flow control window allows");
    if (err)
        err->code = GRPC_RESOURCE_EXHAUSTED;
    return -1;
}

int grpc_parser_next(struct grpc_parser *p, const uint8_t **ret_message, size_t *ret_len, struct err *err)
{
    const uint8_t *head = (const uint8_t *)p->bytes.data + p->at;
    size_t have = p->bytes.len - p->at, len;

    if (have && head[0] != 0) {
        err_set(err, 0, "a message is marked %s",
                head[0] == 1 ? "compressed, which was not offered" : "in no known way");
        if (err)
            err->code = GRPC_INTERNAL;
        return -1;
    }
    if (have < GRPC_HEAD)
        return 0;
    len = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
    if (len > p->max_message) {
        err_set(err, 0, "a message of %zu bytes is larger than the limit of %zu", len, p->max_message);
        if (err)
            err->code = GRPC_RESOURCE_EXHAUSTED;
        return -1;
    }
    if (have - GRPC_HEAD < len)
        return 0;
    *ret_message = head + GRPC_HEAD;
    *ret_len = len;
    p->at += GRPC_HEAD + len;
    return 1;
}

bool grpc_parser_idle(const struct grpc_parser *p)
{
    return p->bytes.len == p->at;
}

int grpc_percent_encode(struct buf *out, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    int ret = 0;

    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        const char escaped[3] = {'%', hex[*c >> 4], hex[*c & 15]};

        if (*c >= 0x20 && *c <= 0x7e && *c != '%')
            ret |= buf_addc(out, (char)*c);
        else
            ret |= buf_add(out, escaped, sizeof(escaped));
    }
    return ret;
}

/* The value of a hex digit, -1 for any other character. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

char *grpc_percent_decode(const char *s, size_t len)
{
    char *out = xmalloc(len + 1);
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        char c = s[i];

        if (c == '%' && len - i > 2 && hex_value(s[i + 1]) >= 0 && hex_value(s[i + 2]) >= 0) {
            c = (char)(hex_value(s[i + 1]) << 4 | hex_value(s[i + 2]));
            i += 2;
        }
        out[n++] = c ? c : '?';
    }
    out[n] = '\0';
    return out;
}

void grpc_timeout_format(int64_t ms, char out[GRPC_TIMEOUT_MAX])
{
    static const struct {
        char name;
        int64_t ms;
    } units[] = {{'m', 1}, {'S', 1000}, {'M', 60000}, {'H', 3600000}};
    size_t u = 0;
    int64_t n;

    if (ms < 1)
        ms = 1;
    while (u < 3 && (ms - 1) / units[u].ms + 1 > 99999999)
        u++;
    n = (ms - 1) / units[u].ms + 1;
    if (n > 99999999)
        n = 99999999;
    snprintf(out, GRPC_TIMEOUT_MAX, "%d%c", (int)n, units[u].name);
}

int64_t grpc_timeout_parse(const char *s, size_t len)
{
    int64_t n = 0;

    if (len < 2 || len > 9)
        return -1;
    for (size_t i = 0; i + 1 < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        n = n * 10 + (s[i] - '0');
    }
    switch (s[len - 1]) {
    case 'H':
        return n * 3600000;
    case 'M':
        return n * 60000;
    case 'S':
        return n * 1000;
    case 'm':
        return n;
    case 'u':
        return (n + 999) / 1000;
    case 'n':
        return (n + 999999) / 1000000;
    default:
        return -1;
    }
}

int grpc_base64_encode(struct buf *out, const void *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *in = data;

    if (!buf_reserve(out, (len + 2) / 3 * 4))
        return -1;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t three = (uint32_t)in[i] << 16;
        char four[4] = {'=', '=', '=', '='};

        if (i + 1 < len)
            three |= (uint32_t)in[i + 1] << 8;
        if (i + 2 < len)
            three |= in[i + 2];
        four[0] = digits[three >> 18];
        four[1] = digits[three >> 12 & 63];
        if (i + 1 < len)
            four[2] = digits[three >> 6 & 63];
        if (i + 2 < len)
            four[3] = digits[three & 63];
        buf_add(out, four, sizeof(four));
    }
    return 0;
}

/* The six bits of a base64 digit of either alphabet, -1 for any other character. */
static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    if (c == '/' || c == '_')
        return 63;
    return -1;
}

int grpc_base64_decode(struct buf *out, const char *s, size_t len)
{
    size_t before = out->len;
    uint32_t bits = 0;
    int have = 0;

    for (int pad = 0; pad < 2 && len && s[len - 1] == '='; pad++)
        len--;
    if (len % 4 == 1)
        return -1;
    for (size_t i = 0; i < len; i++) {
        int value = base64_value(s[i]);

        if (value < 0) {
            buf_truncate(out, before);
            return -1;
        }
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        if (buf_addc(out, (char)(bits >> have & 255)) < 0) {
            buf_truncate(out, before);
            return -1;
        }
    }
    return 0;
}
