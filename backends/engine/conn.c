#include "backends/engine/conn.h"

#include "backends/engine/engine.h"
#include "backends/engine/fault.h"
#include "backends/engine/h1.h"
#include "backends/engine/h2.h"
#include "backends/engine/log.h"
#include "backends/engine/shaper.h"
#include "backends/engine/tls.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define CONN_MAX          1024  /* connections at a time: each costs a descriptor and windows */
#define CONN_HANDSHAKE_MS 10000 /* a peer that has not said what it speaks by then is dropped */
#define CONN_READ         (64u << 10)
#define CONN_FLIGHT       (8u << 20) /* bytes that a line with latency holds at most */

struct conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv; /* first: libuv's pointers are ours */
    struct engine *engine;
    struct conn *next, **slot;
    const struct conn_handler *handler; /* NULL until the first bytes have told */
    void *arg;
    struct tls_session *tls;
    struct shaper *in, *out;
    uint8_t sniffed[4];
    size_t sniffed_len, queued;
    uint64_t bytes_in, bytes_out, drop_in, drop_out; /* drop: cut at this count, 0 = never */
    uint64_t moved;                                  /* loop time when a byte last moved */
    bool is_unix, first_seen, closing, finishing, paused, was_high;
    bool unheard; /* the peer takes nothing any more: what is said to it is dropped */
};

struct write {
    uv_write_t req; /* first */
    struct conn *conn;
    size_t len;
    char bytes[];
};

static void on_closed(uv_handle_t *handle)
{
    struct conn *c = (struct conn *)handle;

    if (c->handler)
        c->handler->gone(c->arg);
    *c->slot = c->next;
    if (c->next)
        c->next->slot = c->slot;
    c->engine->conns_len--;
    engine_activity(c->engine);
    stls_session_free(c->tls);
    free(c);
}

void conn_close(struct conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    shaper_free(c->in);
    shaper_free(c->out);
    c->in = c->out = NULL;
    uv_close(&c->uv.handle, on_closed);
}

void conn_finish(struct conn *c)
{
    c->finishing = true;
    if (c->queued == 0)
        conn_close(c);
}

/* len bytes have left, or will never; tells the handler when the queue has become short. */
static void written(struct conn *c, size_t len)
{
    c->queued -= len;
    if (!c->unheard)
        c->moved = uv_now(c->engine->loop);
    if (c->closing)
        return;
    if (c->finishing && c->queued == 0) {
        conn_close(c);
    } else if (!c->unheard && c->was_high && conn_queued(c) < CONN_LOW) {
        c->was_high = false;
        if (c->handler)
            c->handler->drained(c->arg);
    }
}

/*
 * Bytes could not be sent. Who asks for something and goes away without the answer may still have asked: what it sent
 * is read to its end, which closes the connection.
 */
static void stop_speaking(struct conn *c)
{
    c->unheard = true;
    if (!c->closing)
        conn_pause(c, false);
}

static void on_written(uv_write_t *req, int status)
{
    struct write *w = (struct write *)req;

    if (status < 0)
        stop_speaking(w->conn);
    written(w->conn, w->len);
    free(w);
}

/* Gives bytes to the system: at once what it takes, the rest in a request. */
static void write_now(struct conn *c, const uint8_t *bytes, size_t len)
{
    uv_buf_t part = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)len);
    int n = c->unheard                                      ? UV_EPIPE
            : uv_stream_get_write_queue_size(&c->uv.stream) ? UV_EAGAIN
                                                            : uv_try_write(&c->uv.stream, &part, 1);
    struct write *w;

    if (n < 0 && n != UV_EAGAIN) {
        stop_speaking(c);
        written(c, len);
        return;
    }
    if (n > 0) {
        written(c, (size_t)n);
        bytes += n;
        len -= (size_t)n;
    }
    if (!len || c->closing)
        return;
    w = xmalloc(sizeof(*w) + len);
    w->conn = c;
    w->len = len;
    memcpy(w->bytes, bytes, len);
    part = uv_buf_init(w->bytes, (unsigned)len);
    if (uv_write(&w->req, &c->uv.stream, &part, 1, on_written) < 0) {
        free(w);
        conn_close(c);
    }
}

