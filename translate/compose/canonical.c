/*
 * Short syntaxes become long ones, in place. What is long already stays, so that a merged tree can go through again.
 * A text that cannot be understood is an error, unless variables are still in it: then it stays as it is.
 */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/compose/canonical.h"

#include <stdlib.h>
#include <string.h>

static const char *kind_name(const struct cnode *n)
{
    switch (n->kind) {
    case CNODE_NULL:
        return "<nil>";
    case CNODE_BOOL:
        return "bool";
    case CNODE_INT:
        return "int";
    case CNODE_FLOAT:
        return "float64";
    case CNODE_STRING:
        return "string";
    case CNODE_LIST:
        return "[]interface {}";
    case CNODE_MAP:
        return "map[string]interface {}";
    }
    return "";
}

static int wrong(const char *where, const struct cnode *n, const char *what, struct err *err)
{
    return err_set(err, 0, "%s: invalid type %s for %s", where, kind_name(n), what);
}

/* Puts something else in the place of items[i] of a list or map. */
static void replace(struct cnode *parent, size_t i, struct cnode *with)
{
    cnode_place(with, parent->items[i]);
    cnode_free(parent->items[i]);
    parent->items[i] = with;
}

struct cnode *canonical_map1(const char *key, const char *text)
{
    struct cnode *map = cnode_new(CNODE_MAP);

    cnode_set(map, key, cnode_string(text));
    return map;
}

/* A string in a map becomes a map with that one key. */
static void wrap(struct cnode *map, const char *name, const char *key)
{
    for (size_t i = 0; i < map->len; i++)
        if (strcmp(map->keys[i], name) == 0 && cnode_is(map->items[i], CNODE_STRING))
            replace(map, i, canonical_map1(key, map->items[i]->text));
}

/* The same for the items of a list. */
static int wrap_items(struct cnode *list, const char *where, const char *key, struct err *err)
{
    for (size_t i = 0; list && list->kind == CNODE_LIST && i < list->len; i++) {
        if (cnode_is(list->items[i], CNODE_STRING))
            replace(list, i, canonical_map1(key, list->items[i]->text));
        else if (!cnode_is(list->items[i], CNODE_MAP))
            return err_set(err, 0, "%s.[]: unsupported type %s", where, kind_name(list->items[i]));
    }
    return 0;
}

/* A string becomes a list of one. */
static void listify(struct cnode *map, const char *name)
{
    for (size_t i = 0; i < map->len; i++) {
        struct cnode *list;

        if (strcmp(map->keys[i], name) != 0 || !cnode_is(map->items[i], CNODE_STRING))
            continue;
        list = cnode_new(CNODE_LIST);
        cnode_add(list, cnode_copy(map->items[i]));
        replace(map, i, list);
    }
}

/* A list of names becomes a map of nulls. */
static void names_to_map(struct cnode *map, const char *name)
{
    for (size_t i = 0; i < map->len; i++) {
        struct cnode *names = map->items[i], *made;

        if (strcmp(map->keys[i], name) != 0 || names->kind != CNODE_LIST)
            continue;
        made = cnode_new(CNODE_MAP);
        for (size_t k = 0; k < names->len; k++)
            if (cnode_text(names->items[k]))
                cnode_set(made, names->items[k]->text, cnode_new(CNODE_NULL));
        replace(map, i, made);
    }
}

/* additional_contexts: ["a=b"] */
static int contexts(struct cnode *build, const char *where, bool loose, struct err *err)
{
    struct cnode *list = cnode_get(build, "additional_contexts");
    struct cnode *map;

    if (!cnode_is(list, CNODE_LIST))
        return 0;
    map = cnode_new(CNODE_MAP);
    for (size_t i = 0; i < list->len; i++) {
        const char *text = cnode_text(list->items[i]), *equals = text ? strchr(text, '=') : NULL;
        cleanup_free char *key = equals ? xstrndup(text, (size_t)(equals - text)) : NULL;

        if (!equals) {
            cnode_free(map);
            return loose ? 0
                         : err_set(err, 0, "%s.build.additional_contexts: invalid value %s, expected key=value", where,
                                   text ? text : "");
        }
        cnode_set(map, key, cnode_string(equals + 1));
    }
    cnode_place(map, list);
    cnode_set(build, "additional_contexts", map);
    return 0;
}

