/*
 * Secrets and configs whose text stands in the file or in a variable: they become files of this machine, below the
 * state folder and readable by its owner alone, and are mounted read-only like those that are files from the start.
 * `down` takes them away.
 */
#ifndef ATP_SHIM_COMPOSE_CONTENTS_H
#define ATP_SHIM_COMPOSE_CONTENTS_H

#include <stdbool.h>

struct compose_project;
struct err;

/* For what the service uses: the model's secret or config gets the `file` that was written; dry: that would be. */
int contents_write(struct compose_project *p, const char *service, bool dry, struct err *err);
/* Of a project that is gone; what cannot be removed stays. */
void contents_remove(const char *project);

#endif
