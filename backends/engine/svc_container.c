/*
 * Sidecars, on the task command router (protocol 5.12) but for one call of newer clients. What has ended can be asked
 * for as long as the sandbox's record is kept, also when the task has finished.
 */
#include "backends/engine/engine.h"
#include "backends/engine/ids.h"
#include "backends/engine/plan.h"
#include "backends/engine/router.h"
#include "backends/engine/sidecar.h"
#include "backends/engine/svc.h"
#include "backends/engine/svc_sandbox.h"
#include "backends/engine/waiter.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define MAIN "main" /* the first container's name */

typedef Modal__TaskCommandRouter__TaskContainerInfo container_info;

/* ---- create ---- */

/* What a sidecar cannot have, of the things that a Sandbox definition can say; plan_make() refuses the rest. */
static int check_definition(const Modal__Client__Sandbox *def, struct err *err)
{
    const Modal__Client__Resources *r = def->resources;

    if (def->network_access &&
        (int)def->network_access->network_access_type == MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__BLOCKED)
        return svc_err(err, GRPC_INVALID_ARGUMENT,
                       "a sidecar cannot have its network blocked, it would not reach the main container: use an empty "
                       "allow list");
    if (r && (r->memory_mb || r->memory_mb_max || r->milli_cpu || r->milli_cpu_max))
        return svc_err(err, GRPC_UNIMPLEMENTED, "a sidecar has no memory or CPU of its own, it shares the Sandbox's");
    if (def->open_ports_oneof_case || def->readiness_probe || def->block_network || svc_text(def->name)[0] ||
        def->n_mount_ids || def->timeout_secs || (def->has_idle_timeout_secs && def->idle_timeout_secs))
        return svc_err(err, GRPC_INVALID_ARGUMENT, "ports, probes, names, mounts and time-outs are the Sandbox's");
    return 0;
}

static int check_name(const char *name, struct err *err)
{
    if (strcmp(name, MAIN) == 0)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "the container name \"" MAIN "\" is the main container's");
    if (!name_is_valid(name))
        return svc_err(err, GRPC_INVALID_ARGUMENT, "Invalid container name: \"%s\"", name);
    return 0;
}

struct creation { /* a call that waits for its container */
    struct waiter waiter;
    struct call *call;
    struct sidecar *sidecar;
};

static void release_creation(struct call *c)
{
    struct creation *w = c->state;

    waiter_del(&w->waiter);
    free(w);
}

/* Both create calls answer alike. */
static void reply_create(struct call *c, const struct sidecar *sidecar)
{
    Modal__TaskCommandRouter__TaskContainerCreateResponse router =
        MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_CREATE_RESPONSE__INIT;
    Modal__Client__SandboxContainerCreateV2Response control = MODAL__CLIENT__SANDBOX_CONTAINER_CREATE_V2_RESPONSE__INIT;

    router.container_id = control.container_id = sidecar->id;
    router.container_name = control.container_name = sidecar->name;
    if (c->method->flags & RPC_ROUTER)
        call_reply(c, &router);
    else
        call_reply(c, &control);
}

/* The container has been started, or was not; one that has run and ended already was. */
static void on_start(struct waiter *waiter, void *arg)
{
    struct creation *w = arg;
    struct call *c = w->call;
    struct sidecar *sidecar = w->sidecar;

    (void)waiter;
    release_creation(c);
    c->state = NULL;
    c->release = NULL;
    if (sidecar->state == SANDBOX_ENDED &&
        sidecar->status == MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_INIT_FAILURE)
        call_fail(c, GRPC_FAILED_PRECONDITION, "the container %s could not be started: %s", sidecar->name,
                  svc_text(sidecar->exception));
    else
        reply_create(c, sidecar);
}

/* A sidecar is a Sandbox definition with fewer fields: one place decides what they mean. v2 has more variables. */
static void create(struct call *c, struct sandbox *s, const char *name, const Modal__Client__Sandbox *def,
                   const Modal__Client__SandboxCreateV2Request *v2)
{
    cleanup_err struct err err = ERR_INIT;
    struct sidecar *sidecar = NULL;
    struct plan plan = {0};
    struct creation *w;

    if (check_name(svc_text(name), &err) == 0 && svc_no_unknown(c->request, "the container", &err) == 0 &&
        check_definition(def, &err) == 0 && plan_make(c->engine, def, v2, &plan, &err) == 0)
        sidecar = sidecar_create(s, name, &plan, &err);
    plan_clear(&plan);
    if (!sidecar) {
        svc_fail(c, &err);
        return;
    }
    w = xcalloc(1, sizeof(*w));
    w->call = c;
    w->sidecar = sidecar;
    c->state = w;
    c->release = release_creation;
    waiter_add(&sidecar->changes, &w->waiter, on_start, w);
}

