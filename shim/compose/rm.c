#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/command.h"
#include "shim/compose/up.h"

#include <stdio.h>
#include <string.h>

#define NAMES_MAX (1u << 20)

static int stop_first(struct team *w, struct err *err)
{
    cleanup_free struct member **list = xcalloc(w->members.len + 1, sizeof(*list));

    for (size_t i = 0; i < w->members.len; i++)
        list[i] = &w->members.items[i];
    return team_stop(w, list, w->members.len, false, false, err);
}

/* What does not run, as one line of names. */
/* stopped: they do not run, whatever they look like: a dry run has stopped them. */
static void plan(const struct team *w, bool stopped, bool force, bool volumes, struct acts *acts, struct buf *names)
{
    const char *flags = force ? (volumes ? "-fv" : "-f") : volumes ? "-v" : NULL;

    for (size_t i = 0; i < w->members.len; i++) {
        struct member *m = &w->members.items[i];
        cleanup_free char *title = member_title(m);
        struct step *s;

        if ((member_runs(m) && !stopped) || (w->loaded && !services_find(&w->services, m->service)))
            continue;
        buf_addf(names, "%s%s", acts->len ? ", " : "", m->row.name);
        s = acts_call(acts, acts_add(acts, title), "Removing", "Removed", "rm", NULL);
        if (flags)
            strlist_add(&s->words, flags);
        strlist_add(&s->words, m->row.id);
    }
}

static int rm_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(acts_clear) struct acts acts = ACTS_INIT;
    cleanup_buf struct buf names = BUF_INIT(NAMES_MAX);
    cleanup_with(team_clear) struct team w;
    cleanup_free char *question = NULL;

    team_init(&w, app);
    if (team_load_or_name(&w, opt_args(opts), err) < 0)
        return -1;
    for (size_t i = 0; w.loaded && i < opt_args(opts)->len; i++)
        if (!services_find(&w.services, opt_args(opts)->items[i]))
            return err_set(err, 1, "no such service: %s", opt_args(opts)->items[i]);
    if (team_look(&w, opt_args(opts), 0, err) < 0 || team_show(&w, "Removing", err) < 0)
        return -1;
    if (opt_bool(opts, "stop") && (stop_first(&w, err) < 0 || team_look(&w, opt_args(opts), 0, err) < 0))
        return -1;
    plan(&w, opt_bool(opts, "stop") && app->dry_run, opt_bool(opts, "force"), opt_bool(opts, "volumes"), &acts, &names);
    if (!acts.len) {
        fputs("No stopped containers\n", stderr);
        return 0;
    }
    question = xasprintf("Going to remove %s", names.data);
    if (opt_bool(opts, "force"))
        puts(question);
    else if (!team_confirmed(question))
        return 0;
    return team_run(&w, &acts, err);
}

extern const struct cmd_def cmd_def_compose_rm;

const struct command cmd_compose_rm = {.def = &cmd_def_compose_rm, .errors = ERROR_PLAIN, .run = rm_run};
