/* `up` without -d: the project's containers are started, and their output is shown until they have ended. */
#ifndef ATP_SHIM_COMPOSE_ATTACHED_H
#define ATP_SHIM_COMPOSE_ATTACHED_H

#include "shim/compose/team.h"

/*
 * After up_make(). Ctrl-C stops all of them, a second one kills them. The command's exit code (of
 * --exit-code-from or of the container that ended all), 130 after Ctrl-C.
 */
int attached_run(struct team *w, const struct opt_parsed *opts, struct err *err);

#endif
