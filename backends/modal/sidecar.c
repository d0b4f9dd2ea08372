#include "backends/modal/sidecar_internal.h"

#include "backends/grpc/frame.h"
#include "backends/modal/ending.h"
#include "backends/modal/sandbox_spec.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define MAIN_NAME    "main" /* the sandbox's own container */
#define CREATE_MS    300000 /* an image may have to be brought */
#define TERMINATE_MS 30000

static const struct modal_method container_create = {
    .path = MODAL_ROUTER(TaskContainerCreate),
    .reply = &modal__task_command_router__task_container_create_response__descriptor,
};

static const struct modal_method container_get = {
    .path = MODAL_ROUTER(TaskContainerGet),
    .reply = &modal__task_command_router__task_container_get_response__descriptor,
};

static const struct modal_method container_list = {
    .path = MODAL_ROUTER(TaskContainerList),
    .reply = &modal__task_command_router__task_container_list_response__descriptor,
};

static const struct modal_method container_terminate = {
    .path = MODAL_ROUTER(TaskContainerTerminate),
    .reply = &modal__task_command_router__task_container_terminate_response__descriptor,
};

static const struct modal_method container_wait = {
    .path = MODAL_ROUTER(TaskContainerWait),
    .reply = &modal__task_command_router__task_container_wait_response__descriptor,
};

void modal_sidecar_spec_clear(struct modal_sidecar_spec *spec)
{
    strlist_clear(&spec->args);
    strlist_clear(&spec->env);
    strlist_clear(&spec->secret_ids);
    strlist_clear(&spec->cidrs);
    strlist_clear(&spec->domains);
}

void modal_sidecar_info_clear(struct modal_sidecar_info *info)
{
    free(info->id);
    free(info->name);
    modal_ending_clear(&info->ending);
    *info = (struct modal_sidecar_info){0};
}

void modal_sidecar_list_clear(struct modal_sidecar_list *list)
{
    for (size_t i = 0; i < list->len; i++)
        modal_sidecar_info_clear(&list->items[i]);
    free(list->items);
    *list = (struct modal_sidecar_list){0};
}

/* What the server would refuse, in words that say which container is meant. */
static int check(const struct modal_sidecar_spec *spec, struct err *err)
{
    if (!spec->name || !*spec->name || !strcmp(spec->name, MAIN_NAME))
        return err_set(err, 125, "a further container of a sandbox needs a name of its own");
    if (spec->network == MODAL_NETWORK_BLOCKED)
        return err_set(err, 125, "a further container of a sandbox cannot be without a network");
    if (spec->workdir && *spec->workdir != '/')
        return err_set(err, 125, "the working directory %s is not absolute", spec->workdir);
    return 0;
}

static void fill_network(const struct modal_sidecar_spec *spec, Modal__Client__NetworkAccess *n)
{
    modal__client__network_access__init(n);
    n->has_network_access_type = 1;
    n->network_access_type = spec->network == MODAL_NETWORK_ALLOWLIST
                                 ? MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__ALLOWLIST
                                 : MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__OPEN;
    n->n_allowed_cidrs = spec->cidrs.len;
    n->allowed_cidrs = spec->cidrs.items;
    n->n_allowed_domains = spec->domains.len;
    n->allowed_domains = spec->domains.items;
}

int modal_sidecar_create(struct modal_task *task, const struct modal_sidecar_spec *spec, char **ret_id, struct err *err)
{
    static const struct modal_rpc_options options = {.attempt_ms = CREATE_MS, .budget_ms = CREATE_MS};
    Modal__TaskCommandRouter__TaskContainerCreateRequest request =
        MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_CREATE_REQUEST__INIT;
    cleanup_message Modal__TaskCommandRouter__TaskContainerCreateResponse *reply = NULL;
    Modal__Client__NetworkAccess network;
    Modal__Client__PTYInfo pty;
    struct volume_messages volumes;
    struct modal_entries env;
    int ret;

    if (check(spec, err) < 0)
        return -1;
    modal_entries_make(&env, &spec->env);
    volume_messages_make(&volumes, spec->volumes, spec->volume_count);
    fill_network(spec, &network);
    request.task_id = task->task_id;
    request.container_name = (char *)spec->name;
    request.image_id = (char *)spec->image_id;
    request.n_args = spec->args.len;
    request.args = spec->args.items;
    request.n_env = env.len;
    request.env = env.pointers;
    request.workdir = (char *)spec->workdir;
    request.n_secret_ids = spec->secret_ids.len;
    request.secret_ids = spec->secret_ids.items;
    request.n_volume_mounts = volumes.len;
    request.volume_mounts = volumes.pointers;
    request.network_access = &network;
    if (spec->pty) {
        modal_pty_message(&pty, spec->pty);
        request.pty_info = &pty;
    }
    ret = modal_rpc_sync(&task->peer, &container_create, &request, &options, &reply, err);
    volume_messages_clear(&volumes);
    modal_entries_clear(&env);
    if (ret < 0)
        return -1;
    if (!reply->container_id || strncmp(reply->container_id, "ctr-", 4) != 0 || strchr(reply->container_id, '/'))
        return err_set(err, 125, "the server gave no container id");
    *ret_id = xstrdup(reply->container_id);
    return 0;
}

