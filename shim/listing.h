/* Lists and single objects on stdout, as Docker's --format has them (compat/docker/format.h). */
#ifndef ATP_SHIM_LISTING_H
#define ATP_SHIM_LISTING_H

#include "compat/docker/format.h"

struct err;

/* format: what --format said, "" without it; table: the list's own columns; rows: an array of objects of Go's type. */
int listing_print(const char *format, const char *table, const struct format_column *columns, const char *type,
                  json_t *rows, struct err *err);

/* One object by a template, or as JSON ("json"), and a newline: version, info. name is the template's and type the
 * object's in Go, for error texts. */
int listing_print_one(const char *format, const char *name, const char *type, json_t *value, struct err *err);

#endif
