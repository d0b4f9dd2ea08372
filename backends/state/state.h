/*
 * What this machine remembers between commands: one SQLite file (WAL) below the state folder, shared by any number of
 * atp-docker processes. It is a memory, not the truth: the truth about what runs is the server's, and a lost file costs
 * look-ups, names of exited containers and caches, never a user's bytes.
 *
 * Every function is safe under concurrent processes: writers wait for each other up to STATE_BUSY_MS. Times are Unix
 * seconds unless a name ends in _ns. A file of a newer schema or a damaged one is an error that names the file and the
 * way on; an older one is brought up when it is opened.
 *
 * Strings in returned structs are owned by the struct and released by its _clear.
 */
#ifndef ATP_STATE_STATE_H
#define ATP_STATE_STATE_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stdint.h>

#define STATE_BUSY_MS 20000 /* fifty clients that each hold the file for a few milliseconds are far below it */

struct err;
struct state;

/*
 * dir: made 0700 with its parents when missing. scope_file: where the scope is kept besides, so that a state folder
 * that is made anew finds the containers of the old one; read and written only when a state is made; NULL: nowhere, and
 * if it cannot be written the state alone holds it.
 */
struct state *state_open(const char *dir, const char *scope_file, struct err *err);
void state_free(struct state *s); /* NULL is fine */

/* 12 hex digits, random, made once per machine and user; ATP_DOCKER_SCOPE overrides it in the caller. Borrowed. */
const char *state_scope(const struct state *s);

/* The file was made by this very state_open(): what runs already is not known to it. */
bool state_is_new(const struct state *s);

/* The file was deleted or moved away meanwhile: what is written now is seen by nobody. Who lives long looks, and opens
 * the state anew. */
bool state_is_lost(const struct state *s);

/* ---- cache: small strings with an end ---- */

/* 1 = found and not expired, 0 = nothing, -1 = err. *ret is owned by caller. */
int state_cache_get(struct state *s, const char *key, char **ret, int64_t now, struct err *err);
int state_cache_put(struct state *s, const char *key, const char *value, int64_t expires, struct err *err);
int state_cache_drop(struct state *s, const char *key, struct err *err);

/* ---- images: what `docker images` lists ---- */

struct state_image {
    char *id;     /* sha256:<64 hex>, digest of the configuration */
    char *config; /* the configuration, JSON text */
    char *
        source; /* "registry", "load", "import", "build", "commit", or "named": the server's, of which we know a name */
    char *pull; /* registry: the reference by digest that the server pulls, else NULL */
    char *layers; /* the size of each layer, bottom first, as a JSON array; NULL: of an older atp-docker */
    /* What it was built on, for its layers: "sha256:..." of another image here, or a reference by digest; NULL: on
     * nothing, or unknown. */
    char *parent;
    int64_t size, created, added;
};
void state_image_clear(struct state_image *im);

/* Puts or replaces the image; ref (normalised, with tag) then names it, NULL = untagged; digest = manifest digest or
 * NULL. */
int state_image_put(struct state *s, const struct state_image *im, const char *ref, const char *digest,
                    struct err *err);
/*
 * By normalised reference (with a digest: of any of the repository's names), or by id: "sha256:<hex>" or a hex prefix.
 * 1 found, 0 not (a prefix of several too, as Docker has it), -1 err.
 */
int state_image_by_ref(struct state *s, const char *ref, struct state_image *ret, struct err *err);
int state_image_by_id(struct state *s, const char *id, struct state_image *ret, struct err *err);
/*
 * Another name of an image that there is; what had the name loses it. A name of a repository that has a digest for this
 * image gets it too. state_image_untag() leaves the digest to the image's other names of the repository. 1 = was there,
 * 0 = not.
 */
int state_image_tag(struct state *s, const char *id, const char *ref, struct err *err);
int state_image_untag(struct state *s, const char *ref, struct err *err);
/* Takes the digest from the names of the image in the repository ("docker.io/library/x"), and the name that is nothing
 * but the digest. */
int state_image_drop_digest(struct state *s, const char *id, const char *repository, const char *digest,
                            struct err *err);
/* Every tag of an image; digests[i] belongs to refs[i] and is "" where there is none. */
int state_image_tags(struct state *s, const char *id, struct strlist *ret_refs, struct strlist *ret_digests,
                     struct err *err);
