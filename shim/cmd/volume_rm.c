#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/volume.h"

#include <stdio.h>

static int rm_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *words = opt_args(opts);
    bool force = opt_bool(opts, "force"), failed = false;

    if (app_state(app, err) < 0)
        return -1;
    for (size_t i = 0; i < words->len; i++) {
        cleanup_err struct err why = ERR_INIT;

        if (volume_remove(app, words->items[i], force, &why) == 0) {
            puts(words->items[i]);
            continue;
        }
        failed = true;
        fflush(stdout);
        fprintf(stderr, "%s%s", i ? "\n" : "", why.msg); /* docker joins them */
    }
    if (failed)
        fputs("\n", stderr);
    return failed ? 1 : 0;
}

extern const struct cmd_def cmd_def_volume_rm;

const struct command cmd_volume_rm = {.def = &cmd_def_volume_rm, .errors = ERROR_PLAIN, .run = rm_run};
