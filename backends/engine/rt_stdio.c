/*
 * Output and input of one process. Output goes from the pipe to an unnamed file at once, whoever reads it or nobody;
 * input waits in memory until the pipe takes it.
 */
#include "backends/engine/rt_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct rt_stream {
    struct rt *rt;
    int source;               /* pipe or terminal, -1 = none (any more) */
    int spool;                /* made with the first byte: most streams stay empty */
    uint64_t base, read, len; /* the first byte that is kept; the end of what was read; the end */
    bool ended;
    bool full;       /* it is not read from the source until somebody has read here */
    bool never_full; /* the oldest bytes go instead */
    bool by_copy;    /* the source cannot be spliced: a terminal, or a file system without it */
    int failed;      /* errno of the write that lost bytes */
    struct rt_poll *poll;
    rt_poll_fn *on_output;
    void *arg;
};

/* ---- output ---- */

struct rt_stream *rt_stream_new(struct rt *rt, rt_poll_fn *on_output, void *arg)
{
    struct rt_stream *st = xcalloc(1, sizeof(*st));

    *st = (struct rt_stream){.rt = rt, .source = -1, .spool = -1, .on_output = on_output, .arg = arg};
    return st;
}

void rt_stream_end(struct rt_stream *st)
{
    rt_poll_stop(&st->poll);
    if (st->source >= 0)
        close(st->source);
    st->source = -1;
    st->ended = true;
}

void rt_stream_free(struct rt_stream *st)
{
    if (!st)
        return;
    rt_stream_end(st);
    if (st->spool >= 0)
        close(st->spool);
    free(st);
}

/* The file has no name: it goes with the last descriptor, also when the engine is killed. */
static int open_spool(const char *dir)
{
    cleanup_free char *name = xasprintf("%s/run/spool-XXXXXX", dir);
    cleanup_free char *folder = xasprintf("%s/run", dir);
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0) {
        fd = mkostemp(name, O_CLOEXEC);
        if (fd >= 0)
            unlink(name);
    }
    return fd;
}

void rt_stream_never_full(struct rt_stream *st)
{
    st->never_full = true;
}

/* Gives up the oldest bytes, a good part at once, but none that somebody has still to read. */
static void forget_oldest(struct rt_stream *st)
{
    uint64_t to = st->base + (st->rt->output_max + 3) / 4;

    if (!st->never_full && to > st->read)
        to = st->read;
    if (to <= st->base ||
        fallocate(st->spool, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)st->base, (off_t)(to - st->base)) < 0)
        return;
    st->base = to;
}

/* How many bytes may be kept now; 0 = it is full, and not asked any more until there is a reader. */
static size_t room_for(struct rt_stream *st)
{
    uint64_t max = st->rt->output_max;

    if (st->len - st->base >= max)
        forget_oldest(st);
    if (st->len - st->base < max)
        return max - (st->len - st->base) < RT_DRAIN_TURN ? (size_t)(max - (st->len - st->base)) : RT_DRAIN_TURN;
    st->full = true;
    rt_poll_stop(&st->poll);
    return 0;
}

/* Moves bytes through memory: for terminals, and to drop what cannot be kept. */
static ssize_t move_by_copy(struct rt_stream *st, size_t room)
{
    char bytes[65536];
    ssize_t got = read(st->source, bytes, room < sizeof(bytes) ? room : sizeof(bytes));

    if (got <= 0)
        return got;
    for (ssize_t at = 0; !st->failed && at < got;) {
        ssize_t put = pwrite(st->spool, bytes + at, (size_t)(got - at), (off_t)st->len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            st->failed = errno;
            break;
        }
        at += put;
        st->len += (uint64_t)put;
    }
    return got;
}

static ssize_t move_by_splice(struct rt_stream *st, size_t room)
{
    off_t at = (off_t)st->len;
    ssize_t got = splice(st->source, NULL, st->spool, &at, room, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

    if (got > 0)
        st->len += (uint64_t)got;
    if (got >= 0 || errno == EAGAIN || errno == EINTR)
        return got;
    if (errno == EINVAL)
        st->by_copy = true;
    else
        st->failed = errno;
    return move_by_copy(st, room);
}

/* Poll says readable for an end of file too, and that is no reason to make a file. */
static bool has_bytes(struct rt_stream *st)
{
    struct pollfd ask = {.fd = st->source, .events = POLLIN};

    if (poll(&ask, 1, 0) > 0 && (ask.revents & POLLIN))
        return true;
    if (ask.revents & (POLLHUP | POLLERR))
        rt_stream_end(st);
    return false;
}

/* Moves some bytes; 0 = nothing now, or ended. */
static size_t move_some(struct rt_stream *st)
{
    size_t room;
    ssize_t got;

    if (st->source < 0)
        return 0;
    if (st->spool < 0 && !st->failed) {
        if (!has_bytes(st))
            return 0;
        st->spool = open_spool(st->rt->dir);
        st->failed = st->spool < 0 ? errno : 0;
    }
    room = st->failed ? RT_DRAIN_TURN : room_for(st);
    if (room == 0)
        return 0;
    got = st->by_copy || st->failed ? move_by_copy(st, room) : move_by_splice(st, room);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) /* EIO is a terminal's end of file */
        rt_stream_end(st);
    return got > 0 ? (size_t)got : 0;
}

