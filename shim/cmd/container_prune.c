#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/container.h"
#include "shim/prune.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* Whether the filter takes the row, whose labels are a JSON array of "k=v". */
static bool matches(const struct prune_filter *f, const struct state_container *row)
{
    cleanup_strlist struct strlist labels = STRLIST_INIT;
    json_auto_t *list = json_loads(row->labels, 0, NULL);
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item) if (json_is_string(item)) strlist_add(&labels, json_string_value(item));
    return prune_filter_takes(f, row->created_ns, &labels);
}

static int prune_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(prune_filter_clear) struct prune_filter filter = {0};
    struct state_container *rows = NULL;
    bool any = false;
    size_t len = 0;

    if (!prune_confirmed(opts, "WARNING! This will remove all stopped containers."))
        return 0;
    if (prune_filter_parse(opts, /* images= */ false, &filter, err) < 0)
        return -1;
    if (container_refresh_all(app, err) < 0 || state_container_list(app->state, &rows, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        cleanup_with(container_clear) struct container c;
        cleanup_err struct err why = ERR_INIT;

        container_init(&c, app);
        c.row = rows[i];
        if (container_may_run(&c) || container_is(&c, "removing") || !matches(&filter, &c.row) ||
            container_remove(&c, /* force= */ false, &why) < 0)
            continue;
        if (!any)
            puts("Deleted Containers:");
        any = true;
        puts(c.row.id);
    }
    free(rows);
    catalog_sweep(app);
    puts(any ? "\nTotal reclaimed space: 0B" : "Total reclaimed space: 0B");
    return 0;
}

extern const struct cmd_def cmd_def_container_prune;

const struct command cmd_container_prune = {.def = &cmd_def_container_prune, .errors = ERROR_PLAIN, .run = prune_run};
