/*
 * YAML as docker compose prints it: two blanks a level, lists set in, words plain where a reader would take them for
 * the same string, else in quotes; texts of several lines as blocks.
 */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/quote.h"
#include "translate/compose/bind.h"
#include "translate/compose/load.h"
#include "translate/compose/settle.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define SIMPLE_KEY 128 /* a longer key is printed with "? " */

/* ---- what a plain word would be taken for ---- */

static bool among(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(*words, word) == 0)
            return true;
    return false;
}

/* The booleans of YAML 1.1, that other readers still know. */
static bool is_old_bool(const char *s)
{
    static const char *const words[] = {"y", "Y",  "yes", "Yes", "YES", "on",  "On",  "ON", "n",
                                        "N", "no", "No",  "NO",  "off", "Off", "OFF", NULL};

    return among(s, words);
}

/* "190:20:30": a number of base 60 in YAML 1.1. */
static bool is_base60(const char *s)
{
    s += *s == '+' || *s == '-';
    if (!isdigit((unsigned char)*s) || !strchr(s, ':'))
        return false;
    s += strspn(s, "0123456789_");
    if (*s != ':')
        return false;
    while (*s == ':') {
        size_t n = strspn(s + 1, "0123456789");

        if (n < 1 || n > 2 || (n == 2 && s[1] > '5'))
            return false;
        s += 1 + n;
    }
    if (*s == '.')
        s += 1 + strspn(s + 1, "0123456789_");
    return *s == '\0';
}

/* One or two digits, at most max; false without. */
static bool two_digits(const char **s, unsigned min, unsigned max)
{
    size_t n = strspn(*s, "0123456789");
    unsigned value;

    if (n < 1 || n > 2)
        return false;
    value = (unsigned)strtoul(*s, NULL, 10);
    *s += n;
    return value >= min && value <= max;
}

/* "2006-1-2", with a time of day or without. */
static bool is_timestamp(const char *s)
{
    bool zone;

    if (strspn(s, "0123456789") != 4 || s[4] != '-')
        return false;
    s += 5;
    if (!two_digits(&s, 1, 12) || *s++ != '-' || !two_digits(&s, 1, 31))
        return false;
    if (!*s)
        return true;
    zone = *s == 'T' || *s == 't';
    if (!zone && *s != ' ')
        return false;
    s++;
    if (!two_digits(&s, 0, 23) || *s++ != ':' || !two_digits(&s, 0, 59) || *s++ != ':' || !two_digits(&s, 0, 59))
        return false;
    if (*s == '.')
        s += 1 + strspn(s + 1, "0123456789");
    if (!zone)
        return *s == '\0';
    if (*s == 'Z')
        return s[1] == '\0';
    return (*s == '+' || *s == '-') && strlen(s) == 6 && s[3] == ':';
}

static bool reads_as_string(const char *s)
{
    cleanup_free char *text = NULL;

    return scalar_resolve(s, &text) == CNODE_STRING && strcmp(s, "<<") != 0 && !is_old_bool(s) && !is_base60(s) &&
           !is_timestamp(s);
}

/* ---- what a text allows ---- */

struct allowed {
    bool plain, single, block;
};

static bool is_space(uint32_t c)
{
    return c == ' ';
}

static bool is_break(uint32_t c)
{
    return c == '\n' || c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029;
}

static bool is_printable(uint32_t c)
{
    return c == '\n' || (c >= 0x20 && c <= 0x7e) || (c >= 0xa0 && c <= 0xd7ff) ||
           (c >= 0xe000 && c <= 0xfffd && c != 0xfeff);
}

/* Characters that mean something to YAML where they stand. */
static bool is_indicator(const char *s, size_t i, size_t next, size_t len, bool after_blank)
{
    bool before_blank = next >= len || strchr(" \t", s[next]);

    if (i == 0 && s[i] && strchr("#,[]{}&*!|>'\"%@`", s[i]))
        return true;
    if (i == 0 && s[i] && strchr("?:-", s[i]))
        return before_blank;
    return (s[i] == ':' && before_blank) || (s[i] == '#' && after_blank);
}

static struct allowed analyze(const char *s)
{
    struct allowed a = {true, true, true};
    size_t len = strlen(s);
    bool blank = true, space = false, line = false;

    if (strncmp(s, "---", 3) == 0 || strncmp(s, "...", 3) == 0)
        a.plain = false;
    for (size_t i = 0, width; i < len; i += width) {
        uint32_t c;

        width = rune_decode(s + i, len - i, &c);
        if (is_indicator(s, i, i + width, len, blank))
            a.plain = false;
        if (c == '\t')
            a.plain = a.single = false;
        else if (c == RUNE_INVALID || !is_printable(c))
            a.plain = a.single = a.block = false;
        if (is_space(c)) {
            if (i == 0 || i + width == len)
                a.plain = false;
            if (i + width == len)
                a.block = false;
            if (line)
                a.plain = a.single = false;
        } else if (is_break(c)) {
            a.plain = false;
            if (space)
                a.plain = a.single = a.block = false;
        }
        space = is_space(c);
        line = is_break(c);
        blank = space || line || c == '\t';
    }
    return a;
}

/* ---- scalars ---- */

static void put_single(struct buf *out, const char *s)
{
    buf_addc(out, '\'');
    for (; *s; s++) {
        if (*s == '\'')
            buf_addc(out, '\'');
        buf_addc(out, *s);
    }
    buf_addc(out, '\'');
}

