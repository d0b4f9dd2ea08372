#include "backends/modal/sandbox.h"

#include "backends/modal/sandbox_spec.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define V1_ID_LEN 22 /* after "sb-" */

static const struct modal_method sandbox_create = {
    .path = MODAL_CONTROL(SandboxCreate),
    .reply = &modal__client__sandbox_create_response__descriptor,
};

static const struct modal_method sandbox_create_v2 = {
    .path = MODAL_CONTROL(SandboxCreateV2),
    .reply = &modal__client__sandbox_create_v2_response__descriptor,
    .auth = true,
};

static const struct modal_method by_name = {
    .path = MODAL_CONTROL(SandboxGetFromName),
    .reply = &modal__client__sandbox_get_from_name_response__descriptor,
};

static const struct modal_method by_name_v2 = {
    .path = MODAL_CONTROL(SandboxGetFromNameV2),
    .reply = &modal__client__sandbox_get_from_name_response__descriptor,
    .auth = true,
};

static const struct modal_method terminate = {
    .path = MODAL_CONTROL(SandboxTerminate),
    .reply = &modal__client__sandbox_terminate_response__descriptor,
};

static const struct modal_method terminate_v2 = {
    .path = MODAL_CONTROL(SandboxTerminateV2),
    .reply = &modal__client__sandbox_terminate_response__descriptor,
    .auth = true,
};

bool modal_sandbox_id_is_v1(const char *id)
{
    size_t n = 0;

    if (strncmp(id, "sb-", 3) != 0)
        return false;
    for (id += 3; *id; id++, n++)
        if (!((*id >= '0' && *id <= '9') || (*id >= 'A' && *id <= 'Z') || (*id >= 'a' && *id <= 'z')))
            return false;
    return n == V1_ID_LEN;
}

void modal_sandbox_clear(struct modal_sandbox *sandbox)
{
    free(sandbox->id);
    free(sandbox->task_id);
    *sandbox = (struct modal_sandbox)MODAL_SANDBOX_INIT;
}

static int no_id(struct err *err)
{
    return err_set(err, 125, "the server gave no sandbox id");
}

/* Task id and router come with the answer, so that the exec that follows needs no other call. */
static int create_v2(struct modal_client *c, const struct modal_sandbox_spec *spec, Modal__Client__Sandbox *definition,
                     const struct tag_messages *tags, struct modal_sandbox *ret_sandbox, struct err *err)
{
    Modal__Client__SandboxCreateV2Request request = MODAL__CLIENT__SANDBOX_CREATE_V2_REQUEST__INIT;
    cleanup_message Modal__Client__SandboxCreateV2Response *reply = NULL;
    Modal__Client__StringMap secrets = MODAL__CLIENT__STRING_MAP__INIT;
    const Modal__Client__CommandRouterAccess *access;
    struct modal_entries env;
    int ret;

    modal_entries_make(&env, &spec->env);
    secrets.n_contents = env.len;
    secrets.contents = env.pointers;
    request.app_id = (char *)spec->app_id;
    request.definition = definition;
    request.ephemeral_secrets = env.len ? &secrets : NULL;
    request.n_tags = tags->len;
    request.tags = tags->pointers;
    ret = modal_call(c, &sandbox_create_v2, &request, &reply, err);
    modal_entries_clear(&env);
    if (ret < 0)
        return -1;
    if (!reply->sandbox_id || !*reply->sandbox_id)
        return no_id(err);
    access = reply->command_router_access;
    modal_access_remember(c, reply->sandbox_id, reply->task_id, access ? access->url : NULL,
                          access ? access->jwt : NULL);
    ret_sandbox->id = xstrdup(reply->sandbox_id);
    ret_sandbox->task_id = reply->task_id && *reply->task_id ? xstrdup(reply->task_id) : NULL;
    return 0;
}

