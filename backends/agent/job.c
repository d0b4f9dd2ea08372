#include "backends/agent/job.h"

#include "backends/agent/agent.h"
#include "backends/agent/feed.h"
#include "backends/agent/log.h"
#include "backends/agent/spawn.h"
#include "backends/agent/view.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* One output stream of the process. */
struct outlet {
    struct job *job;
    struct loop_io *io;
    int fd;     /* -1: ended or closed */
    int stream; /* 0: stdout, 1: stderr */
    bool cut;   /* the process is gone and the linger is over: only `left` bytes more are its own */
    size_t left;
};

struct job {
    struct job_context context;
    uint32_t flags;

    pid_t pid;
    int report_fd;
    struct loop_io *report_io;
    bool runs, reaped, released, ended, gone;
    int status;
    struct wire_exit refusal; /* text set: it never ran */
    uint64_t early_signals;   /* bit n - 1: signal n came before the program ran */

    struct outlet outlets[2];
    struct loop_timer *linger_timer;
    struct feed feed;
};

static void advance(struct job *job);

static void close_outlet(struct outlet *o)
{
    loop_io_del(o->io);
    o->io = NULL;
    if (o->fd >= 0)
        close(o->fd);
    o->fd = -1;
}

/* How much may be read from an output stream now. */
static size_t may_read(const struct outlet *o)
{
    size_t n = WIRE_CHUNK;

    if (o->job->ended)
        return n;
    n = views_room(o->job->context.views, o->stream, n);
    return o->cut && o->left < n ? o->left : n;
}

static void set_outlets(struct job *job)
{
    for (int i = 0; i < 2; i++)
        if (job->outlets[i].io)
            loop_io_set(job->outlets[i].io, may_read(&job->outlets[i]) ? POLLIN : 0);
}

/* Reads at most want bytes and hands them on, or drops them when all is told; false when there is no more now. */
static bool pump(struct outlet *o, size_t want)
{
    struct job *job = o->job;
    char bytes[WIRE_CHUNK];
    ssize_t n;

    if (o->fd < 0 || !want)
        return false;
    n = read(o->fd, bytes, want < sizeof(bytes) ? want : sizeof(bytes));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) { /* a terminal's master says EIO when the last slave is closed */
        close_outlet(o);
        return false;
    }
    if (job->ended)
        return true;
    if (o->cut)
        o->left -= (size_t)n;
    if (job->context.log)
        log_write(job->context.log, o->stream ? WIRE_STREAM_STDERR : WIRE_STREAM_STDOUT, bytes, (size_t)n);
    views_write(job->context.views, o->stream, bytes, (size_t)n);
    return true;
}

static void on_output(struct loop *loop, int fd, short revents, void *arg)
{
    struct outlet *o = arg;
    struct job *job = o->job;

    (void)loop;
    (void)fd;
    (void)revents;
    pump(o, may_read(o));
    set_outlets(job);
    advance(job);
}

/* ---- the end ---- */

static bool outputs_ended(const struct job *job)
{
    if (!job->context.log && !views_listen(job->context.views))
        return true; /* nobody waits for it */
    for (int i = 0; i < 2; i++) {
        const struct outlet *o = &job->outlets[i];

        if (o->fd >= 0 && !(o->cut && !o->left))
            return false;
    }
    return true;
}

/*
 * A background child may hold the streams for as long as it likes; what the command itself wrote is in the pipes by
 * now. From here on only that much is sent, however slowly the reader takes it. The end of the container's process is
 * not for one slow reader to hold up: what it left is read now, and kept for whoever has no room (views_write).
 */
static void on_linger(struct loop *loop, void *arg)
{
    struct job *job = arg;

    (void)loop;
    for (int i = 0; i < 2; i++) {
        struct outlet *o = &job->outlets[i];
        int left = 0;

        if (o->fd < 0 || o->cut)
            continue;
        ioctl(o->fd, FIONREAD, &left);
        o->cut = true;
        o->left = left > 0 ? (size_t)left : 0;
        while (job_is_main(job) && pump(o, o->left))
            ;
    }
    set_outlets(job);
    advance(job);
}

