/*
 * A manifest: what a tree held at one moment. One entry for each directory, regular file and symbolic link, the root
 * included (path ""; for a mount of a single file the manifest is just that one entry). Pure: no file system, no clock.
 *
 * Order: by bytes with '/' before every other byte, so a directory is followed at once by everything below it. Paths
 * are relative, have no empty, "." or ".." component, and are bounded by limits.h; manifest_add() refuses anything
 * else, so a manifest that exists is a valid one. Names are bytes, not text.
 *
 * ctime, ino and dev are of the machine that scanned the tree and only serve to see, later and on that same machine,
 * that a file was not touched; they never travel to the peer. A manifest belongs to the side that holds it: mode and
 * owner are as this side's file system shows them, and may differ from the peer's (the host drops setuid, for example).
 */
#ifndef ATP_SYNC_MANIFEST_H
#define ATP_SYNC_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct strlist;

#define MANIFEST_DIGEST_LEN 32

enum manifest_type { MANIFEST_FILE = 1, MANIFEST_DIR = 2, MANIFEST_SYMLINK = 3 };

enum manifest_flag {
    /* ctime, ino and dev prove nothing (the file was written within the clock's grain, or is not here at all): read it
       again. */
    MANIFEST_UNSURE = 1 << 0,
    /* This side kept its own version against the peer's; when it is sent, the peer must see a conflict, not a change.
     */
    MANIFEST_CONTESTED = 1 << 1,
};

struct manifest_entry {
    const char *path; /* in an entry of a manifest: owned by the manifest */
    const char *link; /* text of a symbolic link, NULL for other types; owned likewise */
    uint64_t size;    /* files: bytes; else 0 */
    int64_t mtime;    /* nanoseconds since 1970 */
    int64_t ctime;    /* this machine's, as are the next two; 0 = not known */
    uint64_t ino;
    uint64_t dev;
    uint32_t mode; /* 12 bits */
    uint32_t uid;
    uint32_t gid;
    uint32_t
        group; /* hard links: 1 + index of the group's first entry (its leader), which has the same value; 0 = none */
    uint8_t type;                        /* enum manifest_type */
    uint8_t flags;                       /* enum manifest_flag */
    uint8_t digest[MANIFEST_DIGEST_LEN]; /* files: see content.h; else zero */
};

struct manifest_chunk;

struct manifest {
    struct manifest_entry *entries; /* sorted */
    size_t len;
    size_t cap;
    bool root_missing;             /* the tree did not exist; then there are no entries */
    struct manifest_chunk *chunks; /* where the strings live */
    size_t string_bytes;
};

#define MANIFEST_INIT                                                                                                  \
    {                                                                                                                  \
        NULL, 0, 0, false, NULL, 0                                                                                     \
    }

void manifest_init(struct manifest *m);
void manifest_clear(struct manifest *m);
void manifest_move(struct manifest *to, struct manifest *from); /* to is cleared first, from left empty */

/*
 * Appends a copy of *e, whose path must sort after the last one. leader: path of the entry that this file is a hard
 * link of, NULL if none or if it is its own leader; e->group is ignored. A leader that is not in m makes the entry a
 * plain file. Returns the stored entry (valid until the next add), or NULL if it is out of order, invalid or past a
 * limit.
 */
struct manifest_entry *manifest_add(struct manifest *m, const struct manifest_entry *e, const char *leader);

const struct manifest_entry *manifest_find(const struct manifest *m, const char *path); /* m may be NULL */
/* The first entry of e's hard-link group; NULL if it is in none. */
const struct manifest_entry *manifest_leader(const struct manifest *m, const struct manifest_entry *e);
/* Index of the first entry whose path does not sort before path. */
size_t manifest_lower_bound(const struct manifest *m, const char *path);

/* The order of a manifest. */
int manifest_path_cmp(const char *a, const char *b);
/* Relative, no empty, "." or ".." component, within the limits of length and depth; "" (the root) is valid. */
bool manifest_path_valid(const char *path);
/* True if path is `dir` or below it; everything is below "". */
bool manifest_path_below(const char *path, const char *dir);
/* True if path is one of exclude's or below one; exclude may be NULL. */
bool manifest_path_excluded(const char *path, const struct strlist *exclude);

/* Same type and same bytes (files), text (links). */
bool manifest_same_content(const struct manifest_entry *a, const struct manifest_entry *b);

/*
 * Appends the encoding (version, entries with shared prefixes, SHA-256) to out; -1 if out's ceiling is too low.
 * decode replaces *ret only on success, and takes nothing from the bytes on trust.
 */
int manifest_encode(const struct manifest *m, struct buf *out);
int manifest_decode(const void *bytes, size_t len, struct manifest *ret, struct err *err);

/*
 * A digest of what both sides of an exchange agree on: paths, types, contents and link texts, but not modes, owners or
 * times. Equal digests mean that a difference computed against one manifest may be applied to the other. m may be NULL
 * (= empty).
 */
void manifest_shared_digest(const struct manifest *m, uint8_t ret[MANIFEST_DIGEST_LEN]);

#endif
