#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/opt.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/command.h"
#include "shim/compose/contents.h"
#include "shim/compose/up.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Whether there is such an image; *ret_ours: it was built for this project. */
static bool is_here(struct team *w, const char *image, bool *ret_ours)
{
    struct state_image found = {0};
    json_auto_t *config = NULL;
    const char *of;

    if (app_state(w->app, NULL) < 0 || catalog_find_word(w->app, image, &found, NULL) < 0)
        return false;
    config = json_loads(found.config ? found.config : "", 0, NULL);
    of =
        json_string_value(json_object_get(json_object_get(json_object_get(config, "config"), "Labels"), LABEL_PROJECT));
    *ret_ours = of && !strcmp(of, w->name);
    state_image_clear(&found);
    return true;
}

/* "p-web:latest" */
static char *with_tag(const char *image)
{
    const char *slash = strrchr(image, '/');

    return strpbrk(slash ? slash : image, ":@") ? xstrdup(image) : xasprintf("%s:latest", image);
}

/* --rmi: images that were built for the project or have no name of their own, or all that services use. */
static int remove_images(struct team *w, const char *which, bool *ret_any, struct err *err)
{
    cleanup_with(acts_clear) struct acts acts = ACTS_INIT;
    cleanup_strlist struct strlist names = STRLIST_INIT;

    for (size_t i = 0; i < w->services.len; i++) {
        const struct service *s = &w->services.items[i];
        cleanup_free char *name = with_tag(s->image), *title = xasprintf("Image %s", name);
        bool all = !cnode_str(s->node, "image") || !strcmp(which, "all"), ours = false;
        struct step *step;

        if (strlist_has(&names, s->image) || !is_here(w, s->image, &ours) || !(all || ours))
            continue;
        strlist_add(&names, s->image);
        step = acts_call(&acts, acts_add(&acts, title), "Removing", "Removed", "rmi", "--", s->image, NULL);
        step->flags = STEP_FORGIVE;
        step->failed = "Resource is still in use";
    }
    *ret_any |= acts.len > 0;
    return team_run(w, &acts, err);
}

/*
 * Which containers go: the services' that were named, or all that the file has and its profiles enable; those of `run`,
 * and of services that it no longer has, with --remove-orphans.
 */
static struct member **choose(const struct team *w, const struct strlist *services, size_t *ret_len)
{
    struct member **list = xcalloc(w->members.len + 1, sizeof(*list));
    size_t len = 0;

    for (size_t i = 0; i < w->members.len; i++) {
        struct member *m = &w->members.items[i];
        bool orphan = w->loaded && (m->oneoff || team_is_orphan(w, m));

        if (!orphan && w->loaded && !services_find(&w->services, m->service))
            continue; /* of a profile that is not on */
        if (orphan ? w->remove_orphans : !services->len || strlist_has(services, m->service))
            list[len++] = m;
    }
    *ret_len = len;
    return list;
}

/* Whether the file has networks or volumes of its own, there or not: then `down` had something to look for. */
static bool has_resources(const struct team *w, bool volumes)
{
    static const char *const kinds[] = {"networks", "volumes"};

    for (size_t k = 0; w->loaded && k < (volumes ? 2 : 1); k++) {
        const struct cnode *all = cnode_get(w->project.model, kinds[k]);

        for (size_t i = 0; cnode_is(all, CNODE_MAP) && i < all->len; i++)
            if (!cnode_true(all->items[i], "external"))
                return true;
    }
    return false;
}

static int carry_out(struct team *w, const struct opt_parsed *opts, struct err *err)
{
    cleanup_free struct member **list = NULL;
    bool any = false, images = false, volumes = opt_bool(opts, "volumes");
    size_t len = 0;

    if (team_look(w, NULL, w->remove_orphans ? MEMBERS_ONEOFF : 0, err) < 0)
        return -1;
    list = choose(w, opt_args(opts), &len);
    if (!w->loaded && opt_args(opts)->len && !len)
        return 0; /* no file says whether there are such services */
    if (team_stop(w, list, len, /* remove= */ true, volumes, err) < 0 || team_resources_down(w, volumes, &any, err) < 0)
        return -1;
    if (*opt_str(opts, "rmi") && remove_images(w, opt_str(opts, "rmi"), &images, err) < 0)
        return -1;
    if (!w->members.len && !any && !images && !has_resources(w, volumes)) {
        cleanup_free char *line = xasprintf("Warning: No resource found to remove for project \"%s\".", w->name);

        compose_warn(line);
    }
    return 0;
}

static int down_run(struct app *app, const struct opt_parsed *opts, struct err *err)
{
    const char *rmi = opt_str(opts, "rmi");
    cleanup_with(team_clear) struct team w;
    int ret;

    team_init(&w, app);
    if (*rmi && strcmp(rmi, "all") != 0 && strcmp(rmi, "local") != 0)
        return err_set(err, 1, "invalid value for --rmi: \"%s\"", rmi);
    if (team_load_or_name(&w, opt_args(opts), err) < 0)
        return -1;
    for (size_t i = 0; w.loaded && i < opt_args(opts)->len; i++)
        if (!services_find(&w.services, opt_args(opts)->items[i]))
            return err_set(err, 1, "no such service: %s", opt_args(opts)->items[i]);
    w.remove_orphans = opt_given(opts, "remove-orphans") ? opt_bool(opts, "remove-orphans")
                                                         : up_env_true(getenv("COMPOSE_REMOVE_ORPHANS"));
    team_timeout(&w, opts);
    if (team_show(&w, "Running", err) < 0 || team_lock(&w, err) < 0)
        return -1;
    ret = carry_out(&w, opts, err);
    if (ret == 0 && !opt_args(opts)->len && !app->dry_run)
        contents_remove(w.name);
    team_unlock(&w, /* gone= */ ret == 0 && !opt_args(opts)->len);
    return ret;
}

extern const struct cmd_def cmd_def_compose_down;

const struct command cmd_compose_down = {.def = &cmd_def_compose_down, .errors = ERROR_PLAIN, .run = down_run};
