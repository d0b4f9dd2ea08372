#include "compat/docker/table.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/docker/quote.h"

#include <stdlib.h>
#include <string.h>

struct cell {
    const char *text;
    size_t len;
    size_t width; /* of the column, for cells that a tab ends */
};

struct line {
    size_t first, count; /* its cells; the last one is not in a column */
};

struct grid {
    struct cell *cells;
    size_t count;
    struct line *lines;
    size_t line_count;
};

static size_t count_char(const char *s, size_t len, char c)
{
    size_t count = 0;

    for (size_t i = 0; i < len; i++)
        count += s[i] == c;
    return count;
}

/* Cuts the text at tabs and newlines. A last line without a newline is a line too. */
static void grid_cut(struct grid *g, const char *text, size_t len)
{
    size_t newlines = count_char(text, len, '\n'), start = 0;

    g->lines = xcalloc(newlines + 1, sizeof(*g->lines));
    g->cells = xcalloc(newlines + count_char(text, len, '\t') + 1, sizeof(*g->cells));
    g->line_count = 1;
    for (size_t i = 0; i <= len; i++) {
        struct line *line = &g->lines[g->line_count - 1];

        if (i < len && text[i] != '\t' && text[i] != '\n')
            continue;
        g->cells[g->count++] = (struct cell){text + start, i - start, 0};
        line->count++;
        start = i + 1;
        if (i < len && text[i] == '\n')
            g->lines[g->line_count++] = (struct line){g->count, 0};
    }
}

static bool has_column(const struct grid *g, size_t line, size_t column)
{
    return line < g->line_count && column + 1 < g->lines[line].count;
}

/* Gives one column its widths: each run of lines that have it gets that of its widest cell. */
static bool set_widths(struct grid *g, size_t column, size_t min_width, size_t padding)
{
    bool any = false;

    for (size_t from = 0; from < g->line_count; from++) {
        size_t width = min_width, to;

        for (to = from; has_column(g, to, column); to++) {
            const struct cell *cell = &g->cells[g->lines[to].first + column];
            size_t wanted = rune_count(cell->text, cell->len) + padding;

            if (wanted > width)
                width = wanted;
        }
        for (size_t i = from; i < to; i++)
            g->cells[g->lines[i].first + column].width = width;
        any = any || to > from;
        if (to > from)
            from = to; /* this line ends the run, it has no such column */
    }
    return any;
}

static void add_cell(const struct cell *cell, struct buf *out)
{
    size_t width = rune_count(cell->text, cell->len);

    buf_add(out, cell->text, cell->len);
    for (; width < cell->width; width++)
        buf_addc(out, ' ');
}

void table_align(const char *text, size_t len, size_t min_width, size_t padding, struct buf *out)
{
    struct grid g = {0};

    grid_cut(&g, text, len);
    for (size_t column = 0; set_widths(&g, column, min_width, padding); column++)
        ;
    for (size_t i = 0; i < g.line_count; i++) {
        for (size_t k = 0; k < g.lines[i].count; k++)
            add_cell(&g.cells[g.lines[i].first + k], out);
        if (i + 1 < g.line_count)
            buf_addc(out, '\n');
    }
    free(g.cells);
    free(g.lines);
}
