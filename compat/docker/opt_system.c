/* The whole system */
#include "compat/docker/tables.h"

static const struct opt_def options_version[] = {
    OPT("format", 'f', OPT_STRING, "string", INSPECT_FORMAT_HELP, OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_version = {
    .path = "version",
    .usage = "[OPTIONS]",
    .summary = "Show the Docker version information",
    .options = options_version,
    .interspersed = true,
    .section = SECTION_COMMON,
    OURS,
};

static const struct opt_def options_info[] = {
    OPT("format", 'f', OPT_STRING, "string", INSPECT_FORMAT_HELP, OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_info = {
    .path = "info",
    .aliases = "docker system info, docker info",
    .usage = "[OPTIONS]",
    .summary = "Display system-wide information",
    .options = options_info,
    .interspersed = true,
    .section = SECTION_COMMON,
    OURS,
};

static const struct opt_def options_events[] = {
    OPT("filter", 'f', OPT_FILTER, "filter", "Filter output based on conditions provided", OURS),
    OPT("format", 0, OPT_STRING, "string", INSPECT_FORMAT_HELP, OURS),
    OPT("since", 0, OPT_STRING, "string", "Show all events created since timestamp", OURS),
    OPT("until", 0, OPT_STRING, "string", "Stream events until this timestamp", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_events = {
    .path = "events",
    .aliases = "docker system events, docker events",
    .usage = "[OPTIONS]",
    .summary = "Get real time events from the server",
    .options = options_events,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_inspect[] = {
    OPT("format", 'f', OPT_STRING, "string", INSPECT_FORMAT_HELP, OURS),
    FLAG("size", 's', "Display total file sizes if the type is container", OURS),
    OPT("type", 0, OPT_STRING, "string", "Only inspect objects of the given type", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_inspect = {
    .path = "inspect",
    .usage = "[OPTIONS] NAME|ID [NAME|ID...]",
    .summary = "Return low-level information on Docker objects",
    .options = options_inspect,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_system_df[] = {
    OPT("format", 0, OPT_STRING, "string", FORMAT_HELP, LATER),
    FLAG("verbose", 'v', "Show detailed information on space usage", LATER),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_system_df = {
    .path = "system df",
    .usage = "[OPTIONS]",
    .summary = "Show docker disk usage",
    .options = options_system_df,
    .interspersed = true,
    REFUSED(NOT_YET),
};

static const struct opt_def options_system_prune[] = {
    FLAG("all", 'a', "Remove all unused images not just dangling ones", OURS),
    OPT("filter", 0, OPT_FILTER, "filter", "Provide filter values (e.g. \"label=<key>=<value>\")", OURS),
    FLAG("force", 'f', "Do not prompt for confirmation", OURS),
    FLAG("volumes", 0, "Prune anonymous volumes", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_system_prune = {
    .path = "system prune",
    .usage = "[OPTIONS]",
    .summary = "Remove unused data",
    .options = options_system_prune,
    .interspersed = true,
    OURS,
};
