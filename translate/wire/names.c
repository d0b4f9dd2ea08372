#include "translate/wire/codec.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <stdlib.h>

static void put_member(struct fr *f, const char *self, const struct strlist *names)
{
    fr_string(f, self, WIRE_NAME_MAX);
    fr_u32(f, (uint32_t)names->len);
    f->bad |= names->len > WIRE_NAMES_MAX;
    for (size_t i = 0; i < names->len && !f->bad; i++)
        fr_string(f, names->items[i], 2 * WIRE_NAME_MAX);
}

static char *get_member(struct rd *r, struct strlist *ret_names)
{
    char *self = rd_string(r, WIRE_NAME_MAX);
    uint32_t n = rd_u32(r);

    if (n > WIRE_NAMES_MAX || !self || !self[0])
        r->bad = true;
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        char *name = rd_string(r, 2 * WIRE_NAME_MAX);

        if (name)
            strlist_add_owned(ret_names, name);
    }
    return self;
}

void wire_table_clear(struct wire_table *t)
{
    for (size_t i = 0; i < t->len; i++) {
        free(t->items[i].self);
        strlist_clear(&t->items[i].names);
    }
    free(t->items);
    *t = (struct wire_table){0};
}

int wire_put_table(struct buf *b, const struct wire_table *t)
{
    struct fr f = fr_begin(b, WIRE_TABLE);

    f.bad |= t->len > WIRE_MEMBERS_MAX;
    fr_u32(&f, (uint32_t)t->len);
    for (size_t i = 0; i < t->len; i++)
        put_member(&f, t->items[i].self, &t->items[i].names);
    return fr_end(&f);
}

int wire_get_table(const struct wire_frame *f, struct wire_table *ret, struct err *err)
{
    struct rd r = rd_begin(f);
    struct wire_table t = {0};
    uint32_t n = rd_u32(&r);

    if (n > WIRE_MEMBERS_MAX)
        r.bad = true;
    if (!r.bad)
        t.items = xcalloc(n ? n : 1, sizeof(*t.items));
    for (uint32_t i = 0; i < n && !r.bad; i++, t.len++)
        t.items[i].self = get_member(&r, &t.items[i].names);
    if (rd_end(&r, f, /* all= */ true, err) < 0) {
        wire_table_clear(&t);
        return -1;
    }
    *ret = t;
    return 0;
}

int wire_put_join(struct buf *b, const struct wire_names *n)
{
    struct fr f = fr_begin(b, WIRE_JOIN);

    fr_string(&f, n->token, WIRE_NAME_MAX);
    put_member(&f, n->self, &n->members);
    return fr_end(&f);
}

int wire_get_join(const struct wire_frame *f, struct wire_names *ret, struct err *err)
{
    struct rd r = rd_begin(f);
    struct wire_names n = {0};

    n.token = rd_string(&r, WIRE_NAME_MAX);
    n.self = get_member(&r, &n.members);
    if (rd_end(&r, f, /* all= */ true, err) < 0) {
        wire_names_clear(&n);
        return -1;
    }
    *ret = n;
    return 0;
}
