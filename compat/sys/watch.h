/*
 * What changes below some paths of this machine, while it changes.
 *
 *     struct watch *w = watch_new(&paths, err);
 *     poll(watch_fd(w)) ...
 *     watch_read(w, &changed, err);
 *     watch_free(w);
 *
 * A path may be a folder, which is watched with all that is below it, also with what comes later; a file; or nothing
 * yet, which is waited for. Symbolic links are not followed. What is told are absolute paths that were made, written,
 * moved or taken away; never the folders themselves that were asked for.
 */
#ifndef ATP_SYS_WATCH_H
#define ATP_SYS_WATCH_H

struct err;
struct strlist;
struct watch;

/* paths: absolute and clean. NULL and err: the system's limits, or a path that cannot be looked at. */
struct watch *watch_new(const struct strlist *paths, struct err *err);
void watch_free(struct watch *w);    /* NULL is fine */
int watch_fd(const struct watch *w); /* readable: something has happened */

/*
 * Adds what has happened to ret; the same path may be told more than once. 0, or 1 when more happened than the system
 * kept: then everything that is there is told, and what was taken away is not known. -1: nothing is told any more.
 */
int watch_read(struct watch *w, struct strlist *ret, struct err *err);

#endif
