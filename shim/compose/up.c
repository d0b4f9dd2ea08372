#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/compose/attached.h"
#include "shim/compose/up.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

bool up_env_true(const char *value)
{
    return value && (!strcmp(value, "1") || !strcasecmp(value, "true") || !strcasecmp(value, "t") ||
                     !strcasecmp(value, "y") || !strcasecmp(value, "yes"));
}

/* What cannot be said together; in compose's order and words. */
static int check(const struct opt_parsed *opts, struct err *err)
{
    bool wait = opt_bool(opts, "wait"), attach = opt_list(opts, "attach")->len > 0;
    bool deps = opt_bool(opts, "attach-dependencies"), fail = opt_bool(opts, "abort-on-container-failure");
    bool stop = opt_bool(opts, "abort-on-container-exit") || (*opt_str(opts, "exit-code-from") && !fail);

    if (stop && fail)
        return err_set(err, 1, "--abort-on-container-failure cannot be combined with --abort-on-container-exit");
    if (wait && (deps || stop || attach))
        return err_set(err, 1,
                       "--wait cannot be combined with --abort-on-container-exit, --attach or --attach-dependencies");
    if (opt_bool(opts, "build") && opt_bool(opts, "no-build"))
        return err_set(err, 1, "--build and --no-build are incompatible");
    if ((wait || opt_bool(opts, "detach")) && (deps || stop || fail || attach || opt_bool(opts, "watch")))
        return err_set(err, 1,
                       "--%s cannot be combined with --abort-on-container-exit, --abort-on-container-failure, "
                       "--attach, --attach-dependencies or --watch",
                       wait ? "wait" : "detach");
    if (opt_bool(opts, "no-build") && opt_bool(opts, "watch") && up_check_recreate(opts, err) == 0)
        return err_set(err, 1, "--no-build and --watch are incompatible");
    if (attach && deps)
        return err_set(err, 1, "cannot combine --attach and --attach-dependencies");
    return up_check_recreate(opts, err);
}

int up_check_recreate(const struct opt_parsed *opts, struct err *err)
{
    bool never = opt_bool(opts, "no-recreate");

    if (opt_bool(opts, "renew-anon-volumes") && never)
        return err_set(err, 1, "--no-recreate and --renew-anon-volumes are incompatible");
    if (opt_bool(opts, "force-recreate") && never)
        return err_set(err, 1, "--force-recreate and --no-recreate are incompatible");
    if (opt_bool(opts, "always-recreate-deps") && never)
        return err_set(err, 1, "--always-recreate-deps and --no-recreate are incompatible");
    return 0;
}

static int read_pull(struct team *w, const struct opt_parsed *opts, struct err *err)
{
    static const char *const policies[] = {"always", "never", "build", "missing", "if_not_present"};

    if (!opt_given(opts, "pull"))
        return 0;
    w->pull = opt_str(opts, "pull");
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
        if (!strcmp(w->pull, policies[i]))
            return 0;
    return err_set(err, 1, "invalid --pull option \"%s\"", w->pull);
}

int up_options(struct team *w, const struct opt_parsed *opts, struct err *err)
{
    bool orphans = opt_given(opts, "remove-orphans") ? opt_bool(opts, "remove-orphans")
                                                     : up_env_true(getenv("COMPOSE_REMOVE_ORPHANS"));

    w->recreate = opt_bool(opts, "no-recreate")                                              ? RECREATE_NEVER
                  : opt_bool(opts, "force-recreate") || opt_bool(opts, "renew-anon-volumes") ? RECREATE_FORCE
                                                                                             : RECREATE_DIVERGED;
    w->recreate_depends = opt_bool(opts, "no-recreate")            ? RECREATE_NEVER
                          : opt_bool(opts, "always-recreate-deps") ? RECREATE_FORCE
                                                                   : RECREATE_DIVERGED;
    w->yes = opt_bool(opts, "yes");
    w->renew_volumes = opt_bool(opts, "renew-anon-volumes");
    w->quiet_pull = opt_bool(opts, "quiet-pull");
    w->quiet_build = opt_bool(opts, "quiet-build");
    w->build = opt_bool(opts, "build");
    w->no_build = opt_bool(opts, "no-build");
    w->remove_orphans = orphans;
    w->ignore_orphans = up_env_true(strlist_env_get(&w->project.environment, "COMPOSE_IGNORE_ORPHANS"));
    if (w->ignore_orphans && w->remove_orphans)
        return err_set(err, 1, "cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans");
    team_timeout(w, opts);
    if (team_check(w, err) < 0)
        return -1;
    return read_pull(w, opts, err) < 0 ? -1 : services_scale(&w->services, opt_list(opts, "scale"), err);
}

int up_make(struct team *w, struct err *err)
{
    int ret;

    if (team_images(w, err) < 0 || team_lock(w, err) < 0)
        return -1;
    ret = team_resources(w, err);
    if (ret == 0)
        ret = team_look(w, NULL, MEMBERS_ONEOFF, err);
    if (ret == 0)
        ret = team_orphans(w, err);
    if (ret == 0)
        ret = team_create(w, err);
    team_unlock(w, /* gone= */ false);
    return ret;
}

static int up_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    bool detached = opt_bool(opts, "detach") || opt_bool(opts, "wait");
    cleanup_with(team_clear) struct team w;

    team_init(&w, app);
    if (check(opts, err) < 0 || team_load(&w, opt_args(opts), !opt_bool(opts, "no-deps"), err) < 0)
        return -1;
    if (!w.services.len)
        return err_set(err, 1, "no service selected");
    if (up_options(&w, opts, err) < 0 || team_show(&w, "Running", err) < 0 || up_make(&w, err) < 0)
        return -1;
    if (opt_bool(opts, "no-start"))
        return 0;
    if (!detached && app->dry_run) {
        puts("end of 'compose up' output, interactive run is not supported in dry-run mode");
        return 0;
    }
    if (!detached)
        return attached_run(&w, opts, err);
    return team_start(&w, opt_bool(opts, "wait"), opt_int(opts, "wait-timeout"), err) < 0 ? -1 : 0;
}

extern const struct cmd_def cmd_def_compose_up;

const struct command cmd_compose_up = {.def = &cmd_def_compose_up, .errors = ERROR_PLAIN, .run = up_run};
