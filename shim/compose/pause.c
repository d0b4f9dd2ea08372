#include "shim/command.h"
#include "shim/compose/simple.h"

static int pause_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct simple what = {
        .path = "pause", .done = "Paused", .members = MEMBERS_RUNNING, .step_flags = STEP_SILENT};

    return simple_run(app, opt_args(opts), &what, err);
}

static int unpause_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct simple what = {
        .path = "unpause", .done = "Unpaused", .members = MEMBERS_RUNNING, .step_flags = STEP_SILENT};

    return simple_run(app, opt_args(opts), &what, err);
}

extern const struct cmd_def cmd_def_compose_pause, cmd_def_compose_unpause;

const struct command cmd_compose_pause = {.def = &cmd_def_compose_pause, .errors = ERROR_PLAIN, .run = pause_run};
const struct command cmd_compose_unpause = {.def = &cmd_def_compose_unpause, .errors = ERROR_PLAIN, .run = unpause_run};
