/* link: atp_translate atp_docker atp_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "translate/health.h"
#include "translate/ports.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define ROWS(t) (sizeof(t) / sizeof((t)[0]))

/* Docker's client on each of these words: its error, or what PortBindings shows. */
static const struct {
    const char *word, *error, *bindings;
} published[] = {
    {"8080:80", NULL, "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"}]}"},
    {"80", NULL, "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"\"}]}"},
    {":80", NULL, "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"\"}]}"},
    {"127.0.0.1::80", NULL, "{\"80/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"\"}]}"},
    {"[::1]:80:80", NULL, "{\"80/tcp\":[{\"HostIp\":\"::1\",\"HostPort\":\"80\"}]}"},
    {"::1:80:80", NULL, "{\"80/tcp\":[{\"HostIp\":\"::1\",\"HostPort\":\"80\"}]}"},
    {"8000-8001:80-81/TCP", NULL,
     "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8000\"}],\"81/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8001\"}]}"},
    {"8000-8010:80", NULL, "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8000-8010\"}]}"},
    {"080:80", NULL, "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"80\"}]}"},
    {"80:80/", NULL, "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"80\"}]}"},
    {"80/tcp/udp", NULL, "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"\"}]}"},
    {"published=8080,target=80", NULL, "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"}]}"},
    {"target=80,mode=x", NULL, "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"\"}]}"},
    {"abc", "invalid containerPort: abc", NULL},
    {"70000", "invalid containerPort: 70000", NULL},
    {"90-80", "invalid containerPort: 90-80", NULL},
    {"99999:80", "invalid hostPort: 99999", NULL},
    {"-1:80", "invalid hostPort: -1", NULL},
    {"+80:80", "invalid hostPort: +80", NULL},
    {" 80:80", "invalid hostPort:  80", NULL},
    {"127.0.0.1:80", "invalid hostPort: 127.0.0.1", NULL},
    {"8080/udp:80", "invalid hostPort: 8080/udp", NULL},
    {"9000-8000:80", "invalid hostPort: 9000-8000", NULL},
    {"80:81:82", "invalid IP address: 80", NULL},
    {"a:b:c:d", "invalid IP address: a:b", NULL},
    {"localhost:80:80", "invalid IP address: localhost", NULL},
    {"[::1:80:80", "invalid IP address [::1: address [::1:: missing ']' in address", NULL},
    {"8080:", "no port specified: 8080:<empty>", NULL},
    {"", "no port specified: <empty>", NULL},
    {"8000-8010:80-91", "invalid ranges specified for container and host Ports: 80-91 and 8000-8010", NULL},
    {"80/xyz", "invalid proto: xyz", NULL},
    {"=x", "invalid publish opts format (should be name=value but got '=x')", NULL},
    {"published=x,target=80", "invalid hostPort: x", NULL},
    {"published=80", "no port specified: 80:/tcp<empty>", NULL},
    {"foo=bar", "no port specified: :/tcp<empty>", NULL},
    {"80:80/udp",
     "publishing port 80/udp is refused by atp-docker: its ports travel as streams of bytes to the container, which "
     "udp is "
     "not",
     NULL},
    {"80:0", "invalid containerPort: 0", NULL},
};

static void words_of_publish(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(published); i++) {
        cleanup_err struct err err = ERR_INIT;
        struct ports p = {0}, again = {0};
        int rc = ports_publish(&p, published[i].word, &err);

        if (rc == 0)
            rc = ports_finish(&p, &err);
        if (published[i].error) {
            assert_int_equal(rc, -1);
            assert_string_equal(err.msg, published[i].error);
            assert_int_equal(err.exit_code, 125);
        } else {
            json_auto_t *bindings = ports_bindings_json(&p), *back = NULL;
            cleanup_free char *text = json_dumps(bindings, JSON_COMPACT);

            assert_int_equal(rc, 0);
            assert_string_equal(text, published[i].bindings);
            assert_int_equal(ports_bindings_read(&again, bindings, &err), 0);
            back = ports_bindings_json(&again);
            assert_true(json_equal(bindings, back));
        }
        ports_clear(&p);
        ports_clear(&again);
    }
}

