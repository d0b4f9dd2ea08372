#include "shim/catalog.h"

#include "agent_digest.h"
#include "backends/registry/auth.h"
#include "backends/registry/client.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/catalog_private.h"
#include "shim/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

DEFINE_CLEANUP(struct progress *, progress_free)

/* "linux/arm64/v8" -> its parts; only linux/amd64 images run on Modal, and on this machine's engine. */
static int platform_parse(const char *text, struct strlist *parts, struct registry_platform *ret, struct err *err)
{
    strlist_split(parts, text ? text : "linux/amd64", '/');
    if (parts->len == 1 && !strcmp(parts->items[0], "linux"))
        strlist_add(parts, "amd64");
    else if (parts->len == 1)
        strlist_insert(parts, 0, "linux");
    *ret = (struct registry_platform){parts->items[0], parts->items[1], parts->len > 2 ? parts->items[2] : NULL};
    if (strcmp(ret->os, "linux") || (strcmp(ret->architecture, "amd64") && strcmp(ret->architecture, "x86_64")))
        return err_set(err, 125, "platform %s is not carried out by atp-docker: sandboxes are linux/amd64", text);
    ret->architecture = "amd64";
    return 0;
}

int catalog_check_platform(const char *platform, struct err *err)
{
    cleanup_strlist struct strlist parts = STRLIST_INIT;
    struct registry_platform ignored;

    return *platform ? platform_parse(platform, &parts, &ignored, err) : 0;
}

/* The size of each layer as it travels. */
static char *layer_sizes(const struct registry_image *found)
{
    cleanup_free int64_t *sizes = xcalloc(found->layers_len + 1, sizeof(*sizes));

    for (size_t i = 0; i < found->layers_len; i++)
        sizes[i] = found->layers[i].size;
    return catalog_layer_sizes(sizes, found->layers_len);
}

/* The registry's answer as the state remembers it: pulled by digest from where the mirror says. */
int catalog_fetch(struct app *app, const struct pull_request *req, struct registry_image *found,
                  struct state_image *ret, struct err *err)
{
    cleanup_strlist struct strlist parts = STRLIST_INIT;
    struct registry_options options = {.mirrors = &app->config->mirrors, .credentials = auth_find};
    struct registry_platform platform;
    struct reference place = {0};
    cleanup_free char *wanted = reference_string(&req->ref->ref);

    if (platform_parse(req->platform, &parts, &platform, err) < 0)
        return -1;
    if (registry_image_config(wanted, &platform, &options, found, err) < 0)
        return err_wrap(err, DAEMON_SAYS);
    mirror_apply(&app->config->mirrors, &req->ref->ref, &place);
    free(place.tag);
    free(place.digest);
    place.tag = NULL;
    place.digest = xstrdup(found->manifest_digest);
    *ret = (struct state_image){
        .id = xstrdup(found->config_digest),
        .config = xstrdup(found->config),
        .source = xstrdup("registry"),
        .pull = reference_string(&place),
        .layers = layer_sizes(found),
        .size = found->size,
        .created = catalog_created(found->config),
        .added = time(NULL),
    };
    reference_clear(&place);
    return 0;
}

/* The layers of which the server has told no end (some tell nothing) have one now. */
static void end_layers(struct progress *progress, const struct registry_image *found)
{
    for (size_t i = 0; i < found->layers_len; i++) {
        const char *id = found->layers[i].digest + strlen("sha256:");

        if (!progress_is(progress, id, "Already exists"))
            progress_state(progress, id, "Pull complete");
    }
}

/* Has the server pull it; `progress` shows what it says. */
static int put_there(struct app *app, const struct registry_image *found, const struct state_image *image,
                     struct progress *progress, struct err *err)
{
    cleanup_free char *modal_id = NULL;

    for (size_t i = 0; progress_draws(progress) && i < found->layers_len; i++)
        progress_state(progress, found->layers[i].digest + strlen("sha256:"), "Pulling fs layer");
    if (catalog_on_server(app, image, progress, &modal_id, err) < 0)
        return -1;
    end_layers(progress, found);
    return 0;
}

