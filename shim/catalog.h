/*
 * Images as this machine knows them: found in the state, pulled from a registry, and put on the server with the agent
 * on top. An image of ours is a configuration (from the registry or the archive) and, per server, the id under which
 * the server holds it.
 */
#ifndef ATP_SHIM_CATALOG_H
#define ATP_SHIM_CATALOG_H

#include "backends/state/state.h"
#include "translate/reference.h"
#include "translate/spec.h"

#include <stdio.h>

struct app;
struct err;
struct progress;

/*
 * Looks the image up in the state: by reference, then by id. 1 = found, 0 = not. What Docker would say about a missing
 * one is the caller's ("No such image", "Unable to find image"). No server is asked.
 */
int catalog_find(struct app *app, const struct image_ref *ref, struct state_image *ret, struct err *err);

enum { CATALOG_NO_SUCH_IMAGE = 0x6001 }; /* err->code */

/* The same of a word of the command line; -1 with Docker's "No such image" (CATALOG_NO_SUCH_IMAGE) for none. */
int catalog_find_word(struct app *app, const char *word, struct state_image *ret, struct err *err);

/* ---- shim/catalog_pull.c ---- */

struct pull_request {
    const struct image_ref *ref; /* not IMAGE_ID */
    const char *platform;        /* "linux/amd64" or NULL */
    FILE *progress;              /* Docker's lines; NULL = quiet */
};

/*
 * Asks where the name is looked up (config.yaml, images.lookup) but for this machine: a server that has an image of
 * that name, or the registry, whose image the server then pulls. Remembers it. Errors carry "Error response from
 * daemon: ". *ret_digest (may be NULL) is the digest that the reference names in the registry, NULL for an image that
 * the server had; *ret_news whether anything changed.
 */
int catalog_pull(struct app *app, const struct pull_request *req, struct state_image *ret, char **ret_digest,
                 bool *ret_news, struct err *err);

/* For run and create: the image that spec names, pulled by its policy; Docker's "Unable to find image" line goes to
 * stderr. */
int catalog_resolve(struct app *app, const struct container_spec *spec, struct state_image *ret, struct err *err);

/* --platform: "" or what sandboxes run, linux/amd64; 125 for another one. */
int catalog_check_platform(const char *platform, struct err *err);

/* ---- shim/catalog_server.c ---- */

#define CATALOG_LAYER_BASE "base" /* state_server_image_get(): the image without the agent */

/* The server's id of the image with the agent on top; built there on the first use, `progress` (may be NULL) gets what
 * its log says of layers. */
int catalog_on_server(struct app *app, const struct state_image *image, struct progress *progress, char **ret_modal_id,
                      struct err *err);

/* The same when the server did not know the id that catalog_on_server() gave: what is remembered of it is void. */
int catalog_on_server_anew(struct app *app, const struct state_image *image, struct progress *progress,
                           char **ret_modal_id, struct err *err);

/*
 * What the registry at the domain is to be logged in with, as a secret on this server (REGISTRY_USERNAME and
 * REGISTRY_PASSWORD; made once a day): 1, 0 = nobody is logged in there. Owned by caller.
 */
int catalog_registry_secret(struct app *app, const char *domain, char **ret_secret_id, struct err *err);
/* The same for a reference in normal form, "docker.io/library/x@sha256:...". */
int catalog_pull_secret(struct app *app, const char *reference, char **ret_secret_id, struct err *err);
/* The server did not know the secret: the next one is made anew. */
void catalog_forget_secret(struct app *app, const char *reference);

/* The server's id of the image without the agent, where it was loaded, built or found by name: 1, 0. Owned by caller.
 */
int catalog_base_id(struct app *app, const char *image_id, char **ret_modal_id, struct err *err);

/* "x" -> "docker.io/library/x:latest"; owned by caller, NULL and err for a bad one. */
char *catalog_normal_name(const char *word, struct err *err);

/* The configuration's own time of creation, Unix seconds; 0 when it does not say. */
int64_t catalog_created(const char *config);

