#include "translate/dockerfile/config.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SCRATCH_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define MAX_DEPTH    64 /* nesting of a configuration's text; jansson itself stops at 2048 */

json_t *df_config_new(void)
{
    return json_pack("{s:s, s:s, s:{s:[s], s:s}, s:{s:s, s:[]}}", "architecture", "amd64", "os", "linux", "config",
                     "Env", SCRATCH_PATH, "WorkingDir", "/", "rootfs", "type", "layers", "diff_ids");
}

void df_config_freep(json_t **config)
{
    json_decref(*config);
    *config = NULL;
}

/* The object that instructions change, made when it is not there. */
static json_t *inner(json_t *config)
{
    json_t *c = json_object_get(config, "config");

    if (!json_is_object(c)) {
        c = json_object();
        json_object_set_new(config, "config", c);
    }
    return c;
}

/* ---- reading ---- */

static bool null_or_string(const json_t *j)
{
    return !j || json_is_null(j) || json_is_string(j);
}

static bool null_or_strings(const json_t *j)
{
    const json_t *item;
    size_t i;

    if (!j || json_is_null(j))
        return true;
    if (!json_is_array(j))
        return false;
    json_array_foreach(j, i, item)
    {
        if (!json_is_string(item))
            return false;
    }
    return true;
}

static bool null_or_object(const json_t *j)
{
    return !j || json_is_null(j) || json_is_object(j);
}

/* "sha256:" and 64 lower case hex digits. */
static bool is_digest(const char *s)
{
    return s && strncmp(s, "sha256:", 7) == 0 && strspn(s + 7, "0123456789abcdef") == 64 && !s[71];
}

/* The name of the first member of "config" that has a wrong type, or NULL. */
static const char *wrong_inner(const json_t *c)
{
    static const char *const strings[] = {"User", "WorkingDir", "StopSignal"};
    static const char *const lists[] = {"Entrypoint", "Cmd", "Env", "OnBuild", "Shell"};
    static const char *const objects[] = {"ExposedPorts", "Volumes", "Labels", "Healthcheck"};

    if (!null_or_object(c))
        return "config";
    for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++) {
        if (!null_or_string(json_object_get(c, strings[i])))
            return strings[i];
    }
    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        if (!null_or_strings(json_object_get(c, lists[i])))
            return lists[i];
    }
    for (size_t i = 0; i < sizeof(objects) / sizeof(*objects); i++) {
        if (!null_or_object(json_object_get(c, objects[i])))
            return objects[i];
    }
    return NULL;
}

/* The name of the first member that has a wrong type, or NULL. */
static const char *wrong_member(json_t *config)
{
    const char *wrong = wrong_inner(json_object_get(config, "config")), *key;
    json_t *history = json_object_get(config, "history"), *rootfs = json_object_get(config, "rootfs"), *item;
    json_t *diff_ids = json_object_get(rootfs, "diff_ids");
    size_t i;

    if (wrong)
        return wrong;
    json_object_foreach(json_object_get(json_object_get(config, "config"), "Labels"), key, item)
    {
        if (!json_is_string(item))
            return "Labels";
    }
    if (history && !json_is_null(history) && !json_is_array(history))
        return "history";
    json_array_foreach(history, i, item)
    {
        if (!json_is_object(item))
            return "history";
    }
    if (!null_or_object(rootfs))
        return "rootfs";
    if (diff_ids && !json_is_null(diff_ids) && !json_is_array(diff_ids))
        return "diff_ids";
    json_array_foreach(diff_ids, i, item)
    {
        if (!is_digest(json_string_value(item)))
            return "diff_ids";
    }
    return NULL;
}

/* How deep a document's arrays and objects stand in each other: counted before it is parsed, strings left out. */
static bool too_deep(const char *text, size_t len)
{
    bool in_string = false;
    int depth = 0;

    for (size_t i = 0; i < len; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && (text[i] == '{' || text[i] == '['))
            depth++;
        else if (!in_string && (text[i] == '}' || text[i] == ']'))
            depth--;
        if (depth > MAX_DEPTH)
            return true;
    }
    return false;
}

json_t *df_config_load(const char *text, size_t len, struct err *err)
{
    json_error_t why = {.text = "it is nested too deeply"};
    json_t *j = too_deep(text, len) ? NULL : json_loadb(text, len, 0, &why);
    const char *wrong = j ? (json_is_object(j) ? wrong_member(j) : "top") : NULL;

    if (j && !wrong)
        return j;
    if (j)
        err_set(err, 0, "invalid image configuration: %s has the wrong type", wrong);
    else
        err_set(err, 0, "invalid image configuration: %s", why.text);
    if (err)
        err->code = EBADMSG;
    json_decref(j);
    return NULL;
}

const char *df_config_get(const json_t *config, const char *key)
{
    return json_string_value(json_object_get(json_object_get(config, "config"), key));
}

void df_config_list(const json_t *config, const char *key, struct strlist *ret)
{
    const json_t *item;
    size_t i;

    json_array_foreach(json_object_get(json_object_get(config, "config"), key), i, item)
        strlist_add(ret, json_string_value(item));
}

