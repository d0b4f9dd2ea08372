/*
 * --format of docker's lists: "table", "table TEMPLATE", "json", a template, with \t and \n typed out. Rows are
 * objects.
 *
 *     struct format *f = format_new(text, "table {{.ID}}\t{{.Names}}", columns, &options, &err);
 *     format_row(f, row, &err);      for each
 *     format_finish(f, &out);        the whole list
 */
#ifndef ATP_DOCKER_FORMAT_H
#define ATP_DOCKER_FORMAT_H

#include "compat/docker/tmpl.h"

struct format;

struct format_column {
    const char *field;  /* "ID" */
    const char *header; /* "CONTAINER ID" */
};

/*
 * text: what the user gave; NULL or "" = "table". table: the list's own table, with its real tabs. columns: ends with
 * a NULL field; borrowed, like options. Errors are docker's, with "template parsing error: " in front.
 */
struct format *format_new(const char *text, const char *table, const struct format_column *columns,
                          const struct tmpl_options *options, struct err *err);
void format_free(struct format *f);

bool format_is_table(const struct format *f);
int format_row(struct format *f, json_t *row, struct err *err);
int format_finish(struct format *f, struct buf *out, struct err *err);

/* The text of --format as docker reads it: blanks at its ends dropped, \t and \n turned into what they mean. Owned by
 * caller. */
char *format_unescape(const char *text);

#endif
