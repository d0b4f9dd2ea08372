#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/container_start.h"
#include "shim/each.h"
#include "shim/events.h"
#include "translate/signals.h"
#include "translate/wire/wire.h"

static int not_running(const struct container *c, const char *word, struct err *err)
{
    return err_set(err, 1, "Error response from daemon: cannot kill container: %s: container %s is not running", word,
                   c->row.id);
}

/* After KILL it has ended; what another signal does is the process's own affair. */
static int kill_one(struct container *c, const char *word, void *arg, struct err *err)
{
    const struct wire_ask ask = {.kind = WIRE_ASK_SIGNAL, .signo = (uint8_t) * (int *)arg};
    struct err why = ERR_INIT;
    int code = 0;

    if (!container_may_run(c))
        return not_running(c, word, err);
    event_kill(c, ask.signo); /* before it ends: whoever watches may be quicker than we */
    if (container_ask(c, &ask, /* with_mounts= */ true, &code, &why) < 0) {
        if (why.code == CONTAINER_AGENT_FAILED && ask.signo == SIGNALS_KILL)
            return container_end_by_server(c, &why, err);
        if (why.code != CONTAINER_NOT_RUNNING)
            return err_move(err, &why);
        err_clear(&why);
        if (c->seen == WIRE_MAIN_RUNNING)
            return container_ended_meanwhile(c, err);
        container_refresh(c, NULL);
        return not_running(c, word, err);
    }
    return ask.signo == SIGNALS_KILL ? container_has_ended(c, 128 + SIGNALS_KILL, err) : 0;
}

static int kill_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const char *word = opt_str(opts, "signal");
    int signo = SIGNALS_KILL;

    if (*word && signals_parse(word, &signo, err) < 0)
        return err_wrap(err, "Error response from daemon");
    return each_container(app, opts, &(struct each){.fn = kill_one, .arg = &signo, .verb = "cannot kill container"});
}

extern const struct cmd_def cmd_def_kill;

const struct command cmd_kill = {.def = &cmd_def_kill, .errors = ERROR_PLAIN, .run = kill_run};
