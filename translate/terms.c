#include "translate/terms.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/units.h"
#include "translate/caps.h"
#include "translate/record_text.h"
#include "translate/spec.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define DAEMON "Error response from daemon: "

enum member_kind { BOOL_MEMBER, TEXT_MEMBER, NUMBER_MEMBER, LIST_MEMBER, MAP_MEMBER, MADE_MEMBER };

/* Options and the members of HostConfig that they are. MADE: more than a copy, see below. */
static const struct {
    const char *option, *member;
    enum member_kind kind;
} members[] = {
    {"annotation", "Annotations", MAP_MEMBER},
    {"blkio-weight", "BlkioWeight", NUMBER_MEMBER},
    {"blkio-weight-device", "BlkioWeightDevice", MADE_MEMBER},
    {"cap-add", "CapAdd", MADE_MEMBER},
    {"cap-drop", "CapDrop", MADE_MEMBER},
    {"cgroup-parent", "CgroupParent", TEXT_MEMBER},
    {"cgroupns", "CgroupnsMode", TEXT_MEMBER},
    {"cpu-count", "CpuCount", NUMBER_MEMBER},
    {"cpu-percent", "CpuPercent", NUMBER_MEMBER},
    {"cpu-period", "CpuPeriod", NUMBER_MEMBER},
    {"cpu-quota", "CpuQuota", NUMBER_MEMBER},
    {"cpu-rt-period", "CpuRealtimePeriod", NUMBER_MEMBER},
    {"cpu-rt-runtime", "CpuRealtimeRuntime", NUMBER_MEMBER},
    {"cpu-shares", "CpuShares", NUMBER_MEMBER},
    {"cpuset-cpus", "CpusetCpus", TEXT_MEMBER},
    {"cpuset-mems", "CpusetMems", TEXT_MEMBER},
    {"device", "Devices", MADE_MEMBER},
    {"device-cgroup-rule", "DeviceCgroupRules", LIST_MEMBER},
    {"device-read-bps", "BlkioDeviceReadBps", MADE_MEMBER},
    {"device-read-iops", "BlkioDeviceReadIOps", MADE_MEMBER},
    {"device-write-bps", "BlkioDeviceWriteBps", MADE_MEMBER},
    {"device-write-iops", "BlkioDeviceWriteIOps", MADE_MEMBER},
    {"dns", "Dns", LIST_MEMBER},
    {"dns-option", "DnsOptions", LIST_MEMBER},
    {"dns-search", "DnsSearch", LIST_MEMBER},
    {"group-add", "GroupAdd", LIST_MEMBER},
    {"init", "Init", BOOL_MEMBER},
    {"io-maxbandwidth", "IOMaximumBandwidth", NUMBER_MEMBER},
    {"io-maxiops", "IOMaximumIOps", NUMBER_MEMBER},
    {"ipc", "IpcMode", TEXT_MEMBER},
    {"isolation", "Isolation", TEXT_MEMBER},
    {"log-driver", "LogConfig", MADE_MEMBER},
    {"mac-address", "MacAddress", TEXT_MEMBER}, /* shown in Config */
    {"memory-reservation", "MemoryReservation", NUMBER_MEMBER},
    {"memory-swap", "MemorySwap", NUMBER_MEMBER},
    {"memory-swappiness", "MemorySwappiness", NUMBER_MEMBER},
    {"oom-kill-disable", "OomKillDisable", BOOL_MEMBER},
    {"oom-score-adj", "OomScoreAdj", NUMBER_MEMBER},
    {"pid", "PidMode", TEXT_MEMBER},
    {"pids-limit", "PidsLimit", NUMBER_MEMBER},
    {"privileged", "Privileged", BOOL_MEMBER},
    {"read-only", "ReadonlyRootfs", BOOL_MEMBER},
    {"runtime", "Runtime", TEXT_MEMBER},
    {"security-opt", "SecurityOpt", LIST_MEMBER},
    {"shm-size", "ShmSize", NUMBER_MEMBER},
    {"storage-opt", "StorageOpt", MAP_MEMBER},
    {"sysctl", "Sysctls", MAP_MEMBER},
    {"ulimit", "Ulimits", MADE_MEMBER},
    {"userns", "UsernsMode", TEXT_MEMBER},
    {"uts", "UTSMode", TEXT_MEMBER},
};
#define MEMBERS (sizeof(members) / sizeof(members[0]))

/* ---- as HostConfig has it ---- */

