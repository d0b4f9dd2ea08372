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
#include <time.h>
#include <unistd.h>

#define GVISOR_ROUNDS 5
#define ROUNDS        100 /* each finds what was forked since the last; a fork bomb is ended by the sandbox's end */

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

    if (!rt_cgroup_members(&s->rt->cgroups, s->cgroup_id, &pids, &len))
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

/* The container's processes, out of the table of `runsc ps`: UID, PID, PPID and more. Owned by caller. */
static struct member *gvisor_processes(struct rt *rt, const char *id, const char *dir, size_t *ret_len)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *log = xasprintf("%s/log", dir), *path = xasprintf("%s/ps-XXXXXX", dir), *line = NULL;
    cleanup_file FILE *table = NULL;
    struct member *members = xcalloc(1, sizeof(*members)), m = {0};
    int out = mkostemp(path, O_CLOEXEC);
    struct rt_spawn spawn = {.fds = {-1, out, -1}, .mount_ns = -1};
    size_t room = 0;

    *ret_len = 0;
    table = out >= 0 ? fdopen(out, "r") : NULL;
    if (!table)
        return members;
    unlink(path);
    rt_argv(rt, log, &words);
    strlist_add(&words, "ps");
    strlist_add(&words, id);
    spawn.argv = strlist_argv(&words);
    rt_spawn_wait(&spawn, NULL);
    rewind(table);
    while (getline(&line, &room, table) >= 0) {
        if (sscanf(line, "%*s %d %d", &m.pid, &m.parent) != 2)
            continue; /* the heading */
        members = xreallocarray(members, *ret_len + 1, sizeof(*members));
        members[(*ret_len)++] = m;
    }
    return members;
}

static void gvisor_kill(struct rt *rt, const char *id, const char *dir, pid_t pid)
{
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *log = xasprintf("%s/log", dir);
    struct rt_spawn spawn = {.fds = {-1, -1, -1}, .mount_ns = -1};

    rt_argv(rt, log, &words);
    strlist_split(&words, "kill --pid", ' ');
    strlist_addf(&words, "%d", (int)pid);
    strlist_add(&words, id);
    strlist_add(&words, "KILL");
    spawn.argv = strlist_argv(&words);
    rt_spawn_wait(&spawn, NULL);
}

/* The pid inside, once the runtime has written it; 0 when the runtime ends before. */
pid_t rt_await_pid(const char *pid_file, pid_t runtime)
{
    struct timespec pause = {.tv_nsec = 5000000};

    for (int waited = 0; waited < RT_KILL_DEADLINE; waited += 5) {
        cleanup_free char *line = rt_read_line(pid_file);
        pid_t pid = line ? (pid_t)strtol(line, NULL, 10) : 0;

        if (pid > 1 || kill(runtime, 0) < 0)
            return pid > 1 ? pid : 0;
        nanosleep(&pause, NULL);
    }
    return 0;
}

void rt_kill_in_gvisor(struct rt *rt, const char *id, const char *dir, pid_t root)
{
    for (int round = 0; root && round < GVISOR_ROUNDS; round++) {
        size_t len, doomed = 0;
        cleanup_free struct member *members = gvisor_processes(rt, id, dir, &len);

        for (size_t i = 0; i < len; i++)
            members[i].doomed = members[i].pid == root;
        doom_children(members, len);
        for (size_t i = 0; i < len; i++)
            if (members[i].doomed && members[i].pid != root && ++doomed)
                gvisor_kill(rt, id, dir, members[i].pid);
        if (doomed == 0 || round == GVISOR_ROUNDS - 1) { /* the root last: its children lose their parent with it */
            gvisor_kill(rt, id, dir, root);
            return;
        }
    }
}
