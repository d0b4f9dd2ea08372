/*
 * Files by content and the lists of files called mounts, below the image folder:
 *
 *     files/ab/cdef...          contents, named by their SHA-256
 *     files/ab/cdef...-755      the same with other permission bits, made when a mount is laid out with them
 *     mounts/mo-....json        a list of files; mounts/mo-...  the same laid out, made on first use
 *     tmp/                      everything that is not finished; emptied when the store is opened
 *
 * Contents are checked before they get their name, and get it by rename: a file that is there is whole.
 */
#ifndef ATP_ENGINE_IMG_STORE_H
#define ATP_ENGINE_IMG_STORE_H

#include "backends/engine/images.h"

/* Makes the folders and removes what an earlier run left half done. */
int img_store_open(const char *dir, struct err *err);

/* A new path in tmp/ that nothing else uses; owned by caller. */
char *img_store_tmp(const char *dir, struct err *err);
/* Removes a file or a whole tree; nothing there is fine. */
void img_store_remove(const char *path);

char *img_store_file(const char *dir, const char *sha256_hex); /* where the file is, or would be; owned by caller */
int img_store_put(const char *dir, const char *sha256_hex, const void *bytes, size_t len, struct err *err);
int img_store_put_path(const char *dir, const char *sha256_hex, const char *path, struct err *err);

struct img_mount_entry {
    char *name; /* relative, clean: "etc/app.conf" */
    char *sha256_hex;
    mode_t mode;
    int64_t mtime_ns; /* 0 = not told */
};

struct img_mount { /* sorted by name */
    struct img_mount_entry *entries;
    size_t len;
};

int img_mount_put(const char *dir, const struct images_mount_file *files, size_t len, char **ret_id, struct err *err);
int img_mount_load(const char *dir, const char *id, struct img_mount *ret, struct err *err); /* which is using it */
int img_mount_read(const char *dir, const char *id, struct img_mount *ret, struct err *err); /* only looks */
void img_mount_clear(struct img_mount *m);
/* NULL: no such file. Borrowed. */
const struct img_mount_entry *img_mount_find(const struct img_mount *m, const char *name);
int img_mount_lay_out(const char *dir, const char *id, char **ret_dir, struct err *err);

#endif
