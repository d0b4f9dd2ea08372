#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/compose/team.h"

#include <stdio.h>
#include <string.h>

/* Whether the image is here; "latest" is never taken to be up to date, as compose has it. */
static bool is_present(struct app *app, const char *name)
{
    const char *slash = strrchr(name, '/'), *tag = strchr(slash ? slash : name, ':');
    struct state_image image = {0};

    if (!strchr(name, '@') && (!tag || !strcmp(tag, ":latest")))
        return false;
    if (app_state(app, NULL) < 0 || catalog_find_word(app, name, &image, NULL) < 0)
        return false;
    state_image_clear(&image);
    return true;
}

/* Why an image is not pulled, NULL: it is; owned by caller. names: "IMAGE=SERVICE" of those that are. */
static char *skipped(struct app *app, const struct opt_parsed *opts, const struct service *s,
                     const struct strlist *names)
{
    const char *by;
    const char *policy = opt_given(opts, "policy") ? opt_str(opts, "policy") : cnode_str(s->node, "pull_policy");

    policy = policy ? policy : "";
    if (!cnode_str(s->node, "image"))
        return xstrdup("Skipped - No image to be pulled");
    if (!strcmp(policy, "never") || !strcmp(policy, "build"))
        return xstrdup("Skipped");
    if ((!strcmp(policy, "missing") || !strcmp(policy, "if_not_present")) && is_present(app, s->image))
        return xstrdup("Skipped - Image is already present locally");
    if (cnode_get(s->node, "build") && opt_bool(opts, "ignore-buildable"))
        return xstrdup("Skipped - Image can be built");
    by = strlist_env_get(names, s->image);
    return by ? xasprintf("Skipped - Image is already being pulled by %s", by) : NULL;
}

/* A failure is told at the service; one that can be built, or with --ignore-pull-failures, is none. */
static void plan_pull(const struct opt_parsed *opts, const struct service *s, struct acts *acts)
{
    struct step *step = acts_call(acts, acts_add(acts, s->name), "Pulling", "Pulled", "pull", "-q", NULL);
    const char *platform = cnode_str(s->node, "platform");

    step->flags = STEP_TEXT;
    if (platform && *platform) {
        strlist_add(&step->words, "--platform");
        strlist_add(&step->words, platform);
    }
    strlist_add(&step->words, "--");
    strlist_add(&step->words, s->image);
    if (opt_bool(opts, "ignore-pull-failures"))
        step->flags |= STEP_OPTIONAL;
}

static int pull_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;
    cleanup_with(acts_clear) struct acts acts = ACTS_INIT;
    const char *policy = opt_str(opts, "policy");
    cleanup_with(team_clear) struct team w;

    team_init(&w, app);
    if (*policy && strcmp(policy, "missing") != 0 && strcmp(policy, "always") != 0)
        return err_set(err, 1, "invalid --policy value \"%s\"", policy);
    if (team_load(&w, opt_args(opts), opt_bool(opts, "include-deps"), err) < 0)
        return -1;
    if (team_show(&w, "Pulling", err) < 0)
        return -1;
    for (size_t i = 0; i < w.services.len; i++) {
        const struct service *s = &w.services.items[i];
        cleanup_free char *why = skipped(app, opts, s, &names);

        if (!why) {
            plan_pull(opts, s, &acts);
            strlist_addf(&names, "%s=%s", s->image, s->name);
        } else if (w.display) {
            display_event(w.display, DISPLAY_DONE, s->name, why, "");
        }
    }
    return team_run(&w, &acts, err);
}

extern const struct cmd_def cmd_def_compose_pull;

const struct command cmd_compose_pull = {.def = &cmd_def_compose_pull, .errors = ERROR_PLAIN, .run = pull_run};
