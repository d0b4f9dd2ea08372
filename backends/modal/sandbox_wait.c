/* How sandboxes end (protocol 5.7). */
#include "backends/modal/sandbox.h"

#include "backends/modal/ending.h"
#include "backends/modal/sidecar_internal.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/tame.h"
#include "compat/sys/loop.h"

#include <stdlib.h>
#include <string.h>

#define TURN_S 10.0f /* what the server may wait in one call */

static const struct modal_method sandbox_wait = {
    .path = MODAL_CONTROL(SandboxWait),
    .reply = &modal__client__sandbox_wait_response__descriptor,
};

static const struct modal_method sandbox_wait_v2 = {
    .path = MODAL_CONTROL(SandboxWaitV2),
    .reply = &modal__client__sandbox_wait_response__descriptor,
    .auth = true,
};

void modal_ending_clear(struct modal_ending *ending)
{
    free(ending->exception);
    *ending = (struct modal_ending)MODAL_ENDING_INIT;
}

/* A result with status 0 means the same as none: it runs. */
void modal_ending_take(struct modal_ending *ending, const Modal__Client__GenericResult *result)
{
    *ending = (struct modal_ending)MODAL_ENDING_INIT;
    if (!result || !result->has_status || !result->status)
        return;
    ending->finished = true;
    ending->status = (int)result->status;
    switch (result->status) {
    case MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_TIMEOUT:
        ending->exit_code = 124;
        break;
    case MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_TERMINATED:
        ending->exit_code = 137;
        break;
    default:
        ending->exit_code = result->exitcode >= 0 && result->exitcode <= 255 ? result->exitcode : 255;
    }
    if (result->exception && *result->exception)
        ending->exception = xstrdup(result->exception);
    tame(ending->exception, /* keep_lines= */ true);
}

/* One call; 0 s is a poll. */
static struct modal_rpc *ask(struct modal_client *c, const char *id, float seconds, modal_rpc_fn *fn, void *arg)
{
    const struct modal_rpc_options options = {.attempt_ms = (int64_t)(seconds * 1000) + 2 * c->lost_ms};
    Modal__Client__SandboxWaitRequest request = MODAL__CLIENT__SANDBOX_WAIT_REQUEST__INIT;

    request.sandbox_id = (char *)id;
    request.has_timeout = 1;
    request.timeout = seconds;
    return modal_rpc_start(&c->control, modal_sandbox_id_is_v1(id) ? &sandbox_wait : &sandbox_wait_v2, &request,
                           &options, fn, arg);
}

struct modal_watch {
    struct modal_client *c;
    char *id;                /* of the sandbox */
    struct modal_task *task; /* the way to a sidecar that is watched; NULL: the sandbox itself is */
    struct modal_rpc *rpc;
    int64_t asked_at;
    bool sandbox_only; /* the sidecar's worker did not answer */
    struct loop_timer *timer;
    modal_watch_fn *fn;
    void *arg;
};

/* It has ended from outside: nobody knows more. */
static void tell_terminated(struct modal_watch *w)
{
    const struct modal_ending ending = {.finished = true, .exit_code = MODAL_TERMINATED};

    w->fn(w->arg, &ending, NULL);
}

/* Of a sidecar. When its worker does not answer, the control plane knows whether the sandbox is still there. */
static void on_sidecar_watch(void *arg, void *reply, const struct err *err)
{
    struct modal_watch *w = arg;
    cleanup_message Modal__TaskCommandRouter__TaskContainerWaitResponse *r = reply;
    struct modal_ending ending = MODAL_ENDING_INIT;

    w->rpc = NULL;
    if (err && err->code == GRPC_NOT_FOUND) {
        tell_terminated(w);
        return;
    }
    if (err)
        w->sandbox_only = true;
    else
        modal_ending_take(&ending, r->result);
    if (ending.finished)
        w->fn(w->arg, &ending, NULL);
    else
        loop_timer_set(w->timer, loop_now() - w->asked_at < 1000 ? 1000 : 0);
    modal_ending_clear(&ending);
}

static void on_watch(void *arg, void *reply, const struct err *err)
{
    struct modal_watch *w = arg;
    cleanup_message Modal__Client__SandboxWaitResponse *r = reply;
    struct modal_ending ending = MODAL_ENDING_INIT;

    w->rpc = NULL;
    if (err) {
        w->fn(w->arg, NULL, err);
        return;
    }
    modal_ending_take(&ending, r->result);
    if (ending.finished)
        w->fn(w->arg, &ending, NULL);
    else
        loop_timer_set(w->timer, loop_now() - w->asked_at < 1000 ? 1000 : 0); /* a server that does not wait */
    modal_ending_clear(&ending);
}

