/*
 * Blobs of pulled layers as the registry gave them, kept so that they can be given back byte for byte:
 *
 *     blobs/ab/cdef...          named by their SHA-256
 *
 * A blob gets its name by rename when it is whole and checked. It stays as long as a layer names it (img_layer.h).
 */
#ifndef ATP_ENGINE_IMG_BLOBS_H
#define ATP_ENGINE_IMG_BLOBS_H

#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

struct err;
struct strlist;

/* digest: "sha256:...", checked by the caller. */
char *img_blob_path(const char *dir, const char *digest); /* where it is, or would be; owned by caller */
/* Its size, -1: not there. Asking is using: it is not swept before the builds under way have ended. */
int64_t img_blob_size(const char *dir, const char *digest);
/* Takes the file at path, whose digest was checked. */
int img_blob_keep(const char *dir, const char *digest, const char *path, struct err *err);

/* Removes what is not in needed ("sha256:...", sorted) and older than since; returns the bytes that are free then. */
int64_t img_blobs_sweep(const char *dir, const struct strlist *needed, const struct timespec *since);
/* Calls fn for all files two folders below dir/what, as blobs and uploaded files lie: dirfd, its folder and its name.
 */
typedef void img_each_fn(int dirfd, const char *folder, const char *name, const struct stat *st, void *arg);
void img_blobs_each(const char *dir, const char *what, img_each_fn *fn, void *arg);
/* Bytes of all of them. */
int64_t img_blobs_weigh(const char *dir, const char *name);

#endif
