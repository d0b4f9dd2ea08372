#include "backends/modal/tunnel.h"

#include "backends/modal/internal.h"
#include "backends/modal/sandbox.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <stdlib.h>

static const struct modal_method get_tunnels = {
    .path = MODAL_CONTROL(SandboxGetTunnels),
    .reply = &modal__client__sandbox_get_tunnels_response__descriptor,
};
static const struct modal_method get_tunnels_v2 = {
    .path = MODAL_CONTROL(SandboxGetTunnelsV2),
    .reply = &modal__client__sandbox_get_tunnels_response__descriptor,
    .auth = true,
};

void modal_tunnels_clear(struct modal_tunnels *t)
{
    for (size_t i = 0; i < t->len; i++) {
        free(t->items[i].host);
        free(t->items[i].raw_host);
    }
    free(t->items);
    *t = (struct modal_tunnels){0};
}

static struct modal_tunnel take(const Modal__Client__TunnelData *t)
{
    return (struct modal_tunnel){
        .container_port = (uint16_t)t->container_port,
        .host = xstrdup(t->host ? t->host : ""),
        .port = (uint16_t)t->port,
        .raw_host = t->unencrypted_host && *t->unencrypted_host ? xstrdup(t->unencrypted_host) : NULL,
        .raw_port = (uint16_t)t->unencrypted_port,
    };
}

int modal_sandbox_tunnels(struct modal_client *c, const char *sandbox_id, unsigned timeout_s, struct modal_tunnels *ret,
                          struct err *err)
{
    Modal__Client__SandboxGetTunnelsRequest request = MODAL__CLIENT__SANDBOX_GET_TUNNELS_REQUEST__INIT;
    cleanup_message Modal__Client__SandboxGetTunnelsResponse *reply = NULL;

    request.sandbox_id = (char *)sandbox_id;
    request.has_timeout = 1;
    request.timeout = (float)timeout_s;
    if (modal_call(c, modal_sandbox_id_is_v1(sandbox_id) ? &get_tunnels : &get_tunnels_v2, &request, &reply, err) < 0)
        return -1;
    if (reply->result &&
        (int)reply->result->status == MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_TIMEOUT)
        return err_set(err, 125, "the sandbox's tunnels are not there after %u s", timeout_s);
    *ret = (struct modal_tunnels){.items = xcalloc(reply->n_tunnels + 1, sizeof(*ret->items))};
    for (size_t i = 0; i < reply->n_tunnels; i++)
        ret->items[ret->len++] = take(reply->tunnels[i]);
    return 0;
}
