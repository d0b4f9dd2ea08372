#include "backends/modal/task_snapshot.h"

#include "backends/grpc/frame.h"
#include "backends/modal/task_internal.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <string.h>

/*
 * The SDKs give up after 55 s in all. Here that is the time of one attempt only: a copy that takes longer goes on at
 * the server meanwhile, and the next attempt finds it by its snapshot_id.
 */
#define ATTEMPT_MS 55000
#define BUDGET_MS  600000

static const struct modal_method snapshot_filesystem = {
    .path = MODAL_ROUTER(TaskSnapshotFilesystem),
    .reply = &modal__task_command_router__task_snapshot_filesystem_response__descriptor,
};

int modal_task_snapshot(struct modal_task *task, int64_t ttl_s, char **ret_image_id, struct err *err)
{
    static const struct modal_rpc_options options = {
        .attempt_ms = ATTEMPT_MS, .budget_ms = BUDGET_MS, .again_at_deadline = true};
    Modal__TaskCommandRouter__TaskSnapshotFilesystemRequest request =
        MODAL__TASK_COMMAND_ROUTER__TASK_SNAPSHOT_FILESYSTEM_REQUEST__INIT;
    cleanup_message Modal__TaskCommandRouter__TaskSnapshotFilesystemResponse *reply = NULL;
    char id[MODAL_UUID_LEN + 1];

    modal_uuid(id);
    request.task_id = task->task_id;
    request.snapshot_id = id;
    request.has_ttl_seconds = 1;
    request.ttl_seconds = ttl_s;
    if (modal_rpc_sync(&task->peer, &snapshot_filesystem, &request, &options, &reply, err) < 0)
        return err_wrap(err, "keeping the container's files");
    if (!reply->image_id || strncmp(reply->image_id, "im-", 3) != 0) {
        err_set(err, 125, "keeping the container's files: the server gave no image");
        if (err)
            err->code = GRPC_INTERNAL;
        return -1;
    }
    *ret_image_id = xstrdup(reply->image_id);
    return 0;
}
