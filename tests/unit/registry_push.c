/* link: atp_registry atp_translate atp_docker atp_lib atp_sys atp_base */
/* The pushing side against a server that answers as told, each test a list of exchanges; and what needs no server. */
#include "backends/registry/compress.h"
#include "backends/registry/digest.h"
#include "backends/registry/manifest.h"
#include "backends/registry/manifest_write.h"
#include "backends/registry/push.h"
#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define BIG  (3 << 20)
#define AUTH "Authorization: Basic bWU6cHc=\r\n"

/* One exchange: the request line begins with start, the head has and lacks these. reply NULL: the connection breaks
 * after `take` bytes of the body. %d in reply: the other server's port. */
struct step {
    const char *start, *has, *lacks, *reply;
    long take;
};

struct server {
    int fd, port, other_port;
    const struct step *steps;
    size_t len, at;
    char failure[3000];
    pthread_t thread;
};

static bool read_head(int fd, char *head, size_t size)
{
    size_t n = 0;

    while (n + 1 < size && read(fd, head + n, 1) == 1) {
        head[++n] = '\0';
        if (n > 4 && strcmp(head + n - 4, "\r\n\r\n") == 0)
            return true;
    }
    return false;
}

static void take_body(int fd, const char *head, long most)
{
    const char *length = strstr(head, "Content-Length: ");
    long left = length ? strtol(length + 16, NULL, 10) : 0;
    char piece[65536];

    if (most >= 0 && most < left)
        left = most;
    while (left > 0) {
        ssize_t n = read(fd, piece, left < (long)sizeof(piece) ? (size_t)left : sizeof(piece));

        if (n <= 0)
            return;
        left -= n;
    }
}

static void answer(struct server *s, int fd, const char *head)
{
    const struct step *step = &s->steps[s->at];
    char text[1024], out[2048];
    size_t end;

    if (s->at >= s->len) {
        snprintf(s->failure, sizeof(s->failure), "one request too many: %.300s", head);
        return;
    }
    s->at++;
    if (strncmp(head, step->start, strlen(step->start)) != 0 || (step->has && !strstr(head, step->has)) ||
        (step->lacks && strstr(head, step->lacks)))
        snprintf(s->failure, sizeof(s->failure), "request %zu is not as expected: %.1000s", s->at, head);
    take_body(fd, head, step->reply ? -1 : step->take);
    if (!step->reply)
        return;
    snprintf(text, sizeof(text), step->reply, s->other_port);
    end = strcspn(text, "|"); /* what is behind it is the body */
    snprintf(out, sizeof(out), "HTTP/1.1 %.*s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", (int)end, text,
             text[end] ? strlen(text + end + 1) : 0, text[end] ? text + end + 1 : "");
    (void)!write(fd, out, strlen(out));
}

static void *serve(void *arg)
{
    struct server *s = arg;
    int fd;

    while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
        char head[8192];

        if (read_head(fd, head, sizeof(head)))
            answer(s, fd, head);
        close(fd);
    }
    return NULL;
}

static void server_start(struct server *s, const struct step *steps, size_t len)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);

    *s = (struct server){.fd = socket(AF_INET, SOCK_STREAM, 0), .steps = steps, .len = len};
    assert_int_equal(bind(s->fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(s->fd, 16), 0);
    getsockname(s->fd, (struct sockaddr *)&at, &size);
    s->port = ntohs(at.sin_port);
    pthread_create(&s->thread, NULL, serve, s);
}

static void server_stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    assert_string_equal(s->failure, "");
    assert_int_equal(s->at, s->len);
}

static char *big; /* BIG bytes */
static char big_digest[80], small_digest[80];

static struct registry *open_server(const struct server *s, const struct strlist *mount_from)
{
    static struct registry_options options;
    cleanup_free char *name = xasprintf("127.0.0.1:%d/x", s->port);
    struct registry *r;

    options = (struct registry_options){.user = "me", .password = "pw", .push = true, .mount_from = mount_from};
    r = registry_open(name, &options, NULL);
    assert_non_null(r);
    return r;
}

