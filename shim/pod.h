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
 * whoever takes the last one out ends the sandbox. The lock of a container may be held when this one is taken, never
 * the other way round but for a look.
 *
 * INTENTS: a pod's has the pod's id for container_id. A sidecar's has "<pod>/<short id>-<when>" for its name, and its
 * place for sandbox_id.
 */
#ifndef ATP_SHIM_POD_H
#define ATP_SHIM_POD_H

#include "shim/container.h"
#include "translate/wire/wire.h"

struct modal_volume;

/* Whether the container lives in a pod: it joins networks of its own. c is loaded. */
bool pod_wanted(const struct container *c);

/* Whether the container's place is, or was, in a pod. */
bool pod_is_sidecar(const struct state_container *row);

/*
 * A sidecar for the container from the image's id on the server: pod, hub and sidecar as needed. intent as in
 * sandbox_create(). Fills in row.server, row.sandbox_id (in the value) and row.pod (in the state too), and c->task.
 * Networks are looked up anew: one that is not there is Docker's error.
 */
int pod_create_container(struct container *c, const char *modal_image, char *intent, const struct modal_volume *volumes,
                         size_t volume_count, struct err *err);

/* Ends its sidecar, and the pod if it was the last; what sandbox_end() is for others. row->pod is cleared. */
void pod_end_container(struct app *app, const struct state_container *row);

/* The same for a place of which nobody knows more: the intents' list. Returns whether the server has answered. */
bool pod_end_place(struct app *app, const char *container_id, const char *place);

/* The container is in no pod any more, wherever its row may have been: the pod ends if it was the last. */
void pod_left(struct app *app, const char *container_id, const char *place);

/* An intent of a pod or a sidecar whose client is gone, as sandbox.c found it. 1 = seen to, 0 = not one of ours,
 * -1 = the server does not answer. */
int pod_take_up(struct app *app, const struct state_intent *in);

/* What earlier commands left: containers that never got their sidecar, pods that nobody is in. said: a line each. */
void pod_reconcile(struct app *app, bool said);

/*
 * A pod that the server has and the state may not (container_recover()): it is entered with no networks; once the
 * containers are in the state too, pod_found_networks() gives all pods the networks of their containers.
 */
struct modal_sandbox_info;
int pod_found(struct app *app, const char *id, const char *token, const struct modal_sandbox_info *info);
void pod_found_networks(struct app *app);

/*
 * START's names: who it is, what its networks call it, its extra hosts. False: none are needed. Clear with
 * wire_names_clear().
 */
bool pod_names(const struct container *c, struct wire_names *ret);

/*
 * A running sidecar joins or leaves a network: its spec has it as it will be. What cannot be had without another
 * sandbox is refused with a reason: networks of two pods, a way out of an internal one, company that Docker would keep
 * apart. Under the container's lock; the row is the caller's to write.
 */
int pod_connect(struct container *c, const struct state_network *n, struct err *err);
int pod_disconnect(struct container *c, const struct state_network *n, struct err *err);

/* Its agent, and by it the others, know a running sidecar by its present names; NULL spec is loaded. */
int pod_tell_names(struct container *c, struct err *err);

/* A running sidecar's address in the pod, as its agent says; NULL: unknown. Asked once in each life. Owned by caller. */
char *pod_address(struct container *c);

/* A running sidecar's file system as an image, for row.files and for commit; owned by caller. */
int pod_keep_files(struct container *c, char **ret_image, struct err *err);

#endif
