#include "backends/state/state.h"
#include "backends/state/volumes.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/prune.h"
#include "shim/volume.h"

#include <stdio.h>
#include <stdlib.h>

static bool matches(const struct prune_filter *f, const struct state_volume *v)
{
    cleanup_strlist struct strlist labels = STRLIST_INIT;

    volume_labels(v, &labels);
    return prune_filter_takes(f, v->created_ns, &labels);
}

static int prune_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(prune_filter_clear) struct prune_filter filter = {0};
    struct state_volume *list = NULL;
    bool all = opt_bool(opts, "all"), any = false;
    size_t len = 0;

    if (!prune_confirmed(opts, all ? "WARNING! This will remove all local volumes not used by at least one container."
                                   : "WARNING! This will remove anonymous local volumes not used by at least one "
                                     "container."))
        return 0;
    if (prune_filter_parse(opts, /* images= */ false, &filter, err) < 0 || app_state(app, err) < 0 ||
        volumes_recover(app, err) < 0 || state_volume_list(app->state, &list, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        cleanup_err struct err why = ERR_INIT;

        if ((all || list[i].anonymous) && matches(&filter, &list[i]) &&
            volume_remove(app, list[i].name, /* force= */ true, &why) == 0) {
            if (!any)
                puts("Deleted Volumes:");
            any = true;
            puts(list[i].name);
        }
        state_volume_clear(&list[i]);
    }
    free(list);
    printf("%sTotal reclaimed space: 0B\n", any ? "\n" : "");
    return 0;
}

extern const struct cmd_def cmd_def_volume_prune;

const struct command cmd_volume_prune = {.def = &cmd_def_volume_prune, .errors = ERROR_PLAIN, .run = prune_run};
