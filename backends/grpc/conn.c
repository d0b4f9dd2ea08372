#include "backends/grpc/internal.h"

#include "backends/grpc/net.h"
#include "backends/grpc/tls.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_PIECE (64u << 10)
#define READ_TURNS 16           /* pieces of one connection in one turn of the loop: others want to read too */
#define OUT_ENOUGH (256u << 10) /* stop asking nghttp2 for more bytes above this */
#define OUT_MAX    (4u << 20)

/* Notes why the connection is to be given up; conn_settle() does it. The first reason stays. */
void conn_fail(struct grpc_conn *conn, const char *fmt, ...)
{
    va_list ap;

    if (conn->failure)
        return;
    va_start(ap, fmt);
    conn->failure = xvasprintf(fmt, ap);
    va_end(ap);
}

void conn_free(struct grpc_conn *conn)
{
    struct grpc_channel *ch = conn->ch;

    for (struct grpc_conn **p = &ch->conns; *p; p = &(*p)->next)
        if (*p == conn) {
            *p = conn->next;
            break;
        }
    if (ch->conn == conn)
        ch->conn = NULL;
    net_connect_free(conn->connecting);
    loop_timer_del(conn->timer);
    loop_io_del(conn->io);
    if (conn->fd >= 0)
        close(conn->fd);
    nghttp2_session_del(conn->h2);
    tls_free(conn->tls);
    buf_clear(&conn->out);
    free(conn->failure);
    free(conn);
}

/* Ends every call of a failed connection. Their handlers may start and cancel calls, so the list is read anew each
 * time. */
static void fail_calls(struct grpc_conn *conn)
{
    struct grpc_channel *ch = conn->ch;
    struct grpc_call *call;

    if (ch->conn == conn)
        ch->conn = NULL;
    do {
        for (call = ch->calls; call; call = call->next)
            if (call->conn == conn)
                break;
        if (call)
            call_transport_failed(call, conn->failure, !conn->sent_any);
    } while (call);
}

/* The last act of every callback from the loop: gives up what failed or is no longer needed. conn may be gone after it.
 */
static void conn_settle(struct grpc_conn *conn)
{
    short events = POLLIN;

    if (conn->failure) {
        fail_calls(conn);
        conn_free(conn);
        return;
    }
    if (conn->draining && !conn->calls) {
        conn_free(conn);
        return;
    }
    if (!conn->io)
        return;
    if (conn->out_at < conn->out.len || (conn->state == CONN_OPEN && nghttp2_session_want_write(conn->h2)))
        events |= POLLOUT;
    loop_io_set(conn->io, events);
}

/* Moves bytes from nghttp2 (through TLS) to the buffer of the socket. */
static int fill_out(struct grpc_conn *conn)
{
    cleanup_err struct err err = ERR_INIT;
    const uint8_t *data;
    ssize_t n;

    if (conn->out_at >= OUT_ENOUGH || conn->out_at == conn->out.len) {
        buf_consume(&conn->out, conn->out_at);
        conn->out_at = 0;
    }
    while (conn->state == CONN_OPEN && conn->out.len - conn->out_at < OUT_ENOUGH) {
        n = nghttp2_session_mem_send(conn->h2, &data);
        if (n < 0) {
            conn_fail(conn, "HTTP/2: %s", nghttp2_strerror((int)n));
            return -1;
        }
        if (!n)
            break;
        if (conn->tls ? tls_write(conn->tls, data, (size_t)n, &err) < 0 || tls_drain(conn->tls, &conn->out) < 0
                      : buf_add(&conn->out, data, (size_t)n) < 0) {
            conn_fail(conn, "%s", err.msg ? err.msg : "too much is waiting to be sent");
            return -1;
        }
    }
    if (conn->tls && tls_drain(conn->tls, &conn->out) < 0) {
        conn_fail(conn, "too much is waiting to be sent");
        return -1;
    }
    return 0;
}

