/* A container that exists is started, or has come to its end under a command of ours. */
#include "shim/container_start.h"

#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/binds.h"
#include "shim/forward.h"
#include "shim/launch.h"
#include "shim/sandbox.h"
#include "translate/signals.h"
#include "translate/wire/wire.h"

#include <time.h>

#define REMOVAL_WAIT_MS 5000 /* for who watches a --rm container to remove it; it may have output to write first */
#define REMOVAL_POLL_NS 5000000

/* Everything up to the start, under the lock; the new life is ours to watch. 1 = it runs already. */
static int make_ready(struct container *c, struct binds *binds, struct err *err)
{
    int got;

    if (container_lock(c, err) < 0)
        return -1;
    if (container_is(c, "removing"))
        return err_set(err, 1, "Error response from daemon: container is marked for removal and cannot be started");
    if (container_may_run(c) && container_watched(c))
        return 1;
    got = container_settle(c, err);
    if (got != 0)
        return got;
    if (container_reread(c, err) < 0 || container_load(c, err) < 0 || binds_open(&c->spec, c->row.id, binds, err) < 0)
        return -1;
    if (container_reach(c, err) < 0)
        return -1;
    container_tell_loss(c);
    container_doom(c->row.id, false);
    sandbox_reconcile(c->app);
    container_own_next(c);
    if (forward_bind(c, err) < 0) {
        if (err)
            err->exit_code = 1;
        return -1;
    }
    return launch_sandbox(c, /* image= */ NULL, err);
}

int container_start(struct container *c, struct err *err)
{
    cleanup_with(binds_clear) struct binds binds = BINDS_INIT;
    int got = make_ready(c, &binds, err);

    if (got == 0)
        got = launch_detached(c, &binds, err);
    container_unlock(c);
    if (got < 0)
        return -1;
    container_watch(c);
    return 0;
}

int container_start_attached(struct container *c, const struct launch_streams *streams, bool *ret_ran, struct err *err)
{
    cleanup_with(binds_clear) struct binds binds = BINDS_INIT;
    int got = make_ready(c, &binds, err);

    *ret_ran = got == 0;
    container_unlock(c);
    return got == 0 ? launch_attached(c, &binds, streams, err) : got < 0 ? -1 : 0;
}

/* Nobody watches, so what is left to do is ours; or whoever watches does it, and is given time for it. */
static void see_removed(struct container *c)
{
    cleanup_err struct err err = ERR_INIT;

    for (int waited = 0; waited < REMOVAL_WAIT_MS && container_watched(c); waited += REMOVAL_POLL_NS / 1000000) {
        if (container_reread(c, NULL) < 0)
            return;
        nanosleep(&(struct timespec){.tv_nsec = REMOVAL_POLL_NS}, NULL);
    }
    if (container_lock(c, &err) == 0 && !container_watched(c))
        container_settle(c, &err);
    container_unlock(c);
}

int container_has_ended(struct container *c, int code, struct err *err)
{
    cleanup_err struct err why = ERR_INIT;

    if (container_lock(c, &why) < 0)
        return why.code == CONTAINER_NO_SUCH ? 0 : err_move(err, &why);
    if (c->row.sandbox_id) {
        container_set_exited(&c->row, code, 0);
        state_container_update(c->app->state, &c->row, STATE_PART_STATUS, NULL);
        container_died(c);
    }
    container_unlock(c);
    if (c->row.auto_remove)
        see_removed(c);
    else if (c->row.sandbox_id)
        container_watch(c);
    return 0;
}

int container_ended_meanwhile(struct container *c, struct err *err)
{
    struct err why = ERR_INIT;

    if (c->seen == WIRE_MAIN_RUNNING) {
        container_see_end(c); /* whoever watches knows its code */
        return container_has_ended(c, 128 + SIGNALS_KILL, err);
    }
    if (container_refresh(c, &why) < 0 && why.code != CONTAINER_NO_SUCH)
        return err_move(err, &why);
    err_clear(&why);
    return 0;
}
