/*
 * Where a copied thing goes, as Docker decides it: into the destination, or in its place. Pure; the client asks it for
 * the host's side and the agent for the container's.
 */
#ifndef ATP_TREE_PLACE_H
#define ATP_TREE_PLACE_H

#include "translate/tree/tree.h"

struct err;

struct place_dest {
    const char *path; /* the destination, a last link resolved */
    bool exists, is_dir;
};

struct place {
    char *dir;  /* owned: the directory to lay out in; it must exist */
    char *name; /* owned: the copied thing's name there; NULL: what it holds goes straight into dir */
};
void place_clear(struct place *p);

/* root_type: enum tree_type of the copied thing. -1: exit code 1 and Docker's words. */
int place_choose(const struct tree_head *head, uint8_t root_type, const struct place_dest *dest, struct place *ret,
                 struct err *err);

/* The path means a directory and nothing else: it ends in "/" or "/.", or is empty. */
bool place_asserts_dir(const char *path);
/* The last component, "/" for the root, "." for what ends in "/." or is empty; "dir/" is called "dir". */
char *place_base(const char *path); /* owned by caller */
/* What holds it, clean: "/a/b/" -> "/a", "/a/." -> "/a", "b" -> "."; owned by caller. */
char *place_parent(const char *path);
/* `clean` ends as `given` does: "/." and "/" at its end say something (Docker keeps both). Owned by caller. */
char *place_keep_end(const char *clean, const char *given);

/* Docker's text if a link with this text, to be made at path below root, would point out of it: -1. */
int place_check_link(const char *root, const char *path, const char *text, struct err *err);

#endif
