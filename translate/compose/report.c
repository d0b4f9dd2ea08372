/*
 * What becomes of each key that a project uses. The table of shapes has the verdicts; where a key is an option of
 * `docker create`, that option's own verdict counts, so that the report cannot promise what the option refuses.
 */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/commands.h"
#include "compat/docker/opt.h"
#include "translate/compose/settle.h"
#include "translate/compose/shape.h"
#include "translate/compose/words.h"
#include "translate/modal_options.h"
#include "translate/networks.h"
#include "translate/verdict.h"

#include <stdlib.h>
#include <string.h>

struct report {
    const struct compose_project *project;
    const char *service;            /* NULL: top level */
    const struct opt_parsed *words; /* the service as `docker create` would be told; NULL: it cannot be */
    size_t from;                    /* the first finding of this service */
    struct compose_finding *list;
    size_t len, size;
};

static void add(struct report *r, const struct cnode *n, const char *key, enum compose_verdict verdict,
                const char *reason)
{
    for (size_t i = r->from; i < r->len; i++)
        if (strcmp(r->list[i].key, key) == 0)
            return;
    if (r->len == r->size) {
        r->size = r->size ? r->size * 2 : 32;
        r->list = xreallocarray(r->list, r->size, sizeof(*r->list));
    }
    r->list[r->len++] = (struct compose_finding){xstrdup(r->service), xstrdup(key), verdict, reason, n->file, n->line};
}

/* A key that is told by its parts has their verdicts. */
static enum verdict option_verdict(const struct report *r, const struct opt_def *def, bool parts,
                                   const char **ret_reason)
{
    const char *value;

    if (!parts && r->words && opt_given(r->words, def->name))
        return verdict_of(r->words, def, ret_reason, &value);
    *ret_reason = def->reason;
    return def->verdict;
}

#define GPU_ALONE "a GPU is for a container alone in its sandbox: network_mode: bridge"

/* One service and one network of the project's: its container is a sandbox of its own, as `up` makes it. */
static bool is_single(const struct compose_project *p)
{
    const struct cnode *services = cnode_get(p->model, "services");
    const struct cnode *own = services && services->len == 1 ? cnode_get(services->items[0], "networks") : NULL;
    const struct cnode *network;

    if (!cnode_is(own, CNODE_MAP) || own->len != 1 || p->disabled->len)
        return false;
    network = cnode_get(cnode_get(p->model, "networks"), own->keys[0]);
    return !cnode_true(network, "external") && !cnode_true(network, "internal") &&
           cnode_number(services->items[0], "scale", 1) <= 1;
}

/* Whether it lives in a sandbox with others, which has no GPU. */
static bool shares_sandbox(const struct report *r)
{
    struct network_joins joins = {0};
    enum network_mode mode = NETWORK_BRIDGE;
    cleanup_err struct err err = ERR_INIT;

    if (r->words)
        network_parse(opt_list(r->words, "network"), opt_list(r->words, "network-alias"), &mode, &joins, &err);
    network_joins_clear(&joins);
    return mode == NETWORK_OWN && !is_single(r->project);
}

/* The option's verdict, on the value as it is, over the table's. */
static enum compose_verdict key_verdict(const struct report *r, const struct key *k, const char *path,
                                        const char **reason)
{
    const char *option = r->service ? words_option(path) : NULL, *why;
    const struct opt_def *def = option ? opt_find(cmd_by_path("create"), option + 2) : NULL;

    *reason = k->reason;
    if (!def)
        return k->verdict;
    if (strcmp(def->name, "gpus") == 0 && shares_sandbox(r)) {
        *reason = GPU_ALONE;
        return COMPOSE_REFUSED;
    }
    switch (option_verdict(r, def, k->flags & KEY_PARTS, &why)) {
    case VERDICT_REFUSED:
    case VERDICT_DELEGATED:
    case VERDICT_UNLESS_ALL:
        *reason = why;
        return COMPOSE_REFUSED;
    case VERDICT_APPROXIMATED:
        if (k->verdict == COMPOSE_NO_EFFECT)
            return k->verdict;
        *reason = why;
        return COMPOSE_APPROXIMATED;
    case VERDICT_OURS:
    case VERDICT_IGNORED_SAFE:
        break;
    }
    if (k->verdict == COMPOSE_REFUSED)
        *reason = NULL;
    return k->verdict == COMPOSE_REFUSED ? COMPOSE_CARRIED : k->verdict;
}

static void find_parts(struct report *r, const struct shape *s, const struct cnode *n, const char *path);

/* Each item of a list, each member of a map with free names. */
static void find_items(struct report *r, const struct shape *item, const struct cnode *n, const char *path)
{
    for (size_t i = 0; item && i < n->len; i++) {
        cleanup_free char *below = n->kind == CNODE_MAP ? xasprintf("%s.%s", path, n->keys[i]) : xstrdup(path);

        if (n->items[i]->kind == CNODE_MAP)
            find_parts(r, item, n->items[i], below);
    }
}

static void find_key(struct report *r, const struct key *k, const struct cnode *n, const char *path)
{
    const char *reason;
    enum compose_verdict verdict = key_verdict(r, k, path, &reason);
    size_t before = r->len;

    if (verdict == COMPOSE_REFUSED || !(k->flags & KEY_PARTS)) {
        add(r, n, path, verdict, reason);
        return;
    }
    if (n->kind == CNODE_LIST)
        find_items(r, shape_as(k->shape, TYPE_ARRAY)->item, n, path);
    else if (n->kind == CNODE_MAP && shape_as(k->shape, TYPE_OBJECT)->keys)
        find_parts(r, k->shape, n, path);
    else if (n->kind == CNODE_MAP)
        find_items(r, shape_as(k->shape, TYPE_OBJECT)->item, n, path);
    if (r->len == before)
        add(r, n, path, verdict, reason);
}

