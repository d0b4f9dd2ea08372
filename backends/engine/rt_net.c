/*
 * Sandboxes' network: a subnet per engine, a veth per container, routed, not bridged. Each host end has the gateway's
 * address and a route to its one container, so a container cannot see another's frames, and the device that a packet
 * came by says who sent it. Devices are called atp<engine>v<sandbox>x<container>, numbers in hex, where a sandbox's
 * number is that of its first container: one rule then lets the containers of a sandbox through to one another. The
 * host ends of such a sandbox answer ARP for its neighbours, whom a container takes for being on its own wire. Subnet
 * and device names bear the engine's number, which it holds by a lock in /run for as long as it lives; a number that
 * can be locked belongs to nobody, and what bears it is rubbish. Engines that see another /run (another root, a
 * container) but the same network are told apart by a socket of the abstract name space, which belongs to the network
 * namespace as the devices do.
 */
#include "backends/engine/rt_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LOCKS         "/run/atp-engine"
#define ENGINES       64          /* engines with a network on one machine */
#define SUBNET_PREFIX 21          /* 2045 sandboxes */
#define FIRST_SUBNET  0x0ac90000u /* 10.201.0.0, upwards to 10.255.0.0 */
#define LAST_SUBNET   0x0aff0000u
#define LAST_NUMBER   0xffffu /* of a container: a device's name has room for two of four digits */

struct rt_net {
    char *slirp; /* the program, and nothing of the following: a sandbox's network is its own process */
    unsigned number;
    int lock, claim;
    uint32_t base; /* the gateway is base + 1 */
    int prefix;
    char *note; /* run/net: our number, for recovery */
    pthread_mutex_t mutex;
    unsigned char *taken; /* by address number */
    unsigned next;
    pthread_mutex_t joining;
    unsigned char *joined; /* by group: its rule is there */
};

/* ---- numbers ---- */

static char *lock_path(unsigned number)
{
    return xasprintf(LOCKS "/net-%u", number);
}

/* Holds a number; -1 when another engine does. A file that was removed while we waited for it locks nothing. */
static int lock_number(unsigned number)
{
    cleanup_free char *path = lock_path(number);
    struct stat held, named;

    for (int tries = 0; tries < 10; tries++) {
        cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
            return -1;
        if (fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino)
            return steal_fd(&fd);
    }
    return -1;
}

/* The same within the network namespace, for who sees another /run. -1: taken. */
static int claim_number(unsigned number)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int len = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "atp-engine-net-%u", number);

    if (fd < 0 || bind(fd, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) < 0)
        return -1;
    return steal_fd(&fd);
}

static void unlock_number(unsigned number, int lock)
{
    cleanup_free char *path = lock_path(number);

    unlink(path);
    rt_spawn_unhide(lock);
    close(lock);
}

/* Devices of a number that nobody holds. */
static void remove_links(unsigned number)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;
    cleanup_close int fd = rt_nl_open(NULL);
    char prefix[16];

    snprintf(prefix, sizeof(prefix), "atp%uv", number);
    if (fd < 0 || rt_nl_links(fd, &names, NULL) < 0)
        return;
    for (size_t i = 0; i < names.len; i++)
        if (strncmp(names.items[i], prefix, strlen(prefix)) == 0)
            rt_nl_delete(fd, names.items[i], NULL);
}

/*
 * A number's file without a holder was left by an engine that was killed, ours or one whose state folder is gone.
 * Whoever comes next cleans up behind it.
 */
void rt_net_recover(void)
{
    for (unsigned number = 0; number < ENGINES; number++) {
        cleanup_free char *path = lock_path(number);
        int lock = access(path, F_OK) == 0 ? lock_number(number) : -1, claim;

        if (lock < 0)
            continue;
        claim = claim_number(number);
        if (claim >= 0) {
            remove_links(number);
            rt_firewall_remove(number);
            close(claim);
        }
        unlock_number(number, lock);
    }
}

/* ---- setting up ---- */

