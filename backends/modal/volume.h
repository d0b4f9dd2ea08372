/* Volumes of the server (protocol 4.2), and what a running task does with those that it has mounted (5.11). */
#ifndef ATP_MODAL_VOLUME_H
#define ATP_MODAL_VOLUME_H

#include <stdbool.h>

struct err;
struct modal_client;
struct modal_task;
struct strlist;

/* The volume of that name in the client's environment; create: it is made if there is none, otherwise GRPC_NOT_FOUND.
 * The id is owned by caller. */
int modal_volume_get(struct modal_client *c, const char *name, bool create, char **ret_id, struct err *err);
int modal_volume_delete(struct modal_client *c, const char *volume_id, struct err *err); /* GRPC_NOT_FOUND: gone */
/* All volumes of the environment, newest first: names[i] belongs to ids[i]. */
int modal_volume_list(struct modal_client *c, struct strlist *ret_names, struct strlist *ret_ids, struct err *err);

/*
 * Commits what the task's container (modal_task_container()) wrote to its volumes, and shows it the newest state. The
 * server may refuse the second half while files there are open (GRPC_FAILED_PRECONDITION).
 */
int modal_task_reload_volumes(struct modal_task *task, struct err *err);

#endif
