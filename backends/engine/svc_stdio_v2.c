#include "backends/engine/entrypoint.h"
#include "backends/engine/router.h"
#include "backends/engine/runtime.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/svc.h"

static void reply_written(struct call *c)
{
    Modal__TaskCommandRouter__SandboxStdinWriteV2Response response =
        MODAL__TASK_COMMAND_ROUTER__SANDBOX_STDIN_WRITE_V2_RESPONSE__INIT;

    call_reply(c, &response);
}

static void sandbox_stdin_write_v2(struct call *c, const void *request)
{
    const Modal__TaskCommandRouter__SandboxStdinWriteV2Request *r = request;
    struct sandbox *s = router_running(c, r->task_id);

    if (s)
        entrypoint_write(c, s, r->offset, r->data.data, r->data.len, r->eof, reply_written);
}

/* A chunk starts where it was asked for, or with the first byte that is still kept. */
static void read_source(struct call *c)
{
    static uint8_t bytes[CALL_SEND_MAX];
    Modal__TaskCommandRouter__SandboxStdioReadV2Response response =
        MODAL__TASK_COMMAND_ROUTER__SANDBOX_STDIO_READ_V2_RESPONSE__INIT;
    const struct sandbox *s = entrypoint_sandbox(c);
    struct rt_stream *stream = entrypoint_stream(c);
    ssize_t n = stream ? rt_stream_read(stream, entrypoint_offset(c), bytes, sizeof(bytes)) : 0;

    if (n < 0) {
        call_fail(c, GRPC_DATA_LOSS, "the output could not be kept: the disk is full");
    } else if (n > 0) {
        response.has_starting_offset = 1;
        response.starting_offset = entrypoint_offset(c);
        response.has_data = 1;
        response.data.data = bytes;
        response.data.len = (size_t)n;
        entrypoint_advance(c, (size_t)n);
        call_send(c, &response);
    } else if (stream ? rt_stream_ended(stream) : s->state == SANDBOX_ENDED) {
        call_finish(c);
    } else {
        entrypoint_wait(c);
    }
}

/* Serves reads after the exit too (protocol 5.10). */
static void sandbox_stdio_read_v2(struct call *c, const void *request)
{
    const Modal__TaskCommandRouter__SandboxStdioReadV2Request *r = request;
    struct sandbox *s = router_task(c, r->task_id);

    if (s)
        entrypoint_read(c, s, (int)r->file_descriptor == 1 ? 2 : 1, r->offset, /* seconds= */ -1, read_source);
}

const struct rpc_method svc_stdio_v2_methods[] = {
    {"SandboxStdinWriteV2", SVC_ROUTER_REQUEST(sandbox_stdin_write_v2_request), RPC_UNARY, RPC_ROUTER,
     sandbox_stdin_write_v2},
    {"SandboxStdioReadV2", SVC_ROUTER_REQUEST(sandbox_stdio_read_v2_request), RPC_SERVER_STREAM, RPC_ROUTER,
     sandbox_stdio_read_v2},
    {0},
};
