/*
 * What one invocation of atp-docker knows, each part made when it is first asked for: a command that needs no network
 * opens none, one that needs no state reads none.
 */
#ifndef ATP_SHIM_APP_H
#define ATP_SHIM_APP_H

#include "backends/modal/cache.h"
#include "translate/config.h"
#include "translate/credentials.h"
#include "translate/input.h"
#include "translate/plan.h"

#include <stdbool.h>

struct blobs;
struct err;
struct loop;
struct modal_client;
struct opt_parsed;
struct sandbox_ending;
struct state;

struct app {
    int argc; /* as the system gave them: what a hand-over passes on */
    char **argv;
    char *program;   /* "docker" or "docker-compose", by our own name */
    char *real_host; /* a daemon that -H, --context or DOCKER_HOST name; NULL = none */
    const char *real_host_from;
    bool trace_route; /* ATP_DOCKER_TRACE=route */
    bool dry_run;     /* docker compose --dry-run: nothing is to be changed, only told */
    struct opt_parsed
        *group; /* options between a group's name and its command: compose's own; NULL: there is no group */

    struct loop *loop;

    /* made on demand by the functions below; NULL until then */
    struct config *config;
    struct credentials *credentials;
    struct route *route;
    struct state *state;
    struct modal_client *modal;
    struct blobs *blobs;
    int64_t engine_found_at;        /* loop_now() when the embedded engine took our connection */
    struct modal_cache cache;       /* the client's, kept in the state */
    struct sandbox_ending *endings; /* shim/sandbox.c */
    char *server_key;               /* names server and workspace in the state: never the secret */
    struct input input;             /* valid after app_input() */
    struct strlist profile;
    char *cwd;
    unsigned char random[INPUT_RANDOM_LEN];
};

void app_init(struct app *app, int argc, char **argv);
void app_clear(struct app *app);

int app_config(struct app *app, struct err *err);
int app_route(struct app *app, struct err *err);
int app_state(struct app *app, struct err *err);
/* The layers that this machine keeps (backends/blobs), open until app_clear(); NULL and err. Borrowed. */
struct blobs *app_blobs(struct app *app, struct err *err);
/* The connected back end: credentials and address only, no call is made. Starts the embedded engine when that is the
 * route. */
int app_modal(struct app *app, struct err *err);
int app_input(struct app *app, struct err *err);
void app_disconnect(struct app *app); /* ends the connection to the back end; app_clear() does it too */

/* "ATP_DOCKER_TRACE=route": one line on stderr, else nothing. */
void app_trace(const struct app *app, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Modal's cap on a scope is the machine and the user: ATP_DOCKER_SCOPE, else the state's. Borrowed. */
const char *app_scope(struct app *app);

/* The real docker carries the whole command out: does not return but on failure. */
int app_hand_over(struct app *app, struct err *err);

#endif
