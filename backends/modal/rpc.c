#include "backends/modal/rpc.h"

#include "backends/modal/internal.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/loop.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define CONTROL_RETRIES 3 /* protocol 1.7 */
#define CONTROL_BASE_MS 100
#define CONTROL_CAP_MS  1000
#define SLOW_BASE_MS    1000
#define ROUTER_RETRIES  10 /* protocol 6.4 */
#define ROUTER_BASE_MS  10
#define AGAIN_MS        1000 /* after an attempt_ms with again_at_deadline */
#define THROTTLE_MIN_MS 100
#define REFUSALS_MAX    10 /* GOAWAY or REFUSED_STREAM in a row, repeated at once */

struct modal_rpc {
    struct modal_peer *peer;
    struct modal_rpc *next; /* in the client's list */
    const struct modal_method *method;
    struct modal_rpc_options options;
    modal_rpc_fn *fn;
    void *arg;
    void *packed;
    size_t packed_len;
    char key[MODAL_UUID_LEN + 1];
    struct modal_waiter waiter;
    struct grpc_call *call;
    struct loop_timer *timer; /* the next attempt */
    int64_t started_at, attempt_at;
    int64_t unheard_since; /* first of a row of failures to reach the server; 0: none */
    unsigned retries, throttles, refusals, generation;
    bool renewed, moved;
    unsigned messages;
    void *data; /* the answer's bytes */
    size_t len;
};

bool modal_status_retried(int status)
{
    return status == GRPC_DEADLINE_EXCEEDED || status == GRPC_UNAVAILABLE || status == GRPC_CANCELLED ||
           status == GRPC_INTERNAL || status == GRPC_UNKNOWN;
}

