#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/compose/table.h"
#include "shim/compose/team.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX (1u << 20)

/* "exited(1), running(2)"; owned by caller. */
static char *status_of(const struct members *all, const char *project)
{
    cleanup_strlist struct strlist seen = STRLIST_INIT;
    struct buf out = BUF_INIT(TEXT_MAX);

    for (size_t i = 0; i < all->len; i++) {
        const struct member *m = &all->items[i];

        if (!strcmp(member_label(m, LABEL_PROJECT), project) && !strlist_has(&seen, m->row.status))
            strlist_add(&seen, m->row.status);
    }
    strlist_sort(&seen);
    for (size_t s = 0; s < seen.len; s++) {
        size_t count = 0;

        for (size_t i = 0; i < all->len; i++)
            count += !strcmp(member_label(&all->items[i], LABEL_PROJECT), project) &&
                     !strcmp(all->items[i].row.status, seen.items[s]);
        buf_addf(&out, "%s%s(%zu)", s ? ", " : "", seen.items[s], count);
    }
    return buf_detach(&out);
}

/* The files that its containers were made from; owned by caller. */
static char *files_of(const struct members *all, const char *project)
{
    cleanup_strlist struct strlist files = STRLIST_INIT;
    struct buf out = BUF_INIT(TEXT_MAX);

    for (size_t i = 0; i < all->len; i++) {
        const char *label = member_label(&all->items[i], LABEL_FILES);
        cleanup_strlist struct strlist some = STRLIST_INIT;

        if (strcmp(member_label(&all->items[i], LABEL_PROJECT), project) != 0)
            continue;
        if (!label)
            return xstrdup("N/A");
        strlist_split(&some, label, ',');
        for (size_t f = 0; f < some.len; f++)
            if (!strlist_has(&files, some.items[f]))
                strlist_add(&files, some.items[f]);
    }
    for (size_t f = 0; f < files.len; f++)
        buf_addf(&out, "%s%s", f ? "," : "", files.items[f]);
    return buf_detach(&out);
}

/* Docker's filters of names: a part of it is enough. */
static bool is_wanted(const struct strlist *filters, const char *project)
{
    for (size_t i = 0; i < filters->len; i++)
        if (strstr(project, filters->items[i] + strlen("name=")))
            return true;
    return !filters->len;
}

static int check_filters(const struct strlist *filters, struct err *err)
{
    for (size_t i = 0; i < filters->len; i++)
        if (strncmp(filters->items[i], "name=", 5) != 0)
            return err_set(err, 1, "invalid filter '%.*s'", (int)strcspn(filters->items[i], "="), filters->items[i]);
    return 0;
}

static int ls_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *filters = opt_list(opts, "filter");
    cleanup_with(members_clear) struct members all = MEMBERS_INIT;
    cleanup_strlist struct strlist projects = STRLIST_INIT;
    json_auto_t *rows = json_array();
    unsigned flags = MEMBERS_ANY_PROJECT | MEMBERS_ONEOFF | (opt_bool(opts, "all") ? 0 : MEMBERS_RUNNING);

    if (check_filters(filters, err) < 0 || members_list(app, "", NULL, flags, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all.len; i++)
        if (!strlist_has(&projects, member_label(&all.items[i], LABEL_PROJECT)))
            strlist_add(&projects, member_label(&all.items[i], LABEL_PROJECT));
    strlist_sort(&projects);
    for (size_t i = 0; i < projects.len; i++) {
        const char *name = projects.items[i];
        cleanup_free char *status = status_of(&all, name), *files = files_of(&all, name);

        if (!is_wanted(filters, name))
            continue;
        if (opt_bool(opts, "quiet"))
            puts(name);
        json_array_append_new(rows, json_pack("{s:s, s:s, s:s}", "Name", name, "Status", status, "ConfigFiles", files));
    }
    if (opt_bool(opts, "quiet"))
        return 0;
    return table_print(rows, opt_str(opts, "format"),
                       (const struct table_column[]){
                           {"Name", "NAME"}, {"Status", "STATUS"}, {"ConfigFiles", "CONFIG FILES"}, {NULL, NULL}},
                       err);
}

extern const struct cmd_def cmd_def_compose_ls;

const struct command cmd_compose_ls = {.def = &cmd_def_compose_ls, .errors = ERROR_PLAIN, .run = ls_run};
