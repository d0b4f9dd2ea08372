/*
 * A container's log: what its earlier sandboxes left, kept here as <state>/containers/<id>/log.<started_ns>, and what
 * the agent of its present one has. The form of both is translate/wire/log.h's.
 */
#ifndef ATP_SHIM_LOGS_H
#define ATP_SHIM_LOGS_H

#include "shim/container.h"

struct err;

struct logs_query {
    bool follow, timestamps, details;
    int64_t since_ns, until_ns; /* 0: no bound */
    int64_t tail;               /* lines; -1: all */
};

/* Prints it to stdout and stderr; the command's exit code, or -1 with err. */
int logs_print(struct container *c, const struct logs_query *query, struct err *err);

/*
 * Brings the agent's log of the present sandbox here, whole or not at all. A container that keeps none is no error. Its
 * process has ended, or the log has just what is there now. container_open() must be possible.
 */
int logs_fetch(struct container *c, struct err *err);

#endif
