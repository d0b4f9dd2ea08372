#include "backends/agent/names.h"

#include "backends/agent/address.h"
#include "backends/agent/agent.h"
#include "backends/agent/hosts.h"
#include "backends/agent/member.h"
#include "backends/agent/resolv.h"
#include "backends/agent/resolver.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/utsname.h>

struct names {
    struct loop *loop;
    const struct agent_options *options;
    struct wire_names words;
    struct hosts *hosts;
    struct member *member;
    struct resolver *resolver;
    struct wire_table table;
    bool have_table;
    int64_t born;
    unsigned turn; /* which of several addresses comes first */
    char reverse[DNS_NAME_MAX + 1];
    void (*told)(void *arg); /* who changed the names waits for the hub; NULL: nobody */
    void *told_arg;
    struct loop_timer *told_timer;
};

/* The records of one answer as they are gathered. */
struct gathering {
    uint16_t type;
    struct dns_record *records;
    size_t n;
    bool known;   /* somebody has the name */
    bool pending; /* and no address yet */
};

static void gather(struct gathering *g, uint16_t type, const void *address)
{
    struct dns_record *r = &g->records[g->n];

    g->known = true;
    if (type != g->type || g->n == NAMES_RECORDS)
        return;
    r->type = type;
    if (type == DNS_A)
        memcpy(&r->v4, address, sizeof(r->v4));
    else
        memcpy(&r->v6, address, sizeof(r->v6));
    g->n++;
}

/* ---- --add-host ---- */

/* NAME:ADDRESS, or NAME=ADDRESS as newer compose files have it. */
static void find_given(const struct names *n, const char *name, struct gathering *g)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < n->words.hosts.len; i++) {
        const char *item = n->words.hosts.items[i], *address;
        struct in_addr v4;
        struct in6_addr v6;

        if (strncasecmp(item, name, len) != 0 || (item[len] != ':' && item[len] != '='))
            continue;
        address = item + len + 1;
        if (inet_pton(AF_INET, address, &v4) == 1)
            gather(g, DNS_A, &v4);
        else if (inet_pton(AF_INET6, address, &v6) == 1)
            gather(g, DNS_AAAA, &v6);
    }
}

/* ---- members ---- */

/* The part of NETWORK/NAME behind the network; NULL: there is none. */
static const char *name_part(const char *item)
{
    const char *slash = strchr(item, '/');

    return slash ? slash + 1 : NULL;
}

static bool in_network(const struct names *n, const char *network, size_t len)
{
    for (size_t i = 0; i < n->words.members.len; i++) {
        const char *ours = n->words.members.items[i];

        if (!strncmp(ours, network, len) && ours[len] == '/')
            return true;
    }
    return false;
}

/* Is NETWORK/NAME, in a network of ours, what is asked for: NAME, or NAME.NETWORK? */
static bool item_is(const struct names *n, const char *item, const char *asked)
{
    const char *name = name_part(item);
    size_t network = name ? (size_t)(name - item) - 1 : 0, len = name ? strlen(name) : 0;

    if (!len || !in_network(n, item, network) || strncasecmp(asked, name, len) != 0)
        return false;
    if (!asked[len])
        return true;
    return asked[len] == '.' && strlen(asked + len + 1) == network && !strncasecmp(asked + len + 1, item, network);
}

static bool shares_network(const struct names *n, const struct strlist *items)
{
    for (size_t i = 0; i < items->len; i++) {
        const char *name = name_part(items->items[i]);

        if (name && in_network(n, items->items[i], (size_t)(name - items->items[i]) - 1))
            return true;
    }
    return false;
}

static bool member_is(const struct names *n, const char *self, const struct strlist *items, const char *asked)
{
    if (!strcasecmp(self, asked) && shares_network(n, items))
        return true;
    for (size_t i = 0; i < items->len; i++)
        if (item_is(n, items->items[i], asked))
            return true;
    return false;
}

static bool is_self(const struct names *n, const char *self)
{
    return !strcmp(self, n->words.self);
}

static void gather_member(struct names *n, const char *self, struct gathering *g)
{
    struct in_addr address;

    g->known = true;
    if (hosts_find(n->hosts, self, &address) || (is_self(n, self) && address_own(&address)))
        gather(g, DNS_A, &address);
    else
        g->pending = true;
}

static bool is_host_name(const char *name)
{
    struct utsname u;

    return uname(&u) == 0 && !strcasecmp(u.nodename, name);
}

static void find_members(struct names *n, const char *name, struct gathering *g)
{
    bool own = !strcasecmp(n->words.self, name) || member_is(n, n->words.self, &n->words.members, name);

    if (own || is_host_name(name))
        gather_member(n, n->words.self, g);
    for (size_t i = 0; i < n->table.len; i++) {
        const struct wire_member *m = &n->table.items[i];

        if (!is_self(n, m->self) && member_is(n, m->self, &m->names, name))
            gather_member(n, m->self, g);
    }
}

/* Another one comes first each time. */
static void rotate(struct names *n, struct gathering *g)
{
    struct dns_record all[NAMES_RECORDS];
    size_t first = g->n ? n->turn++ % g->n : 0;

    memcpy(all, g->records, g->n * sizeof(all[0]));
    for (size_t i = 0; i < g->n; i++)
        g->records[i] = all[(i + first) % g->n];
}

/* ---- addresses ---- */

/* NAME.NETWORK of the first name that a member has in a network of ours. */
static bool name_of(struct names *n, const char *self, const struct strlist *items)
{
    for (size_t i = 0; i < items->len; i++) {
        const char *item = items->items[i], *name = name_part(item);
        size_t network = name ? (size_t)(name - item) - 1 : 0;

        if (!name || !in_network(n, item, network))
            continue;
        snprintf(n->reverse, sizeof(n->reverse), "%s.%.*s", name, (int)network, item);
        return true;
    }
    if (is_self(n, self))
        snprintf(n->reverse, sizeof(n->reverse), "%s", self);
    return is_self(n, self);
}

