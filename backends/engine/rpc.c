#include "backends/engine/rpc.h"

#include "backends/engine/ask_record.h"
#include "backends/engine/engine.h"
#include "backends/engine/fault.h"
#include "backends/engine/h2.h"
#include "backends/engine/idem.h"
#include "backends/engine/keys.h"
#include "backends/engine/log.h"
#include "backends/engine/timer.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <stdlib.h>
#include <string.h>

static void meta_clear(struct call_meta *m)
{
    free(m->token_id);
    free(m->token_secret);
    free(m->auth_token);
    free(m->authorization);
    free(m->idempotency_key);
    free(m->authority);
    *m = (struct call_meta){0};
}

/* The one way a call ends. The handler's state goes now, the call itself with its stream. */
static void end(struct call *c, int status, const char *message)
{
    if (c->ended)
        return;
    c->ended = true;
    c->status = status;
    c->message = xstrdup(message);
    c->source = NULL;
    timer_stop(&c->deadline);
    if (c->release)
        c->release(c);
    c->release = NULL;
    c->state = NULL;
    if (c->unread && c->stream)
        h2_consume(c->stream, c->unread);
    c->unread = 0;
    if (!c->stream)
        return;
    if (c->started)
        h2_resume(c->stream);
    else
        h2_respond(c->stream, c);
    c->started = true;
}

void call_fail(struct call *c, int status, const char *fmt, ...)
{
    cleanup_free char *message = NULL;
    va_list ap;

    va_start(ap, fmt);
    message = xvasprintf(fmt, ap);
    va_end(ap);
    end(c, status, message);
}

void call_fail_err(struct call *c, int status, struct err *err)
{
    end(c, status, err->msg ? err->msg : "unknown error");
    err_clear(err);
}

void call_fail_retry(struct call *c, int status, double retry_secs, const char *text)
{
    c->retry_secs = retry_secs;
    end(c, status, text);
}

/* Adds one packed message with its head to what is to be sent. */
static int add_packed(struct call *c, const void *bytes, size_t len)
{
    if (grpc_frame_add(&c->out, bytes, len) == 0)
        return 0;
    call_fail(c, GRPC_RESOURCE_EXHAUSTED, "the answer is larger than %u bytes", LIMIT_GRPC_MESSAGE);
    return -1;
}

static int add_message(struct call *c, const void *message)
{
    const ProtobufCMessage *m = message;
    size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t head[GRPC_HEAD];
    char *to = buf_reserve(&c->out, len + GRPC_HEAD);

    if (!to || len > UINT32_MAX) {
        call_fail(c, GRPC_RESOURCE_EXHAUSTED, "the answer is larger than %u bytes", LIMIT_GRPC_MESSAGE);
        return -1;
    }
    grpc_head_write(head, (uint32_t)len);
    memcpy(to, head, GRPC_HEAD);
    protobuf_c_message_pack(m, (uint8_t *)to + GRPC_HEAD);
    buf_advance(&c->out, len + GRPC_HEAD);
    return 0;
}

/* The answer is in out: sends it, unless a fault wants it lost. */
static void end_with_answer(struct call *c)
{
    if (c->lose_answer) {
        buf_reset(&c->out);
        call_fail(c, GRPC_UNAVAILABLE, "the answer was lost (fault)");
        return;
    }
    end(c, GRPC_OK, NULL);
}

void call_reply(struct call *c, const void *message)
{
    if (c->ended || add_message(c, message) < 0)
        return;
    if (c->method->flags & RPC_ONCE && c->meta.idempotency_key)
        idem_put(c->engine->idem, c->method->name, c->meta.idempotency_key, c->out.data + GRPC_HEAD,
                 c->out.len - GRPC_HEAD);
    end_with_answer(c);
}

void call_stream(struct call *c, void (*source)(struct call *c))
{
    if (c->ended)
        return;
    c->source = source;
    if (!c->started)
        h2_respond(c->stream, c);
    c->started = true;
}