/* PATH:RATE, checked while parsing. */
static json_t *throttles_of(const struct strlist *list, const char *number)
{
    json_t *all = json_array();

    for (size_t i = 0; i < list->len; i++) {
        const char *colon = strrchr(list->items[i], ':');
        cleanup_free char *path = xstrndup(list->items[i], colon ? (size_t)(colon - list->items[i]) : 0);
        int64_t rate = 0;

        units_parse_bytes(colon ? colon + 1 : "0", &rate, NULL);
        json_array_append_new(all, json_pack("{s:o, s:I}", "Path", record_shown(path), number, (json_int_t)rate));
    }
    return all;
}

/* SOURCE[:TARGET[:RIGHTS]], or SOURCE:RIGHTS. */
static json_t *devices_of(const struct strlist *list)
{
    json_t *all = json_array();

    for (size_t i = 0; i < list->len; i++) {
        cleanup_strlist struct strlist parts = STRLIST_INIT;
        const char *target, *rights = "rwm";

        strlist_split(&parts, list->items[i], ':');
        target = parts.items[0];
        if (parts.len == 2 && parts.items[1][strspn(parts.items[1], "rwm")] == '\0')
            rights = parts.items[1];
        else if (parts.len > 1)
            target = parts.items[1];
        if (parts.len > 2)
            rights = parts.items[2];
        json_array_append_new(all, json_pack("{s:o, s:o, s:o}", "PathOnHost", record_shown(parts.items[0]),
                                             "PathInContainer", record_shown(target), "CgroupPermissions",
                                             record_shown(rights)));
    }
    return all;
}

/* NAME=SOFT[:HARD], checked while parsing. */
static json_t *ulimits_of(const struct strlist *list)
{
    json_t *all = json_array();

    for (size_t i = 0; i < list->len; i++) {
        const char *equals = strchr(list->items[i], '='), *colon = strchr(list->items[i], ':');
        cleanup_free char *name = xstrndup(list->items[i], (size_t)(equals - list->items[i]));
        long long soft = strtoll(equals + 1, NULL, 10), hard = colon ? strtoll(colon + 1, NULL, 10) : soft;

        json_array_append_new(
            all, json_pack("{s:s, s:I, s:I}", "Name", name, "Hard", (json_int_t)hard, "Soft", (json_int_t)soft));
    }
    return all;
}

static json_t *made_member(const struct opt_parsed *p, const char *option)
{
    const struct strlist *list = strcmp(option, "log-driver") ? opt_list(p, option) : NULL;

    if (!list)
        return json_pack("{s:o, s:o}", "Type", record_shown(*opt_str(p, option) ? opt_str(p, option) : "json-file"),
                         "Config", record_map(opt_list(p, "log-opt")));
    if (!strcmp(option, "device"))
        return devices_of(list);
    if (!strcmp(option, "ulimit"))
        return ulimits_of(list);
    if (!strcmp(option, "cap-add") || !strcmp(option, "cap-drop"))
        return record_shown_list(list);
    return throttles_of(list, !strcmp(option, "blkio-weight-device") ? "Weight" : "Rate");
}

static json_t *member_of(const struct opt_parsed *p, const char *option, enum member_kind kind)
{
    switch (kind) {
    case BOOL_MEMBER:
        return json_boolean(opt_bool(p, option));
    case TEXT_MEMBER:
        return record_shown(opt_str(p, option));
    case NUMBER_MEMBER:
        return json_integer(opt_int(p, option));
    case LIST_MEMBER:
        return record_shown_list(opt_list(p, option));
    case MAP_MEMBER:
        return record_map(opt_list(p, option));
    case MADE_MEMBER:
        break;
    }
    return made_member(p, option);
}

static json_t *host_of(const struct opt_parsed *p)
{
    json_t *host = json_object();

    for (size_t i = 0; i < MEMBERS; i++) {
        const char *option = members[i].option;
        bool given = opt_given(p, option) || (!strcmp(option, "log-driver") && opt_given(p, "log-opt"));

        if (given && !(members[i].kind == TEXT_MEMBER && !*opt_str(p, option)))
            json_object_set_new(host, members[i].member, member_of(p, option, members[i].kind));
    }
    return host;
}

/* ---- the daemon's checks ---- */

static int check_caps(const struct opt_parsed *p, const char *option, const char *member, struct err *err)
{
    const struct strlist *list = opt_list(p, option);

    for (size_t i = 0; i < list->len; i++) {
        cleanup_free char *name = caps_name(list->items[i]);

        if (strcmp(name, CAPS_ALL) != 0 && caps_bit(name) < 0)
            return err_set(err, 125, DAEMON "invalid %s: unknown capability: \"%s\"", member, name);
    }
    return 0;
}