static const struct {
    const char *word, *error, *first, *last;
} exposed[] = {
    {"80", NULL, "80/tcp", "80/tcp"},
    {"80-82/udp", NULL, "80/udp", "82/udp"},
    {"80/", NULL, "80/tcp", "80/tcp"},
    {"0", NULL, "0/tcp", "0/tcp"},
    {"1-65535", NULL, "1/tcp", "9999/tcp"},
    {"abc", "invalid range format for --expose: abc, error: strconv.ParseUint: parsing \"abc\": invalid syntax", NULL,
     NULL},
    {"99999",
     "invalid range format for --expose: 99999, error: strconv.ParseUint: parsing \"99999\": value out of range", NULL,
     NULL},
    {"1.5", "invalid range format for --expose: 1.5, error: strconv.ParseUint: parsing \"1.5\": invalid syntax", NULL,
     NULL},
    {"", "invalid range format for --expose: , error: empty string specified for ports", NULL, NULL},
    {"90-80", "invalid range format for --expose: 90-80, error: invalid range specified for port: 90-80", NULL, NULL},
    {"80:80", "invalid port format for --expose: 80:80", NULL, NULL},
};

static void words_of_expose(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(exposed); i++) {
        cleanup_err struct err err = ERR_INIT;
        struct ports p = {0};
        int rc = ports_expose(&p, exposed[i].word, &err);

        if (exposed[i].error) {
            assert_int_equal(rc, -1);
            assert_string_equal(err.msg, exposed[i].error);
        } else {
            assert_int_equal(rc, 0);
            assert_int_equal(ports_finish(&p, &err), 0);
            assert_string_equal(p.exposed.items[0], exposed[i].first);
            assert_string_equal(p.exposed.items[p.exposed.len - 1], exposed[i].last);
        }
        ports_clear(&p);
    }
}

/* Each port once, however often it was said; equal targets stay in the order of the line. */
static void all_together(void **state)
{
    static const char *const words[] = {"82:82", "9001:80", "9000:80", "81:81"};
    struct ports p = {0};
    cleanup_free char *text = NULL;
    json_t *json;

    (void)state;
    for (size_t i = 0; i < ROWS(words); i++)
        assert_int_equal(ports_publish(&p, words[i], NULL), 0);
    assert_int_equal(ports_expose(&p, "80-81", NULL), 0);
    assert_int_equal(ports_finish(&p, NULL), 0);
    assert_int_equal(p.exposed.len, 3);
    json = ports_bindings_json(&p);
    text = json_dumps(json, JSON_COMPACT);
    assert_string_equal(text,
                        "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"9001\"},{\"HostIp\":\"\",\"HostPort\":"
                        "\"9000\"}],\"81/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"81\"}],\"82/tcp\":[{\"HostIp\":\"\","
                        "\"HostPort\":\"82\"}]}");
    json_decref(json);
    ports_clear(&p);
}

static void too_many_published(void **state)
{
    struct ports p = {0};

    (void)state;
    assert_int_equal(ports_publish(&p, "1-3000", NULL), -1);
    assert_int_equal(p.len, PORTS_PUBLISHED_MAX);
    ports_clear(&p);
}

/* What an agent may have written. */
static void hostile_bindings(void **state)
{
    static const char *const texts[] = {
        "[]",
        "{\"80/tcp\":[1]}",
        "{\"80/tcp\":[{}]}",
        "{\"x\":[{\"HostIp\":\"\",\"HostPort\":\"1\"}]}",
        "{\"80/tcp\":[{\"HostIp\":\"a=b\",\"HostPort\":\"1\"}]}",
        "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"1:2\"}]}",
        "{\"80/udp\":[{\"HostIp\":\"\",\"HostPort\":\"1\"}]}",
        "{\"80/tcp\":[{\"HostIp\":\"no\",\"HostPort\":\"1\"}]}",
    };

    (void)state;
    for (size_t i = 0; i < ROWS(texts); i++) {
        json_auto_t *json = json_loads(texts[i], 0, NULL);
        struct ports p = {0};

        assert_non_null(json);
        assert_int_equal(ports_bindings_read(&p, json, NULL), -1);
        ports_clear(&p);
    }
}

/* NetworkSettings.Ports and what Docker's ps makes of it. */
static const struct {
    const char *settings, *column;
} columns[] = {
    {"{}", ""},
    {"{\"80/tcp\":null}", "80/tcp"},
    {"{\"53/udp\":null,\"700/tcp\":null,\"701/tcp\":null,\"702/tcp\":null,\"80/tcp\":[{\"HostIp\":\"0.0.0.0\","
     "\"HostPort\":\"32768\"},{\"HostIp\":\"::\",\"HostPort\":\"32768\"},{\"HostIp\":\"0.0.0.0\",\"HostPort\":"
     "\"18082\"},{"
     "\"HostIp\":\"::\",\"HostPort\":\"18082\"}],\"81/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"18083\"}]}",
     "53/udp, 700-702/tcp, 0.0.0.0:18082->80/tcp, 0.0.0.0:32768->80/tcp, [::]:18082->80/tcp, [::]:32768->80/tcp, "
     "0.0.0.0:18083->81/tcp"},
    {"{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"80\"}],\"81/"
     "tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"81\"}],"
     "\"83/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"83\"}]}",
     "0.0.0.0:80-81->80-81/tcp, 0.0.0.0:83->83/tcp"},
};

