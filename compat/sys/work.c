#include "compat/sys/work.h"

#include "compat/base/alloc.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#define WORK_STACK (8u << 20) /* trees nest up to LIMIT_DEPTH, and musl's default stack is 128 KiB */

struct work {
    void (*run)(void *arg);
    void (*done)(void *arg);
    void *arg;
    pthread_t thread;
    bool threaded;
    int pipe[2]; /* its end is closed by the thread when the work is done */
    struct loop_io *io;
    struct loop_timer *timer; /* in place of the pipe, where there is none */
};

static void work_free(struct work *w)
{
    if (w->threaded)
        pthread_join(w->thread, NULL);
    loop_io_del(w->io);
    loop_timer_del(w->timer);
    if (w->pipe[0] >= 0)
        close(w->pipe[0]);
    free(w);
}

static void finish(struct work *w)
{
    void (*done)(void *arg) = w->done;
    void *arg = w->arg;

    work_free(w);
    done(arg);
}

static void on_pipe(struct loop *loop, int fd, short revents, void *arg)
{
    (void)loop;
    (void)fd;
    (void)revents;
    finish(arg);
}

static void on_timer(struct loop *loop, void *arg)
{
    (void)loop;
    finish(arg);
}

static void *thread_main(void *arg)
{
    struct work *w = arg;

    w->run(w->arg);
    close(w->pipe[1]);
    return NULL;
}

/* Starts the thread with all signals blocked: they are the loop's. */
static bool start_thread(struct work *w)
{
    pthread_attr_t attr;
    sigset_t all, before;

    if (pipe(w->pipe) < 0) {
        w->pipe[0] = -1;
        return false;
    }
    fcntl(w->pipe[0], F_SETFD, FD_CLOEXEC);
    fcntl(w->pipe[1], F_SETFD, FD_CLOEXEC);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WORK_STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    w->threaded = pthread_create(&w->thread, &attr, thread_main, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (!w->threaded)
        close(w->pipe[1]);
    return w->threaded;
}

struct work *work_start(struct loop *loop, void (*run)(void *arg), void (*done)(void *arg), void *arg)
{
    struct work *w = xcalloc(1, sizeof(*w));

    *w = (struct work){.run = run, .done = done, .arg = arg, .pipe = {-1, -1}};
    if (start_thread(w)) {
        w->io = loop_io_add(loop, w->pipe[0], POLLIN, on_pipe, w);
        return w;
    }
    run(arg);
    w->timer = loop_timer_add(loop, 0, on_timer, w);
    return w;
}

void work_cancel(struct work *w)
{
    if (w)
        work_free(w);
}
