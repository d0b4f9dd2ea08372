#include "backends/session/forward.h"

#include "backends/session/internal.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TELL_AT (WIRE_PORT_WINDOW / 4) /* so much is taken before the agent is told: a frame for many pieces */

struct conn {
    struct conns *all;
    struct conn *next, *prev;
    void *arg;
    uint32_t id; /* 0: not said yet */
    uint16_t port;
    size_t credit;  /* what we may still send */
    size_t granted; /* what may still come */
    size_t owed;    /* taken, and the agent not told */
    bool eof_wanted, eof_sent, eof_came;
    bool starved; /* conn_send() took less than it was given */
};

struct conns {
    const struct conns_handlers *handlers;
    struct session *session; /* NULL: none at the moment */
    struct conn *first;
    struct conn *walk; /* the next one of a walk over all, which may change under it */
    size_t count;
    uint32_t last_id; /* of this session */
};

struct conns *conns_new(const struct conns_handlers *handlers)
{
    struct conns *c = xcalloc(1, sizeof(*c));

    c->handlers = handlers;
    return c;
}

static void unlink_conn(struct conn *conn)
{
    struct conns *c = conn->all;

    if (c->walk == conn)
        c->walk = conn->next;
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        c->first = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    c->count--;
    free(conn);
}

void conns_free(struct conns *c)
{
    while (c && c->first)
        unlink_conn(c->first);
    free(c);
}

size_t conns_count(const struct conns *c)
{
    return c->count;
}

/* It is over by the agent's doing, or for want of a session. */
static void drop(struct conn *conn, int error)
{
    const struct conns_handlers *h = conn->all->handlers;
    void *arg = conn->arg;

    unlink_conn(conn);
    h->closed(arg, error);
}

/* ---- towards the agent ---- */

static void say_open(struct conn *conn)
{
    struct conns *c = conn->all;

    conn->id = ++c->last_id;
    wire_put_port_open(&c->session->frame, conn->id, conn->port);
    session_send(c->session);
}

static void say_eof(struct conn *conn)
{
    struct conns *c = conn->all;

    if (conn->eof_sent || !conn->eof_wanted || !conn->id)
        return;
    conn->eof_sent = true;
    wire_put_port_eof(&c->session->frame, conn->id);
    session_send(c->session);
}

/* One that may go on is told so. */
static void feed(struct conn *conn)
{
    if (!conn->starved || !conn_room(conn))
        return;
    conn->starved = false;
    conn->all->handlers->ready(conn->arg);
}

/* Calls one of the above for all; they may close any of them. */
static void for_all(struct conns *c, void (*fn)(struct conn *conn))
{
    struct conn *conn = c->first;

    for (; conn; conn = c->walk) {
        c->walk = conn->next;
        fn(conn);
    }
    c->walk = NULL;
}

static void begin_one(struct conn *conn)
{
    say_open(conn);
    say_eof(conn);
    feed(conn);
}

void conns_begin(struct conns *c, struct session *s)
{
    c->session = s;
    c->last_id = 0;
    for_all(c, begin_one);
}

static void lose_one(struct conn *conn)
{
    if (conn->id)
        drop(conn, ECONNRESET);
}

void conns_lost(struct conns *c)
{
    c->session = NULL;
    for_all(c, lose_one); /* what was never said waits for the next session */
}

void conns_writable(struct conns *c)
{
    if (c->session)
        for_all(c, feed);
}

struct conn *conn_open(struct conns *c, uint16_t port, void *conn_arg)
{
    struct conn *conn;

    if (c->count >= WIRE_PORTS_MAX)
        return NULL;
    conn = xcalloc(1, sizeof(*conn));
    *conn = (struct conn){.all = c,
                          .next = c->first,
                          .arg = conn_arg,
                          .port = port,
                          .credit = WIRE_PORT_WINDOW,
                          .granted = WIRE_PORT_WINDOW};
    if (c->first)
        c->first->prev = conn;
    c->first = conn;
    c->count++;
    if (c->session)
        say_open(conn);
    return conn;
}

size_t conn_room(const struct conn *conn)
{
    const struct conns *c = conn->all;

    return c->session && conn->id && !conn->eof_wanted && !session_out_full(c->session) ? conn->credit : 0;
}

