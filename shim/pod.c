#include "shim/pod.h"

#include "backends/grpc/frame.h"
#include "backends/modal/sidecar.h"
#include "backends/modal/task.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"
#include "shim/agent.h"
#include "shim/app.h"
#include "shim/events.h"
#include "shim/modal_words.h"
#include "shim/network.h"
#include "shim/pod_private.h"
#include "shim/sandbox.h"
#include "translate/modal_pod.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TASK_MS          120000 /* for a sandbox to be scheduled */
#define NAME_MS          15000  /* for a name to become free */
#define NAME_TURN_MS     5000
#define NAME_NAP_NS      50000000
#define NETWORK_NAME_MAX 200 /* longer than a name of the DNS need be */
#define DAEMON           "Error response from daemon: "

bool pod_wanted(const struct container *c)
{
    return c->spec.network == NETWORK_OWN;
}

bool pod_is_sidecar(const struct state_container *row)
{
    return row->sandbox_id && modal_place_container(row->sandbox_id);
}

/* ---- who may be together ---- */

/* Whether two rows have a network in common. */
static bool rows_meet(const struct state_container *row, const struct strlist *ours)
{
    cleanup_strlist struct strlist theirs = STRLIST_INIT;

    pod_ids_read(row->networks, &theirs);
    for (size_t i = 0; i < theirs.len; i++)
        if (strlist_has(ours, theirs.items[i]))
            return true;
    return false;
}

