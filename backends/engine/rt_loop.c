/*
 * The loop's tools: descriptors, child processes, threads. libuv's own process handles are not used, because most of
 * our children were not started by us but inherited (the engine is a sub-reaper), and because a child must join cgroups
 * before it execs.
 */
#include "backends/engine/rt_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct rt_poll {
    uv_poll_t handle;
    struct rt *rt;
    rt_poll_fn *fn;
    void *arg;
};

struct rt_child {
    struct rt_child *next;
    struct rt_child **slot; /* NULL: forgotten */
    pid_t pid;
    int status;
    rt_child_fn *fn;
    void *arg;
};

struct rt_job {
    struct rt_job *next;
    struct rt_loop *tools;
    pthread_t thread;
    bool threaded; /* there is a thread to join */
    rt_job_fn *work, *done;
    void *arg;
};

#define STRAYS 1024 /* more than can end between the end of a process and the news of its pid */

struct stray {
    pid_t pid;
    int status;
};

struct rt_loop {
    struct stray strays[STRAYS];
    size_t strays_next;
    uv_async_t wake;
    uv_signal_t sigchld;
    size_t handles; /* open ones, these two included */
    struct rt_child *children;
    struct rt_job *waiting, *later;
    unsigned running;
    pthread_mutex_t lock; /* guards finished only */
    struct rt_job *finished;
};

/* ---- descriptors ---- */

static void poll_closed(uv_handle_t *handle)
{
    struct rt_poll *poll = handle->data;

    poll->rt->tools->handles--;
    free(poll);
}

/* An error (the other end is gone) is passed on like readiness: the read or write that follows tells what it is. */
static void poll_ready(uv_poll_t *handle, int status, int events)
{
    struct rt_poll *poll = handle->data;

    (void)status;
    (void)events;
    poll->fn(poll->arg);
}

struct rt_poll *rt_poll_start(struct rt *rt, int fd, int events, rt_poll_fn *fn, void *arg)
{
    struct rt_poll *poll = xcalloc(1, sizeof(*poll));

    *poll = (struct rt_poll){.rt = rt, .fn = fn, .arg = arg};
    if (uv_poll_init(rt->loop, &poll->handle, fd) < 0) {
        free(poll);
        return NULL;
    }
    poll->handle.data = poll;
    rt->tools->handles++;
    uv_poll_start(&poll->handle, events, poll_ready);
    return poll;
}

void rt_poll_stop(struct rt_poll **poll)
{
    if (!*poll)
        return;
    uv_poll_stop(&(*poll)->handle);
    uv_close((uv_handle_t *)&(*poll)->handle, poll_closed);
    *poll = NULL;
}

/* ---- child processes ---- */

void rt_child_watch(struct rt *rt, struct rt_child **slot, pid_t pid, rt_child_fn *fn, void *arg)
{
    struct rt_child *child = xcalloc(1, sizeof(*child));

    *child = (struct rt_child){.next = rt->tools->children, .slot = slot, .pid = pid, .fn = fn, .arg = arg};
    rt->tools->children = child;
    *slot = child;
    uv_async_send(&rt->tools->wake); /* it may have ended before we looked */
}

void rt_child_forget(struct rt_child **slot)
{
    if (*slot)
        (*slot)->slot = NULL;
    *slot = NULL;
}

/*
 * Runtimes fork twice to detach, so orphans come to us that nobody watches: the go-between, or a process that ended
 * before its pid was known. They are told from children that others of this program wait for by their session, which
 * runtimes begin anew. Their status is kept for a while, in case somebody asks.
 */
static bool reap_stray(struct rt_loop *tools)
{
    siginfo_t info = {0};
    struct rt_child *child = tools->children;
    int status;

    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
        return false;
    while (child && child->pid != info.si_pid)
        child = child->next;
    if (child || rt_spawn_awaited(info.si_pid) || getsid(info.si_pid) == getsid(0) ||
        waitpid(info.si_pid, &status, WNOHANG) <= 0)
        return false;
    tools->strays[tools->strays_next++ % STRAYS] = (struct stray){.pid = info.si_pid, .status = status};
    return true;
}

static void reap_strays(struct rt_loop *tools)
{
    rt_spawn_lock();
    while (reap_stray(tools))
        ;
    rt_spawn_unlock();
}

/*
 * Whether a child has ended; then its status is set. One that is not ours may be so only for now: the go-between that
 * started it has yet to end, which wakes us again.
 */
static bool has_ended(struct rt_loop *tools, struct rt_child *child)
{
    pid_t got = waitpid(child->pid, &child->status, WNOHANG);

    if (got >= 0)
        return got > 0;
    if (errno != ECHILD)
        return false;
    for (size_t i = 0; i < STRAYS; i++)
        if (tools->strays[i].pid == child->pid) {
            child->status = tools->strays[i].status;
            tools->strays[i].pid = 0;
            return true;
        }
    child->status = -1;
    return kill(child->pid, 0) < 0;
}

