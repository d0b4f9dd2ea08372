#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"

#include <stdio.h>

/* One word of the line; 0, or 1 when it failed. */
static int remove_one(struct app *app, const char *word, bool force, bool prune)
{
    cleanup_err struct err why = ERR_INIT;
    struct catalog_gone gone = {0};
    int got = catalog_remove(app, word, force, prune, &gone, &why);

    for (size_t i = 0; i < gone.untagged.len; i++)
        printf("Untagged: %s\n", gone.untagged.items[i]);
    for (size_t i = 0; i < gone.deleted.len; i++)
        printf("Deleted: %s\n", gone.deleted.items[i]);
    catalog_gone_clear(&gone);
    if (got == 0)
        return 0;
    fflush(stdout);
    fprintf(stderr, "%s\n", why.msg);
    return !force || why.code != CATALOG_NO_SUCH_IMAGE;
}

static int rmi_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct strlist *words = opt_args(opts);
    int code = 0;

    for (size_t i = 0; i < opt_list(opts, "platform")->len; i++)
        if (catalog_check_platform(opt_list(opts, "platform")->items[i], err) < 0)
            return -1;
    if (app_state(app, err) < 0)
        return -1;
    for (size_t i = 0; i < words->len; i++)
        code |= remove_one(app, words->items[i], opt_bool(opts, "force"), !opt_bool(opts, "no-prune"));
    catalog_sweep(app);
    return code;
}

extern const struct cmd_def cmd_def_rmi;

const struct command cmd_rmi = {.def = &cmd_def_rmi, .errors = ERROR_PLAIN, .run = rmi_run};
