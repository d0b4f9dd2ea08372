#include "translate/wire/codec.h"

#include "compat/base/err.h"

static int put_id(struct buf *b, uint8_t type, uint32_t id)
{
    struct fr f = fr_begin(b, type);

    fr_u32(&f, id);
    return fr_end(&f);
}

static int put_two(struct buf *b, uint8_t type, uint32_t id, uint32_t value)
{
    struct fr f = fr_begin(b, type);

    fr_u32(&f, id);
    fr_u32(&f, value);
    return fr_end(&f);
}

/* An id and a number of at most max. */
static int get_two(const struct wire_frame *f, uint32_t max, uint32_t *ret_id, uint32_t *ret_value, struct err *err)
{
    struct rd r = rd_begin(f);
    uint32_t id = rd_u32(&r), value = rd_u32(&r);

    if (value > max)
        r.bad = true;
    if (rd_end(&r, f, /* all= */ true, err) < 0)
        return -1;
    *ret_id = id;
    *ret_value = value;
    return 0;
}

int wire_put_port_open(struct buf *b, uint32_t id, uint16_t port)
{
    struct fr f = fr_begin(b, WIRE_PORT_OPEN);

    fr_u32(&f, id);
    fr_u16(&f, port);
    return fr_end(&f);
}

int wire_get_port_open(const struct wire_frame *f, uint32_t *ret_id, uint16_t *ret_port, struct err *err)
{
    struct rd r = rd_begin(f);
    uint32_t id = rd_u32(&r);
    uint16_t port = rd_u16(&r);

    if (!port)
        r.bad = true;
    if (rd_end(&r, f, /* all= */ true, err) < 0)
        return -1;
    *ret_id = id;
    *ret_port = port;
    return 0;
}

int wire_put_port_opened(struct buf *b, uint32_t id)
{
    return put_id(b, WIRE_PORT_OPENED, id);
}

int wire_put_port_eof(struct buf *b, uint32_t id)
{
    return put_id(b, WIRE_PORT_EOF, id);
}

int wire_get_port_id(const struct wire_frame *f, uint32_t *ret_id, struct err *err)
{
    struct rd r = rd_begin(f);
    uint32_t id = rd_u32(&r);

    if (rd_end(&r, f, /* all= */ true, err) < 0)
        return -1;
    *ret_id = id;
    return 0;
}

int wire_put_port_closed(struct buf *b, uint32_t id, uint32_t error)
{
    return put_two(b, WIRE_PORT_CLOSED, id, error);
}

int wire_get_port_closed(const struct wire_frame *f, uint32_t *ret_id, uint32_t *ret_error, struct err *err)
{
    return get_two(f, /* max= */ 4095, ret_id, ret_error, err);
}

int wire_put_port_credit(struct buf *b, uint32_t id, uint32_t bytes)
{
    return put_two(b, WIRE_PORT_CREDIT, id, bytes);
}

int wire_get_port_credit(const struct wire_frame *f, uint32_t *ret_id, uint32_t *ret_bytes, struct err *err)
{
    return get_two(f, WIRE_PORT_WINDOW, ret_id, ret_bytes, err);
}

int wire_put_port_data(struct buf *b, uint32_t id, const void *bytes, size_t len)
{
    struct fr f = fr_begin(b, WIRE_PORT_DATA);

    fr_u32(&f, id);
    fr_bytes(&f, bytes, len);
    f.bad |= !len || len > WIRE_CHUNK;
    return fr_end(&f);
}

int wire_get_port_data(const struct wire_frame *f, uint32_t *ret_id, const uint8_t **ret_bytes, size_t *ret_len,
                       struct err *err)
{
    struct rd r = rd_begin(f);
    uint32_t id = rd_u32(&r);

    if (!r.left || r.left > WIRE_CHUNK)
        r.bad = true;
    if (rd_end(&r, f, /* all= */ false, err) < 0)
        return -1;
    *ret_id = id;
    *ret_bytes = r.at;
    *ret_len = r.left;
    return 0;
}
