/*
 * A sandbox's life: STARTING (a thread makes it) -> RUNNING -> ENDED -> cleaned (a thread takes its traces off the
 * machine, the files too unless they are held) -> forgotten when its handle was released as well. The container's first
 * process is inherited from the runtime (sub-reaper), so its exit status is exact and no runtime process stays.
 */
#include "backends/engine/rt_internal.h"

#include "backends/engine/rootless.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct rt_start { /* what the starting thread works on; nobody else touches it meanwhile */
    struct rt_sandbox *s;
    struct rt_sandbox_spec spec; /* pointers into the copies below */
    struct strlist lowers, args, env, cidrs, sources;
    struct rt_mount *mounts;
    gid_t *groups;
    char *hosts;      /* the whole text, NULL = the usual one with names */
    struct buf names; /* of the sandbox's other containers, as known when it began */
    int fds[3];
    int console; /* listening socket, -1 = no terminal */
    int master;
    pid_t init;
    struct rt_launch starter;
    const char *seccomp_made; /* as known when it began */
    char *ret_seccomp_made;   /* as crun has made it now */
    struct err err;
};

/* ---- checking and copying the spec ---- */

static bool valid_name(const char *name, size_t max, const char *extra)
{
    size_t len = name ? strlen(name) : 0;

    if (len == 0 || len > max || name[0] == '-' || name[0] == '.')
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(extra, *p))
            return false;
    return true;
}

static int check_spec(struct rt *rt, const struct rt_sandbox_spec *spec, struct err *err)
{
    if (rt->closing)
        return err_set(err, 125, "the engine is ending");
    if (!valid_name(spec->id, 64, "-"))
        return err_set(err, 125, "sandbox id %s: letters, digits and - only", spec->id ? spec->id : "(none)");
    if (!valid_name(spec->hostname, 64, "-._"))
        return err_set(err, 125, "hostname %s: letters, digits, - and . only",
                       spec->hostname ? spec->hostname : "(none)");
    if (!spec->args || spec->args->len == 0 || !spec->args->items[0][0])
        return err_set(err, 125, "no command specified");
    if (!spec->lowers || spec->lowers->len == 0)
        return err_set(err, 125, "the image has no layers");
    if (spec->workdir && spec->workdir[0] != '/')
        return err_set(err, 125, "the working directory '%s' is invalid, it needs to be an absolute path",
                       spec->workdir);
    for (struct rt_sandbox *s = rt->sandboxes; s; s = s->next)
        if (strcmp(s->id, spec->id) == 0)
            return err_set(err, 125, "a sandbox %s exists", spec->id);
    if (rt->net_refused && spec->network != RT_NETWORK_BLOCKED)
        return err_set(err, 125, "%s", rt->net_reason);
    if (spec->network == RT_NETWORK_HOST && (rootless() || rt->kind == RT_RUNSC))
        return err_set(err, 125, "the machine's own network cannot be had here: it takes root, and crun or runc");
    if (rootless() && spec->network == RT_NETWORK_ALLOWLIST)
        return err_set(err, 125, "an engine without root cannot restrict a sandbox to some addresses");
    if (spec->network == RT_NETWORK_ALLOWLIST && spec->allowed_cidrs &&
        rt_net_check_cidrs(spec->allowed_cidrs, err) < 0)
        return -1;
    if (rt_pod_check(rt, spec, err) < 0)
        return -1;
    return rt_cgroup_check(&rt->cgroups, spec->memory_bytes, spec->milli_cpu, spec->pids, err);
}

static struct rt_start *copy_spec(struct rt_sandbox *s, const struct rt_sandbox_spec *spec)
{
    struct rt_start *start = xcalloc(1, sizeof(*start));

    start->s = s;
    start->spec = *spec;
    start->seccomp_made = s->rt->seccomp_made;
    strlist_copy(&start->lowers, spec->lowers);
    strlist_copy(&start->args, spec->args);
    if (spec->env)
        strlist_copy(&start->env, spec->env);
    if (spec->allowed_cidrs)
        strlist_copy(&start->cidrs, spec->allowed_cidrs);
    start->mounts = rt_mounts_copy(spec->mounts, spec->mounts_len);
    start->groups = spec->groups_len ? xmemdup(spec->groups, spec->groups_len * sizeof(*spec->groups)) : NULL;
    start->hosts = xstrdup(spec->hosts);
    buf_init(&start->names, LIMIT_CONFIG_FILE);
    if (s->main)
        rt_pod_names(s, &start->names);
    start->spec.id = s->id;
    start->spec.hostname = s->hostname;
    start->spec.name = s->name;
    start->spec.hosts = start->hosts;
    start->spec.groups = start->groups;
    start->spec.workdir = s->workdir;
    start->spec.lowers = &start->lowers;
    start->spec.args = &start->args;
    start->spec.env = &start->env;
    start->spec.allowed_cidrs = &start->cidrs;
    start->spec.mounts = start->mounts;
    start->fds[0] = start->fds[1] = start->fds[2] = start->console = start->master = start->starter.socket = -1;
    return start;
}

