#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/command.h"
#include "shim/compose/condition.h"
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

/* What `s` wants of one that it follows, beside that it was started again: a job for each container. */
static void plan_waits(const struct team *w, const struct service *s, size_t member, struct condition *waits,
                       size_t *len, struct acts *acts)
{
    for (size_t d = 0; d < s->depends_len; d++)
        for (size_t m = 0; s->depends[d].restart && m < w->members.len; m++) {
            const struct dependency *dep = &s->depends[d];
            cleanup_free char *title = member_title(&w->members.items[m]);
            size_t act;

            if (dep->condition == CONDITION_STARTED || strcmp(w->members.items[m].service, dep->name) != 0)
                continue;
            waits[*len] =
                (struct condition){.id = w->members.items[m].row.id, .service = dep->name, .kind = dep->condition};
            act = acts_add(acts, title);
            acts_do(acts, act, "Waiting", dep->condition == CONDITION_HEALTHY ? "Healthy" : "Exited", condition_wait,
                    &waits[(*len)++])
                ->flags = STEP_WAITS | (dep->required ? 0 : STEP_OPTIONAL);
            acts_after(acts, act, m);
            acts_after(acts, member, act);
        }
}

static void plan(const struct team *w, bool deps, struct condition *waits, struct acts *acts)
{
    size_t len = 0;

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
        s->flags = STEP_SILENT;
        team_hooks(service, "post_start", id, acts, act);
    }
    for (size_t a = 0; deps && a < w->members.len; a++) {
        const struct service *s = services_find(&w->services, w->members.items[a].service);

        for (size_t b = 0; b < w->members.len; b++)
            if (a != b && s && follows(s, w->members.items[b].service))
                acts_after(acts, a, b);
        if (s)
            plan_waits(w, s, a, waits, &len, acts);
    }
}

int team_restart(struct team *w, const struct strlist *services, bool deps, struct err *err)
{
    cleanup_strlist struct strlist all = STRLIST_INIT;
    cleanup_with(acts_clear) struct acts acts = ACTS_INIT;
    cleanup_free struct condition *waits = NULL; /* at most one for each two members */

    choose(w, services, deps, &all);
    if (team_look(w, &all, 0, err) < 0)
        return -1;
    waits = xcalloc(w->members.len * w->members.len + 1, sizeof(*waits));
    plan(w, deps, waits, &acts);
    return team_run(w, &acts, err);
}

static int restart_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    cleanup_with(team_clear) struct team w;

    team_init(&w, app);
    team_timeout(&w, opts);
    if (team_load_or_name(&w, opt_args(opts), err) < 0)
        return -1;
    for (size_t i = 0; w.loaded && i < opt_args(opts)->len; i++)
        if (!services_find(&w.services, opt_args(opts)->items[i]))
            return err_set(err, 1, "no such service: %s", opt_args(opts)->items[i]);
    if (team_show(&w, "Restarting", err) < 0)
        return -1;
    return team_restart(&w, opt_args(opts), !opt_bool(opts, "no-deps"), err);
}

extern const struct cmd_def cmd_def_compose_restart;

const struct command cmd_compose_restart = {.def = &cmd_def_compose_restart, .errors = ERROR_PLAIN, .run = restart_run};
