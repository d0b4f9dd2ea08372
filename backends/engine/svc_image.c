#include "backends/engine/engine.h"
#include "backends/engine/images.h"
#include "backends/engine/secrets.h"
#include "backends/engine/svc.h"
#include "backends/engine/timer.h"
#include "backends/engine/waiter.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define LOG_LINES 500   /* of a build, in one message */
#define BASES_MAX 1000u /* as many as no Dockerfile names */

/* ---- build ---- */

/* What the definition asks for beyond lines, base, context and arguments is refused, not forgotten. */
static int check_definition(const Modal__Client__Image *image, struct err *err)
{
    const Modal__Client__GPUConfig *gpu = image->gpu_config;

    if (image->n_dockerfile_commands == 0)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "the image has no Dockerfile lines");
    for (size_t i = 0; i < image->n_base_images; i++) {
        if (!svc_text(image->base_images[i]->docker_tag)[0] || !svc_text(image->base_images[i]->image_id)[0])
            return svc_err(err, GRPC_INVALID_ARGUMENT, "a base image has a name and an id");
    }
    if (image->n_base_images > BASES_MAX)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "more than %u base images", BASES_MAX);
    if (image->n_context_files)
        return svc_err(err, GRPC_UNIMPLEMENTED, "context_files are not supported; use a context mount");
    if (gpu && (gpu->count || svc_text(gpu->gpu_type)[0]))
        return svc_err(err, GRPC_INVALID_ARGUMENT, "this server has no GPUs to build with");
    if (image->n_volume_mounts)
        return svc_err(err, GRPC_UNIMPLEMENTED, "volumes during a build are not supported");
    return svc_no_unknown(&image->base, "the image definition", err);
}

/* User and password for the FROM, from the secret that names them. */
static int registry_login(struct engine *e, const Modal__Client__ImageRegistryConfig *config, struct strlist *env,
                          struct images_build *build, struct err *err)
{
    int type = config ? (int)config->registry_auth_type : 0;

    if (!config || !svc_text(config->secret_id)[0])
        return 0;
    if (type != MODAL__CLIENT__REGISTRY_AUTH_TYPE__REGISTRY_AUTH_TYPE_STATIC_CREDS)
        return svc_err(err, GRPC_UNIMPLEMENTED, "registry credentials of this kind are not supported");
    if (secrets_apply(e->secrets, config->secret_id, env, err) < 0)
        return svc_err(err, GRPC_NOT_FOUND, "secret %s not found", config->secret_id);
    build->registry_user = strlist_env_get(env, "REGISTRY_USERNAME");
    build->registry_password = strlist_env_get(env, "REGISTRY_PASSWORD");
    if (!build->registry_user || !build->registry_password)
        return svc_err(err, GRPC_FAILED_PRECONDITION, "Secret is missing key(s): %s",
                       build->registry_user ? "REGISTRY_PASSWORD" : "REGISTRY_USERNAME");
    return 0;
}

static int build(struct engine *e, const Modal__Client__ImageGetOrCreateRequest *r, char **ret_id, struct err *err)
{
    const Modal__Client__Image *image = r->image;
    cleanup_strlist struct strlist lines = STRLIST_INIT, args = STRLIST_INIT, login = STRLIST_INIT;
    cleanup_strlist struct strlist secrets = STRLIST_INIT, hosts = STRLIST_INIT, labels = STRLIST_INIT;
    cleanup_free struct images_base *bases = NULL;
    struct images_build b = {.lines = &lines,
                             .build_args = &args,
                             .secrets = &secrets,
                             .add_hosts = &hosts,
                             .labels = &labels,
                             .force = r->force_build || r->ignore_cache};

    if (!image)
        return svc_err(err, GRPC_INVALID_ARGUMENT, "the request has no image");
    if (check_definition(image, err) < 0 || registry_login(e, image->image_registry_config, &login, &b, err) < 0)
        return -1;
    for (size_t i = 0; i < image->n_dockerfile_commands; i++)
        strlist_add(&lines, image->dockerfile_commands[i]);
    for (size_t i = 0; i < image->n_build_args; i++)
        strlist_addf(&args, "%s=%s", svc_text(image->build_args[i]->key), svc_text(image->build_args[i]->value));
    bases = xcalloc(image->n_base_images + 1, sizeof(*bases));
    for (size_t i = 0; i < image->n_base_images; i++)
        bases[i] = (struct images_base){image->base_images[i]->docker_tag, image->base_images[i]->image_id};
    b.bases = bases;
    b.bases_len = image->n_base_images;
    for (size_t i = 0; i < image->n_secret_ids; i++) {
        if (secrets_apply(e->secrets, image->secret_ids[i], &secrets, err) < 0)
            return svc_err(err, GRPC_NOT_FOUND, "secret %s not found", image->secret_ids[i]);
    }
    for (size_t i = 0; i < image->n_atp_add_hosts && !e->config->plain; i++)
        strlist_add(&hosts, image->atp_add_hosts[i]);
    for (size_t i = 0; i < image->n_atp_labels && !e->config->plain; i++)
        strlist_add(&labels, image->atp_labels[i]);
    if (svc_text(image->context_mount_id)[0])
        b.context_mount = image->context_mount_id;
    if (images_build(e->images, &b, ret_id, err) < 0) {
        err->code = GRPC_INVALID_ARGUMENT;
        return -1;
    }
    return 0;
}

