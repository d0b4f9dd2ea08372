/* Named images: publish, look up, list, history (protocol 3.4). */
#include "backends/engine/engine.h"
#include "backends/engine/images.h"
#include "backends/engine/store.h"
#include "backends/engine/svc.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define PAGE         100u /* items at most, and when nobody says how many */
#define NAME_MAX_LEN 64u

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

/* The rule for names of objects, which image names and their tags follow (protocol 9.3). */
static bool is_object_name(const char *s)
{
    size_t len = strlen(s);

    return len > 0 && len <= NAME_MAX_LEN && strspn(s, letters) == len &&
           !(len == 25 && strncmp(s, "ap-", 3) == 0 && strcspn(s + 3, "-_.") == 22);
}

static int bad_name(const char *given, struct err *err)
{
    return svc_err(
        err, GRPC_INVALID_ARGUMENT,
        "Invalid image name: \"%s\". Names and tags may contain only alphanumeric characters, dashes, periods "
        "and underscores, must be at most 64 characters long, and a name must not begin with \"im-\"",
        given);
}

/* The environment of a reference's prefix, or the request's; "" in the prefix is no environment. */
static int environment_of(const char *given, const char *prefix, const char *request, char **ret, struct err *err)
{
    const char *slash = prefix ? strchr(prefix, '/') : NULL, *name = slash ? slash + 1 : prefix;

    if (prefix && *svc_text(request))
        return svc_err(err, GRPC_INVALID_ARGUMENT,
                       "\"%s\" names an environment already: environment_name cannot be given too", given);
    if (slash && strncmp(prefix, SVC_WORKSPACE "/", sizeof(SVC_WORKSPACE)) != 0)
        return svc_err(err, GRPC_NOT_FOUND, "Workspace of image \"%s\" not found", given);
    if (!name)
        name = svc_environment(request);
    if (!is_object_name(name))
        return bad_name(given, err);
    *ret = xstrdup(name);
    return 0;
}

/*
 * "[[workspace/]environment/]name[:tag]" as it is kept: "environment/name:tag". *ret_environment may be NULL; both are
 * owned by caller.
 */
static int resolve(const char *given, const char *environment_name, char **ret, char **ret_environment, struct err *err)
{
    const char *slash = strrchr(svc_text(given), '/'), *last = slash ? slash + 1 : svc_text(given);
    const char *colon = strrchr(last, ':');
    cleanup_free char *prefix = slash ? xstrndup(given, (size_t)(slash - given)) : NULL;
    cleanup_free char *name = xstrndup(last, colon ? (size_t)(colon - last) : strlen(last));
    const char *tag = colon ? colon + 1 : "latest";
    char *environment = NULL;

    if (!*svc_text(given))
        return svc_err(err, GRPC_INVALID_ARGUMENT, "Image tag cannot be empty");
    if (!is_object_name(name) || !is_object_name(tag) || strncmp(name, "im-", 3) == 0)
        return bad_name(given, err);
    if (environment_of(given, prefix, environment_name, &environment, err) < 0)
        return -1;
    *ret = xasprintf("%s/%s:%s", environment, name, tag);
    if (ret_environment)
        *ret_environment = environment;
    else
        free(environment);
    return 0;
}

/* ---- look up and publish ---- */

static void image_get_by_tag(struct call *c, const void *request)
{
    const Modal__Client__ImageGetByTagRequest *r = request;
    Modal__Client__ImageGetByTagResponse response = MODAL__CLIENT__IMAGE_GET_BY_TAG_RESPONSE__INIT;
    cleanup_free char *tag = NULL, *id = NULL;
    cleanup_err struct err err = ERR_INIT;

    if (resolve(r->tag, r->environment_name, &tag, NULL, &err) < 0) {
        svc_fail(c, &err);
        return;
    }
    id = images_by_tag(c->engine->images, tag);
    if (!id) {
        call_fail(c, GRPC_NOT_FOUND, "image \"%s\" not found", r->tag);
        return;
    }
    response.image_id = id;
    call_reply(c, &response);
}

static void image_publish(struct call *c, const void *request)
{
    const Modal__Client__ImagePublishRequest *r = request;
    Modal__Client__ImagePublishResponse response = MODAL__CLIENT__IMAGE_PUBLISH_RESPONSE__INIT;
    struct images_revision revision = {0};
    cleanup_free char *tag = NULL;
    cleanup_err struct err err = ERR_INIT;
    enum images_state state;

    if (images_state(c->engine->images, svc_text(r->image_id), &state, NULL) < 0)
        svc_err(&err, GRPC_NOT_FOUND, "image %s not found", svc_text(r->image_id));
    else if (state != IMAGES_READY)
        svc_err(&err, GRPC_FAILED_PRECONDITION, "image %s is not built", r->image_id);
    else if (resolve(r->tag, r->environment_name, &tag, NULL, &err) == 0 &&
             images_publish(c->engine->images, r->image_id, tag, &err) == 0)
        images_revision(c->engine->images, tag, 0, &revision);
    if (err.msg) {
        svc_fail(c, &err);
        return;
    }
    response.image_id = r->image_id;
    response.revision_id = SVC_CONST(revision.revision_id);
    call_reply(c, &response);
}

