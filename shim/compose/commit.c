#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/compose/jobs.h"
#include "shim/compose/team.h"

#include <string.h>

/* The words of `docker commit`. */
static void fill_words(const struct opt_parsed *opts, const char *id, struct strlist *ret)
{
    const struct strlist *changes = opt_list(opts, "change"), *args = opt_args(opts);

    strlist_addf(ret, "--author=%s", opt_str(opts, "author"));
    strlist_addf(ret, "--message=%s", opt_str(opts, "message"));
    strlist_addf(ret, "--pause=%s", opt_bool(opts, "pause") ? "true" : "false");
    for (size_t i = 0; i < changes->len; i++)
        strlist_addf(ret, "--change=%s", changes->items[i]);
    strlist_add(ret, id);
    if (args->len > 1)
        strlist_add(ret, args->items[1]);
}

static int commit_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(team_clear) struct team w;
    cleanup_with(member_clear) struct member m = {0};
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *text = NULL, *id = NULL, *done = NULL;

    team_init(&w, app);
    if (team_name(&w, err) < 0 ||
        members_one(app, w.name, opt_args(opts)->items[0], opt_int(opts, "index"), MEMBERS_ONEOFF | MEMBERS_RUNNING, &m,
                    err) < 0 ||
        team_show(&w, "Committing", err) < 0)
        return -1;
    text = xasprintf("Commit %s", m.row.name);
    display_event(w.display, DISPLAY_WORKING, m.row.name, text, "Committing");
    if (!app->dry_run) {
        fill_words(opts, m.row.id, &words);
        if (jobs_command(app, "commit", &words, &id, err) < 0)
            return -1;
    }
    done = id ? xasprintf("Committed as %s", id) : xstrdup("Committed");
    display_event(w.display, DISPLAY_DONE, m.row.name, text, done);
    return 0;
}

extern const struct cmd_def cmd_def_compose_commit;

const struct command cmd_compose_commit = {.def = &cmd_def_compose_commit, .errors = ERROR_PLAIN, .run = commit_run};
