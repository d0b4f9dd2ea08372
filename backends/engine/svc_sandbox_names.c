/* Names, tags and task ids of sandboxes (protocol 5.8). */
#include "backends/engine/engine.h"
#include "backends/engine/ids.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/store.h"
#include "backends/engine/svc.h"
#include "backends/engine/svc_sandbox.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define TAGS_MAX      100
#define TAG_NAME_MAX  63
#define TAG_VALUE_MAX 256

/* ---- tags ---- */

static bool tag_name_is_valid(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len <= TAG_NAME_MAX &&
           strspn(name, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._-") == len;
}

int svc_tags(Modal__Client__SandboxTag *const *tags, size_t len, struct strlist *ret, struct err *err)
{
    if (len > TAGS_MAX)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "more than %d tags", TAGS_MAX);
    for (size_t i = 0; i < len; i++) {
        if (!tag_name_is_valid(svc_text(tags[i]->tag_name)))
            return svc_err(err, GRPC_INVALID_ARGUMENT, "Invalid tag name: \"%s\"", svc_text(tags[i]->tag_name));
        if (strlen(svc_text(tags[i]->tag_value)) > TAG_VALUE_MAX)
            return svc_err(err, GRPC_INVALID_ARGUMENT, "the value of tag \"%s\" is longer than %d bytes",
                           tags[i]->tag_name, TAG_VALUE_MAX);
        strlist_env_set(ret, tags[i]->tag_name, svc_text(tags[i]->tag_value));
    }
    return 0;
}

void svc_tag_list_fill(struct svc_tag_list *ret, const struct strlist *tags)
{
    ret->len = tags->len;
    ret->items = xcalloc(tags->len + 1, sizeof(*ret->items));
    ret->list = xcalloc(tags->len + 1, sizeof(*ret->list));
    ret->names = xcalloc(tags->len + 1, sizeof(*ret->names));
    for (size_t i = 0; i < tags->len; i++) {
        char *eq;

        ret->names[i] = xstrdup(tags->items[i]);
        eq = strchr(ret->names[i], '=');
        *eq = '\0';
        modal__client__sandbox_tag__init(&ret->items[i]);
        ret->items[i].tag_name = ret->names[i];
        ret->items[i].tag_value = eq + 1;
        ret->list[i] = &ret->items[i];
    }
}

void svc_tag_list_clear(struct svc_tag_list *l)
{
    for (size_t i = 0; i < l->len; i++)
        free(l->names[i]);
    free(l->names);
    free(l->list);
    free(l->items);
    *l = (struct svc_tag_list){0};
}

static void sandbox_tags_get(struct call *c, const void *request)
{
    const Modal__Client__SandboxTagsGetRequest *r = request;
    Modal__Client__SandboxTagsGetResponse response = MODAL__CLIENT__SANDBOX_TAGS_GET_RESPONSE__INIT;
    const struct sandbox *s = svc_sandbox(c, r->sandbox_id);
    struct svc_tag_list tags = {0};

    if (!s)
        return;
    svc_tag_list_fill(&tags, &s->tags);
    response.tags = tags.list;
    response.n_tags = tags.len;
    call_reply(c, &response);
    svc_tag_list_clear(&tags);
}

/* Replaces all of them. */
static void sandbox_tags_set(struct call *c, const void *request)
{
    const Modal__Client__SandboxTagsSetRequest *r = request;
    cleanup_strlist struct strlist tags = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    struct sandbox *s = svc_sandbox(c, r->sandbox_id);

    if (!s)
        return;
    if (svc_tags(r->tags, r->n_tags, &tags, &err) < 0) {
        svc_fail(c, &err);
        return;
    }
    strlist_clear(&s->tags);
    s->tags = tags;
    tags = (struct strlist)STRLIST_INIT;
    svc_reply_empty(c);
}

/* ---- names ---- */

/* The running one of that name, or else the latest that had it if ended ones count. */
static struct sandbox *find_named(const struct sandboxes *all, const char *app_id, const char *name, bool ended_too)
{
    struct sandbox *s = sandbox_by_name(all, app_id, name);

    if (s || !ended_too)
        return s;
    for (s = sandboxes_newest(all); s; s = s->next)
        if (s->plan.name && strcmp(s->plan.name, name) == 0 && strcmp(s->app_id, app_id) == 0)
            return s;
    return NULL;
}

