/*
 * HTTP for registries, over libcurl: requests of one handle share its connections and may run in several threads at
 * once. One call is one exchange, redirects included; asking again is the caller's business (client.c).
 */
#ifndef ATP_REGISTRY_HTTP_H
#define ATP_REGISTRY_HTTP_H

#include "backends/registry/client.h"
#include "compat/base/buf.h"
#include "compat/base/strlist.h"

#include <stdbool.h>

struct http;

struct http *http_new(const atomic_bool *cancelled); /* borrowed, may be NULL */
void http_free(struct http *h);

struct http_request {
    const char *url;
    const char *authorization; /* value of the header, or NULL; does not follow a redirect to another host */
    const char *accept;        /* value of the header, or NULL */
    const char *form;          /* NULL = GET, else POST of this body, urlencoded */
    int64_t range_from;        /* > 0: asks for the bytes from there on */
    registry_sink_fn *sink;    /* takes the body of a 200 or 206; NULL = body */
    void *sink_arg;
    long timeout_ms; /* of the whole exchange; 0 = as long as bytes keep coming */
};

struct http_reply {
    long status;
    struct buf body;             /* what no sink took, at most LIMIT_MANIFEST */
    struct strlist challenges;   /* WWW-Authenticate, one for each header */
    char *content_type, *digest; /* Content-Type without parameters, Docker-Content-Digest; NULL = not sent */
    int retry_after;             /* seconds, -1 = not sent */
};

void http_reply_init(struct http_reply *reply);
void http_reply_clear(struct http_reply *reply);

/*
 * 0: there is an answer, whatever its status. -1: none, or it broke off, or the sink failed; err->code is
 * REGISTRY_UNREACHABLE (with *ret_again when a second try may help), REGISTRY_CANCELLED or the sink's.
 */
int http_do(struct http *h, const struct http_request *request, struct http_reply *reply, bool *ret_again,
            struct err *err);

/* Whether a host ("localhost:5000", "127.0.0.1", "[::1]:80") is this machine. */
bool http_is_local(const char *host);

#endif
