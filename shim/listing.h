/* Lists and single objects on stdout, as Docker's --format has them (compat/docker/format.h). */
#ifndef ATP_SHIM_LISTING_H
#define ATP_SHIM_LISTING_H

#include "compat/docker/format.h"

struct app;
struct err;
struct state_container;
struct state_image;

/* format: what --format said, "" without it; table: the list's own columns; rows: an array of objects of Go's type. */
int listing_print(const char *format, const char *table, const struct format_column *columns, const char *type,
                  json_t *rows, struct err *err);

/* One object by a template, or as JSON ("json"), and a newline: version, info. name is the template's and type the
 * object's in Go, for error texts. */
int listing_print_one(const char *format, const char *name, const char *type, json_t *value, struct err *err);

/*
 * What inspect prints of a container: its record (translate/record.h) with what changes, from the row. A row without a
 * record, of an older atp-docker, gives what the row knows. Owned by caller. size: SizeRw and SizeRootFs too; the first
 * is 0, since nobody counts what a container writes.
 */
json_t *listing_container(struct app *app, const struct state_container *row, bool size);

/* The same of an image. NULL and err when its configuration cannot be read. */
json_t *listing_image(struct app *app, const struct state_image *image, struct err *err);

/* The fields that these objects leave out when they are empty, for templates (a tmpl_absent_fn). */
json_t *listing_absent(const json_t *object, const char *name);

/* How much the image of a container takes; 0 when it is not there any more. */
int64_t listing_image_size(struct app *app, const char *image_id);

/* Times as Go's time.Time prints itself: "2006-01-02 15:04:05 +0000 UTC", in local time; owned by caller. */
char *listing_time(int64_t seconds);

#endif
