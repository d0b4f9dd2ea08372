/*
 * What a member of a shared volume (share_mate.h) knows of its files: how each looked when it was last told to the
 * others, or was brought by them. A scan compares the files with that; a file that looks otherwise was changed here.
 * Private to share_*.c.
 */
#ifndef ATP_AGENT_SHARE_TREE_H
#define ATP_AGENT_SHARE_TREE_H

#include "compat/base/sha256.h"
#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct share_node {
    struct share_node *next;
    char *path, *link; /* link: as in struct share; NULL for what has none */
    uint8_t kind;      /* enum share_kind; 0: it is gone, and that was told */
    uint16_t mode;
    uint32_t uid, gid;
    int64_t mtime_ns, ctime_ns;
    uint64_t size, ino;
    uint64_t pending; /* which of our changes it is */
    uint32_t seen;    /* by which scan */
    bool fresh;       /* so young that it may change again without its times showing it */
    uint8_t digest[SHA256_LEN];
};

struct share_change {
    char *path, *link;
};

struct share_tree {
    int root;
    const char *target;
    const struct strlist *closed;
    struct share_node **slots;
    size_t n_slots, n_nodes;
    uint32_t scan;
    int watch;      /* inotify's; -1: not there */
    bool unwatched; /* a directory could not be watched: looking again is all there is */
    bool partly;    /* a directory could not be read: nothing counts as gone */
    struct share_change *changed;
    size_t n_changed, room_changed;
    struct strlist gone;      /* the deepest first */
    struct share_name *names; /* files with several names, of one scan */
    size_t n_names, room_names;
};

/* root, target and closed are borrowed. */
void share_tree_init(struct share_tree *t, int root, const char *target, const struct strlist *closed);
void share_tree_clear(struct share_tree *t);
/* Forgets all nodes. */
void share_tree_reset(struct share_tree *t);
/* Begins to watch: t->watch is readable when something may have changed. */
void share_tree_watch(struct share_tree *t);
void share_tree_unwatch(struct share_tree *t);

struct share_node *share_tree_find(const struct share_tree *t, const char *path);
struct share_node *share_tree_add(struct share_tree *t, const char *path);
void share_tree_drop(struct share_tree *t, struct share_node *n);

enum share_scan {
    SHARE_SCAN_CHANGES, /* changed and gone are what differs */
    SHARE_SCAN_ALL,     /* changed is all there is */
    SHARE_SCAN_TAKE,    /* all there is becomes what is known */
};
void share_tree_scan(struct share_tree *t, enum share_scan what);
void share_tree_forget_changes(struct share_tree *t);

/* What st looks like; link is copied. */
void share_node_set(struct share_node *n, uint8_t kind, const struct stat *st, const char *link);
bool share_node_is(const struct share_node *n, const struct stat *st);
/* Nobody here has changed it since; n NULL: it is not there. */
bool share_tree_untouched(const struct share_tree *t, const struct share_node *n, int dir, const char *name);
/* A name of this file has come or gone: the times of its others are not news. */
void share_tree_renamed(struct share_tree *t, uint64_t ino);
/* Something else is mounted there or above. */
bool share_tree_closed(const struct share_tree *t, const char *path);

#endif
