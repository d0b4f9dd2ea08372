#include "backends/agent/job.h"

#include "backends/agent/agent.h"
#include "backends/agent/link.h"
#include "backends/agent/spawn.h"
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

#define CREDIT_STEP                                                                                                    \
    (256u << 10) /* stdin taken before the client is told: few frames, no stall in a window of 4 MiB                   \
                  */

/* One output stream of the process. */
struct outlet {
    struct job *job;
    struct loop_io *io;
    int fd;        /* -1: ended or closed */
    uint8_t frame; /* WIRE_STDOUT or WIRE_STDERR */
    bool cut;      /* the process is gone and the linger is over: only `left` bytes more are its own */
    size_t left;
};

struct job {
    struct loop *loop;
    struct link *link; /* NULL: no session listens */
    const struct job_events *events;
    void *arg;
    uint32_t flags;
    int64_t linger;

    pid_t pid;
    int report_fd;
    struct loop_io *report_io;
    bool runs, reaped, released, exit_sent, gone;
    int status;
    struct wire_exit refusal; /* text set: it never ran */
    uint64_t early_signals;   /* bit n - 1: signal n came before the program ran */

    struct outlet outlets[2];
    size_t credit;
    struct loop_timer *linger_timer;

    int in_fd;
    struct loop_io *in_io;
    struct buf in;
    size_t in_sent;       /* bytes at its start that the process has */
    size_t in_uncredited; /* taken, and the client not yet told */
    bool in_eof;
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

static void close_in(struct job *job)
{
    loop_io_del(job->in_io);
    job->in_io = NULL;
    if (job->in_fd >= 0)
        close(job->in_fd);
    job->in_fd = -1;
    buf_clear(&job->in);
    job->in_sent = 0;
}

/* How much may be read from an output stream now. */
static size_t may_read(const struct outlet *o)
{
    size_t n = WIRE_CHUNK;

    if (o->job->link && o->job->credit < n)
        n = o->job->credit;
    if (o->job->link && o->cut && o->left < n)
        n = o->left;
    return n;
}

static void set_outlets(struct job *job)
{
    for (int i = 0; i < 2; i++)
        if (job->outlets[i].io)
            loop_io_set(job->outlets[i].io, may_read(&job->outlets[i]) ? POLLIN : 0);
}

/* Reads once and sends or drops; false when there is nothing more to be had now. */
static bool pump(struct outlet *o)
{
    struct job *job = o->job;
    char bytes[WIRE_CHUNK];
    size_t want = may_read(o);
    ssize_t n;

    if (o->fd < 0 || !want)
        return false;
    n = read(o->fd, bytes, want);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) { /* a terminal's master says EIO when the last slave is closed */
        close_outlet(o);
        return false;
    }
    if (!job->link)
        return true;
    job->credit -= (size_t)n;
    if (o->cut)
        o->left -= (size_t)n;
    wire_put(&job->link->queue, o->frame, bytes, (size_t)n);
    link_send(job->link);
    return true;
}

static void on_output(struct loop *loop, int fd, short revents, void *arg)
{
    struct outlet *o = arg;
    struct job *job = o->job;

    (void)loop;
    (void)fd;
    (void)revents;
    pump(o);
    set_outlets(job);
    advance(job);
}

/* ---- the end ---- */

static bool outputs_ended(const struct job *job)
{
    for (int i = 0; i < 2; i++) {
        const struct outlet *o = &job->outlets[i];

        if (o->fd >= 0 && !(o->cut && !o->left))
            return false;
    }
    return true;
}

/*
 * A background child may hold the streams for as long as it likes; what the command itself wrote is in the pipes by
 * now. From here on only that much is sent, however slowly the reader takes it.
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
    }
    set_outlets(job);
    advance(job);
}

static void send_exit(struct job *job)
{
    struct wire_exit e = job->refusal;

    job->exit_sent = true;
    if (!job->link)
        return;
    if (!e.text && WIFSIGNALED(job->status))
        e = (struct wire_exit){.kind = WIRE_EXIT_SIGNAL, .value = WTERMSIG(job->status)};
    else if (!e.text)
        e = (struct wire_exit){.kind = WIRE_EXIT_CODE, .value = WEXITSTATUS(job->status)};
    wire_put_exit(&job->link->queue, &e);
    link_send(job->link);
}

/* From here on nobody listens: the streams are read and dropped until their last holder has gone. */
static void drop_output(struct job *job)
{
    job->link = NULL;
    for (int i = 0; i < 2; i++)
        job->outlets[i].cut = false;
    set_outlets(job);
}

