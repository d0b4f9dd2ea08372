/*
 * Sandboxes on the control plane: create, wait, terminate, list, access to the router (protocol 5). V1 and V2 take the
 * same requests but for create; any id works with either form.
 */
#include "backends/engine/engine.h"
#include "backends/engine/ids.h"
#include "backends/engine/keys.h"
#include "backends/engine/log.h"
#include "backends/engine/plan.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/store.h"
#include "backends/engine/svc.h"
#include "backends/engine/svc_sandbox.h"
#include "backends/engine/waiter.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define LIST_PAGE 100

struct sandbox *svc_sandbox(struct call *c, const char *id)
{
    struct sandbox *s = sandbox_by_id(c->engine->sandboxes, svc_text(id));

    if (!s)
        call_fail(c, GRPC_NOT_FOUND, "Sandbox %s not found", svc_text(id));
    return s;
}

bool svc_result(const struct sandbox *s, Modal__Client__GenericResult *ret)
{
    if (s->state != SANDBOX_ENDED)
        return false;
    modal__client__generic_result__init(ret);
    ret->has_status = 1;
    ret->status = (Modal__Client__GenericResult__GenericStatus)s->status;
    ret->has_exitcode = 1;
    ret->exitcode = s->exit_code;
    ret->exception = s->exception;
    return true;
}

/* ---- create ---- */

/* Makes the sandbox of either create call; v2 is NULL for V1. NULL when the call was ended. */
static struct sandbox *create(struct call *c, const char *app_id, const Modal__Client__Sandbox *def,
                              const Modal__Client__SandboxCreateV2Request *v2, Modal__Client__SandboxTag *const *tags,
                              size_t tags_len)
{
    struct plan plan = {0};
    struct store_app app = {0};
    cleanup_strlist struct strlist list = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    struct sandbox *s = NULL;
    int found = store_app_by_id(c->engine->store, svc_text(app_id), &app, &err);

    if (found == 0)
        svc_err(&err, GRPC_NOT_FOUND, "App %s not found", svc_text(app_id));
    if (found > 0 && svc_no_unknown(c->request, "the request", &err) == 0 &&
        svc_tags(tags, tags_len, &list, &err) == 0 && plan_make(c->engine, def, v2, &plan, &err) == 0)
        s = sandbox_create(c->engine->sandboxes, v2 != NULL, app_id, &plan, &list, &err);
    if (s)
        log_line("sandbox %s created", s->id);
    else
        svc_fail(c, &err);
    plan_clear(&plan);
    store_app_clear(&app);
    return s;
}

static void sandbox_create_v1(struct call *c, const void *request)
{
    const Modal__Client__SandboxCreateRequest *r = request;
    Modal__Client__SandboxCreateResponse response = MODAL__CLIENT__SANDBOX_CREATE_RESPONSE__INIT;
    Modal__Client__SandboxHandleMetadata metadata = MODAL__CLIENT__SANDBOX_HANDLE_METADATA__INIT;
    struct sandbox *s = create(c, r->app_id, r->definition, /* v2= */ NULL, r->tags, r->n_tags);

    if (!s)
        return;
    metadata.app_id = s->app_id;
    response.sandbox_id = s->id;
    response.metadata = &metadata;
    call_reply(c, &response);
}

static void sandbox_create_v2(struct call *c, const void *request)
{
    const Modal__Client__SandboxCreateV2Request *r = request;
    Modal__Client__SandboxCreateV2Response response = MODAL__CLIENT__SANDBOX_CREATE_V2_RESPONSE__INIT;
    Modal__Client__SandboxHandleMetadata metadata = MODAL__CLIENT__SANDBOX_HANDLE_METADATA__INIT;
    Modal__Client__CommandRouterAccess access = MODAL__CLIENT__COMMAND_ROUTER_ACCESS__INIT;
    cleanup_free char *jwt = NULL, *url = NULL;
    struct sandbox *s;

    if (r->n_cloud_bucket_mount_credentials) {
        call_fail(c, GRPC_UNIMPLEMENTED, "cloud bucket mounts are not supported by this server");
        return;
    }
    s = create(c, r->app_id, r->definition, r, r->tags, r->n_tags);
    if (!s)
        return;
    jwt = keys_router_token(c->engine->keys, s->task_id);
    url = svc_router_url(c);
    access.jwt = jwt;
    access.url = url;
    metadata.app_id = s->app_id;
    response.sandbox_id = s->id;
    response.task_id = s->task_id;
    response.metadata = &metadata;
    response.command_router_access = &access;
    call_reply(c, &response);
}

