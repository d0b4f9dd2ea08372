/* docker run: create a container and run it in the foreground */
#include "compat/docker/tables.h"

#define OPTIONS_OF_RUN
#define PULL_SENTENCE "Pull image before running (\"always\", \"missing\", \"never\")"

static const struct opt_def options_run[] = {
#include "compat/docker/options_container.h"
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_run = {
    .path = "run",
    .aliases = "docker container run, docker run",
    .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    .summary = "Create and run a new container from an image",
    .options = options_run,
    .min_args = 1,
    .max_args = -1,
    .section = SECTION_COMMON,
    OURS,
};
