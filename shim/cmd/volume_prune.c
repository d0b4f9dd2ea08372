#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/command.h"
#include "shim/prune.h"

static int prune_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(prune_filter_clear) struct prune_filter filter = {0};
    struct pruned pruned = {0};
    bool all = opt_bool(opts, "all");

    if (!prune_confirmed(opts,
                         all ? "WARNING! This will remove all local volumes not used by at least one container."
                             : "WARNING! This will remove anonymous local volumes not used by at least one container."))
        return 0;
    if (prune_filter_parse(opts, /* images= */ false, &filter, err) < 0 ||
        prune_volumes(app, &filter, all, &pruned, err) < 0)
        return -1;
    prune_total(&pruned);
    return 0;
}

extern const struct cmd_def cmd_def_volume_prune;

const struct command cmd_volume_prune = {.def = &cmd_def_volume_prune, .errors = ERROR_PLAIN, .run = prune_run};
