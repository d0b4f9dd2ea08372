#include "translate/wire/share.h"

#include "compat/base/err.h"
#include "translate/wire/codec.h"

#include <stdlib.h>
#include <string.h>

void share_clear(struct share *s)
{
    free(s->path);
    free(s->link);
    free(s->text);
    *s = (struct share){0};
}

/* "" or plain names with single slashes between them. */
static bool is_path(const char *path)
{
    while (*path) {
        size_t len = strcspn(path, "/");

        if (!len || len > LIMIT_NAME || (len <= 2 && strspn(path, ".") >= len) || (path[len] && !path[len + 1]))
            return false;
        path += len + (path[len] == '/');
    }
    return true;
}

int share_put(struct buf *b, const struct share *s)
{
    struct fr f = fr_begin(b, WIRE_SHARE);

    fr_u8(&f, s->op);
    fr_u8(&f, s->flags);
    fr_u32(&f, s->from);
    fr_u64(&f, s->number);
    if (s->op == SHARE_ENTRY) {
        fr_u8(&f, s->kind);
        fr_u16(&f, s->mode);
        fr_u32(&f, s->uid);
        fr_u32(&f, s->gid);
        fr_u64(&f, (uint64_t)s->mtime_ns);
        fr_u64(&f, s->size);
    }
    fr_string(&f, s->path, LIMIT_PATH);
    fr_string(&f, s->link, LIMIT_PATH);
    fr_string(&f, s->text, WIRE_NAME_MAX);
    f.bad |= s->len > SHARE_PIECE;
    fr_u32(&f, (uint32_t)s->len);
    if (s->len)
        fr_bytes(&f, s->bytes, s->len);
    return fr_end(&f);
}

int share_get(const struct wire_frame *f, struct share *ret, struct err *err)
{
    struct rd r = rd_begin(f);
    struct share s = {.op = rd_u8(&r)};

    s.flags = rd_u8(&r);
    s.from = rd_u32(&r);
    s.number = rd_u64(&r);
    if (s.op == SHARE_ENTRY) {
        s.kind = rd_u8(&r);
        s.mode = rd_u16(&r) & 07777;
        s.uid = rd_u32(&r);
        s.gid = rd_u32(&r);
        s.mtime_ns = (int64_t)rd_u64(&r);
        s.size = rd_u64(&r);
        r.bad |= !s.kind || s.kind >= SHARE_KIND_MAX || s.size > INT64_MAX;
    }
    s.path = rd_string(&r, LIMIT_PATH);
    s.link = rd_string(&r, LIMIT_PATH);
    s.text = rd_string(&r, WIRE_NAME_MAX);
    s.len = rd_u32(&r);
    r.bad |= s.len > SHARE_PIECE || !s.op || s.op >= SHARE_OP_MAX;
    s.bytes = rd_bytes(&r, s.len);
    if (!r.bad && s.op != SHARE_JOIN && (!is_path(s.path) || (s.kind == SHARE_LINK && !is_path(s.link))))
        r.bad = true;
    if (s.op == SHARE_DATA && s.number > INT64_MAX - SHARE_PIECE)
        r.bad = true;
    if (rd_end(&r, f, /* all= */ true, err) < 0) {
        share_clear(&s);
        return -1;
    }
    *ret = s;
    return 0;
}
