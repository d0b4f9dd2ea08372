/* What the words behind FROM and --from= mean. */
#include "backends/engine/img_step.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "translate/dockerfile/config.h"

#include <stdlib.h>
#include <string.h>

void img_tree_copy(struct img_tree *to, const struct img_tree *from)
{
    img_tree_clear(to);
    strlist_copy(&to->layers, &from->layers);
    to->config = from->config ? json_deep_copy(from->config) : NULL;
    to->text = xstrdup(from->text);
}

/* An image that the caller knows. The layer that stands for "no layers" is none. */
static int load_base(struct img_build *b, const struct img_named *base, struct img_tree *ret, struct err *err)
{
    char empty[65];

    if (img_empty_layer(b->job, empty, err) < 0)
        return -1;
    ret->config = df_config_load(base->config, strlen(base->config), err);
    if (!ret->config)
        return -1;
    ret->text = xstrdup(base->config);
    for (size_t i = 0; i < base->layers.len; i++) {
        if (strcmp(base->layers.items[i], empty) != 0)
            strlist_add(&ret->layers, base->layers.items[i]);
    }
    return 0;
}

/* Pulling works on the job's own stage, which is put aside meanwhile. */
static int pull(struct img_build *b, const char *name, struct img_tree *ret, struct err *err)
{
    struct img_job *job = b->job;
    struct strlist layers = job->layers;
    json_t *config = job->config;
    char *text = job->config_text;
    int result;

    job->layers = (struct strlist)STRLIST_INIT;
    job->config = NULL;
    job->config_text = NULL;
    result = img_pull(job, name, err);
    *ret = (struct img_tree){job->layers, job->config, job->config_text};
    job->layers = layers;
    job->config = config;
    job->config_text = text;
    return result;
}

int img_from(struct img_build *b, size_t stage, const char *name, const struct img_tree **ret, struct err *err)
{
    const struct img_named *base = NULL;
    struct img_tree tree = {0};
    struct img_pulled *p;

    if (stage != DF_NO_STAGE) {
        *ret = &b->stages[stage];
        return 0;
    }
    for (p = b->pulled; p; p = p->next) {
        if (strcmp(p->name, name) == 0) {
            *ret = &p->tree;
            return 0;
        }
    }
    for (size_t i = 0; i < b->job->bases_len && !base; i++) {
        if (strcmp(b->job->bases[i].name, name) == 0)
            base = &b->job->bases[i];
    }
    if ((base ? load_base(b, base, &tree, err) : pull(b, name, &tree, err)) < 0) {
        img_tree_clear(&tree);
        return -1;
    }
    p = xcalloc(1, sizeof(*p));
    *p = (struct img_pulled){.next = b->pulled, .name = xstrdup(name), .tree = tree};
    b->pulled = p;
    *ret = &p->tree;
    return 0;
}
