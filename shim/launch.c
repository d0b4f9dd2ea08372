#include "shim/launch.h"

#include "backends/grpc/frame.h"
#include "backends/modal/task.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/tty.h"
#include "shim/agent.h"
#include "shim/app.h"
#include "shim/attach.h"
#include "shim/binds.h"
#include "shim/catalog.h"
#include "shim/events.h"
#include "shim/forward.h"
#include "shim/health.h"
#include "shim/inquiry.h"
#include "shim/pod.h"
#include "shim/sandbox.h"
#include "shim/tunnels.h"
#include "shim/volume.h"
#include "translate/signals.h"
#include "translate/wire/share.h"
#include "translate/terms.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define START_MS     300000 /* for a sandbox to be scheduled and its image to be brought */
#define BEHIND_TRIES 40
#define BEHIND_NS    250000000

/* ---- the sandbox ---- */

/* Where the container lives: in a pod, or alone, as for a look at its files. */
static int create_in(struct container *c, bool alone, const char *modal_image, char *intent, struct err *err)
{
    cleanup_with(volume_mounts_clear) struct volume_mounts v = {0};
    int ret;

    if (!alone && volume_mounts_make(c->app, &c->spec, &v, err) < 0) {
        if (intent)
            state_intent_drop(c->app->state, intent, NULL);
        free(intent);
        return -1;
    }
    if (!alone && pod_wanted(c))
        ret = pod_create_container(c, modal_image, intent, v.items, v.len, err);
    else
        ret = sandbox_create(c->app, &c->spec, modal_image, intent, v.items, v.len, &c->row, &c->task, err);
    if (ret < 0 && err && err->code == GRPC_NOT_FOUND)
        volumes_forget(c->app, &c->spec); /* one of them may be what is not there any more */
    return ret;
}

/* From the image; one that the server has forgotten is built once more. */
static int create_from_image(struct container *c, const struct state_image *image, bool alone, struct err *err)
{
    cleanup_free char *modal_image = NULL;
    struct err why = ERR_INIT;

    if (catalog_on_server(c->app, image, NULL, &modal_image, err) < 0)
        return -1;
    if (create_in(c, alone, modal_image, steal(&c->intent), &why) == 0)
        return 0;
    if (why.code != GRPC_NOT_FOUND) {
        err_move(err, &why);
        return err_wrap(err, "Error response from daemon");
    }
    err_clear(&why);
    free(steal(&modal_image));
    if (catalog_on_server_anew(c->app, image, NULL, &modal_image, err) < 0)
        return -1;
    if (create_in(c, alone, modal_image, NULL, err) < 0)
        return err_wrap(err, "Error response from daemon");
    return 0;
}

/* From what it left when it last ended. */
static int create_from_files(struct container *c, bool alone, struct err *err)
{
    if (create_in(c, alone, c->row.files, steal(&c->intent), err) == 0)
        return 0;
    if (err && err->code == GRPC_NOT_FOUND)
        err_wrap(err, "the server no longer has the files of container %s", c->row.name);
    return err_wrap(err, "Error response from daemon");
}

static int create_sandbox(struct container *c, const struct state_image *image, bool alone, struct err *err)
{
    struct state_image own = {0};
    int got;

    if (c->row.files)
        return create_from_files(c, alone, err);
    if (image)
        return create_from_image(c, image, alone, err);
    got = state_image_kept(c->app->state, c->row.image_id, &own, err);
    if (got == 0)
        err_set(err, 1, "Error response from daemon: No such image: %s", c->row.image_id);
    if (got > 0)
        got = create_from_image(c, &own, alone, err) < 0 ? -1 : 1;
    state_image_clear(&own);
    return got > 0 ? 0 : -1;
}

int launch_bare(struct container *c, struct err *err)
{
    return create_sandbox(c, /* image= */ NULL, /* alone= */ true, err);
}

