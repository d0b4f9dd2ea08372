/* The room's door: choosing the runtime, setting up what sandboxes share, taking it down again. */
#include "backends/engine/rt_internal.h"

#include "backends/engine/rootless.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <linux/magic.h>
#include <unistd.h>

#define RUNTIME_BYTES_MAX (64u << 20)

static const char unified[] = "/sys/fs/cgroup/unified";

/* ---- the runtime ---- */

char *rt_find_program(const char *name)
{
    cleanup_strlist struct strlist folders = STRLIST_INIT;
    const char *path = getenv("PATH");

    if (strchr(name, '/'))
        return access(name, X_OK) == 0 ? realpath(name, NULL) : NULL;
    strlist_split(&folders, path ? path : "", ':');
    strlist_split(&folders, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ':');
    for (size_t i = 0; i < folders.len; i++) {
        char *full = xasprintf("%s/%s", folders.items[i], name);

        if (folders.items[i][0] == '/' && access(full, X_OK) == 0)
            return full;
        free(full);
    }
    return NULL;
}

static int runtime_kind(const char *path, enum rt_kind *ret, struct err *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    if (strncmp(name, "crun", 4) == 0)
        *ret = RT_CRUN;
    else if (strncmp(name, "runsc", 5) == 0)
        *ret = RT_RUNSC;
    else if (strncmp(name, "runc", 4) == 0)
        *ret = RT_RUNC;
    else
        return err_set(err, 125, "%s: not a container runtime that the engine knows: crun, runc, runsc", path);
    return 0;
}

static int choose_runtime(struct rt *rt, const char *asked, struct err *err)
{
    static const char *const usual[] = {"crun", "runc"};

    if (!asked || !*asked)
        asked = getenv("ATP_ENGINE_RUNTIME");
    if (asked && *asked) {
        rt->path = rt_find_program(asked);
        if (!rt->path)
            return err_set(err, 125, "the container runtime %s is not installed", asked);
    }
    for (size_t i = 0; !rt->path && i < sizeof(usual) / sizeof(*usual); i++)
        rt->path = rt_find_program(usual[i]);
    if (!rt->path)
        return err_set(err, 125, "no container runtime is installed: install crun (or runc)");
    rt->name = xstrdup(strrchr(rt->path, '/') + 1);
    if (runtime_kind(rt->path, &rt->kind, err) < 0)
        return -1;
    /* runc insists on a cgroup for each container, which an ordinary user cannot make. */
    return rootless() && rt->kind == RT_RUNC
               ? err_set(err, 125, "runc cannot run containers without root: install the package crun")
               : 0;
}

/*
 * gVisor's "host" network is the namespace that it is given, which is the container's own: nothing of the machine's.
 * Its own stack (--network=sandbox) finds no way out of namespaces on recent kernels. Without root there may be none.
 */
static const char *runsc_words(void)
{
    const char *flags = getenv("ATP_ENGINE_RUNSC_FLAGS");

    if (flags && *flags)
        return flags;
    return rootless() ? "--platform=ptrace --network=none --ignore-cgroups"
                      : "--platform=ptrace --network=host --ignore-cgroups";
}

/* The words that every call begins with. */
static void base_words(struct rt *rt)
{
    rt->state_root = xasprintf("%s/run/%s", rt->dir, rt->name);
    strlist_add(&rt->base, rt->path);
    strlist_add(&rt->base, "--root");
    strlist_add(&rt->base, rt->state_root);
    if (rt->kind == RT_CRUN)
        strlist_add(&rt->base, "--cgroup-manager=disabled");
    if (rt->kind != RT_RUNSC)
        return;
    strlist_split(&rt->base, runsc_words(), ' ');
    rt->gvisor_alone = !strlist_has(&rt->base, "--network=sandbox") && !strlist_has(&rt->base, "--network=host");
}

/*
 * crun copies itself into sealed memory and starts over whenever it is started from a file, lest a container change the
 * program under it. Started from such a copy it goes on at once, so one is made for all its runs.
 */
static void copy_runtime(struct rt *rt)
{
    cleanup_buf struct buf bytes = BUF_INIT(RUNTIME_BYTES_MAX);

    if (rt->kind == RT_CRUN && fs_read_file(rt->path, &bytes, NULL) == 0)
        rt->copy = rt_sealed_program("crun", bytes.data, bytes.len);
    rt->program = rt->copy >= 0 ? xasprintf("/proc/self/fd/%d", rt->copy) : xstrdup(rt->path);
}

void rt_argv(struct rt *rt, const char *log, struct strlist *ret)
{
    strlist_copy(ret, &rt->base);
    strlist_add(ret, "--log");
    strlist_add(ret, log);
    strlist_add(ret, "--log-format");
    strlist_add(ret, "json");
}

