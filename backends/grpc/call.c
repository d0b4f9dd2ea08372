#include "backends/grpc/internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/loop.h"

#include <stdlib.h>
#include <string.h>

static void destroy(struct grpc_call *call)
{
    for (struct grpc_call **p = &call->ch->calls; *p; p = &(*p)->next)
        if (*p == call) {
            *p = call->next;
            break;
        }
    loop_timer_del(call->deadline);
    loop_timer_del(call->kick);
    buf_clear(&call->out);
    grpc_parser_clear(&call->parser);
    buf_clear(&call->details);
    free(call->message);
    free(call);
}

/* The call and its stream go separate ways. */
static void detach(struct grpc_call *call)
{
    struct grpc_conn *conn = call->conn;

    call->conn = NULL;
    if (!conn)
        return;
    call->result.heard = conn->heard_at >= call->started_at && conn->heard_at > 0;
    if (call->stream > 0)
        nghttp2_session_set_stream_user_data(conn->h2, call->stream, NULL);
    conn_call_removed(conn);
}

/* Takes the stream down from our side, with all that it still holds. */
static void reset(struct grpc_call *call)
{
    struct grpc_conn *conn = call->conn;

    if (!conn)
        return;
    if (call->stream > 0)
        nghttp2_submit_rst_stream(conn->h2, NGHTTP2_FLAG_NONE, call->stream, NGHTTP2_CANCEL);
    detach(call);
    conn_update(conn);
}

/* Fixes how the call ended, in our own words. */
static void conclude(struct grpc_call *call, int status, const char *message)
{
    call->over = true;
    call->result.status = status;
    call->result.from_server = false;
    call->has_details = false;
    if (call->message != message) {
        free(call->message);
        call->message = xstrdup(message);
    }
}