size_t conn_send(struct conn *conn, const void *bytes, size_t len)
{
    struct conns *c = conn->all;
    const char *at = bytes;
    size_t taken = 0;

    while (taken < len) {
        size_t n = len - taken, room = conn_room(conn);

        n = n < room ? n : room;
        n = n < WIRE_CHUNK ? n : WIRE_CHUNK;
        if (!n)
            break;
        wire_put_port_data(&c->session->frame, conn->id, at + taken, n);
        session_send(c->session);
        conn->credit -= n;
        taken += n;
    }
    conn->starved = conn->starved || taken < len || !conn_room(conn);
    return taken;
}

void conn_eof(struct conn *conn)
{
    conn->eof_wanted = true;
    if (conn->all->session)
        say_eof(conn);
}

void conn_taken(struct conn *conn, size_t bytes)
{
    struct conns *c = conn->all;

    conn->owed += bytes;
    if (conn->owed < TELL_AT || !c->session || conn->eof_came)
        return;
    wire_put_port_credit(&c->session->frame, conn->id, (uint32_t)conn->owed);
    session_send(c->session);
    conn->granted += conn->owed;
    conn->owed = 0;
}

void conn_close(struct conn *conn)
{
    struct conns *c = conn->all;

    if (c->session && conn->id) {
        wire_put_port_closed(&c->session->frame, conn->id, ECONNRESET);
        session_send(c->session);
    }
    unlink_conn(conn);
}

/* ---- from the agent ---- */

/* NULL: one that is over for us, whose last frames were under way. *ret_known false: an id that was never said. */
static struct conn *find(const struct conns *c, uint32_t id, struct err *err)
{
    struct conn *conn = c->first;

    while (conn && conn->id != id)
        conn = conn->next;
    if (!conn && (!id || id > c->last_id))
        err_set(err, 125, "a connection that was never opened");
    return conn;
}

static int take_data(struct conns *c, const struct wire_frame *f, struct err *err)
{
    const uint8_t *bytes;
    struct conn *conn;
    uint32_t id;
    size_t len;

    if (wire_get_port_data(f, &id, &bytes, &len, err) < 0)
        return -1;
    conn = find(c, id, err);
    if (!conn)
        return id && id <= c->last_id ? 0 : -1;
    if (conn->eof_came || len > conn->granted)
        return err_set(err, 125, "more PORT_DATA than was granted");
    conn->granted -= len;
    c->handlers->data(conn->arg, bytes, len);
    return 0;
}

static int take_credit(struct conns *c, const struct wire_frame *f, struct err *err)
{
    struct conn *conn;
    uint32_t id, bytes;

    if (wire_get_port_credit(f, &id, &bytes, err) < 0)
        return -1;
    conn = find(c, id, err);
    if (!conn)
        return id && id <= c->last_id ? 0 : -1;
    if (conn->credit + bytes > WIRE_PORT_WINDOW)
        return err_set(err, 125, "more PORT_CREDIT than was used");
    conn->credit += bytes;
    feed(conn);
    return 0;
}

static int take_closed(struct conns *c, const struct wire_frame *f, struct err *err)
{
    struct conn *conn;
    uint32_t id, error;

    if (wire_get_port_closed(f, &id, &error, err) < 0)
        return -1;
    conn = find(c, id, err);
    if (!conn)
        return id && id <= c->last_id ? 0 : -1;
    drop(conn, (int)(error & 0xffff));
    return 0;
}

static int take_eof(struct conns *c, const struct wire_frame *f, struct err *err)
{
    struct conn *conn;
    uint32_t id;

    if (wire_get_port_id(f, &id, err) < 0)
        return -1;
    conn = find(c, id, err);
    if (!conn)
        return id && id <= c->last_id ? 0 : -1;
    if (f->type == WIRE_PORT_OPENED)
        return 0; /* data may have been sent before; nobody waits for it */
    if (conn->eof_came)
        return err_set(err, 125, "a second PORT_EOF");
    conn->eof_came = true;
    c->handlers->eof(conn->arg);
    return 0;
}

int conns_frame(struct conns *c, const struct wire_frame *f, struct err *err)
{
    if (!c->session)
        return 0;
    switch (f->type) {
    case WIRE_PORT_DATA:
        return take_data(c, f, err);
    case WIRE_PORT_CREDIT:
        return take_credit(c, f, err);
    case WIRE_PORT_CLOSED:
        return take_closed(c, f, err);
    case WIRE_PORT_OPENED:
    case WIRE_PORT_EOF:
        return take_eof(c, f, err);
    default:
        return err_set(err, 125, "%s frame out of place", wire_type_name(f->type));
    }
}
