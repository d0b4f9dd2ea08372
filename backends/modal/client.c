#include "backends/modal/client.h"

#include "backends/grpc/url.h"
#include "backends/modal/internal.h"
#include "backends/modal/sandbox.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/base/sha256.h"
#include "compat/sys/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What the servers want to know of a client (protocol 1.4): type 1 is the Python SDK, whose behaviour this room follows
 * at this version; a Python version has to be named with it. Who we really are is in user-agent. Host name and platform
 * are left out: nothing depends on them and they are nobody's business.
 */
#define CLIENT_TYPE    "1"
#define CLIENT_VERSION "1.5.4"
#define PYTHON_VERSION "3.12.4"

static const struct modal_method client_hello = {
    .path = MODAL_CONTROL(ClientHello),
    .reply = &modal__client__client_hello_response__descriptor,
};

static const struct modal_method token_info_get = {
    .path = MODAL_CONTROL(TokenInfoGet),
    .reply = &modal__client__token_info_get_response__descriptor,
};

/* Server, token and environment as 16 hex digits: what is cached for one of them is of no use to another. */
static void set_scope(struct modal_client *c)
{
    cleanup_free char *text = xasprintf("%s\n%s\n%s", c->server_url, c->token_id, c->environment);
    uint8_t digest[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];

    sha256(text, strlen(text), digest);
    sha256_hex(digest, hex);
    snprintf(c->scope, sizeof(c->scope), "%.16s", hex);
}

