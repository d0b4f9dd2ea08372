/* What `docker top` says of each container, in one table. */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/compose/compose.h"
#include "shim/compose/jobs.h"
#include "shim/compose/members.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS 24
#define OUT_MAX (64u << 20)

/* The columns of one container's table: where each begins. */
struct layout {
    size_t at[COLUMNS], len;
};

struct top {
    struct strlist titles; /* of all tables together, CMD is the last one */
    struct strlist *rows;  /* a cell for each title; "" where a table has no such column */
    size_t len;
};

static void top_clear(struct top *t)
{
    for (size_t i = 0; i < t->len; i++)
        strlist_clear(&t->rows[i]);
    free(t->rows);
    strlist_clear(&t->titles);
}

/* The cell of a column: up to where the next begins, without the spaces behind it. Owned by caller. */
static char *cell(const char *line, const struct layout *l, size_t column)
{
    size_t len = strlen(line), from = l->at[column], to = column + 1 < l->len ? l->at[column + 1] : len;

    if (from > len)
        return xstrdup("");
    to = to < len ? to : len;
    while (to > from && line[to - 1] == ' ')
        to--;
    return xstrndup(line + from, to - from);
}

/* Titles are words with several spaces between them. */
static void read_titles(const char *line, struct layout *l, struct top *t, struct strlist *ret)
{
    for (size_t i = 0; line[i] && l->len < COLUMNS; i++)
        if (line[i] != ' ' && (i == 0 || line[i - 1] == ' '))
            l->at[l->len++] = i;
    for (size_t c = 0; c < l->len; c++) {
        char *title = cell(line, l, c);

        strlist_add(ret, title);
        if (!strlist_has(&t->titles, title))
            strlist_add(&t->titles, title);
        free(title);
    }
}

static size_t position(const struct strlist *list, const char *word)
{
    size_t i = 0;

    while (i < list->len && strcmp(list->items[i], word) != 0)
        i++;
    return i;
}

/* Adds the lines of one container. Cells are kept as "title=text" until all titles are known. */
static void take_table(struct top *t, const struct member *m, const char *text)
{
    cleanup_strlist struct strlist lines = STRLIST_INIT, titles = STRLIST_INIT;
    struct layout l = {.len = 0};

    strlist_split(&lines, text, '\n');
    read_titles(lines.items[0], &l, t, &titles);
    for (size_t i = 1; i < lines.len; i++) {
        struct strlist *row;

        if (!*lines.items[i])
            continue;
        t->rows = xreallocarray(t->rows, t->len + 1, sizeof(*t->rows));
        row = &t->rows[t->len++];
        *row = (struct strlist)STRLIST_INIT;
        strlist_addf(row, "SERVICE=%s", m->service);
        strlist_addf(row, "#=%d", m->number);
        for (size_t c = 0; c < l.len; c++) {
            cleanup_free char *value = cell(lines.items[i], &l, c);

            strlist_addf(row, "%s=%s", titles.items[c], value);
        }
    }
}

static void print(const struct top *t)
{
    cleanup_buf struct buf out = BUF_INIT(OUT_MAX);
    size_t widths[COLUMNS * 4] = {0}, columns = t->titles.len < COLUMNS * 4 ? t->titles.len : COLUMNS * 4;

    for (size_t c = 0; c < columns; c++)
        widths[c] = strlen(t->titles.items[c]);
    for (size_t i = 0; i < t->len; i++)
        for (size_t c = 0; c < columns; c++) {
            const char *value = strlist_env_get(&t->rows[i], t->titles.items[c]);

            widths[c] = value && strlen(value) > widths[c] ? strlen(value) : widths[c];
        }
    for (size_t i = 0; i <= t->len; i++)
        for (size_t c = 0; c < columns; c++) {
            const char *value = i ? strlist_env_get(&t->rows[i - 1], t->titles.items[c]) : t->titles.items[c];
            int width = c + 1 == columns ? 0 : (int)(widths[c] < 2 ? 4 : widths[c] + 2);

            buf_addf(&out, "%-*s%s", width, value ? value : "-", c + 1 == columns ? "\n" : "");
        }
    fwrite(out.data, 1, out.len, stdout);
}

/* compose has the command as the right-most column. */
static void command_last(struct strlist *titles)
{
    size_t at = position(titles, "CMD");

    if (at == titles->len)
        return;
    strlist_remove(titles, at);
    strlist_add(titles, "CMD");
}

static int top_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_free char *project = compose_name(app, err);
    cleanup_with(members_clear) struct members list = MEMBERS_INIT;
    cleanup_with(top_clear) struct top t = {.titles = STRLIST_INIT};

    if (!project || members_list(app, project, opt_args(opts), MEMBERS_ONEOFF | MEMBERS_RUNNING, &list, err) < 0)
        return -1;
    members_sort(&list);
    strlist_add(&t.titles, "SERVICE");
    strlist_add(&t.titles, "#");
    for (size_t i = 0; i < list.len; i++) {
        cleanup_strlist struct strlist words = STRLIST_INIT;
        cleanup_free char *text = NULL;

        strlist_add(&words, list.items[i].row.id);
        if (jobs_command(app, "top", &words, &text, err) != 0)
            return -1;
        take_table(&t, &list.items[i], text ? text : "");
    }
    command_last(&t.titles);
    if (t.len)
        print(&t);
    return 0;
}

extern const struct cmd_def cmd_def_compose_top;

const struct command cmd_compose_top = {.def = &cmd_def_compose_top, .errors = ERROR_PLAIN, .run = top_run};
