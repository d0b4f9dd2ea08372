/*
 * Pods: containers that share networks live in one sandbox, each as a sidecar; the sandbox's main container is the hub,
 * our agent and nothing else. A pod is there from the start of its first container to the end of its last.
 *
 * WHICH POD: a container that starts goes to the pod that has one of its networks; if there is none, a pod is made for
 * its networks and all that are joined to them by containers that exist. Containers of one pod can reach each other
 * whatever their networks are, so one that shares no network with another there is refused unless
 * ATP_DOCKER_APPROXIMATE=all.
 *
 * LOCK: <state>/pods.lock (flock), held while a pod is chosen, made or ended, never while a container starts. A
 * container's row names its pod (state_container.pod) before anything of it is made there, and until all of it is gone;
 * whoever takes the last one out ends the sandbox.
 */
#ifndef ATP_SHIM_POD_H
#define ATP_SHIM_POD_H

#include "shim/container.h"

struct strlist;

/* Whether the container lives in a pod: it joins networks of its own. c is loaded. */
bool pod_wanted(const struct container *c);

/*
 * A sidecar for the container from the image's id on the server: pod, hub and sidecar as needed. intent as in
 * sandbox_create(). Fills in row.server, row.sandbox_id (in the value) and row.pod (in the state too), and c->task.
 */
int pod_create_container(struct container *c, const char *modal_image, char *intent, struct err *err);

/* The container is out of its pod (its sidecar is being ended); the pod ends if it was the last. */
void pod_leave(struct app *app, struct state_container *row);

/* What earlier commands left: containers that never got their sidecar, pods that nobody is in. */
void pod_reconcile(struct app *app);

/* "names" of START (translate/wire): who it is, what its networks call it, its extra hosts. Owned by caller, NULL: no
 * names are needed. */
char *pod_names(const struct container *c);

/* Whether the container's sandbox has ended with all that was in it. */
bool pod_is_sidecar(const struct state_container *row);

#endif
