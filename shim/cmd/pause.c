/* docker pause and docker unpause: the agent stops the container's processes, or lets them go on. */
#include "backends/state/state.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/container.h"
#include "shim/each.h"
#include "shim/events.h"
#include "translate/wire/wire.h"

#include <string.h>

static int refuse(const struct container *c, const char *what, struct err *err)
{
    return err_set(err, 1, "Error response from daemon: Container %s is %s", c->row.id, what);
}

/* Under no lock: the agent decides, the row is what it said. */
static int say(struct container *c, uint8_t kind, const char *status, const char *action, struct err *err)
{
    const struct wire_ask ask = {.kind = kind, .text = (char *)""};
    struct err why = ERR_INIT;
    int code = 0;

    if (container_ask(c, &ask, /* with_mounts= */ false, &code, &why) < 0) {
        if (why.code == CONTAINER_NOT_RUNNING && container_refresh(c, NULL) == 0 && !container_may_run(c)) {
            err_clear(&why);
            return refuse(c, "not running", err);
        }
        if (why.msg && strstr(why.msg, "paused")) {
            err_clear(&why);
            return refuse(c, kind == WIRE_ASK_PAUSE ? "already paused" : "not paused", err);
        }
        return err_move(err, &why);
    }
    if (container_lock(c, err) < 0)
        return -1;
    if (container_may_run(c)) {
        container_set_status(&c->row, status);
        state_container_update(c->app->state, &c->row, STATE_PART_STATUS, NULL);
    }
    container_unlock(c);
    event_container(c, action, NULL);
    return 0;
}

static int pause_one(struct container *c, const char *word, void *arg, struct err *err)
{
    (void)word;
    (void)arg;
    if (container_refresh(c, err) < 0)
        return -1;
    if (!container_may_run(c))
        return refuse(c, "not running", err);
    if (container_is(c, "paused"))
        return refuse(c, "already paused", err);
    return say(c, WIRE_ASK_PAUSE, "paused", "pause", err);
}

static int unpause_one(struct container *c, const char *word, void *arg, struct err *err)
{
    (void)word;
    (void)arg;
    if (container_refresh(c, err) < 0)
        return -1;
    if (!container_is(c, "paused"))
        return refuse(c, "not paused", err);
    return say(c, WIRE_ASK_UNPAUSE, "running", "unpause", err);
}

static int pause_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    (void)err;
    return each_container(app, opts, &(struct each){.fn = pause_one});
}

static int unpause_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    (void)err;
    return each_container(app, opts, &(struct each){.fn = unpause_one});
}

extern const struct cmd_def cmd_def_pause, cmd_def_unpause;

const struct command cmd_pause = {.def = &cmd_def_pause, .errors = ERROR_PLAIN, .run = pause_run};
const struct command cmd_unpause = {.def = &cmd_def_unpause, .errors = ERROR_PLAIN, .run = unpause_run};
