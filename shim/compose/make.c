/* Containers as the file wants them: too many go, those of another make are made anew, what is missing is made. */
#include "shim/compose/team.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/compose/contents.h"
#include "shim/network.h"

#include <stdlib.h>
#include <string.h>

#define ID_SHORT 12

/* Takes an option with its value out of the words in front of "--": "--network x" and "--network=x". */
static void drop_option(struct strlist *words, const char *option)
{
    size_t len = strlen(option);

    for (size_t i = 0; i < words->len && strcmp(words->items[i], "--");) {
        if (!strcmp(words->items[i], option)) {
            strlist_remove(words, i);
            if (i < words->len)
                strlist_remove(words, i);
        } else if (!strncmp(words->items[i], option, len) && words->items[i][len] == '=') {
            strlist_remove(words, i);
        } else {
            i++;
        }
    }
}

static void insert_options(struct strlist *words, const struct strlist *more)
{
    size_t at = 0;

    while (at < words->len && strcmp(words->items[at], "--"))
        at++;
    for (size_t i = 0; i < more->len; i++)
        strlist_insert(words, at + i, more->items[i]);
}

int team_words(struct team *w, const struct service *s, int number, const struct strlist *more, struct strlist *ret,
               struct err *err)
{
    cleanup_strlist struct strlist ours = STRLIST_INIT;

    if (contents_write(&w->project, s->name, w->app->dry_run, err) < 0 ||
        compose_service_words(&w->project, s->name, (unsigned)number, ret, err) < 0)
        return -1;
    if (team_is_alone(w)) {
        drop_option(ret, "--network");
        drop_option(ret, "--network-alias");
    }
    strlist_add(&ours, "--pull"); /* what may be pulled was */
    strlist_add(&ours, "never");
    if (s->image_id) {
        strlist_add(&ours, "--label");
        strlist_addf(&ours, "%s=%s", LABEL_IMAGE, s->image_id);
    }
    if (more)
        strlist_copy(&ours, more);
    insert_options(ret, &ours);
    return 0;
}

/* The ids of the networks that the service's containers are in; empty: they are in none of their own. */
static int find_networks(const struct team *w, struct service *s, struct err *err)
{
    const struct cnode *networks = cnode_get(s->node, "networks"), *all = cnode_get(w->project.model, "networks");

    strlist_clear(&s->networks);
    if (cnode_get(s->node, "network_mode") || team_is_alone(w))
        return 0;
    if (app_state(w->app, err) < 0)
        return -1;
    for (size_t i = 0; cnode_is(networks, CNODE_MAP) && i < networks->len; i++) {
        const char *name = cnode_str(cnode_get(all, networks->keys[i]), "name");
        struct state_network n = {0};

        if (network_find(w->app, name ? name : networks->keys[i], &n, NULL) == 0)
            strlist_add(&s->networks, n.id);
        state_network_clear(&n);
    }
    return 0;
}

/* It is not in a network of its service: that was made anew, or it was the only one and had a sandbox of its own. */
static bool is_apart(const struct service *s, const struct member *m)
{
    for (size_t i = 0; i < s->networks.len; i++)
        if (!m->row.networks || !strstr(m->row.networks, s->networks.items[i]))
            return true;
    return false;
}

/* Whether the container is what the file says no more. */
static bool is_obsolete(const struct team *w, const struct service *s, const struct member *m)
{
    enum recreate how = s->asked ? w->recreate : w->recreate_depends;
    const char *hash = member_label(m, LABEL_HASH), *image = member_label(m, LABEL_IMAGE);

    if (how != RECREATE_DIVERGED)
        return how == RECREATE_FORCE;
    return is_apart(s, m) || strcmp(hash ? hash : "", s->hash) != 0 ||
           strcmp(image ? image : "", s->image_id ? s->image_id : "") != 0;
}

/* What becomes of one container that is there. */
enum fate { FATE_KEEP, FATE_RECREATE, FATE_REMOVE };

struct fated {
    struct member *member;
    const struct service *service;
    enum fate fate;
};

/* A container of the service is made by that act. */
struct planned {
    const struct service *service;
    size_t act;
};

struct making_plan {
    struct team *w;
    struct acts acts;
    struct planned *made;
    size_t made_len;
    struct fated *old; /* one for each member of a service that was chosen */
    size_t old_len;
};

