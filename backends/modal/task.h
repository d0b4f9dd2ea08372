/*
 * A running task and the way to its worker, the "task command router" (TCR, protocol 6): one connection, a JWT, retries
 * of its own. Access comes from the cache when it can, from the control plane otherwise, and anew when the JWT ran out
 * or the address does not answer.
 */
#ifndef ATP_MODAL_TASK_H
#define ATP_MODAL_TASK_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct modal_client;
struct modal_task;

/*
 * A PLACE is where one container lives: a sandbox's id, "sb-..." (its main container), or "sb-.../ctr-..." (a sidecar
 * in it). modal_task_open(), modal_sandbox_poll(), _wait() and _watch() take either; all else takes
 * a sandbox's id alone. A sidecar whose sandbox has ended has ended with it.
 */
char *modal_place_make(const char *sandbox_id, const char *container_id); /* owned by caller */
char *modal_place_sandbox(const char *place);                             /* the sandbox's id; owned by caller */
const char *modal_place_container(const char *place); /* "ctr-...", within place; NULL: the main container */

/*
 * With task id and access in the cache no call is made here and the connection starts at once; otherwise one or two
 * calls. wait_ms: how long to wait for a sandbox without a task yet (V1 asks every 0.5 s). GRPC_NOT_FOUND or
 * GRPC_FAILED_PRECONDITION: no such sandbox, or it has ended. Owned by caller, freed before the client.
 */
int modal_task_open(struct modal_client *c, const char *place, int64_t wait_ms, struct modal_task **ret_task,
                    struct err *err);
void modal_task_free(struct modal_task *task); /* NULL is fine; its execs must be gone */

/*
 * The container that execs through this task go to where they name none: "ctr-..." of a sidecar, NULL: the sandbox's
 * main one. modal_task_open() with a place "sb-.../ctr-..." sets it. Copied.
 */
void modal_task_set_container(struct modal_task *task, const char *container_id);
const char *modal_task_container(const struct modal_task *task); /* NULL: the main one */

const char *modal_task_id(const struct modal_task *task);
struct modal_client *modal_task_client(const struct modal_task *task);

/*
 * Is this router URL one that a client of this server may use (protocol 6.2)? https always (not verified only if the
 * server itself is localhost), http only if the server is localhost, unix only if the server is one too.
 */
int modal_router_url_check(const char *server_url, const char *router_url, bool *ret_unverified, struct err *err);

#endif
