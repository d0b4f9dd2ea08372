/*
 * The few rtnetlink messages that a sandbox's network takes, so that no program is started for them. A socket belongs
 * to the network namespace in which it was opened.
 */
#include "backends/engine/rt_internal.h"

#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#define MESSAGE_MAX 1024
#define ANSWER_MAX  32768

struct message {
    struct nlmsghdr head;
    char body[MESSAGE_MAX];
};

int rt_nl_open(struct err *err)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    struct timeval patience = {.tv_sec = 10};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        err_set_errno(err, 125, errno, "opening a netlink socket");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

/* Starts a message with its fixed part. */
static void *begin(struct message *m, uint16_t type, uint16_t flags, size_t fixed)
{
    memset(m, 0, sizeof(*m));
    m->head = (struct nlmsghdr){
        .nlmsg_len = NLMSG_LENGTH(fixed), .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags, .nlmsg_seq = 1};
    return NLMSG_DATA(&m->head);
}

static struct rtattr *add(struct message *m, uint16_t type, const void *data, size_t len)
{
    struct rtattr *attr = (struct rtattr *)((char *)m + NLMSG_ALIGN(m->head.nlmsg_len));

    attr->rta_type = type;
    attr->rta_len = (uint16_t)RTA_LENGTH(len);
    if (len)
        memcpy(RTA_DATA(attr), data, len);
    m->head.nlmsg_len = (uint32_t)(NLMSG_ALIGN(m->head.nlmsg_len) + RTA_ALIGN(attr->rta_len));
    return attr;
}

/* Ends an attribute that holds others. */
static void close_nest(struct message *m, struct rtattr *attr)
{
    attr->rta_len = (uint16_t)((char *)m + m->head.nlmsg_len - (char *)attr);
}

/* Sends and waits for the acknowledgement; 0, or -errno as the kernel gave it. */
static int talk(int fd, struct message *m)
{
    union {
        struct nlmsghdr head;
        char bytes[4096];
    } answer;
    ssize_t got;

    m->head.nlmsg_flags |= NLM_F_ACK;
    if (send(fd, m, m->head.nlmsg_len, 0) < 0)
        return -errno;
    do {
        got = recv(fd, &answer, sizeof(answer), 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    if (answer.head.nlmsg_type != NLMSG_ERROR)
        return -EPROTO;
    return ((struct nlmsgerr *)NLMSG_DATA(&answer.head))->error;
}

static int done(int result, const char *what, struct err *err)
{
    return result < 0 ? err_set_errno(err, 125, -result, "network: %s", what) : 0;
}

int rt_nl_veth(int fd, const char *host, const char *inside, int ns, const uint8_t mac[6], struct err *err)
{
    struct message m;
    struct ifinfomsg *link = begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*link)), peer = {0};
    struct rtattr *info, *data, *other;

    link->ifi_flags = link->ifi_change = IFF_UP;
    add(&m, IFLA_IFNAME, host, strlen(host) + 1);
    info = add(&m, IFLA_LINKINFO, NULL, 0);
    add(&m, IFLA_INFO_KIND, "veth", 5);
    data = add(&m, IFLA_INFO_DATA, NULL, 0);
    other = add(&m, VETH_INFO_PEER, &peer, sizeof(peer));
    add(&m, IFLA_IFNAME, inside, strlen(inside) + 1);
    add(&m, IFLA_ADDRESS, mac, 6);
    add(&m, IFLA_NET_NS_FD, &ns, sizeof(ns));
    close_nest(&m, other);
    close_nest(&m, data);
    close_nest(&m, info);
    return done(talk(fd, &m), host, err);
}

int rt_nl_index(int fd, const char *name, struct err *err)
{
    union {
        struct nlmsghdr head;
        char bytes[ANSWER_MAX];
    } answer;
    struct message m;
    struct ifinfomsg *link = begin(&m, RTM_GETLINK, 0, sizeof(*link));

    add(&m, IFLA_IFNAME, name, strlen(name) + 1);
    if (send(fd, &m, m.head.nlmsg_len, 0) < 0 || recv(fd, &answer, sizeof(answer), 0) < 0)
        return err_set_errno(err, 125, errno, "network: %s", name);
    if (answer.head.nlmsg_type == NLMSG_ERROR)
        return done(((struct nlmsgerr *)NLMSG_DATA(&answer.head))->error, name, err);
    link = NLMSG_DATA(&answer.head);
    return link->ifi_index;
}

int rt_nl_up(int fd, int index, struct err *err)
{
    struct message m;
    struct ifinfomsg *link = begin(&m, RTM_NEWLINK, 0, sizeof(*link));

    link->ifi_index = index;
    link->ifi_flags = link->ifi_change = IFF_UP;
    return done(talk(fd, &m), "bringing a device up", err);
}

int rt_nl_address(int fd, int index, uint32_t local, uint32_t peer, int prefix, struct err *err)
{
    struct message m;
    struct ifaddrmsg *address = begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*address));
    uint32_t net_local = htonl(local), net_peer = htonl(peer);

    address->ifa_family = AF_INET;
    address->ifa_prefixlen = (uint8_t)prefix;
    address->ifa_index = (uint32_t)index;
    add(&m, IFA_LOCAL, &net_local, 4);
    add(&m, IFA_ADDRESS, &net_peer, 4);
    return done(talk(fd, &m), "setting an address", err);
}

