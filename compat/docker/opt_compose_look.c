/* docker compose: looking at a project. The sentences are ours */
#include "compat/docker/tables.h"

static const struct opt_def options_compose_ps[] = {
    FLAG("all", 'a', "Include all, not only what runs", OURS),
    DRY_RUN,
    OPT("filter", 0, OPT_STRING, "string", "Show only what matches", OURS),
    OPT("format", 0, OPT_STRING, "string", "How the output looks (\"table\", \"json\")", OURS),
    FLAG("no-trunc", 0, "Cut nothing short", OURS),
    FLAG("orphans", 0, "Include containers of services that the file no longer has", OURS, .def = "true"),
    FLAG("quiet", 'q', "Print only what is asked for", OURS),
    FLAG("services", 0, "Print the names of services", OURS),
    OPT("status", 0, OPT_STRINGARRAY, "stringArray", "Show only containers in this state", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_ps = {
    .path = "compose ps",
    .usage = "[OPTIONS] [SERVICE...]",
    .summary = "List containers",
    .options = options_compose_ps,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_logs[] = {
    DRY_RUN,
    FLAG("follow", 'f', "Print new lines as they come", OURS),
    OPT("index", 0, OPT_INT, "int", "Which container of a service with several", OURS),
    FLAG("no-color", 0, "Use no colours", OURS),
    FLAG("no-log-prefix", 0, "Print lines without the name of their container", OURS),
    OPT("since", 0, OPT_STRING, "string", "Start at this time", OURS),
    OPT("tail", 'n', OPT_STRING, "string", "Number of lines from the end", OURS, .def = "all"),
    FLAG("timestamps", 't', "Print the time of each line", OURS),
    OPT("until", 0, OPT_STRING, "string", "End at this time", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_logs = {
    .path = "compose logs",
    .usage = "[OPTIONS] [SERVICE...]",
    .summary = "View output from containers",
    .options = options_compose_logs,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_config[] = {
    DRY_RUN,
    FLAG("environment", 0, "Print the variables that are known", OURS),
    OPT("format", 0, OPT_STRING, "string", "How the output looks (\"yaml\", \"json\")", OURS),
    OPT("hash", 0, OPT_STRING, "string", "Print the hashes of services", OURS),
    FLAG("images", 0, "Print the names of images", OURS),
    FLAG("lock-image-digests", 0, "Print an override file with digests of images", OURS),
    FLAG("models", 0, "Print the names of models", OURS),
    FLAG("networks", 0, "Print the names of networks", OURS),
    FLAG("no-consistency", 0, "Do not check the model", OURS),
    FLAG("no-env-resolution", 0, "Do not read the services' env files", OURS),
    FLAG("no-interpolate", 0, "Leave variables as they are", OURS),
    FLAG("no-normalize", 0, "Leave the model as it is", OURS),
    FLAG("no-path-resolution", 0, "Leave paths as they are", OURS),
    OPT("output", 'o', OPT_STRING, "string", "Write to this file", OURS),
    FLAG("profiles", 0, "Print the names of profiles", OURS),
    FLAG("quiet", 'q', "Only check the model", OURS),
    FLAG("resolve-image-digests", 0, "Put digests into the names of images", OURS),
    FLAG("services", 0, "Print the names of services", OURS),
    FLAG("variables", 0, "Print the variables of the model and their defaults", OURS),
    FLAG("volumes", 0, "Print the names of volumes", OURS),
    FLAG("x-modal-report", 0, "Print what becomes of each key", OURS, .flags = OPT_HIDDEN),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_config = {
    .path = "compose config",
    .usage = "[OPTIONS] [SERVICE...]",
    .summary = "Print the application as it is understood",
    .options = options_compose_config,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_images[] = {
    DRY_RUN,
    OPT("format", 0, OPT_STRING, "string", "How the output looks (\"table\", \"json\")", OURS, .def = "table"),
    FLAG("quiet", 'q', "Print only what is asked for", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_images = {
    .path = "compose images",
    .usage = "[OPTIONS] [SERVICE...]",
    .summary = "List the images of containers",
    .options = options_compose_images,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_ls[] = {
    FLAG("all", 'a', "Include all, not only what runs", OURS),
    DRY_RUN,
    OPT("filter", 0, OPT_FILTER, "filter", "Show only what matches", OURS),
    OPT("format", 0, OPT_STRING, "string", "How the output looks (\"table\", \"json\")", OURS, .def = "table"),
    FLAG("quiet", 'q', "Print only what is asked for", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_ls = {
    .path = "compose ls",
    .usage = "[OPTIONS]",
    .summary = "List compose projects",
    .options = options_compose_ls,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_top[] = {
    DRY_RUN,
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_top = {
    .path = "compose top",
    .usage = "[SERVICES...]",
    .summary = "List the running processes",
    .options = options_compose_top,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_port[] = {
    DRY_RUN,
    OPT("index", 0, OPT_INT, "int", "Which container of a service with several", OURS),
    OPT("protocol", 0, OPT_STRING, "string", "tcp or udp", OURS, .def = "tcp"),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_port = {
    .path = "compose port",
    .usage = "[OPTIONS] SERVICE PRIVATE_PORT",
    .summary = "Print the public port of a port",
    .options = options_compose_port,
    .min_args = 2,
    .max_args = 2,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_events[] = {
    DRY_RUN,
    FLAG("json", 0, "Print one object per line", OURS),
    OPT("since", 0, OPT_STRING, "string", "Start at this time", OURS),
    OPT("until", 0, OPT_STRING, "string", "End at this time", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_events = {
    .path = "compose events",
    .usage = "[OPTIONS] [SERVICE...]",
    .summary = "Print the events of containers as they happen",
    .options = options_compose_events,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_stats[] = {
    FLAG("all", 'a', "Include containers that do not run", OURS),
    DRY_RUN,
    OPT("format", 0, OPT_STRING, "string", "Go template of a line, or \"table\" or \"json\"", OURS),
    FLAG("no-stream", 0, "Print the first values only", OURS),
    FLAG("no-trunc", 0, "Cut nothing short", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_stats = {
    .path = "compose stats",
    .usage = "[OPTIONS] [SERVICE]",
    .summary = "Print how much containers use",
    .options = options_compose_stats,
    .max_args = 1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_volumes[] = {
    DRY_RUN,
    OPT("format", 0, OPT_STRING, "string", "How the output looks (\"table\", \"json\")", OURS, .def = "table"),
    FLAG("quiet", 'q', "Print only what is asked for", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_volumes = {
    .path = "compose volumes",
    .usage = "[OPTIONS] [SERVICE...]",
    .summary = "List volumes",
    .options = options_compose_volumes,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_compose_version[] = {
    DRY_RUN,
    OPT("format", 'f', OPT_STRING, "string", "How the output looks (\"pretty\", \"json\")", OURS),
    FLAG("short", 0, "Print the number only", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_compose_version = {
    .path = "compose version",
    .usage = "[OPTIONS]",
    .summary = "Print the version",
    .options = options_compose_version,
    .interspersed = true,
    OURS,
};
