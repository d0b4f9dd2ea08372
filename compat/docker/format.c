#include "compat/docker/format.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/limits.h"
#include "compat/docker/table.h"

#include <stdlib.h>
#include <string.h>

struct format {
    struct tmpl *tmpl;
    bool table;
    const struct format_column *columns;
    const struct tmpl_options *options;
    struct buf rows;
};

char *format_unescape(const char *text)
{
    struct buf out = BUF_INIT(LIMIT_TEMPLATE);
    size_t len;

    text += strspn(text, " ");
    for (len = strlen(text); len && text[len - 1] == ' '; len--)
        ;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\\' && i + 1 < len && (text[i + 1] == 't' || text[i + 1] == 'n'))
            buf_addc(&out, text[++i] == 't' ? '\t' : '\n');
        else
            buf_addc(&out, text[i]);
    }
    return buf_detach(&out);
}

struct format *format_new(const char *text, const char *table, const struct format_column *columns,
                          const struct tmpl_options *options, struct err *err)
{
    struct format *f = xcalloc(1, sizeof(*f));
    cleanup_free char *plain = NULL;

    if (!text || !*text || !strcmp(text, "table"))
        text = table;
    else if (!strcmp(text, "json"))
        text = "{{json .}}";
    f->table = !strncmp(text, "table", 5);
    plain = format_unescape(f->table ? text + 5 : text);
    f->columns = columns;
    f->options = options;
    buf_init(&f->rows, LIMIT_TEMPLATE_OUTPUT);
    f->tmpl = tmpl_parse("", plain, err);
    if (!f->tmpl) {
        err_wrap(err, "template parsing error");
        format_free(f);
        return NULL;
    }
    return f;
}

void format_free(struct format *f)
{
    if (!f)
        return;
    tmpl_free(f->tmpl);
    buf_clear(&f->rows);
    free(f);
}

bool format_is_table(const struct format *f)
{
    return f->table;
}

int format_row(struct format *f, json_t *row, struct err *err)
{
    if (tmpl_exec(f->tmpl, row, f->options, &f->rows, err) < 0)
        return err_wrap(err, "template parsing error");
    buf_addc(&f->rows, '\n');
    return f->rows.overflowed ? err_set(err, 0, "the list is too long to be printed") : 0;
}

/* A label's header is the last part of its name, dashes and underscores as blanks. */
static json_t *label_header(const char *name, const json_t *args, void *arg)
{
    const char *label = json_string_value(json_array_get(args, 0)), *dot = label ? strrchr(label, '.') : NULL;
    cleanup_free char *header = NULL;

    (void)arg;
    if (!label || strcmp(name, "Label"))
        return NULL;
    header = xstrdup(dot ? dot + 1 : label);
    for (char *p = header; *p; p++)
        if (*p == '-' || *p == '_')
            *p = ' ';
    return json_string(header);
}

/* The header line: the same template over the names of the columns. */
static int add_header(const struct format *f, struct buf *out, struct err *err)
{
    struct tmpl_options options = {.missing = TMPL_MISSING_NO_VALUE, .headers = true, .method = label_header};
    json_t *names = json_object();
    int rc;

    for (const struct format_column *c = f->columns; c && c->field; c++)
        json_object_set_new(names, c->field, json_string(c->header));
    rc = tmpl_exec(f->tmpl, names, &options, out, err);
    json_decref(names);
    buf_addc(out, '\n');
    return rc < 0 ? err_wrap(err, "template parsing error") : 0;
}

int format_finish(struct format *f, struct buf *out, struct err *err)
{
    cleanup_buf struct buf whole = BUF_INIT(LIMIT_TEMPLATE_OUTPUT);

    if (!f->table)
        return buf_add(out, f->rows.data, f->rows.len) < 0 ? err_set(err, 0, "the list is too long to be printed") : 0;
    if (add_header(f, &whole, err) < 0)
        return -1;
    buf_add(&whole, f->rows.data, f->rows.len);
    table_align(whole.data, whole.len, TABLE_MIN_WIDTH, TABLE_PADDING, out);
    return whole.overflowed || out->overflowed ? err_set(err, 0, "the list is too long to be printed") : 0;
}
