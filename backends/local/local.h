/*
 * The embedded engine as seen by a client: found on its private socket, or started on demand. Starters that come at the
 * same time start one engine between them (a lock file beside the socket).
 *
 * The engine listens on <runtime dir>/engine.sock and writes <runtime dir>/engine.env (0600), shell assignments of
 * MODAL_SERVER_URL, MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, and of ATP_ENGINE_NO_NETWORK and ATP_ENGINE_NO_LIMITS where
 * it cannot give these; it ends by itself when idle and empty.
 */
#ifndef ATP_LOCAL_LOCAL_H
#define ATP_LOCAL_LOCAL_H

#include <stdbool.h>

struct err;
struct strlist;

struct local_config {
    const char *program; /* path of atp-engine; NULL: beside our own program, then ../libexec/atp-docker, then PATH */
    const char *runtime_dir;       /* sockets; made 0700 */
    const char *state_dir;         /* images and containers of the engine */
    const struct strlist *mirrors; /* "docker.io=localhost:5000"; given to an engine that is started here */
    int idle_exit_secs;
};

struct local_engine {
    char *server_url, *token_id, *token_secret; /* owned */
    char *no_network, *no_limits;               /* owned; why its containers have none, NULL: they have */
};
void local_engine_clear(struct local_engine *e);

/* Whether one answers on the socket right now, and what it says of itself. */
bool local_engine_runs(const struct local_config *config, struct local_engine *ret);

/* Finds or starts it. 125 with the engine's own first line when it does not start. */
int local_engine_get(const struct local_config *config, struct local_engine *ret, struct err *err);

#endif
