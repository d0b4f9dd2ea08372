/*
 * Where the files of a mount are bound into a container. A directory that the image does not have is bound as a whole;
 * one that it has is entered, so that a mount adds files to it and hides nothing.
 */
#ifndef ATP_ENGINE_MOUNTS_H
#define ATP_ENGINE_MOUNTS_H

struct err;
struct strlist;

/* Appends the pairs for the laid out mount below dir, over an image of these layers (topmost first). */
int mounts_add(const char *dir, const struct strlist *lowers, struct strlist *sources, struct strlist *targets,
               struct err *err);

#endif
