/*
 * Volumes (protocol 4.2 to 4.5): files that outlive sandboxes and the engine. A volume's committed state is a list of
 * entries (vol_tree.h); contents lie beside it under their digests and are shared by all volumes:
 *
 *     <state>/volumes/<id>/volume.json   environment, name, version, when it was made
 *     <state>/volumes/<id>/tree.json     the committed state; replaced as a whole
 *     <state>/volumes/content/<sha256>   read-only, written to a temporary name first
 *     <state>/volumes/views/...          what containers have mounted (vol_view.h); emptied when the engine starts
 *
 * A kill at any instant leaves the old committed state or the new one. Nobody's uid is kept: all is root's, as on the
 * platform. Everything here is done at once, on the loop's thread.
 */
#ifndef ATP_ENGINE_VOL_H
#define ATP_ENGINE_VOL_H

#include "backends/engine/vol_tree.h"

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct err;
struct vol_views;

#define VOL_BLOCK (8u << 20) /* of a version 2 volume (protocol 4.5) */

struct volume {
    char *id, *environment, *name; /* name NULL: ephemeral, in memory but for its contents */
    int version;                   /* 1 or 2 */
    double created_at;
    double heard; /* ephemeral: the last heartbeat */
    struct vol_tree tree;
    uint64_t generation; /* of tree, since the engine started */

    struct volume *next; /* older */
};

struct volumes {
    char *dir;
    int dirfd, content_fd;
    struct volume *newest;
    struct vol_views *views; /* of all containers (vol_view.c) */
    uv_timer_t *commits;
    uint64_t drawn;                           /* names of views */
    struct strlist block_hashes, block_blobs; /* of version 2, asked for: where they were to be uploaded */
};

/* Background commits run on the loop; NULL: there are none. */
struct volumes *volumes_new(const char *state_dir, uv_loop_t *loop, struct err *err);
/* The views must be closed; before the loop is run for the last time. */
void volumes_free(struct volumes *v);

struct volume *volume_by_id(const struct volumes *v, const char *id);
struct volume *volume_by_name(const struct volumes *v, const char *environment, const char *name);
/* name NULL: an ephemeral one. NULL and err if it cannot be written. */
struct volume *volume_create(struct volumes *v, const char *environment, const char *name, int version,
                             struct err *err);
int volume_rename(struct volumes *v, struct volume *vol, const char *name, struct err *err);
/* Containers that have it mounted keep their views; what they write then goes nowhere. */
void volume_delete(struct volumes *v, struct volume *vol);

/* The tree was changed: makes it the committed state. */
int volume_commit(struct volumes *v, struct volume *vol, struct err *err);

/* ---- contents ---- */

/* All of a file, from where it stands; its digest as hex, its size. */
int content_put_fd(struct volumes *v, int fd, char ret_hash[65], uint64_t *ret_size, struct err *err);
int content_put(struct volumes *v, const void *bytes, size_t len, char ret_hash[65], struct err *err);
bool content_has(const struct volumes *v, const char *hash);
int content_open(const struct volumes *v, const char *hash, struct err *err); /* a descriptor, or -1 */
int content_temp(const struct volumes *v, char ret_name[32], struct err *err);
/* What was written to a temporary file of content_temp() becomes contents; it is closed and renamed in any case. */
int content_keep(struct volumes *v, int fd, const char *temp, char ret_hash[65], uint64_t *ret_size, struct err *err);
void content_drop(const struct volumes *v, int fd, const char *temp); /* throws it away */
/* Removes what no volume and no view needs. */
void content_sweep(struct volumes *v);

#endif
