/* Images on a server: with the agent on top, and what the server needs to get at them. */
#include "shim/catalog.h"

#include "agent_digest.h"
#include "backends/grpc/frame.h"
#include "backends/modal/client.h"
#include "backends/modal/image.h"
#include "backends/registry/auth.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "shim/agent.h"
#include "shim/app.h"
#include "shim/catalog_private.h"
#include "shim/config_lines.h"
#include "shim/progress.h"

#include <string.h>
#include <time.h>

/* ---- registries that want a login ---- */

#define SECRET_SECS (24 * 3600)

/* Where the secret's id is kept: by what it holds, which the name does not tell. */
static char *secret_key(const struct app *app, const char *domain, const char *user, const char *password)
{
    cleanup_free char *all = xasprintf("%s\n%s\n%s\n%s", app->server_key, domain, user, password);
    uint8_t digest[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];

    sha256(all, strlen(all), digest);
    sha256_hex(digest, hex);
    explicit_bzero(all, strlen(all));
    return xasprintf("registry secret %s", hex);
}

static int make_secret(struct app *app, const char *user, const char *password, char **ret_secret_id, struct err *err)
{
    cleanup_strlist struct strlist env = STRLIST_INIT;
    cleanup_free char *app_id = NULL;

    strlist_addf(&env, "REGISTRY_USERNAME=%s", user);
    strlist_addf(&env, "REGISTRY_PASSWORD=%s", password);
    if (modal_app_id(app->modal, AGENT_APP, &app_id, err) < 0)
        return -1;
    return modal_secret_create(app->modal, app_id, &env, ret_secret_id, err);
}

int catalog_registry_secret(struct app *app, const char *domain, char **ret_secret_id, struct err *err)
{
    cleanup_free char *user = NULL, *password = NULL, *key = NULL;
    int got;

    if (app_state(app, err) < 0 || app_modal(app, err) < 0 || auth_find(domain, &user, &password, NULL, err) < 0)
        return -1;
    if (!user || !password)
        return 0;
    if (!strcmp(user, "<token>"))
        return err_set(err, 1,
                       DAEMON "the login of %s is an identity token, which the server cannot pull with: log in with a "
                              "user and a password",
                       domain);
    key = secret_key(app, domain, user, password);
    got = state_cache_get(app->state, key, ret_secret_id, time(NULL), err);
    if (got != 0)
        return got;
    if (make_secret(app, user, password, ret_secret_id, err) < 0)
        return err_wrap(err, DAEMON "handing over the login of a registry");
    state_cache_put(app->state, key, *ret_secret_id, time(NULL) + SECRET_SECS, NULL);
    return 1;
}

int catalog_pull_secret(struct app *app, const char *reference, char **ret_secret_id, struct err *err)
{
    cleanup_with(reference_clear) struct reference ref = {0};

    if (reference_parse(reference, &ref, err) < 0)
        return -1;
    return catalog_registry_secret(app, ref.domain, ret_secret_id, err);
}

void catalog_forget_secret(struct app *app, const char *reference)
{
    cleanup_free char *user = NULL, *password = NULL, *key = NULL;
    cleanup_with(reference_clear) struct reference ref = {0};

    if (reference_parse(reference, &ref, NULL) < 0 || auth_find(ref.domain, &user, &password, NULL, NULL) < 0 || !user)
        return;
    key = secret_key(app, ref.domain, user, password);
    state_cache_drop(app->state, key, NULL);
}

/* ---- the agent on top ---- */

/* What the builder itself says, not what it runs. */
static void on_log(void *arg, int fd, const char *text)
{
    if (fd != 1 && fd != 2)
        progress_log(arg, text);
}

/*
 * The layer with the agent on top of `from` ("x@sha256:..." or "base"). What the client remembers of an earlier build
 * does not count: the state does not know the image, so it was removed, or the server has lost it.
 */
static int build_agent_layer(struct app *app, const struct state_image *image, const char *from, const char *base_id,
                             const char *registry_secret, struct progress *progress, char **ret_modal_id,
                             struct err *err)
{
    struct modal_image_spec spec = {.base_image_id = base_id, .registry_secret_id = registry_secret};
    cleanup_free char *app_id = NULL, *mount_id = NULL;
    struct modal_image built = MODAL_IMAGE_INIT;
    int ret = -1;

