/* The end of images: names, what containers use, and what the server holds. */
#include "backends/grpc/frame.h"
#include "backends/modal/image.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/base/strlist.h"
#include "shim/app.h"
#include "shim/catalog.h"
#include "shim/container.h"
#include "shim/events.h"
#include "shim/keep.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define CONFLICT   "Error response from daemon: conflict: "
#define HEX(id)    ((id) + strlen("sha256:"))
#define MAX_ROUNDS 100 /* images that stand on one another; the next command goes on */

/* The image that is to go, as the checks look at it. */
struct victim {
    struct app *app;
    char *id;
    char *layers, *config;
    char *parent;  /* that it was committed from; NULL: none */
    bool children; /* others were committed from it */
    bool prune;    /* the parent goes too, if nothing else holds it */
    int64_t size;
    struct strlist refs;    /* docker.io/library/x:1 and docker.io/library/x@sha256:..., sorted */
    char *running, *others; /* the id of a container that uses it and runs, and of one that does not; NULL: none */
};

void catalog_gone_clear(struct catalog_gone *g)
{
    strlist_clear(&g->untagged);
    strlist_clear(&g->deleted);
}

static void victim_clear(struct victim *v)
{
    free(v->id);
    free(v->layers);
    free(v->parent);
    free(v->config);
    strlist_clear(&v->refs);
    free(v->running);
    free(v->others);
}

/* ---- names ---- */

static void add_ref(struct victim *v, char *ref)
{
    if (strlist_has(&v->refs, ref))
        free(ref);
    else
        strlist_add_owned(&v->refs, ref);
}

/* A tag and its digest are two references, as Docker counts; a name with both is only the digest's. */
static int load_refs(struct victim *v, struct err *err)
{
    cleanup_strlist struct strlist names = STRLIST_INIT, digests = STRLIST_INIT;

    if (state_image_tags(v->app->state, v->id, &names, &digests, err) < 0)
        return -1;
    strlist_clear(&v->refs);
    for (size_t i = 0; i < names.len; i++) {
        struct reference ref = {0};

        if (image_name_is_modal(names.items[i])) {
            add_ref(v, xstrdup(names.items[i]));
            continue;
        }
        if (reference_parse(names.items[i], &ref, err) < 0)
            return -1;
        if (!ref.digest)
            add_ref(v, reference_string(&ref));
        if (ref.digest || *digests.items[i]) {
            cleanup_free char *repository = reference_name(&ref);

            add_ref(v, xasprintf("%s@%s", repository, ref.digest ? ref.digest : digests.items[i]));
        }
        reference_clear(&ref);
    }
    strlist_sort(&v->refs);
    return 0;
}

/* How long the repository's name within a reference is. */
static size_t repository_len(const char *ref)
{
    const char *at = strchr(ref, '@');

    return at ? (size_t)(at - ref) : (size_t)(strrchr(ref, ':') - ref);
}

static bool same_repository(const char *a, const char *b)
{
    return repository_len(a) == repository_len(b) && !strncmp(a, b, repository_len(a));
}

/* At most one tag, and all digests of its repository. */
static bool single_reference(const struct strlist *refs)
{
    size_t tags = 0;

    for (size_t i = 0; i < refs->len; i++) {
        tags += !strchr(refs->items[i], '@');
        if (!same_repository(refs->items[0], refs->items[i]))
            return false;
    }
    return refs->len > 0 && tags <= 1;
}

/* Takes one reference away and notes it. */
static int drop_ref(struct victim *v, const char *ref, struct catalog_gone *gone, struct err *err)
{
    const char *at = strchr(ref, '@');
    char *familiar = image_name_familiar(ref);
    int ret;

    if (at) {
        cleanup_free char *repository = xstrndup(ref, (size_t)(at - ref));

        ret = state_image_drop_digest(v->app->state, v->id, repository, at + 1, err);
    } else {
        ret = state_image_untag(v->app->state, ref, err);
    }
    if (ret < 0 || !familiar) {
        free(familiar);
        return -1;
    }
    strlist_add_owned(&gone->untagged, familiar);
    event_image(v->app, "untag", v->id, v->id);
    return 0;
}

