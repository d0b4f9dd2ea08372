/*
 * `docker commit`: a container's file system and configuration as an image. What runs goes on meanwhile: the platform
 * takes the file system as it is at one moment, so that nothing has to be paused for it (sandboxes cannot be), with
 * --pause or without.
 *
 * The image is what the container was made from and one layer: what is different, but for what lies where something is
 * mounted (its mounts, and the volumes of its image), as in Docker. The layer is kept on this machine (shim/keep.h).
 */
#ifndef ATP_SHIM_COMMIT_H
#define ATP_SHIM_COMMIT_H

struct app;
struct err;
struct strlist;

struct commit_request {
    const char *container;
    const char *name; /* normalised, with tag; NULL: none */
    const char *author, *message;
    const struct strlist *changes; /* Dockerfile lines */
};

/* *ret_id is owned by caller. Errors are complete: Docker's words. */
int commit_container(struct app *app, const struct commit_request *req, char **ret_id, struct err *err);

/* ---- shim/commit_config.c ---- */

struct container;

/* Where something is mounted in a loaded container: its mounts, and the volumes of its image. Appended. */
void commit_closed(const struct container *c, struct strlist *ret);

/* Cmd, Env and the rest of a container as the image will have them, with the changes made: an OCI configuration without
 * layers; NULL and err. json_t, owned by caller. */
struct json_t *commit_config(struct container *c, const char *parent_config, const struct commit_request *req,
                             struct err *err);
/* Adds the layer (diff_id NULL: nothing is different) and what history says; the exact text, owned by caller. */
char *commit_config_text(struct json_t *config, struct container *c, const struct commit_request *req,
                         const char *diff_id);

#endif
