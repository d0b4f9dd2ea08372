#include "translate/dockerfile/parse.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS      " \t\v\f\r\n"
#define MAX_NESTING 100 /* ${a:-${b:-...}}: deeper is nobody's Dockerfile */

bool df_json(const char *rest, struct strlist *ret)
{
    json_t *j = *rest == '[' ? json_loads(rest, 0, NULL) : NULL;
    const json_t *item;
    bool good = json_is_array(j);
    size_t i;

    json_array_foreach(j, i, item) good = good && json_is_string(item);
    if (good && ret) {
        json_array_foreach(j, i, item) strlist_add(ret, json_string_value(item));
    }
    json_decref(j);
    return good;
}

void df_fields(const char *rest, struct strlist *ret)
{
    for (const char *p = rest + strspn(rest, BLANKS); *p; p += strspn(p, BLANKS)) {
        size_t len = strcspn(p, BLANKS);

        strlist_add_owned(ret, xstrndup(p, len));
        p += len;
    }
}

void df_words(const char *rest, char escape, struct strlist *ret)
{
    const char *p = rest + strspn(rest, BLANKS);

    while (*p) {
        const char *start = p;
        char quote = '\0';

        for (; *p && (quote || !strchr(BLANKS, *p)); p++) {
            if (*p == escape && p[1] && quote != '\'')
                p++;
            else if (quote)
                quote = *p == quote ? '\0' : quote;
            else if (*p == '"' || *p == '\'')
                quote = *p;
        }
        strlist_add_owned(ret, xstrndup(start, (size_t)(p - start)));
        p += strspn(p, BLANKS);
    }
}

int df_pairs(const char *what, const char *rest, char escape, struct strlist *ret, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;

    df_words(rest, escape, &words);
    if (!words.len)
        return err_set(err, 1, "%s requires at least one argument", what);
    if (!strchr(words.items[0], '=')) {
        const char *value = rest + strcspn(rest, BLANKS);

        value += strspn(value, BLANKS);
        if (!*value)
            return err_set(err, 1, "%s must have two arguments", what);
        strlist_add_owned(ret, xstrndup(rest, strcspn(rest, BLANKS)));
        strlist_add(ret, value);
        return 0;
    }
    for (size_t i = 0; i < words.len; i++) {
        const char *equal = strchr(words.items[i], '=');

        if (!equal)
            return err_set(err, 1, "Syntax error - can't find = in \"%s\". Must be of the form: name=value",
                           words.items[i]);
        if (equal == words.items[i])
            return err_set(err, 1, "%s names can not be blank", what);
        strlist_add_owned(ret, xstrndup(words.items[i], (size_t)(equal - words.items[i])));
        strlist_add(ret, equal + 1);
    }
    return 0;
}

/* ---- variables ---- */

struct expander {
    const char *p;
    char escape;
    df_lookup_fn *lookup;
    void *arg;
    int depth;
};

static int expand_until(struct expander *x, char stop, struct buf *out, struct err *err);

/* A variable's name; "" when none stands there. */
static char *read_name(struct expander *x)
{
    const char *start = x->p;

    if (isalpha((unsigned char)*x->p) || *x->p == '_') {
        while (isalnum((unsigned char)*x->p) || *x->p == '_')
            x->p++;
    } else if (isdigit((unsigned char)*x->p)) {
        while (isdigit((unsigned char)*x->p))
            x->p++;
    } else if (*x->p && strchr("@*#?-$!", *x->p)) {
        x->p++;
    }
    return xstrndup(start, (size_t)(x->p - start));
}

