#include "translate/wire/codec.h"

#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define MOUNT_FLAGS (WIRE_MOUNT_RO | WIRE_MOUNT_FILE | WIRE_MOUNT_REPLACE | WIRE_MOUNT_SAME)

void wire_mount_clear(struct wire_mount *m)
{
    free(m->target);
    strlist_clear(&m->exclude);
    *m = (struct wire_mount){0};
}

int wire_put_mount(struct buf *b, const struct wire_mount *m)
{
    struct fr f = fr_begin(b, WIRE_MOUNT);

    fr_u16(&f, m->index);
    fr_u8(&f, m->flags);
    fr_bytes(&f, m->nonce, WIRE_NONCE);
    fr_u64(&f, m->generation);
    fr_string(&f, m->target, LIMIT_PATH);
    fr_u32(&f, (uint32_t)m->exclude.len);
    for (size_t i = 0; i < m->exclude.len; i++)
        fr_string(&f, m->exclude.items[i], LIMIT_PATH);
    return fr_end(&f);
}

int wire_get_mount(const struct wire_frame *f, struct wire_mount *ret, struct err *err)
{
    struct rd r = rd_begin(f);
    struct wire_mount m = {0};
    const uint8_t *nonce;
    uint32_t n;

    m.index = rd_u16(&r);
    m.flags = rd_u8(&r);
    nonce = rd_bytes(&r, WIRE_NONCE);
    if (nonce)
        memcpy(m.nonce, nonce, WIRE_NONCE);
    m.generation = rd_u64(&r);
    m.target = rd_string(&r, LIMIT_PATH);
    n = rd_u32(&r);
    for (uint32_t i = 0; i < n && !r.bad; i++) { /* ends with the frame, whatever n says */
        char *path = rd_string(&r, LIMIT_PATH);

        if (path)
            strlist_add_owned(&m.exclude, path);
    }
    if (m.index >= WIRE_MOUNTS_MAX || (m.flags & ~MOUNT_FLAGS) || !m.target || m.target[0] != '/')
        r.bad = true;
    if ((m.flags & WIRE_MOUNT_SAME) && (!m.generation || (m.flags & WIRE_MOUNT_REPLACE)))
        r.bad = true;
    if (rd_end(&r, f, /* all= */ true, err) < 0) {
        wire_mount_clear(&m);
        return -1;
    }
    *ret = m;
    return 0;
}

/* Reads the mount index that opens most payloads here. */
static uint16_t rd_index(struct rd *r)
{
    uint16_t index = rd_u16(r);

    if (index >= WIRE_MOUNTS_MAX)
        r->bad = true;
    return index;
}

int wire_put_delta(struct buf *b, uint16_t index, const void *bytes, size_t len)
{
    struct fr f = fr_begin(b, WIRE_DELTA);

    fr_u16(&f, index);
    fr_bytes(&f, bytes, len);
    return fr_end(&f);
}

int wire_get_delta(const struct wire_frame *f, uint16_t *ret_index, const uint8_t **ret_bytes, size_t *ret_len,
                   struct err *err)
{
    struct rd r = rd_begin(f);
    uint16_t index = rd_index(&r);

    if (rd_end(&r, f, /* all= */ false, err) < 0)
        return -1;
    *ret_index = index;
    *ret_bytes = r.at;
    *ret_len = r.left;
    return 0;
}

int wire_put_delta_end(struct buf *b, const struct wire_delta_end *e)
{
    struct fr f = fr_begin(b, WIRE_DELTA_END);

    fr_u16(&f, e->index);
    fr_u64(&f, e->base_generation);
    fr_u64(&f, e->skipped_special);
    fr_u64(&f, e->moving);
    return fr_end(&f);
}

int wire_get_delta_end(const struct wire_frame *f, struct wire_delta_end *ret, struct err *err)
{
    struct rd r = rd_begin(f);
    struct wire_delta_end e;

    e.index = rd_index(&r);
    e.base_generation = rd_u64(&r);
    e.skipped_special = rd_u64(&r);
    e.moving = rd_u64(&r);
    if (rd_end(&r, f, /* all= */ true, err) < 0)
        return -1;
    *ret = e;
    return 0;
}

int wire_put_pushed(struct buf *b, const struct wire_pushed *p)
{
    struct fr f = fr_begin(b, WIRE_PUSHED);

    fr_u16(&f, p->index);
    fr_bytes(&f, p->nonce, WIRE_NONCE);
    fr_u64(&f, p->generation);
    fr_u64(&f, p->files);
    fr_u64(&f, p->bytes);
    fr_u64(&f, p->deleted);
    fr_u64(&f, p->conflicts);
    return fr_end(&f);
}

