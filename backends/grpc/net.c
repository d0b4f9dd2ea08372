#include "backends/grpc/net.h"

#include "backends/grpc/resolve.h"
#include "backends/grpc/url.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TRY_NEXT_MS  2500 /* an address that says nothing for this long makes room for the next one, if there is one */
#define PROXY_ANSWER 8192 /* a proxy's answer to CONNECT */

struct net_connect {
    struct loop *loop;
    const struct grpc_url *url;
    const struct grpc_proxy *proxy;
    int64_t user_timeout_ms;
    net_done_fn *fn;
    void *arg;

    struct resolve *resolve;
    struct addrinfo *addresses, *next; /* owned; the one to try next */
    int fd;
    struct loop_io *io;
    struct loop_timer *timer; /* starts everything; then the address's turn */
    struct buf talk;          /* with the proxy: first what we say, then its answer */
    size_t said;
    char *reason; /* why the last address failed */
    bool finished;
};

static void try_next(struct net_connect *nc);

/* Drops the address that is being tried and remembers why. */
static void drop_socket(struct net_connect *nc, const char *reason)
{
    loop_io_del(steal(&nc->io));
    if (nc->fd >= 0)
        close(steal_fd(&nc->fd));
    free(nc->reason);
    nc->reason = xstrdup(reason);
}

/* Ends the attempt, with the socket as it is if there is no reason. It is reported from the timer. */
static void finish(struct net_connect *nc, const char *reason)
{
    if (reason)
        drop_socket(nc, reason);
    loop_io_del(steal(&nc->io));
    nc->finished = true;
    loop_timer_set(nc->timer, 0);
}

static void set_option(int fd, int level, int option, int value)
{
    setsockopt(fd, level, option, &value, sizeof(value)); /* each is a refinement: the connection works without */
}

/* Small messages at once; a peer that is gone is noticed by the kernel too. */
static void tune_tcp(int fd, int64_t user_timeout_ms)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef TCP_KEEPIDLE
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
#endif
#ifdef TCP_USER_TIMEOUT
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)user_timeout_ms);
#else
    (void)user_timeout_ms;
#endif
}

/* Reads the proxy's answer head, byte by byte at the end so that nothing behind it is swallowed. */
static void on_proxy_answer(struct net_connect *nc)
{
    for (;;) {
        char c;
        ssize_t n = recv(nc->fd, &c, 1, 0);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0 || buf_addc(&nc->talk, c) < 0) {
            finish(nc, "the proxy closed the connection or did not speak HTTP");
            return;
        }
        if (nc->talk.len >= 4 && memcmp(nc->talk.data + nc->talk.len - 4, "\r\n\r\n", 4) == 0)
            break;
    }
    if (strncmp(nc->talk.data, "HTTP/1.", 7) == 0 && nc->talk.len > 12 && nc->talk.data[8] == ' ' &&
        nc->talk.data[9] == '2') {
        finish(nc, NULL);
    } else {
        cleanup_free char *reason = NULL;

        nc->talk.data[strcspn(nc->talk.data, "\r\n")] = '\0';
        reason = xasprintf("the proxy refused: %.100s", nc->talk.data);
        finish(nc, reason);
    }
}

static void on_proxy(struct loop *loop, int fd, short revents, void *arg)
{
    struct net_connect *nc = arg;

    (void)loop;
    (void)revents;
    while (nc->said < nc->talk.len && nc->said != SIZE_MAX) {
        ssize_t n = send(fd, nc->talk.data + nc->said, nc->talk.len - nc->said, MSG_NOSIGNAL);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            finish(nc, strerror(errno));
            return;
        }
        nc->said += (size_t)n;
        if (nc->said == nc->talk.len) {
            nc->said = SIZE_MAX; /* from here on talk holds the answer */
            buf_reset(&nc->talk);
            loop_io_set(nc->io, POLLIN);
            return;
        }
    }
    on_proxy_answer(nc);
}

/* The socket is connected: done, or now the proxy. */
static void connected(struct net_connect *nc)
{
    const struct grpc_url *url = nc->url;
    const char *open = strchr(url->host, ':') ? "[" : "", *shut = *open ? "]" : "";

    if (!nc->proxy->host) {
        finish(nc, NULL);
        return;
    }
    loop_io_del(steal(&nc->io));
    buf_addf(&nc->talk, "CONNECT %s%s%s:%u HTTP/1.1\r\nHost: %s%s%s:%u\r\n", open, url->host, shut, url->port, open,
             url->host, shut, url->port);
    if (nc->proxy->authorization)
        buf_addf(&nc->talk, "Proxy-Authorization: %s\r\n", nc->proxy->authorization);
    buf_adds(&nc->talk, "\r\n");
    loop_timer_stop(nc->timer);
    nc->io = loop_io_add(nc->loop, nc->fd, POLLOUT, on_proxy, nc);
}

