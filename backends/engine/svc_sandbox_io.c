/* Output and input of a V1 sandbox's first process, over the control plane (protocol 5.9, 5.10). */
#include "backends/engine/engine.h"
#include "backends/engine/entrypoint.h"
#include "backends/engine/ids.h"
#include "backends/engine/runtime.h"
#include "backends/engine/sandbox.h"
#include "backends/engine/svc.h"
#include "backends/engine/utf8.h"

#include "compat/base/buf.h"
#include "compat/base/cleanup.h"

#include <stdlib.h>
#include <string.h>

#define LOG_PIECE (64u << 10) /* bytes of output in one entry; as text it may be three times that */

/* The cursor of a log is the offset behind the entry, in the form that clients know from the platform. */
static void send_batch(struct call *c, const char *text, bool eof)
{
    const Modal__Client__SandboxGetLogsRequest *r = c->request;
    const struct sandbox *s = entrypoint_sandbox(c);
    Modal__Client__TaskLogsBatch batch = MODAL__CLIENT__TASK_LOGS_BATCH__INIT;
    Modal__Client__TaskLogs item = MODAL__CLIENT__TASK_LOGS__INIT, *items[] = {&item};
    char entry[48];

    snprintf(entry, sizeof(entry), "%llu-0", (unsigned long long)entrypoint_offset(c));
    batch.task_id = s->task_id;
    batch.entry_id = entry;
    batch.has_eof = eof;
    batch.eof = eof;
    if (text) {
        item.data = SVC_CONST(text);
        item.has_file_descriptor = 1;
        item.file_descriptor = r->file_descriptor;
        item.has_timestamp = 1;
        item.timestamp = unix_now();
        batch.items = items;
        batch.n_items = 1;
    }
    call_send(c, &batch);
}

static void log_source(struct call *c)
{
    static uint8_t bytes[LOG_PIECE];
    cleanup_buf struct buf text = BUF_INIT(4 * LOG_PIECE);
    const struct sandbox *s = entrypoint_sandbox(c);
    struct rt_stream *stream = entrypoint_stream(c);
    ssize_t n = stream ? rt_stream_read(stream, entrypoint_offset(c), bytes, sizeof(bytes)) : 0;
    bool ended = stream ? rt_stream_ended(stream) : s->state == SANDBOX_ENDED;

    if (n < 0) {
        call_fail(c, GRPC_DATA_LOSS, "the output could not be kept: the disk is full");
        return;
    }
    if (n > 0) {
        bool last = ended && entrypoint_offset(c) + (uint64_t)n == rt_stream_len(stream);
        size_t used = utf8_clean(&text, bytes, (size_t)n, last);

        entrypoint_advance(c, used);
        if (used) {
            send_batch(c, text.data, /* eof= */ false);
            return;
        }
    } else if (ended) {
        send_batch(c, NULL, /* eof= */ true);
        call_finish(c);
        return;
    }
    if (entrypoint_over(c))
        call_finish(c);
    else
        entrypoint_wait(c);
}

static void sandbox_get_logs(struct call *c, const void *request)
{
    const Modal__Client__SandboxGetLogsRequest *r = request;
    struct sandbox *s = sandbox_by_id(c->engine->sandboxes, svc_text(r->sandbox_id));
    int fd = (int)r->file_descriptor;

    if (!s)
        call_fail(c, GRPC_NOT_FOUND, "Sandbox %s not found", svc_text(r->sandbox_id));
    else if (fd != 1 && fd != 2)
        call_fail(c, GRPC_INVALID_ARGUMENT, "logs are of stdout or of stderr");
    else
        entrypoint_read(c, s, fd, strtoull(svc_text(r->last_entry_id), NULL, 10), r->timeout > 0 ? r->timeout : 0,
                        log_source);
}

static void reply_written(struct call *c)
{
    Modal__Client__SandboxStdinWriteResponse response = MODAL__CLIENT__SANDBOX_STDIN_WRITE_RESPONSE__INIT;

    call_reply(c, &response);
}

static void sandbox_stdin_write(struct call *c, const void *request);

static void write_again(struct call *c, bool timed_out)
{
    (void)timed_out;
    sandbox_stdin_write(c, c->request);
}

/* Writes are numbered 1, 2, 3...; a number again is a retry whose first attempt arrived. */
static void sandbox_stdin_write(struct call *c, const void *request)
{
    const Modal__Client__SandboxStdinWriteRequest *r = request;
    struct sandbox *s = sandbox_by_id(c->engine->sandboxes, svc_text(r->sandbox_id));

    if (!s) {
        call_fail(c, GRPC_NOT_FOUND, "Sandbox %s not found", svc_text(r->sandbox_id));
    } else if (s->state == SANDBOX_ENDED) {
        call_fail(c, GRPC_FAILED_PRECONDITION, "Sandbox %s has finished", s->id);
    } else if (s->state == SANDBOX_STARTING) {
        svc_park(c, &s->changes, /* seconds= */ -1, write_again);
    } else if (r->index <= s->stdin_index) {
        reply_written(c);
    } else if (r->index != s->stdin_index + 1) {
        call_fail(c, GRPC_INVALID_ARGUMENT, "stdin write %u came after %u", r->index, s->stdin_index);
    } else if (entrypoint_write(c, s, s->stdin_len, r->input.data, r->input.len, r->eof, reply_written)) {
        s->stdin_index = r->index;
        s->stdin_len += r->input.len;
    }
}

const struct rpc_method svc_sandbox_io_methods[] = {
    {"SandboxGetLogs", SVC_REQUEST(sandbox_get_logs_request), RPC_SERVER_STREAM, 0, sandbox_get_logs},
    {"SandboxStdinWrite", SVC_REQUEST(sandbox_stdin_write_request), RPC_UNARY, 0, sandbox_stdin_write},
    {0},
};
