/*
 * What a whole file system looks like, without contents: one record per file, in the order of tree_path_compare(). Two
 * such lists are compared by going through both at once. Pure; what is read may be hostile.
 */
#ifndef ATP_TREE_LOOK_H
#define ATP_TREE_LOOK_H

#include "compat/base/limits.h"
#include "translate/tree/tree.h"

struct tree_look {
    struct tree_entry entry; /* never TREE_HARDLINK: each name of a file is listed as the file */
    uint32_t links;          /* how many names the file has; 0 for a directory */
    uint64_t xattrs;         /* digest of its extended attributes; 0 = none */
    int64_t changed;         /* ctime of a file that is not empty, else 0: says that it may be another one */
    uint64_t contents;       /* digest of them; 0 = not told */
};

/* By names, a directory just before what is in it: "a", "a/b", "a.b". */
int tree_path_compare(const char *a, const char *b);
/* Is path below dir, or dir itself? */
bool tree_path_within(const char *path, const char *dir);

int tree_put_look(struct buf *b, const struct tree_look *look);

/* Equal in all that is told, but for `changed` and `contents`. */
bool tree_look_same(const struct tree_look *a, const struct tree_look *b);
/* Of two that are the same: something happened to one of them since, so the contents must be compared. Unpackers that
 * give every file the same time would hide a change otherwise. */
bool tree_look_doubtful(const struct tree_look *a, const struct tree_look *b);

struct look_reader {
    struct buf in;
    size_t taken;
    char path[LIMIT_PATH], link[LIMIT_PATH]; /* of the last record */
    bool begun;
};

/* ceiling: how many bytes may wait to be read. */
void look_reader_init(struct look_reader *r, size_t ceiling);
void look_reader_clear(struct look_reader *r);
int look_reader_feed(struct look_reader *r, const void *bytes, size_t len, struct err *err);
/* 1 and *ret, whose strings are valid until the next call; 0: no whole record is there; -1. *ret_size (may be NULL): of
 * the record. */
int look_reader_next(struct look_reader *r, struct tree_look *ret, size_t *ret_size, struct err *err);
/* Nothing is left over. */
bool look_reader_empty(const struct look_reader *r);

#endif
