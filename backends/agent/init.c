/*
 * The container's first process. It owns every other one: it forks them when a session asks, relays their streams,
 * reaps whatever ends, and ends itself when it is told to or when nobody needs it any more. One thread, one loop;
 * nothing here waits for a session or for a process.
 */
#include "backends/agent/agent.h"

#include "backends/agent/container.h"
#include "backends/agent/facts.h"
#include "backends/agent/health.h"
#include "backends/agent/hub.h"
#include "backends/agent/job.h"
#include "backends/agent/link.h"
#include "backends/agent/proc.h"
#include "backends/agent/socket.h"
#include "backends/agent/view.h"
#include "backends/agent/volume_keeper.h"
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
    .volumes_dir = AGENT_VOLUMES_DIR,
    .orphan_grace = 600 * 1000,
    .stop_grace = 10 * 1000,
    .linger = 2000,
    .speak_every = LEASE_CLIENT_SPEAKS,
    .orphaned_after = LEASE_ORPHANED,
    .init_wait = DEADLINE_LOST_PEER,
    .hub_port = AGENT_HUB_PORT,
    .etc = "/etc",
    .dns_address = AGENT_DNS,
    .dns_port = 53,
};

/* One session that is connected. */
struct conn {
    struct init *init;
    struct conn *next;
    int fd;
    struct link link;
    struct wire_start_reader reader;
    struct view view;
    bool asked;              /* START or ASK came */
    bool joined;             /* the container's process; by START, or by ASK */
    struct job_entry *entry; /* its own job, NULL before START and after its end */
    bool dead;               /* freed at the end of this turn */
};

struct job_entry {
    struct job_entry *next;
    struct job *job;
    struct views views; /* of a job that is not the container's own: its session */
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
    struct container container;
    struct hub *hub;    /* NULL: this is no hub */
    struct job *ending; /* the container's process, reaped, while the others are ended */
    struct loop_timer *orphan_timer;
    /* the end of the container's process, and our own */
    struct loop_timer *ending_timer;
    int64_t kill_at, give_up_at;
    bool stopping; /* told to end by a signal */
    bool exit_now;
    int code;
};

/* ---- the orphan rule ---- */

static bool is_idle(const struct init *in)
{
    if (in->conns || hub_members(in->hub) || in->container.state == WIRE_MAIN_RUNNING)
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
static int signal_everything(struct init *in, int signo, pid_t spare)
{
    int n = proc_signal_all(signo, spare), jobs = 0;

    for (struct job_entry *e = in->jobs; e; e = e->next) {
        if (!e->job || !job_alive(e->job))
            continue;
        jobs++;
        if (n < 0 && signo && job_pid(e->job) != spare)
            kill(-job_pid(e->job), signo);
    }
    return n > jobs ? n : jobs;
}

/* The container's process has ended and so has all else, or it hangs: that may be said now. */
static void main_is_over(struct init *in)
{
    struct job *job = in->ending;

    in->ending = NULL;
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
    int left;

    (void)loop;
    if (keeper_busy(in->container.keeper)) { /* the last save of volumes: nothing else lives any more */
        in->give_up_at = now + ENDING_DEADLINE;
        loop_timer_set(in->ending_timer, ENDING_POLL);
        return;
    }
    left = signal_everything(in, now >= in->kill_at ? SIGKILL : 0, 0);
    if (!left || now >= in->give_up_at)
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
    struct container *c = &in->container;

    (void)loop;
    (void)signo;
    if (in->stopping)
        return;
    in->stopping = true;
    in->kill_at = loop_now() + in->options->stop_grace;
    in->give_up_at = in->kill_at + ENDING_DEADLINE;
    if (c->job)
        job_signal(c->job, c->start.stop_signal ? c->start.stop_signal : SIGTERM, /* group= */ false);
    signal_everything(in, SIGTERM, c->job ? job_pid(c->job) : 0);
    container_go_on(c);
    container_stop_restarts(c);
    loop_timer_set(in->ending_timer, 0);
}

static void on_child(struct loop *loop, int signo, void *arg)
{
    struct init *in = arg;
    int status;
    pid_t pid;

    (void)loop;
    (void)signo;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (health_reaped(in->container.health, pid, status) || keeper_reaped(in->container.keeper, pid, status))
            continue;
        for (struct job_entry *e = in->jobs; e; e = e->next)
            if (e->job && job_alive(e->job) && job_pid(e->job) == pid) {
                job_on_reaped(e->job, status);
                break;
            }
    }
}

