/* compose_load(): from what a person said to the model. */
#include "translate/compose/load.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/compose/find.h"
#include "translate/compose/settle.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void compose_project_clear(struct compose_project *p)
{
    free(p->name);
    free(p->working_dir);
    strlist_clear(&p->files);
    strlist_clear(&p->env_files);
    strlist_clear(&p->environment);
    strlist_clear(&p->profiles);
    strlist_clear(&p->warnings);
    cnode_free(p->model);
    cnode_free(p->disabled);
    *p = (struct compose_project){0};
}

/* --profile, else COMPOSE_PROFILES. */
static void choose_profiles(const struct compose_input *in, const struct cnode *env, struct strlist *ret)
{
    const char *named = cnode_str(env, "COMPOSE_PROFILES");

    if (in->profiles.len) {
        strlist_copy(ret, &in->profiles);
        return;
    }
    for (const char *s = named; s && *s;) {
        size_t len = strcspn(s, ","), from = 0, to = len;

        while (from < to && isspace((unsigned char)s[from]))
            from++;
        while (to > from && isspace((unsigned char)s[to - 1]))
            to--;
        if (to > from)
            strlist_addf(ret, "%.*s", (int)(to - from), s + from);
        s += len + (s[len] == ',');
    }
}

/* All files over one another. */
static int load_tree(struct loader *l, struct project_files *files, struct compose_project *p, struct err *err)
{
    struct scope scope = {files->dir, files->dir, files->env, !l->in->no_path_resolution};

    if (project_name(l, files, &p->name, err) < 0)
        return -1;
    cnode_set(files->env, "COMPOSE_PROJECT_NAME", cnode_string(p->name));
    if (files_load(l, &scope, &files->files, files->texts, NULL, &p->model, err) < 0)
        return -1;
    if (p->model->len == 0)
        return err_set(err, 1, "empty compose file");
    if (!*p->name)
        return err_set(err, 1, "project name must not be empty");
    cnode_set(p->model, "name", cnode_string(p->name));
    return 0;
}

/* What is known besides the tree. */
static void describe(const struct compose_input *in, struct project_files *files, struct compose_project *p)
{
    p->working_dir = xstrdup(files->dir);
    strlist_copy(&p->files, &files->files);
    strlist_copy(&p->env_files, &files->env_files);
    p->env_named = files->env_named;
    for (size_t i = 0; i < files->env->len; i++)
        strlist_addf(&p->environment, "%s=%s", files->env->keys[i], cnode_text(files->env->items[i]));
    choose_profiles(in, files->env, &p->profiles);
    p->disabled = cnode_new(CNODE_MAP);
}

/* From the merged tree to the model. */
static int settle(const struct compose_input *in, struct compose_project *p, struct err *err)
{
    if (compose_normalize(p, in, err) < 0)
        return -1;
    if (in->no_interpolate)
        return 0;
    if (compose_apply_profiles(p, in, err) < 0)
        return -1;
    if (!in->no_consistency && compose_consistent(p, err) < 0)
        return -1;
    if (compose_resolve_files(p, in, err) < 0)
        return -1;
    if (!in->all_resources)
        compose_drop_unused(p);
    return 0;
}

int compose_load(const struct compose_input *in, struct compose_project *ret, struct err *err)
{
    struct compose_project p = {.files = STRLIST_INIT};
    struct project_files files = {.files = STRLIST_INIT};
    struct loader l = {in, &p.warnings, LIMIT_COMPOSE_NODES, LIMIT_COMPOSE_TEXT, LIMIT_COMPOSE_FILES};
    int rc = project_find(&l, &files, err);

    if (rc == 0)
        rc = load_tree(&l, &files, &p, err);
    if (rc == 0) {
        describe(in, &files, &p);
        rc = settle(in, &p, err);
    }
    project_files_clear(&files);
    *ret = (struct compose_project){.warnings = STRLIST_INIT};
    if (rc < 0) {
        ret->warnings = p.warnings;
        p.warnings = (struct strlist)STRLIST_INIT;
        compose_project_clear(&p);
    } else {
        *ret = p;
    }
    return rc;
}
