/* Killing one exec with everything that it started, and nothing else of its sandbox. */
#include "backends/engine/rt_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS 100 /* each finds what was forked since the last; a fork bomb is ended by the sandbox's end */

struct member {
    pid_t pid, parent, session;
    bool doomed;
};

/* Without a cgroup every process of the machine is looked at; only descendants of ours can match. */
static void all_processes(pid_t **ret_pids, size_t *ret_len)
{
    cleanup_dir DIR *dir = opendir("/proc");
    const struct dirent *e;
    size_t room = 0;

    *ret_pids = NULL;
    *ret_len = 0;
    while (dir && (e = readdir(dir))) {
        long pid = strtol(e->d_name, NULL, 10);

        if (pid <= 1)
            continue;
        if (*ret_len == room) {
            room = room ? room * 2 : 256;
            *ret_pids = xreallocarray(*ret_pids, room, sizeof(pid_t));
        }
        (*ret_pids)[(*ret_len)++] = (pid_t)pid;
    }
}

/* Marks children of the doomed until there are no more. */
static void doom_children(struct member *members, size_t len)
{
    bool more = true;

    while (more) {
        more = false;
        for (size_t i = 0; i < len; i++)
            for (size_t j = 0; j < len && !members[i].doomed; j++)
                if (members[j].doomed && members[j].pid == members[i].parent)
                    members[i].doomed = more = true;
    }
}

/* One round; how many were killed. */
static size_t kill_round(const struct rt_sandbox *s, pid_t root, pid_t root_session)
{
    cleanup_free pid_t *pids = NULL;
    cleanup_free struct member *members = NULL;
    size_t len, count = 0, killed = 0;

    if (!rt_cgroup_members(&s->rt->cgroups, s->id, &pids, &len))
        all_processes(&pids, &len);
    members = xcalloc(len + 1, sizeof(*members));
    for (size_t i = 0; i < len; i++) {
        struct member *m = &members[count];
        bool exiting;

        m->pid = pids[i];
        if (m->pid == s->init || !rt_process_stat(m->pid, &m->parent, &m->session, &exiting) || exiting)
            continue;
        m->doomed = m->pid == root || (root_session > 0 && m->session == root_session);
        count++;
    }
    doom_children(members, count);
    for (size_t i = 0; i < count; i++)
        if (members[i].doomed && kill(members[i].pid, SIGKILL) == 0)
            killed++;
    return killed;
}

void rt_kill_session(const struct rt_sandbox *s, pid_t pid)
{
    pid_t parent, session = 0, init_parent, init_session = 0, own_session = getsid(0);
    bool exiting;

    rt_process_stat(pid, &parent, &session, &exiting);
    rt_process_stat(s->init, &init_parent, &init_session, &exiting);
    if (session == init_session || session == own_session)
        session = 0;
    for (int round = 0; round < ROUNDS && kill_round(s, pid, session); round++)
        ;
}

/* ---- gVisor ---- */

/* The container's processes as lines "pid parent", out of `runsc ps`'s JSON. */
static json_t *gvisor_processes(struct rt *rt, const char *id, const char *dir)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *log = xasprintf("%s/log", dir), *path = xasprintf("%s/ps-XXXXXX", dir);
    cleanup_close int out = mkostemp(path, O_CLOEXEC);
    struct rt_spawn spawn = {.fds = {-1, out, -1}, .mount_ns = -1};
    json_t *list = NULL;

    if (out < 0)
        return NULL;
    rt_argv(rt, log, &words);
    strlist_split(&words, "ps --format json", ' ');
    strlist_add(&words, id);
    spawn.argv = strlist_argv(&words);
    if (rt_spawn_wait(&spawn, NULL) == 0)
        list = json_load_file(path, JSON_DISABLE_EOF_CHECK, NULL);
    unlink(path);
    return list;
}

static void gvisor_kill(struct rt *rt, const char *id, const char *dir, json_int_t pid)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *log = xasprintf("%s/log", dir);
    struct rt_spawn spawn = {.fds = {-1, -1, -1}, .mount_ns = -1};

    rt_argv(rt, log, &words);
    strlist_split(&words, "kill --pid", ' ');
    strlist_addf(&words, "%lld", (long long)pid);
    strlist_add(&words, id);
    strlist_add(&words, "KILL");
    spawn.argv = strlist_argv(&words);
    rt_spawn_wait(&spawn, NULL);
}

static json_int_t field(const json_t *process, const char *lower, const char *upper)
{
    const json_t *value = json_object_get(process, lower);

    return json_integer_value(value ? value : json_object_get(process, upper));
}

void rt_kill_in_gvisor(struct rt *rt, const char *id, const char *dir, const char *pid_file)
{
    cleanup_free char *line = rt_read_line(pid_file);
    json_int_t root = line ? strtoll(line, NULL, 10) : 0;
    cleanup_free struct member *members = NULL;
    json_t *list;
    size_t len;

    if (root <= 1)
        return;
    list = gvisor_processes(rt, id, dir);
    len = json_array_size(list);
    members = xcalloc(len + 1, sizeof(*members));
    for (size_t i = 0; i < len; i++) {
        const json_t *process = json_array_get(list, i);

        members[i].pid = (pid_t)field(process, "pid", "PID");
        members[i].parent = (pid_t)field(process, "ppid", "PPID");
        members[i].doomed = members[i].pid == root;
    }
    doom_children(members, len);
    gvisor_kill(rt, id, dir, root);
    for (size_t i = 0; i < len; i++)
        if (members[i].doomed && members[i].pid != root && members[i].pid > 1)
            gvisor_kill(rt, id, dir, members[i].pid);
    json_decref(list);
}