static int upload(const struct server *s, bool large, struct err *err)
{
    struct registry_upload blob = {.bytes = large ? big : "small", .size = large ? BIG : 5, .fd = -1};
    struct registry *r = open_server(s, NULL);
    int ret;

    blob.digest = large ? big_digest : small_digest;
    ret = registry_upload_blob(r, &blob, err);
    registry_free(r);
    return ret;
}

static void run(const struct step *steps, size_t len, bool large, const char *expected_error)
{
    struct err err = ERR_INIT;
    struct server s;
    int ret;

    server_start(&s, steps, len);
    ret = upload(&s, large, &err);
    if (ret < 0 && (!expected_error || !strstr(err.msg, expected_error)))
        fail_msg("unexpected error: %s (%s)", err.msg, s.failure);
    assert_int_equal(ret, expected_error ? -1 : 0);
    err_clear(&err);
    server_stop(&s);
}

#define RUN(steps, large, error) run(steps, sizeof(steps) / sizeof(*(steps)), large, error)

static void test_a_broken_transfer_goes_on(void **state)
{
    static const struct step steps[] = {
        {"POST /v2/x/blobs/uploads/ ", "Content-Length: 0\r\n", NULL, "202 Accepted\r\nLocation: /v2/x/up?s=1", 0},
        {"PATCH /v2/x/up?s=1 ", "Content-Length: 3145728\r\n", "Content-Range", NULL, 1000000},
        {"GET /v2/x/up?s=1 ", NULL, NULL, "204 No Content\r\nRange: 0-999999\r\nLocation: /v2/x/up?s=2", 0},
        {"PATCH /v2/x/up?s=2 ", "Content-Range: 1000000-3145727\r\n", NULL, "202 Accepted\r\nLocation: /v2/x/up?s=3",
         0},
        {"PUT /v2/x/up?s=3&digest=sha256:", "Content-Length: 0\r\n", NULL, "201 Created", 0},
    };
    /* "0-0" is one byte or none; a registry that has lost the upload says 404. */
    static const struct step unknown[] = {
        {"POST ", NULL, NULL, "202 Accepted\r\nLocation: up1", 0},
        {"PATCH /up1 ", NULL, NULL, NULL, 10},
        {"GET /up1 ", NULL, NULL, "204 No Content\r\nRange: 0-0\r\nLocation: up1", 0},
        {"POST ", NULL, NULL, "202 Accepted\r\nLocation: up2", 0},
        {"PATCH /up2 ", NULL, "Content-Range", NULL, 10},
        {"GET /up2 ", NULL, NULL, "404 Not Found", 0},
        {"POST ", NULL, NULL, "202 Accepted\r\nLocation: up3", 0},
        {"PATCH /up3 ", NULL, "Content-Range", "202 Accepted", 0},
        {"PUT /up3?digest=", NULL, NULL, "201 Created", 0},
    };
    static const struct step full[] = {
        {"POST ", NULL, NULL, "202 Accepted\r\nLocation: /up", 0},
        {"PATCH ", NULL, NULL, NULL, BIG},
        {"GET ", NULL, NULL, "204 No Content\r\nRange: 0-3145727\r\nLocation: /up2", 0},
        {"PUT /up2?digest=", NULL, NULL, "201 Created", 0},
    };

    (void)state;
    RUN(steps, true, NULL);
    RUN(unknown, true, NULL);
    RUN(full, true, NULL);
}

static void test_small_blobs_go_with_the_last_request(void **state)
{
    static const struct step steps[] = {
        {"POST ", NULL, NULL, "202 Accepted\r\nLocation: /up", 0},
        {"PUT /up?digest=sha256:", "Content-Length: 5\r\n", NULL, "201 Created", 0},
    };
    /* The answer was lost on the way: the blob is there. */
    static const struct step lost[] = {
        {"POST ", NULL, NULL, "202 Accepted\r\nLocation: /up", 0},
        {"PUT /up?", NULL, NULL, NULL, 5},
        {"PUT /up?", NULL, NULL, "404 Not Found", 0},
        {"HEAD /v2/x/blobs/sha256:", NULL, NULL, "200 OK", 0},
    };
    static const struct step other[] = {
        {"POST ", NULL, NULL, "202 Accepted\r\nLocation: /up", 0},
        {"PUT /up?", NULL, NULL,
         "201 Created\r\n"
         "Docker-Content-Digest: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
         0},
    };
    static const struct step nowhere[] = {{"POST ", NULL, NULL, "202 Accepted", 0}};

    (void)state;
    RUN(steps, false, NULL);
    RUN(lost, false, NULL);
    RUN(other, false, "the registry has stored sha256:e3b0");
    RUN(nowhere, false, "without saying where");
}

