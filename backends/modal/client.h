/*
 * A client of one Modal server (the real one, or atp-engine) with one pair of credentials. It speaks as a client of
 * type 1, "behaves like the Python SDK" (protocol 1.4): token id and secret on every call, the auth token only on V2
 * calls. Most functions of this room are synchronous: they turn the loop until the answer is there, so they must not be
 * called from within one of its callbacks. What has to overlap (an exec's streams, waiting, ending) has handlers
 * instead.
 *
 * Errors: err->code is the grpc_status (backends/grpc/frame.h), err->exit_code 125. Neither token nor JWT is ever part
 * of a message, also when a server's own text repeats one.
 *
 * Cached (through options.cache, per server and token): the auth token, the app's id, the environment's builder
 * version, mount and image ids, and router access per sandbox. A NOT_FOUND that may come from a stale entry drops it.
 */
#ifndef ATP_MODAL_CLIENT_H
#define ATP_MODAL_CLIENT_H

#include "backends/modal/cache.h"

#include <stdbool.h>
#include <stdint.h>

struct err;
struct loop;
struct modal_client;

struct modal_client_options {
    const char *server_url; /* "https://api.modal.com", "http://127.0.0.1:1234", "unix:///run/user/..." */
    const char *token_id;
    const char *token_secret;
    const char *environment;         /* "" or NULL: the workspace's default */
    const char *builder_version;     /* image builder; "" or NULL: the environment's setting */
    const struct modal_cache *cache; /* borrowed; NULL: one of its own, in memory */
    int64_t connect_ms;              /* 0: DEADLINE_CONNECT */
    int64_t lost_ms;                 /* 0: DEADLINE_LOST_PEER */
    int64_t max_throttle_ms;         /* how long server-directed retries are followed; 0: for ever; -1: never */
    const char *ca_file;             /* NULL: the system's trust store */
    /* One line per call that ended: method, status, milliseconds, attempt. Never a credential. May be NULL. */
    void (*trace)(void *arg, const char *line);
    void *trace_arg;
    /* The server could not be reached: may start it again, before the next attempt. It may take a while. May be NULL. */
    void (*revive)(void *arg);
    void *revive_arg;
};

/* Nothing is sent yet. Everything in options is copied but the cache. Owned by caller; the loop must outlive it. */
struct modal_client *modal_client_new(struct loop *loop, const struct modal_client_options *options, struct err *err);
void modal_client_free(struct modal_client *c); /* NULL is fine; tasks and execs of it must be gone */

struct loop *modal_client_loop(const struct modal_client *c);
const char *modal_client_environment(const struct modal_client *c); /* "" for the default; borrowed */

/* Proves that the server is there and takes the credentials (ClientHello; one round trip). */
int modal_client_hello(struct modal_client *c, struct err *err);

/* Who the token belongs to (TokenInfoGet); ret_workspace is owned by caller, "" if the server does not say. */
int modal_client_workspace(struct modal_client *c, char **ret_workspace, struct err *err);

/* Makes sure that a valid auth token is at hand, so that the next V2 call is one round trip. */
int modal_client_auth(struct modal_client *c, struct err *err);

/* The app's id, made if it is missing; cached for a day. Owned by caller. */
int modal_app_id(struct modal_client *c, const char *name, char **ret_app_id, struct err *err);
void modal_app_forget(struct modal_client *c, const char *name); /* after a NOT_FOUND that names the app */

/* The image builder version of the environment; cached for a day. Owned by caller. */
int modal_builder_version(struct modal_client *c, char **ret_version, struct err *err);

#endif
