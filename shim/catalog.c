#include "shim/catalog.h"

#include "backends/registry/client.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "shim/app.h"
#include "shim/catalog_private.h"

#include <jansson.h>
#include <string.h>
#include <time.h>

int catalog_find(struct app *app, const struct image_ref *ref, struct state_image *ret, struct err *err)
{
    cleanup_free char *name = image_ref_name(ref);
    int got;

    if (app_state(app, err) < 0)
        return -1;
    if (ref->kind == IMAGE_ID)
        return state_image_by_id(app->state, ref->id, ret, err);
    if (ref->kind == IMAGE_MODAL_ID)
        return catalog_named_known(app, ref->id, ret, err);
    got = state_image_by_ref(app->state, name, ret, err);
    if (got == 0 && ref->kind == IMAGE_REFERENCE && image_ref_may_be_id(ref->text))
        got = state_image_by_id(app->state, ref->text, ret, err);
    return got;
}

bool catalog_is_missing(const struct err *err)
{
    return err->code == CATALOG_NO_SUCH_IMAGE || err->code == REGISTRY_NOT_FOUND || err->code == REGISTRY_DENIED;
}

int catalog_no_such_image(const struct image_ref *ref, struct err *err)
{
    cleanup_free char *familiar = image_ref_familiar(ref);

    err_set(err, 1, DAEMON "No such image: %s", familiar);
    if (err)
        err->code = CATALOG_NO_SUCH_IMAGE;
    return -1;
}

struct lookup_order catalog_places(const struct app *app, const struct image_ref *ref)
{
    static const struct lookup_order here = {{LOOKUP_LOCAL}, 1}, server = {{LOOKUP_LOCAL, LOOKUP_MODAL}, 2};

    if (ref->kind == IMAGE_ID)
        return here;
    return ref->kind == IMAGE_REFERENCE ? app->config->lookup : server;
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
    struct image_ref ref = {0};
    int got;

    if (image_ref_parse(word, &ref, err) < 0)
        return err_wrap(err, DAEMON_SAYS);
    got = catalog_find(app, &ref, ret, err);
    if (got == 0)
        catalog_no_such_image(&ref, err);
    image_ref_clear(&ref);
    return got > 0 ? 0 : -1;
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

/* ---- for run and create ---- */

/* "Unable to find image", where Docker says it. */
static void announce(const struct container_spec *spec, const char *familiar)
{
    if (spec->pull == PULL_MISSING && !spec->quiet)
        fprintf(stderr, "Unable to find image '%s' locally\n", familiar);
}

/* The image from one place that is not this machine, with Docker's lines on stderr. */
static int fetch_from(struct app *app, const struct container_spec *spec, enum lookup_place place, const char *familiar,
                      struct state_image *ret, struct err *err)
{
    const struct pull_request req = {
        .ref = &spec->image, .platform = spec->platform, .progress = spec->quiet ? NULL : stderr};
    cleanup_free char *digest = NULL;
    bool news = false;

    if (catalog_pull_from(app, &req, place, ret, &digest, &news, err) < 0)
        return -1;
    if (req.progress && digest)
        fprintf(stderr, "Digest: %s\n", digest);
    if (req.progress)
        fprintf(stderr, "Status: %s for %s\n", news ? "Downloaded newer image" : "Image is up to date", familiar);
    return 0;
}

/* The first place that has it: 1, 0. What the others said is in *why. */
static int search(struct app *app, const struct container_spec *spec, const char *familiar, struct state_image *ret,
                  struct err *why, struct err *err)
{
    const struct lookup_order order = catalog_places(app, &spec->image);
    bool announced = false;
    int got = 0;

    for (size_t i = 0; i < order.len && got == 0; i++) {
        if (order.places[i] == LOOKUP_LOCAL) {
            if (spec->pull != PULL_ALWAYS || spec->image.kind == IMAGE_ID)
                got = catalog_find(app, &spec->image, ret, err);
            continue;
        }
        if (spec->pull == PULL_NEVER)
            continue;
        if (!announced)
            announce(spec, familiar);
        announced = true;
        err_clear(why);
        if (fetch_from(app, spec, order.places[i], familiar, ret, why) == 0)
            return 1;
        if (!catalog_is_missing(why))
            return err_move(err, why);
    }
    return got;
}

int catalog_resolve(struct app *app, const struct container_spec *spec, struct state_image *ret, struct err *err)
{
    cleanup_free char *familiar = image_ref_familiar(&spec->image);
    cleanup_err struct err why = ERR_INIT;
    int got;

    if ((spec->platform && catalog_check_platform(spec->platform, err) < 0) || app_config(app, err) < 0)
        return -1;
    got = search(app, spec, familiar, ret, &why, err);
    if (got != 0)
        return got < 0 ? -1 : 0;
    if (why.msg && why.code != CATALOG_NO_SUCH_IMAGE)
        return err_move(err, &why);
    return err_set(err, 125, DAEMON "No such image: %s", familiar);
}
