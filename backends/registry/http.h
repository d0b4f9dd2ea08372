/*
 * HTTP for registries, over libcurl: requests of one handle share its connections and may run in several threads at
 * once. One call is one exchange, redirects included; asking again is the caller's business (client.c).
 *
 * TLS trusts the system's authorities and what Docker keeps for one registry: ca.crt, client.cert and client.key in
 * /etc/docker/certs.d/<host:port>/ or $XDG_CONFIG_HOME/docker/certs.d/<host:port>/.
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

/* What a request brings: from memory, or from a file (read at its own offsets: one descriptor serves several threads),
 * and so as often as an attempt needs it. */
struct http_body {
    const char *bytes; /* NULL: fd */
    int fd;
    int64_t offset, len;
    const char *type;                       /* Content-Type */
    void (*sent)(int64_t total, void *arg); /* progress of this attempt; may be NULL */
    void *sent_arg;
};

struct http_request {
    const char *url;
    const char *method;           /* NULL: GET, or POST when there is a form */
    const struct http_body *body; /* NULL = none; method says which */
    const char *authorization;    /* value of the header, or NULL; does not follow a redirect to another host */
    const char *accept;           /* value of the header, or NULL */
    const char *form;             /* NULL = GET, else POST of this body, urlencoded */
    int64_t range_from;           /* > 0: asks for the bytes from there on */
    int64_t range_start;          /* > 0: where the body belongs ("Content-Range") */
    registry_sink_fn *sink;       /* takes the body of a 200 or 206; NULL = body */
    void *sink_arg;
    long timeout_ms; /* of the whole exchange; 0 = as long as bytes keep coming */
};

struct http_reply {
    long status;
    struct buf body;             /* what no sink took, at most LIMIT_MANIFEST */
    struct strlist challenges;   /* WWW-Authenticate, one for each header */
    char *content_type, *digest; /* Content-Type without parameters, Docker-Content-Digest; NULL = not sent */
    char *location;              /* Location as it was sent: a path or a URL; NULL = not sent */
    char *link;                  /* Link, NULL = not sent */
    int64_t range_end;           /* of "Range: 0-123", what an upload has so far; -1 = not sent */
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

/* Where the URL's host begins; and whether two URLs have the same scheme, host and port. */
const char *http_host(const char *url);
bool http_same_place(const char *a, const char *b);

/* Whether a host ("localhost:5000", "127.0.0.1", "[::1]:80") is this machine. */
bool http_is_local(const char *host);

#endif
