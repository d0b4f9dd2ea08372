/* Networks and volumes of a project: made before its containers, taken away after them. */
#include "shim/compose/team.h"

#include "backends/state/state.h"
#include "backends/state/volumes.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/network.h"
#include "shim/volume.h"

#include <stdlib.h>
#include <string.h>

/* Its own name on this machine. */
static const char *name_of(const struct cnode *resource, const char *key)
{
    const char *name = cnode_str(resource, "name");

    return name ? name : key;
}

static void add_labels(const struct cnode *resource, struct strlist *words)
{
    const struct cnode *labels = cnode_get(resource, "labels");

    for (size_t i = 0; cnode_is(labels, CNODE_MAP) && i < labels->len; i++) {
        const char *value = cnode_text(labels->items[i]);

        strlist_add(words, "--label");
        strlist_addf(words, "%s=%s", labels->keys[i], value ? value : "");
    }
}

static void add_options(const struct cnode *resource, struct strlist *words)
{
    const struct cnode *opts = cnode_get(resource, "driver_opts");

    for (size_t i = 0; cnode_is(opts, CNODE_MAP) && i < opts->len; i++) {
        const char *value = cnode_text(opts->items[i]);

        strlist_add(words, "--opt");
        strlist_addf(words, "%s=%s", opts->keys[i], value ? value : "");
    }
    if (cnode_str(resource, "driver")) {
        strlist_add(words, "--driver");
        strlist_add(words, cnode_str(resource, "driver"));
    }
}

/* What tells compose that it made the thing, and from what. */
static int add_our_labels(const struct team *w, const char *label, const char *key, struct strlist *words,
                          struct err *err)
{
    const char *kind = !strcmp(label, LABEL_VOLUME) ? "volumes" : "networks";
    const struct cnode *resource = cnode_get(cnode_get(w->project.model, kind), key);
    cleanup_free char *hash = compose_resource_hash(resource, kind, err);

    if (!hash)
        return -1;
    strlist_add(words, "--label");
    strlist_addf(words, "%s=%s", LABEL_HASH, hash);
    strlist_add(words, "--label");
    strlist_addf(words, "%s=%s", label, key);
    strlist_add(words, "--label");
    strlist_addf(words, "%s=%s", LABEL_PROJECT, w->name);
    strlist_add(words, "--label");
    strlist_addf(words, "%s=%s", LABEL_VERSION, COMPOSE_VERSION);
    return 0;
}

/* Whether one of the chosen services uses the network. */
static bool network_is_used(const struct team *w, const char *key)
{
    for (size_t i = 0; i < w->services.len; i++) {
        const struct cnode *networks = cnode_get(w->services.items[i].node, "networks");

        if (cnode_get(networks, key))
            return true;
    }
    return false;
}

static bool service_has_volume(const struct cnode *service, const char *key)
{
    const struct cnode *mounts = cnode_get(service, "volumes");

    for (size_t m = 0; cnode_is(mounts, CNODE_LIST) && m < mounts->len; m++) {
        const char *type = cnode_str(mounts->items[m], "type"), *source = cnode_str(mounts->items[m], "source");

        if (type && source && !strcmp(type, "volume") && !strcmp(source, key))
            return true;
    }
    return false;
}

static bool volume_is_used(const struct team *w, const char *key)
{
    for (size_t i = 0; i < w->services.len; i++)
        if (service_has_volume(w->services.items[i].node, key))
            return true;
    return false;
}

enum { NETWORK_MISSING, NETWORK_THERE, NETWORK_CHANGED };

/* Whether what is there was made from another definition than the file has now. One of an older make does not say. */
static int is_changed(const struct strlist *labels, const struct cnode *network, struct err *err)
{
    const char *hash = strlist_env_get(labels, LABEL_HASH);
    cleanup_free char *expected = compose_resource_hash(network, "networks", err);

    if (!expected)
        return -1;
    return hash && *hash && strcmp(hash, expected) != 0 ? NETWORK_CHANGED : NETWORK_THERE;
}

