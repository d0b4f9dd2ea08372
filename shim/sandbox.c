#include "shim/sandbox.h"

#include "backends/grpc/frame.h"
#include "backends/modal/client.h"
#include "backends/modal/sandbox.h"
#include "backends/modal/task.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"
#include "shim/agent.h"
#include "shim/app.h"
#include "shim/container.h"
#include "shim/pod.h"
#include "shim/events.h"
#include "shim/modal_words.h"
#include "translate/spec.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LIFETIME_MAX_SECS 86400 /* Modal's (protocol 9.1) */
#define PULL_MARGIN_SECS  120   /* to stop the command and pull what it left */
#define CONFIRM_MS                                                                                                     \
    30 /* a server that is near answers a terminate within it; a far one is asked by the next command                  \
        */
#define FLUSH_MS        2000   /* to hand the terminate to the network */
#define TASK_MS         120000 /* for a sandbox to be scheduled */
#define AUTOPSY_MS      3000   /* for the server to notice the end of a sandbox whose streams have ended */
#define LOOK_AFTER_SECS 60
#define RECOVER_MS      10000 /* for the ends of what others left to be confirmed */

/*
 * "atp-<scope>-<short id>-<when>": a container that is started again gets another sandbox while the end of the last one
 * may not be confirmed yet. At most 64 characters of what Modal takes (protocol 9.3).
 */
static char *sandbox_name(struct app *app, const char *id)
{
    return xasprintf("atp-%.24s-%.12s-%llx", app_scope(app), id, (unsigned long long)container_now_ns());
}

/* What a list must be able to filter on (design 4). */
static void add_tags(struct app *app, const struct container_spec *spec, struct strlist *tags)
{
    strlist_addf(tags, "atp-scope=%s", app_scope(app));
    strlist_addf(tags, "atp-id=%.12s", spec->id);
    strlist_add(tags, "atp-kind=container");
}

/* OPEN, BLOCKED, or what the allow lists let through. */
static void set_network(const struct container_spec *spec, struct modal_sandbox_spec *ret)
{
    if (spec->network == NETWORK_NONE || spec->network == NETWORK_OWN) { /* its files alone: it runs in a pod */
        ret->network = MODAL_NETWORK_BLOCKED;
        return;
    }
    ret->network = modal_words_network(&spec->modal, &ret->cidrs, &ret->domains);
    strlist_copy(&ret->inbound_cidrs, modal_list(&spec->modal, MODAL_KEY_INBOUND_CIDR_ALLOWLIST));
    ret->custom_domain = modal_str(&spec->modal, MODAL_KEY_CUSTOM_DOMAIN);
    ret->ports = modal_words_ports(&spec->modal, &ret->port_count);
}

int64_t sandbox_lifetime_ms(const struct container_spec *spec)
{
    int64_t secs = modal_int(&spec->modal, MODAL_KEY_TIMEOUT);

    return (secs < LIFETIME_MAX_SECS - PULL_MARGIN_SECS ? secs : LIFETIME_MAX_SECS - PULL_MARGIN_SECS) * 1000;
}

/* The container's words as Modal's definition. Strings are borrowed from spec. */
static void define(struct app *app, const struct container_spec *spec, struct modal_sandbox_spec *ret)
{
    strlist_add(&ret->args, AGENT_PATH);
    strlist_add(&ret->args, "init");
    strlist_add(&ret->args, "--orphan-grace");
    strlist_addf(&ret->args, "%lld", (long long)modal_int(&spec->modal, MODAL_KEY_ORPHAN_GRACE) * 1000);
    if (modal_words_env(&spec->modal, &ret->env))
        strlist_add(&ret->args, "--own-env");
    add_tags(app, spec, &ret->tags);
    ret->timeout_s = (uint32_t)(sandbox_lifetime_ms(spec) / 1000 + PULL_MARGIN_SECS);
    ret->idle_timeout_s = (uint32_t)modal_int(&spec->modal, MODAL_KEY_IDLE_TIMEOUT);
    ret->cloud = modal_str(&spec->modal, MODAL_KEY_CLOUD);
    strlist_copy(&ret->regions, modal_list(&spec->modal, MODAL_KEY_REGION));
    ret->gpu = modal_str(&spec->modal, MODAL_KEY_GPU);
    ret->v1 = ret->gpu != NULL; /* V2 has none */
    ret->pty = modal_bool(&spec->modal, MODAL_KEY_PTY) ? &modal_words_pty : NULL;
    ret->verbose = modal_bool(&spec->modal, MODAL_KEY_VERBOSE);
    ret->cpu_milli = ret->cpu_milli_max = spec->milli_cpu;
    ret->memory_mib = spec->reserved_mib ? spec->reserved_mib : spec->memory_mib;
    ret->memory_mib_max = spec->memory_mib;
    set_network(spec, ret);
}

