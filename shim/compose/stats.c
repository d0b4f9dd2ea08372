#include "shim/stats.h"

#include "compat/base/cleanup.h"
#include "shim/command.h"
#include "shim/compose/compose.h"
#include "shim/compose/members.h"

#include <string.h>

struct wanted {
    const char *project, *service; /* service NULL: any */
};

static bool takes(const struct state_container *row, void *arg)
{
    const struct wanted *w = arg;
    cleanup_strlist struct strlist labels = STRLIST_INIT;
    const char *project, *service;

    labels_read(row->labels, &labels);
    project = strlist_env_get(&labels, LABEL_PROJECT);
    service = strlist_env_get(&labels, LABEL_SERVICE);
    return project && !strcmp(project, w->project) && (!w->service || (service && !strcmp(service, w->service)));
}

static int stats_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_free char *project = compose_name(app, err);
    struct wanted wanted = {.project = project, .service = opt_args(opts)->len ? opt_args(opts)->items[0] : NULL};
    const struct stats_request req = {.takes = takes,
                                      .arg = &wanted,
                                      .format = opt_str(opts, "format"),
                                      .no_trunc = opt_bool(opts, "no-trunc"),
                                      .once = opt_bool(opts, "no-stream"),
                                      .with_all = opt_bool(opts, "all")};

    return project ? stats_show(app, &req, err) : -1;
}

extern const struct cmd_def cmd_def_compose_stats;

const struct command cmd_compose_stats = {.def = &cmd_def_compose_stats, .errors = ERROR_PLAIN, .run = stats_run};
