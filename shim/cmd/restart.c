#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/container_start.h"
#include "shim/each.h"
#include "shim/events.h"
#include "shim/health.h"
#include "shim/stopping.h"
#include "translate/wire/wire.h"

/* One life has ended and another one begun, in the same sandbox. */
static void note_restart(struct container *c, int signo, int code)
{
    if (container_lock(c, NULL) < 0)
        return;
    c->row.exit_code = code;
    c->row.finished_ns = container_now_ns();
    event_kill(c, signo);
    event_died(c);
    event_container(c, "stop", NULL);
    container_set_status(&c->row, "running");
    c->row.exit_code = 0;
    c->row.started_ns = container_now_ns();
    state_container_update(c->app->state, &c->row, STATE_PART_STATUS, NULL);
    health_hint(c, WIRE_HEALTH_STARTING);
    event_container_once(c, "start", NULL);
    event_container(c, "restart", NULL);
    container_unlock(c);
}

/* In the same sandbox, in the same files; 1 = it does not run. */
static int restart_in_place(struct container *c, const struct stopping *how, struct err *err)
{
    struct wire_ask ask = {.kind = WIRE_ASK_RESTART};
    struct err why = ERR_INIT;
    int code = 0;

    if (!container_may_run(c))
        return 1;
    if (container_load(c, err) < 0 || stopping_fill(c, how, &ask, err) < 0)
        return -1;
    if (container_ask(c, &ask, /* with_mounts= */ true, &code, &why) == 0) {
        note_restart(c, ask.signo, code);
        container_watch(c);
        return 0;
    }
    if (why.code != CONTAINER_NOT_RUNNING) {
        err_move(err, &why);
        return err_wrap(err, "Error response from daemon: Cannot restart container %s", c->row.name);
    }
    err_clear(&why);
    return 1;
}

static int restart_one(struct container *c, const char *word, void *arg, struct err *err)
{
    int got = restart_in_place(c, arg, err);

    (void)word;
    if (got <= 0)
        return got;
    if (container_refresh(c, err) < 0)
        return -1;
    if (container_start(c, err) < 0)
        return -1;
    event_container(c, "restart", NULL);
    return 0;
}

static int restart_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct stopping how;

    if (stopping_parse(opts, &how, err) < 0)
        return -1;
    return each_container(app, opts, &(struct each){.fn = restart_one, .arg = &how});
}

extern const struct cmd_def cmd_def_restart;

const struct command cmd_restart = {.def = &cmd_def_restart, .errors = ERROR_PLAIN, .run = restart_run};
