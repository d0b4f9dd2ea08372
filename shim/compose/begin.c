/* Containers of a project are started, each when what it depends on has started, is healthy or has done its work. */
#include "shim/compose/team.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"
#include "shim/app.h"
#include "shim/compose/condition.h"

#include <stdlib.h>
#include <string.h>

struct start {
    struct team *w;
    struct acts acts;
    size_t *started;         /* an act per service: all its containers run */
    struct condition *waits; /* arguments of waiting jobs; their addresses are used only when all are there */
    size_t waits_len;
};

/* The next member of the service that is no one-off; NULL: there is none any more. */
static struct member *next_of(const struct team *w, const struct service *s, size_t *at)
{
    while (*at < w->members.len) {
        struct member *m = &w->members.items[(*at)++];

        if (!m->oneoff && !strcmp(m->service, s->name))
            return m;
    }
    return NULL;
}

static size_t count_of(const struct team *w, const struct service *s)
{
    size_t at = 0, n = 0;

    while (next_of(w, s, &at))
        n++;
    return n;
}

/* What one dependency is to another service: an act per container that waits for it. */
static void plan_wait(struct start *st, const struct service *on, enum service_condition condition, unsigned flags,
                      size_t before, size_t gate)
{
    struct member *m;
    size_t at = 0;

    while ((m = next_of(st->w, on, &at))) {
        cleanup_free char *title = member_title(m);
        size_t act = acts_add(&st->acts, title);
        struct condition *c = &st->waits[st->waits_len++];
        struct step *s;

        *c = (struct condition){.id = m->row.id, .service = on->name, .kind = condition};
        s = acts_do(&st->acts, act, "Waiting", condition == CONDITION_COMPLETED ? "Exited" : "Healthy", condition_wait,
                    c);
        s->flags = STEP_WAITS | flags;
        s->failed = condition == CONDITION_HEALTHY ? "Error" : NULL;
        acts_after(&st->acts, act, before);
        acts_after(&st->acts, gate, act);
    }
}

/* Its containers, after a gate that opens when all it depends on is as far as it has to be. */
static int plan_service(struct start *st, size_t i, struct err *err)
{
    struct team *w = st->w;
    const struct service *s = &w->services.items[i];
    size_t gate = acts_add(&st->acts, ""), at = 0;
    struct member *m;

    for (size_t d = 0; d < s->depends_len; d++) {
        const struct dependency *dep = &s->depends[d];
        const struct service *on = dep->on == SERVICE_NONE ? NULL : &w->services.items[dep->on];

        if (!on)
            continue;
        acts_after(&st->acts, gate, st->started[dep->on]);
        if (dep->condition == CONDITION_STARTED || on->scale == 0)
            continue;
        if (count_of(w, on))
            plan_wait(st, on, dep->condition, dep->required ? 0 : STEP_OPTIONAL, st->started[dep->on], gate);
        else if (dep->required)
            return err_set(err, 1, "%s is missing dependency %s", s->name, on->name);
    }
    acts_after(&st->acts, st->started[i], gate);
    if (s->oneoff)
        return 0;
    if (!count_of(w, s) && s->scale > 0)
        return err_set(err, 1, "service \"%s\" has no container to start", s->name);
    while ((m = next_of(w, s, &at))) {
        cleanup_free char *title = member_title(m);
        size_t act;

        if (member_is(m, "running"))
            continue;
        act = acts_add(&st->acts, title);
        acts_call(&st->acts, act, "Starting", "Started", "start", m->row.id, NULL)->flags = STEP_SILENT;
        team_hooks(s, "post_start", m->row.id, &st->acts, act);
        acts_after(&st->acts, act, gate);
        acts_after(&st->acts, st->started[i], act);
    }
    return 0;
}

/* One that others wait for to be done is waited for in the same way by --wait, or that would never end. */
static enum service_condition wanted_of(const struct team *w, size_t i)
{
    for (size_t s = 0; s < w->services.len; s++)
        for (size_t d = 0; d < w->services.items[s].depends_len; d++)
            if (w->services.items[s].depends[d].on == i &&
                w->services.items[s].depends[d].condition == CONDITION_COMPLETED)
                return CONDITION_COMPLETED;
    return CONDITION_RUNNING_OR_HEALTHY;
}

/* --wait: each service, as soon as it has started. */
static void plan_waits(struct start *st)
{
    size_t end = acts_add(&st->acts, "");

    for (size_t i = 0; i < st->w->services.len; i++)
        if (st->w->services.items[i].scale > 0)
            plan_wait(st, &st->w->services.items[i], wanted_of(st->w, i), STEP_SILENT, st->started[i], end);
}

/* At most so many waiting jobs: one for each dependency and --wait, of each container. */
static size_t waits_max(const struct team *w)
{
    size_t edges = 1;

    for (size_t i = 0; i < w->services.len; i++)
        edges += w->services.items[i].depends_len;
    return (edges + 1) * (w->members.len + 1);
}

int team_start(struct team *w, bool wait, int64_t timeout_s, struct err *err)
{
    struct start st = {.w = w};
    struct err why = ERR_INIT;
    int ret = 0;

    if (team_look(w, NULL, 0, err) < 0)
        return -1;
    st.started = xcalloc(w->services.len + 1, sizeof(*st.started));
    st.waits = xcalloc(waits_max(w), sizeof(*st.waits));
    for (size_t i = 0; i < w->services.len; i++)
        st.started[i] = acts_add(&st.acts, "");
    for (size_t i = 0; i < w->services.len && ret == 0; i++)
        ret = plan_service(&st, i, &why);
    if (ret == 0 && wait)
        plan_waits(&st);
    if (ret == 0)
        ret = acts_run(&st.acts, w->app, w->display, wait && timeout_s > 0 ? loop_now() + timeout_s * 1000 : 0, &why);
    if (ret < 0 && why.code == ACTS_LATE)
        err_set(&why, 1, "application not healthy after %llds", (long long)timeout_s);
    acts_clear(&st.acts);
    free(st.started);
    free(st.waits);
    return ret < 0 ? err_move(err, &why) : 0;
}
