#include "backends/engine/blobs.h"
#include "backends/engine/engine.h"
#include "backends/engine/svc.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"

/* The answer for a blob in parts: the plan, both as the only one and as a list of one (protocol 3.6). */
static void reply_parts(struct call *c, Modal__Client__BlobCreateResponse *response, const char *url, size_t parts)
{
    Modal__Client__MultiPartUpload plan = MODAL__CLIENT__MULTI_PART_UPLOAD__INIT, *plans[] = {&plan};
    Modal__Client__MultiPartUploadList list = MODAL__CLIENT__MULTI_PART_UPLOAD_LIST__INIT;
    cleanup_strlist struct strlist urls = STRLIST_INIT;

    for (size_t i = 1; i <= parts; i++)
        strlist_addf(&urls, "%s?part=%zu", url, i);
    plan.has_part_length = 1;
    plan.part_length = (int64_t)blobs_part_length(c->engine->blobs);
    plan.upload_urls = urls.items;
    plan.n_upload_urls = urls.len;
    plan.completion_url = SVC_CONST(url);
    list.items = plans;
    list.n_items = 1;
    response->upload_type_oneof_case = MODAL__CLIENT__BLOB_CREATE_RESPONSE__UPLOAD_TYPE_ONEOF_MULTIPART;
    response->multipart = &plan;
    response->upload_types_oneof_case = MODAL__CLIENT__BLOB_CREATE_RESPONSE__UPLOAD_TYPES_ONEOF_MULTIPARTS;
    response->multiparts = &list;
    call_reply(c, response);
}

static void blob_create(struct call *c, const void *request)
{
    const Modal__Client__BlobCreateRequest *r = request;
    Modal__Client__BlobCreateResponse response = MODAL__CLIENT__BLOB_CREATE_RESPONSE__INIT;
    Modal__Client__UploadUrlList list = MODAL__CLIENT__UPLOAD_URL_LIST__INIT;
    cleanup_err struct err err = ERR_INIT;
    cleanup_free char *base = svc_http_url(c), *url = NULL;
    const char *id, *key;
    size_t parts;

    blobs_sweep(c->engine->blobs);
    if (r->content_length < 0 ||
        blobs_create(c->engine->blobs, (uint64_t)r->content_length, &id, &key, &parts, &err) < 0) {
        call_fail(c, GRPC_INVALID_ARGUMENT, "%s", err.msg ? err.msg : "a blob has no negative length");
        return;
    }
    url = xasprintf("%s/blob/%s/%s", base, id, key);
    response.blob_id = SVC_CONST(id);
    response.blob_ids = &response.blob_id;
    response.n_blob_ids = 1;
    if (parts) {
        reply_parts(c, &response, url, parts);
        return;
    }
    list.items = &url;
    list.n_items = 1;
    response.upload_type_oneof_case = MODAL__CLIENT__BLOB_CREATE_RESPONSE__UPLOAD_TYPE_ONEOF_UPLOAD_URL;
    response.upload_url = url;
    response.upload_types_oneof_case = MODAL__CLIENT__BLOB_CREATE_RESPONSE__UPLOAD_TYPES_ONEOF_UPLOAD_URLS;
    response.upload_urls = &list;
    call_reply(c, &response);
}

static void blob_get(struct call *c, const void *request)
{
    const Modal__Client__BlobGetRequest *r = request;
    Modal__Client__BlobGetResponse response = MODAL__CLIENT__BLOB_GET_RESPONSE__INIT;
    const char *key = blobs_key(c->engine->blobs, svc_text(r->blob_id));
    cleanup_free char *base = svc_http_url(c), *url = NULL;

    if (!key) {
        call_fail(c, GRPC_NOT_FOUND, "blob %s not found", svc_text(r->blob_id));
        return;
    }
    url = xasprintf("%s/blob/%s/%s", base, r->blob_id, key);
    response.download_url = url;
    call_reply(c, &response);
}

const struct rpc_method svc_blob_methods[] = {
    {"BlobCreate", SVC_REQUEST(blob_create_request), RPC_UNARY, RPC_ONCE, blob_create},
    {"BlobGet", SVC_REQUEST(blob_get_request), RPC_UNARY, 0, blob_get},
    {0},
};
