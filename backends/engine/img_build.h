/*
 * One build, from lines to layers and configuration; runs in a thread of its own and touches nothing but its job, the
 * store's files and the locks. The pieces: img_build.c the lines, img_pull.c FROM, img_copy.c COPY and ADD,
 * img_snapshot.c a container's changes.
 */
#ifndef ATP_ENGINE_IMG_BUILD_H
#define ATP_ENGINE_IMG_BUILD_H

#include "backends/registry/client.h"
#include "compat/base/strlist.h"
#include "translate/dockerfile/parse.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct err;
struct img_view;

/* Names that are being worked on: the second who wants one waits for the first. */
struct img_locks {
    pthread_mutex_t mutex;
    pthread_cond_t freed;
    struct strlist busy;
};

void img_locks_init(struct img_locks *l);
void img_locks_clear(struct img_locks *l);
/* 0, or -1 when cancelled became true while waiting. */
int img_lock(struct img_locks *l, const char *name, const atomic_bool *cancelled, struct err *err);
void img_unlock(struct img_locks *l, const char *name);

struct img_job {
    /* what to do: owned, filled by the caller */
    char *dir;
    struct strlist lines, build_args;
    bool has_base;              /* "FROM base" means: */
    struct strlist base_layers; /* keys, bottom first */
    char *base_config;          /* OCI JSON */
    char *context_mount;        /* NULL = none */
    char *user, *password;      /* for the registry of FROM; NULL = anonymous */
    char *upper;                /* a snapshot instead of a build: the container's changes on top of the base */
    size_t own;                 /* how many of the base's topmost layers snapshots made; what came out, afterwards */
    /* borrowed */
    const struct strlist *mirrors;
    struct img_locks *locks;
    void (*log)(const char *line, void *arg); /* called from any thread of the build */
    void *log_arg;
    atomic_bool cancelled;
    /* what came out */
    struct strlist layers; /* keys, bottom first, at least one */
    json_t *config;
};

void img_job_clear(struct img_job *job);
int img_build_run(struct img_job *job, struct err *err);
void img_log(struct img_job *job, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The snapshot of a running container: its changes become a layer on its image's (img_snapshot.c). */
int img_snapshot_run(struct img_job *job, struct err *err);

/* FROM a registry: appends the layers' keys and sets the configuration. */
int img_pull(struct img_job *job, const char *reference, struct err *err);

/* The key of a layer: from the one below and what it was made from. */
void img_chain_key(const struct strlist *below, const char *kind, const char *what, char ret[65]);
/* A view of the layers so far. */
struct img_view *img_job_view(const struct img_job *job, struct err *err);

struct img_copy { /* borrowed */
    bool add, link;
    const char *chown, *chmod;   /* NULL = not said */
    const struct strlist *words; /* sources, then destination; variables are put in */
    const char *workdir;
};
/* COPY and ADD: a new layer on top. */
int img_copy(struct img_job *job, const struct img_copy *copy, struct err *err);
/* WORKDIR: a new layer when the directory is not there. path is absolute and clean. */
int img_make_dir(struct img_job *job, const char *path, struct err *err);

/* An absolute clean path of s as seen from workdir; owned by caller. */
char *img_absolute(const char *workdir, const char *s);

/* uid and gid of "user[:group]", by number or by the names that the image's own /etc knows. */
int img_owner(struct img_view *view, const char *text, uid_t *ret_uid, gid_t *ret_gid, struct err *err);

#endif
