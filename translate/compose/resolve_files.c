/* Variables and labels that a service takes out of files. */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/compose/load.h"
#include "translate/compose/settle.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (64u << 20) /* what the variables of all files may put in */

struct sources {
    const struct cnode *first, *then; /* maps of strings */
};

static const char *look_up(const void *arg, const char *name)
{
    const struct sources *s = arg;
    const char *value = cnode_str(s->first, name);

    return value ? value : cnode_str(s->then, name);
}

/* Reads a file over vars. 1: it is not there. */
static int read_file(const struct compose_input *in, const char *path, const struct sources *sources,
                     struct cnode *vars, struct strlist *warnings, struct err *err)
{
    cleanup_free char *text = NULL;
    size_t left = TEXT_MAX;
    bool is_dir;

    if (!in->exists(in->arg, path, &is_dir))
        return 1;
    text = in->read(in->arg, path, err);
    if (!text)
        return -1;
    if (dotenv_parse(text, look_up, sources, vars, warnings, &left, err) < 0)
        return err_wrap(err, "failed to read %s", path);
    return 0;
}

/* What a file's name and `required` say: a string is one that must be there. */
static int one_env_file(const struct compose_input *in, const struct cnode *file, const struct sources *sources,
                        struct cnode *vars, struct strlist *warnings, struct err *err)
{
    const char *path = file->kind == CNODE_MAP ? cnode_str(file, "path") : cnode_text(file);
    int r = read_file(in, path ? path : "", sources, vars, warnings, err);

    if (r != 1)
        return r;
    if (file->kind == CNODE_MAP && !cnode_true(file, "required"))
        return 0;
    return err_set(err, 0, "env file %s not found: stat %s: no such file or directory", path, path);
}

/* What the service itself says wins over the files. */
static void lay_over(struct cnode *vars, const struct cnode *own)
{
    for (size_t i = 0; own && i < own->len; i++)
        cnode_set(vars, own->keys[i], cnode_copy(own->items[i]));
}

static void put(struct cnode *service, const char *key, struct cnode *vars)
{
    if (vars->len == 0) {
        cnode_free(vars);
        return;
    }
    compose_sort_keys(vars);
    cnode_set(service, key, vars);
    compose_order_keys(service, "services");
}

static int resolve_environment(struct compose_project *p, const struct compose_input *in, struct cnode *service,
                               const struct cnode *env, struct err *err)
{
    struct cnode *files = cnode_get(service, "env_file"), *own = cnode_get(service, "environment");
    struct sources sources = {env, own};
    struct cnode *vars = cnode_new(CNODE_MAP);

    for (size_t i = 0; own && i < own->len; i++) {
        const char *value = own->items[i]->kind == CNODE_NULL ? cnode_str(env, own->keys[i]) : NULL;

        if (value)
            cnode_set(own, own->keys[i], cnode_string(value));
        if (own->items[i]->kind != CNODE_NULL)
            cnode_set(vars, own->keys[i], cnode_copy(own->items[i]));
    }
    for (size_t i = 0; files && i < files->len; i++) {
        if (one_env_file(in, files->items[i], &sources, vars, &p->warnings, err)) {
            cnode_free(vars);
            return -1;
        }
    }
    lay_over(vars, own);
    put(service, "environment", vars);
    cnode_remove(service, "env_file");
    return 0;
}

static int resolve_labels(struct compose_project *p, const struct compose_input *in, struct cnode *service,
                          struct err *err)
{
    struct cnode *files = cnode_get(service, "label_file"), *vars;
    int r = 0;

    if (!files)
        return 0;
    vars = cnode_new(CNODE_MAP);
    for (size_t i = 0; i < files->len && r == 0; i++) {
        const char *path = cnode_text(files->items[i]);
        struct sources sources = {vars, NULL};

        r = read_file(in, path ? path : "", &sources, vars, &p->warnings, err);
        if (r == 1)
            r = err_set(err, 0, "label file %s not found: stat %s: no such file or directory", path, path);
    }
    if (r) {
        cnode_free(vars);
        return -1;
    }
    lay_over(vars, cnode_get(service, "labels"));
    put(service, "labels", vars);
    cnode_remove(service, "label_file");
    return 0;
}

int compose_resolve_files(struct compose_project *p, const struct compose_input *in, struct err *err)
{
    struct cnode *services = cnode_get(p->model, "services"), *env = compose_environment_map(&p->environment);
    int r = 0;

    for (size_t i = 0; services && i < services->len && r == 0; i++) {
        if (!in->no_env_resolution)
            r = resolve_environment(p, in, services->items[i], env, err);
        if (r == 0)
            r = resolve_labels(p, in, services->items[i], err);
    }
    cnode_free(env);
    return r;
}
