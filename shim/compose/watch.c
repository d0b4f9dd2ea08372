#include "shim/compose/watching.h"

#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/compose/lock.h"
#include "shim/compose/up.h"

#include <unistd.h>

#define SIGNALLED 130 /* compose's, whichever signal it was */

/* What is watched and can be built is built first, whether there is an image or not. */
static void build_watched(struct team *w)
{
    for (size_t i = 0; i < w->services.len; i++) {
        const struct service *s = &w->services.items[i];
        struct cnode *node = cnode_get(cnode_get(w->project.model, "services"), s->name);

        if (node && cnode_get(node, "build") && cnode_get(node, "develop"))
            cnode_set(node, "pull_policy", cnode_string("build"));
    }
}

static int bring_up(struct team *w, const struct opt_parsed *opts, struct err *err)
{
    build_watched(w);
    w->recreate_depends = RECREATE_NEVER;
    w->quiet_pull = w->quiet_build = opt_bool(opts, "quiet");
    if (team_show(w, "Running", err) < 0 || up_make(w, err) < 0 || team_start(w, false, 0, err) < 0)
        return -1;
    display_free(w->display);
    w->display = NULL;
    return 0;
}

static int watch_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const struct watching_how how = {.prefix = "", .quiet = opt_bool(opts, "quiet"), .prune = opt_bool(opts, "prune")};
    cleanup_with(team_clear) struct team w;
    cleanup_close int lock = -1;

    team_init(&w, app);
    if (team_load(&w, opt_args(opts), true, err) < 0 || team_check(&w, err) < 0)
        return -1;
    lock = project_watch_lock(w.name, err);
    if (lock < 0 || (!opt_bool(opts, "no-up") && bring_up(&w, opts, err) < 0))
        return -1;
    if (opt_bool(opts, "no-up") && team_images_look(&w, err) < 0)
        return -1;
    return watching_run(&w, &how, err) < 0 ? -1 : SIGNALLED;
}

extern const struct cmd_def cmd_def_compose_watch;

const struct command cmd_compose_watch = {.def = &cmd_def_compose_watch, .errors = ERROR_PLAIN, .run = watch_run};