/* ---- jobs ---- */

static struct job_entry *entry_of(struct init *in, const struct job *job)
{
    struct job_entry *e = in->jobs;

    while (e && e->job != job)
        e = e->next;
    return e;
}

static void on_job_started(void *arg, struct job *job)
{
    struct init *in = arg;

    if (job_is_main(job))
        container_started(&in->container);
}

static void on_job_reaped(void *arg, struct job *job)
{
    struct init *in = arg;

    if (!job_is_main(job)) {
        job_release(job);
        touch(in);
        return;
    }
    in->ending = job;
    container_reaped(&in->container);
    in->kill_at = loop_now();
    if (!in->stopping)
        in->give_up_at = in->kill_at + ENDING_DEADLINE;
    loop_timer_set(in->ending_timer, 0);
}

static void on_job_ended(void *arg, struct job *job, const struct wire_exit *e)
{
    struct init *in = arg;

    if (job_is_main(job))
        container_ended(&in->container, e);
    else
        views_exit(&entry_of(in, job)->views, e);
    touch(in);
}

static void on_job_gone(void *arg, struct job *job)
{
    struct init *in = arg;
    struct job_entry *e = entry_of(in, job);

    e->gone = true;
    if (e->conn)
        e->conn->entry = NULL;
    e->conn = NULL;
    touch(in);
}

static const struct job_events job_events = {on_job_started, on_job_reaped, on_job_ended, on_job_gone};

static struct job_entry *add_entry(struct init *in)
{
    struct job_entry *e = xcalloc(1, sizeof(*e));

    e->next = in->jobs;
    in->jobs = e;
    return e;
}

static void on_main_made(void *arg, struct job *job)
{
    struct init *in = arg;

    add_entry(in)->job = job;
    touch(in);
}

static void on_main_over(void *arg)
{
    touch(arg);
}

static void on_hub_changed(void *arg)
{
    touch(arg);
}

static void send_refusal(struct conn *c, enum wire_refusal refusal, const struct err *err)
{
    struct wire_exit e = {.kind = WIRE_EXIT_REFUSED,
                          .refusal = (uint8_t)refusal,
                          .value = err->exit_code ? err->exit_code : 125,
                          .text = err->msg};

    wire_put_exit(&c->link.queue, &e);
    link_send(&c->link);
}

/* One more process in the container. */
static int start_other(struct conn *c, struct err *err)
{
    struct init *in = c->init;
    struct job_entry *e = add_entry(in);
    const struct job_context context = {in->loop, in->options, &e->views, NULL, &job_events, in};

    strlist_clear(&c->reader.start.terms); /* what holds for the container holds for it */
    strlist_copy(&c->reader.start.terms, &in->container.start.terms);
    views_join(&e->views, &c->view);
    e->job = job_start(&context, &c->reader.start, err);
    if (!e->job) {
        views_leave(&e->views, &c->view);
        e->gone = true;
        return -1;
    }
    e->conn = c;
    c->entry = e;
    return 0;
}

static void start_job(struct conn *c)
{
    struct init *in = c->init;
    struct wire_start *start = &c->reader.start;
    const char *why = in->stopping ? "is not running" : container_refusal(&in->container);
    cleanup_err struct err err = ERR_INIT;

    view_init(&c->view, &c->link, !(start->flags & WIRE_START_DETACHED), start->flags & WIRE_START_STDIN);
    c->view.owns = true;
    if (why) {
        err_set(&err, 1, "%s", why);
        send_refusal(c, WIRE_REFUSAL_NOT_RUNNING, &err);
        return;
    }
    if (start->flags & WIRE_START_MAIN)
        c->joined = container_start(&in->container, start, &c->view, &err) == 0;
    else
        start_other(c, &err);
    if (err.msg)
        send_refusal(c, WIRE_REFUSAL_OTHER, &err);
    wire_start_clear(start);
    touch(in);
}

/* ---- sessions ---- */

static bool is_for_init(uint8_t kind)
{
    switch (kind) {
    case WIRE_ASK_ATTACH:
    case WIRE_ASK_STOP:
    case WIRE_ASK_SIGNAL:
    case WIRE_ASK_RESTART:
    case WIRE_ASK_HEALTH:
    case WIRE_ASK_PAUSE:
    case WIRE_ASK_UNPAUSE:
    case WIRE_ASK_NAMES:
        return true;
    default:
        return false;
    }
}

