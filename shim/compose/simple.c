#include "shim/compose/simple.h"

#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdio.h>
#include <string.h>

static int check_services(const struct team *w, const struct strlist *services, struct err *err)
{
    for (size_t i = 0; w->loaded && i < services->len; i++)
        if (!services_find(&w->services, services->items[i]))
            return err_set(err, 1, "no such service: %s", services->items[i]);
    return 0;
}

int simple_run(struct app *app, const struct strlist *services, struct simple *what, struct err *err)
{
    cleanup_with(acts_clear) struct acts acts = ACTS_INIT;
    cleanup_with(team_clear) struct team w;
    int ret = -1;

    team_init(&w, app);
    if (team_load_or_name(&w, services, err) < 0 || check_services(&w, services, err) < 0 ||
        team_look(&w, services, what->members, err) < 0 || team_show(&w, "Running", err) < 0)
        goto out;
    for (size_t i = 0; i < w.members.len; i++) {
        struct member *m = &w.members.items[i];
        cleanup_free char *title = member_title(m);
        struct step *s;

        if ((what->takes && !what->takes(m)) || (w.loaded && !what->orphans && !services_find(&w.services, m->service)))
            continue;
        s = acts_call(&acts, acts_add(&acts, title), what->doing, what->done, what->path, NULL);
        s->flags = what->step_flags;
        s->failed = what->failed;
        strlist_copy(&s->words, &what->options);
        strlist_add(&s->words, m->row.id);
    }
    if (!acts.len && what->none) {
        fputs(what->none, stderr);
        ret = 0;
    } else if (!w.members.len && !w.loaded && what->wants_some) {
        err_set(err, 1, "no container found for project \"%s\": not found", w.name);
    } else {
        ret = team_run(&w, &acts, err);
    }
out:
    strlist_clear(&what->options);
    return ret;
}
