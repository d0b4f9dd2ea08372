#include "backends/agent/link.h"

#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_MAX  (64u << 20) /* credit, one START and the bulk data of a few turns; never reached by a sane peer */
#define READ_CHUNK (64u << 10)

static void on_readable(struct loop *loop, int fd, short revents, void *arg);
static void on_writable(struct loop *loop, int fd, short revents, void *arg);

void link_init(struct link *l, struct loop *loop, int in, int out, const struct link_events *events, void *arg)
{
    *l = (struct link){.loop = loop, .in = in, .out = out, .events = events, .arg = arg};
    wire_parser_init(&l->parser);
    buf_init(&l->queue, QUEUE_MAX);
    fcntl(in, F_SETFL, fcntl(in, F_GETFL) | O_NONBLOCK);
    fcntl(out, F_SETFL, fcntl(out, F_GETFL) | O_NONBLOCK);
    l->in_io = loop_io_add(loop, in, POLLIN, on_readable, l);
    l->out_io = loop_io_add(loop, out, 0, on_writable, l);
    l->heard = l->spoke = loop_now();
}

void link_clear(struct link *l)
{
    loop_io_del(l->in_io);
    loop_io_del(l->out_io);
    l->in_io = l->out_io = NULL;
    wire_parser_clear(&l->parser);
    buf_clear(&l->queue);
    l->closed = true;
}

static void set_events(struct link *l)
{
    loop_io_set(l->in_io, l->paused || l->closed ? 0 : POLLIN);
    loop_io_set(l->out_io, !l->closed && (l->broken || link_pending(l)) ? POLLOUT : 0);
}

static void close_link(struct link *l, const char *why)
{
    if (l->closed)
        return;
    l->closed = true;
    set_events(l);
    l->events->closed(l->arg, why);
}

/* Hands out the frames that are there. A handler may pause or clear the link. */
static void hand_out(struct link *l)
{
    cleanup_err struct err err = ERR_INIT;
    struct wire_frame f;
    int got = 0;

    if (l->parsing)
        return;
    l->parsing = true;
    while (!l->paused && !l->closed && (got = wire_parser_next(&l->parser, &f, &err)) > 0)
        if (l->events->frame(l->arg, &f, &err) < 0) {
            got = -1;
            break;
        }
    l->parsing = false;
    if (got < 0 && !l->closed)
        close_link(l, err.msg);
}

static void on_readable(struct loop *loop, int fd, short revents, void *arg)
{
    cleanup_err struct err err = ERR_INIT;
    struct link *l = arg;
    char bytes[READ_CHUNK];
    ssize_t n = read(fd, bytes, sizeof(bytes));

    (void)loop;
    (void)revents;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        close_link(l, n < 0 ? strerror(errno) : NULL);
        return;
    }
    l->heard = loop_now();
    if (wire_parser_feed(&l->parser, bytes, (size_t)n, &err) < 0) {
        close_link(l, err.msg);
        return;
    }
    hand_out(l);
}

size_t link_pending(const struct link *l)
{
    return l->queue.len - l->sent;
}

/* Writes until the descriptor is full. An error is kept for the loop, so that a sender is never surprised. */
static void write_some(struct link *l)
{
    while (link_pending(l) && !l->broken) {
        ssize_t n = write(l->out, l->queue.data + l->sent, link_pending(l));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            l->broken = errno != EAGAIN;
            break;
        }
        l->sent += (size_t)n;
        l->spoke = loop_now();
    }
    if (l->sent == l->queue.len) {
        buf_reset(&l->queue);
        l->sent = 0;
    } else if (l->sent > LINK_HIGH) {
        buf_consume(&l->queue, l->sent);
        l->sent = 0;
    }
}

static void on_writable(struct loop *loop, int fd, short revents, void *arg)
{
    struct link *l = arg;

    (void)loop;
    (void)fd;
    (void)revents;
    write_some(l);
    if (l->broken) {
        close_link(l, "broken pipe");
        return;
    }
    set_events(l);
    if (link_pending(l) < LINK_LOW && l->events->drained)
        l->events->drained(l->arg);
}

void link_send(struct link *l)
{
    if (l->closed)
        return;
    if (l->queue.overflowed)
        l->broken = true;
    write_some(l);
    set_events(l);
}

void link_pause(struct link *l, bool paused)
{
    if (l->closed || l->paused == paused)
        return;
    l->paused = paused;
    set_events(l);
    if (!paused)
        hand_out(l);
}

void link_flush(struct link *l, int64_t ms)
{
    int64_t until = loop_now() + ms;

    for (;;) {
        struct pollfd p = {.fd = l->out, .events = POLLOUT};
        int64_t left = until - loop_now();

        write_some(l);
        if (!link_pending(l) || l->broken || left <= 0)
            return;
        poll(&p, 1, (int)left);
    }
}