static int take_ask(struct conn *c, const struct wire_frame *f, struct err *err)
{
    cleanup_with(wire_ask_clear) struct wire_ask ask = {0};
    cleanup_err struct err why = ERR_INIT;

    if (wire_get_ask(f, &ask, err) < 0)
        return -1;
    if (!is_for_init(ask.kind))
        return err_set(err, 125, "ASK %u is not for init", ask.kind);
    view_init(&c->view, &c->link, /* listens= */ false, /* feeds= */ false);
    c->joined = container_ask(&c->init->container, &ask, &c->view, &why) == 0;
    if (!c->joined)
        send_refusal(c, WIRE_REFUSAL_NOT_RUNNING, &why);
    touch(c->init);
    return 0;
}

static void send_hello(struct conn *c)
{
    const struct container *main = &c->init->container;
    cleanup_with(wire_hello_clear) struct wire_hello h = {0};

    facts_hello(&h);
    h.main_state = main->state;
    h.main_code = main->state == WIRE_MAIN_ENDED ? container_exit_code(main) : 0;
    h.main_started_ns = main->started_ns;
    h.main_ended_ns = main->ended_ns;
    h.restarts = main->restarts;
    h.health = health_status(main->health);
    h.paused = main->paused;
    wire_put_hello(&c->link.queue, &h);
    link_send(&c->link);
}

static int take_finish(struct conn *c, struct err *err)
{
    if (c->init->container.state == WIRE_MAIN_RUNNING)
        return err_set(err, 125, "FINISH while the container's process runs");
    c->init->exit_now = true;
    return 0;
}

static int on_frame(void *arg, const struct wire_frame *f, struct err *err)
{
    struct conn *c = arg;

    if (f->type == WIRE_FINISH)
        return take_finish(c, err);
    if (f->type == WIRE_START || f->type == WIRE_ASK) {
        if (c->asked)
            return err_set(err, 125, "%s frame after another", wire_type_name(f->type));
        if (f->type == WIRE_START && wire_start_read(&c->reader, f, err) < 0)
            return -1;
        c->asked = f->type == WIRE_ASK || c->reader.complete;
        if (f->type == WIRE_ASK)
            return take_ask(c, f, err);
        if (c->asked)
            start_job(c);
        return 0;
    }
    if (!c->asked)
        return err_set(err, 125, "%s frame before START", wire_type_name(f->type));
    if (c->joined)
        return container_frame(&c->init->container, &c->view, f, err);
    return c->entry ? job_frame(c->entry->job, &c->view, f, err) : 0; /* what comes after its end is late, not wrong */
}

static void on_closed(void *arg, const char *why)
{
    struct conn *c = arg;

    if (why) {
        wire_put_error(&c->link.queue, WIRE_ERROR_PROTOCOL, why);
        link_flush(&c->link, 0);
    }
    c->dead = true;
    if (c->joined)
        container_leave(&c->init->container, &c->view);
    if (c->entry) {
        views_leave(&c->entry->views, &c->view);
        c->entry->conn = NULL;
        job_leave(c->entry->job, &c->view);
    }
    c->joined = false;
    c->entry = NULL;
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
        view_clear(&c->view);
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
    in->container = (struct container){.loop = in->loop,
                                       .options = in->options,
                                       .events = &job_events,
                                       .arg = in,
                                       .made = on_main_made,
                                       .over = on_main_over};
    container_init(&in->container);
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
    signal_everything(in, SIGKILL, 0);
    sweep(in);
    hub_free(in->hub);
    in->hub = NULL;
    container_clear(&in->container);
    close(in->listen_fd);
    loop_free(in->loop);
}

int agent_init(const struct agent_options *options, struct err *err)
{
    struct init in = {.options = options};

    if (!options->own_env)
        clearenv();
    in.listen_fd = socket_listen(options->run_dir, err);
    if (in.listen_fd < 0)
        return 125;
    in.loop = loop_new();
    setup(&in);
    if (options->hub)
        in.hub = hub_new(in.loop, options, on_hub_changed, &in, err);
    in.exit_now = options->hub && !in.hub;
    while (!in.exit_now && loop_step(in.loop, -1)) {
        sweep(&in);
        hub_sweep(in.hub);
    }
    in.code = in.container.state == WIRE_MAIN_ENDED ? container_exit_code(&in.container) : 0;
    teardown(&in);
    if (err->msg)
        return 125;
    if (in.container.state == WIRE_MAIN_NONE && in.stopping)
        return 128 + SIGTERM;
    return in.code;
}