static void start_free(struct rt_start *start)
{
    rt_mounts_free(start->mounts, start->spec.mounts_len);
    free(start->groups);
    free(start->hosts);
    buf_clear(&start->names);
    strlist_clear(&start->sources);
    strlist_clear(&start->lowers);
    strlist_clear(&start->args);
    strlist_clear(&start->env);
    strlist_clear(&start->cidrs);
    for (int i = 0; i < 3; i++)
        if (start->fds[i] >= 0)
            close(start->fds[i]);
    if (start->console >= 0)
        close(start->console);
    if (start->master >= 0)
        close(start->master);
    if (start->starter.socket >= 0)
        close(start->starter.socket);
    err_clear(&start->err);
    free(start->ret_seccomp_made);
    free(start);
}

/* ---- the starting thread ---- */

/* Gives this thread a mount namespace of its own, in which the runtime will run: the host never sees the root. */
static int enter_own_mounts(const struct rt *rt, struct err *err)
{
    if (unshare(CLONE_FS) < 0 || (rt->mount_ns >= 0 && setns(rt->mount_ns, CLONE_NEWNS) < 0) ||
        unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_SLAVE, NULL) < 0)
        return err_set_errno(err, 125, errno, "making a mount namespace");
    return 0;
}

/* The text of /etc/hosts as the container begins with it; owned by caller. */
static char *first_hosts(struct rt_start *start)
{
    const struct rt_sandbox *s = start->s;
    cleanup_free char *usual = rt_root_hosts(s->hostname, s->net.address);

    if (start->hosts)
        return xstrdup(start->hosts);
    rt_pod_name_line(s, &start->names);
    return xasprintf("%s%s", usual, s->main && start->names.data ? start->names.data : "");
}

static int write_bundle(struct rt_start *start, struct err *err)
{
    struct rt_sandbox *s = start->s;
    struct rt *rt = s->rt;
    cleanup_free char *root = xasprintf("%s/root", s->dir), *etc = xasprintf("%s/etc", s->dir);
    cleanup_free char *netns = xasprintf("/proc/%d/fd/%d", (int)getpid(), s->net.ns);
    cleanup_free char *config = xasprintf("%s/config.json", s->dir);
    cleanup_free char *cgroup = rt->kind == RT_RUNC ? rt_cgroup_path(&rt->cgroups, s->cgroup_id) : NULL;
    cleanup_free char *hosts = first_hosts(start);
    struct rt_bundle bundle = {
        .spec = &start->spec,
        .sources = (const char *const *)strlist_argv(&start->sources),
        .kind = rt->kind,
        .seccomp = rt->seccomp,
        .seccomp_made = start->seccomp_made,
        .root = root,
        .etc = etc,
        .netns = start->spec.network == RT_NETWORK_HOST ? NULL : netns,
        .cgroup_path = cgroup,
        .cgroup_mount = rt->cgroups.v2 && rt->kind != RT_RUNSC ? "cgroup" : NULL,
    };

    if (rt_root_etc(etc, s->hostname, rt->resolv.data, hosts, err) < 0)
        return -1;
    return rt_bundle_write(&bundle, config, err);
}

/* The pid that the runtime wrote, noted with its start time for an engine that comes after a crash. */
static int note_init(struct rt_start *start, struct err *err)
{
    struct rt_sandbox *s = start->s;
    cleanup_free char *pid_path = xasprintf("%s/pid", s->dir), *line = rt_read_line(pid_path);
    cleanup_free char *note_path = xasprintf("%s/init", s->dir), *note = NULL;

    start->init = line ? (pid_t)strtol(line, NULL, 10) : 0;
    if (start->init <= 1)
        return err_set(err, 125, "the runtime did not say which process it started");
    note = xasprintf("%d %llu\n", (int)start->init, (unsigned long long)rt_process_start(start->init));
    return rt_write_text(note_path, note, 0600, err);
}

