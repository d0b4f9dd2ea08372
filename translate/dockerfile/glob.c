#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/quote.h"
#include "translate/dockerfile/lex.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STEPS 50000000u /* elements looked at: more is an attack */

enum { ANY = -1, STAR = -2 }; /* elements of a pattern that are no character */

/* A text as characters: a byte that belongs to none counts as one. */
struct runes {
    int32_t *items;
    size_t *at; /* where each begins in the text; at[len] is its length */
    size_t len;
};

static void runes_clear(struct runes *r)
{
    free(r->items);
    free(r->at);
}

static struct runes runes_of(const char *text)
{
    size_t len = strlen(text), done = 0;
    struct runes r = {.items = xcalloc(len + 1, sizeof(*r.items)), .at = xcalloc(len + 1, sizeof(*r.at))};

    while (done < len) {
        uint32_t c;
        size_t n = rune_decode(text + done, len - done, &c);

        r.at[r.len] = done;
        r.items[r.len++] = c == RUNE_INVALID ? 0x110000 + (unsigned char)text[done] : (int32_t)c;
        done += n;
    }
    r.at[r.len] = len;
    return r;
}

/* The pattern's elements; "\" hides "*", "?" and itself, and is dropped before "}" and "/". */
static int elements_of(const char *pattern, struct runes *ret, struct err *err)
{
    struct runes r = runes_of(pattern), out = {.items = xcalloc(r.len + 1, sizeof(*out.items))};

    for (size_t i = 0; i < r.len; i++) {
        int32_t c = r.items[i], next = i + 1 < r.len ? r.items[i + 1] : 0;

        if (c == '*' || c == '?') {
            out.items[out.len++] = c == '*' ? STAR : ANY;
            continue;
        }
        if (c == '\\' && (next == '}' || next == '/'))
            continue;
        if (c == '\\') {
            if (next != '*' && next != '?' && next != '\\') {
                int n = next ? (int)(r.at[i + 2] - r.at[i + 1]) : 3;

                err_set(err, 1, "invalid pattern (%s) in substitution: invalid escape '\\%.*s'", pattern, n,
                        next ? pattern + r.at[i + 1] : "\xef\xbf\xbd");
                runes_clear(&r);
                runes_clear(&out);
                return -1;
            }
            c = next;
            i++;
        }
        out.items[out.len++] = c;
    }
    runes_clear(&r);
    *ret = out;
    return 0;
}

/* Both read from their ends, for suffixes. */
static void reverse(struct runes *r)
{
    for (size_t i = 0; i < r->len / 2; i++) {
        int32_t c = r->items[i];

        r->items[i] = r->items[r->len - 1 - i];
        r->items[r->len - 1 - i] = c;
    }
}

/* From a state on, stars may be nothing. */
static void add_state(const struct runes *pattern, bool *states, size_t at)
{
    states[at] = true;
    while (at < pattern->len && pattern->items[at] == STAR)
        states[++at] = true;
}

/* All states after one more character; returns whether any is left. No wildcard crosses a newline. */
static bool advance(const struct runes *pattern, const bool *now, bool *next, int32_t c)
{
    bool any = false;

    memset(next, 0, pattern->len + 1);
    for (size_t i = 0; i < pattern->len; i++) {
        int32_t e = pattern->items[i];

        if (!now[i] || ((e == STAR || e == ANY) && c == '\n') || (e >= 0 && e != c))
            continue;
        add_state(pattern, next, e == STAR ? i : i + 1);
        any = true;
    }
    return any;
}

/* How many characters from start on match: the fewest or the most; -1 = none do. steps grows by what it took. */
static ssize_t match_at(const struct runes *pattern, const struct runes *value, size_t start, bool longest,
                        size_t *steps)
{
    cleanup_free bool *now = xcalloc(pattern->len + 1, sizeof(*now));
    cleanup_free bool *next = xcalloc(pattern->len + 1, sizeof(*next));
    ssize_t found = -1;

    add_state(pattern, now, 0);
    for (size_t i = start;; i++) {
        bool *swap = now;

        *steps += pattern->len + 1;
        if (now[pattern->len])
            found = (ssize_t)(i - start);
        if ((found >= 0 && !longest) || *steps > MAX_STEPS || i >= value->len ||
            !advance(pattern, now, next, value->items[i]))
            return found;
        now = next;
        next = swap;
    }
}

static int too_long(struct err *err)
{
    return err_set(err, 1, "the pattern of a substitution is too long for its value");
}

int df_glob_trim(const char *pattern, const char *value, bool suffix, bool longest, char **ret, struct err *err)
{
    struct runes elements, text;
    size_t steps = 0;
    ssize_t len;

    if (elements_of(pattern, &elements, err) < 0)
        return -1;
    text = runes_of(value);
    if (suffix) {
        reverse(&elements);
        reverse(&text);
    }
    len = match_at(&elements, &text, 0, longest, &steps);
    if (steps > MAX_STEPS)
        *ret = NULL;
    else if (len < 0)
        *ret = xstrdup(value);
    else if (suffix)
        *ret = xstrndup(value, text.at[text.len - (size_t)len]);
    else
        *ret = xstrdup(value + text.at[len]);
    runes_clear(&elements);
    runes_clear(&text);
    return *ret ? 0 : too_long(err);
}

/* Every match, or the first; an empty one right behind another does not count. -1 = it takes too long. */
static int replace_runs(const struct runes *elements, const struct runes *text, const char *value, const char *with,
                        bool all, struct buf *out)
{
    size_t i = 0, steps = 0, last_end = SIZE_MAX;
    bool done = false;

    while (i <= text->len) {
        ssize_t len = done ? -1 : match_at(elements, text, i, true, &steps);

        if (steps > MAX_STEPS || out->overflowed)
            return -1;
        if (len > 0 || (len == 0 && i != last_end)) {
            buf_adds(out, with);
            done = !all;
            i += (size_t)len;
            last_end = i;
        }
        if (len <= 0) {
            if (i < text->len)
                buf_add(out, value + text->at[i], text->at[i + 1] - text->at[i]);
            i++;
        }
    }
    return out->overflowed ? -1 : 0;
}

int df_glob_replace(const char *pattern, const char *value, const char *text, bool all, char **ret, struct err *err)
{
    struct buf out cleanup_buf = BUF_INIT(LIMIT_CONFIG_FILE);
    struct runes elements, runes;
    int result;

    if (elements_of(pattern, &elements, err) < 0)
        return -1;
    runes = runes_of(value);
    result = replace_runs(&elements, &runes, value, text, all, &out);
    runes_clear(&elements);
    runes_clear(&runes);
    if (result < 0)
        return too_long(err);
    *ret = buf_detach(&out);
    return 0;
}
