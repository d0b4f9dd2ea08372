#include "backends/grpc/internal.h"

#include "compat/base/alloc.h"
#include "compat/base/limits.h"
#include "compat/base/tame.h"
#include "compat/sys/loop.h"

#include <stdlib.h>
#include <string.h>

#define CALM_MS                                                                                                        \
    30000 /* how often a server that found our PINGs too many gets them: the SDKs' own figure (protocol 1.7) */

static struct grpc_call *call_of(nghttp2_session *h2, int32_t stream)
{
    return nghttp2_session_get_stream_user_data(h2, stream);
}

static bool is(const uint8_t *name, size_t len, const char *want)
{
    return len == strlen(want) && memcmp(name, want, len) == 0;
}

/* One field of the answer's head or trailers. */
static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t namelen,
                     const uint8_t *value, size_t valuelen, uint8_t flags, void *arg)
{
    struct grpc_call *call = call_of(h2, frame->hd.stream_id);
    const char *text = (const char *)value;

    (void)flags;
    (void)arg;
    if (!call)
        return 0;
    if (is(name, namelen, ":status")) {
        call->http_status = valuelen == 3 ? (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0') : 0;
    } else if (is(name, namelen, "content-type")) {
        call->is_grpc = valuelen >= 16 && memcmp(value, "application/grpc", 16) == 0;
    } else if (is(name, namelen, "grpc-status")) {
        call->has_status = true;
        call->result.status = grpc_status_parse(text, valuelen);
    } else if (is(name, namelen, "grpc-message")) {
        free(call->message);
        call->message = grpc_percent_decode(text, valuelen);
        tame(call->message, /* keep_lines= */ true); /* it may end on a terminal */
    } else if (is(name, namelen, "grpc-status-details-bin")) {
        buf_reset(&call->details);
        call->has_details = grpc_base64_decode(&call->details, text, valuelen) == 0;
    }
    return 0;
}

/* The server does not take new calls here; nghttp2 closes those it won't serve. */
static void on_goaway(struct grpc_conn *conn, const nghttp2_goaway *goaway)
{
    struct grpc_channel *ch = conn->ch;

    conn->draining = true;
    if (ch->conn == conn)
        ch->conn = NULL;
    if (goaway->error_code == NGHTTP2_ENHANCE_YOUR_CALM && ch->quiet_ms < CALM_MS)
        ch->quiet_ms = CALM_MS;
}

static int on_frame_recv(nghttp2_session *h2, const nghttp2_frame *frame, void *arg)
{
    struct grpc_conn *conn = arg;
    struct grpc_call *call;

    if (frame->hd.type == NGHTTP2_GOAWAY) {
        on_goaway(conn, &frame->goaway);
        return 0;
    }
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    call = call_of(h2, frame->hd.stream_id);
    /* The server has said all, perhaps before we have: then our half is cut off. */
    if (call && frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        if (nghttp2_session_get_stream_local_close(h2, call->stream) == 0)
            nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, call->stream, NGHTTP2_NO_ERROR);
        call_stream_closed(call, NGHTTP2_NO_ERROR);
    }
    return 0;
}

/* Window of the connection comes back at once, so that a paused call holds up no other; that of the stream by the call.
 */
static int on_data(nghttp2_session *h2, uint8_t flags, int32_t stream, const uint8_t *data, size_t len, void *arg)
{
    struct grpc_call *call = call_of(h2, stream);

    (void)flags;
    (void)arg;
    nghttp2_session_consume_connection(h2, len);
    if (call)
        call_body(call, data, len);
    return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t stream, uint32_t error_code, void *arg)
{
    struct grpc_call *call = call_of(h2, stream);

    (void)arg;
    if (call)
        call_stream_closed(call, error_code);
    return 0;
}

/* A request that could not leave any more, as after a GOAWAY; nghttp2 closes its stream next. */
static int on_not_sent(nghttp2_session *h2, const nghttp2_frame *frame, int error, void *arg)
{
    struct grpc_call *call = call_of(h2, frame->hd.stream_id);

    (void)error;
    (void)arg;
    if (call && frame->hd.type == NGHTTP2_HEADERS)
        call->unsent = true;
    return 0;
}

/* Hands out the call's queued bytes as DATA. */
static ssize_t read_body(nghttp2_session *h2, int32_t stream, uint8_t *to, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *arg)
{
    struct grpc_call *call = source->ptr;
    size_t n = call->out.len - call->out_at;

    (void)h2;
    (void)stream;
    (void)arg;
    if (n > room)
        n = room;
    memcpy(to, call->out.data + call->out_at, n);
    call->out_at += n;
    if (call->out_at < call->out.len)
        return (ssize_t)n;
    buf_clear(&call->out);
    call->out_at = 0;
    if (call->finish) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t)n;
    }
    if (!n) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    call->drained = true;
    return (ssize_t)n;
}

nghttp2_session *h2_session_new(struct grpc_conn *conn)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, LIMIT_GRPC_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, LIMIT_GRPC_METADATA},
    };
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *h2 = NULL;
    nghttp2_option *option;

    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_not_sent);
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_session_client_new2(&h2, callbacks, conn, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(h2, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(*settings));
    nghttp2_session_set_local_window_size(h2, NGHTTP2_FLAG_NONE, 0, LIMIT_GRPC_WINDOW);
    return h2;
}

static nghttp2_nv field(const char *name, size_t name_len, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, name_len, strlen(value), NGHTTP2_NV_FLAG_NONE};
}

#define FIELD(name, value) field(name, sizeof(name) - 1, value)

void h2_submit(struct grpc_call *call, int64_t deadline_ms, const struct strlist *metadata, const char *path)
{
    struct grpc_channel *ch = call->ch;
    size_t extra = metadata ? metadata->len : 0, n = 0;
    nghttp2_nv *fields = xcalloc(extra + 8, sizeof(*fields));
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = read_body};
    char timeout[GRPC_TIMEOUT_MAX];

    fields[n++] = FIELD(":method", "POST");
    fields[n++] = FIELD(":scheme", ch->url.scheme == GRPC_SCHEME_HTTPS ? "https" : "http");
    fields[n++] = FIELD(":path", path);
    fields[n++] = FIELD(":authority", ch->url.authority);
    fields[n++] = FIELD("te", "trailers");
    if (deadline_ms > 0) {
        grpc_timeout_format(deadline_ms, timeout);
        fields[n++] = FIELD("grpc-timeout", timeout);
    }
    fields[n++] = FIELD("content-type", "application/grpc");
    fields[n++] = FIELD("user-agent", ch->user_agent);
    for (size_t i = 0; i < extra; i++) {
        const char *line = metadata->items[i], *equals = strchr(line, '=');

        if (equals)
            fields[n++] = field(line, (size_t)(equals - line), equals + 1);
    }
    call->stream = nghttp2_submit_request(call->conn->h2, NULL, fields, n, &provider, call);
    free(fields);
}
