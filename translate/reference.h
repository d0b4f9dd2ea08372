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
#include <stdint.h>

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

/*
 * --- what a person may type after `docker run` and behind FROM ---
 *
 *     debian:12, user/app             looked up where struct lookup_order says
 *     docker.io/library/debian:12     with a domain: in that registry
 *     3f2a..., sha256:3f2a...         an image here by its id, or the start of it
 *     im-...                          an image of the server by Modal's id
 *     modal://[[WORKSPACE/]ENVIRONMENT/]NAME[:TAG]   an image that the server has by name, and nothing else
 */

enum image_kind {
    IMAGE_REFERENCE, /* ref is set (tag or digest always present) */
    IMAGE_ID,        /* id is the 64 hex digits of an image's digest */
    IMAGE_MODAL_ID,  /* id is "im-..." */
    IMAGE_MODAL_NAME /* modal://name[:tag]: id is what stands before the tag, tag the tag ("latest" when left out) */
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

/* How the image is called in the state: "docker.io/library/x:1", "modal://x:1"; NULL for an id. Owned by caller. */
char *image_ref_name(const struct image_ref *r);
/* As Docker's messages have it: "x:1", "modal://x:1", "sha256:...", "im-...". Owned by caller. */
char *image_ref_familiar(const struct image_ref *r);
/* The name to ask a Modal server for, "[[workspace/]environment/]name:tag"; NULL for what cannot be one (it has a
 * domain or a digest, or breaks Modal's rules for names). Owned by caller. */
char *image_ref_modal_tag(const struct image_ref *r);
/* Of names as the state has them: is it "modal://..."? How a person writes it; owned by caller, NULL for what is no
 * name. */
bool image_name_is_modal(const char *name);
char *image_name_familiar(const char *name);
/* The name under which an image of this normalised name is published: "x:1" for "docker.io/library/x:1"; NULL for names
 * of registries and accounts, and what Modal does not take. Owned by caller. */
char *reference_published(const char *name);

/* --- where a name without a domain is looked up --- */

enum lookup_place { LOOKUP_LOCAL, LOOKUP_MODAL, LOOKUP_REGISTRY, LOOKUP_MAX };

struct lookup_order {
    uint8_t places[LOOKUP_MAX]; /* enum lookup_place */
    size_t len;
};

extern const struct lookup_order lookup_default; /* local, modal, registry */

/* "local,modal,registry", also with blanks or newlines between the words; from is for messages. At least one, each at
 * most once. */
int lookup_parse(const char *words, const char *from, struct lookup_order *ret, struct err *err);
bool lookup_has(const struct lookup_order *order, enum lookup_place place);

/* --- mirrors --- */

/* Checks one "docker.io=localhost:5000[/prefix]" entry. */
int mirror_check(const char *entry, struct err *err);

/*
 * Where to pull r from: the first entry of mirrors for its domain replaces the domain (and puts the prefix before the
 * path). Without one ret is a copy. Returns whether a mirror was used.
 */
bool mirror_apply(const struct strlist *mirrors, const struct reference *r, struct reference *ret);

#endif
