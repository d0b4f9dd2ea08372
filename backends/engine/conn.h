/*
 * Connections: bytes to and from one peer, over a Unix socket or TCP. The first bytes decide what is spoken: 0x16 is
 * TLS (then the same question again inside), "PRI " is HTTP/2 (h2.h), anything else HTTP/1.1 (h1.h). Faults of the
 * network (fault.h) are made here, below TLS.
 *
 * A handler is given the plain bytes. conn_write() queues; a handler that has more than CONN_HIGH queued stops and goes
 * on at `drained`. conn_close() may be called at any time, also from the handler's own functions: `gone` follows later
 * from the loop, exactly once, and only there is the handler's state freed.
 */
#ifndef ATP_ENGINE_CONN_H
#define ATP_ENGINE_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct conn;
struct engine;

#define CONN_HIGH (256u << 10) /* bytes waiting for the peer above which nothing is produced */
#define CONN_LOW  (64u << 10)  /* and below which producing goes on */

struct conn_handler {
    void (*bytes)(void *arg, const uint8_t *bytes, size_t len);
    void (*drained)(void *arg);
    /* Called every few seconds with the time since anything moved in either direction. */
    void (*tick)(void *arg, uint64_t silent_ms);
    void (*gone)(void *arg);
    /* The engine ends: says so and lets the connection go; NULL = it is just closed. */
    void (*goodbye)(void *arg);
};

/* Takes the connection that waits at the listening handle. */
void conn_accept(struct engine *e, uv_stream_t *listener, bool is_unix);
void conn_write(struct conn *c, const void *bytes, size_t len);
size_t conn_queued(const struct conn *c);
void conn_close(struct conn *c);
void conn_finish(struct conn *c); /* closes when everything queued is written */
bool conn_closing(const struct conn *c);
/* Stops and resumes reading: back-pressure for bytes that nobody takes. */
void conn_pause(struct conn *c, bool paused);

bool conn_is_unix(const struct conn *c);
bool conn_is_tls(const struct conn *c);
/* "127.0.0.1:1234", the address that the peer reached us at; owned by caller. NULL on a Unix socket. */
char *conn_local_address(const struct conn *c);
struct engine *conn_engine(const struct conn *c);

/* For the engine: takes leave on every connection; closes every one at once; calls every handler's tick. */
void conn_end_all(struct engine *e);
void conn_close_all(struct engine *e);
void conn_tick_all(struct engine *e);

#endif
