/* Where a channel leads, and through which proxy. Pure. */
#ifndef ATP_GRPC_URL_H
#define ATP_GRPC_URL_H

#include <stdbool.h>
#include <stdint.h>

struct err;

enum grpc_scheme { GRPC_SCHEME_UNIX, GRPC_SCHEME_HTTP, GRPC_SCHEME_HTTPS };

struct grpc_url {
    enum grpc_scheme scheme;
    char *host; /* without brackets; the path for a Unix socket */
    uint16_t port;
    char *authority; /* what goes into :authority */
};

/* Refuses anything after host and port but one "/". ret_url is cleared by grpc_url_clear(). */
int grpc_url_parse(const char *text, struct grpc_url *ret_url, struct err *err);
void grpc_url_clear(struct grpc_url *url);

/* "localhost" as the SDKs understand it (protocol 1.3). A Unix socket is local too. */
bool grpc_url_is_local(const struct grpc_url *url);

struct grpc_proxy {
    char *host; /* NULL: none */
    uint16_t port;
    char *authorization; /* "Basic ...", NULL without a user; a secret */
};

/* Does a NO_PROXY list exempt this host? Entries: "*", a name (and all below it, leading dot or not), name:port. */
bool grpc_no_proxy(const char *list, const char *host, uint16_t port);

/*
 * The proxy that the environment names for this URL. lookup is getenv() but in tests. -1: one is named that we can't
 * speak to.
 */
int grpc_proxy_find(const struct grpc_url *url, char *(*lookup)(const char *name), struct grpc_proxy *ret_proxy,
                    struct err *err);
void grpc_proxy_clear(struct grpc_proxy *proxy);

#endif