int rt_start_code(const char *message)
{
    static const char *const about_exec[] = {"executable", "exec:", "exec ", "execv", "failed to load", "finding"};
    static const char *const missing[] = {"not found", "no such file", "No such file"};
    static const char *const refused[] = {"ermission denied", "xec format", "s a directory", "ccess denied",
                                          "not permitted"};
    bool exec = false;

    for (size_t i = 0; message && i < sizeof(about_exec) / sizeof(*about_exec); i++)
        exec = exec || strstr(message, about_exec[i]);
    for (size_t i = 0; exec && i < sizeof(refused) / sizeof(*refused); i++)
        if (strstr(message, refused[i]))
            return 126;
    for (size_t i = 0; exec && i < sizeof(missing) / sizeof(*missing); i++)
        if (strstr(message, missing[i]))
            return 127;
    return 125;
}

const char *rt_name(const struct rt *rt)
{
    return rt->name;
}

/* "crun version 1.8.1", "runc version 1.1.5+ds1", "runsc version 0.0~20221219.0": the last word of the first line. */
const char *rt_version(struct rt *rt)
{
    cleanup_free char *path = xasprintf("%s/run/version", rt->dir), *line = NULL;
    cleanup_close int out = -1;
    char *argv[] = {rt->path, (char[]){"--version"}, NULL};
    struct rt_spawn spawn = {.argv = argv, .fds = {-1, -1, -1}, .mount_ns = -1};

    if (rt->version)
        return rt->version;
    rt->version = xstrdup("");
    out = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0)
        return rt->version;
    spawn.fds[1] = out;
    if (rt_spawn_wait(&spawn, NULL) == 0 && (line = rt_read_line(path)) && strrchr(line, ' ')) {
        free(rt->version);
        rt->version = xstrdup(strrchr(line, ' ') + 1);
    }
    unlink(path);
    return rt->version;
}

const char *rt_network_reason(const struct rt *rt)
{
    return rt->net_reason;
}

bool rt_limits_pids(const struct rt *rt)
{
    return rt->cgroups.limits[2];
}

const char *rt_limits_reason(const struct rt *rt)
{
    return rt->cgroups.reason;
}

/* ---- what is shared ---- */

/*
 * crun refuses to work where cgroup v1 is mounted together with a v2 hierarchy that has controllers, although it is
 * told to leave cgroups alone. It then runs where that hierarchy cannot be seen.
 */
static void *hide_unified(void *arg)
{
    int *ret = arg;

    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_SLAVE, NULL) < 0 ||
        mount("tmpfs", unified, "tmpfs", MS_RDONLY, "size=4k") < 0)
        return NULL;
    *ret = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
    return NULL;
}

static int make_mount_ns(struct rt *rt, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/cgroup.controllers", unified);
    cleanup_free char *offered = rt_read_line(path);
    pthread_t thread;

    if (rt->kind != RT_CRUN || rt->cgroups.v2 || !offered || !*offered)
        return 0;
    if (pthread_create(&thread, NULL, hide_unified, &rt->mount_ns) == 0)
        pthread_join(thread, NULL);
    if (rt->mount_ns < 0)
        return err_set(err, 125, "a mount namespace for crun could not be made");
    return 0;
}

/* Looks where a process that enters this mount namespace from outside comes out: ret is 1 if that is not our root. */
static void *compare_roots(void *arg)
{
    cleanup_close int ns = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
    struct statx ours, theirs;
    int *ret = arg;

    if (ns < 0 || statx(AT_FDCWD, "/", 0, STATX_INO | STATX_MNT_ID, &ours) < 0 || unshare(CLONE_FS) < 0 ||
        setns(ns, CLONE_NEWNS) < 0 || statx(AT_FDCWD, "/", 0, STATX_INO | STATX_MNT_ID, &theirs) < 0)
        return NULL;
    *ret = ours.stx_ino != theirs.stx_ino || ours.stx_dev_minor != theirs.stx_dev_minor ||
           ours.stx_dev_major != theirs.stx_dev_major || ours.stx_mnt_id != theirs.stx_mnt_id;
    return NULL;
}

/*
 * In a chroot a runtime changes the root of a container's first process only: whoever enters its mount namespace later,
 * as every exec does, comes out at the machine's own root. That would be no container, so it is refused.
 */
static int check_root(struct err *err)
{
    pthread_t thread;
    int differs = 0;

    if (pthread_create(&thread, NULL, compare_roots, &differs) == 0)
        pthread_join(thread, NULL);
    return differs ? err_set(err, 125,
                             "the engine cannot keep containers apart from within a chroot: give it a mount namespace "
                             "whose root is this folder (pivot_root), or start it outside")
                   : 0;
}