static void stream_ready(void *arg)
{
    struct rt_stream *st = arg;
    uint64_t before = st->len;
    int failed = st->failed;

    for (size_t moved = 0; moved < RT_DRAIN_TURN;) {
        size_t got = move_some(st);

        if (got == 0)
            break;
        moved += got;
    }
    if (st->len != before || st->failed != failed || st->ended)
        st->on_output(st->arg); /* may free the stream */
}

void rt_stream_drain(struct rt_stream *st)
{
    for (size_t moved = 0; moved < 64 * RT_DRAIN_TURN;) {
        size_t got = move_some(st);

        if (got == 0)
            return;
        moved += got;
    }
}

int rt_stream_pipe(struct rt_stream *st, int *ret_write_end, struct err *err)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set_errno(err, 125, errno, "making a pipe");
    fcntl(ends[0], F_SETFL, O_NONBLOCK); /* ours only: the process's end blocks as it should */
    st->source = ends[0];
    st->poll = rt_poll_start(st->rt, ends[0], UV_READABLE, stream_ready, st);
    *ret_write_end = ends[1];
    return 0;
}

void rt_stream_tty(struct rt_stream *st, int master)
{
    fcntl(master, F_SETFL, O_NONBLOCK);
    st->source = master;
    st->by_copy = true;
    st->poll = rt_poll_start(st->rt, master, UV_READABLE, stream_ready, st);
}

/* Somebody reads again: the source is looked at from the loop. */
static void go_on(struct rt_stream *st)
{
    if (!st->full || st->source < 0)
        return;
    st->full = false;
    st->poll = rt_poll_start(st->rt, st->source, UV_READABLE, stream_ready, st);
}

ssize_t rt_stream_read(struct rt_stream *st, uint64_t offset, void *bytes, size_t cap)
{
    ssize_t got;

    if (offset < st->base) {
        errno = ENODATA;
        return -1;
    }
    if (offset >= st->len) {
        errno = st->failed;
        return st->failed ? -1 : 0;
    }
    if (cap > st->len - offset)
        cap = st->len - offset;
    got = pread(st->spool, bytes, cap, (off_t)offset);
    if (got > 0 && offset + (uint64_t)got > st->read) {
        st->read = offset + (uint64_t)got;
        go_on(st);
    }
    return got;
}

uint64_t rt_stream_base(const struct rt_stream *st)
{
    return st->base;
}

uint64_t rt_stream_len(const struct rt_stream *st)
{
    return st->len;
}

bool rt_stream_ended(const struct rt_stream *st)
{
    return st->ended;
}

/* ---- input ---- */

struct waiter {
    struct waiter *next;
    void (*done)(void *arg);
    void *arg;
};

struct rt_input {
    struct rt *rt;
    int fd; /* -1 = not yet, or closed */
    bool opened, tty;
    bool eof;  /* was accepted */
    bool over; /* nobody will ever read it */
    bool freed, telling;
    uint64_t accepted;
    struct buf queue;
    size_t head; /* bytes of queue already written */
    struct rt_poll *poll;
    struct waiter *waiters;
};

static void pump(void *arg);

struct rt_input *rt_input_new(struct rt *rt)
{
    struct rt_input *in = xcalloc(1, sizeof(*in));

    in->rt = rt;
    in->fd = -1;
    buf_init(&in->queue, RT_STDIN_MAX + 1);
    return in;
}

static void drop_waiters(struct rt_input *in)
{
    while (in->waiters) {
        struct waiter *w = in->waiters;

        in->waiters = w->next;
        free(w);
    }
}

static void close_input(struct rt_input *in)
{
    rt_poll_stop(&in->poll);
    if (in->fd >= 0)
        close(in->fd);
    in->fd = -1;
}

void rt_input_free(struct rt_input *in)
{
    if (!in)
        return;
    close_input(in);
    drop_waiters(in);
    buf_clear(&in->queue);
    in->freed = true;
    if (!in->telling)
        free(in);
}

/* Calls the waiters, one by one: each may write again, or free the input. */
static void tell_waiters(void *arg)
{
    struct rt_input *in = arg;

    while (!in->freed && in->waiters && (in->over || in->queue.len - in->head < RT_STDIN_LOW)) {
        struct waiter *w = in->waiters;

        in->waiters = w->next;
        w->done(w->arg);
        free(w);
    }
    in->telling = false;
    if (in->freed)
        free(in);
}

static void tell_later(struct rt_input *in)
{
    if (in->telling || !in->waiters || (!in->over && in->queue.len - in->head >= RT_STDIN_LOW))
        return;
    in->telling = true;
    rt_later(in->rt, tell_waiters, in);
}

