/* Relative paths of a tree, joined to the folder that they are relative to. */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/compose/load.h"
#include "translate/compose/settle.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct base {
    const char *dir, *home;
};

/* c:\x is absolute on the machine that it means. */
static bool is_windows_path(const char *path)
{
    return strncmp(path, "\\\\", 2) == 0 ||
           (isalpha((unsigned char)path[0]) && path[1] == ':' && (path[2] == '\\' || path[2] == '/'));
}

static bool is_remote_context(const char *context)
{
    static const char *const prefixes[] = {"https://",    "http://", "git://",  "ssh://",
                                           "github.com/", "git@",    "service:"};

    if (strstr(context, "://"))
        return true;
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
        if (strncmp(context, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

/* Owned by caller. */
static char *absolute(const struct base *b, const char *path)
{
    if (*path == '~' && b->home)
        return path_join(b->home, path + 1);
    if (*path == '/' || !*path || is_windows_path(path))
        return xstrdup(path);
    return path_join(b->dir, path);
}

static void resolve(const struct base *b, struct cnode *value)
{
    char *path;

    if (!cnode_is(value, CNODE_STRING))
        return;
    path = absolute(b, value->text);
    free(value->text);
    value->text = path;
}

static void resolve_items(const struct base *b, struct cnode *list, const char *key)
{
    for (size_t i = 0; list && (list->kind == CNODE_LIST || list->kind == CNODE_MAP) && i < list->len; i++)
        resolve(b, key ? cnode_get(list->items[i], key) : list->items[i]);
}

static void resolve_context(const struct base *b, struct cnode *context)
{
    if (cnode_is(context, CNODE_STRING) && !is_remote_context(context->text))
        resolve(b, context);
}

static int resolve_mounts(const struct base *b, struct cnode *list, struct err *err)
{
    for (size_t i = 0; cnode_is(list, CNODE_LIST) && i < list->len; i++) {
        const char *type = cnode_str(list->items[i], "type");

        if (!type || strcmp(type, "bind") != 0)
            continue;
        if (!cnode_get(list->items[i], "source"))
            return err_set(err, 0, "invalid mount config for type \"bind\": field Source must not be empty");
        resolve(b, cnode_get(list->items[i], "source"));
    }
    return 0;
}

static int resolve_service(const struct base *b, struct cnode *s, struct err *err)
{
    struct cnode *contexts = cnode_path(s, "build.additional_contexts");

    resolve_context(b, cnode_path(s, "build.context"));
    for (size_t i = 0; cnode_is(contexts, CNODE_MAP) && i < contexts->len; i++)
        resolve_context(b, contexts->items[i]);
    resolve_items(b, cnode_path(s, "build.ssh"), NULL);
    resolve_items(b, cnode_get(s, "env_file"), "path");
    resolve_items(b, cnode_get(s, "label_file"), NULL);
    resolve(b, cnode_path(s, "extends.file"));
    resolve_items(b, cnode_path(s, "develop.watch"), "path");
    return resolve_mounts(b, cnode_get(s, "volumes"), err);
}

/* A volume of the local driver that is a bind mount in truth. */
static void resolve_volume(const struct base *b, struct cnode *volume)
{
    const char *driver = cnode_str(volume, "driver"), *o = cnode_str(cnode_get(volume, "driver_opts"), "o");

    if (driver && o && strcmp(driver, "local") == 0 && strcmp(o, "bind") == 0)
        resolve(b, cnode_path(volume, "driver_opts.device"));
}

int compose_resolve_paths(struct cnode *tree, const char *dir, const char *home, struct err *err)
{
    struct base b = {dir, home};
    struct cnode *services = cnode_get(tree, "services"), *volumes = cnode_get(tree, "volumes");

    for (size_t i = 0; cnode_is(services, CNODE_MAP) && i < services->len; i++)
        if (resolve_service(&b, services->items[i], err))
            return -1;
    for (size_t i = 0; cnode_is(volumes, CNODE_MAP) && i < volumes->len; i++)
        resolve_volume(&b, volumes->items[i]);
    resolve_items(&b, cnode_get(tree, "configs"), "file");
    resolve_items(&b, cnode_get(tree, "secrets"), "file");
    return 0;
}
