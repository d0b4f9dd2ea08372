/*
 * Variables: $A ${A} ${A:-b} ${A-b} ${A:?m} ${A?m} ${A:+c} ${A+c}, nested, and $$ for a dollar sign.
 *
 * compose finds them with a regular expression whose last part takes all it can get, up to the last brace of the line,
 * and only then looks for the brace that closes; what is left behind that brace is taken up again. Texts that are odd
 * enough depend on it, so it is done the same way here, with one pass over the text and a ceiling on nesting.
 */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/compose/load.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define NESTING 50

struct subst {
    lookup_fn *lookup;
    const void *arg;
    struct strlist *warnings;
    size_t *text_left;
    unsigned depth;
    struct err *err;
};

/* A text that is being gone through. */
struct text {
    const char *s;
    size_t len;
    size_t rest, rest_end;  /* what is left of an expression: faults in it show that part only */
    size_t line_end, brace; /* the line that was looked at last, and its last closing brace + 1 (0: none) */
    size_t line_start;
    struct buf *out;
};

/* ${name<op>word} */
struct expression {
    const char *name;
    size_t name_len;
    char op; /* '-', '?', '+', or 0 */
    bool colon;
    const char *word;
    size_t word_len;
    size_t end; /* behind the closing brace */
};

static int run(struct subst *s, const char *text, size_t len, struct buf *out);

static bool name_start(char c)
{
    return c == '_' || isalpha((unsigned char)c);
}

static size_t name_length(const char *s, size_t len)
{
    size_t n = 0;

    if (len == 0 || !name_start(*s))
        return 0;
    while (n < len && (name_start(s[n]) || isdigit((unsigned char)s[n])))
        n++;
    return n;
}

static int emit(struct subst *s, struct buf *out, const char *text, size_t len)
{
    if (len > *s->text_left || buf_add(out, text, len) < 0)
        return err_set(s->err, 1, "variables put in more than %u bytes", LIMIT_COMPOSE_TEXT);
    *s->text_left -= len;
    return 0;
}

static int bad_format(struct subst *s, const struct text *t, size_t at)
{
    bool rest = at >= t->rest && at < t->rest_end;
    size_t from = rest ? t->rest : 0, to = rest ? t->rest_end : t->len;

    err_set(s->err, 1, "%.*s", (int)(to - from), t->s + from);
    if (s->err)
        s->err->code = INTERPOLATE_FORMAT;
    return -1;
}

/* The brace that closes the expression at `from`, as compose counts them: the character behind an opening one is never
 * looked at. 0 when there is none before `to`. */
static size_t closing_brace(const char *s, size_t from, size_t to)
{
    size_t open = 0;

    for (size_t i = from; i < to; i++) {
        if (s[i] == '}' && --open == 0)
            return i;
        if (s[i] == '{') {
            open++;
            i++;
        }
    }
    return 0;
}

/* Behind the last closing brace of the line that `at` is on, 0 when there is none behind `at`. */
static size_t last_brace(struct text *t, size_t at)
{
    if (at >= t->line_end || at < t->line_start) {
        const char *end = memchr(t->s + at, '\n', t->len - at);
        const char *brace;

        t->line_start = at;
        t->line_end = end ? (size_t)(end - t->s) : t->len;
        brace = memrchr(t->s + at, '}', t->line_end - at);
        t->brace = brace ? (size_t)(brace - t->s) + 1 : 0;
    }
    return t->brace > at ? t->brace : 0;
}

/* Reads the expression whose dollar sign is at `at`. False: it is none. */
static bool expression_read(struct text *t, size_t at, struct expression *ret)
{
    size_t i = at + 2, end, close;

    *ret = (struct expression){.name = t->s + i, .name_len = name_length(t->s + i, t->len - i)};
    i += ret->name_len;
    if (ret->name_len == 0 || i >= t->len)
        return false;
    if (t->s[i] == '}') {
        ret->end = i + 1;
        return true;
    }
    ret->colon = t->s[i] == ':';
    i += ret->colon;
    if (i >= t->len || !memchr("-+?", t->s[i], 3))
        return false;
    ret->op = t->s[i++];
    end = last_brace(t, i);
    if (end == 0)
        return false;
    close = closing_brace(t->s, at, end);
    if (close == 0)
        close = end - 1;
    ret->word = t->s + i;
    ret->word_len = close - i;
    ret->end = close + 1;
    if (ret->end < end) {
        t->rest = ret->end;
        t->rest_end = end;
    }
    return true;
}

static int missing(struct subst *s, const char *name, const char *message)
{
    return err_set(s->err, 1, "required variable %s is missing a value%s%s", name, *message ? ": " : "", message);
}

