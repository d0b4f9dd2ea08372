/* Private to this room: a task's router as an RPC's peer. */
#ifndef ATP_MODAL_TASK_INTERNAL_H
#define ATP_MODAL_TASK_INTERNAL_H

#include "backends/modal/internal.h"
#include "backends/modal/task.h"

struct modal_task {
    struct modal_peer peer; /* first: control is false */
    struct modal_client *client;
    char *sandbox_id, *task_id;
    char *container; /* where execs go; NULL: the main container */
    char *url, *jwt;
    bool from_cache;           /* the address may be that of a worker that is gone */
    struct modal_rpc *ask;     /* for new access */
    struct grpc_channel **old; /* channels of earlier addresses: their calls may still run */
    size_t old_count;
};

#endif
