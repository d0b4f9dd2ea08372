/* Volumes on the control plane: made, looked up, listed, renamed, deleted (protocol 4.2); and reloaded in a container.
 */
#include "backends/engine/engine.h"
#include "backends/engine/ids.h"
#include "backends/engine/router.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/sidecar.h"
#include "backends/engine/svc.h"
#include "backends/engine/svc_volume.h"
#include "backends/engine/vol.h"
#include "backends/engine/vol_view.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define VOLUMES_PAGE 100

enum {
    LOOK_UP = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_UNSPECIFIED,
    IF_MISSING = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_CREATE_IF_MISSING,
    FAIL_IF_EXISTS = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS,
    OWNED_BY_APP = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP,
    EPHEMERAL = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_EPHEMERAL,
};

struct volume *svc_volume(struct call *c, const char *id)
{
    struct volume *vol = volume_by_id(c->engine->volumes, svc_text(id));

    if (!vol)
        call_fail(c, GRPC_NOT_FOUND, "Volume %s not found", svc_text(id));
    return vol;
}

struct described {
    Modal__Client__VolumeMetadata metadata;
    Modal__Client__CreationInfo info;
};

static void describe(const struct volume *vol, struct described *ret)
{
    modal__client__volume_metadata__init(&ret->metadata);
    modal__client__creation_info__init(&ret->info);
    ret->info.has_created_at = 1;
    ret->info.created_at = vol->created_at;
    ret->metadata.creation_info = &ret->info;
    ret->metadata.name = SVC_CONST(svc_text(vol->name));
    ret->metadata.has_version = 1;
    ret->metadata.version = vol->version == 2 ? MODAL__CLIENT__VOLUME_FS_VERSION__VOLUME_FS_VERSION_V2
                                              : MODAL__CLIENT__VOLUME_FS_VERSION__VOLUME_FS_VERSION_V1;
}

/* The named volume that the request means, found or made. */
static struct volume *named(struct call *c, const Modal__Client__VolumeGetOrCreateRequest *r, int version,
                            struct err *err)
{
    const char *environment = svc_environment(r->environment_name), *name = svc_text(r->deployment_name);
    struct volume *vol;
    int type = (int)r->object_creation_type;

    if (!name_is_valid(name)) {
        svc_err(err, GRPC_INVALID_ARGUMENT, "Invalid Volume name: \"%s\"", name);
        return NULL;
    }
    vol = volume_by_name(c->engine->volumes, environment, name);
    if (vol && type != FAIL_IF_EXISTS)
        return vol;
    if (vol)
        svc_err(err, GRPC_ALREADY_EXISTS, "Volume \"%s\" already exists", name);
    else if (type == LOOK_UP)
        svc_err(err, GRPC_NOT_FOUND, "Volume \"%s\" not found in environment \"%s\"", name, environment);
    else if (type != IF_MISSING && type != FAIL_IF_EXISTS)
        svc_err(err, GRPC_INVALID_ARGUMENT, "unknown way to create a volume: %d", type);
    else
        return volume_create(c->engine->volumes, environment, name, version, err);
    return NULL;
}

static void volume_get_or_create(struct call *c, const void *request)
{
    const Modal__Client__VolumeGetOrCreateRequest *r = request;
    Modal__Client__VolumeGetOrCreateResponse response = MODAL__CLIENT__VOLUME_GET_OR_CREATE_RESPONSE__INIT;
    int version = r->version == MODAL__CLIENT__VOLUME_FS_VERSION__VOLUME_FS_VERSION_V2 ? 2 : 1;
    cleanup_err struct err err = ERR_INIT;
    struct described d;
    struct volume *vol;

    if ((int)r->object_creation_type == EPHEMERAL || (int)r->object_creation_type == OWNED_BY_APP)
        vol = volume_create(c->engine->volumes, svc_environment(r->environment_name), NULL, version, &err);
    else
        vol = named(c, r, version, &err);
    if (!vol) {
        svc_fail(c, &err);
        return;
    }
    describe(vol, &d);
    response.volume_id = vol->id;
    response.has_version = 1;
    response.version = d.metadata.version;
    response.metadata = &d.metadata;
    call_reply(c, &response);
}

static void volume_get_by_id(struct call *c, const void *request)
{
    const Modal__Client__VolumeGetByIdRequest *r = request;
    Modal__Client__VolumeGetByIdResponse response = MODAL__CLIENT__VOLUME_GET_BY_ID_RESPONSE__INIT;
    struct volume *vol = svc_volume(c, r->volume_id);
    struct described d;

    if (!vol)
        return;
    describe(vol, &d);
    response.volume_id = vol->id;
    response.metadata = &d.metadata;
    call_reply(c, &response);
}

