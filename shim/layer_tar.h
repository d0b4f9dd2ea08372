/*
 * A loose tree stream (translate/tree/tree.h) as an OCI layer: a plain tar with owners, whole seconds, devices, hard
 * links and extended attributes. Removals are in the stream as ".wh." files, as they are in a layer.
 */
#ifndef ATP_SHIM_LAYER_TAR_H
#define ATP_SHIM_LAYER_TAR_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct layer_tar;
struct strlist;

/* fd is borrowed. */
struct layer_tar *layer_tar_new(int fd, struct err *err);
void layer_tar_free(struct layer_tar *t); /* NULL is fine */
/* Before the first piece: nothing below these paths (absolute and clean, borrowed) gets into the layer, nor what is
 * there itself unless it is a directory. */
void layer_tar_leave_out(struct layer_tar *t, const struct strlist *closed);
/* Takes a piece of the stream, which may be hostile. */
int layer_tar_feed(struct layer_tar *t, const void *bytes, size_t len, struct err *err);
/* The stream has ended: adds the archive's end. */
int layer_tar_finish(struct layer_tar *t, int64_t *ret_size, struct err *err);

#endif
