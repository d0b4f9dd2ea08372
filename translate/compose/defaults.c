/* What a merged tree leaves out and has always, and what the schema cannot check. */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/compose/settle.h"

#include <arpa/inet.h>
#include <string.h>

static void set_missing(struct cnode *map, const char *key, const char *value)
{
    if (!cnode_get(map, key))
        cnode_set(map, key, cnode_string(value));
}

static size_t length(const struct cnode *list)
{
    return cnode_is(list, CNODE_LIST) ? list->len : 0;
}

static void default_devices(struct cnode *list)
{
    for (size_t i = 0; i < length(list); i++)
        if (cnode_is(list->items[i], CNODE_MAP) && !cnode_get(list->items[i], "device_ids"))
            set_missing(list->items[i], "count", "all");
}

static void default_service(struct cnode *s)
{
    struct cnode *list = cnode_get(s, "secrets");

    if (cnode_is(cnode_get(s, "build"), CNODE_MAP))
        set_missing(cnode_get(s, "build"), "context", ".");
    for (size_t i = 0; i < length(list); i++) {
        const char *source = cnode_str(list->items[i], "source");
        cleanup_free char *target = xasprintf("/run/secrets/%s", source ? source : "<nil>");

        if (cnode_is(list->items[i], CNODE_MAP))
            set_missing(list->items[i], "target", target);
    }
    list = cnode_get(s, "ports");
    for (size_t i = 0; i < length(list); i++) {
        if (!cnode_is(list->items[i], CNODE_MAP))
            continue;
        set_missing(list->items[i], "protocol", "tcp");
        set_missing(list->items[i], "mode", "ingress");
    }
    default_devices(cnode_path(s, "deploy.resources.reservations.devices"));
    default_devices(cnode_get(s, "gpus"));
}

int compose_set_defaults(struct cnode *tree, struct err *err)
{
    struct cnode *services = cnode_get(tree, "services");

    (void)err;
    for (size_t i = 0; cnode_is(services, CNODE_MAP) && i < services->len; i++)
        if (cnode_is(services->items[i], CNODE_MAP))
            default_service(services->items[i]);
    return 0;
}

/* "external" goes with nothing but a name. */
static int check_volume(const struct cnode *volume, const char *name, struct err *err)
{
    if (!cnode_is(volume, CNODE_MAP) || !cnode_true(volume, "external"))
        return 0;
    for (size_t i = 0; i < volume->len; i++) {
        const char *key = volume->keys[i];

        if (strcmp(key, "name") != 0 && strcmp(key, "external") != 0 && strncmp(key, "x-", 2) != 0)
            return err_set(err, 0, "volumes.%s: conflicting parameters \"external\" and \"%s\" specified", name, key);
    }
    return 0;
}

/* One source and no more. */
static int check_file_object(const struct cnode *object, const char *section, const char *name, const char *what,
                             struct err *err)
{
    static const char *const sources[] = {"file", "environment", "content"};
    size_t count = 0;

    for (size_t i = 0; i < 3; i++)
        if (strstr(what, sources[i]) && cnode_get(object, sources[i]))
            count++;
    if (count > 1)
        return err_set(err, 0, "%s.%s: %s attributes are mutually exclusive", section, name, what);
    if (count == 0 && !cnode_get(object, "driver") && !cnode_get(object, "external"))
        return err_set(err, 0, "%s.%s: one of %s must be set", section, name, what);
    return 0;
}

static int check_devices(const struct cnode *list, const char *service, const char *path, struct err *err)
{
    for (size_t i = 0; i < length(list); i++)
        if (cnode_get(list->items[i], "count") && cnode_get(list->items[i], "device_ids"))
            return err_set(err, 0, "services.%s.%s.[]: \"count\" and \"device_ids\" attributes are exclusive", service,
                           path);
    return 0;
}

static int check_service(const struct cnode *s, const char *name, struct err *err)
{
    const struct cnode *list = cnode_get(s, "ports");
    unsigned char bytes[16];

    for (size_t i = 0; i < length(list); i++) {
        const char *ip = cnode_str(list->items[i], "host_ip");

        if (ip && inet_pton(AF_INET, ip, bytes) != 1 && inet_pton(AF_INET6, ip, bytes) != 1)
            return err_set(err, 0, "services.%s.ports.[]: invalid ip address: %s", name, ip);
    }
    list = cnode_path(s, "develop.watch");
    for (size_t i = 0; i < length(list); i++) {
        const char *path = cnode_str(list->items[i], "path");

        if (path && !*path)
            return err_set(err, 0, "services.%s.develop.watch.[].path: value can't be blank", name);
    }
    if (check_devices(cnode_get(s, "gpus"), name, "gpus", err))
        return -1;
    return check_devices(cnode_path(s, "deploy.resources.reservations.devices"), name,
                         "deploy.resources.reservations.devices", err);
}

int compose_validate(const struct cnode *tree, struct err *err)
{
    const struct cnode *services = cnode_get(tree, "services"), *volumes = cnode_get(tree, "volumes"),
                       *secrets = cnode_get(tree, "secrets"), *configs = cnode_get(tree, "configs");

    for (size_t i = 0; cnode_is(services, CNODE_MAP) && i < services->len; i++)
        if (check_service(services->items[i], services->keys[i], err))
            return -1;
    for (size_t i = 0; cnode_is(volumes, CNODE_MAP) && i < volumes->len; i++)
        if (check_volume(volumes->items[i], volumes->keys[i], err))
            return -1;
    for (size_t i = 0; cnode_is(configs, CNODE_MAP) && i < configs->len; i++)
        if (check_file_object(configs->items[i], "configs", configs->keys[i], "file|environment|content", err))
            return -1;
    for (size_t i = 0; cnode_is(secrets, CNODE_MAP) && i < secrets->len; i++)
        if (check_file_object(secrets->items[i], "secrets", secrets->keys[i], "file|environment", err))
            return -1;
    return 0;
}
