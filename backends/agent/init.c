/*
 * The container's first process. It owns every other one: it forks them when a session asks, relays their streams,
 * reaps whatever ends, and ends itself when it is told to or when nobody needs it any more. One thread, one loop;
 * nothing here waits for a session or for a process.
 */
#include "backends/agent/agent.h"

#include "backends/agent/facts.h"
#include "backends/agent/job.h"
#include "backends/agent/link.h"
#include "backends/agent/proc.h"
#include "backends/agent/socket.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SESSIONS_MAX    1024 /* at once; each costs a socket and its queue */
#define ENDING_POLL     10   /* ms between two looks at processes that are to end */
#define ENDING_DEADLINE 2000 /* ms after KILL: what is still there hangs in the kernel */

const struct agent_options agent_defaults = {
    .run_dir = AGENT_RUN_DIR,
    .orphan_grace = 600 * 1000,
    .stop_grace = 10 * 1000,
    .linger = 2000,
    .speak_every = LEASE_CLIENT_SPEAKS,
    .orphaned_after = LEASE_ORPHANED,
    .init_wait = DEADLINE_LOST_PEER,
};

/* One session that is connected. */
struct conn {
    struct init *init;
    struct conn *next;
    int fd;
    struct link link;
    struct wire_start_reader reader;
    struct job *job; /* NULL before START and after its end */
    bool dead;       /* freed at the end of this turn */
};

struct job_entry {
    struct job_entry *next;
    struct job *job;
    struct conn *conn;
    bool gone;
};

struct init {
    const struct agent_options *options;
    struct loop *loop;
    int listen_fd;
    struct conn *conns;
    size_t n_conns;
    struct job_entry *jobs;
    struct job *main; /* while it lives, or its end is being prepared */
    uint8_t main_state;
    int main_code;
    struct loop_timer *orphan_timer;
    /* the end of the container's process, and our own */
    struct loop_timer *ending_timer;
    int64_t kill_at, give_up_at;
    bool stopping; /* told to end by a signal */
    bool exit_now;
};

/* ---- the orphan rule ---- */

static bool is_idle(const struct init *in)
{
    if (in->conns || in->main_state == WIRE_MAIN_RUNNING)
        return false;
    for (const struct job_entry *e = in->jobs; e; e = e->next)
        if (job_alive(e->job))
            return false;
    return true;
}

static void on_orphaned(struct loop *loop, void *arg)
{
    struct init *in = arg;

    (void)loop;
    if (is_idle(in))
        in->exit_now = true;
}

/* Called whenever somebody came, went, started or ended: the time runs from the last such moment. */
static void touch(struct init *in)
{
    if (is_idle(in))
        loop_timer_set(in->orphan_timer, in->options->orphan_grace);
    else
        loop_timer_stop(in->orphan_timer);
}

/* ---- ending processes ---- */

/* Without /proc only the processes that we started ourselves, and their groups, can be found. */
static int signal_everything(struct init *in, int signo)
{
    int n = proc_signal_all(signo), jobs = 0;

    for (struct job_entry *e = in->jobs; e; e = e->next) {
        if (!job_alive(e->job))
            continue;
        jobs++;
        if (n < 0 && signo)
            kill(-job_pid(e->job), signo);
    }
    return n > jobs ? n : jobs;
}

/* The container's process has ended and so has all else, or it hangs: EXIT may be said now. */
static void main_is_over(struct init *in)
{
    struct job *job = in->main;

    in->main = NULL;
    if (job)
        job_release(job);
}

/*
 * One look at what is to end. After the container's process everything is killed at once; when we were told to stop,
 * TERM comes first and KILL after the grace. A process may fork while it is killed, so this looks again until none is
 * left.
 */
