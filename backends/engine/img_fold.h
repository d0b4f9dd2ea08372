/*
 * Folding: one new layer out of a stack of overlay directories, for snapshots. What the stack shows together the new
 * directory shows alone, above the same layers below: whiteouts and opaque directories stay, as far as they still hide
 * something. Contents are shared with the originals where the file system can (reflinks), holes stay holes, hard links
 * stay links, owners, modes, times and extended attributes are kept; sockets are left out.
 *
 * The topmost directory may be the upper one of a container that runs: names are hostile, and everything may change
 * between two looks. So there are no paths here: each entry is taken hold of once, without following it and without
 * opening a device, and what was taken hold of is what is copied. What has gone meanwhile is passed over.
 */
#ifndef ATP_ENGINE_IMG_FOLD_H
#define ATP_ENGINE_IMG_FOLD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct err;
struct img_view;
struct strlist;

struct img_fold {                 /* all borrowed */
    const struct strlist *dirs;   /* topmost first, at least one */
    struct img_view *below;       /* what the new layer will lie on, NULL = nothing */
    const atomic_bool *cancelled; /* becomes true when nobody wants the result any more */
};

/* Fills the empty directory target. *ret_size is the disk space that it takes, as img_layer_size() counts. */
int img_fold(const struct img_fold *fold, const char *target, int64_t *ret_size, struct err *err);

/* Disk space of a tree that may be in use; -1 when it cannot be read or cancelled became true. */
int64_t img_fold_weigh(const char *dir, const atomic_bool *cancelled);

#endif
