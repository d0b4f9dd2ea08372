/*
 * Which values of an option are carried out, where it depends on the value. The first rule that fits counts; "*" at the
 * end stands for any rest.
 */
#include "translate/terms.h"

#include "translate/caps.h"

#include <string.h>
#include <strings.h>

static const struct {
    const char *option, *value;
    enum verdict verdict;
    const char *reason;
} rules[] = {
    {"cgroupns", "private", VERDICT_OURS, NULL},
    {"ipc", "private", VERDICT_OURS, NULL},
    {"ipc", "shareable", VERDICT_OURS, NULL},
    {"isolation", "default", VERDICT_OURS, NULL},
    {"log-driver", "json-file", VERDICT_OURS, NULL},
    {"log-driver", "local", VERDICT_OURS, NULL},
    {"log-driver", "none", VERDICT_OURS, NULL},
    {"pids-limit", "-1", VERDICT_OURS, NULL},
    {"pids-limit", "0", VERDICT_OURS, NULL},
    {"runtime", "io.containerd.runc.v2", VERDICT_APPROXIMATED, "the platform's own runtime runs it"},
    {"runtime", "nvidia", VERDICT_UNLESS_ALL,
     "the platform chooses the runtime; GPUs are asked for with --gpus, gpus or x-modal.gpu"},
    {"runtime", "runc", VERDICT_APPROXIMATED, "the platform's own runtime runs it"},
    {"security-opt", "apparmor=docker-default", VERDICT_APPROXIMATED, "a sandbox has the platform's own confinement"},
    {"security-opt", "apparmor=unconfined", VERDICT_APPROXIMATED, "a sandbox has the platform's own confinement"},
    {"security-opt", "label=disable", VERDICT_APPROXIMATED, "there are no SELinux labels"},
    {"security-opt", "no-new-privileges", VERDICT_OURS, NULL},
    {"security-opt", "no-new-privileges=*", VERDICT_OURS, NULL},
    {"security-opt", "seccomp=builtin", VERDICT_APPROXIMATED, "a sandbox has the platform's own confinement"},
    {"security-opt", "seccomp=unconfined", VERDICT_APPROXIMATED, "a sandbox has the platform's own confinement"},
    {"security-opt", "systempaths=unconfined", VERDICT_APPROXIMATED, "a sandbox has the platform's own confinement"},
    {"sysctl", "fs.mqueue.*", VERDICT_APPROXIMATED, "set where the sandbox permits it"},
    {"sysctl", "kernel.msg*", VERDICT_APPROXIMATED, "set where the sandbox permits it"},
    {"sysctl", "kernel.sem=*", VERDICT_APPROXIMATED, "set where the sandbox permits it"},
    {"sysctl", "kernel.shmall=*", VERDICT_APPROXIMATED, "set where the sandbox permits it"},
    {"sysctl", "kernel.shmm*", VERDICT_APPROXIMATED, "set where the sandbox permits it"},
    {"sysctl", "net.core.*", VERDICT_APPROXIMATED, "set where the sandbox permits it"},
    {"sysctl", "net.ipv4.conf.all.src_valid_mark=1", VERDICT_APPROXIMATED, "set where the sandbox permits it"},
    {"sysctl", "net.ipv4.ip_forward=1", VERDICT_APPROXIMATED, "set where the sandbox permits it"},
    {"sysctl", "net.ipv4.ip_local_port_range=*", VERDICT_APPROXIMATED, "set where the sandbox permits it"},
    {"sysctl", "net.ipv4.ip_unprivileged_port_start=*", VERDICT_APPROXIMATED, "set where the sandbox permits it"},
    {"sysctl", "net.ipv4.tcp_*", VERDICT_APPROXIMATED, "set where the sandbox permits it"},
    {"sysctl", "net.ipv6.conf.all.disable_ipv6=0", VERDICT_APPROXIMATED, "set where the sandbox permits it"},
    {"sysctl", "net.ipv6.conf.all.forwarding=1", VERDICT_APPROXIMATED, "set where the sandbox permits it"},
    {"sysctl", "net.unix.*", VERDICT_APPROXIMATED, "set where the sandbox permits it"},
    {"userns", "host", VERDICT_APPROXIMATED, "a sandbox's user namespace is its own"},
};

