/* Containers of a project are stopped and taken away, those that depend on others first. */
#include "shim/compose/team.h"

#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

/* What its label says it depends on: "db:service_healthy:false,...". The file, if there is one, says it better. */
static void depends_by_label(const struct member *m, struct strlist *ret)
{
    const char *label = member_label(m, LABEL_DEPENDS);
    cleanup_strlist struct strlist parts = STRLIST_INIT;

    if (!label || !*label)
        return;
    strlist_split(&parts, label, ',');
    for (size_t i = 0; i < parts.len; i++) {
        parts.items[i][strcspn(parts.items[i], ":")] = '\0';
        strlist_add(ret, parts.items[i]);
    }
}

static void depends_of(const struct team *w, const struct member *m, struct strlist *ret)
{
    const struct service *s = services_find(&w->services, m->service);

    if (!s) {
        depends_by_label(m, ret);
        return;
    }
    for (size_t i = 0; i < s->depends_len; i++)
        strlist_add(ret, s->depends[i].name);
}

/* Whether m depends on a service, in so many words. */
static bool depends(const struct team *w, const struct member *m, const char *service)
{
    cleanup_strlist struct strlist on = STRLIST_INIT;

    depends_of(w, m, &on);
    return strlist_has(&on, service);
}

static void add_act(struct team *w, struct acts *acts, const struct member *m, bool remove, bool volumes)
{
    cleanup_free char *title = member_title(m);
    size_t act = acts_add(acts, title);
    struct step *s;

    if (member_is(m, "running"))
        team_hooks(services_find(&w->services, m->service), "pre_stop", m->row.id, acts, act);
    /* a container that does not run is stopped at once, and is told like the others */
    s = acts_call(acts, act, "Stopping", "Stopped", "stop", m->row.id, NULL);
    if (w->stop_timeout) {
        strlist_insert(&s->words, 0, w->stop_timeout);
        strlist_insert(&s->words, 0, "-t");
    }
    if (!remove) {
        s->failed = "Error while Stopping";
        return;
    }
    s->flags |= STEP_FORGIVE | STEP_DOOMS; /* rm --force ends what would not stop, or it is gone */
    s = acts_call(acts, act, "Removing", "Removed", "rm", volumes ? "-fv" : "-f", m->row.id, NULL);
    s->failed = "Error while Removing";
}

int team_stop(struct team *w, struct member *const *list, size_t len, bool remove, bool volumes, struct err *err)
{
    cleanup_with(acts_clear) struct acts acts = ACTS_INIT;

    for (size_t i = 0; i < len; i++)
        add_act(w, &acts, list[i], remove, volumes);
    for (size_t a = 0; a < len; a++)
        for (size_t b = 0; b < len; b++)
            if (a != b && strcmp(list[a]->service, list[b]->service) != 0 && depends(w, list[b], list[a]->service))
                acts_after(&acts, a, b);
    return team_run(w, &acts, err);
}

bool team_is_orphan(const struct team *w, const struct member *m)
{
    if (m->oneoff)
        return member_is(m, "exited") || member_is(m, "dead");
    return !cnode_get(cnode_get(w->project.model, "services"), m->service) &&
           !cnode_get(w->project.disabled, m->service);
}

int team_orphans(struct team *w, struct err *err)
{
    cleanup_buf struct buf names = BUF_INIT(1u << 20);
    cleanup_free struct member **list = xcalloc(w->members.len + 1, sizeof(*list));
    cleanup_free char *line = NULL;
    size_t len = 0;

    for (size_t i = 0; i < w->members.len; i++)
        if (team_is_orphan(w, &w->members.items[i])) {
            list[len++] = &w->members.items[i];
            buf_addf(&names, "%s%s", len > 1 ? " " : "", w->members.items[i].row.name);
        }
    if (!len || w->ignore_orphans)
        return 0;
    if (w->remove_orphans)
        return team_stop(w, list, len, true, false, err);
    line = xasprintf("Found orphan containers ([%s]) for this project. If you removed or renamed this service in your "
                     "compose file, you can run this command with the --remove-orphans flag to clean it up.",
                     names.data);
    compose_warn(line);
    return 0;
}