/* ---- wait, terminate ---- */

/* result is left out while it runs: clients take its presence for the end. */
static void reply_wait(struct call *c, const struct sandbox *s)
{
    Modal__Client__SandboxWaitResponse response = MODAL__CLIENT__SANDBOX_WAIT_RESPONSE__INIT;
    Modal__Client__SandboxHandleMetadata metadata = MODAL__CLIENT__SANDBOX_HANDLE_METADATA__INIT;
    Modal__Client__GenericResult result;

    metadata.app_id = s->app_id;
    response.metadata = &metadata;
    if (svc_result(s, &result))
        response.result = metadata.result = &result;
    call_reply(c, &response);
}

/* Woken by a step or by time. A start in between lets the wait begin anew: clients loop anyway. */
static void wait_over(struct call *c, bool timed_out)
{
    const Modal__Client__SandboxWaitRequest *r = c->request;
    struct sandbox *s = svc_sandbox(c, r->sandbox_id);

    if (!s)
        return;
    if (s->state == SANDBOX_RUNNING && !timed_out)
        svc_park(c, &s->changes, r->timeout, wait_over);
    else
        reply_wait(c, s);
}

static void sandbox_wait(struct call *c, const void *request)
{
    const Modal__Client__SandboxWaitRequest *r = request;
    struct sandbox *s = svc_sandbox(c, r->sandbox_id);

    if (!s)
        return;
    if (s->state == SANDBOX_ENDED || !(r->timeout > 0))
        reply_wait(c, s);
    else
        svc_park(c, &s->changes, r->timeout, wait_over);
}

static void sandbox_terminate_call(struct call *c, const void *request)
{
    const Modal__Client__SandboxTerminateRequest *r = request;
    Modal__Client__SandboxTerminateResponse response = MODAL__CLIENT__SANDBOX_TERMINATE_RESPONSE__INIT;
    Modal__Client__GenericResult result;
    struct sandbox *s = svc_sandbox(c, r->sandbox_id);

    if (!s)
        return;
    if (svc_result(s, &result))
        response.existing_result = &result;
    else
        sandbox_terminate(s);
    call_reply(c, &response);
}

/* ---- list ---- */

struct listed { /* one SandboxInfo with everything it points to */
    Modal__Client__SandboxInfo info;
    Modal__Client__TaskInfo task;
    Modal__Client__GenericResult result;
    Modal__Client__SandboxHandleMetadata metadata;
    Modal__Client__ResourceInfo resources;
    Modal__Client__ResourceInfo__ResourceValue memory, cpu;
    struct svc_tag_list tags;
};

static void fill_resources(struct listed *l, const struct sandbox *s)
{
    modal__client__resource_info__init(&l->resources);
    modal__client__resource_info__resource_value__init(&l->memory);
    modal__client__resource_info__resource_value__init(&l->cpu);
    l->memory.has_value = l->cpu.has_value = l->memory.has_is_default = l->cpu.has_is_default = 1;
    l->memory.value = s->plan.memory_mb_asked;
    l->memory.is_default = !s->plan.memory_mb_asked;
    l->cpu.value = s->plan.milli_cpu_asked;
    l->cpu.is_default = !s->plan.milli_cpu_asked;
    l->resources.memory_mb = &l->memory;
    l->resources.milli_cpu = &l->cpu;
    l->resources.has_memory_mb_max = l->resources.has_milli_cpu_max = 1;
    l->resources.memory_mb_max = (uint32_t)(s->plan.memory_bytes >> 20);
    l->resources.milli_cpu_max = (uint32_t)s->plan.milli_cpu;
    l->info.resource_info = &l->resources;
}

