/*
 * One tree over another, key by key as compose does it: maps are merged, lists are appended, other values replaced;
 * and some keys have rules of their own (the table).
 */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/compose/load.h"

#include <stdlib.h>
#include <string.h>

#define SUBNETS 1000 /* of one network: each is looked at for each other one */

struct merger {
    const char *path[LIMIT_COMPOSE_DEPTH * 2];
    size_t len;
    struct err *err;
};

/* Takes base and over, gives the merged value; -1 with err: both are gone. */
typedef int merge_fn(struct merger *m, struct cnode *base, struct cnode *over, struct cnode **ret);

static int merge(struct merger *m, struct cnode *base, struct cnode *over, struct cnode **ret);

static int fail(const struct merger *m, struct cnode *base, struct cnode *over, const char *fmt)
{
    struct buf path = BUF_INIT(LIMIT_CONFIG_FILE);

    for (size_t i = 0; i < m->len; i++)
        buf_addf(&path, "%s%s", i ? "." : "", m->path[i]);
    err_set(m->err, 1, fmt, path.data);
    buf_clear(&path);
    cnode_free(base);
    cnode_free(over);
    return -1;
}

/* Each key of over into base; base is the result. */
static int merge_maps(struct merger *m, struct cnode *base, struct cnode *over, struct cnode **ret)
{
    for (size_t i = 0; i < over->len; i++) {
        struct cnode *theirs = over->items[i], *ours = cnode_get(base, over->keys[i]), *both;
        bool last = m->len == sizeof(m->path) / sizeof(m->path[0]);

        over->items[i] = NULL;
        if (!ours) {
            cnode_set(base, over->keys[i], theirs);
            continue;
        }
        if (last) {
            cnode_free(theirs);
            return fail(m, base, over, "cannot override %s");
        }
        ours = cnode_take_value(base, over->keys[i]);
        m->path[m->len++] = over->keys[i];
        if (merge(m, ours, theirs, &both) < 0) {
            cnode_free(base);
            cnode_free(over);
            return -1;
        }
        m->len--;
        cnode_set(base, over->keys[i], both);
    }
    cnode_free(over);
    *ret = base;
    return 0;
}

/* The items of over behind those of base. */
static struct cnode *append(struct cnode *base, struct cnode *over)
{
    for (size_t i = 0; i < over->len; i++) {
        cnode_add(base, over->items[i]);
        over->items[i] = NULL;
    }
    cnode_free(over);
    return base;
}

/* ---- forms that are made alike before they are merged ---- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp((*(struct cnode *const *)a)->text, (*(struct cnode *const *)b)->text);
}

static struct cnode *pair_text(const struct cnode *place, const char *key, const struct cnode *value)
{
    struct cnode *n = cnode_new(CNODE_STRING);

    cnode_place(n, value ? value : place);
    n->text =
        value && value->kind != CNODE_NULL ? xasprintf("%s=%s", key, value->text ? value->text : "") : xstrdup(key);
    return n;
}

/* A map becomes a sorted list of "key=value", a string a list of one. Takes n. */
static struct cnode *to_list(struct cnode *n)
{
    struct cnode *list;

    if (n->kind == CNODE_LIST)
        return n;
    list = cnode_new(CNODE_LIST);
    cnode_place(list, n);
    if (n->kind == CNODE_STRING) {
        cnode_add(list, n);
        return list;
    }
    for (size_t i = 0; n->kind == CNODE_MAP && i < n->len; i++) {
        const struct cnode *value = n->items[i];

        for (size_t j = 0; value->kind == CNODE_LIST && j < value->len; j++)
            cnode_add(list, pair_text(value, n->keys[i], value->items[j]));
        if (value->kind != CNODE_LIST)
            cnode_add(list, pair_text(n, n->keys[i], value));
    }
    cnode_free(n);
    if (list->len > 1)
        qsort(list->items, list->len, sizeof(*list->items), compare_texts);
    return list;
}

/* A list of names becomes a map of them, each with a copy of value. Takes n. */
static struct cnode *to_map(struct cnode *n, const struct cnode *value)
{
    struct cnode *map;