/* After "${name": the modifier and its word, up to "}". value is NULL when the variable is not set. */
static int expand_modifier(struct expander *x, const char *name, const char *value, struct buf *out, struct err *err)
{
    struct buf word cleanup_buf = BUF_INIT(LIMIT_CONFIG_FILE);
    bool colon = *x->p == ':', set;
    char modifier;

    x->p += colon;
    modifier = *x->p;
    if (!modifier || !strchr("+-?", modifier))
        return err_set(err, 1, "unsupported modifier (%s%.1s) in substitution", colon ? ":" : "", x->p);
    x->p++;
    if (expand_until(x, '}', &word, err) < 0)
        return -1;
    if (*x->p != '}')
        return err_set(err, 1, "unexpected end of statement while looking for matching }");
    x->p++;
    set = value && (!colon || *value);
    if (modifier == '+')
        return set ? buf_add(out, word.data, word.len) : 0;
    if (set)
        return buf_adds(out, value);
    if (modifier == '-')
        return buf_add(out, word.data, word.len);
    return err_set(err, 1, "%s: %s", name, word.len ? word.data : "is not allowed to be unset");
}

/* At "$". */
static int expand_dollar(struct expander *x, struct buf *out, struct err *err)
{
    cleanup_free char *name = NULL;
    const char *value;

    x->p++;
    if (*x->p != '{') {
        name = read_name(x);
        if (!*name)
            return buf_addc(out, '$');
        value = x->lookup(name, x->arg);
        return value ? buf_adds(out, value) : 0;
    }
    x->p++;
    if (*x->p == '}' || !*x->p)
        return err_set(err, 1, "syntax error: bad substitution");
    name = read_name(x);
    value = x->lookup(name, x->arg);
    if (*x->p != '}')
        return expand_modifier(x, name, value, out, err);
    x->p++;
    return value ? buf_adds(out, value) : 0;
}

static int single_quoted(struct expander *x, struct buf *out, struct err *err)
{
    const char *end = strchr(x->p + 1, '\'');

    if (!end)
        return err_set(err, 1, "unexpected end of statement while looking for matching single-quote");
    buf_add(out, x->p + 1, (size_t)(end - x->p - 1));
    x->p = end + 1;
    return 0;
}

static int double_quoted(struct expander *x, struct buf *out, struct err *err)
{
    for (x->p++; *x->p && *x->p != '"';) {
        if (*x->p == '$') {
            if (expand_dollar(x, out, err) < 0)
                return -1;
            continue;
        }
        if (*x->p == x->escape && x->p[1] && (strchr("\"$", x->p[1]) || x->p[1] == x->escape))
            x->p++;
        buf_addc(out, *x->p++);
    }
    if (!*x->p)
        return err_set(err, 1, "unexpected end of statement while looking for matching double-quote");
    x->p++;
    return 0;
}

/* Up to stop (which is not taken), or to the end. */
static int expand_until(struct expander *x, char stop, struct buf *out, struct err *err)
{
    int ret = 0;

    if (++x->depth > MAX_NESTING)
        return err_set(err, 1, "variables are nested too deeply");
    while (ret == 0 && *x->p && (!stop || *x->p != stop)) {
        if (*x->p == '\'')
            ret = single_quoted(x, out, err);
        else if (*x->p == '"')
            ret = double_quoted(x, out, err);
        else if (*x->p == '$')
            ret = expand_dollar(x, out, err);
        else if (*x->p == x->escape)
            x->p += x->p[1] ? (buf_addc(out, x->p[1]), 2) : 1;
        else
            buf_addc(out, *x->p++);
    }
    x->depth--;
    return ret;
}

int df_expand(const char *word, char escape, df_lookup_fn *lookup, void *arg, char **ret, struct err *err)
{
    struct expander x = {.p = word, .escape = escape, .lookup = lookup, .arg = arg};
    struct buf out cleanup_buf = BUF_INIT(LIMIT_CONFIG_FILE);

    if (expand_until(&x, '\0', &out, err) < 0) {
        if (err && !err->msg)
            err_set(err, 1, "the line is too long once its variables are put in");
        return -1;
    }
    if (out.overflowed)
        return err_set(err, 1, "the line is too long once its variables are put in");
    *ret = buf_detach(&out);
    return 0;
}