int wire_get_pushed(const struct wire_frame *f, struct wire_pushed *ret, struct err *err)
{
    struct rd r = rd_begin(f);
    struct wire_pushed p = {0};
    const uint8_t *nonce;

    p.index = rd_index(&r);
    nonce = rd_bytes(&r, WIRE_NONCE);
    if (nonce)
        memcpy(p.nonce, nonce, WIRE_NONCE);
    p.generation = rd_u64(&r);
    p.files = rd_u64(&r);
    p.bytes = rd_u64(&r);
    p.deleted = rd_u64(&r);
    p.conflicts = rd_u64(&r);
    if (rd_end(&r, f, /* all= */ true, err) < 0)
        return -1;
    *ret = p;
    return 0;
}

int wire_put_stale(struct buf *b, uint16_t index, bool known)
{
    struct fr f = fr_begin(b, WIRE_STALE);

    fr_u16(&f, index);
    fr_u8(&f, known);
    return fr_end(&f);
}

int wire_get_stale(const struct wire_frame *f, uint16_t *ret_index, bool *ret_known, struct err *err)
{
    struct rd r = rd_begin(f);
    uint16_t index = rd_index(&r);
    uint8_t known = rd_u8(&r);

    if (known > 1)
        r.bad = true;
    if (rd_end(&r, f, /* all= */ true, err) < 0)
        return -1;
    *ret_index = index;
    *ret_known = known;
    return 0;
}

int wire_put_offer(struct buf *b, const struct wire_offer *o)
{
    struct fr f = fr_begin(b, WIRE_OFFER);

    fr_u16(&f, o->index);
    fr_u8(&f, o->full);
    fr_bytes(&f, o->nonce, WIRE_NONCE);
    fr_u64(&f, o->base);
    fr_u64(&f, o->generation);
    return fr_end(&f);
}

/* A state that would lead to itself, or back, is none. */
int wire_get_offer(const struct wire_frame *f, struct wire_offer *ret, struct err *err)
{
    struct rd r = rd_begin(f);
    struct wire_offer o = {.index = rd_index(&r)};
    uint8_t full = rd_u8(&r);
    const uint8_t *nonce = rd_bytes(&r, WIRE_NONCE);

    if (nonce)
        memcpy(o.nonce, nonce, WIRE_NONCE);
    o.full = full;
    o.base = rd_u64(&r);
    o.generation = rd_u64(&r);
    if (full > 1 || (full && o.base) || o.generation <= o.base)
        r.bad = true;
    if (rd_end(&r, f, /* all= */ true, err) < 0)
        return -1;
    *ret = o;
    return 0;
}

int wire_put_pull(struct buf *b, const struct wire_pull *p)
{
    struct fr f = fr_begin(b, WIRE_PULL);

    fr_u16(&f, p->index);
    fr_bytes(&f, p->nonce, WIRE_NONCE);
    fr_u64(&f, p->generation);
    return fr_end(&f);
}

int wire_get_pull(const struct wire_frame *f, struct wire_pull *ret, struct err *err)
{
    struct rd r = rd_begin(f);
    struct wire_pull p = {.index = rd_index(&r)};
    const uint8_t *nonce = rd_bytes(&r, WIRE_NONCE);

    if (nonce)
        memcpy(p.nonce, nonce, WIRE_NONCE);
    p.generation = rd_u64(&r);
    if (rd_end(&r, f, /* all= */ true, err) < 0)
        return -1;
    *ret = p;
    return 0;
}

int wire_put_pull_failed(struct buf *b, uint16_t index, const char *text)
{
    struct fr f = fr_begin(b, WIRE_PULL_FAILED);

    fr_u16(&f, index);
    fr_text(&f, text);
    return fr_end(&f);
}

int wire_get_pull_failed(const struct wire_frame *f, uint16_t *ret_index, char **ret_text, struct err *err)
{
    struct rd r = rd_begin(f);
    uint16_t index = rd_index(&r);
    char *text = rd_string(&r, WIRE_TEXT_MAX);

    if (rd_end(&r, f, /* all= */ true, err) < 0) {
        free(text);
        return -1;
    }
    *ret_index = index;
    *ret_text = text;
    return 0;
}

int wire_put_pulled(struct buf *b, uint16_t index, uint64_t generation)
{
    struct fr f = fr_begin(b, WIRE_PULLED);

    fr_u16(&f, index);
    fr_u64(&f, generation);
    return fr_end(&f);
}

int wire_get_pulled(const struct wire_frame *f, uint16_t *ret_index, uint64_t *ret_generation, struct err *err)
{
    struct rd r = rd_begin(f);
    uint16_t index = rd_index(&r);
    uint64_t generation = rd_u64(&r);

    if (rd_end(&r, f, /* all= */ true, err) < 0)
        return -1;
    *ret_index = index;
    *ret_generation = generation;
    return 0;
}
