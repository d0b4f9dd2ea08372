#include "shim/stats.h"

#include "shim/command.h"

static int stats_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct stats_request req = {.words = opt_args(opts)->len ? opt_args(opts) : NULL,
                                      .format = opt_str(opts, "format"),
                                      .no_trunc = opt_bool(opts, "no-trunc"),
                                      .once = opt_bool(opts, "no-stream"),
                                      .with_all = opt_bool(opts, "all")};

    return stats_show(app, &req, err);
}

extern const struct cmd_def cmd_def_stats;

const struct command cmd_stats = {.def = &cmd_def_stats, .errors = ERROR_PLAIN, .run = stats_run};
