#include "backends/engine/options.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOKEN_TTL 1200 /* seconds: what clients assume when a token does not say (protocol 1.5) */

const char options_help[] =
    "Usage: atp-engine [OPTIONS]\n"
    "\n"
    "Serves Modal's sandbox protocol on this machine and runs sandboxes as containers.\n"
    "\n"
    "Options:\n"
    "      --socket PATH         Serve on a Unix socket (0600); PATH.env gets the URL and credentials\n"
    "      --listen HOST:PORT    Serve on TCP; port 0 takes a free one. HTTP/2 without TLS, with TLS, and HTTP/1.1 "
    "for\n"
    "                            uploads, told apart by the first bytes\n"
    "      --env-file FILE       Write MODAL_SERVER_URL, MODAL_TOKEN_ID and MODAL_TOKEN_SECRET as shell assignments "
    "to\n"
    "                            FILE (0600) once the engine can be reached\n"
    "      --state-dir DIR       Images, containers and credentials (default: the user's state folder)\n"
    "      --mirror FROM=TO      Pull images of registry FROM from TO (docker.io=localhost:5000); may be repeated\n"
    "      --runtime NAME        crun, runc, runsc or a path (default: $ATP_ENGINE_RUNTIME, else what is installed)\n"
    "      --no-network          Give sandboxes no network\n"
    "      --plain               Speak Modal's protocol and nothing else: no calls and fields of our own, as Modal "
    "itself\n"
    "                            has none (default: $ATP_ENGINE_PLAIN)\n"
    "      --idle-exit SECONDS   End when nobody has been connected and nothing has run for so long\n"
    "      --token-ttl SECONDS   Life of the tokens that clients are given (default: 1200)\n"
    "      --detach              Go to the background; return when the engine can be reached, or with the reason why "
    "not\n"
    "      --log FILE            Append the log to FILE (default: stderr; with --detach engine.log in the state "
    "folder)\n"
    "      --record FILE         Append what each call that makes something asks for to FILE, as JSON (0600; default:\n"
    "                            $ATP_ENGINE_RECORD)\n"
    "      --fault SPEC|@FILE    Make faults on purpose, for tests; PUT /engine/fault changes them, SIGHUP reads @FILE "
    "again\n"
    "      --version             Print the version\n"
    "      --help                Print this text\n"
    "\n"
    "One engine serves a state folder at a time. SIGTERM and SIGINT end it: sandboxes are terminated, nothing is "
    "left.\n";

/* Unsigned number of seconds. */
static int parse_seconds(const char *name, const char *text, unsigned *ret, struct err *err)
{
    char *end;
    unsigned long value;

    errno = 0;
    value = strtoul(text, &end, 10);
    if (!*text || *end || errno || value > INT_MAX || text[0] == '-')
        return err_set(err, 125, "--%s: \"%s\" is not a number of seconds", name, text);
    *ret = (unsigned)value;
    return 0;
}

/* Replaces *slot by an absolute form of path: the engine's working directory changes. */
static int set_path(char **slot, const char *path, struct err *err)
{
    char here[PATH_MAX];

    if (!*path)
        return err_set(err, 125, "an empty path");
    if (path[0] != '/' && !getcwd(here, sizeof(here)))
        return err_set_errno(err, 125, errno, "getcwd");
    free(*slot);
    *slot = path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", here, path);
    return 0;
}

static void set_text(char **slot, const char *text)
{
    free(*slot);
    *slot = xstrdup(text);
}

/* A switch in the environment: anything but "" and "0". */
static bool is_set(const char *name)
{
    const char *value = getenv(name);

    return value && *value && strcmp(value, "0") != 0;
}

enum {
    OPT_SOCKET = 256,
    OPT_LISTEN,
    OPT_ENV_FILE,
    OPT_STATE_DIR,
    OPT_MIRROR,
    OPT_RUNTIME,
    OPT_NO_NETWORK,
    OPT_PLAIN,
    OPT_IDLE_EXIT,
    OPT_TOKEN_TTL,
    OPT_DETACH,
    OPT_LOG,
    OPT_RECORD,
    OPT_FAULT,
    OPT_VERSION,
    OPT_HELP
};

