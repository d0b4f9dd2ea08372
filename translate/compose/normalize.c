/* What a merged project has without saying so: the default network, names, what follows from links and namespaces. */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/compose/load.h"
#include "translate/compose/settle.h"

#include <stdlib.h>
#include <string.h>

/* ---- networks ---- */

/* Whether the service is on the default network; says so in it if nobody did. */
static bool joins_default(struct cnode *service)
{
    struct cnode *networks = cnode_get(service, "networks");

    if (cnode_get(service, "provider") || cnode_get(service, "network_mode"))
        return false;
    if (cnode_is(networks, CNODE_MAP) && networks->len > 0)
        return cnode_get(networks, "default") != NULL;
    networks = cnode_new(CNODE_MAP);
    cnode_set(networks, "default", cnode_new(CNODE_NULL));
    cnode_set(service, "networks", networks);
    return true;
}

static void normalize_networks(struct cnode *model)
{
    struct cnode *services = cnode_get(model, "services"), *networks = cnode_get(model, "networks");
    bool used = false;

    for (size_t i = 0; cnode_is(services, CNODE_MAP) && i < services->len; i++)
        if (cnode_is(services->items[i], CNODE_MAP) && joins_default(services->items[i]))
            used = true;
    if (!used || cnode_get(networks, "default"))
        return;
    if (!cnode_is(networks, CNODE_MAP)) {
        networks = cnode_new(CNODE_MAP);
        cnode_set(model, "networks", networks);
    }
    cnode_set(networks, "default", cnode_new(CNODE_NULL));
}

/* ---- variables without a value ---- */

/* {NAME: null} and [NAME] get what the variable has. keep: without one they stay as they are. */
static void resolve_names(struct cnode *map, const char *key, const struct cnode *env, bool keep)
{
    struct cnode *list = cnode_get(map, key), *made;

    if (!list || (list->kind != CNODE_MAP && list->kind != CNODE_LIST))
        return;
    made = cnode_new(list->kind);
    for (size_t i = 0; i < list->len; i++) {
        const struct cnode *item = list->items[i];
        const char *name = list->kind == CNODE_MAP ? list->keys[i] : cnode_text(item);
        bool open = list->kind == CNODE_MAP ? item->kind == CNODE_NULL : name && !strchr(name, '=');
        const char *value = open && name ? cnode_str(env, name) : NULL;
        cleanup_free char *both = value ? xasprintf("%s=%s", name, value) : NULL;

        if (open && !value && !keep)
            continue;
        if (list->kind == CNODE_MAP)
            cnode_set(made, name, value ? cnode_string(value) : cnode_copy(item));
        else
            cnode_add(made, value ? cnode_string(both) : cnode_copy(item));
    }
    cnode_place(made, list);
    cnode_set(map, key, made);
}

void compose_resolve_variables(struct cnode *tree, const struct cnode *env)
{
    struct cnode *services = cnode_get(tree, "services");

    for (size_t i = 0; cnode_is(services, CNODE_MAP) && i < services->len; i++)
        if (cnode_is(cnode_get(services->items[i], "environment"), CNODE_LIST))
            resolve_names(services->items[i], "environment", env, /* keep= */ true);
}

/* ---- services ---- */

static void depend(struct cnode *depends, const char *name, bool restart)
{
    struct cnode *d;

    if (cnode_get(depends, name))
        return;
    d = cnode_new(CNODE_MAP);
    cnode_set(d, "condition", cnode_string("service_started"));
    cnode_set(d, "restart", cnode_bool(restart));
    cnode_set(d, "required", cnode_bool(true));
    cnode_set(depends, name, d);
}

/* What stands before the first colon. Owned by caller. */
static char *before_colon(const char *text)
{
    return xstrndup(text, strcspn(text, ":"));
}

static void depend_on_links(struct cnode *service, struct cnode *depends)
{
    const struct cnode *links = cnode_get(service, "links"), *from = cnode_get(service, "volumes_from");

    for (size_t i = 0; cnode_is(links, CNODE_LIST) && i < links->len; i++) {
        const char *link = cnode_text(links->items[i]);
        const char *colon = link ? strchr(link, ':') : NULL;
        cleanup_free char *name = link ? (colon && !strchr(colon + 1, ':') ? before_colon(link) : xstrdup(link)) : NULL;

        if (name)
            depend(depends, name, /* restart= */ true);
    }
    for (size_t i = 0; cnode_is(from, CNODE_LIST) && i < from->len; i++) {
        const char *text = cnode_text(from->items[i]);
        cleanup_free char *name = text ? before_colon(text) : NULL;

        if (name && strncmp(text, "container:", 10) != 0)
            depend(depends, name, /* restart= */ false);
    }
}

