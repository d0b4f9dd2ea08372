/* The listening sockets of published ports, and the process that gets them. What it does: forward_run.c. */
#include "shim/forward.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/units.h"
#include "compat/sys/loop.h"
#include "shim/app.h"
#include "shim/container.h"
#include "shim/forward_sockets.h"
#include "shim/monitor.h"
#include "translate/health.h"
#include "translate/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG       4096 /* the system cuts it to what it allows */
#define RANDOM_TRIES  64   /* for a port that is free under both families */
#define STOP_MS       3000 /* for the process to let go of its ports */
#define STOP_NAP_NS   2000000
#define PORT_REFUSED  128   /* the exit code that Docker writes down for a container whose port is in use */
#define FD_FIRST      16    /* out of the way of what the process begins with */
#define FD_MAX        65536 /* where close_range() is not there */
#define SOCKET_SPARES 64    /* descriptors of a command beside its sockets */

void forward_sockets_free(struct forward_sockets *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->len; i++)
        close(s->items[i].fd);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s->items);
    free(s);
}

/* -1: somebody has it. */
static int take_lock(const struct container *c)
{
    cleanup_free char *path = container_path(c->row.id, "forward");
    cleanup_close int fd = -1;

    if (container_dir_make(c->row.id, NULL) < 0)
        return -1;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || ftruncate(fd, 0) < 0)
        return -1; /* truncated: the number of the last process is no good any more */
    return steal_fd(&fd);
}

static struct forward_sockets *sockets_new(const struct container *c)
{
    struct forward_sockets *s = xcalloc(1, sizeof(*s));

    s->lock_fd = take_lock(c);
    return s;
}

/* ---- one socket ---- */

/* Any port: 0. The port in *ret_port; -1 and errno. */
static int listen_on(const char *ip, uint16_t port, uint16_t *ret_port)
{
    bool v6 = strchr(ip, ':') != NULL;
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr *address = v6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4;
    socklen_t len = v6 ? sizeof(a6) : sizeof(a4);
    cleanup_close int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1;

    if (inet_pton(address->sa_family, ip, v6 ? (void *)&a6.sin6_addr : (void *)&a4.sin_addr) != 1)
        errno = EINVAL;
    else if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
             (!v6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0) && bind(fd, address, len) == 0 &&
             listen(fd, BACKLOG) == 0 && getsockname(fd, address, &len) == 0) {
        *ret_port = ntohs(v6 ? a6.sin6_port : a4.sin_port);
        return fcntl(fd, F_DUPFD_CLOEXEC, FD_FIRST);
    }
    return -1;
}

/* What the binding of a container's ports goes on with. */
struct binder {
    struct container *c;
    struct forward_sockets *sockets;
    json_t *bound;
};

static void keep(struct binder *b, int fd, uint16_t target, const char *ip, uint16_t port)
{
    struct forward_sockets *s = b->sockets;

    s->items = xreallocarray(s->items, s->len + 1, sizeof(*s->items));
    s->items[s->len++] = (struct forward_socket){fd, target};
    ports_bound_add(b->bound, target, PORT_TCP, ip, port);
}

/* A machine without IPv6 has no such address. */
static bool has_no_v6(void)
{
    return errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL || errno == EPROTONOSUPPORT;
}

/* All addresses of one port, of both families. *ret_ip is where it failed. */
static int bind_everywhere(struct binder *b, uint16_t target, uint16_t port, const char **ret_ip)
{
    uint16_t got = 0, same = 0;
    int v4 = listen_on("0.0.0.0", port, &got), v6;

    *ret_ip = "0.0.0.0";
    if (v4 < 0)
        return -1;
    v6 = listen_on("::", got, &same);
    if (v6 < 0 && !has_no_v6()) {
        int why = errno;

        close(v4);
        *ret_ip = "::";
        errno = why;
        return -1;
    }
    keep(b, v4, target, "0.0.0.0", got);
    if (v6 >= 0)
        keep(b, v6, target, "::", same);
    return 0;
}

