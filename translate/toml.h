/*
 * The part of TOML that Modal's ~/.modal.toml uses: tables, dotted and quoted keys, basic and literal strings on one
 * line, booleans, integers, floats and comments. Arrays, inline tables, dates and multi-line strings are an error that
 * names the line: a file that is not understood is never half read.
 */
#ifndef ATP_TRANSLATE_TOML_H
#define ATP_TRANSLATE_TOML_H

#include "compat/base/strlist.h"

#include <stddef.h>

struct err;

enum toml_type { TOML_STRING, TOML_BOOL, TOML_INT, TOML_FLOAT };

struct toml_entry {
    struct strlist path; /* table path and key: {"work", "token_id"} */
    enum toml_type type;
    char *text; /* the string, or the value as written without underscores ("true", "15") */
    int line;
};

struct toml_table {
    struct strlist path;
    int line;
};

struct toml {
    struct toml_entry *entries; /* in the order of the file */
    size_t len;
    struct toml_table *tables; /* headers, in the order of the file */
    size_t tables_len;
};

void toml_clear(struct toml *t);

/* file is for messages ("~/.modal.toml:3: ..."). */
int toml_parse(const char *file, const char *text, size_t len, struct toml *ret, struct err *err);

/* The entry of table.key at depth two, or NULL. */
const struct toml_entry *toml_get(const struct toml *t, const char *table, const char *key);

#endif
