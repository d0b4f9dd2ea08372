/* Lists as Docker prints them: a table, JSON lines, or a Go template per line (docker-cli.md 5). */
#ifndef ATP_SHIM_LISTING_H
#define ATP_SHIM_LISTING_H

#include <jansson.h>

struct err;

/*
 * rows: an array of objects; headers: an object of the same keys with the column titles; default_template: the columns
 * of the plain table, separated by tabs. format: what --format said, "" without it. Prints on stdout.
 */
int listing_print(const char *format, const char *default_template, json_t *headers, json_t *rows, struct err *err);

/* One object by a template, or as JSON ("json"), and a newline: version, info. what names it in Docker's error texts.
 */
int listing_print_one(const char *format, const char *what, json_t *value, struct err *err);

#endif
