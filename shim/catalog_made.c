/* What build and commit need: the images that words mean, and a place for what was made. */
#include "backends/modal/client.h"
#include "backends/modal/engine_images.h"
#include "backends/modal/image.h"
#include "backends/registry/client.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/tame.h"
#include "shim/agent.h"
#include "shim/app.h"
#include "shim/catalog_private.h"
#include "shim/config_lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- behind FROM ---- */

void catalog_base_clear(struct catalog_base *b)
{
    free(b->config);
    free(b->from);
    free(b->modal_id);
    free(b->parent);
    *b = (struct catalog_base){0};
}

/* An image that the state has: by the registry's digest, else by this server's id. The image is taken. */
static int base_of(struct app *app, struct state_image *image, struct catalog_base *ret, struct err *err)
{
    struct catalog_base b = {0};
    int got = 1;

    if (image->pull)
        b.from = xstrdup(image->pull);
    else
        got = catalog_base_id(app, image->id, &b.modal_id, err);
    if (got == 0)
        err_set(err, 125, DAEMON "the image %.12s is on another back end than this one: pull, load or build it here",
                image->id + strlen("sha256:"));
    if (got <= 0)
        return -1;
    b.config = xstrdup(image->config);
    /* nothing is known of the layers of a named one: what is built on it is one layer */
    b.parent = image->pull ? xstrdup(image->pull) : strcmp(image->source, "named") ? xstrdup(image->id) : NULL;
    *ret = b;
    return 1;
}

static int base_here(struct app *app, const struct image_ref *ref, struct catalog_base *ret, struct err *err)
{
    struct state_image image = {0};
    int got = catalog_find(app, ref, &image, err);

    if (got > 0)
        got = base_of(app, &image, ret, err);
    state_image_clear(&image);
    return got;
}

static int base_named(struct app *app, const struct image_ref *ref, struct catalog_base *ret, struct err *err)
{
    cleanup_free char *modal_id = NULL;
    struct state_image image = {0};
    int got = catalog_named_id(app, ref, &modal_id, err);

    if (got <= 0)
        return got;
    got = catalog_named_image(app, modal_id, &image, err) == 0 ? 1 : -1;
    if (got > 0) {
        *ret = (struct catalog_base){.config = steal(&image.config), .modal_id = steal(&modal_id)};
        if (strcmp(image.source, "named"))
            ret->parent = xstrdup(image.id);
    }
    state_image_clear(&image);
    return got;
}

static int base_registry(struct app *app, const struct image_ref *ref, const char *platform, struct catalog_base *ret,
                         struct err *err)
{
    const struct pull_request req = {.ref = ref, .platform = platform};
    struct registry_image found = REGISTRY_IMAGE_INIT;
    struct state_image image = {0};

    if (catalog_fetch(app, &req, &found, &image, err) < 0)
        return -1;
    *ret = (struct catalog_base){
        .config = steal(&image.config), .from = xstrdup(image.pull), .parent = steal(&image.pull)};
    registry_image_clear(&found);
    state_image_clear(&image);
    return 1;
}

/* The first place that has it. */
static int base_search(struct app *app, const struct image_ref *ref, const char *platform, bool pull,
                       struct catalog_base *ret, struct err *err)
{
    const struct lookup_order order = catalog_places(app, ref);
    cleanup_err struct err missing = ERR_INIT;

    for (size_t i = 0; i < order.len; i++) {
        struct err why = ERR_INIT;
        int got = 0;

        if (order.places[i] == LOOKUP_LOCAL)
            got = pull && ref->kind != IMAGE_ID ? 0 : base_here(app, ref, ret, &why);
        else if (order.places[i] == LOOKUP_MODAL)
            got = base_named(app, ref, ret, &why);
        else
            got = base_registry(app, ref, platform, ret, &why);
        if (got > 0)
            return 0;
        if (got < 0 && !catalog_is_missing(&why))
            return err_move(err, &why);
        if (got < 0) {
            err_clear(&missing);
            missing = why;
        }
    }
    return missing.msg ? err_move(err, &missing) : catalog_no_such_image(ref, err);
}

int catalog_base(struct app *app, const char *word, const char *platform, bool pull, struct catalog_base *ret,
                 struct err *err)
{
    struct image_ref ref = {0};
    int got;

    if (app_config(app, err) < 0 || app_state(app, err) < 0 || app_modal(app, err) < 0 ||
        image_ref_parse(word, &ref, err) < 0)
        return -1;
    got = base_search(app, &ref, platform, pull, ret, err);
    image_ref_clear(&ref);
    return got;
}

