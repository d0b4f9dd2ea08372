#include "backends/engine/tunnel.h"

#include "backends/engine/engine.h"
#include "backends/engine/log.h"
#include "backends/engine/runtime.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/svc.h"
#include "backends/engine/tls.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/err.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define HOST            "127.0.0.1"
#define BACKLOG         128
#define CONNECTIONS_MAX 500 /* of one sandbox at a time; more are closed */
#define READ_SIZE       (64u << 10)
#define QUEUE_HIGH      (256u << 10) /* waiting for one side: the other is not read */
#define QUEUE_LOW       (64u << 10)
#define PLAIN_MAX       (1u << 20)

struct tunnel { /* one open port */
    const struct plan_port *port;
    struct listener *secure, *raw; /* raw: NULL but for an unencrypted port */
};

struct tunnels {
    struct tunnel *items;
    size_t len;
    struct relay *relays;
    size_t relays_len;
};

struct listener {
    uv_tcp_t tcp; /* first */
    struct sandbox *sandbox;
    const struct plan_port *port;
    bool secure;
    uint16_t number; /* on this machine */
};

/* One of the two connections that a relay joins. */
struct side {
    uv_tcp_t tcp; /* first */
    struct relay *relay;
    bool ended;   /* it will say no more */
    bool stopped; /* not read, for the other one is slow */
    bool told;    /* that the other one has ended */
    bool closed;
};

struct relay {
    struct relay *next;
    struct sandbox *sandbox; /* NULL once it is being closed */
    struct side client, inside;
    struct tls_session *tls; /* with the client; NULL = raw */
    bool spoken;             /* the handshake is over: the inside is read */
    unsigned open;           /* handles */
};

/* ---- the end of a connection ---- */

static void on_closed(uv_handle_t *handle)
{
    struct relay *r = ((struct side *)handle)->relay;

    if (--r->open > 0)
        return;
    stls_session_free(r->tls);
    free(r);
}

static void close_relay(struct relay *r)
{
    struct tunnels *all = r->sandbox ? r->sandbox->tunnels : NULL;
    struct side *sides[] = {&r->client, &r->inside};

    if (!all)
        return;
    for (struct relay **p = &all->relays; *p; p = &(*p)->next)
        if (*p == r) {
            *p = r->next;
            break;
        }
    all->relays_len--;
    r->sandbox->tunnels_active--;
    sandbox_activity(r->sandbox);
    r->sandbox = NULL;
    for (size_t i = 0; i < 2; i++)
        if (!sides[i]->closed) {
            sides[i]->closed = true;
            uv_close((uv_handle_t *)&sides[i]->tcp, on_closed);
        }
}

/* ---- bytes ---- */

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char bytes[READ_SIZE]; /* passed on before the next read */

    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(bytes, sizeof(bytes));
}

static struct side *other_of(struct side *s)
{
    return s == &s->relay->client ? &s->relay->inside : &s->relay->client;
}

static void read_side(struct side *s)
{
    if (!s->ended && !s->stopped && uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read) < 0)
        close_relay(s->relay);
}

struct piece { /* what is being written */
    uv_write_t write;
    struct side *to;
    char bytes[];
};

static void on_written(uv_write_t *write, int status)
{
    struct piece *p = (struct piece *)write;
    struct side *to = p->to, *from = other_of(to);

    free(p);
    if (!to->relay->sandbox)
        return;
    if (status < 0) {
        close_relay(to->relay);
    } else if (from->stopped && uv_stream_get_write_queue_size((uv_stream_t *)&to->tcp) < QUEUE_LOW) {
        from->stopped = false;
        read_side(from);
    }
}

/* Queues bytes; the side that they come from waits when there are too many. */
static void write_side(struct side *to, const void *bytes, size_t len)
{
    struct side *from = other_of(to);
    struct piece *p;
    uv_buf_t buf;

    if (len == 0)
        return;
    p = xmalloc(sizeof(*p) + len);
    p->to = to;
    memcpy(p->bytes, bytes, len);
    buf = uv_buf_init(p->bytes, (unsigned)len);
    if (uv_write(&p->write, (uv_stream_t *)&to->tcp, &buf, 1, on_written) < 0) {
        free(p);
        close_relay(to->relay);
        return;
    }
    if (!from->stopped && uv_stream_get_write_queue_size((uv_stream_t *)&to->tcp) > QUEUE_HIGH) {
        from->stopped = true;
        uv_read_stop((uv_stream_t *)&from->tcp);
    }
}

