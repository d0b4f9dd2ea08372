/*
 * From the canonical tree to the model: by the table of shapes each value gets the kind that docker compose holds it
 * in, keys stand in their order, and what is empty is left out.
 */
#include "translate/compose/bind.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/compose/settle.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static struct cnode *bind_value(const struct cnode *value, const struct shape *s, enum form form, const char *path,
                                struct err *err);

/* The one sentence for everything that cannot be made into the model. NULL. */
static struct cnode *fail(const char *path, struct err *err)
{
    cleanup_err struct err cause = ERR_INIT;

    if (strncmp(err->msg, "decoding failed", 15) == 0)
        return NULL;
    err_move(&cause, err);
    err_set(err, 0, "decoding failed due to the following error(s):\n\n'%s' %s", path, cause.msg);
    return NULL;
}

/* ---- the order of keys ---- */

static bool is_letter(unsigned char c)
{
    return isalpha(c) || c >= 0x80;
}

/* Digits from `at` on, as a number; *ret_end is behind them. A zero counts as a digit of what stood before it. */
static long long digits_at(const char *s, size_t at, long long start, size_t *ret_end)
{
    long long n = start;

    for (; isdigit((unsigned char)s[at]); at++)
        n = n < 1000000000000000LL ? n * 10 + (s[at] - '0') : n;
    *ret_end = at;
    return n;
}

int compose_name_order(const char *a, const char *b)
{
    bool digits = false;
    size_t i = 0, a_end, b_end;
    long long start = 0, an, bn;

    for (; a[i] && b[i] && a[i] == b[i]; i++)
        digits = isdigit((unsigned char)a[i]);
    if (!a[i] || !b[i])
        return a[i] ? 1 : b[i] ? -1 : 0;
    if (is_letter((unsigned char)a[i]) && is_letter((unsigned char)b[i]))
        return (unsigned char)a[i] < (unsigned char)b[i] ? -1 : 1;
    if (is_letter((unsigned char)a[i]))
        return digits ? -1 : 1;
    if (is_letter((unsigned char)b[i]))
        return digits ? 1 : -1;
    if (a[i] == '0' || b[i] == '0')
        for (size_t j = i; j-- > 0 && isdigit((unsigned char)a[j]);)
            if (a[j] != '0')
                start = 1;
    an = digits_at(a, i, start, &a_end);
    bn = digits_at(b, i, start, &b_end);
    if (an != bn)
        return an < bn ? -1 : 1;
    if (a_end != b_end)
        return a_end < b_end ? -1 : 1;
    return (unsigned char)a[i] < (unsigned char)b[i] ? -1 : 1;
}

struct entry {
    const char *key;
    struct cnode *item;
};