static int take_option(int option, struct engine_config *config, struct err *err)
{
    switch (option) {
    case OPT_SOCKET:
        return set_path(&config->socket_path, optarg, err);
    case OPT_LISTEN:
        set_text(&config->listen, optarg);
        return 0;
    case OPT_ENV_FILE:
        return set_path(&config->env_file, optarg, err);
    case OPT_STATE_DIR:
        return set_path(&config->state_dir, optarg, err);
    case OPT_MIRROR:
        if (!strchr(optarg, '=') || optarg[0] == '=' || !strchr(optarg, '=')[1])
            return err_set(err, 125, "--mirror: \"%s\" is not FROM=TO", optarg);
        strlist_add(&config->mirrors, optarg);
        return 0;
    case OPT_RUNTIME:
        set_text(&config->runtime, optarg);
        return 0;
    case OPT_NO_NETWORK:
        config->network = false;
        return 0;
    case OPT_PLAIN:
        config->plain = true;
        return 0;
    case OPT_IDLE_EXIT:
        return parse_seconds("idle-exit", optarg, &config->idle_exit, err);
    case OPT_TOKEN_TTL:
        return parse_seconds("token-ttl", optarg, &config->token_ttl, err);
    case OPT_DETACH:
        config->detach = true;
        return 0;
    case OPT_LOG:
        return set_path(&config->log_file, optarg, err);
    case OPT_RECORD:
        return set_path(&config->record_file, optarg, err);
    default:
        set_text(&config->fault, optarg);
        return 0;
    }
}

/* What is still missing, and what does not fit together. */
static int complete(struct engine_config *config, struct err *err)
{
    const char *record = getenv("ATP_ENGINE_RECORD");

    if (!config->socket_path && !config->listen)
        return err_set(err, 125, "give --socket PATH or --listen HOST:PORT");
    if (config->token_ttl == 0)
        return err_set(err, 125, "--token-ttl: tokens must live for a second at least");
    if (!config->state_dir) {
        cleanup_free char *dir = fs_state_dir();

        config->state_dir = xasprintf("%s/engine", dir);
    }
    if (!config->record_file && record && *record && set_path(&config->record_file, record, err) < 0)
        return -1;
    if (config->detach && !config->log_file)
        config->log_file = xasprintf("%s/engine.log", config->state_dir);
    return 0;
}

enum options_result options_parse(int argc, char **argv, struct engine_config *config, struct err *err)
{
    static const struct option options[] = {
        {"detach", no_argument, NULL, OPT_DETACH},
        {"env-file", required_argument, NULL, OPT_ENV_FILE},
        {"fault", required_argument, NULL, OPT_FAULT},
        {"help", no_argument, NULL, OPT_HELP},
        {"idle-exit", required_argument, NULL, OPT_IDLE_EXIT},
        {"listen", required_argument, NULL, OPT_LISTEN},
        {"log", required_argument, NULL, OPT_LOG},
        {"mirror", required_argument, NULL, OPT_MIRROR},
        {"no-network", no_argument, NULL, OPT_NO_NETWORK},
        {"plain", no_argument, NULL, OPT_PLAIN},
        {"record", required_argument, NULL, OPT_RECORD},
        {"runtime", required_argument, NULL, OPT_RUNTIME},
        {"socket", required_argument, NULL, OPT_SOCKET},
        {"state-dir", required_argument, NULL, OPT_STATE_DIR},
        {"token-ttl", required_argument, NULL, OPT_TOKEN_TTL},
        {"version", no_argument, NULL, OPT_VERSION},
        {0},
    };
    int option;

    *config = (struct engine_config){.token_ttl = TOKEN_TTL, .network = true, .plain = is_set("ATP_ENGINE_PLAIN")};
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) >= 0) {
        if (option == OPT_HELP)
            return OPTIONS_HELP;
        if (option == OPT_VERSION)
            return OPTIONS_VERSION;
        if (option == '?' || option == ':') {
            err_set(err, 125, "%s %s", option == ':' ? "an argument is missing after" : "unknown option",
                    argv[optind - 1]);
            return OPTIONS_BAD;
        }
        if (take_option(option, config, err) < 0)
            return OPTIONS_BAD;
    }
    if (optind < argc) {
        err_set(err, 125, "unexpected argument \"%s\"", argv[optind]);
        return OPTIONS_BAD;
    }
    return complete(config, err) < 0 ? OPTIONS_BAD : OPTIONS_RUN;
}

void options_clear(struct engine_config *config)
{
    free(config->state_dir);
    free(config->socket_path);
    free(config->listen);
    free(config->env_file);
    free(config->runtime);
    free(config->log_file);
    free(config->record_file);
    free(config->fault);
    strlist_clear(&config->mirrors);
}