static int parse_subnet(const char *text, uint32_t *ret_base, int *ret_prefix, struct err *err)
{
    char address[16];
    struct in_addr in;
    int prefix, used = 0;

    if (sscanf(text, "%15[0-9.]/%d%n", address, &prefix, &used) != 2 || text[used] ||
        inet_pton(AF_INET, address, &in) != 1 || prefix < 8 || prefix > 29)
        return err_set(err, 125, "ATP_ENGINE_SUBNET=%s: not an IPv4 range such as 10.201.0.0/21", text);
    *ret_prefix = prefix;
    *ret_base = ntohl(in.s_addr) & (0xffffffffu << (32 - prefix));
    return 0;
}

/* A range that no address and no route of this machine meets. Searched under a lock, for engines start at one time. */
static int choose_subnet(struct rt_net *net, struct err *err)
{
    const char *asked = getenv("ATP_ENGINE_SUBNET");
    cleanup_close int fd = rt_nl_open(err);
    const uint32_t step = 1u << (32 - SUBNET_PREFIX);
    bool overlaps;

    if (fd < 0)
        return -1;
    if (asked && *asked) {
        if (parse_subnet(asked, &net->base, &net->prefix, err) < 0)
            return -1;
        if (rt_nl_overlaps(fd, net->base, net->prefix, &overlaps, err) < 0)
            return -1;
        return overlaps ? err_set(err, 125, "ATP_ENGINE_SUBNET=%s is in use on this machine", asked) : 0;
    }
    net->prefix = SUBNET_PREFIX;
    /* Every engine begins at its own place, so two of them agree without talking. */
    for (net->base = FIRST_SUBNET + net->number * step; net->base < LAST_SUBNET; net->base += ENGINES * step) {
        if (rt_nl_overlaps(fd, net->base, net->prefix, &overlaps, err) < 0)
            return -1;
        if (!overlaps)
            return 0;
    }
    return err_set(err, 125, "no free range of addresses between 10.201.0.0 and 10.255.0.0: set ATP_ENGINE_SUBNET");
}

static char *subnet_text(const struct rt_net *net)
{
    uint32_t b = net->base;

    return xasprintf("%u.%u.%u.%u/%d", b >> 24, b >> 16 & 255, b >> 8 & 255, b & 255, net->prefix);
}

/* The first number that nobody holds. */
static int take_number(struct rt_net *net, struct err *err)
{
    for (net->number = 0; net->number < ENGINES; net->number++) {
        net->lock = lock_number(net->number);
        if (net->lock < 0)
            continue;
        net->claim = claim_number(net->number);
        if (net->claim >= 0) {
            rt_spawn_hide(net->lock);
            rt_spawn_hide(net->claim);
            return 0;
        }
        unlock_number(net->number, net->lock);
        net->lock = -1;
    }
    return err_set(err, 125, "%d engines have a network already", ENGINES);
}

static int set_up(struct rt_net *net, const struct strlist *nameservers, struct err *err)
{
    cleanup_free char *subnet = NULL;

    if (fs_mkdirs(LOCKS, 0700, err) < 0)
        return -1;
    if (take_number(net, err) < 0 || choose_subnet(net, err) < 0)
        return -1;
    subnet = subnet_text(net);
    if (rt_firewall_setup(net->number, subnet, nameservers, err) < 0)
        return -1;
    if (rt_write_text("/proc/sys/net/ipv4/ip_forward", "1", 0644, err) < 0)
        return err_wrap(err, "switching forwarding on");
    net->taken = xcalloc(1u << (32 - net->prefix), 1);
    net->joined = xcalloc(1u << (32 - net->prefix), 1);
    return 0;
}

/* A namespace and a veth are made and thrown away: what sandboxes will need is tried, not guessed. */
static int try_out(struct rt_net *net, struct err *err)
{
    struct rt_net_slot slot = {.ns = -1};
    int result = rt_net_attach(net, RT_NETWORK_OPEN, NULL, &slot, err);

    rt_net_detach(net, &slot);
    return result;
}

