#include "backends/agent/volume_keeper.h"

#include "backends/agent/agent.h"
#include "backends/agent/share_mate.h"
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
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NICE       10
#define FD_MAX     1024 /* where close_range() is not there */
#define ERROR_MAX  4096
#define MATE_AGAIN 1000 /* ms */

enum task { TASK_NONE, TASK_RESTORE, TASK_SAVE, TASK_LAST };

/* Who keeps a volume in step with other containers (share_mate.h). pid 0: there is none, or it has ended. */
struct mate_hold {
    struct keeper *keeper;
    size_t index;
    pid_t pid;
    int fd;
    struct loop_io *io;
    bool wanted, ready;
};

struct keeper {
    struct loop *loop;
    const struct agent_options *options;
    struct wire_volumes list;
    struct wire_names names;
    struct mate_hold *mates; /* for each of the list */
    struct loop_timer *timer, *mate_timer;
    enum task task;
    pid_t pid; /* of the child that does it */
    bool restoring, last_wanted;
    char *why; /* what has failed first */
    void (*ready)(void *arg, const char *why);
    void (*done)(void *arg, const char *why);
    void *arg;
};

static char *path_in(const char *run_dir, const char *name)
{
    return xasprintf("%s/%s", run_dir, name);
}

/* ---- the child ---- */

/* All descriptors but one; -1: none is kept. */
static void let_go(int keep)
{
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
#ifdef SYS_close_range
    if (keep < 0 && syscall(SYS_close_range, 3u, ~0u, 0u) == 0)
        return;
    if (keep >= 3 && (keep == 3 || syscall(SYS_close_range, 3u, (unsigned)keep - 1, 0u) == 0) &&
        syscall(SYS_close_range, (unsigned)keep + 1, ~0u, 0u) == 0)
        return;
#endif
    for (int fd = 3; fd < FD_MAX; fd++)
        if (fd != keep)
            close(fd);
}

/* Those that no mate has: a mate brings its volume, and looks after its last save. Borrows; items are owned. */
static struct wire_volumes plain(const struct keeper *k)
{
    struct wire_volumes list = {.items = xcalloc(k->list.len + 1, sizeof(*list.items))};

    for (size_t i = 0; i < k->list.len; i++)
        if (!k->mates[i].wanted)
            list.items[list.len++] = k->list.items[i];
    return list;
}

static bool is_saved(const struct wire_volume *v)
{
    return !v->read_only && !v->scratch;
}

/* What went wrong is left in a file for init. */
static void child(const struct keeper *k, enum task task)
{
    const struct volume_dirs dirs = {k->options->volumes_dir, k->options->run_dir};
    const struct wire_volumes list = task == TASK_SAVE ? k->list : plain(k);
    cleanup_free char *why = path_in(k->options->run_dir, "volumes.error");
    struct buf out = BUF_INIT(WIRE_VOLUMES_MAX);
    struct err err = ERR_INIT;
    int rc;

    let_go(-1);
    unlink(why);
    if (task == TASK_SAVE && nice(NICE) < 0)
        errno = 0;
    rc = task == TASK_RESTORE ? volumes_restore(&dirs, &list, &err) : volumes_save(&dirs, &list, "", &out, &err);
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

/* The line that a child left; owned by caller. */
static char *error_line(const char *path, int status)
{
    struct buf b = BUF_INIT(ERROR_MAX);

    if (fs_read_file(path, &b, NULL) == 0 && b.len)
        return buf_detach(&b);
    buf_clear(&b);
    if (WIFSIGNALED(status))
        return xasprintf("the process that saves and restores volumes was killed by signal %d", WTERMSIG(status));
    return xstrdup("saving or restoring a volume failed");
}

static void failed(struct keeper *k, const char *path, int status)
{
    cleanup_free char *why = error_line(path, status);

    fprintf(stderr, "atp-agent: %s\n", why);
    if (!k->why)
        k->why = steal(&why);
}

/* ---- mates ---- */

static void drop_mate(struct mate_hold *m)
{
    loop_io_del(m->io);
    m->io = NULL;
    if (m->fd >= 0)
        close(steal_fd(&m->fd));
}

static void check(struct keeper *k);

static void on_mate(struct loop *loop, int fd, short revents, void *arg)
{
    struct mate_hold *m = arg;
    char word = 0;
    ssize_t n = read(fd, &word, 1);

    (void)loop;
    (void)revents;
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) { /* its end is told by its status */
        loop_io_set(m->io, 0);
        return;
    }
    m->ready = true;
    check(m->keeper);
}

static int start_mate(struct keeper *k, struct mate_hold *m, bool again)
{
    cleanup_free char *why = mate_path(k->options->run_dir, m->index, "error");
    int ends[2];
    pid_t pid;

    drop_mate(m);
    unlink(why);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        const struct mate_job job = {k->options, &k->list.items[m->index], &k->names, m->index, ends[1], again};

        let_go(ends[1]);
        _exit(mate_run(&job));
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -1;
    }
    m->pid = pid;
    m->fd = ends[0];
    m->ready = again;
    m->io = loop_io_add(k->loop, m->fd, POLLIN, on_mate, m);
    return 0;
}

/* One that ended though nobody told it to is there again soon; what was changed meanwhile is told then. */
static void on_mate_time(struct loop *loop, void *arg)
{
    struct keeper *k = arg;

    (void)loop;
    for (size_t i = 0; i < k->list.len && !k->last_wanted; i++)
        if (k->mates[i].wanted && !k->mates[i].pid && start_mate(k, &k->mates[i], /* again= */ true) < 0)
            loop_timer_set(k->mate_timer, MATE_AGAIN);
}