static void fill_task(struct listed *l, const struct sandbox *s)
{
    modal__client__task_info__init(&l->task);
    l->task.id = s->task_id;
    l->task.sandbox_id = s->id;
    l->task.has_enqueued_at = 1;
    l->task.enqueued_at = s->created_at;
    l->task.has_started_at = l->task.has_finished_at = 1;
    l->task.started_at = s->started_at;
    l->task.finished_at = s->finished_at;
    if (svc_result(s, &l->result))
        l->task.result = l->metadata.result = &l->result;
    l->info.task_info = &l->task;
}

static void fill_listed(struct listed *l, const struct sandbox *s)
{
    modal__client__sandbox_info__init(&l->info);
    modal__client__sandbox_handle_metadata__init(&l->metadata);
    l->metadata.app_id = s->app_id;
    l->info.metadata = &l->metadata;
    l->info.id = s->id;
    l->info.has_created_at = 1;
    l->info.created_at = s->created_at;
    l->info.app_id = s->app_id;
    l->info.name = s->plan.name;
    l->info.image_id = s->plan.image_id;
    l->info.has_timeout_secs = 1;
    l->info.timeout_secs = s->plan.timeout_secs;
    l->info.has_idle_timeout_secs = s->plan.idle_timeout_secs != 0;
    l->info.idle_timeout_secs = s->plan.idle_timeout_secs;
    l->info.has_ready_at = s->ready_at > 0;
    l->info.ready_at = s->ready_at;
    fill_task(l, s);
    fill_resources(l, s);
    svc_tag_list_fill(&l->tags, &s->tags);
    l->info.tags = l->tags.list;
    l->info.n_tags = l->tags.len;
}

/* True if the app belongs to the environment; apps of a listing are looked up once each by the caller's patience. */
static bool is_in_environment(struct engine *e, const struct sandbox *s, const char *environment)
{
    struct store_app app = {0};
    bool is = store_app_by_id(e->store, s->app_id, &app, NULL) > 0 && strcmp(app.environment, environment) == 0;

    store_app_clear(&app);
    return is;
}

static bool is_wanted(struct call *c, const struct sandbox *s, const Modal__Client__SandboxListRequest *r,
                      const struct strlist *tags)
{
    if (s->state == SANDBOX_ENDED && !r->include_finished)
        return false;
    if (s->is_v2 && !(c->method->flags & RPC_V2)) /* the older call knows only the older kind */
        return false;
    if (r->before_timestamp > 0 && s->created_at >= r->before_timestamp)
        return false;
    if (svc_text(r->app_id)[0] && strcmp(r->app_id, s->app_id) != 0)
        return false;
    for (size_t i = 0; i < tags->len; i++)
        if (!strlist_has(&s->tags, tags->items[i]))
            return false;
    return svc_text(r->app_id)[0] || is_in_environment(c->engine, s, svc_environment(r->environment_name));
}

/* Newest first, strictly older than before_timestamp, one page; an empty page ends the client's loop. */
static void sandbox_list(struct call *c, const void *request)
{
    const Modal__Client__SandboxListRequest *r = request;
    Modal__Client__SandboxListResponse response = MODAL__CLIENT__SANDBOX_LIST_RESPONSE__INIT;
    cleanup_strlist struct strlist tags = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    Modal__Client__SandboxInfo *list[LIST_PAGE];
    struct listed *page;

    if (svc_tags(r->tags, r->n_tags, &tags, &err) < 0) {
        svc_fail(c, &err);
        return;
    }
    page = xcalloc(LIST_PAGE, sizeof(*page));
    response.sandboxes = list;
    for (struct sandbox *s = sandboxes_newest(c->engine->sandboxes); s && response.n_sandboxes < LIST_PAGE;
         s = s->next) {
        if (!is_wanted(c, s, r, &tags))
            continue;
        fill_listed(&page[response.n_sandboxes], s);
        list[response.n_sandboxes] = &page[response.n_sandboxes].info;
        response.n_sandboxes++;
    }
    call_reply(c, &response);
    for (size_t i = 0; i < response.n_sandboxes; i++)
        svc_tag_list_clear(&page[i].tags);
    free(page);
}

