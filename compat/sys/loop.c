#include "compat/sys/loop.h"

#include "compat/base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct loop_io {
    struct loop *loop;
    struct loop_io *next;
    int fd;
    short events;
    bool dead;
    loop_io_fn *fn;
    void *arg;
};

struct loop_timer {
    struct loop *loop;
    struct loop_timer *next;
    int64_t due; /* -1: not armed */
    bool dead;
    loop_timer_fn *fn;
    void *arg;
};

struct loop_signal {
    struct loop *loop;
    struct loop_signal *next;
    int signo;
    bool dead;
    struct sigaction before;
    loop_signal_fn *fn;
    void *arg;
};

struct loop {
    struct loop_io *ios;
    struct loop_timer *timers;
    struct loop_signal *signals;
    struct loop_io *signal_io;
    struct pollfd *polls;
    struct loop_io **polled;
    size_t room;
    bool stopped;
    bool sweep; /* something is dead and waits to be freed */
};

/* The self-pipe: signal handlers have no argument, so it is the one thing that is global here. */
static int signal_pipe[2] = {-1, -1};

int64_t loop_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct loop *loop_new(void)
{
    return xcalloc(1, sizeof(struct loop));
}

struct loop_io *loop_io_add(struct loop *loop, int fd, short events, loop_io_fn *fn, void *arg)
{
    struct loop_io *io = xcalloc(1, sizeof(*io));

    *io = (struct loop_io){.loop = loop, .next = loop->ios, .fd = fd, .events = events, .fn = fn, .arg = arg};
    loop->ios = io;
    return io;
}

void loop_io_set(struct loop_io *io, short events)
{
    io->events = events;
}

void loop_io_del(struct loop_io *io)
{
    if (io) {
        io->dead = true;
        io->loop->sweep = true;
    }
}

struct loop_timer *loop_timer_add(struct loop *loop, int64_t ms, loop_timer_fn *fn, void *arg)
{
    struct loop_timer *timer = xcalloc(1, sizeof(*timer));

    *timer = (struct loop_timer){.loop = loop, .next = loop->timers, .fn = fn, .arg = arg};
    loop->timers = timer;
    loop_timer_set(timer, ms);
    return timer;
}

void loop_timer_set(struct loop_timer *timer, int64_t ms)
{
    timer->due = loop_now() + ms;
}

void loop_timer_stop(struct loop_timer *timer)
{
    timer->due = -1;
}

void loop_timer_del(struct loop_timer *timer)
{
    if (timer) {
        timer->dead = true;
        timer->loop->sweep = true;
    }
}

/* Async-signal-safe: one byte, the signal's number. A full pipe loses nothing that matters: a wake-up is pending. */
static void on_signal(int signo)
{
    int saved = errno;
    unsigned char byte = (unsigned char)signo;
    ssize_t ignored = write(signal_pipe[1], &byte, 1);

    (void)ignored;
    errno = saved;
}

/* Hands each signal read from the self-pipe to its watchers. */
static void read_signals(struct loop *loop, int fd, short revents, void *arg)
{
    unsigned char got[64];
    ssize_t n;

    (void)revents;
    (void)arg;
    n = read(fd, got, sizeof(got));
    for (ssize_t i = 0; i < n; i++)
        for (struct loop_signal *s = loop->signals; s; s = s->next)
            if (!s->dead && s->signo == got[i])
                s->fn(loop, s->signo, s->arg);
}

/* Opens the self-pipe, close-on-exec and non-blocking at both ends. */
static bool open_signal_pipe(void)
{
    if (signal_pipe[0] >= 0)
        return true;
    if (pipe(signal_pipe) < 0)
        return false;
    for (int i = 0; i < 2; i++) {
        fcntl(signal_pipe[i], F_SETFD, FD_CLOEXEC);
        fcntl(signal_pipe[i], F_SETFL, O_NONBLOCK);
    }
    return true;
}

struct loop_signal *loop_signal_add(struct loop *loop, int signo, loop_signal_fn *fn, void *arg)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct loop_signal *sig;

    if (!open_signal_pipe())
        return NULL;
    if (!loop->signal_io)
        loop->signal_io = loop_io_add(loop, signal_pipe[0], POLLIN, read_signals, NULL);
    sig = xcalloc(1, sizeof(*sig));
    *sig = (struct loop_signal){.loop = loop, .next = loop->signals, .signo = signo, .fn = fn, .arg = arg};
    loop->signals = sig;
    sigemptyset(&action.sa_mask);
    sigaction(signo, &action, &sig->before);
    return sig;
}