/* Names this state folder in cgroup directories (FNV-1a; a name, not a secret). */
static void folder_key(const char *dir, char key[17])
{
    uint64_t hash = 14695981039346656037u;

    for (const char *p = dir; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    snprintf(key, 17, "%016llx", (unsigned long long)hash);
}

static int open_folder(struct rt *rt, const char *dir, struct err *err)
{
    cleanup_free char *run = NULL, *containers = NULL, *lock = NULL;

    rt->dir = realpath(dir, NULL);
    if (!rt->dir)
        return err_set_errno(err, 125, errno, "%s", dir);
    run = xasprintf("%s/run", rt->dir);
    containers = xasprintf("%s/containers", rt->dir);
    lock = xasprintf("%s/lock", run);
    if (fs_mkdirs(run, 0700, err) < 0 || fs_mkdirs(containers, 0700, err) < 0)
        return -1;
    rt->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (rt->lock < 0)
        return err_set_errno(err, 125, errno, "%s", lock);
    if (flock(rt->lock, LOCK_EX | LOCK_NB) < 0)
        return err_set(err, 125, "another engine runs containers in %s", rt->dir);
    rt_spawn_hide(rt->lock);
    return 0;
}

static void set_up_network(struct rt *rt, bool wanted)
{
    cleanup_strlist struct strlist servers = STRLIST_INIT;

    buf_init(&rt->resolv, LIMIT_CONFIG_FILE);
    rt_resolv_conf("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", &rt->resolv, &servers);
    if (!wanted)
        rt->net_reason = xstrdup("the engine was started without a network for sandboxes");
    else if (rt->gvisor_alone)
        rt->net_reason =
            xstrdup("runsc runs with --network=none (see ATP_ENGINE_RUNSC_FLAGS): sandboxes have loopback only");
    else if (rootless())
        rt->net = rt_net_new_rootless(&rt->net_reason);
    else
        rt->net = rt_net_new(&servers, &rt->net_reason);
    rt->net_refused = rootless() && wanted && !rt->gvisor_alone && !rt->net;
    if (rootless() && rt->net)
        rt_slirp_resolv(&rt->resolv);
}

/* The start-up in its order; what was made is taken down by rt_free(). */
static int set_up(struct rt *rt, const struct rt_config *config, struct err *err)
{
    char key[17];

    if (geteuid() != 0)
        return err_set(err, 125, "the engine is not root and did not become it (see rootless.h)");
    if (choose_runtime(rt, config->runtime, err) < 0 || open_folder(rt, config->dir, err) < 0)
        return -1;
    base_words(rt);
    copy_runtime(rt);
    signal(SIGPIPE, SIG_IGN); /* a process that closes its stdin is no reason to die */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return err_set_errno(err, 125, errno, "becoming a sub-reaper");
    folder_key(rt->dir, key);
    rt_cgroups_init(&rt->cgroups, key);
    if (check_root(err) < 0 || rt_trash_init(rt, err) < 0 || rt_recover(rt, err) < 0 || make_mount_ns(rt, err) < 0 ||
        rt_loop_init(rt, err) < 0)
        return -1;
    rt_trash_sweep(rt);
    rt->seccomp = rt_seccomp_profile();
    rt_starters_init(rt);
    set_up_network(rt, config->network);
    return 0;
}

struct rt *rt_new(uv_loop_t *loop, const struct rt_config *config, struct err *err)
{
    struct rt *rt = xcalloc(1, sizeof(*rt));

    rt->loop = loop;
    rt->lock = rt->mount_ns = rt->starter_program = rt->copy = -1;
    rt->cgroups.kill_at = -1;
    rt->output_max = RT_OUTPUT_MAX;
    if (set_up(rt, config, err) == 0)
        return rt;
    rt_free(rt);
    return NULL;
}

/* ---- the end ---- */

static void give_up(void *arg)
{
    bool *late = arg;

    *late = true;
}

/* Ends every sandbox and waits for that; false when the deadline came first. */
static bool end_sandboxes(struct rt *rt)
{
    struct timer *deadline = NULL;
    bool late = false;

    for (struct rt_sandbox *s = rt->sandboxes, *next; s; s = next) {
        next = s->next;
        if (!s->released)
            rt_sandbox_free(s);
    }
    timer_start(&deadline, rt->loop, 3 * RT_KILL_DEADLINE, give_up, &late);
    while (rt->sandboxes && !late)
        uv_run(rt->loop, UV_RUN_ONCE);
    timer_stop(&deadline);
    return !late;
}

void rt_free(struct rt *rt)
{
    if (!rt)
        return;
    rt->closing = true;
    if (rt->tools) {
        end_sandboxes(rt);
        rt_loop_finish(rt);
    }
    rt_starters_finish(rt);
    rt_net_free(rt->net);
    if (rt->cgroups.key)
        rt_cgroups_clear(&rt->cgroups);
    if (rt->mount_ns >= 0)
        close(rt->mount_ns);
    if (rt->lock >= 0) {
        rt_spawn_unhide(rt->lock);
        close(rt->lock);
    }
    json_decref(rt->seccomp);
    buf_clear(&rt->resolv);
    strlist_clear(&rt->base);
    if (rt->copy >= 0)
        close(rt->copy);
    free(rt->program);
    free(rt->seccomp_made);
    free(rt->net_reason);
    free(rt->state_root);
    free(rt->trash);
    free(rt->version);
    free(rt->name);
    free(rt->path);
    free(rt->dir);
    free(rt);
}
