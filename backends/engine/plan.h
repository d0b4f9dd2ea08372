/*
 * From a Sandbox definition to what the runtime is asked for. Everything in a definition is either carried out here or
 * refused with a clear text; nothing is ignored. No side effects, but for the copies that volumes are mounted as.
 */
#ifndef ATP_ENGINE_PLAN_H
#define ATP_ENGINE_PLAN_H

#include "backends/engine/runtime.h"
#include "backends/proto/api.pb-c.h"
#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct err;
struct vol_views;

struct plan_port { /* one that is reached from outside */
    uint16_t number;
    bool unencrypted, h2;
};

struct plan {
    char *image_id, *workdir, *name; /* name NULL = none */
    struct strlist args, env, lowers, cidrs;
    struct strlist mount_sources, mount_targets; /* pairs */
    struct vol_views *views;                     /* of volumes; NULL = none */
    uint64_t memory_bytes, milli_cpu;            /* hard limits */
    uint32_t memory_mb_asked, milli_cpu_asked;   /* as asked for, for listings */
    uint32_t timeout_secs, idle_timeout_secs;    /* idle 0 = never */
    enum rt_network network;
    struct strlist probe_argv; /* of a readiness probe that is a command */
    uint16_t probe_port;       /* of one that is a port, 0 = none */
    uint32_t probe_ms;         /* between two tries, 0 = there is no probe */
    struct plan_port *ports;
    size_t ports_len;
    bool pty;
    uint16_t pty_rows, pty_cols;
};

/* v2: the request around the definition, with more variables; NULL for V1. err->code is a gRPC status. */
int plan_make(struct engine *e, const Modal__Client__Sandbox *def, const Modal__Client__SandboxCreateV2Request *v2,
              struct plan *ret, struct err *err);
void plan_clear(struct plan *p);
void plan_forget_words(struct plan *p); /* what only a container that runs needs: it has ended */

/* What an outbound policy means; NULL = open. */
int plan_network(const Modal__Client__NetworkAccess *access, enum rt_network *ret, struct strlist *ret_cidrs,
                 struct err *err);
/* Checks a list of CIDRs; the wording "Invalid CIDR: ..." is part of the protocol (5.2). */
int plan_check_cidrs(char *const *cidrs, size_t len, struct err *err);
/* Sets the variables that a PTY brings (TERM and so on). */
void plan_pty_env(const Modal__Client__PTYInfo *pty, struct strlist *env);

#endif
