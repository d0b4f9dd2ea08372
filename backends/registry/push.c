#include "backends/registry/push.h"

#include "backends/registry/client_private.h"
#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_BLOB        (1 << 20) /* sent with the request that ends the upload: one round trip less */
#define MAX_STARTS        3         /* uploads that are begun for one blob */
/* Registries that write a blob's link in place do not know of it for an instant while somebody else pushes the same
 * blob. */
#define MANIFEST_TRIES    5
#define MANIFEST_PAUSE_MS 50
#define MAX_PAGES         1000   /* of a list of tags */
#define MAX_TAGS          100000 /* of a repository: those of years of nightly builds are a tenth of it */

static void reply_freep(struct http_reply *reply)
{
    http_reply_clear(reply);
}

#define cleanup_reply __attribute__((cleanup(reply_freep)))

/* "https://host/v2/", which every registry answers; owned by caller. */
static char *root_of(const struct registry *r)
{
    return xstrndup(r->base, (size_t)(strstr(r->base, "/v2/") + 4 - r->base));
}

int registry_ping(struct registry *r, struct err *err)
{
    cleanup_free char *url = root_of(r);
    struct attempts a = {.q = {.url = url, .timeout_ms = MANIFEST_TIMEOUT_MS}, .also = 401};
    cleanup_reply struct http_reply reply;

    http_reply_init(&reply);
    return registry_request(r, &a, &reply, err);
}

/* What Location says is a URL, or a path on the registry; owned by caller. */
static char *absolute(const struct registry *r, const char *location)
{
    size_t place = (size_t)(http_host(r->base) - r->base) + strcspn(http_host(r->base), "/");
    bool secure = strncmp(r->base, "https://", 8) == 0;

    if (secure && strncmp(location, "http://", 7) == 0) /* a registry that does not know of the proxy before it */
        return xasprintf("https://%s", location + 7);
    if (strstr(location, "://") && strcspn(location, "/?") > strcspn(location, ":"))
        return xstrdup(location);
    return xasprintf("%.*s%s%s", (int)place, r->base, *location == '/' ? "" : "/", location);
}

static int no_location(struct err *err)
{
    err_set(err, 0, "the registry began an upload without saying where");
    return registry_fail(err, REGISTRY_CORRUPT);
}

/* Gives up an upload that was begun; the registry would clear it away by itself one day. */
static void forget_upload(struct registry *r, const char *location)
{
    cleanup_free char *url = absolute(r, location);
    struct attempts a = {
        .q = {.url = url, .method = "DELETE", .timeout_ms = MANIFEST_TIMEOUT_MS},
        .failures = MAX_ATTEMPTS,
    };
    cleanup_reply struct http_reply reply;

    http_reply_init(&reply);
    registry_request(r, &a, &reply, NULL);
}

/* A HEAD is denied without a word: what an upload is denied with says why. 0: it is not denied. */
static int ask_why(struct registry *r, struct err *err)
{
    cleanup_free char *url = xasprintf("%s/blobs/uploads/", r->base);
    struct attempts a = {.q = {.url = url, .method = "POST", .timeout_ms = MANIFEST_TIMEOUT_MS}};
    cleanup_reply struct http_reply reply;

    http_reply_init(&reply);
    if (registry_request(r, &a, &reply, err) < 0)
        return -1;
    if (reply.location)
        forget_upload(r, reply.location);
    return 0;
}

int registry_has_blob(struct registry *r, const char *digest, struct err *err)
{
    cleanup_free char *url = xasprintf("%s/blobs/%s", r->base, digest);
    struct attempts a = {
        .q = {.url = url, .method = "HEAD", .timeout_ms = MANIFEST_TIMEOUT_MS},
        .also = 404,
    };
    struct err why cleanup_err = ERR_INIT;
    cleanup_reply struct http_reply reply;

    http_reply_init(&reply);
    if (registry_request(r, &a, &reply, &why) == 0)
        return reply.status != 404;
    return why.code == REGISTRY_DENIED && reply.status ? ask_why(r, err) : err_move(err, &why);
}

int registry_mount_blob(struct registry *r, const char *digest, const char *from, struct err *err)
{
    cleanup_free char *url = xasprintf("%s/blobs/uploads/?mount=%s&from=%s", r->base, digest, from);
    struct attempts a = {.q = {.url = url, .method = "POST", .timeout_ms = MANIFEST_TIMEOUT_MS}, .also = 404};
    struct err why cleanup_err = ERR_INIT;
    cleanup_reply struct http_reply reply;

    http_reply_init(&reply);
    if (registry_request(r, &a, &reply, &why) < 0) {
        /* Who may not read there may still write here. */
        return why.code == REGISTRY_DENIED || why.code == REGISTRY_SERVER || why.code == REGISTRY_NOT_FOUND
                   ? 0
                   : err_move(err, &why);
    }
    if (reply.status == 201)
        return 1;
    if (reply.status == 202 && reply.location)
        forget_upload(r, reply.location);
    return 0;
}

/* ---- one upload ---- */

struct upload {
    struct registry *r;
    const struct registry_upload *blob;
    char *url;  /* where to send the rest */
    int64_t at; /* what the registry has */
};

