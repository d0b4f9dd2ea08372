#include "backends/engine/blobs.h"
#include "backends/engine/engine.h"
#include "backends/engine/images.h"
#include "backends/engine/svc.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_sha256(const char *hex)
{
    return hex && strlen(hex) == 64 && strspn(hex, "0123456789abcdef") == 64;
}

static void mount_batched_check_existence(struct call *c, const void *request)
{
    const Modal__Client__MountBatchedCheckExistenceRequest *r = request;
    Modal__Client__MountBatchedCheckExistenceResponse response =
        MODAL__CLIENT__MOUNT_BATCHED_CHECK_EXISTENCE_RESPONSE__INIT;
    cleanup_free char **missing = xcalloc(r->n_sha256_hex_hashes + 1, sizeof(*missing));

    response.missing_sha256_hex_hashes = missing;
    for (size_t i = 0; i < r->n_sha256_hex_hashes; i++) {
        char *hash = r->sha256_hex_hashes[i];

        if (!is_sha256(hash) || !images_has_file(c->engine->images, hash))
            missing[response.n_missing_sha256_hex_hashes++] = hash;
    }
    call_reply(c, &response);
}

/* Moves a finished upload into the file store. */
static int put_blob(struct engine *e, const char *sha256_hex, const char *blob_id, struct err *err)
{
    const char *path = blobs_path(e->blobs, svc_text(blob_id), err);

    if (!path)
        return svc_err(err, GRPC_NOT_FOUND, "blob %s not found", svc_text(blob_id));
    if (images_put_file_path(e->images, sha256_hex, path, err) < 0)
        return -1;
    blobs_drop(e->blobs, blob_id);
    return 0;
}

static void mount_put_file(struct call *c, const void *request)
{
    const Modal__Client__MountPutFileRequest *r = request;
    Modal__Client__MountPutFileResponse response = MODAL__CLIENT__MOUNT_PUT_FILE_RESPONSE__INIT;
    struct images *im = c->engine->images;
    cleanup_err struct err err = ERR_INIT;
    int rc = 0;

    if (!is_sha256(r->sha256_hex)) {
        call_fail(c, GRPC_INVALID_ARGUMENT, "not a SHA-256 digest: \"%s\"", svc_text(r->sha256_hex));
        return;
    }
    response.has_exists = 1;
    response.exists = images_has_file(im, r->sha256_hex);
    if (!response.exists && r->data_oneof_case == MODAL__CLIENT__MOUNT_PUT_FILE_REQUEST__DATA_ONEOF_DATA)
        rc = images_put_file(im, r->sha256_hex, r->data.data, r->data.len, &err);
    else if (!response.exists && r->data_oneof_case == MODAL__CLIENT__MOUNT_PUT_FILE_REQUEST__DATA_ONEOF_DATA_BLOB_ID)
        rc = put_blob(c->engine, r->sha256_hex, r->data_blob_id, &err);
    if (rc < 0) {
        if (err.code == EBADMSG)
            err.code = GRPC_INVALID_ARGUMENT;
        else if (err.code != GRPC_NOT_FOUND)
            err.code = GRPC_RESOURCE_EXHAUSTED;
        svc_fail(c, &err);
        return;
    }
    response.exists = images_has_file(im, r->sha256_hex);
    call_reply(c, &response);
}

/* The first thing wrong with a list of files, if any. */
static int check_files(struct images *im, const Modal__Client__MountGetOrCreateRequest *r, struct err *err)
{
    for (size_t i = 0; i < r->n_files; i++) {
        const Modal__Client__MountFile *file = r->files[i];

        if (svc_text(file->filename)[0] != '/')
            return svc_err(err, GRPC_INVALID_ARGUMENT, "not an absolute path: \"%s\"", svc_text(file->filename));
        if (!is_sha256(file->sha256_hex) || !images_has_file(im, file->sha256_hex))
            return svc_err(err, GRPC_FAILED_PRECONDITION, "the contents of %s were not uploaded", file->filename);
    }
    return 0;
}

static void mount_get_or_create(struct call *c, const void *request)
{
    const Modal__Client__MountGetOrCreateRequest *r = request;
    Modal__Client__MountGetOrCreateResponse response = MODAL__CLIENT__MOUNT_GET_OR_CREATE_RESPONSE__INIT;
    Modal__Client__MountHandleMetadata metadata = MODAL__CLIENT__MOUNT_HANDLE_METADATA__INIT;
    cleanup_free struct images_mount_file *files = NULL;
    cleanup_free char *id = NULL;
    cleanup_err struct err err = ERR_INIT;

    if (svc_text(r->deployment_name)[0]) {
        call_fail(c, GRPC_NOT_FOUND, "mount \"%s\" not found: this server has no named mounts", r->deployment_name);
        return;
    }
    if (check_files(c->engine->images, r, &err) < 0) {
        svc_fail(c, &err);
        return;
    }
    files = xcalloc(r->n_files + 1, sizeof(*files));
    for (size_t i = 0; i < r->n_files; i++)
        files[i] = (struct images_mount_file){.filename = r->files[i]->filename,
                                              .sha256_hex = r->files[i]->sha256_hex,
                                              .mode = r->files[i]->has_mode ? r->files[i]->mode & 07777 : 0644,
                                              .mtime_ns = c->engine->config->plain ? 0 : r->files[i]->atp_mtime_ns};
    if (images_put_mount(c->engine->images, files, r->n_files, &id, &err) < 0) {
        call_fail_err(c, GRPC_INVALID_ARGUMENT, &err);
        return;
    }
    response.mount_id = id;
    metadata.content_checksum_sha256_hex = SVC_CONST(id + 3); /* the id is made from the content */
    response.handle_metadata = &metadata;
    call_reply(c, &response);
}

const struct rpc_method svc_mount_methods[] = {
    {"MountBatchedCheckExistence", SVC_REQUEST(mount_batched_check_existence_request), RPC_UNARY, 0,
     mount_batched_check_existence},
    {"MountGetOrCreate", SVC_REQUEST(mount_get_or_create_request), RPC_UNARY, 0, mount_get_or_create},
    {"MountPutFile", SVC_REQUEST(mount_put_file_request), RPC_UNARY, 0, mount_put_file},
    {0},
};
