/* docker create: the options of run without those of attaching */
#include "compat/docker/tables.h"

#define PULL_SENTENCE "Pull image before creating (\"always\", \"|missing\", \"never\")"

static const struct opt_def options_create[] = {
#include "compat/docker/options_container.h"
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_create = {
    .path = "create",
    .aliases = "docker container create, docker create",
    .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    .summary = "Create a new container",
    .options = options_create,
    .min_args = 1,
    .max_args = -1,
    OURS,
};
