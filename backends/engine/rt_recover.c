/*
 * What an engine that was killed left behind. Processes are taken by their cgroup, which bears our folder's name, and
 * where there are no cgroups by pid and start time as noted at the start.
 */
#include "backends/engine/rt_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <dirent.h>
#include <errno.h>
#include <mntent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

void rt_remove_state(const struct rt *rt, const char *id)
{
    cleanup_free char *own = xasprintf("%s/%s", rt->state_root, id);
    cleanup_dir DIR *dir = rt->kind == RT_RUNSC ? opendir(rt->state_root) : NULL;
    size_t len = strlen(id);
    const struct dirent *e;

    rt_remove_tree(own, NULL);
    while (dir && (e = readdir(dir))) { /* runsc: ID_sandbox:ID.state, .lock; or runsc-ID.sock and the like */
        cleanup_free char *path = xasprintf("%s/%s", rt->state_root, e->d_name);

        if (strncmp(e->d_name, id, len) == 0 && e->d_name[len] == '_')
            unlink(path);
    }
}

/* The first process as noted; only if it is still that process. */
static void kill_noted(const char *dir)
{
    cleanup_free char *path = xasprintf("%s/init", dir), *line = rt_read_line(path);
    struct timespec pause = {.tv_nsec = 1000000};
    unsigned long long start;
    int pid;

    if (!line || sscanf(line, "%d %llu", &pid, &start) != 2 || pid <= 1)
        return;
    for (int waited = 0; waited < RT_KILL_DEADLINE && start && rt_process_start(pid) == start; waited++) {
        pid_t parent, session;
        bool exiting = false;

        if (rt_process_stat(pid, &parent, &session, &exiting) && exiting)
            return; /* dead; whose child it is now waits for it */
        kill(pid, SIGKILL);
        nanosleep(&pause, NULL);
    }
}

/* Mounts below our folder; there are none unless somebody made them, but removing through one would be terrible. */
static int unmount_below(const char *dir, struct err *err)
{
    cleanup_strlist struct strlist points = STRLIST_INIT;
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    const struct mntent *m;
    size_t len = strlen(dir);

    while (mounts && (m = getmntent(mounts)))
        if (strncmp(m->mnt_dir, dir, len) == 0 && m->mnt_dir[len] == '/')
            strlist_add(&points, m->mnt_dir);
    if (mounts)
        endmntent(mounts);
    for (size_t i = points.len; i > 0; i--)
        if (umount2(points.items[i - 1], MNT_DETACH) < 0)
            return err_set_errno(err, 125, errno, "unmounting %s", points.items[i - 1]);
    return 0;
}

static void list_folders(const char *dir, struct strlist *ret)
{
    cleanup_dir DIR *entries = opendir(dir);
    const struct dirent *e;

    while (entries && (e = readdir(entries)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            strlist_add(ret, e->d_name);
}

/* Another runtime may have been chosen last time: all their state goes. */
static int remove_run_folders(const struct rt *rt, struct err *err)
{
    cleanup_free char *run = xasprintf("%s/run", rt->dir);
    cleanup_strlist struct strlist names = STRLIST_INIT;

    list_folders(run, &names);
    for (size_t i = 0; i < names.len; i++) {
        cleanup_free char *path = xasprintf("%s/%s", run, names.items[i]);

        if (strcmp(names.items[i], "lock") != 0 && rt_remove_tree(path, err) < 0)
            return -1;
    }
    return 0;
}

int rt_recover(struct rt *rt, struct err *err)
{
    cleanup_free char *containers = xasprintf("%s/containers", rt->dir);
    cleanup_strlist struct strlist ids = STRLIST_INIT, left = STRLIST_INIT;

    rt_cgroups_list(&rt->cgroups, &ids);
    for (size_t i = 0; i < ids.len; i++)
        if (rt_cgroup_remove(&rt->cgroups, ids.items[i], err) < 0)
            return -1;
    list_folders(containers, &left);
    for (size_t i = 0; i < left.len; i++) {
        cleanup_free char *dir = xasprintf("%s/%s", containers, left.items[i]);

        kill_noted(dir);
    }
    if (unmount_below(containers, err) < 0 || unmount_below(rt->trash, err) < 0)
        return -1;
    for (size_t i = 0; i < left.len; i++) {
        cleanup_free char *dir = xasprintf("%s/%s", containers, left.items[i]);

        if (rt_trash_put(rt, dir, err) < 0)
            return -1;
    }
    rt_net_recover();
    return remove_run_folders(rt, err);
}
