/* How calls of the task command router find their sandbox and exec. */
#ifndef ATP_ENGINE_ROUTER_H
#define ATP_ENGINE_ROUTER_H

struct call;
struct exec;
struct sandbox;

/* The task that the call's token was made for, in whatever state. NULL: the call was ended. */
struct sandbox *router_task(struct call *c, const char *task_id);
/* The same, running. NULL: the call was ended, or waits for the start and its handler is called again then. */
struct sandbox *router_running(struct call *c, const char *task_id);
/* An exec of a running task; NULL as above. */
struct exec *router_exec(struct call *c, const char *task_id, const char *exec_id);

#endif