static void on_ending(struct loop *loop, void *arg)
{
    struct init *in = arg;
    int64_t now = loop_now();
    int left = signal_everything(in, now >= in->kill_at ? SIGKILL : 0);

    (void)loop;
    if (in->main && job_alive(in->main))
        left = left ? left : 1;
    else if (!left || now >= in->give_up_at)
        main_is_over(in);
    if (left && now < in->give_up_at) {
        loop_timer_set(in->ending_timer, ENDING_POLL);
        return;
    }
    if (!in->stopping)
        return;
    /* sessions may bring the last changes home, until the time is up */
    if (in->conns && now < in->give_up_at)
        loop_timer_set(in->ending_timer, ENDING_POLL);
    else
        in->exit_now = true;
}

static void on_term(struct loop *loop, int signo, void *arg)
{
    struct init *in = arg;

    (void)loop;
    (void)signo;
    if (in->stopping)
        return;
    in->stopping = true;
    in->kill_at = loop_now() + in->options->stop_grace;
    in->give_up_at = in->kill_at + ENDING_DEADLINE;
    signal_everything(in, SIGTERM);
    loop_timer_set(in->ending_timer, 0);
}

static void on_child(struct loop *loop, int signo, void *arg)
{
    struct init *in = arg;
    int status;
    pid_t pid;

    (void)loop;
    (void)signo;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (struct job_entry *e = in->jobs; e; e = e->next)
            if (job_alive(e->job) && job_pid(e->job) == pid) {
                job_on_reaped(e->job, status);
                break;
            }
}

/* ---- jobs ---- */

static void on_job_reaped(void *arg, struct job *job)
{
    struct init *in = arg;

    if (!job_is_main(job)) {
        job_release(job);
        touch(in);
        return;
    }
    in->main_state = WIRE_MAIN_ENDED;
    in->main_code = job_exit_code(job);
    in->kill_at = loop_now();
    if (!in->stopping)
        in->give_up_at = in->kill_at + ENDING_DEADLINE;
    loop_timer_set(in->ending_timer, 0);
    touch(in);
}

static void on_job_gone(void *arg, struct job *job)
{
    struct init *in = arg;

    for (struct job_entry *e = in->jobs; e; e = e->next)
        if (e->job == job) {
            e->gone = true;
            if (e->conn)
                e->conn->job = NULL;
            e->conn = NULL;
        }
    touch(in);
}

static const struct job_events job_events = {on_job_reaped, on_job_gone};

static void send_refusal(struct conn *c, const struct err *err)
{
    struct wire_exit e = {.kind = WIRE_EXIT_REFUSED,
                          .refusal = WIRE_REFUSAL_OTHER,
                          .value = err->exit_code ? err->exit_code : 125,
                          .text = err->msg};

    wire_put_exit(&c->link.queue, &e);
    link_send(&c->link);
}

static void start_job(struct conn *c)
{
    struct init *in = c->init;
    const struct wire_start *start = &c->reader.start;
    cleanup_err struct err err = ERR_INIT;
    struct job_entry *e;
    struct job *job = NULL;

    if (in->stopping || in->main_state == WIRE_MAIN_ENDED)
        err_set(&err, 1, "container is not running");
    else if ((start->flags & WIRE_START_MAIN) && in->main_state != WIRE_MAIN_NONE)
        err_set(&err, 125, "the container's process runs already");
    else
        job = job_start(in->loop, start, in->options, &c->link, &job_events, in, &err);
    if (!job) {
        send_refusal(c, &err);
        return;
    }
    e = xcalloc(1, sizeof(*e));
    *e = (struct job_entry){.next = in->jobs, .job = job, .conn = c};
    in->jobs = e;
    c->job = job;
    if (job_is_main(job)) {
        in->main = job;
        in->main_state = WIRE_MAIN_RUNNING;
    }
    wire_start_clear(&c->reader.start);
    touch(in);
}

/* ---- sessions ---- */

static void send_hello(struct conn *c)
{
    cleanup_with(wire_hello_clear) struct wire_hello h = {0};

    facts_hello(&h);
    h.main_state = c->init->main_state;
    h.main_code = c->init->main_code;
    wire_put_hello(&c->link.queue, &h);
    link_send(&c->link);
}

static int take_finish(struct conn *c, struct err *err)
{
    if (c->init->main_state == WIRE_MAIN_RUNNING)
        return err_set(err, 125, "FINISH while the container's process runs");
    c->init->exit_now = true;
    return 0;
}

