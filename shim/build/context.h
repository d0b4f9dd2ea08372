/*
 * The files of a context that a build uses: what COPY, ADD and bind mounts name, without what .dockerignore takes out.
 * Symbolic links stay links; what they lead to within the context comes along, nothing beyond it is looked at.
 *
 *     build_context_init(&c, &source, &err);
 *     build_context_want(&c, "src/app", &use);  ...    one use for each instruction
 *     build_context_read(&c, &err);                    walks the directory once
 *     build_context_covers(&c, use, i)                 whether entry i belongs to the use
 */
#ifndef ATP_SHIM_BUILD_CONTEXT_H
#define ATP_SHIM_BUILD_CONTEXT_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct app;
struct build_source;
struct df_ignore;
struct err;

struct build_entry {
    char *path; /* below the context's root, clean */
    mode_t mode;
    uint64_t size;
    int64_t mtime_ns, ctime_ns;
    uint64_t dev, ino;
    char *link;   /* a symbolic link's text */
    char hex[65]; /* a file's SHA-256 after build_context_hash() */
};

struct build_pattern {
    char *text; /* clean, without a slash in front; "" = everything */
    struct strlist parts;
    bool wild;
    size_t use;
    size_t source; /* which of the use's sources asked for it */
};

struct build_context {
    const struct build_source *source;
    struct df_ignore *ignore;
    struct build_pattern *patterns;
    size_t patterns_len;
    size_t uses;
    struct build_entry *entries; /* sorted by path */
    size_t len;
    struct strlist notes; /* what was left out, and why */
};

int build_context_init(struct build_context *c, const struct build_source *source, struct err *err);
void build_context_clear(struct build_context *c);

/* A new use; its number. */
size_t build_context_use(struct build_context *c);
/* word: as the instruction has it; source: a number of the caller's for it. */
void build_context_want(struct build_context *c, size_t use, const char *word, size_t source);
int build_context_read(struct build_context *c, struct err *err);
/* Whether the entry is named by the use, or lies in a directory that is. */
bool build_context_covers(const struct build_context *c, size_t use, size_t entry);
/* Whether it is a directory on the way to what the use names. */
bool build_context_leads(const struct build_context *c, size_t use, size_t entry);
/* Whether there is anything for that source. A pattern with wildcards may well find nothing. */
bool build_context_found(const struct build_context *c, size_t use, size_t source);
/* The word's clean path, as messages have it. Owned by caller. */
char *build_context_path(const char *word);

/* Fills hex of every file. What was hashed once and has not changed since is remembered in the state. */
int build_context_hash(struct build_context *c, struct app *app, struct err *err);

/*
 * A tar of what a mount cannot hold, for one use: links, fifos, and directories that are empty or have modes of their
 * own. all_dirs: every directory, for its time. 1 and *ret (owned by caller), 0 = there is nothing of the kind.
 */
int build_context_meta(const struct build_context *c, size_t use, bool all_dirs, char **ret, size_t *ret_len,
                       struct err *err);

#endif