static void tell_end(struct job *job)
{
    struct wire_exit e = job->refusal;

    if (!e.text && WIFSIGNALED(job->status))
        e = (struct wire_exit){.kind = WIRE_EXIT_SIGNAL, .value = WTERMSIG(job->status)};
    else if (!e.text)
        e = (struct wire_exit){.kind = WIRE_EXIT_CODE, .value = WEXITSTATUS(job->status)};
    job->ended = true; /* from here on the streams are read and dropped until their last holder has gone */
    feed_close(&job->feed);
    set_outlets(job);
    loop_timer_stop(job->linger_timer);
    job->context.events->ended(job->context.arg, job, &e);
}

static void advance(struct job *job)
{
    if (!job->reaped || !job->released || job->gone)
        return;
    if (!job->ended && outputs_ended(job))
        tell_end(job);
    if (job->ended && job->outlets[0].fd < 0 && job->outlets[1].fd < 0) {
        job->gone = true;
        job->context.events->gone(job->context.arg, job);
    }
}

void job_on_reaped(struct job *job, int status)
{
    job->status = status;
    job->reaped = true;
    if (job->report_io) { /* its report is complete now */
        loop_io_set(job->report_io, POLLIN);
        return;
    }
    job->context.events->reaped(job->context.arg, job);
}

void job_release(struct job *job)
{
    if (job->released)
        return;
    job->released = true;
    if (!job->linger_timer)
        job->linger_timer = loop_timer_add(job->context.loop, job->context.options->linger, on_linger, job);
    advance(job);
}

int job_exit_code(const struct job *job)
{
    if (job->refusal.text)
        return job->refusal.value;
    return WIFSIGNALED(job->status) ? 128 + WTERMSIG(job->status) : WEXITSTATUS(job->status);
}

/* ---- the beginning ---- */

static void send_early_signals(struct job *job)
{
    for (int signo = 1; signo <= 64; signo++)
        if (job->early_signals & (UINT64_C(1) << (signo - 1)))
            kill(job->pid, signo);
    job->early_signals = 0;
}

/* The report pipe ended: the program runs, or the child has said why not. */
static void on_report(struct loop *loop, int fd, short revents, void *arg)
{
    struct job *job = arg;
    bool runs = spawn_report(fd, &job->refusal) == 0;

    (void)loop;
    (void)revents;
    loop_io_del(job->report_io);
    job->report_io = NULL;
    close(job->report_fd);
    job->report_fd = -1;
    job->runs = runs;
    if (runs) {
        views_started(job->context.views, job->pid);
        job->context.events->started(job->context.arg, job);
    }
    if (runs && !job->reaped)
        send_early_signals(job);
    if (job->reaped)
        job->context.events->reaped(job->context.arg, job);
}

static void init_outlet(struct job *job, int i, int fd)
{
    struct outlet *o = &job->outlets[i];

    *o = (struct outlet){.job = job, .fd = fd, .stream = i};
    if (fd >= 0)
        o->io = loop_io_add(job->context.loop, fd, POLLIN, on_output, o);
}

struct job *job_start(const struct job_context *context, const struct wire_start *start, struct err *err)
{
    struct spawned made;
    struct job *job;

    if (spawn(start, context->options->run_dir, &made, err) < 0)
        return NULL;
    job = xcalloc(1, sizeof(*job));
    *job = (struct job){.context = *context, .flags = start->flags, .pid = made.pid, .report_fd = made.report};
    job->report_io = loop_io_add(context->loop, made.report, POLLIN, on_report, job);
    init_outlet(job, 0, made.out);
    init_outlet(job, 1, made.err);
    feed_init(&job->feed, context->loop, made.in, start->flags & WIRE_START_TTY);
    return job;
}

void job_free(struct job *job)
{
    if (!job)
        return;
    feed_close(&job->feed);
    close_outlet(&job->outlets[0]);
    close_outlet(&job->outlets[1]);
    loop_io_del(job->report_io);
    loop_timer_del(job->linger_timer);
    if (job->report_fd >= 0)
        close(job->report_fd);
    wire_exit_clear(&job->refusal);
    free(job);
}

