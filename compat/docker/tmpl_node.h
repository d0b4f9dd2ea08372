/*
 * A parsed template, shared by the files of the template engine; not for others.
 */
#ifndef ATP_DOCKER_TMPL_NODE_H
#define ATP_DOCKER_TMPL_NODE_H

#include "compat/base/strlist.h"
#include "compat/docker/limits.h"
#include "compat/docker/tmpl.h"

#include <stddef.h>

enum token_type {
    TOKEN_EOF,
    TOKEN_ERROR, /* message says why; the last token */
    TOKEN_TEXT,
    TOKEN_LEFT,  /* {{ */
    TOKEN_RIGHT, /* }} */
    TOKEN_SPACE,
    TOKEN_FIELD,    /* .Name */
    TOKEN_VARIABLE, /* $ or $name */
    TOKEN_IDENTIFIER,
    TOKEN_KEYWORD,
    TOKEN_DOT,
    TOKEN_NIL,
    TOKEN_BOOL,
    TOKEN_NUMBER,
    TOKEN_CHARACTER, /* 'a' */
    TOKEN_STRING,
    TOKEN_RAW,
    TOKEN_PIPE,
    TOKEN_DECLARE, /* := */
    TOKEN_ASSIGN,
    TOKEN_LEFT_PAREN,
    TOKEN_RIGHT_PAREN,
    TOKEN_CHAR, /* any other printable character */
};

struct token {
    enum token_type type;
    size_t pos, len; /* in the template's text */
    char *message;   /* owned; TOKEN_ERROR */
};

struct tokens {
    struct token *items;
    size_t len, cap;
};

/* Cuts the whole text; the last token is TOKEN_EOF or TOKEN_ERROR. */
void tokens_read(struct tokens *t, const char *text);
void tokens_clear(struct tokens *t);

enum node_type {
    NODE_LIST,
    NODE_TEXT,
    NODE_ACTION,   /* kids: pipe */
    NODE_PIPE,     /* kids: commands */
    NODE_COMMAND,  /* kids: operands */
    NODE_FIELD,    /* names: A, B of .A.B */
    NODE_VARIABLE, /* names: $x, A, B of $x.A.B */
    NODE_CHAIN,    /* kids: operand; names: fields of it */
    NODE_FUNCTION, /* text: its name */
    NODE_DOT,
    NODE_NIL,
    NODE_BOOL, /* literals: value */
    NODE_NUMBER,
    NODE_STRING,
    NODE_IF, /* kids: pipe, list, and perhaps the list after else */
    NODE_RANGE,
    NODE_WITH,
    NODE_BREAK,
    NODE_CONTINUE,
    NODE_TEMPLATE, /* text: its name; kids: perhaps pipe */
};

struct node {
    enum node_type type;
    size_t pos;
    char *text;    /* literals: as written; NODE_TEXT: what is printed */
    size_t len;    /* of NODE_TEXT */
    json_t *value; /* of literals */
    struct strlist names;
    struct node **kids; /* the nodes belong to the template */
    size_t count, cap;
    struct strlist declared; /* NODE_PIPE: variables that it sets */
    bool assigns;            /* with =, not := */
    struct node *next_owned; /* all nodes of a template, for freeing */
};

struct tmpl {
    char *name, *text;
    struct node *owned;
    struct node *root;
    struct strlist defined; /* names of {{define}} */
    struct node **bodies;   /* one per name */
};

/* Go's text of a node, for errors; appends. */
void node_text(const struct node *node, struct buf *out);

/* The line and the byte in it of a position, as Go counts them for errors. */
void tmpl_position(const struct tmpl *t, size_t pos, size_t *ret_line, size_t *ret_column);

/* --- functions --- */

struct call {
    const struct node *node;         /* the command, for errors */
    const struct node *const *nodes; /* of each argument; NULL for one that came through the pipe */
    json_t **args;                   /* borrowed; NULL = no value */
    size_t count;
    bool headers;
    const json_t *html; /* what json escapes <, > and & in, or NULL */
};

struct function {
    const char *name;
    size_t min_args;
    int max_args; /* -1 = any number */
    const char
        *kinds; /* what each argument must be: s string, i int, l list of strings, . anything; the last one repeats */
    /* Returns 0 and a new reference (or NULL, no value), or -1 with Go's text. */
    int (*run)(const struct call *call, json_t **ret_value, struct err *err);
};

const struct function *function_find(const char *name); /* NULL = not defined; "and" and "or" are known but never run */

/* tmpl_compare.c */
int function_eq(const struct call *call, json_t **ret_value, struct err *err);
int function_ne(const struct call *call, json_t **ret_value, struct err *err);
int function_lt(const struct call *call, json_t **ret_value, struct err *err);
int function_le(const struct call *call, json_t **ret_value, struct err *err);
int function_gt(const struct call *call, json_t **ret_value, struct err *err);
int function_ge(const struct call *call, json_t **ret_value, struct err *err);

/* tmpl_printf.c: Go's fmt.Sprintf, Sprint and Sprintln. */
void go_sprintf(struct buf *out, const char *format, json_t *const *args, size_t count);
void go_sprint(struct buf *out, json_t *const *args, size_t count, bool line);

bool value_is_true(const json_t *value);
const char *value_type(const json_t *value); /* "int", "string", "map[string]interface {}" ... */
json_t *value_string(const char *s, size_t len);

#endif
