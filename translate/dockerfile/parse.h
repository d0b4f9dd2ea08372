/*
 * Dockerfiles as text: lines to instructions, the words of an instruction, and variables in them. Pure, and without
 * knowledge of what an instruction does.
 *
 *     df_parse(lines, &file, &err);               parser directives, comments, continuation lines, flags
 *     for each file.items: df_json() or df_words() or df_fields() on .rest, then df_expand() on each word
 *
 * Error texts are Docker's: "dockerfile parse error on line 3: ...".
 */
#ifndef ATP_TRANSLATE_DOCKERFILE_PARSE_H
#define ATP_TRANSLATE_DOCKERFILE_PARSE_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>

struct err;

struct df_instruction {
    int line;             /* its first line, counted from 1 */
    char *word;           /* upper case: "COPY" */
    char *text;           /* as written, continuation lines joined */
    struct strlist flags; /* "--chown=a:b", as written */
    char *rest;           /* what follows word and flags, without blanks at its ends */
};

struct df_file {
    struct df_instruction *items;
    size_t len;
    char escape; /* '\\', or '`' by directive */
};

/* lines: one line each, as they stand in the file (an element may itself hold several, separated by newlines). */
int df_parse(const struct strlist *lines, struct df_file *ret, struct err *err);
void df_file_clear(struct df_file *f);

/* Puts "dockerfile parse error on line N: " in front; returns -1. */
int df_wrap(const struct df_instruction *in, struct err *err);

/* The value of "--name=value" among the flags, borrowed; "" for a bare "--name", NULL when it is not there. */
const char *df_flag(const struct df_instruction *in, const char *name);
/* Every flag must be one of names (NULL-terminated): "unknown flag: --x". */
int df_check_flags(const struct df_instruction *in, const char *const *names, struct err *err);

/* Whether rest is a JSON array of strings; its items are appended to ret (may be NULL) then. */
bool df_json(const char *rest, struct strlist *ret);

/* Splits at blanks, but not within quotes or after the escape character; quotes stay, for df_expand() to take off. */
void df_words(const char *rest, char escape, struct strlist *ret);
/* Splits at blanks, whatever stands there. */
void df_fields(const char *rest, struct strlist *ret);

/*
 * "K=V K2=V2", or the old form "K the rest of the line": appends name, value, name, value... with quotes and variables
 * still in them. what is the instruction, for messages.
 */
int df_pairs(const char *what, const char *rest, char escape, struct strlist *ret, struct err *err);

/* The value of a variable, borrowed; NULL when it is not set. */
typedef const char *df_lookup_fn(const char *name, void *arg);

/* Takes off quotes and escapes and puts in $x, ${x}, ${x:-word}, ${x:+word}, ${x:?word} and the forms without a colon.
 */
int df_expand(const char *word, char escape, df_lookup_fn *lookup, void *arg, char **ret, struct err *err);

#endif
