#include "backends/modal/exec_internal.h"

#include "compat/base/limits.h"
#include "compat/sys/loop.h"

#define NOT_FOUND_BASE_MS 10

static const struct modal_method stdin_write = {
    .path = MODAL_ROUTER(TaskExecStdinWrite),
    .reply = &modal__task_command_router__task_exec_stdin_write_response__descriptor,
};

/* Nothing more can be delivered: what waits, and what will come, is dropped, as a closed pipe would. */
static void close_in(struct modal_exec *exec)
{
    struct exec_writer *w = &exec->in;

    w->closed = true;
    buf_clear(&w->pending);
    w->at = w->in_flight = 0;
}

/* Accepted: those bytes are through for good. */
static void accepted(struct exec_writer *w)
{
    w->offset += w->in_flight;
    w->at += w->in_flight;
    w->in_flight = 0;
    w->eof_done = w->eof_done || w->eof_in_flight;
    w->eof_in_flight = false;
    if (w->at == w->pending.len || w->at >= LIMIT_STDIN_CHUNK) {
        buf_consume(&w->pending, w->at);
        w->at = 0;
    }
}

/* A write whose answer is an error: the same bytes go again, or nobody takes them any more. */
static void refused(struct modal_exec *exec, const struct err *err)
{
    struct exec_writer *w = &exec->in;

    w->in_flight = 0;
    w->eof_in_flight = false;
    if (err->code == GRPC_NOT_FOUND && !exec->started) {
        w->waits_for_start = true;
        exec_overtaken(exec);
    } else if (err->code == GRPC_NOT_FOUND && w->offset == 0 && w->not_found++ < OVERTAKES_MAX) {
        loop_timer_set(w->timer, NOT_FOUND_BASE_MS << w->not_found);
    } else if (err->code == GRPC_FAILED_PRECONDITION || err->code == GRPC_ABORTED || err->code == GRPC_NOT_FOUND) {
        close_in(exec); /* the process has ended or closed its stdin; its output says the rest */
    } else {
        exec_fail(exec, err);
    }
}

static void on_written(void *arg, void *reply, const struct err *err)
{
    struct modal_exec *exec = arg;

    modal_message_free(reply);
    exec->in.rpc = NULL;
    if (err) {
        refused(exec, err);
        return;
    }
    accepted(&exec->in);
    if (exec->in.at < exec->in.pending.len || (exec->in.eof_wanted && !exec->in.eof_done))
        loop_timer_set(exec->in.timer, 0);
    else if (exec->handlers.on_drained)
        exec->handlers.on_drained(exec, exec->arg);
}

/* Sends what waits. A repeat of a write is byte for byte the same, for a server may only compare offsets. */
static void on_timer(struct loop *loop, void *arg)
{
    struct modal_exec *exec = arg;
    struct exec_writer *w = &exec->in;
    const struct modal_rpc_options options = {.patience_ms = exec->patience_ms};
    Modal__TaskCommandRouter__TaskExecStdinWriteRequest request;
    size_t n = w->pending.len - w->at;

    (void)loop;
    if (w->rpc || w->closed || w->waits_for_start || (exec->sequential && !exec->started) ||
        (!n && !(w->eof_wanted && !w->eof_done)))
        return;
    if (n > LIMIT_STDIN_CHUNK)
        n = LIMIT_STDIN_CHUNK;
    w->in_flight = n;
    w->eof_in_flight = w->eof_wanted && w->at + n == w->pending.len;
    modal__task_command_router__task_exec_stdin_write_request__init(&request);
    request.task_id = exec->task->task_id;
    request.exec_id = exec->id;
    request.has_offset = 1;
    request.offset = w->offset;
    request.has_data = n > 0;
    request.data.data = (uint8_t *)w->pending.data + w->at;
    request.data.len = n;
    request.has_eof = w->eof_in_flight;
    request.eof = w->eof_in_flight;
    w->rpc = modal_rpc_start(&exec->task->peer, &stdin_write, &request, &options, on_written, exec);
}

void writer_init(struct modal_exec *exec)
{
    buf_init(&exec->in.pending, MODAL_EXEC_STDIN_MAX + LIMIT_STDIN_CHUNK);
    exec->in.timer = loop_timer_add(exec->task->client->loop, 0, on_timer, exec);
    loop_timer_stop(exec->in.timer);
}

void writer_kick(struct modal_exec *exec)
{
    if (!exec->over && !exec->in.rpc)
        loop_timer_set(exec->in.timer, 0);
}

void writer_clear(struct modal_exec *exec)
{
    modal_rpc_cancel(exec->in.rpc);
    exec->in.rpc = NULL;
    loop_timer_del(exec->in.timer);
    exec->in.timer = NULL;
    buf_clear(&exec->in.pending);
    exec->in.at = 0;
}

size_t modal_exec_pending(const struct modal_exec *exec)
{
    return exec->in.pending.len - exec->in.at;
}

int modal_exec_write(struct modal_exec *exec, const void *data, size_t len)
{
    struct exec_writer *w = &exec->in;

    if (w->eof_wanted || modal_exec_pending(exec) + len > MODAL_EXEC_STDIN_MAX)
        return -1;
    if (exec->over || w->closed || !len)
        return 0;
    if (buf_add(&w->pending, data, len) < 0)
        return -1;
    writer_kick(exec);
    return 0;
}

void modal_exec_write_eof(struct modal_exec *exec)
{
    exec->in.eof_wanted = true;
    writer_kick(exec);
}
