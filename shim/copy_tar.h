/*
 * Tar archives at the edge of a copy: a tree stream as an archive for stdout, and an archive on stdin as a tree stream.
 * libarchive lays out and takes apart; it never touches a file.
 */
#ifndef ATP_SHIM_COPY_TAR_H
#define ATP_SHIM_COPY_TAR_H

#include "compat/base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct err;
struct loop;
struct strlist;

/* ---- out ---- */

struct tar_out;

/* root: how the copied thing is called in the archive; NULL: as the stream says. Owned by caller. */
struct tar_out *tar_out_new(const char *root, struct err *err);
void tar_out_free(struct tar_out *t); /* NULL is fine */
/*
 * Before the first piece: the tree is a container's whole root, for `docker export`. Names have no slash in front, the
 * root itself is no entry, and what is below `closed` (absolute clean paths, borrowed) is left out; a file there is
 * empty.
 */
void tar_out_whole(struct tar_out *t, const struct strlist *closed);
/* Takes a piece of a tree stream. */
int tar_out_feed(struct tar_out *t, const void *bytes, size_t len, struct err *err);
/* The stream has ended: adds the archive's end. */
int tar_out_finish(struct tar_out *t, struct err *err);
/* What is ready to be written; the caller consumes it. */
struct buf *tar_out_bytes(struct tar_out *t);

/* ---- in ---- */

struct tar_in;

/* A thread reads fd, since libarchive waits for its input. dest is for messages. */
struct tar_in *tar_in_start(int fd, const char *dest, struct err *err);
int tar_in_fd(const struct tar_in *t); /* the tree stream, for poll(2) and read(2); its end is the thread's */
/* After the end: -1 if the archive was damaged. */
int tar_in_result(struct tar_in *t, struct err *err);
/* Also before the end: the thread, which may be waiting for stdin, is left to itself. NULL is fine. */
void tar_in_free(struct tar_in *t);

#endif
