/* `include`: other projects' files, each in its own folder and with its own variables. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/paths.h"
#include "translate/compose/load.h"

#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(struct cnode *, cnode_free)

/* One entry of the list. */
struct entry {
    struct strlist paths, env_files;
    char *dir, *shown_dir; /* the project's folder: absolute, and relative to the including one */
};

struct include {
    struct loader *l;
    const struct scope *scope;
    const struct included *included;
    struct err *err;
};

static void entry_clear(struct entry *e)
{
    strlist_clear(&e->paths);
    strlist_clear(&e->env_files);
    free(e->dir);
    free(e->shown_dir);
}

/* A string, or a list of them. */
static int strings(const struct include *x, const char *key, const struct cnode *value, struct strlist *ret)
{
    if (!value || value->kind == CNODE_NULL)
        return 0;
    if (value->kind == CNODE_STRING) {
        strlist_add(ret, value->text);
        return 0;
    }
    for (size_t i = 0; value->kind == CNODE_LIST && i < value->len; i++) {
        if (value->items[i]->kind != CNODE_STRING)
            return err_set(x->err, 1, "include.%s must be a string or a list of strings", key);
        strlist_add(ret, value->items[i]->text);
    }
    return value->kind == CNODE_LIST ? 0 : err_set(x->err, 1, "include.%s must be a string or a list of strings", key);
}

static bool is_dir(const struct include *x, const char *path, bool *ret_exists)
{
    bool dir = false;

    *ret_exists = x->l->in->exists(x->l->in->arg, path, &dir);
    return *ret_exists && dir;
}

/* The folder of a path below the including folder, relative to it. */
static char *shown_dir(const struct include *x, const char *path)
{
    cleanup_free char *abs = path_absolute(x->scope->dir, path), *dir = NULL;
    bool exists;

    dir = is_dir(x, abs, &exists) ? xstrdup(abs) : path_dir(abs);
    return path_relative(x->scope->dir, dir);
}

static void tell(const struct included *i, struct buf *out)
{
    if (i->before)
        tell(i->before, out);
    buf_addf(out, "%s%s", i->before ? "\n include " : "\n", i->file);
}

static int check_circle(const struct include *x, const char *path)
{
    for (const struct included *i = x->included; i; i = i->before) {
        if (!strcmp(i->file, path)) {
            struct included last = {x->included, path};
            cleanup_buf struct buf way = BUF_INIT(LIMIT_CONFIG_FILE);

            tell(&last, &way);
            return err_set(x->err, 1, "include cycle detected:%s", way.data);
        }
    }
    return 0;
}

/* Paths become absolute; the first of them says where the project is, unless somebody else does. */
static int settle_paths(const struct include *x, struct entry *e, const char *project_dir)
{
    for (size_t i = 0; i < e->paths.len; i++) {
        char *path;

        if (file_check_local(e->paths.items[i], x->err) < 0)
            return -1;
        path = path_absolute(x->scope->dir, e->paths.items[i]);

        free(e->paths.items[i]);
        e->paths.items[i] = path;
    }
    if (e->paths.len == 0)
        return err_set(x->err, 1, "include.path is required");
    if (!project_dir) {
        e->dir = path_dir(e->paths.items[0]);
        e->shown_dir = shown_dir(x, e->paths.items[0]);
    } else {
        e->dir = path_absolute(x->scope->dir, project_dir);
        e->shown_dir = *project_dir == '/' ? xstrdup(project_dir) : shown_dir(x, project_dir);
    }
    return check_circle(x, e->paths.items[0]);
}

/* The env files that are named, or .env of the project's folder. */
static int settle_env_files(const struct include *x, struct entry *e)
{
    bool exists, dir;

    if (e->env_files.len == 0) {
        cleanup_free char *usual = path_join(e->dir, ".env");

        if (!is_dir(x, usual, &exists) && exists)
            strlist_add(&e->env_files, usual);
        return 0;
    }
    for (size_t i = 0; i < e->env_files.len; i++) {
        char *path;

        if (*e->env_files.items[i] == '/')
            continue;
        path = path_absolute(x->scope->dir, e->env_files.items[i]);
        free(e->env_files.items[i]);
        e->env_files.items[i] = path;
        dir = is_dir(x, path, &exists);
        if (!exists)
            return err_set(x->err, 1, "stat %s: no such file or directory", path);
        if (dir)
            return err_set(x->err, 1, "%s is not a file", path);
    }
    return 0;
}

