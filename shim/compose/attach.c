#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/compose/compose.h"
#include "shim/compose/members.h"

static int attach_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_free char *project = compose_name(app, err);
    cleanup_with(member_clear) struct member m = {0};
    cleanup_strlist struct strlist words = STRLIST_INIT;

    if (!project || members_one(app, project, opt_args(opts)->items[0], opt_int(opts, "index"),
                                MEMBERS_ONEOFF | MEMBERS_RUNNING, &m, err) < 0)
        return -1;
    if (opt_given(opts, "detach-keys"))
        strlist_addf(&words, "--detach-keys=%s", opt_str(opts, "detach-keys"));
    if (opt_bool(opts, "no-stdin"))
        strlist_add(&words, "--no-stdin");
    if (!opt_bool(opts, "sig-proxy"))
        strlist_add(&words, "--sig-proxy=false");
    strlist_add(&words, m.row.id);
    return command_call(app, "attach", &words, err);
}

extern const struct cmd_def cmd_def_compose_attach;

const struct command cmd_compose_attach = {.def = &cmd_def_compose_attach, .errors = ERROR_PLAIN, .run = attach_run};
