/*
 * Image references: the grammar of distribution, Docker's normal form (docker.io/library/x:latest) and familiar form
 * (x), Modal's own images, and the mapping of registries to mirrors.
 *
 * A reference_* function never guesses a tag: reference_add_latest() does, when the caller wants one.
 */
#ifndef ATP_TRANSLATE_REFERENCE_H
#define ATP_TRANSLATE_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>

struct err;
struct strlist;

struct reference { /* all owned */
    char *domain;  /* "docker.io", "localhost:5000", "[::1]:5000" */
    char *path;    /* "library/debian" */
    char *tag;     /* NULL = none */
    char *digest;  /* "sha256:<hex>", NULL = none */
};

void reference_clear(struct reference *r);

/* Parses s and normalises it. Texts are Docker's ("invalid reference format", ...); exit code 125. */
int reference_parse(const char *s, struct reference *ret, struct err *err);

/* Adds the tag "latest" when there is neither tag nor digest. */
void reference_add_latest(struct reference *r);

char *reference_string(const struct reference *r);   /* docker.io/library/x:tag@digest; owned by caller */
char *reference_familiar(const struct reference *r); /* x:tag@digest, as `docker ps` shows it; owned by caller */
char *reference_name(const struct reference *r);     /* docker.io/library/x: no tag, no digest; owned by caller */

/* --- what a person may type after `docker run` --- */

enum image_kind {
    IMAGE_REFERENCE, /* ref is set (tag or digest always present) */
    IMAGE_ID,        /* id is the 64 hex digits of an image's digest */
    IMAGE_MODAL_ID,  /* id is "im-..." */
    IMAGE_MODAL_NAME /* modal://name[:tag]: id is the name, tag the tag ("latest" when left out) */
};

struct image_ref {
    enum image_kind kind;
    struct reference ref;
    char *id;
    char *tag;
    char *text; /* as typed */
};

void image_ref_clear(struct image_ref *r);
int image_ref_parse(const char *s, struct image_ref *ret, struct err *err);

/*
 * Lower-case hex of 1 to 64 digits: the word may be the start of an image's id as well as a repository's name. Docker
 * looks for a local image of that name first, then for the id.
 */
bool image_ref_may_be_id(const char *s);

/* --- mirrors --- */

/* Checks one "docker.io=localhost:5000[/prefix]" entry. */
int mirror_check(const char *entry, struct err *err);

/*
 * Where to pull r from: the first entry of mirrors for its domain replaces the domain (and puts the prefix before the
 * path). Without one ret is a copy. Returns whether a mirror was used.
 */
bool mirror_apply(const struct strlist *mirrors, const struct reference *r, struct reference *ret);

#endif