static void column_of_ps(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(columns); i++) {
        json_auto_t *settings = json_loads(columns[i].settings, 0, NULL);
        cleanup_free char *text = ports_column(settings);

        assert_string_equal(text, columns[i].column);
    }
}

static void lines_of_port(void **state)
{
    json_auto_t *settings =
        json_loads("{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"8080\"},{\"HostIp\":\"::\","
                   "\"HostPort\":\"8080\"}],\"9/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"900\"}],"
                   "\"53/udp\":null}",
                   0, NULL);
    static const struct {
        const char *private, *text;
    } asked[] = {
        {NULL, "9/tcp -> 127.0.0.1:900|80/tcp -> 0.0.0.0:8080|80/tcp -> [::]:8080|"},
        {"80", "0.0.0.0:8080|[::]:8080|"},
        {"80/tcp", "0.0.0.0:8080|[::]:8080|"},
        {"80/udp", "Error: No public port '80/udp' published for web"},
        {"53/udp", "Error: No public port '53/udp' published for web"},
        {"80/xyz", "Error: No public port '80/xyz' published for web"},
        {"x", "Error: invalid port (x): strconv.ParseUint: parsing \"x\": invalid syntax"},
        {"99999", "Error: invalid port (99999): strconv.ParseUint: parsing \"99999\": value out of range"},
    };

    (void)state;
    for (size_t i = 0; i < ROWS(asked); i++) {
        cleanup_strlist struct strlist lines = STRLIST_INIT;
        cleanup_err struct err err = ERR_INIT;
        cleanup_free char *text = xstrdup("");

        if (ports_lines(settings, asked[i].private, "web", &lines, &err) < 0) {
            assert_string_equal(err.msg, asked[i].text);
            continue;
        }
        for (size_t l = 0; l < lines.len; l++) {
            char *longer = xasprintf("%s%s|", text, lines.items[l]);

            free(text);
            text = longer;
        }
        assert_string_equal(text, asked[i].text);
    }
}

/* The line's check over the image's, field by field. */
static void health_of_line_and_image(void **state)
{
    static const char image[] = "{\"Test\":[\"CMD\",\"x\"],\"Interval\":5,\"Retries\":2}";
    static const struct {
        const char *line, *image, *both;
    } rows[] = {
        {NULL, image, image},
        {"{\"Test\":[\"NONE\"]}", image, "{\"Test\":[\"NONE\"],\"Interval\":5,\"Retries\":2}"},
        {"{\"Interval\":7}", image, "{\"Test\":[\"CMD\",\"x\"],\"Interval\":7,\"Retries\":2}"},
        {"{\"Test\":[\"CMD-SHELL\",\"y\"],\"Timeout\":1}", NULL, "{\"Test\":[\"CMD-SHELL\",\"y\"],\"Timeout\":1}"},
    };
    struct health_plan plan;

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        cleanup_free char *both = health_merge(rows[i].line, rows[i].image);

        assert_string_equal(both, rows[i].both);
    }
    assert_null(health_merge(NULL, NULL));
    assert_true(health_plan_read(image, &plan));
    assert_int_equal(plan.test.len, 2);
    assert_int_equal(plan.interval_ns, 5);
    assert_int_equal(plan.retries, 2);
    health_plan_clear(&plan);
    assert_false(health_plan_read("{\"Test\":[\"NONE\"]}", &plan));
    assert_false(health_plan_read("{\"Test\":[\"CMD\"]}", &plan));
    assert_false(health_plan_read("{\"Test\":[]}", &plan));
    assert_false(health_plan_read("7", &plan));
    assert_false(health_plan_read(NULL, &plan));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_of_publish), cmocka_unit_test(words_of_expose),
        cmocka_unit_test(all_together),     cmocka_unit_test(too_many_published),
        cmocka_unit_test(hostile_bindings), cmocka_unit_test(column_of_ps),
        cmocka_unit_test(lines_of_port),    cmocka_unit_test(health_of_line_and_image),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
