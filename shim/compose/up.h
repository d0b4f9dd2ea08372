/* What `up`, `create`, `run` and `scale` have in common: the way from a file to containers that are there. */
#ifndef ATP_SHIM_COMPOSE_UP_H
#define ATP_SHIM_COMPOSE_UP_H

#include "shim/compose/team.h"

/* Words of the line that say how; options that the command does not have count as not given. */
int up_options(struct team *w, const struct opt_parsed *opts, struct err *err);
int up_check_recreate(const struct opt_parsed *opts, struct err *err);

/* Images, networks, volumes, containers: all are there afterwards, nothing is started. */
int up_make(struct team *w, struct err *err);

/* What compose takes for true in a variable; NULL is not. */
bool up_env_true(const char *value);

#endif
