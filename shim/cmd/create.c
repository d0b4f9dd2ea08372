#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/make.h"

#include <stdio.h>

static int create_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct making m;
    int ret;

    making_init(&m, app);
    ret = making_prepare(&m, opts, err) < 0 || making_register(&m, /* to_run= */ false, err) < 0 ? -1 : 0;
    if (ret == 0)
        puts(m.c.row.id);
    else
        making_undo(&m);
    making_clear(&m);
    if (ret < 0 && err->exit_code == 125)
        err->exit_code = 1;
    return ret;
}

extern const struct cmd_def cmd_def_create;

const struct command cmd_create = {.def = &cmd_def_create, .errors = ERROR_RUN, .run = create_run};
