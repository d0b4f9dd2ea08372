/*
 * The process behind published ports: accepts, and carries each connection through one session with the container's
 * agent. Beside it a second session tells how the container's health changes.
 */
#include "shim/forward.h"

#include "backends/modal/task.h"
#include "backends/session/forward.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/units.h"
#include "compat/sys/loop.h"
#include "shim/app.h"
#include "shim/channel.h"
#include "shim/container.h"
#include "shim/forward_sockets.h"
#include "shim/health.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE          (64u << 10)            /* of one read */
#define HELD_MAX       (2 * WIRE_PORT_WINDOW) /* what a client has not taken yet: no more than was granted */
#define READ_MAX       (16u << 20)            /* a client that has gone left no more than its system let it */
#define RETRY_FIRST_MS 50
#define RETRY_MAX_MS   5000
#define LOCAL_TRIES    4    /* an engine on this machine that does not answer is dead */
#define LINGER_MS      1000 /* for what a client has still to read when the container has ended */
#define ACCEPT_TURN    64   /* connections of one turn of the loop */
#define LOOK_MS        1000 /* between two looks whether the row still speaks of this life */

struct forwarder;

/* One connection of a client. */
struct client {
    struct forwarder *f;
    struct client *next, *prev;
    struct conn *conn; /* NULL: it is over on the container's side */
    struct loop_io *io;
    int fd;
    struct buf in;  /* read, and not taken by the session */
    struct buf out; /* from the container, and not written */
    bool in_eof;    /* the client has said all */
    bool out_eof;   /* the container has: shut down when out is written */
    bool shut;
};

struct listener {
    struct forwarder *f;
    int fd;
    uint16_t target;
    struct loop_io *io;
};

struct forwarder {
    struct app *app;
    struct container c;
    char *life; /* row.sandbox_id as it was */
    struct listener *listeners;
    size_t n_listeners;
    struct conns *conns;
    struct client *clients;
    struct channel *channel, *health;
    bool channel_over, health_over; /* to be freed in the next turn */
    bool wants_health;
    struct loop_timer *retry, *look;
    int64_t pause_ms;
    int failures;
    bool done;
};

/* ---- clients ---- */

static void client_watch(struct client *k)
{
    short events = 0;

    if (!k->in_eof && k->in.len == 0 && k->conn)
        events |= POLLIN;
    if (k->out.len)
        events |= POLLOUT;
    loop_io_set(k->io, events);
}

static void client_free(struct client *k)
{
    struct forwarder *f = k->f;

    if (k->prev)
        k->prev->next = k->next;
    else
        f->clients = k->next;
    if (k->next)
        k->next->prev = k->prev;
    if (k->conn)
        conn_close(k->conn);
    loop_io_del(k->io);
    close(k->fd);
    buf_clear(&k->in);
    buf_clear(&k->out);
    free(k);
}

/* The client is told at once, by a reset, that something was lost. */
static void client_reset(struct client *k)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};

    setsockopt(k->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    client_free(k);
}

/* What waits is written as far as the client takes it. False: it is gone. */
static bool client_write(struct client *k)
{
    while (k->out.len) {
        ssize_t n = send(k->fd, k->out.data, k->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0) {
            client_free(k);
            return false;
        }
        buf_consume(&k->out, (size_t)n);
        if (k->conn)
            conn_taken(k->conn, (size_t)n);
    }
    if (k->out.len == 0 && k->out_eof && !k->shut) {
        k->shut = true;
        shutdown(k->fd, SHUT_WR);
    }
    if (k->out.len == 0 && !k->conn) { /* both sides have said all */
        client_free(k);
        return false;
    }
    client_watch(k);
    return true;
}

/* What was read goes on as far as the session takes it. */
static void client_push(struct client *k)
{
    size_t n;

    if (!k->conn)
        return;
    n = k->in.len ? conn_send(k->conn, k->in.data, k->in.len) : 0;
    buf_consume(&k->in, n);
    if (k->in_eof && k->in.len == 0)
        conn_eof(k->conn);
    client_watch(k);
}

