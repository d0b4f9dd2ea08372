/* link: atp_sys atp_base */
/*
 * A TCP proxy that makes a near server far: every byte is held for a fixed time in each direction, and the first bytes
 * of a connection for one round trip more, as the handshake of a far connection would cost. Test code decides the
 * latency; nothing of the product measures itself.
 *
 *     delay_proxy PORT (HOST_PORT | /unix/socket) MILLISECONDS_PER_DIRECTION
 */
#include "compat/base/alloc.h"
#include "compat/sys/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PIECE    65536
#define HELD_MAX (64u << 20) /* bytes on the way in one direction: a fat link at 200 ms */

struct piece {
    struct piece *next;
    int64_t due;
    size_t len, sent;
    char data[];
};

/* One direction: read from `from`, wait, write to `to`. */
struct way {
    struct pair *pair;
    int from, to;
    struct loop_io *in, *out;
    struct loop_timer *timer;
    struct piece *first, **last;
    size_t held;
    bool ended;       /* end of file was read */
    bool shut;        /* and passed on */
    int64_t earliest; /* the handshake's round trip */
};

struct pair {
    struct way ways[2];
    int fds[2];
};

static int64_t latency;
static const char *target;

/* Closes both sides; what is on the way is lost, as it would be. */
static void drop(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        struct way *w = &p->ways[i];

        loop_io_del(w->in);
        loop_io_del(w->out);
        loop_timer_del(w->timer);
        while (w->first) {
            struct piece *next = w->first->next;

            free(w->first);
            w->first = next;
        }
    }
    close(p->fds[0]);
    close(p->fds[1]);
    free(p);
}

/* Writes what is due. False when the connection is gone. */
static bool flush_due(struct way *w)
{
    int64_t now = loop_now();

    while (w->first && w->first->due <= now) {
        struct piece *piece = w->first;
        ssize_t n = send(w->to, piece->data + piece->sent, piece->len - piece->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN) {
            loop_io_set(w->out, POLLOUT);
            return true;
        }
        if (n < 0)
            return false;
        piece->sent += (size_t)n;
        if (piece->sent < piece->len)
            continue;
        w->first = piece->next;
        if (!w->first)
            w->last = &w->first;
        w->held -= piece->len;
        free(piece);
    }
    loop_io_set(w->out, 0);
    if (w->first)
        loop_timer_set(w->timer, w->first->due - now);
    else if (w->ended && !w->shut) {
        w->shut = true;
        shutdown(w->to, SHUT_WR);
    }
    if (!w->ended && w->held < HELD_MAX)
        loop_io_set(w->in, POLLIN);
    return true;
}

static void step(struct way *w)
{
    if (!flush_due(w) || (w->pair->ways[0].shut && w->pair->ways[1].shut))
        drop(w->pair);
}

static void on_timer(struct loop *loop, void *arg)
{
    (void)loop;
    step(arg);
}

static void on_writable(struct loop *loop, int fd, short revents, void *arg)
{
    (void)loop;
    (void)fd;
    (void)revents;
    step(arg);
}

static void on_readable(struct loop *loop, int fd, short revents, void *arg)
{
    struct way *w = arg;
    struct piece *piece = xmalloc(sizeof(*piece) + PIECE);
    ssize_t n = recv(fd, piece->data, PIECE, MSG_DONTWAIT);
    int64_t due = loop_now() + latency;

    (void)loop;
    (void)revents;
    if (n <= 0) {
        free(piece);
        if (n < 0 && errno == EAGAIN)
            return;
        w->ended = true;
        loop_io_set(w->in, 0);
        if (n < 0) {
            drop(w->pair);
            return;
        }
        loop_timer_set(w->timer, latency);
        return;
    }
    piece->next = NULL;
    piece->len = (size_t)n;
    piece->sent = 0;
    piece->due = due > w->earliest ? due : w->earliest;
    *w->last = piece;
    w->last = &piece->next;
    w->held += (size_t)n;
    if (w->held >= HELD_MAX)
        loop_io_set(w->in, 0);
    loop_timer_set(w->timer, w->first->due - loop_now() > 0 ? w->first->due - loop_now() : 0);
}

static int connect_target(void)
{
    int fd;

    if (target[0] == '/') {
        struct sockaddr_un addr = {.sun_family = AF_UNIX};

        snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", target);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        return connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ? -1 : fd;
    }
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)strtoul(target, NULL, 10)),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ? -1 : fd;
}

static void on_accept(struct loop *loop, int listener, short revents, void *arg)
{
    int one = 1, fd = accept(listener, NULL, NULL), up;
    struct pair *p;

    (void)revents;
    (void)arg;
    if (fd < 0)
        return;
    up = connect_target();
    if (up < 0) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    p = xcalloc(1, sizeof(*p));
    p->fds[0] = fd;
    p->fds[1] = up;
    for (int i = 0; i < 2; i++) {
        struct way *w = &p->ways[i];

        *w = (struct way){.pair = p, .from = p->fds[i], .to = p->fds[!i], .last = &w->first};
        w->in = loop_io_add(loop, w->from, POLLIN, on_readable, w);
        w->out = loop_io_add(loop, w->to, 0, on_writable, w);
        w->timer = loop_timer_add(loop, 0, on_timer, w);
        loop_timer_stop(w->timer);
    }
    p->ways[0].earliest = loop_now() + 3 * latency; /* SYN, SYN-ACK, then the bytes' own way */
}

int main(int argc, char **argv)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct loop *loop = loop_new();
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    if (argc != 4)
        return 2;
    addr.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    target = argv[2];
    latency = strtol(argv[3], NULL, 10);
    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (const struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(listener, 64) < 0) {
        perror("delay_proxy");
        return 1;
    }
    loop_io_add(loop, listener, POLLIN, on_accept, NULL);
    puts("ready");
    fflush(stdout);
    loop_run(loop);
    return 0;
}
