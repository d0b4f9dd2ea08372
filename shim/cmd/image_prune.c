#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/command.h"
#include "shim/prune.h"

#include <string.h>

#define DANGLING_WARNING "WARNING! This will remove all dangling images."
#define ALL_WARNING      "WARNING! This will remove all images without at least one container associated to them."

/* Only images without a name: --all is the client's word for dangling=false, and a filter may say it besides. */
static int dangling_only(const struct opt_parsed *opts, const struct prune_filter *f, bool *ret, struct err *err)
{
    bool yes = !opt_bool(opts, "all"), no = !yes;

    for (size_t i = 0; i < f->dangling.len; i++) {
        const char *value = f->dangling.items[i];

        yes = yes || !strcmp(value, "true") || !strcmp(value, "1");
        no = no || !strcmp(value, "false") || !strcmp(value, "0");
    }
    if (yes && no)
        return err_set(err, 1, "Error response from daemon: invalid filter 'dangling=[false true]'");
    *ret = yes;
    return 0;
}

static int prune_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(prune_filter_clear) struct prune_filter filter = {0};
    struct pruned pruned = {0};
    bool dangling = true;

    if (!prune_confirmed(opts, opt_bool(opts, "all") ? ALL_WARNING : DANGLING_WARNING))
        return 0;
    if (prune_filter_parse(opts, /* images= */ true, &filter, err) < 0 ||
        dangling_only(opts, &filter, &dangling, err) < 0 || prune_images(app, &filter, dangling, &pruned, err) < 0)
        return -1;
    prune_total(&pruned);
    return 0;
}

extern const struct cmd_def cmd_def_image_prune;

const struct command cmd_image_prune = {.def = &cmd_def_image_prune, .errors = ERROR_PLAIN, .run = prune_run};