int sandbox_intend(struct app *app, const struct container_spec *spec, char **ret_name, struct err *err)
{
    cleanup_free char *name = sandbox_name(app, spec->id);
    const struct state_intent intent = {
        .container_id = (char *)spec->id,
        .server = app->server_key,
        .app = (char *)modal_str(&spec->modal, MODAL_KEY_APP),
        .sandbox_name = name,
        .pid = getpid(),
        .created = time(NULL),
    };

    if (state_intent_add(app->state, &intent, err) < 0)
        return -1;
    *ret_name = steal(&name);
    return 0;
}

/* Whether a call that failed may have been carried out, its answer lost. Its intent stays then: the next command looks
 * for the sandbox by name. */
bool sandbox_may_have_arrived(const struct err *err)
{
    return err->code == GRPC_UNAVAILABLE || err->code == GRPC_DEADLINE_EXCEEDED || err->code == GRPC_CANCELLED ||
           err->code == GRPC_INTERNAL || err->code == GRPC_UNKNOWN;
}

int sandbox_create(struct app *app, const struct container_spec *spec, const char *modal_image, char *intent,
                   const struct modal_volume *volumes, size_t volume_count, struct state_container *container,
                   struct modal_task **ret_task, struct err *err)
{
    cleanup_free char *app_id = NULL, *name = intent;
    struct modal_sandbox_spec definition = {.image_id = modal_image, .volumes = volumes, .volume_count = volume_count};
    struct modal_sandbox made = MODAL_SANDBOX_INIT;
    int ret = -1;

    if (modal_app_id(app->modal, modal_str(&spec->modal, MODAL_KEY_APP), &app_id, err) < 0) {
        if (name)
            state_intent_drop(app->state, name, NULL);
        return -1;
    }
    definition.app_id = app_id;
    define(app, spec, &definition);
    if (modal_words_secrets(app->modal, &spec->modal, &definition.secret_ids, err) < 0) {
        if (name)
            state_intent_drop(app->state, name, NULL);
    } else if (name || sandbox_intend(app, spec, &name, err) == 0) {
        definition.name = name;
        ret = modal_sandbox_create(app->modal, &definition, &made, err);
        if (ret < 0 && !sandbox_may_have_arrived(err))
            state_intent_drop(app->state, name, NULL);
    }
    free((void *)definition.ports);
    modal_sandbox_spec_clear(&definition);
    if (ret < 0)
        return -1;
    free(container->server);
    free(container->sandbox_id);
    container->server = xstrdup(app->server_key);
    container->sandbox_id = xstrdup(made.id);
    modal_sandbox_clear(&made);
    if (state_intent_made(app->state, name, container->sandbox_id, err) < 0 ||
        modal_task_open(app->modal, container->sandbox_id, TASK_MS, ret_task, err) < 0) {
        sandbox_end(app, container);
        return -1;
    }
    return 0;
}

/* A terminate whose answer is awaited: the sandbox has ended then, and so has the intent. */
struct sandbox_ending {
    struct sandbox_ending *next;
    struct app *app;
    char *container_id, *sandbox_id;
    bool answered;
};

/*
 * A sandbox is known to be gone: its intent goes, and a container that thinks to have it has ended with it. What was
 * left of its files to bring away is lost.
 */
