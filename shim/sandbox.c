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
#include "translate/spec.h"

#include <errno.h>
#include <signal.h>
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

/* "atp-<scope>-<short id>": at most 64 characters of what Modal takes (protocol 9.3). */
static char *sandbox_name(struct app *app, const char *id)
{
    return xasprintf("atp-%.24s-%.12s", app_scope(app), id);
}

/* What a list must be able to filter on (design 4). */
static void add_tags(struct app *app, const struct container_spec *spec, struct strlist *tags)
{
    strlist_addf(tags, "atp-scope=%s", app_scope(app));
    strlist_addf(tags, "atp-id=%.12s", spec->id);
    strlist_add(tags, "atp-kind=container");
}

/* OPEN, BLOCKED, or what modal.cidr_allowlist lets through. */
static void set_network(const struct container_spec *spec, struct modal_sandbox_spec *ret)
{
    if (spec->network == NETWORK_NONE) {
        ret->network = MODAL_NETWORK_BLOCKED;
    } else if (modal_given(&spec->modal, MODAL_KEY_CIDR_ALLOWLIST)) {
        ret->network = MODAL_NETWORK_ALLOWLIST;
        strlist_copy(&ret->cidrs, modal_list(&spec->modal, MODAL_KEY_CIDR_ALLOWLIST));
    } else {
        ret->network = MODAL_NETWORK_OPEN;
    }
}

int64_t sandbox_lifetime_ms(const struct container_spec *spec)
{
    int64_t secs = modal_int(&spec->modal, MODAL_KEY_TIMEOUT);

    return (secs < LIFETIME_MAX_SECS - PULL_MARGIN_SECS ? secs : LIFETIME_MAX_SECS - PULL_MARGIN_SECS) * 1000;
}

/* The container's words as Modal's definition. Strings are borrowed from spec. */
static void define(struct app *app, const struct container_spec *spec, struct modal_sandbox_spec *ret)
{
    const char *region = modal_str(&spec->modal, MODAL_KEY_REGION);

    strlist_add(&ret->args, AGENT_PATH);
    strlist_add(&ret->args, "init");
    strlist_add(&ret->args, "--orphan-grace");
    strlist_addf(&ret->args, "%lld", (long long)modal_int(&spec->modal, MODAL_KEY_ORPHAN_GRACE) * 1000);
    add_tags(app, spec, &ret->tags);
    ret->timeout_s = (uint32_t)(sandbox_lifetime_ms(spec) / 1000 + PULL_MARGIN_SECS);
    ret->idle_timeout_s = (uint32_t)modal_int(&spec->modal, MODAL_KEY_IDLE_TIMEOUT);
    ret->cloud = modal_str(&spec->modal, MODAL_KEY_CLOUD);
    if (region)
        strlist_split(&ret->regions, region, ',');
    ret->verbose = modal_bool(&spec->modal, MODAL_KEY_VERBOSE);
    ret->cpu_milli = ret->cpu_milli_max = spec->milli_cpu;
    ret->memory_mib = ret->memory_mib_max = spec->memory_mib;
    set_network(spec, ret);
}

/* Writes down what is about to be asked for. */
static int write_intent(struct app *app, const struct state_container *c, const struct container_spec *spec,
                        const char *name, struct err *err)
{
    const struct state_intent intent = {
        .container_id = c->id,
        .server = app->server_key,
        .app = (char *)modal_str(&spec->modal, MODAL_KEY_APP),
        .sandbox_name = (char *)name,
        .pid = getpid(),
        .created = time(NULL),
    };

    return state_intent_add(app->state, &intent, err);
}

/* Whether a call that failed may have been carried out, its answer lost. Its intent stays then: the next command looks
 * for the sandbox by name. */
static bool may_have_arrived(const struct err *err)
{
    return err->code == GRPC_UNAVAILABLE || err->code == GRPC_DEADLINE_EXCEEDED || err->code == GRPC_CANCELLED ||
           err->code == GRPC_INTERNAL || err->code == GRPC_UNKNOWN;
}

int sandbox_create(struct app *app, const struct container_spec *spec, const char *modal_image,
                   struct state_container *container, struct modal_task **ret_task, struct err *err)
{
    cleanup_free char *app_id = NULL, *name = sandbox_name(app, spec->id);
    struct modal_sandbox_spec definition = {.image_id = modal_image, .name = name};
    struct modal_sandbox made = MODAL_SANDBOX_INIT;
    int ret = -1;

