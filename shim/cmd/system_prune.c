/* All that nothing uses: containers that have ended, networks, images, the build cache, and with --volumes volumes. */
#include "backends/modal/engine_images.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/prune.h"
#include "shim/sandbox.h"

#include <stdio.h>
#include <time.h>

/* Docker's list of what would go, and by which filters. */
static void warning(const struct opt_parsed *opts, struct buf *out)
{
    const struct strlist *filters = opt_list(opts, "filter");
    bool all = opt_bool(opts, "all");

    buf_addf(out, "WARNING! This will remove:\n  - all stopped containers\n"
                  "  - all networks not used by at least one container\n");
    if (opt_bool(opts, "volumes"))
        buf_addf(out, "  - all anonymous volumes not used by at least one container\n");
    buf_addf(out, "%s",
             all ? "  - all images without at least one container associated to them\n  - all build cache\n"
                 : "  - all dangling images\n  - unused build cache\n");
    if (filters->len)
        buf_addf(out, "\n  Items to be pruned will be filtered with:\n");
    for (size_t i = 0; i < filters->len; i++)
        buf_addf(out, "  - %s\n", filters->items[i]);
}

/* The build cache, where the server has one that can be pruned. */
static int prune_cache(struct app *app, bool all, const struct prune_filter *f, struct pruned *pruned, struct err *err)
{
    int64_t records = 0, bytes = 0, unused = 0;

    if (f->labels.len || f->without_labels.len)
        return 0; /* it has none */
    if (f->until_ns)
        unused = (int64_t)time(NULL) - f->until_ns / 1000000000;
    if (engine_prune(app->modal, all && !f->until_ns, unused > 0 ? unused : 0, 0, &records, &bytes, err) < 0)
        return -1;
    pruned->bytes += bytes;
    return 0;
}

static int prune_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(prune_filter_clear) struct prune_filter filter = {0};
    struct buf text = BUF_INIT(1 << 20);
    struct pruned pruned = {0};
    bool all = opt_bool(opts, "all"), yes;

    warning(opts, &text);
    yes = prune_confirmed(opts, text.data);
    buf_clear(&text);
    if (!yes)
        return 0;
    if (prune_filter_parse(opts, /* images= */ false, &filter, err) < 0 || app_modal(app, err) < 0 ||
        app_state(app, err) < 0)
        return -1;
    if (opt_bool(opts, "volumes") && filter.until_ns)
        return err_set(err, 1, "ERROR: The \"until\" filter is not supported with \"--volumes\"");
    sandbox_reconcile(app); /* what killed clients left */
    if (prune_containers(app, &filter, &pruned, err) < 0 || prune_networks(app, &filter, &pruned, err) < 0 ||
        (opt_bool(opts, "volumes") && prune_volumes(app, &filter, /* all= */ false, &pruned, err) < 0) ||
        prune_images(app, &filter, /* dangling= */ !all, &pruned, err) < 0 ||
        prune_cache(app, all, &filter, &pruned, err) < 0)
        return -1;
    prune_total(&pruned);
    return 0;
}

extern const struct cmd_def cmd_def_system_prune;

const struct command cmd_system_prune = {.def = &cmd_def_system_prune, .errors = ERROR_PLAIN, .run = prune_run};
