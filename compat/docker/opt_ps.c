/* Looking at containers */
#include "compat/docker/tables.h"

static const struct opt_def options_ps[] = {
    FLAG("all", 'a', "Show all containers", OURS, .def = "shows just running"),
    OPT("filter", 'f', OPT_FILTER, "filter", "Filter output based on conditions provided", OURS),
    OPT("format", 0, OPT_STRING, "string", FORMAT_HELP, OURS),
    OPT("last", 'n', OPT_INT, "int", "Show n last created containers (includes all states)", OURS, .def = "-1"),
    FLAG("latest", 'l', "Show the latest created container (includes all states)", OURS),
    FLAG("no-trunc", 0, "Don't truncate output", OURS),
    FLAG("quiet", 'q', "Only display container IDs", OURS),
    FLAG("size", 's', "Display total file sizes", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_ps = {
    .path = "ps",
    .aliases = "docker container ls, docker container list, docker container ps, docker ps",
    .usage = "[OPTIONS]",
    .summary = "List containers",
    .options = options_ps,
    .interspersed = true,
    .section = SECTION_COMMON,
    OURS,
};

static const struct opt_def options_container_inspect[] = {
    OPT("format", 'f', OPT_STRING, "string", INSPECT_FORMAT_HELP, OURS),
    FLAG("size", 's', "Display total file sizes", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_container_inspect = {
    .path = "container inspect",
    .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
    .summary = "Display detailed information on one or more containers",
    .options = options_container_inspect,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

const struct cmd_def cmd_def_diff = {
    .path = "diff",
    .aliases = "docker container diff, docker diff",
    .usage = "CONTAINER",
    .summary = "Inspect changes to files or directories on a container's filesystem",
    .min_args = 1,
    .max_args = 1,
    .interspersed = true,
    REFUSED(NOT_YET),
};

static const struct opt_def options_logs[] = {
    FLAG("details", 0, "Show extra details provided to logs", OURS),
    FLAG("follow", 'f', "Follow log output", OURS),
    OPT("since", 0, OPT_STRING, "string",
        "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)", OURS),
    OPT("tail", 'n', OPT_STRING, "string", "Number of lines to show from the end of the logs", OURS, .def = "all"),
    FLAG("timestamps", 't', "Show timestamps", OURS),
    OPT("until", 0, OPT_STRING, "string",
        "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_logs = {
    .path = "logs",
    .aliases = "docker container logs, docker logs",
    .usage = "[OPTIONS] CONTAINER",
    .summary = "Fetch the logs of a container",
    .options = options_logs,
    .min_args = 1,
    .max_args = 1,
    .interspersed = true,
    OURS,
};

const struct cmd_def cmd_def_port = {
    .path = "port",
    .aliases = "docker container port, docker port",
    .usage = "CONTAINER [PRIVATE_PORT[/PROTO]]",
    .summary = "List port mappings or a specific mapping for the container",
    .min_args = 1,
    .max_args = 2,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_stats[] = {
    FLAG("all", 'a', "Show all containers", OURS, .def = "shows just running"),
    OPT("format", 0, OPT_STRING, "string", FORMAT_HELP, OURS),
    FLAG("no-stream", 0, "Disable streaming stats and only pull the first result", OURS),
    FLAG("no-trunc", 0, "Do not truncate output", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_stats = {
    .path = "stats",
    .aliases = "docker container stats, docker stats",
    .usage = "[OPTIONS] [CONTAINER...]",
    .summary = "Display a live stream of container(s) resource usage statistics",
    .options = options_stats,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

const struct cmd_def cmd_def_top = {
    .path = "top",
    .aliases = "docker container top, docker top",
    .usage = "CONTAINER [ps OPTIONS]",
    .summary = "Display the running processes of a container",
    .min_args = 1,
    .max_args = -1,
    OURS,
};
