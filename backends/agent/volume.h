/*
 * Named volumes. Their live files are the container's own: owners, locks, links, everything works as in any directory.
 * What is kept of them lies in the volume's folder, which the platform mounts at /.atp/volumes/<key>, and is as good as
 * any file store can hold it, since nothing but plain files with plain names is needed there:
 *
 *     packs/<sha256>      contents, in pieces of VOLUME_PIECE bytes at most, each once, compressed where that helps
 *     generations/<n>     a manifest (volume_manifest.h): every entry, and where in which pack its pieces are
 *
 * A save writes what no pack has into a new one, then the manifest under a temporary name, then gives it its number;
 * a restore takes the highest number that is whole: its own sum is right and its packs are there. The last two are
 * kept, so that a copy of the folder taken while a save goes on has one that is whole. Packs of which most is needed no
 * more, and many small ones, are written anew. A kill at any instant leaves what there was.
 *
 * Of two savers one waits. A file that changes while it is read is read again, a few times; then it is saved as it was
 * read. Sockets and devices are left out. What stands in the folder is not trusted: a restore writes nothing outside
 * of the target.
 */
#ifndef ATP_AGENT_VOLUME_H
#define ATP_AGENT_VOLUME_H

#include "translate/wire/volume.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct err;

#define VOLUME_PIECE (1u << 20)

struct volume_dirs {
    const char *store;   /* holds the folders of the volumes: /.atp/volumes */
    const char *run_dir; /* private to the agent: how the files looked when they were saved last, and the lock */
};

struct volume_report {
    uint64_t generation; /* the newest one now */
    bool saved;          /* it is new */
    uint64_t files, bytes, pack_bytes;
};

/*
 * Before the main process starts: the target has what the newest generation holds. With none, or an empty one, the
 * volume is new: what is at the target stays and is the volume's (nocopy: it goes).
 */
int volume_restore(const struct volume_dirs *dirs, const struct wire_volume *v, struct err *err);
/* Saves if anything has changed, and if it is ours to save: of a volume that several containers of a pod have, one does
 * (share_mate.h). */
int volume_save(const struct volume_dirs *dirs, const struct wire_volume *v, struct volume_report *ret,
                struct err *err);

/* The number of the newest generation, or of the newest one if it has anything in it; 0: there is none. */
int volume_newest(const struct volume_dirs *dirs, const char *key, bool empty_too, uint64_t *ret, struct err *err);
/* Everything in dir goes but what is mounted there, and the way to it. */
int volume_empty(int dir, const struct strlist *closed, struct err *err);

/* All of a list; saving goes on with the others when one fails. `only`: a key, "" = all. A line of each goes to out:
 * key, generation, "saved" or "same", apart by tabs. */
int volumes_restore(const struct volume_dirs *dirs, const struct wire_volumes *list, struct err *err);
int volumes_save(const struct volume_dirs *dirs, const struct wire_volumes *list, const char *only, struct buf *out,
                 struct err *err);

#endif
