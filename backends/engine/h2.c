#include "backends/engine/h2.h"

#include "backends/engine/conn.h"
#include "backends/engine/engine.h"
#include "backends/engine/log.h"
#include "backends/engine/rpc.h"
#include "backends/proto/common.pb-c.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/limits.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#define AUTHORITY_MAX    280        /* a host name and a port */
#define H2_WINDOW        (64 << 20) /* both SDK families use this (protocol 1.7): few round trips for large messages */
#define H2_STREAMS       1000       /* calls at a time on one connection */
#define H2_HEADERS       (64u << 10)
#define H2_PATH          256
#define H2_RESETS        100000 /* cancelling is ordinary here: logs and waits are cut all the time */
#define H2_PING_AFTER_MS 15000  /* silence after which the peer is asked whether it lives */
#define H2_CHUNK         (64u << 10)

struct h2_stream {
    struct h2 *h2;
    struct h2_stream *next, **slot;
    int32_t id;
    char path[H2_PATH];
    struct call_meta meta;
    size_t header_bytes;
    bool is_post, is_grpc, bad;
    struct call *call; /* from the end of the headers on */
};

struct h2 {
    struct engine *engine;
    struct conn *conn;
    nghttp2_session *session;
    struct h2_stream *streams;
    struct h2 *next_dirty;
    bool dirty, pinged;
};

/* Notes that the session may have something to send; it is sent before the loop sleeps. */
static void touch(struct h2 *h)
{
    if (h->dirty)
        return;
    h->dirty = true;
    h->next_dirty = h->engine->dirty;
    h->engine->dirty = h;
}

/* ---- answers ---- */