int launch_sandbox(struct container *c, const struct state_image *image, struct err *err)
{
    cleanup_with(volumes_unclaim) struct volume_claim claim = {0};
    struct state_container *row = &c->row;
    int got;

    if (volumes_claim(c, &claim, err) < 0 || create_sandbox(c, image, /* alone= */ false, err) < 0)
        return -1;
    container_set_status(row, "running");
    row->started_ns = container_now_ns();
    row->stopped_by_user = false;
    row->restarts = 0;
    free(steal(&row->error));
    got = state_container_update(c->app->state, row,
                                 STATE_PART_STATUS | STATE_PART_SANDBOX | STATE_PART_STOPPED | STATE_PART_RESTARTS |
                                     STATE_PART_PORTS | STATE_PART_HEALTH,
                                 err);
    if (got > 0) {
        tunnels_remember(c);
        return 0;
    }
    if (got == 0)
        err_set(err, 1, "Error response from daemon: No such container: %s", row->id);
    modal_task_free(steal(&c->task));
    sandbox_end(c->app, row);
    return -1;
}

/* ---- the start ---- */

static uint8_t restart_on_wire(enum restart_policy policy)
{
    switch (policy) {
    case RESTART_ALWAYS:
        return WIRE_RESTART_ALWAYS;
    case RESTART_UNLESS_STOPPED:
        return WIRE_RESTART_UNLESS_STOPPED;
    case RESTART_ON_FAILURE:
        return WIRE_RESTART_ON_FAILURE;
    default:
        return WIRE_RESTART_NO;
    }
}

static struct session_start fill_start(const struct container *c)
{
    int signo = SIGNALS_TERM;

    if (c->process.stop_signal)
        signals_parse(c->process.stop_signal, &signo, NULL);
    return (struct session_start){
        .main = true,
        .argv = &c->process.argv,
        .env = &c->process.env,
        .cwd = c->process.workdir,
        .user = c->process.user,
        .tty = c->process.tty,
        .log = true,
        .restart = restart_on_wire(c->spec.restart),
        .restart_max = (uint32_t)c->spec.restart_max,
        .stop_signal = (uint8_t)signo,
        .record = c->row.record,
        .keep = !c->row.auto_remove || volumes_writable(&c->spec), /* the server is told to keep what was saved first */
    };
}

/* It could not be started: the sandbox goes, the container stays as it was but for the reason, or goes with --rm. */
static void start_failed(struct container *c, int code, const struct err *why)
{
    struct state_container *row = &c->row;

    modal_task_free(steal(&c->task));
    forward_sockets_free(steal(&c->sockets));
    free(steal(&row->ports));
    if (row->auto_remove) {
        event_container_once(c, "destroy", NULL);
        state_container_remove(c->app->state, row->id, NULL);
        container_dir_remove(row->id);
    }
    if (row->sandbox_id)
        sandbox_end(c->app, row);
    free(steal(&row->sandbox_id));
    if (row->auto_remove)
        volumes_remove_anonymous(c->app, &c->spec);
    if (row->auto_remove)
        return;
    container_set_status(row, row->finished_ns ? "exited" : "created");
    row->started_ns = 0;
    row->exit_code = code;
    free(row->error);
    row->error = xstrdup(why->msg ? why->msg : "");
    state_container_update(c->app->state, row, STATE_PART_STATUS | STATE_PART_SANDBOX | STATE_PART_PORTS, NULL);
}

/*
 * A volume was mounted before another container, which has ended since, had saved it for the last time: once more, as
 * what is mounted then is newer. False: that is not why it failed, or it was tried often enough; why says what counts.
 */
static bool relaunched(struct container *c, int *tries, struct err *why)
{
    if (!why->msg || !strstr(why->msg, SHARE_BEHIND) || ++*tries > BEHIND_TRIES)
        return false;
    modal_task_free(steal(&c->task));
    sandbox_end(c->app, &c->row);
    free(steal(&c->row.sandbox_id));
    nanosleep(&(struct timespec){.tv_nsec = BEHIND_NS}, NULL);
    err_clear(why);
    return launch_sandbox(c, /* image= */ NULL, why) == 0;
}

