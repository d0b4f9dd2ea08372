/*
 * Images: a layer is a list of Dockerfile lines that starts with FROM, perhaps with a build context (protocol 3). The
 * server caches by definition, so building a layer that exists is one quick call; with a warm cache of ours it is none.
 */
#ifndef ATP_MODAL_IMAGE_H
#define ATP_MODAL_IMAGE_H

#include "compat/base/strlist.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct modal_client;

/* --- build context ----------------------------------------------------------------------------------------------- */

/* One file of a mount: from memory (data) or from disk (path). */
struct modal_mount_file {
    const char *remote; /* absolute path within the mount, "/.atp/1/agent" */
    const void *data;
    size_t size;        /* of data */
    const char *path;   /* NULL: data; read at upload, and refused if it changed meanwhile */
    uint32_t mode;      /* permission bits */
    const char *sha256; /* 64 hex digits if the caller knows them already; NULL: computed */
    int64_t mtime_ns;   /* 0: not told; only the embedded engine heeds it */
};

/*
 * Uploads what the server does not have (by SHA-256; files of 4 MiB and more as blobs over HTTP) and makes a mount
 * owned by the app. The id is cached by content for a day. Owned by caller.
 */
int modal_mount_create(struct modal_client *c, const char *app_id, const struct modal_mount_file *files, size_t count,
                       char **ret_mount_id, struct err *err);

/* What an upload tells while it goes on; any member may be NULL. */
struct modal_mount_watch {
    int (*begin)(void *arg, uint64_t bytes, struct err *err); /* what the server lacks; -1 ends it */
    int (*sent)(void *arg, uint64_t bytes, struct err *err);  /* so many of them now; -1 ends it */
    void *arg;
};
int modal_mount_upload(struct modal_client *c, const char *app_id, const struct modal_mount_file *files, size_t count,
                       const struct modal_mount_watch *watch, char **ret_mount_id, struct err *err);

/* Forgets that this mount was made: for a server that does not know the id out of the cache. */
void modal_mount_forget(struct modal_client *c, const char *mount_id);

/* --- build ------------------------------------------------------------------------------------------------------- */

struct modal_image_base {
    char *tag; /* the word behind FROM or --from= */
    char *id;  /* "im-..." */
};

struct modal_image_spec {
    const char *app_id;
    struct strlist commands;        /* the layer's lines, FROM first */
    struct modal_image_base *bases; /* further images by name, borrowed; Modal's own clients send none but "base" */
    size_t bases_len;
    struct strlist add_hosts;       /* "host:ip" for RUN; only the embedded engine heeds them */
    struct strlist labels;          /* K=V for the configuration; only the embedded engine heeds them */
    const char *base_image_id;      /* what "FROM base" means; NULL: FROM names a registry image */
    const char *context_mount_id;   /* NULL: no COPY from a context */
    struct strlist build_args;      /* K=V */
    struct strlist secret_ids;      /* visible to RUN */
    const char *registry_secret_id; /* static credentials for FROM; NULL: public */
    bool force_build;               /* build again and replace the server's cache entry */
    bool no_cache;                  /* build again, leave the server's cache alone; ours is not asked either */
    /* Set by a signal's handler: nobody waits for the build any more (GRPC_CANCELLED). May be NULL. */
    const volatile sig_atomic_t *cancelled;
};

/*
 * One piece of the build's log: text as it came, with or without newline; fd 1, 2 or 3 (the builder's own remarks), or
 * MODAL_LOG_PROGRESS: "<what> <done>/<total>", how far something is that takes long.
 */
#define MODAL_LOG_PROGRESS 4
typedef void modal_log_fn(void *arg, int fd, const char *text);

struct modal_image {
    char *id;      /* "im-..." */
    char *workdir; /* NULL: not said */
};

#define MODAL_IMAGE_INIT                                                                                               \
    {                                                                                                                  \
        NULL, NULL                                                                                                     \
    }

void modal_image_clear(struct modal_image *image);
void modal_image_spec_clear(struct modal_image_spec *spec); /* the lists only: the rest is borrowed */

/*
 * Builds or finds the layer and waits for it; log may be NULL. A broken connection is resumed from the last log entry.
 * A build that failed: err->code GRPC_FAILED_PRECONDITION and the builder's last words.
 */
int modal_image_build(struct modal_client *c, const struct modal_image_spec *spec, modal_log_fn *log, void *log_arg,
                      struct modal_image *ret_image, struct err *err);

/* Forgets that this layer was built: for a server that answers NOT_FOUND to an id out of the cache. */
void modal_image_forget(struct modal_client *c, const struct modal_image_spec *spec);

/* --- secrets ------------------------------------------------------------------------------------------------------ */

/* An anonymous secret of the app: "K=V" lines. modal_secret_delete() when it has served. Owned by caller. */
int modal_secret_create(struct modal_client *c, const char *app_id, const struct strlist *env, char **ret_secret_id,
                        struct err *err);
/* The one of that name in the client's environment; GRPC_NOT_FOUND otherwise. Owned by caller. */
int modal_secret_named(struct modal_client *c, const char *name, char **ret_secret_id, struct err *err);
/* The same, made with these variables; one that is there is replaced when overwrite, else GRPC_ALREADY_EXISTS. */
int modal_secret_put(struct modal_client *c, const char *name, const struct strlist *env, bool overwrite,
                     char **ret_secret_id, struct err *err);
int modal_secret_delete(struct modal_client *c, const char *secret_id, struct err *err);

/* --- existing images --------------------------------------------------------------------------------------------- */

int modal_image_from_id(struct modal_client *c, const char *id, struct modal_image *ret_image, struct err *err);

/* tag: "name:tag", with ":latest" added by the caller if there is none (protocol 3.4). */
int modal_image_by_tag(struct modal_client *c, const char *tag, struct modal_image *ret_image, struct err *err);
int modal_image_publish(struct modal_client *c, const char *id, const char *tag, struct err *err);
int modal_image_delete(struct modal_client *c, const char *id, struct err *err);

struct modal_image_tag {
    char *tag;
    char *id;
    double created_at;
};

struct modal_image_tags {
    struct modal_image_tag *items;
    size_t len;
};

#define MODAL_IMAGE_TAGS_INIT                                                                                          \
    {                                                                                                                  \
        NULL, 0                                                                                                        \
    }

/* All pages. prefix "" for everything. */
int modal_image_list(struct modal_client *c, const char *prefix, struct modal_image_tags *ret_tags, struct err *err);
void modal_image_tags_clear(struct modal_image_tags *tags);

#endif
