#include "translate/image_config.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

void oci_config_clear(struct oci_config *c)
{
    strlist_clear(&c->entrypoint);
    strlist_clear(&c->cmd);
    strlist_clear(&c->env);
    strlist_clear(&c->labels);
    strlist_clear(&c->shell);
    strlist_clear(&c->volumes);
    strlist_clear(&c->exposed_ports);
    free(c->workdir);
    free(c->user);
    free(c->stop_signal);
    free(c->healthcheck);
    free(c->os);
    free(c->architecture);
    free(c->variant);
    *c = (struct oci_config){0};
}

static int wrong_type(const char *field, const char *wanted, struct err *err)
{
    return err_set(err, 125, "image configuration: %s is not %s", field, wanted);
}

/* A missing field and null are the same: the image does not say. */
static json_t *get(const json_t *object, const char *field)
{
    json_t *value = json_object_get(object, field);

    return json_is_null(value) ? NULL : value;
}

static int read_string(const json_t *object, const char *field, char **ret, struct err *err)
{
    const json_t *value = get(object, field);

    if (!value)
        return 0;
    if (!json_is_string(value))
        return wrong_type(field, "a string", err);
    if (json_string_length(value) > 0)
        *ret = xstrdup(json_string_value(value));
    return 0;
}

/* A list of strings; old images have a single string in the place of a list of one. */
static int read_list(const json_t *object, const char *field, struct strlist *ret, struct err *err)
{
    const json_t *value = get(object, field);

    if (json_is_string(value)) {
        strlist_add(ret, json_string_value(value));
        return 0;
    }
    if (value && !json_is_array(value))
        return wrong_type(field, "a list of strings", err);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);

        if (!json_is_string(item))
            return wrong_type(field, "a list of strings", err);
        strlist_add(ret, json_string_value(item));
    }
    return 0;
}

/* The keys of an object whose values say nothing (Volumes, ExposedPorts). */
static int read_keys(const json_t *object, const char *field, struct strlist *ret, struct err *err)
{
    json_t *value = get(object, field);

    if (value && !json_is_object(value))
        return wrong_type(field, "an object", err);
    for (void *it = json_object_iter(value); it; it = json_object_iter_next(value, it))
        strlist_add(ret, json_object_iter_key(it));
    return 0;
}

static int read_map(const json_t *object, const char *field, struct strlist *ret, struct err *err)
{
    json_t *value = get(object, field);

    if (value && !json_is_object(value))
        return wrong_type(field, "an object of strings", err);
    for (void *it = json_object_iter(value); it; it = json_object_iter_next(value, it)) {
        const json_t *item = json_object_iter_value(it);

        if (!json_is_string(item))
            return wrong_type(field, "an object of strings", err);
        strlist_addf(ret, "%s=%s", json_object_iter_key(it), json_string_value(item));
    }
    return 0;
}

static int read_raw(const json_t *object, const char *field, char **ret, struct err *err)
{
    const json_t *value = get(object, field);

    if (!value)
        return 0;
    if (!json_is_object(value))
        return wrong_type(field, "an object", err);
    *ret = json_dumps(value, JSON_COMPACT);
    return 0;
}

/* The fields below "config" of a blob, at the top of image.json. */
static int read_config(const json_t *config, struct oci_config *c, struct err *err)
{
    if (read_list(config, "Entrypoint", &c->entrypoint, err) < 0 || read_list(config, "Cmd", &c->cmd, err) < 0 ||
        read_list(config, "Env", &c->env, err) < 0 || read_list(config, "Shell", &c->shell, err) < 0 ||
        read_map(config, "Labels", &c->labels, err) < 0 || read_keys(config, "Volumes", &c->volumes, err) < 0 ||
        read_keys(config, "ExposedPorts", &c->exposed_ports, err) < 0 ||
        read_string(config, "WorkingDir", &c->workdir, err) < 0 || read_string(config, "User", &c->user, err) < 0 ||
        read_string(config, "StopSignal", &c->stop_signal, err) < 0 ||
        read_raw(config, "Healthcheck", &c->healthcheck, err) < 0)
        return -1;
    return 0;
}

static int read_all(const json_t *root, struct oci_config *c, struct err *err)
{
    const json_t *config = json_object_get(root, "config");

    if (!json_is_object(root))
        return err_set(err, 125, "image configuration: not a JSON object");
    if (read_string(root, "os", &c->os, err) < 0 || read_string(root, "architecture", &c->architecture, err) < 0 ||
        read_string(root, "variant", &c->variant, err) < 0)
        return -1;
    if (json_is_null(config))
        return 0;
    if (config && !json_is_object(config))
        return wrong_type("config", "an object", err);
    return read_config(config ? config : root, c, err);
}

int oci_config_parse(const char *json, size_t len, struct oci_config *ret, struct err *err)
{
    struct oci_config c = {0};
    json_error_t why;
    json_auto_t *root = json_loadb(json, len, 0, &why);

    if (!root)
        return err_set(err, 125, "image configuration: line %d: %s", why.line, why.text);
    if (read_all(root, &c, err) < 0) {
        oci_config_clear(&c);
        return -1;
    }
    *ret = c;
    return 0;
}

static void put_string(json_t *object, const char *field, const char *value)
{
    if (value)
        json_object_set_new(object, field, json_string(value));
}

static void put_list(json_t *object, const char *field, const struct strlist *list)
{
    json_t *array;

    if (list->len == 0)
        return;
    array = json_array();
    for (size_t i = 0; i < list->len; i++)
        json_array_append_new(array, json_string(list->items[i]));
    json_object_set_new(object, field, array);
}

static void put_keys(json_t *object, const char *field, const struct strlist *list)
{
    json_t *map;

    if (list->len == 0)
        return;
    map = json_object();
    for (size_t i = 0; i < list->len; i++)
        json_object_set_new(map, list->items[i], json_object());
    json_object_set_new(object, field, map);
}

static void put_map(json_t *object, const char *field, const struct strlist *list)
{
    json_t *map;

    if (list->len == 0)
        return;
    map = json_object();
    for (size_t i = 0; i < list->len; i++) {
        size_t len = strcspn(list->items[i], "=");
        cleanup_free char *key = xstrndup(list->items[i], len);

        json_object_set_new(map, key, json_string(list->items[i][len] ? list->items[i] + len + 1 : ""));
    }
    json_object_set_new(object, field, map);
}

char *oci_config_print(const struct oci_config *c)
{
    json_auto_t *root = json_object();
    cleanup_free char *text = NULL;

    put_list(root, "Entrypoint", &c->entrypoint);
    put_list(root, "Cmd", &c->cmd);
    put_list(root, "Env", &c->env);
    put_string(root, "WorkingDir", c->workdir);
    put_string(root, "User", c->user);
    put_string(root, "StopSignal", c->stop_signal);
    if (c->healthcheck)
        json_object_set_new(root, "Healthcheck", json_loads(c->healthcheck, 0, NULL));
    put_list(root, "Shell", &c->shell);
    put_map(root, "Labels", &c->labels);
    put_keys(root, "Volumes", &c->volumes);
    put_keys(root, "ExposedPorts", &c->exposed_ports);
    put_string(root, "os", c->os);
    put_string(root, "architecture", c->architecture);
    put_string(root, "variant", c->variant);
    text = json_dumps(root, JSON_COMPACT);
    return xasprintf("%s\n", text);
}
