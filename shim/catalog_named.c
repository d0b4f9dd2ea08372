/* Images that a server has by a name or an id of its own: Modal's. */
#include "backends/grpc/frame.h"
#include "backends/modal/engine_images.h"
#include "backends/modal/image.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "shim/agent_layer.h"
#include "shim/app.h"
#include "shim/catalog_private.h"
#include "translate/image_config.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define KNOWN_SECS INT64_C(31536000) /* a server's image never changes under its id */
#define ID_MAX     128u
#define ID_CHARS   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/* ---- which one ---- */

/* The server's way to say that there is no such thing; of a word that was not meant for it also that it is none. */
static bool means_none(const struct err *err, bool forced)
{
    return err->code == GRPC_NOT_FOUND || err->code == GRPC_UNIMPLEMENTED ||
           (!forced && (err->code == GRPC_INVALID_ARGUMENT || err->code == GRPC_PERMISSION_DENIED ||
                        err->code == GRPC_FAILED_PRECONDITION));
}

/* It is printed, and part of names: whatever the server says, it is one word. */
static bool id_ok(const char *id)
{
    size_t len = strlen(id);

    return len && len <= ID_MAX && strspn(id, ID_CHARS) == len;
}

int catalog_named_id(struct app *app, const struct image_ref *ref, char **ret_modal_id, struct err *err)
{
    cleanup_free char *tag = image_ref_modal_tag(ref);
    struct modal_image found = MODAL_IMAGE_INIT;
    struct err why = ERR_INIT;
    int got;

    if (!tag && ref->kind != IMAGE_MODAL_ID)
        return 0;
    if (app_modal(app, err) < 0)
        return -1;
    got = tag ? modal_image_by_tag(app->modal, tag, &found, &why)
              : modal_image_from_id(app->modal, ref->id, &found, &why);
    if (got < 0 && means_none(&why, ref->kind != IMAGE_REFERENCE)) {
        err_clear(&why);
        return 0;
    }
    if (got < 0) {
        err_wrap(&why, DAEMON "looking up %s", tag ? tag : ref->id);
        return err_move(err, &why);
    }
    *ret_modal_id = steal(&found.id);
    modal_image_clear(&found);
    if (id_ok(*ret_modal_id))
        return 1;
    free(steal(ret_modal_id));
    return err_set(err, 125, DAEMON "looking up %s: the server gave no image id", tag ? tag : ref->id);
}

/* ---- what is known of it ---- */

static char *known_key(const struct app *app, const char *modal_id)
{
    return xasprintf("image of %s on %s", modal_id, app->server_key);
}

void catalog_named_note(struct app *app, const char *modal_id, const char *image_id)
{
    cleanup_free char *key = known_key(app, modal_id);

    state_cache_put(app->state, key, image_id, time(NULL) + KNOWN_SECS, NULL);
}

int catalog_named_known(struct app *app, const char *modal_id, struct state_image *ret, struct err *err)
{
    cleanup_free char *key = NULL, *id = NULL;
    int got;

    if (app_modal(app, err) < 0)
        return -1;
    key = known_key(app, modal_id);
    got = state_cache_get(app->state, key, &id, time(NULL), err);
    return got > 0 ? state_image_by_id(app->state, id, ret, err) : got;
}

/* ---- its configuration ---- */

/* An image as it is going into the state. */
struct named {
    struct state_image image;
    const char *modal_id;
};

/* "sha256:" and the digest of the configuration. */
static void set_config(struct named *n, char *config)
{
    uint8_t digest[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];

    free(n->image.config);
    free(n->image.id);
    n->image.config = config;
    sha256(config, strlen(config), digest);
    sha256_hex(digest, hex);
    n->image.id = xasprintf("sha256:%s", hex);
}

/* The configuration with the server's id in it: nobody else's is the same. */
static void make_unique(struct named *n)
{
    json_auto_t *root = json_loads(n->image.config, 0, NULL);

    json_object_set_new(root, "comment", json_sprintf("Modal image %s", n->modal_id));
    set_config(n, json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER));
}

