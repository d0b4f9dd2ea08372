/*
 * A layer's tar as it travels: gzip at one level and without a time, so that the same tar gives the same bytes, and so
 * the same digest, each time.
 *
 *     struct gzip_file *g = gzip_file_new(fd, &err);
 *     gzip_file_add(g, ...)...
 *     gzip_file_end(g, &digest, &size, &err);
 *     gzip_file_free(g);
 */
#ifndef ATP_REGISTRY_COMPRESS_H
#define ATP_REGISTRY_COMPRESS_H

#include "compat/base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

struct err;
struct gzip_file;

struct gzip_file *gzip_file_new(int fd, struct err *err); /* fd stays the caller's */
int gzip_file_add(struct gzip_file *g, const void *bytes, size_t len, struct err *err);
/* Digest ("sha256:...", owned by caller) and length of what was written. */
int gzip_file_end(struct gzip_file *g, char **ret_digest, int64_t *ret_size, struct err *err);
void gzip_file_free(struct gzip_file *g);

DEFINE_CLEANUP(struct gzip_file *, gzip_file_free)

#endif
