/* The buildx plugin's words, as of its version 0.23: what is one verb with `build`, and what needs a builder of its
 * own. */
#include "compat/docker/tables.h"

#define NO_LIMITS    "the steps of a build have the limits that the platform gives them"
#define CHANGES_NONE "changes nothing that can be seen, as with BuildKit"
#define NO_BUILDERS  "there is one builder, which needs no set-up"
#define CLASSIC      .flags = OPT_HIDDEN

static const struct opt_def options_buildx_build[] = {
    OPT("add-host", 0, OPT_STRINGS, "strings", "Add a custom host-to-IP mapping (format: \"host:ip\")", OURS),
    OPT("allow", 0, OPT_STRINGARRAY, "stringArray",
        "Allow extra privileged entitlement (e.g., \"network.host\", \"security.insecure\")", OURS),
    OPT("annotation", 0, OPT_STRINGARRAY, "stringArray", "Add annotation to the image",
        REFUSED("images are kept without a manifest that could hold it")),
    OPT("attest", 0, OPT_STRINGARRAY, "stringArray", "Attestation parameters (format: \"type=sbom,generator=image\")",
        OURS),
    OPT("build-arg", 0, OPT_STRINGARRAY, "stringArray", "Set build-time variables", OURS),
    OPT("build-context", 0, OPT_STRINGARRAY, "stringArray", "Additional build contexts (e.g., name=path)", OURS),
    OPT("builder", 0, OPT_STRING, "string", "Override the configured builder instance", OURS),
    OPT("cache-from", 0, OPT_STRINGARRAY, "stringArray",
        "External cache sources (e.g., \"user/app:cache\", \"type=local,src=path/to/dir\")", OURS),
    OPT("cache-to", 0, OPT_STRINGARRAY, "stringArray",
        "Cache export destinations (e.g., \"user/app:cache\", \"type=local,dest=path/to/dir\")", OURS),
    OPT("call", 0, OPT_STRING, "string", "Set method for evaluating build (\"check\", \"outline\", \"targets\")", OURS,
        .def = "build"),
    OPT("cgroup-parent", 0, OPT_STRING, "string", "Set the parent cgroup for the \"RUN\" instructions during build",
        REFUSED(NO_CGROUPS)),
    FLAG("check", 0, "Shorthand for \"--call=check\"",
         REFUSED("a Dockerfile's errors are found, its style is not judged")),
    FLAG("compress", 0, "Compress the build context using gzip", .verdict = VERDICT_IGNORED_SAFE,
         .reason = CHANGES_NONE, CLASSIC),
    OPT("cpu-period", 0, OPT_INT, "int", "Limit the CPU CFS (Completely Fair Scheduler) period", REFUSED(NO_LIMITS),
        CLASSIC),
    OPT("cpu-quota", 0, OPT_INT, "int", "Limit the CPU CFS (Completely Fair Scheduler) quota", REFUSED(NO_LIMITS),
        CLASSIC),
    OPT("cpu-shares", 'c', OPT_INT, "int", "CPU shares (relative weight)", REFUSED(NO_LIMITS), CLASSIC),
    OPT("cpuset-cpus", 0, OPT_STRING, "string", "CPUs in which to allow execution (0-3, 0,1)", REFUSED(NO_LIMITS),
        CLASSIC),
    OPT("cpuset-mems", 0, OPT_STRING, "string", "MEMs in which to allow execution (0-3, 0,1)", REFUSED(NO_LIMITS),
        CLASSIC),
    FLAG("debug", 'D', "Enable debug logging", .verdict = VERDICT_IGNORED_SAFE,
         .reason = "what a builder's log would say is said by ATP_DOCKER_TRACE"),
    OPT("file", 'f', OPT_STRING, "string", "Name of the Dockerfile (default: \"PATH/Dockerfile\")", OURS),
    FLAG("force-rm", 0, "Always remove intermediate containers", .verdict = VERDICT_IGNORED_SAFE,
         .reason = CHANGES_NONE, CLASSIC),
    OPT("iidfile", 0, OPT_STRING, "string", "Write the image ID to a file", OURS),
    OPT("isolation", 0, OPT_STRING, "string", "Container isolation technology", OURS, CLASSIC),
    OPT("label", 0, OPT_STRINGARRAY, "stringArray", "Set metadata for an image", OURS),
    FLAG("load", 0, "Shorthand for \"--output=type=docker\"", OURS),
    OPT("memory", 'm', OPT_BYTES, "bytes", "Memory limit", REFUSED(NO_LIMITS), CLASSIC),
    OPT("memory-swap", 0, OPT_BYTES, "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        REFUSED(NO_SWAP), .flags = OPT_MINUS_ONE | OPT_HIDDEN),
    OPT("metadata-file", 0, OPT_STRING, "string", "Write build result metadata to a file", OURS),
    OPT("network", 0, OPT_STRING, "string", "Set the networking mode for the \"RUN\" instructions during build", OURS,
        .def = "default"),
    FLAG("no-cache", 0, "Do not use cache when building the image", OURS),
    OPT("no-cache-filter", 0, OPT_STRINGARRAY, "stringArray", "Do not cache specified stages", OURS),
    OPT("output", 'o', OPT_STRINGARRAY, "stringArray", "Output destination (format: \"type=local,dest=path\")", OURS),
    OPT("platform", 0, OPT_STRINGARRAY, "stringArray", "Set target platform for build", OURS),
    OPT("progress", 0, OPT_STRING, "string",
        "Set type of progress output (\"auto\", \"none\",  \"plain\", \"quiet\", \"rawjson\", \"tty\"). Use plain to "
        "show container output",
        OURS, .def = "auto"),
    OPT("provenance", 0, OPT_STRING, "string", "Shorthand for \"--attest=type=provenance\"", OURS),
    FLAG("pull", 0, "Always attempt to pull all referenced images", OURS),
    FLAG("push", 0, "Shorthand for \"--output=type=registry,unpack=false\"", OURS),
    FLAG("quiet", 'q', "Suppress the build output and print image ID on success", OURS),
    FLAG("rm", 0, "Remove intermediate containers after a successful build", .def = "true",
         .verdict = VERDICT_IGNORED_SAFE, .reason = CHANGES_NONE, CLASSIC),
    OPT("sbom", 0, OPT_STRING, "string", "Shorthand for \"--attest=type=sbom\"", OURS),
    OPT("secret", 0, OPT_STRINGARRAY, "stringArray",
        "Secret to expose to the build (format: \"id=mysecret[,src=/local/secret]\")", OURS),
    OPT("security-opt", 0, OPT_STRINGS, "strings", "Security options", REFUSED(FIXED_POWERS), CLASSIC),
    OPT("shm-size", 0, OPT_BYTES, "bytes", "Shared memory size for build containers", REFUSED(NO_LIMITS)),
    FLAG("squash", 0, "Squash newly built layers into a single new layer",
         REFUSED("layers are kept as they are built; a multi-stage Dockerfile makes one layer of several"), CLASSIC),
    OPT("ssh", 0, OPT_STRINGARRAY, "stringArray",
        "SSH agent socket or keys to expose to the build (format: \"default|<id>[=<socket>|<key>[,<key>]]\")",
        REFUSED("an SSH agent cannot be reached from where the steps run")),
    OPT("tag", 't', OPT_STRINGARRAY, "stringArray", "Name and optionally a tag (format: \"name:tag\")", OURS),
    OPT("target", 0, OPT_STRING, "string", "Set the target build stage to build", OURS),
    OPT("ulimit", 0, OPT_ULIMIT, "ulimit", "Ulimit options", REFUSED(NO_LIMITS), .def = "[]"),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_buildx_build = {
    .path = "buildx build",
    .aliases = "docker build, docker builder build, docker image build, docker buildx build, docker buildx b",
    .usage = "[OPTIONS] PATH | URL | -",
    .summary = "Start a build",
    .options = options_buildx_build,
    .min_args = 1,
    .max_args = 1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_buildx_prune[] = {
    FLAG("all", 'a', "Include internal/frontend images", OURS),
    OPT("builder", 0, OPT_STRING, "string", "Override the configured builder instance", OURS),
    FLAG("debug", 'D', "Enable debug logging", .verdict = VERDICT_IGNORED_SAFE,
         .reason = "what a builder's log would say is said by ATP_DOCKER_TRACE"),
    OPT("filter", 0, OPT_FILTER, "filter", "Provide filter values (e.g., \"until=24h\")", OURS),
    FLAG("force", 'f', "Do not prompt for confirmation", OURS),
    OPT("keep-storage", 0, OPT_BYTES, "bytes", "Amount of disk space to keep for cache", OURS, .flags = OPT_HIDDEN),
    OPT("max-used-space", 0, OPT_BYTES, "bytes", "Maximum amount of disk space allowed to keep for cache", OURS),
    OPT("min-free-space", 0, OPT_BYTES, "bytes", "Target amount of free disk space after pruning",
        REFUSED("the engine looks at what it holds, not at what the disk has left")),
    OPT("reserved-space", 0, OPT_BYTES, "bytes", "Amount of disk space always allowed to keep for cache", OURS),
    FLAG("verbose", 0, "Provide a more verbose output", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_buildx_prune = {
    .path = "buildx prune",
    .summary = "Remove build cache",
    .options = options_buildx_prune,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_buildx_du[] = {
    OPT("builder", 0, OPT_STRING, "string", "Override the configured builder instance", OURS),
    FLAG("debug", 'D', "Enable debug logging", .verdict = VERDICT_IGNORED_SAFE,
         .reason = "what a builder's log would say is said by ATP_DOCKER_TRACE"),
    OPT("filter", 0, OPT_FILTER, "filter", "Provide filter values",
        REFUSED("the engine tells the sum of its cache, not its records")),
    FLAG("verbose", 0, "Provide a more verbose output",
         REFUSED("the engine tells the sum of its cache, not its records")),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_buildx_du = {
    .path = "buildx du",
    .summary = "Disk usage",
    .options = options_buildx_du,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_buildx_version[] = {
    FLAG("debug", 'D', "Enable debug logging", .verdict = VERDICT_IGNORED_SAFE,
         .reason = "what a builder's log would say is said by ATP_DOCKER_TRACE"),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_buildx_version = {
    .path = "buildx version",
    .summary = "Show buildx version information",
    .options = options_buildx_version,
    .interspersed = true,
    OURS,
};

#define NEEDS_BUILDERS(name, word, sentence)                                                                           \
    const struct cmd_def cmd_def_buildx_##name = {                                                                     \
        .path = "buildx " word,                                                                                        \
        .summary = sentence,                                                                                           \
        .interspersed = true,                                                                                          \
        DELEGATED(NO_BUILDERS),                                                                                        \
    }

NEEDS_BUILDERS(bake, "bake", "Build from a file");
NEEDS_BUILDERS(create, "create", "Create a new builder instance");
NEEDS_BUILDERS(imagetools, "imagetools", "Commands to work on images in registry");
NEEDS_BUILDERS(inspect, "inspect", "Inspect current builder instance");
NEEDS_BUILDERS(ls, "ls", "List builder instances");
NEEDS_BUILDERS(rm, "rm", "Remove one or more builder instances");
NEEDS_BUILDERS(stop, "stop", "Stop builder instance");
NEEDS_BUILDERS(use, "use", "Set the current builder instance");
