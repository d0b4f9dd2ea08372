/* What the files of the image store share; nobody else includes it. */
#ifndef ATP_ENGINE_IMG_INTERNAL_H
#define ATP_ENGINE_IMG_INTERNAL_H

#include "backends/engine/images.h"
#include "backends/engine/img_build.h"
#include "compat/base/err.h"

/* A build under way. The thread and the loop share pending and finished under the store's lock. */
struct build_run {
    struct images *im;
    struct img_job job;
    pthread_t thread;
    struct strlist pending; /* log lines that the loop has not seen */
    bool finished;
    int result;
    struct err err;
    struct image *base;      /* of a snapshot: held until the end */
    void (*done)(void *arg); /* of a snapshot: the container's files are not read any more */
    void *arg;
};

struct image {
    struct image *next;
    char *id;
    char *key; /* what it was built from; NULL when a newer build took its place */
    enum images_state state;
    char *error;
    struct strlist log;
    struct strlist layers; /* keys, bottom first */
    struct image_config config;
    char *oci;
    int64_t made;    /* milliseconds since 1970: the newest of one key counts */
    int64_t expires; /* the same; 0 = never */
    size_t own;      /* how many of the topmost layers snapshots made */
    unsigned holds;
    bool deleted; /* out of sight; its layers stay until the last hold is released */
    struct build_run *run;
    unsigned followers;
    bool followed;        /* by somebody, once */
    struct timer *lonely; /* nobody follows the build */
};

struct images {
    char *dir;
    struct strlist mirrors;
    uv_loop_t *loop;
    uv_async_t *wake;
    struct image *list;
    struct img_name *names;
    struct img_locks locks;
    pthread_mutex_t lock; /* guards every run's pending and finished */
    void (*on_change)(const char *image_id, void *arg);
    void *on_change_arg;
    images_run_fn *run; /* carries out RUN */
    void *run_arg;
    size_t building;
    struct timer *expiry;
    struct images_task *tasks; /* img_task.h */
    bool sweeping;             /* garbage is being removed */
    bool sweep_waits;          /* and there may be more */
    int64_t thorough;          /* when that was done thoroughly (img_gc.h), milliseconds since 1970 */
};

struct image *img_find(struct images *im, const char *id); /* NULL when there is none, or it was deleted */
struct image *img_find_key(struct images *im, const char *key);
void img_image_free(struct image *image);

/* Starts the thread of what run->job says, for a new image that gets a new id, and puts that into the list. NULL: run
 * was freed. */
struct image *img_start(struct images *im, struct build_run *run, const char *key, struct err *err);
int64_t img_now(void); /* milliseconds since 1970 */

/* Deletes what has expired and looks again in time. */
void img_expire(struct images *im);

/* The layers that a configuration names, appended to ret: the empty one below images without any is none of them. */
void img_described_layers(const struct strlist *layers, struct strlist *ret);

/* ---- names: img_names.c ---- */

void img_names_load(struct images *im);
void img_names_drop(struct images *im, const char *id); /* of an image that is deleted */
void img_names_clear(struct images *im);

/* ---- on the disk ---- */

int img_record_load_all(struct images *im, struct err *err);
int img_record_save(struct images *im, const struct image *image, struct err *err);
void img_record_remove(struct images *im, const char *id);
/* Removes what nobody needs (img_gc.h), in a thread. */
void img_sweep(struct images *im);

#endif
