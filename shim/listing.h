/* Lists and single objects on stdout, as Docker's --format has them (compat/docker/format.h). */
#ifndef ATP_SHIM_LISTING_H
#define ATP_SHIM_LISTING_H

#include "compat/docker/format.h"

struct err;

/* format: what --format said, "" without it; table: the list's own columns; rows: an array of objects. */
int listing_print(const char *format, const char *table, const struct format_column *columns, json_t *rows, struct err *err);

/* One object by a template, or as JSON ("json"), and a newline: version, info. type is Go's name of it, for error texts. */
int listing_print_one(const char *format, const char *type, json_t *value, struct err *err);

#endif