/* The image gets another id, im->id, for a configuration that only now is complete: names, copies on servers,
 * containers and what was built on it move along, and nothing is left of the old one. All or nothing. */
int state_image_replace(struct state *s, const char *old_id, const struct state_image *im, struct err *err);
/* Newest first. Returns the count in *ret_len; *ret is an array owned by caller (free each with _clear, then free). */
int state_image_list(struct state *s, struct state_image **ret, size_t *ret_len, struct err *err);
/* The same with those that are hidden: whatever may still be needed. */
int state_image_list_all(struct state *s, struct state_image **ret, size_t *ret_len, struct err *err);

/*
 * The end of an image has two steps, so that a kill between them leaves nothing on a server, and so that containers
 * keep an image that was removed by force:
 *     state_image_hide     takes its names, and nothing above finds it any more; put brings it back
 *     state_image_kept     finds it all the same, by full id: for containers
 *     state_image_to_sweep those whose copies on `server` (NULL: any) are to be deleted: hidden, and of no container
 *     state_image_forget   after state_server_image_drop(): the row goes if no other server has a copy
 */
int state_image_hide(struct state *s, const char *id, struct err *err);
int state_image_kept(struct state *s, const char *id, struct state_image *ret, struct err *err);
int state_image_to_sweep(struct state *s, const char *server, struct strlist *ret_ids, struct err *err);
int state_image_forget(struct state *s, const char *id, struct err *err);
/* Whether an image was committed from a container of this one: 1, 0. What others were built on, and it is hidden, stays
 * for its layers' sake until these are gone: state_image_to_sweep() leaves it out. */
int state_image_has_children(struct state *s, const char *id, struct err *err);

/*
 * The image on one server: server = server URL and workspace; layer = "base" or the agent's digest. 1/0/-1 like above.
 * An id that is put under STATE_LAYER_KEPT too is not ours to delete: others have a name for it.
 */
#define STATE_LAYER_KEPT "kept"
int state_server_image_get(struct state *s, const char *server, const char *id, const char *layer, char **ret,
                           struct err *err);
int state_server_image_put(struct state *s, const char *server, const char *id, const char *layer, const char *modal_id,
                           struct err *err);
/* What the server calls all layers of this image, but for those that another image has too. */
int state_server_image_own(struct state *s, const char *server, const char *id, struct strlist *ret_modal_ids,
                           struct err *err);
int state_server_image_drop(struct state *s, const char *server, const char *id, struct err *err);

/* ---- containers ---- */

struct state_container {
    char *id; /* 64 hex */
    char *name;
    char *image; /* the reference as given */
    char *image_id;
    char *command; /* JSON array: argv */
    char *labels;  /* JSON array of "k=v" */
    char *record;  /* what it was asked to be, as translate/record.h writes it; never changed but by rename */
    char *status;  /* created, running, restarting, paused, exited, removing */
    char *error;   /* why it could not be started, "" = nothing */
    /* While sandbox_id is set there is a sandbox to be ended: with status exited its files, log and changes are still
     * to be brought away (shim/container.h, container_settle). */
    char *server, *sandbox_id; /* a sidecar's is "sb-.../ctr-..." (backends/modal/task.h) */
    char *pod;                 /* id of the pod that it is in, or is being put into; NULL: a sandbox of its own */
    char *networks; /* JSON array of the ids of the networks that it joins, the first is its main one; NULL: none */
    char *ports;    /* what is published, in the words of NetworkSettings.Ports; NULL: nothing is bound */
    char *health;   /* .State.Health, JSON text, as last heard; NULL: it has no check */
    char *files;    /* the server's id of the image that holds its file system; NULL: it is as the image has it */
    bool auto_remove;
    bool stopped_by_user; /* restart policies unless-stopped and always look at it */
    bool recovered; /* the record came from the container and is not to be trusted: its mounts are not exchanged */
    int exit_code;
    int restarts;
    int64_t created_ns, started_ns, finished_ns; /* 0 = never */
};
void state_container_clear(struct state_container *c);

/* Fails with Docker's conflict text (exit 125) when the name is taken. */
int state_container_add(struct state *s, const struct state_container *c, struct err *err);

/*
 * Which fields an update writes. Several programs change one row, each what it knows of: a writer that holds an older
 * copy of the row must not undo what another has written.
 */
