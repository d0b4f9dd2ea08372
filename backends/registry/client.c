#include "backends/registry/client.h"

#include "backends/registry/challenge.h"
#include "backends/registry/client_private.h"
#include "backends/registry/digest.h"
#include "backends/registry/manifest.h"
#include "backends/registry/push.h"
#include "backends/registry/token.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FIRST_PAUSE_MS  250 /* doubles each time: 250, 500, 1000, 2000 */
#define MAX_RETRY_AFTER 60  /* seconds: a registry that asks for more is not waited for */
#define HUB             "docker.io"
#define HUB_API         "registry-1.docker.io" /* where docker.io keeps its registry */

int registry_fail(struct err *err, enum registry_error code)
{
    if (err)
        err->code = code;
    return -1;
}

/* Registries spoken to over http: this machine's, and those that the user declared. */
static bool plain_http(const struct registry_options *o, const char *host)
{
    cleanup_free char *name = xstrndup(host, strcspn(host, *host == '[' ? "]" : ":"));

    if (http_is_local(host))
        return true;
    return o->insecure && (strlist_has(o->insecure, host) || strlist_has(o->insecure, name));
}

/* The reference's name as Docker prints it, without tag and digest. */
static char *name_only(const struct reference *ref)
{
    struct reference bare = {.domain = ref->domain, .path = ref->path};

    return reference_familiar(&bare);
}

DEFINE_CLEANUP(struct registry *, registry_free)

struct registry *registry_open(const char *reference, const struct registry_options *options, struct err *err)
{
    cleanup_with(registry_freep) struct registry *r = xcalloc(1, sizeof(*r));
    const char *host;

    if (options)
        r->options = *options;
    pthread_mutex_init(&r->lock, NULL);
    r->http = http_new(r->options.cancelled);
    if (reference_parse(reference, &r->named, err) < 0) {
        registry_fail(err, REGISTRY_BAD_REFERENCE);
        return NULL;
    }
    reference_add_latest(&r->named);
    if (r->options.mirrors) {
        mirror_apply(r->options.mirrors, &r->named, &r->from);
    } else {
        static const struct strlist none = STRLIST_INIT;

        mirror_apply(&none, &r->named, &r->from);
    }
    r->familiar = reference_familiar(&r->named);
    r->familiar_name = name_only(&r->named);
    host = strcmp(r->from.domain, HUB) == 0 ? HUB_API : r->from.domain;
    if (r->options.push) {
        strlist_addf(&r->scopes, "repository:%s:pull,push", r->from.path);
        for (size_t i = 0; r->options.mount_from && i < r->options.mount_from->len; i++)
            strlist_addf(&r->scopes, "repository:%s:pull", r->options.mount_from->items[i]);
    }
    r->base = xasprintf("%s://%s/v2/%s", plain_http(&r->options, host) ? "http" : "https", host, r->from.path);
    return steal(&r);
}

