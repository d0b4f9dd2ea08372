#include "backends/engine/img_config.h"

#include "backends/registry/client.h"
#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

json_t *img_config_new(void)
{
    return json_pack("{s:s, s:s, s:{}, s:{s:s, s:[]}}", "architecture", "amd64", "os", "linux", "config", "rootfs",
                     "type", "layers", "diff_ids");
}

void img_config_freep(json_t **config)
{
    json_decref(*config);
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

/* The name of the first member of a wrong type, or NULL. */
static const char *wrong_member(const json_t *config)
{
    static const char *const strings[] = {"User", "WorkingDir", "StopSignal"};
    static const char *const lists[] = {"Entrypoint", "Cmd", "Env"};
    const json_t *c = json_object_get(config, "config"), *item;
    size_t i;

    if (c && !json_is_null(c) && !json_is_object(c))
        return "config";
    for (i = 0; i < sizeof(strings) / sizeof(*strings); i++) {
        if (!null_or_string(json_object_get(c, strings[i])))
            return strings[i];
    }
    for (i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        if (!null_or_strings(json_object_get(c, lists[i])))
            return lists[i];
    }
    json_array_foreach(json_object_get(json_object_get(config, "rootfs"), "diff_ids"), i, item)
    {
        if (!digest_strip(json_string_value(item)))
            return "diff_ids";
    }
    return NULL;
}

json_t *img_config_load(const char *text, size_t len, struct err *err)
{
    json_error_t why;
    json_t *j = json_loadb(text, len, 0, &why);
    const char *wrong = j ? (json_is_object(j) ? wrong_member(j) : "top") : NULL;

    if (j && !wrong)
        return j;
    if (j)
        err_set(err, 0, "invalid image configuration: %s has the wrong type", wrong);
    else
        err_set(err, 0, "invalid image configuration: %s", why.text);
    if (err)
        err->code = REGISTRY_CORRUPT;
    json_decref(j);
    return NULL;
}

const char *img_config_get(const json_t *config, const char *key)
{
    return json_string_value(json_object_get(json_object_get(config, "config"), key));
}

void img_config_set(json_t *config, const char *key, const char *value)
{
    if (value)
        json_object_set_new(inner(config), key, json_string(value));
    else
        json_object_del(inner(config), key);
}

void img_config_list(const json_t *config, const char *key, struct strlist *ret)
{
    const json_t *item;
    size_t i;

    json_array_foreach(json_object_get(json_object_get(config, "config"), key), i, item)
        strlist_add(ret, json_string_value(item));
}

void img_config_set_list(json_t *config, const char *key, const struct strlist *values)
{
    json_t *list;

    if (!values) {
        json_object_del(inner(config), key);
        return;
    }
    list = json_array();
    for (size_t i = 0; i < values->len; i++)
        json_array_append_new(list, json_string(values->items[i]));
    json_object_set_new(inner(config), key, list);
}

void img_config_put(json_t *config, const char *object, const char *key, const char *value_or_null)
{
    json_t *o = json_object_get(inner(config), object);

    if (!json_is_object(o)) {
        o = json_object();
        json_object_set_new(inner(config), object, o);
    }
    json_object_set_new(o, key, value_or_null ? json_string(value_or_null) : json_object());
}

void img_config_diff_ids(const json_t *config, struct strlist *ret)
{
    const json_t *item;
    size_t i;

    json_array_foreach(json_object_get(json_object_get(config, "rootfs"), "diff_ids"), i, item)
        strlist_add(ret, json_string_value(item));
}

/* An empty string counts as not set, as everywhere in Docker. */
static char *set_or_null(const char *s)
{
    return s && *s ? xstrdup(s) : NULL;
}

void img_config_read(const json_t *config, struct image_config *ret)
{
    img_config_list(config, "Entrypoint", &ret->entrypoint);
    img_config_list(config, "Cmd", &ret->cmd);
    img_config_list(config, "Env", &ret->env);
    ret->workdir = set_or_null(img_config_get(config, "WorkingDir"));
    ret->user = set_or_null(img_config_get(config, "User"));
}

void img_image_config_clear(struct image_config *c)
{
    strlist_clear(&c->entrypoint);
    strlist_clear(&c->cmd);
    strlist_clear(&c->env);
    free(c->workdir);
    free(c->user);
    *c = (struct image_config){0};
}
