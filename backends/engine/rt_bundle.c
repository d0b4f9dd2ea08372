/*
 * The OCI bundle: config.json for a sandbox, process.json for an exec. What Docker gives a container by default, in the
 * runtimes' words; the lists below are data. Kept out on purpose: rlimits and oomScoreAdj (a container inherits the
 * engine's; raising them needs CAP_SYS_RESOURCE) and resources (rt_cgroup.c sets them).
 */
#include "backends/engine/rt_internal.h"

#include "backends/engine/rootless.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <string.h>

static const char *const capabilities[] = {
    "CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",     "CAP_FSETID",
    "CAP_KILL",        "CAP_MKNOD",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",    "CAP_SETFCAP",
    "CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT", NULL,
};

static const char *const masked_paths[] = {
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    NULL,
};

static const char *const readonly_paths[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};

/* Each with the words of mount(8): target, type, source, options. */
static const char *const default_mounts[][4] = {
    {"/proc", "proc", "proc", "nosuid,noexec,nodev"},
    {"/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"},
    {"/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"},
    {"/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"},
    {"/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"},
    {"/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=67108864"},
};

static json_t *words(const char *const *list)
{
    json_t *array = json_array();

    for (; *list; list++)
        json_array_append_new(array, json_string(*list));
    return array;
}

/* Words that came from outside: jansson refuses what is not UTF-8, and so do the runtimes. */
static int add_list(json_t *object, const char *key, const struct strlist *list, struct err *err)
{
    json_t *array = json_array();

    json_object_set_new(object, key, array);
    for (size_t i = 0; i < list->len; i++)
        if (json_array_append_new(array, json_string(list->items[i])) < 0)
            return err_set(err, 125, "%s: an entry is not valid UTF-8, which container runtimes do not take", key);
    return 0;
}

static json_t *all_capabilities(void)
{
    json_t *sets = json_object();

    json_object_set_new(sets, "bounding", words(capabilities));
    json_object_set_new(sets, "effective", words(capabilities));
    json_object_set_new(sets, "permitted", words(capabilities));
    return sets;
}

/* The process object that both files have; NULL on failure. */
static json_t *process(const struct strlist *args, const struct strlist *env, const char *cwd, bool pty, uint16_t rows,
                       uint16_t cols, struct err *err)
{
    json_t *p =
        json_pack("{s:b, s:{s:i, s:i}, s:b}", "terminal", pty, "user", "uid", 0, "gid", 0, "noNewPrivileges", 0);

    if (json_object_set_new(p, "cwd", json_string(cwd)) < 0) {
        json_decref(p);
        err_set(err, 125, "the working directory is not valid UTF-8, which container runtimes do not take");
        return NULL;
    }
    if (pty && rows && cols)
        json_object_set_new(p, "consoleSize", json_pack("{s:i, s:i}", "height", rows, "width", cols));
    json_object_set_new(p, "capabilities", all_capabilities());
    if (add_list(p, "args", args, err) < 0 || add_list(p, "env", env, err) < 0) {
        json_decref(p);
        return NULL;
    }
    return p;
}

static void add_mount(json_t *mounts, const char *target, const char *type, const char *source, const char *options)
{
    cleanup_strlist struct strlist list = STRLIST_INIT;

    strlist_split(&list, options, ',');
    json_array_append_new(mounts, json_pack("{s:s, s:s, s:s, s:o}", "destination", target, "type", type, "source",
                                            source, "options", words((const char *const *)strlist_argv(&list))));
}

/* One of the spec's. */
static void add_own_mount(json_t *list, const struct rt_mount *m, const char *source)
{
    cleanup_free char *options = NULL;

    if (m->kind == RT_MOUNT_TMPFS) {
        options = m->size ? xasprintf("nosuid,nodev,mode=1777,size=%llu", (unsigned long long)m->size)
                          : xstrdup("nosuid,nodev,mode=1777");
        add_mount(list, m->target, "tmpfs", "tmpfs", options);
        return;
    }
    add_mount(list, m->target, "bind", source,
              m->kind == RT_MOUNT_FILE ? "rbind,rprivate,ro,nosuid,nodev"
              : m->read_write          ? "rbind,rprivate"
                                       : "rbind,rprivate,ro");
}