static int on_frame(void *arg, const struct wire_frame *f, struct err *err)
{
    struct conn *c = arg;

    if (f->type == WIRE_FINISH)
        return take_finish(c, err);
    if (f->type == WIRE_START) {
        if (wire_start_read(&c->reader, f, err) < 0)
            return -1;
        if (c->reader.complete)
            start_job(c);
        return 0;
    }
    if (!c->reader.complete)
        return err_set(err, 125, "%s frame before START", wire_type_name(f->type));
    return c->job ? job_frame(c->job, f, err) : 0; /* what comes after its end is late, not wrong */
}

static void on_closed(void *arg, const char *why)
{
    struct conn *c = arg;

    if (why) {
        wire_put_error(&c->link.queue, WIRE_ERROR_PROTOCOL, why);
        link_flush(&c->link, 0);
    }
    c->dead = true;
    if (c->job)
        job_leave(c->job);
    for (struct job_entry *e = c->init->jobs; e; e = e->next)
        if (e->conn == c)
            e->conn = NULL;
    c->job = NULL;
}

static const struct link_events conn_events = {.frame = on_frame, .closed = on_closed};

static void on_connect(struct loop *loop, int fd, short revents, void *arg)
{
    struct init *in = arg;
    int s = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct conn *c;

    (void)revents;
    if (s < 0)
        return;
    if (!socket_trusted(s) || in->n_conns >= SESSIONS_MAX) {
        close(s);
        return;
    }
    c = xcalloc(1, sizeof(*c));
    c->init = in;
    c->fd = s;
    c->next = in->conns;
    in->conns = c;
    in->n_conns++;
    link_init(&c->link, loop, s, s, &conn_events, c);
    send_hello(c);
    touch(in);
}

/* Frees what ended in this turn of the loop; nothing holds a pointer to it any more. */
static void sweep(struct init *in)
{
    for (struct conn **p = &in->conns; *p;) {
        struct conn *c = *p;

        if (!c->dead) {
            p = &c->next;
            continue;
        }
        *p = c->next;
        in->n_conns--;
        link_clear(&c->link);
        close(c->fd);
        wire_start_reader_clear(&c->reader);
        free(c);
        touch(in);
    }
    for (struct job_entry **p = &in->jobs; *p;) {
        struct job_entry *e = *p;

        if (!e->gone) {
            p = &e->next;
            continue;
        }
        *p = e->next;
        job_free(e->job);
        free(e);
    }
}

/* ---- life ---- */

static void setup(struct init *in)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    loop_signal_add(in->loop, SIGCHLD, on_child, in);
    loop_signal_add(in->loop, SIGTERM, on_term, in);
    loop_signal_add(in->loop, SIGINT, on_term, in);
    loop_io_add(in->loop, in->listen_fd, POLLIN, on_connect, in);
    in->orphan_timer = loop_timer_add(in->loop, in->options->orphan_grace, on_orphaned, in);
    in->ending_timer = loop_timer_add(in->loop, 0, on_ending, in);
    loop_timer_stop(in->ending_timer);
}

static void teardown(struct init *in)
{
    for (struct conn *c = in->conns; c; c = c->next) {
        link_flush(&c->link, 100);
        c->dead = true;
    }
    for (struct job_entry *e = in->jobs; e; e = e->next)
        e->gone = true;
    signal_everything(in, SIGKILL);
    sweep(in);
    close(in->listen_fd);
    loop_free(in->loop);
}

int agent_init(const struct agent_options *options, struct err *err)
{
    struct init in = {.options = options};

    in.listen_fd = socket_listen(options->run_dir, err);
    if (in.listen_fd < 0)
        return 125;
    in.loop = loop_new();
    setup(&in);
    while (!in.exit_now && loop_step(in.loop, -1))
        sweep(&in);
    teardown(&in);
    if (in.main_state == WIRE_MAIN_NONE && in.stopping)
        return 128 + SIGTERM;
    return in.main_code;
}
