#include "backends/local/local.h"
#include "backends/state/state.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/units.h"
#include "compat/sys/fs.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/listing.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Containers by state, and images. */
struct counts {
    int containers, running, stopped, images;
};

static int count(struct app *app, struct counts *ret, struct err *err)
{
    struct state_container *containers = NULL;
    struct state_image *images = NULL;
    size_t n_containers = 0, n_images = 0;

    if (state_container_list(app->state, &containers, &n_containers, err) < 0 ||
        state_image_list(app->state, &images, &n_images, err) < 0)
        return -1;
    *ret = (struct counts){.containers = (int)n_containers, .images = (int)n_images};
    for (size_t i = 0; i < n_containers; i++) {
        ret->running += !strcmp(containers[i].status, "running");
        state_container_clear(&containers[i]);
    }
    for (size_t i = 0; i < n_images; i++)
        state_image_clear(&images[i]);
    ret->stopped = ret->containers - ret->running;
    free(containers);
    free(images);
    return 0;
}

/* What the engine on this machine says of itself; ret stays empty while none runs, and for Modal. */
static bool look_at_engine(struct app *app, struct local_engine *ret)
{
    cleanup_free char *runtime_dir = fs_runtime_dir(), *state_dir = fs_state_dir();
    const struct local_config config = {.runtime_dir = runtime_dir, .state_dir = state_dir};

    return app->route->backend == BACKEND_LOCAL && local_engine_runs(&config, ret);
}

/* Where the engine is and whether it runs now. Owned by caller. */
static char *server_text(struct app *app, bool runs)
{
    cleanup_free char *runtime_dir = fs_runtime_dir();

    if (app->route->backend == BACKEND_MODAL)
        return xasprintf("%s (credentials: %s)", app->credentials->server_url, app->credentials->source);
    return xasprintf("unix://%s/engine.sock (%s)", runtime_dir, runs ? "running" : "started by the first container");
}

/* Docker's words before each. */
static json_t *warnings_json(const struct local_engine *engine)
{
    const char *const reasons[] = {engine->no_network, engine->no_limits};
    json_t *list = json_array();

    for (size_t i = 0; i < 2; i++)
        if (reasons[i])
            json_array_append_new(list, json_sprintf("WARNING: %s%s", i ? "no limits: " : "", reasons[i]));
    return list;
}

/* The fields of Docker's answer that have a meaning here, under Docker's names. */
static json_t *info_json(struct app *app, const struct counts *n)
{
    struct local_engine engine = {0};
    cleanup_free char *server = server_text(app, look_at_engine(app, &engine));
    int64_t memory = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    bool local = app->route->backend == BACKEND_LOCAL;
    struct utsname uts;
    json_t *info;

    uname(&uts);
    info = json_pack(
        "{s:s, s:i, s:i, s:i, s:i, s:i, s:s, s:[[s,s],[s,s],[s,s]], s:b, s:i, s:I, s:s, s:s, s:s, s:s, "
        "s:s, s:s, s:{}, s:s,"
        " s:[], s:o}",
        "ID", app_scope(app), "Containers", n->containers, "ContainersRunning", n->running, "ContainersPaused", 0,
        "ContainersStopped", n->stopped, "Images", n->images, "Driver", local ? "atp-engine" : "modal", "DriverStatus",
        "Back end", backend_name(app->route->backend), "Why", app->route->why, "Server", server, "MemoryLimit",
        engine.no_limits == NULL, "NCPU", local ? (int)sysconf(_SC_NPROCESSORS_ONLN) : 0, "MemTotal",
        (json_int_t)(local ? memory : 0), "OperatingSystem", local ? "atp-engine on this machine" : "Modal", "OSType",
        "linux", "Architecture", "x86_64", "KernelVersion", local ? uts.release : "", "ServerVersion", "28.2.2", "Name",
        uts.nodename, "Runtimes", "DefaultRuntime", "", "SecurityOptions", "Warnings", warnings_json(&engine));
    if (local && geteuid() != 0)
        json_array_append_new(json_object_get(info, "SecurityOptions"), json_string("name=rootless"));
    json_object_set_new(info, "ClientInfo",
                        json_pack("{s:s, s:s, s:b}", "Version", "28.2.2", "Context", "default", "Debug", 0));
    local_engine_clear(&engine);
    return info;
}

/* The text form: Docker's layout for what there is to say. */
static void print_text(json_t *info)
{
    json_t *row;
    size_t i;

    printf("Client: atp-docker\n Version:    28.2.2 (atp-docker " ATP_VERSION ")\n Context:    default\n\nServer:\n");
    printf(" Containers: %d\n  Running: %d\n  Paused: 0\n  Stopped: %d\n Images: %d\n",
           (int)json_integer_value(json_object_get(info, "Containers")),
           (int)json_integer_value(json_object_get(info, "ContainersRunning")),
           (int)json_integer_value(json_object_get(info, "ContainersStopped")),
           (int)json_integer_value(json_object_get(info, "Images")));
    printf(" Server Version: %s\n Storage Driver: %s\n", json_string_value(json_object_get(info, "ServerVersion")),
           json_string_value(json_object_get(info, "Driver")));
    json_array_foreach(json_object_get(info, "DriverStatus"), i, row)
        printf("  %s: %s\n", json_string_value(json_array_get(row, 0)), json_string_value(json_array_get(row, 1)));
    if (json_array_size(json_object_get(info, "SecurityOptions")))
        printf(" Security Options:\n  rootless\n");
    printf(" Operating System: %s\n OSType: linux\n Architecture: x86_64\n",
           json_string_value(json_object_get(info, "OperatingSystem")));
    if (json_integer_value(json_object_get(info, "NCPU"))) {
        cleanup_free char *memory = units_size_binary((double)json_integer_value(json_object_get(info, "MemTotal")));

        printf(" CPUs: %d\n Total Memory: %s\n", (int)json_integer_value(json_object_get(info, "NCPU")), memory);
    }
    printf(" Name: %s\n ID: %s\n", json_string_value(json_object_get(info, "Name")),
           json_string_value(json_object_get(info, "ID")));
    fflush(stdout);
    json_array_foreach(json_object_get(info, "Warnings"), i, row) fprintf(stderr, "%s\n", json_string_value(row));
}

static int info_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const char *format = opt_str(opts, "format");
    struct counts n;
    json_t *info;
    int ret = 0;

    if (app_state(app, err) < 0 || count(app, &n, err) < 0)
        return -1;
    info = info_json(app, &n);
    if (!*format)
        print_text(info);
    else
        ret = listing_print_one(format, "", "system.dockerInfo", info, err);
    json_decref(info);
    return ret;
}

extern const struct cmd_def cmd_def_info;

const struct command cmd_info = {.def = &cmd_def_info, .errors = ERROR_PLAIN, .run = info_run};