/* What `load` and `import` bring: layer tars to lay onto an empty root, and the configuration. ref: normalised or NULL.
 */
int catalog_add(struct app *app, const struct state_image *image, const char *ref, const struct strlist *layer_paths,
                struct err *err);

/* ---- for build and commit: shim/catalog_made.c ---- */

/* What a word behind FROM (or --from=) means. */
struct catalog_base {
    char *config;   /* OCI configuration, JSON */
    char *from;     /* what to write for it: "docker.io/library/x@sha256:...", NULL: modal_id. Where its registry is
                       private the build needs catalog_pull_secret() of it */
    char *modal_id; /* on this server, without the agent */
    char *parent;   /* for state_image.parent of what is built on it */
};
void catalog_base_clear(struct catalog_base *b);
/*
 * Looks the word up as `docker run` would, without giving it a name here; nothing is pulled, the registry's image is
 * only resolved to a digest. pull: what this machine knows does not count. Docker's texts.
 */
int catalog_base(struct app *app, const char *word, const char *platform, bool pull, struct catalog_base *ret,
                 struct err *err);

/*
 * Remembers an image that this server made: image->id, config, source ("build", "commit"), parent, sizes are the
 * caller's; modal_id is the server's without the agent. Each of refs (normalised) then names it here, and it is
 * published on the server under that name where reference_published() has one. What cannot be published is one line on
 * stderr, and no error: the names here stand.
 */
int catalog_made(struct app *app, const struct state_image *image, const struct strlist *refs, const char *modal_id,
                 struct err *err);

/* ---- images that the server has by name or id: shim/catalog_named.c ---- */

/* The id of the image that the server has under ref's name: 1, 0 = it has none, or ref cannot be such a name. Owned by
 * caller. */
int catalog_named_id(struct app *app, const struct image_ref *ref, char **ret_modal_id, struct err *err);
/*
 * The server's image as one of ours, put into the state without a name: its configuration is what the server tells,
 * else what /.atp/<version>/image.json in it says, else ENV and WORKDIR alone, which is said on stderr.
 */
int catalog_named_image(struct app *app, const char *modal_id, struct state_image *ret, struct err *err);
/* Notes that the server's image modal_id is the image here, so that nobody has to ask again. */
void catalog_named_note(struct app *app, const char *modal_id, const char *image_id);
/* What was noted: 1 and *ret, 0. */
int catalog_named_known(struct app *app, const char *modal_id, struct state_image *ret, struct err *err);

/* state_image's `layers`; owned by caller. */
char *catalog_layer_sizes(const int64_t *sizes, size_t len);

/* ---- shim/catalog_remove.c ---- */

/* What a removal took away, in the order in which Docker says it. */
struct catalog_gone {
    struct strlist untagged; /* "x:1", "x@sha256:..." */
    struct strlist deleted;  /* "sha256:..." of the image, then of its layers that no other image has */
    int64_t size;            /* of these layers */
};
void catalog_gone_clear(struct catalog_gone *g);

/*
 * `docker rmi` of one word: takes the name that it says, or all names when it is an id, and with the last name the
 * image, on the server too. Refuses as Docker does what containers use; a container whose image was removed by force
 * can still be started. What others were committed from loses its names only; prune: images without a name that were
 * only kept for the one that goes go with it. CATALOG_NO_SUCH_IMAGE. *ret is valid, and what it says is done, whatever
 * is returned.
 */
int catalog_remove(struct app *app, const char *word, bool force, bool prune, struct catalog_gone *ret,
                   struct err *err);

/* The same for prune: the image with all its names, by full id; -1 if a container uses it. */
int catalog_remove_unused(struct app *app, const char *id, struct catalog_gone *ret, struct err *err);

/*
 * Deletes on the server, and forgets, what was removed and is used by no container any more: after the removal of
 * images and of containers. What the server does not answer to is left for the next time.
 */
void catalog_sweep(struct app *app);

#endif
