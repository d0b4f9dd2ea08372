#include "backends/agent/tunnel.h"

#include "backends/agent/agent.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK (32u << 10)

/* One socket of a connection: the outside's or the member's. */
struct half {
    int fd;
    struct loop_io *io;
    struct buf out; /* for it to take */
    bool eof;       /* it has said everything */
    bool shut;      /* it knows that the other one has */
};

struct passage {
    struct passage *next;
    struct tunnels *tunnels;
    struct half ends[2]; /* the outside, the member */
    bool open;           /* the member has taken the connection */
};

struct listener {
    struct tunnels *tunnels;
    uint16_t port;
    int fd;
    struct loop_io *io;
};

struct tunnels {
    struct loop *loop;
    tunnel_find_fn *find;
    void *arg;
    struct listener listeners[AGENT_TUNNELS_MAX];
    size_t n_listeners;
    struct passage *passages;
    size_t n_passages;
};

static void drop(struct passage *p)
{
    struct tunnels *t = p->tunnels;
    struct passage **at = &t->passages;

    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    t->n_passages--;
    for (int i = 0; i < 2; i++) {
        loop_io_del(p->ends[i].io);
        if (p->ends[i].fd >= 0)
            close(p->ends[i].fd);
        buf_clear(&p->ends[i].out);
    }
    free(p);
}

/* What each socket is waited for; an end that both know ends the connection. */
static void settle(struct passage *p)
{
    struct half *a = &p->ends[0], *b = &p->ends[1];

    for (int i = 0; i < 2 && p->open; i++) {
        struct half *from = &p->ends[i], *to = &p->ends[!i];

        if (from->eof && to->out.len == 0 && !to->shut) {
            to->shut = true;
            shutdown(to->fd, SHUT_WR);
        }
    }
    if (a->shut && b->shut) {
        drop(p);
        return;
    }
    for (int i = 0; i < 2; i++) {
        struct half *own = &p->ends[i];
        bool reads = p->open && !own->eof && p->ends[!i].out.len < TUNNEL_BUFFER - CHUNK;
        bool writes = p->open ? own->out.len > 0 : i == 1;

        loop_io_set(own->io, (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0)));
    }
}

/* False: the socket is broken. */
static bool write_some(struct half *h)
{
    while (h->out.len) {
        ssize_t n = send(h->fd, h->out.data, h->out.len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        buf_consume(&h->out, (size_t)n);
    }
    return true;
}

static bool read_some(struct half *from, struct half *to)
{
    char bytes[CHUNK];
    ssize_t n = recv(from->fd, bytes, sizeof(bytes), 0);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        from->eof = true;
    else
        buf_add(&to->out, bytes, (size_t)n);
    return write_some(to);
}

/* Whether the member has taken the connection. */
static bool take_connected(struct passage *p)
{
    int e = 0;
    socklen_t len = sizeof(e);

    p->open = getsockopt(p->ends[1].fd, SOL_SOCKET, SO_ERROR, &e, &len) == 0 && e == 0;
    return p->open;
}

static void on_ready(struct loop *loop, int fd, short revents, void *arg)
{
    struct passage *p = arg;
    int i = fd == p->ends[1].fd;
    struct half *own = &p->ends[i], *other = &p->ends[!i];
    bool works = true;

    (void)loop;
    if (!p->open)
        works = i == 1 && take_connected(p); /* an outside that goes meanwhile is gone */
    else if (revents & POLLERR)
        works = false;
    else if (revents & POLLOUT)
        works = write_some(own);
    if (works && p->open && (revents & (POLLIN | POLLHUP)) && !own->eof && other->out.len < TUNNEL_BUFFER - CHUNK)
        works = read_some(own, other);
    else if (revents & POLLHUP)
        works = works && !own->eof;
    if (works)
        settle(p);
    else
        drop(p);
}

static int connect_to(struct in_addr address, uint16_t port)
{
    const struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = address};
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;

    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
        return -1;
    return steal_fd(&fd);
}

static void on_connect(struct loop *loop, int fd, short revents, void *arg)
{
    const struct listener *l = arg;
    struct tunnels *t = l->tunnels;
    cleanup_close int outside = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), member = -1;
    struct in_addr address;
    struct passage *p;

    (void)revents;
    if (outside < 0 || t->n_passages >= TUNNEL_CONNS || !t->find(t->arg, l->port, &address))
        return;
    member = connect_to(address, l->port);
    if (member < 0)
        return;
    p = xcalloc(1, sizeof(*p));
    *p = (struct passage){.next = t->passages, .tunnels = t};
    t->passages = p;
    t->n_passages++;
    for (int i = 0; i < 2; i++) {
        struct half *h = &p->ends[i];

        h->fd = i ? steal_fd(&member) : steal_fd(&outside);
        buf_init(&h->out, TUNNEL_BUFFER);
        h->io = loop_io_add(loop, h->fd, 0, on_ready, p);
    }
    settle(p);
}

static int listen_on(uint16_t port)
{
    const struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 128) < 0)
        return -1;
    return steal_fd(&fd);
}

struct tunnels *tunnels_new(struct loop *loop, const struct agent_options *options, tunnel_find_fn *find, void *arg,
                            struct err *err)
{
    struct tunnels *t = xcalloc(1, sizeof(*t));

    *t = (struct tunnels){.loop = loop, .find = find, .arg = arg};
    for (size_t i = 0; i < options->n_tunnels; i++) {
        struct listener *l = &t->listeners[t->n_listeners];

        *l = (struct listener){.tunnels = t, .port = options->tunnels[i], .fd = listen_on(options->tunnels[i])};
        if (l->fd < 0) {
            err_set_errno(err, 125, errno, "listening on port %u for a tunnel", l->port);
            tunnels_free(t);
            return NULL;
        }
        l->io = loop_io_add(loop, l->fd, POLLIN, on_connect, l);
        t->n_listeners++;
    }
    return t;
}

void tunnels_free(struct tunnels *t)
{
    if (!t)
        return;
    while (t->passages)
        drop(t->passages);
    for (size_t i = 0; i < t->n_listeners; i++) {
        loop_io_del(t->listeners[i].io);
        close(t->listeners[i].fd);
    }
    free(t);
}
