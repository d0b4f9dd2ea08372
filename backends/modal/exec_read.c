#include "backends/modal/exec_internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/sys/loop.h"

#include <stddef.h>
#include <stdlib.h>

#define BASE_MS      10 /* protocol 6.4 */
#define CAP_MS       1000
#define ATTEMPTS_MAX 10 /* errors in a row that the server itself sent */
#define REFUSALS_MAX 10

static void give_up(struct exec_reader *r, int status, const char *message)
{
    const struct modal_task *task = r->exec->task;
    cleanup_free char *safe = modal_redact(task->client, *message ? message : grpc_status_name(status), task->jwt);
    struct err err = ERR_INIT;

    err_set(&err, 125, "%s", safe);
    err.code = status;
    exec_fail(r->exec, &err);
    err_clear(&err);
}

static void again(struct exec_reader *r, int64_t ms)
{
    loop_timer_set(r->timer, ms);
}

static void on_message(struct grpc_call *call, const void *data, size_t len, void *arg)
{
    struct exec_reader *r = arg;
    struct modal_exec *exec = r->exec;
    cleanup_message Modal__TaskCommandRouter__TaskExecStdioReadResponse *m =
        modal__task_command_router__task_exec_stdio_read_response__unpack(NULL, len, data);

    (void)call;
    if (!m || !m->has_data || !m->data.len)
        return;
    r->offset += m->data.len;
    r->attempts = r->refusals = 0;
    r->failing_since = 0;
    r->renewed = false;
    /* The handler may free the exec: nothing of it is touched after it. */
    if (r->fd == MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIO_FILE_DESCRIPTOR__TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDOUT) {
        if (exec->handlers.on_stdout)
            exec->handlers.on_stdout(exec, m->data.data, m->data.len, exec->arg);
    } else if (exec->handlers.on_stderr) {
        exec->handlers.on_stderr(exec, m->data.data, m->data.len, exec->arg);
    }
}

/* Nothing under that id: not yet, if the start is still on its way. */
static void not_found(struct exec_reader *r, const struct grpc_result *result)
{
    if (!r->exec->started) {
        r->waits_for_start = true;
        exec_overtaken(r->exec);
    } else if (r->offset == 0 && r->not_found++ < OVERTAKES_MAX) {
        again(r, BASE_MS << r->not_found);
    } else {
        give_up(r, result->status, result->message);
    }
}

/* A row of failures ends when a stream has lived for a while and the server was there. */
static bool still_hopeful(struct exec_reader *r, const struct grpc_result *result)
{
    int64_t now = loop_now(), lost_ms = r->exec->task->client->lost_ms, patience = lost_ms;

    if (result->heard && now - r->opened_at >= lost_ms / 3)
        r->failing_since = 0;
    if (!r->failing_since)
        r->failing_since = result->heard ? now : r->opened_at;
    if (!result->heard && r->offset == 0 && r->exec->patience_ms > patience)
        patience = r->exec->patience_ms;
    return now - r->failing_since < patience;
}

static void on_end(struct grpc_call *call, const struct grpc_result *result, void *arg)
{
    struct exec_reader *r = arg;
    struct modal_peer *peer = &r->exec->task->peer;

    (void)call;
    r->call = NULL;
    if (result->status == GRPC_OK) {
        r->done = true;
        exec_check_end(r->exec);
        return;
    }
    if (result->status == GRPC_NOT_FOUND) {
        not_found(r, result);
        return;
    }
    if (result->status == GRPC_UNAUTHENTICATED && !r->renewed) {
        r->renewed = true;
        if (peer->renew(peer, false, r->generation, &r->waiter))
            return;
    }
    if (result->unprocessed && result->heard && r->refusals++ < REFUSALS_MAX) {
        again(r, 0);
        return;
    }
    if (!modal_status_retried(result->status) || !still_hopeful(r, result) ||
        (result->from_server && r->attempts >= ATTEMPTS_MAX)) {
        give_up(r, result->status, result->message);
        return;
    }
    if (!result->heard && peer->move && peer->move(peer, &r->waiter))
        return;
    again(r, BASE_MS << r->attempts > CAP_MS ? CAP_MS : BASE_MS << r->attempts);
    if (r->attempts < ATTEMPTS_MAX)
        r->attempts++;
}

void reader_open(struct exec_reader *r)
{
    static const struct grpc_handlers handlers = {.on_message = on_message, .on_end = on_end};
    Modal__TaskCommandRouter__TaskExecStdioReadRequest request =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIO_READ_REQUEST__INIT;
    struct modal_task *task = r->exec->task;
    cleanup_strlist struct strlist metadata = STRLIST_INIT;
    cleanup_free uint8_t *packed = NULL;
    size_t len;

    if (!r->wanted || r->done || r->call || r->waiter.queued)
        return;
    r->opened_at = loop_now();
    r->generation = task->peer.generation;
    if (!task->peer.credentials(&task->peer, false, &metadata, &r->waiter))
        return;
    request.task_id = task->task_id;
    request.exec_id = r->exec->id;
    request.has_offset = 1;
    request.offset = r->offset;
    request.has_file_descriptor = 1;
    request.file_descriptor = (Modal__TaskCommandRouter__TaskExecStdioFileDescriptor)r->fd;
    len = modal__task_command_router__task_exec_stdio_read_request__get_packed_size(&request);
    packed = xmalloc(len + 1);
    modal__task_command_router__task_exec_stdio_read_request__pack(&request, packed);
    r->call = grpc_call_start(task->peer.channel, MODAL_ROUTER(TaskExecStdioRead), &metadata, 0, &handlers, r);
    grpc_call_send(r->call, packed, len);
    grpc_call_finish(r->call);
    if (r->exec->paused)
        grpc_call_pause(r->call);
}

static void on_timer(struct loop *loop, void *arg)
{
    (void)loop;
    reader_open(arg);
}

static void on_credentials(struct modal_waiter *waiter, const struct err *err)
{
    struct exec_reader *r = (struct exec_reader *)((char *)waiter - offsetof(struct exec_reader, waiter));

    if (err)
        exec_fail(r->exec, err);
    else
        reader_open(r);
}

void reader_init(struct exec_reader *r, struct modal_exec *exec, int fd, bool wanted)
{
    *r = (struct exec_reader){.exec = exec, .fd = fd, .wanted = wanted, .done = !wanted};
    r->waiter.fn = on_credentials;
    r->timer = loop_timer_add(exec->task->client->loop, 0, on_timer, r);
    loop_timer_stop(r->timer);
}

void reader_started(struct exec_reader *r)
{
    if (r->waits_for_start || r->exec->sequential) {
        r->waits_for_start = false;
        reader_open(r);
    }
}

void reader_pause(struct exec_reader *r, bool pause)
{
    if (r->call && pause)
        grpc_call_pause(r->call);
    else if (r->call)
        grpc_call_resume(r->call);
}

void reader_clear(struct exec_reader *r)
{
    grpc_call_cancel(r->call);
    r->call = NULL;
    loop_timer_del(r->timer);
    r->timer = NULL;
    modal_waiters_remove(&r->exec->task->peer.waiters, &r->waiter);
}
