/* docker network connect and disconnect: of containers that run in a pod, and of those that do not run. */
#include "shim/network.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/container.h"
#include "shim/events.h"
#include "shim/pod.h"

#include <stdlib.h>
#include <string.h>

#define DAEMON "Error response from daemon: "

/* A container whose networks are about to change. */
struct change {
    struct container c;
    struct state_network n;
    bool runs;         /* in a pod */
    bool was_internal; /* nothing outside is reached */
};

static void change_clear(struct change *ch)
{
    container_clear(&ch->c);
    state_network_clear(&ch->n);
}

static bool is_internal(const struct container_spec *spec)
{
    return !spec->networks.len || network_joins_internal(&spec->networks);
}

/* The container under its lock, in a state in which its networks can be changed. */
static int open_change(struct change *ch, const char *word, const char *network, const char *verb, struct err *err)
{
    struct container *c = &ch->c;

    if (container_find(c, word, err) < 0 || container_refresh(c, err) < 0 || container_lock(c, err) < 0 ||
        network_find(c->app, network, &ch->n, err) < 0)
        return -1;
    if (c->row.recovered)
        return err_set(err, 125, "network %s is not carried out by atp-docker for %s, which was found on the server",
                       verb, c->row.name);
    if (!container_may_run(c) && c->row.sandbox_id && /* it has ended just now */
        (container_reach(c, err) < 0 || container_settle(c, err) < 0 || container_reread(c, err) < 0))
        return -1;
    ch->runs = container_may_run(c) && pod_is_sidecar(&c->row) && c->row.pod;
    if (!ch->runs && (container_may_run(c) || c->row.sandbox_id))
        return err_set(err, 125,
                       "network %s is not carried out by atp-docker while %s runs in a sandbox of its own: stop it, %s "
                       "it, and start it again",
                       verb, c->row.name, verb);
    if (container_load(c, err) < 0 || (ch->runs && (app_input(c->app, err) < 0 || container_reach(c, err) < 0)))
        return -1;
    ch->was_internal = is_internal(&c->spec);
    return 0;
}

/* Which networks lead outside was settled when the container was started. */
static int check_outside(const struct change *ch, const char *verb, struct err *err)
{
    if (!ch->runs || ch->c.app->input.approximate_all || ch->was_internal == is_internal(&ch->c.spec))
        return 0;
    return err_set(err, 125,
                   "network %s is not carried out by atp-docker while %s runs: %s; stop it, %s it, and start it again "
                   "(ATP_DOCKER_APPROXIMATE=all leaves that as it is)",
                   verb, ch->c.row.name,
                   ch->was_internal ? "its networks are internal, and the way out is settled at its start"
                                    : "without this network it would still reach what is outside",
                   verb);
}

/* Its agent knows what it is; one that cannot be told keeps what only a state that is lost would ask for. */
static int write_down(struct change *ch, struct err *err)
{
    if (network_rejoin(&ch->c, err) < 0)
        return -1;
    if (ch->runs)
        container_tell_record(&ch->c);
    return 0;
}

/* ---- connect ---- */

/* Docker's own words for what cannot be at all. */
static int check_connect(const struct change *ch, const struct strlist *aliases, struct err *err)
{
    const struct container_spec *spec = &ch->c.spec;

    if (spec->network == NETWORK_NONE && !ch->runs)
        return err_set(err, 1,
                       DAEMON "container cannot be connected to multiple networks with one of the networks in private "
                              "(none) mode");
    if (spec->network == NETWORK_HOST)
        return err_set(err, 1,
                       DAEMON "container sharing network namespace with another container or host cannot be connected "
                              "to any other network");
    if (network_is_predefined(&ch->n) && aliases && aliases->len)
        return err_set(err, 1, DAEMON "network-scoped alias is supported only for containers in user defined networks");
    if (network_is_predefined(&ch->n) && strcmp(ch->n.name, "bridge") != 0)
        return err_set(err, 1, DAEMON "container cannot be %s",
                       strcmp(ch->n.name, "host") != 0
                           ? "connected to multiple networks with one of the networks in private (none) mode"
                           : "disconnected from host network or connected to host network");
    if (network_is_predefined(&ch->n) && spec->network != NETWORK_BRIDGE)
        return err_set(err, 125,
                       "network connect is not carried out by atp-docker for %s: a container is in networks of one's "
                       "own, or in a predefined one",
                       ch->n.name);
    if (ch->runs && network_joins_find(&spec->networks, ch->n.id))
        return err_set(err, 1, DAEMON "endpoint with name %s already exists in network %s", ch->c.row.name, ch->n.name);
    return 0;
}

static int connect_it(struct change *ch, const struct strlist *aliases, struct err *err)
{
    struct container_spec *spec = &ch->c.spec;
    struct network_join *join;

    if (check_connect(ch, aliases, err) < 0)
        return -1;
    if (network_is_predefined(&ch->n))
        return 0; /* the bridge that it is in */
    join = network_joins_find(&spec->networks, ch->n.id);
    if (!join)
        join = network_joins_find(&spec->networks, ch->n.name); /* one that was removed and made anew */
    if (!join)
        join = network_joins_add(&spec->networks, ch->n.name);
    free(join->id);
    join->id = xstrdup(ch->n.id);
    join->internal = ch->n.internal;
    if (network_aliases_add(join, aliases, err) < 0)
        return -1;
    spec->network = NETWORK_OWN;
    if (check_outside(ch, "connect", err) < 0 || (ch->runs && pod_connect(&ch->c, &ch->n, err) < 0) ||
        write_down(ch, err) < 0)
        return -1;
    if (ch->runs)
        event_network(ch->c.app, "connect", ch->n.id, ch->n.name, ch->c.row.id);
    return 0;
}

int network_connect(struct app *app, const char *network, const char *container, const struct strlist *aliases,
                    struct err *err)
{
    struct change ch = {0};
    int ret;

    container_init(&ch.c, app);
    ret = open_change(&ch, container, network, "connect", err);
    if (ret == 0)
        ret = connect_it(&ch, aliases, err);
    change_clear(&ch);
    return ret;
}

/* ---- disconnect ---- */

static int disconnect_it(struct change *ch, struct err *err)
{
    struct container_spec *spec = &ch->c.spec;

    if (spec->network == NETWORK_OWN && network_joins_find(&spec->networks, ch->n.id)) {
        network_joins_drop(&spec->networks, ch->n.id);
        if (check_outside(ch, "disconnect", err) < 0 || (ch->runs && pod_disconnect(&ch->c, &ch->n, err) < 0))
            return -1;
        if (!spec->networks.len)
            spec->network = NETWORK_NONE;
    } else if (spec->network == NETWORK_BRIDGE && !strcmp(ch->n.name, "bridge")) {
        spec->network = NETWORK_NONE;
    } else {
        return err_set(err, 1, DAEMON "container %s is not connected to %snetwork %s", ch->c.row.id,
                       ch->runs ? "" : "the ", ch->n.name);
    }
    if (write_down(ch, err) < 0)
        return -1;
    if (ch->runs)
        event_network(ch->c.app, "disconnect", ch->n.id, ch->n.name, ch->c.row.id);
    return 0;
}

int network_disconnect(struct app *app, const char *network, const char *container, struct err *err)
{
    struct change ch = {0};
    int ret;

    container_init(&ch.c, app);
    ret = open_change(&ch, container, network, "disconnect", err);
    if (ret == 0)
        ret = disconnect_it(&ch, err);
    change_clear(&ch);
    return ret;
}
