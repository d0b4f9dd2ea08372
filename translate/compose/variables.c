/* The variables of a tree that were not put in: `config --variables`. */
#include "translate/compose/variables.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64 /* defaults in defaults */

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static void put(struct cnode *map, const char *name, const char *key, const char *value)
{
    struct cnode *v = cnode_new(CNODE_MAP);

    cnode_set(v, "Name", cnode_string(name));
    cnode_set(v, "DefaultValue", cnode_string(strcmp(key, "DefaultValue") == 0 ? value : ""));
    cnode_set(v, "PresenceValue", cnode_string(strcmp(key, "PresenceValue") == 0 ? value : ""));
    cnode_set(v, "Required", cnode_bool(strcmp(key, "Required") == 0));
    cnode_set(map, name, v);
}

/* The brace that closes the one at s. NULL: none does. */
static const char *closing(const char *s)
{
    int depth = 0;

    for (; *s; s++) {
        if (*s == '{')
            depth++;
        else if (*s == '}' && --depth == 0)
            return s;
    }
    return NULL;
}

static void find(struct cnode *map, const char *text, int depth);

/* "NAME:-default" and its like. */
static void braced(struct cnode *map, const char *body, int depth)
{
    size_t len = strspn(body, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    cleanup_free char *name = xstrndup(body, len);
    const char *rest = body + len, *value = rest + (*rest == ':') + (*rest != '\0');
    char sign = *rest == ':' ? rest[1] : *rest;

    if (len == 0)
        return;
    put(map, name,
        sign == '-'   ? "DefaultValue"
        : sign == '+' ? "PresenceValue"
        : sign == '?' ? "Required"
                      : "",
        sign && *rest ? value : "");
    if (sign == '-' || sign == '+')
        find(map, value, depth + 1);
}

static void find(struct cnode *map, const char *text, int depth)
{
    for (const char *p = strchr(text, '$'); p && depth < DEPTH_MAX; p = strchr(p, '$')) {
        size_t len = 0;
        const char *end = p[1] == '{' ? closing(p + 1) : NULL;

        p++;
        if (*p == '$') {
            p++;
        } else if (end) {
            cleanup_free char *body = xstrndup(p + 1, (size_t)(end - p - 1));

            braced(map, body, depth);
            p = end;
        } else if (isalpha((unsigned char)*p) || *p == '_') {
            cleanup_free char *name = NULL;

            while (is_name(p[len]))
                len++;
            name = xstrndup(p, len);
            put(map, name, "", "");
            p += len;
        }
    }
}

static void walk(struct cnode *map, const struct cnode *n)
{
    if (n->kind == CNODE_STRING)
        find(map, n->text, 0);
    for (size_t i = 0; i < n->len; i++)
        walk(map, n->items[i]);
}

struct cnode *compose_variables(const struct cnode *tree)
{
    struct cnode *map = cnode_new(CNODE_MAP);

    walk(map, tree);
    cnode_sort(map);
    return map;
}
