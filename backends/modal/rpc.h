/*
 * One logical unary call: attempts, waiting between them, credentials, the answer unpacked. The rules are those of the
 * SDKs (protocol 1.7 for the control plane, 6.4 for a router). Private to this room.
 */
#ifndef ATP_MODAL_RPC_H
#define ATP_MODAL_RPC_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

struct err;
struct modal_client;
struct modal_peer;
struct modal_rpc;

struct modal_method {
    const char *path; /* "/package.Service/Method" */
    const ProtobufCMessageDescriptor *reply;
    bool auth; /* carries the auth token: the V2 calls of protocol 5.1 */
    bool slow; /* the first wait is 1 s: uploads (protocol 1.7) */
};

#define MODAL_CONTROL(method) "/modal.client.ModalClient/" #method
#define MODAL_ROUTER(method)  "/modal.task_command_router.TaskCommandRouter/" #method

struct modal_rpc_options {
    int64_t attempt_ms;     /* deadline of one attempt; 0: DEADLINE_CALL or DEADLINE_ROUTER_CALL */
    int64_t budget_ms;      /* no attempt starts after this; 0: by count */
    int64_t patience_ms;    /* how long a router may refuse connections; 0: the client's lost_ms */
    bool again_at_deadline; /* an attempt that ran into attempt_ms is repeated after 1 s, for ever (TaskExecWait) */
    bool unawaited;         /* modal_client_flush() waits until it has left */
    bool owns_arg;          /* arg is freed after fn, or with a call that is cancelled */
};

/* reply is owned by fn (modal_message_free), NULL on error; err is borrowed, NULL on success. From the loop only. */
typedef void modal_rpc_fn(void *arg, void *reply, const struct err *err);

/* request is packed at once; options may be NULL; fn may be NULL. The rpc is freed after fn. */
struct modal_rpc *modal_rpc_start(struct modal_peer *peer, const struct modal_method *method, const void *request,
                                  const struct modal_rpc_options *options, modal_rpc_fn *fn, void *arg);
void modal_rpc_cancel(struct modal_rpc *rpc); /* NULL is fine; fn is not called */

/* Turns the loop until it is done. *ret_reply is a message pointer, owned by caller; it is NULL on failure. */
int modal_rpc_sync(struct modal_peer *peer, const struct modal_method *method, const void *request,
                   const struct modal_rpc_options *options, void *ret_reply, struct err *err);

/* The same on the control plane. */
int modal_call(struct modal_client *c, const struct modal_method *method, const void *request, void *ret_reply,
               struct err *err);

/* May a call that ended so be tried again? */
bool modal_status_retried(int status);

/* For modal_client_flush(): has an unawaited one not left yet? */
bool modal_rpc_unsent(const struct modal_rpc *rpc);
struct modal_rpc *modal_rpc_next(const struct modal_rpc *rpc);

void modal_message_free(void *message);

/* For variables that point to an unpacked message. */
static inline void modal_message_cleanup(void *p)
{
    modal_message_free(*(void **)p);
}
#define cleanup_message __attribute__((cleanup(modal_message_cleanup)))

#endif
