#include "shim/compose/table.h"

#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define COLUMN_MIN 20
#define COLUMN_GAP 3
#define COLUMN_MAX 16
#define TEXT_MAX   (64u << 20)

static void cell_text(const json_t *cell, char *number, size_t size, const char **ret)
{
    *ret = json_string_value(cell);
    if (json_is_integer(cell)) {
        snprintf(number, size, "%" JSON_INTEGER_FORMAT, json_integer_value(cell));
        *ret = number;
    }
    *ret = *ret ? *ret : "";
}

static void add_cell(struct buf *out, const char *text, size_t width, int last)
{
    buf_addf(out, "%s%*s", text, last || strlen(text) >= width ? 0 : (int)(width - strlen(text)), "");
}

static void add_table(const json_t *rows, const struct table_column *columns, struct buf *out)
{
    size_t widths[COLUMN_MAX] = {0}, len = 0, r;
    const json_t *row;
    char number[32];
    const char *text;

    for (; len < COLUMN_MAX && columns[len].field; len++) {
        widths[len] = strlen(columns[len].header);
        json_array_foreach(rows, r, row)
        {
            cell_text(json_object_get(row, columns[len].field), number, sizeof(number), &text);
            widths[len] = strlen(text) > widths[len] ? strlen(text) : widths[len];
        }
        widths[len] = widths[len] + COLUMN_GAP > COLUMN_MIN ? widths[len] + COLUMN_GAP : COLUMN_MIN;
    }
    for (size_t c = 0; c < len; c++)
        add_cell(out, columns[c].header, widths[c], c + 1 == len);
    buf_addc(out, '\n');
    json_array_foreach(rows, r, row)
    {
        for (size_t c = 0; c < len; c++) {
            cell_text(json_object_get(row, columns[c].field), number, sizeof(number), &text);
            add_cell(out, text, widths[c], c + 1 == len);
        }
        buf_addc(out, '\n');
    }
}

int table_print(const json_t *rows, const char *format, const struct table_column *columns, struct err *err)
{
    cleanup_buf struct buf out = BUF_INIT(TEXT_MAX);
    cleanup_free char *text = NULL;

    if (!*format || !strcasecmp(format, "table") || !strcasecmp(format, "pretty")) {
        add_table(rows, columns, &out);
        fwrite(out.data, 1, out.len, stdout);
        return 0;
    }
    if (strcasecmp(format, "json") != 0)
        return err_set(err, 1, "format value \"%s\" could not be parsed: parsing failed", format);
    text = json_dumps(rows, JSON_COMPACT);
    puts(text ? text : "[]");
    return 0;
}
