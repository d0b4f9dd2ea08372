/*
 * Where COPY, ADD and mounts take files from: the context (whose files have no owners and perhaps times of their own),
 * the layers of a stage or an image, or a folder that was filled for one step. Read without mounting anything.
 */
#ifndef ATP_ENGINE_IMG_SOURCE_H
#define ATP_ENGINE_IMG_SOURCE_H

#include "backends/engine/img_build.h"
#include "backends/engine/img_store.h"
#include "backends/engine/img_view.h"

struct digest;

struct img_source {
    struct strlist dirs; /* topmost first */
    struct img_view *view;
    struct img_mount mount; /* of the context */
    bool is_context;
};

int img_source_context(const struct img_job *job, struct img_source *ret, struct err *err);
int img_source_layers(const struct img_job *job, const struct strlist *layers, struct img_source *ret, struct err *err);
int img_source_folder(const char *dir, struct img_source *ret, struct err *err);
void img_source_clear(struct img_source *s);

/* The path with all links followed (relative), which must be there: `"/x": not found`. */
int img_source_resolve(const struct img_source *s, const char *path, char **ret, struct stat *ret_st, struct err *err);
/* When the file was changed; path is from the source's root and free of links. */
struct timespec img_source_time(const struct img_source *s, const char *path, const struct stat *st);
/* Adds what an entry is, without its times: label, kind, mode, owner, contents. path as above. */
int img_source_digest(const struct img_source *s, const char *label, const char *path, const struct img_entry *e,
                      struct digest *d, struct err *err);
/* The same of all that is at path. */
int img_source_digest_tree(const struct img_source *s, const char *path, struct digest *d, struct err *err);

#endif
