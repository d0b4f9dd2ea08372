/*
 * Calls: one gRPC call each, between the HTTP/2 core (h2.h) and the services (svc_*.c).
 *
 * A service is a table of methods. A handler gets the call and the decoded request, and owes the call exactly one end:
 *
 *   unary          call_reply() or call_fail(), at once or later
 *   server stream  call_stream() names a source; the source is asked for the next message whenever the peer's window
 * has room, so nothing is buffered here: it calls call_send(), call_finish(), call_fail(), or nothing, which means
 * "wait": then call_wake() later client stream  the handler is called for every message, and once with NULL at the end
 * of the stream; call_pause() stops taking bytes from the peer until call_resume()
 *
 * The end also comes from outside: deadline, cancellation, a lost connection. Whatever it was, `release` of the call
 * runs once at that moment; a handler that parks a call sets it and takes the call out of every list there. After the
 * end a handler must not touch the call.
 *
 * The request of a unary or server-streaming call stays valid until the call ends; a message of a client stream only
 * during the handler.
 */
#ifndef ATP_ENGINE_RPC_H
#define ATP_ENGINE_RPC_H

#include "backends/grpc/frame.h"
#include "compat/base/buf.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct call;
struct engine;
struct err;
struct h2_stream;
struct timer;

enum rpc_kind { RPC_UNARY, RPC_SERVER_STREAM, RPC_CLIENT_STREAM };

enum rpc_flags {
    RPC_V2 = 1 << 0,     /* x-modal-auth-token is demanded (protocol 5.1) */
    RPC_ONCE = 1 << 1,   /* a repeat with the same x-idempotency-key gets the first answer */
    RPC_ROUTER = 1 << 2, /* of the task command router: authorised by a bearer token */
    RPC_OURS = 1 << 3,   /* not Modal's: an engine that is --plain does not have it */
};

struct rpc_method {
    const char *name; /* NULL ends a table */
    const ProtobufCMessageDescriptor *request;
    enum rpc_kind kind;
    unsigned flags;
    void (*handle)(struct call *c, const void *request);
};

/* The method of a :path, or NULL. */
const struct rpc_method *rpc_find(const char *path);

struct call_meta { /* request headers; owned by the call, NULL = absent */
    char *token_id, *token_secret, *auth_token, *authorization, *idempotency_key;
    char *authority; /* the host that the client asked for, as it wrote it */
    int client_type;
    int64_t timeout_ms; /* -1 = none */
};

struct call {
    struct engine *engine;
    const struct rpc_method *method;
    const void *request;
    struct call_meta meta;
    char *task_id; /* of the bearer token; router calls only */
    void *state;   /* the handler's */
    void (*release)(struct call *c);
    void (*source)(struct call *c);

    /* private to rpc.c and h2.c */
    struct h2_stream *stream;
    struct grpc_parser parser;
    struct buf out;
    size_t out_at;
    struct timer *deadline;
    int status; /* GRPC_* once ended */
    char *message;
    double retry_secs;
    size_t unread; /* bytes of the body for which the peer has no window back yet */
    bool started, ended, half_closed, end_told, paused, in_handler, lose_answer;
};

#define CALL_SEND_MAX (256u << 10) /* a good size for one message of a server stream */

void call_reply(struct call *c, const void *message); /* any protobuf-c message; status OK */
void call_fail(struct call *c, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same with the message of err, which is emptied. */
void call_fail_err(struct call *c, int status, struct err *err);
void call_fail_retry(struct call *c, int status, double retry_secs, const char *text);

void call_stream(struct call *c, void (*source)(struct call *c));
void call_send(struct call *c, const void *message);
void call_finish(struct call *c);
void call_wake(struct call *c);

void call_pause(struct call *c);
void call_resume(struct call *c);

/* ---- for h2.c ---- */

/* Starts a call whose headers are complete: checks the method, credentials and faults. Takes what meta holds. */
struct call *call_new(struct h2_stream *stream, struct engine *e, const char *path, struct call_meta *meta);
void call_free(struct call *c); /* also ends it */
void call_take(struct call *c, const uint8_t *bytes, size_t len, bool end);
/* Bytes for the peer: how many were copied; 0 with *ret_end unset = nothing now. */
size_t call_pull(struct call *c, void *to, size_t cap, bool *ret_end);

#endif
