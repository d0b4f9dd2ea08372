#include "backends/agent/hub.h"

#include "backends/agent/agent.h"
#include "backends/agent/link.h"
#include "backends/agent/share_hub.h"
#include "backends/agent/hosts.h"
#include "backends/agent/tunnel.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"
#include "translate/wire/share.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STRANGERS_MAX 64         /* connections that have not said JOIN */
#define BEHIND_MAX    (4u << 20) /* bytes for a member that does not read: it misses what comes then */

/* One connection. */
struct guest {
    struct guest *next;
    struct hub *hub;
    int fd;
    struct link link;
    struct wire_names who;     /* self set: a member */
    struct share_guest *share; /* not NULL: here for a volume */
    int64_t since;
    bool dead;
};

struct hub {
    struct loop *loop;
    const struct agent_options *options;
    int fd;
    struct loop_io *io;
    struct guest *guests;
    struct loop_timer *beat;
    struct share_hub *shares;
    struct tunnels *tunnels;
    struct hosts *hosts;
    unsigned turn; /* which of several members the next connection of a tunnel goes to */
    void (*changed)(void *arg);
    void *arg;
};

static bool is_member(const struct guest *g)
{
    return g->who.self && !g->dead;
}

size_t hub_members(const struct hub *h)
{
    size_t n = 0;

    for (const struct guest *g = h ? h->guests : NULL; g; g = g->next)
        n += is_member(g);
    return n;
}

/* Everybody is told who is there now. */
static void broadcast(struct hub *h)
{
    cleanup_buf struct buf frame = BUF_INIT(LIMIT_FRAME + WIRE_HEADER);
    struct wire_table t = {.items = xcalloc(hub_members(h) + 1, sizeof(*t.items))};

    for (struct guest *g = h->guests; g; g = g->next)
        if (is_member(g))
            t.items[t.len++] = (struct wire_member){g->who.self, g->who.members};
    wire_put_table(&frame, &t);
    free(t.items); /* what is in them is the guests' */
    for (struct guest *g = h->guests; g; g = g->next)
        if (is_member(g) && link_pending(&g->link) < BEHIND_MAX) {
            buf_add(&g->link.queue, frame.data, frame.len);
            link_send(&g->link);
        }
    h->changed(h->arg);
}

static size_t names_size(const struct wire_names *n)
{
    size_t size = strlen(n->self) + 8;

    for (size_t i = 0; i < n->members.len; i++)
        size += strlen(n->members.items[i]) + 4;
    return size;
}

/* In the same time wherever they differ. */
static bool same_token(const char *a, const char *b)
{
    size_t len = strlen(a);
    unsigned char differ = len != strlen(b);

    for (size_t i = 0; i < len && !differ; i++)
        differ |= (unsigned char)(a[i] ^ b[i]);
    return !differ;
}

/* Room for one more member with these names? The one whose place it takes does not count. */
static bool has_room(const struct hub *h, const struct wire_names *who)
{
    size_t size = names_size(who), n = 1;

    for (const struct guest *g = h->guests; g; g = g->next)
        if (is_member(g) && strcmp(g->who.self, who->self) != 0) {
            size += names_size(&g->who);
            n++;
        }
    return size <= HUB_NAMES && n <= WIRE_MEMBERS_MAX;
}

static int take_join(struct guest *g, const struct wire_frame *f, struct err *err)
{
    struct hub *h = g->hub;
    cleanup_with(wire_names_clear) struct wire_names who = {0};

    if (wire_get_join(f, &who, err) < 0)
        return -1;
    if (g->who.self && strcmp(g->who.self, who.self) != 0)
        return err_set(err, 125, "a JOIN of another member");
    if (!same_token(who.token, h->options->hub_token))
        return err_set(err, 125, "the token is not the hub's");
    if (!has_room(h, &who))
        return err_set(err, 125, "the hub has no room for more names");
    for (struct guest *o = h->guests; o; o = o->next)
        if (o != g && is_member(o) && !strcmp(o->who.self, who.self))
            o->dead = true;
    wire_names_clear(&g->who);
    g->who = who;
    who = (struct wire_names){0};
    broadcast(h);
    return 0;
}

/* One that comes for a volume. */
static int take_share(struct guest *g, const struct wire_frame *f, struct err *err)
{
    cleanup_with(share_clear) struct share join = {0};

    if (g->share)
        return share_guest_frame(g->share, f, err);
    if (share_get(f, &join, err) < 0)
        return -1;
    if (g->who.self || join.op != SHARE_JOIN || !join.path || !*join.path)
        return err_set(err, 125, "a SHARE frame before its JOIN");
    if (!same_token(join.link, g->hub->options->hub_token))
        return err_set(err, 125, "the token is not the hub's");
    g->share = share_guest_join(g->hub->shares, &g->link, &join);
    return 0;
}