/* True and a result once the image is ready or has failed. */
static bool build_result(struct images *im, const char *id, Modal__Client__GenericResult *result)
{
    enum images_state state;
    const char *error = NULL;

    if (images_state(im, id, &state, &error) < 0 || state == IMAGES_BUILDING)
        return false;
    result->has_status = 1;
    result->status = state == IMAGES_READY ? MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_SUCCESS
                                           : MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_FAILURE;
    result->exception = state == IMAGES_FAILED ? SVC_CONST(error) : NULL;
    return true;
}

/* Fills the metadata of a ready image; NULL for any other. */
static Modal__Client__ImageMetadata *metadata_of(struct images *im, const char *id,
                                                 Modal__Client__ImageMetadata *metadata)
{
    const struct image_config *config;
    enum images_state state;

    if (images_state(im, id, &state, NULL) < 0 || state != IMAGES_READY)
        return NULL;
    config = images_configuration(im, id);
    modal__client__image_metadata__init(metadata);
    metadata->workdir = config ? config->workdir : NULL;
    return metadata;
}

static void image_get_or_create(struct call *c, const void *request)
{
    Modal__Client__ImageGetOrCreateResponse response = MODAL__CLIENT__IMAGE_GET_OR_CREATE_RESPONSE__INIT;
    Modal__Client__GenericResult result = MODAL__CLIENT__GENERIC_RESULT__INIT;
    Modal__Client__ImageMetadata metadata;
    cleanup_err struct err err = ERR_INIT;
    cleanup_free char *id = NULL;

    if (build(c->engine, request, &id, &err) < 0) {
        svc_fail(c, &err);
        return;
    }
    response.image_id = id;
    if (build_result(c->engine->images, id, &result))
        response.result = &result;
    response.metadata = metadata_of(c->engine->images, id, &metadata);
    call_reply(c, &response);
}

/* ---- join ---- */

struct join {
    struct waiter waiter;
    struct timer *timer;
    struct call *call;
    size_t line; /* the next line of the log that the peer has not had */
    bool over;   /* its time is over */
};

static void release_join(struct call *c)
{
    struct join *j = c->state;

    const Modal__Client__ImageJoinStreamingRequest *r = c->request;

    waiter_del(&j->waiter);
    timer_stop(&j->timer);
    images_unfollow(c->engine->images, r->image_id);
    free(j);
}

static void wake_join(struct waiter *w, void *arg)
{
    struct join *j = arg;

    (void)w;
    call_wake(j->call);
}

static void end_join(void *arg)
{
    struct join *j = arg;

    j->over = true;
    call_wake(j->call);
}

/* "<what> 123/4567" -> what it says; the text is cut. */
static void read_progress(char *text, Modal__Client__TaskProgress *ret)
{
    char *numbers = strrchr(text, ' '), *slash = numbers ? strchr(numbers, '/') : NULL;

    modal__client__task_progress__init(ret);
    ret->description = text;
    if (!slash)
        return;
    ret->has_pos = ret->has_len = 1;
    ret->pos = strtoull(numbers + 1, NULL, 10);
    ret->len = strtoull(slash + 1, NULL, 10);
    *numbers = '\0';
}

/* Sends some pieces of the log; the entry id is the number of pieces that the peer has then. */
static void send_lines(struct call *c, const struct strlist *log, struct join *j)
{
    Modal__Client__ImageJoinStreamingResponse response = MODAL__CLIENT__IMAGE_JOIN_STREAMING_RESPONSE__INIT;
    Modal__Client__TaskLogs items[LOG_LINES], *list[LOG_LINES];
    Modal__Client__TaskProgress progress[LOG_LINES];
    char *texts[LOG_LINES];
    char entry[32];
    size_t n = 0;

    for (; n < LOG_LINES && j->line < log->len; n++, j->line++) {
        char *piece = log->items[j->line];

        list[n] = &items[n];
        texts[n] = NULL;
        modal__client__task_logs__init(&items[n]);
        if (*piece == '4') {
            texts[n] = xstrdup(piece + 1);
            read_progress(texts[n], &progress[n]);
            items[n].task_progress = &progress[n];
            continue;
        }
        items[n].data = piece + 1;
        items[n].has_file_descriptor = 1;
        items[n].file_descriptor = *piece == '1'   ? MODAL__CLIENT__FILE_DESCRIPTOR__FILE_DESCRIPTOR_STDOUT
                                   : *piece == '2' ? MODAL__CLIENT__FILE_DESCRIPTOR__FILE_DESCRIPTOR_STDERR
                                                   : MODAL__CLIENT__FILE_DESCRIPTOR__FILE_DESCRIPTOR_INFO;
    }
    snprintf(entry, sizeof(entry), "%zu", j->line);
    response.task_logs = list;
    response.n_task_logs = n;
    response.entry_id = entry;
    call_send(c, &response);
    while (n > 0)
        free(texts[--n]);
}