static void on_shutdown(uv_shutdown_t *shutdown, int status)
{
    struct side *s = (struct side *)shutdown->handle;
    struct relay *r = s->relay;

    (void)status;
    free(shutdown);
    s->told = true;
    if (r->client.told && r->inside.told)
        close_relay(r);
}

/* One side has said all: the other is told, when it has got everything. When both are told it is over. */
static void end_side(struct side *s)
{
    uv_shutdown_t *shutdown;

    if (s->ended)
        return;
    s->ended = true;
    uv_read_stop((uv_stream_t *)&s->tcp);
    shutdown = xcalloc(1, sizeof(*shutdown));
    if (uv_shutdown(shutdown, (uv_stream_t *)&other_of(s)->tcp, on_shutdown) < 0) {
        free(shutdown);
        close_relay(s->relay);
    }
}

/* What TLS has to say to the client. */
static void flush_tls(struct relay *r)
{
    struct buf wire = BUF_INIT(PLAIN_MAX);

    if (stls_take(r->tls, &wire) < 0)
        close_relay(r);
    else
        write_side(&r->client, wire.data, wire.len);
    buf_clear(&wire);
}

static void from_client(struct relay *r, const uint8_t *bytes, size_t len)
{
    struct buf plain = BUF_INIT(PLAIN_MAX);
    int fed;

    if (!r->tls) {
        write_side(&r->inside, bytes, len);
        return;
    }
    fed = stls_feed(r->tls, bytes, len, &plain);
    flush_tls(r);
    if (r->sandbox && fed >= 0)
        write_side(&r->inside, plain.data, plain.len);
    buf_clear(&plain);
    if (!r->sandbox)
        return;
    if (fed < 0) {
        close_relay(r);
        return;
    }
    if (!r->spoken && stls_is_ready(r->tls)) {
        r->spoken = true;
        read_side(&r->inside);
    }
    if (r->sandbox && fed > 0)
        end_side(&r->client);
}

static void from_inside(struct relay *r, const uint8_t *bytes, size_t len)
{
    if (!r->tls)
        write_side(&r->client, bytes, len);
    else if (stls_write(r->tls, bytes, len) < 0)
        close_relay(r);
    else
        flush_tls(r);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct side *s = (struct side *)stream;
    struct relay *r = s->relay;
    bool client = s == &r->client;

    if (n == 0 || !r->sandbox)
        return;
    if (n < 0 && n != UV_EOF) {
        close_relay(r);
    } else if (n == UV_EOF) {
        if (!client && r->tls) { /* in order, so that the client knows that nothing was cut off */
            stls_finish(r->tls);
            flush_tls(r);
        }
        if (r->sandbox)
            end_side(s);
    } else if (client) {
        from_client(r, (const uint8_t *)buf->base, (size_t)n);
    } else {
        from_inside(r, (const uint8_t *)buf->base, (size_t)n);
    }
}

/* ---- a connection comes ---- */

static void begin_relay(struct listener *l, struct relay *r)
{
    struct tunnels *all = l->sandbox->tunnels;

    r->sandbox = l->sandbox;
    r->next = all->relays;
    all->relays = r;
    all->relays_len++;
    l->sandbox->tunnels_active++;
    sandbox_activity(l->sandbox);
    uv_tcp_nodelay(&r->client.tcp, 1);
    uv_tcp_nodelay(&r->inside.tcp, 1);
    if (l->secure) {
        r->tls = stls_session_new(l->sandbox->engine->tls);
        if (!l->port->h2)
            stls_without_h2(r->tls);
    }
    read_side(&r->client);
    if (r->sandbox && !r->tls)
        read_side(&r->inside);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct listener *l = (struct listener *)server;
    struct sandbox *s = l->sandbox;
    struct relay *r;
    int fd = -1;

    if (status < 0 || !s)
        return;
    r = xcalloc(1, sizeof(*r));
    r->client.relay = r->inside.relay = r;
    uv_tcp_init(s->engine->loop, &r->client.tcp);
    uv_tcp_init(s->engine->loop, &r->inside.tcp);
    r->open = 2;
    if (uv_accept(server, (uv_stream_t *)&r->client.tcp) == 0 && s->state == SANDBOX_RUNNING &&
        s->tunnels->relays_len < CONNECTIONS_MAX)
        fd = rt_sandbox_connect(s->rt, l->port->number, NULL);
    if (fd >= 0 && uv_tcp_open(&r->inside.tcp, fd) == 0) {
        begin_relay(l, r);
        return;
    }
    if (fd >= 0)
        close(fd);
    r->client.closed = r->inside.closed = true;
    uv_close((uv_handle_t *)&r->client.tcp, on_closed);
    uv_close((uv_handle_t *)&r->inside.tcp, on_closed);
}