static int on_frame(void *arg, const struct wire_frame *f, struct err *err)
{
    struct guest *g = arg;

    if (g->dead)
        return 0;
    switch (f->type) {
    case WIRE_SHARE:
        return take_share(g, f, err);
    case WIRE_JOIN:
        return take_join(g, f, err);
    case WIRE_HEARTBEAT:
        return g->who.self ? 0 : err_set(err, 125, "a heartbeat before JOIN");
    default:
        return err_set(err, 125, "%s frame to the hub", wire_type_name(f->type));
    }
}

static void on_closed(void *arg, const char *why)
{
    struct guest *g = arg;
    bool was = is_member(g);

    (void)why;
    g->dead = true;
    share_guest_gone(g->share);
    if (was)
        broadcast(g->hub);
}

static void on_drained(void *arg)
{
    struct guest *g = arg;

    if (g->share && !g->dead)
        share_guest_drained(g->share);
}

static const struct link_events guest_events = {.frame = on_frame, .closed = on_closed, .drained = on_drained};

static void on_connect(struct loop *loop, int fd, short revents, void *arg)
{
    struct hub *h = arg;
    int s = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    size_t strangers = 0;
    struct guest *g;

    (void)revents;
    if (s < 0)
        return;
    for (g = h->guests; g; g = g->next)
        strangers += !g->who.self && !g->share;
    if (strangers >= STRANGERS_MAX) {
        close(s);
        return;
    }
    g = xcalloc(1, sizeof(*g));
    *g = (struct guest){.next = h->guests, .hub = h, .fd = s, .since = loop_now()};
    h->guests = g;
    link_init(&g->link, loop, s, s, &guest_events, g);
}

/* Says that we are there, and drops who is silent. */
static void on_beat(struct loop *loop, void *arg)
{
    struct hub *h = arg;
    int64_t now = loop_now();
    bool lost = false;

    (void)loop;
    for (struct guest *g = h->guests; g; g = g->next) {
        bool silent = g->who.self ? now - g->link.heard >= h->options->orphaned_after : now - g->since >= HUB_PATIENCE;

        if (g->dead || g->share) /* who is here for a volume may be busy with it; its end closes the connection */
            continue;
        if (silent) {
            lost |= is_member(g);
            g->dead = true;
        } else if (g->who.self && !link_pending(&g->link)) {
            wire_put(&g->link.queue, WIRE_HEARTBEAT, NULL, 0);
            link_send(&g->link);
        }
    }
    if (lost)
        broadcast(h);
    loop_timer_set(h->beat, h->options->speak_every);
}

void hub_sweep(struct hub *h)
{
    if (h)
        share_hub_sweep(h->shares);
    for (struct guest **p = h ? &h->guests : NULL; p && *p;) {
        struct guest *g = *p;

        if (!g->dead) {
            p = &g->next;
            continue;
        }
        *p = g->next;
        link_clear(&g->link);
        close(g->fd);
        wire_names_clear(&g->who);
        free(g);
    }
}

/* ---- tunnels ---- */

static bool serves(const struct guest *g, uint16_t port)
{
    cleanup_free char *word = xasprintf(WIRE_TUNNEL "%u", port);

    return is_member(g) && strlist_has(&g->who.members, word);
}

/* Of several members one after the other. */
static bool find_server(void *arg, uint16_t port, struct in_addr *ret)
{
    struct hub *h = arg;
    size_t n = 0, at;

    for (const struct guest *g = h->guests; g; g = g->next)
        n += serves(g, port);
    if (n == 0)
        return false;
    at = h->turn++ % n;
    for (const struct guest *g = h->guests; g; g = g->next)
        if (serves(g, port) && at-- == 0)
            return hosts_find(h->hosts, g->who.self, ret);
    return false;
}

static int open_tunnels(struct hub *h, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/hosts", h->options->etc);

    h->hosts = hosts_new(path);
    h->tunnels = tunnels_new(h->loop, h->options, find_server, h, err);
    return h->tunnels ? 0 : -1;
}

struct hub *hub_new(struct loop *loop, const struct agent_options *options, void (*changed)(void *arg), void *arg,
                    struct err *err)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options->hub_port)};
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    struct hub *h;

    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 128) < 0) {
        err_set_errno(err, 125, errno, "listening on the hub's port %lld", (long long)options->hub_port);
        return NULL;
    }
    h = xcalloc(1, sizeof(*h));
    *h = (struct hub){.loop = loop, .options = options, .fd = steal_fd(&fd), .changed = changed, .arg = arg};
    h->shares = share_hub_new();
    h->io = loop_io_add(loop, h->fd, POLLIN, on_connect, h);
    h->beat = loop_timer_add(loop, options->speak_every, on_beat, h);
    if (open_tunnels(h, err) < 0) {
        hub_free(h);
        return NULL;
    }
    return h;
}

void hub_free(struct hub *h)
{
    if (!h)
        return;
    for (struct guest *g = h->guests; g; g = g->next)
        g->dead = true;
    hub_sweep(h);
    share_hub_free(h->shares);
    tunnels_free(h->tunnels);
    hosts_free(h->hosts);
    loop_io_del(h->io);
    loop_timer_del(h->beat);
    close(h->fd);
    free(h);
}
