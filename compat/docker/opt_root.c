/* docker itself: its global options */
#include "compat/docker/tables.h"

static const struct opt_def options_root[] = {
    OPT("config", 0, OPT_STRING, "string", "Location of client config files", OURS, .def = "", .flags = OPT_CONFIG_DIR),
    OPT("context", 'c', OPT_STRING, "string",
        "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set "
        "with \"docker context use\")",
        DELEGATED(NAMED_DAEMON)),
    FLAG("debug", 'D', "Enable debug mode", OURS),
    OPT("host", 'H', OPT_LIST, "list", "Daemon socket to connect to", DELEGATED(NAMED_DAEMON)),
    OPT("log-level", 'l', OPT_STRING, "string",
        "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")", OURS, .def = "info"),
    FLAG("tls", 0, "Use TLS; implied by --tlsverify", DELEGATED(NAMED_DAEMON)),
    OPT("tlscacert", 0, OPT_STRING, "string", "Trust certs signed only by this CA", DELEGATED(NAMED_DAEMON),
        .def = "ca.pem", .flags = OPT_CONFIG_DIR),
    OPT("tlscert", 0, OPT_STRING, "string", "Path to TLS certificate file", DELEGATED(NAMED_DAEMON), .def = "cert.pem",
        .flags = OPT_CONFIG_DIR),
    OPT("tlskey", 0, OPT_STRING, "string", "Path to TLS key file", DELEGATED(NAMED_DAEMON), .def = "key.pem",
        .flags = OPT_CONFIG_DIR),
    FLAG("tlsverify", 0, "Use TLS and verify the remote", DELEGATED(NAMED_DAEMON)),
    FLAG("version", 'v', "Print version information and quit", OURS),
    END_OF_OPTIONS,
};

const struct cmd_def cmd_def_root = {
    .path = "",
    .usage = "[OPTIONS] COMMAND [ARG...]",
    .summary = "A self-sufficient runtime for containers",
    .options = options_root,
    .max_args = -1,
    .group = true,
    OURS,
};
