/* Private to this room: a sidecar's end, asked for beside other work. */
#ifndef ATP_MODAL_SIDECAR_INTERNAL_H
#define ATP_MODAL_SIDECAR_INTERNAL_H

#include "backends/modal/sidecar.h"
#include "backends/modal/task_internal.h"
#include "backends/proto/task_command_router.pb-c.h"

#define SIDECAR_TASK_MS  10000 /* for a sandbox that exists to have its task */
#define MODAL_TERMINATED 137   /* what the platform calls an end from outside */

/* fn gets a TaskContainerWaitResponse. */
struct modal_rpc *sidecar_wait_start(struct modal_task *task, const char *id, float seconds, modal_rpc_fn *fn,
                                     void *arg);

#endif
