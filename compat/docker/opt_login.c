/* Who one is for a registry, and what only the real docker asks one */
#include "compat/docker/tables.h"

static const struct opt_def options_login[] = {
    OPT("password", 'p', OPT_STRING, "string", "Password or Personal Access Token (PAT)", OURS),
    FLAG("password-stdin", 0, "Take the Password or Personal Access Token (PAT) from stdin", OURS),
    OPT("username", 'u', OPT_STRING, "string", "Username", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_login = {
    .path = "login",
    .usage = "[OPTIONS] [SERVER]",
    .summary = "Authenticate to a registry",
    .description = "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    .options = options_login,
    .max_args = 1,
    .interspersed = true,
    .section = SECTION_COMMON,
    OURS,
};

const struct cmd_def cmd_def_logout = {
    .path = "logout",
    .usage = "[SERVER]",
    .summary = "Log out from a registry",
    .description = "Log out from a registry.\nIf no server is specified, the default is defined by the daemon.",
    .max_args = 1,
    .interspersed = true,
    .section = SECTION_COMMON,
    OURS,
};

static const struct opt_def options_manifest_inspect[] = {
    FLAG("insecure", 0, "Allow communication with an insecure registry", OURS),
    FLAG("verbose", 'v', "Output additional info including layers and platform", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_manifest_inspect = {
    .path = "manifest inspect",
    .usage = "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    .summary = "Display an image manifest, or manifest list",
    .description = "Display an image manifest, or manifest list\n\n"
                   "EXPERIMENTAL:\n"
                   "  docker manifest inspect is an experimental feature.\n"
                   "  Experimental features provide early access to product functionality. These\n"
                   "  features may change between releases without warning, or can be removed from a\n"
                   "  future release. Learn more about experimental features in our documentation:\n"
                   "  https://docs.docker.com/go/experimental/",
    .options = options_manifest_inspect,
    .min_args = 1,
    .max_args = 2,
    .interspersed = true,
    OURS,
};

static const struct opt_def options_search[] = {
    OPT("filter", 'f', OPT_FILTER, "filter", "Filter output based on conditions provided", REAL_DOCKER),
    OPT("format", 0, OPT_STRING, "string", "Pretty-print search using a Go template", REAL_DOCKER),
    OPT("limit", 0, OPT_INT, "int", "Max number of search results", REAL_DOCKER),
    FLAG("no-trunc", 0, "Don't truncate output", REAL_DOCKER),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_search = {
    .path = "search",
    .usage = "[OPTIONS] TERM",
    .summary = "Search Docker Hub for images",
    .options = options_search,
    .min_args = 1,
    .max_args = 1,
    .interspersed = true,
    .section = SECTION_COMMON,
    DELEGATED(REAL_DOCKER_ONLY),
};
