#include "backends/grpc/grpc.h"

#include "backends/grpc/internal.h"
#include "backends/grpc/tls.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/loop.h"

#include <stdlib.h>
#include <string.h>

struct grpc_channel *grpc_channel_new(struct loop *loop, const char *url, const struct grpc_options *options,
                                      struct err *err)
{
    static const struct grpc_options none = {0};
    const struct grpc_options *o = options ? options : &none;
    struct grpc_channel *ch = xcalloc(1, sizeof(*ch));

    *ch = (struct grpc_channel){.loop = loop, .tls_unverified = o->tls_unverified};
    if (grpc_url_parse(url, &ch->url, err) < 0 ||
        (!o->no_proxy && grpc_proxy_find(&ch->url, getenv, &ch->proxy, err) < 0)) {
        grpc_channel_free(ch);
        return NULL;
    }
    ch->url_text = xstrdup(url);
    ch->user_agent = xstrdup(o->user_agent ? o->user_agent : "atp-docker/" ATP_VERSION);
    ch->ca_file = xstrdup(o->ca_file);
    ch->connect_ms = o->connect_ms ? o->connect_ms : DEADLINE_CONNECT;
    ch->lost_ms = o->lost_ms ? o->lost_ms : DEADLINE_LOST_PEER;
    ch->quiet_ms = ch->lost_ms / 3;
    return ch;
}

void grpc_channel_free(struct grpc_channel *ch)
{
    if (!ch)
        return;
    while (ch->calls)
        grpc_call_cancel(ch->calls);
    while (ch->conns)
        conn_free(ch->conns);
    tls_context_free(ch->tls);
    grpc_url_clear(&ch->url);
    grpc_proxy_clear(&ch->proxy);
    free(ch->url_text);
    free(ch->user_agent);
    free(ch->ca_file);
    free(ch);
}

void grpc_channel_connect(struct grpc_channel *ch)
{
    conn_for_call(ch);
}

const char *grpc_channel_url(const struct grpc_channel *ch)
{
    return ch->url_text;
}

struct grpc_stats grpc_channel_stats(const struct grpc_channel *ch)
{
    return ch->stats;
}

void grpc_reply_clear(struct grpc_reply *reply)
{
    free(reply->data);
    free(reply->message);
    free(reply->details);
    *reply = (struct grpc_reply)GRPC_REPLY_INIT;
}

/* A call that somebody waits for. */
struct waiting {
    struct grpc_reply *reply;
    size_t messages;
    bool done;
};

static void on_message(struct grpc_call *call, const void *data, size_t len, void *arg)
{
    struct waiting *w = arg;

    (void)call;
    if (w->messages++)
        return;
    w->reply->data = xmemdup(data, len);
    w->reply->len = len;
}

static void on_end(struct grpc_call *call, const struct grpc_result *result, void *arg)
{
    struct waiting *w = arg;

    (void)call;
    w->reply->status = result->status;
    w->reply->message = xstrdup(result->message);
    w->reply->details = result->details ? xmemdup(result->details, result->details_len) : NULL;
    w->reply->details_len = result->details_len;
    w->reply->from_server = result->from_server;
    w->reply->unprocessed = result->unprocessed;
    w->done = true;
}

int grpc_call_sync(struct grpc_channel *ch, const char *path, const struct strlist *metadata, int64_t deadline_ms,
                   const void *data, size_t len, struct grpc_reply *reply, struct err *err)
{
    static const struct grpc_handlers handlers = {.on_message = on_message, .on_end = on_end};
    struct waiting w = {.reply = reply};
    struct grpc_call *call;

    *reply = (struct grpc_reply)GRPC_REPLY_INIT;
    call = grpc_call_start(ch, path, metadata, deadline_ms, &handlers, &w);
    if (grpc_call_send(call, data, len) < 0) {
        grpc_call_cancel(call);
        reply->status = GRPC_RESOURCE_EXHAUSTED;
        reply->message = xasprintf("a request of %zu bytes is larger than the limit of %u", len, LIMIT_GRPC_MESSAGE);
        w.done = true;
    } else {
        grpc_call_finish(call);
    }
    while (!w.done)
        loop_step(ch->loop, -1);
    if (reply->status == GRPC_OK && w.messages != 1) {
        free(reply->message);
        reply->status = GRPC_INTERNAL;
        reply->message = xasprintf("the server answered with %zu messages instead of one", w.messages);
    }
    if (reply->status == GRPC_OK)
        return 0;
    err_set(err, 125, "%s", reply->message);
    if (err)
        err->code = reply->status;
    return -1;
}