/* It runs: its ports get their process, and it is an event. */
static void on_started(void *arg)
{
    struct container *c = arg;

    forward_start(c);
    event_joins(c);
    event_container_once(c, "start", NULL);
}

static void start_detached(struct container *c, const struct binds *binds, struct inquiry *q)
{
    cleanup_with(wire_health_clear) struct wire_health health;
    cleanup_with(wire_names_clear) struct wire_names names;
    cleanup_strlist struct strlist terms = STRLIST_INIT;
    struct session_start start = fill_start(c);
    cleanup_free char *volumes = volumes_start_text(&c->spec);

    inquiry_init(q, c->row.sandbox_id, WIRE_ASK_BARRIER);
    start.volumes = volumes;
    start.health = health_on_wire(c, &health) ? &health : NULL;
    start.names = pod_names(c, &names) ? &names : NULL;
    terms_lines(&c->spec, &terms);
    start.terms = &terms;
    start.detached = true;
    start.attach_stdin = start.keep_stdin_open = c->process.open_stdin;
    q->start = &start;
    q->task = c->task;
    q->binds = binds;
    q->patience_ms = START_MS;
    q->alone = true;
    inquiry_run(c->app, q, 1, /* timeout_ms= */ 0);
    q->start = NULL;
}

int launch_detached(struct container *c, const struct binds *binds, struct err *err)
{
    cleanup_with(inquiry_clear) struct inquiry q;
    int code, tries = 0;

    start_detached(c, binds, &q);
    while (q.end == SESSION_REFUSED && relaunched(c, &tries, &q.err)) {
        inquiry_clear(&q);
        start_detached(c, binds, &q);
    }
    if (q.end == SESSION_DETACHED || q.end == SESSION_EXITED) {
        modal_task_free(steal(&c->task));
        on_started(c);
        return 0;
    }
    code = q.end == SESSION_LOST ? sandbox_autopsy(c->app, c->row.sandbox_id, &q.err) : q.code;
    start_failed(c, code > 0 ? code : 125, &q.err);
    err_move(err, &q.err);
    if (err)
        err->exit_code = code > 0 ? code : 125;
    return q.end == SESSION_REFUSED ? err_wrap(err, "Error response from daemon") : -1;
}

/* ---- the end, seen from the terminal ---- */

/* Somebody else has removed it, or is about to: what there is to be done is theirs. */
static bool others_end(struct container *c)
{
    cleanup_err struct err err = ERR_INIT;

    if (container_lock(c, &err) < 0)
        return true;
    if (c->row.sandbox_id && !container_is(c, "removing"))
        return false;
    container_unlock(c);
    return true;
}

/* A monitor takes over from us. */
static void hand_to_monitor(struct container *c)
{
    container_unlock(c);
    container_watch(c);
}

/* What its end leaves to be done. A pull that failed keeps the sandbox, so that what it holds can still be had. */
static void tidy(struct container *c, int code, bool pull_failed)
{
    struct state_container *row = &c->row;

    if (others_end(c))
        return;
    container_set_exited(row, code, 0);
    if (row->auto_remove && !pull_failed) {
        container_died(c);
        event_container_once(c, "destroy", NULL);
        state_container_remove(c->app->state, row->id, NULL);
        container_dir_remove(row->id); /* before the intent goes, by which a kill in between would be found */
        sandbox_end(c->app, row);
        volumes_remove_anonymous(c->app, &c->spec);
        container_unlock(c);
        return;
    }
    state_container_update(c->app->state, row, STATE_PART_STATUS, NULL);
    container_died(c);
    hand_to_monitor(c);
}