static int bind_one(struct binder *b, uint16_t target, const char *ip, uint16_t port, const char **ret_ip)
{
    uint16_t got = 0;
    int fd;

    if (!*ip)
        return bind_everywhere(b, target, port, ret_ip);
    *ret_ip = ip;
    fd = listen_on(ip, port, &got);
    if (fd < 0)
        return -1;
    keep(b, fd, target, ip, got);
    return 0;
}

/* ---- ports that somebody has ---- */

/* Whether these are the same address, or one of them is all. */
static bool overlaps(const char *a, const char *b)
{
    bool same_family = !strchr(a, ':') == !strchr(b, ':');

    return same_family &&
           (!strcmp(a, b) || !strcmp(a, "0.0.0.0") || !strcmp(b, "0.0.0.0") || !strcmp(a, "::") || !strcmp(b, "::"));
}

static bool holds(const struct state_container *row, const char *ip, uint16_t port)
{
    json_auto_t *bound = row->ports ? json_loads(row->ports, 0, NULL) : NULL;
    cleanup_free char *text = xasprintf("%u", port);

    for (void *at = json_object_iter(bound); at; at = json_object_iter_next(bound, at)) {
        const json_t *host;
        size_t i;

        json_array_foreach(json_object_iter_value(at), i, host)
        {
            const char *its_ip = json_string_value(json_object_get(host, "HostIp"));
            const char *its_port = json_string_value(json_object_get(host, "HostPort"));

            if (its_ip && its_port && !strcmp(its_port, text) && overlaps(its_ip, ip))
                return true;
        }
    }
    return false;
}

/*
 * Whether another container of ours has it. One that has ended and that nobody has seen to yet lets go of it:
 * *ret_freed.
 */
static bool is_allocated(struct container *c, const char *ip, uint16_t port, bool *ret_freed)
{
    struct state_container *rows = NULL;
    size_t len = 0;
    bool found = false;

    if (state_container_list(c->app->state, &rows, &len, NULL) < 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        cleanup_with(container_clear) struct container other;

        container_init(&other, c->app);
        other.row = rows[i];
        if (found || !strcmp(other.row.id, c->row.id) || !holds(&other.row, ip, port))
            continue;
        found = true;
        if (container_refresh(&other, NULL) == 0 && !container_may_run(&other) && !container_is(&other, "paused")) {
            forward_stop(&other);
            *ret_freed = true;
        }
    }
    free(rows);
    return found;
}

/* Docker's words; why is an errno. */
static int in_use(struct container *c, const char *ip, uint16_t port, bool allocated, int why, struct err *err)
{
    cleanup_free char *address = strchr(ip, ':') ? xasprintf("[%s]:%u", ip, port) : xasprintf("%s:%u", ip, port);
    cleanup_free char *reason = allocated ? xasprintf("Bind for %s failed: port is already allocated", address)
                                          : xasprintf("failed to bind host port for %s: listen tcp%c %s: bind: %s",
                                                      address, strchr(ip, ':') ? '6' : '4', address,
                                                      why == EADDRINUSE      ? "address already in use"
                                                      : why == EADDRNOTAVAIL ? "cannot assign requested address"
                                                      : why == EACCES        ? "permission denied"
                                                                             : strerror(why));

    free(c->row.error);
    c->row.error =
        xasprintf("failed to set up container networking: driver failed programming external connectivity on "
                  "endpoint %s (%s): %s",
                  c->row.name, c->row.id, reason);
    return err_set(err, 125, "Error response from daemon: %s", c->row.error);
}

/* ---- all of them ---- */

