/* The life of containers that exist */
#include "compat/docker/tables.h"

#define NO_CHECKPOINTS "processes of a sandbox cannot be saved and restored"

static const struct opt_def options_start[] = {
    FLAG("attach", 'a', "Attach STDOUT/STDERR and forward signals", OURS),
    OPT("checkpoint", 0, OPT_STRING, "string", "Restore from this checkpoint", REFUSED(NO_CHECKPOINTS)),
    OPT("checkpoint-dir", 0, OPT_STRING, "string", "Use a custom checkpoint storage directory",
        REFUSED(NO_CHECKPOINTS)),
    OPT("detach-keys", 0, OPT_STRING, "string", "Override the key sequence for detaching a container", OURS),
    FLAG("interactive", 'i', "Attach container's STDIN", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_start = {
    .path = "start",
    .aliases = "docker container start, docker start",
    .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
    .summary = "Start one or more stopped containers",
    .options = options_start,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_stop[] = {
    OPT("signal", 's', OPT_STRING, "string", "Signal to send to the container", OURS),
    OPT("time", 0, OPT_INT, "int", "Seconds to wait before killing the container", OURS, .flags = OPT_HIDDEN,
        .alias_of = "timeout", .deprecated = "use --timeout instead"),
    OPT("timeout", 't', OPT_INT, "int", "Seconds to wait before killing the container", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_stop = {
    .path = "stop",
    .aliases = "docker container stop, docker stop",
    .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
    .summary = "Stop one or more running containers",
    .options = options_stop,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_restart[] = {
    OPT("signal", 's', OPT_STRING, "string", "Signal to send to the container", OURS),
    OPT("time", 0, OPT_INT, "int", "Seconds to wait before killing the container", OURS, .flags = OPT_HIDDEN,
        .alias_of = "timeout", .deprecated = "use --timeout instead"),
    OPT("timeout", 't', OPT_INT, "int", "Seconds to wait before killing the container", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_restart = {
    .path = "restart",
    .aliases = "docker container restart, docker restart",
    .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
    .summary = "Restart one or more containers",
    .options = options_restart,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_kill[] = {
    OPT("signal", 's', OPT_STRING, "string", "Signal to send to the container", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_kill = {
    .path = "kill",
    .aliases = "docker container kill, docker kill",
    .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
    .summary = "Kill one or more running containers",
    .options = options_kill,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

const struct cmd_def cmd_def_pause = {
    .path = "pause",
    .aliases = "docker container pause, docker pause",
    .usage = "CONTAINER [CONTAINER...]",
    .summary = "Pause all processes within one or more containers",
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

const struct cmd_def cmd_def_unpause = {
    .path = "unpause",
    .aliases = "docker container unpause, docker unpause",
    .usage = "CONTAINER [CONTAINER...]",
    .summary = "Unpause all processes within one or more containers",
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

const struct cmd_def cmd_def_wait = {
    .path = "wait",
    .aliases = "docker container wait, docker wait",
    .usage = "CONTAINER [CONTAINER...]",
    .summary = "Block until one or more containers stop, then print their exit codes",
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

const struct cmd_def cmd_def_rename = {
    .path = "rename",
    .aliases = "docker container rename, docker rename",
    .usage = "CONTAINER NEW_NAME",
    .summary = "Rename a container",
    .min_args = 2,
    .max_args = 2,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_rm[] = {
    FLAG("force", 'f', "Force the removal of a running container (uses SIGKILL)", OURS),
    FLAG("link", 'l', "Remove the specified link", REFUSED("containers are not linked here")),
    FLAG("volumes", 'v', "Remove anonymous volumes associated with the container", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_rm = {
    .path = "rm",
    .aliases = "docker container rm, docker container remove, docker rm",
    .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
    .summary = "Remove one or more containers",
    .options = options_rm,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_container_prune[] = {
    OPT("filter", 0, OPT_FILTER, "filter", "Provide filter values (e.g. \"until=<timestamp>\")", OURS),
    FLAG("force", 'f', "Do not prompt for confirmation", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_container_prune = {
    .path = "container prune",
    .usage = "[OPTIONS]",
    .summary = "Remove all stopped containers",
    .options = options_container_prune,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_update[] = {
    OPT("blkio-weight", 0, OPT_UINT16, "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable",
        LATER, .def = "0"),
    OPT("cpu-period", 0, OPT_INT, "int", "Limit CPU CFS (Completely Fair Scheduler) period", LATER),
    OPT("cpu-quota", 0, OPT_INT, "int", "Limit CPU CFS (Completely Fair Scheduler) quota", LATER),
    OPT("cpu-rt-period", 0, OPT_INT, "int", "Limit the CPU real-time period in microseconds", LATER),
    OPT("cpu-rt-runtime", 0, OPT_INT, "int", "Limit the CPU real-time runtime in microseconds", LATER),
    OPT("cpu-shares", 'c', OPT_INT, "int", "CPU shares (relative weight)", LATER),
    OPT("cpus", 0, OPT_DECIMAL, "decimal", "Number of CPUs", LATER),
    OPT("cpuset-cpus", 0, OPT_STRING, "string", "CPUs in which to allow execution (0-3, 0,1)", LATER),
    OPT("cpuset-mems", 0, OPT_STRING, "string", "MEMs in which to allow execution (0-3, 0,1)", LATER),
    OPT("kernel-memory", 0, OPT_BYTES, "bytes", "Kernel memory limit", LATER, .flags = OPT_HIDDEN),
    OPT("memory", 'm', OPT_BYTES, "bytes", "Memory limit", LATER),
    OPT("memory-reservation", 0, OPT_BYTES, "bytes", "Memory soft limit", LATER),
    OPT("memory-swap", 0, OPT_BYTES, "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        LATER, .flags = OPT_MINUS_ONE),
    OPT("pids-limit", 0, OPT_INT, "int", "Tune container pids limit (set -1 for unlimited)", LATER),
    OPT("restart", 0, OPT_STRING, "string", "Restart policy to apply when a container exits", LATER),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_update = {
    .path = "update",
    .aliases = "docker container update, docker update",
    .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
    .summary = "Update configuration of one or more containers",
    .options = options_update,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    REFUSED(NOT_YET),
};
