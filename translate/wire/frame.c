#include "translate/wire/codec.h"

#include "compat/base/err.h"

static const char *const type_names[WIRE_TYPE_MAX] = {
    [WIRE_HELLO] = "HELLO",
    [WIRE_MOUNT] = "MOUNT",
    [WIRE_DELTA] = "DELTA",
    [WIRE_DELTA_END] = "DELTA_END",
    [WIRE_PUSHED] = "PUSHED",
    [WIRE_STALE] = "STALE",
    [WIRE_PULL_FAILED] = "PULL_FAILED",
    [WIRE_PULLED] = "PULLED",
    [WIRE_START] = "START",
    [WIRE_STARTED] = "STARTED",
    [WIRE_STDIN] = "STDIN",
    [WIRE_STDIN_EOF] = "STDIN_EOF",
    [WIRE_STDOUT] = "STDOUT",
    [WIRE_STDERR] = "STDERR",
    [WIRE_CLOSE] = "CLOSE",
    [WIRE_RESIZE] = "RESIZE",
    [WIRE_SIGNAL] = "SIGNAL",
    [WIRE_CREDIT] = "CREDIT",
    [WIRE_HEARTBEAT] = "HEARTBEAT",
    [WIRE_EXIT] = "EXIT",
    [WIRE_BYE] = "BYE",
    [WIRE_FINISH] = "FINISH",
    [WIRE_ERROR] = "ERROR",
    [WIRE_ASK] = "ASK",
    [WIRE_LOG] = "LOG",
    [WIRE_TREE] = "TREE",
    [WIRE_TREE_END] = "TREE_END",
    [WIRE_STAT] = "STAT",
    [WIRE_PULL] = "PULL",
    [WIRE_OFFER] = "OFFER",
    [WIRE_PORT_OPEN] = "PORT_OPEN",
    [WIRE_PORT_OPENED] = "PORT_OPENED",
    [WIRE_PORT_CLOSED] = "PORT_CLOSED",
    [WIRE_PORT_DATA] = "PORT_DATA",
    [WIRE_PORT_EOF] = "PORT_EOF",
    [WIRE_PORT_CREDIT] = "PORT_CREDIT",
    [WIRE_JOIN] = "JOIN",
    [WIRE_TABLE] = "TABLE",
    [WIRE_SHARE] = "SHARE",
};

const char *wire_type_name(uint8_t type)
{
    return type < WIRE_TYPE_MAX && type_names[type] ? type_names[type] : "unknown";
}

void wire_parser_init(struct wire_parser *p)
{
    *p = (struct wire_parser){.in = BUF_INIT(2 * (WIRE_HEADER + LIMIT_FRAME))};
}

void wire_parser_clear(struct wire_parser *p)
{
    buf_clear(&p->in);
    p->taken = 0;
}

int wire_parser_feed(struct wire_parser *p, const void *bytes, size_t len, struct err *err)
{
    buf_consume(&p->in, p->taken);
    p->taken = 0;
    if (buf_add(&p->in, bytes, len) < 0)
        return err_set(err, 125, "session stream: %zu bytes came without a whole frame", p->in.len + len);
    return 0;
}

int wire_parser_next(struct wire_parser *p, struct wire_frame *ret, struct err *err)
{
    const uint8_t *at = (const uint8_t *)p->in.data + p->taken;
    size_t have = p->in.len - p->taken, len;
    struct rd head = {.at = at, .left = have};
    uint8_t type;

    if (!have)
        return 0;
    type = at[0];
    if (!type || type >= WIRE_TYPE_MAX)
        return err_set(err, 125, "session stream: unknown frame type %u", type);
    if (have < WIRE_HEADER)
        return 0;
    rd_u8(&head);
    len = rd_u32(&head);
    if (len > LIMIT_FRAME)
        return err_set(err, 125, "session stream: %s frame of %zu bytes is over the limit of %u", wire_type_name(type),
                       len, LIMIT_FRAME);
    if (have - WIRE_HEADER < len)
        return 0;
    *ret = (struct wire_frame){.type = type, .data = at + WIRE_HEADER, .len = len};
    p->taken += WIRE_HEADER + len;
    return 1;
}

int wire_put(struct buf *b, uint8_t type, const void *payload, size_t len)
{
    struct fr f = fr_begin(b, type);

    fr_bytes(&f, payload, len);
    return fr_end(&f);
}
