/*
 * Volumes as containers and `docker volume` see them. Docker's name of a volume is its key in the state and the name of
 * its folder in containers; its name on the server carries the scope, "atp-<scope>-<name>", so that a state folder that
 * was deleted finds its volumes again. The server's volume is made when a container with it is first started, and is
 * what the agent saves to (backends/agent/volume.h); with modal.volumes=native it is mounted itself.
 *
 *     making:    volumes_prepare(), volumes_register()
 *     start:     volumes_claim(), volume_mounts_make() for the create, volumes_start_text() for START, and when the row
 *                says that it runs volumes_unclaim()
 *     the end:   volumes_commit(), before the sandbox goes
 *     removal:   volumes_remove_anonymous()
 */
#ifndef ATP_SHIM_VOLUME_H
#define ATP_SHIM_VOLUME_H

#include "backends/modal/sandbox.h"
#include "compat/base/strlist.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct app;
struct container;
struct container_spec;
struct err;
struct process_spec;
struct state_volume;

/* ---- of containers; spec is complete, or was decoded from a record ---- */

bool volumes_any(const struct container_spec *spec);      /* one with a volume of the server behind it */
bool volumes_writable(const struct container_spec *spec); /* one that is saved */

/* --volumes-from: what these containers have mounted; "CONTAINER[:ro|rw]". Before volumes_prepare(). */
int volumes_from(struct app *app, const struct strlist *words, struct container_spec *spec, struct err *err);
/* Anonymous volumes get names, and so do the paths that the image declares. */
int volumes_prepare(struct app *app, struct container_spec *spec, const struct process_spec *process, struct err *err);
/* A row for each, where there is none; what Docker says of labels and of a driver that is not there. */
int volumes_register(struct app *app, const struct container_spec *spec, struct err *err);
/* Of a container that never came to be, or is removed with its volumes: those that were made for it alone. */
void volumes_remove_anonymous(struct app *app, const struct container_spec *spec);

/*
 * Nobody else may start a container with one of these volumes until it is unclaimed. -1 if one of them may be written
 * to by another container that runs, but in another pod; in one pod they are kept in step. What another one that has
 * ended left to be done is done first.
 */
struct volume_claim {
    int *fds;
    size_t len;
};
int volumes_claim(struct container *c, struct volume_claim *ret, struct err *err);
void volumes_unclaim(struct volume_claim *claim); /* harmless on a zeroed one */

/* What the create of a sandbox or sidecar is given. Needs a connected app; costs a call for each volume that this
 * state never started a container with. */
struct volume_mounts {
    struct modal_volume *items;
    size_t len;
    struct strlist ids, paths; /* owned; items borrow from them and from the spec */
};
int volume_mounts_make(struct app *app, const struct container_spec *spec, struct volume_mounts *ret, struct err *err);
void volume_mounts_clear(struct volume_mounts *m);
/* What the state knows of them is wrong, as the server says (GRPC_NOT_FOUND). */
void volumes_forget(struct app *app, const struct container_spec *spec);

char *volumes_start_text(const struct container_spec *spec); /* owned by caller; NULL: none */

/* What the agent has saved becomes the server's; c->task is the way to it. */
int volumes_commit(struct container *c, struct err *err);

/* ---- of `docker volume` ---- */

/* "0 or more" of the containers' ids and names that use it, running or not. */
int volume_users(struct app *app, const char *name, struct strlist *ret_ids, struct err *err);
/* 64 hex digits. */
int volume_name_random(char ret[65], struct err *err);
/* Makes the row; 1 = made, 0 = it was there. */
int volume_add(struct app *app, const char *name, const struct strlist *labels, const struct strlist *options,
               bool anonymous, struct err *err);
/* By name, of the state or, if it does not know it, of the server. 1 = found, 0 = not. */
int volume_find(struct app *app, const char *name, struct state_volume *ret, struct err *err);
/* Row and server's volume; Docker's errors. force: one that is not there is none. */
int volume_remove(struct app *app, const char *name, bool force, struct err *err);
/* Its labels, "K=V", appended. */
void volume_labels(const struct state_volume *v, struct strlist *ret);
/* What `docker volume inspect` shows; owned by caller. */
json_t *volume_inspect(const struct state_volume *v);
/* Volumes of this scope that the server has and a new state does not know get their rows. */
int volumes_recover(struct app *app, struct err *err);
/* "/var/lib/docker/volumes/NAME/_data": as Docker shows it; nothing is there. Owned by caller. */
char *volume_mountpoint(const char *name);

#endif
