/*
 * From a container that has ended or never ran to one that runs: its sandbox, from its own files or from the image, and
 * the start of its process. And the end, where the one who started it sees it.
 */
#ifndef ATP_SHIM_LAUNCH_H
#define ATP_SHIM_LAUNCH_H

#include "shim/container.h"

struct binds;
struct err;

/*
 * Makes the sandbox and writes it down, under the lock, with the container loaded. image: what a container without
 * files of its own is made from; NULL: looked up by the row.
 */
int launch_sandbox(struct container *c, const struct state_image *image, struct err *err);

/* The sandbox alone, in the value and not in the state: c->task is the way to it. */
int launch_bare(struct container *c, struct err *err);

/*
 * Starts its process without staying: its mounts are pushed, it runs, a monitor watches it. On failure the container is
 * as if it had not been started, but for its error and exit code, and err says why with Docker's exit code; with --rm
 * it is gone.
 */
int launch_detached(struct container *c, const struct binds *binds, struct err *err);

/* What the terminal is given of it. */
struct launch_streams {
    bool stdin_attached, stdout_attached, stderr_attached;
    bool sig_proxy;
    const char *detach_keys; /* NULL: the default */
};

/*
 * Starts it and stays until it has ended: the command's code, or -1 with err. The container is left as its end wants
 * it. Whoever calls holds `owner`.
 */
int launch_attached(struct container *c, const struct binds *binds, const struct launch_streams *streams,
                    struct err *err);

#endif