/* Pulls what the registry described; news when this machine or the server did not have it. */
static int pull_described(struct app *app, const struct pull_request *req, const struct registry_image *found,
                          const struct state_image *image, bool *ret_news, struct err *err)
{
    cleanup_free char *name = reference_string(&req->ref->ref), *modal_id = NULL, *known = NULL;
    cleanup_with(progress_freep) struct progress *progress = progress_new(req->progress);
    struct state_image before = {0};
    int had;

    progress_line(progress, "%s: Pulling from %s", req->ref->ref.digest ? req->ref->ref.digest : req->ref->ref.tag,
                  req->ref->ref.path);
    had = state_image_by_ref(app->state, name, &before, err);
    if (had < 0)
        return -1;
    had = had && before.id && !strcmp(before.id, image->id) &&
          state_server_image_get(app->state, app->server_key, image->id, ATP_AGENT_SHA256, &known, NULL) > 0;
    state_image_clear(&before);
    if (state_image_put(app->state, image, NULL, NULL, err) < 0)
        return -1;
    if (had ? catalog_on_server(app, image, NULL, &modal_id, err) < 0 : put_there(app, found, image, progress, err) < 0)
        return -1;
    *ret_news = !had;
    return state_image_put(app->state, image, name, found->digest, err);
}

/* From the registry that the reference names. */
static int pull_registry(struct app *app, const struct pull_request *req, struct state_image *ret, char **ret_digest,
                         bool *ret_news, struct err *err)
{
    struct registry_image found = REGISTRY_IMAGE_INIT;
    struct state_image image = {0};
    bool news = false;

    if (catalog_fetch(app, req, &found, &image, err) < 0)
        return -1;
    if (pull_described(app, req, &found, &image, &news, err) < 0) {
        registry_image_clear(&found);
        state_image_clear(&image);
        return -1;
    }
    *ret = image;
    if (ret_digest)
        *ret_digest = xstrdup(found.digest);
    if (ret_news)
        *ret_news = news;
    registry_image_clear(&found);
    return 0;
}

/* Docker's first line, for an image that is the server's own. */
static void announce_named(FILE *progress, const char *tag, const char *modal_id)
{
    const char *colon = tag ? strrchr(tag, ':') : NULL;

    if (colon)
        fprintf(progress, "%s: Pulling from modal://%.*s\n", colon + 1, (int)(colon - tag), tag);
    else
        fprintf(progress, "%s: Pulling from the server\n", modal_id);
}

/* What the server has under this name, or by this id. */
static int pull_named(struct app *app, const struct pull_request *req, struct state_image *ret, bool *ret_news,
                      struct err *err)
{
    cleanup_free char *modal_id = NULL, *tag = image_ref_modal_tag(req->ref), *name = image_ref_name(req->ref);
    struct state_image image = {0}, before = {0};
    int got = catalog_named_id(app, req->ref, &modal_id, err);

    if (got == 0)
        return catalog_no_such_image(req->ref, err);
    if (got > 0 && req->progress)
        announce_named(req->progress, tag, modal_id);
    if (got < 0 || catalog_named_image(app, modal_id, &image, err) < 0)
        return -1;
    got = name ? state_image_by_ref(app->state, name, &before, err) : 0;
    if (ret_news)
        *ret_news = got == 0 || strcmp(before.id, image.id) != 0;
    state_image_clear(&before);
    if (got < 0 || (name && state_image_tag(app->state, image.id, name, err) < 0)) {
        state_image_clear(&image);
        return -1;
    }
    *ret = image;
    return 0;
}

int catalog_pull_from(struct app *app, const struct pull_request *req, enum lookup_place place, struct state_image *ret,
                      char **ret_digest, bool *ret_news, struct err *err)
{
    if (app_config(app, err) < 0 || app_state(app, err) < 0 || app_modal(app, err) < 0)
        return -1;
    if (place == LOOKUP_MODAL)
        return pull_named(app, req, ret, ret_news, err);
    return pull_registry(app, req, ret, ret_digest, ret_news, err);
}

int catalog_pull(struct app *app, const struct pull_request *req, struct state_image *ret, char **ret_digest,
                 bool *ret_news, struct err *err)
{
    cleanup_err struct err why = ERR_INIT;
    struct lookup_order order;

    if (app_config(app, err) < 0)
        return -1;
    order = catalog_places(app, req->ref);
    for (size_t i = 0; i < order.len; i++) {
        if (order.places[i] == LOOKUP_LOCAL)
            continue;
        err_clear(&why);
        if (catalog_pull_from(app, req, order.places[i], ret, ret_digest, ret_news, &why) == 0)
            return 0;
        if (!catalog_is_missing(&why))
            break;
    }
    return why.msg ? err_move(err, &why) : catalog_no_such_image(req->ref, err);
}
