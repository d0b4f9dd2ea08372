#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/compose/simple.h"

static bool is_still(const struct member *m)
{
    return !member_runs(m);
}

static int start_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct simple by_label = {
        .path = "start", .doing = "Starting", .done = "Started", .takes = is_still, .wants_some = true};
    cleanup_with(team_clear) struct team w;

    team_init(&w, app);
    if (team_load_or_name(&w, opt_args(opts), err) < 0)
        return -1;
    if (!w.loaded)
        return simple_run(app, opt_args(opts), &by_label, err);
    services_clear(&w.services);
    if (services_read(app, &w.project, opt_args(opts), true, &w.services, err) < 0 || team_show(&w, "Running", err) < 0)
        return -1;
    return team_start(&w, opt_bool(opts, "wait"), opt_int(opts, "wait-timeout"), err) < 0 ? -1 : 0;
}

extern const struct cmd_def cmd_def_compose_start;

const struct command cmd_compose_start = {.def = &cmd_def_compose_start, .errors = ERROR_PLAIN, .run = start_run};