void modal_message_free(void *message)
{
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

/* "SandboxCreateV2" of the path. */
static const char *method_name(const struct modal_method *method)
{
    return strrchr(method->path, '/') + 1;
}

static void trace(const struct modal_rpc *rpc, int status)
{
    const struct modal_client *c = rpc->peer->client;
    cleanup_free char *line = NULL;

    if (!c->trace)
        return;
    line = xasprintf("%s %s %lld ms, attempt %u", method_name(rpc->method), grpc_status_name(status),
                     (long long)(loop_now() - rpc->attempt_at), rpc->retries + rpc->throttles + 1);
    c->trace(c->trace_arg, line);
}

static void rpc_free(struct modal_rpc *rpc)
{
    for (struct modal_rpc **p = &rpc->peer->client->rpcs; *p; p = &(*p)->next)
        if (*p == rpc) {
            *p = rpc->next;
            break;
        }
    modal_waiters_remove(&rpc->peer->waiters, &rpc->waiter);
    grpc_call_cancel(rpc->call);
    loop_timer_del(rpc->timer);
    free(rpc->packed);
    free(rpc->data);
    free(rpc);
}

void modal_rpc_cancel(struct modal_rpc *rpc)
{
    void *arg = rpc && rpc->options.owns_arg ? rpc->arg : NULL;

    if (rpc)
        rpc_free(rpc);
    free(arg);
}

/* Reports and goes. */
static void finish(struct modal_rpc *rpc, void *reply, const struct err *err)
{
    modal_rpc_fn *fn = rpc->fn;
    bool owns_arg = rpc->options.owns_arg;
    void *arg = rpc->arg;

    rpc_free(rpc);
    if (fn)
        fn(arg, reply, err);
    else
        modal_message_free(reply);
    if (owns_arg)
        free(arg);
}

static void fail(struct modal_rpc *rpc, int status, const char *message)
{
    cleanup_free char *safe = modal_redact(rpc->peer->client, *message ? message : grpc_status_name(status),
                                           rpc->peer->secret ? *rpc->peer->secret : NULL);
    struct err err = ERR_INIT;

    err_set(&err, 125, "%s", safe);
    err.code = status;
    finish(rpc, NULL, &err);
    err_clear(&err);
}

static void again(struct modal_rpc *rpc, int64_t ms)
{
    loop_timer_set(rpc->timer, ms);
}

/* The wait that the server asks for in the details of an error, in milliseconds; -1 without. */
static int64_t server_delay(const struct grpc_result *result)
{
    static const char suffix[] = "/modal.client.RPCRetryPolicy";
    Modal__Client__RPCStatus *status;
    int64_t ms = -1;

    if (!result->details)
        return -1;
    status = modal__client__rpcstatus__unpack(NULL, result->details_len, result->details);
    for (size_t i = 0; status && i < status->n_details && ms < 0; i++) {
        const Modal__Client__Any *any = status->details[i];
        size_t len = any->type_url ? strlen(any->type_url) : 0;
        Modal__Client__RPCRetryPolicy *policy;

        if (len < sizeof(suffix) - 1 || strcmp(any->type_url + len - (sizeof(suffix) - 1), suffix) != 0)
            continue;
        policy = modal__client__rpcretry_policy__unpack(NULL, any->value.len, any->value.data);
        if (policy && policy->retry_after_secs >= 0 && policy->retry_after_secs < 86400)
            ms = (int64_t)(policy->retry_after_secs * 1000);
        modal_message_free(policy);
    }
    modal_message_free(status);
    return ms >= 0 && ms < THROTTLE_MIN_MS ? THROTTLE_MIN_MS : ms;
}

/* The server said when to come back. True if we will. */
static bool throttled(struct modal_rpc *rpc, const struct grpc_result *result)
{
    int64_t max = rpc->peer->client->max_throttle_ms, ms;

    if (!rpc->peer->control || !result->from_server || max < 0 || (ms = server_delay(result)) < 0)
        return false;
    if (max > 0 && loop_now() - rpc->started_at + ms >= max)
        return false;
    rpc->throttles++;
    again(rpc, ms);
    return true;
}

/* base doubling with each retry, up to cap. */
static int64_t backoff(int64_t base, unsigned retries, int64_t cap)
{
    int64_t ms = retries < 20 ? base << retries : cap;

    return ms > cap ? cap : ms;
}

/* The server could not be reached, or was lost: a router is tried for a time, the control plane a few times. */
static bool retry_unheard(struct modal_rpc *rpc, const struct grpc_result *result)
{
    struct modal_peer *peer = rpc->peer;
    int64_t now = loop_now(), patience = peer->client->lost_ms;

    if (result->unprocessed && result->heard && rpc->refusals++ < REFUSALS_MAX) {
        again(rpc, 0);
        return true;
    }
    if (result->heard && now - rpc->attempt_at >= peer->client->lost_ms / 3)
        rpc->unheard_since = 0; /* it worked for a while: a new row of failures begins */
    if (!rpc->unheard_since)
        rpc->unheard_since = result->heard ? now : rpc->attempt_at;
    if (!result->heard && !rpc->moved && peer->move && (rpc->moved = true) && peer->move(peer, &rpc->waiter))
        return true;
    if (!result->heard && rpc->options.patience_ms > patience)
        patience = rpc->options.patience_ms;
    if (now - rpc->unheard_since >= patience || (peer->control && rpc->retries >= CONTROL_RETRIES))
        return false;
    if (peer->control && !result->heard && peer->client->revive)
        peer->client->revive(peer->client->revive_arg);
    again(rpc, backoff(peer->control ? CONTROL_BASE_MS : ROUTER_BASE_MS, rpc->retries++, CONTROL_CAP_MS));
    return true;
}

/* Decides whether there is another attempt. */
static bool retry(struct modal_rpc *rpc, const struct grpc_result *result)
{
    struct modal_peer *peer = rpc->peer;
    bool control = peer->control;
    int64_t base = rpc->method->slow ? SLOW_BASE_MS : control ? CONTROL_BASE_MS : ROUTER_BASE_MS;

    if (result->status == GRPC_UNAUTHENTICATED && !rpc->renewed) {
        rpc->renewed = true;
        return peer->renew(peer, rpc->method->auth, rpc->generation, &rpc->waiter);
    }
    if (rpc->options.budget_ms && loop_now() - rpc->started_at >= rpc->options.budget_ms)
        return false;
    if (throttled(rpc, result))
        return true;
    if (result->status == GRPC_DEADLINE_EXCEEDED && rpc->options.again_at_deadline) {
        again(rpc, AGAIN_MS);
        return true;
    }
    if (!modal_status_retried(result->status))
        return false;
    if (!result->from_server && result->status == GRPC_UNAVAILABLE)
        return retry_unheard(rpc, result);
    rpc->unheard_since = 0;
    if (rpc->retries >= (control ? CONTROL_RETRIES : ROUTER_RETRIES))
        return false;
    again(rpc, backoff(base, rpc->retries++, control ? CONTROL_CAP_MS : INT64_MAX >> 1));
    return true;
}

static void on_message(struct grpc_call *call, const void *data, size_t len, void *arg)
{
    struct modal_rpc *rpc = arg;

    (void)call;
    if (rpc->messages++)
        return;
    rpc->data = xmemdup(data, len);
    rpc->len = len;
}

static void on_end(struct grpc_call *call, const struct grpc_result *result, void *arg)
{
    struct modal_rpc *rpc = arg;
    ProtobufCMessage *reply;

    (void)call;
    rpc->call = NULL;
    trace(rpc, result->status);
    if (result->status != GRPC_OK) {
        if (!retry(rpc, result))
            fail(rpc, result->status, result->message);
        return;
    }
    reply = rpc->messages == 1 ? protobuf_c_message_unpack(rpc->method->reply, NULL, rpc->len, rpc->data) : NULL;
    if (reply)
        finish(rpc, reply, NULL);
    else
        fail(rpc, GRPC_INTERNAL, "the server's answer cannot be read");
}

/* The headers that let the server see that two attempts are one call (protocol 1.4). */
static void add_attempt(const struct modal_rpc *rpc, struct strlist *metadata)
{
    double since = (double)(loop_now() - rpc->started_at) / 1000;

    strlist_addf(metadata, "x-idempotency-key=%s", rpc->key);
    strlist_addf(metadata, "x-retry-attempt=%u", rpc->retries);
    strlist_addf(metadata, "x-throttle-retry-attempt=%u", rpc->throttles);
    if (rpc->retries)
        strlist_addf(metadata, "x-retry-delay=%.3f", since);
    if (rpc->throttles)
        strlist_addf(metadata, "x-throttle-retry-delay=%.3f", since);
}

static void attempt(struct modal_rpc *rpc)
{
    static const struct grpc_handlers handlers = {.on_message = on_message, .on_end = on_end};
    cleanup_strlist struct strlist metadata = STRLIST_INIT;
    struct modal_peer *peer = rpc->peer;

    rpc->attempt_at = loop_now();
    if (!peer->credentials(peer, rpc->method->auth, &metadata, &rpc->waiter))
        return;
    rpc->generation = peer->generation; /* of what was given: a token may just have been read from the cache */
    if (peer->control)
        add_attempt(rpc, &metadata);
    free(rpc->data);
    rpc->data = NULL;
    rpc->messages = 0;
    rpc->call = grpc_call_start(peer->channel, rpc->method->path, &metadata, rpc->options.attempt_ms, &handlers, rpc);
    if (rpc->packed_len <= LIMIT_GRPC_MESSAGE)
        grpc_call_send(rpc->call, rpc->packed, rpc->packed_len);
    grpc_call_finish(rpc->call);
}

static void on_timer(struct loop *loop, void *arg)
{
    struct modal_rpc *rpc = arg;

    (void)loop;
    if (rpc->packed_len > LIMIT_GRPC_MESSAGE)
        fail(rpc, GRPC_RESOURCE_EXHAUSTED, "the request is larger than a message may be");
    else
        attempt(rpc);
}

/* Credentials came, or not. */
static void on_credentials(struct modal_waiter *waiter, const struct err *err)
{
    struct modal_rpc *rpc = (struct modal_rpc *)((char *)waiter - offsetof(struct modal_rpc, waiter));

    if (err)
        finish(rpc, NULL, err);
    else
        attempt(rpc);
}

struct modal_rpc *modal_rpc_start(struct modal_peer *peer, const struct modal_method *method, const void *request,
                                  const struct modal_rpc_options *options, modal_rpc_fn *fn, void *arg)
{
    struct modal_rpc *rpc = xcalloc(1, sizeof(*rpc));

    *rpc = (struct modal_rpc){.peer = peer, .method = method, .fn = fn, .arg = arg, .next = peer->client->rpcs};
    if (options)
        rpc->options = *options;
    if (!rpc->options.attempt_ms)
        rpc->options.attempt_ms = peer->control ? DEADLINE_CALL : DEADLINE_ROUTER_CALL;
    peer->client->rpcs = rpc;
    rpc->waiter.fn = on_credentials;
    rpc->started_at = loop_now();
    rpc->packed_len = protobuf_c_message_get_packed_size(request);
    rpc->packed = xmalloc(rpc->packed_len + 1);
    protobuf_c_message_pack(request, rpc->packed);
    modal_uuid(rpc->key);
    rpc->timer = loop_timer_add(peer->client->loop, 0, on_timer, rpc);
    if (rpc->packed_len <= LIMIT_GRPC_MESSAGE) {
        loop_timer_stop(rpc->timer);
        attempt(rpc);
    }
    return rpc;
}

bool modal_rpc_unsent(const struct modal_rpc *rpc)
{
    return rpc->options.unawaited && (!rpc->call || !grpc_call_sent(rpc->call));
}

struct modal_rpc *modal_rpc_next(const struct modal_rpc *rpc)
{
    return rpc->next;
}

/* A call that somebody waits for. */
struct waiting {
    void *reply;
    struct err *err;
    int ret;
    bool done;
};

static void on_done(void *arg, void *reply, const struct err *err)
{
    struct waiting *w = arg;

    w->done = true;
    w->reply = reply;
    if (!err)
        return;
    w->ret = -1;
    err_set(w->err, err->exit_code, "%s", err->msg);
    if (w->err)
        w->err->code = err->code;
}

int modal_rpc_sync(struct modal_peer *peer, const struct modal_method *method, const void *request,
                   const struct modal_rpc_options *options, void *ret_reply, struct err *err)
{
    struct waiting w = {.err = err};

    modal_rpc_start(peer, method, request, options, on_done, &w);
    while (!w.done)
        loop_step(peer->client->loop, -1);
    *(void **)ret_reply = w.reply;
    return w.ret;
}

int modal_call(struct modal_client *c, const struct modal_method *method, const void *request, void *ret_reply,
               struct err *err)
{
    return modal_rpc_sync(&c->control, method, request, NULL, ret_reply, err);
}
