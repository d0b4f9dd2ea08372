/* Images from and to registries and files */
#include "compat/docker/tables.h"

static const struct opt_def options_pull[] = {
    FLAG("all-tags", 'a', "Download all tagged images in the repository", OURS),
    FLAG("disable-content-trust", 0, "Skip image verification", OURS, .def = "true"),
    OPT("platform", 0, OPT_STRING, "string", "Set platform if server is multi-platform capable", OURS),
    FLAG("quiet", 'q', "Suppress verbose output", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_pull = {
    .path = "pull",
    .aliases = "docker image pull, docker pull",
    .usage = "[OPTIONS] NAME[:TAG|@DIGEST]",
    .summary = "Download an image from a registry",
    .options = options_pull,
    .min_args = 1,
    .max_args = 1,
    .interspersed = true,
    .section = SECTION_COMMON,
    OURS,
};

static const struct opt_def options_push[] = {
    FLAG("all-tags", 'a', "Push all tags of an image to the repository", OURS),
    FLAG("disable-content-trust", 0, "Skip image signing", OURS, .def = "true"),
    OPT("platform", 0, OPT_STRING, "string",
        "Push a platform-specific manifest as a single-platform image to the registry.\nImage index won't be pushed, "
        "meaning that other manifests, including attestations won't be preserved.\n'os[/arch[/variant]]': Explicit "
        "platform (eg. linux/amd64)",
        OURS),
    FLAG("quiet", 'q', "Suppress verbose output", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_push = {
    .path = "push",
    .aliases = "docker image push, docker push",
    .usage = "[OPTIONS] NAME[:TAG]",
    .summary = "Upload an image to a registry",
    .options = options_push,
    .min_args = 1,
    .max_args = 1,
    .interspersed = true,
    .section = SECTION_COMMON,
    OURS,
};

static const struct opt_def options_load[] = {
    OPT("input", 'i', OPT_STRING, "string", "Read from tar archive file, instead of STDIN", OURS),
    OPT("platform", 0, OPT_STRING, "string",
        "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", OURS),
    FLAG("quiet", 'q', "Suppress the load output", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_load = {
    .path = "load",
    .aliases = "docker image load, docker load",
    .usage = "[OPTIONS]",
    .summary = "Load an image from a tar archive or STDIN",
    .options = options_load,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_import[] = {
    OPT("change", 'c', OPT_LIST, "list", "Apply Dockerfile instruction to the created image", OURS),
    OPT("message", 'm', OPT_STRING, "string", "Set commit message for imported image", OURS),
    OPT("platform", 0, OPT_STRING, "string", "Set platform if server is multi-platform capable", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_import = {
    .path = "import",
    .aliases = "docker image import, docker import",
    .usage = "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    .summary = "Import the contents from a tarball to create a filesystem image",
    .options = options_import,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_save[] = {
    OPT("output", 'o', OPT_STRING, "string", "Write to a file, instead of STDOUT", OURS),
    OPT("platform", 0, OPT_STRING, "string",
        "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_save = {
    .path = "save",
    .aliases = "docker image save, docker save",
    .usage = "[OPTIONS] IMAGE [IMAGE...]",
    .summary = "Save one or more images to a tar archive (streamed to STDOUT by default)",
    .options = options_save,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};