void df_config_diff_ids(const json_t *config, struct strlist *ret)
{
    const json_t *item;
    size_t i;

    json_array_foreach(json_object_get(json_object_get(config, "rootfs"), "diff_ids"), i, item)
        strlist_add(ret, json_string_value(item));
}

/* ---- changing ---- */

/* A text as JSON; bytes that are no UTF-8 become U+FFFD, as Go's encoder does. */
static json_t *text_of(const char *s)
{
    json_t *j = json_string(s);
    char *fixed, *to;

    if (j)
        return j;
    fixed = to = xmalloc(strlen(s) * 3 + 1);
    while (*s) {
        size_t len = 1;

        /* The shortest piece that is UTF-8; a character has four bytes at most. */
        for (; len <= 4 && s[len - 1]; len++) {
            j = json_stringn(s, len);
            if (j)
                break;
        }
        memcpy(to, j ? s : "\xef\xbf\xbd", j ? len : 3);
        to += j ? len : 3;
        s += j ? len : 1;
        json_decref(j);
        j = NULL;
    }
    *to = '\0';
    j = json_string(fixed);
    free(fixed);
    return j;
}

void df_config_set(json_t *config, const char *key, const char *value)
{
    if (value)
        json_object_set_new(inner(config), key, text_of(value));
    else
        json_object_del(inner(config), key);
}

void df_config_set_list(json_t *config, const char *key, const struct strlist *values)
{
    json_t *list;

    if (!values) {
        json_object_del(inner(config), key);
        return;
    }
    list = json_array();
    for (size_t i = 0; i < values->len; i++)
        json_array_append_new(list, text_of(values->items[i]));
    json_object_set_new(inner(config), key, list);
}

void df_config_put(json_t *config, const char *object, const char *key, const char *value_or_null)
{
    json_t *o = json_object_get(inner(config), object);
    json_t *name = text_of(key);

    if (!json_is_object(o)) {
        o = json_object();
        json_object_set_new(inner(config), object, o);
    }
    json_object_set_new(o, json_string_value(name), value_or_null ? text_of(value_or_null) : json_object());
    json_decref(name);
}

void df_config_add_history(json_t *config, const char *created_by, const char *created, bool empty_layer)
{
    json_t *history = json_object_get(config, "history"), *line = json_object();

    if (!json_is_array(history)) {
        history = json_array();
        json_object_set_new(config, "history", history);
    }
    if (created)
        json_object_set_new(line, "created", text_of(created));
    json_object_set_new(line, "created_by", text_of(created_by));
    json_object_set_new(line, "comment", json_string("buildkit.dockerfile.v0"));
    if (empty_layer)
        json_object_set_new(line, "empty_layer", json_true());
    json_array_append_new(history, line);
}

/* ---- writing ---- */

/* A shallow copy with the named members first, in that order; the others follow as they stand. */
static json_t *ordered(json_t *object, const char *const *names)
{
    json_t *ret = json_object(), *item;
    const char *key;

    for (; *names; names++) {
        item = json_object_get(object, *names);
        if (item)
            json_object_set(ret, *names, item);
    }
    json_object_foreach(object, key, item)
    {
        if (!json_object_get(ret, key))
            json_object_set(ret, key, item);
    }
    return ret;
}

/* Members by name: Go writes maps so. */
static json_t *sorted(json_t *object)
{
    cleanup_strlist struct strlist keys = STRLIST_INIT;
    const char *key;
    json_t *item;

    json_object_foreach(object, key, item) strlist_add(&keys, key);
    strlist_sort(&keys);
    return ordered(object, (const char *const *)strlist_argv(&keys));
}

static json_t *ordered_inner(json_t *config)
{
    static const char *const names[] = {"User",        "ExposedPorts", "Env",         "Entrypoint", "Cmd",
                                        "Volumes",     "WorkingDir",   "Labels",      "StopSignal", "ArgsEscaped",
                                        "Healthcheck", "OnBuild",      "StopTimeout", "Shell",      NULL};
    static const char *const maps[] = {"ExposedPorts", "Volumes", "Labels"};
    json_t *ret = ordered(config, names);

    for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++) {
        json_t *map = json_object_get(ret, maps[i]);

        if (json_is_object(map))
            json_object_set_new(ret, maps[i], sorted(map));
    }
    return ret;
}

char *df_config_text(const json_t *config)
{
    static const char *const history[] = {"created", "created_by", "author", "comment", "empty_layer", NULL};
    static const char *const rootfs[] = {"type", "diff_ids", NULL};
    json_t *top = sorted((json_t *)config), *list = json_object_get(top, "history"), *item, *copy;
    size_t i;
    char *text;

    if (json_is_object(json_object_get(top, "config")))
        json_object_set_new(top, "config", ordered_inner(json_object_get(top, "config")));
    if (json_is_object(json_object_get(top, "rootfs")))
        json_object_set_new(top, "rootfs", ordered(json_object_get(top, "rootfs"), rootfs));
    if (json_is_array(list)) {
        copy = json_array();
        json_array_foreach(list, i, item) json_array_append_new(copy, ordered(item, history));
        json_object_set_new(top, "history", copy);
    }
    text = json_dumps(top, JSON_COMPACT);
    json_decref(top);
    return text;
}
