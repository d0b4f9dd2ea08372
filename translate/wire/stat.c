#include "translate/wire/codec.h"

#include "compat/base/err.h"

#include <stdlib.h>

#define STAT_EXISTS   1u
#define STAT_FOLLOWED 2u

void wire_stat_clear(struct wire_stat *s)
{
    free(s->path);
    free(s->link);
    *s = (struct wire_stat){0};
}

int wire_put_stat(struct buf *b, const struct wire_stat *s)
{
    struct fr f = fr_begin(b, WIRE_STAT);

    fr_u8(&f, (uint8_t)((s->exists ? STAT_EXISTS : 0) | (s->followed ? STAT_FOLLOWED : 0)));
    fr_u8(&f, s->type);
    fr_u16(&f, s->mode);
    fr_u64(&f, s->size);
    fr_u64(&f, (uint64_t)s->mtime_ns);
    fr_string(&f, s->path, 4 * LIMIT_PATH);
    fr_string(&f, s->link, 4 * LIMIT_PATH);
    return fr_end(&f);
}

int wire_get_stat(const struct wire_frame *f, struct wire_stat *ret, struct err *err)
{
    struct rd r = rd_begin(f);
    struct wire_stat s = {0};
    uint8_t flags = rd_u8(&r);

    s.exists = flags & STAT_EXISTS;
    s.followed = flags & STAT_FOLLOWED;
    s.type = rd_u8(&r);
    s.mode = rd_u16(&r);
    s.size = rd_u64(&r);
    s.mtime_ns = (int64_t)rd_u64(&r);
    s.path = rd_string(&r, 4 * LIMIT_PATH);
    s.link = rd_string(&r, 4 * LIMIT_PATH);
    if ((flags & ~(STAT_EXISTS | STAT_FOLLOWED)) || s.mode & ~07777)
        r.bad = true;
    if (rd_end(&r, f, /* all= */ true, err) < 0) {
        wire_stat_clear(&s);
        return -1;
    }
    *ret = s;
    return 0;
}