/* NETWORK_*; -1: one of this name is somebody else's. */
static int look_network(struct team *w, const char *key, const struct cnode *network, struct err *err)
{
    const char *name = name_of(network, key), *label;
    struct err why = ERR_INIT;
    struct state_network found = {0};
    cleanup_strlist struct strlist labels = STRLIST_INIT;
    int ret = NETWORK_THERE;

    if (network_find(w->app, name, &found, &why) < 0) {
        bool missing = why.code == NETWORK_NO_SUCH;

        if (missing && cnode_true(network, "external"))
            ret = err_set(err, 1, "network %s declared as external, but could not be found", name);
        else
            ret = missing ? NETWORK_MISSING : err_move(err, &why);
        err_clear(&why);
        return ret;
    }
    if (strcmp(found.name, name) != 0 && strcmp(found.id, name) != 0) {
        state_network_clear(&found); /* by the beginning of an id: another one */
        return NETWORK_MISSING;
    }
    labels_read(found.labels, &labels);
    label = strlist_env_get(&labels, LABEL_NETWORK);
    if (!cnode_true(network, "external") && strcmp(label ? label : "", key) != 0)
        ret = err_set(err, 1, "network %s was found but has incorrect label %s set to \"%s\" (expected: \"%s\")", name,
                      LABEL_NETWORK, label ? label : "", key);
    else if (!cnode_true(network, "external"))
        ret = is_changed(&labels, network, err);
    state_network_clear(&found);
    return ret;
}

static int plan_network(const struct team *w, const char *key, const struct cnode *network, struct acts *acts,
                        size_t act, struct err *err)
{
    const char *name = name_of(network, key);
    struct step *s = acts_call(acts, act, "Creating", "Created", "network create", NULL);

    add_options(network, &s->words);
    add_labels(network, &s->words);
    if (add_our_labels(w, LABEL_NETWORK, key, &s->words, err) < 0)
        return -1;
    if (cnode_true(network, "internal"))
        strlist_add(&s->words, "--internal");
    if (cnode_true(network, "attachable"))
        strlist_add(&s->words, "--attachable");
    strlist_add(&s->words, "--");
    strlist_add(&s->words, name);
    return 0;
}

/* Whether the member's service is in the network. */
static bool member_joins(const struct team *w, const struct member *m, const char *key)
{
    const struct cnode *service = cnode_get(cnode_get(w->project.model, "services"), m->service);

    return !m->oneoff && cnode_get(cnode_get(service, "networks"), key);
}

/* It goes and is made anew: its containers are stopped for that, and join what it is then. Their start comes later. */
static int plan_renewal(struct team *w, const char *key, const struct cnode *network, struct acts *acts, size_t act,
                        struct err *err)
{
    const char *name = name_of(network, key);

    if (team_look(w, NULL, 0, err) < 0)
        return -1;
    for (size_t i = 0; i < w->members.len; i++) {
        const struct member *m = &w->members.items[i];
        cleanup_free char *title = member_title(m);
        size_t stop;

        if (!member_joins(w, m, key) || !member_runs(m))
            continue;
        stop = acts_add(acts, title);
        acts_call(acts, stop, "Stopping", "Stopped", "stop", m->row.id, NULL)->flags = STEP_FORGIVE;
        acts_after(acts, act, stop);
    }
    acts_call(acts, act, NULL, "Removed", "network rm", name, NULL);
    if (plan_network(w, key, network, acts, act, err) < 0)
        return -1;
    for (size_t i = 0; i < w->members.len; i++)
        if (member_joins(w, &w->members.items[i], key) && w->members.items[i].row.networks)
            acts_call(acts, act, NULL, NULL, "network connect", name, w->members.items[i].row.id, NULL);
    return 0;
}

static int plan_one(struct team *w, const char *key, const struct cnode *network, int state, struct acts *acts,
                    struct err *err)
{
    cleanup_free char *title = xasprintf("Network %s", name_of(network, key));
    size_t act = acts_add(acts, title);

    if (state == NETWORK_CHANGED)
        return plan_renewal(w, key, network, acts, act, err);
    return plan_network(w, key, network, acts, act, err);
}

static int networks_up(struct team *w, struct acts *acts, struct err *err)
{
    const struct cnode *networks = cnode_get(w->project.model, "networks");

    for (size_t i = 0; cnode_is(networks, CNODE_MAP) && i < networks->len; i++) {
        int got;

        if (!network_is_used(w, networks->keys[i]))
            continue;
        if (app_state(w->app, err) < 0)
            return -1;
        got = look_network(w, networks->keys[i], networks->items[i], err);
        if (got < 0)
            return -1;
        if (got != NETWORK_THERE && plan_one(w, networks->keys[i], networks->items[i], got, acts, err) < 0)
            return -1;
    }
    return 0;
}

