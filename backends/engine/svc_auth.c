#include "backends/engine/engine.h"
#include "backends/engine/keys.h"
#include "backends/engine/svc.h"

#include "compat/base/cleanup.h"

static void auth_token_get(struct call *c, const void *request)
{
    Modal__Client__AuthTokenGetResponse response = MODAL__CLIENT__AUTH_TOKEN_GET_RESPONSE__INIT;
    cleanup_free char *token = keys_auth_token(c->engine->keys);

    (void)request;
    response.token = token;
    call_reply(c, &response);
}

static void client_hello(struct call *c, const void *request)
{
    Modal__Client__ClientHelloResponse response = MODAL__CLIENT__CLIENT_HELLO_RESPONSE__INIT;

    (void)request;
    call_reply(c, &response);
}

static void token_info_get(struct call *c, const void *request)
{
    Modal__Client__TokenInfoGetResponse response = MODAL__CLIENT__TOKEN_INFO_GET_RESPONSE__INIT;

    (void)request;
    response.token_id = SVC_CONST(keys_token_id(c->engine->keys));
    response.workspace_id = SVC_CONST("ac-" SVC_WORKSPACE);
    response.workspace_name = SVC_CONST(SVC_WORKSPACE);
    call_reply(c, &response);
}

static void workspace_name_lookup(struct call *c, const void *request)
{
    Modal__Client__WorkspaceNameLookupResponse response = MODAL__CLIENT__WORKSPACE_NAME_LOOKUP_RESPONSE__INIT;

    (void)request;
    response.workspace_name = SVC_CONST(SVC_WORKSPACE);
    response.username = SVC_CONST(SVC_WORKSPACE);
    call_reply(c, &response);
}

const struct rpc_method svc_auth_methods[] = {
    {"AuthTokenGet", SVC_REQUEST(auth_token_get_request), RPC_UNARY, 0, auth_token_get},
    {"ClientHello", SVC_REQUEST(empty), RPC_UNARY, 0, client_hello},
    {"TokenInfoGet", SVC_REQUEST(token_info_get_request), RPC_UNARY, 0, token_info_get},
    {"WorkspaceNameLookup", SVC_REQUEST(empty), RPC_UNARY, 0, workspace_name_lookup},
    {0},
};
