#include "backends/modal/image.h"

#include "backends/modal/internal.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/tame.h"
#include "compat/base/limits.h"
#include "compat/base/sha256.h"
#include "compat/sys/loop.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIND          "image"
#define KIND_DIGEST   "mount-digest" /* written by mount.c */
#define JOIN_S        55.0f          /* one turn of the log stream on the server (protocol 3.3) */
#define JOIN_FAILURES 3              /* streams in a row that broke without news */
#define JOIN_PAUSE_MS 500
#define CANCEL_MS     100  /* how soon a wish to end is seen that came between a look at it and the wait */
#define LAST_WORDS    400u /* of the log, for the message of a failed build */

static const struct modal_method image_get_or_create = {
    .path = MODAL_CONTROL(ImageGetOrCreate),
    .reply = &modal__client__image_get_or_create_response__descriptor,
};

void modal_image_clear(struct modal_image *image)
{
    free(image->id);
    free(image->workdir);
    *image = (struct modal_image)MODAL_IMAGE_INIT;
}

void modal_image_spec_clear(struct modal_image_spec *spec)
{
    strlist_clear(&spec->commands);
    strlist_clear(&spec->add_hosts);
    strlist_clear(&spec->labels);
    strlist_clear(&spec->build_args);
    strlist_clear(&spec->secret_ids);
}

/* The spec as the protocol's message, and what it borrows. */
struct definition {
    Modal__Client__Image image;
    Modal__Client__BaseImage *bases, **base_pointers;
    Modal__Client__ImageRegistryConfig registry;
    Modal__Client__GPUConfig gpu;
    struct modal_entries args;
};

static void undefine(struct definition *d)
{
    modal_entries_clear(&d->args);
    free(d->bases);
    free(d->base_pointers);
}

/* The images that names of the lines mean. */
static void define_bases(struct definition *d, const struct modal_image_spec *spec)
{
    size_t n = 0;

    d->bases = xcalloc(spec->bases_len + 1, sizeof(*d->bases));
    d->base_pointers = xcalloc(spec->bases_len + 1, sizeof(struct Modal__Client__BaseImage *));
    for (size_t i = 0; i <= spec->bases_len; i++) {
        if (!i && !spec->base_image_id)
            continue;
        modal__client__base_image__init(&d->bases[n]);
        d->bases[n].image_id = i ? spec->bases[i - 1].id : (char *)spec->base_image_id;
        d->bases[n].docker_tag = i ? spec->bases[i - 1].tag : (char *)"base";
        d->base_pointers[n] = &d->bases[n];
        n++;
    }
    d->image.n_base_images = n;
    d->image.base_images = d->base_pointers;
}

static void define(struct definition *d, const struct modal_image_spec *spec)
{
    *d = (struct definition){0};
    modal__client__image__init(&d->image);
    modal__client__image_registry_config__init(&d->registry);
    modal__client__gpuconfig__init(&d->gpu);
    modal_entries_make(&d->args, &spec->build_args);
    d->image.n_dockerfile_commands = spec->commands.len;
    d->image.dockerfile_commands = spec->commands.items;
    d->image.n_secret_ids = spec->secret_ids.len;
    d->image.secret_ids = spec->secret_ids.items;
    d->image.context_mount_id = (char *)spec->context_mount_id;
    d->image.gpu_config = &d->gpu;
    d->image.n_build_args = d->args.len;
    d->image.build_args = d->args.pointers;
    d->image.n_atp_add_hosts = spec->add_hosts.len;
    d->image.atp_add_hosts = spec->add_hosts.items;
    d->image.n_atp_labels = spec->labels.len;
    d->image.atp_labels = spec->labels.items;
    define_bases(d, spec);
    if (spec->registry_secret_id) {
        d->registry.has_registry_auth_type = 1;
        d->registry.registry_auth_type = MODAL__CLIENT__REGISTRY_AUTH_TYPE__REGISTRY_AUTH_TYPE_STATIC_CREDS;
        d->registry.secret_id = (char *)spec->registry_secret_id;
        d->image.image_registry_config = &d->registry;
    }
}

