/*
 * Joining a container that runs: `attach`, and `start -a` of one that runs already.
 */
#ifndef ATP_SHIM_JOIN_H
#define ATP_SHIM_JOIN_H

#include "shim/launch.h"

/*
 * Stays until the container has ended: its exit code, 0 if it was left by the detach keys, or -1 with err. The
 * container is loaded. Its mounts are exchanged before and after.
 */
int join(struct container *c, const struct launch_streams *streams, struct err *err);

/* What an attach_run() that did not go to its end means, for a session beside the container's own: -1 with err, or the
 * exit code where the container has ended meanwhile. */
struct attach_result;
int join_failed(struct container *c, struct attach_result *result, struct err *err);

#endif
