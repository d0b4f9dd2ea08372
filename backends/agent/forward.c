/*
 * TCP connections into the container, all of them in one session: ASK FORWARD (translate/wire/wire.h, PORTS).
 */
#include "backends/agent/address.h"
#include "backends/agent/answer.h"
#include "backends/agent/link.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUCKETS     256
#define TRIES       2                      /* its own address, then 127.0.0.1 */
#define CREDIT_STEP (WIRE_PORT_WINDOW / 4) /* bytes written before the client is told: few frames, no stall */

struct conn {
    struct conn *next;
    struct forward *forward;
    uint32_t id;
    int fd;
    struct loop_io *io;
    uint16_t port;
    unsigned tried;  /* addresses */
    bool open;       /* connected */
    bool client_eof; /* the client's half is over, once `in` is written */
    bool shut;       /* and the process knows */
    bool socket_eof; /* the process's half is over, and the client knows */
    struct buf in;   /* from the client, for the process */
    size_t granted;  /* what the client may still send */
    size_t owed;     /* written, and the client not told */
    size_t credit;   /* what we may send */
};

struct forward {
    struct answer *answer;
    struct conn *buckets[BUCKETS];
    size_t n;
    uint32_t newest; /* the last id that the client drew */
    bool any;        /* it has drawn one */
    bool full;       /* the link to the client holds enough: no socket is read */
};

static void on_ready(struct loop *loop, int fd, short revents, void *arg);

/* ---- connections ---- */

static struct conn **find(struct forward *f, uint32_t id)
{
    struct conn **p = &f->buckets[id % BUCKETS];

    while (*p && (*p)->id != id)
        p = &(*p)->next;
    return p;
}

static void close_socket(struct conn *c)
{
    loop_io_del(c->io);
    c->io = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static void drop(struct conn *c)
{
    struct forward *f = c->forward;

    *find(f, c->id) = c->next;
    f->n--;
    close_socket(c);
    buf_clear(&c->in);
    free(c);
}

static void send_frames(struct forward *f)
{
    link_send(f->answer->client);
}

/* The last word on a connection. */
static void finish(struct conn *c, int error)
{
    struct forward *f = c->forward;

    wire_put_port_closed(&f->answer->client->queue, c->id, (uint32_t)error);
    drop(c);
    send_frames(f);
}

/* The process sees that it was not an ordinary end. */
static void reset(struct conn *c)
{
    const struct linger now = {.l_onoff = 1};

    if (c->fd >= 0)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    drop(c);
}

static void set_events(struct conn *c)
{
    short events = 0;

    if (!c->io)
        return;
    if (!c->open || c->in.len)
        events |= POLLOUT;
    if (c->open && !c->socket_eof && c->credit && !c->forward->full)
        events |= POLLIN;
    loop_io_set(c->io, events);
}

static void set_all_events(struct forward *f)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct conn *c = f->buckets[i]; c; c = c->next)
            set_events(c);
}

/* Begins to connect to the next address; an errno if there is none, or if it fails at once. */
static int connect_next(struct conn *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(c->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int on = 1, e = ECONNREFUSED;

    close_socket(c);
    while (c->tried < TRIES) {
        if (c->tried++ == 0 && !address_own(&to.sin_addr))
            continue;
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (c->fd < 0)
            return errno;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS) {
            c->io = loop_io_add(c->forward->answer->loop, c->fd, POLLOUT, on_ready, c);
            return 0;
        }
        e = errno;
        close_socket(c);
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    return e;
}

/* Whether the attempt succeeded. False: the next one is under way, or the connection is gone. */
static bool take_connected(struct conn *c)
{
    int e = 0;
    socklen_t len = sizeof(e);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0)
        e = errno;
    if (e) {
        int next = connect_next(c);

        if (next)
            finish(c, next == EMFILE ? next : e);
        return false;
    }
    c->open = true;
    wire_put_port_opened(&c->forward->answer->client->queue, c->id);
    send_frames(c->forward);
    return true;
}

