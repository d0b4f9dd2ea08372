/* Images of services that are built are pushed, each under all of its names. */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/compose/team.h"

/* One name of an image. */
static void plan(struct acts *acts, const char *name, bool forgive)
{
    cleanup_free char *title = xasprintf("Pushing %s", name);
    struct step *step = acts_call(acts, acts_add(acts, title), "Pushing", "Pushed", "push", "-q", name, NULL);

    if (forgive)
        step->flags = STEP_OPTIONAL;
}

static int push_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    bool forgive = opt_bool(opts, "ignore-push-failures");
    cleanup_with(acts_clear) struct acts acts = ACTS_INIT;
    cleanup_with(team_clear) struct team w;

    team_init(&w, app);
    if (team_load(&w, opt_args(opts), opt_bool(opts, "include-deps"), err) < 0 ||
        (!opt_bool(opts, "quiet") && team_show(&w, "Pushing", err) < 0))
        return -1;
    for (size_t i = 0; i < w.services.len; i++) {
        const struct service *s = &w.services.items[i];
        const struct cnode *build = cnode_get(s->node, "build"), *tags = cnode_get(build, "tags");

        if (!build || !cnode_str(s->node, "image")) {
            if (w.display)
                display_event(w.display, DISPLAY_DONE, s->name, "Skipped", "");
            continue;
        }
        plan(&acts, s->image, forgive);
        for (size_t t = 0; tags && t < tags->len; t++)
            plan(&acts, cnode_text(tags->items[t]), forgive);
    }
    return acts.len ? team_run(&w, &acts, err) : 0;
}

extern const struct cmd_def cmd_def_compose_push;

const struct command cmd_compose_push = {.def = &cmd_def_compose_push, .errors = ERROR_PLAIN, .run = push_run};
