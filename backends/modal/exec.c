#include "backends/modal/exec.h"

#include "backends/modal/exec_internal.h"
#include "backends/modal/sandbox_spec.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/limits.h"
#include "compat/sys/loop.h"

#include <stdlib.h>
#include <string.h>

#define KIND_SEQUENTIAL "sequential" /* in the cache: this server must not be sent calls before their start */
#define WAIT_MS         60000        /* one TaskExecWait (protocol 6.8) */

static const struct modal_method exec_start = {
    .path = MODAL_ROUTER(TaskExecStart),
    .reply = &modal__task_command_router__task_exec_start_response__descriptor,
};

static const struct modal_method exec_wait = {
    .path = MODAL_ROUTER(TaskExecWait),
    .reply = &modal__task_command_router__task_exec_wait_response__descriptor,
};

void modal_exec_options_clear(struct modal_exec_options *options)
{
    strlist_clear(&options->argv);
    strlist_clear(&options->env);
    strlist_clear(&options->secret_ids);
}

/* Stops everything that is under way. */
static void stop(struct modal_exec *exec)
{
    exec->over = true;
    modal_rpc_cancel(exec->start);
    modal_rpc_cancel(exec->wait);
    exec->start = exec->wait = NULL;
    reader_clear(&exec->out);
    reader_clear(&exec->err);
    writer_clear(exec);
}

void exec_fail(struct modal_exec *exec, const struct err *err)
{
    if (exec->over)
        return;
    stop(exec);
    exec->handlers.on_error(exec, err, exec->arg);
}

void exec_check_end(struct modal_exec *exec)
{
    if (exec->over || !exec->started || !exec->out.done || !exec->err.done || (!exec->no_wait && !exec->exit_known))
        return;
    stop(exec);
    exec->handlers.on_exit(exec, exec->no_wait ? -1 : exec->code, exec->arg);
}

/* A call came before its start. Where that happens again and again it gains nothing: the server is told in turn. */
void exec_overtaken(struct modal_exec *exec)
{
    if (++exec->overtaken == OVERTAKES_MAX)
        modal_remember(exec->task->client, KIND_SEQUENTIAL, "", "1", MODAL_CACHE_DAY);
}

static void on_wait(void *arg, void *reply, const struct err *err)
{
    struct modal_exec *exec = arg;
    cleanup_message Modal__TaskCommandRouter__TaskExecWaitResponse *r = reply;
    struct err odd = ERR_INIT;

    exec->wait = NULL;
    if (err) {
        exec_fail(exec, err);
        return;
    }
    switch (r->exit_status_case) {
    case MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_WAIT_RESPONSE__EXIT_STATUS_CODE:
        exec->code = r->code;
        break;
    case MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_WAIT_RESPONSE__EXIT_STATUS_SIGNAL:
        exec->code = 128 + r->signal;
        break;
    default:
        err_set(&odd, 125, "the server reports the end of a process without its exit status");
        odd.code = GRPC_INTERNAL;
        exec_fail(exec, &odd);
        err_clear(&odd);
        return;
    }
    exec->exit_known = true;
    exec_check_end(exec);
}

static void start_wait(struct modal_exec *exec)
{
    const struct modal_rpc_options options = {.attempt_ms = WAIT_MS, .again_at_deadline = true};
    Modal__TaskCommandRouter__TaskExecWaitRequest request = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_WAIT_REQUEST__INIT;

    request.task_id = exec->task->task_id;
    request.exec_id = exec->id;
    exec->wait = modal_rpc_start(&exec->task->peer, &exec_wait, &request, &options, on_wait, exec);
}

static void on_started(void *arg, void *reply, const struct err *err)
{
    struct modal_exec *exec = arg;

    modal_message_free(reply);
    exec->start = NULL;
    if (err) {
        exec_fail(exec, err);
        return;
    }
    exec->started = true;
    exec->in.waits_for_start = false;
    reader_started(&exec->out);
    reader_started(&exec->err);
    if (!exec->no_wait)
        start_wait(exec);
    writer_kick(exec);
    exec_check_end(exec);
}