    if (modal_app_id(app->modal, modal_str(&spec->modal, MODAL_KEY_APP), &app_id, err) < 0)
        return -1;
    definition.app_id = app_id;
    define(app, spec, &definition);
    if (write_intent(app, container, spec, name, err) == 0) {
        ret = modal_sandbox_create(app->modal, &definition, &made, err);
        if (ret < 0 && !may_have_arrived(err))
            state_intent_drop(app->state, container->id, NULL);
    }
    modal_sandbox_spec_clear(&definition);
    if (ret < 0)
        return -1;
    container->server = xstrdup(app->server_key);
    container->sandbox_id = xstrdup(made.id);
    modal_sandbox_clear(&made);
    if (state_intent_update(app->state, container->id, container->sandbox_id, /* ending= */ false, err) < 0 ||
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
    char *container_id;
    bool answered;
};

/* A sandbox is known to be gone: its intent goes, and a container whose client died before it could say so has ended.
 */
static void note_gone(struct app *app, const char *container_id, int code)
{
    struct state_container c = {0};

    state_intent_drop(app->state, container_id, NULL);
    if (state_container_find(app->state, container_id, &c, NULL) <= 0)
        return;
    if (c.auto_remove) {
        state_container_remove(app->state, c.id, NULL);
    } else if (strcmp(c.status, "exited")) {
        free(c.status);
        c.status = xstrdup("exited");
        c.exit_code = code;
        c.finished_ns = (int64_t)time(NULL) * 1000000000;
        state_container_update(app->state, &c, STATE_PART_STATUS, NULL);
    }
    state_container_clear(&c);
}

#define TERMINATED 137 /* what Docker and Modal call an end from outside */

static void on_terminated(void *arg, const struct err *err)
{
    struct sandbox_ending *e = arg;

    e->answered = true;
    if (!err || err->code == GRPC_NOT_FOUND)
        note_gone(e->app, e->container_id, TERMINATED);
}

void sandbox_end(struct app *app, const struct state_container *container)
{
    struct sandbox_ending e = {.app = app, .container_id = container->id};
    int64_t until = loop_now() + CONFIRM_MS;

    state_intent_update(app->state, container->id, container->sandbox_id, /* ending= */ true, NULL);
    modal_sandbox_terminate_start(app->modal, container->sandbox_id, on_terminated, &e);
    modal_client_flush(app->modal, FLUSH_MS, NULL);
    while (!e.answered && loop_now() < until && loop_step(app->loop, until - loop_now()))
        ;
    if (!e.answered)
        app_disconnect(app); /* the answer would find nobody */
}

int sandbox_autopsy(struct app *app, const struct state_container *container, struct err *ret_why)
{
    struct modal_ending ending = MODAL_ENDING_INIT;
    int code = -1;

    /* its streams end a moment before the server has written down how it ended */
    if (modal_sandbox_wait(app->modal, container->sandbox_id, AUTOPSY_MS, &ending, NULL) == 0 && ending.finished) {
        const char *why = ending.exception          ? ending.exception
                          : ending.exit_code == 124 ? "its time is over (label modal.timeout)"
                                                    : NULL;

        /* what the command gave and wrote is not known: the sandbox's own success is none of the command's */
        code = ending.exit_code ? ending.exit_code : 125;
        err_set(ret_why, code, "the sandbox %s has ended%s%s (%d)", container->sandbox_id, why ? ": " : "",
                why ? why : "", ending.exit_code);
    }
    modal_ending_clear(&ending);
    return code;
}

/* ---- what earlier commands left ---- */

/* Ends it again: the first terminate may never have arrived. The answer may come while this command does its own work.
 */
static void end_again(struct app *app, const struct state_intent *in)
{
    struct sandbox_ending *e = xcalloc(1, sizeof(*e));

    *e = (struct sandbox_ending){.next = app->endings, .app = app, .container_id = xstrdup(in->container_id)};
    app->endings = e;
    modal_sandbox_terminate_start(app->modal, in->sandbox_id, on_terminated, e);
}

void sandbox_forget_endings(struct app *app)
{
    while (app->endings) {
        struct sandbox_ending *next = app->endings->next;

        free(app->endings->container_id);
        free(app->endings);
        app->endings = next;
    }
}

/* Asked for, but the answer never came, or its client died first: nothing ran in it yet. False: nobody answers. */
static bool find_by_name(struct app *app, const struct state_intent *in)
{
    struct modal_sandbox found = MODAL_SANDBOX_INIT;
    cleanup_err struct err err = ERR_INIT;

    if (modal_sandbox_by_name(app->modal, in->app, in->sandbox_name, /* v1= */ false, &found, &err) == 0) {
        struct state_intent known = *in;

        known.sandbox_id = found.id;
        end_again(app, &known);
    } else if (err.code == GRPC_NOT_FOUND) {
        note_gone(app, in->container_id, TERMINATED);
    }
    modal_sandbox_clear(&found);
    return err.code != GRPC_UNAVAILABLE && err.code != GRPC_DEADLINE_EXCEEDED;
}

/*
 * Its client is gone. What runs goes on as with Docker, and ends by the agent's orphan rule; what has ended is
 * forgotten. Asking is a round trip, so it is done once in a while.
 */
static void look_after(struct app *app, const struct state_intent *in)
{
    cleanup_free char *key = xasprintf("looked after %s", in->container_id), *said = NULL;
    struct modal_ending ending = MODAL_ENDING_INIT;
    cleanup_err struct err err = ERR_INIT;

    if (state_cache_get(app->state, key, &said, time(NULL), NULL) > 0)
        return;
    state_cache_put(app->state, key, "yes", time(NULL) + LOOK_AFTER_SECS, NULL);
    if (modal_sandbox_poll(app->modal, in->sandbox_id, &ending, &err) == 0 ? ending.finished
                                                                           : err.code == GRPC_NOT_FOUND)
        state_intent_drop(app->state, in->container_id, NULL);
    modal_ending_clear(&ending);
}

void sandbox_reconcile(struct app *app)
{
    struct state_intent *list = NULL;
    size_t len = 0;
    bool answers = true;

    if (state_intent_list(app->state, app->server_key, &list, &len, NULL) < 0)
        return;
    for (size_t i = 0; i < len; i++) {
        const struct state_intent *in = &list[i];
        bool orphaned = in->pid != getpid() && kill((pid_t)in->pid, 0) < 0 && errno == ESRCH;

        if (in->ending && in->sandbox_id)
            end_again(app, in);
        else if (orphaned && in->sandbox_id)
            look_after(app, in);
        else if (orphaned && answers)
            answers = find_by_name(app, in);
        state_intent_clear(&list[i]);
    }
    free(list);
}
