/* The folder of one volume: its generations, its packs, and the pieces in them. Private to volume_*.c. */
#ifndef ATP_AGENT_VOLUME_STORE_H
#define ATP_AGENT_VOLUME_STORE_H

#include "backends/agent/volume.h"
#include "backends/agent/volume_manifest.h"
#include "compat/sys/beneath.h"

struct volume_store {
    int packs, generations; /* directories */
    int looks;              /* <run dir>/volumes */
    int lock;
};

/* Makes the folders that are missing (write), and holds the lock until it is closed. */
int volume_store_open(const struct volume_dirs *dirs, const char *key, bool write, struct volume_store *ret,
                      struct err *err);
void volume_store_close(struct volume_store *s);

/* The newest generation that is whole: 1, or 0 if there is none. *ret_last: the highest number that was ever given. */
int volume_store_newest(const struct volume_store *s, struct volume_manifest *ret, uint64_t *ret_last, struct err *err);
/* The whole one before that, for what it still needs: 1 or 0. */
int volume_store_before(const struct volume_store *s, uint64_t generation, struct volume_manifest *ret);
int volume_store_add(const struct volume_store *s, const struct volume_manifest *m, struct err *err);
/* Keeps `now` and the one before; removes older generations and the packs that only they need. */
void volume_store_prune(const struct volume_store *s, const struct volume_manifest *now);

/* Reads one piece into VOLUME_PIECE bytes and checks it. `open` is a descriptor that is kept for the next piece of the
 * same pack; {-1} at first. */
struct volume_open {
    int fd;
    uint32_t pack;
};
int volume_piece_read(const struct volume_store *s, const struct volume_manifest *m, const struct volume_piece *p,
                      struct volume_open *open, void *bytes, struct err *err);
void volume_open_close(struct volume_open *open);

/* ---- a new pack ---- */

struct volume_packer {
    const struct volume_store *store;
    struct volume_manifest *into; /* gets the packs */
    int fd;                       /* -1: none is begun */
    char temp[BENEATH_TEMP_MAX];
    struct sha256 sum;
    uint64_t size;
    uint64_t total; /* of all packs */
    bool salted;    /* no pack is one that is there already, whatever it holds */
    uint8_t *room;  /* for compressed bytes */
};

void volume_packer_init(struct volume_packer *p, const struct volume_store *store, struct volume_manifest *into);
void volume_packer_clear(struct volume_packer *p); /* an unfinished pack is removed */
/* Where the piece lies: pack, at and stored are set. */
int volume_packer_add(struct volume_packer *p, const void *bytes, struct volume_piece *piece, struct err *err);
int volume_packer_finish(struct volume_packer *p, struct err *err);

#endif
