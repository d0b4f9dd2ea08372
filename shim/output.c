#include "shim/output.h"

#include "compat/base/alloc.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct output {
    struct loop_io *io;
    int fd;
    size_t piece; /* what poll(2) promises to take without blocking */
    bool gone;
    void (*ready)(void *arg);
    void (*closed)(void *arg);
    void *arg;
};

/* POLLOUT on a pipe or a socket promises PIPE_BUF bytes; a regular file takes anything. */
static size_t piece_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? 1u << 20 : PIPE_BUF;
}

static void on_writable(struct loop *loop, int fd, short revents, void *arg)
{
    struct output *o = arg;

    (void)loop;
    (void)fd;
    (void)revents;
    loop_io_set(o->io, 0);
    o->ready(o->arg);
}

struct output *output_new(struct loop *loop, int fd, void (*ready)(void *arg), void (*closed)(void *arg), void *arg)
{
    struct output *o = xcalloc(1, sizeof(*o));

    *o = (struct output){.fd = fd, .piece = piece_of(fd), .ready = ready, .closed = closed, .arg = arg};
    o->io = loop_io_add(loop, fd, 0, on_writable, o);
    return o;
}

void output_free(struct output *o)
{
    if (!o)
        return;
    loop_io_del(o->io);
    free(o);
}

/* One piece: bytes written, 0 = no room now, -1 = the reader is gone. */
static ssize_t write_piece(const struct output *o, const char *bytes, size_t len)
{
    struct pollfd ready = {.fd = o->fd, .events = POLLOUT};
    ssize_t n;

    if (poll(&ready, 1, 0) <= 0)
        return 0;
    n = write(o->fd, bytes, len < o->piece ? len : o->piece);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return n;
}

size_t output_write(struct output *o, const void *bytes, size_t len)
{
    size_t done = 0;

    while (done < len && !o->gone) {
        ssize_t n = write_piece(o, (const char *)bytes + done, len - done);

        if (n == 0) {
            loop_io_set(o->io, POLLOUT);
            return done;
        }
        if (n < 0) {
            o->gone = true;
            o->closed(o->arg);
        } else {
            done += (size_t)n;
        }
    }
    return len;
}
