/*
 * What ended containers leave on the disk. A folder is first moved away, which takes no time however much is in it, and
 * then removed by one thread, so that large ones hold up neither the loop nor the start of others. The heap is in the
 * state folder: what an engine that was killed did not come to, the next one removes.
 */
#include "backends/engine/rt_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

int rt_trash_init(struct rt *rt, struct err *err)
{
    rt->trash = xasprintf("%s/trash", rt->dir);
    return fs_mkdirs(rt->trash, 0700, err);
}

int rt_trash_put(const struct rt *rt, const char *dir, struct err *err)
{
    cleanup_free char *to = xasprintf("%s/%s", rt->trash, strrchr(dir, '/') + 1);

    if (rename(dir, to) == 0 || errno == ENOENT)
        return 0;
    return rt_remove_tree(dir, err); /* the heap is full or has one of that name */
}

/* Takes things from the heap until none is there that can be removed. What cannot is tried again at the next sweep. */
static void sweep_work(void *arg)
{
    const struct rt *rt = arg;
    cleanup_dir DIR *dir = opendir(rt->trash);
    const struct dirent *e;

    while (dir && (e = readdir(dir))) {
        cleanup_free char *path = xasprintf("%s/%s", rt->trash, e->d_name);

        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            rt_remove_tree(path, NULL);
    }
}

static void sweep_done(void *arg)
{
    struct rt *rt = arg;

    rt->sweeping = false;
    if (rt->sweep_again)
        rt_trash_sweep(rt);
}

void rt_trash_sweep(struct rt *rt)
{
    rt->sweep_again = rt->sweeping;
    if (rt->sweeping)
        return;
    rt->sweeping = true;
    rt_job_run(rt, sweep_work, sweep_done, rt);
}
