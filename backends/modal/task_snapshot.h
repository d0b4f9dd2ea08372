/*
 * A running sandbox's filesystem as an image (protocol 5.11): what a container that stops is started from again. The
 * image has the configuration of the one that the sandbox runs on. modal_image_delete() (image.h) takes it away.
 */
#ifndef ATP_MODAL_TASK_SNAPSHOT_H
#define ATP_MODAL_TASK_SNAPSHOT_H

#include <stdint.h>

struct err;
struct modal_task;

#define MODAL_SNAPSHOT_FOREVER (-1)

/*
 * Takes the snapshot while everything in the sandbox goes on. ttl_s: seconds until the server deletes the image, or
 * MODAL_SNAPSHOT_FOREVER. Blocking: turns the client's loop, for minutes if the sandbox has changed much. Lost answers
 * and cut connections are made good: the server is asked again for the same snapshot. *ret_image_id is owned by
 * caller. err->code is a gRPC status: GRPC_NOT_FOUND when the sandbox has ended.
 */
int modal_task_snapshot(struct modal_task *task, int64_t ttl_s, char **ret_image_id, struct err *err);

#endif
