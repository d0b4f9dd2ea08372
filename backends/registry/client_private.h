/*
 * What the pulling (client.c) and the pushing side (push.c) of a registry's handle share: the handle, and the loop of
 * attempts around every request.
 */
#ifndef ATP_REGISTRY_CLIENT_PRIVATE_H
#define ATP_REGISTRY_CLIENT_PRIVATE_H

#include "backends/registry/client.h"
#include "backends/registry/http.h"
#include "compat/base/strlist.h"
#include "translate/reference.h"

#include <pthread.h>
#include <stdbool.h>

#define MAX_ATTEMPTS        5      /* in a row without a new byte; Docker has the same */
#define MANIFEST_TIMEOUT_MS 60000L /* 4 MiB at the slowest useful line */

struct registry {
    struct registry_options options;
    struct reference named; /* as the user wrote it, normalised */
    struct reference from;  /* where it is really pulled from: the same, or a mirror's */
    char *familiar;         /* alpine:3.20 */
    char *familiar_name;    /* alpine */
    char *base;             /* https://host/v2/path */
    bool asks_nothing;      /* a token for nothing in particular: a login */
    struct strlist scopes;  /* what a token is asked for; empty: what the registry's challenge says */
    struct http *http;
    pthread_mutex_t lock; /* guards authorization, user, password */
    char *authorization;  /* NULL until the registry asked for one */
    char *user, *password;
    bool credentials_known;
};

/* The state of one request over its attempts. */
struct attempts {
    struct http_request q;
    long also;    /* a further status that is an answer and no error: 404 where something may be missing */
    int failures; /* in a row */
    bool logged_in;
};

/* Waits, but not beyond a cancellation. */
void registry_pause(const struct registry *r, long ms);

/* One attempt: 1 there is a good answer, 0 try again (after any pause), -1 it is over. */
int registry_attempt(struct registry *r, struct attempts *a, struct http_reply *reply, struct err *err);
/* Attempts until it is over: 0 or -1. */
int registry_request(struct registry *r, struct attempts *a, struct http_reply *reply, struct err *err);

struct registry_document;
/* One manifest by tag or by digest, checked against the digest where one is known. */
int registry_get_manifest(struct registry *r, const char *tag, const char *digest, struct registry_document *ret,
                          struct err *err);

int registry_fail(struct err *err, enum registry_error code); /* sets err->code; -1 */

#endif
