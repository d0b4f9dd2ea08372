/*
 * What this machine keeps of images that no registry has: their layers, and their manifests where they came with one
 * (backends/blobs). load, import and commit put them there, push and save take them from there, and what no image needs
 * any more goes.
 */
#ifndef ATP_SHIM_KEEP_H
#define ATP_SHIM_KEEP_H

#include <stddef.h>
#include <stdint.h>

struct app;
struct blob_writer;
struct err;
struct image_archive;
struct progress;

/* The id of an image with this configuration; owned by caller. */
char *keep_image_id(const char *config);

/* All layers of one image of an archive, in the archive's own form, and its manifest. Each is shown. */
int keep_archived(struct app *app, struct image_archive *archive, size_t index, struct progress *progress,
                  struct err *err);

/* A plain tar of this size that was written, as the layer of its digest. *ret_path: where it is. Both owned by caller.
 */
int keep_layer(struct app *app, struct blob_writer *w, int64_t size, char **ret_diff_id, char **ret_path,
               struct err *err);

/* Removes what no image in the state needs; not now if another process has the store open. */
int keep_sweep(struct app *app, struct err *err);

#endif