static void client_read(struct client *k)
{
    char piece[PIECE];
    ssize_t n = recv(k->fd, piece, sizeof(piece), MSG_DONTWAIT);

    if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    if (n < 0) {
        client_free(k);
        return;
    }
    if (n == 0)
        k->in_eof = true;
    else
        buf_add(&k->in, piece, (size_t)n);
    client_push(k);
}

static void on_client(struct loop *loop, int fd, short revents, void *arg)
{
    struct client *k = arg;

    (void)loop;
    (void)fd;
    if ((revents & POLLOUT) && !client_write(k))
        return;
    if (revents & POLLIN)
        client_read(k);
    else if (revents & (POLLERR | POLLHUP)) {
        if (k->in_eof || (revents & POLLERR))
            client_free(k);
        else
            client_read(k);
    }
}

/* ---- what comes from the container ---- */

static void on_data(void *conn_arg, const void *bytes, size_t len)
{
    struct client *k = conn_arg;

    buf_add(&k->out, bytes, len);
    client_write(k);
}

static void on_eof(void *conn_arg)
{
    struct client *k = conn_arg;

    k->out_eof = true;
    client_write(k);
}

static void on_ready(void *conn_arg)
{
    client_push(conn_arg);
}

static void on_closed(void *conn_arg, int error)
{
    struct client *k = conn_arg;

    k->conn = NULL;
    k->out_eof = true;
    if (error && error != ECONNREFUSED && !k->out.len)
        client_reset(k);
    else
        client_write(k);
}

static const struct conns_handlers conns_handlers = {
    .data = on_data,
    .eof = on_eof,
    .ready = on_ready,
    .closed = on_closed,
};

/* ---- listening ---- */

static void add_client(struct listener *l, int fd)
{
    struct forwarder *f = l->f;
    struct client *k = xcalloc(1, sizeof(*k));
    const int on = 1;

    *k = (struct client){.f = f, .fd = fd, .next = f->clients, .in = BUF_INIT(READ_MAX), .out = BUF_INIT(HELD_MAX)};
    k->conn = conn_open(f->conns, l->target, k);
    if (!k->conn) {
        free(k);
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (f->clients)
        f->clients->prev = k;
    f->clients = k;
    k->io = loop_io_add(f->app->loop, fd, POLLIN, on_client, k);
}

static void on_accept(struct loop *loop, int fd, short revents, void *arg)
{
    (void)loop;
    (void)revents;
    for (int i = 0; i < ACCEPT_TURN; i++) {
        int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (got < 0)
            return;
        add_client(arg, got);
    }
}

/* "FD=PORT" */
static int add_listener(struct forwarder *f, const char *word, struct err *err)
{
    const char *mark = strchr(word, '=');
    cleanup_free char *number = mark ? xstrndup(word, (size_t)(mark - word)) : xstrdup("");
    struct listener *l = &f->listeners[f->n_listeners];
    int64_t fd = 0, port = 0;

    if (!mark || units_parse_int10(number, 32, &fd, NULL) < 0 || units_parse_int10(mark + 1, 32, &port, NULL) < 0 ||
        fd <= FORWARD_LOCK_FD || port < 1 || port > UINT16_MAX || fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0)
        return err_set(err, 1, "%s is no socket and port", word);
    fcntl((int)fd, F_SETFL, fcntl((int)fd, F_GETFL) | O_NONBLOCK);
    *l = (struct listener){.f = f, .fd = (int)fd, .target = (uint16_t)port};
    l->io = loop_io_add(f->app->loop, l->fd, POLLIN, on_accept, l);
    f->n_listeners++;
    return 0;
}

/* The ports are free from now on, and so is the lock. */
static void stop_listening(struct forwarder *f)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        loop_io_del(f->listeners[i].io);
        close(f->listeners[i].fd);
    }
    f->n_listeners = 0;
    close(FORWARD_LOCK_FD);
}