static void task_container_create(struct call *c, const void *request)
{
    const Modal__TaskCommandRouter__TaskContainerCreateRequest *r = request;
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    Modal__Client__StringMap variables = MODAL__CLIENT__STRING_MAP__INIT;
    Modal__Client__SandboxCreateV2Request more = MODAL__CLIENT__SANDBOX_CREATE_V2_REQUEST__INIT;
    struct sandbox *s = router_running(c, r->task_id);

    if (!s)
        return;
    if (r->has_memory_reserve_consume_mib) {
        call_fail(c, GRPC_UNIMPLEMENTED, "a memory reserve for sidecars is not supported by this server");
        return;
    }
    variables.contents = r->env;
    variables.n_contents = r->n_env;
    def.image_id = r->image_id;
    def.entrypoint_args = r->args;
    def.n_entrypoint_args = r->n_args;
    def.workdir = r->workdir;
    def.secret_ids = r->secret_ids;
    def.n_secret_ids = r->n_secret_ids;
    def.volume_mounts = r->volume_mounts;
    def.n_volume_mounts = r->n_volume_mounts;
    def.network_access = r->network_access;
    def.pty_info = r->pty_info;
    def.environment_variables = &variables;
    more.secret_sources = r->secret_sources;
    more.n_secret_sources = r->n_secret_sources;
    create(c, s, r->container_name, &def, &more);
}

static void again(struct call *c, bool timed_out)
{
    (void)timed_out;
    c->method->handle(c, c->request);
}

/* Newer clients' way for V2 Sandboxes. */
static void sandbox_container_create_v2(struct call *c, const void *request)
{
    const Modal__Client__SandboxContainerCreateV2Request *r = request;
    Modal__Client__SandboxCreateV2Request more = MODAL__CLIENT__SANDBOX_CREATE_V2_REQUEST__INIT;
    struct sandbox *s = svc_sandbox(c, r->sandbox_id);

    if (!s)
        return;
    if (s->state == SANDBOX_STARTING) {
        svc_park(c, &s->changes, /* seconds= */ -1, again);
        return;
    }
    if (s->state == SANDBOX_ENDED) {
        call_fail(c, GRPC_NOT_FOUND, "Sandbox %s has finished", s->id);
        return;
    }
    if (!r->definition || r->n_cloud_bucket_mount_credentials) {
        call_fail(c, r->definition ? GRPC_UNIMPLEMENTED : GRPC_INVALID_ARGUMENT, "%s",
                  r->definition ? "cloud bucket mounts are not supported by this server"
                                : "the request has no definition of the container");
        return;
    }
    more.ephemeral_secrets = r->ephemeral_secrets;
    more.secret_sources = r->secret_sources;
    more.n_secret_sources = r->n_secret_sources;
    create(c, s, r->container_name, r->definition, &more);
}

/* ---- get, list ---- */

/* The words of the platform's own test peer: clients show them and read nothing into them. */
static const char *status_word(const struct sidecar *c)
{
    if (c->state != SANDBOX_ENDED)
        return c->ending ? "stopping" : "running";
    switch (c->status) {
    case MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_SUCCESS:
        return "success";
    case MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_TERMINATED:
        return "terminated";
    default:
        return "failure";
    }
}

/* Fills ret (strings borrowed) and returns true once it has ended. */
static bool fill_result(const struct sidecar *c, Modal__Client__GenericResult *ret)
{
    if (c->state != SANDBOX_ENDED)
        return false;
    modal__client__generic_result__init(ret);
    ret->has_status = ret->has_exitcode = 1;
    ret->status = (Modal__Client__GenericResult__GenericStatus)c->status;
    ret->exitcode = c->exit_code;
    ret->exception = c->exception;
    return true;
}

static void fill_info(const struct sidecar *c, container_info *ret, Modal__Client__GenericResult *result)
{
    modal__task_command_router__task_container_info__init(ret);
    ret->container_id = c->id;
    ret->container_name = c->name;
    ret->status = SVC_CONST(status_word(c));
    if (fill_result(c, result))
        ret->result = result;
}

static void task_container_get(struct call *c, const void *request)
{
    const Modal__TaskCommandRouter__TaskContainerGetRequest *r = request;
    Modal__TaskCommandRouter__TaskContainerGetResponse response =
        MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_GET_RESPONSE__INIT;
    const struct sandbox *s = router_task(c, r->task_id);
    const struct sidecar *sidecar =
        s ? sidecar_by_name(s, svc_text(r->container_name), r->has_include_terminated && r->include_terminated) : NULL;
    Modal__Client__GenericResult result;
    container_info info;

    if (!s)
        return;
    if (!sidecar) {
        call_fail(c, GRPC_NOT_FOUND, "container \"%s\" not found", svc_text(r->container_name));
        return;
    }
    fill_info(sidecar, &info, &result);
    response.container = &info;
    call_reply(c, &response);
}

