#include "translate/wire/codec.h"

#include "compat/base/err.h"

#include <stdlib.h>

void wire_hello_clear(struct wire_hello *h)
{
    free(h->program);
    free(h->machine);
    *h = (struct wire_hello){0};
}

int wire_put_hello(struct buf *b, const struct wire_hello *h)
{
    struct fr f = fr_begin(b, WIRE_HELLO);

    fr_u16(&f, h->oldest);
    fr_u16(&f, h->newest);
    fr_u64(&f, h->capabilities);
    fr_u64(&f, (uint64_t)h->clock_ns);
    fr_u8(&f, h->main_state);
    fr_u32(&f, (uint32_t)h->main_code);
    fr_u32(&f, (uint32_t)h->init_pid);
    fr_string(&f, h->program, WIRE_NAME_MAX);
    fr_string(&f, h->machine, WIRE_NAME_MAX);
    fr_u64(&f, (uint64_t)h->main_started_ns);
    fr_u64(&f, (uint64_t)h->main_ended_ns);
    fr_u32(&f, h->restarts);
    fr_u8(&f, h->health);
    fr_u8(&f, h->paused);
    return fr_end(&f);
}

int wire_get_hello(const struct wire_frame *f, struct wire_hello *ret, struct err *err)
{
    struct rd r = rd_begin(f);
    struct wire_hello h = {0};
    uint8_t paused = 0;

    h.oldest = rd_u16(&r);
    h.newest = rd_u16(&r);
    h.capabilities = rd_u64(&r);
    h.clock_ns = (int64_t)rd_u64(&r);
    h.main_state = rd_u8(&r);
    h.main_code = (int32_t)rd_u32(&r);
    h.init_pid = (int32_t)rd_u32(&r);
    h.program = rd_string(&r, WIRE_NAME_MAX);
    h.machine = rd_string(&r, WIRE_NAME_MAX);
    if (r.left) { /* an older end does not say it */
        h.main_started_ns = (int64_t)rd_u64(&r);
        h.main_ended_ns = (int64_t)rd_u64(&r);
        h.restarts = rd_u32(&r);
    }
    if (r.left) {
        h.health = rd_u8(&r);
        paused = rd_u8(&r);
    }
    if (h.health >= WIRE_HEALTH_MAX || paused > 1)
        r.bad = true;
    h.paused = paused;
    if (h.oldest > h.newest || h.main_state > WIRE_MAIN_ENDED || h.main_code < 0 || h.main_code > 255)
        r.bad = true;
    if (rd_end(&r, f, /* all= */ false, err) < 0) {
        wire_hello_clear(&h);
        return -1;
    }
    *ret = h;
    return 0;
}

uint16_t wire_hello_version(const struct wire_hello *ours, const struct wire_hello *theirs)
{
    uint16_t top = ours->newest < theirs->newest ? ours->newest : theirs->newest;

    return top >= ours->oldest && top >= theirs->oldest ? top : 0;
}