static int check_logger(const struct opt_parsed *p, struct err *err)
{
    static const char *const known[] = {"",     "awslogs",  "etwlogs",   "fluentd", "gcplogs",
                                        "gelf", "journald", "json-file", "local",   "logentries",
                                        "none", "splunk",   "syslog",    NULL};
    const char *driver = opt_str(p, "log-driver");
    size_t i = 0;

    while (known[i] && strcmp(known[i], driver) != 0)
        i++;
    if (!known[i])
        return err_set(err, 125, DAEMON "logger: no log driver named '%s' is registered", driver);
    if (!strcmp(driver, "none") && opt_list(p, "log-opt")->len)
        return err_set(err, 125, "invalid logging opts for driver none");
    return 0;
}

static int check_security(const struct opt_parsed *p, struct err *err)
{
    static const char *const keys[] = {"apparmor",         "label", "no-new-privileges", "seccomp", "systempaths",
                                       "writable-cgroups", NULL};
    const struct strlist *list = opt_list(p, "security-opt");

    for (size_t i = 0; i < list->len; i++) {
        const char *text = list->items[i];
        size_t len = strcspn(text, "=:"), k = 0;

        while (keys[k] && (strlen(keys[k]) != len || strncmp(keys[k], text, len) != 0))
            k++;
        if (!keys[k] || (!text[len] && strcmp(text, "no-new-privileges") != 0))
            return err_set(err, 125, DAEMON "invalid --security-opt 2: \"%s\"", text);
    }
    return 0;
}

/* ---- processors and memory ---- */

/* How many are in "0-3,5"; -1: this is no such list. */
static int count_cpus(const char *text)
{
    int n = 0;

    while (*text) {
        char *end;
        long first = strtol(text, &end, 10), last = first;

        if (end == text || first < 0)
            return -1;
        if (*end == '-') {
            text = end + 1;
            last = strtol(text, &end, 10);
            if (end == text)
                return -1;
        }
        if (last < first || last > 8191 || (*end && *end != ','))
            return -1;
        n += (int)(last - first) + 1;
        text = end + (*end == ',');
    }
    return n;
}

static int read_quota(const struct opt_parsed *p, const struct input *in, struct container_spec *s, struct err *err)
{
    int64_t period = opt_int(p, "cpu-period"), quota = opt_int(p, "cpu-quota");

    if (s->nano_cpus && (period || quota))
        return err_set(err, 125, DAEMON "Conflicting options: Nano CPUs and CPU %s cannot both be set.",
                       period ? "Period" : "Quota");
    if (period && (period < 1000 || period > 1000000))
        return err_set(err, 125,
                       DAEMON "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
    if (quota > 0 && quota < 1000)
        return err_set(err, 125, DAEMON "CPU cfs quota can not be less than 1ms (i.e. 1000)");
    if (quota <= 0)
        return 0;
    if (quota > INT64_MAX / 1000000000)
        quota = INT64_MAX / 1000000000;
    return cpus_to_milli(quota * 1000000000 / (period ? period : 100000), in->host_cpus, &s->milli_cpu, err);
}

/* No more processors than were named. */
static int read_cpuset(const struct opt_parsed *p, const struct input *in, struct container_spec *s, struct err *err)
{
    const char *text = opt_str(p, "cpuset-cpus");
    int n = count_cpus(text);

    if (n < 0)
        return err_set(err, 125, DAEMON "Invalid value %s for cpuset cpus", text);
    if (in->host_cpus && (unsigned)n > in->host_cpus)
        return err_set(err, 125, DAEMON "Requested CPUs are not available - requested %s, available: 0-%u", text,
                       in->host_cpus - 1);
    if (n && (!s->milli_cpu || s->milli_cpu > (uint32_t)n * 1000))
        s->milli_cpu = (uint32_t)n * 1000;
    return 0;
}

static int read_memory(const struct opt_parsed *p, struct container_spec *s, struct err *err)
{
    int64_t reserved = opt_int(p, "memory-reservation"), swap = opt_int(p, "memory-swap");

    if (s->memory_bytes && reserved > s->memory_bytes)
        return err_set(err, 125,
                       DAEMON "Minimum memory limit can not be less than memory reservation limit, see usage");
    if (swap > 0 && !s->memory_bytes)
        return err_set(err, 125,
                       DAEMON "You should always set the Memory limit when using Memoryswap limit, see usage");
    if (swap > 0 && swap < s->memory_bytes)
        return err_set(err, 125, DAEMON "Minimum memoryswap limit should be larger than memory limit, see usage");
    return memory_to_mib(reserved, &s->reserved_mib, err);
}

int terms_from_opts(const struct opt_parsed *p, const struct input *in, struct container_spec *s, struct err *err)
{
    json_t *host;

    if (check_caps(p, "cap-add", "CapAdd", err) < 0 || check_caps(p, "cap-drop", "CapDrop", err) < 0 ||
        check_logger(p, err) < 0 || check_security(p, err) < 0 || read_quota(p, in, s, err) < 0 ||
        read_cpuset(p, in, s, err) < 0 || read_memory(p, s, err) < 0)
        return -1;
    host = host_of(p);
    if (json_object_size(host))
        s->host = json_dumps(host, JSON_COMPACT);
    json_decref(host);
    if (opt_given(p, "domainname") && *opt_str(p, "domainname"))
        s->domainname = xstrdup(opt_str(p, "domainname"));
    return 0;
}

bool terms_host_ok(const char *text)
{
    json_auto_t *host = json_loads(text, 0, NULL);

    if (!json_is_object(host))
        return false;
    for (void *at = json_object_iter(host); at; at = json_object_iter_next(host, at)) {
        size_t i = 0;

        while (i < MEMBERS && strcmp(members[i].member, json_object_iter_key(at)) != 0)
            i++;
        if (i == MEMBERS)
            return false;
    }
    return true;
}

/* ---- for the agent ---- */

static void add_list(const json_t *host, const char *member, const char *word, struct strlist *ret)
{
    const json_t *list = json_object_get(host, member), *one;
    size_t i;

    json_array_foreach(list, i, one) if (json_is_string(one)) strlist_addf(ret, "%s %s", word, json_string_value(one));
}

static void add_sysctls(json_t *host, struct strlist *ret)
{
    json_t *map = json_object_get(host, "Sysctls");

    for (void *at = json_object_iter(map); at; at = json_object_iter_next(map, at))
        if (json_is_string(json_object_iter_value(at)))
            strlist_addf(ret, "sysctl %s=%s", json_object_iter_key(at), json_string_value(json_object_iter_value(at)));
}

static void add_ulimits(const json_t *host, struct strlist *ret)
{
    const json_t *list = json_object_get(host, "Ulimits"), *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "Name"));
        const json_t *soft = json_object_get(one, "Soft"), *hard = json_object_get(one, "Hard");

        if (name && json_is_integer(soft) && json_is_integer(hard))
            strlist_addf(ret, "limit %s=%lld:%lld", name, (long long)json_integer_value(soft),
                         (long long)json_integer_value(hard));
    }
}

