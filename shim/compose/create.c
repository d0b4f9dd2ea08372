#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/compose/up.h"

static int create_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(team_clear) struct team w;

    team_init(&w, app);
    if (opt_bool(opts, "build") && opt_bool(opts, "no-build"))
        return err_set(err, 1, "--build and --no-build are incompatible");
    if (up_check_recreate(opts, err) < 0 || team_load(&w, opt_args(opts), true, err) < 0 ||
        up_options(&w, opts, err) < 0 || team_show(&w, "Creating", err) < 0)
        return -1;
    return up_make(&w, err) < 0 ? -1 : 0;
}

extern const struct cmd_def cmd_def_compose_create;

const struct command cmd_compose_create = {.def = &cmd_def_compose_create, .errors = ERROR_PLAIN, .run = create_run};