struct rt_net *rt_net_new(const struct strlist *nameservers, char **ret_reason)
{
    struct rt_net *net = xcalloc(1, sizeof(*net));
    struct err err = ERR_INIT;

    net->lock = net->claim = -1;
    pthread_mutex_init(&net->mutex, NULL);
    pthread_mutex_init(&net->joining, NULL);
    if (set_up(net, nameservers, &err) == 0 && try_out(net, &err) == 0)
        return net;
    *ret_reason = xasprintf("no network for sandboxes: %s", err.msg);
    err_clear(&err);
    rt_net_free(net);
    return NULL;
}

struct rt_net *rt_net_new_rootless(char **ret_refusal)
{
    struct rt_net *net = xcalloc(1, sizeof(*net));
    struct err err = ERR_INIT;

    net->lock = net->claim = -1;
    pthread_mutex_init(&net->mutex, NULL);
    pthread_mutex_init(&net->joining, NULL);
    net->slirp = rt_find_program("slirp4netns");
    if (!net->slirp)
        err_set(&err, 125, "install the package slirp4netns");
    else if (access("/dev/net/tun", R_OK | W_OK) < 0)
        err_set_errno(&err, 125, errno, "slirp4netns needs /dev/net/tun (as root: chmod 666 /dev/net/tun)");
    else if (try_out(net, &err) == 0)
        return net;
    *ret_refusal = xasprintf("no network for containers without root: %s", err.msg);
    err_clear(&err);
    rt_net_free(net);
    return NULL;
}

void rt_net_free(struct rt_net *net)
{
    if (!net)
        return;
    if (net->lock >= 0) {
        remove_links(net->number);
        rt_firewall_remove(net->number);
        rt_spawn_unhide(net->claim);
        close(net->claim);
        unlock_number(net->number, net->lock);
    }
    pthread_mutex_destroy(&net->mutex);
    pthread_mutex_destroy(&net->joining);
    free(net->slirp);
    free(net->taken);
    free(net->joined);
    free(net);
}

/* ---- addresses ---- */

/* Numbers go round, so that one is not used again at once: what still talks to its last owner finds nobody. */
static unsigned take_address(struct rt_net *net)
{
    unsigned last = (1u << (32 - net->prefix)) - 2, found = 0;

    if (last > LAST_NUMBER)
        last = LAST_NUMBER;
    pthread_mutex_lock(&net->mutex);
    for (unsigned i = 0; i < last - 1 && !found; i++) {
        unsigned candidate = 2 + (net->next + i) % (last - 1);

        if (!net->taken[candidate])
            found = candidate;
    }
    if (found) {
        net->taken[found] = 1;
        net->next = found - 1;
    }
    pthread_mutex_unlock(&net->mutex);
    return found;
}

static void give_back(struct rt_net *net, unsigned index)
{
    pthread_mutex_lock(&net->mutex);
    net->taken[index] = 0;
    pthread_mutex_unlock(&net->mutex);
}

int rt_net_check_cidrs(const struct strlist *cidrs, struct err *err)
{
    for (size_t i = 0; i < cidrs->len; i++) {
        const char *slash = strchr(cidrs->items[i], '/');
        cleanup_free char *address =
            xstrndup(cidrs->items[i], slash ? (size_t)(slash - cidrs->items[i]) : strlen(cidrs->items[i]));
        bool six = strchr(address, ':');
        unsigned char bytes[16];
        char *end = NULL;
        long prefix = slash ? strtol(slash + 1, &end, 10) : 32;

        if (inet_pton(six ? AF_INET6 : AF_INET, address, bytes) != 1 ||
            (slash && (end == slash + 1 || *end || slash[1] < '0' || slash[1] > '9')) || prefix > (six ? 128 : 32))
            return err_set(err, 125, "%s: not an address range", cidrs->items[i]);
    }
    return 0;
}

/* ---- one sandbox ---- */

/* What the names of a group's devices begin with. */
static void group_name(const struct rt_net *net, unsigned group, char name[16])
{
    snprintf(name, 16, "atp%uv%xx", net->number, group & LAST_NUMBER);
}