/* The connection ended before the command did. */
static int lost(struct container *c, struct attach_result *result, struct err *err)
{
    int code;

    if (container_reread(c, NULL) < 0 || container_is(c, "removing")) {
        err_clear(&result->err);
        return 137; /* docker rm -f, from elsewhere */
    }
    code = sandbox_autopsy(c->app, c->row.sandbox_id ? c->row.sandbox_id : "", &result->err);
    if (c->spec.mounts.len)
        err_wrap(&result->err, "what the container changed in its mounts was not brought back");
    if (code >= 0) {
        tidy(c, code, /* pull_failed= */ false);
        return code;
    }
    hand_to_monitor(c);
    err_move(err, &result->err);
    return err_wrap(err, "the connection to the container is lost");
}

static int finish(struct container *c, struct attach_result *result, struct err *err)
{
    int code = result->code;

    if (result->end == SESSION_EXITED && c->row.auto_remove && volumes_commit(c, &result->err) < 0)
        result->pull_failed = true; /* the sandbox stays, and what was saved in it can still be had */
    modal_task_free(steal(&c->task));
    switch (result->end) {
    case SESSION_LOST:
        code = lost(c, result, err);
        if (code < 0)
            return -1;
        break;
    case SESSION_DETACHED:
        hand_to_monitor(c);
        return 0;
    case SESSION_EXITED:
        tidy(c, code, result->pull_failed);
        break;
    default:
        start_failed(c, code, &result->err);
        err_move(err, &result->err);
        err->exit_code = code;
        return result->end == SESSION_REFUSED ? err_wrap(err, "Error response from daemon") : -1;
    }
    if (result->err.msg)
        fprintf(stderr, "docker: %s\n", result->err.msg);
    err_clear(&result->err);
    return code;
}

int launch_attached(struct container *c, const struct binds *binds, const struct launch_streams *streams,
                    struct err *err)
{
    struct attach_request req = {
        .agent = AGENT_PATH,
        .sandbox_id = c->row.sandbox_id,
        .start = fill_start(c),
        .mounts = binds->mounts,
        .mounts_len = binds->len,
        .stdin_attached = streams->stdin_attached,
        .stdout_attached = streams->stdout_attached,
        .stderr_attached = streams->stderr_attached,
        .raw_terminal = c->process.tty && streams->stdin_attached && tty_is(STDIN_FILENO),
        .sig_proxy = streams->sig_proxy,
        .detach_keys = streams->detach_keys,
        .lifetime_ms = sandbox_lifetime_ms(&c->spec),
        .started = on_started,
        .arg = c,
    };
    cleanup_with(wire_health_clear) struct wire_health health;
    cleanup_with(wire_names_clear) struct wire_names names;
    cleanup_strlist struct strlist terms = STRLIST_INIT;
    cleanup_free char *volumes = volumes_start_text(&c->spec);
    struct attach_result result;
    int tries = 0;

    req.start.volumes = volumes;
    req.start.health = health_on_wire(c, &health) ? &health : NULL;
    req.start.names = pod_names(c, &names) ? &names : NULL;
    terms_lines(&c->spec, &terms);
    req.start.terms = &terms;
    req.start.attach_stdin = streams->stdin_attached && c->process.open_stdin;
    if (c->process.tty && !tty_size(STDIN_FILENO, &req.start.rows, &req.start.cols))
        tty_size(STDOUT_FILENO, &req.start.rows, &req.start.cols);
    event_container(c, "attach", NULL);
    attach_run(c->app, c->task, &req, &result);
    while (result.end == SESSION_REFUSED && relaunched(c, &tries, &result.err)) {
        req.sandbox_id = c->row.sandbox_id;
        wire_names_clear(&names);
        req.start.names = pod_names(c, &names) ? &names : NULL; /* it may be another pod */
        attach_run(c->app, c->task, &req, &result);
    }
    return finish(c, &result, err);
}
