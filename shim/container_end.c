/* The end of a container: what it leaves is brought away, then its sandbox goes; and removal. */
#include "backends/grpc/frame.h"
#include "backends/modal/image.h"
#include "backends/modal/task.h"
#include "backends/modal/task_snapshot.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "shim/app.h"
#include "shim/container.h"
#include "shim/events.h"
#include "shim/inquiry.h"
#include "shim/logs.h"
#include "shim/pod.h"
#include "shim/sandbox.h"
#include "shim/volume.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SETTLE_MS    600000 /* for the changes of its mounts to come home */
#define LOCK_WAIT_NS 20000000

/* ---- what its agent says ---- */

static void say_loss(const struct container *c)
{
    fprintf(stderr,
            "docker: the sandbox of container %s is gone: its volumes are as they were saved last, %lld seconds before "
            "at most\n",
            c->row.name, (long long)modal_int(&c->spec.modal, MODAL_KEY_VOLUME_SAVE));
}

/* What its volumes have lost is for people; whoever finds it out is mostly a monitor, which nobody hears. So the
 * container's folder remembers it for whoever starts it again or removes it. */
static void note_loss(struct container *c)
{
    cleanup_free char *path = container_path(c->row.id, "lost");
    cleanup_close int fd = -1;

    if (container_load(c, NULL) < 0 || !volumes_writable(&c->spec))
        return;
    if (!c->row.auto_remove && container_dir_make(c->row.id, NULL) == 0)
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        say_loss(c);
}

void container_tell_loss(struct container *c)
{
    cleanup_free char *path = container_path(c->row.id, "lost");

    if (unlink(path) == 0 && container_load(c, NULL) == 0)
        say_loss(c);
}

/* The row after the sandbox is known to be gone: what was in it is lost. */
static int settle_gone(struct container *c, int code)
{
    note_loss(c);
    sandbox_gone(c->app, c->row.id, c->row.sandbox_id, code);
    free(steal(&c->row.sandbox_id));
    container_set_exited(&c->row, code, 0);
    container_died(c);
    return 0;
}

/* A sandbox in which its process was never started: its client was killed. As if it had not been made. */
static int settle_never(struct container *c, struct err *err)
{
    struct state_container *row = &c->row;

    sandbox_end(c->app, row);
    free(steal(&row->sandbox_id));
    if (row->auto_remove) {
        container_dir_remove(row->id);
        return state_container_remove(c->app->state, row->id, err) < 0 ? -1 : 0;
    }
    if (!row->finished_ns)
        container_set_status(row, "created");
    else
        container_set_status(row, "exited"); /* it was to be started again */
    return state_container_update(c->app->state, row, STATE_PART_STATUS | STATE_PART_SANDBOX, err) < 0 ? -1 : 0;
}

/* How it ended, as the agent knows it; a row that says so already is left alone. */
static int note_end(struct container *c, const struct inquiry *q, struct err *err)
{
    c->row.restarts = (int)q->restarts;
    container_set_exited(&c->row, q->main_code, q->main_ended_ns);
    if (state_container_update(c->app->state, &c->row, STATE_PART_STATUS | STATE_PART_RESTARTS, err) < 0)
        return -1;
    container_died(c);
    return 0;
}

/* ---- bringing away ---- */

static bool is_gone(const struct err *err)
{
    return err->code == GRPC_NOT_FOUND || err->code == GRPC_FAILED_PRECONDITION;
}

/*
 * Its file system as an image, so that it can be started again. What the server refuses for good is said and gone
 * without: the container's end does not wait for ever.
 */
int container_keep_files(struct container *c, struct err *err)
{
    cleanup_free char *old = NULL;
    struct err why = ERR_INIT;
    char *image = NULL;

    if ((pod_is_sidecar(&c->row) ? pod_keep_files(c, &image, &why)
                                 : modal_task_snapshot(c->task, MODAL_SNAPSHOT_FOREVER, &image, &why)) < 0) {
        if (why.code == GRPC_UNAVAILABLE || why.code == GRPC_DEADLINE_EXCEEDED || is_gone(&why))
            return err_move(err, &why);
        fprintf(stderr, "docker: the files of container %s are not kept: %s\n", c->row.name, why.msg);
        err_clear(&why);
        return 0;
    }
    old = c->row.files;
    c->row.files = image;
    if (state_container_update(c->app->state, &c->row, STATE_PART_FILES, err) < 0)
        return -1;
    if (old && modal_image_delete(c->app->modal, old, &why) < 0)
        app_trace(c->app, "the image %s is left on the server: %s", old, why.msg);
    err_clear(&why);
    return 0;
}

