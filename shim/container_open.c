/* The way to a running container's agent, and what is asked of it. */
#include "backends/grpc/frame.h"
#include "backends/modal/task.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/container.h"
#include "shim/inquiry.h"
#include "shim/sandbox.h"

#include <string.h>
#include <time.h>

#define TASK_MS   120000 /* for a sandbox to be scheduled */
#define ANSWER_MS 900000 /* for a mount's changes to come home; an agent that only pretends to work ends there */

static int not_running(const struct container *c, struct err *err)
{
    err_set(err, 1, "container %s is not running", c->row.id);
    if (err)
        err->code = CONTAINER_NOT_RUNNING;
    return -1;
}

int container_reach(struct container *c, struct err *err)
{
    if (app_modal(c->app, err) < 0)
        return -1;
    if (c->row.server && (c->row.sandbox_id || c->row.files) && strcmp(c->row.server, c->app->server_key))
        return err_set(err, 1, "the container %s is on another server (%.*s): this command speaks to %.*s", c->row.name,
                       (int)strcspn(c->row.server, " "), c->row.server, (int)strcspn(c->app->server_key, " "),
                       c->app->server_key);
    return 0;
}

/* The server says that there is no such sandbox: if that is so the row says it from now on. */
static int check_gone(struct container *c, struct err *why, struct err *err)
{
    int code = 0;

    if (sandbox_ended(c->app, c->row.sandbox_id, &code, NULL) <= 0)
        return err_move(err, why);
    err_clear(why);
    sandbox_gone(c->app, c->row.id, c->row.sandbox_id, code);
    not_running(c, err);
    container_reread(c, NULL);
    return -1;
}

int container_open(struct container *c, struct err *err)
{
    struct err why = ERR_INIT;

    if (c->task)
        return 0;
    if (!container_may_run(c))
        return not_running(c, err);
    if (container_reach(c, err) < 0)
        return -1;
    if (modal_task_open(c->app->modal, c->row.sandbox_id, TASK_MS, &c->task, &why) == 0)
        return 0;
    if (why.code == GRPC_NOT_FOUND || why.code == GRPC_FAILED_PRECONDITION)
        return check_gone(c, &why, err);
    return err_move(err, &why);
}

/* Its agent, not the way to it, is why it failed. */
static int blame_agent(const struct inquiry *q, struct err *err)
{
    if (err && q->agent_failed && err->code != CONTAINER_NOT_RUNNING)
        err->code = CONTAINER_AGENT_FAILED;
    return -1;
}

/* What an answer means to who asked. */
static int judge(struct container *c, struct inquiry *q, int *ret_code, struct err *err)
{
    if (!q->done) {
        q->agent_failed = q->greeted;
        err_set(err, 125, "the container %s does not answer", c->row.name);
        return blame_agent(q, err);
    }
    if (q->end == SESSION_EXITED) {
        *ret_code = q->code;
        if (!q->pull_failed)
            return 0;
        err_move(err, &q->err);
        if (err)
            err->code = CONTAINER_PULL_FAILED;
        return -1;
    }
    if (q->end == SESSION_LOST) {
        check_gone(c, &q->err, err);
        return blame_agent(q, err);
    }
    if (inquiry_not_running(q))
        return not_running(c, err);
    err_move(err, &q->err);
    return blame_agent(q, err);
}

/* How long all of it may take; 0: as long as it takes. */
static int64_t time_for(const struct wire_ask *ask)
{
    switch (ask->kind) {
    case WIRE_ASK_STOP:
    case WIRE_ASK_RESTART:
        return ask->grace_ms < 0 ? 0 : ask->grace_ms + ANSWER_MS;
    case WIRE_ASK_BARRIER:
    case WIRE_ASK_SIGNAL:
    case WIRE_ASK_SET_RECORD:
    case WIRE_ASK_NAMES:
        return ANSWER_MS;
    default:
        return 0;
    }
}

int container_copy(struct container *c, const struct wire_ask *ask, const struct inquiry_tree *tree, void *arg,
                   bool with_mounts, int *ret_code, struct err *err)
{
    cleanup_with(binds_clear) struct binds binds = BINDS_INIT;
    cleanup_with(inquiry_clear) struct inquiry q;

    inquiry_init(&q, c->row.sandbox_id, ask->kind);
    c->seen = -1;
    if (container_open(c, err) < 0)
        return -1;
    if (with_mounts && (container_load(c, err) < 0 || binds_open_rest(&c->spec, c->row.id, &binds, err) < 0))
        return -1;
    q.ask = *ask;
    q.ask.text = xstrdup(ask->text ? ask->text : "");
    q.sandbox_id = c->row.sandbox_id;
    q.task = c->task;
    q.binds = &binds;
    q.tree = tree;
    q.tree_arg = arg;
    q.alone = ask->kind == WIRE_ASK_ATTACH || ask->kind == WIRE_ASK_STOP;
    inquiry_run(c->app, &q, 1, time_for(ask));
    if (q.greeted)
        c->seen = q.main_state;
    return judge(c, &q, ret_code, err);
}

bool container_is_starting(struct container *c)
{
    cleanup_free char *asked = xstrdup(c->row.sandbox_id ? c->row.sandbox_id : "");
    bool had = false;

    if (c->lock_fd >= 0 || container_reread(c, NULL) < 0 || !container_may_run(c) || strcmp(asked, c->row.sandbox_id))
        return false;
    if (container_watched(c))
        return true;
    if (container_lock_now(c, &had, NULL) == 0 && had)
        container_unlock(c);
    return !had;
}

/* Its agent went silent because somebody else has seen to its end; one who is at it is waited for. */
static bool others_ended_it(struct container *c)
{
    cleanup_err struct err err = ERR_INIT;
    bool ended;

    if (c->seen != WIRE_MAIN_RUNNING || c->lock_fd >= 0)
        return false;
    if (container_lock(c, &err) < 0)
        return err.code == CONTAINER_NO_SUCH;
    ended = !container_may_run(c);
    container_unlock(c);
    return ended;
}

/* ---- asking ---- */

#define START_NAP_NS 20000000 /* a process that is on its way is looked at again */

/* What is asked of one whose process is still on its way is asked again until it is there. */
int container_ask(struct container *c, const struct wire_ask *ask, bool with_mounts, int *ret_code, struct err *err)
{
    struct err why = ERR_INIT;

    while (container_copy(c, ask, NULL, NULL, with_mounts, ret_code, &why) < 0) {
        if (why.code != CONTAINER_NOT_RUNNING && why.code != CONTAINER_PULL_FAILED && others_ended_it(c))
            why.code = CONTAINER_NOT_RUNNING;
        if (why.code != CONTAINER_NOT_RUNNING || c->seen != WIRE_MAIN_NONE || !container_is_starting(c))
            return err_move(err, &why);
        err_clear(&why);
        nanosleep(&(struct timespec){.tv_nsec = START_NAP_NS}, NULL);
    }
    return 0;
}

void container_tell_record(struct container *c)
{
    const struct wire_ask ask = {.kind = WIRE_ASK_SET_RECORD, .text = c->row.record};
    int code = 0;

    if (container_may_run(c) && strlen(c->row.record) <= WIRE_ASK_TEXT_MAX)
        container_ask(c, &ask, /* with_mounts= */ false, &code, NULL);
}
