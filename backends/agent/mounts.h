/*
 * The agent's half of sync: applies the host's changes before the command and sends the container's after it. What both
 * sides agree on is kept below <run dir>/mounts, one file per target, with the random nonce of its first push.
 *
 * Each exchange holds the target's lock (sync-rules 17), never while a command runs. A push holds it until its end is
 * applied, a pull until its last byte is queued; the client's PULLED takes it again, shortly.
 */
#ifndef ATP_AGENT_MOUNTS_H
#define ATP_AGENT_MOUNTS_H

#include "translate/wire/wire.h"

#include <stdbool.h>

struct err;
struct link;
struct loop;
struct mounts;

struct mounts_events {
    /* Work is going on beside the loop: give no more frames until it is over. */
    void (*busy)(void *arg, bool busy);
    /* A push failed: nothing may be started. */
    void (*push_failed)(void *arg, const char *text);
    /* All that mounts_pull() had to send is queued. */
    void (*pulled)(void *arg);
};

/* link: where to send; borrowed, like all else. */
struct mounts *mounts_new(struct loop *loop, const char *run_dir, struct link *link, const struct mounts_events *events,
                          void *arg);
void mounts_free(struct mounts *m);

/* MOUNT, DELTA, DELTA_END, PULLED. -1: not acceptable. */
int mounts_frame(struct mounts *m, const struct wire_frame *f, struct err *err);

/* True if every mount that was announced is pushed: the command may start. */
bool mounts_ready(const struct mounts *m);

/* Sends the changes of every mount that is not read-only, one after the other. */
void mounts_pull(struct mounts *m);
/* The link has room again. */
void mounts_drained(struct mounts *m);

#endif
