/*
 * Snapshots of a sandbox's filesystem as images (protocol 5.11): the router's call, which clients repeat under one
 * snapshot_id until it answers, and the older calls of the control plane. The copy goes on when a caller goes away.
 */
#include "backends/engine/engine.h"
#include "backends/engine/images.h"
#include "backends/engine/router.h"
#include "backends/engine/runtime.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/svc.h"
#include "backends/engine/svc_sandbox.h"
#include "backends/engine/timer.h"
#include "backends/engine/waiter.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/random.h"

#include <stdlib.h>
#include <string.h>

#define TTL_DEFAULT     (30 * 86400)           /* protocol 5.11 */
#define TTL_MAX         (1000LL * 365 * 86400) /* what is longer never ends */
#define TIMEOUT_DEFAULT 55.0
#define TIMEOUT_MAX     3600.0
#define MAX_ID          128u

/* The copy has ended: the sandbox's files may go. */
static void release(void *arg)
{
    struct sandbox *s = arg;

    s->reading--;
    if (s->rt)
        rt_sandbox_unhold(s->rt);
}

/* Begins the snapshot with that key, unless it was begun before; *ret_id is owned by caller. */
static int begin(struct sandbox *s, const char *key, int64_t ttl_secs, char **ret_id, struct err *err)
{
    struct images_snapshot snapshot = {
        .base_id = s->plan.image_id,
        .upper = rt_sandbox_upper(s->rt),
        .key = key,
        .ttl_secs = ttl_secs < TTL_MAX ? ttl_secs : -1,
        .done = release,
        .arg = s,
    };

    *ret_id = images_by_key(s->engine->images, key);
    if (*ret_id)
        return 0;
    if (images_snapshot(s->engine->images, &snapshot, ret_id, err) < 0)
        return svc_err(err, GRPC_FAILED_PRECONDITION, "the snapshot could not be begun: %s", err->msg);
    s->reading++;
    rt_sandbox_hold(s->rt);
    sandbox_activity(s);
    return 0;
}

/* ---- waiting for an image ---- */

typedef void await_fn(struct call *c, const char *id, enum images_state state, const char *error);

struct await {
    struct waiter waiter;
    struct timer *timer;
    struct call *call;
    char *id;
    await_fn *done;
};

static void release_await(struct call *c)
{
    struct await *a = c->state;

    waiter_del(&a->waiter);
    timer_stop(&a->timer);
    free(a->id);
    free(a);
}

/* Leaves the wait and answers. */
static void finish(struct await *a, enum images_state state, const char *error)
{
    struct call *c = a->call;
    await_fn *done = a->done;
    cleanup_free char *id = steal(&a->id);

    release_await(c);
    c->state = NULL;
    c->release = NULL;
    done(c, id, state, error);
}

static void look_again(struct waiter *w, void *arg)
{
    struct await *a = arg;
    struct engine *e = a->call->engine;
    enum images_state state = IMAGES_FAILED;
    const char *error = "it was deleted";

    images_state(e->images, a->id, &state, &error);
    if (state == IMAGES_BUILDING)
        waiter_add(&e->image_waiters, w, look_again, a);
    else
        finish(a, state, error);
}

static void on_time(void *arg)
{
    finish(arg, IMAGES_BUILDING, NULL);
}

/* Calls done when the image is ready or has failed, or while it is BUILDING after so many seconds (< 0: never). */
static void await_image(struct call *c, const char *id, double seconds, await_fn *done)
{
    struct await *a = xcalloc(1, sizeof(*a));

    a->call = c;
    a->id = xstrdup(id);
    a->done = done;
    c->state = a;
    c->release = release_await;
    if (seconds >= 0)
        timer_start(&a->timer, c->engine->loop, (uint64_t)(seconds < TIMEOUT_MAX ? seconds * 1000 : TIMEOUT_MAX * 1000),
                    on_time, a);
    look_again(&a->waiter, a);
}

/* ---- the router's call ---- */

typedef Modal__TaskCommandRouter__TaskSnapshotFilesystemRequest fs_request;

static int check(const fs_request *r, struct err *err)
{
    if (!svc_text(r->snapshot_id)[0] || strlen(r->snapshot_id) > MAX_ID)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "a snapshot needs a snapshot_id");
    if (r->has_ttl_seconds && (r->ttl_seconds == 0 || r->ttl_seconds < -1))
        return svc_err(err, GRPC_INVALID_ARGUMENT, "ttl_seconds must be positive, or -1 for no end");
    if (r->has_customer_supplied_encryption_key)
        return svc_err(err, GRPC_UNIMPLEMENTED, "encrypted snapshots are not supported by this server");
    return svc_no_unknown(&r->base, "the snapshot", err);
}

static void reply_fs(struct call *c, const char *id, enum images_state state, const char *error)
{
    Modal__TaskCommandRouter__TaskSnapshotFilesystemResponse response =
        MODAL__TASK_COMMAND_ROUTER__TASK_SNAPSHOT_FILESYSTEM_RESPONSE__INIT;

    if (state != IMAGES_READY) {
        call_fail(c, GRPC_FAILED_PRECONDITION, "the snapshot could not be made: %s", svc_text(error));
        return;
    }
    response.image_id = SVC_CONST(id);
    call_reply(c, &response);
}