/* ssh: ["default", "id=path"] */
static int ssh_keys(struct cnode *build, struct err *err)
{
    struct cnode *list = cnode_get(build, "ssh");
    struct cnode *map;

    if (!cnode_is(list, CNODE_LIST))
        return 0;
    map = cnode_new(CNODE_MAP);
    for (size_t i = 0; i < list->len; i++) {
        const char *text = cnode_text(list->items[i]), *equals = text ? strchr(text, '=') : NULL;
        cleanup_free char *id = text ? xstrndup(text, equals ? (size_t)(equals - text) : strlen(text)) : NULL;

        if (!text || (!equals && strcmp(text, "default") != 0)) {
            cnode_free(map);
            return err_set(err, 0, "invalid ssh key \"%s\"", text ? text : "");
        }
        cnode_set(map, id, equals ? cnode_string(equals + 1) : cnode_new(CNODE_NULL));
    }
    cnode_place(map, list);
    cnode_set(build, "ssh", map);
    return 0;
}

static int canonical_build(struct cnode *service, const char *where, bool loose, struct err *err)
{
    static const char *const said[] = {"provenance", "sbom"};
    struct cnode *build;

    wrap(service, "build", "context");
    build = cnode_get(service, "build");
    if (!build)
        return 0;
    if (build->kind != CNODE_MAP)
        return wrong(where, build, "build", err);
    for (size_t i = 0; i < 2; i++)
        if (cnode_is(cnode_get(build, said[i]), CNODE_BOOL))
            cnode_set(build, said[i], cnode_string(cnode_str(build, said[i])));
    return contexts(build, where, loose, err) || ssh_keys(build, err) ||
                   wrap_items(cnode_get(build, "secrets"), where, "source", err)
               ? -1
               : 0;
}

static struct cnode *dependency(struct cnode *n)
{
    if (!cnode_get(n, "condition"))
        cnode_set(n, "condition", cnode_string("service_started"));
    if (!cnode_get(n, "required"))
        cnode_set(n, "required", cnode_bool(true));
    return n;
}

static int canonical_depends_on(struct cnode *service, const char *where, struct err *err)
{
    struct cnode *depends = cnode_get(service, "depends_on"), *map;

    if (!depends)
        return 0;
    if (depends->kind == CNODE_MAP) {
        for (size_t i = 0; i < depends->len; i++) {
            if (!cnode_is(depends->items[i], CNODE_MAP))
                return err_set(err, 0, "%s.depends_on.%s: unsupported value", where, depends->keys[i]);
            dependency(depends->items[i]);
        }
        return 0;
    }
    if (depends->kind != CNODE_LIST)
        return wrong(where, depends, "depend_on", err);
    map = cnode_new(CNODE_MAP);
    for (size_t i = 0; i < depends->len; i++)
        if (cnode_text(depends->items[i]))
            cnode_set(map, depends->items[i]->text, dependency(cnode_new(CNODE_MAP)));
    cnode_place(map, depends);
    cnode_set(service, "depends_on", map);
    return 0;
}

static int canonical_env_file(struct cnode *service, const char *where, struct err *err)
{
    struct cnode *list;

    listify(service, "env_file");
    list = cnode_get(service, "env_file");
    if (!list)
        return 0;
    if (list->kind != CNODE_LIST)
        return wrong(where, list, "env_file", err);
    if (wrap_items(list, where, "path", err))
        return -1;
    for (size_t i = 0; i < list->len; i++)
        if (!cnode_get(list->items[i], "required"))
            cnode_set(list->items[i], "required", cnode_bool(true));
    return 0;
}

static int canonical_gpus(struct cnode *service, const char *where, struct err *err)
{
    struct cnode *gpus = cnode_get(service, "gpus"), *list;

    if (!gpus || gpus->kind == CNODE_LIST)
        return 0;
    if (gpus->kind != CNODE_STRING)
        return wrong(where, gpus, "gpus", err);
    list = cnode_new(CNODE_LIST);
    cnode_add(list, canonical_map1("count", "all"));
    cnode_place(list, gpus);
    cnode_set(service, "gpus", list);
    return 0;
}