/* ---- what was made ---- */

/*
 * What is published for others: on a server that tells configurations the image itself, on others the image and one
 * layer with its configuration in it. It keeps its own ENTRYPOINT: Modal's clients run it as it is.
 */
static int published_id(struct app *app, const struct state_image *image, const char *modal_id, char **ret_id,
                        struct err *err)
{
    struct modal_image_spec spec = {.base_image_id = modal_id};
    cleanup_free char *app_id = NULL, *mount_id = NULL;
    struct engine_image told = ENGINE_IMAGE_INIT;
    struct modal_image built = MODAL_IMAGE_INIT;
    bool copied;
    int ret = engine_image_describe(app->modal, modal_id, &told, err);

    engine_image_clear(&told);
    if (ret > 0)
        *ret_id = xstrdup(modal_id);
    if (ret != 0)
        return ret < 0 ? -1 : 0;
    if (modal_app_id(app->modal, AGENT_APP, &app_id, err) < 0 ||
        agent_mount_config(app->modal, app_id, image->config, &mount_id, err) < 0)
        return -1;
    spec.app_id = app_id;
    spec.context_mount_id = mount_id;
    copied = config_from_lines("base", image->config, &spec.commands);
    strlist_add(&spec.commands, "COPY . /");
    if (copied)
        config_lines(image->config, CONFIG_LINES_SCRATCH, &spec.commands);
    modal_image_forget(app->modal, &spec); /* the server may have lost it */
    ret = modal_image_build(app->modal, &spec, NULL, NULL, &built, err);
    if (ret == 0)
        *ret_id = steal(&built.id);
    modal_image_clear(&built);
    modal_image_spec_clear(&spec);
    return ret;
}

/* Others see it from now on, so what it stands on is not deleted with the image here. */
static int keep_published(struct app *app, const struct state_image *image, const char *modal_id, const char *published,
                          struct err *err)
{
    catalog_named_note(app, published, image->id);
    if (!strcmp(published, modal_id))
        return 0; /* the embedded engine's: it goes, name and all, when the image does */
    return state_server_image_put(app->state, app->server_key, image->id, STATE_LAYER_KEPT, modal_id, err);
}

static int publish(struct app *app, const struct state_image *image, const struct strlist *tags, const char *modal_id,
                   struct err *err)
{
    cleanup_free char *id = NULL;

    if (published_id(app, image, modal_id, &id, err) < 0 || keep_published(app, image, modal_id, id, err) < 0)
        return -1;
    for (size_t i = 0; i < tags->len; i++)
        if (modal_image_publish(app->modal, id, tags->items[i], err) < 0)
            return -1;
    return 0;
}

/* Publishes it under those of its names that can be; failing to is no reason to lose the build. */
static void publish_all(struct app *app, const struct state_image *image, const struct strlist *refs,
                        const char *modal_id)
{
    cleanup_strlist struct strlist tags = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;

    for (size_t i = 0; i < refs->len; i++) {
        char *tag = reference_published(refs->items[i]);

        if (tag)
            strlist_add_owned(&tags, tag);
    }
    if (!tags.len || app->config->no_publish || publish(app, image, &tags, modal_id, &err) == 0)
        return;
    tame(err.msg, /* keep_lines= */ true);
    fprintf(stderr, "docker: warning: %s is not published on the server: %s\n", tags.items[0], err.msg);
}

/* The image may have been there: made anew with the same configuration, it is another one on the server. */
static int put_base(struct app *app, const struct state_image *image, const char *modal_id, struct err *err)
{
    cleanup_free char *before = NULL;
    int got = catalog_base_id(app, image->id, &before, err);

    if (got < 0 || (got > 0 && strcmp(before, modal_id) &&
                    state_server_image_drop(app->state, app->server_key, image->id, err) < 0))
        return -1;
    return state_server_image_put(app->state, app->server_key, image->id, CATALOG_LAYER_BASE, modal_id, err);
}

int catalog_made(struct app *app, const struct state_image *image, const struct strlist *refs, const char *modal_id,
                 struct err *err)
{
    if (app_config(app, err) < 0 || app_state(app, err) < 0 || app_modal(app, err) < 0 ||
        state_image_put(app->state, image, NULL, NULL, err) < 0 || put_base(app, image, modal_id, err) < 0)
        return -1;
    catalog_triggers_note(app, modal_id, image);
    for (size_t i = 0; i < refs->len; i++)
        if (state_image_put(app->state, image, refs->items[i], NULL, err) < 0)
            return -1;
    publish_all(app, image, refs, modal_id);
    return 0;
}