static int entry_read(const struct include *x, const struct cnode *value, struct entry *ret)
{
    const char *project_dir = cnode_str(value, "project_directory");

    if (value->kind == CNODE_STRING) {
        strlist_add(&ret->paths, value->text);
    } else if (value->kind == CNODE_MAP) {
        if (strings(x, "path", cnode_get(value, "path"), &ret->paths) < 0 ||
            strings(x, "env_file", cnode_get(value, "env_file"), &ret->env_files) < 0)
            return -1;
    } else {
        return err_set(x->err, 1, "include must be a list of strings or mappings");
    }
    if (settle_paths(x, ret, project_dir && *project_dir ? project_dir : NULL) < 0)
        return -1;
    return settle_env_files(x, ret);
}

/* What both have must be the same in both. */
static int import(const struct include *x, struct cnode *from, struct cnode *tree, const char *key)
{
    struct cnode *theirs = cnode_get(from, key), *ours;

    if (!theirs || theirs->kind != CNODE_MAP)
        return 0;
    ours = cnode_get(tree, key);
    if (!ours) {
        cnode_set(tree, key, cnode_take(from, key));
        return 0;
    }
    if (ours->kind != CNODE_MAP)
        return err_set(x->err, 1, "%s must be a mapping", key);
    for (size_t i = 0; i < theirs->len; i++) {
        const struct cnode *same = cnode_get(ours, theirs->keys[i]);

        if (same && !cnode_same(same, theirs->items[i]))
            return err_set(x->err, 1, "%s.%s conflicts with imported resource", key, theirs->keys[i]);
        if (same)
            continue;
        cnode_set(ours, theirs->keys[i], theirs->items[i]);
        theirs->items[i] = NULL;
    }
    return 0;
}

/* Adds the variables of the entry's env files that are not set yet. */
static int variables(const struct include *x, const struct entry *e, struct cnode *env)
{
    cleanup_with(cnode_freep) struct cnode *vars = cnode_new(CNODE_MAP);

    if (dotenv_files(x->l, x->scope->env, &e->env_files, vars, x->err) < 0)
        return -1;
    for (size_t i = 0; i < vars->len; i++)
        if (!cnode_get(env, vars->keys[i]))
            cnode_set(env, vars->keys[i], cnode_copy(vars->items[i]));
    return 0;
}

static int entry_apply(const struct include *x, const struct entry *e, struct cnode *tree)
{
    static const char *const keys[] = {"services", "volumes", "networks", "secrets", "configs", "models"};
    cleanup_with(cnode_freep) struct cnode *env = cnode_copy(x->scope->env), *from = NULL;
    struct scope scope = {e->dir, e->shown_dir, env, true};

    if (variables(x, e, env) < 0 || files_load(x->l, &scope, &e->paths, NULL, x->included, &from, x->err) < 0)
        return -1;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (import(x, from, tree, keys[i]) < 0)
            return -1;
    return 0;
}

int include_apply(struct loader *l, const struct scope *scope, struct cnode *tree, const struct included *included,
                  struct err *err)
{
    struct include x = {l, scope, included, err};
    cleanup_with(cnode_freep) struct cnode *list = cnode_take(tree, "include");
    int rc = 0;

    if (!list || list->kind == CNODE_NULL)
        return 0;
    if (list->kind != CNODE_LIST)
        return err_set(err, 1, "`include` must be a list, got %s", cnode_text(list) ? list->text : "a mapping");
    for (size_t i = 0; rc == 0 && i < list->len; i++) {
        struct entry e = {.paths = STRLIST_INIT};

        rc = entry_read(&x, list->items[i], &e);
        if (rc == 0)
            rc = entry_apply(&x, &e, tree);
        entry_clear(&e);
    }
    return rc;
}