/* Whether it can be worked with: a server or an image may say anything. */
static int check_config(const struct named *n, struct err *err)
{
    struct oci_config parsed = {0};
    int ret = oci_config_parse(n->image.config, strlen(n->image.config), &parsed, err);

    oci_config_clear(&parsed);
    return ret < 0 ? err_wrap(err, DAEMON "looking into %s", n->modal_id) : 0;
}

/* What a server tells that knows. 1, 0, -1. */
static int ask_server(struct app *app, struct named *n, struct err *err)
{
    struct engine_image told = ENGINE_IMAGE_INIT;
    cleanup_free int64_t *sizes = NULL;
    int got = engine_image_describe(app->modal, n->modal_id, &told, err);

    if (got > 0) {
        sizes = xcalloc(told.len + 1, sizeof(*sizes));
        for (size_t i = 0; i < told.len; i++) {
            sizes[i] = told.layers[i].shown;
            n->image.size += sizes[i];
        }
        n->image.layers = catalog_layer_sizes(sizes, told.len);
        set_config(n, steal(&told.config));
    }
    engine_image_clear(&told);
    return got;
}

/* What a sandbox of it finds in it; with nothing there what it has of itself is half of it. */
static int ask_agent(struct app *app, struct named *n, struct err *err)
{
    char *config = NULL;
    int got = agent_layer_config(app, n->modal_id, &config, err);

    if (got < 0)
        return err_wrap(err, DAEMON "looking into %s", n->modal_id);
    if (got == 0)
        fprintf(stderr, "docker: the image %s does not say its ENTRYPOINT, CMD and USER: it is run without\n",
                n->modal_id);
    set_config(n, config);
    return 0;
}

/*
 * Whether the state has another image of the server's under this id: an image that was built on one of ours elsewhere
 * still holds that one's image.json. 1, 0, -1.
 */
static int is_taken(struct app *app, const struct named *n, struct err *err)
{
    cleanup_free char *other = NULL;
    int got = catalog_base_id(app, n->image.id, &other, err);

    return got > 0 ? strcmp(other, n->modal_id) != 0 : got;
}

/* Puts it into the state, where it may be already under the same id: from another server, or loaded. */
static int remember(struct app *app, struct named *n, struct err *err)
{
    struct state_image here = {0};
    int got = state_image_by_id(app->state, n->image.id, &here, err);

    if (got > 0) {
        state_image_clear(&n->image);
        n->image = here;
    } else if (got < 0 || state_image_put(app->state, &n->image, NULL, NULL, err) < 0) {
        return -1;
    }
    if (state_server_image_put(app->state, app->server_key, n->image.id, CATALOG_LAYER_BASE, n->modal_id, err) < 0 ||
        state_server_image_put(app->state, app->server_key, n->image.id, STATE_LAYER_KEPT, n->modal_id, err) < 0)
        return -1;
    catalog_named_note(app, n->modal_id, n->image.id);
    return 0;
}

int catalog_named_image(struct app *app, const char *modal_id, struct state_image *ret, struct err *err)
{
    struct named n = {.modal_id = modal_id};
    int got = catalog_named_known(app, modal_id, ret, err);

    if (got != 0)
        return got < 0 ? -1 : 0;
    n.image.source = xstrdup("named");
    n.image.added = time(NULL);
    got = ask_server(app, &n, err);
    if (got == 0)
        got = ask_agent(app, &n, err);
    if (got >= 0)
        got = check_config(&n, err);
    if (got == 0)
        got = is_taken(app, &n, err);
    if (got > 0)
        make_unique(&n);
    if (got >= 0) {
        n.image.created = catalog_created(n.image.config);
        got = remember(app, &n, err);
    }
    if (got < 0) {
        state_image_clear(&n.image);
        return -1;
    }
    *ret = n.image;
    return 0;
}
