/*
 * JSON as docker compose prints it, which differs from its YAML: what is an object of its own is there even when it is
 * empty, `command` and `entrypoint` are null when nobody said them, and keys that begin with "x-" are kept at the top
 * only.
 */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/quote.h"
#include "translate/compose/render.h"
#include "translate/compose/shape.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

static void put_string(struct buf *out, const char *s)
{
    size_t len = strlen(s);

    buf_addc(out, '"');
    for (size_t i = 0, width; i < len; i += width) {
        uint32_t c;
        const char *simple;

        width = rune_decode(s + i, len - i, &c);
        simple = c && c < 0x80 ? strchr("\"\\\b\f\n\r\t", (int)c) : NULL;
        if (c == RUNE_INVALID)
            buf_adds(out, "\\ufffd");
        else if (simple)
            buf_addf(out, "\\%c", "\"\\bfnrt"[simple - (const char *)strchr("\"\\\b\f\n\r\t", '"')]);
        else if (c < 0x20 || c == '<' || c == '>' || c == '&' || c == 0x2028 || c == 0x2029)
            buf_addf(out, "\\u%04x", c);
        else
            buf_add(out, s + i, width);
    }
    buf_addc(out, '"');
}

/* Floats without an exponent, but for very large and very small ones. */
static void put_float(struct buf *out, const char *text)
{
    double value = strtod(text, NULL);
    char digits[400];

    if (value != 0 && (fabs(value) < 1e-6 || fabs(value) >= 1e21)) {
        for (int p = 0; p < 17; p++) {
            snprintf(digits, sizeof(digits), "%.*e", p, value);
            if (strtod(digits, NULL) == value)
                break;
        }
        if (strstr(digits, "e-0")) /* 1e-7, not 1e-07 */
            memmove(strstr(digits, "e-0") + 2, strstr(digits, "e-0") + 3, strlen(strstr(digits, "e-0") + 3) + 1);
        buf_adds(out, digits);
        return;
    }
    for (int p = 0; p < 30; p++) {
        snprintf(digits, sizeof(digits), "%.*f", p, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    buf_adds(out, digits);
}

static void new_line(struct buf *out, int depth)
{
    if (depth < 0)
        return;
    buf_addc(out, '\n');
    for (int i = 0; i < depth; i++)
        buf_adds(out, "  ");
}

/* depth -1: everything on one line. */
void json_node(struct buf *out, const struct cnode *n, int depth)
{
    bool map = n->kind == CNODE_MAP;
    int below = depth < 0 ? -1 : depth + 1;

    if (map || n->kind == CNODE_LIST) {
        buf_addc(out, map ? '{' : '[');
        for (size_t i = 0; i < n->len; i++) {
            if (i > 0)
                buf_addc(out, ',');
            new_line(out, below);
            if (map) {
                put_string(out, n->keys[i]);
                buf_adds(out, depth < 0 ? ":" : ": ");
            }
            json_node(out, n->items[i], below);
        }
        if (n->len > 0)
            new_line(out, depth);
        buf_addc(out, map ? '}' : ']');
    } else if (n->kind == CNODE_NULL) {
        buf_adds(out, "null");
    } else if (n->kind == CNODE_STRING) {
        put_string(out, n->text);
    } else if (n->kind == CNODE_FLOAT) {
        put_float(out, n->text);
    } else {
        buf_adds(out, n->text);
    }
}

/* ---- the model, in JSON's shape ---- */

void json_sort(struct cnode *n)
{
    for (size_t i = 0; i < n->len; i++)
        json_sort(n->items[i]);
    cnode_sort(n);
}

static struct cnode *shaped(const struct cnode *n, const struct shape *s, enum form form);

static char *capital(const char *name)
{
    char *copy = xstrdup(name);

    *copy = (char)toupper((unsigned char)*copy);
    return copy;
}

static struct cnode *shaped_object(const struct cnode *n, const struct shape *s)
{
    const struct shape *object = shape_as(s, TYPE_OBJECT);
    struct cnode *map = cnode_new(CNODE_MAP);

    for (const struct key *k = object->keys; k && k->name; k++) {
        const struct cnode *value = cnode_get(n, k->name);
        cleanup_free char *name = k->flags & KEY_CAPITAL ? capital(k->name) : xstrdup(k->name);

        if (value)
            cnode_set(map, name, shaped(value, k->shape, k->form));
        else if (k->flags & KEY_JSON)
            cnode_set(map, name, k->form == FORM_WORDS ? cnode_new(CNODE_NULL) : shaped_object(NULL, k->shape));
    }
    return map;
}

static void drop_zero_limits(struct cnode *ulimits)
{
    for (size_t i = 0; i < ulimits->len; i++) {
        if (cnode_number(ulimits->items[i], "soft", 0) == 0)
            cnode_remove(ulimits->items[i], "soft");
        if (cnode_number(ulimits->items[i], "hard", 0) == 0)
            cnode_remove(ulimits->items[i], "hard");
    }
    cnode_sort(ulimits);
}

static struct cnode *shaped(const struct cnode *n, const struct shape *s, enum form form)
{
    struct cnode *copy;

    if (n->kind == CNODE_MAP && (form == FORM_OBJECT || form == FORM_OBJECT_KEPT))
        return shaped_object(n, s);
    if (form == FORM_OBJECTS && n->kind == CNODE_LIST) {
        copy = cnode_new(CNODE_LIST);
        for (size_t i = 0; i < n->len; i++)
            cnode_add(copy, shaped_object(n->items[i], shape_as(s, TYPE_ARRAY)->item));
        return copy;
    }
    if ((form == FORM_NAMED || form == FORM_NAMED_OR_NULL) && n->kind == CNODE_MAP) {
        copy = cnode_new(CNODE_MAP);
        for (size_t i = 0; i < n->len; i++)
            cnode_set(copy, n->keys[i],
                      n->items[i]->kind == CNODE_NULL ? cnode_new(CNODE_NULL)
                                                      : shaped_object(n->items[i], shape_as(s, TYPE_OBJECT)->item));
        cnode_sort(copy);
        return copy;
    }
    copy = cnode_copy(n);
    if (form == FORM_ULIMITS)
        drop_zero_limits(copy);
    if (form == FORM_ENV || form == FORM_MAPPING || form == FORM_LISTS)
        cnode_sort(copy);
    return copy;
}

struct cnode *json_resource(const struct cnode *resource, const char *kind)
{
    return shaped_object(resource, shape_as(shape_key(&compose_shape, kind)->shape, TYPE_OBJECT)->item);
}

struct cnode *json_service(const struct cnode *service)
{
    return json_resource(service, "services");
}

struct cnode *json_model(const struct cnode *model)
{
    struct cnode *top = shaped_object(model, &compose_shape);

    cnode_remove(top, "models"); /* docker compose forgets them here */
    for (size_t i = 0; i < model->len; i++) {
        if (!shape_is_extension(model->keys[i]))
            continue;
        cnode_set(top, model->keys[i], cnode_copy(model->items[i]));
        json_sort(cnode_get(top, model->keys[i]));
    }
    cnode_sort(top);
    return top;
}

int compose_render_json(const struct cnode *model, struct buf *out, struct err *err)
{
    struct cnode *top = json_model(model);

    json_node(out, top, 0);
    cnode_free(top);
    return out->overflowed ? err_set(err, 0, "the model is too large to be printed") : 0;
}
