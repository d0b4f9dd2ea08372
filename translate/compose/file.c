/* One file laid over those before it, and all files of a scope. */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/compose/canonical.h"
#include "translate/compose/load.h"
#include "translate/compose/settle.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(struct cnode *, cnode_free)

/* What one step of a document needs. */
struct step {
    struct loader *l;
    const struct scope *scope;
    const char *name;
    struct file_flags flags;
    const struct included *included;
    struct err *err;
};

int file_check_local(const char *path, struct err *err)
{
    static const char *const remote[] = {"oci://", "git://", "git@", "ssh://", "https://", "http://", "github.com/"};

    for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++)
        if (!strncmp(path, remote[i], strlen(remote[i])))
            return err_set(err, 1, "%s: compose files are read from this machine only, not from a registry or from git",
                           path);
    return 0;
}

char *file_read(struct loader *l, const char *path, struct err *err)
{
    cleanup_err struct err why = ERR_INIT;
    cleanup_free char *said = NULL;
    char *text;
    size_t len;

    if (l->files_left == 0) {
        err_set(err, 1, "%s: more than 1000 files are read for one project", path);
        return NULL;
    }
    l->files_left--;
    text = l->in->read(l->in->arg, path, &why);
    if (!text) {
        said = xstrdup(strerror(why.code ? why.code : EIO));
        said[0] = (char)tolower((unsigned char)said[0]);
        if (why.code == EFBIG)
            err_set(err, 1, "read %s: file is larger than 4 MiB", path);
        else
            err_set(err, 1, "%s %s: %s", why.code == EISDIR ? "read" : "open", path, said);
        return NULL;
    }
    len = strlen(text);
    if (len > l->text_left) {
        free(text);
        err_set(err, 1, "%s: the files of this project are too large together", path);
        return NULL;
    }
    l->text_left -= len;
    return text;
}

/* `version` says nothing any more. */
static void drop_version(const struct step *s, struct cnode *tree)
{
    cleanup_free char *warning = NULL;

    if (!cnode_get(tree, "version"))
        return;
    cnode_remove(tree, "version");
    warning = xasprintf("%s: the attribute `version` is obsolete, it will be ignored, please remove it to avoid "
                        "potential confusion",
                        s->name);
    if (!strlist_has(s->l->warnings, warning))
        strlist_add(s->l->warnings, warning);
}

/* The merged tree as it is after each document. */
static int settle(const struct step *s, struct cnode *tree)
{
    if (unicity_enforce(tree, s->err) < 0)
        return -1;
    if (!s->flags.no_check) {
        if (compose_schema_check(tree, s->err) < 0)
            return err_wrap(s->err, "validating %s", s->name);
        drop_version(s, tree);
    }
    if (compose_canonical_loose(tree, s->l->in->no_interpolate, s->err) < 0)
        return -1;
    omit_empty(tree);
    return unicity_enforce(tree, s->err);
}

/* A document over *tree, which is taken and replaced. */
static int document(const struct step *s, struct yaml_doc *doc, struct cnode **tree)
{
    struct cnode *own = doc->root, *before, *merged;

    if (!own || own->kind != CNODE_MAP)
        return err_set(s->err, 1, "top-level object must be a mapping");
    if (!s->l->in->no_interpolate && interpolate(s->l, own, s->scope->env, s->err) < 0)
        return -1;
    if (!s->flags.no_extends && extends_apply(s->l, s->scope, s->name, own, &doc->cuts, s->err) < 0)
        return -1;
    if (*tree)
        cuts_apply(&doc->cuts, *tree);
    if (!s->flags.no_include) {
        struct included here = {s->included, s->name};

        if (include_apply(s->l, s->scope, own, &here, s->err) < 0)
            return -1;
    }
    before = *tree ? *tree : cnode_new(CNODE_MAP);
    *tree = NULL;
    doc->root = NULL;
    if (merge_trees(before, own, "", &merged, s->err) < 0)
        return -1;
    *tree = merged;
    return settle(s, merged);
}

int file_load(struct loader *l, const struct scope *scope, const char *name, const char *text, struct file_flags flags,
              const struct included *included, struct cnode **tree, struct strlist *last_cuts, struct err *err)
{
    struct step s = {l, scope, name, flags, included, err};
    cleanup_free char *own_text = NULL;
    struct yaml_docs docs = YAML_DOCS_INIT;
    int rc = 0;

    if (!text) {
        own_text = file_read(l, name, err);
        if (!own_text)
            return -1;
        text = own_text;
    }
    if (yaml_parse(name, text, strlen(text), &l->nodes_left, &docs, err) < 0)
        return err && err->code == YAML_KEY ? -1 : err_wrap(err, "failed to parse %s", name);
    for (size_t i = 0; rc == 0 && i < docs.len; i++)
        rc = document(&s, &docs.items[i], tree);
    if (rc == 0 && last_cuts && docs.len)
        strlist_copy(last_cuts, &docs.items[docs.len - 1].cuts);
    yaml_docs_clear(&docs);
    return rc;
}

int files_load(struct loader *l, const struct scope *scope, const struct strlist *names, char *const *texts,
               const struct included *included, struct cnode **ret, struct err *err)
{
    cleanup_with(cnode_freep) struct cnode *tree = NULL;

    for (size_t i = 0; i < names->len; i++)
        if (file_load(l, scope, names->items[i], texts ? texts[i] : NULL, (struct file_flags){0}, included, &tree, NULL,
                      err) < 0)
            return -1;
    if (!tree)
        tree = cnode_new(CNODE_MAP);
    if (compose_set_defaults(tree, err) < 0 || compose_validate(tree, err) < 0)
        return -1;
    if (scope->resolve_paths && compose_resolve_paths(tree, scope->shown_dir, l->in->home, err) < 0)
        return -1;
    if (!l->in->no_interpolate)
        compose_resolve_variables(tree, scope->env);
    *ret = steal(&tree);
    return 0;
}