/* One binding of the spec: its port, the first free one of its range, or any. */
static int bind_item(struct binder *b, const struct port_binding *item, struct err *err)
{
    const char *ip = item->host_ip;
    unsigned tries = item->from ? (unsigned)(item->to - item->from) + 1 : RANDOM_TRIES;
    bool allocated = false;
    int why = 0;

    for (unsigned i = 0; i < tries; i++) {
        uint16_t port = item->from ? (uint16_t)(item->from + i) : 0;
        bool freed = false;

        if (bind_one(b, item->target, item->host_ip, port, &ip) == 0)
            return 0;
        why = errno;
        if (why != EADDRINUSE)
            break;
        allocated = port && is_allocated(b->c, ip, port, &freed);
        if (freed && bind_one(b, item->target, item->host_ip, port, &ip) == 0)
            return 0;
    }
    return in_use(b->c, ip, item->to, allocated, why, err);
}

/* Room for so many sockets, as far as the system lets us. */
static void raise_limit(size_t sockets)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= sockets + SOCKET_SPARES)
        return;
    limit.rlim_cur = limit.rlim_max < sockets + SOCKET_SPARES ? limit.rlim_max : sockets + SOCKET_SPARES;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* The spec's ports and, with -P, all that are exposed. */
static void collect(const struct container *c, struct ports *ret)
{
    json_auto_t *bindings = ports_bindings_json(&c->spec.ports);

    ports_bindings_read(ret, bindings, NULL);
    if (c->spec.ports.publish_all)
        ports_publish_exposed(ret, &c->process.config.exposed_ports);
}

static int bind_all(struct binder *b, struct err *err)
{
    struct ports ports = {0};
    int ret = 0;

    collect(b->c, &ports);
    raise_limit(2 * ports.len);
    for (size_t i = 0; i < ports.len && ret == 0; i++)
        ret = bind_item(b, &ports.items[i], err);
    ports_clear(&ports);
    return ret;
}

static bool has_health(const struct container *c)
{
    struct health_plan plan;
    bool has = health_plan_read(c->process.config.healthcheck, &plan);

    health_plan_clear(&plan);
    return has;
}

/* Whether there is anything for the process to do. */
static bool is_wanted(const struct container *c)
{
    return c->spec.ports.len || c->spec.ports.publish_all || has_health(c);
}

/* It was not started for want of a port: Docker keeps it as it was, with the reason. */
static void note_refusal(struct container *c)
{
    c->row.exit_code = PORT_REFUSED;
    state_container_update(c->app->state, &c->row, STATE_PART_STATUS, NULL);
}

int forward_bind(struct container *c, struct err *err)
{
    struct binder b = {.c = c};

    forward_sockets_free(steal(&c->sockets));
    if (!is_wanted(c))
        return 0;
    forward_stop(c); /* of the last life */
    b.sockets = sockets_new(c);
    b.bound = json_object();
    if (bind_all(&b, err) < 0) {
        forward_sockets_free(b.sockets);
        json_decref(b.bound);
        note_refusal(c);
        return -1;
    }
    c->sockets = b.sockets;
    free(c->row.ports);
    c->row.ports = json_object_size(b.bound) ? json_dumps(b.bound, JSON_COMPACT) : NULL;
    json_decref(b.bound);
    free(c->row.health);
    c->row.health = has_health(c) ? xstrdup("{\"Status\":\"starting\",\"FailingStreak\":0,\"Log\":[]}") : NULL;
    return 0;
}

/* ---- the process ---- */

