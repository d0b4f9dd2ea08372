#include "translate/wire/codec.h"

#include "compat/base/err.h"

#include <stdlib.h>

#define ASK_FLAGS                                                                                                      \
    (WIRE_ASK_STDIN | WIRE_ASK_OUTPUT | WIRE_ASK_STDOUT | WIRE_ASK_STDERR | WIRE_ASK_FOLLOW | WIRE_ASK_ARCHIVE |       \
     WIRE_ASK_CONTENTS | WIRE_ASK_DENSE)

void wire_ask_clear(struct wire_ask *a)
{
    free(a->text);
    *a = (struct wire_ask){0};
}

int wire_put_ask(struct buf *b, const struct wire_ask *a)
{
    struct fr f = fr_begin(b, WIRE_ASK);

    fr_u8(&f, a->kind);
    fr_u8(&f, a->flags);
    fr_u8(&f, a->signo);
    fr_u64(&f, (uint64_t)a->grace_ms);
    fr_u64(&f, (uint64_t)a->since_ns);
    fr_u64(&f, (uint64_t)a->until_ns);
    fr_u64(&f, (uint64_t)a->tail);
    fr_string(&f, a->text, WIRE_ASK_TEXT_MAX);
    return fr_end(&f);
}

int wire_get_ask(const struct wire_frame *f, struct wire_ask *ret, struct err *err)
{
    struct rd r = rd_begin(f);
    struct wire_ask a = {0};

    a.kind = rd_u8(&r);
    a.flags = rd_u8(&r);
    a.signo = rd_u8(&r);
    a.grace_ms = (int64_t)rd_u64(&r);
    a.since_ns = (int64_t)rd_u64(&r);
    a.until_ns = (int64_t)rd_u64(&r);
    a.tail = (int64_t)rd_u64(&r);
    a.text = rd_string(&r, WIRE_ASK_TEXT_MAX);
    if (a.kind >= WIRE_ASK_MAX || (a.flags & ~ASK_FLAGS) || a.signo > 64)
        r.bad = true;
    if (rd_end(&r, f, /* all= */ true, err) < 0) {
        wire_ask_clear(&a);
        return -1;
    }
    *ret = a;
    return 0;
}

int wire_put_log(struct buf *b, int64_t time_ns, uint8_t stream, const void *bytes, size_t len)
{
    struct fr f = fr_begin(b, WIRE_LOG);

    fr_u64(&f, (uint64_t)time_ns);
    fr_u8(&f, stream);
    fr_bytes(&f, bytes, len);
    return fr_end(&f);
}

int wire_get_log(const struct wire_frame *f, int64_t *ret_time_ns, uint8_t *ret_stream, const uint8_t **ret_bytes,
                 size_t *ret_len, struct err *err)
{
    struct rd r = rd_begin(f);
    int64_t time_ns = (int64_t)rd_u64(&r);
    uint8_t stream = rd_u8(&r);

    if (stream != WIRE_STREAM_STDOUT && stream != WIRE_STREAM_STDERR)
        r.bad = true;
    if (rd_end(&r, f, /* all= */ false, err) < 0)
        return -1;
    *ret_time_ns = time_ns;
    *ret_stream = stream;
    *ret_bytes = r.at;
    *ret_len = r.left;
    return 0;
}
