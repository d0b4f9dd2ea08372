#include "translate/dockerfile/pattern.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/docker/quote.h"

#include <stdlib.h>
#include <string.h>

enum item_kind {
    ITEM_RUNE,
    ITEM_ANY,  /* "?": no "/" */
    ITEM_STAR, /* "*": no "/" */
    ITEM_SET,  /* "[a-z]": may be a "/" */
    ITEM_DIRS, /* "**" and "/" behind it: nothing, or anything that ends with "/" */
    ITEM_ALL,  /* "**" at the end */
};

struct pattern_item {
    enum item_kind kind;
    uint32_t rune;
    const char *set; /* borrowed from the pattern's text: behind "[" */
};

/* One character of UTF-8; a byte that is none stands for itself, apart from all characters. */
static size_t rune_at(const char *s, size_t len, uint32_t *ret)
{
    size_t n = rune_decode(s, len, ret);

    if (*ret == RUNE_INVALID)
        *ret = 0x110000u + (unsigned char)*s;
    return n;
}

/* ---- sets of characters ---- */

/* One end of a range, an escape character in front perhaps; NULL = bad pattern. */
static const char *set_rune(const char *p, uint32_t *ret)
{
    if (!*p || *p == '-' || *p == ']')
        return NULL;
    if (*p == '\\')
        p++;
    if (!*p)
        return NULL;
    p += rune_at(p, strlen(p), ret);
    return *p ? p : NULL;
}

/* Behind "[": whether rune is in the set; *ret_end is behind "]", or NULL for a bad pattern. */
static bool in_set(const char *p, uint32_t rune, const char **ret_end)
{
    bool negated = *p == '^', match = false;
    unsigned count = 0;

    p += negated;
    while (*p != ']' || !count++) {
        uint32_t low, high;

        p = set_rune(p, &low);
        high = low;
        if (p && *p == '-')
            p = set_rune(p + 1, &high);
        if (!p) {
            *ret_end = NULL;
            return false;
        }
        match = match || (low <= rune && rune <= high);
        count = 1;
    }
    *ret_end = p + 1;
    return match != negated;
}

bool pattern_valid(const char *text)
{
    const char *p = text;

    while (*p) {
        if (*p == '[') {
            in_set(p + 1, 0, &p);
            if (!p)
                return false;
            continue;
        }
        if (*p == '\\' && !*++p)
            return false;
        p++;
    }
    return true;
}

/* ---- making ---- */

/* "**" at p, which is the pattern's beginning perhaps; what the whole is so far says which short cut there is. */
static const char *make_deep(struct pattern *p, const char *text, const char *at, struct pattern_item *item)
{
    const char *next = at + 2;

    next += *next == '/';
    if (!*next) {
        item->kind = ITEM_ALL;
        p->kind = p->kind == PATTERN_EXACT ? PATTERN_PREFIX : PATTERN_GENERAL;
    } else {
        item->kind = ITEM_DIRS;
        p->kind = PATTERN_GENERAL;
    }
    if (at == text)
        p->kind = PATTERN_SUFFIX;
    return next;
}

/* One item at `at`; returns what follows it. */
static const char *make_item(struct pattern *p, const char *text, const char *at, bool deep, struct pattern_item *item)
{
    if (*at == '*' && at[1] == '*' && deep)
        return make_deep(p, text, at, item);
    if (*at == '*' || *at == '?') {
        item->kind = *at == '*' ? ITEM_STAR : ITEM_ANY;
        p->kind = PATTERN_GENERAL;
        return at + 1;
    }
    if (*at == '[') {
        *item = (struct pattern_item){.kind = ITEM_SET, .set = at + 1};
        p->kind = PATTERN_GENERAL;
        in_set(at + 1, 0, &at);
        return at;
    }
    if (*at == '\\' || *at == ']')
        p->kind = PATTERN_GENERAL;
    at += *at == '\\';
    item->kind = ITEM_RUNE;
    return at + rune_at(at, strlen(at), &item->rune);
}

void pattern_make(struct pattern *ret, const char *text, bool deep)
{
    struct pattern p = {.kind = PATTERN_EXACT, .text = xstrdup(text)};
    const char *at = p.text;

    p.items = xcalloc(strlen(text) + 1, sizeof(*p.items));
    while (*at)
        at = make_item(&p, p.text, at, deep, &p.items[p.len++]);
    *ret = p;
}

void pattern_clear(struct pattern *p)
{
    free(p->text);
    free(p->items);
    *p = (struct pattern)PATTERN_INIT;
}

/* ---- matching ---- */

/* From an item on, those that may be nothing are passed. now has two places for each item: at it, and within it. */
static void add_state(const struct pattern *p, bool *now, size_t at)
{
    now[2 * at] = true;
    while (at < p->len &&
           (p->items[at].kind == ITEM_STAR || p->items[at].kind == ITEM_DIRS || p->items[at].kind == ITEM_ALL))
        now[2 * ++at] = true;
}

/* What one more character does to item i, which is at hand (or begun, for "**"). */
static void step_item(const struct pattern *p, bool *next, size_t i, bool begun, uint32_t rune)
{
    const struct pattern_item *item = &p->items[i];
    const char *end;

    switch (item->kind) {
    case ITEM_RUNE:
        if (!begun && item->rune == rune)
            add_state(p, next, i + 1);
        return;
    case ITEM_ANY:
        if (rune != '/')
            add_state(p, next, i + 1);
        return;
    case ITEM_STAR:
        if (rune != '/')
            add_state(p, next, i);
        return;
    case ITEM_SET:
        if (in_set(item->set, rune, &end))
            add_state(p, next, i + 1);
        return;
    case ITEM_ALL:
        add_state(p, next, i);
        return;
    case ITEM_DIRS:
        next[2 * i + 1] = true;
        if (rune == '/')
            add_state(p, next, i + 1);
        return;
    }
}

static bool match_items(const struct pattern *p, const char *path, size_t len)
{
    size_t size = 2 * (p->len + 1);
    cleanup_free bool *now = xcalloc(size, sizeof(*now));
    cleanup_free bool *next = xcalloc(size, sizeof(*next));
    bool any = true;

    add_state(p, now, 0);
    for (size_t at = 0; at < len && any;) {
        bool *swap = now;
        uint32_t rune;

        at += rune_at(path + at, len - at, &rune);
        memset(next, 0, size);
        any = false;
        for (size_t i = 0; i < p->len; i++) {
            if (now[2 * i] || now[2 * i + 1]) {
                step_item(p, next, i, !now[2 * i], rune);
                any = true;
            }
        }
        now = next;
        next = swap;
    }
    return any && now[2 * p->len];
}

bool pattern_match(const struct pattern *p, const char *path, size_t len)
{
    size_t text = strlen(p->text);
    const char *suffix = p->text + 2;

    switch (p->kind) {
    case PATTERN_EXACT:
        return len == text && memcmp(path, p->text, len) == 0;
    case PATTERN_PREFIX:
        return len >= text - 2 && memcmp(path, p->text, text - 2) == 0;
    case PATTERN_SUFFIX:
        text -= 2;
        if (len >= text && memcmp(path + len - text, suffix, text) == 0)
            return true;
        return *suffix == '/' && len == text - 1 && memcmp(path, suffix + 1, len) == 0;
    case PATTERN_GENERAL:
        return match_items(p, path, len);
    }
    return false;
}
