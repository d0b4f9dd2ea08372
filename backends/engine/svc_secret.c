#include "backends/engine/engine.h"
#include "backends/engine/ids.h"
#include "backends/engine/secrets.h"
#include "backends/engine/store.h"
#include "backends/engine/svc.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>

#define SECRETS_PAGE 100

enum {
    LOOK_UP = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_UNSPECIFIED,
    IF_MISSING = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_CREATE_IF_MISSING,
    FAIL_IF_EXISTS = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS,
    OVERWRITE = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS,
    OWNED_BY_APP = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP,
    EPHEMERAL = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_EPHEMERAL,
};

/* The wording is part of the protocol (10.3), and NOT_FOUND would hide it. */
static int check_keys(const struct store_secret *secret, char *const *keys, size_t len, struct err *err)
{
    cleanup_buf struct buf missing = BUF_INIT(65536);

    for (size_t i = 0; i < len; i++)
        if (!strlist_env_get(&secret->env, keys[i]))
            buf_addf(&missing, "%s%s", missing.len ? ", " : "", keys[i]);
    if (!missing.len)
        return 0;
    return svc_err(err, GRPC_FAILED_PRECONDITION, "Secret is missing key(s): %s", missing.data);
}

/* Finds or makes the named secret that the request means. */
static int named_secret(struct engine *e, const Modal__Client__SecretGetOrCreateRequest *r, struct store_secret *ret,
                        struct err *err)
{
    const char *environment = svc_environment(r->environment_name), *name = svc_text(r->deployment_name);
    int found;

    if (!name_is_valid(name))
        return svc_err(err, GRPC_INVALID_ARGUMENT, "Invalid Secret name: \"%s\"", name);
    found = store_secret_by_name(e->store, environment, name, ret, err);
    if (found < 0)
        return -1;
    if (found && (int)r->object_creation_type == FAIL_IF_EXISTS)
        return svc_err(err, GRPC_ALREADY_EXISTS, "Secret \"%s\" already exists", name);
    if (found && (int)r->object_creation_type != OVERWRITE)
        return check_keys(ret, r->required_keys, r->n_required_keys, err);
    if ((int)r->object_creation_type == LOOK_UP)
        return svc_err(err, GRPC_NOT_FOUND, "Secret \"%s\" not found in environment \"%s\"", name, environment);
    if (!found)
        *ret = (struct store_secret){
            .id = id_new("st"), .environment = xstrdup(environment), .name = xstrdup(name), .created_at = unix_now()};
    strlist_clear(&ret->env);
    if (svc_env(r->env_dict, r->n_env_dict, &ret->env, err) < 0)
        return -1;
    return store_secret_put(e->store, ret, err);
}

static void reply_secret(struct call *c, const char *id, const char *name, double created_at)
{
    Modal__Client__SecretGetOrCreateResponse response = MODAL__CLIENT__SECRET_GET_OR_CREATE_RESPONSE__INIT;
    Modal__Client__SecretMetadata metadata = MODAL__CLIENT__SECRET_METADATA__INIT;
    Modal__Client__CreationInfo info = MODAL__CLIENT__CREATION_INFO__INIT;

    info.has_created_at = 1;
    info.created_at = created_at;
    metadata.name = SVC_CONST(name);
    metadata.creation_info = &info;
    response.secret_id = SVC_CONST(id);
    response.metadata = &metadata;
    call_reply(c, &response);
}

static void secret_get_or_create(struct call *c, const void *request)
{
    const Modal__Client__SecretGetOrCreateRequest *r = request;
    struct store_secret secret = {0};
    cleanup_err struct err err = ERR_INIT;

    if ((int)r->object_creation_type == EPHEMERAL || (int)r->object_creation_type == OWNED_BY_APP) {
        cleanup_strlist struct strlist env = STRLIST_INIT;
        cleanup_free char *id = NULL;

        if (svc_env(r->env_dict, r->n_env_dict, &env, &err) < 0) {
            svc_fail(c, &err);
            return;
        }
        id = secrets_add_ephemeral(c->engine->secrets, &env);
        reply_secret(c, id, "", unix_now());
        return;
    }
    if (named_secret(c->engine, r, &secret, &err) < 0)
        svc_fail(c, &err);
    else
        reply_secret(c, secret.id, secret.name, secret.created_at);
    store_secret_clear(&secret);
}

static void secret_delete(struct call *c, const void *request)
{
    const Modal__Client__SecretDeleteRequest *r = request;
    cleanup_err struct err err = ERR_INIT;

    if (secrets_delete(c->engine->secrets, svc_text(r->secret_id), &err))
        svc_reply_empty(c);
    else if (err.msg)
        svc_fail(c, &err);
    else
        call_fail(c, GRPC_NOT_FOUND, "secret %s not found", svc_text(r->secret_id));
}

static void secret_list(struct call *c, const void *request)
{
    const Modal__Client__SecretListRequest *r = request;
    Modal__Client__SecretListResponse response = MODAL__CLIENT__SECRET_LIST_RESPONSE__INIT;
    Modal__Client__SecretListItem items[SECRETS_PAGE], *list[SECRETS_PAGE];
    struct store_secret secrets[SECRETS_PAGE] = {0};
    const char *environment = svc_environment(r->environment_name);
    double before = r->pagination ? r->pagination->created_before : 0;
    size_t max = r->pagination && r->pagination->max_objects > 0 ? (size_t)r->pagination->max_objects : SECRETS_PAGE,
           n = 0;
    cleanup_err struct err err = ERR_INIT;
    int more = 1;

    while (n < max && n < SECRETS_PAGE) {
        more = store_secret_before(c->engine->store, environment, before, &secrets[n], &err);
        if (more <= 0)
            break;
        before = secrets[n].created_at;
        modal__client__secret_list_item__init(&items[n]);
        items[n].label = secrets[n].name;
        items[n].has_created_at = 1;
        items[n].created_at = before;
        items[n].environment_name = secrets[n].environment;
        items[n].secret_id = secrets[n].id;
        list[n] = &items[n];
        n++;
    }
    response.items = list;
    response.n_items = n;
    response.environment_name = SVC_CONST(environment);
    if (more < 0)
        svc_fail(c, &err);
    else
        call_reply(c, &response);
    for (size_t i = 0; i < n; i++)
        store_secret_clear(&secrets[i]);
}

const struct rpc_method svc_secret_methods[] = {
    {"SecretDelete", SVC_REQUEST(secret_delete_request), RPC_UNARY, 0, secret_delete},
    {"SecretGetOrCreate", SVC_REQUEST(secret_get_or_create_request), RPC_UNARY, RPC_ONCE, secret_get_or_create},
    {"SecretList", SVC_REQUEST(secret_list_request), RPC_UNARY, 0, secret_list},
    {0},
};
