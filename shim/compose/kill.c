#include "compat/base/cleanup.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/compose/simple.h"

#include <stdlib.h>

static int kill_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct simple what = {.path = "kill",
                          .doing = "Killing",
                          .done = "Killed",
                          .failed = "Error while Killing",
                          .members = MEMBERS_RUNNING,
                          .step_flags = STEP_FORGIVE, /* it has ended meanwhile */
                          .orphans = opt_bool(opts, "remove-orphans"),
                          .none = "no container to kill"};

    if (opt_given(opts, "signal")) {
        strlist_add(&what.options, "-s");
        strlist_add(&what.options, opt_str(opts, "signal"));
        what.step_flags = 0; /* there may be no such signal */
    }
    return simple_run(app, opt_args(opts), &what, err);
}

extern const struct cmd_def cmd_def_compose_kill;

const struct command cmd_compose_kill = {.def = &cmd_def_compose_kill, .errors = ERROR_PLAIN, .run = kill_run};