static int by_name(const void *a, const void *b)
{
    return compose_name_order(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

/* The children of a map by name; owned by caller, what they point to is borrowed. */
static struct entry *sorted(const struct cnode *map)
{
    struct entry *list = xreallocarray(NULL, map->len + 1, sizeof(*list));

    for (size_t i = 0; i < map->len; i++)
        list[i] = (struct entry){map->keys[i], map->items[i]};
    qsort(list, map->len, sizeof(*list), by_name);
    return list;
}

void compose_sort_keys(struct cnode *map)
{
    cleanup_free struct entry *list = NULL;
    struct cnode *copy;

    if (map->kind != CNODE_MAP || map->len < 2)
        return;
    list = sorted(map);
    copy = cnode_new(CNODE_MAP);
    for (size_t i = 0; i < map->len; i++)
        cnode_set(copy, list[i].key, list[i].item);
    for (size_t i = 0; i < map->len; i++)
        map->items[i] = NULL;
    cnode_swap_children(map, copy);
    cnode_free(copy);
}

void compose_sort(struct cnode *tree)
{
    for (size_t i = 0; i < tree->len; i++)
        compose_sort(tree->items[i]);
    compose_sort_keys(tree);
}

/* ---- lists and maps ---- */

static struct cnode *bind_strings(const struct cnode *value, const char *path, struct err *err)
{
    struct cnode *list = cnode_new(CNODE_LIST);

    if (value->kind != CNODE_LIST && value->kind != CNODE_NULL && value->kind != CNODE_MAP)
        cnode_add(list, cnode_string(value->text));
    for (size_t i = 0; value->kind == CNODE_LIST && i < value->len; i++) {
        cleanup_free char *text = compose_print_value(value->items[i]);

        if (value->items[i]->kind == CNODE_MAP || value->items[i]->kind == CNODE_LIST) {
            err_set(err, 0, "invalid type for string list");
            cnode_free(list);
            return fail(path, err);
        }
        cnode_add(list, cnode_string(text));
    }
    return list;
}

/* command and entrypoint: NULL is "not said", so it is left out. */
static struct cnode *bind_words(const struct cnode *value, const char *path, struct err *err)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    struct cnode *list;

    if (value->kind == CNODE_LIST)
        return bind_strings(value, path, err);
    if (value->kind != CNODE_STRING)
        return cnode_new(CNODE_NULL);
    if (shell_words(value->text, &words, err))
        return fail(path, err);
    list = cnode_new(CNODE_LIST);
    for (size_t i = 0; i < words.len; i++)
        cnode_add(list, cnode_string(words.items[i]));
    return list;
}

static struct cnode *bind_test(const struct cnode *value, const char *path, struct err *err)
{
    struct cnode *list;

    if (value->kind == CNODE_LIST)
        return bind_strings(value, path, err);
    list = cnode_new(CNODE_LIST);
    if (value->kind == CNODE_STRING) {
        cnode_add(list, cnode_string("CMD-SHELL"));
        cnode_add(list, cnode_string(value->text));
    }
    return list;
}

static struct cnode *bind_sorted(struct cnode *map)
{
    if (map)
        compose_sort_keys(map);
    return map;
}

/* A list for each option of a provider. */
static struct cnode *bind_lists(const struct cnode *value, const char *path, struct err *err)
{
    struct cnode *map = cnode_new(CNODE_MAP);

    for (size_t i = 0; value->kind == CNODE_MAP && i < value->len; i++) {
        cleanup_free char *text = compose_print_value(value->items[i]);
        struct cnode *list;

        if (value->items[i]->kind == CNODE_LIST) {
            list = bind_strings(value->items[i], path, err);
        } else {
            list = cnode_new(CNODE_LIST);
            cnode_add(list, cnode_string(text));
        }
        if (!list) {
            cnode_free(map);
            return NULL;
        }
        cnode_set(map, value->keys[i], list);
    }
    return bind_sorted(map);
}

/* "path", or {path, required: false} */
static struct cnode *bind_env_files(const struct cnode *value)
{
    struct cnode *list = cnode_new(CNODE_LIST);

    for (size_t i = 0; value->kind == CNODE_LIST && i < value->len; i++) {
        const struct cnode *file = value->items[i];
        const char *path = cnode_str(file, "path"), *required = cnode_str(file, "required");
        struct cnode *map;

        if (!required || strcmp(required, "true") == 0) {
            cnode_add(list, cnode_string(path ? path : ""));
            continue;
        }
        map = cnode_new(CNODE_MAP);
        cnode_set(map, "path", cnode_string(path ? path : ""));
        cnode_set(map, "required", cnode_bool(false));
        if (cnode_str(file, "format"))
            cnode_set(map, "format", cnode_string(cnode_str(file, "format")));
        cnode_add(list, map);
    }
    return list;
}

static struct cnode *bind_ssh(const struct cnode *value)
{
    struct cnode *list = cnode_new(CNODE_LIST);

    for (size_t i = 0; value->kind == CNODE_MAP && i < value->len; i++) {
        const char *path = cnode_text(value->items[i]);
        cleanup_free char *both = xasprintf("%s%s%s", value->keys[i], path ? ": " : "", path ? path : "");

        cnode_add(list, cnode_string(both));
    }
    return list;
}

/* ---- objects ---- */

static bool is_zero(const struct cnode *n, enum form form)
{
    switch (form) {
    case FORM_BOOL_KEPT:
    case FORM_INT_KEPT:
    case FORM_DURATION_KEPT:
    case FORM_OBJECT_KEPT:
    case FORM_MODE:
        return n->kind == CNODE_NULL;
    case FORM_WORDS:
        return n->kind != CNODE_LIST;
    case FORM_BOOL:
    case FORM_EXTERNAL:
        return strcmp(n->text, "false") == 0;
    case FORM_INT:
    case FORM_COUNT:
    case FORM_BYTES:
    case FORM_FLOAT:
        return strtod(n->text, NULL) == 0;
    case FORM_DURATION:
        return strcmp(n->text, "0s") == 0;
    case FORM_STRING:
        return !n->text || !*n->text;
    default:
        return n->len == 0;
    }
}

static struct cnode *bind_object(const struct cnode *value, const struct shape *s, const char *path, struct err *err)
{
    const struct shape *object = shape_as(s, TYPE_OBJECT);
    struct cnode *map = cnode_new(CNODE_MAP);
    cleanup_free struct entry *extra = NULL;

    for (const struct key *k = object->keys; k && k->name; k++) {
        const struct cnode *from = cnode_get(value, k->name);
        cleanup_free char *below = xasprintf("%s%s%s", path, *path ? "." : "", k->name);
        struct cnode *to;

        if (k->form == FORM_NONE || (!from && !(k->flags & KEY_ALWAYS)))
            continue;
        if (!from)
            to = k->form == FORM_BOOL     ? cnode_bool(false)
                 : k->form == FORM_STRING ? cnode_string("")
                 : k->form == FORM_NAMED  ? cnode_new(CNODE_MAP)
                                          : cnode_int(0);
        else
            to = bind_value(from, k->shape, k->form, below, err);
        if (!to) {
            cnode_free(map);
            return NULL;
        }
        if (from)
            cnode_place(to, from);
        if (is_zero(to, k->form) && !(k->flags & KEY_ALWAYS))
            cnode_free(to);
        else
            cnode_set(map, k->name, to);
    }
    if (value->kind != CNODE_MAP)
        return map;
    extra = sorted(value);
    for (size_t i = 0; i < value->len; i++) {
        if (!shape_is_extension(extra[i].key))
            continue;
        cnode_set(map, extra[i].key, cnode_copy(extra[i].item));
        compose_sort(cnode_get(map, extra[i].key));
    }
    return map;
}

static struct cnode *bind_objects(const struct cnode *value, const struct shape *s, const char *path, struct err *err)
{
    const struct shape *array = shape_as(s, TYPE_ARRAY);
    struct cnode *list = cnode_new(CNODE_LIST);

    for (size_t i = 0; value->kind == CNODE_LIST && i < value->len; i++) {
        cleanup_free char *below = xasprintf("%s[%zu]", path, i);
        struct cnode *item = bind_object(value->items[i], array->item, below, err);

        if (!item) {
            cnode_free(list);
            return NULL;
        }
        cnode_place(item, value->items[i]);
        cnode_add(list, item);
    }
    return list;
}

static struct cnode *bind_named(const struct cnode *value, const struct shape *s, bool null, const char *path,
                                struct err *err)
{
    const struct shape *names = shape_as(s, TYPE_OBJECT);
    struct cnode *map = cnode_new(CNODE_MAP);
    cleanup_free struct entry *list = NULL;

    if (value->kind != CNODE_MAP)
        return map;
    list = sorted(value);
    for (size_t i = 0; i < value->len; i++) {
        cleanup_free char *below = xasprintf("%s[%s]", path, list[i].key);
        struct cnode *item = null && list[i].item->kind == CNODE_NULL
                                 ? cnode_new(CNODE_NULL)
                                 : bind_object(list[i].item, names->item, below, err);

        if (!item) {
            cnode_free(map);
            return NULL;
        }
        cnode_place(item, list[i].item);
        cnode_set(map, list[i].key, item);
    }
    return map;
}

static struct cnode *bind_ulimits(const struct cnode *value, const struct shape *s, const char *path, struct err *err)
{
    const struct shape *names = shape_as(s, TYPE_OBJECT);
    struct cnode *map = cnode_new(CNODE_MAP);

    for (size_t i = 0; value->kind == CNODE_MAP && i < value->len; i++) {
        cleanup_free char *below = xasprintf("%s[%s]", path, value->keys[i]);
        struct cnode *item = value->items[i]->kind == CNODE_MAP ? bind_object(value->items[i], names->item, below, err)
                                                                : bind_scalar(value->items[i], FORM_INT, err);

        if (!item) {
            cnode_free(map);
            return fail(below, err);
        }
        if (item->kind == CNODE_INT && strcmp(item->text, "0") == 0) { /* docker compose takes 0 for "not said" */
            cnode_free(item);
            item = cnode_new(CNODE_MAP);
            cnode_set(item, "soft", cnode_int(0));
            cnode_set(item, "hard", cnode_int(0));
        }
        cnode_set(map, value->keys[i], item);
    }
    return bind_sorted(map);
}

static struct cnode *bind_value(const struct cnode *value, const struct shape *s, enum form form, const char *path,
                                struct err *err)
{
    struct cnode *n;

    switch (form) {
    case FORM_STRINGS:
        return bind_strings(value, path, err);
    case FORM_WORDS:
        return bind_words(value, path, err);
    case FORM_TEST:
        return bind_test(value, path, err);
    case FORM_ENV:
    case FORM_MAPPING:
        n = bind_sorted(bind_env(value, form == FORM_ENV, err));
        return n ? n : fail(path, err);
    case FORM_LISTS:
        return bind_lists(value, path, err);
    case FORM_HOSTS:
        n = bind_hosts(value, err);
        return n ? n : fail(path, err);
    case FORM_OBJECT:
    case FORM_OBJECT_KEPT:
        return value->kind == CNODE_NULL ? cnode_new(form == FORM_OBJECT ? CNODE_MAP : CNODE_NULL)
                                         : bind_object(value, s, path, err);
    case FORM_OBJECTS:
        return bind_objects(value, s, path, err);
    case FORM_NAMED:
    case FORM_NAMED_OR_NULL:
        return bind_named(value, s, form == FORM_NAMED_OR_NULL, path, err);
    case FORM_ULIMITS:
        return bind_ulimits(value, s, path, err);
    case FORM_ENV_FILES:
        return bind_env_files(value);
    case FORM_SSH:
        return bind_ssh(value);
    default:
        n = bind_scalar(value, form, err);
        return n ? n : fail(path, err);
    }
}

struct cnode *compose_bind(const struct cnode *tree, struct err *err)
{
    return bind_object(tree, &compose_shape, "", err);
}

static void order_keys(struct cnode *object, const struct shape *s)
{
    const struct shape *known = shape_as(s, TYPE_OBJECT);
    struct cnode *made = cnode_new(CNODE_MAP);

    for (const struct key *k = known->keys; k && k->name; k++) {
        struct cnode *value = cnode_take(object, k->name);

        if (value)
            cnode_set(made, k->name, value);
    }
    while (object->len > 0) {
        cleanup_free char *key = xstrdup(object->keys[0]);

        cnode_set(made, key, cnode_take(object, key));
    }
    cnode_swap_children(object, made);
    cnode_free(made);
}

void compose_order_keys(struct cnode *object, const char *section)
{
    const struct key *key = shape_key(&compose_shape, section);
    struct cnode *deploy = cnode_get(object, "deploy");

    if (!key)
        return;
    order_keys(object, shape_as(key->shape, TYPE_OBJECT)->item);
    if (strcmp(section, "services") == 0 && cnode_is(deploy, CNODE_MAP))
        order_keys(deploy, shape_key(shape_as(key->shape, TYPE_OBJECT)->item, "deploy")->shape);
}