/* The name, and with the last tag of its repository the digests there. */
static int drop_name(struct victim *v, const char *name, struct catalog_gone *gone, struct err *err)
{
    cleanup_strlist struct strlist digests = STRLIST_INIT;
    bool tag_stays = strchr(name, '@') != NULL;

    for (size_t i = 0; i < v->refs.len; i++) {
        const char *ref = v->refs.items[i];

        if (!strcmp(ref, name) || !same_repository(ref, name))
            continue;
        if (strchr(ref, '@'))
            strlist_add(&digests, ref);
        else
            tag_stays = true;
    }
    if (drop_ref(v, name, gone, err) < 0)
        return -1;
    for (size_t i = 0; i < digests.len && !tag_stays; i++)
        if (drop_ref(v, digests.items[i], gone, err) < 0)
            return -1;
    return load_refs(v, err);
}

static int drop_all(struct victim *v, struct catalog_gone *gone, struct err *err)
{
    for (size_t i = 0; i < v->refs.len; i++)
        if (drop_ref(v, v->refs.items[i], gone, err) < 0)
            return -1;
    return load_refs(v, err);
}

/* ---- containers ---- */

/* Which containers use it. Whether they run is asked, not remembered. */
static int load_users(struct victim *v, struct err *err)
{
    struct state_container *rows = NULL;
    size_t len = 0;

    if (state_container_list(v->app->state, &rows, &len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        cleanup_with(container_clear) struct container c;
        cleanup_err struct err why = ERR_INIT;
        char **slot;

        container_init(&c, v->app);
        c.row = rows[i];
        if (!c.row.image_id || strcmp(c.row.image_id, v->id) ||
            (container_refresh(&c, &why) < 0 && why.code == CONTAINER_NO_SUCH))
            continue;
        slot = container_may_run(&c) ? &v->running : &v->others;
        if (!*slot)
            *slot = xstrdup(c.row.id);
    }
    free(rows);
    return 0;
}

/* What stands against the end of the image; with force only a container that runs. */
static int check_conflict(const struct victim *v, bool force, struct err *err)
{
    if (v->children)
        return err_set(err, 1, CONFLICT "unable to delete %.12s (cannot be forced) - image has dependent child images",
                       HEX(v->id));
    if (v->running)
        return err_set(err, 1,
                       CONFLICT "unable to delete %.12s (cannot be forced) - image is being used by running container "
                                "%.12s",
                       HEX(v->id), v->running);
    if (force)
        return 0;
    if (v->refs.len && !single_reference(&v->refs))
        return err_set(
            err, 1, CONFLICT "unable to delete %.12s (must be forced) - image is referenced in multiple repositories",
            HEX(v->id));
    if (v->others)
        return err_set(err, 1,
                       CONFLICT "unable to delete %.12s (must be forced) - image is being used by stopped container "
                                "%.12s",
                       HEX(v->id), v->others);
    return 0;
}

/* ---- layers ---- */

/* The chain id of each layer: the digest of the chain below and its own. */
static void chain_ids(const char *config, struct strlist *ret)
{
    json_auto_t *root = json_loads(config, 0, NULL);
    const json_t *ids = json_object_get(json_object_get(root, "rootfs"), "diff_ids"), *id;
    size_t i;

    json_array_foreach(ids, i, id)
    {
        const char *diff = json_string_value(id) ? json_string_value(id) : "";
        cleanup_free char *both = i ? xasprintf("%s %s", ret->items[ret->len - 1], diff) : NULL;
        char hex[2 * SHA256_LEN + 1];
        uint8_t digest[SHA256_LEN];

        if (both) {
            sha256(both, strlen(both), digest);
            sha256_hex(digest, hex);
            strlist_addf(ret, "sha256:%s", hex);
        } else {
            strlist_add(ret, diff);
        }
    }
}

/* The layers of all images that are left. */
static int other_chains(struct app *app, struct strlist *ret, struct err *err)
{
    struct state_image *list = NULL;
    size_t len = 0;
    int got = state_image_list(app->state, &list, &len, err);

    for (size_t i = 0; i < len; i++) {
        cleanup_strlist struct strlist chains = STRLIST_INIT;

        chain_ids(list[i].config, &chains);
        strlist_copy(ret, &chains);
        state_image_clear(&list[i]);
    }
    free(list);
    return got;
}

/* Notes the layers that went with it, uppermost first. */
static int note_layers(const struct victim *v, struct catalog_gone *gone, struct err *err)
{
    cleanup_strlist struct strlist chains = STRLIST_INIT, others = STRLIST_INIT;
    json_auto_t *sizes = v->layers ? json_loads(v->layers, 0, NULL) : NULL;

    if (other_chains(v->app, &others, err) < 0)
        return -1;
    chain_ids(v->config, &chains);
    for (size_t i = chains.len; i-- > 0 && !strlist_has(&others, chains.items[i]);) {
        strlist_add(&gone->deleted, chains.items[i]);
        gone->size += json_integer_value(json_array_get(sizes, i));
        if (!sizes && i == 0)
            gone->size += v->size; /* of an older atp-docker: all or nothing is known */
    }
    return 0;
}

/* ---- removal ---- */

static int find_victim(struct victim *v, const char *word, char **ret_name, struct err *err);

/* Without names: it goes. A container that was not asked for its leave keeps the layers. */
static int delete_one(struct victim *v, struct catalog_gone *gone, struct err *err)
{
    if (state_image_hide(v->app->state, v->id, err) < 0)
        return -1;
    strlist_add(&gone->deleted, v->id);
    event_image(v->app, "delete", v->id, v->id);
    return v->others ? 0 : note_layers(v, gone, err);
}

/* The image, and those that it was committed from as long as nothing else holds them. */
static int delete_image(struct victim *v, struct catalog_gone *gone, struct err *err)
{
    cleanup_free char *next = NULL;

    if (delete_one(v, gone, err) < 0)
        return -1;
    if (v->prune)
        next = xstrdup(v->parent);
    while (next) {
        cleanup_with(victim_clear) struct victim parent = {.app = v->app};
        cleanup_free char *id = steal(&next), *name = NULL;
        cleanup_err struct err why = ERR_INIT;

        if (find_victim(&parent, id, &name, &why) < 0)
            return why.code == CATALOG_NO_SUCH_IMAGE ? 0 : err_move(err, &why);
        if (parent.refs.len || parent.children || parent.running || parent.others)
            return 0;
        if (delete_one(&parent, gone, err) < 0)
            return -1;
        next = steal(&parent.parent);
    }
    return 0;
}

/* The name or the id that word says; *ret_name NULL for an id, else what is to be untagged. */
static int find_victim(struct victim *v, const char *word, char **ret_name, struct err *err)
{
    struct state_image image = {0};
    struct image_ref ref = {0};
    int got;

    if (catalog_find_word(v->app, word, &image, err) < 0)
        return -1;
    v->id = steal(&image.id);
    v->layers = steal(&image.layers);
    v->config = steal(&image.config);
    v->size = image.size;
    if (image.parent && !strcmp(image.source, "commit"))
        v->parent = steal(&image.parent);
    state_image_clear(&image);
    got = state_image_has_children(v->app->state, v->id, err);
    if (got < 0)
        return -1;
    v->children = got > 0;
    if (strncmp(v->id, word, strlen(word)) && strncmp(HEX(v->id), word, strlen(word)) &&
        image_ref_parse(word, &ref, NULL) == 0) {
        if (ref.ref.digest)
            free(steal(&ref.ref.tag));
        *ret_name = image_ref_name(&ref); /* none for a server's id */
    }
    image_ref_clear(&ref);
    return load_refs(v, err) < 0 || load_users(v, err) < 0 ? -1 : 0;
}

/* One of its names; the image goes with the last one, unless a container that runs needs it. */
static int remove_name(struct victim *v, const char *word, const char *name, bool force, struct catalog_gone *gone,
                       struct err *err)
{
    const char *user = v->running ? v->running : v->others;

    if (!force && user && single_reference(&v->refs))
        return err_set(err, 1,
                       CONFLICT "unable to remove repository reference \"%s\" (must force) - container %.12s is using "
                                "its referenced image %.12s",
                       word, user, HEX(v->id));
    if (drop_name(v, name, gone, err) < 0)
        return -1;
    if (v->refs.len || v->children || v->running || (v->others && !force))
        return 0;
    return delete_image(v, gone, err);
}

int catalog_remove(struct app *app, const char *word, bool force, bool prune, struct catalog_gone *ret, struct err *err)
{
    cleanup_with(victim_clear) struct victim v = {.app = app, .prune = prune};
    cleanup_free char *name = NULL;

    *ret = (struct catalog_gone){0};
    if (find_victim(&v, word, &name, err) < 0)
        return -1;
    if (name)
        return remove_name(&v, word, name, force, ret, err);
    if (check_conflict(&v, force, err) < 0 || drop_all(&v, ret, err) < 0)
        return -1;
    return delete_image(&v, ret, err);
}

int catalog_remove_unused(struct app *app, const char *id, struct catalog_gone *ret, struct err *err)
{
    cleanup_with(victim_clear) struct victim v = {.app = app, .prune = true};
    cleanup_free char *name = NULL;

    *ret = (struct catalog_gone){0};
    if (find_victim(&v, id, &name, err) < 0)
        return -1;
    if (v.running || v.others)
        return err_set(err, 1, CONFLICT "image is being used by container %.12s", v.running ? v.running : v.others);
    if (drop_all(&v, ret, err) < 0)
        return -1;
    return v.children ? 0 : delete_image(&v, ret, err);
}

/* ---- the server's copies ---- */

/* Deletes what this server has of one image. -1: it does not answer, or refuses. */
static int sweep_image(struct app *app, const char *id, struct err *err)
{
    cleanup_strlist struct strlist copies = STRLIST_INIT;

    if (state_server_image_own(app->state, app->server_key, id, &copies, err) < 0)
        return -1;
    for (size_t i = 0; i < copies.len; i++) {
        struct err why = ERR_INIT;

        if (modal_image_delete(app->modal, copies.items[i], &why) < 0 && why.code != GRPC_NOT_FOUND)
            return err_move(err, &why);
        err_clear(&why);
    }
    return state_server_image_drop(app->state, app->server_key, id, err) < 0 ||
                   state_image_forget(app->state, id, err) < 0
               ? -1
               : 0;
}

/* Those that are to go now; what one stood on can only go after it. */
static int sweep_round(struct app *app, bool *ret_any, struct err *err)
{
    cleanup_strlist struct strlist ids = STRLIST_INIT;

    if (state_image_to_sweep(app->state, app->server_key, &ids, err) < 0)
        return -1;
    for (size_t i = 0; i < ids.len; i++)
        if (sweep_image(app, ids.items[i], err) < 0)
            return -1;
    *ret_any = ids.len > 0;
    return 0;
}

void catalog_sweep(struct app *app)
{
    cleanup_strlist struct strlist ids = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    bool any = true;

    if (app_state(app, &err) < 0 || state_image_to_sweep(app->state, /* server= */ NULL, &ids, &err) < 0 || !ids.len)
        return;
    if (app_modal(app, &err) == 0)
        for (int round = 0; any && round < MAX_ROUNDS && !err.msg; round++)
            sweep_round(app, &any, &err);
    if (err.msg)
        app_trace(app, "images that were removed are left on the server for now: %s", err.msg);
    err_clear(&err);
    if (keep_sweep(app, &err) < 0)
        app_trace(app, "layers that nobody needs are left for now: %s", err.msg);
}
