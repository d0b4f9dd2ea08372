#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/each.h"

static int remove_one(struct container *c, const char *word, void *arg, struct err *err)
{
    (void)word;
    return container_remove(c, *(const bool *)arg, err);
}

static int rm_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    bool force = opt_bool(opts, "force");
    int code;

    (void)err;
    code = each_container(app, opts, &(struct each){.fn = remove_one, .arg = &force, .forgive = force});
    catalog_sweep(app);
    return code;
}

extern const struct cmd_def cmd_def_rm;

const struct command cmd_rm = {.def = &cmd_def_rm, .errors = ERROR_PLAIN, .run = rm_run};
