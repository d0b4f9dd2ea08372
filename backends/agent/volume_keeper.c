#include "backends/agent/volume_keeper.h"

#include "backends/agent/agent.h"
#include "backends/agent/volume.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "compat/sys/loop.h"
#include "translate/wire/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define NICE      10
#define FD_MAX    1024 /* where close_range() is not there */
#define ERROR_MAX 4096

enum task { TASK_NONE, TASK_RESTORE, TASK_SAVE, TASK_LAST };

struct keeper {
    struct loop *loop;
    const struct agent_options *options;
    struct wire_volumes list;
    struct loop_timer *timer;
    enum task task;
    pid_t pid; /* of the child that does it */
    bool last_wanted;
    void (*ready)(void *arg, const char *why);
    void (*done)(void *arg, const char *why);
    void *arg;
};

static char *path_in(const char *run_dir, const char *name)
{
    return xasprintf("%s/%s", run_dir, name);
}

/* ---- the child ---- */

static void let_go(void)
{
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
#ifdef SYS_close_range
    if (syscall(SYS_close_range, 3u, ~0u, 0u) == 0)
        return;
#endif
    for (int fd = 3; fd < FD_MAX; fd++)
        close(fd);
}

/* What went wrong is left in a file for init. */
static void child(const struct keeper *k, enum task task)
{
    const struct volume_dirs dirs = {k->options->volumes_dir, k->options->run_dir};
    cleanup_free char *why = path_in(k->options->run_dir, "volumes.error");
    struct buf out = BUF_INIT(WIRE_VOLUMES_MAX);
    struct err err = ERR_INIT;
    int rc;

    let_go();
    unlink(why);
    if (task == TASK_SAVE && nice(NICE) < 0)
        errno = 0;
    rc = task == TASK_RESTORE ? volumes_restore(&dirs, &k->list, &err) : volumes_save(&dirs, &k->list, "", &out, &err);
    if (rc < 0 && err.msg)
        fs_write_file(why, err.msg, strlen(err.msg), 0600, NULL);
    _exit(rc < 0 ? 1 : 0);
}

static int begin(struct keeper *k, enum task task)
{
    pid_t pid = fork();

    if (pid == 0)
        child(k, task);
    if (pid < 0)
        return -1;
    k->pid = pid;
    k->task = task;
    return 0;
}

/* ---- init ---- */

static void arm(struct keeper *k)
{
    if (k->list.save_s > 0)
        loop_timer_set(k->timer, k->list.save_s * 1000);
}

static void on_time(struct loop *loop, void *arg)
{
    struct keeper *k = arg;

    (void)loop;
    if (k->task != TASK_NONE || begin(k, TASK_SAVE) < 0)
        arm(k);
}

int keeper_new(struct loop *loop, const struct agent_options *options, const char *text, struct keeper **ret,
               struct err *err)
{
    cleanup_free char *path = path_in(options->run_dir, "volumes.list");
    struct wire_volumes list;
    struct keeper *k;

    *ret = NULL;
    unlink(path);
    if (!text || !*text)
        return 0;
    if (wire_volumes_read(text, &list, err) < 0)
        return -1;
    if (fs_write_file(path, text, strlen(text), 0600, err) < 0) {
        wire_volumes_clear(&list);
        return -1;
    }
    k = xcalloc(1, sizeof(*k));
    *k = (struct keeper){.loop = loop, .options = options, .list = list};
    k->timer = loop_timer_add(loop, 0, on_time, k);
    loop_timer_stop(k->timer);
    *ret = k;
    return 0;
}

void keeper_free(struct keeper *k)
{
    if (!k)
        return;
    loop_timer_del(k->timer);
    wire_volumes_clear(&k->list);
    free(k);
}

int keeper_restore(struct keeper *k, void (*ready)(void *arg, const char *why), void *arg, struct err *err)
{
    if (begin(k, TASK_RESTORE) < 0)
        return err_set_errno(err, 125, errno, "restoring the volumes");
    k->ready = ready;
    k->arg = arg;
    return 0;
}

void keeper_go(struct keeper *k)
{
    if (k)
        arm(k);
}

static bool saves(const struct keeper *k)
{
    for (size_t i = 0; i < k->list.len; i++)
        if (!k->list.items[i].read_only && !k->list.items[i].scratch)
            return true;
    return false;
}

bool keeper_last(struct keeper *k, void (*done)(void *arg, const char *why), void *arg)
{
    if (!k || !saves(k))
        return false;
    loop_timer_stop(k->timer);
    k->done = done;
    k->arg = arg;
    k->last_wanted = true;
    if (k->task == TASK_NONE && begin(k, TASK_LAST) < 0) {
        k->last_wanted = false;
        return false;
    }
    return true;
}

bool keeper_busy(const struct keeper *k)
{
    return k && (k->last_wanted || k->task == TASK_RESTORE);
}

/* The line that a child left; owned by caller. */
static char *error_line(const struct keeper *k, int status)
{
    cleanup_free char *path = path_in(k->options->run_dir, "volumes.error");
    struct buf b = BUF_INIT(ERROR_MAX);

    if (fs_read_file(path, &b, NULL) == 0 && b.len)
        return buf_detach(&b);
    buf_clear(&b);
    if (WIFSIGNALED(status))
        return xasprintf("the process that saves and restores volumes was killed by signal %d", WTERMSIG(status));
    return xstrdup("saving or restoring a volume failed");
}

bool keeper_reaped(struct keeper *k, pid_t pid, int status)
{
    cleanup_free char *why = NULL;
    enum task task;

    if (!k || k->task == TASK_NONE || k->pid != pid)
        return false;
    task = k->task;
    k->task = TASK_NONE;
    if (status)
        why = error_line(k, status);
    if (why && task != TASK_RESTORE)
        fprintf(stderr, "atp-agent: %s\n", why);
    if (task == TASK_RESTORE) {
        k->ready(k->arg, why);
        return true;
    }
    if (k->last_wanted && task != TASK_LAST && begin(k, TASK_LAST) == 0)
        return true;
    if (k->last_wanted) {
        k->last_wanted = false;
        k->done(k->arg, why);
    } else {
        arm(k);
    }
    return true;
}

/* ---- sessions ---- */

int keeper_list(const char *run_dir, struct wire_volumes *ret, struct err *err)
{
    cleanup_free char *path = path_in(run_dir, "volumes.list");
    cleanup_buf struct buf b = BUF_INIT(WIRE_VOLUMES_MAX);

    *ret = (struct wire_volumes){0};
    if (!fs_exists(path))
        return 0;
    if (fs_read_file(path, &b, err) < 0)
        return -1;
    return wire_volumes_read(b.data, ret, err);
}
