/* Building images: the real docker's, until Dockerfiles are carried out here */
#include "compat/docker/tables.h"

static const struct opt_def options_build[] = {
    OPT("add-host", 0, OPT_LIST, "list", "Add a custom host-to-IP mapping (\"host:ip\")", REAL_DOCKER,
        .check = opt_check_add_host),
    OPT("build-arg", 0, OPT_LIST, "list", "Set build-time variables", REAL_DOCKER),
    OPT("cache-from", 0, OPT_STRINGS, "strings", "Images to consider as cache sources", REAL_DOCKER),
    OPT("cgroup-parent", 0, OPT_STRING, "string", "Set the parent cgroup for the \"RUN\" instructions during build",
        REAL_DOCKER),
    FLAG("compress", 0, "Compress the build context using gzip", REAL_DOCKER),
    OPT("cpu-period", 0, OPT_INT, "int", "Limit the CPU CFS (Completely Fair Scheduler) period", REAL_DOCKER),
    OPT("cpu-quota", 0, OPT_INT, "int", "Limit the CPU CFS (Completely Fair Scheduler) quota", REAL_DOCKER),
    OPT("cpu-shares", 'c', OPT_INT, "int", "CPU shares (relative weight)", REAL_DOCKER),
    OPT("cpuset-cpus", 0, OPT_STRING, "string", "CPUs in which to allow execution (0-3, 0,1)", REAL_DOCKER),
    OPT("cpuset-mems", 0, OPT_STRING, "string", "MEMs in which to allow execution (0-3, 0,1)", REAL_DOCKER),
    FLAG("disable-content-trust", 0, "Skip image verification", REAL_DOCKER, .def = "true"),
    OPT("file", 'f', OPT_STRING, "string", "Name of the Dockerfile (Default is \"PATH/Dockerfile\")", REAL_DOCKER),
    FLAG("force-rm", 0, "Always remove intermediate containers", REAL_DOCKER),
    OPT("iidfile", 0, OPT_STRING, "string", "Write the image ID to the file", REAL_DOCKER),
    OPT("isolation", 0, OPT_STRING, "string", "Container isolation technology", REAL_DOCKER),
    OPT("label", 0, OPT_LIST, "list", "Set metadata for an image", REAL_DOCKER, .check = opt_check_label),
    OPT("memory", 'm', OPT_BYTES, "bytes", "Memory limit", REAL_DOCKER),
    OPT("memory-swap", 0, OPT_BYTES, "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        REAL_DOCKER, .flags = OPT_MINUS_ONE),
    OPT("network", 0, OPT_STRING, "string", "Set the networking mode for the RUN instructions during build",
        REAL_DOCKER, .def = "default"),
    FLAG("no-cache", 0, "Do not use cache when building the image", REAL_DOCKER),
    OPT("platform", 0, OPT_STRING, "string", "Set platform if server is multi-platform capable", REAL_DOCKER),
    FLAG("pull", 0, "Always attempt to pull a newer version of the image", REAL_DOCKER),
    FLAG("quiet", 'q', "Suppress the build output and print image ID on success", REAL_DOCKER),
    FLAG("rm", 0, "Remove intermediate containers after a successful build", REAL_DOCKER, .def = "true"),
    OPT("security-opt", 0, OPT_STRINGS, "strings", "Security options", REAL_DOCKER),
    OPT("shm-size", 0, OPT_BYTES, "bytes", "Size of \"/dev/shm\"", REAL_DOCKER),
    FLAG("squash", 0, "Squash newly built layers into a single new layer", REAL_DOCKER),
    OPT("tag", 't', OPT_LIST, "list", "Name and optionally a tag in the \"name:tag\" format", REAL_DOCKER),
    OPT("target", 0, OPT_STRING, "string", "Set the target build stage to build.", REAL_DOCKER),
    OPT("ulimit", 0, OPT_ULIMIT, "ulimit", "Ulimit options", REAL_DOCKER, .def = "[]"),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_build = {
    .path = "build",
    .aliases = "docker image build, docker build, docker builder build",
    .usage = "[OPTIONS] PATH | URL | -",
    .summary = "Build an image from a Dockerfile",
    .options = options_build,
    .min_args = 1,
    .max_args = 1,
    .interspersed = true,
    .section = SECTION_COMMON,
    DELEGATED(REAL_DOCKER_ONLY),
};

/* The third name of build: help and errors carry it. */
const struct cmd_def cmd_def_builder_build = {
    .path = "builder build",
    .aliases = "docker image build, docker build, docker builder build",
    .usage = "[OPTIONS] PATH | URL | -",
    .summary = "Build an image from a Dockerfile",
    .options = options_build,
    .min_args = 1,
    .max_args = 1,
    .interspersed = true,
    DELEGATED(REAL_DOCKER_ONLY),
};

static const struct opt_def options_builder_prune[] = {
    FLAG("all", 'a', "Remove all unused build cache, not just dangling ones", REAL_DOCKER),
    OPT("filter", 0, OPT_FILTER, "filter", "Provide filter values (e.g. \"until=24h\")", REAL_DOCKER),
    FLAG("force", 'f', "Do not prompt for confirmation", REAL_DOCKER),
    OPT("keep-storage", 0, OPT_BYTES, "bytes", "Amount of disk space to keep for cache", REAL_DOCKER),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_builder_prune = {
    .path = "builder prune",
    .summary = "Remove build cache",
    .options = options_builder_prune,
    .interspersed = true,
    DELEGATED(REAL_DOCKER_ONLY),
};
