/*
 * The entries of a volume, or of a container's view of one: sorted by path, which has no slash in front and no "." or
 * ".." in it; the root is not among them. A directory is there before what lies in it.
 */
#ifndef ATP_ENGINE_VOL_TREE_H
#define ATP_ENGINE_VOL_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

struct vol_entry {
    char *path, *link; /* link: of a symbolic link, else NULL */
    mode_t mode;       /* with its type: S_IFREG, S_IFDIR, S_IFLNK */
    uint64_t size;
    int64_t mtime_ns;
    char hash[65]; /* of a regular file, hex */
    /* of a view: as the file was when it was last looked at; 0: look again */
    uint64_t ino;
    int64_t ctime_ns;
};

struct vol_tree {
    struct vol_entry *items;
    size_t len, cap;
};

void vol_entry_clear(struct vol_entry *e);
void vol_tree_clear(struct vol_tree *t);
void vol_tree_copy(struct vol_tree *to, const struct vol_tree *from); /* to is empty */

/* Where path is, or belongs. */
size_t vol_tree_at(const struct vol_tree *t, const char *path, bool *ret_found);
struct vol_entry *vol_tree_find(const struct vol_tree *t, const char *path);
/* Takes e's strings. Directories above it are made as they are missing; what stands at its path, or is no directory
 * above it, is replaced. -1: too many entries. */
int vol_tree_put(struct vol_tree *t, struct vol_entry *e, struct err *err);
/* With all that lies below it. */
void vol_tree_remove(struct vol_tree *t, const char *path);
/* The end of what lies below the entry at `at`. */
size_t vol_tree_below(const struct vol_tree *t, size_t at);
/* In order, for who knows that it comes last. */
void vol_tree_append(struct vol_tree *t, struct vol_entry *e);
void vol_tree_sort(struct vol_tree *t);
bool vol_entry_same(const struct vol_entry *a, const struct vol_entry *b); /* but for what only a view has */

/* "/a//b/" -> "a/b"; owned by caller; NULL and err if it leaves the volume or is too long. "" is the root. */
char *vol_path(const char *path, struct err *err);

/* As JSON, by name in a directory. A missing one is an empty tree. */
int vol_tree_load(int dir, const char *name, struct vol_tree *ret, struct err *err);
int vol_tree_save(int dir, const char *name, const struct vol_tree *t, struct err *err);

#endif