void registry_free(struct registry *r)
{
    if (!r)
        return;
    reference_clear(&r->named);
    reference_clear(&r->from);
    free(r->familiar);
    free(r->familiar_name);
    free(r->base);
    strlist_clear(&r->scopes);
    free(r->authorization);
    free(r->user);
    free(r->password);
    http_free(r->http);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* Sleeps in small steps, so that a cancelled pull ends at once. */
void registry_pause(const struct registry *r, long ms)
{
    for (; ms > 0; ms -= 50) {
        struct timespec step = {0, (ms < 50 ? ms : 50) * 1000000L};

        if (r->options.cancelled && atomic_load(r->options.cancelled))
            return;
        nanosleep(&step, NULL);
    }
}

/* What to log in with, looked up once. The user's own pair is for the reference's own host and for no mirror. */
static int find_credentials(struct registry *r, struct err *err)
{
    bool own = strcmp(r->named.domain, r->from.domain) == 0;

    if (r->credentials_known)
        return 0;
    if (r->options.user && own) {
        r->user = xstrdup(r->options.user);
        r->password = xstrdup(r->options.password);
    } else if (r->options.credentials) {
        if (r->options.credentials(r->from.domain, &r->user, &r->password, r->options.credentials_arg, err) < 0)
            return -1;
    }
    r->credentials_known = true;
    return 0;
}

/* Answers a 401: a new Authorization, unless another thread has brought one since used was sent. */
static int log_in(struct registry *r, const char *used, const struct http_reply *reply, struct err *err)
{
    struct challenge challenge;
    struct login login;
    char *fresh = NULL;
    int ret;

    pthread_mutex_lock(&r->lock);
    if (r->authorization && (!used || strcmp(used, r->authorization) != 0)) {
        pthread_mutex_unlock(&r->lock);
        return 0;
    }
    challenge_parse(&reply->challenges, &challenge);
    ret = find_credentials(r, err);
    if (ret == 0) {
        login = (struct login){.user = r->user,
                               .password = r->password,
                               .repository = r->asks_nothing ? NULL : r->from.path,
                               .scopes = &r->scopes};
        ret = token_authorization(r->http, &challenge, &login, &fresh, err);
    }
    if (ret == 0) {
        free(r->authorization);
        r->authorization = fresh;
    }
    pthread_mutex_unlock(&r->lock);
    challenge_clear(&challenge);
    return ret;
}

static char *current_authorization(struct registry *r)
{
    char *copy;

    pthread_mutex_lock(&r->lock);
    copy = xstrdup(r->authorization);
    pthread_mutex_unlock(&r->lock);
    return copy;
}

/* What a status is called where Docker says it. */
static const char *status_text(long status)
{
    static const struct {
        long status;
        const char *text;
    } texts[] = {
        {401, " Unauthorized"},
        {403, " Forbidden"},
        {404, " Not Found"},
        {429, " Too Many Requests"},
        {500, " Internal Server Error"},
        {502, " Bad Gateway"},
        {503, " Service Unavailable"},
        {504, " Gateway Timeout"},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].status == status)
            return texts[i].text;
    }
    return "";
}

/* An answer that is none of the good ones, in Docker's words. */
static int refused(struct registry *r, const char *url, const struct http_reply *reply, struct err *err)
{
    cleanup_free char *code = NULL;
    cleanup_free char *message = NULL;

    if (r->asks_nothing) {
        err_set(err, 0, "login attempt to %s failed with status: %ld%s", url, reply->status,
                status_text(reply->status));
        return registry_fail(err, reply->status == 401 ? REGISTRY_DENIED : REGISTRY_SERVER);
    }
    manifest_error(reply->body.data, reply->body.len, &code, &message);
    if (r->options.push && (message || reply->status == 401 || reply->status == 403)) {
        bool denied = reply->status == 401 || reply->status == 403;

        err_set(err, 0, "%s", message ? message : "denied: requested access to the resource is denied");
        return registry_fail(err, denied                 ? REGISTRY_DENIED
                                  : reply->status == 404 ? REGISTRY_NOT_FOUND
                                                         : REGISTRY_SERVER);
    }
    if (reply->status == 401 || reply->status == 403 || (code && strcmp(code, "DENIED") == 0)) {
        err_set(err, 0, "pull access denied for %s, repository does not exist or may require 'docker login': %s",
                r->familiar_name, message ? message : "denied: requested access to the resource is denied");
        return registry_fail(err, REGISTRY_DENIED);
    }
    if (code && strcmp(code, "NAME_UNKNOWN") == 0) {
        err_set(err, 0, "repository %s not found: %s", r->familiar_name, message);
        return registry_fail(err, REGISTRY_NOT_FOUND);
    }
    if (reply->status == 404 && strstr(url, "/manifests/")) {
        err_set(err, 0, "manifest for %s not found: %s", r->familiar,
                message ? message : "manifest unknown: manifest unknown");
        return registry_fail(err, REGISTRY_NOT_FOUND);
    }
    if (reply->status == 404) {
        err_set(err, 0, "Get \"%s\": %s", url, message ? message : "blob unknown: blob unknown to registry");
        return registry_fail(err, REGISTRY_NOT_FOUND);
    }
    if (reply->status == 429) {
        err_set(err, 0, "%s", message ? message : "toomanyrequests: too many requests");
        return registry_fail(err, REGISTRY_SERVER);
    }
    err_set(err, 0, "received unexpected HTTP status: %ld%s from \"%s\"%s%s", reply->status, status_text(reply->status),
            url, message ? ": " : "", message ? message : "");
    return registry_fail(err, REGISTRY_SERVER);
}

