#include "translate/wire/codec.h"

#include "compat/base/err.h"

#include <stdlib.h>

int wire_put_started(struct buf *b, int32_t pid)
{
    struct fr f = fr_begin(b, WIRE_STARTED);

    fr_u32(&f, (uint32_t)pid);
    return fr_end(&f);
}

int wire_get_started(const struct wire_frame *f, int32_t *ret_pid, struct err *err)
{
    struct rd r = rd_begin(f);
    int32_t pid = (int32_t)rd_u32(&r);

    if (rd_end(&r, f, /* all= */ true, err) < 0)
        return -1;
    *ret_pid = pid;
    return 0;
}

int wire_put_close(struct buf *b, uint8_t stream)
{
    struct fr f = fr_begin(b, WIRE_CLOSE);

    fr_u8(&f, stream);
    return fr_end(&f);
}

int wire_get_close(const struct wire_frame *f, uint8_t *ret_stream, struct err *err)
{
    struct rd r = rd_begin(f);
    uint8_t stream = rd_u8(&r);

    if (stream != WIRE_STREAM_STDOUT && stream != WIRE_STREAM_STDERR)
        r.bad = true;
    if (rd_end(&r, f, /* all= */ true, err) < 0)
        return -1;
    *ret_stream = stream;
    return 0;
}

int wire_put_credit(struct buf *b, uint8_t stream, uint32_t bytes)
{
    struct fr f = fr_begin(b, WIRE_CREDIT);

    fr_u8(&f, stream);
    fr_u32(&f, bytes);
    return fr_end(&f);
}

int wire_get_credit(const struct wire_frame *f, uint8_t *ret_stream, uint32_t *ret_bytes, struct err *err)
{
    struct rd r = rd_begin(f);
    uint8_t stream = rd_u8(&r);
    uint32_t bytes = rd_u32(&r);

    if ((stream != WIRE_STREAM_STDIN && stream != WIRE_STREAM_OUTPUT) || bytes > WIRE_WINDOW)
        r.bad = true;
    if (rd_end(&r, f, /* all= */ true, err) < 0)
        return -1;
    *ret_stream = stream;
    *ret_bytes = bytes;
    return 0;
}

int wire_put_resize(struct buf *b, uint16_t rows, uint16_t cols)
{
    struct fr f = fr_begin(b, WIRE_RESIZE);

    fr_u16(&f, rows);
    fr_u16(&f, cols);
    return fr_end(&f);
}

int wire_get_resize(const struct wire_frame *f, uint16_t *ret_rows, uint16_t *ret_cols, struct err *err)
{
    struct rd r = rd_begin(f);
    uint16_t rows = rd_u16(&r), cols = rd_u16(&r);

    if (rd_end(&r, f, /* all= */ true, err) < 0)
        return -1;
    *ret_rows = rows;
    *ret_cols = cols;
    return 0;
}

int wire_put_signal(struct buf *b, uint8_t signo, uint8_t scope)
{
    struct fr f = fr_begin(b, WIRE_SIGNAL);

    fr_u8(&f, signo);
    fr_u8(&f, scope);
    return fr_end(&f);
}

int wire_get_signal(const struct wire_frame *f, uint8_t *ret_signo, uint8_t *ret_scope, struct err *err)
{
    struct rd r = rd_begin(f);
    uint8_t signo = rd_u8(&r), scope = rd_u8(&r);

    if (!signo || signo > 64 || scope > WIRE_SIGNAL_GROUP)
        r.bad = true;
    if (rd_end(&r, f, /* all= */ true, err) < 0)
        return -1;
    *ret_signo = signo;
    *ret_scope = scope;
    return 0;
}

void wire_exit_clear(struct wire_exit *e)
{
    free(e->text);
    *e = (struct wire_exit){0};
}

int wire_put_exit(struct buf *b, const struct wire_exit *e)
{
    struct fr f = fr_begin(b, WIRE_EXIT);

    fr_u8(&f, e->kind);
    fr_u8(&f, e->refusal);
    fr_u32(&f, (uint32_t)e->value);
    fr_text(&f, e->text);
    return fr_end(&f);
}

/* An exit status is 0..255, a signal 1..64; anything else would turn into a wrong exit code of ours. */
static bool exit_is_sane(const struct wire_exit *e)
{
    switch (e->kind) {
    case WIRE_EXIT_CODE:
        return e->value >= 0 && e->value <= 255 && !e->refusal;
    case WIRE_EXIT_SIGNAL:
        return e->value >= 1 && e->value <= 64 && !e->refusal;
    case WIRE_EXIT_REFUSED:
        return e->value >= 1 && e->value <= 255 && e->refusal && e->refusal <= WIRE_REFUSAL_NOT_RUNNING;
    default:
        return false;
    }
}

int wire_get_exit(const struct wire_frame *f, struct wire_exit *ret, struct err *err)
{
    struct rd r = rd_begin(f);
    struct wire_exit e = {0};

    e.kind = rd_u8(&r);
    e.refusal = rd_u8(&r);
    e.value = (int32_t)rd_u32(&r);
    e.text = rd_string(&r, WIRE_TEXT_MAX);
    if (!exit_is_sane(&e))
        r.bad = true;
    if (rd_end(&r, f, /* all= */ true, err) < 0) {
        wire_exit_clear(&e);
        return -1;
    }
    *ret = e;
    return 0;
}

int wire_put_error(struct buf *b, uint8_t kind, const char *text)
{
    struct fr f = fr_begin(b, WIRE_ERROR);

    fr_u8(&f, kind);
    fr_text(&f, text);
    return fr_end(&f);
}

int wire_get_error(const struct wire_frame *f, uint8_t *ret_kind, char **ret_text, struct err *err)
{
    struct rd r = rd_begin(f);
    uint8_t kind = rd_u8(&r);
    char *text = rd_string(&r, WIRE_TEXT_MAX);

    if (kind > WIRE_ERROR_ORPHANED)
        r.bad = true;
    if (rd_end(&r, f, /* all= */ true, err) < 0) {
        free(text);
        return -1;
    }
    *ret_kind = kind;
    *ret_text = text;
    return 0;
}
