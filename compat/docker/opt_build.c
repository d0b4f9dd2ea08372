/*
 * Building images. The help is that of docker 28.2.2's own `build`; what its buildx plugin adds to the same words is
 * parsed and carried out as well, and shown by `buildx build --help` (opt_buildx.c).
 */
#include "compat/docker/tables.h"

#define NO_LIMITS    "the steps of a build have the limits that the platform gives them"
#define CHANGES_NONE "changes nothing that can be seen, as with BuildKit"
#define PLUGIN       .flags = OPT_HIDDEN

static const struct opt_def options_build[] = {
    OPT("add-host", 0, OPT_LIST, "list", "Add a custom host-to-IP mapping (\"host:ip\")", OURS,
        .check = opt_check_add_host),
    OPT("allow", 0, OPT_STRINGARRAY, "stringArray", "Allow extra privileged entitlement", OURS, PLUGIN),
    OPT("annotation", 0, OPT_STRINGARRAY, "stringArray", "Add annotation to the image",
        REFUSED("images are kept without a manifest that could hold it"), PLUGIN),
    OPT("attest", 0, OPT_STRINGARRAY, "stringArray", "Attestation parameters", OURS, PLUGIN),
    OPT("build-arg", 0, OPT_LIST, "list", "Set build-time variables", OURS),
    OPT("build-context", 0, OPT_STRINGARRAY, "stringArray", "Additional build contexts", OURS, PLUGIN),
    OPT("builder", 0, OPT_STRING, "string", "Override the configured builder instance", OURS, PLUGIN),
    OPT("cache-from", 0, OPT_STRINGS, "strings", "Images to consider as cache sources", OURS),
    OPT("cache-to", 0, OPT_STRINGARRAY, "stringArray", "Cache export destinations", OURS, PLUGIN),
    OPT("call", 0, OPT_STRING, "string", "Set method for evaluating build", OURS, PLUGIN, .def = "build"),
    OPT("cgroup-parent", 0, OPT_STRING, "string", "Set the parent cgroup for the \"RUN\" instructions during build",
        REFUSED(NO_CGROUPS)),
    FLAG("check", 0, "Shorthand for \"--call=check\"",
         REFUSED("a Dockerfile's errors are found, its style is not judged"), PLUGIN),
    FLAG("compress", 0, "Compress the build context using gzip", .verdict = VERDICT_IGNORED_SAFE,
         .reason = CHANGES_NONE),
    OPT("cpu-period", 0, OPT_INT, "int", "Limit the CPU CFS (Completely Fair Scheduler) period", REFUSED(NO_LIMITS)),
    OPT("cpu-quota", 0, OPT_INT, "int", "Limit the CPU CFS (Completely Fair Scheduler) quota", REFUSED(NO_LIMITS)),
    OPT("cpu-shares", 'c', OPT_INT, "int", "CPU shares (relative weight)", REFUSED(NO_LIMITS)),
    OPT("cpuset-cpus", 0, OPT_STRING, "string", "CPUs in which to allow execution (0-3, 0,1)", REFUSED(NO_LIMITS)),
    OPT("cpuset-mems", 0, OPT_STRING, "string", "MEMs in which to allow execution (0-3, 0,1)", REFUSED(NO_LIMITS)),
    FLAG("disable-content-trust", 0, "Skip image verification", OURS, .def = "true"),
    OPT("file", 'f', OPT_STRING, "string", "Name of the Dockerfile (Default is \"PATH/Dockerfile\")", OURS),
    FLAG("force-rm", 0, "Always remove intermediate containers", .verdict = VERDICT_IGNORED_SAFE,
         .reason = CHANGES_NONE),
    OPT("iidfile", 0, OPT_STRING, "string", "Write the image ID to the file", OURS),
    OPT("isolation", 0, OPT_STRING, "string", "Container isolation technology", OURS),
    OPT("label", 0, OPT_LIST, "list", "Set metadata for an image", OURS, .check = opt_check_label),
    FLAG("load", 0, "Shorthand for \"--output=type=docker\"", OURS, PLUGIN),
    OPT("memory", 'm', OPT_BYTES, "bytes", "Memory limit", REFUSED(NO_LIMITS)),
    OPT("memory-swap", 0, OPT_BYTES, "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        REFUSED(NO_SWAP), .flags = OPT_MINUS_ONE),
    OPT("metadata-file", 0, OPT_STRING, "string", "Write build result metadata to a file", OURS, PLUGIN),
    OPT("network", 0, OPT_STRING, "string", "Set the networking mode for the RUN instructions during build", OURS,
        .def = "default"),
    FLAG("no-cache", 0, "Do not use cache when building the image", OURS),
    OPT("no-cache-filter", 0, OPT_STRINGARRAY, "stringArray", "Do not cache specified stages", OURS, PLUGIN),
    OPT("output", 'o', OPT_STRINGARRAY, "stringArray", "Output destination", OURS, PLUGIN),
    OPT("platform", 0, OPT_STRING, "string", "Set platform if server is multi-platform capable", OURS),
    OPT("progress", 0, OPT_STRING, "string", "Set type of progress output", OURS, PLUGIN, .def = "auto"),
    OPT("provenance", 0, OPT_STRING, "string", "Shorthand for \"--attest=type=provenance\"", OURS, PLUGIN),
    FLAG("pull", 0, "Always attempt to pull a newer version of the image", OURS),
    FLAG("push", 0, "Shorthand for \"--output=type=registry\"", OURS, PLUGIN),
    FLAG("quiet", 'q', "Suppress the build output and print image ID on success", OURS),
    FLAG("rm", 0, "Remove intermediate containers after a successful build", .def = "true",
         .verdict = VERDICT_IGNORED_SAFE, .reason = CHANGES_NONE),
    OPT("sbom", 0, OPT_STRING, "string", "Shorthand for \"--attest=type=sbom\"", OURS, PLUGIN),
    OPT("secret", 0, OPT_STRINGARRAY, "stringArray", "Secret to expose to the build", OURS, PLUGIN),
    OPT("security-opt", 0, OPT_STRINGS, "strings", "Security options", REFUSED(FIXED_POWERS)),
    OPT("shm-size", 0, OPT_BYTES, "bytes", "Size of \"/dev/shm\"", REFUSED(NO_LIMITS)),
    FLAG("squash", 0, "Squash newly built layers into a single new layer",
         REFUSED("layers are kept as they are built; a multi-stage Dockerfile makes one layer of several")),
    OPT("ssh", 0, OPT_STRINGARRAY, "stringArray", "SSH agent socket or keys to expose to the build",
        REFUSED("an SSH agent cannot be reached from where the steps run"), PLUGIN),
    OPT("tag", 't', OPT_LIST, "list", "Name and optionally a tag in the \"name:tag\" format", OURS),
    OPT("target", 0, OPT_STRING, "string", "Set the target build stage to build.", OURS),
    OPT("ulimit", 0, OPT_ULIMIT, "ulimit", "Ulimit options", REFUSED(NO_LIMITS), .def = "[]"),
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
    OURS,
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
    OURS,
};

static const struct opt_def options_builder_prune[] = {
    FLAG("all", 'a', "Remove all unused build cache, not just dangling ones", OURS),
    OPT("filter", 0, OPT_FILTER, "filter", "Provide filter values (e.g. \"until=24h\")", OURS),
    FLAG("force", 'f', "Do not prompt for confirmation", OURS),
    OPT("keep-storage", 0, OPT_BYTES, "bytes", "Amount of disk space to keep for cache", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_builder_prune = {
    .path = "builder prune",
    .summary = "Remove build cache",
    .options = options_builder_prune,
    .interspersed = true,
    OURS,
};
