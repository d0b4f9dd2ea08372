/* Where a sandbox's open ports are reached (protocol 8). */
#include "backends/engine/engine.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/svc.h"
#include "backends/engine/svc_sandbox.h"
#include "backends/engine/tunnel.h"
#include "backends/engine/waiter.h"

static void reply_tunnels(struct call *c, const struct sandbox *s, int status)
{
    Modal__Client__SandboxGetTunnelsResponse response = MODAL__CLIENT__SANDBOX_GET_TUNNELS_RESPONSE__INIT;
    Modal__Client__GenericResult result = MODAL__CLIENT__GENERIC_RESULT__INIT;
    struct tunnel_list list;

    tunnel_list_fill(&list, s);
    result.has_status = 1;
    result.status = (Modal__Client__GenericResult__GenericStatus)status;
    response.result = &result;
    response.tunnels = list.list;
    response.n_tunnels = list.len;
    call_reply(c, &response);
    tunnel_list_clear(&list);
}

/* They are told when the sandbox runs: before that nobody would answer. */
static void look(struct call *c, bool timed_out)
{
    const Modal__Client__SandboxGetTunnelsRequest *r = c->request;
    struct sandbox *s = svc_sandbox(c, r->sandbox_id);

    if (!s)
        return;
    if (s->state == SANDBOX_ENDED)
        call_fail(c, GRPC_NOT_FOUND, "Sandbox %s has finished", s->id);
    else if (s->state == SANDBOX_RUNNING)
        reply_tunnels(c, s, MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_SUCCESS);
    else if (timed_out)
        reply_tunnels(c, s, MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_TIMEOUT);
    else
        svc_park(c, &s->changes, r->timeout > 0 ? (double)r->timeout : 0, look);
}

static void sandbox_get_tunnels(struct call *c, const void *request)
{
    (void)request;
    look(c, /* timed_out= */ false);
}

const struct rpc_method svc_tunnel_methods[] = {
    {"SandboxGetTunnels", SVC_REQUEST(sandbox_get_tunnels_request), RPC_UNARY, 0, sandbox_get_tunnels},
    {"SandboxGetTunnelsV2", SVC_REQUEST(sandbox_get_tunnels_request), RPC_UNARY, RPC_V2, sandbox_get_tunnels},
    {0},
};
