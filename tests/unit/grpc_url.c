/* link: atp_grpc atp_sys atp_base */
#include "backends/grpc/url.h"

#include "backends/grpc/grpc.h"
#include "compat/base/buf.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/sys/loop.h"

#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static void urls(void **state)
{
    const struct {
        const char *text;
        enum grpc_scheme scheme;
        const char *host;
        unsigned port;
        const char *authority;
        bool local;
    } good[] = {
        {"https://api.modal.com", GRPC_SCHEME_HTTPS, "api.modal.com", 443, "api.modal.com", false},
        {"https://api.modal.com:443/", GRPC_SCHEME_HTTPS, "api.modal.com", 443, "api.modal.com:443", false},
        {"http://LocalHost:9", GRPC_SCHEME_HTTP, "LocalHost", 9, "LocalHost:9", true},
        {"http://127.0.0.1", GRPC_SCHEME_HTTP, "127.0.0.1", 80, "127.0.0.1", true},
        {"http://[::1]:65535", GRPC_SCHEME_HTTP, "::1", 65535, "[::1]:65535", true},
        {"https://[2001:db8::2]", GRPC_SCHEME_HTTPS, "2001:db8::2", 443, "[2001:db8::2]", false},
        {"unix:///run/x y", GRPC_SCHEME_UNIX, NULL, 0, NULL, false},
        {"unix:///run/x", GRPC_SCHEME_UNIX, "/run/x", 0, "localhost", true},
        {"https://localhost.evil.test", GRPC_SCHEME_HTTPS, "localhost.evil.test", 443, "localhost.evil.test", false},
    };
    const char *const bad[] = {
        "",
        "api.modal.com",
        "ftp://a",
        "https://",
        "https:///x",
        "https://a/b",
        "https://a?b",
        "https://a#b",
        "https://user@a",
        "https://a,https://b",
        "https://a:",
        "https://a:0",
        "https://a:65536",
        "https://a:-1",
        "https://a:1:2",
        "https://[::1",
        "https://[::1]x",
        "https://[]",
        "https://a b",
        "https://a\r\nx: y",
        "unix://relative",
        "unix://",
        "unix:///"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        struct grpc_url url = {0};

        if (!good[i].host) {
            assert_int_equal(grpc_url_parse(good[i].text, &url, NULL), -1);
            continue;
        }
        assert_int_equal(grpc_url_parse(good[i].text, &url, NULL), 0);
        assert_int_equal(url.scheme, good[i].scheme);
        assert_string_equal(url.host, good[i].host);
        assert_int_equal(url.port, good[i].port);
        assert_string_equal(url.authority, good[i].authority);
        assert_int_equal(grpc_url_is_local(&url), good[i].local);
        grpc_url_clear(&url);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct grpc_url url = {0};
        struct err err = ERR_INIT;

        assert_int_equal(grpc_url_parse(bad[i], &url, &err), -1);
        assert_non_null(err.msg);
        assert_null(strchr(err.msg, '\n'));
        assert_null(url.host);
        err_clear(&err);
    }
}