static void planned_add(struct making_plan *p, const struct service *s, size_t act)
{
    p->made = xreallocarray(p->made, p->made_len + 1, sizeof(*p->made));
    p->made[p->made_len++] = (struct planned){s, act};
}

/* Whose volumes a container gets is there before. */
static void order_volumes(struct making_plan *p)
{
    for (size_t i = 0; i < p->made_len; i++) {
        const struct cnode *from = cnode_get(p->made[i].service->node, "volumes_from");

        for (size_t n = 0; from && n < from->len; n++) {
            const char *text = cnode_text(from->items[n]);
            cleanup_free char *name = xstrndup(text ? text : "", strcspn(text ? text : "", ":"));

            for (size_t k = 0; k < p->made_len; k++)
                if (k != i && strcmp(p->made[k].service->name, name) == 0 && p->made[k].service != p->made[i].service)
                    acts_after(&p->acts, p->made[i].act, p->made[k].act);
        }
    }
}

static struct fated *fated_add(struct making_plan *p, struct member *m, const struct service *s)
{
    p->old = xreallocarray(p->old, p->old_len + 1, sizeof(*p->old));
    p->old[p->old_len] = (struct fated){.member = m, .service = s};
    return &p->old[p->old_len++];
}

/* The best ones are kept: of the present make, then with the lowest number. */
static bool is_better(const struct team *w, const struct service *s, const struct member *a, const struct member *b)
{
    bool old_a = is_obsolete(w, s, a), old_b = is_obsolete(w, s, b);

    return old_a != old_b ? !old_a : a->number < b->number;
}

/* The service's containers, the best first; owned by caller. */
static struct member **members_of(const struct team *w, const struct service *s, size_t *ret_len)
{
    struct member **list = xcalloc(w->members.len + 1, sizeof(*list));
    size_t len = 0;

    for (size_t i = 0; i < w->members.len; i++) {
        struct member *m = &w->members.items[i];
        size_t at = len;

        if (m->oneoff || strcmp(m->service, s->name) != 0)
            continue;
        for (; at > 0 && is_better(w, s, m, list[at - 1]); at--)
            list[at] = list[at - 1];
        list[at] = m;
        len++;
    }
    *ret_len = len;
    return list;
}

/* A dry run goes on with what would be there now. */
static void note_made(struct team *w, const char *name, const struct service *s, int number)
{
    if (w->app->dry_run)
        strlist_addf(&w->made, "%s %s %d", name, s->name, number);
}

/* With `restart: true`, who depends on a service that is made anew is stopped, and started again after it. */
static bool must_restart(const struct making_plan *p, const struct fated *f)
{
    for (size_t d = 0; d < f->service->depends_len; d++)
        for (size_t i = 0; f->service->depends[d].restart && i < p->old_len; i++)
            if (p->old[i].fate == FATE_RECREATE && !strcmp(p->old[i].service->name, f->service->depends[d].name))
                return true;
    return false;
}

/* A container that another one replaces is made under a name of its own, and gets the right one when the old is gone.
 */
static int plan_recreate(struct making_plan *p, const struct fated *f, struct err *err)
{
    struct team *w = p->w;
    const struct member *m = f->member;
    cleanup_free char *title = member_title(m),
                      *name = service_container_name(w->app, &w->project, f->service, m->number);
    cleanup_free char *temp = xasprintf("%.*s_%s", ID_SHORT, m->row.id, name);
    cleanup_strlist struct strlist more = STRLIST_INIT, words = STRLIST_INIT;
    size_t act;
    struct step *s;

    strlist_add(&more, "--name");
    strlist_add(&more, temp);
    strlist_add(&more, "--label");
    if (f->service->title)
        strlist_addf(&more, "%s=%s", LABEL_REPLACE, f->service->title);
    else
        strlist_addf(&more, "%s=%s-%d", LABEL_REPLACE, f->service->name, m->number);
    if (team_words(w, f->service, m->number, &more, &words, err) < 0)
        return -1;
    team_keep_volumes(w, &m->row, &words);
    act = acts_add(&p->acts, title);
    planned_add(p, f->service, act);
    if (must_restart(p, f))
        acts_call(&p->acts, act, "Stopping", "Stopped", "stop", m->row.id, NULL)->flags = STEP_FORGIVE;
    s = acts_call(&p->acts, act, NULL, NULL, "rm", "-f", temp, NULL); /* of an earlier try that was killed */
    s->doing = "Recreate";
    s->flags = STEP_FORGIVE;
    s = acts_call(&p->acts, act, NULL, NULL, "create", NULL);
    strlist_copy(&s->words, &words);
    s = acts_call(&p->acts, act, NULL, NULL, "stop", m->row.id, NULL);
    s->flags = STEP_FORGIVE | STEP_DOOMS;
    if (w->stop_timeout) {
        strlist_insert(&s->words, 0, w->stop_timeout);
        strlist_insert(&s->words, 0, "-t");
    }
    acts_call(&p->acts, act, NULL, NULL, "rm", "-f", m->row.id, NULL);
    acts_call(&p->acts, act, NULL, "Recreated", "rename", temp, name, NULL);
    note_made(w, temp, f->service, m->number);
    return 0;
}

