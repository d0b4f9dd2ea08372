#include "shim/catalog.h"

#include "agent_digest.h"
#include "backends/grpc/frame.h"
#include "backends/modal/client.h"
#include "backends/modal/image.h"
#include "backends/registry/auth.h"
#include "backends/registry/client.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/sys/fs.h"
#include "shim/agent.h"
#include "shim/app.h"

#include <jansson.h>
#include <string.h>
#include <time.h>

#define DAEMON_SAYS "Error response from daemon"
#define DAEMON      DAEMON_SAYS ": "
#define BASE_LAYER  "base"

int catalog_find(struct app *app, const struct image_ref *ref, struct state_image *ret, struct err *err)
{
    cleanup_free char *name = NULL;
    int got = 0;

    if (app_state(app, err) < 0)
        return -1;
    if (ref->kind == IMAGE_ID)
        return state_image_by_id(app->state, ref->id, ret, err);
    if (ref->kind != IMAGE_REFERENCE)
        return err_set(err, 125, "%s: images that only Modal knows by name or id are not carried out yet", ref->text);
    name = reference_string(&ref->ref);
    got = state_image_by_ref(app->state, name, ret, err);
    if (got == 0 && image_ref_may_be_id(ref->text))
        got = state_image_by_id(app->state, ref->text, ret, err);
    return got;
}

char *catalog_normal_name(const char *word, struct err *err)
{
    struct reference ref = {0};
    char *name;

    if (reference_parse(word, &ref, err) < 0)
        return NULL;
    reference_add_latest(&ref);
    name = reference_string(&ref);
    reference_clear(&ref);
    return name;
}

char *catalog_layer_sizes(const int64_t *sizes, size_t len)
{
    json_t *list = json_array();
    char *text;

    for (size_t i = 0; i < len; i++)
        json_array_append_new(list, json_integer(sizes[i]));
    text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    return text;
}

int catalog_find_word(struct app *app, const char *word, struct state_image *ret, struct err *err)
{
    cleanup_free char *familiar = NULL;
    struct image_ref ref = {0};
    int got;

    if (image_ref_parse(word, &ref, err) < 0)
        return err_wrap(err, DAEMON_SAYS);
    if (ref.kind == IMAGE_REFERENCE)
        familiar = reference_familiar(&ref.ref);
    else
        familiar = xasprintf("%s%s", ref.kind == IMAGE_ID ? "sha256:" : "", ref.kind == IMAGE_ID ? ref.id : word);
    got = catalog_find(app, &ref, ret, err);
    image_ref_clear(&ref);
    if (got != 0)
        return got < 0 ? -1 : 0;
    err_set(err, 1, DAEMON "No such image: %s", familiar);
    if (err)
        err->code = CATALOG_NO_SUCH_IMAGE;
    return -1;
}

int64_t catalog_created(const char *config)
{
    json_t *root = json_loads(config, 0, NULL);
    const char *text = json_string_value(json_object_get(root, "created"));
    struct tm tm = {0};
    int64_t t = text && strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) ? (int64_t)timegm(&tm) : 0;

    json_decref(root);
    return t > 0 ? t : 0;
}

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
static int fetch(struct app *app, const struct pull_request *req, struct registry_image *found, struct state_image *ret,
                 struct err *err)
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

/* Docker's line per layer. */
static void print_layers(FILE *progress, const struct registry_image *found, const char *what)
{
    for (size_t i = 0; progress && i < found->layers_len; i++)
        fprintf(progress, "%.12s: %s\n", found->layers[i].digest + strlen("sha256:"), what);
    if (progress)
        fflush(progress);
}

/* Pulls what the registry described; news when this machine or the server did not have it. */
static int pull_described(struct app *app, const struct pull_request *req, const struct registry_image *found,
                          const struct state_image *image, bool *ret_news, struct err *err)
{
    cleanup_free char *name = reference_string(&req->ref->ref), *modal_id = NULL, *known = NULL;
    struct state_image before = {0};
    int had;

    if (req->progress)
        fprintf(req->progress, "%s: Pulling from %s\n", req->ref->ref.digest ? req->ref->ref.digest : req->ref->ref.tag,
                req->ref->ref.path);
    if (app_modal(app, err) < 0)
        return -1;
    had = state_image_by_ref(app->state, name, &before, err);
    if (had < 0)
        return -1;
    had = had && before.id && !strcmp(before.id, image->id) &&
          state_server_image_get(app->state, app->server_key, image->id, ATP_AGENT_SHA256, &known, NULL) > 0;
    state_image_clear(&before);
    if (!had)
        print_layers(req->progress, found, "Pulling fs layer");
    if (state_image_put(app->state, image, NULL, NULL, err) < 0 ||
        catalog_on_server(app, image, NULL, &modal_id, err) < 0)
        return -1;
    if (!had)
        print_layers(req->progress, found, "Pull complete");
    *ret_news = !had;
    return state_image_put(app->state, image, name, found->digest, err);
}

