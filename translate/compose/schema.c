/*
 * The check of a file against the specification, by the table of shapes. Of all faults the one that lies deepest is
 * told, the first of several, as docker compose does; a key too many counts as one deeper.
 */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/quote.h"
#include "translate/compose/render.h"
#include "translate/compose/shape.h"

#include <ctype.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 65536
#define KEYS_TOLD   16384 /* bytes of a list of unknown keys: the rest is counted */
#define NAME_TOLD   1024  /* bytes of one name */

struct place {
    const struct place *before;
    const char *name;
    int depth;
};

struct fault {
    int depth; /* of what is told, -1: nothing yet */
    char *text;
};

static const struct {
    unsigned type;
    const char *name;
} type_names[] = {{TYPE_ARRAY, "array"}, {TYPE_BOOLEAN, "boolean"}, {TYPE_INTEGER, "integer"}, {TYPE_OBJECT, "mapping"},
                  {TYPE_NULL, "null"},   {TYPE_NUMBER, "number"},   {TYPE_STRING, "string"}};

static void add_place(struct buf *out, const struct place *at)
{
    if (!at->before)
        return;
    add_place(out, at->before);
    if (out->len)
        buf_addc(out, '.');
    buf_addf(out, "%.*s", NAME_TOLD, at->name);
}

