/*
 * The packet filter, by one iptables-restore per change. Each engine has chains of its own, named by its number; what
 * the sandboxes send enters them by the name of their devices, which they cannot forge.
 */
#include "backends/engine/rt_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

static const char *const programs[] = {"/usr/sbin/iptables-restore", "/sbin/iptables-restore",
                                       "/usr/local/sbin/iptables-restore"};

static const char *program(void)
{
    for (size_t i = 0; i < sizeof(programs) / sizeof(*programs); i++)
        if (access(programs[i], X_OK) == 0)
            return programs[i];
    return NULL;
}

/* Feeds rules to iptables-restore; what it says on standard error becomes the message. */
static int restore(const struct buf *rules, struct err *err)
{
    cleanup_close int in = memfd_create("rules", MFD_CLOEXEC), out = memfd_create("said", MFD_CLOEXEC);
    char *argv[] = {(char *)(uintptr_t)program(), (char[]){"--noflush"}, (char[]){"--wait=10"}, NULL};
    struct rt_spawn spawn = {.argv = argv, .fds = {in, -1, out}, .mount_ns = -1};
    char said[512];
    ssize_t len;
    int status;

    if (!argv[0])
        return err_set(err, 125, "iptables is not installed");
    if (in < 0 || out < 0 || write(in, rules->data, rules->len) != (ssize_t)rules->len || lseek(in, 0, SEEK_SET) < 0)
        return err_set_errno(err, 125, errno, "iptables rules");
    status = rt_spawn_wait(&spawn, err);
    if (status == 0)
        return 0;
    if (status < 0)
        return -1;
    len = pread(out, said, sizeof(said) - 1, 0);
    said[len > 0 ? len : 0] = '\0';
    said[strcspn(said, "\n")] = '\0';
    return err_set(err, 125, "iptables: %s", *said ? said : "failed");
}

/* The jumps into our chains from the built-in ones, each with the table it belongs to; %u is our number. */
static const struct jump {
    const char *table, *chain, *rule;
} jumps[] = {
    {"nat", "POSTROUTING", "-j ATP%u-NAT"},
    {"filter", "INPUT", "-i atp%uv+ -j ATP%u-HOST"},
    {"filter", "FORWARD", "-i atp%uv+ -o atp%uv+ -j ATP%u-POD"},
    {"filter", "FORWARD", "-i atp%uv+ -j ATP%u-OUT"},
    {"filter", "FORWARD", "-o atp%uv+ -j ATP%u-BACK"},
};

#define JUMPS (sizeof(jumps) / sizeof(*jumps))

/* Takes one jump out again, as often as it is there; the failure of the last try says that it is gone. */
static void remove_jump(const struct jump *jump, unsigned number)
{
    for (int i = 0; i < 8; i++) {
        cleanup_buf struct buf rules = BUF_INIT(LIMIT_PATH);

        buf_addf(&rules, "*%s\n-D %s ", jump->table, jump->chain);
        buf_addf(&rules, jump->rule, number, number, number);
        buf_adds(&rules, "\nCOMMIT\n");
        if (restore(&rules, NULL) < 0)
            return;
    }
}

int rt_firewall_setup(unsigned number, const char *subnet, const struct strlist *nameservers, struct err *err)
{
    cleanup_buf struct buf rules = BUF_INIT(LIMIT_CONFIG_FILE);
    unsigned n = number;

    rt_firewall_remove(number);
    buf_addf(&rules, "*nat\n:ATP%u-NAT - [0:0]\n", n);
    buf_addf(&rules, "-A ATP%u-NAT -s %s ! -o atp%uv+ -j MASQUERADE\n", n, subnet, n);
    buf_addf(&rules, "-A POSTROUTING -j ATP%u-NAT\nCOMMIT\n", n);
    buf_addf(&rules, "*filter\n:ATP%u-HOST - [0:0]\n:ATP%u-POD - [0:0]\n", n, n);
    buf_addf(&rules, ":ATP%u-OUT - [0:0]\n:ATP%u-BACK - [0:0]\n", n, n);
    /* To the host itself: answers, ping, and the name servers if they are the host's own. */
    buf_addf(&rules, "-A ATP%u-HOST -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n", n);
    buf_addf(&rules, "-A ATP%u-HOST -p icmp --icmp-type echo-request -j ACCEPT\n", n);
    for (size_t i = 0; i < nameservers->len; i++) {
        buf_addf(&rules, "-A ATP%u-HOST -d %s -p udp --dport 53 -j ACCEPT\n", n, nameservers->items[i]);
        buf_addf(&rules, "-A ATP%u-HOST -d %s -p tcp --dport 53 -j ACCEPT\n", n, nameservers->items[i]);
    }
    buf_addf(&rules, "-A ATP%u-HOST -j DROP\n", n);
    /* Within a sandbox what rt_firewall_join() has allowed. Outwards: never to another sandbox, of whichever engine,
     * nor to an address that no sandbox has; rt_firewall_allow() puts its rules before these. */
    buf_addf(&rules, "-A ATP%u-OUT -o atp+ -j DROP\n", n);
    buf_addf(&rules, "-A ATP%u-OUT -d %s -j DROP\n", n, subnet);
    buf_addf(&rules, "-A ATP%u-OUT ! -s %s -j DROP\n", n, subnet);
    buf_addf(&rules, "-A ATP%u-OUT -j ACCEPT\n", n);
    buf_addf(&rules, "-A ATP%u-BACK -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n", n);
    buf_addf(&rules, "-A ATP%u-BACK -j DROP\n", n);
    for (size_t i = JUMPS; i > 1; i--) { /* at the top: other tools' DROP must not come first */
        buf_addf(&rules, "-I %s 1 ", jumps[i - 1].chain);
        buf_addf(&rules, jumps[i - 1].rule, n, n, n);
        buf_adds(&rules, "\n");
    }
    buf_adds(&rules, "COMMIT\n");
    return restore(&rules, err);
}

