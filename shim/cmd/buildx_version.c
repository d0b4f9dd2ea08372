#include "shim/command.h"

#include <stdio.h>

/* Scripts ask for it to learn whether there is a buildx, and some for its version. */
static int buildx_version_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    (void)app, (void)opts, (void)err;
    puts("github.com/docker/buildx v0.23.0 atp-docker-" ATP_VERSION);
    return 0;
}

extern const struct cmd_def cmd_def_buildx_version;

const struct command cmd_buildx_version = {
    .def = &cmd_def_buildx_version, .errors = ERROR_PLAIN, .run = buildx_version_run};