static json_t *mounts(const struct rt_bundle *b)
{
    static const char *const generated[] = {"resolv.conf", "hostname", "hosts"};
    json_t *list = json_array();

    for (size_t i = 0; i < sizeof(default_mounts) / sizeof(*default_mounts); i++) {
        const char *const *m = default_mounts[i];

        add_mount(list, m[0], m[1], m[2], m[3]);
    }
    if (b->cgroup_mount)
        add_mount(list, "/sys/fs/cgroup", b->cgroup_mount, "cgroup", "nosuid,noexec,nodev,ro");
    for (size_t i = 0; i < sizeof(generated) / sizeof(*generated); i++) {
        if (b->spec->one_shot && strcmp(generated[i], "hostname") == 0)
            continue;
        cleanup_free char *source = xasprintf("%s/%s", b->etc, generated[i]);
        cleanup_free char *target = xasprintf("/etc/%s", generated[i]);

        add_mount(list, target, "bind", source, "rbind,rprivate");
    }
    for (size_t i = 0; i < b->spec->mounts_len; i++)
        add_own_mount(list, &b->spec->mounts[i], b->sources[i]);
    return list;
}

static json_t *linux_part(const struct rt_bundle *b)
{
    static const char *const plain[] = {"mount", "uts", "ipc", "pid", "cgroup"};
    json_t *namespaces = json_array(), *l;
    char ping_groups[32];

    /* All groups that there are: the kernel takes no others. */
    snprintf(ping_groups, sizeof(ping_groups), "0 %u", rootless() ? rootless_last_gid() : 2147483647u);
    for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
        json_array_append_new(namespaces, json_pack("{s:s}", "type", plain[i]));
    if (b->netns)
        json_array_append_new(namespaces, json_pack("{s:s, s:s}", "type", "network", "path", b->netns));
    l = json_pack("{s:o, s:O, s:o, s:o}", "namespaces", namespaces, "seccomp", b->seccomp, "maskedPaths",
                  words(masked_paths), "readonlyPaths", words(readonly_paths));
    if (b->kind != RT_RUNSC && b->netns) /* gVisor has neither, and the machine's own stay as they are */
        json_object_set_new(l, "sysctl",
                            json_pack("{s:s, s:s}", "net.ipv4.ping_group_range", ping_groups,
                                      "net.ipv4.ip_unprivileged_port_start", "0"));
    if (b->cgroup_path)
        json_object_set_new(l, "cgroupsPath", json_string(b->cgroup_path));
    return l;
}

static int dump(json_t *value, const char *path, struct err *err)
{
    int failed = json_dump_file(value, path, JSON_COMPACT);

    json_decref(value);
    return failed ? err_set_errno(err, 125, errno ? errno : EIO, "%s", path) : 0;
}

int rt_bundle_write(const struct rt_bundle *b, const char *path, struct err *err)
{
    const struct rt_sandbox_spec *spec = b->spec;
    json_t *p = process(spec->args, spec->env, spec->workdir ? spec->workdir : "/", spec->pty, spec->pty_rows,
                        spec->pty_cols, err);
    json_t *config, *groups;

    if (!p)
        return -1;
    groups = json_array();
    for (size_t i = 0; i < spec->groups_len; i++)
        json_array_append_new(groups, json_integer(spec->groups[i]));
    json_object_set_new(p, "user",
                        json_pack("{s:I, s:I, s:o}", "uid", (json_int_t)spec->uid, "gid", (json_int_t)spec->gid,
                                  "additionalGids", groups));
    config = json_pack("{s:s, s:o, s:{s:s, s:b}, s:s, s:o, s:o}", "ociVersion", "1.0.2", "process", p, "root", "path",
                       b->root, "readonly", 0, "hostname", spec->hostname, "mounts", mounts(b), "linux", linux_part(b));
    if (!config)
        return err_set(err, 125, "config.json: a path or name is not valid UTF-8");
    if (b->seccomp_made) /* beside the profile: a runtime that does not know this has that */
        json_object_set_new(config, "annotations", json_pack("{s:s}", "run.oci.seccomp_bpf_data", b->seccomp_made));
    return dump(config, path, err);
}

int rt_process_write(const struct rt_exec_spec *spec, const char *workdir, const char *path, struct err *err)
{
    json_t *p = process(spec->args, spec->env, spec->workdir ? spec->workdir : workdir, spec->pty, spec->pty_rows,
                        spec->pty_cols, err);

    return p ? dump(p, path, err) : -1;
}

int rt_process_check(const struct rt_exec_spec *spec, const char *workdir, struct err *err)
{
    json_t *p = process(spec->args, spec->env, spec->workdir ? spec->workdir : workdir, spec->pty, spec->pty_rows,
                        spec->pty_cols, err);

    json_decref(p);
    return p ? 0 : -1;
}
