/* What no Docker has: our own commands, in no list of docker's */
#include "compat/docker/tables.h"

const struct cmd_def cmd_def_atp = {
    .path = "atp",
    .summary = "Commands of atp-docker itself",
    .interspersed = true,
    .group = true,
    .section = SECTION_HIDDEN,
    OURS,
};

const struct cmd_def cmd_def_atp_forward = {
    .path = "atp forward",
    .usage = "CONTAINER SANDBOX [SOCKET=PORT...]",
    .summary = "Carry the connections of published ports; started by other commands",
    .min_args = 2,
    .max_args = -1,
    .interspersed = true,
    .section = SECTION_HIDDEN,
    OURS,
};

const struct cmd_def cmd_def_atp_monitor = {
    .path = "atp monitor",
    .usage = "CONTAINER [SANDBOX]",
    .summary = "Watch a container for its end; started by other commands",
    .min_args = 1,
    .max_args = 2,
    .interspersed = true,
    .section = SECTION_HIDDEN,
    OURS,
};

const struct cmd_def cmd_def_atp_options = {
    .path = "atp options",
    .summary = "List the options that only Modal has",
    .interspersed = true,
    OURS,
};

const struct cmd_def cmd_def_atp_plan = {
    .path = "atp plan",
    .usage = "run|create [OPTIONS] IMAGE [COMMAND] [ARG...]",
    .summary = "Say what would become of each option of such a line",
    .min_args = 2,
    .max_args = -1,
    OURS,
};

const struct cmd_def cmd_def_atp_recover = {
    .path = "atp recover",
    .summary = "Take up what commands that were killed have left",
    .interspersed = true,
    OURS,
};

const struct cmd_def cmd_def_atp_secret = {
    .path = "atp secret",
    .usage = "NAME KEY[=VALUE] [KEY[=VALUE]...]",
    .summary = "Make or replace a Modal secret; a KEY alone has its value from the environment",
    .min_args = 2,
    .max_args = -1,
    .interspersed = true,
    OURS,
};