#define NV(n, v, vlen)                                                                                                 \
    {                                                                                                                  \
        (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1, (vlen), NGHTTP2_NV_FLAG_NONE              \
    }

/* The body of grpc-status-details-bin: a google.rpc.Status with one RPCRetryPolicy (protocol 1.7). */
static void add_retry_policy(struct buf *out, const struct call *c)
{
    Modal__Client__RPCRetryPolicy policy = MODAL__CLIENT__RPCRETRY_POLICY__INIT;
    Modal__Client__Any any = MODAL__CLIENT__ANY__INIT, *details[] = {&any};
    Modal__Client__RPCStatus status = MODAL__CLIENT__RPCSTATUS__INIT;
    uint8_t packed_policy[32], packed[1024];

    policy.has_retry_after_secs = 1;
    policy.retry_after_secs = (float)c->retry_secs;
    any.type_url = (char *)(uintptr_t) "type.googleapis.com/modal.client.RPCRetryPolicy";
    any.has_value = 1;
    any.value.data = packed_policy;
    any.value.len = modal__client__rpcretry_policy__pack(&policy, packed_policy);
    status.has_code = 1;
    status.code = c->status;
    status.message = (char *)(uintptr_t) "retry later";
    status.n_details = 1;
    status.details = details;
    grpc_base64_encode(out, packed, modal__client__rpcstatus__pack(&status, packed));
}

/* Sends the call's status: as trailers, or as the only header block when nothing else was sent. */
static void submit_status(struct h2_stream *s, const struct call *c, bool trailers)
{
    cleanup_buf struct buf message = BUF_INIT(8192), details = BUF_INIT(4096);
    char number[16];
    int len = snprintf(number, sizeof(number), "%d", c->status);
    nghttp2_nv nv[5] = {NV(":status", "200", 3), NV("content-type", "application/grpc", 16),
                        NV("grpc-status", number, (size_t)len)};
    size_t n = 3;

    if (c->message)
        grpc_percent_encode(&message, c->message);
    if (message.len)
        nv[n++] = (nghttp2_nv)NV("grpc-message", message.data, message.len);
    if (c->retry_secs > 0) {
        add_retry_policy(&details, c);
        nv[n++] = (nghttp2_nv)NV("grpc-status-details-bin", details.data, details.len);
    }
    if (trailers)
        nghttp2_submit_trailer(s->h2->session, s->id, nv + 2, n - 2);
    else
        nghttp2_submit_response(s->h2->session, s->id, nv, n, NULL);
}

/* nghttp2 asks for bytes of one stream: the call is asked only now, when the window has room. */
static ssize_t on_source(nghttp2_session *session, int32_t id, uint8_t *buf, size_t cap, uint32_t *flags,
                         nghttp2_data_source *source, void *arg)
{
    struct h2_stream *s = source->ptr;
    bool ended = false;
    size_t len = call_pull(s->call, buf, cap, &ended);

    (void)session;
    (void)id;
    (void)arg;
    if (ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        submit_status(s, s->call, /* trailers= */ true);
    } else if (len == 0) {
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)len;
}

void h2_respond(struct h2_stream *s, struct call *c)
{
    nghttp2_nv nv[] = {NV(":status", "200", 3), NV("content-type", "application/grpc", 16)};
    nghttp2_data_provider provider = {.source = {.ptr = s}, .read_callback = on_source};

    s->call = c;
    if (c->ended && c->out.len == 0)
        submit_status(s, c, /* trailers= */ false);
    else
        nghttp2_submit_response(s->h2->session, s->id, nv, 2, &provider);
    touch(s->h2);
}

/* An answer for those that do not speak gRPC. */
static void refuse_http(struct h2_stream *s, const char *status)
{
    nghttp2_nv nv[] = {NV(":status", status, 3)};

    nghttp2_submit_response(s->h2->session, s->id, nv, 1, NULL);
    touch(s->h2);
}

void h2_resume(struct h2_stream *s)
{
    nghttp2_session_resume_data(s->h2->session, s->id);
    touch(s->h2);
}

void h2_consume(struct h2_stream *s, size_t len)
{
    nghttp2_session_consume_stream(s->h2->session, s->id, len);
    touch(s->h2);
}

struct conn *h2_conn(const struct h2_stream *s)
{
    return s->h2->conn;
}

/* ---- requests ---- */

static void stream_free(struct h2_stream *s)
{
    struct call *call = steal(&s->call);
    struct call_meta *m = &s->meta;

    call_free(call);
    free(m->token_id);
    free(m->token_secret);
    free(m->auth_token);
    free(m->authorization);
    free(m->idempotency_key);
    free(m->authority);
    *s->slot = s->next;
    if (s->next)
        s->next->slot = s->slot;
    free(s);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h = arg;
    struct h2_stream *s;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    s = xcalloc(1, sizeof(*s));
    s->h2 = h;
    s->id = frame->hd.stream_id;
    s->meta.timeout_ms = -1;
    s->next = h->streams;
    s->slot = &h->streams;
    if (s->next)
        s->next->slot = &s->next;
    h->streams = s;
    nghttp2_session_set_stream_user_data(session, s->id, s);
    return 0;
}

/* Replaces *slot by a copy of the value; a value with NUL bytes is no credential of ours. */
static void set_text(char **slot, const uint8_t *value, size_t len)
{
    free(*slot);
    *slot = xstrndup((const char *)value, len);
}

/* One header of a request: what calls need is kept, everything else is accepted and forgotten. */
static void take_header(struct h2_stream *s, const char *name, const uint8_t *value, size_t len)
{
    const char *text = (const char *)value; /* nghttp2 ends it with a NUL */
    struct call_meta *m = &s->meta;

    if (strcmp(name, ":path") == 0) {
        s->bad = s->bad || len >= sizeof(s->path);
        if (!s->bad)
            memcpy(s->path, value, len + 1);
    } else if (strcmp(name, ":method") == 0) {
        s->is_post = strcmp(text, "POST") == 0;
    } else if (strcmp(name, ":authority") == 0 && len <= AUTHORITY_MAX) {
        set_text(&m->authority, value, len);
    } else if (strcmp(name, "content-type") == 0) {
        s->is_grpc = strncmp(text, "application/grpc", 16) == 0;
    } else if (strcmp(name, "x-modal-token-id") == 0) {
        set_text(&m->token_id, value, len);
    } else if (strcmp(name, "x-modal-token-secret") == 0) {
        set_text(&m->token_secret, value, len);
    } else if (strcmp(name, "x-modal-auth-token") == 0) {
        set_text(&m->auth_token, value, len);
    } else if (strcmp(name, "authorization") == 0) {
        set_text(&m->authorization, value, len);
    } else if (strcmp(name, "x-idempotency-key") == 0) {
        set_text(&m->idempotency_key, value, len);
    } else if (strcmp(name, "x-modal-client-type") == 0) {
        m->client_type = (int)strtol(text, NULL, 10);
    } else if (strcmp(name, "grpc-timeout") == 0) {
        m->timeout_ms = grpc_timeout_parse(text, len);
        s->bad = s->bad || m->timeout_ms < 0;
    }
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t namelen,
                     const uint8_t *value, size_t valuelen, uint8_t flags, void *arg)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    (void)flags;
    (void)arg;
    if (!s || frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    s->header_bytes += namelen + valuelen + 32;
    if (s->header_bytes > H2_HEADERS)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* resets this stream only */
    take_header(s, (const char *)name, value, valuelen);
    return 0;
}

/* All headers are there: starts the call. */
static void begin_call(struct h2_stream *s)
{
    if (!s->is_post) {
        refuse_http(s, "405");
    } else if (!s->is_grpc) {
        refuse_http(s, "415");
    } else if (s->bad || !s->path[0]) {
        refuse_http(s, "400");
    } else {
        s->call = call_new(s, s->h2->engine, s->path, &s->meta);
    }
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h = arg;
    struct h2_stream *s;

    if (frame->hd.type == NGHTTP2_PING && frame->hd.flags & NGHTTP2_FLAG_ACK)
        h->pinged = false;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!s)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        begin_call(s);
    if (s->call && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        call_take(s->call, NULL, 0, /* end= */ true);
    return 0;
}

/* Body bytes. The connection's window is given back at once, so that one paused stream never stops the others. */
static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len, void *arg)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);

    (void)flags;
    (void)arg;
    nghttp2_session_consume_connection(session, len);
    if (s && s->call)
        call_take(s->call, bytes, len, /* end= */ false);
    else
        nghttp2_session_consume_stream(session, id, len);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);

    (void)code;
    (void)arg;
    if (s) {
        nghttp2_session_set_stream_user_data(session, id, NULL);
        stream_free(s);
    }
    return 0;
}

