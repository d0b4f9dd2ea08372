/* Lists that are sets: what is said again replaces what was said. And what !reset takes away. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/compose/load.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct unicity {
    const char *path[LIMIT_COMPOSE_DEPTH * 2];
    size_t len;
    struct err *err;
};

/* The key of an entry (owned by caller), NULL with err. */
typedef char *key_fn(const struct unicity *u, const struct cnode *entry, size_t i);

/* "services.web.ports.[0]" */
static char *place(const struct unicity *u, size_t item)
{
    struct buf path = BUF_INIT(LIMIT_CONFIG_FILE);

    for (size_t i = 0; i < u->len; i++)
        buf_addf(&path, "%s.", u->path[i]);
    buf_addf(&path, "[%zu]", item);
    return buf_detach(&path);
}

static const char *go_type(const struct cnode *n)
{
    static const char *const names[] = {
        [CNODE_NULL] = "<nil>",
        [CNODE_BOOL] = "bool",
        [CNODE_INT] = "int",
        [CNODE_FLOAT] = "float64",
        [CNODE_STRING] = "string",
        [CNODE_LIST] = "[]interface {}",
        [CNODE_MAP] = "map[string]interface {}",
    };

    return names[n->kind];
}

static char *fail(const struct unicity *u, size_t i, const char *fmt)
{
    cleanup_free char *at = place(u, i);

    err_set(u->err, 1, fmt, at);
    return NULL;
}

static char *key_of_pair(const struct unicity *u, const struct cnode *entry, size_t i)
{
    if (entry->kind != CNODE_STRING) {
        cleanup_free char *at = place(u, i);

        err_set(u->err, 1, "%s: unexpected type %s", at, go_type(entry));
        return NULL;
    }
    return xstrndup(entry->text, strcspn(entry->text, "="));
}

/* The target of "source:target:mode", as compose splits it: a single letter before a colon is a drive. */
static char *volume_target(const char *spec)
{
    const char *start = spec, *first = NULL;

    if (strlen(spec) <= 2)
        return xstrdup(spec);
    for (const char *p = spec;; p++) {
        if (*p == ':' && p - start == 1 && isalpha((unsigned char)*start))
            continue;
        if (*p && *p != ':')
            continue;
        if (first)
            return xstrndup(start, (size_t)(p - start));
        if (!*p)
            return xstrdup(start);
        first = start;

        start = p + 1;
    }
}

static char *key_of_volume(const struct unicity *u, const struct cnode *entry, size_t i)
{
    const struct cnode *target = cnode_get(entry, "target");

    if (entry->kind == CNODE_STRING)
        return volume_target(entry->text);
    if (entry->kind != CNODE_MAP)
        return xstrdup("");
    if (!cnode_is(target, CNODE_STRING))
        return fail(u, i, "service volume %s is missing a mount target");
    return xstrdup(target->text);
}

static char *key_of_device(const struct unicity *u, const struct cnode *entry, size_t i)
{
    const struct cnode *target = cnode_get(entry, "target");

    if (entry->kind == CNODE_STRING) {
        const char *colon = strchr(entry->text, ':');

        return colon ? xstrndup(colon + 1, strcspn(colon + 1, ":")) : xstrdup(entry->text);
    }
    if (entry->kind != CNODE_MAP)
        return xstrdup("");
    if (!cnode_is(target, CNODE_STRING))
        return fail(u, i, "service device %s is missing a mount target");
    return xstrdup(target->text);
}

static char *key_of_exposed(const struct unicity *u, const struct cnode *entry, size_t i)
{
    if (entry->kind != CNODE_STRING && entry->kind != CNODE_INT)
        return fail(u, i, "%s: unsupported expose value");
    return xstrdup(entry->text);
}

static char *key_of_mount(const struct unicity *u, const struct cnode *entry, size_t i, const char *dir)
{
    const char *target = cnode_str(entry, "target"), *source = cnode_str(entry, "source");

    if (entry->kind == CNODE_STRING)
        return xasprintf("%s/%s", dir, entry->text);
    if (entry->kind != CNODE_MAP)
        return fail(u, i, "%s: unsupported expose value");
    return target ? xstrdup(target) : xasprintf("%s/%s", dir, source ? source : "");
}

static char *key_of_config(const struct unicity *u, const struct cnode *entry, size_t i)
{
    return key_of_mount(u, entry, i, "");
}

static char *key_of_secret(const struct unicity *u, const struct cnode *entry, size_t i)
{
    return key_of_mount(u, entry, i, "/run/secrets");
}

static const char * or (const char *text, const char *otherwise)
{
    return text ? text : otherwise;
}

static char *key_of_port(const struct unicity *u, const struct cnode *entry, size_t i)
{
    const struct cnode *published = cnode_get(entry, "published"), *target = cnode_get(entry, "target");

    if (entry->kind == CNODE_INT || entry->kind == CNODE_STRING)
        return xstrdup(entry->text);
    if (entry->kind != CNODE_MAP)
        return xstrdup("");
    if (!target)
        return fail(u, i, "service ports %s is missing a target port");
    /* A number and a string are two things until the form is canonical. */
    return xasprintf("%s:%d%s:%d%s/%s", or (cnode_str(entry, "host_ip"), "0.0.0.0"),
                     published ? (int)published->kind : 0, or (cnode_text(published), ""), (int)target->kind,
                     or (cnode_text(target), ""), or (cnode_str(entry, "protocol"), "tcp"));
}

