/*
 * A tree on its way: what `docker cp` moves between two file systems, as a stream of records. Both ends speak this and
 * nothing else; tar exists only where the user said "-". Pure: values in, bytes out, and the other way round.
 *
 *     HEAD    how the copied thing is called, and how it was asked for
 *     XATTR.. extended attributes of the entry that follows; only where they are expected
 *     ENTRY   one file, directory, link...; a regular file is followed by its contents:
 *     DATA / HOLE     together exactly `size` bytes, no more and no fewer
 *     END     nothing is missing
 *
 * Paths are relative to the copied thing, whose own path is ""; a directory comes before what is in it. With TREE_LOOSE
 * (a tar archive) there is no such thing: entries lie where they say, in any order, their directories may be missing.
 *
 * The parser believes nothing. What it hands on has a clean relative path (no "..", no ".", no empty component, at most
 * LIMIT_PATH bytes and LIMIT_DEPTH levels), a type and a mode that exist, and contents that are as long as announced.
 * There are at most LIMIT_ENTRIES entries. It holds one record.
 *
 * Errors have the exit code 1, which is that of `cp`.
 */
#ifndef ATP_TREE_TREE_H
#define ATP_TREE_TREE_H

#include "compat/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

enum tree_type {
    TREE_DIR = 1,
    TREE_FILE = 2,
    TREE_SYMLINK = 3,  /* link: its text */
    TREE_HARDLINK = 4, /* link: path of an earlier entry, which is this file's other name */
    TREE_FIFO = 5,
    TREE_DEVICE = 6, /* character or block, see `block`; sockets never travel */
    TREE_TYPE_MAX
};

struct tree_entry {
    uint8_t type;  /* enum tree_type */
    bool block;    /* TREE_DEVICE */
    uint16_t mode; /* 12 bits */
    uint32_t uid, gid;
    int64_t mtime;         /* ns since 1970 */
    uint64_t size;         /* TREE_FILE */
    uint32_t major, minor; /* TREE_DEVICE */
    const char *path;
    const char *link; /* never NULL */
};

/* enum tree_type of an st_mode; 0 for what never travels. */
uint8_t tree_type_of(mode_t mode);
/* The file type's bits of an st_mode; a hard link is a regular file. */
mode_t tree_file_type(const struct tree_entry *e);

enum tree_head_flag {
    TREE_CONTENTS = 1 << 0, /* asked for as SRC/. */
    TREE_LOOSE = 1 << 1,    /* an archive to be unpacked */
};

struct tree_head {
    uint8_t flags;    /* enum tree_head_flag */
    const char *base; /* how the copied thing is called: one name, "." with TREE_CONTENTS, "/" for a root */
};

#define TREE_CHUNK      (64u << 10)         /* bytes in one DATA record */
#define TREE_RECORD_MAX (TREE_CHUNK + 8192) /* the largest record: an ENTRY with two paths, or a DATA */
#define TREE_PREFIX     5                   /* in front of each record: its kind, its length */

/* Append a record. -1 if the value is impossible (too long a path, too much data), or at b's ceiling. */
int tree_put_head(struct buf *b, const struct tree_head *head);
int tree_put_entry(struct buf *b, const struct tree_entry *e);
/* value: at most TREE_CHUNK. Comes before its entry. */
int tree_put_xattr(struct buf *b, const char *name, const void *value, size_t len);
int tree_put_data(struct buf *b, const void *bytes, size_t len); /* at most TREE_CHUNK */
int tree_put_hole(struct buf *b, uint64_t len);
int tree_put_end(struct buf *b);

/* "a/b/c" as the parser wants it; "" is fine. */
bool tree_path_ok(const char *path);

/* How long the entry is in a tar archive, its contents included: what docker calls the size of a copy. */
uint64_t tree_tar_size(const struct tree_entry *e);
#define TREE_TAR_END 1024u /* and the archive's end */

/* What is borrowed is valid for the call. Each returns 0, or -1 with err: then the stream is over. */
struct tree_events {
    int (*head)(void *arg, const struct tree_head *head, struct err *err);
    int (*entry)(void *arg, const struct tree_entry *e, struct err *err);
    int (*data)(void *arg, const void *bytes, size_t len, struct err *err);
    int (*hole)(void *arg, uint64_t len, struct err *err);
    int (*file_end)(void *arg, struct err *err); /* the contents of the last TREE_FILE are complete */
    int (*end)(void *arg, struct err *err);
    /* Of the entry that comes next. NULL: a stream that has some is malformed. */
    int (*xattr)(void *arg, const char *name, const void *value, size_t len, struct err *err);
};

struct tree_parser {
    struct buf in;
    size_t taken;
    const struct tree_events *events;
    void *arg;
    uint64_t left;     /* of the file that is being read */
    uint64_t tar_size; /* of what has come so far */
    uint32_t entries;
    uint8_t flags;
    bool headed, in_file, ended;
    uint32_t xattrs; /* of the entry that comes next */
};

#define TREE_XATTRS_MAX 64u /* of one entry */

void tree_parser_init(struct tree_parser *p, const struct tree_events *events, void *arg);
void tree_parser_clear(struct tree_parser *p);
/* Any number of bytes; hands on what is complete. */
int tree_parser_feed(struct tree_parser *p, const void *bytes, size_t len, struct err *err);
/* The stream has ended: -1 if END had not come. */
int tree_parser_finish(const struct tree_parser *p, struct err *err);

#endif
