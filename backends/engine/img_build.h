/*
 * One build, from a Dockerfile to layers and configuration; runs in a thread of its own and touches nothing but its
 * job, the store's files and the locks. The pieces: img_build.c stages and steps, img_from.c what a name means,
 * img_pull.c a registry's images, img_step.c keys and layers of steps, img_copy.c COPY and ADD (img_source.c where
 * from, img_fetch.c from the network), img_run.c RUN (img_cache.c its caches, img_settle.c what it changed, img_user.c
 * as whom), img_snapshot.c a container's changes.
 */
#ifndef ATP_ENGINE_IMG_BUILD_H
#define ATP_ENGINE_IMG_BUILD_H

#include "backends/engine/images.h"
#include "backends/registry/client.h"
#include "compat/base/strlist.h"

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
bool img_try_lock(struct img_locks *l, const char *name);
void img_unlock(struct img_locks *l, const char *name);

/* A root file system as it is known so far, and its configuration. */
struct img_tree {
    struct strlist layers; /* keys, bottom first */
    json_t *config;        /* NULL = not known */
    char *text;            /* the configuration as it was written, NULL = it is made here */
};
void img_tree_clear(struct img_tree *t);

struct img_named { /* an image that the caller of the build knows by name */
    char *name;
    struct strlist layers; /* keys, bottom first */
    char *config;          /* OCI JSON */
};

struct img_job {
    /* what to do: owned, filled by the caller */
    char *dir;
    struct strlist lines, build_args, secrets, add_hosts, labels;
    struct img_named *bases;
    size_t bases_len;
    char *context_mount;        /* NULL = none */
    char *user, *password;      /* for the registry of FROM; NULL = anonymous */
    bool force;                 /* layers of steps are made anew */
    char *upper;                /* a snapshot instead of a build: the container's changes on top of the base */
    struct strlist base_layers; /* of a snapshot: keys, bottom first */
    char *base_config;          /* of a snapshot: OCI JSON */
    size_t own;                 /* how many of the base's topmost layers snapshots made; what came out, afterwards */
    /* borrowed */
    const struct strlist *mirrors;
    struct img_locks *locks;
    images_run_fn *run; /* NULL: RUN fails */
    void *run_arg;
    void (*log)(const char *piece, void *arg); /* as images.h has it; called from any thread of the build */
    void *log_arg;
    atomic_bool cancelled;
    /* the stage at work; in the end what came out */
    struct strlist layers; /* keys, bottom first; at least one in the end */
    json_t *config;
    char *config_text; /* the configuration as it is written where it comes from; NULL once it is another */
};

void img_job_clear(struct img_job *job);
int img_build_run(struct img_job *job, struct err *err);
/* A line of the builder's own. */
void img_log(struct img_job *job, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* How far something is that takes long; what: "<12 hex digits>: Downloading". */
void img_log_progress(struct img_job *job, const char *what, int64_t done, int64_t total);
/* -1 and "context canceled" when nobody wants the build any more. */
int img_cancelled(const struct img_job *job, struct err *err);

/* The snapshot of a running container: its changes become a layer on its image's (img_snapshot.c). */
int img_snapshot_run(struct img_job *job, struct err *err);

/* FROM a registry: appends the layers' keys to job->layers and sets job->config and job->config_text. */
int img_pull(struct img_job *job, const char *reference, struct err *err);

/* The key of a layer: from the one below and what it was made from. */
void img_chain_key(const struct strlist *below, const char *kind, const char *what, char ret[65]);
/* A view of the layers so far. */
struct img_view *img_job_view(const struct img_job *job, struct err *err);
/* Directories of layers, topmost first, appended to ret. */
void img_layer_dirs(const struct img_job *job, const struct strlist *layers, struct strlist *ret);

/* An absolute clean path of s as seen from workdir; owned by caller. */
char *img_absolute(const char *workdir, const char *s);

#endif
