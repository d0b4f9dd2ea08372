/*
 * The engine as one value: what main() makes of the command line, and what every part can reach. One thread, one libuv
 * loop; work that blocks runs on libuv's thread pool inside images.h and runtime.h.
 */
#ifndef ATP_ENGINE_ENGINE_H
#define ATP_ENGINE_ENGINE_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct keys;
struct blobs;
struct conn;
struct err;
struct exec;
struct fault;
struct h2;
struct idem;
struct images;
struct machinery;
struct rt;
struct runner;
struct sandboxes;
struct secrets;
struct store;
struct timer;
struct tls;
struct volumes;
struct waiter;

struct engine_config {
    char *state_dir;   /* absolute */
    char *socket_path; /* absolute, NULL = none */
    char *listen;      /* HOST:PORT, NULL = none */
    char *env_file;    /* absolute, NULL = none */
    char *runtime;     /* NULL = the default */
    char *log_file;
    char *record_file; /* absolute, NULL = none: ask_record.h */
    char *fault; /* SPEC or @FILE; NULL = no faults ever */
    struct strlist mirrors;
    unsigned idle_exit; /* seconds, 0 = never */
    unsigned token_ttl; /* seconds */
    bool network, detach;
    bool plain; /* nothing beyond Modal's protocol: neither calls nor fields of our own */
};

struct engine {
    uv_loop_t *loop;
    const struct engine_config *config;
    struct keys *keys;
    struct blobs *blobs;
    struct fault *fault;
    struct idem *idem;
    struct images *images;
    struct rt *rt;
    struct runner *runner;
    struct sandboxes *sandboxes;
    struct secrets *secrets;
    struct store *store;
    struct tls *tls;
    struct volumes *volumes;
    struct waiter *image_waiters; /* woken when any build moves on */

    /* private to exec.c: ended execs whose output is kept, the oldest first */
    struct exec *ended_first, *ended_last;
    size_t ended_len;

    /* private to conn.c, h2.c and engine.c */
    struct conn *conns;
    size_t conns_len;
    struct h2 *dirty;
    struct timer *idle;
    struct machinery *machinery;
    bool stopping;

    int lock; /* of the state folder; the engine ends when that is no longer there. -1 = nobody looks */
};

/* Opens the state, the runtime and the listeners; the engine is reachable when it returns. */
struct engine *engine_new(uv_loop_t *loop, const struct engine_config *config, struct err *err);
/* Serves until SIGTERM, SIGINT or the idle time. */
void engine_run(struct engine *e);
/* Ends every sandbox, closes everything; blocking. */
void engine_free(struct engine *e);

/* Somebody came or went: the idle time starts anew. */
void engine_activity(struct engine *e);
void engine_stop(struct engine *e);
/* Replaces the faults. Refused without --fault. */
int engine_set_fault(struct engine *e, const char *spec, struct err *err);

#endif