/* Which of the project's volumes are there: an act each, whose text is empty for one that is not. */
static int look_volumes(struct team *w, struct acts *ret, struct err *err)
{
    const struct cnode *volumes = cnode_get(w->project.model, "volumes");

    for (size_t i = 0; cnode_is(volumes, CNODE_MAP) && i < volumes->len; i++) {
        size_t act = acts_add(ret, "");

        acts_call(ret, act, NULL, NULL, "volume inspect", "--", name_of(volumes->items[i], volumes->keys[i]), NULL)
            ->flags = STEP_FORGIVE | STEP_LOOKS;
    }
    return acts_run(ret, w->app, NULL, 0, err);
}

static bool is_there(const struct acts *looked, size_t i)
{
    return looked->items[i].text && *looked->items[i].text;
}

/* It was made by others, or for others: it is used all the same, with a word. */
static void warn_of_owner(const struct team *w, const char *name, const struct strlist *labels)
{
    const char *project = strlist_env_get(labels, LABEL_PROJECT);
    cleanup_free char *line = NULL;

    if (!project)
        line = xasprintf("volume \"%s\" already exists but was not created by Docker Compose. Use `external: true` to "
                         "use an existing volume",
                         name);
    else if (strcmp(project, w->name) != 0)
        line = xasprintf("volume \"%s\" already exists but was created for project \"%s\" (expected \"%s\"). Use "
                         "`external: true` to use an existing volume",
                         name, project, w->name);
    if (line)
        compose_warn(line);
}

/* 1 = it is made anew, as it was made from another definition, and whoever was asked says so. 0 = it is used. */
static int is_renewed(struct team *w, const char *name, const struct cnode *volume, struct err *err)
{
    cleanup_free char *expected = compose_resource_hash(volume, "volumes", err), *question = NULL;
    cleanup_strlist struct strlist labels = STRLIST_INIT;
    struct state_volume v = {0};
    const char *hash;

    if (!expected || app_state(w->app, err) < 0 || state_volume_get(w->app->state, name, &v, err) < 0)
        return -1;
    if (v.name)
        volume_labels(&v, &labels);
    state_volume_clear(&v);
    warn_of_owner(w, name, &labels);
    hash = strlist_env_get(&labels, LABEL_HASH);
    if (!hash || strcmp(hash, expected) == 0)
        return 0;
    question = xasprintf("Volume \"%s\" exists but doesn't match configuration in compose file. Recreate (data will be "
                         "lost)?",
                         name);
    return w->yes || team_confirmed(question);
}

/* Its containers go, and so does it: all are made anew. */
static int plan_volume_removal(struct team *w, const char *key, const char *name, struct acts *acts, size_t act,
                               struct err *err)
{
    const struct cnode *services = cnode_get(w->project.model, "services");

    if (team_look(w, NULL, 0, err) < 0)
        return -1;
    for (size_t i = 0; i < w->members.len; i++) {
        const struct member *m = &w->members.items[i];
        cleanup_free char *title = member_title(m);
        size_t end;

        if (!service_has_volume(cnode_get(services, m->service), key))
            continue;
        end = acts_add(acts, title);
        acts_call(acts, end, "Stopping", "Stopped", "stop", m->row.id, NULL)->flags = STEP_FORGIVE;
        acts_call(acts, end, "Removing", "Removed", "rm", "-f", m->row.id, NULL);
        acts_after(acts, act, end);
    }
    acts_call(acts, act, "Removing", "Removed", "volume rm", "-f", name, NULL);
    return 0;
}

static int plan_volume(struct team *w, const char *key, const struct cnode *volume, struct acts *acts, size_t act,
                       struct err *err)
{
    struct step *s = acts_call(acts, act, "Creating", "Created", "volume create", NULL);

    add_options(volume, &s->words);
    add_labels(volume, &s->words);
    if (add_our_labels(w, LABEL_VOLUME, key, &s->words, err) < 0)
        return -1;
    strlist_add(&s->words, "--");
    strlist_add(&s->words, name_of(volume, key));
    return 0;
}