/* The last word on no-new-privileges; in the old spelling too. */
static bool no_new_privileges(const json_t *host)
{
    const json_t *list = json_object_get(host, "SecurityOpt"), *one;
    static const char word[] = "no-new-privileges";
    bool on = false;
    size_t i;

    json_array_foreach(list, i, one)
    {
        const char *text = json_string_value(one);

        if (text && strncmp(text, word, strlen(word)) == 0)
            on = !text[strlen(word)] || strcmp(text + strlen(word) + 1, "false") != 0;
    }
    return on;
}

static void add_caps(const json_t *host, struct strlist *ret)
{
    const json_t *add = json_object_get(host, "CapAdd"), *drop = json_object_get(host, "CapDrop");
    cleanup_strlist struct strlist added = STRLIST_INIT, dropped = STRLIST_INIT;
    const json_t *one;
    size_t i;

    if (!json_array_size(add) && !json_array_size(drop))
        return;
    json_array_foreach(add, i, one) if (json_is_string(one)) strlist_add(&added, json_string_value(one));
    json_array_foreach(drop, i, one) if (json_is_string(one)) strlist_add(&dropped, json_string_value(one));
    strlist_addf(ret, "caps %016llx", (unsigned long long)caps_kept(&added, &dropped));
}

void terms_lines(const struct container_spec *s, struct strlist *ret)
{
    json_auto_t *host = json_loads(s->host ? s->host : "{}", 0, NULL);
    const json_t *oom = json_object_get(host, "OomScoreAdj");

    if (s->hostname && strncmp(s->hostname, s->id, CONTAINER_SHORT_ID_LEN) != 0)
        strlist_addf(ret, "hostname %s", s->hostname);
    if (s->domainname && *s->domainname)
        strlist_addf(ret, "domainname %s", s->domainname);
    add_list(host, "Dns", "dns", ret);
    add_list(host, "DnsSearch", "search", ret);
    add_list(host, "DnsOptions", "option", ret);
    add_list(host, "GroupAdd", "group", ret);
    add_sysctls(host, ret);
    add_ulimits(host, ret);
    add_caps(host, ret);
    if (no_new_privileges(host))
        strlist_add(ret, "no-new-privileges");
    if (json_is_integer(oom))
        strlist_addf(ret, "oom %lld", (long long)json_integer_value(oom));
}

char *terms_log_driver(const struct container_spec *s)
{
    json_auto_t *host = json_loads(s->host ? s->host : "{}", 0, NULL);
    const char *type = json_string_value(json_object_get(json_object_get(host, "LogConfig"), "Type"));

    return xstrdup(type ? type : "json-file");
}
