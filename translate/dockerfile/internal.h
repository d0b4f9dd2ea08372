/*
 * What the files of this folder share: the evaluation of one instruction. Private; stages.h and config.h are the way
 * in.
 */
#ifndef ATP_TRANSLATE_DOCKERFILE_INTERNAL_H
#define ATP_TRANSLATE_DOCKERFILE_INTERNAL_H

#include "translate/dockerfile/stages.h"

/* The state that instructions of a stage are read with, and change. */
struct df_eval {
    const struct df_build *build; /* NULL outside of a build: `commit --change` */
    size_t stage;
    json_t *config; /* borrowed */
    char escape;
    struct strlist env;  /* "K=V": ENV and ARG in one; the later one wins, as in BuildKit */
    struct strlist args; /* "K=V" or "K": ARGs so far, those of the stage's base included */
    bool cmd_set;        /* CMD was said in this stage: ENTRYPOINT keeps it */
};

void df_eval_init(struct df_eval *e, json_t *config, char escape); /* env from the configuration */
void df_eval_clear(struct df_eval *e);
const char *df_eval_lookup(const char *name, void *eval); /* a df_lookup_fn */
int df_eval_expand(struct df_eval *e, const char *word, char **ret, struct err *err);
char *df_eval_workdir(const struct df_eval *e); /* absolute, clean; owned by caller */

/* A line's words: a JSON array, else what stands between blanks. */
void df_list_of(const struct df_instruction *in, struct strlist *ret);
/* RUN, CMD, ENTRYPOINT: JSON as it is, anything else for the shell. Returns whether it is the shell's. */
bool df_command_words(const struct df_eval *e, const char *rest, struct strlist *ret);

/* "a/../b" of parent -> "/parent/b"; owned by caller. */
char *df_clean_path(const char *parent, const char *path);

/* What can be known to be wrong about an instruction without its variables (not for FROM's stage names). */
int df_check(const struct df_instruction *in, char escape, struct err *err);

/* Instructions that change the configuration only. 1 = done (step->created_by is set, NULL for ONBUILD), 0 = the
 * instruction is no such one. */
int df_eval_config(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err);
int df_eval_expose(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err);
int df_eval_health(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err);
int df_check_health(const struct df_instruction *in, struct err *err);

int df_eval_run(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err);
int df_eval_copy(struct df_eval *e, const struct df_instruction *in, struct df_step *step, struct err *err);

/* One --mount. e: NULL checks what needs no variables, and fills in nothing but `from`. */
int df_mount_parse(struct df_eval *e, const char *value, struct df_mount *ret, struct err *err);
void df_mount_clear(struct df_mount *m);

/* What --from means: an earlier stage (by name, or with numbers also by number), else DF_NO_STAGE. */
int df_from_stage(const struct df_build *b, const char *from, bool numbers, size_t *ret, struct err *err);

/* Every --from and mount of the file: numbers of stages that are there, and no circles. */
int df_check_uses(const struct df_build *b, struct err *err);

/* What BuildKit's linter would say about the file, appended to b->warnings; an error where "# check=error=true" makes
 * it one. */
int df_lint(struct df_build *b, const char *target, struct err *err);

/* "docker.io/library/x:1": `invalid reference format` and its variants; names of our own are fine. */
int df_check_reference(const char *name, struct err *err);
/* "linux/amd64" and its kind. */
int df_check_platform(const char *platform, struct err *err);

/* Where a stage ended: a stage that stands on it knows its ARGs. */
struct df_stage_end {
    bool known;
    struct strlist env, args;
};

#endif
