#include "backends/grpc/resolve.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/sys/loop.h"

#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the thread works on. Two owners, thread and loop; whoever lets go last frees it. */
struct job {
    atomic_int owners;
    char *host;
    char port[8];
    int done_fd; /* write end; closing it tells the loop that the answer is there */
    int error;
    struct addrinfo *addresses;
};

struct resolve {
    struct job *job;
    int fd; /* read end */
    struct loop_io *io;
    resolve_done_fn *fn;
    void *arg;
};

static void job_release(struct job *job)
{
    if (atomic_fetch_sub(&job->owners, 1) != 1)
        return;
    if (job->addresses)
        freeaddrinfo(job->addresses);
    free(job->host);
    free(job);
}

static int look_up(struct job *job, int flags)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};

    return getaddrinfo(job->host, job->port, &hints, &job->addresses);
}

static void *thread_main(void *arg)
{
    struct job *job = arg;
    int fd = job->done_fd;

    job->error = look_up(job, AI_ADDRCONFIG);
    close(fd);
    job_release(job);
    return NULL;
}

/* Reports and lets go. fn may call resolve_free(), so r is not touched afterwards. */
static void report(struct resolve *r)
{
    struct addrinfo *addresses = steal(&r->job->addresses);

    loop_io_del(steal(&r->io));
    r->fn(r->arg, addresses, addresses ? NULL : gai_strerror(r->job->error));
}

static void on_done(struct loop *loop, int fd, short revents, void *arg)
{
    (void)loop;
    (void)fd;
    (void)revents;
    report(arg);
}

/* Starts the thread with all signals blocked: they belong to the loop. */
static int spawn(struct job *job)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_t thread;
    int error;

    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, &attributes, thread_main, job);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

struct resolve *resolve_start(struct loop *loop, const char *host, uint16_t port, resolve_done_fn *fn, void *arg)
{
    bool local = strcmp(host, "localhost") == 0;
    struct job *job = xcalloc(1, sizeof(*job));
    struct addrinfo *addresses;
    int fds[2] = {-1, -1}, error;

    atomic_init(&job->owners, 1);
    job->host = xstrdup(host);
    snprintf(job->port, sizeof(job->port), "%u", port);
    error = look_up(job, local ? 0 : AI_NUMERICHOST);
    if (error == EAI_NONAME && !local && pipe(fds) == 0) {
        fcntl(fds[0], F_SETFD, FD_CLOEXEC);
        fcntl(fds[1], F_SETFD, FD_CLOEXEC);
        job->done_fd = fds[1];
        atomic_store(&job->owners, 2);
        if (spawn(job) == 0) {
            struct resolve *r = xcalloc(1, sizeof(*r));

            *r = (struct resolve){.job = job, .fd = fds[0], .fn = fn, .arg = arg};
            r->io = loop_io_add(loop, r->fd, POLLIN, on_done, r);
            return r;
        }
        atomic_store(&job->owners, 1);
        close(fds[0]);
        close(fds[1]);
        error = EAI_AGAIN;
    }
    addresses = steal(&job->addresses);
    job_release(job);
    fn(arg, addresses, addresses ? NULL : gai_strerror(error));
    return NULL;
}

void resolve_free(struct resolve *r)
{
    if (!r)
        return;
    loop_io_del(r->io);
    close(r->fd);
    job_release(r->job);
    free(r);
}