static void exemptions(void **state)
{
    const struct {
        const char *list, *host;
        bool exempt;
    } cases[] = {
        {NULL, "a.test", false},        {"", "a.test", false},
        {"*", "a.test", true},          {"b.test, a.test", "a.test", true},
        {"a.test", "x.a.test", true},   {".a.test", "x.a.test", true},
        {".a.test", "a.test", true},    {"a.test", "ba.test", false},
        {"A.Test", "a.test", true},     {"a.test:443", "a.test", true},
        {"a.test:80", "a.test", false}, {"10.0.0.1", "10.0.0.1", true},
        {"0.0.1", "10.0.0.1", true},    {"2001:db8::2", "2001:db8::2", true},
        {".", "a.test", false},         {" , ,", "a.test", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_int_equal(grpc_no_proxy(cases[i].list, cases[i].host, 443), cases[i].exempt);
}

static struct strlist environment;

static char *look_up(const char *name)
{
    return (char *)strlist_env_get(&environment, name);
}

static void proxies(void **state)
{
    const struct {
        const char *set, *also, *url, *host;
        unsigned port;
        const char *authorization;
        int ret;
    } cases[] = {
        {"HTTPS_PROXY=http://p.test:3128", "", "https://a.test", "p.test", 3128, NULL, 0},
        {"https_proxy=p.test", "", "https://a.test", "p.test", 8080, NULL, 0},
        {"ALL_PROXY=http://p.test:1/", "HTTPS_PROXY=", "https://a.test", "p.test", 1, NULL, 0},
        {"ALL_PROXY=http://us%65r:p%40ss@p.test:1", "", "https://a.test", "p.test", 1, "Basic dXNlcjpwQHNz", 0},
        {"HTTPS_PROXY=http://p.test:1", "NO_PROXY=a.test", "https://a.test", NULL, 0, NULL, 0},
        {"HTTPS_PROXY=http://p.test:1", "", "http://a.test", NULL, 0, NULL, 0},
        {"HTTPS_PROXY=http://p.test:1", "", "https://localhost:1", NULL, 0, NULL, 0},
        {"HTTPS_PROXY=socks5://p.test:1", "", "https://a.test", NULL, 0, NULL, -1},
        {"HTTPS_PROXY=https://p.test:1", "", "https://a.test", NULL, 0, NULL, -1},
        {"HTTPS_PROXY=http://secret:word@", "", "https://a.test", NULL, 0, NULL, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct grpc_proxy proxy;
        struct err err = ERR_INIT;
        struct grpc_url url;

        strlist_add(&environment, cases[i].set);
        if (*cases[i].also)
            strlist_add(&environment, cases[i].also);
        grpc_url_parse(cases[i].url, &url, NULL);
        assert_int_equal(grpc_proxy_find(&url, look_up, &proxy, &err), cases[i].ret);
        if (cases[i].host)
            assert_string_equal(proxy.host, cases[i].host);
        else
            assert_null(proxy.host);
        if (cases[i].host)
            assert_int_equal(proxy.port, cases[i].port);
        if (cases[i].authorization)
            assert_string_equal(proxy.authorization, cases[i].authorization);
        else
            assert_null(proxy.authorization);
        assert_true(!err.msg || !strstr(err.msg, "word"));
        err_clear(&err);
        grpc_proxy_clear(&proxy);
        grpc_url_clear(&url);
        strlist_clear(&environment);
    }
}

/* A proxy of one connection: notes what it is asked and answers with the given line. */
struct small_proxy {
    int fd;
    const char *answer;
    char asked[512];
};

static void *small_proxy_main(void *arg)
{
    struct small_proxy *p = arg;
    int fd = accept(p->fd, NULL, NULL);
    size_t n = 0;

    while (n + 1 < sizeof(p->asked) && !strstr(p->asked, "\r\n\r\n")) {
        ssize_t got = read(fd, p->asked + n, sizeof(p->asked) - 1 - n);

        if (got <= 0)
            break;
        n += (size_t)got;
    }
    if (write(fd, p->answer, strlen(p->answer)) < 0)
        perror("write");
    close(fd);
    return NULL;
}

/* What goes to the proxy, and how its answers are taken. */
static void proxy_talk(void **state)
{
    const struct {
        const char *answer, *text;
    } cases[] = {
        {"HTTP/1.1 407 Proxy Authentication Required\r\nX: y\r\n\r\n",
         "the proxy refused: HTTP/1.1 407 Proxy Authentication Required"},
        {"garbage\r\n\r\n", "the proxy refused: garbage"},
        {"", "the proxy closed the connection or did not speak HTTP"},
        {"HTTP/1.1 200 Connection established\r\n\r\n", "closed the connection"}, /* then the TLS side sees the end */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(address);
        struct small_proxy proxy = {.fd = socket(AF_INET, SOCK_STREAM, 0), .answer = cases[i].answer};
        struct loop *loop = loop_new();
        struct grpc_channel *ch;
        struct grpc_reply reply;
        pthread_t thread;
        char url[64];

        bind(proxy.fd, (struct sockaddr *)&address, sizeof(address));
        listen(proxy.fd, 1);
        getsockname(proxy.fd, (struct sockaddr *)&address, &len);
        snprintf(url, sizeof(url), "http://me:word@127.0.0.1:%u", ntohs(address.sin_port));
        setenv("HTTPS_PROXY", url, 1);
        pthread_create(&thread, NULL, small_proxy_main, &proxy);
        ch = grpc_channel_new(loop, "https://far.away.test:8443", NULL, NULL);
        assert_int_equal(grpc_call_sync(ch, "/a/b", NULL, 0, "", 0, &reply, NULL), -1);
        assert_int_equal(reply.status, GRPC_UNAVAILABLE);
        assert_non_null(strstr(reply.message, cases[i].text));
        assert_null(strstr(reply.message, "word"));
        pthread_join(thread, NULL);
        assert_non_null(strstr(proxy.asked, "CONNECT far.away.test:8443 HTTP/1.1\r\nHost: far.away.test:8443\r\n"));
        assert_non_null(strstr(proxy.asked, "\r\nProxy-Authorization: Basic bWU6d29yZA==\r\n\r\n"));
        grpc_reply_clear(&reply);
        grpc_channel_free(ch);
        loop_free(loop);
        close(proxy.fd);
    }
    unsetenv("HTTPS_PROXY");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),
        cmocka_unit_test(exemptions),
        cmocka_unit_test(proxies),
        cmocka_unit_test(proxy_talk),
    };

    unsetenv("NO_PROXY");
    unsetenv("no_proxy");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
