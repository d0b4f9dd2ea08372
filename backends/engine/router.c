#include "backends/engine/router.h"

#include "backends/engine/engine.h"
#include "backends/engine/exec.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/svc.h"

#include <string.h>

struct sandbox *router_task(struct call *c, const char *task_id)
{
    struct sandbox *s;

    if (!c->task_id || strcmp(c->task_id, svc_text(task_id)) != 0) {
        call_fail(c, GRPC_PERMISSION_DENIED, "the token was made for another task");
        return NULL;
    }
    s = sandbox_by_task(c->engine->sandboxes, task_id);
    if (!s)
        call_fail(c, GRPC_NOT_FOUND, "task %s not found", task_id);
    return s;
}

static void again(struct call *c, bool timed_out)
{
    (void)timed_out;
    c->method->handle(c, c->request);
}

struct sandbox *router_running(struct call *c, const char *task_id)
{
    struct sandbox *s = router_task(c, task_id);

    if (!s || s->state == SANDBOX_RUNNING)
        return s;
    if (s->state == SANDBOX_ENDED)
        call_fail(c, GRPC_NOT_FOUND, "task %s has finished", task_id);
    else if (!c->request)
        call_fail(c, GRPC_FAILED_PRECONDITION, "task %s is not running yet", task_id);
    else
        svc_park(c, &s->changes, /* seconds= */ -1, again);
    return NULL;
}

struct exec *router_exec(struct call *c, const char *task_id, const char *exec_id)
{
    struct sandbox *s = router_running(c, task_id);
    struct exec *e = s ? exec_by_id(s, svc_text(exec_id)) : NULL;

    if (s && !e)
        call_fail(c, GRPC_NOT_FOUND, "exec %s not found", svc_text(exec_id));
    return e;
}
