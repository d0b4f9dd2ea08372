/*
 * The exec family of the task command router (protocol 6), without stdin, which is svc_exec_stdin.c. Calls that find
 * the sandbox still starting wait until it runs; calls for an ended one get NOT_FOUND, which clients take as final.
 */
#include "backends/engine/engine.h"
#include "backends/engine/exec.h"
#include "backends/engine/plan.h"
#include "backends/engine/router.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/secrets.h"
#include "backends/engine/sidecar.h"
#include "backends/engine/svc.h"
#include "backends/engine/waiter.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef Modal__TaskCommandRouter__TaskExecStartRequest start_request;

/* ---- start ---- */

static int check_start(const start_request *r, struct err *err)
{
    size_t sum = 0;

    if (!svc_text(r->exec_id)[0] || strlen(r->exec_id) > 128)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "an exec needs an exec_id");
    if (r->n_command_args == 0 || !r->command_args[0][0])
        return svc_err(err, GRPC_INVALID_ARGUMENT, "an exec needs a command");
    for (size_t i = 0; i < r->n_command_args; i++)
        sum += strlen(r->command_args[i]);
    if (sum > LIMIT_EXEC_ARGS)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "the arguments have %zu bytes, more than %u", sum, LIMIT_EXEC_ARGS);
    if (svc_text(r->workdir)[0] && r->workdir[0] != '/')
        return svc_err(err, GRPC_INVALID_ARGUMENT, "the working directory \"%s\" is not absolute", r->workdir);
    if ((int)r->stderr_config == MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDERR_CONFIG__TASK_EXEC_STDERR_CONFIG_STDOUT)
        return svc_err(err, GRPC_UNIMPLEMENTED, "merging stderr into stdout is not supported by this server");
    return svc_no_unknown(&r->base, "the exec", err);
}

/* The container's environment, then the secrets, then the exec's own variables. */
static int exec_env(struct sandbox *s, const struct sidecar *c, const start_request *r, struct strlist *env,
                    struct err *err)
{
    strlist_copy(env, c ? &c->plan.env : &s->plan.env);
    for (size_t i = 0; i < r->n_secret_ids; i++)
        if (secrets_apply(s->engine->secrets, r->secret_ids[i], env, err) < 0)
            return svc_err(err, GRPC_NOT_FOUND, "secret %s not found", r->secret_ids[i]);
    if (r->pty_info && r->pty_info->enabled)
        plan_pty_env(r->pty_info, env);
    if (svc_secret_sources(s->engine, r->secret_sources, r->n_secret_sources, env, err) < 0)
        return -1;
    return svc_env(r->env, r->n_env, env, err);
}

/* *ret is NULL for the first container; a sidecar has been started before a client knows its id. */
static int find_container(const struct sandbox *s, const char *id, struct sidecar **ret, struct err *err)
{
    struct sidecar *c = *id ? sidecar_by_id(s, id) : NULL;

    if (*id && !c)
        return svc_err(err, GRPC_NOT_FOUND, "container %s not found", id);
    if (c && (c->ending || c->state == SANDBOX_ENDED))
        return svc_err(err, GRPC_NOT_FOUND, "container %s has finished", id);
    if (c && c->state == SANDBOX_STARTING)
        return svc_err(err, GRPC_FAILED_PRECONDITION, "container %s is not running yet", id);
    *ret = c;
    return 0;
}

static int start(struct sandbox *s, const start_request *r, struct err *err)
{
    struct sidecar *c = NULL;
    cleanup_strlist struct strlist args = STRLIST_INIT, env = STRLIST_INIT;
    struct rt_exec_spec spec = {
        .args = &args,
        .env = &env,
        .workdir = svc_text(r->workdir)[0] ? r->workdir : NULL,
        .discard_stdout = (int)r->stdout_config == 0,
        .discard_stderr = (int)r->stderr_config == 0,
        .timeout_secs = r->has_timeout_secs ? r->timeout_secs : 0,
    };

    if (check_start(r, err) < 0 || find_container(s, svc_text(r->container_id), &c, err) < 0 ||
        exec_env(s, c, r, &env, err) < 0)
        return -1;
    for (size_t i = 0; i < r->n_command_args; i++)
        strlist_add(&args, r->command_args[i]);
    if (r->pty_info && r->pty_info->enabled) {
        spec.pty = true;
        spec.pty_rows = (uint16_t)r->pty_info->winsz_rows;
        spec.pty_cols = (uint16_t)r->pty_info->winsz_cols;
    }
    return exec_start(s, c, r->exec_id, &spec, err) ? 0 : -1;
}

/* Idempotent: the same id again is the same exec. */
static void task_exec_start(struct call *c, const void *request)
{
    const start_request *r = request;
    Modal__TaskCommandRouter__TaskExecStartResponse response =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_START_RESPONSE__INIT;
    cleanup_err struct err err = ERR_INIT;
    struct sandbox *s = router_running(c, r->task_id);

    if (!s)
        return;
    if (!exec_by_id(s, svc_text(r->exec_id)) && start(s, r, &err) < 0)
        svc_fail(c, &err);
    else
        call_reply(c, &response);
}

/* ---- output ---- */

struct reader {
    struct waiter waiter;
    struct call *call;
    struct exec *exec; /* stays while it is being read */
    int fd;
    uint64_t offset;
};

static void release_reader(struct call *c)
{
    struct reader *r = c->state;

    waiter_del(&r->waiter);
    r->exec->reading--;
    r->exec->sandbox->reading--;
    free(r);
}

