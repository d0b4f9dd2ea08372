#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"

#include <stdio.h>

static int rmi_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *words = opt_args(opts);
    bool force = opt_bool(opts, "force");
    int code = 0;

    for (size_t i = 0; i < opt_list(opts, "platform")->len; i++)
        if (catalog_check_platform(opt_list(opts, "platform")->items[i], err) < 0)
            return -1;
    if (app_state(app, err) < 0)
        return -1;
    for (size_t i = 0; i < words->len; i++) {
        cleanup_err struct err why = ERR_INIT;

        if (catalog_remove(app, words->items[i], force, &why) < 0) {
            fflush(stdout);
            fprintf(stderr, "%s\n", why.msg);
            code = force && why.code == CATALOG_NO_SUCH_IMAGE ? code : 1;
        }
    }
    return code;
}

extern const struct cmd_def cmd_def_rmi;

const struct command cmd_rmi = {.def = &cmd_def_rmi, .errors = ERROR_PLAIN, .run = rmi_run};
