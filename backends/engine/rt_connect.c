/*
 * Connections from the engine to a port of a container, made within the container's network namespace: they reach what
 * listens on its loopback too, need no address and pass no firewall. A thread goes there and ends there, for without
 * root nobody could come back; it only makes a socket and begins to connect, which takes no time.
 */
#include "backends/engine/rt_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BEGIN_MS 50 /* a listener of the same machine answers at once, or its queue is full */

struct reach {
    int ns;
    uint16_t port;
    const char *addresses[2]; /* "" = none */
    int fd;                   /* -1 and error when nobody listens */
    int error;
};

/* A connection that stands or is on its way; -1 and errno. */
static int begin(const char *address, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    socklen_t len = sizeof(int);
    int error = 0;

    if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1)
        return -1;
    if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0)
        return steal_fd(&fd);
    if (errno != EINPROGRESS)
        return -1;
    if (poll(&wait, 1, BEGIN_MS) > 0 && (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error)) {
        errno = error;
        return -1;
    }
    return steal_fd(&fd);
}

static void *go(void *arg)
{
    struct reach *r = arg;

    if (setns(r->ns, CLONE_NEWNET) < 0) {
        r->error = errno;
        return NULL;
    }
    for (size_t i = 0; i < 2 && r->fd < 0; i++) {
        if (!*r->addresses[i])
            continue;
        r->fd = begin(r->addresses[i], r->port);
        r->error = errno;
    }
    return NULL;
}

int rt_sandbox_connect(struct rt_sandbox *s, uint16_t port, struct err *err)
{
    cleanup_free char *path = xasprintf("/proc/%d/ns/net", (int)s->init);
    cleanup_close int ns = s->state == RT_RUNNING ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    struct reach r = {.ns = ns, .port = port, .addresses = {s->net.address, "127.0.0.1"}, .fd = -1};
    pthread_t thread;

    if (ns < 0)
        return err_set(err, 125, "the container does not run");
    if (pthread_create(&thread, NULL, go, &r) != 0)
        return err_set(err, 125, "connecting to port %u: no thread", port);
    pthread_join(thread, NULL);
    return r.fd >= 0 ? r.fd : err_set_errno(err, 125, r.error, "connecting to port %u", port);
}

/* ---- another policy for a container that runs ---- */

struct change {
    struct rt_sandbox *s;
    bool closed;
    struct strlist cidrs;
    struct err err;
    void (*done)(void *arg, const char *error);
    void *arg;
};

static void change_work(void *arg)
{
    struct change *c = arg;

    rt_net_restrict(c->s->rt->net, &c->s->net, c->closed ? &c->cidrs : NULL, &c->err);
}

static void change_done(void *arg)
{
    struct change *c = arg;
    struct rt_sandbox *s = c->s;

    s->changing = false;
    c->done(c->arg, c->err.msg);
    strlist_clear(&c->cidrs);
    err_clear(&c->err);
    free(c);
    rt_sandbox_changed(s);
}

int rt_sandbox_set_network(struct rt_sandbox *s, enum rt_network network, const struct strlist *cidrs,
                           void (*done)(void *arg, const char *error), void *arg, struct err *err)
{
    struct change *c;

    if (s->state != RT_RUNNING || s->changing)
        return err_set(err, 125, "%s", s->changing ? "another change is under way" : "the container does not run");
    if (network != RT_NETWORK_OPEN && network != RT_NETWORK_ALLOWLIST)
        return err_set(err, 125, "the network of a container that runs cannot be taken away");
    if (!s->net.index)
        return err_set(err, 125, "the container has no network, or none that can be restricted");
    if (network == RT_NETWORK_ALLOWLIST && rt_net_check_cidrs(cidrs, err) < 0)
        return -1;
    c = xcalloc(1, sizeof(*c));
    *c = (struct change){.s = s, .closed = network == RT_NETWORK_ALLOWLIST, .done = done, .arg = arg};
    if (c->closed)
        strlist_copy(&c->cidrs, cidrs);
    s->changing = true;
    rt_job_run(s->rt, change_work, change_done, c);
    return 0;
}
