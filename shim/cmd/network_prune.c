#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/network.h"
#include "shim/prune.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* Whether the filter takes the network, whose labels are a JSON array of "k=v". */
static bool matches(const struct prune_filter *f, const struct state_network *n)
{
    cleanup_strlist struct strlist labels = STRLIST_INIT;
    json_auto_t *list = json_loads(n->labels, 0, NULL);
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        if (json_is_string(item))
            strlist_add(&labels, json_string_value(item));
    }
    return prune_filter_takes(f, n->created_ns, &labels);
}

static int prune_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(prune_filter_clear) struct prune_filter filter = {0};
    struct state_network *list = NULL;
    bool any = false;
    size_t len = 0;

    if (!prune_confirmed(opts, "WARNING! This will remove all custom networks not used by at least one container."))
        return 0;
    if (prune_filter_parse(opts, /* images= */ false, &filter, err) < 0 || network_list(app, &list, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        cleanup_err struct err why = ERR_INIT;

        if (!network_is_predefined(&list[i]) && matches(&filter, &list[i]) &&
            network_remove(app, list[i].id, &why) == 0) {
            if (!any)
                puts("Deleted Networks:");
            any = true;
            puts(list[i].name);
        }
        state_network_clear(&list[i]);
    }
    free(list);
    if (any)
        puts("");
    return 0;
}

extern const struct cmd_def cmd_def_network_prune;

const struct command cmd_network_prune = {.def = &cmd_def_network_prune, .errors = ERROR_PLAIN, .run = prune_run};
