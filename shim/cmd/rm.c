#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/each.h"
#include "shim/volume.h"

struct removal {
    bool force, volumes;
};

static int remove_one(struct container *c, const char *word, void *arg, struct err *err)
{
    const struct removal *how = arg;
    bool volumes = (how->volumes || c->row.auto_remove) && container_load(c, NULL) == 0;

    (void)word;
    if (container_remove(c, how->force, err) < 0)
        return -1;
    if (volumes)
        volumes_remove_anonymous(c->app, &c->spec);
    return 0;
}

static int rm_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    struct removal how = {opt_bool(opts, "force"), opt_bool(opts, "volumes")};
    int code;

    (void)err;
    code = each_container(app, opts, &(struct each){.fn = remove_one, .arg = &how, .forgive = how.force});
    catalog_sweep(app);
    return code;
}

extern const struct cmd_def cmd_def_rm;

const struct command cmd_rm = {.def = &cmd_def_rm, .errors = ERROR_PLAIN, .run = rm_run};
