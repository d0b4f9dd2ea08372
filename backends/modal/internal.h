/* Private to this room: the client's inside, what stands for a server in an RPC, and small helpers of all services. */
#ifndef ATP_MODAL_INTERNAL_H
#define ATP_MODAL_INTERNAL_H

#include "backends/grpc/grpc.h"
#include "backends/modal/client.h"
#include "backends/modal/rpc.h"
#include "backends/proto/api.pb-c.h"
#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop_timer;

/* Somebody who waits until credentials are at hand. fn gets NULL when they are, or why there are none. */
struct modal_waiter {
    struct modal_waiter *next;
    void (*fn)(struct modal_waiter *waiter, const struct err *err);
    bool queued;
};

void modal_waiters_add(struct modal_waiter **list, struct modal_waiter *waiter);
void modal_waiters_remove(struct modal_waiter **list, struct modal_waiter *waiter);
void modal_waiters_wake(struct modal_waiter **list, const struct err *err); /* each once; they may wait again */

/*
 * A server as an RPC sees it: the control plane or a task's router. `generation` counts its credentials, so that a call
 * refused with old ones is simply repeated with the new.
 */
struct modal_peer {
    struct modal_client *client;
    struct grpc_channel *channel;
    bool control; /* idempotency headers and server-directed delays (protocol 1.7); else the router's rules (6.4) */
    unsigned generation;
    char *const *secret; /* besides the client's own: not to be repeated in a message; NULL: none */
    /* Adds credentials to metadata; false: waiter was queued and will be told. */
    bool (*credentials)(struct modal_peer *peer, bool auth, struct strlist *metadata, struct modal_waiter *waiter);
    /* Credentials of that generation were refused: true if waiter was queued for new ones. */
    bool (*renew)(struct modal_peer *peer, bool auth, unsigned generation, struct modal_waiter *waiter);
    /* The address does not answer: true if waiter was queued for another one. May be NULL. */
    bool (*move)(struct modal_peer *peer, struct modal_waiter *waiter);
    struct modal_waiter *waiters;
};

struct modal_auth {
    char *token;                    /* NULL: none yet */
    int64_t expires_at, refresh_at; /* Unix seconds */
    struct modal_rpc *fetch;        /* AuthTokenGet under way */
    int64_t retry_at, backoff_ms;   /* after a failed refresh beside a token that still serves */
    bool loaded;                    /* the cache has been asked */
};

struct modal_client {
    struct loop *loop;
    char *server_url, *token_id, *token_secret, *environment, *builder_version, *ca_file;
    bool server_local;
    int64_t connect_ms, lost_ms, max_throttle_ms;
    struct modal_cache cache;
    struct modal_cache *own_cache;
    void (*trace)(void *arg, const char *line);
    void *trace_arg;
    void (*revive)(void *arg);
    void *revive_arg;
    struct modal_peer control;
    struct strlist metadata; /* the same on every control-plane call */
    struct modal_auth auth;
    struct modal_rpc *rpcs; /* all that are under way */
    bool engine;            /* the server has the embedded engine's own calls */
    bool not_engine;        /* it answered UNIMPLEMENTED to one */
    char scope[17];         /* server, token and environment in the keys of the cache */
};

/* client.c: keys are made of kind, the client's scope and a name. */
char *modal_cached(struct modal_client *c, const char *kind, const char *name);
void modal_remember(struct modal_client *c, const char *kind, const char *name, const char *value, int64_t ttl_s);
void modal_forget(struct modal_client *c, const char *kind, const char *name);

/* Hides the client's secrets in a text that came from outside; owned by caller. */
char *modal_redact(const struct modal_client *c, const char *text, const char *also);

/* auth.c */
bool modal_control_credentials(struct modal_peer *peer, bool auth, struct strlist *metadata,
                               struct modal_waiter *waiter);
bool modal_control_renew(struct modal_peer *peer, bool auth, unsigned generation, struct modal_waiter *waiter);
void modal_auth_clear(struct modal_client *c);

/* When does a JWT end? Unix seconds; 0 if it can't be read or does not say. Nothing is verified. */
int64_t modal_jwt_expiry(const char *jwt);

#define MODAL_UUID_LEN 36
void modal_uuid(char out[MODAL_UUID_LEN + 1]);

/* "K=V" lists as the protocol's maps and tags. The entries borrow from the list, which must outlive them. */
struct modal_entries {
    Modal__Client__StringEntry *entries;
    Modal__Client__StringEntry **pointers;
    char **keys; /* owned */
    size_t len;
};
void modal_entries_make(struct modal_entries *e, const struct strlist *list);
void modal_entries_clear(struct modal_entries *e);

/* secret.c: an anonymous secret of the app, for V1 sandboxes. Owned by caller. */
int modal_secret_of(struct modal_client *c, const char *app_id, const struct strlist *env, char **ret_secret_id,
                    struct err *err);

/* task.c: what a create answered, kept for modal_task_open(). Either may be NULL. */
void modal_access_remember(struct modal_client *c, const char *sandbox_id, const char *task_id, const char *url,
                           const char *jwt);
void modal_access_forget(struct modal_client *c, const char *sandbox_id);

#endif
