/* Operations on a running task (protocol 5.11): waiting for its readiness, another outbound policy. */
#include "backends/engine/engine.h"
#include "backends/engine/plan.h"
#include "backends/engine/router.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/svc.h"
#include "backends/engine/svc_sandbox.h"
#include "backends/engine/waiter.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>

/* ---- readiness ---- */

static void reply_ready(struct call *c, const struct sandbox *s)
{
    Modal__TaskCommandRouter__SandboxWaitUntilReadyTcrResponse router =
        MODAL__TASK_COMMAND_ROUTER__SANDBOX_WAIT_UNTIL_READY_TCR_RESPONSE__INIT;
    Modal__Client__SandboxWaitUntilReadyResponse control = MODAL__CLIENT__SANDBOX_WAIT_UNTIL_READY_RESPONSE__INIT;

    router.has_ready_at = control.has_ready_at = 1;
    router.ready_at = control.ready_at = s->ready_at;
    if (c->method->flags & RPC_ROUTER)
        call_reply(c, &router);
    else
        call_reply(c, &control);
}

static void on_ready(struct call *c, bool timed_out)
{
    if (timed_out)
        call_fail(c, GRPC_DEADLINE_EXCEEDED, "the Sandbox did not become ready in time");
    else
        c->method->handle(c, c->request);
}

static void wait_until_ready(struct call *c, struct sandbox *s, double seconds)
{
    if (!s->plan.probe_ms)
        call_fail(c, GRPC_FAILED_PRECONDITION, "Sandbox %s has no readiness probe", s->id);
    else if (s->ready_at > 0)
        reply_ready(c, s);
    else
        svc_park(c, &s->ready_waiters, seconds > 0 ? seconds : 0, on_ready);
}

static void sandbox_wait_until_ready_tcr(struct call *c, const void *request)
{
    const Modal__TaskCommandRouter__SandboxWaitUntilReadyTcrRequest *r = request;
    struct sandbox *s = router_running(c, r->task_id);

    if (s)
        wait_until_ready(c, s, (double)r->timeout);
}

static void sandbox_wait_until_ready(struct call *c, const void *request)
{
    const Modal__Client__SandboxWaitUntilReadyRequest *r = request;
    struct sandbox *s = svc_sandbox(c, r->sandbox_id);

    if (s && s->state == SANDBOX_ENDED)
        call_fail(c, GRPC_NOT_FOUND, "Sandbox %s has finished", s->id);
    else if (s)
        wait_until_ready(c, s, (double)r->timeout);
}

/* ---- network ---- */

struct change { /* it goes on when the caller goes away */
    struct call *call;
};

static void release_change(struct call *c)
{
    struct change *change = c->state;

    change->call = NULL;
}

static void on_change(void *arg, const char *error)
{
    Modal__TaskCommandRouter__TaskSetNetworkAccessResponse response =
        MODAL__TASK_COMMAND_ROUTER__TASK_SET_NETWORK_ACCESS_RESPONSE__INIT;
    struct change *change = arg;
    struct call *c = change->call;

    free(change);
    if (!c)
        return;
    c->state = NULL;
    c->release = NULL;
    if (error)
        call_fail(c, GRPC_INTERNAL, "the network policy could not be changed: %s", error);
    else
        call_reply(c, &response);
}

static void task_set_network_access(struct call *c, const void *request)
{
    const Modal__TaskCommandRouter__TaskSetNetworkAccessRequest *r = request;
    cleanup_strlist struct strlist cidrs = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    struct sandbox *s = router_running(c, r->task_id);
    enum rt_network network;
    struct change *change;

    if (!s)
        return;
    if (!r->network_access)
        svc_err(&err, GRPC_INVALID_ARGUMENT, "the request has no network access");
    else if (r->network_access->n_allowed_domains)
        svc_err(&err, GRPC_UNIMPLEMENTED, "a domain allow list is not supported by this server");
    else if (svc_no_unknown(&r->base, "the request", &err) == 0)
        plan_network(r->network_access, &network, &cidrs, &err);
    if (!err.msg && network == RT_NETWORK_BLOCKED)
        svc_err(&err, GRPC_INVALID_ARGUMENT,
                "the network of a running Sandbox cannot be blocked: use an empty allow list");
    if (err.msg) {
        svc_fail(c, &err);
        return;
    }
    change = xcalloc(1, sizeof(*change));
    change->call = c;
    if (rt_sandbox_set_network(s->rt, network, &cidrs, on_change, change, &err) < 0) {
        free(change);
        err.code = GRPC_FAILED_PRECONDITION;
        svc_fail(c, &err);
        return;
    }
    c->state = change;
    c->release = release_change;
}

const struct rpc_method svc_task_methods[] = {
    {"SandboxWaitUntilReady", SVC_ROUTER_REQUEST(sandbox_wait_until_ready_tcr_request), RPC_UNARY, RPC_ROUTER,
     sandbox_wait_until_ready_tcr},
    {"TaskSetNetworkAccess", SVC_ROUTER_REQUEST(task_set_network_access_request), RPC_UNARY, RPC_ROUTER,
     task_set_network_access},
    {0},
};

const struct rpc_method svc_ready_methods[] = {
    {"SandboxWaitUntilReady", SVC_REQUEST(sandbox_wait_until_ready_request), RPC_UNARY, 0, sandbox_wait_until_ready},
    {0},
};
