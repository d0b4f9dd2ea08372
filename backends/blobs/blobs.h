/*
 * Blobs of this machine by digest: layers that no registry has (loaded, imported, committed), below the state folder.
 *
 *     <dir>/sha256/ab/cdef...     contents, named by their SHA-256
 *     <dir>/notes/ab/cdef...      what else is called by a digest: one line of text that names a blob
 *     <dir>/tmp/                  what is being written; leftovers of the dead are removed by whoever opens the store
 *     <dir>/lock                  held shared by whoever has the store open, and alone by a sweep
 *
 * A blob that is there is whole: it gets its name by rename after its digest was checked and its bytes are on the disk.
 * Any number of processes write at once: two who write the same one write the same bytes, and the last one's name
 * counts. What is written while the store is open is safe from sweeps until blobs_free(): record who needs it before.
 *
 * NOTES say where something is that is called by another digest than its blob's. Two kinds are kept:
 *     a layer's diff id   the blob that holds the layer, in the form in which it came (plain tar, gzip, zstd)
 *     an image's id       the blob that is its manifest, where the archive had one: the layers that it names are blobs
 * An image that was loaded or committed here has a note for each diff id that its configuration names, or for those
 * that its parent does not have.
 */
#ifndef ATP_BLOBS_BLOBS_H
#define ATP_BLOBS_BLOBS_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blobs;
struct blob_writer;
struct buf;
struct err;

/* Waits while a sweep is under way. */
struct blobs *blobs_open(const char *dir, struct err *err);
void blobs_free(struct blobs *b); /* NULL is fine */

/* Size of the blob; -1 when there is none. digest: "sha256:<64 hex>". */
int64_t blobs_size(const struct blobs *b, const char *digest);
/* A descriptor to read from; -1 and err (ENOENT in err->code) when there is none. */
int blobs_read(const struct blobs *b, const char *digest, struct err *err);
/* The path of its file, which must not be written to; owned by caller, NULL when there is none. */
char *blobs_file(const struct blobs *b, const char *digest);
/* All of a small one, up to the ceiling of out. */
int blobs_read_text(const struct blobs *b, const char *digest, struct buf *out, struct err *err);

struct blob_writer *blob_writer_new(struct blobs *b, struct err *err);
int blob_writer_add(struct blob_writer *w, const void *bytes, size_t len, struct err *err);
/* The file that is being written, for who writes to a descriptor by himself: blob_writer_add() is not used then, and
 * the commit reads it once. Borrowed. */
int blob_writer_fd(struct blob_writer *w);
/* Ends it: *ret_digest (may be NULL) is owned by caller. want: the digest that it must have, NULL = any. */
int blob_writer_commit(struct blob_writer *w, const char *want, char **ret_digest, struct err *err);
void blob_writer_free(struct blob_writer *w); /* without a commit nothing stays; NULL is fine */

/*
 * Links the file (on the same file system: it must not be written to afterwards) or copies it; its digest must be
 * `digest`. One that is there already is replaced, which heals a damaged one.
 */
int blobs_put_file(struct blobs *b, const char *path, const char *digest, struct err *err);

struct blob_note {
    char digest[72]; /* of the blob */
    int64_t size;    /* of it */
    char media_type[104];
};

/* key: a diff id or an image's id. A note is replaced. */
int blobs_note(struct blobs *b, const char *key, const struct blob_note *note, struct err *err);
/* True: there is such a note, and its blob is there. What cannot be read is not there. */
bool blobs_find(const struct blobs *b, const char *key, struct blob_note *ret);

/*
 * Takes the store for itself until the sweep, or blobs_free(): 1; 0 = others have it open, who may need anything that
 * is in it. What is to be kept is asked for after this, or what others recorded meanwhile is not in it.
 */
int blobs_alone(struct blobs *b, struct err *err);

/*
 * Removes the blobs and notes whose digests are not in keep (sorted here), and tells the bytes that went; what notes in
 * keep name is kept too. Only after blobs_alone(), which ends with it. min_age_secs: younger ones stay.
 */
int blobs_sweep(struct blobs *b, const struct strlist *keep, int64_t min_age_secs, int64_t *ret_bytes, struct err *err);

#endif
