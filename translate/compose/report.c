/*
 * What becomes of each key that a project uses. The table of shapes has the verdicts; where a key is an option of
 * `docker create`, that option's own verdict counts, so that the report cannot promise what the option refuses.
 */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/docker/commands.h"
#include "compat/docker/opt.h"
#include "translate/compose/settle.h"
#include "translate/compose/shape.h"
#include "translate/compose/words.h"
#include "translate/modal_options.h"

#include <stdlib.h>
#include <string.h>

struct report {
    const char *service; /* NULL: top level */
    size_t from;         /* the first finding of this service */
    struct compose_finding *list;
    size_t len, size;
};

static void add(struct report *r, const char *key, enum compose_verdict verdict, const char *reason)
{
    for (size_t i = r->from; i < r->len; i++)
        if (strcmp(r->list[i].key, key) == 0)
            return;
    if (r->len == r->size) {
        r->size = r->size ? r->size * 2 : 32;
        r->list = xreallocarray(r->list, r->size, sizeof(*r->list));
    }
    r->list[r->len++] = (struct compose_finding){xstrdup(r->service), xstrdup(key), verdict, reason};
}

/* The option's verdict over the table's. */
static enum compose_verdict verdict_of(const struct report *r, const struct key *k, const char *path,
                                       const char **reason)
{
    const char *option = r->service ? words_option(path) : NULL;
    const struct opt_def *def = option ? opt_find(cmd_by_path("create"), option + 2) : NULL;

    *reason = k->reason;
    if (!def)
        return k->verdict;
    if (def->verdict == VERDICT_REFUSED || def->verdict == VERDICT_DELEGATED) {
        *reason = def->reason;
        return COMPOSE_REFUSED;
    }
    if (k->verdict == COMPOSE_REFUSED) {
        *reason = def->reason;
        return def->verdict == VERDICT_OURS ? COMPOSE_CARRIED : COMPOSE_APPROXIMATED;
    }
    return k->verdict;
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
    enum compose_verdict verdict = verdict_of(r, k, path, &reason);
    size_t before = r->len;

    if (verdict == COMPOSE_REFUSED || !(k->flags & KEY_PARTS)) {
        add(r, path, verdict, reason);
        return;
    }
    if (n->kind == CNODE_LIST)
        find_items(r, shape_as(k->shape, TYPE_ARRAY)->item, n, path);
    else if (n->kind == CNODE_MAP && shape_as(k->shape, TYPE_OBJECT)->keys)
        find_parts(r, k->shape, n, path);
    else if (n->kind == CNODE_MAP)
        find_items(r, shape_as(k->shape, TYPE_OBJECT)->item, n, path);
    if (r->len == before)
        add(r, path, verdict, reason);
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
        enum modal_key key = modal_key_find(below + strlen("x-modal."));

        if (n->items[i]->kind == CNODE_MAP)
            find_modal(r, n->items[i], below);
        else if (key == MODAL_KEY_MAX)
            add(r, below, COMPOSE_REFUSED, "no such key");
        else if (modal_keys[key].carried_out)
            add(r, below, COMPOSE_CARRIED, NULL);
        else
            add(r, below, COMPOSE_REFUSED, "not carried out yet");
    }
}

int compose_report(const struct compose_project *p, struct compose_finding **ret, size_t *ret_len, struct err *err)
{
    static const char *const sections[] = {"networks", "volumes", "secrets", "configs", "models"};
    const struct key *services = shape_key(&compose_shape, "services");
    const struct cnode *map = cnode_get(p->model, "services");
    struct report r = {NULL, 0, NULL, 0, 0};

    (void)err;
    for (size_t i = 0; map && i < map->len; i++) {
        r.service = map->keys[i];
        r.from = r.len;
        find_parts(&r, services->shape->item, map->items[i], "");
        find_modal(&r, cnode_get(map->items[i], "x-modal"), "x-modal");
    }
    r.service = NULL;
    r.from = r.len;
    for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++)
        if (cnode_get(p->model, sections[i]))
            find_items(&r, shape_key(&compose_shape, sections[i])->shape->item, cnode_get(p->model, sections[i]),
                       sections[i]);
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
