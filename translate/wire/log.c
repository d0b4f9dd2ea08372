#include "translate/wire/log.h"

#include "translate/wire/codec.h"

#include <string.h>

void wire_log_head(uint8_t ret[WIRE_LOG_HEAD], int64_t time_ns, uint8_t stream, size_t len)
{
    for (size_t i = 0; i < 8; i++)
        ret[i] = (uint8_t)((uint64_t)time_ns >> (8 * i));
    ret[8] = stream;
    for (size_t i = 0; i < 4; i++)
        ret[9 + i] = (uint8_t)(len >> (8 * i));
}

ssize_t wire_log_record(const uint8_t *bytes, size_t have, struct wire_log_record *ret)
{
    struct rd r = {.at = bytes, .left = have};
    int64_t time_ns = (int64_t)rd_u64(&r);
    uint8_t stream = rd_u8(&r);
    size_t len = rd_u32(&r);

    if (r.bad)
        return 0;
    if (stream < WIRE_STREAM_STDOUT || stream > WIRE_STREAM_STDERR || len > WIRE_CHUNK)
        return -1;
    if (r.left < len)
        return 0;
    *ret = (struct wire_log_record){time_ns, stream, r.at, len};
    return (ssize_t)(WIRE_LOG_HEAD + len);
}

static size_t count_newlines(const struct wire_log_record *r)
{
    const uint8_t *at = r->bytes, *end = r->bytes + r->len;
    size_t n = 0;

    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        n++;
        at++;
    }
    return n;
}

void wire_log_count(struct wire_log_lines *lines, const struct wire_log_record *r)
{
    if (!r->len)
        return;
    lines->ended += count_newlines(r);
    lines->open[r->stream == WIRE_STREAM_STDERR] = r->bytes[r->len - 1] != '\n';
}

uint64_t wire_log_lines(const struct wire_log_lines *lines)
{
    return lines->ended + lines->open[0] + lines->open[1];
}

void wire_log_skip(struct wire_log_skipper *s, const struct wire_log_record *r)
{
    uint64_t n = s->left ? count_newlines(r) : 0;

    if (n > s->left)
        n = s->left;
    s->left -= n;
    s->skip[r->stream == WIRE_STREAM_STDERR] += n;
}

void wire_log_skip_open(struct wire_log_skipper *s, const struct wire_log_lines *lines)
{
    for (int i = 0; i < 2 && s->left; i++)
        if (lines->open[i]) {
            s->left--;
            s->skip[i]++;
        }
}

void wire_log_cut(struct wire_log_skipper *s, struct wire_log_record *r)
{
    uint64_t *skip = &s->skip[r->stream == WIRE_STREAM_STDERR];

    while (*skip && r->len) {
        const uint8_t *end = memchr(r->bytes, '\n', r->len);
        size_t n = end ? (size_t)(end - r->bytes) + 1 : r->len;

        r->bytes += n;
        r->len -= n;
        *skip -= end != NULL;
    }
}
