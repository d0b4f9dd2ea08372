#include "backends/registry/challenge.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/strlist.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_VALUE 8192u /* a header line: registries' own limit is below that */

void challenge_clear(struct challenge *c)
{
    free(c->realm);
    free(c->service);
    free(c->scope);
    *c = (struct challenge){0};
}

static const char *skip_space(const char *p)
{
    return p + strspn(p, " \t,");
}

/* A token or a quoted string; owned by caller. */
static char *read_value(const char **p)
{
    struct buf value = BUF_INIT(MAX_VALUE);
    const char *s = *p;

    if (*s == '"') {
        for (s++; *s && *s != '"'; s++) {
            if (*s == '\\' && s[1])
                s++;
            buf_addc(&value, *s);
        }
        s += *s == '"';
    } else {
        size_t len = strcspn(s, " \t,");

        buf_add(&value, s, len);
        s += len;
    }
    *p = s;
    return buf_detach(&value);
}

static void keep_first(char **to, char **value)
{
    if (!*to)
        *to = steal(value);
}

static void set_param(struct challenge *c, const char *name, size_t len, char *value)
{
    cleanup_free char *owned = value;

    if (len == 5 && strncasecmp(name, "realm", 5) == 0)
        keep_first(&c->realm, &owned);
    else if (len == 7 && strncasecmp(name, "service", 7) == 0)
        keep_first(&c->service, &owned);
    else if (len == 5 && strncasecmp(name, "scope", 5) == 0)
        keep_first(&c->scope, &owned);
}

/* One header: schemes, each with its parameters; a word followed by "=" is a parameter, any other a scheme. */
static void parse_one(struct challenge *c, const char *p)
{
    bool in_bearer = false, seen_bearer = c->bearer;

    for (p = skip_space(p); *p; p = skip_space(p)) {
        size_t len = strcspn(p, " \t,=");
        const char *word = p;

        p += len;
        if (*p == '=') {
            char *value;

            p++;
            value = read_value(&p);
            if (in_bearer)
                set_param(c, word, len, value);
            else
                free(value);
            continue;
        }
        in_bearer = len == 6 && strncasecmp(word, "Bearer", 6) == 0 && !seen_bearer;
        c->bearer = c->bearer || in_bearer;
        c->basic = c->basic || (len == 5 && strncasecmp(word, "Basic", 5) == 0);
    }
}

void challenge_parse(const struct strlist *headers, struct challenge *ret)
{
    *ret = (struct challenge){0};
    for (size_t i = 0; i < headers->len; i++)
        parse_one(ret, headers->items[i]);
}
