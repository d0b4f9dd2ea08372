/*
 * Reads a tree of a file system as a tree stream (translate/tree/tree.h), piece by piece, for whoever sends it. What
 * changes meanwhile never makes the stream lie: a file that shrinks is filled up with zeros, one that grows is cut at
 * the size that was announced, one that vanishes before its turn is left out. Names come sorted, so that two readings
 * of one tree are the same. No link is followed.
 */
#ifndef ATP_BTREE_READER_H
#define ATP_BTREE_READER_H

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct err;
struct tree_head;
struct tree_reader;

struct tree_source {
    int dir;                     /* borrowed: the directory that holds it */
    const char *name;            /* one name; "": dir itself */
    const char *shown;           /* its path, for messages */
    bool dense;                  /* holes are read as zeros */
    const char *const *left_out; /* paths below it that are not there for the reader; NULL-terminated, may be NULL */
    const char *const *closed;   /* directories that are shown without what is in them; the same */
};

/* Strings are borrowed until tree_reader_free(). -1: it is not there, or is nothing that can travel (a socket). */
struct tree_reader *tree_reader_new(const struct tree_source *source, const struct tree_head *head, struct err *err);
void tree_reader_free(struct tree_reader *r); /* NULL is fine */

#define TREE_READER_ROOM (192u << 10) /* what one call may add to out */

/* Appends the next records, END at last: 1 = there is more, 0 = that was all, -1. */
int tree_reader_next(struct tree_reader *r, struct buf *out, struct err *err);
/* tree_tar_size() of what was read so far. */
uint64_t tree_reader_tar_size(const struct tree_reader *r);

#endif
