#include "shim/network.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/docker/units.h"
#include "shim/app.h"
#include "shim/container.h"
#include "shim/events.h"
#include "shim/make.h"
#include "shim/pod.h"
#include "translate/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define DAEMON       "Error response from daemon: "
#define MODAL_PREFIX "modal."

static const struct {
    const char *name, *driver;
} predefined[] = {{"bridge", "bridge"}, {"host", "host"}, {"none", "null"}};

#define PREDEFINED_LEN (sizeof(predefined) / sizeof(predefined[0]))

static int fail_as(int code, struct err *err)
{
    if (err)
        err->code = code;
    return -1;
}

static int no_such(const char *word, struct err *err)
{
    err_set(err, 1, DAEMON "network %s not found", word);
    return fail_as(NETWORK_NO_SUCH, err);
}

/* ---- the predefined ones ---- */

/* The same id at every command of this scope. */
static void make_predefined(struct app *app, size_t i, struct state_network *ret)
{
    cleanup_free char *seed = xasprintf("atp-docker network %s %s", app_scope(app), predefined[i].name);
    char hex[2 * SHA256_LEN + 1];
    uint8_t sum[SHA256_LEN];

    sha256(seed, strlen(seed), sum);
    sha256_hex(sum, hex);
    *ret = (struct state_network){
        .id = xstrdup(hex),
        .name = xstrdup(predefined[i].name),
        .driver = xstrdup(predefined[i].driver),
        .labels = xstrdup("[]"),
        .options = xstrdup("[]"),
    };
}

static bool is_predefined_name(const char *name)
{
    for (size_t i = 0; i < PREDEFINED_LEN; i++)
        if (!strcmp(predefined[i].name, name))
            return true;
    return false;
}

bool network_is_predefined(const struct state_network *n)
{
    return is_predefined_name(n->name);
}

/* ---- made ---- */

/* Bridges are all that there is; the words for what a machine could have besides are Docker's own. */
static int check_driver(const struct network_request *r, struct err *err)
{
    if (!r->driver || !*r->driver || !strcmp(r->driver, "bridge"))
        return 0;
    if (!strcmp(r->driver, "host") || !strcmp(r->driver, "null"))
        return err_set(err, 1, DAEMON "only one instance of \"%s\" network is allowed", r->driver);
    if (!strcmp(r->driver, "overlay"))
        return err_set(err, 1,
                       DAEMON "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to "
                              "connect this node to swarm and try again.");
    if (!strcmp(r->driver, "macvlan") || !strcmp(r->driver, "ipvlan"))
        return err_set(err, 125, "--driver %s is not carried out by atp-docker: networks here are bridges", r->driver);
    return err_set(err, 1, DAEMON "plugin \"%s\" not found", r->driver);
}

/* Those that say what the containers may do must hold; names and sizes of a bridge that is not there are only shown. */
static int check_options(const struct strlist *options, struct err *err)
{
    static const char *const closed[] = {"com.docker.network.bridge.enable_icc",
                                         "com.docker.network.bridge.enable_ip_masquerade"};
    cleanup_strlist struct strlist modal = STRLIST_INIT;
    struct modal_options checked;
    int ret;

    for (size_t i = 0; i < options->len; i++)
        if (!strncmp(options->items[i], MODAL_PREFIX, strlen(MODAL_PREFIX)))
            strlist_add(&modal, options->items[i]);
    for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++) {
        const char *value = strlist_env_get(options, closed[i]);
        bool yes = true;

        if (value && (units_parse_bool(value, &yes, NULL) < 0 || !yes))
            return err_set(err, 125, "--opt %s=%s is not carried out by atp-docker: --internal closes a network",
                           closed[i], value);
    }
    modal_options_init(&checked);
    ret = modal_options_from_labels(&checked, &modal, err) < 0 ? -1 : modal_options_check(&checked, err);
    modal_options_clear(&checked);
    return ret;
}

static int make_id(char id[CONTAINER_ID_LEN + 1], struct err *err)
{
    uint8_t random[SHA256_LEN];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return err_set_errno(err, 125, errno, "reading random bytes");
    container_id_make(random, id);
    return 0;
}

/* "K" is "K=" for Docker; sorted, the last of each key, as a JSON array. Owned by caller. */
static char *words_json(const struct strlist *words)
{
    cleanup_strlist struct strlist all = STRLIST_INIT;

    for (size_t i = 0; words && i < words->len; i++) {
        const char *word = words->items[i], *equals = strchr(word, '=');
        cleanup_free char *key = xstrndup(word, equals ? (size_t)(equals - word) : strlen(word));

        strlist_env_set(&all, key, equals ? equals + 1 : "");
    }
    strlist_sort(&all);
    return making_json(&all);
}

