/*
 * What a server's image holds, told by the agent in a short-lived sandbox: for servers that give neither configuration
 * nor layers (Modal).
 */
#ifndef ATP_SHIM_AGENT_LAYER_H
#define ATP_SHIM_AGENT_LAYER_H

#include <stdint.h>

struct app;
struct err;
struct modal_task;
struct strlist;

/*
 * One OCI layer (plain tar, with whiteouts) that makes `image` out of `base`: both are server's ids of images, with or
 * without the agent in them. base NULL: everything. /.atp, and what the platform mounts, is left out; so is what the
 * sandbox's kernel does not show (gVisor: file capabilities). A file is taken to be the same where kind, size, owner,
 * mode, mtime, ctime, number of links and attributes are; where only the ctime is another, the contents are compared.
 * The tar goes to fd, a file; its digest is the caller's to take.
 */
int agent_layer_make(struct app *app, const char *base, const char *image, int fd, int64_t *ret_size, struct err *err);

/* The same without what lies below these paths (absolute and clean), where something is mounted. */
int agent_layer_make_without(struct app *app, const char *base, const char *image, const struct strlist *closed, int fd,
                             int64_t *ret_size, struct err *err);

/* The same of a container that runs, as it is at this moment: task is the way to it and place where it is. */
int agent_layer_make_running(struct app *app, const char *base, struct modal_task *task, const char *place, int fd,
                             int64_t *ret_size, struct err *err);

/*
 * The image's own configuration as /.atp/<version>/image.json holds it, in the shape of an OCI configuration: 1; 0 = it
 * holds none, and *ret_config has only what a process in it sees, ENV and WORKDIR; -1 = err. Owned by caller.
 */
int agent_layer_config(struct app *app, const char *image, char **ret_config, struct err *err);

#endif
