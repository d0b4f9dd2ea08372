/*
 * Private to this room: how channel, connection and call hang together. A channel lists all its connections (one in
 * use, others draining after a GOAWAY) and all its open calls; a call sits on one connection from its first moment, as
 * nghttp2 holds back what can't be sent yet.
 */
#ifndef ATP_GRPC_INTERNAL_H
#define ATP_GRPC_INTERNAL_H

#include "backends/grpc/grpc.h"
#include "backends/grpc/url.h"
#include "compat/base/buf.h"
#include "compat/base/strlist.h"

#include <nghttp2/nghttp2.h>

struct loop;
struct loop_io;
struct loop_timer;
struct net_connect;
struct tls;
struct tls_context;

struct grpc_channel {
    struct loop *loop;
    char *url_text;
    struct grpc_url url;
    struct grpc_proxy proxy;
    char *user_agent;
    char *ca_file;
    int64_t connect_ms, lost_ms;
    int64_t quiet_ms; /* silence after which a PING is sent */
    bool tls_unverified;
    struct tls_context *tls; /* made at the first TLS connection */
    struct grpc_conn *conns;
    struct grpc_conn *conn; /* takes new calls; NULL: none */
    struct grpc_call *calls;
    struct grpc_stats stats;
};

enum conn_state { CONN_CONNECTING, CONN_HANDSHAKE, CONN_OPEN };

struct grpc_conn {
    struct grpc_channel *ch;
    struct grpc_conn *next;
    enum conn_state state;
    struct net_connect *connecting;
    struct loop_timer *timer; /* connect deadline, then liveness */
    int fd;
    struct loop_io *io;
    struct tls *tls;
    nghttp2_session *h2;
    struct buf out; /* bytes for the socket */
    size_t out_at;
    size_t calls;        /* open ones */
    int64_t heard_at;    /* when the peer last sent anything; 0: never */
    int64_t quiet_since; /* the same, or since there are calls that wait for it */
    int64_t ping_at;     /* when the unanswered PING left; 0: none */
    bool busy;           /* within nghttp2: don't enter it again, don't free */
    bool draining;       /* GOAWAY: no new calls */
    bool sent_any;       /* bytes of ours may have reached the server */
    int write_error;     /* errno of a send() that failed */
    char *failure;       /* set: the connection is to be given up when control is back at the top */
};

struct grpc_call {
    struct grpc_channel *ch;
    struct grpc_call *next;
    struct grpc_conn *conn; /* NULL once the stream is over */
    int32_t stream;
    struct grpc_handlers handlers;
    void *arg;
    struct loop_timer *deadline;
    struct loop_timer *kick; /* delivers from the loop what a grpc_call_* function made deliverable */

    struct buf out; /* framed messages for the server */
    size_t out_at;
    bool finish;   /* END_STREAM after out */
    bool deferred; /* nghttp2 waits for more of out */
    bool drained;  /* on_drained is due */

    struct grpc_parser parser;
    size_t held; /* received bytes whose stream window was not given back */
    bool paused;
    bool delivering; /* a handler of this call runs */
    bool gone;       /* cancelled while delivering */

    int http_status;
    bool is_grpc; /* content-type says so */
    bool has_status;
    bool unsent; /* the request never left */
    bool over;   /* result is final; on_end follows when the messages are through */
    int64_t started_at;
    struct grpc_result result;
    char *message; /* from grpc-message, or of our own making */
    struct buf details;
    bool has_details;
};

/* conn.c */
struct grpc_conn *conn_for_call(struct grpc_channel *ch);
void conn_free(struct grpc_conn *conn);
void conn_update(struct grpc_conn *conn); /* there is something new to write */
void conn_call_added(struct grpc_conn *conn);
void conn_call_removed(struct grpc_conn *conn);
void conn_fail(struct grpc_conn *conn, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* h2.c: what nghttp2 tells, turned into calls of call.c */
nghttp2_session *h2_session_new(struct grpc_conn *conn);
void h2_submit(struct grpc_call *call, int64_t deadline_ms, const struct strlist *metadata, const char *path);

/* call.c */
void call_body(struct grpc_call *call, const void *data, size_t len);
void call_stream_closed(struct grpc_call *call, uint32_t error_code);
void call_transport_failed(struct grpc_call *call, const char *message, bool unprocessed);
void call_deliver(struct grpc_call *call); /* may free it */
void call_tell_drained(struct grpc_channel *ch);

#endif