/* A header can't hold these; a token with one is a paste gone wrong. */
static bool is_header_text(const char *s)
{
    if (!s || !*s)
        return false;
    for (; *s; s++)
        if ((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f)
            return false;
    return true;
}

static int open_channel(struct modal_client *c, struct err *err)
{
    const struct grpc_options options = {.connect_ms = c->connect_ms, .lost_ms = c->lost_ms, .ca_file = c->ca_file};
    struct grpc_url url = {0};

    if (grpc_url_parse(c->server_url, &url, err) < 0)
        return -1;
    c->server_local = grpc_url_is_local(&url);
    grpc_url_clear(&url);
    c->control = (struct modal_peer){.client = c, .control = true};
    c->control.credentials = modal_control_credentials;
    c->control.renew = modal_control_renew;
    c->control.channel = grpc_channel_new(c->loop, c->server_url, &options, err);
    return c->control.channel ? 0 : -1;
}

struct modal_client *modal_client_new(struct loop *loop, const struct modal_client_options *options, struct err *err)
{
    struct modal_client *c;

    if (!is_header_text(options->token_id) || !is_header_text(options->token_secret)) {
        err_set(err, 125, "the Modal token is incomplete or holds characters that no token has");
        return NULL;
    }
    c = xcalloc(1, sizeof(*c));
    c->loop = loop;
    c->server_url = xstrdup(options->server_url);
    c->token_id = xstrdup(options->token_id);
    c->token_secret = xstrdup(options->token_secret);
    c->environment = xstrdup(options->environment ? options->environment : "");
    c->builder_version = xstrdup(options->builder_version ? options->builder_version : "");
    c->ca_file = xstrdup(options->ca_file);
    c->connect_ms = options->connect_ms ? options->connect_ms : DEADLINE_CONNECT;
    c->lost_ms = options->lost_ms ? options->lost_ms : DEADLINE_LOST_PEER;
    c->max_throttle_ms = options->max_throttle_ms;
    c->trace = options->trace;
    c->trace_arg = options->trace_arg;
    c->revive = options->revive;
    c->revive_arg = options->revive_arg;
    c->own_cache = options->cache ? NULL : modal_cache_memory_new();
    c->cache = options->cache ? *options->cache : *c->own_cache;
    set_scope(c);
    strlist_add(&c->metadata, "x-modal-client-type=" CLIENT_TYPE);
    strlist_add(&c->metadata, "x-modal-client-version=" CLIENT_VERSION);
    strlist_add(&c->metadata, "x-modal-python-version=" PYTHON_VERSION);
    strlist_addf(&c->metadata, "x-modal-token-id=%s", c->token_id);
    strlist_addf(&c->metadata, "x-modal-token-secret=%s", c->token_secret);
    if (open_channel(c, err) < 0) {
        modal_client_free(c);
        return NULL;
    }
    return c;
}

void modal_client_free(struct modal_client *c)
{
    if (!c)
        return;
    while (c->rpcs)
        modal_rpc_cancel(c->rpcs);
    grpc_channel_free(c->control.channel);
    modal_auth_clear(c);
    modal_cache_memory_free(c->own_cache);
    for (size_t i = 0; i < c->metadata.len; i++)
        explicit_bzero(c->metadata.items[i], strlen(c->metadata.items[i]));
    strlist_clear(&c->metadata);
    explicit_bzero(c->token_secret, strlen(c->token_secret));
    free(c->server_url);
    free(c->token_id);
    free(c->token_secret);
    free(c->environment);
    free(c->builder_version);
    free(c->ca_file);
    free(c);
}

struct loop *modal_client_loop(const struct modal_client *c)
{
    return c->loop;
}

const char *modal_client_environment(const struct modal_client *c)
{
    return c->environment;
}

int modal_client_hello(struct modal_client *c, struct err *err)
{
    Modal__Client__Empty request = MODAL__CLIENT__EMPTY__INIT;
    cleanup_message Modal__Client__ClientHelloResponse *reply = NULL;

    return modal_call(c, &client_hello, &request, &reply, err);
}

int modal_client_workspace(struct modal_client *c, char **ret_workspace, struct err *err)
{
    Modal__Client__TokenInfoGetRequest request = MODAL__CLIENT__TOKEN_INFO_GET_REQUEST__INIT;
    cleanup_message Modal__Client__TokenInfoGetResponse *reply = NULL;

    if (modal_call(c, &token_info_get, &request, &reply, err) < 0)
        return -1;
    *ret_workspace = xstrdup(reply->workspace_name ? reply->workspace_name : "");
    return 0;
}

static char *key_of(const struct modal_client *c, const char *kind, const char *name)
{
    return xasprintf("%s:%s:%s", kind, c->scope, name);
}

char *modal_cached(struct modal_client *c, const char *kind, const char *name)
{
    cleanup_free char *key = key_of(c, kind, name);

    return c->cache.get(c->cache.arg, key);
}

void modal_remember(struct modal_client *c, const char *kind, const char *name, const char *value, int64_t ttl_s)
{
    cleanup_free char *key = key_of(c, kind, name);

    if (ttl_s > 0)
        c->cache.put(c->cache.arg, key, value, ttl_s);
}

void modal_forget(struct modal_client *c, const char *kind, const char *name)
{
    cleanup_free char *key = key_of(c, kind, name);

    c->cache.drop(c->cache.arg, key);
}

/* Copies text with every occurrence of secret as "***". */
static char *hide(char *text, const char *secret)
{
    size_t len = secret ? strlen(secret) : 0;
    char *at;

    if (len < 4)
        return text;
    while ((at = strstr(text, secret)) != NULL) {
        memmove(at + 3, at + len, strlen(at + len) + 1);
        memcpy(at, "***", 3);
    }
    return text;
}

char *modal_redact(const struct modal_client *c, const char *text, const char *also)
{
    return hide(hide(hide(xstrdup(text), c->token_secret), c->auth.token), also);
}

int modal_client_flush(struct modal_client *c, int64_t timeout_ms, struct err *err)
{
    int64_t end = loop_now() + timeout_ms;

    for (;;) {
        const struct modal_rpc *rpc = c->rpcs;

        while (rpc && !modal_rpc_unsent(rpc))
            rpc = modal_rpc_next(rpc);
        if (!rpc)
            return 0;
        if (loop_now() >= end)
            return err_set(err, 125, "the server did not take the last requests in time");
        loop_step(c->loop, 10);
    }
}
