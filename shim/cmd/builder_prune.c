/* The build cache: `builder prune`, `buildx prune` and `buildx du`. It is the embedded engine's; others tell nothing.
 */
#include "backends/modal/engine_images.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/units.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/prune.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define WARNING     "WARNING! This will remove all dangling build cache."
#define ALL_WARNING "WARNING! This will remove all build cache."

static int no_cache_here(struct err *err)
{
    return err_set(err, 1, "this server keeps its build cache to itself: it can be neither measured nor pruned");
}

/* A builder of another name is none that there is. */
static int check_builder(const struct opt_parsed *opts, struct err *err)
{
    const char *builder = opt_str(opts, "builder");

    return *builder && strcmp(builder, "default") ? err_set(err, 1, "ERROR: no builder \"%s\" found", builder) : 0;
}

/* The largest of the limits that the line gives; what is kept may not be less than any of them. */
static int64_t keep_bytes(const struct opt_parsed *opts)
{
    static const char *const names[] = {"keep-storage", "max-used-space", "reserved-space"};
    int64_t most = 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (opt_int(opts, names[i]) > most)
            most = opt_int(opts, names[i]);
    return most;
}

static int prune(struct app *app, const struct opt_parsed *opts, int64_t *ret_bytes, struct err *err)
{
    cleanup_with(prune_filter_clear) struct prune_filter filter = {0};
    int64_t records = 0, unused = 0;
    int got;

    *ret_bytes = -1;
    if (check_builder(opts, err) < 0 || prune_filter_parse(opts, /* images= */ false, &filter, err) < 0)
        return -1;
    if (filter.labels.len || filter.without_labels.len)
        return err_set(err, 1, "--filter label is refused by atp-docker: the build cache has no labels");
    if (!prune_confirmed(opts, opt_bool(opts, "all") ? ALL_WARNING : WARNING))
        return 0;
    if (filter.until_ns)
        unused = (int64_t)time(NULL) - filter.until_ns / 1000000000;
    if (app_modal(app, err) < 0)
        return -1;
    got = engine_prune(app->modal, opt_bool(opts, "all") && !filter.until_ns, unused > 0 ? unused : 0, keep_bytes(opts),
                       &records, ret_bytes, err);
    return got == 0 ? no_cache_here(err) : got < 0 ? -1 : 0;
}

static int builder_prune_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_free char *size = NULL;
    int64_t bytes;

    if (prune(app, opts, &bytes, err) < 0)
        return -1;
    if (bytes < 0)
        return 0;
    size = units_size((double)bytes);
    printf("Total reclaimed space: %s\n", size);
    return 0;
}

static int buildx_prune_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_free char *size = NULL;
    int64_t bytes;

    if (prune(app, opts, &bytes, err) < 0)
        return -1;
    if (bytes < 0)
        return 0;
    size = units_size((double)bytes);
    printf("Total:\t%s\n", size);
    return 0;
}

static int buildx_du_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_free char *all = NULL, *free_able = NULL;
    struct engine_usage usage;
    int got;

    if (check_builder(opts, err) < 0 || app_modal(app, err) < 0)
        return -1;
    got = engine_usage(app->modal, &usage, err);
    if (got <= 0)
        return got == 0 ? no_cache_here(err) : -1;
    free_able = units_size((double)usage.cache_bytes);
    all = units_size((double)(usage.cache_bytes + usage.image_bytes));
    printf("Reclaimable:\t%s\nTotal:\t\t%s\n", free_able, all);
    return 0;
}

extern const struct cmd_def cmd_def_builder_prune, cmd_def_buildx_prune, cmd_def_buildx_du;

const struct command cmd_builder_prune = {
    .def = &cmd_def_builder_prune, .errors = ERROR_PLAIN, .run = builder_prune_run};
const struct command cmd_buildx_prune = {.def = &cmd_def_buildx_prune, .errors = ERROR_PLAIN, .run = buildx_prune_run};
const struct command cmd_buildx_du = {.def = &cmd_def_buildx_du, .errors = ERROR_PLAIN, .run = buildx_du_run};
