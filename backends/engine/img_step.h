/*
 * What the steps of a build share: the stages and images that a name can mean, and the layer that a step makes, which
 * is made once and found again by its key. Private to a build's thread.
 */
#ifndef ATP_ENGINE_IMG_STEP_H
#define ATP_ENGINE_IMG_STEP_H

#include "backends/engine/img_build.h"
#include "backends/engine/img_layer.h"
#include "translate/dockerfile/stages.h"

struct img_source;

struct img_pulled { /* an image that was needed by name */
    struct img_pulled *next;
    char *name;
    struct img_tree tree;
};

struct img_build {
    struct img_job *job;
    struct df_build file;
    struct img_tree *stages; /* as many as the file has; those that were built are filled */
    struct img_pulled *pulled;
    size_t number; /* of the instruction, for "=> Step" */
};

/* ---- img_from.c ---- */

/* The tree that a stage, or a name (a base's or a registry's), means; borrowed. stage: DF_NO_STAGE for a name. */
int img_from(struct img_build *b, size_t stage, const char *name, const struct img_tree **ret, struct err *err);
void img_tree_copy(struct img_tree *to, const struct img_tree *from);

/* ---- img_step.c ---- */

/* Makes the layer of that key. */
typedef int img_make_fn(void *arg, const char *key, struct err *err);

/*
 * Adds the step's layer to job->layers: the one that an earlier build left, or what make makes. what: all that the
 * layer depends on besides the layers below.
 */
int img_step_layer(struct img_job *job, const char *kind, const char *what, img_make_fn *make, void *arg,
                   bool *ret_cached, struct err *err);
/* What is known of the layer that a step makes; borrows from the job. */
struct img_layer_meta img_step_meta(const struct img_job *job);
/* A layer with nothing in it, which is no part of any configuration: overlay wants at least one. */
int img_empty_layer(struct img_job *job, char ret_key[65], struct err *err);

/* ---- steps ---- */

int img_copy(struct img_build *b, const struct df_step *step, bool *ret_cached, struct err *err);    /* COPY, ADD */
int img_workdir(struct img_build *b, const struct df_step *step, bool *ret_cached, struct err *err); /* WORKDIR */
int img_run(struct img_build *b, const struct df_step *step, bool *ret_cached, struct err *err);     /* RUN */

#endif