int rt_nl_default_route(int fd, uint32_t gateway, struct err *err)
{
    struct message m;
    struct rtmsg *route = begin(&m, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*route));
    uint32_t net_gateway = htonl(gateway);

    route->rtm_family = AF_INET;
    route->rtm_table = RT_TABLE_MAIN;
    route->rtm_protocol = RTPROT_BOOT;
    route->rtm_scope = RT_SCOPE_UNIVERSE;
    route->rtm_type = RTN_UNICAST;
    add(&m, RTA_GATEWAY, &net_gateway, 4);
    return done(talk(fd, &m), "setting the default route", err);
}

int rt_nl_delete(int fd, const char *name, struct err *err)
{
    struct message m;
    struct ifinfomsg *link = begin(&m, RTM_DELLINK, 0, sizeof(*link));
    int result;

    (void)link;
    add(&m, IFLA_IFNAME, name, strlen(name) + 1);
    result = talk(fd, &m);
    return result == -ENODEV ? 0 : done(result, name, err);
}

/* ---- lists ---- */

typedef void entry_fn(const struct nlmsghdr *head, void *arg);

static int dump(int fd, uint16_t type, size_t fixed, uint8_t family, entry_fn *fn, void *arg, struct err *err)
{
    union {
        struct nlmsghdr head;
        char bytes[ANSWER_MAX];
    } answer;
    struct message m;
    uint8_t *first = begin(&m, type, NLM_F_DUMP, fixed);

    *first = family; /* every kind of fixed part begins with it */
    if (send(fd, &m, m.head.nlmsg_len, 0) < 0)
        return err_set_errno(err, 125, errno, "network: asking for a list");
    for (;;) {
        ssize_t got = recv(fd, &answer, sizeof(answer), 0);
        unsigned left = got > 0 ? (unsigned)got : 0;

        if (got <= 0)
            return err_set_errno(err, 125, got < 0 ? errno : EPROTO, "network: reading a list");
        for (struct nlmsghdr *h = &answer.head; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
            if (h->nlmsg_type == NLMSG_DONE)
                return 0;
            if (h->nlmsg_type == NLMSG_ERROR)
                return done(((struct nlmsgerr *)NLMSG_DATA(h))->error, "reading a list", err);
            fn(h, arg);
        }
    }
}

/* The attribute of a type among those that follow a message's fixed part, or NULL. */
static const void *find(const struct nlmsghdr *head, size_t fixed, uint16_t type)
{
    const char *end = (const char *)head + head->nlmsg_len;

    for (const char *at = (const char *)head + NLMSG_ALIGN(NLMSG_LENGTH(fixed)); at + sizeof(struct rtattr) <= end;) {
        const struct rtattr *attr = (const struct rtattr *)at;

        if (attr->rta_len < sizeof(*attr) || at + attr->rta_len > end)
            return NULL;
        if (attr->rta_type == type)
            return at + RTA_LENGTH(0);
        at += RTA_ALIGN(attr->rta_len);
    }
    return NULL;
}

static void note_link(const struct nlmsghdr *head, void *arg)
{
    const char *name = find(head, sizeof(struct ifinfomsg), IFLA_IFNAME);

    if (name)
        strlist_add(arg, name);
}

int rt_nl_links(int fd, struct strlist *ret_names, struct err *err)
{
    return dump(fd, RTM_GETLINK, sizeof(struct ifinfomsg), AF_UNSPEC, note_link, ret_names, err);
}

struct range {
    uint32_t base;
    int prefix;
    bool met;
};

static void compare(struct range *r, const void *address, int prefix)
{
    uint32_t other, mask;
    int shorter = prefix < r->prefix ? prefix : r->prefix;

    if (!address || prefix == 0)
        return;
    memcpy(&other, address, 4);
    mask = 0xffffffffu << (32 - shorter);
    if ((ntohl(other) & mask) == (r->base & mask))
        r->met = true;
}

static void compare_address(const struct nlmsghdr *head, void *arg)
{
    const struct ifaddrmsg *a = NLMSG_DATA(head);

    compare(arg, find(head, sizeof(*a), IFA_ADDRESS), a->ifa_prefixlen);
}

static void compare_route(const struct nlmsghdr *head, void *arg)
{
    const struct rtmsg *route = NLMSG_DATA(head);

    compare(arg, find(head, sizeof(*route), RTA_DST), route->rtm_dst_len);
}

int rt_nl_overlaps(int fd, uint32_t base, int prefix, bool *ret, struct err *err)
{
    struct range r = {.base = base, .prefix = prefix};

    if (dump(fd, RTM_GETADDR, sizeof(struct ifaddrmsg), AF_INET, compare_address, &r, err) < 0 ||
        dump(fd, RTM_GETROUTE, sizeof(struct rtmsg), AF_INET, compare_route, &r, err) < 0)
        return -1;
    *ret = r.met;
    return 0;
}