static bool fits(const char *rule, const char *value)
{
    size_t len = strlen(rule);

    if (len && rule[len - 1] == '*')
        return strncmp(rule, value, len - 1) == 0;
    return strcmp(rule, value) == 0;
}

/* name=N,ip=A: a long form of --network. The fields' names are small letters in what compose writes; Docker trims and
 * lowers those of a person, and an unusual spelling is met by the field's own check. */
static bool has_field(const char *value, const char *field)
{
    size_t len = strlen(field);

    for (const char *p = value; p; p = strchr(p, ','), p = p ? p + 1 : NULL) {
        while (*p == ' ' || *p == '"')
            p++;
        if (strncasecmp(p, field, len) == 0 && p[len] == '=')
            return true;
    }
    return false;
}

static enum verdict judge_network(const char *value, const char **ret_reason)
{
    static const char *const addresses[] = {"ip", "ip6", "link-local-ip", "driver-opt", NULL};

    for (size_t i = 0; addresses[i]; i++) {
        if (has_field(value, addresses[i])) {
            *ret_reason = "the platform gives out the addresses; use names, which are answered in every network";
            return VERDICT_UNLESS_ALL;
        }
    }
    if (!has_field(value, "mac-address") && !has_field(value, "gw-priority"))
        return VERDICT_OURS;
    *ret_reason = "the platform gives out the addresses and the ways out";
    return VERDICT_APPROXIMATED;
}

/* This machine's own address is nobody's there. */
static bool is_gateway(const char *value)
{
    static const char word[] = "host-gateway";
    size_t len = strlen(value);

    return len > sizeof(word) && strcmp(value + len - strlen(word), word) == 0;
}

/* A device that every container has, in its own place: SOURCE[:SOURCE[:rights]]. */
static bool is_common_device(const char *value)
{
    static const char *const devices[] = {"/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero", NULL};
    size_t len = strcspn(value, ":"), rest;

    for (size_t i = 0; devices[i]; i++) {
        if (strlen(devices[i]) != len || strncmp(devices[i], value, len) != 0)
            continue;
        rest = strcspn(value + len + (value[len] == ':'), ":");
        return !value[len] || (rest == len && strncmp(value + len + 1, value, len) == 0) ||
               strspn(value + len + 1, "rwm") == strlen(value + len + 1);
    }
    return false;
}

enum verdict terms_judge(const struct opt_def *def, const char *value, const char **ret_reason)
{
    char plain[64];
    size_t len = strlen(value);

    *ret_reason = def->reason;
    if (!strcmp(def->name, "network") || !strcmp(def->name, "net"))
        return judge_network(value, ret_reason);
    if (!strcmp(def->name, "cap-add") && caps_usual(value))
        return VERDICT_OURS;
    if (!strcmp(def->name, "device") && is_common_device(value))
        return VERDICT_OURS;
    if (!strcmp(def->name, "add-host") && is_gateway(value)) {
        *ret_reason = "a sandbox does not reach this machine: the name is not answered";
        return VERDICT_APPROXIMATED;
    }
    if (!strcmp(def->name, "security-opt") && !strchr(value, '=') && strchr(value, ':') && len < sizeof(plain)) {
        memcpy(plain, value, len + 1); /* the old spelling */
        *strchr(plain, ':') = '=';
        value = plain;
    }
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (strcmp(rules[i].option, def->name) != 0 || !fits(rules[i].value, value))
            continue;
        *ret_reason = rules[i].reason ? rules[i].reason : def->reason;
        return rules[i].verdict;
    }
    return def->verdict;
}
