/*
 * Sidecars: further containers of a running sandbox (protocol 5.12). They end with it, share its processors and memory,
 * and reach each other by name. All calls go to the task's router and turn the client's loop until there is an answer.
 */
#ifndef ATP_MODAL_SIDECAR_H
#define ATP_MODAL_SIDECAR_H

#include "backends/modal/sandbox.h"

#define MODAL_SIDECARS_MAX 250 /* in one sandbox */

/* Zero is every field's "not asked for". Strings and arrays are borrowed; the lists are the spec's own. */
struct modal_sidecar_spec {
    const char *name;     /* how the others reach it; not "main" */
    const char *image_id; /* built already */
    struct strlist args;  /* appended to the image's ENTRYPOINT */
    struct strlist env;   /* K=V */
    const char *workdir;
    struct strlist secret_ids;
    const struct modal_volume *volumes;
    size_t volume_count;
    enum modal_network network;    /* MODAL_NETWORK_BLOCKED is refused */
    struct strlist cidrs, domains; /* MODAL_NETWORK_ALLOWLIST; both empty: the other containers only */
    const struct modal_pty *pty;
};
void modal_sidecar_spec_clear(struct modal_sidecar_spec *spec); /* the lists */

struct modal_sidecar_info {
    char *id, *name;
    struct modal_ending ending;
};
struct modal_sidecar_list {
    struct modal_sidecar_info *items;
    size_t len;
};
void modal_sidecar_info_clear(struct modal_sidecar_info *info);
void modal_sidecar_list_clear(struct modal_sidecar_list *list);

/*
 * Returns when it has been started. GRPC_ALREADY_EXISTS or GRPC_INVALID_ARGUMENT: the name is in use;
 * GRPC_NOT_FOUND: no such image. *ret_id: "ctr-...", owned by caller.
 */
int modal_sidecar_create(struct modal_task *task, const struct modal_sidecar_spec *spec, char **ret_id,
                         struct err *err);

/* The one that has the name, or with terminated the last that had it. GRPC_NOT_FOUND otherwise. */
int modal_sidecar_get(struct modal_task *task, const char *name, bool terminated, struct modal_sidecar_info *ret,
                      struct err *err);

/* Without the main container. */
int modal_sidecar_list(struct modal_task *task, bool terminated, struct modal_sidecar_list *ret, struct err *err);

/* One that has ended already, or that nobody knows, is no error. */
int modal_sidecar_terminate(struct modal_task *task, const char *id, struct err *err);

/* Waits for so long at most, 0: a look; ret->finished says whether it has ended. GRPC_NOT_FOUND: nobody knows it. */
int modal_sidecar_wait(struct modal_task *task, const char *id, int64_t timeout_ms, struct modal_ending *ret,
                       struct err *err);

#endif
