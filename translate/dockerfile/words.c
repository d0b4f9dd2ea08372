#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/quote.h"
#include "translate/dockerfile/parse.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\v\f\r\n"

/* The JSON array that rest is, or NULL. */
static json_t *array_of(const char *rest)
{
    json_t *j;

    rest += strspn(rest, BLANKS);
    j = *rest == '[' ? json_loads(rest, 0, NULL) : NULL;
    if (j && !json_is_array(j)) {
        json_decref(j);
        return NULL;
    }
    return j;
}

static bool all_strings(const json_t *array)
{
    const json_t *item;
    bool good = true;
    size_t i;

    json_array_foreach(array, i, item) good = good && json_is_string(item);
    return good;
}

bool df_json(const char *rest, struct strlist *ret)
{
    json_t *j = array_of(rest);
    bool good = j && all_strings(j);
    const json_t *item;
    size_t i;

    if (good && ret) {
        json_array_foreach(j, i, item) strlist_add(ret, json_string_value(item));
    }
    json_decref(j);
    return good;
}

bool df_json_other(const char *rest)
{
    json_t *j = array_of(rest);
    bool other = j && !all_strings(j);

    json_decref(j);
    return other;
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

        if (!equal) {
            cleanup_free char *quoted = quote_go_str(words.items[i]);

            return err_set(err, 1, "Syntax error - can't find = in %s. Must be of the form: name=value", quoted);
        }
        if (equal == words.items[i])
            return err_set(err, 1, "%s names can not be blank", what);
        strlist_add_owned(ret, xstrndup(words.items[i], (size_t)(equal - words.items[i])));
        strlist_add(ret, equal + 1);
    }
    return 0;
}