static void volume_list(struct call *c, const void *request)
{
    const Modal__Client__VolumeListRequest *r = request;
    Modal__Client__VolumeListResponse response = MODAL__CLIENT__VOLUME_LIST_RESPONSE__INIT;
    Modal__Client__VolumeListItem items[VOLUMES_PAGE], *list[VOLUMES_PAGE];
    struct described described[VOLUMES_PAGE];
    const char *environment = svc_environment(r->environment_name);
    double before = r->pagination ? r->pagination->created_before : 0;
    size_t max = r->pagination && r->pagination->max_objects > 0 ? (size_t)r->pagination->max_objects : VOLUMES_PAGE,
           n = 0;

    for (struct volume *vol = c->engine->volumes->newest; vol && n < max && n < VOLUMES_PAGE; vol = vol->next) {
        if (!vol->name || strcmp(vol->environment, environment) != 0 || (before > 0 && vol->created_at >= before))
            continue;
        describe(vol, &described[n]);
        modal__client__volume_list_item__init(&items[n]);
        items[n].label = vol->name;
        items[n].volume_id = vol->id;
        items[n].has_created_at = 1;
        items[n].created_at = vol->created_at;
        items[n].metadata = &described[n].metadata;
        list[n] = &items[n];
        n++;
    }
    response.items = list;
    response.n_items = n;
    response.environment_name = SVC_CONST(environment);
    call_reply(c, &response);
}

static void volume_rename_call(struct call *c, const void *request)
{
    const Modal__Client__VolumeRenameRequest *r = request;
    struct volume *vol = svc_volume(c, r->volume_id), *there;
    const char *name = svc_text(r->name);
    cleanup_err struct err err = ERR_INIT;

    if (!vol)
        return;
    there = volume_by_name(c->engine->volumes, vol->environment, name);
    if (!name_is_valid(name) || !vol->name)
        call_fail(c, GRPC_INVALID_ARGUMENT, "Invalid Volume name: \"%s\"", name);
    else if (there && there != vol)
        call_fail(c, GRPC_ALREADY_EXISTS, "Volume \"%s\" already exists", name);
    else if (volume_rename(c->engine->volumes, vol, name, &err) < 0)
        svc_fail(c, &err);
    else
        svc_reply_empty(c);
}

static void volume_delete_call(struct call *c, const void *request)
{
    const Modal__Client__VolumeDeleteRequest *r = request;
    struct volume *vol = svc_volume(c, r->volume_id);

    if (!vol)
        return;
    volume_delete(c->engine->volumes, vol);
    svc_reply_empty(c);
}

static void volume_heartbeat(struct call *c, const void *request)
{
    const Modal__Client__VolumeHeartbeatRequest *r = request;
    struct volume *vol = svc_volume(c, r->volume_id);

    if (!vol)
        return;
    vol->heard = unix_now();
    svc_reply_empty(c);
}

/* Of what has it mounted: code in containers calls these, through a road that sandboxes do not have. All views of the
 * volume are committed. */
static void volume_commit_call(struct call *c, const void *request)
{
    const Modal__Client__VolumeCommitRequest *r = request;
    Modal__Client__VolumeCommitResponse response = MODAL__CLIENT__VOLUME_COMMIT_RESPONSE__INIT;

    if (!svc_volume(c, r->volume_id))
        return;
    vol_views_commit_all(c->engine->volumes);
    response.has_skip_reload = 1;
    response.skip_reload = 0;
    call_reply(c, &response);
}

static void volume_reload_call(struct call *c, const void *request)
{
    const Modal__Client__VolumeReloadRequest *r = request;

    if (svc_volume(c, r->volume_id))
        call_fail(c, GRPC_UNIMPLEMENTED, "VolumeReload is for functions; a Sandbox has TaskReloadVolumes");
}

/* ---- the router's ---- */

static void task_reload_volumes(struct call *c, const void *request)
{
    const Modal__TaskCommandRouter__TaskReloadVolumesRequest *r = request;
    Modal__TaskCommandRouter__TaskReloadVolumesResponse response =
        MODAL__TASK_COMMAND_ROUTER__TASK_RELOAD_VOLUMES_RESPONSE__INIT;
    struct sandbox *s = router_running(c, r->task_id);
    const char *id = svc_text(r->container_id);
    const struct sidecar *sidecar = s && *id ? sidecar_by_id(s, id) : NULL;
    cleanup_err struct err err = ERR_INIT;

    if (!s)
        return;
    if (*id && !sidecar)
        call_fail(c, GRPC_NOT_FOUND, "container %s not found", id);
    else if (vol_views_reload(sidecar ? sidecar->plan.views : s->plan.views, &err) < 0)
        svc_fail(c, &err);
    else
        call_reply(c, &response);
}

const struct rpc_method svc_task_volume_methods[] = {
    {"TaskReloadVolumes", SVC_ROUTER_REQUEST(task_reload_volumes_request), RPC_UNARY, RPC_ROUTER, task_reload_volumes},
    {0},
};

const struct rpc_method svc_volume_methods[] = {
    {"VolumeCommit", SVC_REQUEST(volume_commit_request), RPC_UNARY, 0, volume_commit_call},
    {"VolumeDelete", SVC_REQUEST(volume_delete_request), RPC_UNARY, 0, volume_delete_call},
    {"VolumeGetById", SVC_REQUEST(volume_get_by_id_request), RPC_UNARY, 0, volume_get_by_id},
    {"VolumeGetOrCreate", SVC_REQUEST(volume_get_or_create_request), RPC_UNARY, RPC_ONCE, volume_get_or_create},
    {"VolumeHeartbeat", SVC_REQUEST(volume_heartbeat_request), RPC_UNARY, 0, volume_heartbeat},
    {"VolumeList", SVC_REQUEST(volume_list_request), RPC_UNARY, 0, volume_list},
    {"VolumeReload", SVC_REQUEST(volume_reload_request), RPC_UNARY, 0, volume_reload_call},
    {"VolumeRename", SVC_REQUEST(volume_rename_request), RPC_UNARY, 0, volume_rename_call},
    {0},
};
