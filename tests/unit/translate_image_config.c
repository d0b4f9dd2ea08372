/* link: atp_translate */
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/image_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *json, *message; /* message NULL = accepted; print = what is printed then */
    const char *print;
} table[] = {
    {"", "image configuration: line 1: '[' or '{' expected near end of file", NULL},
    {"[]", "image configuration: not a JSON object", NULL},
    {"{", "*line 1: *", NULL},
    {"{\"config\":[]}", "image configuration: config is not an object", NULL},
    {"{\"config\":{\"Cmd\":{}}}", "image configuration: Cmd is not a list of strings", NULL},
    {"{\"config\":{\"Cmd\":[\"a\",1]}}", "image configuration: Cmd is not a list of strings", NULL},
    {"{\"config\":{\"Cmd\":[null]}}", "image configuration: Cmd is not a list of strings", NULL},
    {"{\"config\":{\"Env\":{\"A\":\"b\"}}}", "image configuration: Env is not a list of strings", NULL},
    {"{\"config\":{\"User\":0}}", "image configuration: User is not a string", NULL},
    {"{\"config\":{\"Labels\":{\"a\":1}}}", "image configuration: Labels is not an object of strings", NULL},
    {"{\"config\":{\"Volumes\":[\"/a\"]}}", "image configuration: Volumes is not an object", NULL},
    {"{\"config\":{\"ExposedPorts\":\"80\"}}", "image configuration: ExposedPorts is not an object", NULL},
    {"{\"config\":{\"Healthcheck\":[]}}", "image configuration: Healthcheck is not an object", NULL},
    {"{\"os\":1}", "image configuration: os is not a string", NULL},
    {"{\"config\":{\"User\":\"a\\u0000b\"}}", "*line 1: *", NULL},
    {"{}", NULL, "{}\n"},
    {"{\"config\":null,\"rootfs\":{\"diff_ids\":[1]},\"history\":7}", NULL, "{}\n"},
    {"{\"config\":{\"Cmd\":null,\"Entrypoint\":null,\"Env\":[],\"User\":\"\",\"Volumes\":null,\"Labels\":{}}}", NULL,
     "{}\n"},
    {"{\"config\":{\"Entrypoint\":\"old form\"}}", NULL, "{\"Entrypoint\":[\"old form\"]}\n"},
    {"{\"config\":{\"Cmd\":[\"\"]}}", NULL, "{\"Cmd\":[\"\"]}\n"},
    {"{\"architecture\":\"arm\",\"os\":\"linux\",\"variant\":\"v7\",\"config\":{\"Entrypoint\":[\"/e\",\"x "
     "y\"],\"Cmd\":[\"c\"],"
     "\"Env\":[\"PATH=/bin\",\"Q=\\\"\\n\"],\"WorkingDir\":\"/w\",\"User\":\"u:g\",\"StopSignal\":\"SIGINT\","
     "\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"true\"],\"Interval\":30000000000},\"Labels\":{\"z\":\"1\",\"a\":\"b="
     "c\"},"
     "\"Volumes\":{\"/v\":{}},\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{}},\"OnBuild\":[\"RUN x\"],\"Unknown\":1}}",
     NULL,
     "{\"Entrypoint\":[\"/e\",\"x y\"],\"Cmd\":[\"c\"],\"Env\":[\"PATH=/bin\",\"Q=\\\"\\n\"],\"WorkingDir\":\"/w\","
     "\"User\":\"u:g\",\"StopSignal\":\"SIGINT\",\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"true\"],"
     "\"Interval\":30000000000},\"Labels\":{\"z\":\"1\",\"a\":\"b=c\"},\"Volumes\":{\"/v\":{}},"
     "\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{}},\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v7\"}\n"},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cleanup_with(oci_config_clear) struct oci_config c = {0}, again = {0};
        cleanup_err struct err err = ERR_INIT;
        cleanup_free char *printed = NULL, *reprinted = NULL;
        int rc = oci_config_parse(table[i].json, strlen(table[i].json), &c, &err);

        if (table[i].message) {
            assert_int_equal(rc, -1);
            if (table[i].message[0] == '*')
                assert_non_null(strstr(err.msg, "image configuration: line 1: "));
            else
                assert_string_equal(err.msg, table[i].message);
            continue;
        }
        if (rc < 0)
            fail_msg("%s", err.msg);
        printed = oci_config_print(&c);
        assert_string_equal(printed, table[i].print);
        assert_int_equal(oci_config_parse(printed, strlen(printed), &again, NULL), 0);
        reprinted = oci_config_print(&again);
        assert_string_equal(reprinted, printed);
    }
}

static void test_fields(void **state)
{
    cleanup_with(oci_config_clear) struct oci_config c = {0};
    const char *json = table[sizeof(table) / sizeof(table[0]) - 1].json;

    (void)state;
    assert_int_equal(oci_config_parse(json, strlen(json), &c, NULL), 0);
    assert_int_equal(c.entrypoint.len, 2);
    assert_string_equal(c.env.items[1], "Q=\"\n");
    assert_string_equal(c.labels.items[1], "a=b=c");
    assert_string_equal(c.volumes.items[0], "/v");
    assert_string_equal(c.exposed_ports.items[1], "53/udp");
    assert_string_equal(c.variant, "v7");
    assert_string_equal(c.healthcheck, "{\"Test\":[\"CMD-SHELL\",\"true\"],\"Interval\":30000000000}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_fields)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