int pod_stranger(const struct container *c, const char *pod, char **ret_name, struct err *err)
{
    cleanup_strlist struct strlist ours = STRLIST_INIT;
    struct state_container *rows = NULL;
    size_t len = 0;
    int ret = 0;

    if (c->app->input.approximate_all)
        return 0;
    for (size_t i = 0; i < c->spec.networks.len; i++)
        if (c->spec.networks.items[i].id)
            strlist_add(&ours, c->spec.networks.items[i].id);
    if (state_container_list(c->app->state, &rows, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (ret == 0 && rows[i].pod && !strcmp(rows[i].pod, pod) && strcmp(rows[i].id, c->row.id) != 0 &&
            !rows_meet(&rows[i], &ours)) {
            *ret_name = xstrdup(rows[i].name);
            ret = 1;
        }
        state_container_clear(&rows[i]);
    }
    free(rows);
    return ret;
}

/* A platform does not keep containers of one sandbox apart; Docker would. */
static int check_company(const struct container *c, const struct state_pod *p, struct err *err)
{
    cleanup_free char *other = NULL;
    int got = pod_stranger(c, p->id, &other, err);

    if (got > 0)
        return err_set(err, 125,
                       "container %s is refused by atp-docker: it would share a sandbox with %s and could reach it, "
                       "though they share no network (ATP_DOCKER_APPROXIMATE=all accepts that)",
                       c->row.name, other);
    return got;
}

/* ---- into a pod ---- */

static int set_pod(struct container *c, const char *pod, struct err *err)
{
    free(c->row.pod);
    c->row.pod = pod ? xstrdup(pod) : NULL;
    return state_container_update(c->app->state, &c->row, STATE_PART_POD, err) < 0 ? -1 : 0;
}

/* They are looked up anew at each start, and written down where they are not the same. The caller says who is
 * speaking. */
static int find_networks(struct container *c, struct err *err)
{
    struct err why = ERR_INIT;

    if (network_resolve(c->app, &c->spec, /* must= */ true, &why) == 0) {
        cleanup_free char *ids = network_ids(&c->spec.networks);

        return c->row.networks && !strcmp(ids, c->row.networks) ? 0 : network_rejoin(c, err);
    }
    err_set(err, 125, "%s", why.msg + (strncmp(why.msg, DAEMON, strlen(DAEMON)) ? 0 : strlen(DAEMON)));
    err_clear(&why);
    return -1;
}

/* The row names its pod; the pod is there, with its hub. */
static int enter(struct container *c, struct state_pod *ret, struct err *err)
{
    cleanup_close int lock = -1;

    if (find_networks(c, err) < 0 || app_input(c->app, err) < 0 || pod_prepare(c->app, err) < 0)
        return -1;
    lock = pods_lock(err);
    if (lock < 0 || pod_choose(c->app, &c->spec.networks, ret, err) < 0)
        return -1;
    if (check_company(c, ret, err) == 0 && pod_modal_check(c, ret, err) == 0 &&
        (ret->sandbox_id || pod_make(c->app, ret, err) == 0) && set_pod(c, ret->id, err) == 0)
        return 0;
    state_pod_clear(ret);
    return -1;
}

/* ---- the sidecar ---- */

/* The intent says where the sidecar will be found; the one without a pod goes. */
static int name_intent(struct container *c, const struct state_pod *p, char *old, char **ret_name, struct err *err)
{
    cleanup_free char *was = old,
                      *name = xasprintf("%s/%.12s-%llx", p->id, c->row.id, (unsigned long long)container_now_ns());
    const struct state_intent intent = {
        .container_id = c->row.id,
        .server = c->app->server_key,
        .app = p->app,
        .sandbox_name = name,
        .pid = getpid(),
        .created = was ? 0 : time(NULL),
    };

    if (state_intent_add(c->app->state, &intent, err) < 0)
        return -1;
    if (was)
        state_intent_drop(c->app->state, was, NULL);
    *ret_name = steal(&name);
    return 0;
}

static void define(const struct container *c, const char *modal_image, const struct modal_volume *volumes,
                   size_t volume_count, const char *name, struct modal_sidecar_spec *ret)
{
    const struct modal_options *modal = &c->spec.modal;

    *ret = (struct modal_sidecar_spec){
        .name = name, .image_id = modal_image, .volumes = volumes, .volume_count = volume_count};
    strlist_add(&ret->args, AGENT_PATH);
    strlist_add(&ret->args, "init");
    strlist_add(&ret->args, "--orphan-grace");
    strlist_addf(&ret->args, "%lld", (long long)modal_int(modal, MODAL_KEY_ORPHAN_GRACE) * 1000);
    if (modal_words_env(modal, &ret->env))
        strlist_add(&ret->args, "--own-env");
    ret->pty = modal_bool(modal, MODAL_KEY_PTY) ? &modal_words_pty : NULL;
    if (network_joins_internal(&c->spec.networks))
        ret->network = MODAL_NETWORK_ALLOWLIST;
    else
        ret->network = modal_words_network(modal, &ret->cidrs, &ret->domains);
}

/* One of our name is there: what a killed client left, in which nothing was started. It may be on its way still. */
static bool clear_name(struct container *c, const char *name)
{
    struct modal_ending ending = MODAL_ENDING_INIT;
    struct modal_sidecar_info info = {0};
    bool found = modal_sidecar_get(c->task, name, /* terminated= */ false, &info, NULL) == 0;

    if (found && modal_sidecar_terminate(c->task, info.id, NULL) == 0)
        modal_sidecar_wait(c->task, info.id, NAME_TURN_MS, &ending, NULL);
    modal_ending_clear(&ending);
    modal_sidecar_info_clear(&info);
    return found;
}

/* Under a name that is only ours to use; an older one of it goes first. */
static int create_named(struct container *c, const struct modal_sidecar_spec *spec, char **ret_id, struct err *err)
{
    const int64_t until = loop_now() + NAME_MS;

    for (;;) {
        struct err why = ERR_INIT;

        if (modal_sidecar_create(c->task, spec, ret_id, &why) == 0)
            return 0;
        if ((why.code != GRPC_ALREADY_EXISTS && why.code != GRPC_INVALID_ARGUMENT) || loop_now() > until ||
            (!clear_name(c, spec->name) && why.code == GRPC_INVALID_ARGUMENT))
            return err_move(err, &why);
        err_clear(&why);
        nanosleep(&(struct timespec){.tv_nsec = NAME_NAP_NS}, NULL);
    }
}

static int make_sidecar(struct container *c, const struct state_pod *p, const struct modal_sidecar_spec *spec,
                        struct err *err)
{
    cleanup_free char *id = NULL;

    if (modal_task_open(c->app->modal, p->sandbox_id, TASK_MS, &c->task, err) < 0 ||
        create_named(c, spec, &id, err) < 0)
        return -1;
    modal_task_set_container(c->task, id);
    free(c->row.server);
    free(c->row.sandbox_id);
    c->row.server = xstrdup(c->app->server_key);
    c->row.sandbox_id = modal_place_make(p->sandbox_id, id);
    return 0;
}

/* Whether the server knows that the pod's sandbox has ended. */
static bool has_ended(struct app *app, const struct state_pod *p)
{
    int code = 0;

    return sandbox_ended(app, p->sandbox_id, &code, NULL) > 0;
}

/* In a pod that was chosen. 1 = the pod is gone: another one may do. */
static int try_in(struct container *c, const struct state_pod *p, const struct modal_sidecar_spec *spec, char **intent,
                  struct err *err)
{
    cleanup_free char *name = NULL;
    struct err why = ERR_INIT;

    if (name_intent(c, p, steal(intent), &name, err) < 0)
        return -1;
    if (make_sidecar(c, p, spec, &why) == 0)
        return state_intent_made(c->app->state, name, c->row.sandbox_id, err);
    modal_task_free(steal(&c->task));
    if ((why.code == GRPC_NOT_FOUND || why.code == GRPC_FAILED_PRECONDITION || why.code == GRPC_UNAVAILABLE) &&
        has_ended(c->app, p)) {
        pod_forget(c->app, p);
        *intent = steal(&name);
        err_clear(&why);
        return 1;
    }
    if (!sandbox_may_have_arrived(&why))
        state_intent_drop(c->app->state, name, NULL);
    return err_move(err, &why);
}

/* It did not come to be: the pod ends if it was made for it. */
static void leave(struct container *c)
{
    cleanup_free char *place = c->row.sandbox_id ? xstrdup(c->row.sandbox_id) : NULL;
    struct state_pod p = {0};

    if (place) /* the state failed, not the server */
        pod_end_container(c->app, &c->row);
    free(steal(&c->row.sandbox_id));
    if (!place && c->row.pod && state_pod_find(c->app->state, c->row.pod, &p, NULL) > 0)
        place = p.sandbox_id ? xstrdup(p.sandbox_id) : NULL;
    state_pod_clear(&p);
    set_pod(c, NULL, NULL);
    if (place)
        pod_left(c->app, NULL, place);
}

int pod_create_container(struct container *c, const char *modal_image, char *intent, const struct modal_volume *volumes,
                         size_t volume_count, struct err *err)
{
    cleanup_free char *name = xstrndup(c->row.id, CONTAINER_SHORT_ID_LEN), *pending = intent;
    struct modal_sidecar_spec spec;
    int got = 1;

    define(c, modal_image, volumes, volume_count, name, &spec);
    if (app_modal(c->app, err) < 0 || modal_words_secrets(c->app->modal, &c->spec.modal, &spec.secret_ids, err) < 0)
        got = -1;
    for (int tries = 0; got > 0 && tries < 2; tries++) {
        struct state_pod p = {0};

        got = enter(c, &p, err);
        if (got < 0)
            break;
        got = try_in(c, &p, &spec, &pending, err);
        state_pod_clear(&p);
    }
    modal_sidecar_spec_clear(&spec);
    if (got == 0) {
        for (size_t i = 0; i < c->spec.networks.len; i++)
            event_network(c->app, "connect", c->spec.networks.items[i].id, c->spec.networks.items[i].name, c->row.id);
        return 0;
    }
    if (got > 0)
        err_set(err, 125, "the sandbox of its networks ended at once");
    if (pending)
        state_intent_drop(c->app->state, pending, NULL);
    leave(c);
    return -1;
}

/* ---- names ---- */

/* A network is told apart by its name, which is part of names (web.front); one that would not do there by its id. */
static const char *network_word(const struct network_join *join)
{
    bool plain = strlen(join->name) <= NETWORK_NAME_MAX && !strchr(join->name, '/') && !strchr(join->name, '\n');

    return plain || !join->id ? join->name : join->id;
}

/* NETWORK/NAME for all that the network calls it. */
static void add_member(const struct container *c, const struct network_join *join, struct strlist *members)
{
    const char *network = network_word(join);

    strlist_addf(members, "%s/%s", network, c->row.name);
    strlist_addf(members, "%s/%.12s", network, c->row.id);
    if (c->spec.hostname && *c->spec.hostname && strcmp(c->spec.hostname, c->row.name) != 0)
        strlist_addf(members, "%s/%s", network, c->spec.hostname);
    if (c->spec.hostname && *c->spec.hostname && c->spec.domainname && *c->spec.domainname)
        strlist_addf(members, "%s/%s.%s", network, c->spec.hostname, c->spec.domainname);
    for (size_t i = 0; i < join->aliases.len; i++)
        if (strcmp(join->aliases.items[i], c->row.name) != 0)
            strlist_addf(members, "%s/%s", network, join->aliases.items[i]);
}

/* It has a host name that was chosen for it: the platform does not know it, and it must find itself by it. */
static bool has_own_name(const struct container *c)
{
    const char *name = c->spec.hostname;

    return name && *name && strncmp(name, c->row.id, CONTAINER_SHORT_ID_LEN) != 0;
}

/* What comes to the hub for a port of these is for this container. */
static void add_tunnels(const struct container *c, struct strlist *members)
{
    cleanup_strlist struct strlist ports = STRLIST_INIT;

    modal_ports(&c->spec.modal, &ports);
    for (size_t i = 0; i < ports.len; i++)
        strlist_addf(members, WIRE_TUNNEL "%s", ports.items[i]);
}

bool pod_names(const struct container *c, struct wire_names *ret)
{
    const struct network_join alone = {.name = (char *)"bridge"};
    struct state_pod p = {0};

    *ret = (struct wire_names){0};
    if (!pod_is_sidecar(&c->row) && !c->spec.hosts.len && !has_own_name(c))
        return false;
    if (!pod_is_sidecar(&c->row) && has_own_name(c))
        add_member(c, &alone, &ret->members);
    ret->self = xstrndup(c->row.id, CONTAINER_SHORT_ID_LEN);
    strlist_copy(&ret->hosts, &c->spec.hosts);
    if (pod_is_sidecar(&c->row) && c->row.pod && state_pod_find(c->app->state, c->row.pod, &p, NULL) > 0) {
        ret->token = xstrdup(p.token);
        ret->hub = xstrdup("main");
        ret->internal = network_joins_internal(&c->spec.networks);
        for (size_t i = 0; i < c->spec.networks.len; i++)
            add_member(c, &c->spec.networks.items[i], &ret->members);
        add_tunnels(c, &ret->members);
    }
    state_pod_clear(&p);
    return true;
}