/* What an HTTP status means that came without a gRPC one. */
static int status_of_http(int http)
{
    switch (http) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

/* What a stream's end without a status means. */
static int status_of_reset(uint32_t error_code)
{
    switch (error_code) {
    case NGHTTP2_NO_ERROR:
        return GRPC_UNKNOWN;
    case NGHTTP2_REFUSED_STREAM:
        return GRPC_UNAVAILABLE;
    case NGHTTP2_CANCEL:
        return GRPC_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return GRPC_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
        return GRPC_PERMISSION_DENIED;
    default:
        return GRPC_INTERNAL;
    }
}

void call_stream_closed(struct grpc_call *call, uint32_t error_code)
{
    cleanup_free char *text = NULL;

    detach(call);
    if (call->over)
        return;
    call->over = true;
    call->result.from_server = true;
    if (call->unsent) {
        conclude(call, GRPC_UNAVAILABLE, "the server is closing the connection");
        call->result.unprocessed = true;
    } else if (call->has_status) {
        if (!call->message)
            call->message = xstrdup(call->result.status ? grpc_status_name(call->result.status) : "");
    } else if (call->http_status && call->http_status != 200) {
        text = xasprintf("the server answered with HTTP status %d", call->http_status);
        conclude(call, status_of_http(call->http_status), text);
    } else if (call->http_status && !call->is_grpc) {
        conclude(call, GRPC_UNKNOWN, "the server does not speak gRPC");
    } else if (error_code == NGHTTP2_NO_ERROR) {
        conclude(call, GRPC_UNKNOWN, "the server ended the call without a status");
    } else {
        text = xasprintf("the server reset the call: %s", nghttp2_http2_strerror(error_code));
        conclude(call, status_of_reset(error_code), text);
        call->result.unprocessed = error_code == NGHTTP2_REFUSED_STREAM;
    }
    call_deliver(call);
}

void call_transport_failed(struct grpc_call *call, const char *message, bool unprocessed)
{
    detach(call);
    conclude(call, GRPC_UNAVAILABLE, message);
    call->result.unprocessed = unprocessed || call->stream < 0;
    call_deliver(call);
}

void call_body(struct grpc_call *call, const void *data, size_t len)
{
    cleanup_err struct err err = ERR_INIT;

    call->held += len;
    if (call->http_status == 200 && call->is_grpc && grpc_parser_push(&call->parser, data, len, &err) < 0) {
        reset(call);
        conclude(call, err.code, err.msg);
        call->paused = false;
    }
    call_deliver(call);
}

/* Hands out whole messages until a handler says stop. Breaks the call off at one that is malformed. */
static void deliver_messages(struct grpc_call *call)
{
    cleanup_err struct err err = ERR_INIT;
    const uint8_t *message;
    size_t len;
    int got = 0;

    while (!call->paused && !call->gone && (got = grpc_parser_next(&call->parser, &message, &len, &err)) == 1)
        if (call->handlers.on_message)
            call->handlers.on_message(call, message, len, call->arg);
    if (got >= 0 || call->gone)
        return;
    reset(call);
    grpc_parser_clear(&call->parser);
    if (!call->over || call->result.status == GRPC_OK)
        conclude(call, err.code, err.msg);
}

/* Gives back the stream's window for what has been taken. */
static void give_window(struct grpc_call *call)
{
    if (call->conn && call->held) {
        nghttp2_session_consume_stream(call->conn->h2, call->stream, call->held);
        conn_update(call->conn);
    }
    call->held = 0;
}

/* The last word. */
static void tell_end(struct grpc_call *call)
{
    struct grpc_result *result = &call->result;

    if (result->status == GRPC_OK && !grpc_parser_idle(&call->parser))
        conclude(call, GRPC_INTERNAL, "the answer broke off within a message");
    result->message = call->message ? call->message : "";
    result->details = call->has_details ? call->details.data : NULL;
    result->details_len = call->has_details ? call->details.len : 0;
    if (call->handlers.on_end)
        call->handlers.on_end(call, result, call->arg);
}

void call_deliver(struct grpc_call *call)
{
    if (call->delivering)
        return;
    call->delivering = true;
    deliver_messages(call);
    if (!call->gone && !call->paused)
        give_window(call);
    if (!call->gone && call->over && !call->paused) {
        tell_end(call);
        call->gone = true;
    }
    call->delivering = false;
    if (call->gone)
        destroy(call);
}

void call_tell_drained(struct grpc_channel *ch)
{
    struct grpc_call *call;

    do {
        for (call = ch->calls; call; call = call->next)
            if (call->drained && !call->delivering)
                break;
        if (!call)
            return;
        call->drained = false;
        if (!call->handlers.on_drained || !call->conn)
            continue;
        call->delivering = true;
        call->handlers.on_drained(call, call->arg);
        call->delivering = false;
        if (call->gone)
            destroy(call);
        else if (call->over)
            loop_timer_set(call->kick, 0);
    } while (call);
}

static void on_kick(struct loop *loop, void *arg)
{
    (void)loop;
    call_deliver(arg);
}

static void on_deadline(struct loop *loop, void *arg)
{
    struct grpc_call *call = arg;

    (void)loop;
    reset(call);
    grpc_parser_clear(&call->parser);
    conclude(call, GRPC_DEADLINE_EXCEEDED, "the deadline of the call passed");
    call->paused = false;
    call_deliver(call);
}

struct grpc_call *grpc_call_start(struct grpc_channel *ch, const char *path, const struct strlist *metadata,
                                  int64_t deadline_ms, const struct grpc_handlers *handlers, void *arg)
{
    struct grpc_call *call = xcalloc(1, sizeof(*call));

    *call = (struct grpc_call){.ch = ch, .next = ch->calls, .handlers = *handlers, .arg = arg};
    ch->calls = call;
    call->started_at = loop_now();
    buf_init(&call->out, LIMIT_GRPC_MESSAGE + GRPC_HEAD);
    buf_init(&call->details, LIMIT_GRPC_METADATA);
    grpc_parser_init(&call->parser, LIMIT_GRPC_MESSAGE);
    call->kick = loop_timer_add(ch->loop, 0, on_kick, call);
    loop_timer_stop(call->kick);
    if (deadline_ms > 0)
        call->deadline = loop_timer_add(ch->loop, deadline_ms, on_deadline, call);
    call->conn = conn_for_call(ch);
    conn_call_added(call->conn);
    h2_submit(call, deadline_ms, metadata, path);
    if (call->stream < 0) {
        detach(call);
        conclude(call, GRPC_UNAVAILABLE, nghttp2_strerror(call->stream));
        call->result.unprocessed = true;
        loop_timer_set(call->kick, 0);
        return call;
    }
    conn_update(call->conn);
    return call;
}

/* There is more of the request: wakes nghttp2 if it waits for it. */
static void wake(struct grpc_call *call)
{
    if (!call->conn)
        return;
    if (call->deferred) {
        call->deferred = false;
        nghttp2_session_resume_data(call->conn->h2, call->stream);
    }
    conn_update(call->conn);
}

int grpc_call_send(struct grpc_call *call, const void *data, size_t len)
{
    if (call->finish || len > LIMIT_GRPC_MESSAGE)
        return -1;
    if (call->over)
        return 0; /* how it ended is on its way */
    if (call->out_at) {
        buf_consume(&call->out, call->out_at);
        call->out_at = 0;
    }
    if (grpc_frame_add(&call->out, data, len) < 0) {
        call->out.overflowed = false;
        return -1;
    }
    wake(call);
    return 0;
}

void grpc_call_finish(struct grpc_call *call)
{
    if (call->finish)
        return;
    call->finish = true;
    wake(call);
}

size_t grpc_call_pending(const struct grpc_call *call)
{
    return call->out.len - call->out_at;
}

bool grpc_call_sent(const struct grpc_call *call)
{
    const struct grpc_conn *conn = call->conn;

    if (!conn)
        return true;
    return conn->state == CONN_OPEN && !grpc_call_pending(call) && conn->out_at == conn->out.len &&
           !nghttp2_session_want_write(conn->h2);
}

void grpc_call_pause(struct grpc_call *call)
{
    call->paused = true;
}

void grpc_call_resume(struct grpc_call *call)
{
    if (!call->paused)
        return;
    call->paused = false;
    loop_timer_set(call->kick, 0);
}

void grpc_call_cancel(struct grpc_call *call)
{
    if (!call)
        return;
    reset(call);
    if (call->delivering)
        call->gone = true;
    else
        destroy(call);
}
