/* Files and images out of containers */
#include "compat/docker/tables.h"

static const struct opt_def options_cp[] = {
    FLAG("archive", 'a', "Archive mode (copy all uid/gid information)", OURS),
    FLAG("follow-link", 'L', "Always follow symbol link in SRC_PATH", OURS),
    FLAG("quiet", 'q',
         "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached",
         OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_cp = {
    .path = "cp",
    .aliases = "docker container cp, docker cp",
    .usage = "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tdocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    .summary = "Copy files/folders between a container and the local filesystem",
    .description = "Copy files/folders between a container and the local filesystem\n\nUse '-' as the source to read a "
                   "tar archive from stdin\nand extract it to a directory destination in a container.\nUse '-' as the "
                   "destination to stream a tar archive of a\ncontainer source to stdout.",
    .options = options_cp,
    .min_args = 2,
    .max_args = 2,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_commit[] = {
    OPT("author", 'a', OPT_STRING, "string", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")", OURS),
    OPT("change", 'c', OPT_LIST, "list", "Apply Dockerfile instruction to the created image", OURS),
    OPT("message", 'm', OPT_STRING, "string", "Commit message", OURS),
    FLAG("pause", 'p', "Pause container during commit", OURS, .def = "true"),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_commit = {
    .path = "commit",
    .aliases = "docker container commit, docker commit",
    .usage = "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    .summary = "Create a new image from a container's changes",
    .options = options_commit,
    .min_args = 1,
    .max_args = 2,
    OURS,
};

static const struct opt_def options_export[] = {
    OPT("output", 'o', OPT_STRING, "string", "Write to a file, instead of STDOUT", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_export = {
    .path = "export",
    .aliases = "docker container export, docker export",
    .usage = "[OPTIONS] CONTAINER",
    .summary = "Export a container's filesystem as a tar archive",
    .options = options_export,
    .min_args = 1,
    .max_args = 1,
    .interspersed = true,
    OURS,
};
