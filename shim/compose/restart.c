#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/compose/team.h"

#include <string.h>

/* Whether a service says `restart: true` of one that it depends on. */
static bool follows(const struct service *s, const char *other)
{
    for (size_t i = 0; i < s->depends_len; i++)
        if (s->depends[i].restart && !strcmp(s->depends[i].name, other))
            return true;
    return false;
}

/* The services that were named, and those that follow them. */
static void choose(const struct team *w, const struct strlist *named, bool deps, struct strlist *ret)
{
    strlist_copy(ret, named);
    for (size_t i = 0; deps && i < ret->len; i++)
        for (size_t s = 0; s < w->services.len; s++)
            if (follows(&w->services.items[s], ret->items[i]) && !strlist_has(ret, w->services.items[s].name))
                strlist_add(ret, w->services.items[s].name);
}

static void plan(const struct team *w, bool deps, struct acts *acts)
{
    for (size_t i = 0; i < w->members.len; i++) {
        cleanup_free char *title = member_title(&w->members.items[i]);
        const struct service *service = services_find(&w->services, w->members.items[i].service);
        const char *id = w->members.items[i].row.id;
        size_t act = acts_add(acts, title);
        struct step *s;

        if (member_is(&w->members.items[i], "running"))
            team_hooks(service, "pre_stop", id, acts, act);
        s = acts_call(acts, act, "Restarting", "Started", "restart", NULL);
        if (w->stop_timeout) {
            strlist_add(&s->words, "-t");
            strlist_add(&s->words, w->stop_timeout);
        }
        strlist_add(&s->words, id);
        team_hooks(service, "post_start", id, acts, act);
    }
    for (size_t a = 0; deps && a < acts->len; a++)
        for (size_t b = 0; b < acts->len; b++) {
            const struct service *s = services_find(&w->services, w->members.items[a].service);

            if (a != b && s && follows(s, w->members.items[b].service))
                acts_after(acts, a, b);
        }
}

static int restart_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_strlist struct strlist services = STRLIST_INIT;
    cleanup_with(acts_clear) struct acts acts = ACTS_INIT;
    cleanup_with(team_clear) struct team w;

    team_init(&w, app);
    team_timeout(&w, opts);
    if (team_load_or_name(&w, opt_args(opts), err) < 0)
        return -1;
    for (size_t i = 0; w.loaded && i < opt_args(opts)->len; i++)
        if (!services_find(&w.services, opt_args(opts)->items[i]))
            return err_set(err, 1, "no such service: %s", opt_args(opts)->items[i]);
    choose(&w, opt_args(opts), !opt_bool(opts, "no-deps"), &services);
    if (team_look(&w, &services, 0, err) < 0 || team_show(&w, "Restarting", err) < 0)
        return -1;
    plan(&w, !opt_bool(opts, "no-deps"), &acts);
    return team_run(&w, &acts, err);
}

extern const struct cmd_def cmd_def_compose_restart;

const struct command cmd_compose_restart = {.def = &cmd_def_compose_restart, .errors = ERROR_PLAIN, .run = restart_run};
