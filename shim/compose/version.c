#include "compat/base/err.h"
#include "shim/command.h"
#include "shim/compose/compose.h"

#include <stdio.h>
#include <string.h>

static int version_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    (void)app, (void)err;
    if (opt_bool(opts, "short"))
        puts(COMPOSE_VERSION);
    else if (!strcmp(opt_str(opts, "format"), "json"))
        puts("{\"version\":\"v" COMPOSE_VERSION "\"}");
    else
        puts("Docker Compose version v" COMPOSE_VERSION);
    return 0;
}

extern const struct cmd_def cmd_def_compose_version;

const struct command cmd_compose_version = {.def = &cmd_def_compose_version, .errors = ERROR_PLAIN, .run = version_run};
