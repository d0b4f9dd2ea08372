#include "backends/agent/resolver.h"

#include "backends/agent/agent.h"
#include "backends/agent/resolver_impl.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UDP_TURN   16 /* questions taken in one turn of the loop */
#define LOOK_AGAIN 50 /* ms between two looks for a name that is waited for */

static void look(struct question *q);

/* ---- questions ---- */

void question_free(struct question *q)
{
    struct resolver *r = q->resolver;

    for (struct question **p = &r->questions; *p; p = &(*p)->next)
        if (*p == q) {
            *p = q->next;
            break;
        }
    r->n_questions--;
    if (q->client)
        q->client->n_questions--;
    upstream_close(q);
    loop_timer_del(q->timer);
    buf_clear(&q->out);
    buf_clear(&q->in);
    free(q->bytes);
    free(q);
}

/* A message for a TCP client has its length in front. */
static void send_message(struct resolver *r, struct client *client, const struct sockaddr_in *to, const void *bytes,
                         size_t len)
{
    const uint8_t head[2] = {(uint8_t)(len >> 8), (uint8_t)len};

    if (!client) {
        sendto(r->udp, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)to, sizeof(*to));
        return;
    }
    if (buf_add(&client->out, head, 2) < 0 || buf_add(&client->out, bytes, len) < 0)
        client->dead = true; /* it asks and does not listen */
    client_write(client);
}

static void answer(struct question *q, enum dns_code code, const struct dns_record *records, size_t n)
{
    cleanup_buf struct buf b = BUF_INIT(DNS_MAX);

    dns_write(&b, q->bytes, &q->query, code, records, n, q->client ? DNS_MAX : q->query.udp_max);
    send_message(q->resolver, q->client, &q->from, b.data, b.len);
    question_free(q);
}

void question_refuse(struct question *q)
{
    answer(q, DNS_SERVFAIL, NULL, 0);
}

void question_pass_back(struct question *q, uint8_t *bytes, size_t len)
{
    bytes[0] = (uint8_t)(q->query.id >> 8);
    bytes[1] = (uint8_t)q->query.id;
    send_message(q->resolver, q->client, &q->from, bytes, len);
    question_free(q);
}

static void on_look(struct loop *loop, void *arg)
{
    (void)loop;
    look(arg);
}

/* Answers if the name is known, passes on what nobody here has, and waits for what may become known. */
static void look(struct question *q)
{
    static struct dns_record records[NAMES_RECORDS];
    size_t n = 0;
    enum names_found found = names_find(q->resolver->names, q->query.name, q->query.type, records, &n);
    bool late = loop_now() - q->born > NAMES_GRACE;

    q->waits = !late && (found == NAMES_NO_TABLE || found == NAMES_NO_ADDRESS);
    if (q->waits) {
        if (!q->timer)
            q->timer = loop_timer_add(q->resolver->loop, 0, on_look, q);
        loop_timer_set(q->timer, LOOK_AGAIN);
    } else if (found == NAMES_KNOWN) {
        answer(q, DNS_OK, records, n);
    } else if (found == NAMES_NO_ADDRESS) {
        question_refuse(q);
    } else {
        loop_timer_del(q->timer);
        q->timer = NULL;
        upstream_ask(q);
    }
}

void resolver_look_again(struct resolver *r)
{
    for (struct question *q = r ? r->questions : NULL, *next; q; q = next) {
        next = q->next;
        if (q->waits)
            look(q);
    }
}

/* One message of a client. */
static void take_message(struct resolver *r, struct client *client, const struct sockaddr_in *from,
                         const uint8_t *bytes, size_t len)
{
    cleanup_buf struct buf b = BUF_INIT(DNS_MAX);
    struct dns_query query;
    enum dns_code code = DNS_OK;
    int got = dns_read(bytes, len, &query, &code);
    struct question *q;

    if (got == 0)
        return;
    if (got < 0 || r->n_questions >= RESOLVER_ASKED) {
        dns_write(&b, bytes, &query, got < 0 ? code : DNS_SERVFAIL, NULL, 0, DNS_UDP_MAX);
        send_message(r, client, from, b.data, b.len);
        return;
    }
    q = xcalloc(1, sizeof(*q));
    *q = (struct question){.resolver = r,
                           .next = r->questions,
                           .client = client,
                           .from = *from,
                           .bytes = (uint8_t *)xmemdup(bytes, len),
                           .len = len,
                           .query = query,
                           .born = loop_now(),
                           .fd = -1};
    buf_init(&q->out, DNS_MAX + 2);
    buf_init(&q->in, DNS_MAX + 2);
    r->questions = q;
    r->n_questions++;
    if (client)
        client->n_questions++;
    look(q);
}

static void on_udp(struct loop *loop, int fd, short revents, void *arg)
{
    struct resolver *r = arg;
    static uint8_t bytes[DNS_MAX];

    (void)loop;
    (void)revents;
    for (int i = 0; i < UDP_TURN; i++) {
        struct sockaddr_in from = {0};
        socklen_t len = sizeof(from);
        ssize_t n = recvfrom(fd, bytes, sizeof(bytes), MSG_DONTWAIT, (struct sockaddr *)&from, &len);

        if (n < 0)
            return;
        take_message(r, NULL, &from, bytes, (size_t)n);
    }
}

