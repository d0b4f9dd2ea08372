/*
 * The client's half of a session that carries TCP connections (WIRE_ASK_FORWARD; translate/wire/wire.h, PORTS): many at
 * once, each with credit of its own, so that a slow one holds itself and no other. No I/O: whoever has the sockets
 * hands bytes in and gets bytes out.
 *
 *     conns = conns_new(&handlers, arg);
 *     s = session_ask(loop, {.kind = WIRE_ASK_FORWARD}, ...)     with .ports = conns_frame (below) in its callbacks
 *     conns_begin(conns, s)            opens what was asked for before
 *     conn = conn_open(conns, port, its_arg)
 *     conn_room(), conn_send(), conn_eof()      towards the container
 *     conn_taken()                     bytes that the handler data() got have been written
 *     conn_close()                     it is over for us: reset; the conn is gone, nothing is called back any more
 *     conns_writable(conns)            the session's transport has room again
 *     conns_lost(conns)                the session is gone: closed() for all of them; begin with another one
 */
#ifndef ATP_SESSION_FORWARD_H
#define ATP_SESSION_FORWARD_H

#include <stddef.h>
#include <stdint.h>

struct conn;
struct conns;
struct err;
struct session;
struct wire_frame;

struct conns_handlers {
    /* Bytes from the container, all taken; conn_taken() gives the credit back. */
    void (*data)(void *conn_arg, const void *bytes, size_t len);
    void (*eof)(void *conn_arg); /* no more of them come */
    /* More is taken by conn_send() than a moment ago: it took less than it was given. */
    void (*ready)(void *conn_arg);
    /* It is over; the conn is gone. error: errno of why it was not opened or was reset, 0: as it should be. */
    void (*closed)(void *conn_arg, int error);
};

struct conns *conns_new(const struct conns_handlers *handlers); /* handlers are borrowed */
void conns_free(struct conns *c);                               /* without a word to anybody; NULL is fine */

/* Once the session may be spoken to; until then what is opened and sent waits, or is not taken. */
void conns_begin(struct conns *c, struct session *s);
void conns_lost(struct conns *c);
void conns_writable(struct conns *c);
/* A PORT_* frame of the agent; -1: it must not come, the session is over. */
int conns_frame(struct conns *c, const struct wire_frame *f, struct err *err);
size_t conns_count(const struct conns *c);

struct conn *conn_open(struct conns *c, uint16_t port, void *conn_arg); /* NULL: WIRE_PORTS_MAX are there */
size_t conn_send(struct conn *conn, const void *bytes, size_t len);     /* how much was taken */
size_t conn_room(const struct conn *conn);
void conn_eof(struct conn *conn); /* after what was sent */
void conn_taken(struct conn *conn, size_t bytes);
void conn_close(struct conn *conn);

#endif