/* POST: the registry says where to send it. */
static int begin(struct upload *u, struct err *err)
{
    cleanup_free char *url = xasprintf("%s/blobs/uploads/", u->r->base);
    struct attempts a = {.q = {.url = url, .method = "POST", .timeout_ms = MANIFEST_TIMEOUT_MS}};
    cleanup_reply struct http_reply reply;

    http_reply_init(&reply);
    if (registry_request(u->r, &a, &reply, err) < 0)
        return -1;
    if (!reply.location)
        return no_location(err);
    free(u->url);
    u->url = absolute(u->r, reply.location);
    u->at = 0;
    return 0;
}

/* The next place that the registry named, if it did. */
static void move_on(struct upload *u, const struct http_reply *reply)
{
    if (!reply->location)
        return;
    free(u->url);
    u->url = absolute(u->r, reply->location);
}

/* After a broken transfer: how much arrived. 1 = known, 0 = begin anew, -1 = err. */
static int ask_where(struct upload *u, struct err *err)
{
    struct attempts a = {.q = {.url = u->url, .method = "GET", .timeout_ms = MANIFEST_TIMEOUT_MS}, .also = 404};
    cleanup_reply struct http_reply reply;

    http_reply_init(&reply);
    if (registry_request(u->r, &a, &reply, err) < 0)
        return err && err->code == REGISTRY_CANCELLED ? -1 : 0;
    /* "0-0" is said of one byte and of none. */
    if (reply.status == 404 || reply.range_end <= 0 || reply.range_end >= u->blob->size)
        return 0;
    move_on(u, &reply);
    u->at = reply.range_end + 1;
    return 1;
}

static void on_sent(int64_t total, void *arg)
{
    const struct upload *u = arg;

    if (u->blob->sent)
        u->blob->sent(u->at + total, u->blob->sent_arg);
}

/* PATCH of what is missing. 1 = all of it is there, 0 = begin anew, -1 = err. */
static int send_rest(struct upload *u, struct err *err)
{
    const struct registry_upload *b = u->blob;
    struct http_body body = {
        .bytes = b->bytes, .fd = b->fd, .type = "application/octet-stream", .sent = on_sent, .sent_arg = u};
    struct attempts a = {.q = {.method = "PATCH", .body = &body}};
    cleanup_reply struct http_reply reply;
    int ret;

    http_reply_init(&reply);
    for (;;) {
        int64_t before = u->at;
        int failures = a.failures, there;

        body.offset = u->at;
        body.len = b->size - u->at;
        a.q.url = u->url;
        a.q.range_start = u->at;
        ret = registry_attempt(u->r, &a, &reply, err);
        if (ret > 0)
            break;
        if (ret < 0)
            return reply.status == 404 || reply.status == 416 ? 0 : -1;
        if (a.failures == failures)
            continue; /* only a login was missing */
        there = ask_where(u, err);
        if (there <= 0)
            return there;
        if (u->at > before)
            a.failures = 0;
        if (u->at == b->size)
            return 1;
    }
    move_on(u, &reply);
    return 1;
}

/* PUT: ends the upload, with the bytes themselves when they are few. 1, or 0 = begin anew, or -1. */
static int finish(struct upload *u, bool with_bytes, struct err *err)
{
    const struct registry_upload *b = u->blob;
    cleanup_free char *url = xasprintf("%s%sdigest=%s", u->url, strchr(u->url, '?') ? "&" : "?", b->digest);
    struct http_body body = {.bytes = b->bytes,
                             .fd = b->fd,
                             .len = b->size,
                             .type = "application/octet-stream",
                             .sent = on_sent,
                             .sent_arg = u};
    struct attempts a = {.q = {.url = url, .method = "PUT", .body = with_bytes ? &body : NULL}, .also = 404};
    cleanup_reply struct http_reply reply;

    http_reply_init(&reply);
    if (registry_request(u->r, &a, &reply, err) < 0)
        return -1;
    if (reply.status == 404) /* an attempt that got no answer may have ended it */
        return registry_has_blob(u->r, b->digest, err);
    if (reply.digest && strcmp(reply.digest, b->digest) != 0) {
        err_set(err, 0, "the registry has stored %s for %s", reply.digest, b->digest);
        return registry_fail(err, REGISTRY_CORRUPT);
    }
    return 1;
}

int registry_upload_blob(struct registry *r, const struct registry_upload *blob, struct err *err)
{
    struct upload u = {.r = r, .blob = blob};
    bool small = blob->size <= SMALL_BLOB;
    struct err why cleanup_err = ERR_INIT;
    int ret = 0;

    for (int starts = 0; ret == 0 && starts < MAX_STARTS; starts++) {
        err_clear(&why);
        ret = begin(&u, &why);
        if (ret == 0)
            ret = small ? 1 : send_rest(&u, &why);
        if (ret > 0)
            ret = finish(&u, small, &why);
    }
    free(u.url);
    if (ret > 0)
        return 0;
    if (!why.msg) {
        err_set(&why, 0, "blob upload unknown: the registry loses what is sent to it");
        registry_fail(&why, REGISTRY_SERVER);
    }
    return err_move(err, &why);
}