/* ---- frames ---- */

static int take_stdin(struct job *job, struct view *view, const struct wire_frame *f, struct err *err)
{
    /* who attaches to a process without stdin may write: to nowhere */
    if ((view->owns && !(job->flags & WIRE_START_STDIN)) || !view->feeds || view->feed_ended)
        return err_set(err, 125, "STDIN for a process that has none");
    return feed_add(&job->feed, view, f->data, f->len, err);
}

void job_signal(struct job *job, int signo, bool group)
{
    if (job->reaped)
        return;
    if (!job->runs)
        job->early_signals |= UINT64_C(1) << (signo - 1);
    else
        kill(group ? -job->pid : job->pid, signo);
}

static int take_signal(struct job *job, const struct wire_frame *f, struct err *err)
{
    uint8_t signo, scope;

    if (wire_get_signal(f, &signo, &scope, err) < 0)
        return -1;
    job_signal(job, signo, scope == WIRE_SIGNAL_GROUP);
    return 0;
}

static int take_resize(struct job *job, const struct wire_frame *f, struct err *err)
{
    struct winsize size = {0};

    if (wire_get_resize(f, &size.ws_row, &size.ws_col, err) < 0)
        return -1;
    if ((job->flags & WIRE_START_TTY) && job->outlets[0].fd >= 0)
        ioctl(job->outlets[0].fd, TIOCSWINSZ, &size);
    return 0;
}

static bool stream_is_heard(const struct job *job, int stream)
{
    for (const struct view *v = job->context.views->first; v; v = v->next)
        if (v->listens && !v->closed[stream])
            return true;
    return false;
}

/*
 * The user's reader is gone: the process sees it as with a pipe, unless others still read. With a terminal there is no
 * such thing: closing the master would hang up the process.
 */
static int take_close(struct job *job, struct view *view, const struct wire_frame *f, struct err *err)
{
    uint8_t stream;
    int i;

    if (wire_get_close(f, &stream, err) < 0)
        return -1;
    i = stream == WIRE_STREAM_STDERR;
    if (view->closed[i])
        return 0;
    view->closed[i] = true;
    buf_clear(&view->late[i]);
    if (!(job->flags & WIRE_START_TTY) && view->owns && !stream_is_heard(job, i))
        close_outlet(&job->outlets[i]);
    job_views_changed(job);
    return 0;
}

int job_frame(struct job *job, struct view *view, const struct wire_frame *f, struct err *err)
{
    switch (f->type) {
    case WIRE_STDIN:
        return take_stdin(job, view, f, err);
    case WIRE_STDIN_EOF:
        view->feed_ended = true;
        if (view->feeds && !(job->flags & WIRE_START_STDIN_STAYS))
            feed_end(&job->feed);
        return 0;
    case WIRE_SIGNAL:
        return take_signal(job, f, err);
    case WIRE_RESIZE:
        return take_resize(job, f, err);
    case WIRE_CREDIT:
        if (view_take_credit(view, f, err) < 0)
            return -1;
        job_views_changed(job);
        return 0;
    case WIRE_CLOSE:
        return take_close(job, view, f, err);
    default:
        return err_set(err, 125, "%s frame out of place", wire_type_name(f->type));
    }
}

void job_end_stdin(struct job *job)
{
    feed_end(&job->feed);
}

void job_views_changed(struct job *job)
{
    set_outlets(job);
    advance(job);
}

void job_leave(struct job *job, struct view *view)
{
    feed_forget(&job->feed, view);
    if (view->feeds && !(job->flags & (WIRE_START_STDIN_STAYS | WIRE_START_TTY)))
        feed_end(&job->feed);
    job_views_changed(job);
}

pid_t job_pid(const struct job *job)
{
    return job->pid;
}

bool job_is_main(const struct job *job)
{
    return job->flags & WIRE_START_MAIN;
}

bool job_runs(const struct job *job)
{
    return job->runs;
}

bool job_alive(const struct job *job)
{
    return !job->reaped;
}
