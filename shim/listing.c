#include "shim/listing.h"

#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/json_text.h"

#include <stdio.h>
#include <string.h>

#define LISTING_MAX (256u << 20) /* more text than any list of ours has, fewer bytes than the machine */

int listing_print(const char *format, const char *table, const struct format_column *columns, const char *type,
                  json_t *rows, struct err *err)
{
    const struct tmpl_options options = {.missing = TMPL_MISSING_FIELD, .type = type, .html_root = true};
    cleanup_buf struct buf text = BUF_INIT(LISTING_MAX);
    struct format *f = format_new(format, table, columns, &options, err);
    int ret = f ? 0 : -1;
    json_t *row;
    size_t i;

    json_array_foreach(rows, i, row) if (ret == 0) ret = format_row(f, row, err);
    if (ret == 0)
        ret = format_finish(f, &text, err);
    format_free(f);
    if (ret == 0)
        fwrite(text.data, 1, text.len, stdout);
    return ret;
}

/* Runs the template over the value. */
static int fill_in(const char *name, const char *source, const char *type, json_t *value, struct buf *out,
                   struct err *err)
{
    const struct tmpl_options options = {.missing = TMPL_MISSING_FIELD, .type = type};
    struct tmpl *t = tmpl_parse(name, source, err);
    int ret;

    if (!t) {
        err_wrap(err, "template parsing error");
        err->exit_code = 64;
        return -1;
    }
    ret = tmpl_exec(t, value, &options, out, err);
    tmpl_free(t);
    return ret;
}

int listing_print_one(const char *format, const char *name, const char *type, json_t *value, struct err *err)
{
    cleanup_buf struct buf text = BUF_INIT(LISTING_MAX);
    cleanup_free char *source = format_unescape(format);
    int ret = 0;

    if (!strcmp(source, "json"))
        json_text(&text, value, 0);
    else
        ret = fill_in(name, source, type, value, &text, err);
    /* what came before the failing field is said, and ends its line */
    if (ret == 0 || (err && err->exit_code != 64))
        puts(text.data ? text.data : "");
    return ret;
}