/* How long to wait before the next attempt; -1 when it is not worth it. */
static long pause_before(int attempt, const struct http_reply *reply)
{
    if (attempt + 1 >= MAX_ATTEMPTS)
        return -1;
    if (reply->retry_after > MAX_RETRY_AFTER)
        return -1;
    if (reply->retry_after >= 0)
        return reply->retry_after * 1000L;
    return (long)FIRST_PAUSE_MS << attempt;
}

/* A login that failed is told with the URL that wanted it, or as Docker tells a private repository. */
static int login_failed(struct registry *r, const char *url, struct err *err)
{
    if (!err || err->code != REGISTRY_DENIED || r->options.push)
        return -1;
    if (strncmp(err->msg, "denied", 6) == 0 && !r->asks_nothing)
        err_wrap(err, "pull access denied for %s, repository does not exist or may require 'docker login'",
                 r->familiar_name);
    else
        err_wrap(err, "Get \"%s\"", url);
    return registry_fail(err, REGISTRY_DENIED);
}

/* Whether the answer is what was hoped for. */
static bool is_good(const struct attempts *a, long status)
{
    if (a->q.method)
        return (status >= 200 && status < 300) || status == a->also;
    return status == 200 || status == 206 || status == a->also;
}

int registry_attempt(struct registry *r, struct attempts *a, struct http_reply *reply, struct err *err)
{
    cleanup_free char *authorization = current_authorization(r);
    struct err why cleanup_err = ERR_INIT;
    long wait;
    bool again;

    /* An upload may be sent to another place, which has no business with what opens this one. */
    a->q.authorization = http_same_place(a->q.url, r->base) ? authorization : NULL;
    if (http_do(r->http, &a->q, reply, &again, &why) < 0) {
        wait = again ? pause_before(a->failures++, reply) : -1;
        if (wait < 0)
            return err_move(err, &why);
        registry_pause(r, wait);
        return 0;
    }
    if (is_good(a, reply->status))
        return 1;
    if (reply->status == 401 && !a->logged_in && reply->challenges.len && http_same_place(a->q.url, r->base)) {
        a->logged_in = true;
        return log_in(r, authorization, reply, err) < 0 ? login_failed(r, a->q.url, err) : 0;
    }
    wait = reply->status == 429 || reply->status >= 500 ? pause_before(a->failures++, reply) : -1;
    if (wait < 0)
        return refused(r, a->q.url, reply, err);
    registry_pause(r, wait);
    return 0;
}

int registry_request(struct registry *r, struct attempts *a, struct http_reply *reply, struct err *err)
{
    int ret;

    while ((ret = registry_attempt(r, a, reply, err)) == 0)
        ;
    return ret < 0 ? -1 : 0;
}

/* A whole small document. */
static int get_document(struct registry *r, const char *url, struct http_reply *reply, struct err *err)
{
    struct attempts a = {.q = {.url = url, .accept = manifest_accept, .timeout_ms = MANIFEST_TIMEOUT_MS}};

    return registry_request(r, &a, reply, err);
}

/* A blob on its way: how far it is, and its digest so far. */
struct download {
    registry_sink_fn *sink;
    void *sink_arg;
    struct digest *digest;
    int64_t got, size;
};