/* ---- router access ---- */

static void task_get_command_router_access(struct call *c, const void *request)
{
    const Modal__Client__TaskGetCommandRouterAccessRequest *r = request;
    Modal__Client__TaskGetCommandRouterAccessResponse response =
        MODAL__CLIENT__TASK_GET_COMMAND_ROUTER_ACCESS_RESPONSE__INIT;
    const struct sandbox *s = sandbox_by_task(c->engine->sandboxes, svc_text(r->task_id));
    cleanup_free char *jwt = NULL, *url = NULL;

    if (!s) {
        call_fail(c, GRPC_NOT_FOUND, "task %s not found", svc_text(r->task_id));
        return;
    }
    if (s->state == SANDBOX_ENDED) {
        call_fail(c, GRPC_FAILED_PRECONDITION, "task %s has finished", s->task_id);
        return;
    }
    response.jwt = jwt = keys_router_token(c->engine->keys, s->task_id);
    response.url = url = svc_router_url(c);
    call_reply(c, &response);
}

/* Access to an ended sandbox is given too: its output can still be read over the router (protocol 5.10). */
static void sandbox_get_command_router_access(struct call *c, const void *request)
{
    const Modal__Client__SandboxGetCommandRouterAccessRequest *r = request;
    Modal__Client__SandboxGetCommandRouterAccessResponse response =
        MODAL__CLIENT__SANDBOX_GET_COMMAND_ROUTER_ACCESS_RESPONSE__INIT;
    const struct sandbox *s = NULL;
    cleanup_free char *jwt = NULL, *url = NULL;

    if (r->target_case == MODAL__CLIENT__SANDBOX_GET_COMMAND_ROUTER_ACCESS_REQUEST__TARGET_SANDBOX_ID)
        s = sandbox_by_id(c->engine->sandboxes, r->sandbox_id);
    else if (r->target_case == MODAL__CLIENT__SANDBOX_GET_COMMAND_ROUTER_ACCESS_REQUEST__TARGET_TASK_ID)
        s = sandbox_by_task(c->engine->sandboxes, r->task_id);
    if (!s) {
        call_fail(c, GRPC_NOT_FOUND, "Sandbox not found");
        return;
    }
    response.jwt = jwt = keys_router_token(c->engine->keys, s->task_id);
    response.url = url = svc_router_url(c);
    call_reply(c, &response);
}

const struct rpc_method svc_sandbox_methods[] = {
    {"SandboxCreate", SVC_REQUEST(sandbox_create_request), RPC_UNARY, RPC_ONCE, sandbox_create_v1},
    {"SandboxCreateV2", SVC_REQUEST(sandbox_create_v2_request), RPC_UNARY, RPC_ONCE | RPC_V2, sandbox_create_v2},
    {"SandboxGetCommandRouterAccess", SVC_REQUEST(sandbox_get_command_router_access_request), RPC_UNARY, RPC_V2,
     sandbox_get_command_router_access},
    {"SandboxList", SVC_REQUEST(sandbox_list_request), RPC_UNARY, 0, sandbox_list},
    {"SandboxListV2", SVC_REQUEST(sandbox_list_request), RPC_UNARY, RPC_V2, sandbox_list},
    {"SandboxTerminate", SVC_REQUEST(sandbox_terminate_request), RPC_UNARY, 0, sandbox_terminate_call},
    {"SandboxTerminateV2", SVC_REQUEST(sandbox_terminate_request), RPC_UNARY, RPC_V2, sandbox_terminate_call},
    {"SandboxWait", SVC_REQUEST(sandbox_wait_request), RPC_UNARY, 0, sandbox_wait},
    {"SandboxWaitV2", SVC_REQUEST(sandbox_wait_request), RPC_UNARY, RPC_V2, sandbox_wait},
    {"TaskGetCommandRouterAccess", SVC_REQUEST(task_get_command_router_access_request), RPC_UNARY, 0,
     task_get_command_router_access},
    {0},
};
