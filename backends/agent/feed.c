#include "backends/agent/feed.h"

#include "backends/agent/view.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define FEED_MAX  (16u * WIRE_WINDOW) /* several sessions may feed at once; what was sent goes at half a window */
#define PARTS_MAX 65536u              /* turns that sessions may take within it */

static void on_ready(struct loop *loop, int fd, short revents, void *arg);

void feed_init(struct feed *f, struct loop *loop, int fd, bool tty)
{
    *f = (struct feed){.fd = fd, .tty = tty};
    buf_init(&f->in, FEED_MAX);
    if (fd >= 0)
        f->io = loop_io_add(loop, fd, 0, on_ready, f);
}

/* The first len bytes are gone, to the process or to nowhere: whoever sent them is told. */
static void credit(struct feed *f, size_t len)
{
    bool empty = f->in.len == f->sent;
    size_t done = 0;

    while (len && done < f->n_parts) {
        struct feed_part *p = &f->parts[done];
        size_t n = len < p->len ? len : p->len;

        p->len -= n;
        len -= n;
        if (p->view)
            view_credit_stdin(p->view, n, empty);
        done += !p->len;
    }
    for (size_t i = done; i < f->n_parts; i++)
        f->parts[i - done] = f->parts[i];
    f->n_parts -= done;
}

void feed_close(struct feed *f)
{
    size_t left = f->in.len - f->sent;

    loop_io_del(f->io);
    f->io = NULL;
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    buf_clear(&f->in);
    f->sent = 0;
    credit(f, left);
    free(f->parts);
    f->parts = NULL;
    f->n_parts = f->cap_parts = 0;
}

/* Gives the process what it takes now. One that closed its stdin takes all of it, to nowhere, as under Docker. */
static void write_some(struct feed *f)
{
    size_t taken = 0;

    while (f->fd >= 0 && f->in.len > f->sent) {
        ssize_t n = write(f->fd, f->in.data + f->sent, f->in.len - f->sent);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            credit(f, taken);
            feed_close(f);
            return;
        }
        f->sent += (size_t)n;
        taken += (size_t)n;
    }
    if (f->sent == f->in.len) {
        buf_reset(&f->in);
        f->sent = 0;
    } else if (f->sent > WIRE_WINDOW / 2) {
        buf_consume(&f->in, f->sent);
        f->sent = 0;
    }
    credit(f, taken);
    if (f->io)
        loop_io_set(f->io, f->in.len ? POLLOUT : 0);
    if (f->ended && !f->in.len && !f->tty)
        feed_close(f);
}

static void on_ready(struct loop *loop, int fd, short revents, void *arg)
{
    (void)loop;
    (void)fd;
    (void)revents;
    write_some(arg);
}

static void add_part(struct feed *f, struct view *view, size_t len)
{
    if (f->n_parts && f->parts[f->n_parts - 1].view == view) {
        f->parts[f->n_parts - 1].len += len;
        return;
    }
    if (f->n_parts == f->cap_parts) {
        f->cap_parts = f->cap_parts ? 2 * f->cap_parts : 4;
        f->parts = xreallocarray(f->parts, f->cap_parts, sizeof(*f->parts));
    }
    f->parts[f->n_parts++] = (struct feed_part){view, len};
}

/* What this session has sent and the process has not taken. */
static size_t waiting_of(const struct feed *f, const struct view *view)
{
    size_t n = 0;

    for (size_t i = 0; i < f->n_parts; i++)
        if (f->parts[i].view == view)
            n += f->parts[i].len;
    return n;
}

int feed_add(struct feed *f, struct view *view, const void *bytes, size_t len, struct err *err)
{
    if (f->fd < 0) {
        view_credit_stdin(view, len, /* all= */ true);
        return 0;
    }
    if (!len)
        return 0;
    if (f->n_parts >= PARTS_MAX || waiting_of(f, view) + view->uncredited + len > WIRE_WINDOW ||
        buf_add(&f->in, bytes, len) < 0)
        return err_set(err, 125, "STDIN beyond the credit");
    add_part(f, view, len);
    write_some(f);
    return 0;
}

void feed_end(struct feed *f)
{
    f->ended = true;
    write_some(f);
}

void feed_forget(struct feed *f, struct view *view)
{
    for (size_t i = 0; i < f->n_parts; i++)
        if (f->parts[i].view == view)
            f->parts[i].view = NULL;
}
