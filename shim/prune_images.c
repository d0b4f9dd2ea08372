#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/container.h"
#include "shim/keep.h"
#include "shim/prune.h"
#include "translate/image_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS INT64_C(1000000000)

/* Whether the filters take it. */
static bool matches(const struct prune_filter *f, const struct state_image *image)
{
    struct oci_config config = {0};
    bool takes = oci_config_parse(image->config, strlen(image->config), &config, NULL) == 0 &&
                 prune_filter_takes(f, image->created * NS, &config.labels);

    oci_config_clear(&config);
    return takes;
}

/* Whether one of its names has a tag: dangling is what has none, though a digest may name it. */
static int is_tagged(struct app *app, const char *id, bool *ret, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT, digests = STRLIST_INIT;

    if (state_image_tags(app->state, id, &names, &digests, err) < 0)
        return -1;
    *ret = false;
    for (size_t i = 0; i < names.len; i++)
        *ret = *ret || !strchr(names.items[i], '@');
    return 0;
}

/* The images that containers have, whatever these do. */
static int images_in_use(struct app *app, struct strlist *ret, struct err *err)
{
    struct state_container *rows = NULL;
    size_t len = 0;

    if (container_may_recover(app) && container_recover(app, err) < 0)
        return -1;
    if (state_container_list(app->state, &rows, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (rows[i].image_id)
            strlist_add(ret, rows[i].image_id);
        state_container_clear(&rows[i]);
    }
    free(rows);
    return 0;
}

/* Removes one image with all its names and prints what went; what a container took meanwhile stays. */
static void remove_image(struct app *app, const char *id, struct pruned *pruned)
{
    struct catalog_gone gone = {0};
    struct err why = ERR_INIT;

    if (catalog_remove_unused(app, id, &gone, &why) < 0)
        app_trace(app, "image %s stays: %s", id, why.msg);
    if (gone.untagged.len + gone.deleted.len > 0)
        prune_heading(pruned, "Deleted Images:");
    for (size_t i = 0; i < gone.untagged.len; i++)
        printf("untagged: %s\n", gone.untagged.items[i]);
    for (size_t i = 0; i < gone.deleted.len; i++)
        printf("deleted: %s\n", gone.deleted.items[i]);
    pruned->bytes += gone.size;
    catalog_gone_clear(&gone);
    err_clear(&why);
}

/* The ids of what is to go. */
static int collect(struct app *app, const struct prune_filter *f, bool dangling, struct strlist *ret, struct err *err)
{
    cleanup_strlist struct strlist used = STRLIST_INIT;
    struct state_image *list = NULL;
    size_t len = 0;
    int got = images_in_use(app, &used, err);

    if (got == 0)
        got = state_image_list(app->state, &list, &len, err);
    for (size_t i = 0; i < len; i++) {
        bool tagged = false;
        int children;

        if (got == 0 && !strlist_has(&used, list[i].id) && matches(f, &list[i])) {
            got = is_tagged(app, list[i].id, &tagged, err);
            children = got == 0 ? state_image_has_children(app->state, list[i].id, err) : 0;
            if (children < 0)
                got = -1;
            if (got == 0 && !(dangling && tagged) && !(children && !tagged)) /* it is there for others' sake */
                strlist_add(ret, list[i].id);
        }
        state_image_clear(&list[i]);
    }
    free(list);
    return got;
}

int prune_images(struct app *app, const struct prune_filter *f, bool dangling, struct pruned *pruned, struct err *err)
{
    cleanup_strlist struct strlist ids = STRLIST_INIT;
    cleanup_err struct err why = ERR_INIT;

    pruned->headed = false;
    if (app_modal(app, err) < 0 || collect(app, f, dangling, &ids, err) < 0)
        return -1;
    for (size_t i = 0; i < ids.len; i++)
        remove_image(app, ids.items[i], pruned);
    catalog_sweep(app);
    if (keep_sweep(app, &why) < 0) /* of a load that was killed too */
        app_trace(app, "layers that nobody needs are left for now: %s", why.msg);
    return 0;
}