void sandbox_gone(struct app *app, const char *container_id, const char *sandbox_id, int code)
{
    cleanup_with(container_clear) struct container gone;
    struct state_container *row = &gone.row;
    int got;

    container_init(&gone, app);
    got = state_container_find(app->state, container_id, row, NULL);
    if (got == 0 || (got > 0 && strcmp(row->id, container_id) != 0)) {
        container_dir_remove(container_id); /* who removed the row may have been killed before it came to this */
    } else if (got > 0 && row->sandbox_id && !strcmp(row->sandbox_id, sandbox_id)) {
        container_set_exited(row, code, 0);
        if (row->auto_remove) {
            event_died(&gone);
            event_container_once(&gone, "destroy", NULL);
            container_dir_remove(row->id);
            state_container_remove(app->state, row->id, NULL);
        } else {
            free(steal(&row->sandbox_id));
            free(steal(&row->pod));
            state_container_update(app->state, row, STATE_PART_STATUS | STATE_PART_SANDBOX | STATE_PART_POD, NULL);
            container_died(&gone);
        }
    }
    state_intent_drop(app->state, sandbox_id, NULL); /* last: by it a kill in between is found */
    if (modal_place_container(sandbox_id))
        pod_left(app, container_id, sandbox_id);
}

#define TERMINATED 137 /* what Docker and Modal call an end from outside */

static void on_terminated(void *arg, const struct err *err)
{
    struct sandbox_ending *e = arg;

    e->answered = true;
    if (!err || err->code == GRPC_NOT_FOUND)
        sandbox_gone(e->app, e->container_id, e->sandbox_id, TERMINATED);
}

/* Sends it. The answer may come at any later turn of the loop, and finds what it needs. */
static struct sandbox_ending *terminate(struct app *app, const char *container_id, const char *sandbox_id)
{
    struct sandbox_ending *e = xcalloc(1, sizeof(*e));

    *e = (struct sandbox_ending){
        .next = app->endings, .app = app, .container_id = xstrdup(container_id), .sandbox_id = xstrdup(sandbox_id)};
    app->endings = e;
    modal_sandbox_terminate_start(app->modal, e->sandbox_id, on_terminated, e);
    return e;
}

void sandbox_end(struct app *app, const struct state_container *container)
{
    int64_t until = loop_now() + CONFIRM_MS;
    const struct sandbox_ending *e;

    if (pod_is_sidecar(container)) {
        pod_end_container(app, container);
        return;
    }
    state_intent_ending(app->state, container->sandbox_id, NULL);
    e = terminate(app, container->id, container->sandbox_id);
    modal_client_flush(app->modal, FLUSH_MS, NULL);
    while (!e->answered && loop_now() < until && loop_step(app->loop, until - loop_now()))
        ;
}

int sandbox_ended(struct app *app, const char *sandbox_id, int *ret_code, struct err *err)
{
    struct modal_ending ending = MODAL_ENDING_INIT;
    cleanup_err struct err why = ERR_INIT;
    int ret;

    if (modal_sandbox_poll(app->modal, sandbox_id, &ending, &why) < 0) {
        if (why.code != GRPC_NOT_FOUND)
            return err_move(err, &why);
        *ret_code = TERMINATED;
        return 1;
    }
    ret = ending.finished;
    *ret_code = ending.exit_code;
    modal_ending_clear(&ending);
    return ret;
}

int sandbox_autopsy(struct app *app, const char *sandbox_id, struct err *ret_why)
{
    struct modal_ending ending = MODAL_ENDING_INIT;
    int code = -1;

    /* its streams end a moment before the server has written down how it ended */
    if (modal_sandbox_wait(app->modal, sandbox_id, AUTOPSY_MS, &ending, NULL) == 0 && ending.finished) {
        const char *why = ending.exception          ? ending.exception
                          : ending.exit_code == 124 ? "its time is over (label modal.timeout)"
                                                    : NULL;

        /* what the command gave and wrote is not known: the sandbox's own success is none of the command's */
        code = ending.exit_code ? ending.exit_code : 125;
        err_set(ret_why, code, "the sandbox %s has ended%s%s (%d)", sandbox_id, why ? ": " : "", why ? why : "",
                ending.exit_code);
    }
    modal_ending_clear(&ending);
    return code;
}

