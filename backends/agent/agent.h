/*
 * atp-agent: the static helper inside every container. `init` is the container's first process: it starts, holds,
 * signals and reaps all others. `session` serves one client on its stdin and stdout (translate/wire/wire.h): it does
 * the sync work itself and passes the rest to init over a socket that only root can reach. A session that dies kills
 * nothing.
 */
#ifndef ATP_AGENT_AGENT_H
#define ATP_AGENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define AGENT_RUN_DIR     "/.atp/run"
#define AGENT_HIDDEN_DIR  "/.atp"
#define AGENT_VOLUMES_DIR "/.atp/volumes"
#define AGENT_HUB_PORT    10611        /* of a pod's main container, which runs nothing else */
#define AGENT_TUNNELS_MAX 64           /* ports that a hub passes on */
#define AGENT_DNS         "127.0.0.11" /* Docker's own */

/* All times in milliseconds; the options are there for tests and for modal.orphan_grace. */
struct agent_options {
    const char *run_dir;     /* --run-dir: holds the socket and the ancestors of mounts; mode 0700 */
    const char *volumes_dir; /* --volumes-dir: where the folders of named volumes are (volume.h) */
    int64_t orphan_grace;    /* --orphan-grace: nothing runs and nobody speaks for this long: init ends */
    int64_t stop_grace;      /* --stop-grace: between TERM and KILL when init is told to end */
    int64_t linger;          /* --linger: how long a background child may hold the streams of an ended command */
    int64_t speak_every;     /* --speak-every: heartbeat of a session */
    int64_t orphaned_after;  /* --orphaned-after: silence of the client that ends a session */
    int64_t init_wait;       /* --init-wait: how long a session waits for init to answer */
    bool hub;                /* --hub: init is the hub of a pod's names */
    const char *hub_token;   /* --hub-token: for whom */
    int64_t hub_port;        /* --hub-port */
    uint16_t tunnels[AGENT_TUNNELS_MAX]; /* --tunnel, which may be repeated: tunnel.h */
    size_t n_tunnels;
    bool own_env; /* --own-env: processes get init's own environment too, where START says nothing else: that is where
                     the platform puts the variables of secrets */
    /* for tests: */
    const char *etc;         /* --etc: where hosts and resolv.conf are */
    const char *dns_address; /* --dns-address */
    int64_t dns_port;        /* --dns-port */
};

extern const struct agent_options agent_defaults;

/* Each returns the program's exit code. err is set if there is something to print. */
int agent_init(const struct agent_options *options, struct err *err);
int agent_session(const struct agent_options *options, struct err *err);

#endif
