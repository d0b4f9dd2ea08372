/*
 * Looks at a tree ahead of the one who reads it: the names of its directories and what each of them is, by as many
 * threads as the machine has processors, while the reader goes through it in the order of a manifest and never waits
 * for more than the directory that it stands at. Nearly all that a scan of an unchanged tree costs is looking.
 *
 * The reader begins with look_new(), takes the root's names with look_at(), goes down with look_at() on the directories
 * among them, and lets each one go with look_done() when it has been through everything below it. Nothing follows a
 * link: each directory is opened in its parent's descriptor. What is held at a time is bounded: descriptors by the
 * depth of the tree, names by how far the threads may run ahead. A small tree starts no threads.
 *
 * Unfinished files of ours are swept if forgotten, and never named.
 */
#ifndef ATP_SYNC_LOOK_H
#define ATP_SYNC_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct strlist;

enum look_kind {
    LOOK_ENTRY,    /* st says what it is */
    LOOK_DIR,      /* see look_at() */
    LOOK_EXCLUDED, /* not looked at */
    LOOK_GONE,     /* it went away meanwhile */
    LOOK_FAILED,   /* errnum says why */
};

struct look_dir;

struct look_name {
    const char *name;
    char *text;           /* of a symbolic link */
    struct look_dir *dir; /* LOOK_DIR */
    struct stat st;
    int errnum;
    uint8_t kind; /* enum look_kind */
    uint8_t type; /* the system's word for it, before the look */
};

struct look_dir {
    struct look_name self;   /* what stands at its name after all: a directory, unless that was swapped meanwhile */
    struct look_name *names; /* sorted by bytes */
    size_t len;

    /* The rest is look.c's. */
    struct look_dir *parent;
    struct look_dir *below;    /* the next one to be looked at */
    struct look_dir *children; /* a block of those among the names */
    char *path;                /* below the tree's root; NULL where nothing is excluded */
    char *bytes;               /* the names' */
    int fd;                    /* while directories in it are still to be opened */
    size_t unopened;           /* how many, and one for itself */
    unsigned depth;
    bool ready;
};

struct look;

/* root: a directory's descriptor that can be listed; it is consumed. exclude: borrowed; may be NULL. */
struct look *look_new(int root, const struct strlist *exclude);
void look_free(struct look *l); /* NULL is fine */

struct look_dir *look_root(struct look *l);
/* Waits until it has been looked at, or does it. Then self says what it is: LOOK_DIR with its names, or something else.
 */
void look_at(struct look *l, struct look_dir *d);
/* Nothing in it is needed any more. */
void look_done(struct look *l, struct look_dir *d);

/* For tests: so many threads, the reader included, from the first directory on; 0: as many as are good. */
void look_force_threads(unsigned threads);

#endif