    if (n->kind == CNODE_MAP)
        return n;
    map = cnode_new(CNODE_MAP);
    cnode_place(map, n);
    for (size_t i = 0; n->kind == CNODE_LIST && i < n->len; i++) {
        struct cnode *copy = value ? cnode_copy(value) : cnode_new(CNODE_NULL);

        cnode_place(copy, n->items[i]);
        cnode_set(map, cnode_text(n->items[i]) ? cnode_text(n->items[i]) : "", copy);
    }
    cnode_free(n);
    return map;
}

/* ---- the rules ---- */

static int replace(struct merger *m, struct cnode *base, struct cnode *over, struct cnode **ret)
{
    (void)m;
    cnode_free(base);
    *ret = over;
    return 0;
}

static int merge_lists(struct merger *m, struct cnode *base, struct cnode *over, struct cnode **ret)
{
    (void)m;
    *ret = append(to_list(base), to_list(over));
    return 0;
}

static int merge_hosts(struct merger *m, struct cnode *base, struct cnode *over, struct cnode **ret)
{
    struct cnode *ours = to_list(base), *theirs = to_list(over), *seen = cnode_new(CNODE_MAP);

    (void)m;
    for (size_t i = 0; i < ours->len; i++)
        if (cnode_text(ours->items[i]))
            cnode_set(seen, ours->items[i]->text, cnode_new(CNODE_NULL));
    for (size_t i = 0; i < theirs->len; i++) {
        if (cnode_text(theirs->items[i]) && cnode_get(seen, theirs->items[i]->text))
            continue;
        cnode_add(ours, theirs->items[i]);
        theirs->items[i] = NULL;
    }
    cnode_free(theirs);
    cnode_free(seen);
    *ret = ours;
    return 0;
}

static struct cnode *build_map(struct cnode *n)
{
    struct cnode *map;

    if (n->kind != CNODE_STRING)
        return to_map(n, NULL);
    map = cnode_new(CNODE_MAP);
    cnode_place(map, n);
    cnode_set(map, "context", n);
    return map;
}

static int merge_build(struct merger *m, struct cnode *base, struct cnode *over, struct cnode **ret)
{
    return merge_maps(m, build_map(base), build_map(over), ret);
}

static int merge_depends_on(struct merger *m, struct cnode *base, struct cnode *over, struct cnode **ret)
{
    struct cnode *usual = cnode_new(CNODE_MAP);
    int rc;

    cnode_set(usual, "condition", cnode_string("service_started"));
    cnode_set(usual, "required", cnode_bool(true));
    rc = merge_maps(m, to_map(base, usual), to_map(over, usual), ret);
    cnode_free(usual);
    return rc;
}

static int merge_names(struct merger *m, struct cnode *base, struct cnode *over, struct cnode **ret)
{
    return merge_maps(m, to_map(base, NULL), to_map(over, NULL), ret);
}

/* Options of one driver say nothing to another one. */
static int merge_logging(struct merger *m, struct cnode *base, struct cnode *over, struct cnode **ret)
{
    const char *ours = cnode_str(base, "driver"), *theirs = cnode_str(over, "driver");

    if (base->kind != CNODE_MAP || over->kind != CNODE_MAP || (ours && theirs && strcmp(ours, theirs)))
        return replace(m, base, over, ret);
    return merge_maps(m, base, over, ret);
}

/* Subnets as compose merges them. The configurations of a result are copies, since compose lets several of its steps
 * work on the same one. */
struct subnets {
    struct cnode *items[SUBNETS * 2];
    size_t len;
};

static size_t subnet_find(const struct subnets *s, const struct cnode *config)
{
    const char *subnet = cnode_str(config, "subnet");
    size_t i = 0;

    for (; i < s->len; i++) {
        const char *other = cnode_str(s->items[i], "subnet");

        if (subnet == other || (subnet && other && !strcmp(subnet, other)))
            break;
    }
    return i;
}

static bool same_subnet(const struct cnode *a, const struct cnode *b)
{
    const char *one = cnode_str(a, "subnet"), *other = cnode_str(b, "subnet");

    return one && other ? !strcmp(one, other) : one == other;
}

