/* Private to this room: a writer's state, shared by writer.c (the stream's events) and writer_links.c. */
#ifndef ATP_BTREE_WRITER_IMPL_H
#define ATP_BTREE_WRITER_IMPL_H

#include "backends/tree/writer.h"

#include "backends/sync/dirs.h"
#include "compat/sys/beneath.h"
#include "translate/tree/tree.h"

/* A link, or another name, that is made at the end. */
struct late_link {
    bool hard;
    char *path, *text; /* owned; of a hard link text is the path of the first name */
    uint32_t uid, gid;
    int64_t mtime;
};

struct tree_writer {
    struct tree_parser parser;
    tree_place_fn *place;
    void *arg;
    struct tree_head head; /* base is ours */
    char *base;
    struct tree_dest dest;
    bool placed;
    struct dirs *dirs;
    struct late_link *links;
    size_t links_len, links_cap;
    size_t names; /* bytes of names that are remembered */
    size_t skipped;
    /* the file that is being written */
    int file;
    bool in_place, dropped;      /* dropped: its contents are not wanted */
    int file_dir;                /* borrowed from dirs */
    char temp[BENEATH_TEMP_MAX]; /* "" in place */
    char *path;                  /* owned, of the current entry, below dest.dir */
    uint16_t mode;
    uint32_t uid, gid;
    int64_t mtime;
    uint64_t size, at;
};

/* "writing <where>/<path>: <errno>"; -1. */
int writer_fail(const struct tree_writer *w, const char *path, struct err *err);
/* The directory that holds path, made if it is missing. Borrowed. -1 with err. */
int writer_parent(struct tree_writer *w, const char *path, const char **ret_name, struct err *err);
/* -1 with Docker's words if a directory stands at name. */
int writer_refuse_dir(const struct tree_writer *w, int dir, const char *name, const char *path, struct err *err);
/* Counts names that are kept until the end; -1 at the ceiling. */
int writer_keep_names(struct tree_writer *w, size_t len, struct err *err);
/* Who path shall belong to. */
void writer_owner(const struct tree_writer *w, uint32_t *uid, uint32_t *gid);

int writer_add_link(struct tree_writer *w, const struct tree_entry *e, const char *path, struct err *err);
int writer_make_links(struct tree_writer *w, struct err *err);
void writer_drop_links(struct tree_writer *w);

#endif
