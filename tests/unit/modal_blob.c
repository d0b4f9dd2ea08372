/* link: atp_modal atp_grpc atp_proto atp_sys atp_base atp_openssl */
#include "backends/modal/blob.h"

#include "backends/modal/client.h"
#include "backends/modal/http.h"
#include "backends/modal/internal.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/sys/loop.h"
#include "tests/unit/grpc_server.h"

#include <openssl/evp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <cmocka.h>

/* Uploads against a storage that speaks just enough HTTP, and fails where it is told to. */

#define BODY_LEN (5u << 20)
#define PART_LEN (2u << 20)

enum plan { PLAN_URL, PLAN_PARTS, PLAN_OLD_URL, PLAN_SECOND_STORAGE, PLAN_BAD_PARTS, PLAN_NOTHING };

static struct storage {
    int fd;
    pthread_t thread;
    unsigned port;
    enum plan plan;
    int fail_first; /* answer so many requests with 503 */
    bool wrong_etag, wrong_end, forbidden;
    int puts, posts;
    struct buf parts[4];
    char list[4096];
    char md5_header[64];
} storage;

static void hex_md5(const void *data, size_t len, char hex[33], unsigned char raw[16])
{
    unsigned char digest[16];

    EVP_Digest(data, len, digest, NULL, EVP_md5(), NULL);
    for (size_t i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    if (raw)
        memcpy(raw, digest, 16);
}

/* One request of one connection. */
static void serve(int fd)
{
    struct buf in = BUF_INIT(64u << 20);
    char piece[65536], hex[33] = "", answer[512], body[128] = "", etag[64] = "";
    const char *end = NULL, *status = "200 OK";
    size_t length = 0, head = 0;
    ssize_t n;

    while ((n = read(fd, piece, sizeof(piece))) > 0) {
        buf_add(&in, piece, (size_t)n);
        if (!end && (end = strstr(in.data, "\r\n\r\n")) != NULL) {
            const char *at = strcasestr(in.data, "\r\ncontent-length:");

            head = (size_t)(end - in.data) + 4;
            length = at ? (size_t)strtoul(at + 17, NULL, 10) : 0;
            at = strcasestr(in.data, "\r\ncontent-md5: ");
            snprintf(storage.md5_header, sizeof(storage.md5_header), "%.24s", at ? at + 15 : "");
        }
        if (end && in.len >= head + length)
            break;
    }
    if (!end) {
        buf_clear(&in);
        return;
    }
    hex_md5(in.data + head, length, hex, NULL);
    if (storage.fail_first > 0) {
        storage.fail_first--;
        status = "503 Busy";
    } else if (storage.forbidden || strncmp(in.data, "PUT /broken", 11) == 0) {
        status = "403 Forbidden";
    } else if (strncmp(in.data, "PUT /", 5) == 0) {
        int part = in.data[5] - '0';

        storage.puts++;
        if (part >= 0 && part < 4) {
            buf_reset(&storage.parts[part]);
            buf_add(&storage.parts[part], in.data + head, length);
        }
        snprintf(etag, sizeof(etag), "ETag: W/\"%s\"\r\n", storage.wrong_etag ? "beef" : hex);
    } else {
        struct buf all = BUF_INIT(64);
        unsigned char raw[16];

        storage.posts++;
        snprintf(storage.list, sizeof(storage.list), "%.*s", (int)length, in.data + head);
        for (int i = 1; i < 4; i++) {
            hex_md5(storage.parts[i].data, storage.parts[i].len, hex, raw);
            buf_add(&all, raw, 16);
        }
        hex_md5(all.data, all.len, hex, NULL);
        snprintf(body, sizeof(body), "<x>%s-3</x>", storage.wrong_end ? "beef" : hex);
        buf_clear(&all);
    }
    snprintf(answer, sizeof(answer), "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status,
             etag, strlen(body), body);
    if (write(fd, answer, strlen(answer)) < 0)
        perror("write");
    buf_clear(&in);
}

static void *storage_main(void *arg)
{
    int fd;

    (void)arg;
    while ((fd = accept(storage.fd, NULL, NULL)) >= 0) {
        serve(fd);
        close(fd);
    }
    return NULL;
}

static bool play(struct server_conn *c, struct server_stream *s, const char *method)
{
    Modal__Client__BlobCreateResponse m = MODAL__CLIENT__BLOB_CREATE_RESPONSE__INIT;
    Modal__Client__MultiPartUpload parts = MODAL__CLIENT__MULTI_PART_UPLOAD__INIT, *plans[] = {&parts};
    Modal__Client__MultiPartUploadList plan_list = MODAL__CLIENT__MULTI_PART_UPLOAD_LIST__INIT;
    Modal__Client__UploadUrlList urls = MODAL__CLIENT__UPLOAD_URL_LIST__INIT;
    char url[4][64], *all[] = {url[1], url[2], url[3]}, *two[] = {(char *)"", url[1]},
                     *ids[] = {(char *)"bl-1", (char *)"bl-2"};
    uint8_t packed[2048];
    size_t len;

    if (strcmp(method, "BlobCreate") != 0)
        return false;
    for (int i = 0; i < 4; i++)
        snprintf(url[i], sizeof(url[i]), "http://127.0.0.1:%u/%d", storage.port, i);
    m.n_blob_ids = 1;
    m.blob_ids = ids;
    if (storage.plan == PLAN_PARTS || storage.plan == PLAN_BAD_PARTS) {
        parts.has_part_length = 1;
        parts.part_length = PART_LEN;
        parts.n_upload_urls = storage.plan == PLAN_PARTS ? 3 : 2;
        parts.upload_urls = all;
        parts.completion_url = url[0];
        plan_list.n_items = 1;
        plan_list.items = plans;
        m.upload_types_oneof_case = MODAL__CLIENT__BLOB_CREATE_RESPONSE__UPLOAD_TYPES_ONEOF_MULTIPARTS;
        m.multiparts = &plan_list;
    } else if (storage.plan == PLAN_URL || storage.plan == PLAN_SECOND_STORAGE) {
        char broken[64];

        snprintf(broken, sizeof(broken), "http://127.0.0.1:%u/broken", storage.port);
        two[0] = broken;
        m.n_blob_ids = storage.plan == PLAN_URL ? 1 : 2;
        urls.n_items = m.n_blob_ids;
        urls.items = storage.plan == PLAN_URL ? all : two;
        m.upload_types_oneof_case = MODAL__CLIENT__BLOB_CREATE_RESPONSE__UPLOAD_TYPES_ONEOF_UPLOAD_URLS;
        m.upload_urls = &urls;
        len = modal__client__blob_create_response__pack(&m, packed);
        grpc_frame_add(&s->answer, packed, len);
        server_answer(c, s, "0");
        return true;
    } else if (storage.plan == PLAN_OLD_URL) {
        m.n_blob_ids = 0;
        m.blob_id = (char *)"bl-old";
        m.upload_type_oneof_case = MODAL__CLIENT__BLOB_CREATE_RESPONSE__UPLOAD_TYPE_ONEOF_UPLOAD_URL;
        m.upload_url = url[1];
    }
    len = modal__client__blob_create_response__pack(&m, packed);
    grpc_frame_add(&s->answer, packed, len);
    server_answer(c, s, "0");
    return true;
}

static int upload(struct modal_client *c, const char *data, char **ret_id, struct err *err)
{
    const struct http_body body = {.data = data, .len = BODY_LEN};
    uint8_t digest[SHA256_LEN];

    sha256(data, BODY_LEN, digest);
    return modal_blob_upload(c, &body, digest, ret_id, err);
}

static void uploads(void **state)
{
    const struct {
        enum plan plan;
        int fail_first;
        bool wrong_etag, wrong_end, forbidden;
        const char *id, *text;
    } cases[] = {
        {PLAN_URL, 0, false, false, false, "bl-1", NULL},
        {PLAN_URL, 1, false, false, false, "bl-1", NULL},
        {PLAN_URL, 0, true, false, false, NULL, "uploading: the server received something else"},
        {PLAN_URL, 0, false, false, true, NULL, "uploading: the storage answered with HTTP status 403"},
        {PLAN_OLD_URL, 0, false, false, false, "bl-old", NULL},
        {PLAN_SECOND_STORAGE, 0, false, false, false, "bl-2", NULL},
        {PLAN_PARTS, 0, false, false, false, "bl-1", NULL},
        {PLAN_PARTS, 0, false, true, false, NULL, "uploading: the server received something else"},
        {PLAN_BAD_PARTS, 0, false, false, false, NULL,
         "uploading: the server's plan of parts does not fit the contents"},
        {PLAN_NOTHING, 0, false, false, false, NULL, "uploading: the server names no place for the contents"},
    };
    struct modal_client_options options = {.token_id = "ak-1", .token_secret = "as-1"};
    struct server *server = server_start(SERVER_UNIX);
    struct loop *loop = loop_new();
    cleanup_free char *data = xmalloc(BODY_LEN);
    struct modal_client *c;

    (void)state;
    atomic_store(&server->hook, play);
    options.server_url = server->url;
    c = modal_client_new(loop, &options, NULL);
    for (size_t i = 0; i < BODY_LEN; i++)
        data[i] = (char)(i * 13 + i / 65537);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        cleanup_free char *id = NULL;
        struct err err = ERR_INIT;

        storage.plan = cases[i].plan;
        storage.fail_first = cases[i].fail_first;
        storage.wrong_etag = cases[i].wrong_etag;
        storage.wrong_end = cases[i].wrong_end;
        storage.forbidden = cases[i].forbidden;
        storage.puts = storage.posts = 0;
        assert_int_equal(upload(c, data, &id, &err), cases[i].id ? 0 : -1);
        if (cases[i].id)
            assert_string_equal(id, cases[i].id);
        else
            assert_string_equal(err.msg, cases[i].text);
        err_clear(&err);
        if (cases[i].id && cases[i].plan == PLAN_PARTS) {
            assert_int_equal(storage.puts, 3);
            assert_int_equal(storage.posts, 1);
            assert_memory_equal(storage.parts[1].data, data, PART_LEN);
            assert_memory_equal(storage.parts[3].data, data + 2 * PART_LEN, BODY_LEN - 2 * PART_LEN);
            assert_int_equal(storage.parts[3].len, BODY_LEN - 2 * PART_LEN);
            assert_non_null(strstr(storage.list, "<PartNumber>3</PartNumber>"));
        } else if (cases[i].id) {
            assert_int_equal(storage.parts[1].len, BODY_LEN);
            assert_memory_equal(storage.parts[1].data, data, BODY_LEN);
            assert_int_equal(strlen(storage.md5_header), 24);
        }
    }
    modal_client_free(c);
    loop_free(loop);
    server_stop(server);
}

