/*
 * A gRPC client on struct loop: one channel per server, any number of calls at once on one HTTP/2 connection, over TLS,
 * cleartext with prior knowledge, and Unix sockets alike. Nothing here blocks but grpc_call_sync(), which turns the
 * loop itself. Retries, credentials and deadlines for whole operations are the caller's (backends/modal/rpc.h).
 *
 * Why nghttp2 and not libcurl, tried with Debian's 7.88.1: over TLS libcurl cancels one stream of several, takes
 * answers that are trailers only, and serves older streams to their end after a GOAWAY, though it repeats a refused
 * request by itself, out of the caller's hands. But over cleartext it can't put a second stream on a connection, it
 * can't send a PING from a multi handle, so a lost peer is noticed late, and loading its 33 libraries costs each start
 * of the program some 5 ms. nghttp2 has none of these limits, and the engine needs it anyway.
 *
 * A connection is made when the first call needs it and kept until the channel is freed; one that breaks ends its calls
 * with UNAVAILABLE and the next call makes a new one. While calls are open a quiet peer is asked with PING, and one
 * that says nothing for lost_ms is given up. After a GOAWAY the calls that the server still serves go on, and new ones
 * get a new connection.
 */
#ifndef ATP_GRPC_GRPC_H
#define ATP_GRPC_GRPC_H

#include "backends/grpc/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct loop;
struct strlist;
struct grpc_channel;
struct grpc_call;

struct grpc_options {
    const char *user_agent; /* NULL: "atp-docker/<version>" */
    int64_t connect_ms;     /* name, connect, proxy and TLS together; 0: DEADLINE_CONNECT */
    int64_t lost_ms;        /* silence after which a peer is lost; 0: DEADLINE_LOST_PEER */
    bool tls_unverified;    /* no check of chain and name: only for a server that was itself reached as localhost */
    const char *ca_file;    /* trust this file of certificates instead of the system's; NULL: the system's */
    bool no_proxy;          /* ignore HTTPS_PROXY and its relatives */
};

/*
 * url: https://host[:port], http://host[:port] (HTTP/2 without TLS), unix:///absolute/path. Only parses; connecting
 * comes with the first call, or with grpc_channel_connect(). options may be NULL. Owned by caller; the loop must
 * outlive it. The proxy for https comes from HTTPS_PROXY, https_proxy, ALL_PROXY, all_proxy and NO_PROXY, no_proxy;
 * only http:// proxies are spoken.
 */
struct grpc_channel *grpc_channel_new(struct loop *loop, const char *url, const struct grpc_options *options,
                                      struct err *err);

/* Open calls are dropped without their on_end. NULL is fine. Never from within a callback of one of its calls. */
void grpc_channel_free(struct grpc_channel *ch);

/* Starts connecting now, so that it overlaps with other work. */
void grpc_channel_connect(struct grpc_channel *ch);

const char *grpc_channel_url(const struct grpc_channel *ch); /* borrowed */

/* Counts for tests and traces: connections made so far, and bytes both ways. */
struct grpc_stats {
    unsigned connects;
    uint64_t received;
    uint64_t sent;
};
struct grpc_stats grpc_channel_stats(const struct grpc_channel *ch);

/* How a call ended. Pointers are borrowed and live until on_end returns. */
struct grpc_result {
    int status;          /* enum grpc_status */
    const char *message; /* never NULL; safe to show */
    const void *details; /* the decoded grpc-status-details-bin, or NULL */
    size_t details_len;
    bool from_server; /* the server said so; false: the transport, a deadline, a limit */
    bool unprocessed; /* the server certainly did nothing: the same request may be sent again at once */
    bool heard;       /* the peer said something, if only to a PING, while the call was open */
};

/* Any may be NULL but on_end. Called from the loop only, never from within a grpc_* function. */
struct grpc_handlers {
    /* One whole message. After grpc_call_pause() no further one comes until grpc_call_resume(). */
    void (*on_message)(struct grpc_call *call, const void *data, size_t len, void *arg);
    /* All that was handed to grpc_call_send() has gone to HTTP/2: room for more. */
    void (*on_drained)(struct grpc_call *call, void *arg);
    /* Exactly once, last; the call is freed when it returns. Not called after grpc_call_cancel(). */
    void (*on_end)(struct grpc_call *call, const struct grpc_result *result, void *arg);
};

/*
 * path: "/package.Service/Method". metadata: "key=value" entries with lower-case keys, copied; NULL for none.
 * deadline_ms from now, 0 for none: it is told to the server as grpc-timeout and enforced here. Unary and
 * server-streaming calls: one grpc_call_send(), then grpc_call_finish(). Never NULL.
 */
struct grpc_call *grpc_call_start(struct grpc_channel *ch, const char *path, const struct strlist *metadata,
                                  int64_t deadline_ms, const struct grpc_handlers *handlers, void *arg);

/* Queues one message (copied). -1 if it is above LIMIT_GRPC_MESSAGE or the queue is that long already; nothing is
 * queued. */
int grpc_call_send(struct grpc_call *call, const void *data, size_t len);
void grpc_call_finish(struct grpc_call *call);          /* no more messages from us */
size_t grpc_call_pending(const struct grpc_call *call); /* bytes queued and not yet handed to HTTP/2 */

/* Has the request been handed to the kernel as far as it was given to us? For those who leave without the answer. */
bool grpc_call_sent(const struct grpc_call *call);

/* Back-pressure: a paused call takes at most one window more from the peer. Other calls are not held up. */
void grpc_call_pause(struct grpc_call *call);
void grpc_call_resume(struct grpc_call *call);

/* Resets the stream and frees the call; none of its handlers is called any more. NULL is fine; also from a handler. */
void grpc_call_cancel(struct grpc_call *call);

/* An answer that the caller owns. */
struct grpc_reply {
    void *data; /* the one message; a NUL byte follows */
    size_t len;
    int status;
    char *message; /* never NULL after a call */
    void *details;
    size_t details_len;
    bool from_server;
    bool unprocessed;
};

#define GRPC_REPLY_INIT                                                                                                \
    {                                                                                                                  \
        NULL, 0, GRPC_OK, NULL, NULL, 0, false, false                                                                  \
    }

void grpc_reply_clear(struct grpc_reply *reply);

/*
 * A unary call, turning the loop until it has ended: not from within a callback of that loop. 0 when status is OK and
 * exactly one message came; otherwise -1 with reply filled and err set to "<message>" (err->code is the status).
 */
int grpc_call_sync(struct grpc_channel *ch, const char *path, const struct strlist *metadata, int64_t deadline_ms,
                   const void *data, size_t len, struct grpc_reply *reply, struct err *err);

#endif