void call_send(struct call *c, const void *message)
{
    if (!c->ended)
        add_message(c, message);
}

void call_finish(struct call *c)
{
    end(c, GRPC_OK, NULL);
}

void call_wake(struct call *c)
{
    if (!c->ended && c->started)
        h2_resume(c->stream);
}

size_t call_pull(struct call *c, void *to, size_t cap, bool *ret_end)
{
    size_t len;

    if (c->out_at == c->out.len && c->source) {
        buf_reset(&c->out);
        c->out_at = 0;
        c->source(c);
    }
    len = c->out.len - c->out_at;
    if (len > cap)
        len = cap;
    memcpy(to, c->out.data + c->out_at, len);
    c->out_at += len;
    *ret_end = c->ended && c->out_at == c->out.len;
    return len;
}

/* ---- the request ---- */

/* Answers a repeated create with what was answered first. */
static bool answer_again(struct call *c)
{
    size_t len;
    const void *answer;

    if (!(c->method->flags & RPC_ONCE) || !c->meta.idempotency_key)
        return false;
    answer = idem_get(c->engine->idem, c->method->name, c->meta.idempotency_key, &len);
    if (!answer)
        return false;
    if (add_packed(c, answer, len) == 0)
        end_with_answer(c);
    return true;
}

/* One whole message of the body. */
static void take_message(struct call *c, const uint8_t *bytes, size_t len)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(c->method->request, /* allocator= */ NULL, len, bytes);

    if (!message) {
        call_fail(c, GRPC_INVALID_ARGUMENT, "%s: the request cannot be decoded", c->method->name);
    } else if (c->method->kind == RPC_CLIENT_STREAM) {
        c->method->handle(c, message);
        protobuf_c_message_free_unpacked(message, NULL);
    } else if (c->request) {
        protobuf_c_message_free_unpacked(message, NULL);
        call_fail(c, GRPC_INVALID_ARGUMENT, "%s: more than one request message", c->method->name);
    } else {
        ask_record(c->method->name, message);
        c->request = message;
    }
}

/* The peer has said everything. */
static void take_end(struct call *c)
{
    c->end_told = true;
    if (!grpc_parser_idle(&c->parser))
        call_fail(c, GRPC_INVALID_ARGUMENT, "%s: the request ends within a message", c->method->name);
    else if (c->method->kind == RPC_CLIENT_STREAM)
        c->method->handle(c, NULL);
    else if (!c->request)
        call_fail(c, GRPC_INVALID_ARGUMENT, "%s: no request message", c->method->name);
    else if (!answer_again(c))
        c->method->handle(c, c->request);
}

/* Hands on what has arrived, until the handler pauses or the call ends. */
static void pump(struct call *c)
{
    cleanup_err struct err err = ERR_INIT;
    int rc = 0;

    if (c->in_handler)
        return;
    c->in_handler = true;
    while (!c->ended && !c->paused) {
        const uint8_t *bytes;
        size_t len;

        rc = grpc_parser_next(&c->parser, &bytes, &len, &err);
        if (rc <= 0)
            break;
        take_message(c, bytes, len);
    }
    if (rc < 0)
        call_fail_err(c, err.code ? err.code : GRPC_INTERNAL, &err);
    if (!c->paused && c->unread) {
        h2_consume(c->stream, c->unread);
        c->unread = 0;
    }
    if (!c->ended && !c->paused && c->half_closed && !c->end_told)
        take_end(c);
    c->in_handler = false;
}

void call_take(struct call *c, const uint8_t *bytes, size_t len, bool last)
{
    cleanup_err struct err err = ERR_INIT;

    if (c->ended) {
        h2_consume(c->stream, len);
        return;
    }
    c->unread += len;
    c->half_closed = c->half_closed || last;
    if (len && grpc_parser_push(&c->parser, bytes, len, &err) < 0)
        call_fail_err(c, GRPC_RESOURCE_EXHAUSTED, &err);
    else
        pump(c);
}