static void implied_dependencies(struct cnode *service)
{
    static const char *const spaces[] = {"network_mode", "ipc", "pid", "uts", "cgroup"};
    struct cnode *depends = cnode_get(service, "depends_on");
    struct cnode *made = cnode_is(depends, CNODE_MAP) ? NULL : cnode_new(CNODE_MAP);

    if (made)
        depends = made;
    depend_on_links(service, depends);
    for (size_t i = 0; i < sizeof(spaces) / sizeof(*spaces); i++) {
        const char *mode = cnode_str(service, spaces[i]);

        if (mode && strncmp(mode, "service:", 8) == 0)
            depend(depends, mode + 8, /* restart= */ true);
    }
    if (!made)
        return;
    if (made->len > 0)
        cnode_set(service, "depends_on", made);
    else
        cnode_free(made);
}

static void normalize_build(struct cnode *build, const struct cnode *env)
{
    if (!cnode_is(build, CNODE_MAP))
        return;
    if (!cnode_get(build, "context"))
        cnode_set(build, "context", cnode_string("."));
    if (!cnode_get(build, "dockerfile") && !cnode_get(build, "dockerfile_inline"))
        cnode_set(build, "dockerfile", cnode_string("Dockerfile"));
    resolve_names(build, "args", env, /* keep= */ false);
}

static void normalize_service(struct cnode *service, const struct cnode *env)
{
    struct cnode *mounts = cnode_get(service, "volumes");
    const char *pull = cnode_str(service, "pull_policy");

    if (pull && strcmp(pull, "if_not_present") == 0)
        cnode_set(service, "pull_policy", cnode_string("missing"));
    normalize_build(cnode_get(service, "build"), env);
    resolve_names(service, "environment", env, /* keep= */ true);
    implied_dependencies(service);
    for (size_t i = 0; cnode_is(mounts, CNODE_LIST) && i < mounts->len; i++) {
        const char *target = cnode_str(mounts->items[i], "target");
        cleanup_free char *clean = target ? path_join("", target) : NULL;

        if (clean)
            cnode_set(mounts->items[i], "target", cnode_string(*clean ? clean : "."));
    }
}

/* ---- names ---- */

static void name_section(struct cnode *model, const char *section, const char *project)
{
    struct cnode *map = cnode_get(model, section);

    for (size_t i = 0; cnode_is(map, CNODE_MAP) && i < map->len; i++) {
        cleanup_free char *key = xstrdup(map->keys[i]);
        cleanup_free char *full = xasprintf("%s_%s", project, key);
        struct cnode *item = map->items[i];

        if (!cnode_is(item, CNODE_MAP)) {
            item = cnode_new(CNODE_MAP);
            cnode_place(item, map->items[i]);
            cnode_set(map, key, item);
        }
        if (!cnode_get(item, "name"))
            cnode_set(item, "name", cnode_string(cnode_true(item, "external") ? key : full));
    }
}

struct cnode *compose_environment_map(const struct strlist *list)
{
    struct cnode *map = cnode_new(CNODE_MAP);

    for (size_t i = 0; i < list->len; i++) {
        const char *equals = strchr(list->items[i], '=');
        cleanup_free char *name = equals ? xstrndup(list->items[i], (size_t)(equals - list->items[i])) : NULL;

        if (name)
            cnode_set(map, name, cnode_string(equals + 1));
    }
    return map;
}

/* `scale` is what `deploy` says too. */
static void copy_scale(struct cnode *service)
{
    struct cnode *deploy = cnode_get(service, "deploy");
    const char *scale = cnode_str(service, "scale");

    if (!scale || !cnode_is(deploy, CNODE_MAP) || cnode_get(deploy, "replicas"))
        return;
    cnode_set(deploy, "replicas", cnode_int(strtoll(scale, NULL, 10)));
    compose_order_keys(service, "services");
}

int compose_normalize(struct compose_project *p, const struct compose_input *in, struct err *err)
{
    static const char *const sections[] = {"networks", "volumes", "configs", "secrets"};
    static const struct strlist none = STRLIST_INIT; /* without interpolation no variable is known */
    struct cnode *env = compose_environment_map(in->no_interpolate ? &none : &p->environment), *services, *model;

    if (!in->no_normalize) {
        normalize_networks(p->model);
        services = cnode_get(p->model, "services");
        for (size_t i = 0; cnode_is(services, CNODE_MAP) && i < services->len; i++)
            if (cnode_is(services->items[i], CNODE_MAP))
                normalize_service(services->items[i], env);
        for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++)
            name_section(p->model, sections[i], p->name);
    }
    cnode_free(env);
    if (!in->no_normalize || !in->no_interpolate)
        cnode_set(p->model, "name", cnode_string(p->name));
    if (in->no_interpolate) {
        compose_sort(p->model);
        return 0;
    }
    model = compose_bind(p->model, err);
    if (!model)
        return -1;
    cnode_free(p->model);
    p->model = model;
    services = cnode_get(model, "services");
    for (size_t i = 0; !in->no_consistency && i < services->len; i++)
        copy_scale(services->items[i]);
    return 0;
}
