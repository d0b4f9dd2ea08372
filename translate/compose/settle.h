/*
 * From the merged tree onwards: what nobody wrote is put in, and the tree is made into the model that is printed.
 *
 *     files_load()      for each scope: compose_set_defaults(), compose_validate(), compose_resolve_paths()
 *     compose_normalize()   names, networks, depends_on; then compose_bind()
 *     compose_apply_profiles(), compose_consistent(), compose_resolve_files()
 *
 * Without interpolation the tree stays as it is after compose_normalize(): it is no model, as `${A}` is no number.
 */
#ifndef ATP_COMPOSE_SETTLE_H
#define ATP_COMPOSE_SETTLE_H

#include "translate/compose/compose.h"

struct buf;

/* build.context, the targets of secrets, protocol and mode of ports, the number of devices. */
int compose_set_defaults(struct cnode *tree, struct err *err);
/* What the specification's schema cannot say: "secrets.x: file|environment attributes are mutually exclusive". */
int compose_validate(const struct cnode *tree, struct err *err);
/* Every relative path of the tree is joined to dir, "~" is home (NULL: stays). */
int compose_resolve_paths(struct cnode *tree, const char *dir, const char *home, struct err *err);
/* Values of `environment: [NAME]`, and of secrets and configs that are a variable; env is a map of strings. */
void compose_resolve_variables(struct cnode *tree, const struct cnode *env);

/* The model out of the canonical tree: kinds, order of keys, nothing that is empty. NULL with err. */
struct cnode *compose_bind(const struct cnode *tree, struct err *err);
/* The named services (patterns) and those that they depend on stay; the others go to `disabled`. No names: all stay. */
int compose_select(struct compose_project *p, const struct strlist *names, struct err *err);
/* Networks, volumes, secrets and configs that no service uses go away. */
void compose_drop_unused(struct compose_project *p);
/* env_file goes into environment (unless nobody wants that), label_file into labels. */
int compose_resolve_files(struct compose_project *p, const struct compose_input *in, struct err *err);

/* All maps in the order in which YAML is printed: "a2" before "a10". */
void compose_sort(struct cnode *tree);
void compose_sort_keys(struct cnode *map);            /* of this one alone */
int compose_name_order(const char *a, const char *b); /* as strcmp */

/* The keys of a member of a section ("services", "networks"...) in the order of the table, after one was added. */
void compose_order_keys(struct cnode *object, const char *section);
/* K=V lines as a map of strings. Owned by caller. */
struct cnode *compose_environment_map(const struct strlist *list);

/* As Go prints a value with %v: "true", "1.5", "<nil>". Owned by caller. */
char *compose_print_value(const struct cnode *value);

/* A project's container that stands for a service: P-S, or image. Owned by caller. */
char *compose_image_name(const struct compose_project *p, const struct cnode *service, const char *name);

#endif
