/* Private to mounts*.c: one mount of one session, pushed in mounts.c and pulled in mounts_pull.c. */
#ifndef ATP_AGENT_MOUNTS_IMPL_H
#define ATP_AGENT_MOUNTS_IMPL_H

#include "backends/agent/mounts.h"

#include "backends/agent/link.h"
#include "backends/agent/mounts_store.h"
#include "backends/agent/target.h"
#include "backends/sync/sync.h"
#include "compat/base/err.h"

struct work;

enum phase {
    PHASE_NONE,      /* not announced */
    PHASE_RECEIVING, /* MOUNT came, DELTA comes */
    PHASE_STALE,     /* DELTA is for a state that we do not have: dropped until the next MOUNT */
    PHASE_PUSHED,
};

/* What a MOUNT turned out to mean. */
enum begin { BEGIN_STALE, BEGIN_SAME, BEGIN_RECEIVE };

struct mount {
    struct mounts *all;
    enum phase phase;
    struct wire_mount words; /* what MOUNT said */
    struct target target;
    struct store store;
    struct work *work; /* one piece at a time; what it uses is its own until it is done */
    struct err work_err;
    /* the push */
    enum begin begin;
    bool has_state;    /* STALE: there is a state, though another one */
    struct mark known; /* the state whose manifest `agreed` is; generation 0: none */
    struct manifest agreed;
    struct sync_receiver *receiver;
    struct sync_report report;
    bool moved_on; /* somebody else stored a state while this push was under way */
    /* the pull */
    bool due;                    /* its changes are to be sent, now or when the mounts before it are through */
    bool pulled;                 /* they were to be sent once: PULL is acceptable */
    bool asked;                  /* by PULL, for changes from `theirs` */
    bool full;                   /* everything is sent */
    struct mark theirs, offered; /* offered: what the client has once it says PULLED */
    struct manifest now, next;
    struct sync_scan_stats stats;
    struct sync_sender *sender;
};

struct mounts {
    struct loop *loop;
    struct link *link;
    const struct mounts_events *events;
    void *arg;
    int dirfd; /* <run dir>/mounts */
    char *run_dir;
    struct mount items[WIRE_MOUNTS_MAX];
    unsigned busy;         /* reasons to be given no frames */
    struct mount *pulling; /* whose changes are being sent */
    bool told;             /* that all mounts are pulled */
};

struct sync_tree mount_tree(const struct mount *mt);
/* No frames are wanted until the work that begins now is done. */
void mounts_busy(struct mounts *m);
/* May hand out frames at once: the last thing that a caller does. */
void mounts_unbusy(struct mounts *m);

/* PULL and PULLED. */
int pull_take_pull(struct mounts *m, const struct wire_frame *f, struct err *err);
int pull_take_pulled(struct mounts *m, const struct wire_frame *f, struct err *err);

#endif