/* ---- listeners ---- */

static void on_listener_closed(uv_handle_t *handle)
{
    free(handle);
}

static void listener_close(struct listener *l)
{
    if (!l)
        return;
    l->sandbox = NULL;
    uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
}

static struct listener *listener_open(struct sandbox *s, const struct plan_port *port, bool secure, struct err *err)
{
    struct listener *l = xcalloc(1, sizeof(*l));
    struct sockaddr_in address;
    int len = sizeof(address), rc;

    l->sandbox = s;
    l->port = port;
    l->secure = secure;
    uv_tcp_init(s->engine->loop, &l->tcp);
    uv_ip4_addr(HOST, 0, &address);
    rc = uv_tcp_bind(&l->tcp, (const struct sockaddr *)&address, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    if (rc == 0)
        rc = uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&address, &len);
    if (rc < 0) {
        svc_err(err, GRPC_RESOURCE_EXHAUSTED, "a tunnel for port %u: %s", port->number, uv_strerror(rc));
        listener_close(l);
        return NULL;
    }
    l->number = ntohs(address.sin_port);
    return l;
}

int tunnels_open(struct sandbox *s, struct err *err)
{
    struct tunnels *all;

    if (!s->plan.ports_len)
        return 0;
    all = s->tunnels = xcalloc(1, sizeof(*all));
    all->items = xcalloc(s->plan.ports_len, sizeof(*all->items));
    for (; all->len < s->plan.ports_len; all->len++) {
        struct tunnel *t = &all->items[all->len];

        t->port = &s->plan.ports[all->len];
        t->secure = listener_open(s, t->port, /* secure= */ true, err);
        if (t->secure && t->port->unencrypted)
            t->raw = listener_open(s, t->port, /* secure= */ false, err);
        if (!t->secure || (t->port->unencrypted && !t->raw)) {
            all->len++; /* what there is of it is closed too */
            tunnels_close(s);
            return -1;
        }
    }
    return 0;
}

void tunnels_close(struct sandbox *s)
{
    struct tunnels *all = s->tunnels;

    if (!all)
        return;
    while (all->relays)
        close_relay(all->relays);
    for (size_t i = 0; i < all->len; i++) {
        listener_close(all->items[i].secure);
        listener_close(all->items[i].raw);
    }
    s->tunnels = NULL;
    free(all->items);
    free(all);
}

/* ---- telling ---- */

void tunnel_list_fill(struct tunnel_list *ret, const struct sandbox *s)
{
    const struct tunnels *all = s->tunnels;

    *ret = (struct tunnel_list){.len = all ? all->len : 0};
    ret->items = xcalloc(ret->len + 1, sizeof(*ret->items));
    ret->list = xcalloc(ret->len + 1, sizeof(Modal__Client__TunnelData *));
    for (size_t i = 0; i < ret->len; i++) {
        const struct tunnel *t = &all->items[i];
        Modal__Client__TunnelData *data = &ret->items[i];

        modal__client__tunnel_data__init(data);
        data->has_port = data->has_container_port = 1;
        data->host = SVC_CONST(HOST);
        data->port = t->secure->number;
        data->container_port = t->port->number;
        data->has_unencrypted_port = t->raw != NULL;
        if (t->raw) {
            data->unencrypted_host = SVC_CONST(HOST);
            data->unencrypted_port = t->raw->number;
        }
        ret->list[i] = data;
    }
}

void tunnel_list_clear(struct tunnel_list *l)
{
    free(l->items);
    free(l->list);
    *l = (struct tunnel_list){0};
}