static void take_info(struct modal_sidecar_info *info, const Modal__TaskCommandRouter__TaskContainerInfo *from)
{
    *info = (struct modal_sidecar_info){
        .id = xstrdup(from->container_id ? from->container_id : ""),
        .name = xstrdup(from->container_name ? from->container_name : ""),
    };
    modal_ending_take(&info->ending, from->result);
}

int modal_sidecar_get(struct modal_task *task, const char *name, bool terminated, struct modal_sidecar_info *ret,
                      struct err *err)
{
    Modal__TaskCommandRouter__TaskContainerGetRequest request =
        MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_GET_REQUEST__INIT;
    cleanup_message Modal__TaskCommandRouter__TaskContainerGetResponse *reply = NULL;

    request.task_id = task->task_id;
    request.container_name = (char *)name;
    request.has_include_terminated = 1;
    request.include_terminated = terminated;
    if (modal_rpc_sync(&task->peer, &container_get, &request, NULL, &reply, err) < 0)
        return -1;
    if (!reply->container) {
        err_set(err, 125, "the sandbox has no container %s", name);
        if (err)
            err->code = GRPC_NOT_FOUND;
        return -1;
    }
    take_info(ret, reply->container);
    return 0;
}

int modal_sidecar_list(struct modal_task *task, bool terminated, struct modal_sidecar_list *ret, struct err *err)
{
    Modal__TaskCommandRouter__TaskContainerListRequest request =
        MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_LIST_REQUEST__INIT;
    cleanup_message Modal__TaskCommandRouter__TaskContainerListResponse *reply = NULL;

    request.task_id = task->task_id;
    request.has_include_terminated = 1;
    request.include_terminated = terminated;
    if (modal_rpc_sync(&task->peer, &container_list, &request, NULL, &reply, err) < 0)
        return -1;
    *ret = (struct modal_sidecar_list){.items = xcalloc(reply->n_containers + 1, sizeof(*ret->items))};
    for (size_t i = 0; i < reply->n_containers; i++)
        if (reply->containers[i]->container_name && strcmp(reply->containers[i]->container_name, MAIN_NAME) != 0)
            take_info(&ret->items[ret->len++], reply->containers[i]);
    return 0;
}

int modal_sidecar_terminate(struct modal_task *task, const char *id, struct err *err)
{
    static const struct modal_rpc_options options = {.budget_ms = TERMINATE_MS};
    Modal__TaskCommandRouter__TaskContainerTerminateRequest request =
        MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_TERMINATE_REQUEST__INIT;
    cleanup_message Modal__TaskCommandRouter__TaskContainerTerminateResponse *reply = NULL;
    struct err why = ERR_INIT;

    request.task_id = task->task_id;
    request.container_id = (char *)id;
    if (modal_rpc_sync(&task->peer, &container_terminate, &request, &options, &reply, &why) == 0)
        return 0;
    if (why.code != GRPC_NOT_FOUND && why.code != GRPC_FAILED_PRECONDITION)
        return err_move(err, &why);
    err_clear(&why);
    return 0;
}

struct modal_rpc *sidecar_wait_start(struct modal_task *task, const char *id, float seconds, modal_rpc_fn *fn,
                                     void *arg)
{
    const struct modal_rpc_options options = {.attempt_ms = (int64_t)(seconds * 1000) + 2 * task->client->lost_ms};
    Modal__TaskCommandRouter__TaskContainerWaitRequest request =
        MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_WAIT_REQUEST__INIT;

    request.task_id = task->task_id;
    request.container_id = (char *)id;
    request.has_timeout = 1;
    request.timeout = seconds;
    return modal_rpc_start(&task->peer, &container_wait, &request, &options, fn, arg);
}

int modal_sidecar_wait(struct modal_task *task, const char *id, int64_t timeout_ms, struct modal_ending *ret,
                       struct err *err)
{
    const struct modal_rpc_options options = {.attempt_ms = timeout_ms + 2 * task->client->lost_ms};
    Modal__TaskCommandRouter__TaskContainerWaitRequest request =
        MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_WAIT_REQUEST__INIT;
    cleanup_message Modal__TaskCommandRouter__TaskContainerWaitResponse *reply = NULL;

    request.task_id = task->task_id;
    request.container_id = (char *)id;
    request.has_timeout = 1;
    request.timeout = (float)timeout_ms / 1000;
    if (modal_rpc_sync(&task->peer, &container_wait, &request, &options, &reply, err) < 0)
        return -1;
    modal_ending_take(ret, reply->result);
    return 0;
}