void call_pause(struct call *c)
{
    c->paused = true;
}

void call_resume(struct call *c)
{
    c->paused = false;
    if (!c->ended)
        pump(c);
}

/* ---- the beginning ---- */

/* "Bearer x" -> x */
static const char *bearer(const char *authorization)
{
    return authorization && strncmp(authorization, "Bearer ", 7) == 0 ? authorization + 7 : NULL;
}

/* -1 and UNAUTHENTICATED in err when the headers do not carry what the method needs. */
static int authenticate(struct call *c, struct err *err)
{
    const struct keys *keys = c->engine->keys;

    if (c->method->flags & RPC_ROUTER) {
        const char *token = bearer(c->meta.authorization);

        if (!token)
            return err_set(err, 125, "the call carries no bearer token");
        return keys_check_router_token(keys, token, &c->task_id, err);
    }
    if (!c->meta.token_id || !c->meta.token_secret)
        return err_set(err, 125, "the call carries no token id and secret");
    if (!keys_pair_is_ours(keys, c->meta.token_id, c->meta.token_secret))
        return err_set(err, 125, "the token id and secret are not valid here");
    if (c->meta.auth_token)
        return keys_check_auth_token(keys, c->meta.auth_token, err);
    if (c->method->flags & RPC_V2)
        return err_set(err, 125, "the call carries no auth token (x-modal-auth-token)");
    return 0;
}

static void on_deadline(void *arg)
{
    call_fail(arg, GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
}

/* Ends the call at once where a fault says so. */
static void apply_fault(struct call *c)
{
    int code = GRPC_OK;
    double retry_secs = 0;

    switch (fault_next_call(c->engine->fault, c->method->name, &code, &retry_secs)) {
    case FAULT_NONE:
        return;
    case FAULT_FAIL:
        log_line("fault: %s answered %s", c->method->name, grpc_status_name(code));
        call_fail_retry(c, code, retry_secs, "refused on purpose (fault)");
        return;
    case FAULT_LOST:
        log_line("fault: the answer of %s will be lost", c->method->name);
        c->lose_answer = true;
        return;
    }
}

struct call *call_new(struct h2_stream *stream, struct engine *e, const char *path, struct call_meta *meta)
{
    cleanup_err struct err err = ERR_INIT;
    struct call *c = xcalloc(1, sizeof(*c));

    c->engine = e;
    c->stream = stream;
    c->meta = *meta;
    *meta = (struct call_meta){0};
    c->method = rpc_find(path);
    if (c->method && c->method->flags & RPC_OURS && e->config->plain)
        c->method = NULL;
    buf_init(&c->out, LIMIT_GRPC_MESSAGE + GRPC_HEAD);
    grpc_parser_init(&c->parser, LIMIT_GRPC_MESSAGE);
    if (!c->method) {
        log_line("%s: not implemented", path);
        call_fail(c, GRPC_UNIMPLEMENTED, "%s is not implemented by this server", path);
        return c;
    }
    if (authenticate(c, &err) < 0) {
        call_fail_err(c, GRPC_UNAUTHENTICATED, &err);
        return c;
    }
    apply_fault(c);
    if (!c->ended && c->meta.timeout_ms >= 0)
        timer_start(&c->deadline, e->loop, (uint64_t)c->meta.timeout_ms, on_deadline, c);
    return c;
}

void call_free(struct call *c)
{
    if (!c)
        return;
    c->stream = NULL;
    end(c, GRPC_CANCELLED, NULL);
    if (c->request)
        protobuf_c_message_free_unpacked((ProtobufCMessage *)(uintptr_t)c->request, NULL);
    meta_clear(&c->meta);
    grpc_parser_clear(&c->parser);
    buf_clear(&c->out);
    free(c->task_id);
    free(c->message);
    free(c);
}