/* The answer is complete while the peer still speaks: nobody listens any more, and it is told so. */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    (void)arg;
    if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    if (nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
}

/* ---- the session ---- */

static nghttp2_session *new_session(struct h2 *h)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    nghttp2_session *session = NULL;

    if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0)
        abort();
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_stream_reset_rate_limit(option, H2_RESETS, H2_RESETS);
    if (nghttp2_session_server_new2(&session, callbacks, h, option) != 0)
        abort();
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return session;
}

static void flush(struct h2 *h)
{
    struct buf out = BUF_INIT(2 * CONN_HIGH);

    while (!conn_closing(h->conn) && conn_queued(h->conn) + out.len < CONN_HIGH) {
        const uint8_t *bytes;
        ssize_t len = nghttp2_session_mem_send(h->session, &bytes);

        if (len < 0)
            conn_close(h->conn);
        if (len <= 0)
            break;
        buf_add(&out, bytes, (size_t)len);
        if (out.len >= H2_CHUNK) {
            conn_write(h->conn, out.data, out.len);
            buf_reset(&out);
        }
    }
    if (out.len)
        conn_write(h->conn, out.data, out.len);
    buf_clear(&out);
    /* A peer that sends requests but takes no answers is not read from until it does. */
    conn_pause(h->conn, conn_queued(h->conn) >= CONN_HIGH);
    if (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session))
        conn_finish(h->conn);
}

void h2_flush_all(struct engine *e)
{
    while (e->dirty) {
        struct h2 *h = e->dirty;

        e->dirty = h->next_dirty;
        h->dirty = false;
        flush(h);
    }
}

static void on_bytes(void *arg, const uint8_t *bytes, size_t len)
{
    struct h2 *h = arg;
    ssize_t n = nghttp2_session_mem_recv(h->session, bytes, len);

    if (n < 0) {
        log_line("h2: connection refused: %s", nghttp2_strerror((int)n));
        conn_close(h->conn);
        return;
    }
    touch(h);
}

static void on_drained(void *arg)
{
    touch(arg);
}

/* Silence: asks once, then gives the peer up. Bytes that trickle out count as life. */
static void on_tick(void *arg, uint64_t silent_ms)
{
    struct h2 *h = arg;

    if (h->pinged && silent_ms >= DEADLINE_LOST_PEER) {
        log_line("h2: a silent peer was dropped");
        conn_close(h->conn);
    } else if (!h->pinged && silent_ms >= H2_PING_AFTER_MS) {
        h->pinged = true;
        nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL);
        touch(h);
    }
}

static void on_gone(void *arg)
{
    struct h2 *h = arg;

    for (struct h2 **p = &h->engine->dirty; *p; p = &(*p)->next_dirty)
        if (*p == h) {
            *p = h->next_dirty;
            break;
        }
    h->dirty = true; /* whatever ends now must not put it back */
    while (h->streams)
        stream_free(h->streams);
    nghttp2_session_del(h->session);
    free(h);
}

/* The peer learns which of its calls were never looked at: those it may repeat elsewhere. */
static void on_goodbye(void *arg)
{
    struct h2 *h = arg;

    nghttp2_session_terminate_session(h->session, NGHTTP2_NO_ERROR);
    touch(h);
}

void h2_attach(struct conn *c, const struct conn_handler **ret_handler, void **ret_arg)
{
    static const struct conn_handler handler = {on_bytes, on_drained, on_tick, on_gone, on_goodbye};
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEADERS},
    };
    struct h2 *h = xcalloc(1, sizeof(*h));

    h->engine = conn_engine(c);
    h->conn = c;
    h->session = new_session(h);
    nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0]));
    nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, H2_WINDOW);
    touch(h);
    *ret_handler = &handler;
    *ret_arg = h;
}