static void advance(struct job *job)
{
    if (!job->reaped || !job->released || job->gone)
        return;
    if (!job->exit_sent && (!job->link || outputs_ended(job))) {
        send_exit(job);
        close_in(job);
        drop_output(job);
        loop_timer_stop(job->linger_timer);
    }
    if (job->exit_sent && job->outlets[0].fd < 0 && job->outlets[1].fd < 0) {
        job->gone = true;
        job->events->gone(job->arg, job);
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
    job->events->reaped(job->arg, job);
}

void job_release(struct job *job)
{
    if (job->released)
        return;
    job->released = true;
    if (!job->linger_timer)
        job->linger_timer = loop_timer_add(job->loop, job->linger, on_linger, job);
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
    if (runs && job->link) {
        wire_put_started(&job->link->queue, job->pid);
        link_send(job->link);
    }
    if (runs && !job->reaped)
        send_early_signals(job);
    if (job->reaped)
        job->events->reaped(job->arg, job);
}

static void init_outlet(struct job *job, int i, int fd)
{
    struct outlet *o = &job->outlets[i];

    *o = (struct outlet){.job = job, .fd = fd, .frame = i ? WIRE_STDERR : WIRE_STDOUT};
    if (fd >= 0)
        o->io = loop_io_add(job->loop, fd, POLLIN, on_output, o);
}

static void on_stdin_ready(struct loop *loop, int fd, short revents, void *arg);

struct job *job_start(struct loop *loop, const struct wire_start *start, const struct agent_options *options,
                      struct link *link, const struct job_events *events, void *arg, struct err *err)
{
    struct spawned made;
    struct job *job;

    if (spawn(start, options->run_dir, &made, err) < 0)
        return NULL;
    job = xcalloc(1, sizeof(*job));
    *job = (struct job){
        .loop = loop, .link = link, .events = events, .arg = arg, .flags = start->flags, .linger = options->linger};
    job->pid = made.pid;
    job->credit = WIRE_WINDOW;
    job->report_fd = made.report;
    job->report_io = loop_io_add(loop, made.report, POLLIN, on_report, job);
    init_outlet(job, 0, made.out);
    init_outlet(job, 1, made.err);
    buf_init(&job->in, 2 * WIRE_WINDOW); /* what was sent is moved away at half a window */
    job->in_fd = made.in;
    if (made.in >= 0)
        job->in_io = loop_io_add(loop, made.in, 0, on_stdin_ready, job);
    return job;
}

void job_free(struct job *job)
{
    if (!job)
        return;
    close_in(job);
    close_outlet(&job->outlets[0]);
    close_outlet(&job->outlets[1]);
    loop_io_del(job->report_io);
    loop_timer_del(job->linger_timer);
    if (job->report_fd >= 0)
        close(job->report_fd);
    wire_exit_clear(&job->refusal);
    free(job);
}

/* ---- stdin ---- */

/* Tells the client what the process took, now and then. */
static void credit_stdin(struct job *job, size_t taken)
{
    job->in_uncredited += taken;
    if (!job->link || !job->in_uncredited || (job->in_uncredited < CREDIT_STEP && job->in.len > job->in_sent))
        return;
    wire_put_credit(&job->link->queue, WIRE_STREAM_STDIN, (uint32_t)job->in_uncredited);
    job->in_uncredited = 0;
    link_send(job->link);
}

/* Gives the process what it takes now. One that closed its stdin takes all of it, to nowhere, as under Docker. */
static void feed_stdin(struct job *job)
{
    size_t taken = 0;

    while (job->in_fd >= 0 && job->in.len > job->in_sent) {
        ssize_t n = write(job->in_fd, job->in.data + job->in_sent, job->in.len - job->in_sent);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            taken += job->in.len - job->in_sent;
            close_in(job);
            break;
        }
        job->in_sent += (size_t)n;
        taken += (size_t)n;
    }
    if (job->in_sent == job->in.len) {
        buf_reset(&job->in);
        job->in_sent = 0;
    } else if (job->in_sent > WIRE_WINDOW / 2) {
        buf_consume(&job->in, job->in_sent);
        job->in_sent = 0;
    }
    if (job->in_io)
        loop_io_set(job->in_io, job->in.len ? POLLOUT : 0);
    if (job->in_eof && !job->in.len && !(job->flags & WIRE_START_TTY))
        close_in(job);
    credit_stdin(job, taken);
}

