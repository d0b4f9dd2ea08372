#include "backends/agent/terms.h"

#include "backends/agent/agent.h"
#include "backends/agent/resolv.h"
#include "backends/agent/user.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAPS_MAX 64 /* what the mask has room for */

/* The value of a term with this word, or NULL. */
static const char *value_of(const char *term, const char *word)
{
    size_t len = strlen(word);

    if (strncmp(term, word, len) != 0 || (term[len] && term[len] != ' '))
        return NULL;
    return term[len] ? term + len + 1 : "";
}

/* The last one's value, or NULL. */
static const char *find(const struct strlist *terms, const char *word)
{
    const char *value = NULL;

    for (size_t i = 0; i < terms->len; i++)
        if (value_of(terms->items[i], word))
            value = value_of(terms->items[i], word);
    return value;
}

static void find_all(const struct strlist *terms, const char *word, struct strlist *ret)
{
    for (size_t i = 0; i < terms->len; i++)
        if (value_of(terms->items[i], word))
            strlist_add(ret, value_of(terms->items[i], word));
}

/* One write to a file of /proc. */
static int put(const char *path, const char *text)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);

    return fd < 0 || write(fd, text, strlen(text)) < 0 ? -1 : 0;
}

/* ---- once ---- */

/* net.core.somaxconn=1024. What may not be set stays what it is: the client passes on only what may be missed. */
static void set_sysctl(const char *setting)
{
    const char *equals = strchr(setting, '=');
    cleanup_free char *path = NULL;

    if (!equals || strstr(setting, "..") || strchr(setting, '/'))
        return;
    path = xasprintf("/proc/sys/%.*s", (int)(equals - setting), setting);
    for (char *p = path + strlen("/proc/sys/"); *p; p++)
        if (*p == '.')
            *p = '/';
    put(path, equals + 1);
}

static int choose_dns(const struct strlist *terms, const struct agent_options *options, struct err *err)
{
    cleanup_strlist struct strlist servers = STRLIST_INIT, search = STRLIST_INIT, opts = STRLIST_INIT;
    cleanup_free char *path = xasprintf("%s/resolv.conf", options->etc);

    find_all(terms, "dns", &servers);
    find_all(terms, "search", &search);
    find_all(terms, "option", &opts);
    if (!servers.len && !search.len && !opts.len)
        return 0;
    return resolv_choose(path, &servers, &search, &opts, err);
}

static int check_words(const struct strlist *terms, struct err *err)
{
    static const char *const words[] = {"hostname", "domainname", "sysctl", "dns",  "search",
                                        "option",   "group",      "limit",  "caps", "no-new-privileges",
                                        "oom",      NULL};

    for (size_t i = 0; i < terms->len; i++) {
        size_t k = 0;

        while (words[k] && !value_of(terms->items[i], words[k]))
            k++;
        if (!words[k])
            return err_set(err, 125, "this container's agent does not know the term \"%s\"", terms->items[i]);
    }
    return 0;
}

int terms_settle(const struct strlist *terms, const struct agent_options *options, struct err *err)
{
    const char *host = find(terms, "hostname"), *domain = find(terms, "domainname");

    if (check_words(terms, err) < 0)
        return -1;
    if (host)
        (void)!sethostname(host, strlen(host));
    if (domain)
        (void)!setdomainname(domain, strlen(domain));
    for (size_t i = 0; i < terms->len; i++)
        if (value_of(terms->items[i], "sysctl"))
            set_sysctl(value_of(terms->items[i], "sysctl"));
    return choose_dns(terms, options, err);
}

/* ---- limits ---- */

