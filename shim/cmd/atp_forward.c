/* docker atp forward: what forward_start() starts. */
#include "compat/base/strlist.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/forward.h"

static int run_forward(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *args = opt_args(opts);
    const struct strlist sockets = {args->items + 2, args->len - 2, 0}; /* borrowed */

    return forward_run(app, args->items[0], args->items[1], &sockets, err);
}

extern const struct cmd_def cmd_def_atp_forward;

const struct command cmd_atp_forward = {.def = &cmd_def_atp_forward, .errors = ERROR_PLAIN, .run = run_forward};