bool forward_lives(const struct container *c)
{
    cleanup_free char *path = container_path(c->row.id, "forward");
    cleanup_close int fd = open(path, O_RDWR | O_CLOEXEC);

    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* In the child: nothing of our caller's is held but the lock and the sockets, which keep their numbers. */
static void let_go(int lock_fd, const struct forward_sockets *s)
{
    int null = open("/dev/null", O_RDWR), log = monitor_open_log();

    for (int fd = 0; null >= 0 && fd < FORWARD_LOCK_FD; fd++)
        dup2(fd == STDERR_FILENO && log >= 0 ? log : null, fd);
    if (dup2(lock_fd, FORWARD_LOCK_FD) < 0)
        _exit(1);
    if (close_range(FORWARD_LOCK_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
        for (int fd = FORWARD_LOCK_FD + 1; fd < FD_MAX; fd++)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(FORWARD_LOCK_FD, F_SETFD, 0);
    for (size_t i = 0; i < s->len; i++)
        fcntl(s->items[i].fd, F_SETFD, 0);
    setsid();
    if (chdir("/") < 0)
        _exit(1);
}

void forward_start(struct container *c)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    pid_t pid;

    if (!c->sockets || c->sockets->lock_fd < 0) {
        forward_sockets_free(steal(&c->sockets));
        return;
    }
    for (const char *const *word = (const char *const[]){"docker", "atp", "forward", NULL}; *word; word++)
        strlist_add(&words, *word);
    strlist_add(&words, c->row.id);
    strlist_add(&words, c->row.sandbox_id);
    for (size_t i = 0; i < c->sockets->len; i++)
        strlist_addf(&words, "%d=%u", c->sockets->items[i].fd, c->sockets->items[i].target);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        monitor_reset_signals();
        let_go(c->sockets->lock_fd, c->sockets);
        if (fork() == 0)
            execv("/proc/self/exe", strlist_argv(&words));
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    forward_sockets_free(steal(&c->sockets)); /* the lock is the process's from now on; it was free at no moment */
}

/* The ports that the row says, once more; those that somebody took meanwhile are left out. */
static void bind_again(struct container *c)
{
    json_auto_t *bound = c->row.ports ? json_loads(c->row.ports, 0, NULL) : NULL;

    c->sockets = sockets_new(c);
    for (void *at = json_object_iter(bound); at; at = json_object_iter_next(bound, at)) {
        struct binder b = {.c = c, .sockets = c->sockets, .bound = json_object()};
        enum port_proto proto;
        uint16_t target;
        const json_t *host;
        size_t i;

        json_array_foreach(json_object_iter_value(at), i, host)
        {
            const char *ip = json_string_value(json_object_get(host, "HostIp")), *where;
            const char *text = json_string_value(json_object_get(host, "HostPort"));
            int64_t port = 0;

            if (ip && *ip && text && units_parse_int10(text, 32, &port, NULL) == 0 && port > 0 && port <= UINT16_MAX &&
                port_parse(json_object_iter_key(at), &target, &proto) == 0)
                bind_one(&b, target, ip, (uint16_t)port, &where);
        }
        json_decref(b.bound);
    }
}

void forward_revive(struct container *c)
{
    if (!(c->row.ports || c->row.health) || !c->row.sandbox_id || !container_may_run(c) || forward_lives(c))
        return;
    bind_again(c);
    forward_start(c);
}

/* ---- its end ---- */

/* Whose process holds the lock: the number that it wrote into the file; 0: not yet. */
static pid_t read_pid(int fd)
{
    char text[24];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    int64_t pid = 0;

    if (n <= 0)
        return 0;
    text[n] = '\0';
    return units_parse_int10(text, 32, &pid, NULL) == 0 && pid > 1 ? (pid_t)pid : 0;
}

void forward_stop_id(const char *id)
{
    cleanup_free char *path = container_path(id, "forward");
    cleanup_close int fd = open(path, O_RDWR | O_CLOEXEC);
    const int64_t until = loop_now() + STOP_MS;

    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK && loop_now() < until) {
        pid_t pid = read_pid(fd);

        if (pid)
            kill(pid, SIGTERM);
        nanosleep(&(struct timespec){.tv_nsec = STOP_NAP_NS}, NULL);
    }
    if (fd >= 0)
        (void)!ftruncate(fd, 0);
}

void forward_stop(struct container *c)
{
    forward_stop_id(c->row.id);
    free(steal(&c->row.ports));
}