/* Is all of a restore, or of a last save, done? */
static void check(struct keeper *k)
{
    bool waits = false;

    if (k->task == TASK_RESTORE || k->task == TASK_LAST)
        return;
    for (size_t i = 0; i < k->list.len; i++) {
        struct mate_hold *m = &k->mates[i];

        if (k->restoring && k->why)
            drop_mate(m); /* it ends */
        waits |= m->wanted && (k->restoring ? !m->ready : m->pid != 0);
    }
    if (k->restoring && (!waits || k->why)) {
        k->restoring = false;
        k->ready(k->arg, k->why);
    } else if (k->last_wanted && !waits && k->task == TASK_NONE) {
        k->last_wanted = false;
        k->done(k->arg, k->why);
    }
}

static bool mate_reaped(struct keeper *k, pid_t pid, int status)
{
    for (size_t i = 0; i < k->list.len; i++) {
        struct mate_hold *m = &k->mates[i];
        cleanup_free char *path = NULL;

        if (m->pid != pid)
            continue;
        m->pid = 0;
        drop_mate(m);
        path = mate_path(k->options->run_dir, i, "error");
        if (status && (k->restoring || k->last_wanted))
            failed(k, path, status);
        if (k->restoring || k->last_wanted)
            check(k);
        else if (m->ready)
            loop_timer_set(k->mate_timer, MATE_AGAIN);
        return true;
    }
    return false;
}

/* ---- life ---- */

int keeper_new(struct loop *loop, const struct agent_options *options, const char *text, const struct wire_names *names,
               struct keeper **ret, struct err *err)
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
    wire_names_copy(&k->names, names);
    k->mates = xcalloc(list.len + 1, sizeof(*k->mates));
    for (size_t i = 0; i < list.len; i++) {
        k->mates[i] = (struct mate_hold){k, .index = i, .fd = -1, .wanted = mate_wanted(names, &list.items[i])};
        mate_role_write(options->run_dir, list.items[i].key, NULL);
    }
    k->timer = loop_timer_add(loop, 0, on_time, k);
    loop_timer_stop(k->timer);
    k->mate_timer = loop_timer_add(loop, 0, on_mate_time, k);
    loop_timer_stop(k->mate_timer);
    *ret = k;
    return 0;
}

void keeper_free(struct keeper *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->list.len; i++)
        drop_mate(&k->mates[i]);
    free(k->mates);
    free(k->why);
    loop_timer_del(k->timer);
    loop_timer_del(k->mate_timer);
    wire_names_clear(&k->names);
    wire_volumes_clear(&k->list);
    free(k);
}

int keeper_restore(struct keeper *k, void (*ready)(void *arg, const char *why), void *arg, struct err *err)
{
    struct wire_volumes others = plain(k);
    size_t n = others.len;

    free(others.items);
    k->restoring = true;
    k->ready = ready;
    k->arg = arg;
    for (size_t i = 0; i < k->list.len; i++)
        if (k->mates[i].wanted && start_mate(k, &k->mates[i], /* again= */ false) < 0)
            return err_set_errno(err, 125, errno, "restoring the volumes");
    if (n && begin(k, TASK_RESTORE) < 0)
        return err_set_errno(err, 125, errno, "restoring the volumes");
    return 0;
}

void keeper_go(struct keeper *k)
{
    if (!k)
        return;
    arm(k);
    on_mate_time(k->loop, k); /* those of an earlier life have ended */
}

/* True if there is a save to wait for. */
static bool begin_last(struct keeper *k)
{
    bool saves = false;

    for (size_t i = 0; i < k->list.len; i++)
        saves |= !k->mates[i].wanted && is_saved(&k->list.items[i]);
    return saves && begin(k, TASK_LAST) == 0;
}

bool keeper_last(struct keeper *k, void (*done)(void *arg, const char *why), void *arg)
{
    static const char end = MATE_END;
    bool waits = false;

    if (!k)
        return false;
    loop_timer_stop(k->timer);
    loop_timer_stop(k->mate_timer);
    k->done = done;
    k->arg = arg;
    free(steal(&k->why));
    for (size_t i = 0; i < k->list.len; i++) {
        struct mate_hold *m = &k->mates[i];

        if (m->pid && m->fd >= 0 && is_saved(&k->list.items[i]))
            (void)!write(m->fd, &end, 1);
        else
            drop_mate(m);
        waits |= m->pid != 0;
    }
    if (k->task != TASK_NONE)
        waits = true;
    else
        waits |= begin_last(k);
    k->last_wanted = waits;
    return waits;
}

bool keeper_busy(const struct keeper *k)
{
    return k && (k->last_wanted || k->restoring);
}

bool keeper_reaped(struct keeper *k, pid_t pid, int status)
{
    cleanup_free char *path = NULL;
    enum task task;

    if (k && mate_reaped(k, pid, status))
        return true;
    if (!k || k->task == TASK_NONE || k->pid != pid)
        return false;
    task = k->task;
    k->task = TASK_NONE;
    path = path_in(k->options->run_dir, "volumes.error");
    if (status && (task != TASK_SAVE || k->last_wanted))
        failed(k, path, status);
    else if (status) {
        cleanup_free char *line = error_line(path, status);

        fprintf(stderr, "atp-agent: %s\n", line);
    }
    if (k->last_wanted && task == TASK_SAVE)
        begin_last(k);
    if (k->restoring || k->last_wanted)
        check(k);
    else
        arm(k);
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