    if (modal_app_id(app->modal, AGENT_APP, &app_id, err) < 0 ||
        agent_mount(app->modal, app_id, image->config, &mount_id, err) < 0)
        return -1;
    spec.app_id = app_id;
    spec.context_mount_id = mount_id;
    config_from_lines(from, image->config, &spec.commands);
    strlist_add(&spec.commands, "COPY . /");
    strlist_add(&spec.commands, "ENTRYPOINT []");
    modal_image_forget(app->modal, &spec);
    if (modal_image_build(app->modal, &spec, progress ? on_log : NULL, progress, &built, err) == 0) {
        *ret_modal_id = steal(&built.id);
        ret = 0;
    }
    modal_image_clear(&built);
    modal_image_spec_clear(&spec);
    return ret;
}

/* The same on an image that the server is to pull, logged in where we are. A secret that the server has lost is made
 * once again. */
static int pull_agent_layer(struct app *app, const struct state_image *image, struct progress *progress,
                            char **ret_modal_id, struct err *err)
{
    for (bool again = false;; again = true) {
        cleanup_free char *secret = NULL;
        cleanup_err struct err why = ERR_INIT;

        if (catalog_pull_secret(app, image->pull, &secret, err) < 0)
            return -1;
        if (build_agent_layer(app, image, image->pull, NULL, secret, progress, ret_modal_id, &why) == 0)
            return 0;
        if (again || !secret || why.code != GRPC_NOT_FOUND)
            return err_move(err, &why);
        catalog_forget_secret(app, image->pull);
    }
}

/* Builds the image with the agent on this server and remembers its id. */
static int put_on_server(struct app *app, const struct state_image *image, struct progress *progress,
                         char **ret_modal_id, struct err *err)
{
    cleanup_free char *base = NULL, *modal_id = NULL;
    int got;

    got = state_server_image_get(app->state, app->server_key, image->id, CATALOG_LAYER_BASE, &base, err);
    if (got == 0 && image->pull) {
        got = pull_agent_layer(app, image, progress, &modal_id, err);
    } else {
        if (got == 0)
            return err_set(err, 125,
                           DAEMON "the image %.12s is on another back end than this one: pull, load or build it here",
                           image->id + strlen("sha256:"));
        if (got > 0)
            got = build_agent_layer(app, image, "base", base, NULL, progress, &modal_id, err);
    }
    if (got < 0)
        return err_wrap(err, DAEMON_SAYS);
    if (state_server_image_put(app->state, app->server_key, image->id, ATP_AGENT_SHA256, modal_id, err) < 0)
        return -1;
    *ret_modal_id = steal(&modal_id);
    return 0;
}

int catalog_on_server(struct app *app, const struct state_image *image, struct progress *progress, char **ret_modal_id,
                      struct err *err)
{
    int got;

    if (app_modal(app, err) < 0)
        return -1;
    got = state_server_image_get(app->state, app->server_key, image->id, ATP_AGENT_SHA256, ret_modal_id, err);
    if (got != 0)
        return got < 0 ? -1 : 0;
    return put_on_server(app, image, progress, ret_modal_id, err);
}

int catalog_on_server_anew(struct app *app, const struct state_image *image, struct progress *progress,
                           char **ret_modal_id, struct err *err)
{
    modal_app_forget(app->modal, AGENT_APP);
    return put_on_server(app, image, progress, ret_modal_id, err);
}

/* FROM scratch, one ADD per layer, and the configuration that a server needs to run it without us. */
static void layer_lines(size_t layers, const char *config, struct strlist *ret)
{
    strlist_add(ret, "FROM scratch");
    for (size_t i = 0; i < layers; i++)
        strlist_addf(ret, "ADD layer%zu.tar /", i);
    config_lines(config, CONFIG_LINES_SCRATCH, ret);
}

/* Builds the image without the agent: what a later agent is laid upon. */
static int build_base(struct app *app, const char *config, const struct strlist *paths, char **ret_modal_id,
                      struct err *err)
{
    struct modal_mount_file *files = xcalloc(paths->len, sizeof(*files));
    cleanup_strlist struct strlist names = STRLIST_INIT;
    struct modal_image built = MODAL_IMAGE_INIT;
    struct modal_image_spec spec = {0};
    cleanup_free char *app_id = NULL, *mount_id = NULL;
    int ret = -1;