static void link_name(const struct rt_net *net, unsigned group, unsigned index, char name[16])
{
    snprintf(name, 16, "atp%uv%xx%x", net->number, group & LAST_NUMBER, index & LAST_NUMBER);
}

struct new_namespace {
    int ns, inside; /* inside is a netlink socket in it */
    struct err err;
};

/* A thread that goes into a new namespace and ends there: without root nobody could come back from it. */
static void *go_and_make(void *arg)
{
    struct new_namespace *n = arg;

    if (unshare(CLONE_NEWNET) == 0)
        n->ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (n->ns < 0)
        err_set_errno(&n->err, 125, errno, "making a network namespace");
    else
        n->inside = rt_nl_open(&n->err);
    return NULL;
}

static int make_namespace(int *ret_ns, int *ret_inside, struct err *err)
{
    struct new_namespace n = {.ns = -1, .inside = -1};
    pthread_t thread;

    if (pthread_create(&thread, NULL, go_and_make, &n) != 0)
        return err_set(err, 125, "making a network namespace: no thread");
    pthread_join(thread, NULL);
    if (n.inside < 0) {
        if (n.ns >= 0)
            close(n.ns);
        return err_move(err, &n.err);
    }
    *ret_ns = n.ns;
    *ret_inside = n.inside;
    return 0;
}

/* What a sandbox sends by its device must come from its address, and IPv6 is not for it. */
static int harden(const char *link, struct err *err)
{
    static const struct {
        const char *family, *name, *value;
    } settings[] = {{"ipv4", "rp_filter", "1"}, {"ipv4", "accept_redirects", "0"}, {"ipv6", "disable_ipv6", "1"}};

    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
        cleanup_free char *path = xasprintf("/proc/sys/net/%s/conf/%s/%s", settings[i].family, link, settings[i].name);

        if (access(path, F_OK) < 0 && strcmp(settings[i].family, "ipv6") == 0)
            continue; /* a kernel without IPv6 */
        if (rt_write_text(path, settings[i].value, 0644, err) < 0)
            return -1;
    }
    return 0;
}

/* ARP for the other containers of the sandbox is answered at its device, at once. */
static int answer_for_neighbours(const char *link, struct err *err)
{
    cleanup_free char *proxy = xasprintf("/proc/sys/net/ipv4/conf/%s/proxy_arp", link);
    cleanup_free char *delay = xasprintf("/proc/sys/net/ipv4/neigh/%s/proxy_delay", link);

    if (rt_write_text(delay, "0", 0644, err) < 0)
        return -1;
    return rt_write_text(proxy, "1", 0644, err);
}

static int plug_in(struct rt_net *net, struct rt_net_slot *slot, int inside, struct err *err)
{
    cleanup_close int fd = rt_nl_open(err);
    uint32_t address = net->base + slot->index;
    const uint8_t mac[6] = {0x02, 0x42, address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255};
    char link[16];
    int index;

    if (fd < 0)
        return -1;
    link_name(net, slot->group, slot->index, link);
    if (rt_nl_veth(fd, link, "eth0", slot->ns, mac, err) < 0 || harden(link, err) < 0)
        return -1;
    index = rt_nl_index(fd, link, err);
    if (index < 0 || rt_nl_address(fd, index, net->base + 1, address, 32, err) < 0)
        return -1;
    index = rt_nl_index(inside, "eth0", err);
    if (index < 0 || rt_nl_address(inside, index, address, address, net->prefix, err) < 0 ||
        rt_nl_up(inside, index, err) < 0 || rt_nl_default_route(inside, net->base + 1, err) < 0)
        return -1;
    snprintf(slot->address, sizeof(slot->address), "%u.%u.%u.%u", address >> 24, address >> 16 & 255,
             address >> 8 & 255, address & 255);
    return 0;
}