/* A repeat is answered also when the sandbox has ended since. */
static void task_snapshot_filesystem(struct call *c, const void *request)
{
    const fs_request *r = request;
    cleanup_free char *key = xasprintf("snapshot %s %s", svc_text(r->task_id), svc_text(r->snapshot_id)), *id = NULL;
    struct sandbox *s = router_task(c, r->task_id);
    cleanup_err struct err err = ERR_INIT;

    if (!s)
        return;
    id = images_by_key(c->engine->images, key);
    if (!id && !router_running(c, r->task_id))
        return;
    if (!id && (check(r, &err) < 0 || begin(s, key, r->has_ttl_seconds ? r->ttl_seconds : TTL_DEFAULT, &id, &err) < 0))
        svc_fail(c, &err);
    else
        await_image(c, id, /* seconds= */ -1, reply_fs);
}

/* ---- the control plane's calls ---- */

/* Answers for SandboxSnapshotFs, with the image's fate as its result. */
static void reply_legacy(struct call *c, const char *id, enum images_state state, const char *error)
{
    Modal__Client__SandboxSnapshotFsResponse response = MODAL__CLIENT__SANDBOX_SNAPSHOT_FS_RESPONSE__INIT;
    Modal__Client__GenericResult result = MODAL__CLIENT__GENERIC_RESULT__INIT;
    Modal__Client__ImageMetadata metadata = MODAL__CLIENT__IMAGE_METADATA__INIT;
    const struct image_config *config;

    result.has_status = 1;
    result.status = MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_SUCCESS;
    response.result = &result;
    if (state == IMAGES_READY) {
        config = images_configuration(c->engine->images, id);
        metadata.workdir = config->workdir;
        response.image_id = SVC_CONST(id);
        response.image_metadata = &metadata;
    } else if (state == IMAGES_BUILDING) {
        result.status = MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_TIMEOUT;
        result.exception = SVC_CONST("the snapshot is not finished yet");
    } else {
        result.status = MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_FAILURE;
        result.exception = SVC_CONST(svc_text(error));
    }
    call_reply(c, &response);
}

/* Begins for a call that names no snapshot: its repeats bear the same idempotency key. NULL when the call was ended. */
static char *begin_legacy(struct call *c, const char *sandbox_id)
{
    struct sandbox *s = svc_sandbox(c, sandbox_id);
    cleanup_err struct err err = ERR_INIT;
    cleanup_free char *key = NULL;
    char random[33] = "";
    char *id = NULL;

    if (!s)
        return NULL;
    if (s->state != SANDBOX_RUNNING) {
        call_fail(c, GRPC_FAILED_PRECONDITION, "Sandbox %s is not running", s->id);
        return NULL;
    }
    if (!svc_text(c->meta.idempotency_key)[0] && random_hex(random, 32, &err) < 0) {
        svc_fail(c, &err);
        return NULL;
    }
    key = xasprintf("snapshot %s %.*s%s", s->id, (int)MAX_ID, svc_text(c->meta.idempotency_key), random);
    if (begin(s, key, TTL_DEFAULT, &id, &err) < 0)
        svc_fail(c, &err);
    return id;
}

static double patience(bool has, float seconds)
{
    return has && seconds > 0 ? (double)seconds : TIMEOUT_DEFAULT;
}

static void sandbox_snapshot_fs(struct call *c, const void *request)
{
    const Modal__Client__SandboxSnapshotFsRequest *r = request;
    cleanup_free char *id = begin_legacy(c, r->sandbox_id);

    if (id)
        await_image(c, id, patience(r->has_timeout, r->timeout), reply_legacy);
}

static void sandbox_snapshot_fs_async(struct call *c, const void *request)
{
    const Modal__Client__SandboxSnapshotFsAsyncRequest *r = request;
    Modal__Client__SandboxSnapshotFsAsyncResponse response = MODAL__CLIENT__SANDBOX_SNAPSHOT_FS_ASYNC_RESPONSE__INIT;
    cleanup_free char *id = begin_legacy(c, r->sandbox_id);

    if (!id)
        return;
    response.image_id = id;
    call_reply(c, &response);
}

static void sandbox_snapshot_fs_async_get(struct call *c, const void *request)
{
    const Modal__Client__SandboxSnapshotFsAsyncGetRequest *r = request;
    enum images_state state;

    if (images_state(c->engine->images, svc_text(r->image_id), &state, NULL) < 0)
        call_fail(c, GRPC_NOT_FOUND, "image %s not found", svc_text(r->image_id));
    else
        await_image(c, r->image_id, patience(r->has_timeout, r->timeout), reply_legacy);
}

const struct rpc_method svc_snapshot_methods[] = {
    {"SandboxSnapshotFs", SVC_REQUEST(sandbox_snapshot_fs_request), RPC_UNARY, 0, sandbox_snapshot_fs},
    {"SandboxSnapshotFsAsync", SVC_REQUEST(sandbox_snapshot_fs_async_request), RPC_UNARY, 0, sandbox_snapshot_fs_async},
    {"SandboxSnapshotFsAsyncGet", SVC_REQUEST(sandbox_snapshot_fs_async_get_request), RPC_UNARY, 0,
     sandbox_snapshot_fs_async_get},
    {0},
};

const struct rpc_method svc_task_snapshot_methods[] = {
    {"TaskSnapshotFilesystem", SVC_ROUTER_REQUEST(task_snapshot_filesystem_request), RPC_UNARY, RPC_ROUTER,
     task_snapshot_filesystem},
    {0},
};
