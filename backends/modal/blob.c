#include "backends/modal/blob.h"

#include "backends/modal/http.h"
#include "backends/modal/internal.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/lib/openssl.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define PUT_ATTEMPTS 3 /* protocol 3.6 */
#define PUT_BASE_MS  300
#define PARTS_MAX    10000u
#define MD5_LEN      16

static const struct modal_method blob_create = {
    .path = MODAL_CONTROL(BlobCreate),
    .reply = &modal__client__blob_create_response__descriptor,
    .slow = true,
};

/* MD5 (and SHA-256 where asked for) of a stretch of the body. */
static int digests(const struct http_body *body, uint8_t md5[MD5_LEN], uint8_t *sha, struct err *err)
{
    EVP_MD_CTX *ctx;
    cleanup_free char *piece = xmalloc(256 << 10);
    struct sha256 s;
    uint64_t at = 0;
    int ret = 0;

    if (lib_openssl(err) < 0)
        return -1;
    ctx = EVP_MD_CTX_new();
    sha256_init(&s);
    if (!ctx || EVP_DigestInit_ex(ctx, EVP_md5(), NULL) != 1)
        ret = err_set(err, 125, "uploading: MD5, which the server asks for, is not available here");
    while (ret == 0 && at < body->len) {
        size_t n = body->len - at > (256 << 10) ? 256 << 10 : (size_t)(body->len - at);
        const void *from = body->data ? (const char *)body->data + at : piece;
        ssize_t got = body->data ? (ssize_t)n : pread(body->fd, piece, n, (off_t)(body->offset + at));

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            ret = err_set_errno(err, 125, got < 0 ? errno : EIO, "uploading: the file became shorter");
            break;
        }
        EVP_DigestUpdate(ctx, from, (size_t)got);
        if (sha)
            sha256_update(&s, from, (size_t)got);
        at += (uint64_t)got;
    }
    if (ret == 0)
        EVP_DigestFinal_ex(ctx, md5, NULL);
    if (sha)
        sha256_final(&s, sha);
    EVP_MD_CTX_free(ctx);
    return ret;
}

static void hex_of(const uint8_t md5[MD5_LEN], char hex[2 * MD5_LEN + 1])
{
    for (size_t i = 0; i < MD5_LEN; i++)
        snprintf(hex + 2 * i, 3, "%02x", md5[i]);
}

/* Waits without leaving the loop: the control connection's PINGs go on. */
static void nap(struct modal_client *c, int64_t ms)
{
    int64_t end = loop_now() + ms;

    while (loop_now() < end)
        if (!loop_step(c->loop, end - loop_now() > 50 ? 50 : 1))
            usleep(1000);
}

/*
 * An engine on a Unix socket takes uploads on that same socket and names them "http://localhost/..."; no other server
 * may name a place without encryption, unless it was itself reached on this machine.
 */
static int send_to(struct modal_client *c, const char *method, const char *url, const char *const *headers,
                   const struct http_body *body, struct http_answer *answer, struct err *err)
{
    const char *socket_path = strncmp(c->server_url, "unix://", 7) == 0 ? c->server_url + 7 : NULL;

    *answer = (struct http_answer){.status = 0};
    if (strncmp(url, "http://localhost/", 17) != 0)
        socket_path = NULL;
    if (strncmp(url, "https://", 8) != 0 && !c->server_local)
        return err_set(err, 125, "uploading: the server names a place without encryption");
    return http_send(socket_path, method, url, headers, body, answer, err);
}

/* One PUT with its attempts. The server's ETag, if there is one, has to be the MD5. */
static int put(struct modal_client *c, const char *url, const char *const *headers, const struct http_body *body,
               const uint8_t md5[MD5_LEN], struct err *err)
{
    char hex[2 * MD5_LEN + 1];

    hex_of(md5, hex);
    for (unsigned attempt = 1;; attempt++) {
        cleanup_err struct err why = ERR_INIT;
        struct http_answer answer;
        int ret = send_to(c, "PUT", url, headers, body, &answer, &why);
        long status = answer.status;
        bool matches = !answer.etag[0] || strcmp(answer.etag, hex) == 0;

        http_answer_clear(&answer);
        if (ret == 0 && status >= 200 && status < 300 && matches)
            return 0;
        if (ret == 0 && status >= 200 && status < 300)
            err_set(&why, 125, "uploading: the server received something else");
        else if (ret == 0)
            err_set(&why, 125, "uploading: the storage answered with HTTP status %ld", status);
        if (attempt == PUT_ATTEMPTS || (ret == 0 && status >= 400 && status < 500 && status != 429))
            return err_move(err, &why);
        nap(c, (PUT_BASE_MS << (attempt - 1)) + (status == 503 ? 1000 : 0));
    }
}

static int put_whole(struct modal_client *c, const char *url, const struct http_body *body, const uint8_t md5[MD5_LEN],
                     const char *md5_base64, struct err *err)
{
    cleanup_free char *content_md5 = xasprintf("Content-MD5: %s", md5_base64);
    const char *const headers[] = {"Content-Type: application/octet-stream", content_md5, NULL};

    return put(c, url, headers, body, md5, err);
}

