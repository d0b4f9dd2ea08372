/*
 * HTTP/2 on the server's side (nghttp2): prior knowledge, one session per connection, gRPC calls as streams. Flow
 * control is by hand both ways: a stream's bytes are acknowledged when its call has taken them, and a call is asked for
 * bytes only when the peer's window and the socket have room.
 */
#ifndef ATP_ENGINE_H2_H
#define ATP_ENGINE_H2_H

#include <stdbool.h>
#include <stddef.h>

struct call;
struct conn;
struct conn_handler;
struct engine;
struct h2;
struct h2_stream;

/* Makes the session of a connection that spoke the preface. */
void h2_attach(struct conn *c, const struct conn_handler **ret_handler, void **ret_arg);

/* For rpc.c: the answer's headers, then what call_pull() gives; or one header block that is all (call ended, no
 * message). */
void h2_respond(struct h2_stream *s, struct call *c);
void h2_resume(struct h2_stream *s);
/* The call has taken so many bytes: the peer may send that many more. */
void h2_consume(struct h2_stream *s, size_t len);
struct conn *h2_conn(const struct h2_stream *s);

/* Sends what sessions that changed in this turn of the loop have to say; the engine calls it before the loop sleeps. */
void h2_flush_all(struct engine *e);

#endif