static void wake_reader(struct waiter *w, void *arg)
{
    struct reader *r = arg;

    (void)w;
    call_wake(r->call);
}

/* The next piece of output, as the peer's window allows (protocol 6.6). */
static void read_source(struct call *c)
{
    static uint8_t bytes[CALL_SEND_MAX];
    Modal__TaskCommandRouter__TaskExecStdioReadResponse response =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIO_READ_RESPONSE__INIT;
    struct reader *r = c->state;
    struct rt_stream *stream = rt_exec_stream(r->exec->rt, r->fd);
    ssize_t n = rt_stream_read(stream, r->offset, bytes, sizeof(bytes));

    if (n < 0 && errno == ENODATA) {
        call_fail(c, GRPC_DATA_LOSS, "the output is no longer kept from offset %llu, only from %llu",
                  (unsigned long long)r->offset, (unsigned long long)rt_stream_base(stream));
    } else if (n < 0) {
        call_fail(c, GRPC_DATA_LOSS, "the output could not be kept: the disk is full");
    } else if (n > 0) {
        response.has_data = 1;
        response.data.data = bytes;
        response.data.len = (size_t)n;
        r->offset += (uint64_t)n;
        call_send(c, &response);
    } else if (rt_stream_ended(stream)) {
        call_finish(c);
    } else {
        waiter_add(&r->exec->readers[r->fd == 2], &r->waiter, wake_reader, r);
    }
}

static void task_exec_stdio_read(struct call *c, const void *request)
{
    const Modal__TaskCommandRouter__TaskExecStdioReadRequest *r = request;
    struct exec *e = router_exec(c, r->task_id, r->exec_id);
    struct reader *reader;

    if (!e)
        return;
    if (!e->rt) {
        call_fail(c, GRPC_NOT_FOUND, "the output of exec %s is no longer kept", e->id);
        return;
    }
    reader = xcalloc(1, sizeof(*reader));
    reader->call = c;
    reader->exec = e;
    reader->fd = (int)r->file_descriptor == 1 ? 2 : 1;
    reader->offset = r->offset;
    e->reading++;
    e->sandbox->reading++;
    c->state = reader;
    c->release = release_reader;
    call_stream(c, read_source);
}

/* ---- exit status ---- */

/* True if the exec went down with its container; the call is ended as for any finished task. */
static bool is_lost(struct call *c, const struct exec *e)
{
    if (!e->ended || e->how != RT_END_LOST)
        return false;
    if (e->sidecar)
        call_fail(c, GRPC_NOT_FOUND, "container %s has finished", e->sidecar->id);
    else
        call_fail(c, GRPC_NOT_FOUND, "task %s has finished", e->sandbox->task_id);
    return true;
}

static void task_exec_poll(struct call *c, const void *request)
{
    const Modal__TaskCommandRouter__TaskExecPollRequest *r = request;
    Modal__TaskCommandRouter__TaskExecPollResponse response = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_POLL_RESPONSE__INIT;
    const struct exec *e = router_exec(c, r->task_id, r->exec_id);

    if (!e || is_lost(c, e))
        return;
    if (e->ended && e->how == RT_END_SIGNALED) {
        response.exit_status_case = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_POLL_RESPONSE__EXIT_STATUS_SIGNAL;
        response.signal = e->code;
    } else if (e->ended) {
        response.exit_status_case = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_POLL_RESPONSE__EXIT_STATUS_CODE;
        response.code = e->code;
    }
    call_reply(c, &response);
}

static void task_exec_wait(struct call *c, const void *request);

/* Looks again, from the beginning: the exec may have ended, or gone with its sandbox. */
static void wait_again(struct call *c, bool timed_out)
{
    (void)timed_out;
    task_exec_wait(c, c->request);
}

static void task_exec_wait(struct call *c, const void *request)
{
    const Modal__TaskCommandRouter__TaskExecWaitRequest *r = request;
    Modal__TaskCommandRouter__TaskExecWaitResponse response = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_WAIT_RESPONSE__INIT;
    struct exec *e = router_exec(c, r->task_id, r->exec_id);

    if (!e || is_lost(c, e))
        return;
    if (!e->ended) {
        svc_park(c, &e->waiters, /* seconds= */ -1, wait_again);
        return;
    }
    if (e->how == RT_END_SIGNALED) {
        response.exit_status_case = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_WAIT_RESPONSE__EXIT_STATUS_SIGNAL;
        response.signal = e->code;
    } else {
        response.exit_status_case = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_WAIT_RESPONSE__EXIT_STATUS_CODE;
        response.code = e->code;
    }
    call_reply(c, &response);
}

const struct rpc_method svc_exec_methods[] = {
    {"TaskExecPoll", SVC_ROUTER_REQUEST(task_exec_poll_request), RPC_UNARY, RPC_ROUTER, task_exec_poll},
    {"TaskExecStart", SVC_ROUTER_REQUEST(task_exec_start_request), RPC_UNARY, RPC_ROUTER, task_exec_start},
    {"TaskExecStdioRead", SVC_ROUTER_REQUEST(task_exec_stdio_read_request), RPC_SERVER_STREAM, RPC_ROUTER,
     task_exec_stdio_read},
    {"TaskExecWait", SVC_ROUTER_REQUEST(task_exec_wait_request), RPC_UNARY, RPC_ROUTER, task_exec_wait},
    {0},
};