/* What nobody wrote (it has no place in a file) is not told. */
static void find_parts(struct report *r, const struct shape *s, const struct cnode *n, const char *path)
{
    const struct shape *object = shape_as(s, TYPE_OBJECT);

    for (const struct key *k = object ? object->keys : NULL; k && k->name; k++) {
        const struct cnode *value = cnode_get(n, k->name);
        cleanup_free char *below = *path ? xasprintf("%s.%s", path, k->name) : xstrdup(k->name);

        if (value && (value->line > 0 || value->len > 0))
            find_key(r, k, value, below);
    }
}

static void find_modal(struct report *r, const struct cnode *n, const char *path)
{
    for (size_t i = 0; n && n->kind == CNODE_MAP && i < n->len; i++) {
        cleanup_free char *below = xasprintf("%s.%s", path, n->keys[i]);
        const char *name = below + strcspn(below, ".") + 1; /* after x-modal */
        enum modal_key key = modal_key_find(name);

        if (n->items[i]->kind == CNODE_MAP && key == MODAL_KEY_MAX)
            find_modal(r, n->items[i], below);
        else if (key == MODAL_KEY_MAX)
            add(r, n->items[i], below, COMPOSE_REFUSED, "no such key");
        else if (key == MODAL_KEY_GPU && shares_sandbox(r))
            add(r, n->items[i], below, COMPOSE_REFUSED, GPU_ALONE);
        else if (key == MODAL_KEY_ENVIRONMENT)
            add(r, n->items[i], below, COMPOSE_REFUSED, "of a whole command: set ATP_DOCKER_MODAL_ENVIRONMENT");
        else if (modal_keys[key].carried_out)
            add(r, n->items[i], below, COMPOSE_CARRIED, NULL);
        else
            add(r, n->items[i], below, COMPOSE_REFUSED, "not carried out yet");
    }
}

/* A service that has no words, or whose words docker does not take, is told so by whoever makes it. */
static struct opt_parsed *words_of(const struct compose_project *p, const char *service, struct strlist *words)
{
    cleanup_err struct err err = ERR_INIT;

    if (compose_service_words(p, service, 1, words, &err) < 0)
        return NULL;
    return opt_parse(cmd_by_path("create"), (int)words->len, strlist_argv(words), &err);
}

#define IN_STEP "kept in step file by file: locks and mmap do not reach the other containers that have it"

static bool has_volume(const struct cnode *service, const char *source)
{
    const struct cnode *list = cnode_get(service, "volumes");

    for (size_t i = 0; list && i < list->len; i++) {
        const char *type = cnode_str(list->items[i], "type"), *other = cnode_str(list->items[i], "source");

        if (type && strcmp(type, "volume") == 0 && other && strcmp(other, source) == 0)
            return true;
    }
    return false;
}

/* A volume that another service has as well is not one place, as on one machine. */
static void find_shared(struct report *r, const struct cnode *service)
{
    const struct cnode *all = cnode_get(r->project->model, "services"), *list = cnode_get(service, "volumes");

    for (size_t i = 0; list && i < list->len; i++) {
        const char *source = cnode_str(list->items[i], "source");
        size_t users = 0;

        for (size_t k = 0; source && k < all->len; k++)
            users += has_volume(all->items[k], source);
        if (users > 1)
            add(r, list, "volumes", COMPOSE_APPROXIMATED, IN_STEP);
    }
}

static void find_service(struct report *r, const struct compose_project *p, const struct cnode *service,
                         const struct shape *shape)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    struct opt_parsed *parsed = words_of(p, r->service, &words);

    r->words = parsed;
    find_shared(r, service);
    find_parts(r, shape, service, "");
    find_modal(r, cnode_get(service, "x-modal"), "x-modal");
    r->words = NULL;
    opt_parsed_free(parsed);
}

int compose_report(const struct compose_project *p, struct compose_finding **ret, size_t *ret_len, struct err *err)
{
    static const char *const sections[] = {"networks", "volumes", "secrets", "configs", "models"};
    const struct key *services = shape_key(&compose_shape, "services");
    const struct cnode *map = cnode_get(p->model, "services");
    struct report r = {.project = p};

    (void)err;
    for (size_t i = 0; map && i < map->len; i++) {
        r.service = map->keys[i];
        r.from = r.len;
        find_service(&r, p, map->items[i], services->shape->item);
    }
    r.service = NULL;
    r.from = r.len;
    for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++)
        if (cnode_get(p->model, sections[i]))
            find_items(&r, shape_key(&compose_shape, sections[i])->shape->item, cnode_get(p->model, sections[i]),
                       sections[i]);
    find_modal(&r, cnode_get(p->model, "x-inspect_modal_sandbox"), "x-inspect_modal_sandbox");
    find_modal(&r, cnode_get(p->model, "x-modal"), "x-modal");
    *ret = r.list;
    *ret_len = r.len;
    return 0;
}

void compose_findings_free(struct compose_finding *list, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        free(list[i].service);
        free(list[i].key);
    }
    free(list);
}
