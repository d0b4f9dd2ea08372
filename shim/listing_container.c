#include "backends/state/state.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/docker/json_text.h"
#include "compat/docker/units.h"
#include "shim/app.h"
#include "shim/listing.h"
#include "shim/tunnels.h"
#include "translate/ports.h"
#include "translate/record.h"

#include <string.h>
#include <time.h>

/* What a row says that has no record: enough for ps, and for inspect to say whose container it was. */
static json_t *bare_record(const struct state_container *row)
{
    cleanup_free char *created = units_stamp(row->created_ns), *name = xasprintf("/%s", row->name);
    json_t *argv = json_loads(row->command ? row->command : "[]", 0, NULL), *args = json_copy(argv);
    json_t *labels = json_loads(row->labels ? row->labels : "[]", 0, NULL), *map = json_object(), *label;
    const char *path = json_string_value(json_array_get(argv, 0));
    size_t i;

    json_array_remove(args, 0);
    json_array_foreach(labels, i, label)
    {
        const char *text = json_string_value(label);
        cleanup_free char *key = xstrndup(text ? text : "", strcspn(text ? text : "", "="));

        if (text)
            json_object_set_new(map, key, json_string(text[strlen(key)] ? text + strlen(key) + 1 : ""));
    }
    json_decref(labels);
    return json_pack("{s:s, s:s, s:s, s:o, s:n, s:s, s:s, s:s, s:i, s:{s:b}, s:[], s:{s:o, s:s, s:o}, s:{s:{}}}", "Id",
                     row->id, "Created", created, "Path", path ? path : "", "Args", args, "State", "Image",
                     row->image_id ? row->image_id : "", "LogPath", "", "Name", name, "RestartCount", 0, "HostConfig",
                     "AutoRemove", row->auto_remove, "Mounts", "Config", "Cmd", argv, "Image", row->image, "Labels",
                     map, "NetworkSettings", "Ports");
}

/* Docker's State. A container that is to be started again counts as running. */
static json_t *state_json(const struct state_container *row)
{
    cleanup_free char *started = units_stamp(row->started_ns), *finished = units_stamp(row->finished_ns);
    bool restarting = strcmp(row->status, "restarting") == 0, running = strcmp(row->status, "running") == 0;
    bool paused = strcmp(row->status, "paused") == 0;
    json_t *state, *health = row->health ? json_loads(row->health, 0, NULL) : NULL;

    state = json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:i, s:i, s:s, s:s, s:s}", "Status", row->status, "Running",
                      running || restarting || paused, "Paused", paused, "Restarting", restarting, "OOMKilled", 0,
                      "Dead", 0, "Pid", running || paused ? 1 : 0, "ExitCode", running || paused ? 0 : row->exit_code,
                      "Error", row->error ? row->error : "", "StartedAt", started, "FinishedAt", finished);
    if (health)
        json_object_set_new(state, "Health", health);
    return state;
}

/* NetworkSettings.Ports of one that runs: what is published, and what is exposed only. */
static json_t *ports_json(const struct state_container *row, json_t *root)
{
    json_t *exposed = json_object_get(json_object_get(root, "Config"), "ExposedPorts");
    json_auto_t *bound = row->ports ? json_loads(row->ports, 0, NULL) : NULL;
    cleanup_strlist struct strlist names = STRLIST_INIT;

    for (void *at = json_object_iter(exposed); at; at = json_object_iter_next(exposed, at))
        strlist_add(&names, json_object_iter_key(at));
    return ports_settings_json(bound, &names);
}

/* Go's nil slices and maps: [] and map[] for templates, null in JSON. */
static void set_nil(json_t *object, json_t *nil, const char *const *keys)
{
    for (; *keys; keys++)
        if (json_is_null(json_object_get(object, *keys)))
            json_object_set(object, *keys, nil);
}

static void set_nils(json_t *root)
{
    static const char *const
        of_root[] = {"ExecIDs", NULL},
        *const of_driver[] = {"Data", NULL}, *const config_maps[] = {"Volumes", NULL},
        *const config_lists[] = {"Cmd", "Entrypoint", "OnBuild", NULL},
        *const of_network[] = {"SecondaryIPAddresses", "SecondaryIPv6Addresses", NULL},
        *const of_endpoint[] = {"Links", "Aliases", "DNSNames", NULL}, *const endpoint_maps[] = {"DriverOpts", NULL},
        *const host_lists[] = {"Binds",          "VolumesFrom", "CapAdd",        "CapDrop", "GroupAdd",
                               "ExtraHosts",     "Links",       "SecurityOpt",   "Ulimits", "DeviceCgroupRules",
                               "DeviceRequests", "MaskedPaths", "ReadonlyPaths", NULL};
    json_t *network = json_object_get(root, "NetworkSettings"), *networks = json_object_get(network, "Networks"), *one;
    json_t *ports = json_object_get(network, "Ports");
    const char *key;

    set_nil(root, json_nil_list(), of_root);
    set_nil(json_object_get(root, "GraphDriver"), json_nil_map(), of_driver);
    set_nil(json_object_get(root, "Config"), json_nil_map(), config_maps);
    set_nil(json_object_get(root, "Config"), json_nil_list(), config_lists);
    set_nil(json_object_get(root, "HostConfig"), json_nil_list(), host_lists);
    set_nil(network, json_nil_list(), of_network);
    json_object_foreach(networks, key, one)
    {
        set_nil(one, json_nil_list(), of_endpoint);
        set_nil(one, json_nil_map(), endpoint_maps);
    }
    json_object_foreach(ports, key, one) if (json_is_null(one)) json_object_set(ports, key, json_nil_list());
}