static int plan_create(struct making_plan *p, const struct service *s, int number, struct err *err)
{
    cleanup_free char *name = service_container_name(p->w->app, &p->w->project, s, number);
    cleanup_free char *title = xasprintf("Container %s", name);
    cleanup_strlist struct strlist words = STRLIST_INIT;
    struct step *step;
    size_t act;

    if (team_words(p->w, s, number, NULL, &words, err) < 0)
        return -1;
    act = acts_add(&p->acts, title);
    planned_add(p, s, act);
    step = acts_call(&p->acts, act, "Creating", "Created", "create", NULL);
    strlist_copy(&step->words, &words);
    note_made(p->w, name, s, number);
    return 0;
}

static int plan_service(struct making_plan *p, const struct service *s, struct err *err)
{
    size_t len = 0;
    cleanup_free struct member **list = members_of(p->w, s, &len);
    int next = 1, missing = (int)s->scale - (int)len;

    if (s->scale > 1 && s->title)
        return err_set(err, 1,
                       "WARNING: The \"%s\" service is using the custom container name \"%s\". Docker requires each "
                       "container to have a unique name. Remove the custom name to scale the service",
                       s->name, s->title);
    for (size_t i = 0; i < len; i++) {
        struct fated *f = fated_add(p, list[i], s);

        next = list[i]->number >= next ? list[i]->number + 1 : next;
        f->fate = (int64_t)i >= s->scale ? FATE_REMOVE : is_obsolete(p->w, s, list[i]) ? FATE_RECREATE : FATE_KEEP;
    }
    for (int i = 0; i < missing; i++)
        if (plan_create(p, s, next + i, err) < 0)
            return -1;
    return 0;
}

static int plan_old(struct making_plan *p, struct err *err)
{
    for (size_t i = 0; i < p->old_len; i++) {
        const struct fated *f = &p->old[i];
        cleanup_free char *title = member_title(f->member);
        struct step *s;

        if (f->fate == FATE_RECREATE) {
            if (plan_recreate(p, f, err) < 0)
                return -1;
        } else if (f->fate == FATE_REMOVE) {
            size_t act = acts_add(&p->acts, title);

            s = acts_call(&p->acts, act, "Stopping", "Stopped", "stop", f->member->row.id, NULL);
            s->flags = STEP_FORGIVE | STEP_DOOMS;
            acts_call(&p->acts, act, "Removing", "Removed", "rm", "-f", f->member->row.id, NULL);
        } else if (must_restart(p, f)) {
            acts_call(&p->acts, acts_add(&p->acts, title), "Stopping", "Stopped", "stop", f->member->row.id, NULL);
        } else if (member_is(f->member, "running")) {
            display_event(p->w->display, DISPLAY_DONE, title, "", "Running");
        }
    }
    return 0;
}

int team_create(struct team *w, struct err *err)
{
    struct making_plan p = {.w = w};
    int ret = 0;

    for (size_t i = 0; i < w->services.len && ret == 0; i++)
        if (!w->services.items[i].oneoff) {
            ret = find_networks(w, &w->services.items[i], err);
            if (ret == 0)
                ret = plan_service(&p, &w->services.items[i], err);
        }
    if (ret == 0)
        ret = plan_old(&p, err);
    order_volumes(&p);
    if (ret == 0)
        ret = team_run(w, &p.acts, err);
    acts_clear(&p.acts);
    free(p.old);
    free(p.made);
    return ret;
}
