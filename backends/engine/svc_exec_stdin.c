/*
 * Stdin of execs (protocol 6.6): whole writes, the streaming form, and its status. A write is answered when the process
 * has taken nearly all of it, which holds the client back as a pipe would.
 */
#include "backends/engine/exec.h"
#include "backends/engine/router.h"
#include "backends/engine/svc.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <stdlib.h>

/* ---- unary ---- */

static void forget_write(struct call *c)
{
    exec_stdin_forget(c->state);
}

static void write_done(void *arg, bool ok)
{
    Modal__TaskCommandRouter__TaskExecStdinWriteResponse response =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_RESPONSE__INIT;
    struct call *c = arg;

    c->release = NULL;
    if (ok)
        call_reply(c, &response);
    else
        call_fail(c, GRPC_NOT_FOUND, "the exec is gone");
}

static void task_exec_stdin_write(struct call *c, const void *request)
{
    const Modal__TaskCommandRouter__TaskExecStdinWriteRequest *r = request;
    struct exec *e = router_exec(c, r->task_id, r->exec_id);
    cleanup_err struct err err = ERR_INIT;
    struct stdin_write *write;

    if (!e)
        return;
    if (exec_stdin(e, r->offset, r->data.data, r->data.len, r->eof, write_done, c, &write, &err) < 0) {
        svc_fail(c, &err);
        return;
    }
    c->state = write;
    c->release = forget_write;
}

/* ---- streaming ---- */

struct upload_state {
    struct call *call;
    struct exec *exec;
    uint64_t offset;
    struct stdin_write *write; /* under way */
    bool ended;                /* the peer has sent "end" */
};

static void release_upload(struct call *c)
{
    struct upload_state *u = c->state;

    exec_stdin_forget(u->write);
    u->exec->upload = NULL;
    free(u);
}

static void upload_written(void *arg, bool ok)
{
    Modal__TaskCommandRouter__TaskExecStdinWriteStreamResponse response =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_STREAM_RESPONSE__INIT;
    struct upload_state *u = arg;
    struct call *c = u->call;

    u->write = NULL;
    if (!ok)
        call_fail(c, GRPC_NOT_FOUND, "the exec is gone");
    else if (u->ended)
        call_reply(c, &response);
    else
        call_resume(c);
}

/* One write to the process; nothing more is taken from the peer until it is done. */
static void upload_write(struct call *c, const void *bytes, size_t len, bool eof)
{
    struct upload_state *u = c->state;
    cleanup_err struct err err = ERR_INIT;

    if (exec_stdin(u->exec, u->offset, bytes, len, eof, upload_written, u, &u->write, &err) < 0) {
        svc_fail(c, &err);
        return;
    }
    u->offset += len;
    u->ended = eof;
    call_pause(c);
}

/* The first message: names the exec and says where to go on. A stream that was left behind gives way. */
static void upload_start(struct call *c, const Modal__TaskCommandRouter__TaskExecStdinWriteStreamStart *start)
{
    struct exec *e = router_exec(c, start->task_id, start->exec_id);
    struct upload_state *u;
    uint64_t accepted;
    bool closed;

    if (!e)
        return;
    exec_stdin_status(e, &accepted, &closed);
    if (start->offset != accepted) {
        call_fail(c, GRPC_FAILED_PRECONDITION, "stdin is at offset %llu, not %llu", (unsigned long long)accepted,
                  (unsigned long long)start->offset);
        return;
    }
    if (e->upload)
        call_fail(e->upload, GRPC_CANCELLED, "another stream has taken over");
    u = xcalloc(1, sizeof(*u));
    u->call = c;
    u->exec = e;
    u->offset = accepted;
    e->upload = c;
    c->state = u;
    c->release = release_upload;
}

static void task_exec_stdin_write_stream(struct call *c, const void *message)
{
    const Modal__TaskCommandRouter__TaskExecStdinWriteStreamRequest *m = message;
    const struct upload_state *u = c->state;

    if (!m) {
        if (!u || !u->ended)
            call_fail(c, GRPC_INVALID_ARGUMENT, "the stream ended without an end message");
        return;
    }
    switch (m->payload_case) {
    case MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_STREAM_REQUEST__PAYLOAD_START:
        if (u)
            call_fail(c, GRPC_INVALID_ARGUMENT, "more than one start message");
        else
            upload_start(c, m->start);
        return;
    case MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_STREAM_REQUEST__PAYLOAD_DATA:
    case MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_STREAM_REQUEST__PAYLOAD_END:
        if (!u)
            call_fail(c, GRPC_INVALID_ARGUMENT, "the first message is not a start message");
        else if (u->ended)
            call_fail(c, GRPC_INVALID_ARGUMENT, "a message after the end message");
        else if (m->payload_case == MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_STREAM_REQUEST__PAYLOAD_DATA)
            upload_write(c, m->data.data, m->data.len, /* eof= */ false);
        else
            upload_write(c, NULL, 0, /* eof= */ true);
        return;
    default:
        call_fail(c, GRPC_INVALID_ARGUMENT, "a message without payload");
    }
}

/* Says what was accepted; whoever asks has lost its stream, so one that is still open here is ended. */
static void task_exec_stdin_status(struct call *c, const void *request)
{
    const Modal__TaskCommandRouter__TaskExecStdinStatusRequest *r = request;
    Modal__TaskCommandRouter__TaskExecStdinStatusResponse response =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_STATUS_RESPONSE__INIT;
    const struct exec *e = router_exec(c, r->task_id, r->exec_id);
    bool closed;

    if (!e)
        return;
    if (e->upload)
        call_fail(e->upload, GRPC_CANCELLED, "the stream was given up by a status call");
    exec_stdin_status(e, &response.num_bytes_written, &closed);
    response.has_num_bytes_written = 1;
    response.has_closed = 1;
    response.closed = closed;
    call_reply(c, &response);
}

const struct rpc_method svc_exec_stdin_methods[] = {
    {"TaskExecStdinStatus", SVC_ROUTER_REQUEST(task_exec_stdin_status_request), RPC_UNARY, RPC_ROUTER,
     task_exec_stdin_status},
    {"TaskExecStdinWrite", SVC_ROUTER_REQUEST(task_exec_stdin_write_request), RPC_UNARY, RPC_ROUTER,
     task_exec_stdin_write},
    {"TaskExecStdinWriteStream", SVC_ROUTER_REQUEST(task_exec_stdin_write_stream_request), RPC_CLIENT_STREAM,
     RPC_ROUTER, task_exec_stdin_write_stream},
    {0},
};