/* Keeps the fault if it lies deeper than what is known. */
static void tell(struct fault *f, const struct place *at, int more, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void tell(struct fault *f, const struct place *at, int more, const char *fmt, ...)
{
    cleanup_buf struct buf out = BUF_INIT(MESSAGE_MAX);
    va_list ap;

    if (at->depth + more <= f->depth)
        return;
    add_place(&out, at);
    buf_addc(&out, ' ');
    va_start(ap, fmt);
    buf_vaddf(&out, fmt, ap);
    va_end(ap);
    free(f->text);
    f->text = buf_detach(&out);
    f->depth = at->depth + more;
}

static unsigned type_of(const struct cnode *n)
{
    switch (n->kind) {
    case CNODE_NULL:
        return TYPE_NULL;
    case CNODE_BOOL:
        return TYPE_BOOLEAN;
    case CNODE_INT:
        return TYPE_INTEGER | TYPE_NUMBER;
    case CNODE_FLOAT:
        return strpbrk(n->text, ".naIN") || strstr(n->text, "e-") ? TYPE_NUMBER : TYPE_NUMBER | TYPE_INTEGER;
    case CNODE_STRING:
        return TYPE_STRING;
    case CNODE_LIST:
        return TYPE_ARRAY;
    case CNODE_MAP:
        return TYPE_OBJECT;
    }
    return 0;
}

/* "must be a boolean, integer or string" */
static void tell_type(struct fault *f, const struct place *at, unsigned types)
{
    cleanup_buf struct buf out = BUF_INIT(MESSAGE_MAX);
    unsigned left = types;

    for (size_t i = 0; i < sizeof(type_names) / sizeof(*type_names); i++) {
        if (!(types & type_names[i].type))
            continue;
        left &= ~type_names[i].type;
        buf_addf(&out, "%s%s", out.len == 0 ? "" : left ? ", " : " or ", type_names[i].name);
    }
    tell(f, at, 0, "must be a %s", out.data);
}

/* 'x' as the validator quotes: Go's escapes, but the other quotes. */
static void add_quoted(struct buf *out, const char *s)
{
    cleanup_free char *told = xstrndup(s, NAME_TOLD);
    cleanup_free char *q = quote_go_str(told);
    size_t len = strlen(q);

    buf_addc(out, '\'');
    for (size_t i = 1; i + 1 < len; i++) {
        if (q[i] == '\\' && q[i + 1] == '"')
            continue;
        if (q[i] == '\'')
            buf_addc(out, '\\');
        buf_addc(out, q[i]);
        if (q[i] == '\\')
            buf_addc(out, q[++i]);
    }
    buf_addc(out, '\'');
}

/* Whether word is one of "a|b|c". */
static bool among(const char *words, const char *word)
{
    size_t len = strlen(word);

    for (const char *p = words;; p++) {
        const char *end = strchrnul(p, '|');

        if ((size_t)(end - p) == len && memcmp(p, word, len) == 0)
            return true;
        if (!*end)
            return false;
        p = end;
    }
}

/* 'a', 'b' or 'c' */
static void tell_words(struct fault *f, const struct place *at, const char *words)
{
    cleanup_buf struct buf out = BUF_INIT(MESSAGE_MAX);

    if (!strchr(words, '|')) {
        tell(f, at, 0, "value must be '%s'", words);
        return;
    }
    for (const char *p = words;; p++) {
        const char *end = strchrnul(p, '|');

        buf_addf(&out, "%s'%.*s'", out.len ? ", " : "", (int)(end - p), p);
        if (!*end)
            break;
        p = end;
    }
    tell(f, at, 0, "value must be one of %s", out.data);
}

static bool matches(const char *pattern, const char *s)
{
    regex_t re;
    bool yes;

    if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    yes = regexec(&re, s, 0, NULL, 0) == 0;
    regfree(&re);
    return yes;
}

/* Whether a free name may stand there. */
static bool name_fits(const char *names, const char *name)
{
    if (strcmp(names, NAMES_ANY) == 0)
        return *name && *name != '\n';
    if (!*name)
        return false;
    for (; *name; name++) {
        if (strcmp(names, NAMES_LOWER) == 0 ? !(*name >= 'a' && *name <= 'z')
                                            : !(isalnum((unsigned char)*name) || strchr("._-", *name)))
            return false;
    }
    return true;
}

static void check(struct fault *f, const struct place *at, const struct shape *s, const struct cnode *n);

static void check_required(struct fault *f, const struct place *at, const char *required, const struct cnode *map)
{
    cleanup_buf struct buf missing = BUF_INIT(MESSAGE_MAX);
    size_t count = 0;

    for (const char *p = required;; p++) {
        const char *end = strchrnul(p, '|');
        cleanup_free char *name = xstrndup(p, (size_t)(end - p));

        if (!cnode_get(map, name))
            buf_addf(&missing, "%s'%s'", count++ ? ", " : "", name);
        if (!*end)
            break;
        p = end;
    }
    if (count)
        tell(f, at, 0, "missing propert%s %s", count > 1 ? "ies" : "y", missing.data);
}

static void check_map(struct fault *f, const struct place *at, const struct shape *s, const struct cnode *map)
{
    cleanup_buf struct buf extra = BUF_INIT(MESSAGE_MAX);
    size_t untold = 0;

    if (s->required)
        check_required(f, at, s->required, map);
    for (size_t i = 0; i < map->len; i++) {
        struct place below = {at, map->keys[i], at->depth + 1};
        const struct key *known = s->keys ? shape_key(s, map->keys[i]) : NULL;

        if (known) {
            check(f, &below, known->shape, map->items[i]);
        } else if (s->names && name_fits(s->names, map->keys[i])) {
            if (s->item)
                check(f, &below, s->item, map->items[i]);
        } else if (!s->open && (s->no_x || !shape_is_extension(map->keys[i]))) {
            if (extra.len > KEYS_TOLD) {
                untold++;
                continue;
            }
            buf_adds(&extra, extra.len ? ", " : "");
            add_quoted(&extra, map->keys[i]);
        }
    }
    if (untold)
        buf_addf(&extra, " and %zu more", untold);
    if (extra.len)
        tell(f, at, 1, "additional properties %s not allowed", extra.data);
}

struct entry {
    struct buf text;
    size_t at;
};

static int by_text(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = strcmp(x->text.data, y->text.data);

    return order ? order : (x->at > y->at) - (x->at < y->at);
}

/* The first item that was there before, and where. Sorted, as a list may be very long. */
static bool find_twice(const struct cnode *list, size_t *ret_first, size_t *ret_again)
{
    struct entry *entries = xcalloc(list->len + 1, sizeof(*entries));
    size_t first = 0;
    bool found = false;

    for (size_t i = 0; i < list->len; i++) {
        buf_init(&entries[i].text, LIMIT_CONFIG_FILE * 6);
        json_node(&entries[i].text, list->items[i], /* depth= */ -1);
        entries[i].at = i;
    }
    qsort(entries, list->len, sizeof(*entries), by_text);
    for (size_t i = 1; i < list->len; i++) {
        if (strcmp(entries[i].text.data, entries[first].text.data) != 0) {
            first = i;
        } else if (i == first + 1 && (!found || entries[i].at < *ret_again)) {
            *ret_first = entries[first].at;
            *ret_again = entries[i].at;
            found = true;
        }
    }
    for (size_t i = 0; i < list->len; i++)
        buf_clear(&entries[i].text);
    free(entries);
    return found;
}

static void check_list(struct fault *f, const struct place *at, const struct shape *s, const struct cnode *list)
{
    size_t first, again;

    if (s->unique && list->len > 1 && find_twice(list, &first, &again))
        tell(f, at, 0, "items at %zu and %zu are equal", first, again);
    for (size_t i = 0; s->item && i < list->len; i++) {
        cleanup_free char *index = xasprintf("%zu", i);
        struct place below = {at, index, at->depth + 1};

        check(f, &below, s->item, list->items[i]);
    }
}

static void check_scalar(struct fault *f, const struct place *at, const struct shape *s, const struct cnode *n)
{
    const char *text = n->text ? n->text : "";

    if (s->words && !among(s->words, text))
        tell_words(f, at, s->words);
    if (s->pattern && n->kind == CNODE_STRING && !matches(s->pattern, text)) {
        cleanup_buf struct buf out = BUF_INIT(MESSAGE_MAX);

        add_quoted(&out, text);
        buf_adds(&out, " does not match pattern ");
        add_quoted(&out, s->pattern);
        tell(f, at, 0, "%s", out.data);
    }
    if (s->max > s->min && n->kind == CNODE_INT) {
        if (strtol(text, NULL, 10) < s->min)
            tell(f, at, 0, "must be greater than or equal to %ld", s->min);
        else if (strtol(text, NULL, 10) > s->max)
            tell(f, at, 0, "must be less than or equal to %ld", s->max);
    }
}

/* An alternative that fits says nothing; when none does, the faults of all of them count. */
static void check_one_of(struct fault *f, const struct place *at, const struct shape *s, const struct cnode *n)
{
    size_t count = sizeof(s->one_of) / sizeof(*s->one_of);

    for (size_t i = 0; i < count && s->one_of[i]; i++) {
        struct fault quiet = {-1, NULL};

        check(&quiet, at, s->one_of[i], n);
        free(quiet.text);
        if (quiet.depth < 0)
            return;
    }
    for (size_t i = 0; i < count && s->one_of[i]; i++)
        check(f, at, s->one_of[i], n);
}

static void check(struct fault *f, const struct place *at, const struct shape *s, const struct cnode *n)
{
    if (s->one_of[0]) {
        check_one_of(f, at, s, n);
        return;
    }
    if (!(s->types & type_of(n))) {
        tell_type(f, at, s->types);
        return;
    }
    if (n->kind == CNODE_MAP)
        check_map(f, at, s, n);
    else if (n->kind == CNODE_LIST)
        check_list(f, at, s, n);
    else
        check_scalar(f, at, s, n);
}

int compose_schema_check(const struct cnode *file, struct err *err)
{
    struct place top = {NULL, "", 0};
    struct fault f = {-1, NULL};
    int r;

    check(&f, &top, &compose_shape, file);
    if (f.depth < 0)
        return 0;
    r = err_set(err, 0, "%s", f.text);
    free(f.text);
    return r;
}
