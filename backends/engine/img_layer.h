/*
 * Layers: directories below <dir>/l, each made in tmp/ and renamed when it is whole. A layer's key (64 hex characters)
 * says what it was made from: the layers below it and its own contents or instruction. Folder names hold the first 20
 * characters only, since a long chain of them must fit into one mount option.
 *
 * The writer puts entries into a layer under construction. All names that it is given are hostile: it goes from
 * directory to directory with descriptors, opens without following, and resolves symbolic links itself, within the
 * layer (and, if asked, within the layers below, whose directories it then copies up with their owners and modes).
 */
#ifndef ATP_ENGINE_IMG_LAYER_H
#define ATP_ENGINE_IMG_LAYER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct err;
struct img_view;
struct img_writer;
struct strlist;

char *img_layer_dir(const char *dir, const char *key); /* the directory for overlay; owned by caller */
bool img_layer_exists(const char *dir, const char *key);
int64_t img_layer_size(const char *dir, const char *key); /* bytes of its files; -1 = not there */
void img_layer_remove(const char *dir, const char *key);
/* Makes tmp, a folder in the store's tmp/ with a finished directory f, the layer of that key; on success tmp is gone,
 * unless the layer was there already. */
int img_layer_keep(const char *dir, const char *tmp, const char *key, int64_t size, struct err *err);

/* ---- making one ---- */

struct img_writer_options {
    struct img_view *below; /* borrowed; NULL = nothing is below */
    bool follow_below;      /* links below count for the way to an entry (COPY, ADD); not so for a registry's layers */
    uid_t uid;              /* owner of directories that nobody mentioned */
    gid_t gid;
};

struct img_writer *img_writer_new(const char *dir, const struct img_writer_options *options, struct err *err);
void img_writer_free(struct img_writer *w); /* without a commit everything is removed */
/* Gives the layer its name; w is only good for img_writer_free() then. A layer that is there already stays. */
int img_writer_commit(struct img_writer *w, const char *key, struct err *err);

struct img_attributes {
    uid_t uid;
    gid_t gid;
    mode_t mode; /* permission bits */
    struct timespec mtime;
};

/* path: relative and clean ("usr/bin/env"); whatever stands there and is not a directory for a directory is replaced.
 */
int img_writer_dir(struct img_writer *w, const char *path, const struct img_attributes *a, struct err *err);
/* *ret_fd: an empty file to fill, then img_writer_file_done(); owned by caller. */
int img_writer_file(struct img_writer *w, const char *path, int *ret_fd, struct err *err);
int img_writer_file_done(struct img_writer *w, int fd, const struct img_attributes *a, struct err *err);
int img_writer_symlink(struct img_writer *w, const char *path, const char *target, const struct img_attributes *a,
                       struct err *err);
int img_writer_node(struct img_writer *w, const char *path, mode_t type, dev_t device, const struct img_attributes *a,
                    struct err *err);
/* target must be in this layer; it is not followed. */
int img_writer_link(struct img_writer *w, const char *path, const char *target, struct err *err);
int img_writer_whiteout(struct img_writer *w, const char *path, struct err *err);
int img_writer_opaque(struct img_writer *w, const char *path, struct err *err);
/* An extended attribute of what stands at path; those that could steer overlay or the host are passed over. */
int img_writer_xattr(struct img_writer *w, const char *path, const char *name, const void *value, size_t len,
                     struct err *err);

/* ---- unpacking a tar ---- */

struct img_unpack {
    const char *below; /* directory that everything goes under, relative and clean; NULL = the root */
    bool whiteouts;    /* .wh. files take away; otherwise they are files like any other (ADD) */
    bool owner;        /* uid and gid replace those of the tar */
    uid_t uid;
    gid_t gid;
};

/* Unpacks the tar (plain or compressed) on fd; its uncompressed digest goes to ret_diff (65 bytes). */
int img_unpack(struct img_writer *w, int fd, const struct img_unpack *options, char *ret_diff, struct err *err);

#endif
