#include "shim/compose/team.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/compose/lock.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void team_init(struct team *w, struct app *app)
{
    *w = (struct team){.app = app, .lock_fd = -1};
}

void team_clear(struct team *w)
{
    team_unlock(w, false);
    display_free(w->display);
    members_clear(&w->members);
    strlist_clear(&w->made);
    services_clear(&w->services);
    if (w->loaded)
        compose_project_clear(&w->project);
    free(w->name);
    free(w->stop_timeout);
    team_init(w, w->app);
}

/* What the file says of its sandbox, which the project's network would make with what all of them say, and GPUs. */
static bool wants_sandbox(const struct team *w, const struct cnode *service)
{
    const struct cnode *labels = cnode_get(service, "labels");
    bool said = cnode_get(service, "x-modal") || cnode_get(w->project.model, "x-modal") ||
                cnode_get(w->project.model, "x-inspect_modal_sandbox");

    for (size_t i = 0; cnode_is(labels, CNODE_MAP) && i < labels->len; i++)
        said |= strncmp(labels->keys[i], "modal.", 6) == 0;
    return said || cnode_get(service, "gpus") || cnode_path(service, "deploy.resources.reservations.devices");
}

bool team_is_alone(const struct team *w)
{
    const struct cnode *services = cnode_get(w->project.model, "services"), *networks;

    if (!services || services->len != 1 || w->project.disabled->len || w->services.len != 1 ||
        w->services.items[0].scale > 1)
        return false;
    networks = cnode_get(services->items[0], "networks");
    if (!networks || cnode_get(services->items[0], "network_mode") || !wants_sandbox(w, services->items[0]))
        return false;
    if (networks->len != 1 || !cnode_is(networks, CNODE_MAP))
        return false;
    networks = cnode_get(cnode_get(w->project.model, "networks"), networks->keys[0]);
    return !cnode_true(networks, "external") && !cnode_true(networks, "internal");
}

int team_load(struct team *w, const struct strlist *services, bool deps, struct err *err)
{
    if (compose_open(w->app, &(struct compose_how){.services = services}, &w->project, err) < 0)
        return -1;
    w->loaded = true;
    w->name = xstrdup(w->project.name);
    if (services_read(w->app, &w->project, services, deps, &w->services, err) < 0)
        return -1;
    return 0;
}

/* Who wants approximations at any price is told by the words of `docker create` what is left. */
static bool takes_anything(void)
{
    const char *env = getenv("ATP_DOCKER_APPROXIMATE");

    return env && !strcmp(env, "all");
}

int team_check(const struct team *w, struct err *err)
{
    struct compose_finding *list = NULL;
    size_t len = 0;
    int ret;

    if (takes_anything())
        return 0;
    ret = compose_report(&w->project, &list, &len, err);
    for (size_t i = 0; ret == 0 && i < len; i++) {
        const struct compose_finding *f = &list[i];

        if (f->verdict != COMPOSE_REFUSED || (f->service && !services_find(&w->services, f->service)))
            continue;
        ret = err_set(err, 125, "%s%s%s%s is refused by atp-docker: %s", f->service ? "services." : "",
                      f->service ? f->service : "", f->service ? "." : "", f->key, f->reason);
        if (f->file && f->line > 0)
            err_wrap(err, "%s:%d", f->file, f->line);
    }
    compose_findings_free(list, len);
    return ret < 0 ? -1 : team_check_company(w, err);
}

/* As docker compose takes it where no file is read. */
static void lower_name(struct team *w)
{
    for (char *p = w->name; p && *p; p++)
        *p = (char)tolower((unsigned char)*p);
}

int team_load_or_name(struct team *w, const struct strlist *services, struct err *err)
{
    if (compose_open_or_name(w->app, &(struct compose_how){.services = services}, &w->project, &w->loaded, &w->name,
                             err) < 0)
        return -1;
    lower_name(w);
    if (w->loaded && services_read(w->app, &w->project, NULL, true, &w->services, err) < 0)
        return -1;
    return 0;
}

int team_name(struct team *w, struct err *err)
{
    w->name = compose_name(w->app, err);
    lower_name(w);
    return w->name ? 0 : -1;
}

void team_timeout(struct team *w, const struct opt_parsed *opts)
{
    if (opt_given(opts, "timeout"))
        w->stop_timeout = xstrdup(opt_str(opts, "timeout"));
}

int team_show(struct team *w, const char *title, struct err *err)
{
    w->display = display_open(w->app, title, err);
    return w->display ? 0 : -1;
}

int team_lock(struct team *w, struct err *err)
{
    jobs_rest(w->app); /* nothing is held open while somebody else is waited for */
    w->lock_fd = project_lock(w->name, err);
    return w->lock_fd < 0 ? -1 : 0;
}

void team_unlock(struct team *w, bool gone)
{
    project_unlock(w->name, w->lock_fd, gone);
    w->lock_fd = -1;
}

/* In a dry run those that would have been made are there too, and none of them runs. */
static void add_made(struct team *w, const struct strlist *services)
{
    for (size_t i = 0; i < w->made.len; i++) {
        cleanup_strlist struct strlist parts = STRLIST_INIT;
        struct member *m;

        strlist_split(&parts, w->made.items[i], ' ');
        if (services && services->len && !strlist_has(services, parts.items[1]))
            continue;
        w->members.items = xreallocarray(w->members.items, w->members.len + 1, sizeof(*w->members.items));
        m = &w->members.items[w->members.len++];
        *m = (struct member){
            .row.id = xstrdup(parts.items[0]), .row.name = xstrdup(parts.items[0]), .row.status = xstrdup("created")};
        strlist_addf(&m->labels, "%s=%s", LABEL_SERVICE, parts.items[1]);
        m->service = member_label(m, LABEL_SERVICE);
        m->number = (int)strtol(parts.items[2], NULL, 10);
    }
}

int team_look(struct team *w, const struct strlist *services, unsigned flags, struct err *err)
{
    members_clear(&w->members);
    if (members_list(w->app, w->name, services, flags, &w->members, err) < 0)
        return -1;
    if (!(flags & (MEMBERS_RUNNING | MEMBERS_ONLY_ONEOFF)))
        add_made(w, services);
    return 0;
}

int team_run(struct team *w, struct acts *acts, struct err *err)
{
    return acts_run(acts, w->app, w->display, 0, err);
}