static void on_stdin_ready(struct loop *loop, int fd, short revents, void *arg)
{
    (void)loop;
    (void)fd;
    (void)revents;
    feed_stdin(arg);
}

static int take_stdin(struct job *job, const struct wire_frame *f, struct err *err)
{
    if (!(job->flags & WIRE_START_STDIN) || job->in_eof)
        return err_set(err, 125, "STDIN for a process that has none");
    if (job->in_fd < 0) {
        credit_stdin(job, f->len);
        return 0;
    }
    if (job->in.len - job->in_sent + f->len > WIRE_WINDOW)
        return err_set(err, 125, "STDIN beyond the credit");
    buf_add(&job->in, f->data, f->len);
    feed_stdin(job);
    return 0;
}

/* ---- the other frames ---- */

static int take_signal(struct job *job, const struct wire_frame *f, struct err *err)
{
    uint8_t signo, scope;

    if (wire_get_signal(f, &signo, &scope, err) < 0)
        return -1;
    if (job->reaped)
        return 0;
    if (!job->runs)
        job->early_signals |= UINT64_C(1) << (signo - 1);
    else
        kill(scope == WIRE_SIGNAL_GROUP ? -job->pid : job->pid, signo);
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

static int take_credit(struct job *job, const struct wire_frame *f, struct err *err)
{
    uint8_t stream;
    uint32_t bytes;

    if (wire_get_credit(f, &stream, &bytes, err) < 0)
        return -1;
    if (stream != WIRE_STREAM_OUTPUT || job->credit + bytes > WIRE_WINDOW)
        return err_set(err, 125, "more CREDIT than was used");
    job->credit += bytes;
    set_outlets(job);
    return 0;
}

/* The user's reader is gone. With a terminal there is no such thing: closing the master would hang up the process. */
static int take_close(struct job *job, const struct wire_frame *f, struct err *err)
{
    uint8_t stream;

    if (wire_get_close(f, &stream, err) < 0)
        return -1;
    if (!(job->flags & WIRE_START_TTY))
        close_outlet(&job->outlets[stream == WIRE_STREAM_STDERR]);
    advance(job);
    return 0;
}

int job_frame(struct job *job, const struct wire_frame *f, struct err *err)
{
    switch (f->type) {
    case WIRE_STDIN:
        return take_stdin(job, f, err);
    case WIRE_STDIN_EOF:
        job->in_eof = true;
        feed_stdin(job);
        return 0;
    case WIRE_SIGNAL:
        return take_signal(job, f, err);
    case WIRE_RESIZE:
        return take_resize(job, f, err);
    case WIRE_CREDIT:
        return take_credit(job, f, err);
    case WIRE_CLOSE:
        return take_close(job, f, err);
    default:
        return err_set(err, 125, "%s frame out of place", wire_type_name(f->type));
    }
}

void job_leave(struct job *job)
{
    drop_output(job);
    if (!(job->flags & (WIRE_START_STDIN_STAYS | WIRE_START_TTY))) {
        job->in_eof = true;
        feed_stdin(job);
    }
    advance(job);
}

pid_t job_pid(const struct job *job)
{
    return job->pid;
}

bool job_is_main(const struct job *job)
{
    return job->flags & WIRE_START_MAIN;
}

bool job_alive(const struct job *job)
{
    return !job->reaped;
}
