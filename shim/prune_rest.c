/* What is pruned beside images: containers, networks, volumes. */
#include "backends/state/volumes.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/container.h"
#include "shim/network.h"
#include "shim/prune.h"
#include "shim/volume.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* Whether the filter takes what was made then with these labels, a JSON array of "k=v". */
static bool takes(const struct prune_filter *f, int64_t created_ns, const char *labels_json)
{
    cleanup_strlist struct strlist labels = STRLIST_INIT;
    json_auto_t *list = json_loads(labels_json, 0, NULL);
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        if (json_is_string(item))
            strlist_add(&labels, json_string_value(item));
    }
    return prune_filter_takes(f, created_ns, &labels);
}

int prune_containers(struct app *app, const struct prune_filter *f, struct pruned *pruned, struct err *err)
{
    struct state_container *rows = NULL;
    size_t len = 0;

    pruned->headed = false;
    if (container_refresh_all(app, err) < 0 || state_container_list(app->state, &rows, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        cleanup_with(container_clear) struct container c;
        cleanup_err struct err why = ERR_INIT;

        container_init(&c, app);
        c.row = rows[i];
        if (container_may_run(&c) || container_is(&c, "removing") || !takes(f, c.row.created_ns, c.row.labels) ||
            container_remove(&c, /* force= */ false, &why) < 0)
            continue;
        prune_heading(pruned, "Deleted Containers:");
        puts(c.row.id);
    }
    free(rows);
    catalog_sweep(app);
    return 0;
}

int prune_networks(struct app *app, const struct prune_filter *f, struct pruned *pruned, struct err *err)
{
    struct state_network *list = NULL;
    size_t len = 0;

    pruned->headed = false;
    if (network_list(app, &list, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        cleanup_err struct err why = ERR_INIT;

        if (!network_is_predefined(&list[i]) && takes(f, list[i].created_ns, list[i].labels) &&
            network_remove(app, list[i].id, &why) == 0) {
            prune_heading(pruned, "Deleted Networks:");
            puts(list[i].name);
        }
        state_network_clear(&list[i]);
    }
    free(list);
    return 0;
}

int prune_volumes(struct app *app, const struct prune_filter *f, bool all, struct pruned *pruned, struct err *err)
{
    struct state_volume *list = NULL;
    size_t len = 0;

    pruned->headed = false;
    if (app_state(app, err) < 0 || volumes_recover(app, err) < 0 || state_volume_list(app->state, &list, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        cleanup_strlist struct strlist labels = STRLIST_INIT;
        cleanup_err struct err why = ERR_INIT;

        volume_labels(&list[i], &labels);
        if ((all || list[i].anonymous) && prune_filter_takes(f, list[i].created_ns, &labels) &&
            volume_remove(app, list[i].name, /* force= */ true, &why) == 0) {
            prune_heading(pruned, "Deleted Volumes:");
            puts(list[i].name);
        }
        state_volume_clear(&list[i]);
    }
    free(list);
    return 0;
}
