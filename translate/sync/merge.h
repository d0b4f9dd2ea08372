/*
 * The three-way decision, one path at a time: what the two sides last agreed on (ancestor), what is here (local), what
 * the peer says (incoming). Pure: contents are compared by digest. The table, where A, L, I are the three states
 * ("-" absent, equal letters equal contents):
 *
 *     A  L  I    verdict        why
 *     x  x  y    TAKE           only the peer changed it (also y = absent: delete; x = absent: create)
 *     x  y  x    KEEP           only we changed it (also y = absent)
 *     x  y  y    META           both made the same change; modes and times are merged apart
 *     x  y  -    KEEP           the peer deleted what we changed: a change beats a deletion
 *     x  -  y    TAKE           we deleted what the peer changed: likewise
 *     x  y  z    CONFLICT       both changed it, differently (also x = absent, and any types)
 */
#ifndef ATP_SYNC_MERGE_H
#define ATP_SYNC_MERGE_H

#include "translate/sync/manifest.h"

enum merge_verdict {
    MERGE_SAME,     /* nothing to do: absent here and there */
    MERGE_META,     /* the content may stay; merge_meta() tells mode, owner and time */
    MERGE_TAKE,     /* make it here as it is there */
    MERGE_KEEP,     /* leave ours */
    MERGE_CONFLICT, /* the policy decides */
};

struct merge_input {
    const struct manifest_entry *ancestor; /* NULL: absent, or there is no ancestor */
    const struct manifest_entry *local;    /* NULL: absent, or something that no manifest names */
    const struct manifest_entry *incoming; /* NULL: absent */
    bool local_special;                    /* a socket, fifo or device stands here */
    bool contested;                        /* the peer did not know the ancestor when it made its version */
    bool replace;                          /* the peer's state is law */
};

enum merge_verdict merge_decide(const struct merge_input *in);

/* Mode, owner and time. */
struct merge_meta {
    uint32_t mode, uid, gid;
    int64_t mtime;
};

/*
 * Field by field: who changed it wins; if both did, ours stays, except that the newer time wins. wanted is what taking
 * incoming's fields means on this side (policy applied: the host drops setuid...). local is not NULL.
 */
struct merge_meta merge_meta(const struct merge_input *in, const struct merge_meta *wanted);

/*
 * The bulk guard (sync-rules 3): true if so many deletions at once look like a tree that vanished rather than like
 * work. entries: what the ancestor had, without the root and directories; deletions: how many of them would go now
 * (moved ones not counted); left: what the tree would still have, new ones included.
 */
bool merge_bulk_deletion(size_t entries, size_t deletions, size_t left);

#endif