static void sandbox_get_from_name(struct call *c, const void *request)
{
    const Modal__Client__SandboxGetFromNameRequest *r = request;
    Modal__Client__SandboxGetFromNameResponse response = MODAL__CLIENT__SANDBOX_GET_FROM_NAME_RESPONSE__INIT;
    Modal__Client__SandboxHandleMetadata metadata = MODAL__CLIENT__SANDBOX_HANDLE_METADATA__INIT;
    struct store_app app = {0};
    cleanup_err struct err err = ERR_INIT;
    struct sandbox *s = NULL;

    if (store_app_by_name(c->engine->store, svc_environment(r->environment_name), svc_text(r->app_name), &app, &err) >
        0)
        s = find_named(c->engine->sandboxes, app.id, svc_text(r->sandbox_name), r->include_terminated);
    store_app_clear(&app);
    if (!s) {
        call_fail(c, GRPC_NOT_FOUND, "Sandbox with name \"%s\" not found in App \"%s\"", svc_text(r->sandbox_name),
                  svc_text(r->app_name));
        return;
    }
    metadata.app_id = s->app_id;
    response.sandbox_id = s->id;
    response.metadata = &metadata;
    call_reply(c, &response);
}

/* Once only; the same name again is fine. */
static void sandbox_set_name(struct call *c, const void *request)
{
    const Modal__Client__SandboxSetNameRequest *r = request;
    Modal__Client__SandboxSetNameResponse response = MODAL__CLIENT__SANDBOX_SET_NAME_RESPONSE__INIT;
    struct sandbox *s = svc_sandbox(c, r->sandbox_id), *other;

    if (!s)
        return;
    if (!name_is_valid(r->name)) {
        call_fail(c, GRPC_INVALID_ARGUMENT, "Invalid Sandbox name: \"%s\"", svc_text(r->name));
        return;
    }
    other = sandbox_by_name(c->engine->sandboxes, s->app_id, r->name);
    if (s->state == SANDBOX_ENDED)
        call_fail(c, GRPC_FAILED_PRECONDITION, "Sandbox %s is not running", s->id);
    else if (s->plan.name && strcmp(s->plan.name, r->name) != 0)
        call_fail(c, GRPC_FAILED_PRECONDITION, "Sandbox %s has the name \"%s\"", s->id, s->plan.name);
    else if (other && other != s)
        call_fail(c, GRPC_ALREADY_EXISTS, "Sandbox with name \"%s\" already exists", r->name);
    else {
        if (!s->plan.name)
            s->plan.name = xstrdup(r->name);
        call_reply(c, &response);
    }
}

/* ---- task ids ---- */

/* Known from the creation on. task_result only once it has ended: some clients take its presence for the end. */
static void sandbox_get_task_id(struct call *c, const void *request)
{
    const Modal__Client__SandboxGetTaskIdRequest *r = request;
    Modal__Client__SandboxGetTaskIdResponse response = MODAL__CLIENT__SANDBOX_GET_TASK_ID_RESPONSE__INIT;
    Modal__Client__GenericResult result;
    const struct sandbox *s = svc_sandbox(c, r->sandbox_id);

    if (!s)
        return;
    response.task_id = s->task_id;
    if (svc_result(s, &result))
        response.task_result = &result;
    call_reply(c, &response);
}

const struct rpc_method svc_sandbox_names_methods[] = {
    {"SandboxGetFromName", SVC_REQUEST(sandbox_get_from_name_request), RPC_UNARY, 0, sandbox_get_from_name},
    {"SandboxGetFromNameV2", SVC_REQUEST(sandbox_get_from_name_request), RPC_UNARY, RPC_V2, sandbox_get_from_name},
    {"SandboxGetTaskId", SVC_REQUEST(sandbox_get_task_id_request), RPC_UNARY, 0, sandbox_get_task_id},
    {"SandboxGetTaskIdV2", SVC_REQUEST(sandbox_get_task_id_request), RPC_UNARY, RPC_V2, sandbox_get_task_id},
    {"SandboxSetName", SVC_REQUEST(sandbox_set_name_request), RPC_UNARY, RPC_V2, sandbox_set_name},
    {"SandboxTagsGet", SVC_REQUEST(sandbox_tags_get_request), RPC_UNARY, 0, sandbox_tags_get},
    {"SandboxTagsGetV2", SVC_REQUEST(sandbox_tags_get_request), RPC_UNARY, RPC_V2, sandbox_tags_get},
    {"SandboxTagsSet", SVC_REQUEST(sandbox_tags_set_request), RPC_UNARY, 0, sandbox_tags_set},
    {"SandboxTagsSetV2", SVC_REQUEST(sandbox_tags_set_request), RPC_UNARY, RPC_V2, sandbox_tags_set},
    {0},
};
