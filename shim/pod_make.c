/* Which pod, and how one is made: the sandbox whose main container is the hub. */
#include "backends/modal/client.h"
#include "backends/modal/image.h"
#include "backends/modal/sandbox.h"
#include "backends/grpc/frame.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "shim/agent.h"
#include "shim/app.h"
#include "shim/make.h"
#include "shim/network.h"
#include "shim/pod_private.h"
#include "shim/sandbox.h"
#include "translate/modal_pod.h"
#include "translate/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <time.h>

#define MARGIN_SECS   120   /* to bring away what its containers left */
#define LIFETIME_SECS 86400 /* Modal's longest: its containers end before it by their own */
#define RANDOM_LEN    22    /* 6 bytes of id, 16 of token */
#define ID_BYTES      6
#define TAG_MAX       200 /* more names than that are told by nobody */

int pods_lock(struct err *err)
{
    cleanup_free char *state = fs_state_dir(), *path = xasprintf("%s/pods.lock", state);
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_set_errno(err, 125, errno, "open %s", path);
    while (flock(fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return err_set_errno(err, 125, errno, "locking %s", path);
    return steal_fd(&fd);
}

void pod_ids_read(const char *json, struct strlist *ret)
{
    json_auto_t *list = json ? json_loads(json, 0, NULL) : NULL;
    const json_t *id;
    size_t i;

    json_array_foreach(list, i, id)
    {
        if (json_is_string(id) && !strlist_has(ret, json_string_value(id)))
            strlist_add(ret, json_string_value(id));
    }
}

char *pod_ids_text(const struct strlist *ids)
{
    cleanup_strlist struct strlist sorted = STRLIST_INIT;

    strlist_copy(&sorted, ids);
    strlist_sort(&sorted);
    return making_json(&sorted);
}

/* ---- which ---- */

static bool meet(const struct strlist *a, const struct strlist *b)
{
    for (size_t i = 0; i < a->len; i++)
        if (strlist_has(b, a->items[i]))
            return true;
    return false;
}

static void unite(struct strlist *to, const struct strlist *from)
{
    for (size_t i = 0; i < from->len; i++)
        if (!strlist_has(to, from->items[i]))
            strlist_add(to, from->items[i]);
}

/* All networks that containers join to these, in any number of steps. */
static int join_up(struct app *app, struct strlist *ids, struct err *err)
{
    struct state_container *rows = NULL;
    size_t len = 0, before;

    if (state_container_list(app->state, &rows, &len, err) < 0)
        return -1;
    do {
        before = ids->len;
        for (size_t i = 0; i < len; i++) {
            cleanup_strlist struct strlist theirs = STRLIST_INIT;

            pod_ids_read(rows[i].networks, &theirs);
            if (meet(&theirs, ids))
                unite(ids, &theirs);
        }
    } while (ids->len > before);
    for (size_t i = 0; i < len; i++)
        state_container_clear(&rows[i]);
    free(rows);
    return 0;
}

static int new_pod(struct app *app, const struct strlist *ids, struct state_pod *ret, struct err *err)
{
    uint8_t random[RANDOM_LEN];
    char hex[2 * RANDOM_LEN + 1];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return err_set_errno(err, 125, errno, "reading random bytes");
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(hex + 2 * i, 3, "%02x", random[i]);
    *ret = (struct state_pod){
        .id = xasprintf(POD_PREFIX "%.*s", 2 * ID_BYTES, hex),
        .server = xstrdup(app->server_key),
        .app = xstrdup(AGENT_APP),
        .token = xstrdup(hex + 2 * ID_BYTES),
        .networks = pod_ids_text(ids),
        .created_ns = container_now_ns(),
    };
    return 0;
}

/* The one of the list that has one of the networks; a second one is a conflict. */
static int pick(struct state_pod *list, size_t len, const struct strlist *wanted, struct state_pod **ret,
                struct err *err)
{
    for (size_t i = 0; i < len; i++) {
        cleanup_strlist struct strlist theirs = STRLIST_INIT;

        pod_ids_read(list[i].networks, &theirs);
        if (!list[i].sandbox_id || !meet(&theirs, wanted))
            continue;
        if (*ret)
            return err_set(err, 125,
                           "its networks are in two sandboxes that run already, and a container can be in one: stop "
                           "the containers of one network first");
        *ret = &list[i];
    }
    return 0;
}

int pod_choose(struct app *app, const struct network_joins *joins, struct state_pod *ret, struct err *err)
{
    cleanup_strlist struct strlist wanted = STRLIST_INIT, all = STRLIST_INIT;
    struct state_pod *list = NULL, *found = NULL;
    size_t len = 0;
    int status;

    for (size_t i = 0; i < joins->len; i++)
        strlist_add(&wanted, joins->items[i].id);
    if (state_pod_list(app->state, app->server_key, &list, &len, err) < 0)
        return -1;
    status = pick(list, len, &wanted, &found, err);
    if (status == 0 && found) {
        *ret = *found;
        *found = (struct state_pod){0};
        pod_ids_read(ret->networks, &all);
    }
    if (status == 0) {
        unite(&all, &wanted);
        status = join_up(app, &all, err);
    }
    if (status == 0 && !ret->id) {
        status = new_pod(app, &all, ret, err);
    } else if (status == 0) {
        free(ret->networks);
        ret->networks = pod_ids_text(&all);
        status = state_pod_put(app->state, ret, err);
    }
    for (size_t i = 0; i < len; i++)
        state_pod_clear(&list[i]);
    free(list);
    if (status < 0)
        state_pod_clear(ret);
    return status;
}

/* ---- the hub's image ---- */

/* The agent on nothing; the client remembers it. */
static int hub_image(struct app *app, bool anew, char **ret, struct err *err)
{
    struct modal_image_spec spec = {0};
    cleanup_free char *app_id = NULL, *mount_id = NULL;
    struct modal_image built = MODAL_IMAGE_INIT;
    int status = modal_app_id(app->modal, AGENT_APP, &app_id, err);

    if (status == 0)
        status = agent_mount(app->modal, app_id, /* config= */ NULL, &mount_id, err);
    if (status == 0) {
        spec.app_id = app_id;
        spec.context_mount_id = mount_id;
        strlist_add(&spec.commands, "FROM scratch");
        strlist_add(&spec.commands, "COPY . /");
        strlist_add(&spec.commands, "ENTRYPOINT []");
        if (anew)
            modal_image_forget(app->modal, &spec);
        status = modal_image_build(app->modal, &spec, NULL, NULL, &built, err);
    }
    if (status == 0)
        *ret = steal(&built.id);
    modal_image_clear(&built);
    modal_image_spec_clear(&spec);
    return status < 0 ? err_wrap(err, "the image of the networks' hub") : 0;
}

/* By server: what its id is. A server that has lost it is told so by its sandbox's create. */
static char *hub_key(const struct app *app)
{
    return xasprintf("hub image %s %s", ATP_VERSION, app->server_key);
}

#define HUB_IMAGE_SECS (7 * 86400)

int pod_hub_image(struct app *app, bool anew, char **ret, struct err *err)
{
    cleanup_free char *key = hub_key(app);

    if (!anew && state_cache_get(app->state, key, ret, time(NULL), NULL) > 0)
        return 0;
    if (hub_image(app, anew, ret, err) < 0)
        return -1;
    state_cache_put(app->state, key, *ret, time(NULL) + HUB_IMAGE_SECS, NULL);
    return 0;
}

int pod_prepare(struct app *app, struct err *err)
{
    cleanup_free char *image = NULL;

    if (app_state(app, err) < 0 || app_modal(app, err) < 0)
        return -1;
    return pod_hub_image(app, /* anew= */ false, &image, err);
}

/* ---- the sandbox ---- */

/* What all its containers ask for together. One that asks for none may have what there is. */
struct limits {
    uint64_t milli_cpu, memory_mib, reserved_mib;
    bool cpu_open, memory_open;
    bool internal; /* of all networks */
};

static void add_container(const struct state_container *row, struct limits *l)
{
    cleanup_with(process_clear) struct process_spec process = {0};
    cleanup_with(spec_clear) struct container_spec spec;
    cleanup_free char *image_id = NULL;
    int64_t created_ns = 0;

    spec_init(&spec);
    if (!row->record || record_decode(row->record, &spec, &process, &image_id, &created_ns, NULL) < 0)
        return;
    l->milli_cpu += spec.milli_cpu;
    l->memory_mib += spec.memory_mib;
    l->reserved_mib += spec.reserved_mib ? spec.reserved_mib : spec.memory_mib;
    l->cpu_open |= !spec.milli_cpu;
    l->memory_open |= !spec.memory_mib;
}

static int sum_up(struct app *app, const struct strlist *networks, struct limits *ret, struct err *err)
{
    struct state_container *rows = NULL;
    size_t len = 0;

    if (state_container_list(app->state, &rows, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        cleanup_strlist struct strlist theirs = STRLIST_INIT;

        pod_ids_read(rows[i].networks, &theirs);
        if (meet(&theirs, networks))
            add_container(&rows[i], ret);
        state_container_clear(&rows[i]);
    }
    free(rows);
    return 0;
}

/* Whether one of the networks leads out, and what they ask for in sums. *ret_names: for whoever reads the tags. */
static int read_networks(struct app *app, const struct strlist *ids, struct modal_options *options, bool *ret_internal,
                         char **ret_names, struct err *err)
{
    cleanup_buf struct buf names = BUF_INIT(TAG_MAX + 1);

    *ret_internal = true;
    for (size_t i = 0; i < ids->len; i++) {
        cleanup_strlist struct strlist words = STRLIST_INIT;
        struct state_network n = {0};
        int got = state_network_find(app->state, ids->items[i], &n, err);

        if (got < 0)
            return -1;
        if (got == 0)
            continue;
        *ret_internal &= n.internal;
        pod_ids_read(n.options, &words);
        buf_addf(&names, "%s%s", names.len ? "," : "", n.name);
        got = modal_options_from_labels(options, &words, err);
        state_network_clear(&n);
        if (got < 0)
            return -1;
    }
    *ret_names = xstrdup(names.data && !names.overflowed ? names.data : "");
    return 0;
}

static uint32_t fit(uint64_t value)
{
    return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static void set_limits(const struct modal_options *options, const struct limits *l, struct modal_sandbox_spec *ret)
{
    ret->cpu_milli = fit(l->milli_cpu);
    ret->memory_mib = fit(l->reserved_mib);
    ret->cpu_milli_max = l->cpu_open ? 0 : ret->cpu_milli;
    ret->memory_mib_max = l->memory_open ? 0 : fit(l->memory_mib);
    if (modal_given(options, MODAL_KEY_CPU))
        ret->cpu_milli = ret->cpu_milli_max = (uint32_t)modal_int(options, MODAL_KEY_CPU);
    if (modal_given(options, MODAL_KEY_MEMORY))
        ret->memory_mib = ret->memory_mib_max = (uint32_t)modal_int(options, MODAL_KEY_MEMORY);
}

/* Its containers end before it by their own: what they changed is still brought away then. */
static uint32_t lifetime(const struct modal_options *options)
{
    int64_t secs = modal_int(options, MODAL_KEY_TIMEOUT) + MARGIN_SECS;

    return secs < LIFETIME_SECS ? (uint32_t)secs : LIFETIME_SECS;
}

/* The tunnels that end at the hub; owned by caller. */
static struct modal_port *open_ports(const struct modal_pod *asked)
{
    struct modal_port *ports = xcalloc(asked->len + 1, sizeof(*ports));

    for (size_t i = 0; i < asked->len; i++)
        ports[i] = (struct modal_port){asked->ports[i].port,
                                       asked->ports[i].key == MODAL_KEY_H2_PORTS            ? MODAL_PORT_H2
                                       : asked->ports[i].key == MODAL_KEY_UNENCRYPTED_PORTS ? MODAL_PORT_UNENCRYPTED
                                                                                            : MODAL_PORT_ENCRYPTED};
    return ports;
}

/* Strings are borrowed from options and p. */
static void define(struct app *app, const struct state_pod *p, const struct modal_options *options,
                   const struct limits *l, const char *names, const struct modal_pod *ports,
                   struct modal_sandbox_spec *ret)
{
    strlist_add(&ret->args, AGENT_PATH);
    strlist_add(&ret->args, "init");
    strlist_add(&ret->args, "--hub");
    strlist_add(&ret->args, "--hub-token");
    strlist_add(&ret->args, p->token);
    strlist_add(&ret->args, "--orphan-grace");
    strlist_addf(&ret->args, "%lld", (long long)modal_int(options, MODAL_KEY_ORPHAN_GRACE) * 1000);
    for (size_t i = 0; i < ports->len; i++) {
        strlist_add(&ret->args, "--tunnel");
        strlist_addf(&ret->args, "%u", ports->ports[i].port);
    }
    strlist_addf(&ret->tags, "atp-scope=%s", app_scope(app));
    strlist_add(&ret->tags, "atp-kind=pod");
    strlist_addf(&ret->tags, "atp-pod=%s", p->id);
    strlist_addf(&ret->tags, "atp-token=%s", p->token);
    if (*names)
        strlist_addf(&ret->tags, "atp-networks=%s", names);
    ret->timeout_s = lifetime(options);
    ret->idle_timeout_s = (uint32_t)modal_int(options, MODAL_KEY_IDLE_TIMEOUT);
    ret->cloud = modal_str(options, MODAL_KEY_CLOUD);
    strlist_copy(&ret->regions, modal_list(options, MODAL_KEY_REGION));
    ret->custom_domain = modal_str(options, MODAL_KEY_CUSTOM_DOMAIN);
    strlist_copy(&ret->inbound_cidrs, modal_list(options, MODAL_KEY_INBOUND_CIDR_ALLOWLIST));
    ret->verbose = modal_bool(options, MODAL_KEY_VERBOSE);
    set_limits(options, l, ret);
    ret->network = l->internal ? MODAL_NETWORK_ALLOWLIST : MODAL_NETWORK_OPEN;
}

/* From the image; one that the server has forgotten is built once more. */
static int create(struct app *app, struct modal_sandbox_spec *definition, struct modal_sandbox *ret, struct err *err)
{
    for (bool anew = false;; anew = true) {
        cleanup_free char *image = NULL;
        struct err why = ERR_INIT;

        if (pod_hub_image(app, anew, &image, err) < 0)
            return -1;
        definition->image_id = image;
        if (modal_sandbox_create(app->modal, definition, ret, &why) == 0)
            return 0;
        if (anew || why.code != GRPC_NOT_FOUND)
            return err_move(err, &why);
        err_clear(&why);
    }
}

static int ask_for(struct app *app, struct state_pod *p, struct modal_sandbox_spec *definition, struct err *err)
{
    cleanup_free char *name = xasprintf("atp-%.24s-%s-%llx", app_scope(app), p->id, (unsigned long long)p->created_ns);
    const struct state_intent intent = {
        .container_id = p->id,
        .server = app->server_key,
        .app = p->app,
        .sandbox_name = name,
        .pid = getpid(),
        .created = time(NULL),
    };
    struct modal_sandbox made = MODAL_SANDBOX_INIT;
    struct err why = ERR_INIT;

    definition->name = name;
    if (state_pod_put(app->state, p, err) < 0 || state_intent_add(app->state, &intent, err) < 0)
        return -1;
    if (create(app, definition, &made, &why) < 0) {
        if (!sandbox_may_have_arrived(&why))
            state_intent_drop(app->state, name, NULL);
        state_pod_remove(app->state, p->id, NULL);
        return err_move(err, &why);
    }
    p->sandbox_id = xstrdup(made.id);
    modal_sandbox_clear(&made);
    if (state_intent_made(app->state, name, p->sandbox_id, err) == 0 && state_pod_put(app->state, p, err) == 0)
        return 0;
    pod_end(app, p);
    return -1;
}

int pod_make(struct app *app, struct state_pod *p, struct err *err)
{
    cleanup_strlist struct strlist ids = STRLIST_INIT;
    cleanup_free char *names = NULL, *app_id = NULL;
    cleanup_free struct modal_port *ports = NULL;
    cleanup_with(modal_pod_clear) struct modal_pod asked;
    struct modal_sandbox_spec definition = {0};
    struct modal_options options;
    struct limits limits = {0};
    int ret = -1;

    pod_ids_read(p->networks, &ids);
    modal_pod_read(&asked, p->modal);
    modal_options_init(&options);
    if (modal_options_from_env(&options, app->input.environ, err) == 0 &&
        read_networks(app, &ids, &options, &limits.internal, &names, err) == 0 &&
        sum_up(app, &ids, &limits, err) == 0) {
        modal_pod_apply(&asked, &options);
        ports = open_ports(&asked);
        definition.ports = ports;
        definition.port_count = asked.len;
        free(p->app);
        p->app = xstrdup(modal_str(&options, MODAL_KEY_APP));
        define(app, p, &options, &limits, names, &asked, &definition);
        ret = modal_app_id(app->modal, p->app, &app_id, err);
        definition.app_id = app_id;
        if (ret == 0)
            ret = ask_for(app, p, &definition, err);
    }
    modal_sandbox_spec_clear(&definition);
    modal_options_clear(&options);
    return ret;
}