static void give_credit(struct conn *c, size_t written)
{
    c->owed += written;
    if (c->owed < CREDIT_STEP || c->client_eof)
        return;
    wire_put_port_credit(&c->forward->answer->client->queue, c->id, (uint32_t)c->owed);
    c->granted += c->owed;
    c->owed = 0;
    send_frames(c->forward);
}

/* From the client to the process. False: the connection is gone. */
static bool write_some(struct conn *c)
{
    while (c->in.len) {
        ssize_t n = send(c->fd, c->in.data, c->in.len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0) {
            finish(c, errno);
            return false;
        }
        buf_consume(&c->in, (size_t)n);
        give_credit(c, (size_t)n);
    }
    if (c->client_eof && !c->shut) {
        c->shut = true;
        shutdown(c->fd, SHUT_WR);
    }
    return true;
}

/* One read from the process to the client. False: the connection is gone. */
static bool read_some(struct conn *c)
{
    struct forward *f = c->forward;
    char bytes[WIRE_CHUNK];
    ssize_t n = recv(c->fd, bytes, c->credit < sizeof(bytes) ? c->credit : sizeof(bytes), 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n < 0) {
        finish(c, errno);
        return false;
    }
    if (n == 0) {
        c->socket_eof = true;
        wire_put_port_eof(&f->answer->client->queue, c->id);
    } else {
        c->credit -= (size_t)n;
        wire_put_port_data(&f->answer->client->queue, c->id, bytes, (size_t)n);
    }
    send_frames(f);
    if (!f->full && link_pending(f->answer->client) >= LINK_HIGH) {
        f->full = true;
        set_all_events(f);
    }
    return true;
}

static void on_ready(struct loop *loop, int fd, short revents, void *arg)
{
    struct conn *c = arg;

    (void)loop;
    (void)fd;
    if (!c->open && !take_connected(c))
        return;
    if (!write_some(c))
        return;
    if ((revents & (POLLIN | POLLHUP | POLLERR)) && !c->socket_eof && c->credit && !c->forward->full && !read_some(c))
        return;
    if (c->shut && c->socket_eof)
        finish(c, 0);
    else
        set_events(c);
}

/* ---- frames ---- */

static int take_open(struct forward *f, const struct wire_frame *frame, struct err *err)
{
    struct conn *c;
    uint32_t id;
    uint16_t port;
    int e;

    if (wire_get_port_open(frame, &id, &port, err) < 0)
        return -1;
    if (f->any && id <= f->newest)
        return err_set(err, 125, "PORT_OPEN of a number that was used");
    f->any = true;
    f->newest = id;
    if (f->n >= WIRE_PORTS_MAX) {
        wire_put_port_closed(&f->answer->client->queue, id, EMFILE);
        send_frames(f);
        return 0;
    }
    c = xcalloc(1, sizeof(*c));
    *c = (struct conn){
        .forward = f, .id = id, .fd = -1, .port = port, .granted = WIRE_PORT_WINDOW, .credit = WIRE_PORT_WINDOW};
    buf_init(&c->in, WIRE_PORT_WINDOW);
    *find(f, id) = c;
    f->n++;
    e = connect_next(c);
    if (e)
        finish(c, e);
    return 0;
}

/* The connection that a frame is for. NULL without err: it is over, and the client did not know yet. */
static struct conn *conn_of(struct forward *f, uint32_t id, struct err *err)
{
    struct conn *c = *find(f, id);

    if (!c && (!f->any || id > f->newest))
        err_set(err, 125, "a PORT frame of a number that was not opened");
    return c;
}

