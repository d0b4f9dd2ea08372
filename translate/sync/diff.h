/*
 * What turns one manifest into another, as an explicit list of operations in the manifest's order. Both manifests are
 * of the same side (the sender's last agreed one and its present one), so modes and owners compare exactly.
 */
#ifndef ATP_SYNC_DIFF_H
#define ATP_SYNC_DIFF_H

#include "translate/sync/manifest.h"

struct buf;

enum sync_op_kind {
    SYNC_OP_DELETE = 1,
    SYNC_OP_DIR,     /* a directory that was not there, or not as a directory */
    SYNC_OP_FILE,    /* a file whose content travels */
    SYNC_OP_SYMLINK, /* new or other text */
    SYNC_OP_LINK,    /* another name of `leader`, which is a file of the tree */
    SYNC_OP_META,    /* content as before; mode, owner or time changed */
};

enum sync_op_flag {
    SYNC_OP_SAME_INODE = 1 << 0, /* the file was rewritten in place, not replaced */
    SYNC_OP_CONTESTED = 1 << 1,  /* made without knowledge of the peer's version (MANIFEST_CONTESTED) */
    SYNC_OP_UNTOUCHED = 1 << 2,  /* of a full listing: the sender did not change it since what was last agreed */
};

struct sync_op {
    uint8_t kind;                     /* enum sync_op_kind */
    uint8_t flags;                    /* enum sync_op_flag */
    const struct manifest_entry *old; /* in base; NULL if it was not there */
    const struct manifest_entry *now; /* NULL for a deletion */
    const char *leader;               /* LINK only */
};

struct sync_diff {
    struct sync_op *ops; /* their entries are borrowed from the two manifests */
    size_t len;
    size_t cap;
};

#define SYNC_DIFF_INIT                                                                                                 \
    {                                                                                                                  \
        NULL, 0, 0                                                                                                     \
    }

/* base NULL: everything in now. A root directory is never deleted. */
void sync_diff_make(struct sync_diff *ret, const struct manifest *base, const struct manifest *now);
/* Marks what is in `agreed` with the same content as untouched; for a difference from nothing. */
void sync_diff_mark_untouched(struct sync_diff *d, const struct manifest *agreed);
void sync_diff_clear(struct sync_diff *d);
/* One line an operation, names quoted: for people and for tests. */
void sync_diff_print(const struct sync_diff *d, struct buf *out);

/* "delete", "dir", "file", "symlink", "link", "meta". */
const char *sync_op_name(uint8_t kind);

/* A path as one shell word on one line: as it is where that is safe, else in '...' or, with control characters, $'...'.
 */
void sync_quote(struct buf *out, const char *path);

#endif