void loop_signal_del(struct loop_signal *sig)
{
    if (sig && !sig->dead) {
        sigaction(sig->signo, &sig->before, NULL);
        sig->dead = true;
        sig->loop->sweep = true;
    }
}

/* Frees what was removed; called only while no callback runs. */
static void sweep(struct loop *loop)
{
    if (!loop->sweep)
        return;
    loop->sweep = false;
    for (struct loop_io **p = &loop->ios; *p;) {
        struct loop_io *io = *p;

        if (!io->dead) {
            p = &io->next;
            continue;
        }
        *p = io->next;
        free(io);
    }
    for (struct loop_timer **p = &loop->timers; *p;) {
        struct loop_timer *timer = *p;

        if (!timer->dead) {
            p = &timer->next;
            continue;
        }
        *p = timer->next;
        free(timer);
    }
    for (struct loop_signal **p = &loop->signals; *p;) {
        struct loop_signal *sig = *p;

        if (!sig->dead) {
            p = &sig->next;
            continue;
        }
        *p = sig->next;
        free(sig);
    }
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    for (struct loop_io *io = loop->ios; io; io = io->next)
        loop_io_del(io);
    for (struct loop_timer *timer = loop->timers; timer; timer = timer->next)
        loop_timer_del(timer);
    for (struct loop_signal *sig = loop->signals; sig; sig = sig->next)
        loop_signal_del(sig);
    sweep(loop);
    free(loop->polls);
    free(loop->polled);
    free(loop);
}

/* Milliseconds until the next timer is due, -1 without one. */
static int64_t next_due(const struct loop *loop)
{
    int64_t due = -1, now;

    for (const struct loop_timer *timer = loop->timers; timer; timer = timer->next)
        if (!timer->dead && timer->due >= 0 && (due < 0 || timer->due < due))
            due = timer->due;
    if (due < 0)
        return -1;
    now = loop_now();
    return due > now ? due - now : 0;
}

/* Fills the poll set; returns its length. */
static size_t collect(struct loop *loop)
{
    size_t n = 0;

    for (struct loop_io *io = loop->ios; io; io = io->next) {
        if (io->dead || !io->events)
            continue;
        if (n == loop->room) {
            loop->room = loop->room ? loop->room * 2 : 16;
            loop->polls = xreallocarray(loop->polls, loop->room, sizeof(*loop->polls));
            loop->polled = xreallocarray(loop->polled, loop->room, sizeof(struct loop_io *));
        }
        loop->polls[n] = (struct pollfd){.fd = io->fd, .events = io->events};
        loop->polled[n++] = io;
    }
    return n;
}

/* Runs the timers that are due now; one armed again by its own callback waits for the next turn. */
static void run_timers(struct loop *loop)
{
    int64_t now = loop_now();

    for (struct loop_timer *timer = loop->timers; timer; timer = timer->next) {
        if (timer->dead || timer->due < 0 || timer->due > now)
            continue;
        timer->due = -1;
        timer->fn(loop, timer->arg);
    }
}

bool loop_step(struct loop *loop, int64_t timeout_ms)
{
    int64_t wait;
    size_t n;
    int ready;

    sweep(loop);
    n = collect(loop);
    wait = next_due(loop);
    if (wait < 0 && (n == 0 || (n == 1 && loop->polled[0] == loop->signal_io)))
        return false;
    if (wait < 0 || (timeout_ms >= 0 && timeout_ms < wait))
        wait = timeout_ms;
    if (wait > 1000 * 3600)
        wait = 1000 * 3600;
    ready = poll(loop->polls, n, (int)wait);
    for (size_t i = 0; ready > 0 && i < n; i++)
        if (loop->polls[i].revents && !loop->polled[i]->dead)
            loop->polled[i]->fn(loop, loop->polls[i].fd, loop->polls[i].revents, loop->polled[i]->arg);
    run_timers(loop);
    sweep(loop);
    return true;
}

void loop_run(struct loop *loop)
{
    loop->stopped = false;
    while (!loop->stopped && loop_step(loop, -1))
        ;
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}
