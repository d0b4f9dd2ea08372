/*
 * The auth token (protocol 1.5): fetched before the first call that carries it, renewed in the background when half of
 * its life is over, dropped when a server refuses it.
 */
#include "backends/modal/internal.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ATTEMPT_MS     5000
#define BUDGET_MS      15000
#define DEFAULT_LIFE_S 1200 /* of a token that does not say */
#define BACKOFF_MS     500
#define BACKOFF_MAX_MS 60000
#define MARGIN_S       5 /* a token this near to its end is taken as ended: the call still has to travel */
#define KIND           "auth"

static const struct modal_method auth_token_get = {
    .path = MODAL_CONTROL(AuthTokenGet),
    .reply = &modal__client__auth_token_get_response__descriptor,
};

/* Between 50 and 60 % of what is left, so that many clients do not come at once. */
static int64_t refresh_time(int64_t now, int64_t expires_at)
{
    unsigned char spread = 0;

    if (getentropy(&spread, 1) != 0)
        spread = 128; /* the middle will do */
    return now + (expires_at - now) * (500 + spread * 100 / 256) / 1000;
}

static void set_token(struct modal_client *c, const char *token, int64_t expires_at, int64_t refresh_at)
{
    free(c->auth.token);
    c->auth.token = xstrdup(token);
    c->auth.expires_at = expires_at;
    c->auth.refresh_at = refresh_at;
    c->auth.backoff_ms = 0;
    c->control.generation++;
}

/* The cache holds "<expires> <refresh> <token>". */
static void load(struct modal_client *c)
{
    cleanup_free char *value = NULL;
    long long expires, refresh;
    int at = 0;

    if (c->auth.loaded)
        return;
    c->auth.loaded = true;
    value = modal_cached(c, KIND, "");
    if (value && sscanf(value, "%lld %lld %n", &expires, &refresh, &at) == 2 && at && value[at])
        set_token(c, value + at, expires, refresh);
}

static void keep(struct modal_client *c, const char *token)
{
    cleanup_free char *value = NULL;
    int64_t now = time(NULL), expires = modal_jwt_expiry(token), refresh;

    /* One that is over as it comes: the clocks disagree. The server goes by its own, and says when it is over there. */
    if (expires <= now + MARGIN_S)
        expires = now + DEFAULT_LIFE_S;
    refresh = refresh_time(now, expires);
    set_token(c, token, expires, refresh);
    value = xasprintf("%lld %lld %s", (long long)expires, (long long)refresh, token);
    modal_remember(c, KIND, "", value, expires - now);
}

/* Does the token still serve? */
static bool usable(const struct modal_client *c)
{
    return c->auth.token && time(NULL) < c->auth.expires_at - MARGIN_S;
}

static void on_token(void *arg, void *reply, const struct err *err)
{
    struct modal_client *c = arg;
    cleanup_message Modal__Client__AuthTokenGetResponse *r = reply;
    cleanup_err struct err why = ERR_INIT;

    c->auth.fetch = NULL;
    if (r && r->token && *r->token) {
        keep(c, r->token);
        modal_waiters_wake(&c->control.waiters, NULL);
        return;
    }
    c->auth.backoff_ms = c->auth.backoff_ms ? c->auth.backoff_ms * 2 : BACKOFF_MS;
    if (c->auth.backoff_ms > BACKOFF_MAX_MS)
        c->auth.backoff_ms = BACKOFF_MAX_MS;
    c->auth.retry_at = loop_now() + c->auth.backoff_ms;
    err_set(&why, 125, "%s", err ? err->msg : "the server gave no auth token");
    why.code = err ? err->code : GRPC_INTERNAL;
    if (why.code == GRPC_UNAUTHENTICATED || why.code == GRPC_PERMISSION_DENIED)
        err_wrap(&why, "the server refused the token");
    modal_waiters_wake(&c->control.waiters, &why);
}

static void fetch(struct modal_client *c)
{
    const struct modal_rpc_options options = {.attempt_ms = ATTEMPT_MS, .budget_ms = BUDGET_MS};
    Modal__Client__AuthTokenGetRequest request = MODAL__CLIENT__AUTH_TOKEN_GET_REQUEST__INIT;

    if (!c->auth.fetch)
        c->auth.fetch = modal_rpc_start(&c->control, &auth_token_get, &request, &options, on_token, c);
}

bool modal_control_credentials(struct modal_peer *peer, bool auth, struct strlist *metadata,
                               struct modal_waiter *waiter)
{
    struct modal_client *c = peer->client;

    if (auth) {
        load(c);
        if (!usable(c)) {
            modal_waiters_add(&peer->waiters, waiter);
            fetch(c);
            return false;
        }
        if (time(NULL) >= c->auth.refresh_at && loop_now() >= c->auth.retry_at)
            fetch(c);
        strlist_addf(metadata, "x-modal-auth-token=%s", c->auth.token);
    }
    strlist_copy(metadata, &c->metadata);
    return true;
}

bool modal_control_renew(struct modal_peer *peer, bool auth, unsigned generation, struct modal_waiter *waiter)
{
    struct modal_client *c = peer->client;

    if (!auth)
        return false;
    if (generation == peer->generation) {
        free(c->auth.token);
        c->auth.token = NULL;
        modal_forget(c, KIND, "");
    }
    modal_waiters_add(&peer->waiters, waiter);
    if (usable(c))
        modal_waiters_wake(&peer->waiters, NULL);
    else
        fetch(c);
    return true;
}

void modal_auth_clear(struct modal_client *c)
{
    free(c->auth.token);
    c->auth = (struct modal_auth){0};
}

/* Somebody who turns the loop until there is a token. */
struct wanting {
    struct modal_waiter waiter; /* first */
    struct err *err;
    int ret;
    bool done;
};

static void on_ready(struct modal_waiter *waiter, const struct err *err)
{
    struct wanting *w = (struct wanting *)waiter;

    w->done = true;
    if (!err)
        return;
    w->ret = err_set(w->err, err->exit_code, "%s", err->msg);
    if (w->err)
        w->err->code = err->code;
}

int modal_client_auth(struct modal_client *c, struct err *err)
{
    struct wanting w = {.waiter.fn = on_ready, .err = err};

    load(c);
    if (usable(c))
        return 0;
    modal_waiters_add(&c->control.waiters, &w.waiter);
    fetch(c);
    while (!w.done)
        loop_step(c->loop, -1);
    return w.ret;
}
