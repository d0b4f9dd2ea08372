/*
 * What the services share: their tables, and small helpers for requests, whose fields are all optional (an absent
 * string is NULL and means the same as an empty one). Errors of services carry the gRPC status in err->code.
 */
#ifndef ATP_ENGINE_SVC_H
#define ATP_ENGINE_SVC_H

#include "backends/engine/rpc.h"
#include "backends/proto/api.pb-c.h"
#include "compat/base/strlist.h"

#include <stdbool.h>

struct engine;
struct err;
struct waiter;

/* control plane */
extern const struct rpc_method svc_app_methods[];
extern const struct rpc_method svc_auth_methods[];
extern const struct rpc_method svc_blob_methods[];
extern const struct rpc_method svc_container_v2_methods[];
extern const struct rpc_method svc_environment_methods[];
extern const struct rpc_method svc_image_methods[];
extern const struct rpc_method svc_image_names_methods[];
extern const struct rpc_method svc_mount_methods[];
extern const struct rpc_method svc_ready_methods[];
extern const struct rpc_method svc_sandbox_io_methods[];
extern const struct rpc_method svc_sandbox_methods[];
extern const struct rpc_method svc_sandbox_names_methods[];
extern const struct rpc_method svc_secret_methods[];
extern const struct rpc_method svc_snapshot_methods[];
extern const struct rpc_method svc_tunnel_methods[];
extern const struct rpc_method svc_volume_blocks_methods[];
extern const struct rpc_method svc_volume_files_methods[];
extern const struct rpc_method svc_volume_methods[];
/* task command router */
extern const struct rpc_method svc_container_methods[];
extern const struct rpc_method svc_exec_methods[];
extern const struct rpc_method svc_exec_stdin_methods[];
extern const struct rpc_method svc_stdio_v2_methods[];
extern const struct rpc_method svc_task_methods[];
extern const struct rpc_method svc_task_snapshot_methods[];
extern const struct rpc_method svc_task_volume_methods[];
/* the engine's own */
extern const struct rpc_method svc_engine_methods[];

#define SVC_WORKSPACE "local" /* the only one here */

#define SVC_REQUEST(name)        &modal__client__##name##__descriptor
#define SVC_ROUTER_REQUEST(name) &modal__task_command_router__##name##__descriptor

/* "" for an absent string. */
const char *svc_text(const char *s);
/* Sets err with the status; returns -1. */
int svc_err(struct err *err, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Ends the call with err, whose code is a gRPC status (anything else is INTERNAL). */
void svc_fail(struct call *c, struct err *err);
void svc_reply_empty(struct call *c);

/* The environment that a request means: the default for an empty name. */
const char *svc_environment(const char *name);

/* A map<string, string> as "K=V", keys checked. */
int svc_env(Modal__Client__StringEntry *const *entries, size_t len, struct strlist *ret, struct err *err);

/* The variables of secret sources, in their order, set in env. */
int svc_secret_sources(struct engine *e, Modal__Client__SecretSource *const *sources, size_t len, struct strlist *env,
                       struct err *err);
/* -1 and UNIMPLEMENTED when a request carries a field that this server does not know: it would be ignored otherwise. */
int svc_no_unknown(const ProtobufCMessage *message, const char *what, struct err *err);

/* An engine's object that the generated code wants as char *; it is not written to. */
#define SVC_CONST(text) ((char *)(uintptr_t)(text))

/* Where this caller reaches the task command router, or blobs; owned by caller (protocol 6.2). */
char *svc_router_url(const struct call *c);
char *svc_http_url(const struct call *c);

/*
 * A call that waits: parked in a list, until it is woken or its time is over, whichever comes first. done is called
 * once; by then the call is in no list and may be answered, or parked again. seconds < 0 = without limit.
 */
void svc_park(struct call *c, struct waiter **list, double seconds, void (*done)(struct call *c, bool timed_out));

#endif
