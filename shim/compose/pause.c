#include "shim/command.h"
#include "shim/compose/simple.h"

static bool is_running(const struct member *m)
{
    return member_is(m, "running");
}

static bool is_paused(const struct member *m)
{
    return member_is(m, "paused");
}

static int pause_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct simple what = {.path = "pause", .done = "Paused", .takes = is_running};

    return simple_run(app, opt_args(opts), &what, err);
}

static int unpause_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct simple what = {.path = "unpause", .done = "Unpaused", .takes = is_paused};

    return simple_run(app, opt_args(opts), &what, err);
}

extern const struct cmd_def cmd_def_compose_pause, cmd_def_compose_unpause;

const struct command cmd_compose_pause = {.def = &cmd_def_compose_pause, .errors = ERROR_PLAIN, .run = pause_run};
const struct command cmd_compose_unpause = {.def = &cmd_def_compose_unpause, .errors = ERROR_PLAIN, .run = unpause_run};
