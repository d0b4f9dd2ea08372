/* Private to the pods' files: shim/pod*.c. */
#ifndef ATP_SHIM_POD_PRIVATE_H
#define ATP_SHIM_POD_PRIVATE_H

#include "shim/pod.h"

struct strlist;

#define POD_PREFIX "pod-"

/* <state>/pods.lock; -1 and err. Closing it gives it back. */
int pods_lock(struct err *err);

/* A JSON array of ids as a list, and back (owned by caller). */
void pod_ids_read(const char *json, struct strlist *ret);
char *pod_ids_text(const struct strlist *ids);

/*
 * The pod for the networks, under the lock: one that runs and has one of them, or a new one. Its networks grow by what
 * is joined to them.
 */
int pod_choose(struct app *app, const struct network_joins *joins, struct state_pod *ret, struct err *err);

/* Somebody in the pod who shares no network with the loaded container: 1 and the name (owned by caller). 0: nobody, or
 * approximations are accepted. */
int pod_stranger(const struct container *c, const char *pod, char **ret_name, struct err *err);

/*
 * pod_modal.c: what the pod's sandbox is asked for by the options of its networks and of all containers that may live in
 * it, as p->modal; the one that starts now comes first. And whether the container gets there what it asks for: a pod
 * that has no sandbox yet is settled by it.
 */
int pod_modal_check(const struct container *c, struct state_pod *p, struct err *err);

/* pod_make.c: the hub's sandbox; p's row is in the state, with its sandbox_id afterwards. */
int pod_make(struct app *app, struct state_pod *p, struct err *err);
/* pod_make.c: the hub's image is on the server, so that pod_make() need not wait for it with the lock held. */
int pod_prepare(struct app *app, struct err *err);

/* pod_make.c: the agent on nothing, as the server calls it; anew: the server has lost it. Owned by caller. */
int pod_hub_image(struct app *app, bool anew, char **ret, struct err *err);

/* Its sandbox is there no more: the row goes, containers find out for themselves. */
void pod_forget(struct app *app, const struct state_pod *p);
/* Ends its sandbox: the row goes first, its intent when the server has answered. */
void pod_end(struct app *app, const struct state_pod *p);

#endif
