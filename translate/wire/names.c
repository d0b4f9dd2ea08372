#include "translate/wire/codec.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

/* ---- as text ---- */

static void add_lines(struct buf *b, char kind, const struct strlist *items)
{
    for (size_t i = 0; i < items->len; i++)
        buf_addf(b, "%c %s\n", kind, items->items[i]);
}

char *wire_names_text(const struct wire_names *n)
{
    struct buf b = BUF_INIT(WIRE_ASK_TEXT_MAX);

    add_lines(&b, 'm', &n->members);
    add_lines(&b, 'h', &n->hosts);
    if (!b.len)
        buf_adds(&b, "\n"); /* none at all is no question */
    return buf_detach(&b);
}

int wire_names_read(const char *text, struct wire_names *ret, struct err *err)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        struct strlist *to = len < 3 || text[1] != ' ' ? NULL
                             : *text == 'm'            ? &ret->members
                             : *text == 'h'            ? &ret->hosts
                                                       : NULL;

        if (len && (!to || to->len >= WIRE_NAMES_MAX || len > 2 * WIRE_NAME_MAX))
            return err_set(err, 125, "a line of names is none");
        if (len)
            strlist_addf(to, "%.*s", (int)(len - 2), text + 2);
        text += len + (text[len] == '\n');
    }
    return 0;
}

/* ---- as frames ---- */

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