static void on_turn(struct loop *loop, void *arg)
{
    struct modal_watch *w = arg;

    (void)loop;
    w->asked_at = loop_now();
    if (w->task && !w->sandbox_only) {
        w->rpc = sidecar_wait_start(w->task, modal_task_container(w->task), TURN_S, on_sidecar_watch, w);
        return;
    }
    w->rpc = ask(w->c, w->id, TURN_S, on_watch, w);
}

struct modal_watch *modal_sandbox_watch(struct modal_client *c, const char *place, modal_watch_fn *fn, void *arg)
{
    struct modal_watch *w = xcalloc(1, sizeof(*w));

    *w = (struct modal_watch){.c = c, .id = modal_place_sandbox(place), .fn = fn, .arg = arg};
    if (modal_place_container(place)) /* else, or where there is no way to it, the sandbox's own end is what is seen */
        modal_task_open(c, place, SIDECAR_TASK_MS, &w->task, NULL);
    w->timer = loop_timer_add(c->loop, 0, on_turn, w);
    return w;
}

void modal_watch_free(struct modal_watch *watch)
{
    if (!watch)
        return;
    modal_rpc_cancel(watch->rpc);
    loop_timer_del(watch->timer);
    modal_task_free(watch->task);
    free(watch->id);
    free(watch);
}

/* Somebody who turns the loop until there is an answer. */
struct waiting {
    struct modal_ending *ending;
    struct err *err;
    int ret;
    bool done;
};

static void take_error(struct waiting *w, const struct err *err)
{
    w->ret = err_set(w->err, err->exit_code, "%s", err->msg);
    if (w->err)
        w->err->code = err->code;
}

static void on_polled(void *arg, void *reply, const struct err *err)
{
    struct waiting *w = arg;
    cleanup_message Modal__Client__SandboxWaitResponse *r = reply;

    w->done = true;
    if (err)
        take_error(w, err);
    else
        modal_ending_take(w->ending, r->result);
}

/* One look at a sandbox itself. */
static int poll_sandbox(struct modal_client *c, const char *id, struct modal_ending *ret_ending, struct err *err)
{
    struct waiting w = {.ending = ret_ending, .err = err};

    ask(c, id, 0, on_polled, &w);
    while (!w.done)
        loop_step(c->loop, -1);
    return w.ret;
}

/* A sidecar, by its worker; by its sandbox where that does not answer. */
static int poll_sidecar(struct modal_client *c, const char *place, struct modal_ending *ret_ending, struct err *err)
{
    cleanup_free char *sandbox = modal_place_sandbox(place);
    struct modal_task *task = NULL;
    struct err why = ERR_INIT;
    int ret = modal_task_open(c, place, SIDECAR_TASK_MS, &task, &why);

    if (ret == 0)
        ret = modal_sidecar_wait(task, modal_place_container(place), 0, ret_ending, &why);
    modal_task_free(task);
    if (ret == 0)
        return 0;
    if (why.code == GRPC_NOT_FOUND) {
        *ret_ending = (struct modal_ending){.finished = true, .exit_code = MODAL_TERMINATED};
        err_clear(&why);
        return 0;
    }
    if (poll_sandbox(c, sandbox, ret_ending, NULL) < 0 || !ret_ending->finished)
        return err_move(err, &why);
    err_clear(&why);
    return 0;
}

int modal_sandbox_poll(struct modal_client *c, const char *place, struct modal_ending *ret_ending, struct err *err)
{
    return modal_place_container(place) ? poll_sidecar(c, place, ret_ending, err)
                                        : poll_sandbox(c, place, ret_ending, err);
}

static void on_waited(void *arg, const struct modal_ending *ending, const struct err *err)
{
    struct waiting *w = arg;

    w->done = true;
    if (err) {
        take_error(w, err);
        return;
    }
    *w->ending = *ending;
    w->ending->exception = xstrdup(ending->exception);
}

int modal_sandbox_wait(struct modal_client *c, const char *place, int64_t timeout_ms, struct modal_ending *ret_ending,
                       struct err *err)
{
    struct waiting w = {.ending = ret_ending, .err = err};
    struct modal_watch *watch = modal_sandbox_watch(c, place, on_waited, &w);
    int64_t end = loop_now() + timeout_ms;

    while (!w.done && (!timeout_ms || loop_now() < end))
        loop_step(c->loop, timeout_ms ? end - loop_now() : -1);
    modal_watch_free(watch);
    if (w.done)
        return w.ret;
    err_set(err, 125, "the sandbox %s did not end within %g s", place, (double)timeout_ms / 1000);
    if (err)
        err->code = GRPC_DEADLINE_EXCEEDED;
    return -1;
}