static char *key_of_env_file(const struct unicity *u, const struct cnode *entry, size_t i)
{
    if (entry->kind == CNODE_STRING)
        return xstrdup(entry->text);
    if (entry->kind != CNODE_MAP)
        return xstrdup("");
    if (!cnode_str(entry, "path"))
        return fail(u, i, "environment path attribute %s is missing");
    return xstrdup(cnode_str(entry, "path"));
}

static const struct set {
    const char *pattern;
    key_fn *key;
} sets[] = {
    {"networks.*.labels", key_of_pair},
    {"networks.*.ipam.options", key_of_pair},
    {"services.*.annotations", key_of_pair},
    {"services.*.build.args", key_of_pair},
    {"services.*.build.additional_contexts", key_of_pair},
    {"services.*.build.platform", key_of_pair},
    {"services.*.build.tags", key_of_pair},
    {"services.*.build.labels", key_of_pair},
    {"services.*.cap_add", key_of_pair},
    {"services.*.cap_drop", key_of_pair},
    {"services.*.configs", key_of_config},
    {"services.*.deploy.labels", key_of_pair},
    {"services.*.devices", key_of_device},
    {"services.*.dns", key_of_pair},
    {"services.*.dns_opt", key_of_pair},
    {"services.*.dns_search", key_of_pair},
    {"services.*.env_file", key_of_env_file},
    {"services.*.environment", key_of_pair},
    {"services.*.expose", key_of_exposed},
    {"services.*.labels", key_of_pair},
    {"services.*.links", key_of_pair},
    {"services.*.networks.*.aliases", key_of_pair},
    {"services.*.networks.*.link_local_ips", key_of_pair},
    {"services.*.ports", key_of_port},
    {"services.*.profiles", key_of_pair},
    {"services.*.secrets", key_of_secret},
    {"services.*.sysctls", key_of_pair},
    {"services.*.tmpfs", key_of_pair},
    {"services.*.volumes", key_of_volume},
};

/* Drops what is said again. */
static int enforce_list(const struct unicity *u, struct cnode *list, key_fn *key_of)
{
    struct cnode *seen = cnode_new(CNODE_MAP), *kept = cnode_new(CNODE_LIST);
    int rc = 0;

    for (size_t i = 0; i < list->len; i++) {
        cleanup_free char *key = key_of(u, list->items[i], i);
        int64_t at = key ? cnode_number(seen, key, -1) : -1;

        if (!key) {
            rc = -1;
            break;
        }
        if (at >= 0) {
            cnode_free(kept->items[at]);
            kept->items[at] = list->items[i];
        } else {
            cnode_set(seen, key, cnode_int((int64_t)kept->len));
            cnode_add(kept, list->items[i]);
        }
        list->items[i] = NULL;
    }
    if (rc == 0)
        cnode_swap_children(list, kept);
    cnode_free(kept);
    cnode_free(seen);
    return rc;
}

static int enforce(struct unicity *u, struct cnode *n)
{
    if (n->kind == CNODE_LIST) {
        for (size_t i = 0; u->len > 2 && i < sizeof(sets) / sizeof(sets[0]); i++)
            if (path_matches(u->path, u->len, sets[i].pattern))
                return enforce_list(u, n, sets[i].key);
        return 0;
    }
    if (n->kind != CNODE_MAP || u->len == sizeof(u->path) / sizeof(u->path[0]))
        return 0;
    for (size_t i = 0; i < n->len; i++) {
        u->path[u->len++] = n->keys[i];
        if (enforce(u, n->items[i]) < 0)
            return -1;
        u->len--;
    }
    return 0;
}

int unicity_enforce(struct cnode *tree, struct err *err)
{
    struct unicity u = {.err = err};

    return enforce(&u, tree);
}

/* ---- what is taken away ---- */

/* Removes what is at parts[at...]: "*" is every key. */
static void cut(struct cnode *n, char *const *parts, size_t at, size_t len)
{
    bool last = at + 1 == len;

    if (!n || n->kind != CNODE_MAP)
        return;
    if (strcmp(parts[at], "*") != 0) {
        if (last)
            cnode_remove(n, parts[at]);
        else
            cut(cnode_get(n, parts[at]), parts, at + 1, len);
        return;
    }
    while (last && n->len)
        cnode_remove(n, n->keys[n->len - 1]);
    for (size_t i = 0; i < n->len; i++)
        cut(n->items[i], parts, at + 1, len);
}

void cuts_apply(const struct strlist *cuts, struct cnode *tree)
{
    for (size_t i = 0; i < cuts->len; i++) {
        cleanup_strlist struct strlist parts = STRLIST_INIT;

        strlist_split(&parts, cuts->items[i], '.');
        for (size_t j = 0; j < parts.len; j++)
            for (char *p = parts.items[j]; (p = strchr(p, '\1')); p++)
                *p = '.';
        cut(tree, parts.items, 0, parts.len);
    }
}

static bool is_empty(const struct cnode *n)
{
    return n->kind == CNODE_NULL || (n->kind == CNODE_STRING && !*n->text);
}

void omit_empty(struct cnode *tree)
{
    const struct cnode *services = cnode_get(tree, "services");

    for (size_t i = 0; cnode_is(services, CNODE_MAP) && i < services->len; i++) {
        struct cnode *dns = cnode_get(services->items[i], "dns");

        for (size_t j = cnode_is(dns, CNODE_LIST) ? dns->len : 0; j > 0; j--)
            if (is_empty(dns->items[j - 1]))
                cnode_list_remove(dns, j - 1);
    }
}
