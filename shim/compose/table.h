/* Lists of compose that are no containers: a table whose columns are at least 20 wide, or one JSON array. */
#ifndef ATP_SHIM_COMPOSE_TABLE_H
#define ATP_SHIM_COMPOSE_TABLE_H

#include <jansson.h>

struct err;

struct table_column {
    const char *field, *header; /* NULL ends the list */
};

/* rows: an array of objects with texts (numbers are printed as they are). format: "table", "json". */
int table_print(const json_t *rows, const char *format, const struct table_column *columns, struct err *err);

#endif