/* Writes until the socket is full or nothing is left. */
static void conn_write(struct grpc_conn *conn)
{
    conn->busy = true;
    while (!conn->failure && fill_out(conn) == 0 && conn->out_at < conn->out.len) {
        ssize_t n = send(conn->fd, conn->out.data + conn->out_at, conn->out.len - conn->out_at, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            conn->write_error = errno;
            break;
        }
        conn->out_at += (size_t)n;
        conn->ch->stats.sent += (uint64_t)n;
        if (conn->state == CONN_OPEN)
            conn->sent_any = true;
    }
    conn->busy = false;
    call_tell_drained(conn->ch);
}

/* Plain bytes for nghttp2. */
static int conn_feed(struct grpc_conn *conn, const void *data, size_t len)
{
    ssize_t n = nghttp2_session_mem_recv(conn->h2, data, len);

    if (n == (ssize_t)len)
        return 0;
    if (n == NGHTTP2_ERR_BAD_CLIENT_MAGIC || n == NGHTTP2_ERR_PROTO || n == NGHTTP2_ERR_CALLBACK_FAILURE || n >= 0)
        conn_fail(conn, "%s does not speak HTTP/2", conn->ch->url_text);
    else
        conn_fail(conn, "HTTP/2: %s", nghttp2_strerror((int)n));
    return -1;
}

static void conn_opened(struct grpc_conn *conn)
{
    conn->state = CONN_OPEN;
    conn->quiet_since = loop_now();
    if (conn->calls)
        loop_timer_set(conn->timer, conn->ch->quiet_ms / 2 + 1);
    else
        loop_timer_stop(conn->timer);
}

/* Encrypted bytes: the handshake's, then the session's. */
static int feed_tls(struct grpc_conn *conn, const void *data, size_t len)
{
    cleanup_err struct err err = ERR_INIT;
    char plain[16 << 10];
    ssize_t n = 0;
    int ret = 0;

    if (tls_feed(conn->tls, data, len, &err) == 0 && conn->state == CONN_HANDSHAKE) {
        ret = tls_handshake(conn->tls, &err);
        if (ret == 1)
            conn_opened(conn);
        if (ret == 0)
            return 0;
    }
    while (!err.msg && (n = tls_read(conn->tls, plain, sizeof(plain), &err)) > 0)
        if (conn_feed(conn, plain, (size_t)n) < 0)
            return -1;
    if (err.msg)
        conn_fail(conn, "%s: %s", conn->ch->url_text, err.msg);
    else if (n == -2)
        conn_fail(conn, "%s closed the connection", conn->ch->url_text);
    return conn->failure ? -1 : 0;
}

