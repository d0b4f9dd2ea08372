#include "compat/docker/json_text.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/docker/quote.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 512 /* jansson refuses deeper documents than 2048; nothing of docker's comes near */

json_t *json_nil_list(void)
{
    static json_t *nil;

    if (!nil)
        nil = json_array();
    return nil;
}

json_t *json_nil_map(void)
{
    static json_t *nil;

    if (!nil)
        nil = json_object();
    return nil;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct json_member *)a)->key, ((const struct json_member *)b)->key);
}

struct json_member *json_sorted(const json_t *object, size_t *ret_len)
{
    json_t *o = (json_t *)object; /* iterating changes nothing */
    struct json_member *members = xcalloc(json_object_size(object) + 1, sizeof(*members));
    size_t count = 0;

    for (void *at = json_object_iter(o); at; at = json_object_iter_next(o, at))
        members[count++] = (struct json_member){json_object_iter_key(at), json_object_iter_value(at)};
    if (count > 1)
        qsort(members, count, sizeof(*members), by_key);
    *ret_len = count;
    return members;
}

/* The shortest decimal that reads back as value, in exponent form: "1.5e+00". */
static void shortest(double value, char *out, size_t size)
{
    for (int digits = 0; digits <= 17; digits++) {
        snprintf(out, size, "%.*e", digits, value);
        if (strtod(out, NULL) == value)
            return;
    }
}

/* A float with Go's shortest digits; in exponent form below 10^low and from 10^high on. */
static void add_real(struct buf *out, double value, int low, int high)
{
    char text[64];
    const char *e;
    int exponent, digits;

    if (isnan(value) || isinf(value)) {
        buf_adds(out, isnan(value) ? "NaN" : value < 0 ? "-Inf" : "+Inf");
        return;
    }
    shortest(value, text, sizeof(text));
    e = strchr(text, 'e');
    exponent = (int)strtol(e + 1, NULL, 10);
    if (value != 0 && (exponent < low || exponent >= high)) {
        buf_adds(out, text);
        return;
    }
    digits = (int)(e - text) - (*text == '-') - 1; /* after the first, with the point */
    digits = digits > 0 ? digits - 1 : 0;
    buf_addf(out, "%.*f", digits > exponent ? digits - exponent : 0, value);
}

void json_plain_real(struct buf *out, double value)
{
    add_real(out, value, -4, 6);
}

/* JSON has no infinities, and Go writes e-7 where %v has e-07. */
static void add_json_real(struct buf *out, double value)
{
    size_t start = out->len;
    char *e;

    add_real(out, isfinite(value) ? value : 0, -6, 21);
    e = out->overflowed ? NULL : strstr(out->data + start, "e-0");
    if (e) {
        memmove(e + 2, e + 3, strlen(e + 3) + 1);
        buf_truncate(out, out->len - 1);
    }
}

static void add_string(struct buf *out, const char *s, size_t len, unsigned flags)
{
    static const char letters[] = "bfnrt", codes[] = "\b\f\n\r\t";
    uint32_t rune;

    buf_addc(out, '"');
    for (size_t i = 0; i < len;) {
        size_t took = rune_decode(s + i, len - i, &rune);
        const char *code = rune && rune < 0x20 ? strchr(codes, (int)rune) : NULL;

        if (rune == RUNE_INVALID)
            buf_adds(out, "\\ufffd");
        else if (rune == '"' || rune == '\\')
            buf_addf(out, "\\%c", (int)rune);
        else if (code)
            buf_addf(out, "\\%c", letters[code - codes]);
        else if (rune < 0x20 || rune == 0x2028 || rune == 0x2029 ||
                 (flags & JSON_TEXT_HTML && (rune == '<' || rune == '>' || rune == '&')))
            buf_addf(out, "\\u%04x", (unsigned)rune);
        else
            buf_add(out, s + i, took);
        i += took;
    }
    buf_addc(out, '"');
}

static void add_json(struct buf *out, const json_t *value, unsigned flags, int depth);

static void new_line(struct buf *out, unsigned flags, int depth)
{
    if (!(flags & JSON_TEXT_INDENT))
        return;
    buf_addc(out, '\n');
    for (int i = 0; i < depth; i++)
        buf_adds(out, "    ");
}

static void add_array(struct buf *out, const json_t *array, unsigned flags, int depth)
{
    size_t len = json_array_size(array);

    buf_addc(out, '[');
    for (size_t i = 0; i < len; i++) {
        if (i)
            buf_addc(out, ',');
        new_line(out, flags, depth + 1);
        add_json(out, json_array_get(array, i), flags, depth + 1);
    }
    if (len)
        new_line(out, flags, depth);
    buf_addc(out, ']');
}

static void add_object(struct buf *out, const json_t *value, unsigned flags, int depth)
{
    json_t *object = (json_t *)value; /* iterating changes nothing */
    bool first = true;

    buf_addc(out, '{');
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        const char *key = json_object_iter_key(at);

        if (!first)
            buf_addc(out, ',');
        first = false;
        new_line(out, flags, depth + 1);
        add_string(out, key, strlen(key), flags);
        buf_adds(out, flags & JSON_TEXT_INDENT ? ": " : ":");
        add_json(out, json_object_iter_value(at), flags, depth + 1);
    }
    if (!first)
        new_line(out, flags, depth);
    buf_addc(out, '}');
}

static void add_json(struct buf *out, const json_t *value, unsigned flags, int depth)
{
    if (depth > MAX_DEPTH || !value || json_is_null(value) || value == json_nil_list() || value == json_nil_map())
        buf_adds(out, "null");
    else if (json_is_string(value))
        add_string(out, json_string_value(value), json_string_length(value), flags);
    else if (json_is_integer(value))
        buf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        add_json_real(out, json_real_value(value));
    else if (json_is_array(value))
        add_array(out, value, flags, depth);
    else if (json_is_object(value))
        add_object(out, value, flags, depth);
    else
        buf_adds(out, json_is_true(value) ? "true" : "false");
}

void json_text(struct buf *out, const json_t *value, unsigned flags)
{
    add_json(out, value, flags, 0);
}

static void add_plain(struct buf *out, const json_t *value, int depth)
{
    if (depth > MAX_DEPTH || !value || json_is_null(value)) {
        buf_adds(out, "<nil>");
    } else if (json_is_string(value)) {
        buf_add(out, json_string_value(value), json_string_length(value));
    } else if (json_is_integer(value)) {
        buf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        json_plain_real(out, json_real_value(value));
    } else if (json_is_array(value)) {
        buf_addc(out, '[');
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i)
                buf_addc(out, ' ');
            add_plain(out, json_array_get(value, i), depth + 1);
        }
        buf_addc(out, ']');
    } else if (json_is_object(value)) {
        size_t len;
        cleanup_free struct json_member *members = json_sorted(value, &len);

        buf_adds(out, "map[");
        for (size_t i = 0; i < len; i++) {
            buf_addf(out, "%s%s:", i ? " " : "", members[i].key);
            add_plain(out, members[i].value, depth + 1);
        }
        buf_addc(out, ']');
    } else {
        buf_adds(out, json_is_true(value) ? "true" : "false");
    }
}

void json_plain(struct buf *out, const json_t *value)
{
    add_plain(out, value, 0);
}
