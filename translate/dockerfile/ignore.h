/*
 * .dockerignore: Docker's own matching (Go's filepath.Match with "**", "!" exceptions, the last matching line decides).
 */
#ifndef ATP_TRANSLATE_DOCKERFILE_IGNORE_H
#define ATP_TRANSLATE_DOCKERFILE_IGNORE_H

#include <stdbool.h>
#include <stddef.h>

struct df_ignore;
struct err;
struct strlist;

/* text: the file's contents (a byte order mark is fine). name: for messages. `syntax error in pattern` for a bad one.
 */
struct df_ignore *df_ignore_new(const char *text, size_t len, const char *name, struct err *err);
/* The same of patterns as they stand: COPY --exclude and --parents. */
struct df_ignore *df_ignore_of(const struct strlist *patterns, struct err *err);
void df_ignore_free(struct df_ignore *ig); /* NULL is fine */
/* path: relative to the context, clean. A path below an excluded directory is excluded too, unless a "!" line names it.
 */
bool df_ignore_match(const struct df_ignore *ig, const char *path);
/* Whether nothing below the excluded directory can be let in again: it need not be read. */
bool df_ignore_prunes(const struct df_ignore *ig, const char *dir);

/*
 * One pattern against one path: 1 matches, 0 not, -1 bad pattern. With "**" for any number of directories, as
 * .dockerignore, --exclude and --parents have it; df_source_match() is Go's filepath.Match for COPY and ADD sources
 * with wildcards, where "**" is no more than "*", as in BuildKit.
 */
int df_pattern_match(const char *pattern, const char *path);
int df_source_match(const char *pattern, const char *path);

#endif
