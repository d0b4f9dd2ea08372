/*
 * What is agreed about one target, on disk below <run dir>/mounts:
 *     KEY                        the agreed state: nonce, generation, manifest
 *     KEY.lock                   flock(2), and two numbers: the last generation drawn, and that of the last push
 *     KEY.pending.BASE.NEW       a state offered to a client, starting from the agreed one of generation BASE
 * KEY is the digest of the target's path. Files are replaced whole, so reading needs no lock; whoever decides and then
 * writes holds it, for a few milliseconds. A copy of this folder (a snapshot of the file system) is as good as the
 * folder itself.
 *
 * A pending state becomes the agreed one when a client shows that it has it. All states that were pending beside it
 * started from what is no longer agreed: no client can accept them any more, and they are dropped.
 */
#ifndef ATP_AGENT_MOUNTS_STORE_H
#define ATP_AGENT_MOUNTS_STORE_H

#include "backends/sync/sync.h"
#include "compat/base/sha256.h"

#include <stdbool.h>
#include <stdint.h>

struct err;

/* The name of a state. generation 0: there is none. */
struct mark {
    uint8_t nonce[SYNC_NONCE_LEN];
    uint64_t generation;
};
bool mark_same(const struct mark *a, const struct mark *b);

struct store {
    int dirfd; /* borrowed */
    char key[2 * SHA256_LEN + 1];
    int lock_fd; /* -1: not locked */
};
void store_init(struct store *s, int dirfd, const char *target);

/* Waits for the lock, at most STORE_LOCK_WAIT; for threads. */
int store_lock(struct store *s, struct err *err);
void store_unlock(struct store *s);
#define STORE_LOCK_WAIT 30000 /* ms; it is held for milliseconds, unless its holder is frozen */

/* The mark of the agreed state (generation 0 if there is none), without reading all of it. */
int store_mark(const struct store *s, struct mark *ret, struct err *err);
/* 1 = loaded, 0 = there is none. */
int store_load(const struct store *s, struct mark *ret, struct manifest *ret_manifest, struct err *err);

/* ---- under the lock ---- */

/*
 * The client has the state `theirs`. 1 if that is the agreed one, or was pending and thereby is; 0 if not. *ret is what
 * is agreed.
 */
int store_resolve(struct store *s, const struct mark *theirs, struct mark *ret, struct err *err);
/*
 * True if all that happened since `theirs` was the container's own doing: no host has pushed anything since, so a host
 * that is as it was then has nothing to say.
 */
bool store_only_pulled_since(const struct store *s, const struct mark *theirs, const struct mark *agreed);
/* A generation that nobody has seen; none will be drawn that is not above `seen`. */
int store_draw(struct store *s, uint64_t seen, uint64_t *ret, struct err *err);
void store_seen(struct store *s, uint64_t generation);
/* A push: the new agreed state. */
int store_push(struct store *s, const struct mark *mark, const struct manifest *m, struct err *err);
/* The agreed state as it looks to this machine now; its mark stays. */
int store_refresh(struct store *s, const struct mark *mark, const struct manifest *m, struct err *err);
/* Needs no lock. */
int store_offer(struct store *s, uint64_t base, const struct mark *mark, const struct manifest *m, struct err *err);

#endif