/* Reads what is there, within reason. False when nothing was left. */
static bool conn_read(struct grpc_conn *conn)
{
    static _Thread_local char piece[READ_PIECE];

    bool more = true;

    conn->busy = true;
    for (int turn = 0; turn < READ_TURNS && !conn->failure && more; turn++) {
        ssize_t n = recv(conn->fd, piece, sizeof(piece), 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            conn_fail(conn, "the connection to %s broke: %s", conn->ch->url_text, strerror(errno));
        else if (n == 0)
            conn_fail(conn, "%s closed the connection", conn->ch->url_text);
        more = n > 0;
        if (!more)
            break;
        conn->heard_at = conn->quiet_since = loop_now();
        conn->ping_at = 0;
        conn->ch->stats.received += (uint64_t)n;
        if (conn->tls)
            feed_tls(conn, piece, (size_t)n);
        else
            conn_feed(conn, piece, (size_t)n);
    }
    conn->busy = false;
    return more && !conn->failure;
}

/* The peer takes no more, but what it said before that is still there to be read: it may be the answers. */
static void read_the_rest(struct grpc_conn *conn)
{
    while (conn_read(conn))
        ;
    conn_fail(conn, "the connection to %s broke: %s", conn->ch->url_text, strerror(conn->write_error));
}

static void on_socket(struct loop *loop, int fd, short revents, void *arg)
{
    struct grpc_conn *conn = arg;

    (void)loop;
    (void)fd;
    if (revents & (POLLIN | POLLHUP | POLLERR))
        conn_read(conn);
    if (!conn->failure)
        conn_write(conn);
    if (conn->write_error)
        read_the_rest(conn);
    conn_settle(conn);
}

/* Begins TLS on a fresh socket: the first bytes are ours. */
static void start_tls(struct grpc_conn *conn)
{
    struct grpc_channel *ch = conn->ch;
    cleanup_err struct err err = ERR_INIT;

    if (!ch->tls)
        ch->tls = tls_context_new(ch->ca_file, ch->tls_unverified, &err);
    if (ch->tls)
        conn->tls = tls_new(ch->tls, ch->url.host, &err);
    conn->state = CONN_HANDSHAKE;
    if (!conn->tls || tls_handshake(conn->tls, &err) < 0)
        conn_fail(conn, "%s: %s", ch->url_text, err.msg);
}

static void on_connected(void *arg, int fd, const char *reason)
{
    struct grpc_conn *conn = arg;
    struct grpc_channel *ch = conn->ch;

    if (reason) {
        conn_fail(conn, "cannot connect to %s%s%s: %s", ch->url_text, ch->proxy.host ? " through the proxy " : "",
                  ch->proxy.host ? ch->proxy.host : "", reason);
        conn_settle(conn);
        return;
    }
    net_connect_free(steal(&conn->connecting));
    conn->fd = fd;
    ch->stats.connects++;
    if (ch->url.scheme == GRPC_SCHEME_HTTPS)
        start_tls(conn);
    else
        conn_opened(conn);
    conn->io = loop_io_add(ch->loop, fd, POLLIN, on_socket, conn);
    if (!conn->failure)
        conn_write(conn);
    if (conn->write_error)
        read_the_rest(conn);
    conn_settle(conn);
}

/* Too long in connecting, or the moment to look whether the peer is still there. */
static void on_timer(struct loop *loop, void *arg)
{
    struct grpc_conn *conn = arg;
    struct grpc_channel *ch = conn->ch;
    int64_t now = loop_now();

    (void)loop;
    if (conn->state != CONN_OPEN) {
        conn_fail(conn, "cannot connect to %s: no answer within %g s", ch->url_text, (double)ch->connect_ms / 1000);
    } else if (conn->ping_at && now - conn->ping_at >= ch->lost_ms - ch->lost_ms / 3) {
        conn_fail(conn, "the connection to %s is lost: it was silent for %g s", ch->url_text,
                  (double)(now - conn->quiet_since) / 1000);
    } else if (conn->calls) {
        if (!conn->ping_at && now - conn->quiet_since >= ch->quiet_ms &&
            nghttp2_submit_ping(conn->h2, NGHTTP2_FLAG_NONE, NULL) == 0)
            conn->ping_at = now;
        loop_timer_set(conn->timer, ch->lost_ms / 6 + 1);
    }
    conn_settle(conn);
}

void conn_update(struct grpc_conn *conn)
{
    if (conn->io && !conn->busy)
        loop_io_set(conn->io, POLLIN | POLLOUT);
}

void conn_call_added(struct grpc_conn *conn)
{
    if (conn->calls++ || conn->state != CONN_OPEN)
        return;
    conn->quiet_since = loop_now();
    conn->ping_at = 0;
    loop_timer_set(conn->timer, conn->ch->lost_ms / 6 + 1);
}

void conn_call_removed(struct grpc_conn *conn)
{
    if (--conn->calls || conn->state != CONN_OPEN)
        return;
    conn->ping_at = 0;
    if (conn->draining)
        loop_timer_set(conn->timer, 0); /* conn_settle() from there frees it */
    else
        loop_timer_stop(conn->timer);
}

struct grpc_conn *conn_for_call(struct grpc_channel *ch)
{
    struct grpc_conn *conn = ch->conn;

    if (conn && !conn->failure && !conn->draining)
        return conn;
    conn = xcalloc(1, sizeof(*conn));
    *conn = (struct grpc_conn){.ch = ch, .next = ch->conns, .fd = -1};
    buf_init(&conn->out, OUT_MAX);
    conn->h2 = h2_session_new(conn);
    conn->timer = loop_timer_add(ch->loop, ch->connect_ms, on_timer, conn);
    conn->connecting = net_connect_start(ch->loop, &ch->url, &ch->proxy, ch->lost_ms, on_connected, conn);
    ch->conns = ch->conn = conn;
    return conn;
}
