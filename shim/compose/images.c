/* The images of a project are pulled or built before its containers are made. */
#include "shim/compose/team.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/compose/build.h"

#include <string.h>

/* The image as this machine knows it: its id, NULL for none; owned by caller. */
static int find_image(struct app *app, const char *name, char **ret_id, struct err *err)
{
    struct state_image image = {0};
    struct err why = ERR_INIT;

    *ret_id = NULL;
    if (catalog_find_word(app, name, &image, &why) < 0) {
        if (why.code != CATALOG_NO_SUCH_IMAGE)
            return err_move(err, &why);
        err_clear(&why);
        return 0;
    }
    *ret_id = xstrdup(image.id);
    state_image_clear(&image);
    return 0;
}

int team_images_look(struct team *w, struct err *err)
{
    if (app_state(w->app, err) < 0)
        return -1;
    for (size_t i = 0; i < w->services.len; i++) {
        struct service *s = &w->services.items[i];

        free(steal(&s->image_id));
        if (find_image(w->app, s->image, &s->image_id, err) < 0)
            return -1;
    }
    return 0;
}

static const char *policy_of(const struct team *w, const struct service *s)
{
    const char *policy = w->pull ? w->pull : cnode_str(s->node, "pull_policy");

    if (w->build && cnode_get(s->node, "build"))
        return "build";
    return policy ? policy : "";
}

static bool must_pull(const struct team *w, const struct service *s)
{
    const char *policy = policy_of(w, s);

    if (!cnode_str(s->node, "image") || !strcmp(policy, "never") || !strcmp(policy, "build"))
        return false;
    return !s->image_id || !strcmp(policy, "always");
}

/* Whether somebody in the project can build an image of that name. */
static bool can_build(const struct team *w, const char *image)
{
    for (size_t i = 0; i < w->services.len; i++)
        if (cnode_get(w->services.items[i].node, "build") && !strcmp(w->services.items[i].image, image))
            return true;
    return false;
}

static int pull(struct team *w, struct err *err)
{
    cleanup_with(acts_clear) struct acts acts = ACTS_INIT;
    cleanup_strlist struct strlist names = STRLIST_INIT;

    for (size_t i = 0; i < w->services.len; i++) {
        const struct service *s = &w->services.items[i];
        struct step *step;

        if (!must_pull(w, s) || strlist_has(&names, s->image))
            continue;
        strlist_add(&names, s->image);
        step = acts_call(&acts, acts_add(&acts, s->name), "Pulling", "Pulled", "pull", "-q", NULL);
        step->flags = STEP_TEXT;
        if (cnode_str(s->node, "platform")) {
            strlist_add(&step->words, "--platform");
            strlist_add(&step->words, cnode_str(s->node, "platform"));
        }
        strlist_add(&step->words, "--");
        strlist_add(&step->words, s->image);
        if (can_build(w, s->image))
            step->flags |= STEP_FORGIVE;
    }
    return names.len ? team_run(w, &acts, err) : 0;
}

static int build(struct team *w, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT;

    for (size_t i = 0; i < w->services.len; i++) {
        const struct service *s = &w->services.items[i];

        if (cnode_get(s->node, "build") && (!s->image_id || !strcmp(policy_of(w, s), "build")))
            strlist_add(&names, s->name);
    }
    if (!names.len || w->no_build)
        return 0;
    return build_services(w, &names, &(struct build_how){.quiet = w->quiet_build || w->quiet_pull}, err);
}

int team_images(struct team *w, struct err *err)
{
    for (size_t i = 0; i < w->services.len; i++)
        if (!cnode_str(w->services.items[i].node, "image") && !cnode_get(w->services.items[i].node, "build"))
            return err_set(err, 1, "invalid service \"%s\". Must specify either image or build",
                           w->services.items[i].name);
    if (team_images_look(w, err) < 0 || pull(w, err) < 0 || team_images_look(w, err) < 0 || build(w, err) < 0)
        return -1;
    return team_images_look(w, err);
}
