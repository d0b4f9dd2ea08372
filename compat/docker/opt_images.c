/* Images on this machine */
#include "compat/docker/tables.h"

static const struct opt_def options_images[] = {
    FLAG("all", 'a', "Show all images", OURS, .def = "hides intermediate images"),
    FLAG("digests", 0, "Show digests", OURS),
    OPT("filter", 'f', OPT_FILTER, "filter", "Filter output based on conditions provided", OURS),
    OPT("format", 0, OPT_STRING, "string", FORMAT_HELP, OURS),
    FLAG("no-trunc", 0, "Don't truncate output", OURS),
    FLAG("quiet", 'q', "Only show image IDs", OURS),
    FLAG("tree", 0, "List multi-platform images as a tree (EXPERIMENTAL)", LATER),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_images = {
    .path = "images",
    .aliases = "docker image ls, docker image list, docker images",
    .usage = "[OPTIONS] [REPOSITORY[:TAG]]",
    .summary = "List images",
    .options = options_images,
    .max_args = 1,
    .interspersed = true,
    .section = SECTION_COMMON,
    OURS,
};

static const struct opt_def options_rmi[] = {
    FLAG("force", 'f', "Force removal of the image", OURS),
    FLAG("no-prune", 0, "Do not delete untagged parents", OURS),
    OPT("platform", 0, OPT_STRINGS, "strings",
        "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_rmi = {
    .path = "rmi",
    .aliases = "docker image rm, docker image remove, docker rmi",
    .usage = "[OPTIONS] IMAGE [IMAGE...]",
    .summary = "Remove one or more images",
    .options = options_rmi,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_image_inspect[] = {
    OPT("format", 'f', OPT_STRING, "string", INSPECT_FORMAT_HELP, OURS),
    OPT("platform", 0, OPT_STRING, "string",
        "Inspect a specific platform of the multi-platform image.\nIf the image or the server is not multi-platform "
        "capable, the command will error out if the platform does not match.\n'os[/arch[/variant]]': Explicit platform "
        "(eg. linux/amd64)",
        OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_image_inspect = {
    .path = "image inspect",
    .usage = "[OPTIONS] IMAGE [IMAGE...]",
    .summary = "Display detailed information on one or more images",
    .options = options_image_inspect,
    .min_args = 1,
    .max_args = -1,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_image_prune[] = {
    FLAG("all", 'a', "Remove all unused images, not just dangling ones", OURS),
    OPT("filter", 0, OPT_FILTER, "filter", "Provide filter values (e.g. \"until=<timestamp>\")", OURS),
    FLAG("force", 'f', "Do not prompt for confirmation", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_image_prune = {
    .path = "image prune",
    .usage = "[OPTIONS]",
    .summary = "Remove unused images",
    .options = options_image_prune,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_history[] = {
    OPT("format", 0, OPT_STRING, "string", FORMAT_HELP, OURS),
    FLAG("human", 'H', "Print sizes and dates in human readable format", OURS, .def = "true"),
    FLAG("no-trunc", 0, "Don't truncate output", OURS),
    OPT("platform", 0, OPT_STRING, "string",
        "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")", OURS),
    FLAG("quiet", 'q', "Only show image IDs", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_history = {
    .path = "history",
    .aliases = "docker image history, docker history",
    .usage = "[OPTIONS] IMAGE",
    .summary = "Show the history of an image",
    .options = options_history,
    .min_args = 1,
    .max_args = 1,
    .interspersed = true,
    OURS,
};

const struct cmd_def cmd_def_tag = {
    .path = "tag",
    .aliases = "docker image tag, docker tag",
    .usage = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    .summary = "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    .min_args = 2,
    .max_args = 2,
    OURS,
};