static int on_blob(const void *bytes, size_t len, void *arg, struct err *err)
{
    struct download *d = arg;

    if (d->size >= 0 && (int64_t)len > d->size - d->got) {
        err_set(err, 0, "the blob is larger than its %lld bytes", (long long)d->size);
        return registry_fail(err, REGISTRY_CORRUPT);
    }
    digest_add(d->digest, bytes, len);
    d->got += (int64_t)len;
    return d->sink(bytes, len, d->sink_arg, err);
}

/* Fetches what is missing until the blob is whole; a transfer that moved is a new beginning for the count of failures.
 */
static int download(struct registry *r, const char *url, struct download *d, struct err *err)
{
    struct attempts a = {.q = {.url = url, .sink = on_blob, .sink_arg = d}};
    struct http_reply reply;
    int ret = 0;

    http_reply_init(&reply);
    do {
        int64_t before = d->got;

        a.q.range_from = d->got;
        if (d->size >= 0 && d->got == d->size && d->got > 0)
            break; /* the last byte came although the transfer broke */
        ret = registry_attempt(r, &a, &reply, err);
        if (d->got > before) {
            a.failures = 0;
            a.logged_in = false;
        }
    } while (ret == 0);
    http_reply_clear(&reply);
    return ret < 0 ? -1 : 0;
}

int registry_blob_read(struct registry *r, const char *digest, int64_t size, registry_sink_fn *sink, void *arg,
                       struct err *err)
{
    struct download d = {.sink = sink, .sink_arg = arg, .size = size};
    cleanup_free char *url = xasprintf("%s/blobs/%s", r->base, digest);
    char hex[DIGEST_HEX + 1] = "";
    const char *want = digest_strip(digest);
    int ret;

    if (!want) {
        err_set(err, 0, "invalid digest \"%s\"", digest);
        return registry_fail(err, REGISTRY_CORRUPT);
    }
    d.digest = digest_new();
    ret = download(r, url, &d, err);
    digest_hex(d.digest, hex);
    digest_free(d.digest);
    if (ret < 0)
        return -1;
    if (size >= 0 && d.got != size) {
        err_set(err, 0, "filesystem layer verification failed for digest %s: %lld of %lld bytes", digest,
                (long long)d.got, (long long)size);
        return registry_fail(err, REGISTRY_CORRUPT);
    }
    if (strcmp(hex, want) != 0) {
        err_set(err, 0, "filesystem layer verification failed for digest %s", digest);
        return registry_fail(err, REGISTRY_CORRUPT);
    }
    return 0;
}

