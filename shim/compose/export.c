#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "compat/sys/tty.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/compose/team.h"

#include <unistd.h>

static int export_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const char *output = opt_str(opts, "output");
    cleanup_with(team_clear) struct team w;
    cleanup_with(member_clear) struct member m = {0};
    cleanup_strlist struct strlist words = STRLIST_INIT;
    cleanup_free char *text = NULL;
    int code = 0;

    team_init(&w, app);
    if (team_name(&w, err) < 0 ||
        members_one(app, w.name, opt_args(opts)->items[0], opt_int(opts, "index"), MEMBERS_ONEOFF | MEMBERS_RUNNING, &m,
                    err) < 0 ||
        team_show(&w, "Exporting", err) < 0)
        return -1;
    if (!*output && tty_is(STDOUT_FILENO))
        return err_set(err, 1, "output option is required when exporting to terminal");
    text = xasprintf("export %s to %s", m.row.name, output);
    display_event(w.display, DISPLAY_WORKING, m.row.name, text, "Exporting");
    strlist_addf(&words, "--output=%s", output);
    strlist_add(&words, m.row.id);
    if (!app->dry_run)
        code = command_call(app, "export", &words, err);
    else /* what was written says it for itself */
        display_event(w.display, DISPLAY_DONE, m.row.name, text, "Exported");
    return code;
}

extern const struct cmd_def cmd_def_compose_export;

const struct command cmd_compose_export = {.def = &cmd_def_compose_export, .errors = ERROR_PLAIN, .run = export_run};
