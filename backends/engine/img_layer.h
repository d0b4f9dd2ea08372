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

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct err;
struct img_view;
struct img_writer;
struct strlist;

enum img_layer_kind {
    IMG_LAYER_UNKNOWN,  /* of an engine that did not say: goes with the last image that stands on it */
    IMG_LAYER_BUILT,    /* by an instruction: stays as build cache for a while when no image stands on it */
    IMG_LAYER_PULLED,   /* from a registry: its blob is kept as well (img_blobs.h) */
    IMG_LAYER_SNAPSHOT, /* a container's changes */
};

/* What is known of a layer besides its files. Texts are NULL when they are not known. */
struct img_layer_meta {
    enum img_layer_kind kind;
    char *key;    /* all of it */
    char *parent; /* key of the layer below that it was made on */
    struct timespec created;
    char *diff_id;           /* "sha256:..." */
    int64_t tar_size;        /* of the tar with that digest; -1 = not known */
    int64_t tar_content;     /* of the files in it; -1 = not known */
    unsigned tar_format;     /* how that tar is written (img_tar.h); 0 = only the blob has it */
    char *blob, *media_type; /* as the registry has it: "sha256:..." */
    int64_t blob_size;
};

void img_layer_meta_clear(struct img_layer_meta *m);

char *img_layer_dir(const char *dir, const char *key); /* the directory for overlay; owned by caller */
/* Asking for a layer is using it: one that is there is not removed as garbage before the builds under way have ended.
 */
bool img_layer_exists(const char *dir, const char *key);
int64_t img_layer_size(const char *dir, const char *key); /* bytes of its files; -1 = not there */
void img_layer_remove(const char *dir, const char *key);
/* Makes tmp, a folder in the store's tmp/ with a finished directory f, the layer of that key; on success tmp is gone,
 * unless the layer was there already. It is a BUILT one without a parent. */
int img_layer_keep(const char *dir, const char *tmp, const char *key, int64_t size, struct err *err);
/* The same with what is known of it: kind, parent, diff id and blob are taken from meta. */
int img_layer_keep_as(const char *dir, const char *tmp, const char *key, int64_t size,
                      const struct img_layer_meta *meta, struct err *err);

/* Reads what is known; an older engine's layer has a time and a size only. -1: the layer is not there. */
int img_layer_load(const char *dir, const char *key, struct img_layer_meta *ret, struct err *err);
/* Remembers more of a layer that is there. */
int img_layer_save(const char *dir, const char *key, const struct img_layer_meta *meta, struct err *err);

/*
 * The layer's diff id ("sha256:...", owned by caller): of what the registry gave, or of the layer's tar, which is made
 * once for it. A small layer takes a moment, a large one as long as reading it. cancelled may be NULL.
 */
int img_layer_diff_id(const char *dir, const char *key, const atomic_bool *cancelled, char **ret, struct err *err);
/* When the layer was made; for its line of an image's history. */
int img_layer_created(const char *dir, const char *key, struct timespec *ret);

/* When the layer was last used: made, found by a build, described. -1: not there. */
int img_layer_used(const char *dir, const char *key, struct timespec *ret);
/* Uses are numbered, those of all layers together. */
uint64_t img_layer_last_use(void);
/* Moves the layer out of sight, into a new folder of tmp/ (owned by caller, to be removed with img_store_remove()),
 * unless it was used after last_use. NULL: it stays, or is gone already. */
char *img_layer_discard(const char *dir, const char *key, uint64_t last_use);

/* ---- making one ---- */

struct img_writer_options {
    struct img_view *below; /* borrowed; NULL = nothing is below */
    bool follow_below;      /* links below count for the way to an entry (COPY, ADD); not so for a registry's layers */
    uid_t uid;              /* owner of directories that nobody mentioned */
    gid_t gid;
    mode_t mode;                       /* theirs; 0 = 0755 */
    const struct img_layer_meta *meta; /* borrowed until the commit: what is known of the layer; NULL = a BUILT one */
};

struct img_writer *img_writer_new(const char *dir, const struct img_writer_options *options, struct err *err);
void img_writer_free(struct img_writer *w);            /* without a commit everything is removed */
char *img_writer_dir_path(const struct img_writer *w); /* what there is of it so far; owned by caller */
/* Gives the layer its name; w is only good for img_writer_free() then. A layer that is there already stays. */
int img_writer_commit(struct img_writer *w, const char *key, struct err *err);
/* The same under a path on the same disk: a folder that holds the directory f. */
int img_writer_keep_as(struct img_writer *w, const char *path, struct err *err);

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