static bool find_reverse(struct names *n, struct in_addr address)
{
    struct in_addr own;
    const char *self;

    for (size_t i = 0; (self = hosts_name_of(n->hosts, address, i)); i++) {
        if (is_self(n, self))
            return name_of(n, self, &n->words.members);
        for (size_t k = 0; k < n->table.len; k++)
            if (!strcasecmp(n->table.items[k].self, self) && name_of(n, self, &n->table.items[k].names))
                return true;
    }
    return address_own(&own) && own.s_addr == address.s_addr && name_of(n, n->words.self, &n->words.members);
}

enum names_found names_find(struct names *n, const char *name, uint16_t type, struct dns_record *records, size_t *ret_n)
{
    struct gathering g = {.type = type, .records = records};
    struct in_addr address;

    *ret_n = 0;
    if (!*name)
        return NAMES_UNKNOWN;
    if (type == DNS_PTR && dns_reverse(name, &address)) {
        if (!find_reverse(n, address))
            return NAMES_UNKNOWN;
        records[0] = (struct dns_record){.type = DNS_PTR, .name = n->reverse};
        *ret_n = 1;
        return NAMES_KNOWN;
    }
    find_given(n, name, &g);
    if (!g.known)
        find_members(n, name, &g);
    rotate(n, &g);
    *ret_n = g.n;
    if (g.known)
        return g.pending && !g.n && type == DNS_A ? NAMES_NO_ADDRESS : NAMES_KNOWN;
    return n->have_table || loop_now() - n->born > NAMES_GRACE ? NAMES_UNKNOWN : NAMES_NO_TABLE;
}

/* ---- life ---- */

static bool find_hub(void *arg, struct in_addr *ret)
{
    struct names *n = arg;

    return hosts_find(n->hosts, n->words.hub, ret);
}

static void tell(struct names *n)
{
    void (*told)(void *arg) = n->told;

    n->told = NULL;
    if (n->told_timer)
        loop_timer_stop(n->told_timer);
    if (told)
        told(n->told_arg);
}

static void on_told_late(struct loop *loop, void *arg)
{
    (void)loop;
    tell(arg);
}

static bool same_list(const struct strlist *a, const struct strlist *b)
{
    if (a->len != b->len)
        return false;
    for (size_t i = 0; i < a->len; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

/* Whether the hub's table has us as we are. */
static bool is_known(const struct names *n)
{
    for (size_t i = 0; i < n->table.len; i++)
        if (is_self(n, n->table.items[i].self))
            return same_list(&n->table.items[i].names, &n->words.members);
    return false;
}

static void on_table(void *arg, struct wire_table *t)
{
    struct names *n = arg;

    wire_table_clear(&n->table);
    n->table = *t;
    n->have_table = true;
    resolver_look_again(n->resolver);
    if (n->told && is_known(n))
        tell(n);
}

void names_change(struct names *n, struct wire_names *names, void (*told)(void *arg), void *arg)
{
    tell(n);
    strlist_clear(&n->words.members);
    strlist_clear(&n->words.hosts);
    n->words.members = names->members;
    n->words.hosts = names->hosts;
    names->members = names->hosts = (struct strlist)STRLIST_INIT;
    n->told = told;
    n->told_arg = arg;
    if (!n->member || is_known(n)) {
        tell(n);
        return;
    }
    member_tell(n->member);
    if (!n->told_timer)
        n->told_timer = loop_timer_add(n->loop, NAMES_GRACE, on_told_late, n);
    loop_timer_set(n->told_timer, NAMES_GRACE);
}

bool names_own_address(struct names *n, struct in_addr *ret)
{
    return hosts_find(n->hosts, n->words.self, ret) || address_own(ret);
}

static const struct member_events member_events = {find_hub, on_table};

/* The resolver first: nobody is pointed at one that is not there. */
static int start_resolver(struct names *n, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/resolv.conf", n->options->etc);
    cleanup_with(resolv_clear) struct resolv old = {0};

    resolv_read(path, n->options->dns_address, &old);
    if (n->words.internal)
        old.n_servers = 0;
    n->resolver = resolver_new(n->loop, n->options, &old, n, err);
    if (!n->resolver)
        return -1;
    return resolv_write(path, n->options->dns_address, &old, err);
}

struct names *names_new(struct loop *loop, const struct agent_options *options, const struct wire_names *names,
                        char **note)
{
    cleanup_free char *path = xasprintf("%s/hosts", options->etc);
    cleanup_err struct err err = ERR_INIT;
    struct names *n = xcalloc(1, sizeof(*n));

    n->loop = loop;
    n->options = options;
    wire_names_copy(&n->words, names);
    n->hosts = hosts_new(path);
    n->have_table = !names->hub || !names->hub[0];
    if (start_resolver(n, &err) < 0)
        *note = xasprintf("only the names in %s are known: %s", path, err.msg);
    return n;
}

void names_join(struct names *n)
{
    if (!n || n->member || !n->words.hub || !n->words.hub[0])
        return;
    n->born = loop_now();
    n->member = member_new(n->loop, n->options, &n->words, &member_events, n);
}

void names_leave(struct names *n)
{
    if (!n)
        return;
    member_free(n->member);
    n->member = NULL;
}

void names_free(struct names *n)
{
    if (!n)
        return;
    loop_timer_del(n->told_timer);
    member_free(n->member);
    resolver_free(n->resolver);
    hosts_free(n->hosts);
    wire_table_clear(&n->table);
    wire_names_clear(&n->words);
    free(n);
}
