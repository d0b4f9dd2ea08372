/*
 * Image archives: what `docker save` writes (manifest.json, or the older repositories file), OCI layouts in a tar, and
 * the plain tarballs of `docker import`; each may be compressed with gzip, zstd, xz or bzip2. Archives are hostile:
 * they are parsed as a stream, their names are only ever looked up in a table, and what is kept goes to numbered files
 * in a private folder. Folders of the dead are removed by whoever reads the next archive.
 *
 *     struct image_archive *a = image_archive_read(fd, tmpdir, &err);
 *     for (i < image_archive_count(a)) image_archive_get(a, i) ...
 *     image_archive_layers(a, i, &paths, &err);      tar files that ADD, one after the other, onto scratch give the
 * image image_archive_free(a);                          removes the private folder
 */
#ifndef ATP_REGISTRY_ARCHIVE_H
#define ATP_REGISTRY_ARCHIVE_H

#include "compat/base/strlist.h"

#include <stddef.h>
#include <stdint.h>

struct err;
struct image_archive;

struct archived_image {
    struct strlist tags;   /* "alpine:3.20"; may be empty */
    char *id;              /* "sha256:..." of the configuration */
    char *config;          /* JSON text */
    struct strlist layers; /* diff ids ("sha256:..."), bottom first */
    int64_t *layer_sizes;  /* of their tars, unpacked */
    int64_t size;          /* the sum */
    char *manifest;        /* its exact text, where the archive has one whose blobs it has too; else NULL */
    char *manifest_type;
};

/* A layer in the form in which the archive has it, for who keeps it. */
struct archived_layer {
    const char *path; /* below the private folder, borrowed until free; not written to any more: links may be kept */
    char digest[72];  /* of the file's bytes: "sha256:..." */
    const char *media_type; /* static: OCI's, of a plain tar, gzip or zstd */
    int64_t size;
};

/* Reads the whole stream from fd. tmpdir: an existing folder in which a private one is made. */
struct image_archive *image_archive_read(int fd, const char *tmpdir, struct err *err);
void image_archive_free(struct image_archive *a);

size_t image_archive_count(const struct image_archive *a);
const struct archived_image *image_archive_get(const struct image_archive *a, size_t i);

/* Layer k of image i, counted from the bottom. What is compressed as no registry has it (xz, bzip2) is given unpacked.
 */
int image_archive_layer(struct image_archive *a, size_t i, size_t k, struct archived_layer *ret, struct err *err);

/*
 * Tar files (below the private folder, borrowed until free) to ADD in this order onto an empty root. One per layer,
 * each checked against its diff id, when no layer takes anything away; otherwise one in which all layers are merged.
 * Plain tar or gzip: every builder unpacks those.
 */
int image_archive_layers(struct image_archive *a, size_t i, struct strlist *ret_paths, struct err *err);

/*
 * `docker import`: copies the tarball on fd, checked for being a tar, to out (an empty file, open for reading too) as a
 * plain tar, and tells the digest of what was written as "sha256:...", owned by caller, and its length.
 */
int image_archive_import(int fd, int out, char **ret_diff_id, int64_t *ret_size, struct err *err);

#endif