/* The parts of a plan in order, then the list of them. */
static int put_parts(struct modal_client *c, const Modal__Client__MultiPartUpload *plan, const struct http_body *body,
                     struct err *err)
{
    static const char *const part_headers[] = {"Content-Type:", NULL};
    static const char *const list_headers[] = {"Content-Type: application/xml", NULL};
    cleanup_buf struct buf list = BUF_INIT(4u << 20), all = BUF_INIT(PARTS_MAX * MD5_LEN);
    uint64_t part_length = plan->part_length > 0 ? (uint64_t)plan->part_length : 0, at = 0;
    uint8_t md5[MD5_LEN];
    char hex[2 * MD5_LEN + 1];
    cleanup_free char *want = NULL;
    struct http_answer answer;
    int ret;

    if (!part_length || plan->n_upload_urls > PARTS_MAX || !plan->completion_url ||
        plan->n_upload_urls != (body->len + part_length - 1) / part_length)
        return err_set(err, 125, "uploading: the server's plan of parts does not fit the contents");
    buf_adds(&list, "<CompleteMultipartUpload>\n");
    for (size_t i = 0; i < plan->n_upload_urls; i++, at += part_length) {
        struct http_body part = *body;

        part.data = body->data ? (const char *)body->data + at : NULL;
        part.offset = body->offset + at;
        part.len = body->len - at < part_length ? body->len - at : part_length;
        if (digests(&part, md5, NULL, err) < 0 || put(c, plan->upload_urls[i], part_headers, &part, md5, err) < 0)
            return -1;
        hex_of(md5, hex);
        buf_add(&all, md5, sizeof(md5));
        buf_addf(&list, "<Part>\n<PartNumber>%zu</PartNumber>\n<ETag>\"%s\"</ETag>\n</Part>\n", i + 1, hex);
    }
    buf_adds(&list, "</CompleteMultipartUpload>\n");
    digests(&(struct http_body){.data = all.data, .len = all.len}, md5, NULL, NULL);
    hex_of(md5, hex);
    want = xasprintf("%s-%zu", hex, plan->n_upload_urls);
    ret = send_to(c, "POST", plan->completion_url, list_headers,
                  &(struct http_body){.data = list.data, .len = list.len}, &answer, err);
    if (ret == 0 && (answer.status < 200 || answer.status >= 300))
        ret = err_set(err, 125, "uploading: the storage answered with HTTP status %ld", answer.status);
    else if (ret == 0 && !strstr(answer.body.data, want))
        ret = err_set(err, 125, "uploading: the server received something else");
    http_answer_clear(&answer);
    return ret;
}

/* The newer lists, one entry per storage, tried in turn; then the older single fields. */
static int upload(struct modal_client *c, const Modal__Client__BlobCreateResponse *plan, const struct http_body *body,
                  const uint8_t md5[MD5_LEN], const char *md5_base64, char **ret_blob_id, struct err *err)
{
    bool parts = plan->upload_types_oneof_case == MODAL__CLIENT__BLOB_CREATE_RESPONSE__UPLOAD_TYPES_ONEOF_MULTIPARTS;
    bool urls = plan->upload_types_oneof_case == MODAL__CLIENT__BLOB_CREATE_RESPONSE__UPLOAD_TYPES_ONEOF_UPLOAD_URLS;
    size_t n = parts ? plan->multiparts->n_items : urls ? plan->upload_urls->n_items : 0;
    int ret = -1;

    if (n > plan->n_blob_ids)
        n = plan->n_blob_ids;
    for (size_t i = 0; i < n; i++) {
        ret = parts ? put_parts(c, plan->multiparts->items[i], body, err)
                    : put_whole(c, plan->upload_urls->items[i], body, md5, md5_base64, err);
        if (ret < 0)
            continue;
        *ret_blob_id = xstrdup(plan->blob_ids[i]);
        return 0;
    }
    if (n)
        return ret;
    if (!plan->blob_id ||
        plan->upload_type_oneof_case == MODAL__CLIENT__BLOB_CREATE_RESPONSE__UPLOAD_TYPE_ONEOF__NOT_SET)
        return err_set(err, 125, "uploading: the server names no place for the contents");
    if (plan->upload_type_oneof_case == MODAL__CLIENT__BLOB_CREATE_RESPONSE__UPLOAD_TYPE_ONEOF_MULTIPART)
        ret = put_parts(c, plan->multipart, body, err);
    else
        ret = put_whole(c, plan->upload_url, body, md5, md5_base64, err);
    if (ret == 0)
        *ret_blob_id = xstrdup(plan->blob_id);
    return ret;
}

int modal_blob_upload(struct modal_client *c, const struct http_body *body, const uint8_t *sha256_wanted,
                      char **ret_blob_id, struct err *err)
{
    Modal__Client__BlobCreateRequest request = MODAL__CLIENT__BLOB_CREATE_REQUEST__INIT;
    cleanup_message Modal__Client__BlobCreateResponse *plan = NULL;
    cleanup_buf struct buf md5_base64 = BUF_INIT(64), sha_base64 = BUF_INIT(64);
    uint8_t md5[MD5_LEN], sha[SHA256_LEN];

    if (digests(body, md5, sha, err) < 0)
        return -1;
    if (memcmp(sha, sha256_wanted, SHA256_LEN) != 0)
        return err_set(err, 125, "the contents changed while they were read");
    grpc_base64_encode(&md5_base64, md5, sizeof(md5));
    grpc_base64_encode(&sha_base64, sha, sizeof(sha));
    request.content_md5 = md5_base64.data;
    request.content_sha256_base64 = sha_base64.data;
    request.has_content_length = 1;
    request.content_length = (int64_t)body->len;
    if (modal_call(c, &blob_create, &request, &plan, err) < 0)
        return -1;
    return upload(c, plan, body, md5, md5_base64.data, ret_blob_id, err);
}
