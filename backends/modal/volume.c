#include "backends/modal/volume.h"

#include "backends/grpc/frame.h"
#include "backends/modal/internal.h"
#include "backends/modal/task_internal.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"

#define RELOAD_ATTEMPT_MS 55000 /* the SDKs' budget */
#define RELOAD_BUDGET_MS  120000
#define LIST_PAGE         100
#define LIST_MAX          100000 /* a server that never ends its list */

static const struct modal_method volume_get_or_create = {
    .path = MODAL_CONTROL(VolumeGetOrCreate),
    .reply = &modal__client__volume_get_or_create_response__descriptor,
};
static const struct modal_method volume_delete = {
    .path = MODAL_CONTROL(VolumeDelete),
    .reply = &modal__client__empty__descriptor,
};
static const struct modal_method volume_list = {
    .path = MODAL_CONTROL(VolumeList),
    .reply = &modal__client__volume_list_response__descriptor,
};
static const struct modal_method reload_volumes = {
    .path = MODAL_ROUTER(TaskReloadVolumes),
    .reply = &modal__task_command_router__task_reload_volumes_response__descriptor,
};

int modal_volume_get(struct modal_client *c, const char *name, bool create, char **ret_id, struct err *err)
{
    Modal__Client__VolumeGetOrCreateRequest request = MODAL__CLIENT__VOLUME_GET_OR_CREATE_REQUEST__INIT;
    cleanup_message Modal__Client__VolumeGetOrCreateResponse *reply = NULL;

    request.deployment_name = (char *)name;
    request.environment_name = c->environment;
    request.has_object_creation_type = 1;
    request.object_creation_type = create ? MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_CREATE_IF_MISSING
                                          : MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_UNSPECIFIED;
    if (modal_call(c, &volume_get_or_create, &request, &reply, err) < 0)
        return -1;
    if (!reply->volume_id || !*reply->volume_id)
        return err_set(err, 125, "the server gave no id for the volume");
    *ret_id = xstrdup(reply->volume_id);
    return 0;
}

int modal_volume_delete(struct modal_client *c, const char *volume_id, struct err *err)
{
    Modal__Client__VolumeDeleteRequest request = MODAL__CLIENT__VOLUME_DELETE_REQUEST__INIT;
    cleanup_message Modal__Client__Empty *reply = NULL;

    request.volume_id = (char *)volume_id;
    return modal_call(c, &volume_delete, &request, &reply, err);
}

int modal_volume_list(struct modal_client *c, struct strlist *ret_names, struct strlist *ret_ids, struct err *err)
{
    double before = 0;

    for (size_t n = LIST_PAGE; n == LIST_PAGE && ret_ids->len < LIST_MAX;) {
        Modal__Client__VolumeListRequest request = MODAL__CLIENT__VOLUME_LIST_REQUEST__INIT;
        Modal__Client__ListPagination page = MODAL__CLIENT__LIST_PAGINATION__INIT;
        cleanup_message Modal__Client__VolumeListResponse *reply = NULL;

        page.has_max_objects = 1;
        page.max_objects = LIST_PAGE;
        page.has_created_before = before > 0;
        page.created_before = before;
        request.environment_name = c->environment;
        request.pagination = &page;
        if (modal_call(c, &volume_list, &request, &reply, err) < 0)
            return -1;
        n = reply->n_items;
        for (size_t i = 0; i < n; i++) {
            strlist_add(ret_names, reply->items[i]->label ? reply->items[i]->label : "");
            strlist_add(ret_ids, reply->items[i]->volume_id ? reply->items[i]->volume_id : "");
            before = reply->items[i]->created_at;
        }
    }
    return 0;
}

int modal_task_reload_volumes(struct modal_task *task, struct err *err)
{
    static const struct modal_rpc_options options = {.attempt_ms = RELOAD_ATTEMPT_MS, .budget_ms = RELOAD_BUDGET_MS};
    Modal__TaskCommandRouter__TaskReloadVolumesRequest request =
        MODAL__TASK_COMMAND_ROUTER__TASK_RELOAD_VOLUMES_REQUEST__INIT;
    cleanup_message Modal__TaskCommandRouter__TaskReloadVolumesResponse *reply = NULL;

    request.task_id = task->task_id;
    request.container_id = task->container;
    if (modal_rpc_sync(&task->peer, &reload_volumes, &request, &options, &reply, err) < 0)
        return err_wrap(err, "committing the volumes");
    return 0;
}
