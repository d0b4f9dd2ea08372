/*
 * Lays out a tree stream in a file system. The stream may be hostile: everything is done with one plain name in a
 * directory that is held open (compat/sys/beneath.h), nothing that stands in the destination is followed, and links are
 * made when all files are in place. A file appears complete or not at all; directories get their modes and times at the
 * end.
 *
 *     tree_writer_new -> tree_writer_feed ... -> tree_writer_finish      (and tree_writer_free at any time)
 *
 * Where it goes is asked for once, when HEAD and, unless the stream is TREE_LOOSE, the tree's root are known.
 */
#ifndef ATP_BTREE_WRITER_H
#define ATP_BTREE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct tree_entry;
struct tree_head;
struct tree_writer;

struct tree_dest {
    int dir;        /* taken; -1 until it is set */
    char *name;     /* taken: the tree's root is called so in dir; NULL: dir is the root and keeps its look */
    char *shown;    /* taken: dir's path, for messages and to judge links */
    bool owners;    /* uid and gid of the entries; otherwise what the system gives */
    bool one_owner; /* all of it belongs to uid:gid instead */
    uid_t uid;
    gid_t gid;
    bool set_ids;              /* setuid, setgid and sticky bits are kept */
    bool fifos;                /* made; otherwise left out */
    bool in_place;             /* a root that is a regular file rewrites the one that is there */
    const char *const *closed; /* paths below dir where nothing is laid out; borrowed; NULL-terminated, may be NULL */
};

/* root is NULL for a TREE_LOOSE stream. -1: the copy ends with this error. */
typedef int tree_place_fn(void *arg, const struct tree_head *head, const struct tree_entry *root, struct tree_dest *ret,
                          struct err *err);

struct tree_writer *tree_writer_new(tree_place_fn *place, void *arg);
void tree_writer_free(struct tree_writer *w); /* unfinished files are removed; NULL is fine */

int tree_writer_feed(struct tree_writer *w, const void *bytes, size_t len, struct err *err);
/* The stream has ended: makes the links, gives directories their looks. */
int tree_writer_finish(struct tree_writer *w, struct err *err);

/* tree_tar_size() of what has come so far. */
uint64_t tree_writer_tar_size(const struct tree_writer *w);
/* How many devices and fifos were left out. */
size_t tree_writer_skipped(const struct tree_writer *w);

#endif