/*
 * The name under which the layer is remembered: its definition, with the contents of its context in place of the
 * mount's id, which changes from day to day.
 */
static void cache_name(struct modal_client *c, const struct modal_image_spec *spec, char hex[2 * SHA256_LEN + 1])
{
    cleanup_free char *context = NULL;
    cleanup_free uint8_t *packed = NULL;
    struct definition d;
    uint8_t digest[SHA256_LEN];
    size_t len;

    define(&d, spec);
    if (spec->context_mount_id)
        context = modal_cached(c, KIND_DIGEST, spec->context_mount_id);
    if (context)
        d.image.context_mount_id = context;
    len = modal__client__image__get_packed_size(&d.image);
    packed = xmalloc(len + 1);
    modal__client__image__pack(&d.image, packed);
    sha256(packed, len, digest);
    sha256_hex(digest, hex);
    undefine(&d);
}

/* The cache holds "<id>" or "<id> <workdir>". */
static bool recall(struct modal_client *c, const char *name, struct modal_image *ret_image)
{
    char *value = modal_cached(c, KIND, name), *space = value ? strchr(value, ' ') : NULL;

    if (!value)
        return false;
    if (space)
        *space++ = '\0';
    *ret_image = (struct modal_image){.id = value, .workdir = xstrdup(space)};
    return true;
}

static void remember(struct modal_client *c, const char *name, const struct modal_image *image)
{
    cleanup_free char *value = image->workdir ? xasprintf("%s %s", image->id, image->workdir) : xstrdup(image->id);

    modal_remember(c, KIND, name, value, MODAL_CACHE_MONTH);
}

void modal_image_forget(struct modal_client *c, const struct modal_image_spec *spec)
{
    char name[2 * SHA256_LEN + 1];

    cache_name(c, spec, name);
    modal_forget(c, KIND, name);
}

/* A build that somebody follows. */
struct join {
    struct modal_client *c;
    modal_log_fn *log;
    void *log_arg;
    const volatile sig_atomic_t *cancelled;
    struct modal_image *image;
    struct buf last; /* the log's end */
    char *entry;     /* where the log goes on */
    bool news;       /* this stream brought something */
    bool ended;      /* this stream */
    bool finished;   /* the build */
    int status;      /* GenericStatus */
    char *exception;
    int grpc_status;
    char *grpc_message;
};

static void set_string(char **to, const char *from)
{
    free(*to);
    *to = xstrdup(from);
}

static void take_metadata(struct modal_image *image, const Modal__Client__ImageMetadata *metadata)
{
    if (metadata && metadata->workdir && *metadata->workdir)
        set_string(&image->workdir, metadata->workdir);
}

/* True if the result says that it is over. */
static bool take_result(struct join *j, const Modal__Client__GenericResult *result)
{
    if (!result || !result->has_status || !result->status)
        return false;
    j->finished = true;
    j->status = (int)result->status;
    if (result->exception && *result->exception)
        set_string(&j->exception, result->exception);
    return true;
}

static void take_progress(struct join *j, const Modal__Client__TaskProgress *p)
{
    cleanup_free char *text = xasprintf("%.100s %llu/%llu", p->description ? p->description : "",
                                        (unsigned long long)p->pos, (unsigned long long)p->len);

    if (j->log)
        j->log(j->log_arg, MODAL_LOG_PROGRESS, text);
}