static void subnet_merge(struct subnets *s, struct cnode *ours, struct cnode *theirs)
{
    size_t at = subnet_find(s, theirs);

    if (!same_subnet(ours, theirs) && at == s->len) {
        if (s->len < SUBNETS * 2)
            s->items[s->len++] = theirs;
        return;
    }
    for (size_t i = 0; i < theirs->len; i++)
        cnode_set(ours, theirs->keys[i], cnode_copy(theirs->items[i]));
    at = subnet_find(s, ours);
    if (at < s->len)
        s->items[at] = ours;
    else if (s->len < SUBNETS * 2)
        s->items[s->len++] = ours;
}

static int merge_ipam(struct merger *m, struct cnode *base, struct cnode *over, struct cnode **ret)
{
    struct subnets *s;

    if (base->kind != CNODE_LIST || over->kind != CNODE_LIST)
        return fail(m, base, over, "%s: unexpected type");
    if (base->len > SUBNETS || over->len > SUBNETS)
        return fail(m, base, over, "%s: too many subnets");
    s = xcalloc(1, sizeof(*s));
    for (size_t i = 0; i < base->len; i++)
        for (size_t j = 0; j < over->len; j++)
            if (base->items[i]->kind == CNODE_MAP && over->items[j]->kind == CNODE_MAP)
                subnet_merge(s, base->items[i], over->items[j]);
    *ret = cnode_new(CNODE_LIST);
    cnode_place(*ret, over);
    for (size_t i = 0; i < s->len; i++)
        cnode_add(*ret, cnode_copy(s->items[i]));
    free(s);
    cnode_free(base);
    cnode_free(over);
    return 0;
}

static const struct rule {
    const char *pattern;
    merge_fn *fn;
} rules[] = {
    {"networks.*.ipam.config", merge_ipam},
    {"networks.*.labels", merge_lists},
    {"volumes.*.labels", merge_lists},
    {"services.*.annotations", merge_lists},
    {"services.*.build", merge_build},
    {"services.*.build.args", merge_lists},
    {"services.*.build.additional_contexts", merge_lists},
    {"services.*.build.extra_hosts", merge_hosts},
    {"services.*.build.labels", merge_lists},
    {"services.*.command", replace},
    {"services.*.depends_on", merge_depends_on},
    {"services.*.deploy.labels", merge_lists},
    {"services.*.dns", merge_lists},
    {"services.*.dns_opt", merge_lists},
    {"services.*.dns_search", merge_lists},
    {"services.*.entrypoint", replace},
    {"services.*.env_file", merge_lists},
    {"services.*.label_file", merge_lists},
    {"services.*.environment", merge_lists},
    {"services.*.extra_hosts", merge_hosts},
    {"services.*.healthcheck.test", replace},
    {"services.*.labels", merge_lists},
    {"services.*.volumes.*.volume.labels", merge_lists},
    {"services.*.logging", merge_logging},
    {"services.*.models", merge_names},
    {"services.*.networks", merge_names},
    {"services.*.sysctls", merge_lists},
    {"services.*.tmpfs", merge_lists},
    {"services.*.ulimits.*", replace},
};

static int merge(struct merger *m, struct cnode *base, struct cnode *over, struct cnode **ret)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (m->len > 2 && path_matches(m->path, m->len, rules[i].pattern))
            return rules[i].fn(m, base, over, ret);
    if (over->kind == CNODE_NULL) {
        cnode_free(over);
        *ret = base;
        return 0;
    }
    if ((base->kind == CNODE_MAP || base->kind == CNODE_LIST) && over->kind != base->kind)
        return fail(m, base, over, "cannot override %s");
    if (base->kind == CNODE_MAP)
        return merge_maps(m, base, over, ret);
    if (base->kind == CNODE_LIST) {
        *ret = append(base, over);
        return 0;
    }
    return replace(m, base, over, ret);
}

int merge_trees(struct cnode *base, struct cnode *over, const char *path, struct cnode **ret, struct err *err)
{
    struct merger m = {.err = err};
    struct strlist parts = STRLIST_INIT;
    int rc;

    if (*path)
        strlist_split(&parts, path, '.');
    for (size_t i = 0; i < parts.len; i++)
        m.path[m.len++] = parts.items[i];
    rc = merge(&m, base, over, ret);
    strlist_clear(&parts);
    return rc;
}