/* The far end of the outgoing shaper: counts, and cuts the connection where a fault says so. */
static void leave(void *arg, const uint8_t *bytes, size_t len)
{
    struct conn *c = arg;
    uint64_t left = c->drop_out ? c->drop_out - c->bytes_out : UINT64_MAX;
    size_t pass = len < left ? len : (size_t)left;

    c->bytes_out += pass;
    if (pass)
        write_now(c, bytes, pass);
    if (c->closing || pass < left)
        return;
    log_line("fault: connection cut after %llu bytes out", (unsigned long long)c->drop_out);
    c->queued -= len - pass;
    conn_finish(c);
}

/* Bytes for the wire, encrypted if need be. */
static void send_raw(struct conn *c, const void *bytes, size_t len)
{
    const struct fault *f = c->engine->fault;

    c->queued += len;
    if (conn_queued(c) > CONN_HIGH)
        c->was_high = true;
    shaper_push(c->out, fault_latency(f), fault_bandwidth(f), bytes, len);
}

static void flush_tls(struct conn *c)
{
    struct buf wire = BUF_INIT(64u << 20);

    if (stls_take(c->tls, &wire) < 0)
        conn_close(c);
    else if (wire.len)
        send_raw(c, wire.data, wire.len);
    buf_clear(&wire);
}

void conn_write(struct conn *c, const void *bytes, size_t len)
{
    if (c->closing || c->finishing || len == 0)
        return;
    if (!c->tls) {
        send_raw(c, bytes, len);
    } else if (stls_write(c->tls, bytes, len) < 0) {
        conn_close(c);
    } else {
        flush_tls(c);
    }
}

/* Chooses the protocol by the first four bytes. */
static void choose_handler(struct conn *c)
{
    if (memcmp(c->sniffed, "PRI ", 4) == 0)
        h2_attach(c, &c->handler, &c->arg);
    else
        h1_attach(c, &c->handler, &c->arg);
}

/* Plain bytes, whatever carried them. */
static void receive_plain(struct conn *c, const uint8_t *bytes, size_t len)
{
    while (!c->handler && len) {
        c->sniffed[c->sniffed_len++] = *bytes++;
        len--;
        if (c->sniffed_len < sizeof(c->sniffed))
            continue;
        choose_handler(c);
        c->handler->bytes(c->arg, c->sniffed, c->sniffed_len);
    }
    if (len && !c->closing)
        c->handler->bytes(c->arg, bytes, len);
}

static void receive_tls(struct conn *c, const uint8_t *bytes, size_t len)
{
    struct buf plain = BUF_INIT(1u << 20);
    int rc = stls_feed(c->tls, bytes, len, &plain);

    flush_tls(c);
    if (plain.len && !c->closing)
        receive_plain(c, (const uint8_t *)plain.data, plain.len);
    buf_clear(&plain);
    if (rc > 0)
        conn_finish(c);
    else if (rc < 0)
        conn_close(c);
}

/* The far end of the incoming shaper. */
static void arrive(void *arg, const uint8_t *bytes, size_t len)
{
    struct conn *c = arg;
    bool cut = c->drop_in && c->bytes_in + len >= c->drop_in;

    if (len == 0) {
        conn_close(c);
        return;
    }
    if (cut)
        len = (size_t)(c->drop_in - c->bytes_in);
    c->bytes_in += len;
    if (!c->first_seen && len) {
        c->first_seen = true;
        if (bytes[0] == 0x16)
            c->tls = stls_session_new(c->engine->tls);
    }
    if (c->tls)
        receive_tls(c, bytes, len);
    else
        receive_plain(c, bytes, len);
    if (cut) {
        log_line("fault: connection cut after %llu bytes in", (unsigned long long)c->drop_in);
        conn_close(c);
    }
}