void rt_firewall_remove(unsigned number)
{
    cleanup_buf struct buf nat = BUF_INIT(LIMIT_PATH), filter = BUF_INIT(LIMIT_PATH);
    unsigned n = number;

    if (!program())
        return;
    for (size_t i = 0; i < JUMPS; i++)
        remove_jump(&jumps[i], number);
    /* Declaring a chain empties it, or makes it: then it can be deleted. */
    buf_addf(&nat, "*nat\n:ATP%u-NAT - [0:0]\n-X ATP%u-NAT\nCOMMIT\n", n, n);
    buf_addf(&filter, "*filter\n:ATP%u-HOST - [0:0]\n:ATP%u-POD - [0:0]\n", n, n);
    buf_addf(&filter, ":ATP%u-OUT - [0:0]\n:ATP%u-BACK - [0:0]\n", n, n);
    buf_addf(&filter, "-X ATP%u-HOST\n-X ATP%u-POD\n-X ATP%u-OUT\n-X ATP%u-BACK\nCOMMIT\n", n, n, n, n);
    restore(&nat, NULL);
    restore(&filter, NULL);
}

/*
 * The rules of one sandbox go to the front of the chain, so they are given in reverse: refuse all, then before it each
 * range, and before those the rule that keeps sandboxes apart.
 */
int rt_firewall_allow(unsigned number, const char *link, const struct strlist *cidrs, struct strlist *ret_rules,
                      struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);
    struct strlist rules = STRLIST_INIT;

    strlist_addf(&rules, "ATP%u-OUT -i %s -j DROP", number, link);
    for (size_t i = 0; i < cidrs->len; i++)
        if (!strchr(cidrs->items[i], ':')) /* there is no IPv6 to allow */
            strlist_addf(&rules, "ATP%u-OUT -i %s -d %s -j ACCEPT", number, link, cidrs->items[i]);
    strlist_addf(&rules, "ATP%u-OUT -i %s -o atp+ -j DROP", number, link);
    buf_adds(&text, "*filter\n");
    for (size_t i = 0; i < rules.len; i++) {
        const char *rest = strchr(rules.items[i], ' ');

        buf_addf(&text, "-I %.*s 1%s\n", (int)(rest - rules.items[i]), rules.items[i], rest);
    }
    buf_adds(&text, "COMMIT\n");
    if (text.overflowed || restore(&text, err) < 0) {
        strlist_clear(&rules);
        return text.overflowed ? err_set(err, 125, "the allow list is too long") : -1;
    }
    *ret_rules = rules;
    return 0;
}

void rt_firewall_disallow(const struct strlist *rules)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_CONFIG_FILE);

    if (rules->len == 0)
        return;
    buf_adds(&text, "*filter\n");
    for (size_t i = 0; i < rules->len; i++)
        buf_addf(&text, "-D %s\n", rules->items[i]);
    buf_adds(&text, "COMMIT\n");
    restore(&text, NULL);
}

/* The one rule of a sandbox with several containers: their devices' names begin alike. */
static int change_group(char verb, unsigned number, const char *prefix, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LIMIT_PATH);

    buf_addf(&text, "*filter\n-%c ATP%u-POD -i %s+ -o %s+ -j ACCEPT\nCOMMIT\n", verb, number, prefix, prefix);
    return restore(&text, err);
}

int rt_firewall_join(unsigned number, const char *prefix, struct err *err)
{
    return change_group('A', number, prefix, err);
}

void rt_firewall_part(unsigned number, const char *prefix)
{
    change_group('D', number, prefix, NULL);
}
