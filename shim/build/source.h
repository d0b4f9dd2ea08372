/*
 * Where a build's files come from: a directory, an archive or a Dockerfile on standard input, a URL, a git repository.
 * All but a directory of the user's own end in a private folder. The Dockerfile and what is to be left out are read
 * with it.
 */
#ifndef ATP_SHIM_BUILD_SOURCE_H
#define ATP_SHIM_BUILD_SOURCE_H

#include "compat/base/buf.h"
#include "shim/build/temp.h"

struct build_request;
struct err;

#define BUILD_DOCKERFILE_MAX (16u << 20) /* BuildKit reads no more either; here-documents are in it */

struct build_source {
    int dir;               /* the context's root; -1 = it is empty */
    char *path;            /* of the root, for opening files; NULL when empty */
    bool own;              /* path is a private folder: its owner writes nothing there meanwhile */
    char *dockerfile;      /* its text */
    char *dockerfile_name; /* as messages have it: "Dockerfile" */
    size_t dockerfile_len;
    char *ignore; /* the text of .dockerignore; NULL = there is none */
    size_t ignore_len;
    char *ignore_name;
    struct build_temp temp;
};

#define BUILD_SOURCE_INIT                                                                                              \
    {                                                                                                                  \
        -1, NULL, false, NULL, NULL, 0, NULL, 0, NULL, BUILD_TEMP_INIT                                                 \
    }

/* The errors are complete ("unable to prepare context: ..."). */
int build_source_open(const struct build_request *r, struct build_source *ret, struct err *err);
/* Another context of the same build (--build-context): without a Dockerfile. */
int build_source_open_named(const char *value, struct build_source *ret, struct err *err);
void build_source_clear(struct build_source *s);

/* Private to source*.c. */

/* Lays the archive out in s->temp, which is made. first: bytes that were read from fd already. */
int build_source_unpack(int fd, const struct buf *first, struct build_source *s, struct err *err);
/* The same below a directory that is held. */
int build_unpack(int fd, const struct buf *first, int root, struct err *err);
/* Whether these are the first bytes of an archive, compressed or not. */
bool build_source_is_archive(const char *bytes, size_t len);
#define BUILD_SOURCE_HEAD 512u /* what build_source_is_archive() looks at */
/* Free bytes of the file system that an open file is on; what it does not tell is much. */
uint64_t build_source_room(int fd);
#define BUILD_SOURCE_MARGIN (64u << 20) /* of the disk: what everybody else may need meanwhile */
/* A URL: an archive, or a Dockerfile alone, whose text goes to s->dockerfile. */
int build_source_fetch(const char *url, struct build_source *s, struct err *err);
bool build_source_is_git(const char *word);
bool build_source_is_url(const char *word);
int build_source_clone(const char *word, struct build_source *s, struct err *err);

#endif
