/*
 * The agent's half of sync: applies the host's changes before the command and offers the container's after it. What
 * both sides agree on is kept below <run dir>/mounts (mounts_store.h), with the random nonce of its first push.
 *
 * Several sessions may be at it at once on one target, and any of them may be killed. Nothing is locked while bytes
 * travel, trees are read or a command runs: a session notes which state it starts from, and whoever stores a new one
 * makes all that started from the old one void. The store's lock is held for that alone. Order comes from the host: its
 * lock for this mount is held by one client at a time, from reading what it has until it has stored what it then has.
 *
 * What may meet:
 *     two commands end          both offer from the same state; the host takes one and asks the other again, which then
 *                               offers what is left, from the state that the first led to
 *     a client is killed        before it stored: it presents the old state, its own half of the pull counts as the
 *                               host's change, and equal contents are no conflict. After it stored: it presents the
 *                               state that was offered to it, which is agreed from then on
 *     this session is killed    a push that was not stored is sent again as a whole (STALE)
 *     the sandbox is replaced   by one that starts from a copy of its files: the folder is in the copy
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
    /* All that mounts_pull() had to send is queued; once. */
    void (*pulled)(void *arg);
};

/* link: where to send; borrowed, like all else. */
struct mounts *mounts_new(struct loop *loop, const char *run_dir, struct link *link, const struct mounts_events *events,
                          void *arg);
void mounts_free(struct mounts *m);

/* MOUNT, DELTA, DELTA_END, PULL, PULLED. -1: not acceptable. PULL and PULLED may come after all was pulled. */
int mounts_frame(struct mounts *m, const struct wire_frame *f, struct err *err);

/* True if every mount that was announced is pushed: the command may start. */
bool mounts_ready(const struct mounts *m);

/* Offers the changes of every mount that is not read-only, one after the other. */
void mounts_pull(struct mounts *m);
/* The link has room again. */
void mounts_drained(struct mounts *m);

#endif
