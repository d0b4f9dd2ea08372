#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/listing.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

/*
 * The Docker whose words and behaviour are reproduced (docker-cli.md): programs compare it with what they need, so it
 * is a plain semantic version. What atp-docker itself is stands in the server's platform and in the commit.
 */
#define DOCKER_VERSION "28.2.2"
#define API_VERSION    "1.50"
#define MIN_API        "1.24"
#define COMMIT         "atp-docker-" ATP_VERSION

int print_version_line(void)
{
    puts("Docker version " DOCKER_VERSION ", build " COMMIT);
    return 0;
}

static const char *architecture(const struct utsname *uts)
{
    if (!strcmp(uts->machine, "x86_64"))
        return "amd64";
    return !strcmp(uts->machine, "aarch64") ? "arm64" : uts->machine;
}

/* "atp-docker 0.1.0 (embedded engine)". Owned by caller. */
static char *platform_name(const struct app *app)
{
    return xasprintf("atp-docker " ATP_VERSION " (%s)",
                     app->route->backend == BACKEND_LOCAL ? "embedded engine" : "Modal sandboxes");
}

/* Docker's two halves, with JSON's names. */
static json_t *version_json(const struct app *app)
{
    cleanup_free char *platform = platform_name(app);
    struct utsname uts;

    uname(&uts);
    return json_pack(
        "{s:{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}, s:{s:{s:s}, s:[{s:s, s:s, s:{s:s}}], s:s, s:s, s:s,"
        " s:s, s:s, s:s, s:s, s:s, s:s}}",
        "Client", "Version", DOCKER_VERSION, "ApiVersion", API_VERSION, "DefaultAPIVersion", API_VERSION, "GitCommit",
        COMMIT, "GoVersion", "none", "Os", "linux", "Arch", architecture(&uts), "BuildTime", "", "Context", "default",
        "Server", "Platform", "Name", platform, "Components", "Name", "Engine", "Version", DOCKER_VERSION, "Details",
        "GitCommit", COMMIT, "Version", DOCKER_VERSION, "ApiVersion", API_VERSION, "MinAPIVersion", MIN_API,
        "GitCommit", COMMIT, "GoVersion", "none", "Os", "linux", "Arch", "amd64", "KernelVersion", uts.release,
        "BuildTime", "");
}

/* A template sees Go's names, which differ from JSON's in one place. */
static void add_go_names(json_t *version)
{
    const char *key;
    json_t *half;

    json_object_foreach(version, key, half) json_object_set(half, "APIVersion", json_object_get(half, "ApiVersion"));
}

static const char *text_of(const json_t *half, const char *key)
{
    return json_string_value(json_object_get(half, key));
}

/* Docker's text blocks. */
static void print_blocks(const json_t *version)
{
    const json_t *client = json_object_get(version, "Client"), *server = json_object_get(version, "Server");

    printf("Client: atp-docker\n");
    printf(" Version:           %s\n API version:       %s\n Git commit:        %s\n OS/Arch:           %s/%s\n "
           "Context:           %s\n",
           text_of(client, "Version"), text_of(client, "ApiVersion"), COMMIT, text_of(client, "Os"),
           text_of(client, "Arch"), text_of(client, "Context"));
    printf("\nServer: %s\n Engine:\n", text_of(json_object_get(server, "Platform"), "Name"));
    printf("  Version:          %s\n  API version:      %s (minimum version %s)\n  Git commit:       %s\n  OS/Arch:    "
           "      %s/%s\n",
           text_of(server, "Version"), text_of(server, "ApiVersion"), MIN_API, COMMIT, text_of(server, "Os"),
           text_of(server, "Arch"));
}

static int version_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const char *format = opt_str(opts, "format");
    json_t *version = version_json(app);
    bool as_json = !strcmp(format, "json") || !strcmp(format, "{{json .}}");
    int ret = 0;

    if (!*format) {
        print_blocks(version);
    } else {
        if (!as_json)
            add_go_names(version);
        ret = listing_print_one(as_json ? "json" : format, "version", "system.versionInfo", version, err);
    }
    json_decref(version);
    return ret;
}

extern const struct cmd_def cmd_def_version;

const struct command cmd_version = {.def = &cmd_def_version, .errors = ERROR_PLAIN, .run = version_run};
