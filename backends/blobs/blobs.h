/*
 * Blobs of this machine by digest: layers that no registry has (loaded, imported, brought away), below the state
 * folder.
 *
 *     <dir>/sha256/ab/cdef...     contents, named by their SHA-256
 *     <dir>/tmp/                  what is being written; leftovers of the dead are removed by whoever opens the store
 *
 * A blob that is there is whole: it gets its name by rename after its digest was checked. Shared by any number of
 * processes without a lock: two who write the same one write the same bytes.
 */
#ifndef ATP_BLOBS_BLOBS_H
#define ATP_BLOBS_BLOBS_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blobs;
struct blob_writer;
struct err;

struct blobs *blobs_open(const char *dir, struct err *err);
void blobs_free(struct blobs *b);

/* Size of the blob; -1 when there is none. digest: "sha256:<64 hex>". */
int64_t blobs_size(const struct blobs *b, const char *digest);
/* A descriptor to read from; -1 and err (ENOENT in err->code) when there is none. */
int blobs_read(const struct blobs *b, const char *digest, struct err *err);

struct blob_writer *blob_writer_new(struct blobs *b, struct err *err);
int blob_writer_add(struct blob_writer *w, const void *bytes, size_t len, struct err *err);
/* Ends it: *ret_digest (may be NULL) is owned by caller. want: the digest that it must have, NULL = any. */
int blob_writer_commit(struct blob_writer *w, const char *want, char **ret_digest, struct err *err);
void blob_writer_free(struct blob_writer *w); /* without a commit nothing stays */

/* Copies or (on the same file system) links the file; its digest must be `digest`. */
int blobs_put_file(struct blobs *b, const char *path, const char *digest, struct err *err);

/* Removes what is not in keep (digests) and older than min_age_secs; tells the bytes that went. */
int blobs_sweep(struct blobs *b, const struct strlist *keep, int64_t min_age_secs, int64_t *ret_bytes, struct err *err);

#endif
