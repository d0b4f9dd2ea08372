#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/make.h"
#include "translate/spec.h"

#include <stdio.h>
#include <string.h>

/* What the daemon would say is printed as it is, what the client would find in the line with the way to its help. */
static bool is_daemons(const struct err *err)
{
    static const char start[] = "Error response from daemon";

    return err->msg && !strncmp(err->msg, start, sizeof(start) - 1);
}

static int create_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct making m;
    int ret;

    making_init(&m, app);
    ret = making_prepare(&m, opts, /* to_run= */ false, err) < 0 || making_register(&m, /* to_run= */ false, err) < 0
              ? -1
              : 0;
    if (ret == 0)
        puts(m.c.row.id);
    else
        making_undo(&m);
    making_clear(&m);
    if (ret < 0 && is_daemons(err)) {
        err->exit_code = 1;
        err->code = SPEC_ERR_COMPLETE;
    }
    return ret;
}

extern const struct cmd_def cmd_def_create;

const struct command cmd_create = {.def = &cmd_def_create, .errors = ERROR_RUN, .run = create_run};