static int run_runtime(struct rt_start *start, struct err *err)
{
    struct rt_sandbox *s = start->s;
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *log = xasprintf("%s/log", s->dir), *said = NULL;
    struct rt_spawn spawn = {.program = s->rt->program, .cwd = s->dir, .mount_ns = -1};
    int status;

    rt_argv(s->rt, log, &words);
    strlist_split(&words, "run --detach --bundle . --pid-file pid", ' ');
    if (start->console >= 0)
        strlist_split(&words, "--console-socket console", ' ');
    strlist_add(&words, s->id);
    spawn.argv = strlist_argv(&words);
    memcpy(spawn.fds, start->fds, sizeof(spawn.fds));
    if (s->rt->kind != RT_RUNC) { /* runc wants to find its cgroup empty, and enters it itself */
        spawn.join = s->cgroup.procs;
        spawn.join_len = s->cgroup.procs_len;
    }
    status = rt_spawn_wait(&spawn, err);
    if (status < 0)
        return -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        if (!start->seccomp_made)
            start->ret_seccomp_made = rt_seccomp_made(s->rt, s->id);
        return note_init(start, err);
    }
    said = rt_log_message(log);
    if (said)
        return err_set(err, rt_start_code(said), "%s: %s", s->rt->name, said);
    return err_set(err, 125, "%s ended with status %d", s->rt->name,
                   WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* The runtime has sent the terminal before it ended. */
static int take_console(struct rt_start *start, struct err *err)
{
    cleanup_close int connection = rt_console_accept(start->console);

    if (connection >= 0)
        start->master = rt_console_take(connection, start->spec.pty_rows, start->spec.pty_cols);
    return start->master >= 0 ? 0 : err_set_errno(err, 125, errno, "the runtime made no terminal");
}

/* Its place beside the others of its sandbox, or one of its own with the limits. */
static int make_cgroup(struct rt_start *start, struct err *err)
{
    struct rt_sandbox *s = start->s;
    const struct rt_sandbox_spec *spec = &start->spec;

    if (s->main)
        return rt_cgroup_make_below(&s->cgroup, &s->main->cgroup, s->cgroup_id, err);
    return rt_cgroup_make(&s->cgroup, &s->rt->cgroups, s->id, spec->memory_bytes, spec->milli_cpu, spec->pids, err);
}

static int start_container(struct rt_start *start, struct err *err)
{
    struct rt_sandbox *s = start->s;
    const struct rt_sandbox_spec *spec = &start->spec;

    if (make_cgroup(start, err) < 0)
        return -1;
    if (spec->network != RT_NETWORK_HOST &&
        rt_net_attach(s->rt->net, spec->network, spec->allowed_cidrs, &s->net, err) < 0)
        return -1;
    if (enter_own_mounts(s->rt, err) < 0 || rt_root_mount(s->dir, &start->lowers, err) < 0 ||
        rt_mounts_make(s->dir, start->mounts, spec->mounts_len, &start->sources, err) < 0)
        return -1;
    if (write_bundle(start, err) < 0 || run_runtime(start, err) < 0)
        return -1;
    return start->console < 0 ? 0 : take_console(start, err);
}

static void start_work(void *arg)
{
    struct rt_start *start = arg;
    struct err err = ERR_INIT;

    if (start_container(start, &err) < 0)
        err_move(&start->err, &err);
    else if (start->s->rt->kind != RT_RUNSC && !start->spec.one_shot)
        start->starter = rt_starter_launch(start->s); /* here: joining a cgroup makes the kernel take its time */
    if (start->s->net.ns >= 0)
        close(start->s->net.ns); /* the container's processes hold it now */
    start->s->net.ns = -1;
}

/* ---- the end ---- */

/* Off the list, off the memory. */
static void forget(struct rt_sandbox *s)
{
    struct rt_sandbox **p = &s->rt->sandboxes;

    while (*p != s)
        p = &(*p)->next;
    *p = s->next;
    rt_input_free(s->input);
    rt_stream_free(s->streams[0]);
    rt_stream_free(s->streams[1]);
    strlist_clear(&s->net.rules);
    rt_starter_free(s);
    free(s->id);
    free(s->dir);
    free(s->upper);
    free(s->workdir);
    free(s->cgroup_id);
    free(s->hostname);
    free(s->name);
    free(s);
}

/* The machine is clean of it, or else there is more to come. */
static void leave(struct rt_sandbox *s)
{
    if (!s->cleaned)
        return;
    if (s->keep && (s->holds == 0 || s->released)) {
        s->keep = false;
        rt_trash_put(s->rt, s->dir, NULL);
        rt_trash_sweep(s->rt);
    }
    if (s->released)
        forget(s);
}

static void clean_work(void *arg)
{
    struct rt_sandbox *s = arg;

    rt_cgroup_remove(&s->rt->cgroups, s->cgroup_id, NULL);
    rt_cgroup_clear(&s->cgroup);
    rt_net_detach(s->rt->net, &s->net);
    rt_remove_state(s->rt, s->id);
    if (!s->keep)
        rt_trash_put(s->rt, s->dir, NULL); /* what cannot be removed now is tried again by the next engine */
}

static void clean_done(void *arg);

/* Not before the sandbox's other containers: their places are within the first one's. */
static void begin_cleaning(struct rt_sandbox *s)
{
    if (s->cleaning || s->changing || !rt_pod_is_empty(s))
        return;
    s->cleaning = true;
    s->keep = s->holds != 0;
    rt_job_run(s->rt, clean_work, clean_done, s);
}

void rt_sandbox_changed(struct rt_sandbox *s)
{
    if (s->state == RT_ENDED)
        begin_cleaning(s);
}

static void clean_done(void *arg)
{
    struct rt_sandbox *s = arg, *first = s->main;

    s->cleaned = true;
    s->main = NULL;
    if (!s->keep)
        rt_trash_sweep(s->rt);
    leave(s);
    if (first && first->state == RT_ENDED)
        begin_cleaning(first);
}

/* Ends the execs one after the other: each callback may free its exec, or others. */
static void end_execs(struct rt_sandbox *s)
{
    for (struct rt_exec *e; (e = rt_exec_first_live(s));)
        rt_exec_sandbox_ended(e);
}

static void end(struct rt_sandbox *s, enum rt_end how, int code, const char *message)
{
    uint64_t heard = rt_stream_len(s->streams[0]) + rt_stream_len(s->streams[1]);

    s->state = RT_ENDED;
    for (int i = 0; i < 2; i++) {
        rt_stream_drain(s->streams[i]); /* whoever could write is dead: what is there is all */
        rt_stream_end(s->streams[i]);
    }
    if (rt_stream_len(s->streams[0]) + rt_stream_len(s->streams[1]) > heard && !s->released && s->events.on_output)
        s->events.on_output(s, s->arg);
    rt_input_end(s->input);
    end_execs(s);
    rt_starter_stop(s);
    rt_pod_kill(s);
    if (s->killed && how != RT_END_LOST)
        how = RT_END_KILLED;
    if (!s->released && s->events.on_end)
        s->events.on_end(s, how, code, message, s->arg);
    if (s->main)
        rt_pod_changed(s);
    begin_cleaning(s);
}

static void init_ended(int status, void *arg)
{
    struct rt_sandbox *s = arg;

    if (status == -1)
        end(s, RT_END_LOST, 0, "the container's first process is not the engine's child");
    else if (WIFSIGNALED(status))
        end(s, RT_END_SIGNALED, WTERMSIG(status), NULL);
    else
        end(s, RT_END_EXITED, WEXITSTATUS(status), NULL);
}

/* ---- the middle ---- */

/* Connects the streams to the terminal that the runtime made. */
static void use_terminal(struct rt_sandbox *s, int master)
{
    int second = fcntl(master, F_DUPFD_CLOEXEC, 3);

    rt_stream_tty(s->streams[0], master);
    if (second >= 0)
        rt_input_tty(s->input, second);
}

static void start_done(void *arg)
{
    struct rt_start *start = arg;
    struct rt_sandbox *s = start->s;
    struct rt_launch starter = start->starter;
    struct err failed = ERR_INIT;

    if (start->err.msg)
        err_move(&failed, &start->err);
    start->starter.socket = -1;
    s->init = start->init;
    s->start = NULL;
    if (!s->rt->seccomp_made)
        s->rt->seccomp_made = steal(&start->ret_seccomp_made);
    if (start->master >= 0)
        use_terminal(s, steal_fd(&start->master));
    start_free(start);
    if (failed.msg) {
        rt_cgroup_kill(&s->rt->cgroups, s->cgroup_id);
        end(s, RT_END_START_FAILED, failed.exit_code, failed.msg);
        err_clear(&failed);
        return;
    }
    s->state = RT_RUNNING;
    if (s->main)
        rt_pod_changed(s);
    rt_child_watch(s->rt, &s->child, s->init, init_ended, s);
    if (starter.runtime)
        rt_starter_await(s, starter); /* before anybody asks: it comes while the caller is told and comes back */
    if (s->killed) {
        kill(s->init, SIGKILL);
        return;
    }
    if (s->events.on_started)
        s->events.on_started(s, s->arg);
    if (s->state != RT_RUNNING || s->released)
        return;
    rt_exec_begin_waiting(s);
}

static void on_output(void *arg)
{
    struct rt_sandbox *s = arg;

    if (!s->released && s->events.on_output)
        s->events.on_output(s, s->arg);
}

/* Pipes or a terminal for the first process. */
static int make_stdio(struct rt_sandbox *s, struct rt_start *start, struct err *err)
{
    cleanup_free char *console = xasprintf("%s/console", s->dir);

    if (start->spec.pty) {
        rt_stream_end(s->streams[1]);
        return rt_console_listen(console, &start->console, err);
    }
    if (rt_input_pipe(s->input, &start->fds[0], err) < 0)
        return -1;
    if (start->spec.silent) { /* to /dev/null */
        rt_stream_end(s->streams[0]);
        rt_stream_end(s->streams[1]);
        return 0;
    }
    if (rt_stream_pipe(s->streams[0], &start->fds[1], err) < 0)
        return -1;
    return rt_stream_pipe(s->streams[1], &start->fds[2], err);
}

static int make_folder(struct rt_sandbox *s, struct err *err)
{
    cleanup_free char *execs = xasprintf("%s/x", s->dir);

    if (mkdir(s->dir, 0700) < 0 || mkdir(execs, 0700) < 0)
        return err_set_errno(err, 125, errno, "%s", s->dir);
    return 0;
}

struct rt_sandbox *rt_sandbox_create(struct rt *rt, const struct rt_sandbox_spec *spec,
                                     const struct rt_sandbox_events *events, void *arg, struct err *err)
{
    struct rt_sandbox *s;
    struct rt_start *start;

    if (check_spec(rt, spec, err) < 0)
        return NULL;
    s = xcalloc(1, sizeof(*s));
    *s = (struct rt_sandbox){.rt = rt, .next = rt->sandboxes, .events = *events, .arg = arg, .net = {.ns = -1}};
    rt->sandboxes = s;
    s->id = xstrdup(spec->id);
    s->dir = xasprintf("%s/containers/%s", rt->dir, spec->id);
    s->upper = xasprintf("%s/upper", s->dir);
    s->workdir = xstrdup(spec->workdir ? spec->workdir : "/");
    s->hostname = xstrdup(spec->hostname);
    s->cgroup_id = spec->beside ? xasprintf("%s/%s", spec->beside->id, spec->id) : xstrdup(spec->id);
    if (spec->beside) {
        s->main = spec->beside;
        s->name = xstrdup(spec->name);
        s->net.group = rt_net_group(rt->net, &s->main->net);
        s->net.joined = s->net.group != 0;
    }
    s->streams[0] = rt_stream_new(rt, on_output, s);
    s->streams[1] = rt_stream_new(rt, on_output, s);
    rt_stream_never_full(s->streams[0]);
    rt_stream_never_full(s->streams[1]);
    s->input = rt_input_new(rt);
    start = copy_spec(s, spec);
    if (make_folder(s, err) < 0 || make_stdio(s, start, err) < 0) {
        start_free(start);
        rt_remove_tree(s->dir, NULL);
        forget(s);
        return NULL;
    }
    s->start = start;
    rt_job_run(rt, start_work, start_done, start);
    return s;
}

void rt_sandbox_kill(struct rt_sandbox *s)
{
    if (s->state == RT_ENDED)
        return;
    s->killed = true;
    rt_pod_kill(s);
    if (s->init)
        kill(s->init, SIGKILL); /* takes its pid namespace with it */
    rt_cgroup_kill(&s->rt->cgroups, s->cgroup_id);
}

void rt_sandbox_free(struct rt_sandbox *s)
{
    if (!s || s->released)
        return;
    s->released = true;
    while (s->execs)
        rt_exec_free(s->execs);
    rt_sandbox_kill(s);
    leave(s);
}

void rt_sandbox_hold(struct rt_sandbox *s)
{
    s->holds++;
}

void rt_sandbox_unhold(struct rt_sandbox *s)
{
    s->holds--;
    leave(s);
}

const char *rt_sandbox_upper(const struct rt_sandbox *s)
{
    return s->upper;
}

struct rt_stream *rt_sandbox_stream(struct rt_sandbox *s, int fd)
{
    return s->streams[fd == 2];
}

int rt_sandbox_stdin(struct rt_sandbox *s, uint64_t offset, const void *bytes, size_t len, bool eof,
                     void (*done)(void *arg), void *arg, struct err *err)
{
    return rt_input_write(s->input, offset, bytes, len, eof, done, arg, err);
}