/* What it held is brought away, or lost: the sandbox is ended, and with --rm the container is forgotten. */
static int let_sandbox_go(struct container *c, struct err *err)
{
    struct state_container *row = &c->row;

    modal_task_free(steal(&c->task));
    sandbox_end(c->app, row);
    free(steal(&row->sandbox_id));
    if (!row->auto_remove)
        return state_container_update(c->app->state, row, STATE_PART_SANDBOX, err) < 0 ? -1 : 0;
    container_dir_remove(row->id);
    event_container_once(c, "destroy", NULL);
    if (state_container_remove(c->app->state, row->id, err) < 0)
        return -1;
    volumes_remove_anonymous(c->app, &c->spec);
    return 0;
}

void container_doom(const char *id, bool doomed)
{
    cleanup_free char *path = container_path(id, "doomed");
    cleanup_close int fd = -1;

    if (!doomed)
        unlink(path);
    else /* without its folder there is no container */
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static bool is_doomed(const struct container *c)
{
    cleanup_free char *path = container_path(c->row.id, "doomed");

    return fs_exists(path);
}

/* Log and files, then the sandbox may go. */
static int bring_away(struct container *c, struct err *err)
{
    if (!c->row.auto_remove && (logs_fetch(c, err) < 0 || (!is_doomed(c) && container_keep_files(c, err) < 0)))
        return -1;
    return let_sandbox_go(c, err);
}

/* The session did not come to its end: either the sandbox has ended too, or it can be tried again. */
static int settle_lost(struct container *c, struct err *why, struct err *err)
{
    int code = 0;

    modal_task_free(steal(&c->task));
    if (sandbox_ended(c->app, c->row.sandbox_id, &code, NULL) <= 0)
        return err_move(err, why);
    err_clear(why);
    return settle_gone(c, code);
}

/* Its mounts' last changes come home, and its agent says what became of its process. */
static int ask_state(struct container *c, struct inquiry *q, struct binds *binds, struct err *err)
{
    struct err why = ERR_INIT;

    if (!c->task && modal_task_open(c->app->modal, c->row.sandbox_id, SETTLE_MS, &c->task, &why) < 0) {
        q->gone = true;
        err_move(&q->err, &why);
        return 0;
    }
    if (container_load(c, err) < 0 || binds_open_rest(&c->spec, c->row.id, binds, err) < 0)
        return -1;
    if (volumes_writable(&c->spec))
        q->ask.kind = WIRE_ASK_VOLUME_SAVE; /* the same, with what only a last save that failed leaves to be done */
    q->task = c->task;
    q->binds = binds;
    inquiry_run(c->app, q, 1, SETTLE_MS);
    if (!q->done)
        return err_set(err, 125, "the container %s does not answer", c->row.name);
    return 0;
}

int container_settle(struct container *c, struct err *err)
{
    cleanup_with(binds_clear) struct binds binds = BINDS_INIT;
    cleanup_with(inquiry_clear) struct inquiry q;
    struct err why = ERR_INIT;

    inquiry_init(&q, c->row.sandbox_id, WIRE_ASK_BARRIER);
    if (!c->row.sandbox_id)
        return 0;
    if (container_reach(c, err) < 0 || ask_state(c, &q, &binds, err) < 0)
        return -1;
    if (q.gone || q.end == SESSION_LOST)
        return settle_lost(c, &q.err, err);
    if (q.main_state == WIRE_MAIN_RUNNING)
        return 1;
    if (q.main_state == WIRE_MAIN_NONE)
        return settle_never(c, err);
    if (note_end(c, &q, err) < 0)
        return -1;
    if (!q.pull_failed && q.end == SESSION_EXITED && volumes_commit(c, &q.err) < 0)
        q.pull_failed = true;
    if (q.pull_failed || q.end != SESSION_EXITED) {
        err_move(err, &q.err);
        err_wrap(err, "what container %s changed in its mounts was not brought back", c->row.name);
        if (err)
            err->code = CONTAINER_PULL_FAILED;
        return -1;
    }
    if (bring_away(c, &why) == 0)
        return 0;
    return c->row.sandbox_id && is_gone(&why) ? settle_lost(c, &why, err) : err_move(err, &why);
}

/* ---- an agent that fails ---- */

/* Under the lock, of one that may run. */
static int end_by_server(struct container *c, const struct err *why, struct err *err)
{
    struct state_container *row = &c->row;
    cleanup_err struct err lost = ERR_INIT;
    int code = sandbox_autopsy(c->app, row->sandbox_id, &lost);

    if (code >= 0) /* it was ending just then */
        return settle_gone(c, code);
    fprintf(stderr, "docker: the agent of container %s has failed (%s): the server ends its sandbox\n", row->name,
            why->msg ? why->msg : "no reason");
    if (!row->auto_remove && (container_open(c, &lost) < 0 || container_keep_files(c, &lost) < 0))
        fprintf(stderr, "docker: the files of container %s are not kept: %s\n", row->name, lost.msg);
    container_set_exited(row, 128 + SIGKILL, 0);
    if (state_container_update(c->app->state, row, STATE_PART_STATUS, err) < 0)
        return -1;
    container_died(c);
    return let_sandbox_go(c, err);
}

int container_end_by_server(struct container *c, struct err *why, struct err *err)
{
    int ret = container_lock(c, err);

    if (ret == 0 && container_may_run(c))
        ret = end_by_server(c, why, err);
    else if (ret < 0 && err && err->code == CONTAINER_NO_SUCH) {
        err_clear(err);
        ret = 0;
    }
    container_unlock(c);
    err_clear(why);
    return ret;
}

/* ---- removal ---- */

/* The lock, or Docker's word that somebody else is at it. */
static int lock_for_removal(struct container *c, struct err *err)
{
    for (;;) {
        bool had = false;

        if (container_lock_now(c, &had, err) < 0)
            return -1;
        if (had)
            return container_lock(c, err);
        if (container_reread(c, err) < 0)
            return -1;
        if (container_is(c, "removing"))
            return err_set(err, 1, "Error response from daemon: removal of container %s is already in progress",
                           c->row.id);
        nanosleep(&(struct timespec){.tv_nsec = LOCK_WAIT_NS}, NULL);
    }
}

/* Ends what runs, and brings its mounts' changes home. With force a pull that fails is told and no reason to stay. */
static int end_for_removal(struct container *c, bool running, bool force, struct err *err)
{
    const struct wire_ask kill = {.kind = running ? WIRE_ASK_SIGNAL : WIRE_ASK_BARRIER, .signo = running ? SIGKILL : 0};
    struct err why = ERR_INIT;
    int code = 0, ret;

    container_set_status(&c->row, "running"); /* in the value: for the way to it */
    ret = container_ask(c, &kill, /* with_mounts= */ true, &code, &why);
    if (ret < 0 && why.code != CONTAINER_NOT_RUNNING && !force)
        return err_move(err, &why);
    if (ret < 0 && why.code != CONTAINER_NOT_RUNNING && c->loaded && c->spec.mounts.len)
        fprintf(stderr, "docker: what container %s changed in its mounts was not brought back: %s\n", c->row.name,
                why.msg);
    err_clear(&why);
    if (volumes_commit(c, &why) < 0)
        fprintf(stderr, "docker: what container %s last wrote to its volumes may be lost: %s\n", c->row.name, why.msg);
    err_clear(&why);
    modal_task_free(steal(&c->task));
    if (c->row.sandbox_id)
        sandbox_end(c->app, &c->row);
    return 0;
}

/* Under the lock, with the row that it had when the lock was taken. */
static int remove_locked(struct container *c, bool force, struct err *err)
{
    struct state_container *row = &c->row;
    cleanup_free char *was = xstrdup(row->status);
    bool running = container_may_run(c);

    if (running && !force)
        return err_set(err, 1,
                       "Error response from daemon: cannot remove container \"/%s\": container is running: stop the "
                       "container before removing or force remove",
                       row->name);
    if (running)
        event_kill(c, SIGKILL);
    container_set_status(row, "removing");
    if (state_container_update(c->app->state, row, STATE_PART_STATUS, err) < 0)
        return -1;
    if (row->sandbox_id &&
        (container_reach(c, err) < 0 || end_for_removal(c, running || !strcmp(was, "removing"), force, err) < 0)) {
        container_set_status(row, was);
        state_container_update(c->app->state, row, STATE_PART_STATUS, NULL);
        return -1;
    }
    if (running) {
        container_set_status(row, "running"); /* in the value: so that it can end */
        container_set_exited(row, 128 + SIGKILL, 0);
        container_died(c);
    }
    container_tell_loss(c);
    event_container_once(c, "destroy", NULL);
    if (row->files && app_modal(c->app, NULL) == 0)
        modal_image_delete(c->app->modal, row->files, NULL);
    container_dir_remove(row->id);
    return state_container_remove(c->app->state, row->id, err) < 0 ? -1 : 0;
}

int container_remove(struct container *c, bool force, struct err *err)
{
    int ret;

    if (container_is(c, "running") && !container_watched(c) && container_refresh(c, err) < 0 && !force)
        return -1;
    if (err)
        err_clear(err);
    ret = lock_for_removal(c, err);
    if (ret == 0)
        ret = remove_locked(c, force, err);
    container_unlock(c);
    return ret;
}