static void test_refusals(void **state)
{
    static const struct step denied[] = {
        {"POST ", NULL, NULL,
         "403 Forbidden|{\"errors\":[{\"code\":\"DENIED\",\"message\":\"requested access to the resource is "
         "denied\"}]}",
         0},
    };
    static const struct step wrong[] = {
        {"POST ", NULL, "Authorization", "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"", 0},
        {"POST ", AUTH, NULL,
         "401 Unauthorized\r\nWWW-Authenticate: Basic "
         "realm=\"x\"|{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\"}]}",
         0},
    };
    static const struct step digest[] = {
        {"POST ", NULL, NULL, "202 Accepted\r\nLocation: /up", 0},
        {"PUT ", NULL, NULL,
         "400 Bad Request|{\"errors\":[{\"code\":\"DIGEST_INVALID\",\"message\":\"provided digest did not match\"}]}",
         0},
    };

    (void)state;
    RUN(denied, false, "denied: requested access to the resource is denied");
    RUN(wrong, false, "unauthorized: authentication required");
    RUN(digest, false, "digest invalid: provided digest did not match");
}

/* Bytes may go to another host; what opens the registry does not, on no way. */
static void test_credentials_stay_at_the_registry(void **state)
{
    static const struct step first[] = {
        {"POST ", NULL, "Authorization", "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"", 0},
        {"POST ", AUTH, NULL, "202 Accepted\r\nLocation: http://localhost:%d/up", 0},
    };
    static const struct step second[] = {{"PUT /up?digest=", NULL, "Authorization", "201 Created", 0}};
    static const struct step redirect[] = {
        {"POST ", NULL, "Authorization", "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"", 0},
        {"POST ", AUTH, NULL, "202 Accepted\r\nLocation: /up", 0},
        {"PUT /up", AUTH, NULL, "307 Temporary Redirect\r\nLocation: http://localhost:%d/away?digest=", 0},
    };
    static const struct step away[] = {
        {"PUT /away?digest=", "Content-Length: 5\r\n", "Authorization", "201 Created", 0}};
    static const struct step *const pairs[][2] = {{first, second}, {redirect, away}};
    static const size_t lens[] = {2, 3};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct err err = ERR_INIT;
        struct server a, b;

        server_start(&b, pairs[i][1], 1);
        server_start(&a, pairs[i][0], lens[i]);
        a.other_port = b.port;
        if (upload(&a, false, &err) < 0)
            fail_msg("%s (%s%s)", err.msg, a.failure, b.failure);
        server_stop(&a);
        server_stop(&b);
    }
}

static void test_mounts_and_scopes(void **state)
{
    static const struct step registry[] = {
        {"POST /v2/x/blobs/uploads/?mount=sha256:", NULL, NULL,
         "401 Unauthorized\r\nWWW-Authenticate: Bearer "
         "realm=\"http://127.0.0.1:%d/t\",service=\"s\",scope=\"repository:x:pull\"",
         0},
        {"POST /v2/x/blobs/uploads/?mount=sha256:", "Authorization: Bearer t1\r\n", NULL, "201 Created", 0},
        {"POST /v2/x/blobs/uploads/?mount=sha256:", NULL, NULL, "202 Accepted\r\nLocation: /up", 0},
        {"DELETE /up ", NULL, NULL, "204 No Content", 0},
        {"POST /v2/x/blobs/uploads/?mount=sha256:", NULL, NULL, "403 Forbidden", 0},
    };
    static const struct step tokens[] = {
        {"GET /t?scope=repository%3Ax%3Apull%2Cpush&scope=repository%3Aa%2Fb%3Apull&service=s&account=me ", AUTH, NULL,
         "200 OK|{\"token\":\"t1\"}", 0},
    };
    struct strlist from = STRLIST_INIT;
    struct err err = ERR_INIT;
    struct registry *r;
    struct server a, b;

    (void)state;
    strlist_add(&from, "a/b");
    server_start(&b, tokens, 1);
    server_start(&a, registry, 5);
    a.other_port = b.port;
    r = open_server(&a, &from);
    assert_int_equal(registry_mount_blob(r, big_digest, "a/b", &err), 1);
    assert_int_equal(registry_mount_blob(r, big_digest, "a/b", &err), 0);
    assert_int_equal(registry_mount_blob(r, big_digest, "a/b", &err), 0);
    registry_free(r);
    server_stop(&a);
    server_stop(&b);
    strlist_clear(&from);
}

/* While somebody else sends the same blob a registry may deny having it: once more, and not for ever. */
static void test_a_manifest_is_sent_again(void **state)
{
#define DENIED                                                                                                         \
    {                                                                                                                  \
        "PUT /v2/x/manifests/1 ", "Content-Length: 2\r\n", NULL,                                                       \
            "400 Bad Request|{\"errors\":[{\"code\":\"MANIFEST_BLOB_UNKNOWN\",\"message\":\"blob unknown\"}]}", 0      \
    }
    static const struct step later[] = {DENIED, DENIED, {"PUT /v2/x/manifests/1 ", NULL, NULL, "201 Created", 0}};
    static const struct step never[] = {DENIED, DENIED, DENIED, DENIED, DENIED};
    static const struct step refused[] = {
        {"PUT ", NULL, NULL, "413 Too Large|{\"errors\":[{\"code\":\"SIZE\",\"message\":\"too large\"}]}", 0}};
    static const struct {
        const struct step *steps;
        size_t len;
        int ret;
    } all[] = {{later, 3, 0}, {never, 5, -1}, {refused, 1, -1}};

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        cleanup_err struct err err = ERR_INIT;
        struct registry *r;
        struct server s;

        server_start(&s, all[i].steps, all[i].len);
        r = open_server(&s, NULL);
        assert_int_equal(registry_put_manifest(r, "1", "{}", "application/json", NULL, &err), all[i].ret);
        registry_free(r);
        server_stop(&s);
    }
#undef DENIED
}

static void test_tags_come_in_pages(void **state)
{
    static const struct step steps[] = {
        {"GET /v2/x/tags/list ", NULL, NULL,
         "200 OK\r\nLink: </v2/x/tags/list?last=b&n=2>; rel=\"next\"|{\"name\":\"x\",\"tags\":[\"a\",\"b\"]}", 0},
        {"GET /v2/x/tags/list?last=b&n=2 ", NULL, NULL, "200 OK|{\"name\":\"x\",\"tags\":[\"c\",7]}", 0},
        {"GET /v2/x/tags/list ", NULL, NULL, "200 OK|{\"name\":\"x\",\"tags\":null}", 0},
        {"GET /v2/x/tags/list ", NULL, NULL, "200 OK|nothing", 0},
    };
    struct strlist tags = STRLIST_INIT;
    struct err err = ERR_INIT;
    struct registry *r;
    struct server s;

    (void)state;
    server_start(&s, steps, 4);
    r = open_server(&s, NULL);
    assert_int_equal(registry_tags(r, &tags, &err), 0);
    assert_int_equal(tags.len, 3);
    assert_string_equal(tags.items[2], "c");
    assert_int_equal(registry_tags(r, &tags, &err), 0);
    assert_int_equal(tags.len, 3);
    assert_int_equal(registry_tags(r, &tags, &err), -1);
    registry_free(r);
    strlist_clear(&tags);
    err_clear(&err);
    server_stop(&s);
}

static void test_login(void **state)
{
    static const struct step steps[] = {
        {"GET /v2/ ", NULL, NULL, "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"", 0},
        {"GET /v2/ ", AUTH, NULL, "200 OK|{}", 0},
        {"GET /v2/ ", NULL, NULL, "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"", 0},
        {"GET /v2/ ", NULL, NULL, "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"", 0},
        {"GET /v2/ ", NULL, NULL, "404 Not Found", 0},
    };
    struct err err = ERR_INIT;
    char host[64], url[200];
    struct server s;

    (void)state;
    server_start(&s, steps, 5);
    snprintf(host, sizeof(host), "127.0.0.1:%d", s.port);
    snprintf(url, sizeof(url), "login attempt to http://%s/v2/ failed with status: 401 Unauthorized", host);
    assert_int_equal(registry_login(host, "me", "pw", &err), 0);
    assert_int_equal(registry_login(host, "me", "secret", &err), -1);
    assert_string_equal(err.msg, url);
    assert_int_equal(registry_login(host, "me", "secret", &err), -1);
    assert_non_null(strstr(err.msg, "404 Not Found"));
    assert_int_equal(registry_login("a b", "me", "secret", &err), -1);
    err_clear(&err);
    server_stop(&s);
}

static void test_manifest_text(void **state)
{
    char tar[] = "application/vnd.oci.image.layer.v1.tar+gzip", zstd[] = "application/vnd.oci.image.layer.v1.tar+zstd";
    struct registry_layer layers[] = {{small_digest, tar, 5}, {big_digest, zstd, BIG}};
    struct registry_image read = REGISTRY_IMAGE_INIT;
    const char *type;
    int64_t size;
    char *text;

    (void)state;
    text = manifest_write("{}", layers, 1, &type);
    assert_string_equal(type, "application/vnd.docker.distribution.manifest.v2+json");
    assert_non_null(strstr(text, "\n         \"mediaType\": \"application/vnd.docker.image.rootfs.diff.tar.gzip\",\n"));
    free(text);
    text = manifest_write("{}", layers, 2, &type);
    assert_string_equal(type, "application/vnd.oci.image.manifest.v1+json");
    assert_non_null(strstr(text, zstd));
    assert_int_equal(manifest_parse(text, strlen(text), &read, &size, NULL), 0);
    assert_int_equal(read.layers_len, 2);
    assert_int_equal(size, 2);
    registry_image_clear(&read);
    free(text);
    text = manifest_write("{}", layers, 0, &type);
    assert_int_equal(manifest_parse(text, strlen(text), &read, &size, NULL), 0);
    registry_image_clear(&read);
    free(text);
}

/* The same bytes in other pieces, at another time. */
static void test_compression_is_always_the_same(void **state)
{
    char *digests[2];
    int64_t sizes[2];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        FILE *f = tmpfile();
        struct gzip_file *g = gzip_file_new(fileno(f), NULL);
        char hex[DIGEST_HEX + 1];

        for (size_t at = 0; at < BIG; at += i ? 1 << 16 : 1 << 19)
            assert_int_equal(gzip_file_add(g, big + at, i ? 1 << 16 : 1 << 19, NULL), 0);
        assert_int_equal(gzip_file_end(g, &digests[i], &sizes[i], NULL), 0);
        gzip_file_free(g);
        assert_int_equal(lseek(fileno(f), 0, SEEK_END), sizes[i]);
        lseek(fileno(f), 0, SEEK_SET);
        assert_int_equal(digest_of_fd(fileno(f), hex, NULL), 0);
        assert_string_equal(hex, digest_strip(digests[i]));
        fclose(f);
        if (i == 0)
            sleep(1);
    }
    assert_string_equal(digests[0], digests[1]);
    free(digests[0]);
    free(digests[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_broken_transfer_goes_on),
        cmocka_unit_test(test_small_blobs_go_with_the_last_request),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_credentials_stay_at_the_registry),
        cmocka_unit_test(test_mounts_and_scopes),
        cmocka_unit_test(test_a_manifest_is_sent_again),
        cmocka_unit_test(test_tags_come_in_pages),
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_manifest_text),
        cmocka_unit_test(test_compression_is_always_the_same),
    };
    char hex[DIGEST_HEX + 1];
    int failed;

    big = xmalloc(BIG);
    for (size_t i = 0; i < BIG; i++)
        big[i] = (char)(i * 2654435761u >> 13);
    digest_of(big, BIG, hex);
    snprintf(big_digest, sizeof(big_digest), DIGEST_PREFIX "%s", hex);
    digest_of("small", 5, hex);
    snprintf(small_digest, sizeof(small_digest), DIGEST_PREFIX "%s", hex);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(big);
    return failed;
}
