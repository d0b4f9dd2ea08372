/*
 * Dockerfiles as text: lines to instructions, the words of an instruction, and variables in them. Pure, and without
 * knowledge of what an instruction does (but for which ones may have here-documents).
 *
 *     df_lines(data, len, &lines, &err);          a file's bytes
 *     df_parse(lines, &file, &err);               parser directives, comments, continuation lines, flags,
 * here-documents for each file.items: df_json() or df_words() or df_fields() on .rest, then df_expand() on each word
 *
 * Error texts are BuildKit's: "dockerfile parse error on line 3: ...". An error that belongs to a line has its number
 * in err->code, so that a caller can show the line.
 */
#ifndef ATP_TRANSLATE_DOCKERFILE_PARSE_H
#define ATP_TRANSLATE_DOCKERFILE_PARSE_H

#include "compat/base/strlist.h"

#include <stdbool.h>
#include <stddef.h>

struct err;

struct df_heredoc {
    char *name;  /* the word behind "<<", quotes taken off */
    char *data;  /* as written, each line with its newline */
    bool expand; /* no part of the word was quoted: COPY puts variables in */
    bool chomp;  /* "<<-": tabs at the beginning of lines do not count */
};

struct df_instruction {
    int line, last_line;  /* of the file, counted from 1; here-documents included */
    char *word;           /* upper case: "COPY" */
    char *text;           /* as written, continuation lines joined, without here-documents */
    struct strlist flags; /* "--chown=a:b", quotes taken off */
    char *rest;           /* what follows word and flags, without blanks at its ends */
    struct df_heredoc *heredocs;
    size_t heredocs_len;
    bool open_end; /* its last line asks for one more, where the file ends */
};

struct df_file {
    struct df_instruction *items;
    size_t len;
    char escape;             /* '\\', or '`' by directive */
    char *syntax;            /* "# syntax=", NULL = none: nothing follows from it but a note */
    char *check;             /* "# check=", NULL = none: what the linter says */
    struct strlist lines;    /* the file's lines, without newlines */
    struct strlist warnings; /* "Name: text (line 3)", as BuildKit's linter words them */
};

/* Splits a file's bytes. `... a NUL byte` and files beyond LIMIT_DOCKERFILE are refused. */
int df_lines(const char *data, size_t len, struct strlist *ret, struct err *err);

/* lines: one line each, as they stand in the file (an element may itself hold several, separated by newlines). */
int df_parse(const struct strlist *lines, struct df_file *ret, struct err *err);
void df_file_clear(struct df_file *f);

/* Puts "dockerfile parse error on line N: " in front and sets err->code to N; returns -1. */
int df_wrap(const struct df_instruction *in, struct err *err);

/* One instruction of a joined line: what follows ONBUILD. line and last_line are the caller's to set. */
void df_instruction_read(const char *text, char escape, struct df_instruction *ret);
void df_instruction_clear(struct df_instruction *in);

enum df_flag_kind {
    DF_FLAG_BOOL,    /* "--link", "--link=false" */
    DF_FLAG_STRING,  /* "--chown=a" */
    DF_FLAG_STRINGS, /* may be said several times */
};
struct df_flag_spec {
    const char *name; /* NULL ends a table */
    enum df_flag_kind kind;
};

/* Every flag must be one of specs: "unknown flag: --chwon (did you mean chown?)". */
int df_flags_check(const struct df_instruction *in, const struct df_flag_spec *specs, struct err *err);
/* The value of "--name=value" among the flags, borrowed; "" for a bare "--name", NULL when it is not there. */
const char *df_flag(const struct df_instruction *in, const char *name);
/* A checked flag of kind DF_FLAG_BOOL: 1, 0, or -1 when it is not there. */
int df_flag_bool(const struct df_instruction *in, const char *name);
/* Every value of a DF_FLAG_STRINGS flag, appended. */
void df_flag_all(const struct df_instruction *in, const char *name, struct strlist *ret);

/* " (did you mean X?)" for the word of words (NULL-terminated) that was probably meant, else "". fold: whatever the
 * case is. Owned by caller. */
char *df_suggest(const char *word, const char *const *words, bool fold);

/* Whether rest is a JSON array of strings; its items are appended to ret (may be NULL) then. */
bool df_json(const char *rest, struct strlist *ret);
/* Whether it is a JSON array of which an item is no string: an error everywhere. */
bool df_json_other(const char *rest);

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

/*
 * Takes off quotes and escapes and puts in $x, ${x}, ${x:-word}, ${x:+word}, ${x:?word}, the forms without a colon,
 * ${x#pattern}, ${x##pattern}, ${x%pattern}, ${x%%pattern}, ${x/pattern/text} and ${x//pattern/text}.
 */
int df_expand(const char *word, char escape, df_lookup_fn *lookup, void *arg, char **ret, struct err *err);

/* Whether a word is "<<NAME": ret (may be NULL) gets name, expand and chomp. */
bool df_heredoc_word(const char *word, struct df_heredoc *ret);
/* The here-document's lines without their leading tabs, when it is of that kind; owned by caller. */
char *df_heredoc_text(const struct df_heredoc *doc);

#endif
