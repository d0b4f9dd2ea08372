/*
 * Sidecars on the task command router (protocol 5.12). What has ended can be asked for as long as the sandbox's record
 * is kept, also when the task has finished.
 */
#include "backends/engine/engine.h"
#include "backends/engine/ids.h"
#include "backends/engine/plan.h"
#include "backends/engine/router.h"
#include "backends/engine/sidecar.h"
#include "backends/engine/svc.h"
#include "backends/engine/waiter.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define MAIN "main" /* the first container's name */

typedef Modal__TaskCommandRouter__TaskContainerCreateRequest create_request;
typedef Modal__TaskCommandRouter__TaskContainerInfo container_info;

/* ---- create ---- */

static int check_create(const create_request *r, struct err *err)
{
    const char *name = svc_text(r->container_name);

    if (strcmp(name, MAIN) == 0)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "the container name \"" MAIN "\" is the main container's");
    if (!name_is_valid(name))
        return svc_err(err, GRPC_INVALID_ARGUMENT, "Invalid container name: \"%s\"", name);
    if (r->network_access &&
        (int)r->network_access->network_access_type == MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__BLOCKED)
        return svc_err(err, GRPC_INVALID_ARGUMENT,
                       "a sidecar cannot have its network blocked, it would not reach the main container: use an empty "
                       "allow list");
    return svc_no_unknown(&r->base, "the container", err);
}

/* A sidecar is a Sandbox definition with fewer fields: one place decides what they mean. */
static int make_plan(struct engine *e, const create_request *r, struct plan *ret, struct err *err)
{
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    Modal__Client__StringMap variables = MODAL__CLIENT__STRING_MAP__INIT;

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
    return plan_make(e, &def, /* v2= */ NULL, ret, err);
}

static void reply_create(struct call *c, const struct sidecar *sidecar)
{
    Modal__TaskCommandRouter__TaskContainerCreateResponse response =
        MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_CREATE_RESPONSE__INIT;

    response.container_id = sidecar->id;
    response.container_name = sidecar->name;
    call_reply(c, &response);
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

static void task_container_create(struct call *c, const void *request)
{
    const create_request *r = request;
    struct sandbox *s = router_running(c, r->task_id);
    struct plan plan = {0};
    cleanup_err struct err err = ERR_INIT;
    struct sidecar *sidecar = NULL;
    struct creation *w;

    if (!s)
        return;
    if (check_create(r, &err) == 0 && make_plan(c->engine, r, &plan, &err) == 0)
        sidecar = sidecar_create(s, r->container_name, &plan, &err);
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
