/*
 * What a stack of layers shows, read without mounting it: overlay whiteouts (devices 0:0) and opaque directories are
 * obeyed, symbolic links are followed within the stack only.
 */
#ifndef ATP_ENGINE_IMG_VIEW_H
#define ATP_ENGINE_IMG_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct buf;
struct err;
struct strlist;
struct img_view;

/* The extended attribute that makes a directory opaque: trusted.overlay.opaque, or user.overlay.opaque without root. */
const char *img_opaque_name(void);
bool img_is_whiteout(const struct stat *st);
bool img_is_opaque(int fd);

struct img_view *img_view_open(const struct strlist *dirs /* topmost first */, struct err *err);
void img_view_free(struct img_view *v);

/*
 * Looks path up ("" is the root); nothing is followed, and every directory on the way must be one. 1 found, 0 not, -1.
 * *ret_link (may be NULL) becomes the text of a symbolic link, owned by caller; *ret_fd (may be NULL) a descriptor of
 * a directory or file, owned by caller, and -1 for anything else.
 */
int img_view_look(struct img_view *v, const char *path, struct stat *ret, char **ret_link, int *ret_fd,
                  struct err *err);

/*
 * The path with every symbolic link in it replaced by where it points, as a process in that root would see it; *ret is
 * relative to the root and owned by caller. Components that do not exist stay as they are.
 */
int img_view_resolve(struct img_view *v, const char *path, char **ret, struct err *err);

struct img_entry {
    const char *path; /* from where the walk began: "" is that itself */
    const char *name; /* in holder */
    int holder;       /* descriptor of the directory that has it; good until the callback returns */
    int dir;          /* of a directory: its own topmost, else -1 */
    struct stat st;
};
/* A path to it that leads nowhere else, for calls on attributes; NULL where there are none. Owned by caller. */
char *img_entry_path(const struct img_entry *e);
/* 0 = go on, 1 = do not go into this directory, -1 = err. */
typedef int img_walk_fn(const struct img_entry *e, void *arg, struct err *err);
/* Calls fn for what is at path (nothing is followed) and all below it, a directory before what is in it, names in the
 * order of their bytes. It must be there. */
int img_view_walk(struct img_view *v, const char *path, img_walk_fn *fn, void *arg, struct err *err);

/* Reads a file, links followed, up to the buffer's ceiling. 1 read, 0 there is none, -1. */
int img_view_read(struct img_view *v, const char *path, struct buf *out, struct err *err);

#endif