static int take_data(struct forward *f, const struct wire_frame *frame, struct err *err)
{
    struct conn *c;
    const uint8_t *bytes;
    uint32_t id;
    size_t len;

    if (wire_get_port_data(frame, &id, &bytes, &len, err) < 0)
        return -1;
    c = conn_of(f, id, err);
    if (!c)
        return err->msg ? -1 : 0;
    if (c->client_eof)
        return err_set(err, 125, "PORT_DATA after PORT_EOF");
    if (len > c->granted)
        return err_set(err, 125, "more PORT_DATA than was granted");
    c->granted -= len;
    buf_add(&c->in, bytes, len);
    if (c->open && write_some(c))
        set_events(c);
    return 0;
}

static int take_eof(struct forward *f, const struct wire_frame *frame, struct err *err)
{
    struct conn *c;
    uint32_t id;

    if (wire_get_port_id(frame, &id, err) < 0)
        return -1;
    c = conn_of(f, id, err);
    if (!c)
        return err->msg ? -1 : 0;
    c->client_eof = true;
    if (!c->open || !write_some(c))
        return 0;
    if (c->shut && c->socket_eof)
        finish(c, 0);
    else
        set_events(c);
    return 0;
}

static int take_closed(struct forward *f, const struct wire_frame *frame, struct err *err)
{
    struct conn *c;
    uint32_t id, error;

    if (wire_get_port_closed(frame, &id, &error, err) < 0)
        return -1;
    c = conn_of(f, id, err);
    if (c)
        reset(c);
    return err->msg ? -1 : 0;
}

static int take_credit(struct forward *f, const struct wire_frame *frame, struct err *err)
{
    struct conn *c;
    uint32_t id, bytes;

    if (wire_get_port_credit(frame, &id, &bytes, err) < 0)
        return -1;
    c = conn_of(f, id, err);
    if (!c)
        return err->msg ? -1 : 0;
    if (c->credit + bytes > WIRE_PORT_WINDOW)
        return err_set(err, 125, "more PORT_CREDIT than was used");
    c->credit += bytes;
    set_events(c);
    return 0;
}

static int forward_frame(struct answer *a, const struct wire_frame *frame, struct err *err)
{
    struct forward *f = a->state;

    switch (frame->type) {
    case WIRE_PORT_OPEN:
        return take_open(f, frame, err);
    case WIRE_PORT_DATA:
        return take_data(f, frame, err);
    case WIRE_PORT_EOF:
        return take_eof(f, frame, err);
    case WIRE_PORT_CLOSED:
        return take_closed(f, frame, err);
    case WIRE_PORT_CREDIT:
        return take_credit(f, frame, err);
    default:
        return err_set(err, 125, "%s frame out of place", wire_type_name(frame->type));
    }
}

/* ---- life ---- */

/* Each connection is a descriptor: as many as we may have. */
static void raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= 2 * WIRE_PORTS_MAX)
        return;
    limit.rlim_cur = limit.rlim_max < 2 * WIRE_PORTS_MAX ? limit.rlim_max : 2 * WIRE_PORTS_MAX;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int forward_start(struct answer *a, struct err *err)
{
    struct forward *f;

    if (a->main_state != WIRE_MAIN_RUNNING)
        return err_set(err, 1, "the container is not running");
    a->state = f = xcalloc(1, sizeof(*f));
    f->answer = a;
    raise_limit();
    return 0;
}

static void forward_go_on(struct answer *a)
{
    struct forward *f = a->state;

    if (a->main_state == WIRE_MAIN_ENDED) {
        answer_done(a);
        return;
    }
    if (f->full && link_pending(a->client) < LINK_HIGH) {
        f->full = false;
        set_all_events(f);
    }
}

static void forward_clear(struct answer *a)
{
    struct forward *f = a->state;

    for (size_t i = 0; f && i < BUCKETS; i++)
        while (f->buckets[i])
            reset(f->buckets[i]);
    free(f);
}

const struct answer_kind answer_forward = {.start = forward_start,
                                           .frame = forward_frame,
                                           .go_on = forward_go_on,
                                           .clear = forward_clear,
                                           .follows = true,
                                           .lasts = true};
