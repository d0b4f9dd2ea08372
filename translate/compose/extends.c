/* Services that extend others, of the same file or another one. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/paths.h"
#include "translate/compose/load.h"
#include "translate/compose/settle.h"

#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(struct cnode *, cnode_free)

#define CHAIN 100 /* services that extend one another: each is a level of the stack */

struct extends {
    struct loader *l;
    const struct scope *scope;
    const char *file; /* the one that `extends` was met in first: compose names it throughout */
    struct err *err;
};

static int service(const struct extends *x, const char *name, struct cnode *services, const struct trail *trail,
                   const struct strlist *cuts);

static size_t count(const struct cnode *n)
{
    size_t all = 1;

    for (size_t i = 0; i < n->len; i++)
        all += count(n->items[i]);
    return all;
}

/* The way back to the first service, oldest first. */
static void tell(const struct trail *t, struct buf *out)
{
    if (t->before)
        tell(t->before, out);
    buf_addf(out, "\n  %s%s in %s", t->before ? "extends " : "", t->service, t->file);
}

/* Whether a service of a file was met before; an error then. */
static int check_circle(const struct extends *x, const struct trail *t)
{
    size_t len = 0;

    for (const struct trail *o = t->before; o; o = o->before) {
        len++;
        if (!strcmp(o->file, t->file) && !strcmp(o->service, t->service)) {
            cleanup_buf struct buf way = BUF_INIT(LIMIT_CONFIG_FILE);

            tell(t, &way);
            return err_set(x->err, 1, "Circular reference:%s", way.data);
        }
    }
    if (len >= CHAIN)
        return err_set(x->err, 1, "services.%s: more than %d services extend one another", t->service, CHAIN);
    return 0;
}

/* The folder of another file as paths of this project are joined to it. */
static char *relative_dir(const struct extends *x, const char *path)
{
    cleanup_free char *dir = path_dir(path);

    return path_relative(x->scope->dir, dir);
}

/* Reads the file that a service is taken from; *ret is its tree, with paths. */
static int other_file(const struct extends *x, const char *name, const char *ref, const char *ref_file,
                      struct cnode **ret, struct strlist *ret_cuts)
{
    cleanup_free char *path = path_absolute(x->scope->dir, ref_file);
    cleanup_free char *dir = path_dir(path), *shown = relative_dir(x, path);
    struct scope scope = {dir, shown, x->scope->env, true};
    struct file_flags flags = {.no_extends = true, .no_include = true, .no_check = true};
    cleanup_with(cnode_freep) struct cnode *tree = NULL;
    const struct cnode *services;

    if (file_load(x->l, &scope, path, NULL, flags, NULL, &tree, ret_cuts, x->err) < 0)
        return -1;
    services = cnode_get(tree, "services");
    if (!services)
        return err_set(x->err, 1, "cannot extend service \"%s\" in %s: no services section", name, path);
    if (services->kind != CNODE_MAP)
        return err_set(x->err, 1, "cannot extend service \"%s\" in %s: services must be a mapping", name, path);
    if (!cnode_get(services, ref))
        return err_set(x->err, 1, "cannot extend service \"%s\" in %s: service \"%s\" not found in %s", name, x->file,
                       ref, ref_file);
    if (compose_resolve_paths(tree, shown, x->l->in->home, x->err) < 0)
        return -1;
    *ret = steal(&tree);
    return 0;
}

/* A copy of a service as a map {services: {name: copy}}, so that paths fit. */
static struct cnode *as_project(const char *name, struct cnode *copy)
{
    struct cnode *project = cnode_new(CNODE_MAP), *services = cnode_new(CNODE_MAP);

    cnode_set(services, name, copy);
    cnode_set(project, "services", services);
    return project;
}

/* Lays the service over a copy of what it extends. */
static int lay_over(const struct extends *x, const char *name, struct cnode *services, const struct cnode *base,
                    const struct strlist *cuts)
{
    struct cnode *project, *copy, *merged;
    size_t size = count(base);

    if (size > x->l->nodes_left)
        return err_set(x->err, 1, "services.%s: more than %u values come together by extends", name,
                       LIMIT_COMPOSE_NODES);
    x->l->nodes_left -= size;
    project = as_project(name, cnode_copy(base));
    cuts_apply(cuts, project);
    copy = cnode_take(cnode_get(project, "services"), name);
    cnode_free(project);
    if (!copy)
        copy = cnode_new(CNODE_MAP);
    if (merge_trees(copy, cnode_take_value(services, name), "services.x", &merged, x->err) < 0)
        return -1;
    cnode_remove(merged, "extends");
    cnode_set(services, name, merged);
    return 0;
}

