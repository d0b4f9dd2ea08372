/*
 * `docker compose`: what its verbs have in common. The words between `compose` and the verb are parsed by main.c and
 * kept in app->group (NULL: there were none); a verb's own words come to it as to every other verb.
 *
 *     struct compose_project project;
 *     if (compose_open(app, &(struct compose_how){.services = opt_args(opts)}, &project, err) < 0) return -1;
 *     ...
 *     compose_project_clear(&project);
 *
 * ONE ROAD: a service becomes words of `docker create` (translate/compose/words.c), and what compose does to containers
 * is done by docker's own verbs, called with words (call.h). Texts and exit codes are those of COMPOSE_VERSION.
 */
#ifndef ATP_SHIM_COMPOSE_H
#define ATP_SHIM_COMPOSE_H

#include "translate/compose/compose.h"

#include <stdbool.h>

struct app;
struct err;

/* The docker compose whose words and behaviour are reproduced: programs compare it with what they need. */
#define COMPOSE_VERSION "2.40.3"

/* How a verb wants the project loaded; all false for those that carry it out. */
struct compose_how {
    const struct strlist *services; /* the verb's words: these services are enabled whatever their profiles; NULL */
    bool no_interpolate, no_normalize, no_consistency, no_path_resolution, no_env_resolution;
    bool all_resources; /* --all-resources says so too */
    bool quiet;         /* warnings are not printed */
};

/* Loads the project that the global options, the environment and the current folder name. Warnings go to stderr. */
int compose_open(struct app *app, const struct compose_how *how, struct compose_project *ret, struct err *err);

/* The project's name alone, where it can be told without a file: -p, COMPOSE_PROJECT_NAME, else the file's. Owned by
 * caller. */
char *compose_name(struct app *app, struct err *err);

/*
 * For verbs that work without a file: loads it unless -p is given and no -f. *ret_name is owned by caller; *ret_loaded
 * tells whether *ret is a project. COMPOSE_PROJECT_NAME stands in for a file that cannot be read.
 */
int compose_open_or_name(struct app *app, const struct compose_how *how, struct compose_project *ret, bool *ret_loaded,
                         char **ret_name, struct err *err);

/* "-" or, with --compatibility, "_": what stands between project, service and number. */
const char *compose_separator(struct app *app);

/* A line on stderr as compose's logger writes it: for people on a terminal, else with time and level. */
void compose_warn(const char *text);

#endif
