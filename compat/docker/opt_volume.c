/* Volumes */
#include "compat/docker/tables.h"

static const struct opt_def options_volume_create[] = {
    OPT("availability", 0, OPT_STRING, "string", "Cluster Volume availability (\"active\", \"pause\", \"drain\")",
        REFUSED(SWARM_ONLY), .def = "active"),
    OPT("driver", 'd', OPT_STRING, "string", "Specify volume driver name", OURS, .def = "local"),
    OPT("group", 0, OPT_STRING, "string", "Cluster Volume group (cluster volumes)", REFUSED(SWARM_ONLY)),
    OPT("label", 0, OPT_LIST, "list", "Set metadata for a volume", OURS, .check = opt_check_label),
    OPT("limit-bytes", 0, OPT_BYTES, "bytes", "Minimum size of the Cluster Volume in bytes", REFUSED(SWARM_ONLY)),
    OPT("name", 0, OPT_STRING, "string", "Specify volume name", OURS, .flags = OPT_HIDDEN),
    OPT("opt", 'o', OPT_MAP, "map", "Set driver specific options", OURS, .def = "map[]"),
    OPT("required-bytes", 0, OPT_BYTES, "bytes", "Maximum size of the Cluster Volume in bytes", REFUSED(SWARM_ONLY)),
    OPT("scope", 0, OPT_STRING, "string", "Cluster Volume access scope (\"single\", \"multi\")", REFUSED(SWARM_ONLY),
        .def = "single"),
    OPT("secret", 0, OPT_MAP, "map", "Cluster Volume secrets", REFUSED(SWARM_ONLY), .def = "map[]"),
    OPT("sharing", 0, OPT_STRING, "string",
        "Cluster Volume access sharing (\"none\", \"readonly\", \"onewriter\", \"all\")", REFUSED(SWARM_ONLY),
        .def = "none"),
    OPT("topology-preferred", 0, OPT_LIST, "list", "A topology that the Cluster Volume would be preferred in",
        REFUSED(SWARM_ONLY)),
    OPT("topology-required", 0, OPT_LIST, "list", "A topology that the Cluster Volume must be accessible from",
        REFUSED(SWARM_ONLY)),
    OPT("type", 0, OPT_STRING, "string", "Cluster Volume access type (\"mount\", \"block\")", REFUSED(SWARM_ONLY),
        .def = "block"),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_volume_create = {
    .path = "volume create",
    .usage = "[OPTIONS] [VOLUME]",
    .summary = "Create a volume",
    .options = options_volume_create,
    .max_args = 1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_volume_inspect[] = {
    OPT("format", 'f', OPT_STRING, "string", INSPECT_FORMAT_HELP, OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_volume_inspect = {
    .path = "volume inspect",
    .usage = "[OPTIONS] VOLUME [VOLUME...]",
    .summary = "Display detailed information on one or more volumes",
    .options = options_volume_inspect,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_volume_ls[] = {
    FLAG("cluster", 0, "Display only cluster volumes, and use cluster volume list formatting", REFUSED(SWARM_ONLY)),
    OPT("filter", 'f', OPT_FILTER, "filter", "Provide filter values (e.g. \"dangling=true\")", OURS),
    OPT("format", 0, OPT_STRING, "string", FORMAT_HELP, OURS),
    FLAG("quiet", 'q', "Only display volume names", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_volume_ls = {
    .path = "volume ls",
    .aliases = "docker volume ls, docker volume list",
    .usage = "[OPTIONS]",
    .summary = "List volumes",
    .options = options_volume_ls,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_volume_prune[] = {
    FLAG("all", 'a', "Remove all unused volumes, not just anonymous ones", OURS),
    OPT("filter", 0, OPT_FILTER, "filter", "Provide filter values (e.g. \"label=<label>\")", OURS),
    FLAG("force", 'f', "Do not prompt for confirmation", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_volume_prune = {
    .path = "volume prune",
    .usage = "[OPTIONS]",
    .summary = "Remove unused local volumes",
    .options = options_volume_prune,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_volume_rm[] = {
    FLAG("force", 'f', "Force the removal of one or more volumes", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_volume_rm = {
    .path = "volume rm",
    .aliases = "docker volume rm, docker volume remove",
    .usage = "[OPTIONS] VOLUME [VOLUME...]",
    .summary = "Remove one or more volumes",
    .description = "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    .options = options_volume_rm,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_volume_update[] = {
    OPT("availability", 0, OPT_STRING, "string", "Cluster Volume availability (\"active\", \"pause\", \"drain\")",
        REAL_DOCKER, .def = "active"),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_volume_update = {
    .path = "volume update",
    .usage = "[OPTIONS] [VOLUME]",
    .summary = "Update a volume (cluster volumes only)",
    .options = options_volume_update,
    .min_args = 1,
    .max_args = 1,
    .interspersed = true,
    DELEGATED("cluster volumes belong to a Docker daemon"),
};