static void put_escaped(struct buf *out, uint32_t c)
{
    static const char codes[] = {0, 7, 8, 9, 10, 11, 12, 13, 27, '"', '\\'}, names[] = "0abtnvfre\"\\";

    for (size_t i = 0; i < sizeof(codes); i++) {
        if (c == (uint32_t)codes[i]) {
            buf_addf(out, "\\%c", names[i]);
            return;
        }
    }
    if (c == 0x85 || c == 0xa0)
        buf_addf(out, "\\%c", c == 0x85 ? 'N' : '_');
    else if (c == 0x2028 || c == 0x2029)
        buf_addf(out, "\\%c", c == 0x2028 ? 'L' : 'P');
    else
        buf_addf(out, c <= 0xff ? "\\x%02X" : c <= 0xffff ? "\\u%04X" : "\\U%08X", c);
}

static void put_double(struct buf *out, const char *s)
{
    size_t len = strlen(s);

    buf_addc(out, '"');
    for (size_t i = 0, width; i < len; i += width) {
        uint32_t c;

        width = rune_decode(s + i, len - i, &c);
        if (c == RUNE_INVALID)
            put_escaped(out, (unsigned char)s[i]);
        else if (!is_printable(c) || is_break(c) || c == '"' || c == '\\')
            put_escaped(out, c);
        else
            buf_add(out, s + i, width);
    }
    buf_addc(out, '"');
}

static void indent(struct buf *out, size_t depth)
{
    for (size_t i = 0; i < depth; i++)
        buf_addc(out, ' ');
}

/* "|", what of the end is kept, and the lines. */
static void put_block(struct buf *out, const char *s, size_t depth)
{
    size_t len = strlen(s);

    buf_addc(out, '|');
    if (*s == ' ' || *s == '\n')
        buf_addc(out, '2');
    if (s[len - 1] != '\n')
        buf_addc(out, '-');
    else if (len == 1 || s[len - 2] == '\n')
        buf_addc(out, '+');
    buf_addc(out, '\n');
    while (*s) {
        const char *end = strchrnul(s, '\n');

        if (end > s) {
            indent(out, depth);
            buf_add(out, s, (size_t)(end - s));
        }
        if (!*end)
            break;
        s = end + 1;
        if (*s)
            buf_addc(out, '\n');
    }
}

/* depth: where the lines of a block begin. */
static void put_string(struct buf *out, const char *s, size_t depth, bool key)
{
    struct allowed a = analyze(s);

    if (strchr(s, '\n')) {
        if (a.block && !key)
            put_block(out, s, depth);
        else
            put_double(out, s);
    } else if (!reads_as_string(s)) {
        put_double(out, s);
    } else if (a.plain) {
        buf_adds(out, s);
    } else if (a.single) {
        put_single(out, s);
    } else {
        put_double(out, s);
    }
}

static void put_float(struct buf *out, const char *text, bool single)
{
    cleanup_free char *shown = go_float(strtod(text, NULL), single);

    buf_adds(out, strcmp(shown, "+Inf") == 0   ? ".inf"
                  : strcmp(shown, "-Inf") == 0 ? "-.inf"
                  : strcmp(shown, "NaN") == 0  ? ".nan"
                                               : shown);
}

/* ---- trees ---- */

static void put_node(struct buf *out, const struct cnode *n, size_t depth);

static void put_key(struct buf *out, const char *key, size_t depth)
{
    if (strlen(key) <= SIMPLE_KEY && !strchr(key, '\n')) {
        put_string(out, key, depth, /* key= */ true);
        buf_addc(out, ':');
        return;
    }
    buf_adds(out, "? ");
    put_string(out, key, depth + 2, /* key= */ false);
    buf_addc(out, '\n');
    indent(out, depth);
    buf_addc(out, ':');
}

/* The first entry stands where the caller is. */
static void put_map(struct buf *out, const struct cnode *map, size_t depth)
{
    for (size_t i = 0; i < map->len; i++) {
        const struct cnode *item = map->items[i];

        if (i > 0)
            indent(out, depth);
        put_key(out, map->keys[i], depth);
        if (item->len > 0) {
            buf_addc(out, '\n');
            indent(out, depth + 2);
        } else {
            buf_addc(out, ' ');
        }
        put_node(out, item, depth + 2);
    }
}

static void put_list(struct buf *out, const struct cnode *list, size_t depth)
{
    for (size_t i = 0; i < list->len; i++) {
        if (i > 0)
            indent(out, depth);
        buf_adds(out, "- ");
        put_node(out, list->items[i], depth + 2);
    }
}

static void put_node(struct buf *out, const struct cnode *n, size_t depth)
{
    if (n->kind == CNODE_MAP && n->len > 0) {
        put_map(out, n, depth);
        return;
    }
    if (n->kind == CNODE_LIST && n->len > 0) {
        put_list(out, n, depth);
        return;
    }
    if (n->kind == CNODE_MAP || n->kind == CNODE_LIST)
        buf_adds(out, n->kind == CNODE_MAP ? "{}" : "[]");
    else if (n->kind == CNODE_NULL)
        buf_adds(out, "null");
    else if (n->kind == CNODE_STRING)
        put_string(out, n->text, depth, /* key= */ false);
    else if (n->kind == CNODE_FLOAT)
        put_float(out, n->text, /* single= */ false);
    else
        buf_adds(out, n->text);
    buf_addc(out, '\n');
}

int compose_render_yaml(const struct cnode *model, struct buf *out, struct err *err)
{
    put_node(out, model, 0);
    return out->overflowed ? err_set(err, 0, "the model is too large to be printed") : 0;
}