enum state_part {
    STATE_PART_STATUS = 1 << 0,   /* status, error, exit_code, started_ns, finished_ns */
    STATE_PART_SANDBOX = 1 << 1,  /* server, sandbox_id */
    STATE_PART_FILES = 1 << 2,    /* files */
    STATE_PART_STOPPED = 1 << 3,  /* stopped_by_user */
    STATE_PART_RESTARTS = 1 << 4, /* restarts */
    STATE_PART_IDENTITY = 1 << 5, /* name and record; fails like state_container_add() when the name is taken */
    STATE_PART_POD = 1 << 6,      /* pod */
    STATE_PART_NETWORKS = 1 << 7, /* networks; goes with IDENTITY, for the record says it too */
    STATE_PART_PORTS = 1 << 8,    /* ports */
    STATE_PART_HEALTH = 1 << 9,   /* health */
};

/* 1 = written, 0 = there is no such container any more, -1 = err. */
int state_container_update(struct state *s, const struct state_container *c, unsigned parts, struct err *err);
int state_container_remove(struct state *s, const char *id, struct err *err); /* 1 = was there, 0 = not */
/* Full id, exact name, then unique id prefix. 1 found, 0 not, -1 err (ambiguous: Docker's text). */
int state_container_find(struct state *s, const char *what, struct state_container *ret, struct err *err);
int state_container_list(struct state *s, struct state_container **ret, size_t *ret_len,
                         struct err *err); /* newest first */

/* ---- networks of one's own: what `docker network create` made ---- */

struct state_network {
    char *id; /* 64 hex */
    char *name;
    char *driver;           /* "bridge" */
    char *labels, *options; /* JSON arrays of "k=v", sorted */
    bool internal, attachable;
    int64_t created_ns;
};
void state_network_clear(struct state_network *n);

/* Fails with Docker's text (exit 1) when the name is taken. */
int state_network_add(struct state *s, const struct state_network *n, struct err *err);
int state_network_remove(struct state *s, const char *id, struct err *err); /* 1 = was there, 0 = not */
/* Full id, exact name, then unique id prefix. 1 found, 0 not, -1 err (ambiguous: Docker's text). */
int state_network_find(struct state *s, const char *what, struct state_network *ret, struct err *err);
int state_network_list(struct state *s, struct state_network **ret, size_t *ret_len, struct err *err); /* by name */

/* ---- pods: sandboxes that hold the containers of networks as sidecars ---- */

struct state_pod {
    char *id; /* "pod-" and 12 hex; also its intent's container_id */
    char *server, *app;
    char *sandbox_id; /* NULL: it was being asked for when its client was killed */
    char *token;      /* hex: what its members know each other by */
    char *networks;   /* JSON array of ids, sorted */
    char *modal;      /* what its sandbox was asked for (translate/modal_pod.h); NULL: not known */
    int64_t created_ns;
};
void state_pod_clear(struct state_pod *p);

int state_pod_put(struct state *s, const struct state_pod *p, struct err *err); /* adds or replaces */
int state_pod_remove(struct state *s, const char *id, struct err *err);         /* 1 = was there, 0 = not */
int state_pod_find(struct state *s, const char *id, struct state_pod *ret, struct err *err); /* 1, 0, -1 */
int state_pod_list(struct state *s, const char *server, struct state_pod **ret, size_t *ret_len, struct err *err);

/* ---- intents: written before a sandbox is asked for, dropped when its end is confirmed ---- */

struct state_intent {
    char *container_id, *server, *app;
    char *sandbox_name; /* never used for two */
    char *sandbox_id;   /* NULL until the server said it */
    int64_t pid, created;
    bool ending; /* a terminate was sent */
};
void state_intent_clear(struct state_intent *in);

/* A container may have several: the sandbox that it has, and older ones whose end was not confirmed yet. */
int state_intent_add(struct state *s, const struct state_intent *in, struct err *err);
/* The server has answered. */
int state_intent_made(struct state *s, const char *sandbox_name, const char *sandbox_id, struct err *err);
int state_intent_ending(struct state *s, const char *sandbox_id, struct err *err);
int state_intent_drop(struct state *s, const char *name_or_id, struct err *err); /* of the sandbox */
int state_intent_list(struct state *s, const char *server, struct state_intent **ret, size_t *ret_len, struct err *err);

#endif