static int write_sink(const void *bytes, size_t len, void *arg, struct err *err)
{
    const char *p = bytes;
    const int *fd = arg;

    while (len) {
        ssize_t n = write(*fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, 0, errno, "writing a layer");
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int registry_blob(struct registry *r, const char *digest, int64_t size, int fd, struct err *err)
{
    return registry_blob_read(r, digest, size, write_sink, &fd, err);
}

static int buf_sink(const void *bytes, size_t len, void *arg, struct err *err)
{
    if (buf_add(arg, bytes, len) == 0)
        return 0;
    err_set(err, 0, "the image's configuration is larger than %u bytes", LIMIT_MANIFEST);
    return registry_fail(err, REGISTRY_CORRUPT);
}

char *registry_small_blob(struct registry *r, const char *digest, int64_t size, struct err *err)
{
    struct buf text cleanup_buf = BUF_INIT(LIMIT_MANIFEST);

    return registry_blob_read(r, digest, size, buf_sink, &text, err) < 0 ? NULL : buf_detach(&text);
}

/* One manifest by tag or digest: its text, checked against the digest where one is known, and that digest. */
static int get_manifest(struct registry *r, const char *tag, const char *digest, struct http_reply *reply,
                        char **ret_digest, struct err *err)
{
    cleanup_free char *url = xasprintf("%s/manifests/%s", r->base, digest ? digest : tag);
    char hex[DIGEST_HEX + 1];

    if (get_document(r, url, reply, err) < 0)
        return -1;
    digest_of(reply->body.data, reply->body.len, hex);
    if (!digest)
        digest = digest_strip(reply->digest) ? reply->digest : NULL;
    if (digest && strcmp(digest_strip(digest) ? digest_strip(digest) : "", hex) != 0) {
        err_set(err, 0, "manifest verification failed for digest %s", digest);
        return registry_fail(err, REGISTRY_CORRUPT);
    }
    *ret_digest = xasprintf(DIGEST_PREFIX "%s", hex);
    return 0;
}

int registry_get_manifest(struct registry *r, const char *tag, const char *digest, struct registry_document *ret,
                          struct err *err)
{
    struct http_reply reply;
    int result;

    http_reply_init(&reply);
    result = get_manifest(r, tag, digest, &reply, &ret->digest, err);
    if (result == 0) {
        ret->media_type = manifest_type_of(reply.body.data, reply.body.len, reply.content_type);
        ret->text = buf_detach(&reply.body);
    }
    http_reply_clear(&reply);
    return result;
}

/* The manifest of the image itself, through an index when there is one. */
static int find_manifest(struct registry *r, const struct registry_platform *platform, struct http_reply *reply,
                         struct registry_image *image, struct err *err)
{
    enum manifest_kind kind;

    if (get_manifest(r, r->from.tag, r->from.digest, reply, &image->digest, err) < 0)
        return -1;
    image->manifest_digest = xstrdup(image->digest);
    for (int depth = 0; depth < 3; depth++) {
        cleanup_free char *chosen = NULL;

        if (manifest_kind_of(reply->body.data, reply->body.len, reply->content_type, &kind, err) < 0)
            return -1;
        if (kind == MANIFEST_IMAGE)
            return 0;
        if (manifest_choose(reply->body.data, reply->body.len, platform, &chosen, err) < 0)
            return -1;
        free(steal(&image->manifest_digest));
        if (get_manifest(r, NULL, chosen, reply, &image->manifest_digest, err) < 0)
            return -1;
    }
    err_set(err, 0, "invalid manifest: indexes within indexes");
    return registry_fail(err, REGISTRY_CORRUPT);
}

int registry_image(struct registry *r, const struct registry_platform *platform, struct registry_image *ret,
                   struct err *err)
{
    struct registry_image image = REGISTRY_IMAGE_INIT;
    struct buf config cleanup_buf = BUF_INIT(LIMIT_MANIFEST);
    struct http_reply reply;
    int64_t config_size = -1;
    int result;

    http_reply_init(&reply);
    result = find_manifest(r, platform, &reply, &image, err);
    if (result == 0)
        result = manifest_parse(reply.body.data, reply.body.len, &image, &config_size, err);
    if (result == 0)
        result = registry_blob_read(r, image.config_digest, config_size, buf_sink, &config, err);
    if (result == 0) {
        image.name = xstrdup(r->familiar);
        image.manifest_type = manifest_type_of(reply.body.data, reply.body.len, reply.content_type);
        image.manifest = buf_detach(&reply.body);
        image.config = buf_detach(&config);
        *ret = image;
    } else {
        registry_image_clear(&image);
    }
    http_reply_clear(&reply);
    return result;
}

void registry_image_clear(struct registry_image *image)
{
    for (size_t i = 0; i < image->layers_len; i++) {
        free(image->layers[i].digest);
        free(image->layers[i].media_type);
    }
    free(image->layers);
    free(image->name);
    free(image->digest);
    free(image->manifest_digest);
    free(image->manifest);
    free(image->manifest_type);
    free(image->config_digest);
    free(image->config);
    *image = (struct registry_image)REGISTRY_IMAGE_INIT;
}

int registry_image_config(const char *reference, const struct registry_platform *platform,
                          const struct registry_options *options, struct registry_image *ret, struct err *err)
{
    struct registry *r = registry_open(reference, options, err);
    int result;

    if (!r)
        return -1;
    result = registry_image(r, platform, ret, err);
    registry_free(r);
    return result;
}
