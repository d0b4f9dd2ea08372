/* Into running containers: exec and attach */
#include "compat/docker/tables.h"

static const struct opt_def options_exec[] = {
    FLAG("detach", 'd', "Detached mode: run command in the background", OURS),
    OPT("detach-keys", 0, OPT_STRING, "string", "Override the key sequence for detaching a container", OURS),
    OPT("env", 'e', OPT_LIST, "list", "Set environment variables", OURS, .check = opt_check_env),
    OPT("env-file", 0, OPT_LIST, "list", "Read in a file of environment variables", OURS),
    FLAG("interactive", 'i', "Keep STDIN open even if not attached", OURS),
    FLAG("privileged", 0, "Give extended privileges to the command", REFUSED(FIXED_POWERS)),
    FLAG("tty", 't', "Allocate a pseudo-TTY", OURS),
    OPT("user", 'u', OPT_STRING, "string", "Username or UID (format: \"<name|uid>[:<group|gid>]\")", OURS),
    OPT("workdir", 'w', OPT_STRING, "string", "Working directory inside the container", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_exec = {
    .path = "exec",
    .aliases = "docker container exec, docker exec",
    .usage = "[OPTIONS] CONTAINER COMMAND [ARG...]",
    .summary = "Execute a command in a running container",
    .options = options_exec,
    .min_args = 2,
    .max_args = -1,
    .section = SECTION_COMMON,
    OURS,
};

static const struct opt_def options_attach[] = {
    OPT("detach-keys", 0, OPT_STRING, "string", "Override the key sequence for detaching a container", OURS),
    FLAG("no-stdin", 0, "Do not attach STDIN", OURS),
    FLAG("sig-proxy", 0, "Proxy all received signals to the process", OURS, .def = "true"),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_attach = {
    .path = "attach",
    .aliases = "docker container attach, docker attach",
    .usage = "[OPTIONS] CONTAINER",
    .summary = "Attach local standard input, output, and error streams to a running container",
    .options = options_attach,
    .min_args = 1,
    .max_args = 1,
    .interspersed = true,
    OURS,
};
