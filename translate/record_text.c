#include "translate/record_text.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/quote.h"
#include "translate/record.h"

#include <string.h>

#define REPLACEMENT 0xFFFDu

/* The text with every byte that is no UTF-8 replaced. */
static json_t *repaired(const char *s)
{
    cleanup_buf struct buf text = BUF_INIT(3 * strlen(s));
    size_t len = strlen(s), used;

    for (; len > 0; s += used, len -= used) {
        uint32_t rune;

        used = rune_decode(s, len, &rune);
        if (rune == RUNE_INVALID)
            rune_encode(&text, REPLACEMENT);
        else
            buf_add(&text, s, used);
    }
    return json_string(text.data);
}

json_t *record_shown(const char *s)
{
    json_t *value;

    if (!s)
        return json_null();
    value = json_string(s);
    return value ? value : repaired(s);
}

json_t *record_shown_list(const struct strlist *list)
{
    json_t *array;

    if (list->len == 0)
        return json_null();
    array = json_array();
    for (size_t i = 0; i < list->len; i++)
        json_array_append_new(array, record_shown(list->items[i]));
    return array;
}

json_t *record_map(const struct strlist *list)
{
    json_t *map = json_object();

    for (size_t i = 0; i < list->len; i++) {
        json_t *whole = record_shown(list->items[i]);
        const char *text = json_string_value(whole);
        cleanup_free char *key = xstrndup(text, strcspn(text, "="));

        json_object_set_new(map, key, json_string(text[strlen(key)] ? text + strlen(key) + 1 : ""));
        json_decref(whole);
    }
    return map;
}

static bool is_utf8(const char *s)
{
    json_t *value = json_string(s);

    json_decref(value);
    return value != NULL;
}

/* The bytes with %XX for '%' and everything that is not printable ASCII. */
static json_t *escaped(const char *s)
{
    cleanup_buf struct buf text = BUF_INIT(3 * strlen(s));

    for (; *s; s++) {
        if (*s > ' ' && *s <= '~' && *s != '%')
            buf_addc(&text, *s);
        else
            buf_addf(&text, "%%%02X", (unsigned char)*s);
    }
    return json_string(text.data);
}

/* The value of a hexadecimal digit, -1 for anything else. */
static int hex(char c)
{
    const char *digits = "0123456789ABCDEF", *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* The bytes again, owned by caller; NULL when the text was not made by escaped(). */
static char *unescaped(const char *s)
{
    cleanup_buf struct buf bytes = BUF_INIT(strlen(s));

    for (; *s; s++) {
        int high, low;

        if (*s != '%') {
            buf_addc(&bytes, *s);
            continue;
        }
        high = hex(s[1]);
        low = high < 0 ? -1 : hex(s[2]);
        if (low < 0 || high + low == 0)
            return NULL;
        buf_addc(&bytes, (char)(high << 4 | low));
        s += 2;
    }
    return buf_detach(&bytes);
}

/* "Config.Env"; owned by caller. */
static char *path_of(const char *section, const char *key)
{
    return xasprintf("%s%s%s", section, *section ? "." : "", key);
}

void record_put(json_t *bytes, json_t *object, const char *section, const char *key, const char *value)
{
    json_object_set_new(object, key, record_shown(value));
    if (value && !is_utf8(value)) {
        cleanup_free char *path = path_of(section, key);

        json_object_set_new(bytes, path, escaped(value));
    }
}

void record_put_list(json_t *bytes, json_t *object, const char *section, const char *key, const struct strlist *list)
{
    cleanup_free char *path = path_of(section, key);
    bool plain = true;
    json_t *array;

    json_object_set_new(object, key, record_shown_list(list));
    for (size_t i = 0; i < list->len; i++)
        plain = plain && is_utf8(list->items[i]);
    if (plain)
        return;
    array = json_array();
    for (size_t i = 0; i < list->len; i++)
        json_array_append_new(array, escaped(list->items[i]));
    json_object_set_new(bytes, path, array);
}

static int wrong(const char *field, const char *wanted, struct err *err)
{
    return err_set(err, 125, "container record: %s is not %s", field, wanted);
}

int record_get(const json_t *bytes, const json_t *object, const char *section, const char *key, char **ret,
               struct err *err)
{
    cleanup_free char *path = path_of(section, key);
    const json_t *exact = json_object_get(bytes, path), *value = exact ? exact : json_object_get(object, key);
    char *text;

    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return wrong(path, "a string", err);
    text = exact ? unescaped(json_string_value(value)) : xstrdup(json_string_value(value));
    if (!text)
        return wrong(path, "well escaped", err);
    free(*ret);
    *ret = text;
    return 0;
}

int record_get_list(const json_t *bytes, const json_t *object, const char *section, const char *key,
                    struct strlist *ret, struct err *err)
{
    cleanup_free char *path = path_of(section, key);
    const json_t *exact = json_object_get(bytes, path), *value = exact ? exact : json_object_get(object, key), *item;
    size_t i;

    if (!value || json_is_null(value))
        return 0;
    if (!json_is_array(value))
        return wrong(path, "a list", err);
    json_array_foreach(value, i, item)
    {
        char *text;

        if (!json_is_string(item))
            return wrong(path, "a list of strings", err);
        text = exact ? unescaped(json_string_value(item)) : xstrdup(json_string_value(item));
        if (!text)
            return wrong(path, "well escaped", err);
        strlist_add_owned(ret, text);
    }
    return 0;
}

int record_get_bool(const json_t *object, const char *key, bool *ret, struct err *err)
{
    const json_t *value = json_object_get(object, key);

    if (!value || json_is_null(value))
        return 0;
    if (!json_is_boolean(value))
        return wrong(key, "true or false", err);
    *ret = json_is_true(value);
    return 0;
}

int record_get_int(const json_t *object, const char *key, int64_t min, int64_t max, int64_t *ret, struct err *err)
{
    const json_t *value = json_object_get(object, key);

    if (!value || json_is_null(value))
        return 0;
    if (!json_is_integer(value))
        return wrong(key, "a whole number", err);
    if (json_integer_value(value) < min || json_integer_value(value) > max)
        return wrong(key, "within its range", err);
    *ret = json_integer_value(value);
    return 0;
}

int record_get_object(const json_t *object, const char *key, json_t **ret, struct err *err)
{
    json_t *value = json_object_get(object, key);

    if (!json_is_object(value))
        return wrong(key, "an object", err);
    *ret = value;
    return 0;
}