/* Log lines first, then the result, then the end (protocol 3.3). */
static void join_source(struct call *c)
{
    const Modal__Client__ImageJoinStreamingRequest *r = c->request;
    Modal__Client__ImageJoinStreamingResponse response = MODAL__CLIENT__IMAGE_JOIN_STREAMING_RESPONSE__INIT;
    Modal__Client__GenericResult result = MODAL__CLIENT__GENERIC_RESULT__INIT;
    Modal__Client__ImageMetadata metadata;
    struct images *im = c->engine->images;
    const struct strlist *log = images_log(im, r->image_id);
    struct join *j = c->state;
    char entry[32];

    if (log && j->line < log->len) {
        send_lines(c, log, j);
    } else if (build_result(im, r->image_id, &result)) {
        snprintf(entry, sizeof(entry), "%zu", j->line);
        response.entry_id = entry;
        response.result = &result;
        response.has_eof = 1;
        response.eof = 1;
        response.metadata = metadata_of(im, r->image_id, &metadata);
        call_send(c, &response);
        call_finish(c);
    } else if (j->over) {
        call_finish(c);
    } else {
        waiter_add(&c->engine->image_waiters, &j->waiter, wake_join, j);
    }
}

static void image_join_streaming(struct call *c, const void *request)
{
    const Modal__Client__ImageJoinStreamingRequest *r = request;
    enum images_state state;
    bool first;
    struct join *j;

    if (!r->image_id || images_state(c->engine->images, r->image_id, &state, NULL) < 0) {
        call_fail(c, GRPC_NOT_FOUND, "image %s not found", svc_text(r->image_id));
        return;
    }
    j = xcalloc(1, sizeof(*j));
    j->call = c;
    j->line = strtoul(svc_text(r->last_entry_id), NULL, 10);
    first = images_follow(c->engine->images, r->image_id);
    if (state != IMAGES_BUILDING && !j->line && !first && !r->include_logs_for_finished)
        j->line = SIZE_MAX;
    c->state = j;
    c->release = release_join;
    timer_start(&j->timer, c->engine->loop, r->timeout > 0 && r->timeout < 3600 ? (uint64_t)(r->timeout * 1000) : 55000,
                end_join, j);
    call_stream(c, join_source);
}

/* ---- look up and delete; names are in svc_image_names.c ---- */

/* Ends the call unless the image is there and ready. */
static bool is_ready(struct call *c, const char *id)
{
    enum images_state state;

    if (!id || images_state(c->engine->images, id, &state, NULL) < 0)
        call_fail(c, GRPC_NOT_FOUND, "image %s not found", svc_text(id));
    else if (state != IMAGES_READY)
        call_fail(c, GRPC_FAILED_PRECONDITION, "image %s is not built", id);
    else
        return true;
    return false;
}

static void image_from_id(struct call *c, const void *request)
{
    const Modal__Client__ImageFromIdRequest *r = request;
    Modal__Client__ImageFromIdResponse response = MODAL__CLIENT__IMAGE_FROM_ID_RESPONSE__INIT;
    Modal__Client__ImageMetadata metadata;

    if (!is_ready(c, r->image_id))
        return;
    response.image_id = r->image_id;
    response.metadata = metadata_of(c->engine->images, r->image_id, &metadata);
    call_reply(c, &response);
}

static void image_delete(struct call *c, const void *request)
{
    const Modal__Client__ImageDeleteRequest *r = request;
    cleanup_err struct err err = ERR_INIT;
    enum images_state state;

    if (!r->image_id || images_state(c->engine->images, r->image_id, &state, NULL) < 0)
        call_fail(c, GRPC_NOT_FOUND, "image %s not found", svc_text(r->image_id));
    else if (images_delete(c->engine->images, r->image_id, &err) < 0)
        call_fail_err(c, GRPC_FAILED_PRECONDITION, &err);
    else
        svc_reply_empty(c);
}

const struct rpc_method svc_image_methods[] = {
    {"ImageDelete", SVC_REQUEST(image_delete_request), RPC_UNARY, 0, image_delete},
    {"ImageFromId", SVC_REQUEST(image_from_id_request), RPC_UNARY, 0, image_from_id},
    {"ImageGetOrCreate", SVC_REQUEST(image_get_or_create_request), RPC_UNARY, RPC_ONCE, image_get_or_create},
    {"ImageJoinStreaming", SVC_REQUEST(image_join_streaming_request), RPC_SERVER_STREAM, 0, image_join_streaming},
    {0},
};