int network_create(struct app *app, const struct network_request *request, struct state_network *ret, struct err *err)
{
    static const struct strlist none = STRLIST_INIT;
    char id[CONTAINER_ID_LEN + 1];
    struct err why = ERR_INIT;

    if (is_predefined_name(request->name))
        return err_set(err, 1, DAEMON "operation is not permitted on predefined %s network", request->name);
    if (check_driver(request, err) < 0 || check_options(request->options ? request->options : &none, err) < 0 ||
        app_state(app, err) < 0 || make_id(id, err) < 0)
        return -1;
    *ret = (struct state_network){
        .id = xstrdup(id),
        .name = xstrdup(request->name),
        .driver = xstrdup("bridge"),
        .labels = words_json(request->labels),
        .options = words_json(request->options),
        .internal = request->internal,
        .attachable = request->attachable,
        .created_ns = container_now_ns(),
    };
    if (!*request->name)
        err_set(&why, 1, "network with name  already exists");
    else if (state_network_add(app->state, ret, &why) == 0) {
        event_network(app, "create", ret->id, ret->name, /* container= */ NULL);
        return 0;
    }
    state_network_clear(ret);
    err_move(err, &why);
    err_wrap(err, "Error response from daemon");
    return fail_as(NETWORK_EXISTS, err);
}

/* ---- found ---- */

int network_find(struct app *app, const char *word, struct state_network *ret, struct err *err)
{
    int got;

    if (app_state(app, err) < 0)
        return -1;
    for (size_t i = 0; i < PREDEFINED_LEN; i++) {
        struct state_network n;

        make_predefined(app, i, &n);
        if (!strcmp(n.name, word) || !strcmp(n.id, word)) {
            *ret = n;
            return 0;
        }
        state_network_clear(&n);
    }
    got = state_network_find(app->state, word, ret, err);
    if (got < 0)
        return err_wrap(err, "Error response from daemon");
    for (size_t i = 0; got == 0 && strlen(word) > 0 && i < PREDEFINED_LEN; i++) {
        make_predefined(app, i, ret);
        if (!strncmp(ret->id, word, strlen(word)))
            return 0;
        state_network_clear(ret);
    }
    return got > 0 ? 0 : no_such(word, err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct state_network *)a)->name, ((const struct state_network *)b)->name);
}

int network_list(struct app *app, struct state_network **ret, size_t *ret_len, struct err *err)
{
    struct state_network *list = NULL;
    size_t len = 0;

    if (app_state(app, err) < 0 || state_network_list(app->state, &list, &len, err) < 0)
        return -1;
    list = xreallocarray(list, len + PREDEFINED_LEN, sizeof(*list));
    for (size_t i = 0; i < PREDEFINED_LEN; i++)
        make_predefined(app, i, &list[len++]);
    qsort(list, len, sizeof(*list), by_name);
    *ret = list;
    *ret_len = len;
    return 0;
}

/* ---- who is in it ---- */

bool network_has(const struct state_network *n, const struct state_container *row)
{
    json_auto_t *ids = row->networks ? json_loads(row->networks, 0, NULL) : NULL;
    const json_t *id;
    size_t i;

    json_array_foreach(ids, i, id)
    {
        if (json_is_string(id) && !strcmp(json_string_value(id), n->id))
            return true;
    }
    return false;
}

static bool is_up(const struct state_container *row)
{
    return row->sandbox_id &&
           (!strcmp(row->status, "running") || !strcmp(row->status, "restarting") || !strcmp(row->status, "paused"));
}

