#include "compat/base/strlist.h"

#include "compat/base/alloc.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Room for one more entry and the closing NULL. */
static void grow(struct strlist *l)
{
    if (l->len + 2 > l->cap) {
        l->cap = l->cap ? l->cap * 2 : 8;
        l->items = xreallocarray(l->items, l->cap, sizeof(*l->items));
    }
}

void strlist_clear(struct strlist *l)
{
    for (size_t i = 0; i < l->len; i++)
        free(l->items[i]);
    free(l->items);
    *l = (struct strlist)STRLIST_INIT;
}

void strlist_add_owned(struct strlist *l, char *s)
{
    grow(l);
    l->items[l->len++] = s;
    l->items[l->len] = NULL;
}

void strlist_add(struct strlist *l, const char *s)
{
    strlist_add_owned(l, xstrdup(s));
}

void strlist_addf(struct strlist *l, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    strlist_add_owned(l, xvasprintf(fmt, ap));
    va_end(ap);
}

void strlist_copy(struct strlist *to, const struct strlist *from)
{
    for (size_t i = 0; i < from->len; i++)
        strlist_add(to, from->items[i]);
}

void strlist_insert(struct strlist *l, size_t at, const char *s)
{
    char *copy = xstrdup(s);

    grow(l);
    memmove(l->items + at + 1, l->items + at, (l->len - at) * sizeof(*l->items));
    l->items[at] = copy;
    l->items[++l->len] = NULL;
}

void strlist_remove(struct strlist *l, size_t at)
{
    free(l->items[at]);
    memmove(l->items + at, l->items + at + 1, (l->len - at) * sizeof(*l->items));
    l->len--;
}

bool strlist_has(const struct strlist *l, const char *s)
{
    for (size_t i = 0; i < l->len; i++)
        if (!strcmp(l->items[i], s))
            return true;
    return false;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void strlist_sort(struct strlist *l)
{
    if (l->len > 1)
        qsort(l->items, l->len, sizeof(*l->items), by_bytes);
}

char **strlist_argv(struct strlist *l)
{
    grow(l);
    l->items[l->len] = NULL;
    return l->items;
}

void strlist_split(struct strlist *l, const char *s, char sep)
{
    for (;;) {
        const char *end = strchr(s, sep);

        if (!end) {
            strlist_add(l, s);
            return;
        }
        strlist_add_owned(l, xstrndup(s, (size_t)(end - s)));
        s = end + 1;
    }
}

/* Whether entry is "key=..." */
static bool is_key(const char *entry, const char *key, size_t len)
{
    return !strncmp(entry, key, len) && entry[len] == '=';
}

const char *strlist_env_get(const struct strlist *l, const char *key)
{
    size_t len = strlen(key);

    for (size_t i = l->len; i > 0; i--)
        if (is_key(l->items[i - 1], key, len))
            return l->items[i - 1] + len + 1;
    return NULL;
}

void strlist_env_set(struct strlist *l, const char *key, const char *value)
{
    size_t len = strlen(key), kept = 0;
    bool found = false;

    for (size_t i = 0; i < l->len; i++) {
        if (is_key(l->items[i], key, len)) {
            free(l->items[i]);
            if (found)
                continue;
            l->items[i] = xasprintf("%s=%s", key, value);
            found = true;
        }
        l->items[kept++] = l->items[i];
    }
    l->len = kept;
    if (!found)
        strlist_addf(l, "%s=%s", key, value);
    else
        l->items[l->len] = NULL;
}
