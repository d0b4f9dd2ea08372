#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/dockerfile/parse.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_WORD    40u /* longer words are nobody's typing error */
#define MAX_OPTIONS 64

/* ---- suggestions ---- */

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;

    return m < c ? m : c;
}

/* Levenshtein's distance with one row; both words are at most MAX_WORD long. */
static unsigned distance(const char *a, const char *b, bool fold)
{
    unsigned row[MAX_WORD + 1];
    size_t len = strlen(b);

    for (unsigned j = 0; j <= len; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= len; j++) {
            int x = (unsigned char)a[i - 1], y = (unsigned char)b[j - 1];
            unsigned above = row[j];

            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (fold ? tolower(x) != tolower(y) : x != y));
            diagonal = above;
        }
    }
    return row[len];
}

/* The suggestion in the case that the word was written in, where it was written in one. */
static char *in_case_of(const char *best, const char *word)
{
    char *ret = xstrdup(best);
    bool lower = true, upper = true;

    for (const char *c = word; *c; c++) {
        lower = lower && !isupper((unsigned char)*c);
        upper = upper && !islower((unsigned char)*c);
    }
    for (char *c = ret; *c && (lower || upper); c++)
        *c = (char)(lower ? tolower((unsigned char)*c) : toupper((unsigned char)*c));
    return ret;
}

char *df_suggest(const char *word, const char *const *words, bool fold)
{
    const char *best = NULL;
    unsigned best_distance = 3;
    cleanup_free char *shown = NULL;

    for (; strlen(word) <= MAX_WORD && *words; words++) {
        unsigned d = strlen(*words) <= MAX_WORD ? distance(word, *words, fold) : MAX_WORD;

        if (d == 0)
            return xstrdup("");
        /* Of two that are as near, the one that begins alike. */
        if (d < best_distance ||
            (best && d == best_distance && tolower(*word) != tolower(*best) && tolower(*word) == tolower(**words))) {
            best = *words;
            best_distance = d;
        }
    }
    if (!best)
        return xstrdup("");
    shown = fold ? in_case_of(best, word) : xstrdup(best);
    return xasprintf(" (did you mean %s?)", shown);
}

/* ---- flags ---- */

/* Whether a flag is "--name" or "--name=..."; *ret_value points behind the "=". */
static bool is_flag(const char *flag, const char *name, const char **ret_value)
{
    size_t len = strlen(name);

    if (strncmp(flag + 2, name, len) != 0 || (flag[2 + len] && flag[2 + len] != '='))
        return false;
    if (ret_value)
        *ret_value = flag + 2 + len + (flag[2 + len] == '=');
    return true;
}

const char *df_flag(const struct df_instruction *in, const char *name)
{
    const char *value;

    for (size_t i = 0; i < in->flags.len; i++) {
        if (is_flag(in->flags.items[i], name, &value))
            return value;
    }
    return NULL;
}

int df_flag_bool(const struct df_instruction *in, const char *name)
{
    const char *value = df_flag(in, name);

    return value ? strcasecmp(value, "false") != 0 : -1;
}

void df_flag_all(const struct df_instruction *in, const char *name, struct strlist *ret)
{
    const char *value;

    for (size_t i = 0; i < in->flags.len; i++) {
        if (is_flag(in->flags.items[i], name, &value))
            strlist_add(ret, value);
    }
}

static int unknown_flag(const char *flag, const struct df_flag_spec *specs, struct err *err)
{
    const char *names[MAX_OPTIONS + 1] = {NULL};
    int len = (int)strcspn(flag, "=");
    cleanup_free char *word = xstrndup(flag + 2, (size_t)len - 2);
    cleanup_free char *hint = NULL;

    for (size_t i = 0; specs[i].name && i < MAX_OPTIONS; i++)
        names[i] = specs[i].name;
    hint = df_suggest(word, names, false);
    return err_set(err, 1, "unknown flag: %.*s%s", len, flag, hint);
}

/* A flag's value is of its kind. */
static int check_value(const char *flag, const struct df_flag_spec *spec, struct err *err)
{
    int len = (int)strcspn(flag, "=");
    const char *value = flag + len + 1;

    if (spec->kind != DF_FLAG_BOOL)
        return flag[len] ? 0 : err_set(err, 1, "missing a value on flag: %s", flag);
    if (!flag[len])
        return 0;
    if (!*value)
        return err_set(err, 1, "missing a value on flag: %.*s", len, flag);
    if (strcasecmp(value, "true") != 0 && strcasecmp(value, "false") != 0)
        return err_set(err, 1, "expecting boolean value for flag %.*s, not: %s", len, flag, value);
    return 0;
}

int df_flags_check(const struct df_instruction *in, const struct df_flag_spec *specs, struct err *err)
{
    for (size_t i = 0; i < in->flags.len; i++) {
        const char *flag = in->flags.items[i];
        const struct df_flag_spec *spec = specs;

        while (spec->name && !is_flag(flag, spec->name, NULL))
            spec++;
        if (!spec->name)
            return unknown_flag(flag, specs, err);
        for (size_t j = 0; j < i && spec->kind != DF_FLAG_STRINGS; j++) {
            if (is_flag(in->flags.items[j], spec->name, NULL))
                return err_set(err, 1, "duplicate flag specified: --%s", spec->name);
        }
        if (check_value(flag, spec, err) < 0)
            return -1;
    }
    return 0;
}