static int volumes_up(struct team *w, struct acts *acts, struct err *err)
{
    const struct cnode *volumes = cnode_get(w->project.model, "volumes");
    cleanup_with(acts_clear) struct acts looked = ACTS_INIT;

    if (!cnode_is(volumes, CNODE_MAP) || !volumes->len)
        return 0;
    if (look_volumes(w, &looked, err) < 0)
        return -1;
    for (size_t i = 0; i < volumes->len; i++) {
        const char *name = name_of(volumes->items[i], volumes->keys[i]);
        cleanup_free char *title = xasprintf("Volume %s", name);
        bool external = cnode_true(volumes->items[i], "external"), there = is_there(&looked, i);
        int renewed = 0;
        size_t act;

        if (!volume_is_used(w, volumes->keys[i]) || (external && there))
            continue;
        if (external)
            return err_set(err, 1, "external volume \"%s\" not found", name);
        if (there)
            renewed = is_renewed(w, name, volumes->items[i], err);
        if (renewed < 0)
            return -1;
        if (there && !renewed)
            continue;
        act = acts_add(acts, title);
        if ((renewed && plan_volume_removal(w, volumes->keys[i], name, acts, act, err) < 0) ||
            plan_volume(w, volumes->keys[i], volumes->items[i], acts, act, err) < 0)
            return -1;
    }
    return 0;
}

int team_resources(struct team *w, struct err *err)
{
    cleanup_with(acts_clear) struct acts acts = ACTS_INIT;

    if (networks_up(w, &acts, err) < 0 || volumes_up(w, &acts, err) < 0)
        return -1;
    return team_run(w, &acts, err);
}

/* ---- down ---- */

/* What others still use stays, and is no error. */
static void forgive(struct step *s)
{
    s->flags = STEP_FORGIVE;
    s->failed = "Resource is still in use";
}

/* The project's networks are those that have its label, whatever the file says now. */
static int networks_down(struct team *w, struct acts *acts, struct err *err)
{
    struct state_network *list = NULL;
    size_t len = 0;

    if (app_state(w->app, err) < 0 || network_list(w->app, &list, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        cleanup_strlist struct strlist labels = STRLIST_INIT;
        cleanup_free char *title = xasprintf("Network %s", list[i].name);
        const char *of, *key;
        const struct cnode *network;

        labels_read(list[i].labels, &labels);
        of = strlist_env_get(&labels, LABEL_PROJECT);
        key = strlist_env_get(&labels, LABEL_NETWORK);
        network = w->loaded && key ? cnode_get(cnode_get(w->project.model, "networks"), key) : NULL;
        if (of && !strcmp(of, w->name) && (!w->loaded || (network && !cnode_true(network, "external"))))
            forgive(acts_call(acts, acts_add(acts, title), "Removing", "Removed", "network rm", list[i].id, NULL));
        state_network_clear(&list[i]);
    }
    free(list);
    return 0;
}

/* The names of the project's volumes: by the file, or by their labels. */
static int volumes_by_label(struct team *w, struct strlist *ret, struct err *err)
{
    cleanup_with(acts_clear) struct acts acts = ACTS_INIT;
    cleanup_free char *filter = xasprintf("label=%s=%s", LABEL_PROJECT, w->name);

    acts_call(&acts, acts_add(&acts, ""), NULL, NULL, "volume ls", "-q", "--filter", filter, NULL)->flags = STEP_LOOKS;
    if (acts_run(&acts, w->app, NULL, 0, err) < 0)
        return -1;
    if (acts.items[0].text && *acts.items[0].text)
        strlist_split(ret, acts.items[0].text, '\n');
    return 0;
}

static int volumes_down(struct team *w, struct acts *acts, struct err *err)
{
    const struct cnode *volumes = w->loaded ? cnode_get(w->project.model, "volumes") : NULL;
    cleanup_with(acts_clear) struct acts looked = ACTS_INIT;
    cleanup_strlist struct strlist names = STRLIST_INIT;

    if (!w->loaded && volumes_by_label(w, &names, err) < 0)
        return -1;
    if (cnode_is(volumes, CNODE_MAP) && volumes->len && look_volumes(w, &looked, err) < 0)
        return -1;
    for (size_t i = 0; i < looked.len; i++)
        if (is_there(&looked, i) && !cnode_true(volumes->items[i], "external"))
            strlist_add(&names, name_of(volumes->items[i], volumes->keys[i]));
    for (size_t i = 0; i < names.len; i++) {
        cleanup_free char *title = xasprintf("Volume %s", names.items[i]);

        forgive(acts_call(acts, acts_add(acts, title), "Removing", "Removed", "volume rm", "-f", "--", names.items[i],
                          NULL));
    }
    return 0;
}

int team_resources_down(struct team *w, bool volumes, bool *ret_any, struct err *err)
{
    cleanup_with(acts_clear) struct acts acts = ACTS_INIT;

    if (networks_down(w, &acts, err) < 0 || (volumes && volumes_down(w, &acts, err) < 0))
        return -1;
    *ret_any = acts.len > 0;
    return team_run(w, &acts, err);
}
