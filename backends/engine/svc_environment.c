#include "backends/engine/engine.h"
#include "backends/engine/store.h"
#include "backends/engine/svc.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

/* With this version the Python SDK adds no lines of its own to an image (protocol 3.2). */
#define BUILDER_VERSION "2025.06"

/* Environments need no setting up here: a valid name is one, and exists from its first use. */
static void environment_get_or_create(struct call *c, const void *request)
{
    const Modal__Client__EnvironmentGetOrCreateRequest *r = request;
    Modal__Client__EnvironmentGetOrCreateResponse response = MODAL__CLIENT__ENVIRONMENT_GET_OR_CREATE_RESPONSE__INIT;
    Modal__Client__EnvironmentMetadata metadata = MODAL__CLIENT__ENVIRONMENT_METADATA__INIT;
    Modal__Client__EnvironmentSettings settings = MODAL__CLIENT__ENVIRONMENT_SETTINGS__INIT;
    const char *name = svc_environment(r->deployment_name);
    cleanup_err struct err err = ERR_INIT;
    cleanup_free char *id = store_environment(c->engine->store, name, &err);

    if (!id) {
        call_fail_err(c, GRPC_INVALID_ARGUMENT, &err);
        return;
    }
    settings.image_builder_version = SVC_CONST(BUILDER_VERSION);
    metadata.name = SVC_CONST(name);
    metadata.settings = &settings;
    response.environment_id = id;
    response.metadata = &metadata;
    call_reply(c, &response);
}

static void environment_list(struct call *c, const void *request)
{
    Modal__Client__EnvironmentListResponse response = MODAL__CLIENT__ENVIRONMENT_LIST_RESPONSE__INIT;
    cleanup_err struct err err = ERR_INIT;
    cleanup_strlist struct strlist names = STRLIST_INIT;
    cleanup_free Modal__Client__EnvironmentListItem *items = NULL;
    cleanup_free Modal__Client__EnvironmentListItem **list = NULL;

    (void)request;
    if (store_environments(c->engine->store, &names, &err) < 0) {
        svc_fail(c, &err);
        return;
    }
    if (!strlist_has(&names, STORE_DEFAULT_ENVIRONMENT))
        strlist_insert(&names, 0, STORE_DEFAULT_ENVIRONMENT);
    items = xcalloc(names.len, sizeof(*items));
    list = xcalloc(names.len, sizeof(*list));
    for (size_t i = 0; i < names.len; i++) {
        modal__client__environment_list_item__init(&items[i]);
        items[i].name = names.items[i];
        items[i].has_default_ = 1;
        items[i].default_ = strcmp(names.items[i], STORE_DEFAULT_ENVIRONMENT) == 0;
        list[i] = &items[i];
    }
    response.items = list;
    response.n_items = names.len;
    call_reply(c, &response);
}

const struct rpc_method svc_environment_methods[] = {
    {"EnvironmentGetOrCreate", SVC_REQUEST(environment_get_or_create_request), RPC_UNARY, 0, environment_get_or_create},
    {"EnvironmentList", SVC_REQUEST(empty), RPC_UNARY, 0, environment_list},
    {0},
};
