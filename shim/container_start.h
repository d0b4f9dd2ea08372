/* Starting a container that exists; and its end, where a command of ours brought it about. */
#ifndef ATP_SHIM_CONTAINER_START_H
#define ATP_SHIM_CONTAINER_START_H

#include "shim/container.h"

struct launch_streams;

/* Runs afterwards, also if it did before; a monitor watches it. From its own files if it has run before. */
int container_start(struct container *c, struct err *err);

/* Stays until its end, like a foreground `run`. *ret_ran false: it runs already, nothing was done. */
int container_start_attached(struct container *c, const struct launch_streams *streams, bool *ret_ran, struct err *err);

/*
 * Its process has ended with this code, as stop or kill saw it. The row says so at once; the rest is done by who
 * watches it, or by a monitor. One with --rm is gone when this returns, unless its watcher still has much output to
 * write.
 */
int container_has_ended(struct container *c, int code, struct err *err);

/* The same where stop or kill was told CONTAINER_NOT_RUNNING: either nothing ran any more, or it ended, by what they
 * said or of its own accord, and its sandbox was gone before the answer had come. */
int container_ended_meanwhile(struct container *c, struct err *err);

#endif
