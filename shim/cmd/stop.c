#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/container_start.h"
#include "shim/each.h"
#include "shim/events.h"
#include "shim/stopping.h"
#include "translate/wire/wire.h"

/* The end, and the event of it. */
static int stopped(struct container *c, int code, struct err *err)
{
    int ret = container_has_ended(c, code, err);

    if (ret == 0 && c->row.id)
        event_container(c, "stop", NULL);
    return ret;
}

/* Asks its agent, which kills it when its time is over; what is not running is stopped already. */
static int stop_one(struct container *c, const char *word, void *arg, struct err *err)
{
    struct wire_ask ask = {.kind = WIRE_ASK_STOP};
    struct err why = ERR_INIT;
    int code = 0;

    (void)word;
    if (!container_may_run(c))
        return 0;
    if (container_load(c, err) < 0 || stopping_fill(c, arg, &ask, err) < 0)
        return -1;
    c->row.stopped_by_user = true;
    state_container_update(c->app->state, &c->row, STATE_PART_STOPPED, NULL);
    event_kill(c, ask.signo); /* before it ends: whoever watches may be quicker than we */
    if (container_ask(c, &ask, /* with_mounts= */ true, &code, &why) < 0) {
        if (why.code == CONTAINER_AGENT_FAILED)
            return container_end_by_server(c, &why, err);
        if (why.code != CONTAINER_NOT_RUNNING && why.code != CONTAINER_PULL_FAILED)
            return err_move(err, &why);
        if (why.code == CONTAINER_PULL_FAILED) {
            container_has_ended(c, code, NULL);
            return err_move(err, &why);
        }
        err_clear(&why);
        return container_ended_meanwhile(c, err);
    }
    return stopped(c, code, err);
}

static int stop_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct stopping how;

    if (stopping_parse(opts, &how, err) < 0)
        return -1;
    return each_container(app, opts, &(struct each){.fn = stop_one, .arg = &how});
}

extern const struct cmd_def cmd_def_stop;

const struct command cmd_stop = {.def = &cmd_def_stop, .errors = ERROR_PLAIN, .run = stop_run};