/* ---- TCP clients ---- */

static void client_free(struct client *c)
{
    struct resolver *r = c->resolver;

    for (struct question *q = r->questions, *next; q; q = next) {
        next = q->next;
        if (q->client == c)
            question_free(q);
    }
    for (struct client **p = &r->clients; *p; p = &(*p)->next)
        if (*p == c) {
            *p = c->next;
            break;
        }
    r->n_clients--;
    loop_io_del(c->io);
    loop_timer_del(c->idle);
    close(c->fd);
    buf_clear(&c->in);
    buf_clear(&c->out);
    free(c);
}

/* Never frees: the timer does, as questions and their answers call this from anywhere. */
void client_write(struct client *c)
{
    while (c->out.len && !c->dead) {
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            c->dead = errno != EAGAIN;
            break;
        }
        buf_consume(&c->out, (size_t)n);
    }
    loop_io_set(c->io, (short)((c->ended || c->dead ? 0 : POLLIN) | (c->out.len && !c->dead ? POLLOUT : 0)));
    loop_timer_set(c->idle, c->dead || (c->ended && !c->out.len && !c->n_questions) ? 0 : RESOLVER_IDLE_MS);
}

static void on_idle(struct loop *loop, void *arg)
{
    struct client *c = arg;

    (void)loop;
    if (c->n_questions && !c->dead)
        loop_timer_set(c->idle, RESOLVER_IDLE_MS);
    else
        client_free(c);
}

static void take_messages(struct client *c)
{
    const struct sockaddr_in nobody = {0};

    while (c->in.len >= 2 && !c->dead) {
        const uint8_t *at = (const uint8_t *)c->in.data;
        size_t len = (size_t)at[0] << 8 | at[1];

        if (c->in.len < 2 + len)
            return;
        take_message(c->resolver, c, &nobody, at + 2, len);
        buf_consume(&c->in, 2 + len);
    }
}

static void on_client(struct loop *loop, int fd, short revents, void *arg)
{
    struct client *c = arg;
    char bytes[4096];
    ssize_t n = 0;

    (void)loop;
    if (revents & (POLLIN | POLLHUP | POLLERR)) {
        n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        c->ended |= n == 0;
        c->dead |= n < 0 && errno != EAGAIN && errno != EINTR;
        if (n > 0 && buf_add(&c->in, bytes, (size_t)n) < 0)
            c->dead = true;
        take_messages(c);
    }
    client_write(c);
}

static void on_connect(struct loop *loop, int fd, short revents, void *arg)
{
    struct resolver *r = arg;
    int s = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *c;

    (void)revents;
    if (s < 0)
        return;
    if (r->n_clients >= RESOLVER_CLIENTS) {
        close(s);
        return;
    }
    c = xcalloc(1, sizeof(*c));
    *c = (struct client){.resolver = r, .next = r->clients, .fd = s};
    buf_init(&c->in, 2 * (DNS_MAX + 2));
    buf_init(&c->out, 4 * (DNS_MAX + 2));
    r->clients = c;
    r->n_clients++;
    c->io = loop_io_add(loop, s, POLLIN, on_client, c);
    c->idle = loop_timer_add(loop, RESOLVER_IDLE_MS, on_idle, c);
}

/* ---- life ---- */

static int bind_at(const struct agent_options *options, int type, struct err *err)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options->dns_port)};
    cleanup_close int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;

    if (inet_pton(AF_INET, options->dns_address, &at.sin_addr) != 1)
        return err_set(err, 125, "%s is no address", options->dns_address);
    if (fd >= 0 && type == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || (type == SOCK_STREAM && listen(fd, 64) < 0))
        return err_set_errno(err, 125, errno, "a name server on %s", options->dns_address);
    return steal_fd(&fd);
}

struct resolver *resolver_new(struct loop *loop, const struct agent_options *options, const struct resolv *old,
                              struct names *names, struct err *err)
{
    cleanup_close int udp = bind_at(options, SOCK_DGRAM, err);
    cleanup_close int tcp = udp < 0 ? -1 : bind_at(options, SOCK_STREAM, err);
    struct resolver *r;

    if (tcp < 0)
        return NULL;
    r = xcalloc(1, sizeof(*r));
    *r = (struct resolver){.loop = loop, .names = names, .udp = steal_fd(&udp), .tcp = steal_fd(&tcp)};
    memcpy(r->servers, old->servers, sizeof(r->servers));
    r->n_servers = old->n_servers;
    r->udp_io = loop_io_add(loop, r->udp, POLLIN, on_udp, r);
    r->tcp_io = loop_io_add(loop, r->tcp, POLLIN, on_connect, r);
    return r;
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    while (r->clients)
        client_free(r->clients);
    while (r->questions)
        question_free(r->questions);
    loop_io_del(r->udp_io);
    loop_io_del(r->tcp_io);
    close(r->udp);
    close(r->tcp);
    free(r);
}