/* "/dev/a[:/dev/b[:rwm]]" */
static int canonical_devices(struct cnode *service, bool loose, struct err *err)
{
    struct cnode *list = cnode_get(service, "devices");

    for (size_t i = 0; cnode_is(list, CNODE_LIST) && i < list->len; i++) {
        cleanup_strlist struct strlist parts = STRLIST_INIT;
        struct cnode *map;

        if (!cnode_is(list->items[i], CNODE_STRING))
            continue;
        strlist_split(&parts, list->items[i]->text, ':');
        if (parts.len > 3 && !loose)
            return err_set(err, 0, "confusing device mapping, please use long syntax: %s", list->items[i]->text);
        map = canonical_map1("source", parts.len > 3 ? "" : parts.items[0]);
        cnode_set(map, "target", cnode_string(parts.len > 3 ? "" : parts.len > 1 ? parts.items[1] : parts.items[0]));
        cnode_set(map, "permissions", cnode_string(parts.len == 3 ? parts.items[2] : "rwm"));
        replace(list, i, map);
    }
    return 0;
}

static int canonical_mounts(struct cnode *service, bool loose, struct err *err)
{
    struct cnode *list = cnode_get(service, "volumes");

    for (size_t i = 0; cnode_is(list, CNODE_LIST) && i < list->len; i++) {
        struct cnode *mount;

        if (!cnode_is(list->items[i], CNODE_STRING))
            continue;
        mount = canonical_mount(list->items[i]->text, err);
        if (mount)
            replace(list, i, mount);
        else if (!loose)
            return -1;
        else
            err_clear(err);
    }
    return 0;
}

static void canonical_watch(struct cnode *service)
{
    struct cnode *list = cnode_path(service, "develop.watch");

    for (size_t i = 0; cnode_is(list, CNODE_LIST) && i < list->len; i++) {
        if (!cnode_is(list->items[i], CNODE_MAP))
            continue;
        listify(list->items[i], "ignore");
        listify(list->items[i], "include");
    }
}

static int canonical_service(struct cnode *s, const char *where, bool loose, struct err *err)
{
    wrap(s, "extends", "service");
    listify(s, "label_file");
    listify(s, "dns");
    names_to_map(s, "networks");
    names_to_map(s, "models");
    canonical_watch(s);
    if (canonical_build(s, where, loose, err) || canonical_depends_on(s, where, err) ||
        canonical_env_file(s, where, err) || canonical_gpus(s, where, err) || canonical_devices(s, loose, err) ||
        canonical_mounts(s, loose, err) || wrap_items(cnode_get(s, "secrets"), where, "source", err) ||
        wrap_items(cnode_get(s, "configs"), where, "source", err))
        return -1;
    return canonical_ports(s, where, loose, err);
}

/* external: {name: n} is an old spelling of name: n, external: true. */
static int canonical_external(struct cnode *map, const char *section, const char *name, struct err *err)
{
    struct cnode *external = cnode_get(map, "external"), *named;
    const char *own = cnode_str(map, "name");

    if (!cnode_is(external, CNODE_MAP))
        return 0;
    named = cnode_take(external, "name");
    cnode_set(map, "external", cnode_bool(true));
    if (!named)
        return 0;
    if (own && cnode_text(named) && strcmp(own, cnode_text(named)) != 0) {
        cnode_free(named);
        return err_set(err, 0, "%s.%s: name and external.name conflict; only use name", section, name);
    }
    cnode_set(map, "name", named);
    return 0;
}

static int canonical_resources(struct cnode *file, struct err *err)
{
    static const char *const sections[] = {"volumes", "networks", "secrets", "configs"};

    for (size_t i = 0; i < 4; i++) {
        struct cnode *section = cnode_get(file, sections[i]);

        for (size_t k = 0; cnode_is(section, CNODE_MAP) && k < section->len; k++)
            if (cnode_is(section->items[k], CNODE_MAP) &&
                canonical_external(section->items[k], sections[i], section->keys[k], err))
                return -1;
    }
    return 0;
}

int compose_canonical_loose(struct cnode *file, bool loose, struct err *err)
{
    struct cnode *services = cnode_get(file, "services");

    for (size_t i = 0; cnode_is(services, CNODE_MAP) && i < services->len; i++) {
        cleanup_free char *where = xasprintf("services.%s", services->keys[i]);

        if (cnode_is(services->items[i], CNODE_MAP) && canonical_service(services->items[i], where, loose, err))
            return -1;
    }
    if (wrap_items(cnode_get(file, "include"), "include", "path", err))
        return -1;
    return canonical_resources(file, err);
}

int compose_canonical(struct cnode *file, struct err *err)
{
    return compose_canonical_loose(file, /* loose= */ false, err);
}
