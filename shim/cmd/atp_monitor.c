/* docker atp monitor (what container_watch() starts) and docker atp recover (what a killed client left). */
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/container.h"
#include "shim/monitor.h"
#include "shim/sandbox.h"

static int run_monitor(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *args = opt_args(opts);

    return monitor_run(app, args->items[0], args->len > 1 ? args->items[1] : NULL, err);
}

static int run_recover(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    (void)opts;
    if (app_modal(app, err) < 0 || container_recover(app, err) < 0)
        return -1;
    sandbox_recover(app);
    return container_refresh_all(app, err);
}

extern const struct cmd_def cmd_def_atp_monitor, cmd_def_atp_recover;

const struct command cmd_atp_monitor = {.def = &cmd_def_atp_monitor, .errors = ERROR_PLAIN, .run = run_monitor};
const struct command cmd_atp_recover = {.def = &cmd_def_atp_recover, .errors = ERROR_PLAIN, .run = run_recover};