/* Passes a piece of the log on and keeps the end of it for a message. */
static void take_log(struct join *j, const Modal__Client__TaskLogs *log)
{
    size_t len = log->data ? strlen(log->data) : 0;

    if (log->task_progress)
        take_progress(j, log->task_progress);
    if (!len)
        return;
    if (j->log)
        j->log(j->log_arg, log->has_file_descriptor ? (int)log->file_descriptor : 0, log->data);
    if (len > LAST_WORDS)
        buf_reset(&j->last);
    else if (j->last.len + len > LAST_WORDS)
        buf_consume(&j->last, j->last.len + len - LAST_WORDS);
    buf_add(&j->last, log->data + (len > LAST_WORDS ? len - LAST_WORDS : 0), len > LAST_WORDS ? LAST_WORDS : len);
}

static void on_join_message(struct grpc_call *call, const void *data, size_t len, void *arg)
{
    struct join *j = arg;
    cleanup_message Modal__Client__ImageJoinStreamingResponse *m =
        modal__client__image_join_streaming_response__unpack(NULL, len, data);

    (void)call;
    if (!m)
        return;
    j->news = true;
    if (m->entry_id && *m->entry_id)
        set_string(&j->entry, m->entry_id);
    for (size_t i = 0; i < m->n_task_logs; i++)
        take_log(j, m->task_logs[i]);
    take_metadata(j->image, m->metadata);
    take_result(j, m->result);
}

static void on_join_end(struct grpc_call *call, const struct grpc_result *result, void *arg)
{
    struct join *j = arg;

    (void)call;
    j->ended = true;
    j->grpc_status = result->status;
    set_string(&j->grpc_message, result->message);
}

static bool is_cancelled(const struct join *j)
{
    return j->cancelled && *j->cancelled;
}

/* One turn of the stream, to its end: logs may follow the result. */
static void join_once(struct join *j)
{
    static const struct grpc_handlers handlers = {.on_message = on_join_message, .on_end = on_join_end};
    Modal__Client__ImageJoinStreamingRequest request = MODAL__CLIENT__IMAGE_JOIN_STREAMING_REQUEST__INIT;
    cleanup_strlist struct strlist metadata = STRLIST_INIT;
    cleanup_free uint8_t *packed = NULL;
    struct grpc_call *call;
    size_t len;

    request.image_id = j->image->id;
    request.has_timeout = 1;
    request.timeout = JOIN_S;
    request.last_entry_id = j->entry ? j->entry : (char *)"";
    len = modal__client__image_join_streaming_request__get_packed_size(&request);
    packed = xmalloc(len + 1);
    modal__client__image_join_streaming_request__pack(&request, packed);
    strlist_copy(&metadata, &j->c->metadata);
    j->news = j->ended = false;
    call = grpc_call_start(j->c->control.channel, MODAL_CONTROL(ImageJoinStreaming), &metadata,
                           (int64_t)JOIN_S * 1000 + 2 * (int64_t)j->c->lost_ms, &handlers, j);
    grpc_call_send(call, packed, len);
    grpc_call_finish(call);
    while (!j->ended && !is_cancelled(j))
        loop_step(j->c->loop, j->cancelled ? CANCEL_MS : -1);
    if (!j->ended)
        grpc_call_cancel(call);
}

static int cancelled(struct err *err)
{
    err_set(err, 130, "the build was cancelled");
    if (err)
        err->code = GRPC_CANCELLED;
    return -1;
}

static void pause_for(struct modal_client *c, int64_t ms)
{
    for (int64_t end = loop_now() + ms; loop_now() < end;)
        if (!loop_step(c->loop, 50))
            usleep(1000);
}

/* Follows the build until it has a result. Broken streams go on after the last entry. */
static int join(struct join *j, struct err *err)
{
    int failures = 0;

    while (!j->finished) {
        join_once(j);
        if (is_cancelled(j))
            return cancelled(err);
        failures = j->news ? 0 : failures;
        if (j->finished)
            break;
        if (j->grpc_status == GRPC_OK) {
            if (!j->news)
                pause_for(j->c, JOIN_PAUSE_MS); /* a server that ends its turns at once must not make us spin */
            continue;
        }
        if (!modal_status_retried(j->grpc_status) || ++failures >= JOIN_FAILURES) {
            cleanup_free char *safe = modal_redact(j->c, j->grpc_message, NULL);

            err_set(err, 125, "%s", *safe ? safe : grpc_status_name(j->grpc_status));
            if (err)
                err->code = j->grpc_status;
            return -1;
        }
        pause_for(j->c, JOIN_PAUSE_MS << failures);
    }
    return 0;
}

