/*
 * A word as a shell would read it, in BuildKit's dialect: quotes, the escape character, $x, ${x}, ${x:-word} and its
 * kind, ${x#pattern}, ${x/pattern/text}. Private to this folder; parse.h has the usual way in, df_expand().
 */
#ifndef ATP_TRANSLATE_DOCKERFILE_LEX_H
#define ATP_TRANSLATE_DOCKERFILE_LEX_H

#include "translate/dockerfile/parse.h"

#include <stdbool.h>
#include <stddef.h>

#define LEX_RAW_QUOTES  (1u << 0) /* quotes stay where they are */
#define LEX_RAW_ESCAPES (1u << 1) /* escape characters as well */
#define LEX_NO_QUOTES   (1u << 2) /* a quote is a character as any other */
#define LEX_SKIP_UNSET  (1u << 3) /* a variable that is not set stays as it was written */

/*
 * ret: the whole text; words: what it splits into at blanks outside of quotes, after variables are put in. Either may
 * be NULL. `failed to process "...": why` on failure.
 */
int df_lex(const char *text, char escape, unsigned flags, df_lookup_fn *lookup, void *arg, char **ret,
           struct strlist *words, struct err *err);

/* No variable is set. */
const char *df_no_variable(const char *name, void *arg);

/*
 * The shell's patterns: "*", "?", and "\" before one of them. trim takes what matches off one end of value (the
 * shortest, or the longest), replace puts text in place of the first or of every longest match. ret: owned by caller.
 */
int df_glob_trim(const char *pattern, const char *value, bool suffix, bool longest, char **ret, struct err *err);
int df_glob_replace(const char *pattern, const char *value, const char *text, bool all, char **ret, struct err *err);

#endif
