/* What a generation of a volume is: its entries, their pieces and the packs that hold them; and its form on disk. */
#ifndef ATP_AGENT_VOLUME_MANIFEST_H
#define ATP_AGENT_VOLUME_MANIFEST_H

#include "compat/base/sha256.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;

#define VOLUME_HOLE UINT32_MAX /* as a piece's pack: zeros that lie nowhere */

struct volume_pack {
    uint8_t hash[SHA256_LEN];
    uint64_t size;
};

struct volume_piece {
    uint8_t hash[SHA256_LEN]; /* of the bytes as they are in the file */
    uint32_t pack;            /* index, or VOLUME_HOLE */
    uint32_t stored, len;     /* in the pack, in the file; different where it is compressed */
    uint64_t at;              /* in the pack */
};

enum volume_kind { VOLUME_FILE = 1, VOLUME_DIR, VOLUME_SYMLINK, VOLUME_LINK, VOLUME_FIFO };

struct volume_entry {
    char *path; /* below the target; "": itself */
    char *link; /* SYMLINK: the text; LINK: the path of the first name; else NULL */
    uint8_t kind;
    uint16_t mode; /* 12 bits */
    uint32_t uid, gid;
    int64_t mtime_ns;
    uint64_t size;
    uint32_t first_piece, pieces;
    uint64_t ino; /* how it looked to whoever saved it: worth something only there */
    int64_t ctime_ns;
};

struct volume_manifest {
    uint64_t generation;
    struct volume_pack *packs;
    struct volume_piece *pieces;
    struct volume_entry *entries; /* a directory before what is in it */
    size_t n_packs, n_pieces, n_entries;
    size_t room_packs, room_pieces, room_entries;
};

void volume_manifest_clear(struct volume_manifest *m);
struct volume_pack *volume_add_pack(struct volume_manifest *m);
struct volume_piece *volume_add_piece(struct volume_manifest *m);
struct volume_entry *volume_add_entry(struct volume_manifest *m);

int volume_manifest_put(const struct volume_manifest *m, struct buf *out, struct err *err);
/* Everything is checked: sums, indexes, sizes, paths. */
int volume_manifest_get(const void *bytes, size_t len, struct volume_manifest *ret, struct err *err);

/* In a directory; a whole file or none. -1 of load: there is none, or it is not whole. */
int volume_manifest_save(int dir, const char *name, const struct volume_manifest *m, struct err *err);
int volume_manifest_load(int dir, const char *name, struct volume_manifest *ret, struct err *err);

#endif