/* Contents that are no longer what was hashed are not sent. */
static void changed_contents(void **state)
{
    struct modal_client_options options = {
        .server_url = "http://127.0.0.1:1", .token_id = "ak-1", .token_secret = "as-1"};
    const struct http_body body = {.data = "abc", .len = 3};
    struct loop *loop = loop_new();
    struct modal_client *c = modal_client_new(loop, &options, NULL);
    uint8_t digest[SHA256_LEN] = {0};
    struct err err = ERR_INIT;
    char *id = NULL;

    (void)state;
    assert_int_equal(modal_blob_upload(c, &body, digest, &id, &err), -1);
    assert_string_equal(err.msg, "the contents changed while they were read");
    err_clear(&err);
    modal_client_free(c);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uploads),
        cmocka_unit_test(changed_contents),
    };
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int ret;

    signal(SIGPIPE, SIG_IGN);
    unsetenv("http_proxy");
    for (int i = 0; i < 4; i++)
        buf_init(&storage.parts[i], 16u << 20);
    storage.fd = socket(AF_INET, SOCK_STREAM, 0);
    bind(storage.fd, (struct sockaddr *)&address, sizeof(address));
    listen(storage.fd, 4);
    getsockname(storage.fd, (struct sockaddr *)&address, &len);
    storage.port = ntohs(address.sin_port);
    pthread_create(&storage.thread, NULL, storage_main, NULL);
    ret = cmocka_run_group_tests(tests, NULL, NULL);
    shutdown(storage.fd, SHUT_RDWR);
    pthread_join(storage.thread, NULL);
    close(storage.fd);
    for (int i = 0; i < 4; i++)
        buf_clear(&storage.parts[i]);
    return ret;
}
