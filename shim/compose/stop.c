#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/compose/team.h"

static int stop_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(team_clear) struct team w;
    cleanup_free struct member **list = NULL;
    size_t len = 0;

    team_init(&w, app);
    team_timeout(&w, opts);
    if (team_load_or_name(&w, opt_args(opts), err) < 0)
        return -1;
    for (size_t i = 0; w.loaded && i < opt_args(opts)->len; i++)
        if (!services_find(&w.services, opt_args(opts)->items[i]))
            return err_set(err, 1, "no such service: %s", opt_args(opts)->items[i]);
    if (team_show(&w, "Stopping", err) < 0 || team_look(&w, opt_args(opts), 0, err) < 0)
        return -1;
    list = xcalloc(w.members.len + 1, sizeof(*list));
    for (size_t i = 0; i < w.members.len; i++)
        if (!w.loaded || services_find(&w.services, w.members.items[i].service))
            list[len++] = &w.members.items[i];
    return team_stop(&w, list, len, false, false, err);
}

extern const struct cmd_def cmd_def_compose_stop;

const struct command cmd_compose_stop = {.def = &cmd_def_compose_stop, .errors = ERROR_PLAIN, .run = stop_run};
