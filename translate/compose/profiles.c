/* Which services take part: by profiles, by the words behind the verb, and what only those that do not take part use.
 */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/compose/settle.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#define SELECT_MAX 10000 /* services taken for some named ones: bounds the stack */

static size_t length(const struct cnode *n)
{
    return n ? n->len : 0;
}

/* A service without profiles is always on. */
static bool enabled(const struct cnode *service, const struct strlist *profiles)
{
    const struct cnode *own = cnode_get(service, "profiles");

    if (length(own) == 0)
        return true;
    if (strlist_has(profiles, "*"))
        return true;
    for (size_t i = 0; i < own->len; i++)
        if (cnode_text(own->items[i]) && strlist_has(profiles, own->items[i]->text))
            return true;
    return false;
}

/* Puts each service on the side where the profiles want it. */
static void divide(struct compose_project *p)
{
    struct cnode *services = cnode_get(p->model, "services");
    struct cnode *on = cnode_new(CNODE_MAP), *off = cnode_new(CNODE_MAP), *all = cnode_new(CNODE_MAP);

    for (size_t i = 0; i < length(services); i++)
        cnode_set(all, services->keys[i], cnode_copy(services->items[i]));
    for (size_t i = 0; i < length(p->disabled); i++)
        cnode_set(all, p->disabled->keys[i], cnode_copy(p->disabled->items[i]));
    compose_sort_keys(all);
    for (size_t i = 0; i < all->len; i++)
        cnode_set(enabled(all->items[i], &p->profiles) ? on : off, all->keys[i], cnode_copy(all->items[i]));
    cnode_free(all);
    cnode_set(p->model, "services", on);
    cnode_free(p->disabled);
    p->disabled = off;
}

int compose_apply_profiles(struct compose_project *p, const struct compose_input *in, struct err *err)
{
    (void)err;
    divide(p);
    for (size_t i = 0; i < in->services.len; i++) {
        const struct cnode *own = cnode_get(cnode_get(p->disabled, in->services.items[i]), "profiles");

        for (size_t k = 0; k < length(own); k++)
            if (cnode_text(own->items[k]) && !strlist_has(&p->profiles, own->items[k]->text))
                strlist_add(&p->profiles, own->items[k]->text);
    }
    if (in->services.len > 0)
        divide(p);
    return 0;
}

/* ---- some services of all ---- */

static int select_one(const struct cnode *services, const char *name, bool required, struct strlist *chosen,
                      struct err *err);

/* The service and those that it depends on. */
static int select_deep(const struct cnode *services, size_t i, struct strlist *chosen, struct err *err)
{
    const struct cnode *depends = cnode_get(services->items[i], "depends_on");

    if (strlist_has(chosen, services->keys[i]))
        return 0;
    if (chosen->len >= SELECT_MAX)
        return err_set(err, 0, "more than %d services are named at once", SELECT_MAX);
    strlist_add(chosen, services->keys[i]);
    for (size_t k = 0; k < length(depends); k++)
        if (select_one(services, depends->keys[k], cnode_true(depends->items[k], "required"), chosen, err))
            return -1;
    return 0;
}

static int select_one(const struct cnode *services, const char *name, bool required, struct strlist *chosen,
                      struct err *err)
{
    bool found = false;

    for (size_t i = 0; i < length(services); i++) {
        if (fnmatch(name, services->keys[i], FNM_PATHNAME) != 0)
            continue;
        found = true;
        if (select_deep(services, i, chosen, err))
            return -1;
    }
    if (!found && required)
        return err_set(err, 0, "no such service: %s", name);
    return 0;
}

int compose_select(struct compose_project *p, const struct strlist *names, struct err *err)
{
    struct cnode *services = cnode_get(p->model, "services"), *kept;
    cleanup_strlist struct strlist chosen = STRLIST_INIT;

    if (names->len == 0)
        return 0;
    for (size_t i = 0; i < names->len; i++)
        if (select_one(services, names->items[i], /* required= */ true, &chosen, err))
            return -1;
    kept = cnode_new(CNODE_MAP);
    for (size_t i = 0; i < length(services); i++)
        cnode_set(strlist_has(&chosen, services->keys[i]) ? kept : p->disabled, services->keys[i],
                  cnode_copy(services->items[i]));
    cnode_set(p->model, "services", kept);
    for (size_t i = 0; i < kept->len; i++) {
        struct cnode *depends = cnode_get(kept->items[i], "depends_on");

        for (size_t k = length(depends); k-- > 0;)
            if (!cnode_get(kept, depends->keys[k]))
                cnode_remove(depends, depends->keys[k]);
        if (depends && depends->len == 0)
            cnode_remove(kept->items[i], "depends_on");
    }
    return 0;
}

/* ---- what nobody uses ---- */

/* The sources of a list of mounts or files. */
static void add_sources(const struct cnode *list, const char *type, struct strlist *used)
{
    for (size_t i = 0; i < length(list); i++) {
        const char *own = cnode_str(list->items[i], "type"), *source = cnode_str(list->items[i], "source");

        if (source && (!type || (own && strcmp(own, type) == 0)))
            strlist_add(used, source);
    }
}

static void add_keys(const struct cnode *map, struct strlist *used)
{
    for (size_t i = 0; i < length(map); i++)
        strlist_add(used, map->keys[i]);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void keep_used(struct cnode *model, const char *section, struct strlist *used)
{
    struct cnode *map = cnode_get(model, section), *kept = cnode_new(CNODE_MAP);

    strlist_sort(used);
    for (size_t i = 0; i < length(map); i++) {
        const char *key = map->keys[i];

        if (used->len && bsearch(&key, used->items, used->len, sizeof(*used->items), by_text))
            cnode_set(kept, key, cnode_copy(map->items[i]));
    }
    if (map && kept->len > 0) {
        cnode_set(model, section, kept);
        return;
    }
    cnode_remove(model, section);
    cnode_free(kept);
}

void compose_drop_unused(struct compose_project *p)
{
    static const char *const sections[] = {"networks", "volumes", "secrets", "configs", "models"};
    const struct cnode *services = cnode_get(p->model, "services");
    struct strlist used[5] = {STRLIST_INIT, STRLIST_INIT, STRLIST_INIT, STRLIST_INIT, STRLIST_INIT};

    for (size_t i = 0; i < length(services); i++) {
        const struct cnode *s = services->items[i];

        add_keys(cnode_get(s, "networks"), &used[0]);
        add_sources(cnode_get(s, "volumes"), "volume", &used[1]);
        add_sources(cnode_get(s, "secrets"), NULL, &used[2]);
        add_sources(cnode_path(s, "build.secrets"), NULL, &used[2]);
        add_sources(cnode_get(s, "configs"), NULL, &used[3]);
        add_keys(cnode_get(s, "models"), &used[4]);
    }
    for (size_t i = 0; i < 5; i++) {
        keep_used(p->model, sections[i], &used[i]);
        strlist_clear(&used[i]);
    }
}