int catalog_pull(struct app *app, const struct pull_request *req, struct state_image *ret, char **ret_digest,
                 bool *ret_news, struct err *err)
{
    struct registry_image found = REGISTRY_IMAGE_INIT;
    struct state_image image = {0};
    bool news = false;

    if (app_config(app, err) < 0 || app_state(app, err) < 0 || fetch(app, req, &found, &image, err) < 0)
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

int catalog_resolve(struct app *app, const struct container_spec *spec, struct state_image *ret, struct err *err)
{
    const struct pull_request req = {
        .ref = &spec->image, .platform = spec->platform, .progress = spec->quiet ? NULL : stderr};
    cleanup_free char *familiar = NULL, *digest = NULL;
    bool news = false;
    int got;

    if (spec->platform && catalog_check_platform(spec->platform, err) < 0)
        return -1;
    got = spec->pull == PULL_ALWAYS ? 0 : catalog_find(app, &spec->image, ret, err);
    if (got != 0)
        return got < 0 ? -1 : 0;
    if (spec->image.kind != IMAGE_REFERENCE)
        return err_set(err, 125, DAEMON "No such image: %s", spec->image.text);
    familiar = reference_familiar(&spec->image.ref);
    if (spec->pull == PULL_NEVER)
        return err_set(err, 125, DAEMON "No such image: %s", familiar);
    if (spec->pull == PULL_MISSING && !spec->quiet)
        fprintf(stderr, "Unable to find image '%s' locally\n", familiar);
    if (catalog_pull(app, &req, ret, &digest, &news, err) < 0)
        return -1;
    if (req.progress)
        fprintf(stderr, "Digest: %s\nStatus: %s for %s\n", digest,
                news ? "Downloaded newer image" : "Image is up to date", familiar);
    return 0;
}

/* ---- on the server ---- */

/* Passes the build's log on, whole lines or not. */
static void print_log(void *arg, int fd, const char *text)
{
    (void)fd;
    fputs(text, arg);
}

/*
 * The layer with the agent on top of `from` ("x@sha256:..." or "base"). What the client remembers of an earlier build
 * does not count: the state does not know the image, so it was removed, or the server has lost it.
 */
static int build_agent_layer(struct app *app, const struct state_image *image, const char *from, const char *base_id,
                             FILE *progress, char **ret_modal_id, struct err *err)
{
    struct modal_image_spec spec = {.base_image_id = base_id};
    cleanup_free char *app_id = NULL, *mount_id = NULL;
    struct modal_image built = MODAL_IMAGE_INIT;
    int ret = -1;

    if (modal_app_id(app->modal, AGENT_APP, &app_id, err) < 0 ||
        agent_mount(app->modal, app_id, image->config, &mount_id, err) < 0)
        return -1;
    spec.app_id = app_id;
    spec.context_mount_id = mount_id;
    strlist_addf(&spec.commands, "FROM %s", from);
    strlist_add(&spec.commands, "COPY . /");
    strlist_add(&spec.commands, "ENTRYPOINT []");
    modal_image_forget(app->modal, &spec);
    if (modal_image_build(app->modal, &spec, progress ? print_log : NULL, progress, &built, err) == 0) {
        *ret_modal_id = steal(&built.id);
        ret = 0;
    }
    modal_image_clear(&built);
    modal_image_spec_clear(&spec);
    return ret;
}

/* Builds the image with the agent on this server and remembers its id. */
static int put_on_server(struct app *app, const struct state_image *image, FILE *progress, char **ret_modal_id,
                         struct err *err)
{
    cleanup_free char *base = NULL, *modal_id = NULL;
    int got;

    if (image->pull) {
        got = build_agent_layer(app, image, image->pull, NULL, progress, &modal_id, err);
    } else {
        got = state_server_image_get(app->state, app->server_key, image->id, BASE_LAYER, &base, err);
        if (got == 0)
            return err_set(err, 125,
                           DAEMON "the image %.12s was loaded into another back end than this one: load it again",
                           image->id + strlen("sha256:"));
        if (got > 0)
            got = build_agent_layer(app, image, "base", base, progress, &modal_id, err);
    }
    if (got < 0)
        return err_wrap(err, DAEMON_SAYS);
    if (state_server_image_put(app->state, app->server_key, image->id, ATP_AGENT_SHA256, modal_id, err) < 0)
        return -1;
    *ret_modal_id = steal(&modal_id);
    return 0;
}

int catalog_on_server(struct app *app, const struct state_image *image, FILE *progress, char **ret_modal_id,
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

int catalog_on_server_anew(struct app *app, const struct state_image *image, FILE *progress, char **ret_modal_id,
                           struct err *err)
{
    modal_app_forget(app->modal, AGENT_APP);
    return put_on_server(app, image, progress, ret_modal_id, err);
}

/* FROM scratch, one ADD per layer, and the configuration that a server needs to run it without us. */
static void layer_lines(size_t layers, struct strlist *ret)
{
    strlist_add(ret, "FROM scratch");
    for (size_t i = 0; i < layers; i++)
        strlist_addf(ret, "ADD layer%zu.tar /", i);
}

/* Builds the image without the agent: what a later agent is laid upon. */
static int build_base(struct app *app, const struct strlist *paths, char **ret_modal_id, struct err *err)
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
    layer_lines(paths->len, &spec.commands);
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
    if (build_base(app, layer_paths, &base, err) < 0)
        return err_wrap(err, DAEMON_SAYS);
    if (state_image_put(app->state, image, NULL, NULL, err) < 0 ||
        state_server_image_put(app->state, app->server_key, image->id, BASE_LAYER, base, err) < 0 ||
        catalog_on_server(app, image, NULL, &modal_id, err) < 0)
        return -1;
    return ref ? state_image_put(app->state, image, ref, NULL, err) : 0;
}