void rt_input_end(struct rt_input *in)
{
    close_input(in);
    in->over = true;
    buf_clear(&in->queue);
    in->head = 0;
    tell_later(in);
}

/* Writes what the pipe takes now; watches it while there is more. */
static void pump(void *arg)
{
    struct rt_input *in = arg;

    while (in->fd >= 0 && in->head < in->queue.len) {
        ssize_t put = write(in->fd, in->queue.data + in->head, in->queue.len - in->head);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno != EAGAIN) {
            rt_input_end(in);
            return;
        }
        if (put < 0)
            break;
        in->head += (size_t)put;
    }
    if (in->head == in->queue.len) {
        buf_clear(&in->queue);
        in->head = 0;
        if (in->eof && in->opened && !in->tty)
            close_input(in);
        rt_poll_stop(&in->poll);
    } else {
        if (in->head > in->queue.len / 2) {
            buf_consume(&in->queue, in->head);
            in->head = 0;
        }
        if (in->fd >= 0 && !in->poll)
            in->poll = rt_poll_start(in->rt, in->fd, UV_WRITABLE, pump, in);
    }
    tell_later(in);
}

static void open_input(struct rt_input *in, int fd, bool tty)
{
    fcntl(fd, F_SETFL, O_NONBLOCK);
    in->fd = fd;
    in->opened = true;
    in->tty = tty;
    if (tty && in->eof)
        buf_addc(&in->queue, 4);
    pump(in);
}

int rt_input_pipe(struct rt_input *in, int *ret_read_end, struct err *err)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set_errno(err, 125, errno, "making a pipe");
    *ret_read_end = ends[0];
    open_input(in, ends[1], /* tty= */ false);
    return 0;
}

void rt_input_tty(struct rt_input *in, int master)
{
    open_input(in, master, /* tty= */ true);
}

int rt_input_write(struct rt_input *in, uint64_t offset, const void *bytes, size_t len, bool eof, void (*done)(void *),
                   void *arg, struct err *err)
{
    size_t known, fresh;

    if (offset > in->accepted) {
        err_set(err, 125, "stdin: offset %llu leaves a gap, %llu bytes were accepted", (unsigned long long)offset,
                (unsigned long long)in->accepted);
        if (err)
            err->code = ERANGE;
        return -1;
    }
    known = in->accepted - offset < len ? (size_t)(in->accepted - offset) : len;
    fresh = len - known;
    if (fresh && (in->over || in->eof))
        return err_set_errno(err, 125, EPIPE, "stdin");
    if (fresh > RT_STDIN_MAX - (in->queue.len - in->head))
        return err_set_errno(err, 125, ENOBUFS, "stdin");
    if (in->head && fresh > in->queue.max - in->queue.len) {
        buf_consume(&in->queue, in->head);
        in->head = 0;
    }
    buf_add(&in->queue, (const char *)bytes + known, fresh);
    in->accepted += fresh;
    if (eof && !in->eof) {
        in->eof = true;
        if (in->tty && !in->over)
            buf_addc(&in->queue, 4);
    }
    if (done) {
        struct waiter *w = xcalloc(1, sizeof(*w)), **p = &in->waiters;

        *w = (struct waiter){.done = done, .arg = arg};
        while (*p)
            p = &(*p)->next;
        *p = w;
    }
    if (in->over)
        tell_later(in);
    else
        pump(in);
    return 0;
}

void rt_input_status(const struct rt_input *in, uint64_t *ret_accepted, bool *ret_closed)
{
    *ret_accepted = in->accepted;
    *ret_closed = in->eof;
}

/* ---- terminals ---- */

/* Binds through a descriptor of the folder: a Unix socket's own path may not be longer than 107 bytes. */
int rt_console_listen(const char *path, int *ret_fd, struct err *err)
{
    const char *slash = strrchr(path, '/');
    cleanup_free char *folder = xstrndup(path, (size_t)(slash - path));
    cleanup_close int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (dir < 0 || fd < 0)
        return err_set_errno(err, 125, errno, "console socket %s", path);
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir, slash + 1);
    unlink(address.sun_path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0)
        return err_set_errno(err, 125, errno, "console socket %s", path);
    *ret_fd = steal_fd(&fd);
    return 0;
}

int rt_console_accept(int listener)
{
    return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

int rt_console_take(int connection, uint16_t rows, uint16_t cols)
{
    char name[256], control[CMSG_SPACE(sizeof(int))];
    struct iovec part = {.iov_base = name, .iov_len = sizeof(name)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct winsize size = {.ws_row = rows, .ws_col = cols};
    struct cmsghdr *header;
    int master;

    if (recvmsg(connection, &message, MSG_CMSG_CLOEXEC) < 0)
        return -1;
    header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
        header->cmsg_len != CMSG_LEN(sizeof(int))) {
        errno = EPROTO;
        return -1;
    }
    memcpy(&master, CMSG_DATA(header), sizeof(master));
    if (rows && cols)
        ioctl(master, TIOCSWINSZ, &size);
    return master;
}
