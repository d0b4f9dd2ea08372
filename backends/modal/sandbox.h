/*
 * Sandboxes: create, find, wait for, end. A sandbox's kind (V1 or V2) is in the shape of its id (protocol 5.1), so
 * every function takes the id and picks the right call.
 */
#ifndef ATP_MODAL_SANDBOX_H
#define ATP_MODAL_SANDBOX_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct modal_client;
struct modal_task;

/* --- what to create ---------------------------------------------------------------------------------------------- */

enum modal_network {
    MODAL_NETWORK_OPEN,
    MODAL_NETWORK_BLOCKED,
    MODAL_NETWORK_ALLOWLIST, /* cidrs and domains; both empty: no egress, but the sidecars stay reachable */
};

enum modal_port_kind { MODAL_PORT_ENCRYPTED, MODAL_PORT_H2, MODAL_PORT_UNENCRYPTED };

struct modal_port {
    uint16_t port;
    enum modal_port_kind kind;
};

struct modal_volume {
    const char *volume_id;
    const char *path;
    const char *sub_path; /* NULL: the whole volume */
    bool read_only;
};

struct modal_pty {
    unsigned rows, cols;
    const char *term; /* NULL: "xterm-256color" */
};

/* Zero is every field's "not asked for". Strings and arrays are borrowed; the lists are the spec's own. */
struct modal_sandbox_spec {
    const char *app_id;
    const char *image_id;
    struct strlist args; /* appended to the image's ENTRYPOINT */
    struct strlist env;  /* K=V; never stored on the server by V2, an ephemeral secret with V1 */
    struct strlist tags; /* K=V */
    struct strlist secret_ids;
    struct strlist mount_ids;
    struct strlist regions;
    struct strlist cidrs, domains; /* MODAL_NETWORK_ALLOWLIST */
    struct strlist inbound_cidrs;
    struct strlist options; /* K=V, experimental_options_v2 */
    const char *name;
    const char *workdir;
    const char *cloud;
    const char *gpu; /* "T4" or "H100:2"; V1 only, refused with v2 */
    const char *custom_domain;
    const char *proxy_id;
    uint32_t timeout_s;      /* 0: 300, as the SDKs */
    uint32_t idle_timeout_s; /* 0: none */
    uint32_t cpu_milli, cpu_milli_max;
    uint32_t memory_mib, memory_mib_max;
    enum modal_network network;
    const struct modal_port *ports;
    size_t port_count;
    const struct modal_volume *volumes;
    size_t volume_count;
    const struct modal_pty *pty;
    bool verbose;
    bool enable_snapshot;
    bool i6pn;
    bool oidc_token;
    bool v1; /* the older back end (GPU) */
};

void modal_sandbox_spec_clear(struct modal_sandbox_spec *spec); /* the lists */

/* --- a sandbox --------------------------------------------------------------------------------------------------- */

struct modal_sandbox {
    char *id;
    char *task_id; /* NULL: not known yet */
};

#define MODAL_SANDBOX_INIT                                                                                             \
    {                                                                                                                  \
        NULL, NULL                                                                                                     \
    }

void modal_sandbox_clear(struct modal_sandbox *sandbox);

/*
 * One call, V2 (with V1 and env: two). Returns before the container runs. Task id and router access of the answer go to
 * the cache, so that modal_task_open() needs no call.
 */
int modal_sandbox_create(struct modal_client *c, const struct modal_sandbox_spec *spec,
                         struct modal_sandbox *ret_sandbox, struct err *err);

/* The running sandbox of that name in that app; GRPC_NOT_FOUND otherwise. */
int modal_sandbox_by_name(struct modal_client *c, const char *app_name, const char *name, bool v1,
                          struct modal_sandbox *ret_sandbox, struct err *err);

/* How a sandbox ended. */
struct modal_ending {
    bool finished;
    int exit_code;   /* as the SDKs count: 124 lifetime over, 137 terminated, else the entrypoint's */
    int status;      /* Modal__Client__GenericResult__GenericStatus */
    char *exception; /* the server's words for a failure, or NULL */
};

#define MODAL_ENDING_INIT                                                                                              \
    {                                                                                                                  \
        false, 0, 0, NULL                                                                                              \
    }

void modal_ending_clear(struct modal_ending *ending);

/* place: a sandbox's id, or a sidecar's place in one (task.h); its ending is then the sidecar's own. */
int modal_sandbox_poll(struct modal_client *c, const char *place, struct modal_ending *ret_ending, struct err *err);

/* Waits until it has ended, in turns of 10 s on the server; timeout_ms 0: as long as it takes. */
int modal_sandbox_wait(struct modal_client *c, const char *place, int64_t timeout_ms, struct modal_ending *ret_ending,
                       struct err *err);

/* The same beside other work: fn is called once, with an ending or with an error, unless the watch is freed before. */
struct modal_watch;
typedef void modal_watch_fn(void *arg, const struct modal_ending *ending, const struct err *err);
struct modal_watch *modal_sandbox_watch(struct modal_client *c, const char *place, modal_watch_fn *fn, void *arg);
void modal_watch_free(struct modal_watch *watch); /* NULL is fine; also from fn */

/* Ends it; a sandbox that is gone already is no error. */
int modal_sandbox_terminate(struct modal_client *c, const char *id, struct err *err);

/*
 * Sends the terminate without waiting for its answer. fn (may be NULL) is called when the answer came, if the loop
 * still turns; modal_client_flush() waits until the requests under way have at least been handed to the network.
 */
typedef void modal_done_fn(void *arg, const struct err *err); /* err NULL: done */
void modal_sandbox_terminate_start(struct modal_client *c, const char *id, modal_done_fn *fn, void *arg);
int modal_client_flush(struct modal_client *c, int64_t timeout_ms, struct err *err);

/* --- lists and tags ---------------------------------------------------------------------------------------------- */

struct modal_sandbox_info {
    char *id;
    char *name; /* "" if none */
    char *app_id;
    char *image_id;
    struct strlist tags;
    double created_at; /* Unix seconds */
    double started_at; /* 0: not yet */
    uint32_t timeout_s;
    struct modal_ending ending;
};

struct modal_sandbox_list {
    struct modal_sandbox_info *items;
    size_t len;
};

#define MODAL_SANDBOX_LIST_INIT                                                                                        \
    {                                                                                                                  \
        NULL, 0                                                                                                        \
    }

/* app_id "" for the whole environment. tags (K=V) all have to match; NULL for any. All pages. V2 lists both kinds. */
int modal_sandbox_list(struct modal_client *c, const char *app_id, const struct strlist *tags, bool finished, bool v1,
                       struct modal_sandbox_list *ret_list, struct err *err);
void modal_sandbox_list_clear(struct modal_sandbox_list *list);

int modal_sandbox_tags_get(struct modal_client *c, const char *id, struct strlist *ret_tags, struct err *err);
int modal_sandbox_tags_set(struct modal_client *c, const char *id, const struct strlist *tags, struct err *err);

/* True for "sb-" and exactly 22 letters and digits (protocol 5.1). */
bool modal_sandbox_id_is_v1(const char *id);

#endif