static void on_connect(struct loop *loop, int fd, short revents, void *arg)
{
    struct net_connect *nc = arg;
    int error = 0;
    socklen_t len = sizeof(error);

    (void)loop;
    (void)revents;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (!error) {
        connected(nc);
        return;
    }
    drop_socket(nc, strerror(error));
    try_next(nc);
}

/* Opens a socket towards an address. */
static void try_address(struct net_connect *nc, int family, const struct sockaddr *address, socklen_t len)
{
    nc->fd = socket(family, SOCK_STREAM, 0);
    if (nc->fd < 0) {
        drop_socket(nc, strerror(errno));
        try_next(nc);
        return;
    }
    fcntl(nc->fd, F_SETFD, FD_CLOEXEC);
    fcntl(nc->fd, F_SETFL, O_NONBLOCK);
    if (family != AF_UNIX)
        tune_tcp(nc->fd, nc->user_timeout_ms);
    if (connect(nc->fd, address, len) == 0) {
        connected(nc);
    } else if (errno == EINPROGRESS) {
        nc->io = loop_io_add(nc->loop, nc->fd, POLLOUT, on_connect, nc);
        if (nc->next)
            loop_timer_set(nc->timer, TRY_NEXT_MS);
    } else {
        drop_socket(nc, strerror(errno));
        try_next(nc);
    }
}

static void try_next(struct net_connect *nc)
{
    struct addrinfo *address = nc->next;

    loop_timer_stop(nc->timer);
    if (!address) {
        cleanup_free char *reason = xstrdup(nc->reason ? nc->reason : "the name has no address");

        finish(nc, reason);
        return;
    }
    nc->next = address->ai_next;
    try_address(nc, address->ai_family, address->ai_addr, address->ai_addrlen);
}

static void on_resolved(void *arg, struct addrinfo *addresses, const char *reason)
{
    struct net_connect *nc = arg;

    if (reason) {
        finish(nc, reason);
        return;
    }
    nc->addresses = nc->next = addresses;
    try_next(nc);
}

static void connect_unix(struct net_connect *nc)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(address.sun_path, nc->url->host, strlen(nc->url->host)); /* the parser checked the length */
    try_address(nc, AF_UNIX, (struct sockaddr *)&address, sizeof(address));
}

/*
 * The first firing starts the attempt and the last one reports it, so that nothing is called back from within
 * net_connect_start() and fn may free nc. Between them it means that an address has had its time.
 */
static void on_timer(struct loop *loop, void *arg)
{
    struct net_connect *nc = arg;
    const char *host = nc->proxy->host ? nc->proxy->host : nc->url->host;
    uint16_t port = nc->proxy->host ? nc->proxy->port : nc->url->port;

    (void)loop;
    if (nc->finished) {
        int fd = steal_fd(&nc->fd);

        nc->fn(nc->arg, fd, fd >= 0 ? NULL : nc->reason);
    } else if (nc->fd >= 0) {
        drop_socket(nc, strerror(ETIMEDOUT));
        try_next(nc);
    } else if (nc->url->scheme == GRPC_SCHEME_UNIX) {
        connect_unix(nc);
    } else {
        nc->resolve = resolve_start(nc->loop, host, port, on_resolved, nc);
    }
}

struct net_connect *net_connect_start(struct loop *loop, const struct grpc_url *url, const struct grpc_proxy *proxy,
                                      int64_t user_timeout_ms, net_done_fn *fn, void *arg)
{
    struct net_connect *nc = xcalloc(1, sizeof(*nc));

    *nc = (struct net_connect){.loop = loop, .url = url, .proxy = proxy, .fn = fn, .arg = arg, .fd = -1};
    nc->user_timeout_ms = user_timeout_ms;
    buf_init(&nc->talk, PROXY_ANSWER);
    nc->timer = loop_timer_add(loop, 0, on_timer, nc);
    return nc;
}

void net_connect_free(struct net_connect *nc)
{
    if (!nc)
        return;
    resolve_free(nc->resolve);
    loop_io_del(nc->io);
    loop_timer_del(nc->timer);
    if (nc->fd >= 0)
        close(nc->fd);
    if (nc->addresses)
        freeaddrinfo(nc->addresses);
    buf_clear(&nc->talk);
    free(nc->reason);
    free(nc);
}