/* ---- the sessions ---- */

static void finish(struct forwarder *f)
{
    f->done = true;
    loop_stop(f->app->loop);
}

/* Whether the row still speaks of the life whose ports these are. */
static bool is_our_life(struct forwarder *f)
{
    if (state_is_lost(f->app->state) || container_reread(&f->c, NULL) < 0)
        return false;
    return f->c.row.sandbox_id && !strcmp(f->c.row.sandbox_id, f->life) && container_may_run(&f->c);
}

static void on_asked(void *arg, struct session *s)
{
    struct forwarder *f = arg;

    conns_begin(f->conns, s);
}

static void on_greeted(void *arg, const struct session_peer *peer)
{
    struct forwarder *f = arg;

    (void)peer;
    f->failures = 0;
    f->pause_ms = RETRY_FIRST_MS;
}

static int on_port(void *arg, const struct wire_frame *frame, struct err *err)
{
    return conns_frame(((struct forwarder *)arg)->conns, frame, err);
}

static void on_writable(void *arg)
{
    conns_writable(((struct forwarder *)arg)->conns);
}

/* Another session, a moment later; or it is over. */
static void try_again(struct forwarder *f)
{
    f->failures++;
    loop_timer_set(f->retry, f->pause_ms);
    f->pause_ms = f->pause_ms < RETRY_MAX_MS / 2 ? 2 * f->pause_ms : RETRY_MAX_MS;
}

static void on_over(void *arg, bool ended, const struct err *why)
{
    struct forwarder *f = arg;

    if (why && why->msg)
        fprintf(stderr, "docker: the ports of container %s: %s\n", f->c.row.name, why->msg);
    f->channel_over = true;
    conns_lost(f->conns);
    if (ended)
        finish(f);
    else
        try_again(f);
}

static void on_health_over(void *arg, bool ended, const struct err *why)
{
    struct forwarder *f = arg;

    (void)why;
    f->health_over = true;
    if (ended && !f->n_listeners)
        finish(f);
    else if (!f->n_listeners)
        try_again(f);
}

static void on_health_line(void *arg, const char *line)
{
    struct forwarder *f = arg;

    f->failures = 0;
    f->pause_ms = RETRY_FIRST_MS;
    if (is_our_life(f)) /* it may have another name by now */
        health_heard(&f->c, line);
}

static const struct channel_handlers forward_handlers = {
    .greeted = on_greeted,
    .asked = on_asked,
    .port = on_port,
    .writable = on_writable,
    .over = on_over,
};

static const struct channel_handlers health_handlers = {.line = on_health_line, .over = on_health_over};

/* Whether another try makes sense: a network comes back, an engine on this machine that is dead does not. */
static bool may_come_back(const struct forwarder *f)
{
    return !f->app->route || f->app->route->backend != BACKEND_LOCAL || f->failures < LOCAL_TRIES;
}

static int open_channels(struct forwarder *f, struct err *err)
{
    const struct wire_ask forward = {.kind = WIRE_ASK_FORWARD, .text = (char *)""};
    const struct wire_ask health = {.kind = WIRE_ASK_HEALTH, .flags = WIRE_ASK_FOLLOW, .text = (char *)""};

    if (container_open(&f->c, err) < 0)
        return -1;
    if (!f->channel && f->n_listeners) {
        f->channel = channel_open(f->app, f->c.task, &forward, &forward_handlers, f, err);
        if (!f->channel)
            return -1;
    }
    if (!f->health && f->wants_health)
        f->health = channel_open(f->app, f->c.task, &health, &health_handlers, f, NULL);
    return 0;
}

static void drop_channels(struct forwarder *f)
{
    if (f->channel_over) {
        channel_free(steal(&f->channel));
        f->channel_over = false;
    }
    if (f->health_over) {
        channel_free(steal(&f->health));
        f->health_over = false;
    }
}

