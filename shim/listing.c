#include "shim/listing.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/table.h"
#include "compat/docker/tmpl.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define LISTING_MAX (256u << 20) /* more text than any list of ours has, fewer bytes than the machine */

/* "\t" and "\n" typed as two characters become one, as docker's --format has it. Owned by caller. */
static char *unescape(const char *text)
{
    char *out = xstrdup(text), *to = out;

    for (; *text; text++) {
        if (text[0] == '\\' && (text[1] == 't' || text[1] == 'n'))
            *to++ = *++text == 't' ? '\t' : '\n';
        else
            *to++ = *text;
    }
    *to = '\0';
    return out;
}

/* The template of a --format, and whether it is a table. NULL: the rows are printed as JSON. */
static char *template_of(const char *format, const char *default_template, bool *ret_table)
{
    *ret_table = !*format || !strcmp(format, "table");
    if (*ret_table)
        return xstrdup(default_template);
    if (!strcmp(format, "json"))
        return NULL;
    *ret_table = !strncmp(format, "table", 5) && isspace((unsigned char)format[5]);
    return unescape(*ret_table ? format + 6 + strspn(format + 6, " \t") : format);
}

static int print_json_lines(json_t *rows)
{
    size_t i;
    json_t *row;

    json_array_foreach(rows, i, row)
    {
        cleanup_free char *text = json_dumps(row, JSON_COMPACT | JSON_SORT_KEYS);

        puts(text);
    }
    return 0;
}

/* Runs the template over one row and ends the line. */
static int add_line(const struct tmpl *t, json_t *row, bool headers, struct buf *out, struct err *err)
{
    const struct tmpl_options options = {
        .missing = TMPL_MISSING_FIELD, .type = "*formatter.Context", .headers = headers};

    if (tmpl_exec(t, row, &options, out, err) < 0)
        return err_wrap(err, "failed to execute template");
    return buf_addc(out, '\n') < 0 ? err_set(err, 1, "the list is larger than %u MiB", LISTING_MAX >> 20) : 0;
}

int listing_print(const char *format, const char *default_template, json_t *headers, json_t *rows, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LISTING_MAX), aligned = BUF_INIT(LISTING_MAX);
    bool table;
    cleanup_free char *source = template_of(format, default_template, &table);
    struct tmpl *t;
    json_t *row;
    size_t i;
    int ret = 0;

    if (!source)
        return print_json_lines(rows);
    t = tmpl_parse("", source, err);
    if (!t)
        return err_wrap(err, "template parsing error");
    if (table)
        ret = add_line(t, headers, /* headers= */ true, &text, err);
    json_array_foreach(rows, i, row) if (ret == 0) ret = add_line(t, row, /* headers= */ false, &text, err);
    tmpl_free(t);
    if (ret < 0)
        return -1;
    if (table)
        table_align(text.data, text.len, TABLE_MIN_WIDTH, TABLE_PADDING, &aligned);
    fputs(table ? aligned.data : text.data, stdout);
    return 0;
}

int listing_print_one(const char *format, const char *what, json_t *value, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LISTING_MAX);
    cleanup_free char *source = unescape(format);
    const struct tmpl_options options = {.missing = TMPL_MISSING_FIELD, .type = what};
    struct tmpl *t;
    int ret;

    if (!strcmp(format, "json")) {
        cleanup_free char *json = json_dumps(value, JSON_COMPACT);

        puts(json);
        return 0;
    }
    t = tmpl_parse("", source, err);
    if (!t) {
        err_wrap(err, "template parsing error");
        err->exit_code = 64;
        return -1;
    }
    ret = tmpl_exec(t, value, &options, &text, err);
    tmpl_free(t);
    if (ret < 0)
        return err_wrap(err, "template parsing error");
    puts(text.data);
    return 0;
}