    for (size_t i = 0; i < paths->len; i++) {
        strlist_addf(&names, "/layer%zu.tar", i);
        files[i] = (struct modal_mount_file){.path = paths->items[i], .mode = 0644};
    }
    for (size_t i = 0; i < paths->len; i++)
        files[i].remote = names.items[i];
    layer_lines(paths->len, config, &spec.commands);
    if (modal_app_id(app->modal, AGENT_APP, &app_id, err) == 0 &&
        modal_mount_create(app->modal, app_id, files, paths->len, &mount_id, err) == 0) {
        spec.app_id = app_id;
        spec.context_mount_id = mount_id;
        modal_image_forget(app->modal, &spec); /* it may have been removed meanwhile */
        ret = modal_image_build(app->modal, &spec, NULL, NULL, &built, err);
    }
    if (ret == 0)
        *ret_modal_id = steal(&built.id);
    modal_image_clear(&built);
    modal_image_spec_clear(&spec);
    free(files);
    return ret;
}

int catalog_add(struct app *app, const struct state_image *image, const char *ref, const struct strlist *layer_paths,
                struct err *err)
{
    cleanup_free char *base = NULL, *modal_id = NULL;

    if (app_modal(app, err) < 0)
        return -1;
    if (build_base(app, image->config, layer_paths, &base, err) < 0)
        return err_wrap(err, DAEMON_SAYS);
    if (state_image_put(app->state, image, NULL, NULL, err) < 0 ||
        state_server_image_put(app->state, app->server_key, image->id, CATALOG_LAYER_BASE, base, err) < 0 ||
        catalog_on_server(app, image, NULL, &modal_id, err) < 0)
        return -1;
    catalog_triggers_note(app, base, image);
    return ref ? state_image_put(app->state, image, ref, NULL, err) : 0;
}

/* ---- a look into an image ---- */

void catalog_triggers_note(struct app *app, const char *modal_id, const struct state_image *image)
{
    if (config_has_triggers(image->config))
        catalog_named_note(app, modal_id, image->id);
}

/* The bare agent on the server's image; config tells whether that has triggers. */
static int build_probe(struct app *app, const char *base_id, const char *config, const char *mount_id, bool anew,
                       char **ret_modal_id, struct err *err)
{
    struct modal_image_spec spec = {.base_image_id = base_id, .context_mount_id = mount_id};
    cleanup_free char *app_id = NULL;
    struct modal_image built = MODAL_IMAGE_INIT;
    int ret = modal_app_id(app->modal, AGENT_APP, &app_id, err);

    spec.app_id = app_id;
    config_from_lines("base", config, &spec.commands);
    strlist_add(&spec.commands, "COPY . /");
    strlist_add(&spec.commands, "ENTRYPOINT []");
    if (anew)
        modal_image_forget(app->modal, &spec);
    if (ret == 0)
        ret = modal_image_build(app->modal, &spec, NULL, NULL, &built, err);
    if (ret == 0)
        *ret_modal_id = steal(&built.id);
    modal_image_clear(&built);
    modal_image_spec_clear(&spec);
    return ret;
}

/* An image of others of which nothing is known yet may have triggers, and they may fail where nothing is as they want
 * it: then only its files are taken. */
int catalog_probe_image(struct app *app, const char *modal_id, bool anew, char **ret_modal_id, struct err *err)
{
    static const char some_triggers[] = "{\"config\":{\"OnBuild\":[\"\"]}}";
    cleanup_free char *app_id = NULL, *mount_id = NULL;
    struct state_image known = {0};
    struct err why = ERR_INIT;
    bool unknown;
    int ret;

    if (app_modal(app, err) < 0 || modal_app_id(app->modal, AGENT_APP, &app_id, err) < 0 ||
        agent_mount(app->modal, app_id, /* config= */ NULL, &mount_id, err) < 0)
        return -1;
    unknown = catalog_named_known(app, modal_id, &known, NULL) <= 0;
    ret = build_probe(app, modal_id, known.config, mount_id, anew, ret_modal_id, &why);
    if (ret < 0 && unknown && why.code != GRPC_NOT_FOUND) {
        cleanup_err struct err again = ERR_INIT;

        ret = build_probe(app, modal_id, some_triggers, mount_id, anew, ret_modal_id, &again);
    }
    state_image_clear(&known);
    if (ret < 0)
        return err_move(err, &why);
    err_clear(&why);
    return 0;
}

int catalog_base_id(struct app *app, const char *image_id, char **ret_modal_id, struct err *err)
{
    if (app_modal(app, err) < 0)
        return -1;
    return state_server_image_get(app->state, app->server_key, image_id, CATALOG_LAYER_BASE, ret_modal_id, err);
}