/* What is not there is opened, as long as there is a container to speak to. */
static void on_retry(struct loop *loop, void *arg)
{
    struct forwarder *f = arg;
    struct err err = ERR_INIT;

    (void)loop;
    drop_channels(f);
    if (!is_our_life(f) || !may_come_back(f)) {
        finish(f);
        return;
    }
    if (f->failures && !f->channel && !f->health)
        modal_task_free(steal(&f->c.task)); /* the way to it may be what failed */
    if (open_channels(f, &err) < 0) {
        fprintf(stderr, "docker: the ports of container %s: %s\n", f->c.row.name, err.msg ? err.msg : "no reason");
        err_clear(&err);
        try_again(f);
    }
}

static void on_look(struct loop *loop, void *arg)
{
    struct forwarder *f = arg;

    (void)loop;
    if (!is_our_life(f)) {
        finish(f);
        return;
    }
    if (f->health_over && !f->channel_over)
        loop_timer_set(f->retry, 0);
    loop_timer_set(f->look, LOOK_MS);
}

static void on_signal(struct loop *loop, int signo, void *arg)
{
    (void)loop;
    (void)signo;
    finish(arg);
}

/* ---- life ---- */

/* The container has ended: what came is still written to who reads it. */
static void linger(struct forwarder *f)
{
    const int64_t until = loop_now() + LINGER_MS;

    for (struct client *k = f->clients, *next; k; k = next) {
        next = k->next;
        if (!k->out.len)
            client_free(k);
    }
    while (f->clients && loop_now() < until && loop_step(f->app->loop, until - loop_now()))
        ;
}

static void serve(struct forwarder *f)
{
    struct loop *loop = f->app->loop;
    struct loop_signal *term = loop_signal_add(loop, SIGTERM, on_signal, f);

    f->pause_ms = RETRY_FIRST_MS;
    f->conns = conns_new(&conns_handlers);
    f->retry = loop_timer_add(loop, 0, on_retry, f);
    f->look = loop_timer_add(loop, LOOK_MS, on_look, f);
    while (!f->done)
        loop_run(loop);
    stop_listening(f);
    channel_free(steal(&f->channel));
    channel_free(steal(&f->health));
    conns_lost(f->conns);
    linger(f);
    while (f->clients)
        client_free(f->clients);
    conns_free(f->conns);
    loop_timer_del(f->retry);
    loop_timer_del(f->look);
    loop_signal_del(term);
}

/* Who we are, for forward_stop(); as many descriptors as the system gives us. */
static void introduce(void)
{
    struct rlimit limit;
    char text[24];
    int len = snprintf(text, sizeof(text), "%ld", (long)getpid());

    fcntl(FORWARD_LOCK_FD, F_SETFD, FD_CLOEXEC);
    (void)!pwrite(FORWARD_LOCK_FD, text, (size_t)len, 0);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int run(struct forwarder *f, const char *id, const struct strlist *sockets, struct err *err)
{
    /* not container_find(): what was removed is not to be looked for, least of all by starting an engine */
    if (app_state(f->app, err) < 0 || state_container_find(f->app->state, id, &f->c.row, err) <= 0 ||
        container_load(&f->c, err) < 0 || container_reach(&f->c, err) < 0)
        return -1;
    for (size_t i = 0; i < sockets->len; i++)
        if (add_listener(f, sockets->items[i], err) < 0)
            return -1;
    f->wants_health = f->c.row.health != NULL;
    serve(f);
    return 0;
}

int forward_run(struct app *app, const char *id, const char *sandbox_id, const struct strlist *sockets, struct err *err)
{
    struct forwarder f = {.app = app, .life = xstrdup(sandbox_id)};
    int ret;

    introduce();
    container_init(&f.c, app);
    f.listeners = xcalloc(sockets->len + 1, sizeof(*f.listeners));
    ret = run(&f, id, sockets, err);
    container_clear(&f.c);
    free(f.listeners);
    free(f.life);
    return ret;
}