static const struct {
    const char *name;
    int resource;
} limits[] = {
    {"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},     {"data", RLIMIT_DATA},
    {"fsize", RLIMIT_FSIZE},       {"locks", RLIMIT_LOCKS}, {"memlock", RLIMIT_MEMLOCK},
    {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},   {"nofile", RLIMIT_NOFILE},
    {"nproc", RLIMIT_NPROC},       {"rss", RLIMIT_RSS},     {"rtprio", RLIMIT_RTPRIO},
    {"rttime", RLIMIT_RTTIME},     {"stack", RLIMIT_STACK}, {"sigpending", RLIMIT_SIGPENDING},
};

static bool take_number(const char **p, char end, rlim_t *ret)
{
    char *after;
    long long n;

    errno = 0;
    n = strtoll(*p, &after, 10);
    if (after == *p || *after != end || errno || n < -1)
        return false;
    *ret = n < 0 ? RLIM_INFINITY : (rlim_t)n;
    *p = after + (end != '\0');
    return true;
}

/* NAME=SOFT:HARD; the index of the name, or -1. */
static int read_limit(const char *text, struct rlimit *ret)
{
    const char *p = strchr(text, '=');

    for (size_t i = 0; p && i < sizeof(limits) / sizeof(limits[0]); i++) {
        if (strlen(limits[i].name) != (size_t)(p - text) || strncmp(text, limits[i].name, (size_t)(p - text)) != 0)
            continue;
        p++;
        return take_number(&p, ':', &ret->rlim_cur) && take_number(&p, '\0', &ret->rlim_max) ? (int)i : -1;
    }
    return -1;
}

/* More than we may give is less than was asked for; more than was asked for is not given. */
static int set_limit(const char *text, struct err *err)
{
    struct rlimit want, now;
    int i = read_limit(text, &want), resource;

    if (i < 0)
        return err_set(err, 125, "invalid ulimit: %s", text);
    resource = limits[i].resource;
    if (setrlimit((__typeof__(RLIMIT_CORE))resource, &want) == 0)
        return 0;
    if (getrlimit((__typeof__(RLIMIT_CORE))resource, &now) < 0)
        return err_set_errno(err, 125, errno, "error setting rlimit %s", limits[i].name);
    if (want.rlim_max > now.rlim_max)
        want.rlim_max = now.rlim_max;
    if (want.rlim_cur > want.rlim_max)
        want.rlim_cur = want.rlim_max;
    if ((want.rlim_cur == now.rlim_cur && want.rlim_max == now.rlim_max) ||
        setrlimit((__typeof__(RLIMIT_CORE))resource, &want) == 0 ||
        (now.rlim_cur <= want.rlim_cur && now.rlim_max <= want.rlim_max))
        return 0;
    return err_set_errno(err, 125, errno, "error setting rlimit %s", limits[i].name);
}

/* ---- capabilities ---- */

static bool read_caps(const struct strlist *terms, uint64_t *ret)
{
    const char *text = find(terms, "caps");

    if (!text)
        return false;
    *ret = strtoull(text, NULL, 16);
    return true;
}

/* No program that is executed later may have them again, whoever owns it. */
static int bound_caps(uint64_t keep, struct err *err)
{
    for (unsigned cap = 0; cap < CAPS_MAX; cap++) {
        if (keep >> cap & 1 || prctl(PR_CAPBSET_READ, cap, 0, 0, 0) != 1)
            continue;
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            return err_set_errno(err, 125, errno, "the container's capabilities cannot be dropped here");
    }
    return 0;
}

static int give_up_caps(uint64_t keep, struct err *err)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];

    if (syscall(SYS_capget, &head, data) < 0)
        return err_set_errno(err, 125, errno, "the container's capabilities cannot be read");
    for (int i = 0; i < 2; i++) {
        uint32_t mask = (uint32_t)(keep >> (32 * i));

        data[i].effective &= mask;
        data[i].permitted &= mask;
        data[i].inheritable &= mask;
    }
    if (syscall(SYS_capset, &head, data) < 0)
        return err_set_errno(err, 125, errno, "the container's capabilities cannot be dropped here");
    return 0;
}

/* ---- a process ---- */

int terms_groups(const struct strlist *terms, struct user *u, struct err *err)
{
    for (size_t i = 0; i < terms->len; i++) {
        const char *group = value_of(terms->items[i], "group");

        if (group && user_add_group(u, group, err) < 0)
            return -1;
    }
    return 0;
}

int terms_limit(const struct strlist *terms, struct err *err)
{
    const char *oom = find(terms, "oom");
    uint64_t keep;

    if (oom)
        put("/proc/self/oom_score_adj", oom);
    for (size_t i = 0; i < terms->len; i++) {
        const char *limit = value_of(terms->items[i], "limit");

        if (limit && set_limit(limit, err) < 0)
            return -1;
    }
    return read_caps(terms, &keep) ? bound_caps(keep, err) : 0;
}

int terms_give_up(const struct strlist *terms, struct err *err)
{
    uint64_t keep;

    if (read_caps(terms, &keep) && give_up_caps(keep, err) < 0)
        return -1;
    if (find(terms, "no-new-privileges") && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_set_errno(err, 125, errno, "no-new-privileges cannot be set here");
    return 0;
}