int64_t listing_image_size(struct app *app, const char *image_id)
{
    struct state_image image = {0};
    int64_t size = 0;

    if (image_id && state_image_kept(app->state, image_id, &image, NULL) > 0)
        size = image.size;
    state_image_clear(&image);
    return size;
}

/* SizeRw and SizeRootFs have their place after GraphDriver. */
static json_t *with_size(json_t *root, int64_t size)
{
    json_t *sized = json_object(), *value;
    const char *key;

    json_object_foreach(root, key, value)
    {
        json_object_set(sized, key, value);
        if (strcmp(key, "GraphDriver") != 0)
            continue;
        json_object_set_new(sized, "SizeRw", json_integer(0));
        json_object_set_new(sized, "SizeRootFs", json_integer(size));
    }
    json_decref(root);
    return sized;
}

json_t *listing_container(struct app *app, const struct state_container *row, bool size)
{
    json_t *root = row->record ? json_loads(row->record, 0, NULL) : NULL;
    json_t *state = state_json(row);

    if (!json_is_object(root)) {
        json_decref(root);
        root = bare_record(row);
    }
    json_object_set_new(root, "RestartCount", json_integer(row->restarts));
    if (json_object_get(root, "NetworkSettings"))
        json_object_set_new(json_object_get(root, "NetworkSettings"), "Ports",
                            json_is_true(json_object_get(state, "Running")) ? ports_json(row, root) : json_object());
    if (json_is_true(json_object_get(state, "Running")))
        tunnels_show(app, row, root);
    json_object_set_new(root, "State", state);
    set_nils(root);
    return size ? with_size(root, listing_image_size(app, row->image_id)) : root;
}

/* What an object leaves out. It is known by a field that it always has. */
static const struct absent {
    const char *known_by, *name;
    enum { ABSENT_NULL, ABSENT_TEXT, ABSENT_LIST, ABSENT_MAP, ABSENT_FALSE, ABSENT_INT } kind;
} absents[] = {
    {"StartedAt", "Health", ABSENT_NULL},       {"WorkingDir", "ArgsEscaped", ABSENT_FALSE},
    {"WorkingDir", "ExposedPorts", ABSENT_MAP}, {"WorkingDir", "Healthcheck", ABSENT_NULL},
    {"WorkingDir", "MacAddress", ABSENT_TEXT},  {"WorkingDir", "NetworkDisabled", ABSENT_FALSE},
    {"WorkingDir", "Shell", ABSENT_LIST},       {"WorkingDir", "StopSignal", ABSENT_TEXT},
    {"WorkingDir", "StopTimeout", ABSENT_NULL}, {"NetworkMode", "Annotations", ABSENT_MAP},
    {"NetworkMode", "Init", ABSENT_NULL},       {"NetworkMode", "KernelMemoryTCP", ABSENT_INT},
    {"NetworkMode", "Mounts", ABSENT_LIST},     {"NetworkMode", "StorageOpt", ABSENT_MAP},
    {"NetworkMode", "Sysctls", ABSENT_MAP},     {"NetworkMode", "Tmpfs", ABSENT_MAP},
    {"HostConfig", "SizeRootFs", ABSENT_NULL},  {"HostConfig", "SizeRw", ABSENT_NULL},
    {"RootFS", "OsVersion", ABSENT_TEXT},       {"RootFS", "Variant", ABSENT_TEXT},
};

json_t *listing_absent(const json_t *object, const char *name)
{
    json_t *id = json_object_get(object, "Id");

    if (id && strcmp(name, "ID") == 0)
        return json_incref(id);
    for (size_t i = 0; i < sizeof(absents) / sizeof(absents[0]); i++) {
        if (strcmp(absents[i].name, name) != 0 || !json_object_get(object, absents[i].known_by))
            continue;
        switch (absents[i].kind) {
        case ABSENT_NULL:
            return json_null();
        case ABSENT_TEXT:
            return json_string("");
        case ABSENT_LIST:
            return json_incref(json_nil_list());
        case ABSENT_MAP:
            return json_incref(json_nil_map());
        case ABSENT_FALSE:
            return json_false();
        case ABSENT_INT:
            return json_integer(0);
        }
    }
    return NULL;
}

char *listing_time(int64_t seconds)
{
    time_t at = (time_t)seconds;
    char text[64];
    struct tm tm;

    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %z %Z", localtime_r(&at, &tm));
    return xstrdup(text);
}
