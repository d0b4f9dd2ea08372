#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/network.h"

#include <stdio.h>

static int rm_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *words = opt_args(opts);
    bool force = opt_bool(opts, "force"), failed = false;

    if (app_state(app, err) < 0)
        return -1;
    for (size_t i = 0; i < words->len; i++) {
        cleanup_err struct err why = ERR_INIT;

        if (network_remove(app, words->items[i], &why) == 0) {
            puts(words->items[i]);
            continue;
        }
        if (force && why.code == NETWORK_NO_SUCH)
            continue;
        failed = true;
        fflush(stdout);
        fprintf(stderr, "%s\n", why.msg);
    }
    return failed ? err_set(err, 1, "exit status 1") : 0; /* docker's own last line */
}

extern const struct cmd_def cmd_def_network_rm;

const struct command cmd_network_rm = {.def = &cmd_def_network_rm, .errors = ERROR_PLAIN, .run = rm_run};