/* What `extends` says; *ret_file is NULL for the same file. */
static int read_extends(const struct extends *x, const char *name, const struct cnode *value, const char **ret_ref,
                        const char **ret_file)
{
    const struct cnode *ref = value->kind == CNODE_MAP ? cnode_get(value, "service") : value;
    const struct cnode *file = cnode_get(value, "file");

    if (!cnode_is(ref, CNODE_STRING))
        return err_set(x->err, 1, "extends.%s.service is required", name);
    if (file && file->kind != CNODE_STRING && file->kind != CNODE_NULL)
        return err_set(x->err, 1, "services.%s.extends.file must be a string", name);
    *ret_ref = ref->text;
    *ret_file = cnode_text(file);
    return *ret_file ? file_check_local(*ret_file, x->err) : 0;
}

/* The service that is extended is of another file. */
static int from_file(const struct extends *x, const char *name, const char *ref, const char *file,
                     struct cnode *services, const struct trail *before, const struct strlist *cuts)
{
    cleanup_with(cnode_freep) struct cnode *tree = NULL;
    cleanup_strlist struct strlist their_cuts = STRLIST_INIT;
    struct trail here = {before, file, name};
    size_t nodes_left = x->l->nodes_left;
    struct cnode *theirs;
    const struct cnode *base;

    if (other_file(x, name, ref, file, &tree, &their_cuts) < 0 || check_circle(x, &here) < 0)
        return -1;
    theirs = cnode_get(tree, "services");
    if (service(x, ref, theirs, &here, &their_cuts) < 0)
        return -1;
    base = cnode_get(theirs, ref);
    x->l->nodes_left = nodes_left; /* the other file's tree goes away again */
    return cnode_is(base, CNODE_MAP) ? lay_over(x, name, services, base, cuts) : 0;
}

static int from_here(const struct extends *x, const char *name, const char *ref, struct cnode *services,
                     const struct trail *before, const struct strlist *cuts)
{
    static const struct strlist none = STRLIST_INIT;
    struct trail here = {before, x->file, name};
    const struct cnode *base;

    if (!cnode_get(services, ref))
        return err_set(x->err, 1, "cannot extend service \"%s\" in %s: service \"%s\" not found", name, x->file, ref);
    if (check_circle(x, &here) < 0 || service(x, ref, services, &here, &none) < 0)
        return -1;
    base = cnode_get(services, ref);
    return cnode_is(base, CNODE_MAP) ? lay_over(x, name, services, base, cuts) : 0;
}

/* Carries out the `extends` of one service, in place. */
static int service(const struct extends *x, const char *name, struct cnode *services, const struct trail *trail,
                   const struct strlist *cuts)
{
    const struct cnode *own = cnode_get(services, name), *value;
    cleanup_free char *ref_text = NULL, *file_text = NULL;
    const char *ref = NULL, *file = NULL;

    if (!own || own->kind == CNODE_NULL)
        return 0;
    if (own->kind != CNODE_MAP)
        return err_set(x->err, 1, "services.%s must be a mapping", name);
    value = cnode_get(own, "extends");
    if (!value)
        return 0;
    if (read_extends(x, name, value, &ref, &file) < 0)
        return -1;
    ref_text = xstrdup(ref);
    file_text = xstrdup(file);
    if (file_text)
        return from_file(x, name, ref_text, file_text, services, trail, cuts);
    return from_here(x, name, ref_text, services, trail, cuts);
}

int extends_apply(struct loader *l, const struct scope *scope, const char *file, struct cnode *tree,
                  const struct strlist *cuts, struct err *err)
{
    struct extends x = {l, scope, file, err};
    struct cnode *services = cnode_get(tree, "services");

    if (!services)
        return 0;
    if (services->kind != CNODE_MAP)
        return err_set(err, 1, "services must be a mapping");
    for (size_t i = 0; i < services->len; i++)
        if (service(&x, services->keys[i], services, NULL, cuts) < 0)
            return -1;
    return 0;
}