/* Takes the children that have ended out of the list, then tells their owners, who may watch and forget others. */
static void reap(struct rt_loop *tools)
{
    struct rt_child *ended = NULL, **tail = &ended;

    for (struct rt_child **p = &tools->children; *p;) {
        struct rt_child *child = *p;

        if (!has_ended(tools, child)) {
            p = &child->next;
            continue;
        }
        *p = child->next;
        child->next = NULL;
        *tail = child;
        tail = &child->next;
    }
    while (ended) {
        struct rt_child *child = ended;

        ended = child->next;
        if (child->slot) {
            *child->slot = NULL;
            child->fn(child->status, child->arg);
        }
        free(child);
    }
    reap_strays(tools);
}

static void on_sigchld(uv_signal_t *handle, int signo)
{
    (void)signo;
    reap(handle->data);
}

bool rt_child_is_new(struct rt *rt, pid_t pid)
{
    const struct rt_loop *tools = rt->tools;
    siginfo_t info;

    for (const struct rt_child *child = tools->children; child; child = child->next)
        if (child->pid == pid)
            return false;
    if (pid <= 1 || rt_spawn_awaited(pid))
        return false;
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
        return true;
    for (size_t i = 0; i < STRAYS; i++)
        if (tools->strays[i].pid == pid)
            return true;
    return false;
}

/* ---- threads ---- */

/* The thread: all signals stay with the main thread. */
static void *job_thread(void *arg)
{
    struct rt_job *job = arg;
    struct rt_loop *tools = job->tools;

    job->work(job->arg);
    pthread_mutex_lock(&tools->lock);
    job->next = tools->finished;
    tools->finished = job;
    uv_async_send(&tools->wake); /* under the lock: the handle cannot be closed meanwhile */
    pthread_mutex_unlock(&tools->lock);
    return NULL;
}

/* Starts waiting jobs while there is room. Without a thread to be had the work is done here: slow, but done. */
static void start_jobs(struct rt_loop *tools)
{
    while (tools->waiting && tools->running < RT_JOBS) {
        struct rt_job *job = tools->waiting;
        sigset_t all, before;

        tools->waiting = job->next;
        tools->running++;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        job->threaded = pthread_create(&job->thread, NULL, job_thread, job) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (!job->threaded)
            job_thread(job);
    }
}

static void append(struct rt_job **list, struct rt_job *job)
{
    while (*list)
        list = &(*list)->next;
    *list = job;
}

void rt_job_run(struct rt *rt, rt_job_fn *work, rt_job_fn *done, void *arg)
{
    struct rt_job *job = xcalloc(1, sizeof(*job));

    *job = (struct rt_job){.tools = rt->tools, .work = work, .done = done, .arg = arg};
    append(&rt->tools->waiting, job);
    start_jobs(rt->tools);
}

void rt_later(struct rt *rt, rt_job_fn *fn, void *arg)
{
    struct rt_job *job = xcalloc(1, sizeof(*job));

    *job = (struct rt_job){.tools = rt->tools, .done = fn, .arg = arg};
    append(&rt->tools->later, job);
    uv_async_send(&rt->tools->wake);
}

/* Takes over what the threads have finished. */
static void collect_jobs(struct rt_loop *tools)
{
    struct rt_job *finished;

    pthread_mutex_lock(&tools->lock);
    finished = tools->finished;
    tools->finished = NULL;
    pthread_mutex_unlock(&tools->lock);
    while (finished) {
        struct rt_job *job = finished;

        finished = job->next;
        if (job->threaded)
            pthread_join(job->thread, NULL);
        tools->running--;
        job->done(job->arg);
        free(job);
    }
    start_jobs(tools);
}

static void on_wake(uv_async_t *handle)
{
    struct rt_loop *tools = handle->data;
    struct rt_job *later;

    collect_jobs(tools);
    reap(tools);
    later = tools->later;
    tools->later = NULL;
    while (later) {
        struct rt_job *job = later;

        later = job->next;
        job->done(job->arg);
        free(job);
    }
}

/* ---- life ---- */

int rt_loop_init(struct rt *rt, struct err *err)
{
    struct rt_loop *tools = xcalloc(1, sizeof(*tools));

    if (uv_async_init(rt->loop, &tools->wake, on_wake) < 0) {
        free(tools);
        return err_set(err, 125, "containers: the event loop takes no more handles");
    }
    uv_signal_init(rt->loop, &tools->sigchld);
    uv_signal_start(&tools->sigchld, on_sigchld, SIGCHLD);
    tools->wake.data = tools->sigchld.data = tools;
    tools->handles = 2;
    pthread_mutex_init(&tools->lock, NULL);
    rt->tools = tools;
    return 0;
}

static void tool_closed(uv_handle_t *handle)
{
    struct rt_loop *tools = handle->data;

    tools->handles--;
}

void rt_loop_finish(struct rt *rt)
{
    struct rt_loop *tools = rt->tools;

    if (!tools)
        return;
    while (tools->running || tools->waiting || tools->later)
        uv_run(rt->loop, UV_RUN_ONCE);
    reap(tools);
    uv_close((uv_handle_t *)&tools->wake, tool_closed);
    uv_close((uv_handle_t *)&tools->sigchld, tool_closed);
    while (tools->handles)
        uv_run(rt->loop, UV_RUN_ONCE);
    while (tools->children) {
        struct rt_child *child = tools->children;

        tools->children = child->next;
        free(child);
    }
    pthread_mutex_destroy(&tools->lock);
    free(tools);
    rt->tools = NULL;
}