/* Whether a container that runs is in it; what rows say of the others is held against the server first. */
static int has_active(struct app *app, const struct state_network *n, bool *ret, struct err *err)
{
    struct state_container *rows = NULL;
    size_t len = 0;

    *ret = false;
    if (state_container_list(app->state, &rows, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (!*ret && is_up(&rows[i]) && network_has(n, &rows[i])) {
            cleanup_with(container_clear) struct container c;

            container_init(&c, app);
            c.row = rows[i];
            rows[i] = (struct state_container){0};
            container_refresh(&c, NULL); /* one that does not answer counts as it was */
            *ret = is_up(&c.row);
        }
        state_container_clear(&rows[i]);
    }
    free(rows);
    return 0;
}

int network_remove(struct app *app, const char *word, struct err *err)
{
    struct state_network n = {0};
    bool active = false;
    int ret = -1;

    if (network_find(app, word, &n, err) < 0)
        return -1;
    if (network_is_predefined(&n)) {
        err_set(err, 1, DAEMON "%s is a pre-defined network and cannot be removed", n.name);
    } else if (has_active(app, &n, &active, err) == 0 && active) {
        err_set(err, 1, DAEMON "error while removing network: network %s id %s has active endpoints", n.name, n.id);
        fail_as(NETWORK_IN_USE, err);
    } else if (!active) {
        ret = state_network_remove(app->state, n.id, err) < 0 ? -1 : 0;
        if (ret == 0)
            event_network(app, "destroy", n.id, n.name, /* container= */ NULL);
    }
    state_network_clear(&n);
    return ret;
}

/* ---- joined ---- */

int network_resolve(struct app *app, struct container_spec *spec, bool must, struct err *err)
{
    for (size_t i = 0; i < spec->networks.len; i++) {
        struct network_join *join = &spec->networks.items[i];
        struct state_network n = {0};
        struct err why = ERR_INIT;
        int got = app_state(app, err) < 0 ? -1 : 0;

        if (got == 0)
            got = join->id ? network_find(app, join->id, &n, &why) : -1;
        if (got < 0) {
            err_clear(&why);
            got = network_find(app, join->name, &n, &why);
        }
        if (got < 0 && (must || why.code != NETWORK_NO_SUCH))
            return err_move(err, &why);
        err_clear(&why);
        if (got < 0)
            continue;
        free(join->name);
        free(join->id);
        join->name = xstrdup(n.name);
        join->id = xstrdup(n.id);
        join->internal = n.internal;
        state_network_clear(&n);
    }
    return 0;
}

char *network_ids(const struct network_joins *joins)
{
    cleanup_strlist struct strlist ids = STRLIST_INIT;

    for (size_t i = 0; i < joins->len; i++)
        if (joins->items[i].id)
            strlist_add(&ids, joins->items[i].id);
    return ids.len ? making_json(&ids) : NULL;
}

int network_rejoin(struct container *c, struct err *err)
{
    struct state_container *row = &c->row;

    if (!row->recovered) { /* else the spec is not all of it */
        free(row->record);
        row->record = record_encode(&c->spec, &c->process, row->image_id, row->created_ns);
    }
    free(row->networks);
    row->networks = c->spec.network == NETWORK_OWN ? network_ids(&c->spec.networks) : NULL;
    return state_container_update(c->app->state, row, STATE_PART_IDENTITY | STATE_PART_NETWORKS, err) < 0 ? -1 : 0;
}

/* ---- shown ---- */

/* "K=V" texts in a JSON array as an object. */
static json_t *as_map(const char *text)
{
    json_auto_t *list = json_loads(text, 0, NULL);
    json_t *map = json_object();
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        const char *word = json_string_value(item), *equals = word ? strchr(word, '=') : NULL;
        cleanup_free char *key = equals ? xstrndup(word, (size_t)(equals - word)) : NULL;

        if (key)
            json_object_set_new(map, key, json_string(equals + 1));
    }
    return map;
}

/* Whether a container is in one of the predefined: its record says which. */
static bool is_in_predefined(const struct state_network *n, const struct state_container *row)
{
    json_auto_t *record = row->record && !row->networks ? json_loads(row->record, 0, NULL) : NULL;
    const char *mode = json_string_value(json_object_get(json_object_get(record, "HostConfig"), "NetworkMode"));

    return mode && !strcmp(mode, n->name);
}

static void add_endpoint(struct app *app, struct state_container *row, json_t *map)
{
    cleanup_with(container_clear) struct container c;
    cleanup_free char *address = NULL;

    container_init(&c, app);
    c.row = *row;
    *row = (struct state_container){0};
    address = pod_address(&c);
    json_object_set_new(map, c.row.id,
                        json_pack("{s:s, s:s, s:s, s:s, s:s}", "Name", c.row.name, "EndpointID", "", "MacAddress", "",
                                  "IPv4Address", address ? address : "", "IPv6Address", ""));
}

/* Its containers that run. */
static json_t *members(struct app *app, const struct state_network *n, struct err *err)
{
    bool ours = !network_is_predefined(n);
    struct state_container *rows = NULL;
    json_t *map;
    size_t len = 0;

    if (state_container_list(app->state, &rows, &len, err) < 0)
        return NULL;
    map = json_object();
    for (size_t i = 0; i < len; i++) {
        if (is_up(&rows[i]) && (ours ? network_has(n, &rows[i]) : is_in_predefined(n, &rows[i])))
            add_endpoint(app, &rows[i], map);
        state_container_clear(&rows[i]);
    }
    free(rows);
    return map;
}

json_t *network_inspect(struct app *app, const struct state_network *n, struct err *err)
{
    cleanup_free char *created = units_stamp(n->created_ns);
    json_t *containers = members(app, n, err);
    bool own = !network_is_predefined(n);

    if (!containers)
        return NULL;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:{s:s, s:o, s:[]}, s:b, s:b, s:b, s:{s:s}, s:b, s:o, s:o, "
                     "s:o}",
                     "Name", n->name, "Id", n->id, "Created", created, "Scope", "local", "Driver", n->driver,
                     "EnableIPv4", 1, "EnableIPv6", 0, "IPAM", "Driver", "default", "Options",
                     own ? json_object() : json_null(), "Config", "Internal", n->internal, "Attachable", n->attachable,
                     "Ingress", 0, "ConfigFrom", "Network", "", "ConfigOnly", 0, "Containers", containers, "Options",
                     as_map(n->options), "Labels", as_map(n->labels));
}