/* The oldest first, as they were created. */
static void task_container_list(struct call *c, const void *request)
{
    const Modal__TaskCommandRouter__TaskContainerListRequest *r = request;
    Modal__TaskCommandRouter__TaskContainerListResponse response =
        MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_LIST_RESPONSE__INIT;
    const struct sandbox *s = router_task(c, r->task_id);
    bool ended_too = r->has_include_terminated && r->include_terminated;
    cleanup_free Modal__Client__GenericResult *results = NULL;
    cleanup_free container_info *infos = NULL, **list = NULL;
    size_t len = 0, at;

    if (!s)
        return;
    for (const struct sidecar *one = s->sidecars; one; one = one->next)
        len += ended_too || one->state != SANDBOX_ENDED;
    results = xcalloc(len + 1, sizeof(*results));
    infos = xcalloc(len + 1, sizeof(*infos));
    list = xcalloc(len + 1, sizeof(*list));
    at = len;
    for (const struct sidecar *one = s->sidecars; one; one = one->next) {
        if (!ended_too && one->state == SANDBOX_ENDED)
            continue;
        at--;
        fill_info(one, &infos[at], &results[at]);
        list[at] = &infos[at];
    }
    response.containers = list;
    response.n_containers = len;
    call_reply(c, &response);
}

/* ---- terminate, wait ---- */

/* The sidecar that a call means; NULL: the call was ended. */
static struct sidecar *find(struct call *c, const char *task_id, const char *container_id)
{
    const struct sandbox *s = router_task(c, task_id);
    struct sidecar *sidecar = s ? sidecar_by_id(s, svc_text(container_id)) : NULL;

    if (s && !sidecar)
        call_fail(c, GRPC_NOT_FOUND, "container %s not found", svc_text(container_id));
    return sidecar;
}

static void task_container_terminate(struct call *c, const void *request)
{
    const Modal__TaskCommandRouter__TaskContainerTerminateRequest *r = request;
    Modal__TaskCommandRouter__TaskContainerTerminateResponse response =
        MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_TERMINATE_RESPONSE__INIT;
    struct sidecar *sidecar = find(c, r->task_id, r->container_id);

    if (!sidecar)
        return;
    sidecar_terminate(sidecar);
    call_reply(c, &response);
}

static void reply_wait(struct call *c, const struct sidecar *sidecar)
{
    Modal__TaskCommandRouter__TaskContainerWaitResponse response =
        MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_WAIT_RESPONSE__INIT;
    Modal__Client__GenericResult result;

    if (fill_result(sidecar, &result))
        response.result = &result;
    call_reply(c, &response);
}

/* Woken by a step or by time; a start in between lets the wait begin anew. */
static void wait_over(struct call *c, bool timed_out)
{
    const Modal__TaskCommandRouter__TaskContainerWaitRequest *r = c->request;
    struct sidecar *sidecar = find(c, r->task_id, r->container_id);

    if (!sidecar)
        return;
    if (sidecar->state == SANDBOX_RUNNING && !timed_out)
        svc_park(c, &sidecar->changes, (double)r->timeout, wait_over);
    else
        reply_wait(c, sidecar);
}

static void task_container_wait(struct call *c, const void *request)
{
    const Modal__TaskCommandRouter__TaskContainerWaitRequest *r = request;
    struct sidecar *sidecar = find(c, r->task_id, r->container_id);

    if (!sidecar)
        return;
    if (sidecar->state == SANDBOX_ENDED || !(r->timeout > 0))
        reply_wait(c, sidecar);
    else
        svc_park(c, &sidecar->changes, (double)r->timeout, wait_over);
}

const struct rpc_method svc_container_methods[] = {
    {"TaskContainerCreate", SVC_ROUTER_REQUEST(task_container_create_request), RPC_UNARY, RPC_ROUTER,
     task_container_create},
    {"TaskContainerGet", SVC_ROUTER_REQUEST(task_container_get_request), RPC_UNARY, RPC_ROUTER, task_container_get},
    {"TaskContainerList", SVC_ROUTER_REQUEST(task_container_list_request), RPC_UNARY, RPC_ROUTER, task_container_list},
    {"TaskContainerTerminate", SVC_ROUTER_REQUEST(task_container_terminate_request), RPC_UNARY, RPC_ROUTER,
     task_container_terminate},
    {"TaskContainerWait", SVC_ROUTER_REQUEST(task_container_wait_request), RPC_UNARY, RPC_ROUTER, task_container_wait},
    {0},
};

const struct rpc_method svc_container_v2_methods[] = {
    {"SandboxContainerCreateV2", SVC_REQUEST(sandbox_container_create_v2_request), RPC_UNARY, RPC_ONCE | RPC_V2,
     sandbox_container_create_v2},
    {0},
};
