/* link: atp_registry atp_translate atp_docker atp_sys atp_base */
/* The registry client against a server of our own that misbehaves as told: each test is a list of answers. */
#include "backends/registry/challenge.h"
#include "backends/registry/client.h"
#include "backends/registry/digest.h"
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
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* One expected request: the line must begin with start, the head must contain has and must not contain lacks. */
struct step {
    const char *start, *has, *lacks;
    const char *head; /* status and headers, without Content-Length; %d = the other server's port */
    const char *body;
    size_t announce; /* Content-Length when it is not the body's own */
};

struct server {
    int fd, port;
    const struct step *steps;
    size_t len, at;
    int other_port;
    char failure[2048];
    pthread_t thread;
};

/* Reads one request's head. */
static bool read_head(int fd, char *head, size_t size)
{
    size_t n = 0;
    ssize_t r;

    while (n + 1 < size && (r = read(fd, head + n, 1)) > 0) {
        n++;
        head[n] = '\0';
        if (n > 4 && strcmp(head + n - 4, "\r\n\r\n") == 0)
            return true;
    }
    return false;
}

static void answer(struct server *s, int fd, const char *request)
{
    const struct step *step = &s->steps[s->at];
    char head[1024], out[4096];
    size_t len;

    if (s->at >= s->len) {
        snprintf(s->failure, sizeof(s->failure), "one request too many: %.200s", request);
        return;
    }
    s->at++;
    if (strncmp(request, step->start, strlen(step->start)) != 0 || (step->has && !strstr(request, step->has)) ||
        (step->lacks && strstr(request, step->lacks)))
        snprintf(s->failure, sizeof(s->failure), "request %zu is not as expected: %.1000s", s->at, request);
    len = step->body ? strlen(step->body) : 0;
    snprintf(head, sizeof(head), step->head, s->other_port);
    snprintf(out, sizeof(out), "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", head,
             step->announce ? step->announce : len);
    (void)!write(fd, out, strlen(out));
    if (len)
        (void)!write(fd, step->body, len);
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

#define BLOB "0123456789abcdef"

static char blob_digest[80];

/* Fetches the blob BLOB; what arrived is in got. */
static int fetch(struct server *s, int64_t size, char *got, size_t got_size, struct err *err)
{
    char name[64];
    struct registry_options options = {.user = "me", .password = "pass word"};
    struct registry *r;
    FILE *f = tmpfile();
    size_t n;
    int ret;

    snprintf(name, sizeof(name), "127.0.0.1:%d/x", s->port);
    r = registry_open(name, &options, err);
    assert_non_null(r);
    ret = registry_blob(r, blob_digest, size, fileno(f), err);
    registry_free(r);
    rewind(f);
    n = fread(got, 1, got_size - 1, f);
    got[n] = '\0';
    fclose(f);
    return ret;
}

static void run(const struct step *steps, size_t len, int64_t size, const char *expected_error)
{
    struct server s;
    struct err err = ERR_INIT;
    char got[256];

    server_start(&s, steps, len);
    if (fetch(&s, size, got, sizeof(got), &err) < 0) {
        if (!expected_error || !strstr(err.msg, expected_error))
            fail_msg("unexpected error: %s", err.msg);
        assert_null(strstr(err.msg, "pass word"));
    } else {
        assert_null(expected_error);
        assert_string_equal(got, BLOB);
    }
    err_clear(&err);
    server_stop(&s);
}

#define RUN(steps, size, error) run(steps, sizeof(steps) / sizeof(*(steps)), size, error)

static void test_dropped_transfer_goes_on(void **state)
{
    static const struct step steps[] = {
        {"GET /v2/x/blobs/sha256:", NULL, "Range", "200 OK", "01234", 16},
        {"GET /v2/x/blobs/sha256:", "Range: bytes=5-\r\n", NULL, "206 Partial Content", "56789", 11},
        {"GET /v2/x/blobs/sha256:", "Range: bytes=10-\r\n", NULL, "206 Partial Content", "abcdef", 0},
    };
    /* A server that does not know ranges sends all of it again. */
    static const struct step all_again[] = {
        {"GET /v2/", NULL, "Range", "200 OK", "0123456", 16},
        {"GET /v2/", "Range: bytes=7-\r\n", NULL, "200 OK", BLOB, 0},
    };

    (void)state;
    RUN(steps, 16, NULL);
    RUN(all_again, 16, NULL);
    RUN(all_again, -1, NULL);
}

static void test_busy_and_broken(void **state)
{
    static const struct step steps[] = {
        {"GET /v2/", NULL, NULL, "429 Too Many Requests\r\nRetry-After: 0", "", 0},
        {"GET /v2/", NULL, NULL, "503 Service Unavailable", "", 0},
        {"GET /v2/", NULL, NULL, "200 OK", BLOB, 0},
    };
    static const struct step too_long[] = {
        {"GET /v2/", NULL, NULL, "429 Too Many Requests\r\nRetry-After: 3600",
         "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"slow down\"}]}", 0},
    };
    static const struct step not_found[] = {
        {"GET /v2/", NULL, NULL, "404 Not Found", "{\"errors\":[{\"code\":\"BLOB_UNKNOWN\",\"message\":\"gone\"}]}", 0},
    };

    (void)state;
    RUN(steps, 16, NULL);
    RUN(too_long, 16, "toomanyrequests: slow down");
    RUN(not_found, 16, "blob unknown: gone");
}

static void test_wrong_bytes(void **state)
{
    static const struct step other[] = {{"GET /v2/", NULL, NULL, "200 OK", "0123456789abcdeX", 0}};
    static const struct step longer[] = {{"GET /v2/", NULL, NULL, "200 OK", BLOB "g", 0}};
    static const struct step shorter[] = {{"GET /v2/", NULL, NULL, "200 OK", "0123", 0}};

    (void)state;
    RUN(other, 16, "filesystem layer verification failed for digest sha256:");
    RUN(longer, 16, "the blob is larger than its 16 bytes");
    RUN(shorter, 16, "4 of 16 bytes");
}

static void test_redirect_does_not_carry_credentials(void **state)
{
    static const struct step first[] = {
        {"GET /v2/", NULL, "Authorization", "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"", "", 0},
        {"GET /v2/", "Authorization: Basic bWU6cGFzcyB3b3Jk\r\n", NULL,
         "307 Temporary Redirect\r\nLocation: http://localhost:%d/elsewhere", "", 0},
    };
    static const struct step second[] = {{"GET /elsewhere", NULL, "Authorization", "200 OK", BLOB, 0}};
    struct server a, b;
    struct err err = ERR_INIT;
    char got[64];

    (void)state;
    server_start(&b, second, 1);
    server_start(&a, first, 2);
    a.other_port = b.port;
    assert_int_equal(fetch(&a, 16, got, sizeof(got), &err), 0);
    assert_string_equal(got, BLOB);
    server_stop(&a);
    server_stop(&b);
}

/* Who was only sent on to has no say in where the registry's password goes. */
static void test_redirect_does_not_ask_for_credentials(void **state)
{
    static const struct step first[] = {
        {"GET /v2/", NULL, "Authorization", "307 Temporary Redirect\r\nLocation: http://localhost:%d/elsewhere", "", 0},
    };
    static const struct step second[] = {
        {"GET /elsewhere", NULL, "Authorization",
         "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:1/token\"", "", 0}};
    struct server a, b;
    struct err err = ERR_INIT;
    char got[64];

    (void)state;
    server_start(&b, second, 1);
    server_start(&a, first, 1);
    a.other_port = b.port;
    assert_int_equal(fetch(&a, 16, got, sizeof(got), &err), -1);
    assert_non_null(strstr(err.msg, "pull access denied"));
    err_clear(&err);
    server_stop(&a);
    server_stop(&b);
}

/* The token is asked for once with the user's name, used, and asked for again when the registry no longer takes it. */
static void test_token(void **state)
{
    static const struct step registry[] = {
        {"GET /v2/", NULL, "Authorization",
         "401 Unauthorized\r\nWWW-Authenticate: Bearer "
         "realm=\"http://127.0.0.1:%d/token\",service=\"s v\",scope=\"repository:x:pull\"",
         "", 0},
        {"GET /v2/", "Authorization: Bearer t1\r\n", NULL, "200 OK", "012", 16},
        {"GET /v2/", "Authorization: Bearer t1\r\n", NULL,
         "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:%d/token\",service=\"s v\"", "", 0},
        {"GET /v2/", "Authorization: Bearer t2\r\n", NULL, "206 Partial Content", "3456789abcdef", 0},
    };
    static const struct step tokens[] = {
        {"GET /token?scope=repository%3Ax%3Apull&service=s%20v&account=me ", "Authorization: Basic bWU6cGFzcyB3b3Jk",
         NULL, "200 OK", "{\"token\":\"t1\"}", 0},
        {"GET /token?scope=repository%3Ax%3Apull&service=s%20v&account=me ", NULL, NULL, "200 OK",
         "{\"access_token\":\"t2\"}", 0},
    };
    struct server a, b;
    struct err err = ERR_INIT;
    char got[64];

    (void)state;
    server_start(&b, tokens, 2);
    server_start(&a, registry, 4);
    a.other_port = b.port;
    assert_int_equal(fetch(&a, 16, got, sizeof(got), &err), 0);
    assert_string_equal(got, BLOB);
    server_stop(&a);
    server_stop(&b);
}

static void test_token_refused(void **state)
{
    static const struct step registry[] = {
        {"GET /v2/", NULL, NULL, "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:%d/token\"", "",
         0},
    };
    static const struct step tokens[] = {{"GET /token", NULL, NULL, "401 Unauthorized", "", 0}};
    /* A password is not sent over http to a host elsewhere. */
    static const struct step elsewhere[] = {
        {"GET /v2/", NULL, NULL, "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://example.invalid/token\"",
         "", 0},
    };
    struct server a, b;
    struct err err = ERR_INIT;
    char got[64];

    (void)state;
    server_start(&b, tokens, 1);
    server_start(&a, registry, 1);
    a.other_port = b.port;
    assert_int_equal(fetch(&a, 16, got, sizeof(got), &err), -1);
    assert_int_equal(err.code, REGISTRY_DENIED);
    assert_non_null(strstr(err.msg, "unauthorized: incorrect username or password"));
    err_clear(&err);
    server_stop(&a);
    server_stop(&b);
    RUN(elsewhere, 16, "refusing to send credentials to a token server over http");
}

static int open_image(const struct step *steps, size_t len, const char *suffix, struct err *err)
{
    struct registry_image image = REGISTRY_IMAGE_INIT;
    struct server s;
    char name[160];
    int ret;

    server_start(&s, steps, len);
    snprintf(name, sizeof(name), "127.0.0.1:%d/x%s", s.port, suffix);
    ret = registry_image_config(name, NULL, NULL, &image, err);
    registry_image_clear(&image);
    server_stop(&s);
    return ret;
}

static void test_bad_manifests(void **state)
{
    static const struct {
        const char *body, *error;
    } cases[] = {
        {"", "invalid manifest"},
        {"[]", "not an object"},
        {"{\"schemaVersion\":1}", "schema 1 are not supported"},
        {"{\"schemaVersion\":2}", "unsupported manifest media type: unknown"},
        {"{\"config\":{\"digest\":\"md5:0\"},\"layers\":[]}", "no sha256 digest"},
        {"{\"config\":{\"mediaType\":\"application/vnd.cncf.helm.config.v1+json\"},\"layers\":[]}",
         "unsupported media type application/vnd.cncf.helm"},
        {"{\"config\":{\"digest\":\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"size\":"
         "-1},"
         "\"layers\":[]}",
         "impossible size"},
        {"{\"manifests\":[]}", "no matching manifest for linux/amd64 in the manifest list entries"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const struct step steps[] = {{"GET /v2/x/manifests/latest", "Accept: ", NULL, "200 OK", cases[i].body, 0}};
        struct err err = ERR_INIT;

        assert_int_equal(open_image(steps, 1, "", &err), -1);
        if (!strstr(err.msg, cases[i].error))
            fail_msg("%s: %s", cases[i].body, err.msg);
        err_clear(&err);
    }
}

static void test_manifest_is_not_what_was_asked(void **state)
{
    static const struct step steps[] = {{"GET /v2/x/manifests/sha256:", NULL, NULL, "200 OK", "{}", 0}};
    static const struct step header[] = {
        {"GET /v2/x/manifests/t", NULL, NULL,
         "200 OK\r\nDocker-Content-Digest: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
         "{}", 0}};
    static const struct step denied[] = {{"GET /v2/x/manifests/t", NULL, NULL, "403 Forbidden",
                                          "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not \\u0007yours\"}]}", 0}};
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(
        open_image(steps, 1, "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", &err), -1);
    assert_non_null(strstr(err.msg, "manifest verification failed for digest sha256:e3b0"));
    assert_int_equal(err.code, REGISTRY_CORRUPT);
    assert_int_equal(open_image(header, 1, ":t", &err), -1);
    assert_non_null(strstr(err.msg, "manifest verification failed"));
    assert_int_equal(open_image(denied, 1, ":t", &err), -1);
    assert_non_null(strstr(err.msg, "/x, repository does not exist or may require 'docker login': denied: not  yours"));
    err_clear(&err);
}

static void test_challenges(void **state)
{
    struct strlist l = STRLIST_INIT;
    struct challenge c;

    (void)state;
    strlist_add(&l, "Negotiate, Basic realm=\"a, b\"");
    strlist_add(&l, "Bearer realm=\"https://x/t?a=b\" , service=plain,scope=\"r:\\\"q\\\":pull,push\",error=\"x\"");
    strlist_add(&l, "Bearer realm=second");
    challenge_parse(&l, &c);
    assert_true(c.basic);
    assert_true(c.bearer);
    assert_string_equal(c.realm, "https://x/t?a=b");
    assert_string_equal(c.service, "plain");
    assert_string_equal(c.scope, "r:\"q\":pull,push");
    challenge_clear(&c);
    strlist_clear(&l);
    strlist_add(&l, "Bearer realm=\"open");
    strlist_add(&l, "=,=\"");
    challenge_parse(&l, &c);
    assert_string_equal(c.realm, "open");
    assert_null(c.service);
    challenge_clear(&c);
    strlist_clear(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropped_transfer_goes_on),
        cmocka_unit_test(test_busy_and_broken),
        cmocka_unit_test(test_wrong_bytes),
        cmocka_unit_test(test_redirect_does_not_carry_credentials),
        cmocka_unit_test(test_redirect_does_not_ask_for_credentials),
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_token_refused),
        cmocka_unit_test(test_bad_manifests),
        cmocka_unit_test(test_manifest_is_not_what_was_asked),
        cmocka_unit_test(test_challenges),
    };
    char hex[DIGEST_HEX + 1];

    digest_of(BLOB, strlen(BLOB), hex);
    snprintf(blob_digest, sizeof(blob_digest), DIGEST_PREFIX "%s", hex);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