/* ---- what earlier commands left ---- */

/* A sandbox, or a sidecar in one. */
static void end_place(struct app *app, const char *container_id, const char *place)
{
    if (modal_place_container(place))
        pod_end_place(app, container_id, place);
    else
        terminate(app, container_id, place);
}

void sandbox_forget_endings(struct app *app)
{
    while (app->endings) {
        struct sandbox_ending *next = app->endings->next;

        free(app->endings->container_id);
        free(app->endings->sandbox_id);
        free(app->endings);
        app->endings = next;
    }
}

/* A container whose client was killed before it had a sandbox: it stays as `create` would have left it, but one that
 * `run --rm` was making (its intent is older than its row) goes. */
void sandbox_never_came(struct app *app, const struct state_intent *in)
{
    struct state_container c = {0};
    int got = state_container_find(app->state, in->container_id, &c, NULL);

    if (got == 0)
        container_dir_remove(in->container_id);
    if (got > 0 && !strcmp(c.id, in->container_id) && c.auto_remove && !c.sandbox_id &&
        in->created <= c.created_ns / 1000000000) {
        state_container_remove(app->state, c.id, NULL);
        container_dir_remove(c.id);
    }
    state_container_clear(&c);
}

/*
 * Whether the intent is still without a sandbox. Its client lived when the list was read and is gone now: what it wrote
 * meanwhile counts, and a container that it has started is not to be ended.
 */
static bool still_nameless(struct app *app, const struct state_intent *in)
{
    struct state_intent *list = NULL;
    size_t len = 0;
    bool nameless = false;

    if (state_intent_list(app->state, app->server_key, &list, &len, NULL) < 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        nameless |= !strcmp(list[i].sandbox_name, in->sandbox_name) && !list[i].sandbox_id;
        state_intent_clear(&list[i]);
    }
    free(list);
    return nameless;
}

/* Of either kind: only one with a GPU is of the older. */
static int by_name(struct app *app, const struct state_intent *in, struct modal_sandbox *ret, struct err *err)
{
    if (modal_sandbox_by_name(app->modal, in->app, in->sandbox_name, /* v1= */ false, ret, err) == 0)
        return 0;
    if (err->code != GRPC_NOT_FOUND)
        return -1;
    err_clear(err);
    return modal_sandbox_by_name(app->modal, in->app, in->sandbox_name, /* v1= */ true, ret, err);
}

/* Asked for, but the answer never came, or its client died first: nothing ran in it yet. False: nobody answers. */
static bool find_by_name(struct app *app, const struct state_intent *in)
{
    struct modal_sandbox found = MODAL_SANDBOX_INIT;
    cleanup_err struct err err = ERR_INIT;

    if (!still_nameless(app, in))
        return true;
    if (by_name(app, in, &found, &err) == 0) {
        state_intent_made(app->state, in->sandbox_name, found.id, NULL);
        state_intent_ending(app->state, found.id, NULL);
        end_place(app, in->container_id, found.id);
        sandbox_never_came(app, in);
    } else if (err.code == GRPC_NOT_FOUND) {
        state_intent_drop(app->state, in->sandbox_name, NULL);
        sandbox_never_came(app, in);
    }
    modal_sandbox_clear(&found);
    return err.code != GRPC_UNAVAILABLE && err.code != GRPC_DEADLINE_EXCEEDED;
}

/*
 * Its client is gone. What runs goes on as with Docker, and what has ended is settled; what belongs to no container is
 * ended. Asking is a round trip, so it is done once in a while.
 */