/* ---- lists ---- */

static int page_size(bool given, uint32_t asked, size_t *ret, struct err *err)
{
    if (given && asked > PAGE)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "max_objects is at most %u", PAGE);
    *ret = given && asked ? asked : PAGE;
    return 0;
}

/* The tags of one environment that begin with a prefix, and come behind the last one of the page before. */
struct listing {
    const char *environment, *prefix, *after;
    struct strlist tags; /* without the environment */
};

static void list_one(const char *full, const char *id, void *arg)
{
    struct listing *l = arg;
    size_t len = strlen(l->environment);
    const char *tag = full + len + 1;

    (void)id;
    if (strncmp(full, l->environment, len) == 0 && full[len] == '/' &&
        strncmp(tag, l->prefix, strlen(l->prefix)) == 0 && strcmp(tag, l->after) > 0)
        strlist_add(&l->tags, tag);
}

/* First published and last published. */
static void fill_item(struct images *im, const char *full, Modal__Client__ImageListTagsItem *item)
{
    struct images_revision newest = {0}, oldest = {0};

    for (size_t n = 0; images_revision(im, full, n, &oldest); n++)
        ;
    images_revision(im, full, 0, &newest);
    item->image_id = SVC_CONST(newest.image_id);
    item->revision_id = SVC_CONST(newest.revision_id);
    item->has_created_at = item->has_updated_at = 1;
    item->created_at = (double)oldest.made / 1000;
    item->updated_at = (double)newest.made / 1000;
}

static void image_list_tags(struct call *c, const void *request)
{
    const Modal__Client__ImageListTagsRequest *r = request;
    Modal__Client__ImageListTagsResponse response = MODAL__CLIENT__IMAGE_LIST_TAGS_RESPONSE__INIT;
    Modal__Client__ImageListTagsItem items[PAGE], *list[PAGE];
    struct listing l = {.environment = svc_environment(r->environment_name),
                        .prefix = svc_text(r->tag_prefix),
                        .after = svc_text(r->page_token)};
    cleanup_err struct err err = ERR_INIT;
    size_t size = PAGE;

    if (page_size(r->has_max_objects, r->max_objects, &size, &err) < 0) {
        svc_fail(c, &err);
        return;
    }
    images_each_tag(c->engine->images, list_one, &l);
    for (size_t i = 0; i < l.tags.len && i < size; i++) {
        cleanup_free char *full = xasprintf("%s/%s", l.environment, l.tags.items[i]);

        modal__client__image_list_tags_item__init(&items[i]);
        items[i].tag = l.tags.items[i];
        fill_item(c->engine->images, full, &items[i]);
        list[i] = &items[i];
        response.n_items++;
    }
    response.items = list;
    if (l.tags.len > size)
        response.next_page_token = l.tags.items[size - 1];
    response.environment_name = SVC_CONST(l.environment);
    call_reply(c, &response);
    strlist_clear(&l.tags);
}

/* The history of a name, newest first; a page goes on from a number. */
static void image_tag_revisions(struct call *c, const void *request)
{
    const Modal__Client__ImageTagRevisionsRequest *r = request;
    Modal__Client__ImageTagRevisionsResponse response = MODAL__CLIENT__IMAGE_TAG_REVISIONS_RESPONSE__INIT;
    Modal__Client__ImageTagRevisionsItem items[PAGE], *list[PAGE];
    size_t start = strtoul(svc_text(r->page_token), NULL, 10), size = 0;
    cleanup_free char *tag = NULL, *environment = NULL, *next = NULL;
    cleanup_err struct err err = ERR_INIT;
    struct images_revision revision;

    if (page_size(r->has_max_objects, r->max_objects, &size, &err) < 0 ||
        resolve(r->tag, r->environment_name, &tag, &environment, &err) < 0) {
        svc_fail(c, &err);
        return;
    }
    for (size_t i = 0; i < size && images_revision(c->engine->images, tag, start + i, &revision); i++) {
        modal__client__image_tag_revisions_item__init(&items[i]);
        items[i].image_id = SVC_CONST(revision.image_id);
        items[i].revision_id = SVC_CONST(revision.revision_id);
        items[i].has_created_at = 1;
        items[i].created_at = (double)revision.made / 1000;
        list[i] = &items[i];
        response.n_items++;
    }
    if (images_revision(c->engine->images, tag, start + size, &revision))
        next = xasprintf("%zu", start + size);
    response.items = list;
    response.next_page_token = next;
    response.tag = tag + strlen(environment) + 1;
    response.environment_name = environment;
    call_reply(c, &response);
}

const struct rpc_method svc_image_names_methods[] = {
    {"ImageGetByTag", SVC_REQUEST(image_get_by_tag_request), RPC_UNARY, 0, image_get_by_tag},
    {"ImageListTags", SVC_REQUEST(image_list_tags_request), RPC_UNARY, 0, image_list_tags},
    {"ImagePublish", SVC_REQUEST(image_publish_request), RPC_UNARY, 0, image_publish},
    {"ImageTagRevisions", SVC_REQUEST(image_tag_revisions_request), RPC_UNARY, 0, image_tag_revisions},
    {0},
};