/* Turns the build's result into ours. The log's end is the best reason if the server gives none. */
static int verdict(struct join *j, struct err *err)
{
    const char *reason = j->exception ? j->exception : j->last.data;
    size_t len;

    switch (j->status) {
    case MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_SUCCESS:
        return 0;
    case MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_TIMEOUT:
        err_set(err, 125, "the build took too long");
        break;
    case MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_TERMINATED:
        err_set(err, 125, "the build was stopped by the server");
        break;
    default:
        reason += strspn(reason, "\r\n ");
        len = strlen(reason);
        while (len && strchr("\r\n ", reason[len - 1]))
            len--;
        err_set(err, 125, "%.*s", len ? (int)len : 33, len ? reason : "the build failed without a reason");
    }
    if (err) {
        tame(err->msg, /* keep_lines= */ true);
        err->code = GRPC_FAILED_PRECONDITION;
    }
    return -1;
}

static void join_clear(struct join *j)
{
    buf_clear(&j->last);
    free(j->entry);
    free(j->exception);
    free(j->grpc_message);
}

static int get_or_create(struct modal_client *c, const struct modal_image_spec *spec, struct join *j, struct err *err)
{
    Modal__Client__ImageGetOrCreateRequest request = MODAL__CLIENT__IMAGE_GET_OR_CREATE_REQUEST__INIT;
    cleanup_message Modal__Client__ImageGetOrCreateResponse *reply = NULL;
    cleanup_free char *builder = NULL;
    struct definition d;
    int ret;

    if (modal_builder_version(c, &builder, err) < 0)
        return -1;
    define(&d, spec);
    request.image = &d.image;
    request.app_id = (char *)spec->app_id;
    request.builder_version = builder;
    request.has_namespace_ = 1;
    request.namespace_ = MODAL__CLIENT__DEPLOYMENT_NAMESPACE__DEPLOYMENT_NAMESPACE_WORKSPACE;
    request.has_force_build = spec->force_build;
    request.force_build = spec->force_build;
    request.has_ignore_cache = spec->no_cache;
    request.ignore_cache = spec->no_cache;
    ret = modal_call(c, &image_get_or_create, &request, &reply, err);
    undefine(&d);
    if (ret < 0)
        return -1;
    if (!reply->image_id || !*reply->image_id)
        return err_set(err, 125, "the server gave no image id");
    set_string(&j->image->id, reply->image_id);
    take_metadata(j->image, reply->metadata);
    take_result(j, reply->result);
    return 0;
}

int modal_image_build(struct modal_client *c, const struct modal_image_spec *spec, modal_log_fn *log, void *log_arg,
                      struct modal_image *ret_image, struct err *err)
{
    struct modal_image image = MODAL_IMAGE_INIT;
    struct join j = {.c = c,
                     .log = log,
                     .log_arg = log_arg,
                     .cancelled = spec->cancelled,
                     .image = &image,
                     .last = BUF_INIT(LAST_WORDS)};
    char name[2 * SHA256_LEN + 1];
    int ret;

    cache_name(c, spec, name);
    if (!spec->force_build && !spec->no_cache && recall(c, name, ret_image))
        return 0;
    ret = get_or_create(c, spec, &j, err);
    if (ret == 0)
        ret = join(&j, err);
    if (ret == 0)
        ret = verdict(&j, err);
    join_clear(&j);
    if (ret < 0) {
        modal_image_clear(&image);
        return -1;
    }
    remember(c, name, &image);
    *ret_image = image;
    return 0;
}