/* V1 knows no environment but secrets. */
static int create_v1(struct modal_client *c, const struct modal_sandbox_spec *spec, Modal__Client__Sandbox *definition,
                     const struct tag_messages *tags, struct modal_sandbox *ret_sandbox, struct err *err)
{
    Modal__Client__SandboxCreateRequest request = MODAL__CLIENT__SANDBOX_CREATE_REQUEST__INIT;
    cleanup_message Modal__Client__SandboxCreateResponse *reply = NULL;
    cleanup_strlist struct strlist secrets = STRLIST_INIT;
    cleanup_free char *secret = NULL;

    strlist_copy(&secrets, &spec->secret_ids);
    if (spec->env.len) {
        if (modal_secret_of(c, spec->app_id, &spec->env, &secret, err) < 0)
            return -1;
        strlist_add(&secrets, secret); /* last: later secrets win */
    }
    definition->n_secret_ids = secrets.len;
    definition->secret_ids = secrets.items;
    request.app_id = (char *)spec->app_id;
    request.definition = definition;
    request.n_tags = tags->len;
    request.tags = tags->pointers;
    if (modal_call(c, &sandbox_create, &request, &reply, err) < 0)
        return -1;
    if (!reply->sandbox_id || !*reply->sandbox_id)
        return no_id(err);
    ret_sandbox->id = xstrdup(reply->sandbox_id);
    ret_sandbox->task_id = NULL;
    return 0;
}

int modal_sandbox_create(struct modal_client *c, const struct modal_sandbox_spec *spec,
                         struct modal_sandbox *ret_sandbox, struct err *err)
{
    struct sandbox_message message;
    struct tag_messages tags;
    int ret = sandbox_message_make(&message, spec, err);

    tag_messages_make(&tags, &spec->tags);
    if (ret == 0)
        ret = spec->v1 ? create_v1(c, spec, &message.sandbox, &tags, ret_sandbox, err)
                       : create_v2(c, spec, &message.sandbox, &tags, ret_sandbox, err);
    tag_messages_clear(&tags);
    sandbox_message_clear(&message);
    return ret;
}

int modal_sandbox_by_name(struct modal_client *c, const char *app_name, const char *name, bool v1,
                          struct modal_sandbox *ret_sandbox, struct err *err)
{
    Modal__Client__SandboxGetFromNameRequest request = MODAL__CLIENT__SANDBOX_GET_FROM_NAME_REQUEST__INIT;
    cleanup_message Modal__Client__SandboxGetFromNameResponse *reply = NULL;

    request.app_name = (char *)app_name;
    request.sandbox_name = (char *)name;
    request.environment_name = c->environment;
    if (modal_call(c, v1 ? &by_name : &by_name_v2, &request, &reply, err) < 0)
        return -1;
    if (!reply->sandbox_id || !*reply->sandbox_id)
        return no_id(err);
    *ret_sandbox = (struct modal_sandbox){.id = xstrdup(reply->sandbox_id)};
    return 0;
}

/* One terminate; fn takes arg over. */
static void start_terminate(struct modal_client *c, const char *id, modal_rpc_fn *fn, void *arg)
{
    const struct modal_rpc_options options = {.unawaited = true, .owns_arg = true};
    Modal__Client__SandboxTerminateRequest request = MODAL__CLIENT__SANDBOX_TERMINATE_REQUEST__INIT;

    request.sandbox_id = (char *)id;
    modal_access_forget(c, id);
    modal_rpc_start(&c->control, modal_sandbox_id_is_v1(id) ? &terminate : &terminate_v2, &request, &options, fn, arg);
}

/* Somebody who wants to know. */
struct terminating {
    modal_done_fn *fn;
    void *arg;
};

/* A sandbox that the server does not know (any more) is as terminated as can be. */
static void on_terminated(void *arg, void *reply, const struct err *err)
{
    struct terminating *t = arg;

    modal_message_free(reply);
    if (t->fn)
        t->fn(t->arg, err && err->code != GRPC_NOT_FOUND ? err : NULL);
}

void modal_sandbox_terminate_start(struct modal_client *c, const char *id, modal_done_fn *fn, void *arg)
{
    struct terminating *t = xcalloc(1, sizeof(*t));

    *t = (struct terminating){.fn = fn, .arg = arg};
    start_terminate(c, id, on_terminated, t);
}

int modal_sandbox_terminate(struct modal_client *c, const char *id, struct err *err)
{
    Modal__Client__SandboxTerminateRequest request = MODAL__CLIENT__SANDBOX_TERMINATE_REQUEST__INIT;
    cleanup_message Modal__Client__SandboxTerminateResponse *reply = NULL;
    cleanup_err struct err why = ERR_INIT;

    request.sandbox_id = (char *)id;
    modal_access_forget(c, id);
    if (modal_call(c, modal_sandbox_id_is_v1(id) ? &terminate : &terminate_v2, &request, &reply, &why) == 0 ||
        why.code == GRPC_NOT_FOUND)
        return 0;
    return err_move(err, &why);
}