static bool look_after(struct app *app, const struct state_intent *in)
{
    cleanup_with(container_clear) struct container c;
    cleanup_err struct err err = ERR_INIT;
    int got;

    container_init(&c, app);
    got = state_container_find(app->state, in->container_id, &c.row, &err);
    if (got < 0)
        return true;
    if (got == 0 || strcmp(c.row.id, in->container_id) || !c.row.sandbox_id ||
        strcmp(c.row.sandbox_id, in->sandbox_id)) {
        state_intent_ending(app->state, in->sandbox_id, NULL);
        end_place(app, in->container_id, in->sandbox_id);
        sandbox_never_came(app, in);
        return true;
    }
    if (container_watched(&c))
        return true;
    if (container_is(&c, "removing"))
        container_remove(&c, /* force= */ true, &err);
    else
        container_refresh(&c, &err);
    return err.code != GRPC_UNAVAILABLE && err.code != GRPC_DEADLINE_EXCEEDED;
}

/* Whether this one was looked at a moment ago; it counts as that from now on. */
static bool looked_at(struct app *app, const struct state_intent *in)
{
    cleanup_free char *key = xasprintf("looked after %s", in->sandbox_name), *said = NULL;

    if (state_cache_get(app->state, key, &said, time(NULL), NULL) > 0)
        return true;
    state_cache_put(app->state, key, "yes", time(NULL) + LOOK_AFTER_SECS, NULL);
    return false;
}

/* Nobody who could still finish what the intent speaks of. A pid that was given to another program since only makes us
 * wait for that one's end. */
static bool is_orphaned(const struct state_intent *in)
{
    if (in->pid <= 0) /* found on the server: nobody here asked for it */
        return true;
    return in->pid != getpid() && kill((pid_t)in->pid, 0) < 0 && errno == ESRCH;
}

/* One thing that an earlier command left. False: the server does not answer. */
static bool take_up(struct app *app, const struct state_intent *in)
{
    int pods = pod_take_up(app, in);

    if (pods != 0)
        return pods > 0;
    if (in->ending && in->sandbox_id) {
        end_place(app, in->container_id, in->sandbox_id);
        return true;
    }
    return in->sandbox_id ? look_after(app, in) : find_by_name(app, in);
}

static void reconcile(struct app *app, bool all)
{
    struct state_intent *list = NULL;
    size_t len = 0;
    bool answers = true;

    if (state_intent_list(app->state, app->server_key, &list, &len, NULL) < 0)
        return;
    for (size_t i = 0; i < len; i++) {
        const struct state_intent *in = &list[i];

        if (answers && (in->ending || is_orphaned(in)) && (in->ending || all || !looked_at(app, in))) {
            if (all)
                printf("%.12s: %s\n", in->container_id,
                       in->ending       ? "its sandbox is ended"
                       : in->sandbox_id ? "its client is gone; looked after"
                                        : "its client was killed while its sandbox was asked for");
            answers = take_up(app, in);
        }
        state_intent_clear(&list[i]);
    }
    free(list);
}

void sandbox_reconcile(struct app *app)
{
    reconcile(app, /* all= */ false);
    pod_reconcile(app, /* said= */ false);
    if (app->endings) /* a command that says nothing else to the server would leave before they did */
        modal_client_flush(app->modal, FLUSH_MS, NULL);
}

/* Folders without a row: each is made after its row, so what has none was left by a kill. */
static void sweep_folders(struct app *app)
{
    cleanup_free char *path = container_path("", NULL);
    cleanup_dir DIR *dir = opendir(path);
    const struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        struct state_container c = {0};

        if (strlen(entry->d_name) == CONTAINER_ID_LEN && state_container_find(app->state, entry->d_name, &c, NULL) == 0)
            container_dir_remove(entry->d_name);
        state_container_clear(&c);
    }
}

static bool all_answered(const struct app *app)
{
    for (const struct sandbox_ending *e = app->endings; e; e = e->next)
        if (!e->answered)
            return false;
    return true;
}

void sandbox_recover(struct app *app)
{
    int64_t until = loop_now() + RECOVER_MS;

    sweep_folders(app);
    reconcile(app, /* all= */ true);
    pod_reconcile(app, /* said= */ true);
    while (!all_answered(app) && loop_now() < until && loop_step(app->loop, until - loop_now()))
        ;
}