/* The value of ${name<op>word}. The word is worked out even when nobody wants it, as compose does. */
static int expression_value(struct subst *s, const struct expression *e, struct buf *out)
{
    cleanup_free char *name = xstrndup(e->name, e->name_len);
    cleanup_buf struct buf word = BUF_INIT(LIMIT_COMPOSE_TEXT);
    const char *value;
    bool set;

    if (e->op && run(s, e->word, e->word_len, &word) < 0)
        return -1;
    value = s->lookup(s->arg, name);
    set = value && (!e->colon || *value);
    if (!e->op && !value && s->warnings)
        strlist_addf(s->warnings, "The \"%s\" variable is not set. Defaulting to a blank string.", name);
    if (e->op == '?' && !set)
        return missing(s, name, word.data);
    if (e->op == '+' ? set : e->op == '-' && !set)
        return emit(s, out, word.data, word.len);
    return value ? emit(s, out, value, strlen(value)) : 0;
}

/* What the dollar sign at *at begins; moves *at behind it. */
static int dollar(struct subst *s, struct text *t, size_t *at)
{
    const char *next = t->s + *at + 1;
    size_t left = t->len - *at - 1, name = name_length(next, left);
    struct expression e;

    if (left && *next == '$') {
        *at += 2;
        return emit(s, t->out, "$", 1);
    }
    if (name) {
        e = (struct expression){.name = next, .name_len = name};
        *at += 1 + name;
        return expression_value(s, &e, t->out);
    }
    if (left && *next == '{') {
        if (!expression_read(t, *at, &e))
            return bad_format(s, t, *at);
        *at = e.end;
        return expression_value(s, &e, t->out);
    }
    *at += 1;
    return emit(s, t->out, "$", 1);
}

static int run(struct subst *s, const char *text, size_t len, struct buf *out)
{
    struct text t = {.s = text, .len = len, .out = out};
    int rc = 0;

    if (s->depth == NESTING)
        return err_set(s->err, 1, "variables are nested more than %d deep", NESTING);
    s->depth++;
    for (size_t at = 0; rc == 0 && at < len;) {
        const char *next = memchr(text + at, '$', len - at);
        size_t plain = next ? (size_t)(next - text) - at : len - at;

        rc = emit(s, out, text + at, plain);
        at += plain;
        if (rc == 0 && next)
            rc = dollar(s, &t, &at);
    }
    s->depth--;
    return rc;
}

int interpolate_text(const char *text, lookup_fn *lookup, const void *arg, struct strlist *warnings, size_t *text_left,
                     char **ret, struct err *err)
{
    struct subst s = {lookup, arg, warnings, text_left, 0, err};
    cleanup_buf struct buf out = BUF_INIT(LIMIT_COMPOSE_TEXT);

    if (!strchr(text, '$')) {
        *ret = xstrdup(text);
        return 0;
    }
    if (run(&s, text, strlen(text), &out) < 0)
        return -1;
    *ret = buf_detach(&out);
    return 0;
}

/* ---- whole trees ---- */

struct walk {
    struct loader *l;
    const struct cnode *env;
    const char *path[LIMIT_COMPOSE_DEPTH + 2];
    size_t len;
    struct err *err;
};

const char *lookup_map(const void *map, const char *name)
{
    return cnode_str(map, name);
}

/* "services.web.ports.[]" */
static char *path_text(const struct walk *w)
{
    struct buf all = BUF_INIT(LIMIT_CONFIG_FILE);

    for (size_t i = 0; i < w->len; i++)
        buf_addf(&all, "%s%s", i ? "." : "", w->path[i]);
    return buf_detach(&all);
}

static int blame(const struct walk *w, struct err *why)
{
    cleanup_free char *path = path_text(w);

    if (why->code == INTERPOLATE_FORMAT)
        return err_set(w->err, 1,
                       "invalid interpolation format for %s.\nYou may need to escape any $ with another $.\n%s", path,
                       why->msg);
    return err_set(w->err, 1, "error while interpolating %s: %s", path, why->msg);
}

static int value(struct walk *w, struct cnode *n)
{
    cleanup_err struct err why = ERR_INIT;
    char *text;

    if (interpolate_text(n->text, lookup_map, w->env, w->l->warnings, &w->l->text_left, &text, &why) < 0)
        return blame(w, &why);
    free(n->text);
    n->text = text;
    return cast_value(w->l, w->path, w->len, n, &why) < 0 ? blame(w, &why) : 0;
}

static int walk(struct walk *w, struct cnode *n)
{
    int rc = 0;

    if (n->kind == CNODE_STRING)
        return value(w, n);
    for (size_t i = 0; rc == 0 && i < n->len; i++) {
        w->path[w->len++] = n->kind == CNODE_MAP ? n->keys[i] : "[]";
        rc = walk(w, n->items[i]);
        w->len--;
    }
    return rc;
}

int interpolate(struct loader *l, struct cnode *tree, const struct cnode *env, struct err *err)
{
    struct walk w = {.l = l, .env = env, .err = err};

    return walk(&w, tree);
}