/* One more container comes to a group: the rule is made with the first of them. */
static int join(struct rt_net *net, unsigned group, struct err *err)
{
    char prefix[16], first[16];
    int result = 0;

    group_name(net, group, prefix);
    link_name(net, group, group, first);
    pthread_mutex_lock(&net->joining);
    if (!net->joined[group]) {
        cleanup_free char *conf = xasprintf("/proc/sys/net/ipv4/conf/%s", first);

        if (access(conf, F_OK) == 0) /* the first container may have loopback only */
            result = answer_for_neighbours(first, err);
        if (result == 0)
            result = rt_firewall_join(net->number, prefix, err);
        net->joined[group] = result == 0;
    }
    pthread_mutex_unlock(&net->joining);
    return result;
}

static void part(struct rt_net *net, unsigned group)
{
    char prefix[16];

    group_name(net, group, prefix);
    pthread_mutex_lock(&net->joining);
    if (net->joined[group])
        rt_firewall_part(net->number, prefix);
    net->joined[group] = 0;
    pthread_mutex_unlock(&net->joining);
}

bool rt_net_joins(const struct rt_net *net)
{
    return !net->slirp;
}

unsigned rt_net_group(struct rt_net *net, struct rt_net_slot *slot)
{
    if (net && !net->slirp && !slot->group)
        slot->group = take_address(net);
    return slot->group;
}

int rt_net_attach(struct rt_net *net, enum rt_network mode, const struct strlist *cidrs, struct rt_net_slot *slot,
                  struct err *err)
{
    cleanup_close int inside = -1;
    char link[16];

    if (make_namespace(&slot->ns, &inside, err) < 0 || rt_nl_up(inside, 1, err) < 0)
        return -1;
    if (!net || mode == RT_NETWORK_BLOCKED)
        return 0;
    if (net->slirp)
        return rt_slirp_start(net->slirp, slot, err);
    slot->index = take_address(net);
    if (!slot->index)
        return err_set(err, 125, "all addresses of the sandboxes' network are in use");
    if (!slot->joined)
        slot->group = slot->index;
    link_name(net, slot->group, slot->index, link);
    /* The rules come first: there is no moment in which a restricted sandbox is open. */
    if (mode == RT_NETWORK_ALLOWLIST && rt_firewall_allow(net->number, link, cidrs, &slot->rules, err) < 0)
        return -1;
    if (slot->joined && join(net, slot->group, err) < 0)
        return -1;
    if (plug_in(net, slot, inside, err) < 0)
        return -1;
    return slot->joined ? answer_for_neighbours(link, err) : 0;
}

/* The new rules stand before the old ones until these are gone: there is no moment with neither. */
int rt_net_restrict(struct rt_net *net, struct rt_net_slot *slot, const struct strlist *cidrs, struct err *err)
{
    struct strlist old = slot->rules;
    char link[16];

    link_name(net, slot->group, slot->index, link);
    slot->rules = (struct strlist)STRLIST_INIT;
    if (cidrs && rt_firewall_allow(net->number, link, cidrs, &slot->rules, err) < 0) {
        slot->rules = old;
        return -1;
    }
    rt_firewall_disallow(&old);
    strlist_clear(&old);
    return 0;
}

void rt_net_detach(struct rt_net *net, struct rt_net_slot *slot)
{
    cleanup_close int fd = -1;
    char link[16];

    if (slot->ns >= 0)
        close(slot->ns);
    slot->ns = -1;
    if (slot->keeper)
        close(slot->keeper);
    slot->keeper = 0;
    if (!net || !slot->group)
        return;
    fd = rt_nl_open(NULL);
    link_name(net, slot->group, slot->index, link);
    if (fd >= 0 && slot->index)
        rt_nl_delete(fd, link, NULL);
    rt_firewall_disallow(&slot->rules);
    strlist_clear(&slot->rules);
    if (!slot->joined)
        part(net, slot->group);
    if (slot->index)
        give_back(net, slot->index);
    if (!slot->joined && slot->group != slot->index)
        give_back(net, slot->group);
    slot->index = slot->group = 0;
}