/* The request, packed and sent by the RPC before this returns. */
static void send_start(struct modal_exec *exec, const struct modal_exec_options *o)
{
    const struct modal_rpc_options options = {.patience_ms = o->patience_ms};
    Modal__TaskCommandRouter__TaskExecStartRequest request = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_START_REQUEST__INIT;
    Modal__Client__PTYInfo pty;
    struct modal_entries env;

    modal_entries_make(&env, &o->env);
    request.task_id = exec->task->task_id;
    request.exec_id = exec->id;
    request.n_command_args = o->argv.len;
    request.command_args = o->argv.items;
    request.has_stdout_config = request.has_stderr_config = 1;
    request.stdout_config = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDOUT_CONFIG__TASK_EXEC_STDOUT_CONFIG_PIPE;
    request.stderr_config = o->drop_stderr
                                ? MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDERR_CONFIG__TASK_EXEC_STDERR_CONFIG_DEVNULL
                                : MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDERR_CONFIG__TASK_EXEC_STDERR_CONFIG_PIPE;
    request.has_timeout_secs = o->timeout_s != 0;
    request.timeout_secs = o->timeout_s;
    request.workdir = (char *)o->workdir;
    request.container_id = o->container_id ? (char *)o->container_id : exec->task->container;
    request.n_secret_ids = o->secret_ids.len;
    request.secret_ids = o->secret_ids.items;
    request.n_env = env.len;
    request.env = env.pointers;
    if (o->pty) {
        modal_pty_message(&pty, o->pty);
        request.pty_info = &pty;
    }
    exec->start = modal_rpc_start(&exec->task->peer, &exec_start, &request, &options, on_started, exec);
    modal_entries_clear(&env);
}

static int check(const struct modal_exec_options *options, struct err *err)
{
    size_t args = 0;

    for (size_t i = 0; i < options->argv.len; i++)
        args += strlen(options->argv.items[i]);
    if (!options->argv.len)
        return err_set(err, 125, "no command to execute");
    if (args > LIMIT_EXEC_ARGS)
        return err_set(err, 125, "the command has %zu bytes of arguments, the server takes %u", args, LIMIT_EXEC_ARGS);
    return 0;
}

struct modal_exec *modal_exec_start(struct modal_task *task, const struct modal_exec_options *options,
                                    const struct modal_exec_handlers *handlers, void *arg, struct err *err)
{
    cleanup_free char *sequential = NULL;
    struct modal_exec *exec;

    if (check(options, err) < 0)
        return NULL;
    sequential = modal_cached(task->client, KIND_SEQUENTIAL, "");
    exec = xcalloc(1, sizeof(*exec));
    *exec = (struct modal_exec){.task = task, .handlers = *handlers, .arg = arg, .no_wait = options->no_wait};
    exec->patience_ms = options->patience_ms;
    exec->sequential = sequential != NULL;
    modal_uuid(exec->id);
    writer_init(exec);
    reader_init(&exec->out, exec, 0, true);
    reader_init(&exec->err, exec, 1, !options->drop_stderr);
    send_start(exec, options);
    if (!exec->sequential) {
        reader_open(&exec->out);
        reader_open(&exec->err);
    }
    return exec;
}

void modal_exec_free(struct modal_exec *exec)
{
    if (!exec)
        return;
    if (!exec->over)
        stop(exec);
    free(exec);
}

static void set_paused(struct modal_exec *exec, bool paused)
{
    if (exec->paused == paused)
        return;
    exec->paused = paused;
    reader_pause(&exec->out, paused);
    reader_pause(&exec->err, paused);
}

void modal_exec_pause(struct modal_exec *exec)
{
    set_paused(exec, true);
}

void modal_exec_resume(struct modal_exec *exec)
{
    set_paused(exec, false);
}
