#include "backends/agent/resolver_impl.h"
#include "compat/sys/loop.h"
#include "compat/sys/random.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void try_next(struct question *q);

void upstream_close(struct question *q)
{
    loop_io_del(q->io);
    q->io = NULL;
    if (q->fd >= 0)
        close(q->fd);
    q->fd = -1;
    buf_reset(&q->in);
    buf_reset(&q->out);
}

static bool is_last_try(const struct question *q)
{
    return q->tries >= RESOLVER_ROUNDS * q->resolver->n_servers;
}

/* A whole message of the server's. One that refuses is believed only when nobody is left to ask. */
static void take_answer(struct question *q, uint8_t *bytes, size_t len)
{
    uint8_t code = len > 3 ? bytes[3] & 0xf : 0;

    if (!dns_answers(bytes, len, q->bytes, q->len))
        return; /* somebody else's: the right one may still come */
    if (code != DNS_OK && code != DNS_NXDOMAIN && !is_last_try(q))
        try_next(q);
    else
        question_pass_back(q, bytes, len);
}

static void on_udp(struct loop *loop, int fd, short revents, void *arg)
{
    struct question *q = arg;
    static uint8_t bytes[DNS_MAX];
    ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    (void)loop;
    (void)revents;
    if (n >= 0)
        take_answer(q, bytes, (size_t)n);
    else if (errno != EAGAIN && errno != EINTR) /* nobody listens there */
        try_next(q);
}

/* Writes what is left of the question; false: the server is gone. */
static bool write_question(struct question *q)
{
    ssize_t n = q->out.len ? send(q->fd, q->out.data, q->out.len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    buf_consume(&q->out, (size_t)n);
    loop_io_set(q->io, q->out.len ? POLLIN | POLLOUT : POLLIN);
    return true;
}

static void on_tcp(struct loop *loop, int fd, short revents, void *arg)
{
    struct question *q = arg;
    uint8_t bytes[4096], *at;
    ssize_t n;

    (void)loop;
    if ((revents & POLLOUT) && !write_question(q)) {
        try_next(q);
        return;
    }
    if (!(revents & (POLLIN | POLLHUP | POLLERR)))
        return;
    n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || buf_add(&q->in, bytes, (size_t)n) < 0) {
        try_next(q);
        return;
    }
    at = (uint8_t *)q->in.data;
    if (q->in.len >= 2 && q->in.len >= 2 + ((size_t)at[0] << 8 | at[1]))
        take_answer(q, at + 2, (size_t)at[0] << 8 | at[1]);
}

static void on_timeout(struct loop *loop, void *arg)
{
    (void)loop;
    try_next(arg);
}

/* A number that nobody can guess, and a socket, so a port, of its own. False: this server cannot be asked. */
static bool ask_server(struct question *q, const struct sockaddr_storage *server)
{
    bool by_tcp = q->client;
    socklen_t len = server->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    const uint8_t head[2] = {(uint8_t)(q->len >> 8), (uint8_t)q->len};

    if (random_bytes(q->bytes, 2, NULL) < 0)
        return false;
    q->fd = socket(server->ss_family, (by_tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (q->fd < 0 || (connect(q->fd, (const struct sockaddr *)server, len) < 0 && errno != EINPROGRESS))
        return false;
    if (!by_tcp && send(q->fd, q->bytes, q->len, MSG_NOSIGNAL) < 0)
        return false;
    if (by_tcp) {
        buf_add(&q->out, head, 2);
        buf_add(&q->out, q->bytes, q->len);
    }
    q->io = loop_io_add(q->resolver->loop, q->fd, by_tcp ? POLLOUT : POLLIN, by_tcp ? on_tcp : on_udp, q);
    return true;
}

static void try_next(struct question *q)
{
    const struct resolver *r = q->resolver;

    upstream_close(q);
    while (!is_last_try(q)) {
        const struct sockaddr_storage *server = &r->servers[q->tries++ % r->n_servers];

        if (ask_server(q, server)) {
            loop_timer_set(q->timer, RESOLVER_TRY_MS);
            return;
        }
        upstream_close(q);
    }
    question_refuse(q);
}

void upstream_ask(struct question *q)
{
    q->timer = loop_timer_add(q->resolver->loop, RESOLVER_TRY_MS, on_timeout, q);
    try_next(q);
}