/* ---- manifests ---- */

int registry_put_manifest(struct registry *r, const char *what, const char *text, const char *type, char **ret_digest,
                          struct err *err)
{
    cleanup_free char *url = xasprintf("%s/manifests/%s", r->base, what);
    struct http_body body = {.bytes = text, .len = (int64_t)strlen(text), .type = type};
    const struct attempts fresh = {
        .q = {.url = url, .method = "PUT", .body = &body, .timeout_ms = 2 * MANIFEST_TIMEOUT_MS}};
    cleanup_reply struct http_reply reply;
    char hex[DIGEST_HEX + 1];

    http_reply_init(&reply);
    for (int tries = 1;; tries++) {
        struct err why cleanup_err = ERR_INIT;
        struct attempts a = fresh;

        if (registry_request(r, &a, &reply, &why) == 0)
            break;
        if (reply.status != 400 || tries == MANIFEST_TRIES)
            return err_move(err, &why);
        registry_pause(r, MANIFEST_PAUSE_MS << tries);
        http_reply_clear(&reply);
    }
    digest_of(text, strlen(text), hex);
    if (digest_strip(reply.digest) && strcmp(digest_strip(reply.digest), hex) != 0) {
        err_set(err, 0, "the registry has stored the manifest as %s, which is not what was sent", reply.digest);
        return registry_fail(err, REGISTRY_CORRUPT);
    }
    if (ret_digest)
        *ret_digest = xasprintf(DIGEST_PREFIX "%s", hex);
    return 0;
}

void registry_document_clear(struct registry_document *d)
{
    free(d->text);
    free(d->media_type);
    free(d->digest);
    *d = (struct registry_document){0};
}

int registry_manifest(struct registry *r, const char *what, struct registry_document *ret, struct err *err)
{
    bool by_digest = what ? digest_strip(what) != NULL : r->from.digest != NULL;
    const char *tag = by_digest ? NULL : what ? what : r->from.tag;
    const char *digest = by_digest ? what ? what : r->from.digest : NULL;

    return registry_get_manifest(r, tag, digest, ret, err);
}

/* Where the next page of a list is; NULL: there is none. "Link: </v2/x/tags/list?last=b>; rel="next"". */
static char *next_page(const struct registry *r, const char *link)
{
    const char *end = link && *link == '<' && strstr(link, "rel=\"next\"") ? strchr(link, '>') : NULL;
    cleanup_free char *where = end ? xstrndup(link + 1, (size_t)(end - link - 1)) : NULL;

    return where ? absolute(r, where) : NULL;
}

/* Adds a page's tags. */
static int read_tags(const struct http_reply *reply, struct strlist *ret, struct err *err)
{
    json_t *j = json_loadb(reply->body.data, reply->body.len, 0, NULL);
    const json_t *tags = json_object_get(j, "tags"), *tag;
    size_t i;

    if (!json_is_object(j)) {
        json_decref(j);
        err_set(err, 0, "the registry's list of tags is none");
        return registry_fail(err, REGISTRY_CORRUPT);
    }
    json_array_foreach(tags, i, tag)
    {
        if (json_is_string(tag) && strlen(json_string_value(tag)) <= 128 && ret->len < MAX_TAGS)
            strlist_add(ret, json_string_value(tag));
    }
    json_decref(j);
    return 0;
}

int registry_tags(struct registry *r, struct strlist *ret, struct err *err)
{
    char *url = xasprintf("%s/tags/list", r->base);
    int result = 0;

    for (int page = 0; url && page < MAX_PAGES && ret->len < MAX_TAGS && result == 0; page++) {
        struct attempts a = {.q = {.url = url, .timeout_ms = MANIFEST_TIMEOUT_MS}};
        cleanup_reply struct http_reply reply;

        http_reply_init(&reply);
        result = registry_request(r, &a, &reply, err);
        if (result == 0)
            result = read_tags(&reply, ret, err);
        free(url);
        url = next_page(r, reply.link);
    }
    free(url);
    return result;
}

/* ---- login ---- */

int registry_login(const char *host, const char *user, const char *password, struct err *err)
{
    /* A word without a dot would be read as a repository's name. */
    bool bare = !strpbrk(host, ".:") && strcmp(host, "localhost") != 0;
    cleanup_free char *name = xasprintf("%s%s/login", host, bare ? ":443" : ""), *url = NULL;
    struct registry_options options = {.user = user, .password = password};
    struct registry *r = registry_open(name, &options, err);
    struct attempts a = {.q = {.timeout_ms = MANIFEST_TIMEOUT_MS}};
    cleanup_reply struct http_reply reply;
    int ret;

    http_reply_init(&reply);
    if (!r)
        return -1;
    r->asks_nothing = true;
    a.q.url = url = root_of(r);
    if (bare || strncmp(r->named.domain, host, strlen(host)) == 0)
        ret = registry_request(r, &a, &reply, err);
    else
        ret = err_set(err, 0, "%s is not the name of a registry", host);
    registry_free(r);
    return ret;
}