/* All connections read into one buffer: the loop runs one callback at a time. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char shared[CONN_READ];

    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(shared, sizeof(shared));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = (struct conn *)stream;
    const struct fault *f = c->engine->fault;

    if (n == 0)
        return;
    if (n < 0 && n != UV_EOF) {
        conn_close(c);
        return;
    }
    if (n < 0)
        uv_read_stop(stream);
    c->moved = uv_now(c->engine->loop);
    shaper_push(c->in, fault_latency(f), fault_bandwidth(f), (const uint8_t *)buf->base, n < 0 ? 0 : (size_t)n);
}

void conn_accept(struct engine *e, uv_stream_t *listener, bool is_unix)
{
    struct conn *c = xcalloc(1, sizeof(*c));

    if (is_unix)
        uv_pipe_init(e->loop, &c->uv.pipe, /* ipc= */ 0);
    else
        uv_tcp_init(e->loop, &c->uv.tcp);
    c->engine = e;
    c->is_unix = is_unix;
    c->moved = uv_now(e->loop);
    c->in = shaper_new(e->loop, arrive, c);
    c->out = shaper_new(e->loop, leave, c);
    c->next = e->conns;
    c->slot = &e->conns;
    if (c->next)
        c->next->slot = &c->next;
    e->conns = c;
    e->conns_len++;
    engine_activity(e);
    if (uv_accept(listener, &c->uv.stream) < 0 || e->conns_len > CONN_MAX) {
        conn_close(c);
        return;
    }
    if (!is_unix)
        uv_tcp_nodelay(&c->uv.tcp, 1);
    c->drop_in = fault_take_drop(e->fault, /* incoming= */ true);
    c->drop_out = fault_take_drop(e->fault, /* incoming= */ false);
    uv_read_start(&c->uv.stream, on_alloc, on_read);
}

/* What is under way on a line with latency does not count as waiting, as it would not on a real line. */
size_t conn_queued(const struct conn *c)
{
    uint64_t latency = fault_latency(c->engine->fault), bandwidth = fault_bandwidth(c->engine->fault);
    uint64_t flight = latency ? CONN_FLIGHT : 0;

    if (latency && bandwidth && bandwidth * latency / 1000 < flight)
        flight = bandwidth * latency / 1000;
    return c->queued > flight ? c->queued - (size_t)flight : 0;
}

bool conn_closing(const struct conn *c)
{
    return c->closing || c->finishing;
}

void conn_pause(struct conn *c, bool paused)
{
    if (c->closing || c->paused == paused)
        return;
    c->paused = paused;
    if (paused)
        uv_read_stop(&c->uv.stream);
    else
        uv_read_start(&c->uv.stream, on_alloc, on_read);
}

bool conn_is_unix(const struct conn *c)
{
    return c->is_unix;
}

bool conn_is_tls(const struct conn *c)
{
    return c->tls != NULL;
}

char *conn_local_address(const struct conn *c)
{
    struct sockaddr_storage addr;
    int len = sizeof(addr);
    char name[INET6_ADDRSTRLEN] = "";

    if (c->is_unix || uv_tcp_getsockname(&c->uv.tcp, (struct sockaddr *)&addr, &len) < 0)
        return NULL;
    if (addr.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&addr;

        uv_ip6_name(in6, name, sizeof(name));
        return xasprintf("[%s]:%u", name, ntohs(in6->sin6_port));
    }
    uv_ip4_name((const struct sockaddr_in *)&addr, name, sizeof(name));
    return xasprintf("%s:%u", name, ntohs(((const struct sockaddr_in *)&addr)->sin_port));
}

struct engine *conn_engine(const struct conn *c)
{
    return c->engine;
}

void conn_close_all(struct engine *e)
{
    for (struct conn *c = e->conns; c; c = c->next)
        conn_close(c);
}

void conn_end_all(struct engine *e)
{
    for (struct conn *c = e->conns; c; c = c->next) {
        if (c->closing || c->finishing)
            continue;
        if (c->handler && c->handler->goodbye)
            c->handler->goodbye(c->arg);
        else
            conn_close(c);
    }
}

void conn_tick_all(struct engine *e)
{
    uint64_t now = uv_now(e->loop);

    for (struct conn *c = e->conns; c; c = c->next) {
        uint64_t silent = now - c->moved;

        if (c->closing)
            continue;
        if (c->handler)
            c->handler->tick(c->arg, silent);
        else if (silent > CONN_HANDSHAKE_MS)
            conn_close(c);
    }
}
