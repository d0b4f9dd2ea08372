/* link: atp_docker atp_base */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/err.h"
#include "compat/docker/format.h"
#include "compat/docker/json_text.h"
#include "compat/docker/table.h"
#include "compat/docker/tmpl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEN(a) (sizeof(a) / sizeof(*(a)))

static const char container[] =
    "{\"Id\":\"abc\",\"State\":{\"Status\":\"running\",\"Running\":true,\"ExitCode\":0,\"Health\":null},"
    "\"Config\":{\"Env\":[\"A=1\",\"B=2\"],\"Labels\":{\"b\":\"2\",\"a\":\"1\"},\"Cmd\":null,\"Volumes\":{}},"
    "\"NetworkSettings\":{\"Ports\":{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"8080\"}],\"90/tcp\":null}},"
    "\"RepoTags\":[\"a\",\"b\"],\"Float\":1.5,\"Big\":1e21,\"Esc\":\"<a>&\\u0001\\u2028\"}";

/* Parses and carries out; the text, or the error, owned by caller. */
static char *run(const char *text, const char *data, const struct tmpl_options *options)
{
    struct err err = ERR_INIT;
    struct buf out = BUF_INIT(1 << 20);
    json_t *json = json_loads(data, JSON_DECODE_ANY, NULL);
    struct tmpl *t = tmpl_parse("", text, &err);
    char *result;

    assert_non_null(json);
    if (t && tmpl_exec(t, json, options, &out, &err) == 0) {
        result = buf_detach(&out);
    } else {
        assert_non_null(err.msg);
        result = xasprintf("error: %s", err.msg);
    }
    buf_clear(&out);
    err_clear(&err);
    tmpl_free(t);
    json_decref(json);
    return result;
}

struct template_case {
    const char *text, *expected;
};

static void check(const struct template_case *cases, size_t len, const char *data, const struct tmpl_options *options)
{
    for (size_t i = 0; i < len; i++) {
        char *result = run(cases[i].text, data, options);

        if (strcmp(result, cases[i].expected))
            fail_msg("%s\n  gave     %s\n  expected %s", cases[i].text, result, cases[i].expected);
        free(result);
    }
}

static void test_inspect(void **state)
{
    static const struct tmpl_options options = {.missing = TMPL_MISSING_ERROR};
    static const struct template_case cases[] = {
        {"{{.State.Status}} {{.State.Running}} {{.State.ExitCode}}", "running true 0"},
        {"{{.RepoTags}} {{.Config.Labels}}", "[a b] map[a:1 b:2]"},
        {"{{json .Config}}",
         "{\"Env\":[\"A=1\",\"B=2\"],\"Labels\":{\"b\":\"2\",\"a\":\"1\"},\"Cmd\":null,\"Volumes\":{}}"},
        {"{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}", "8080"},
        {"{{range $p, $c := .NetworkSettings.Ports}}{{$p}}={{range $c}}{{.HostPort}}{{else}}-{{end}};{{end}}",
         "80/tcp=8080;90/tcp=-;"},
        {"{{index .Config.Labels \"a\"}}|{{index .Config.Labels \"nope\"}}|{{index .Config.Volumes \"x\"}}|", "1|||"},
        {"{{.Config.Labels.nope}}", "<no value>"},
        {"{{.State.Health}}", "<no value>"},
        {"{{if .State.Health}}h{{else}}no{{end}}", "no"},
        {"{{range .Config.Cmd}}x{{end}}{{len .Config.Env}}", "2"},
        {"{{.Float}} {{.Big}} {{json .Big}}", "1.5 1e+21 1e+21"},
        {"{{json .Esc}}", "\"<a>&\\u0001\\u2028\""},
        {"{{join .RepoTags \",\"}} {{range .Config.Env}}{{index (split . \"=\") 1}}{{end}}", "a,b 12"},
        {"{{.Nope}}", "error: template: :1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\""},
        {"{{.State.Nope.X}}",
         "error: template: :1:8: executing \"\" at <.State.Nope.X>: map has no entry for key \"Nope\""},
        {"{{.State.Health.Status}}", "error: template: :1:8: executing \"\" at <.State.Health.Status>: nil pointer "
                                     "evaluating interface {}.Status"},
        {"{{.Id.X}}", "error: template: :1:5: executing \"\" at <.Id.X>: can't evaluate field X in type interface {}"},
        {"a\nb{{.Nope}}", "error: template: :2:3: executing \"\" at <.Nope>: map has no entry for key \"Nope\""},
        {"{{len .Config.Cmd}}",
         "error: template: :1:2: executing \"\" at <len .Config.Cmd>: error calling len: len of nil pointer"},
        {"{{lower .State.ExitCode}}", "error: template: :1:14: executing \"\" at <.State.ExitCode>: wrong type for "
                                      "value; expected string; got int"},
    };

    (void)state;
    check(cases, LEN(cases), container, &options);
}

static json_t *label(const char *name, const json_t *args, void *arg)
{
    assert_string_equal(arg, "context");
    if (strcmp(name, "Label") || json_array_size(args) != 1)
        return NULL;
    return json_sprintf("<%s>", json_string_value(json_array_get(args, 0)));
}

static void test_list_fields(void **state)
{
    static char context[] = "context";
    static const struct tmpl_options options = {
        .missing = TMPL_MISSING_FIELD, .type = "*formatter.ContainerContext", .method = label, .method_arg = context};
    static const struct template_case cases[] = {
        {"{{.Nope}}", "error: template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type "
                      "*formatter.ContainerContext"},
        {"{{.Label \"x\"}}{{\"y\" | .Label}}", "<x><y>"},
        {"{{.Id \"x\"}}", "error: template: :1:2: executing \"\" at <.Id>: Id has arguments but cannot be invoked as "
                          "function"},
        {"{{.State.Health}}", "<nil>"},
        {"{{upper .Id}}", "ABC"},
    };
    static const struct tmpl_options headers = {.missing = TMPL_MISSING_NO_VALUE, .headers = true};
    static const struct template_case header_cases[] = {
        {"{{json .Id}} {{upper .Id}} {{truncate .Id 1}} {{pad .Id 1 1}} {{join .Id \",\"}} {{split .Id \"b\"}}",
         "abc abc abc abc abc abc"},
        {"{{printf .Float}}",
         "error: template: :1:9: executing \"\" at <.Float>: wrong type for value; expected string; got float64"},
    };

    (void)state;
    check(cases, LEN(cases), container, &options);
    check(header_cases, LEN(header_cases), container, &headers);
}

/* What would hang, recurse or grow without the ceilings. */
static void test_ceilings(void **state)
{
    char *deep = xmalloc(400001), *result;

    (void)state;
    memset(deep, '(', 400000);
    memcpy(deep, "{{", 2);
    deep[400000] = '\0';
    result = run(deep, "{}", NULL);
    assert_string_equal(result, "error: template: :1: max expression depth exceeded");
    free(result);
    deep[0] = '\0';
    for (int i = 0; i < 20000; i++)
        memcpy(deep + i * 13, "{{if true}}x", 13 - 1), deep[i * 13 + 12] = ' ';
    deep[20000 * 13] = '\0';
    result = run(deep, "{}", NULL);
    assert_string_equal(result, "error: template: :1: max expression depth exceeded");
    free(result);
    free(deep);
    result = run("{{range 9000000000000000000}}{{end}}", "{}", NULL);
    assert_non_null(strstr(result, "takes too many steps"));
    free(result);
    result = run("{{range 10000000}}aaaaaaaaaaaaaaaa{{end}}", "{}", NULL);
    assert_non_null(strstr(result, "the output is too long"));
    free(result);
    result = run("{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}", "{}", NULL);
    assert_non_null(strstr(result, "exceeded maximum template depth"));
    free(result);
    result = run("{{printf \"%999999999d\" 1}}{{pad \"x\" 900000000000 1}}", "{}", NULL);
    assert_non_null(strstr(result, "too long"));
    free(result);
}

/* Every cut of a template with everything in it, and every byte of it replaced, gives a result or an error. */
static void test_broken_templates(void **state)
{
    static const char whole[] =
        "a{{- /* c */ -}}{{$x := .State}}{{range $i, $e := .RepoTags}}{{if eq $e \"a\" `b`}}{{printf \"%-5q|%+d\" $e "
        "$i}}"
        "{{else if and (not $i) $x.Running}}{{continue}}{{else}}{{break}}{{end}}{{end}}{{with index .Config.Env 0 | "
        "lower}}{{.}}{{end}}{{define \"t\"}}{{len .}}{{end}}{{template \"t\" .Id}}{{'x'}}{{-1.5e3}}{{slice .Id 1 2}}\n";

    (void)state;
    for (size_t cut = 0; cut < sizeof(whole); cut++) {
        char *copy = xstrndup(whole, cut);

        free(run(copy, container, NULL));
        free(copy);
        for (const char *c = "{}()\"'`$.|= \x80\n-*x0"; *c && cut + 1 < sizeof(whole); c++) {
            copy = xstrdup(whole);
            copy[cut] = *c;
            free(run(copy, container, NULL));
            free(copy);
        }
    }
}

static void test_json_text(void **state)
{
    json_t *value = json_loads("{\"b\":[1,{}],\"a\":\"<\\u0007\\b\",\"e\":[]}", 0, NULL);
    struct buf out = BUF_INIT(4096);

    (void)state;
    json_text(&out, value, JSON_TEXT_INDENT | JSON_TEXT_HTML);
    assert_string_equal(out.data,
                        "{\n    \"b\": [\n        1,\n        {}\n    ],\n    \"a\": \"\\u003c\\u0007\\b\",\n    "
                        "\"e\": []\n}");
    buf_reset(&out);
    json_text(&out, value, 0);
    assert_string_equal(out.data, "{\"b\":[1,{}],\"a\":\"<\\u0007\\b\",\"e\":[]}");
    json_decref(value);
    value = json_loads("[1e-7, 1.5e-9, 1e20, 1e21, 0.000001, 123456789.5, -0.0]", 0, NULL);
    buf_reset(&out);
    json_text(&out, value, 0);
    assert_string_equal(out.data, "[1e-7,1.5e-9,100000000000000000000,1e+21,0.000001,123456789.5,-0]");
    buf_clear(&out);
    json_decref(value);
}

static void test_reals(void **state)
{
    static const struct {
        double value;
        const char *plain;
    } cases[] = {
        {0, "0"},
        {-0.5, "-0.5"},
        {100, "100"},
        {123456789, "1.23456789e+08"},
        {1e20, "1e+20"},
        {1e5, "100000"},
        {1e6, "1e+06"},
        {1234567, "1.234567e+06"},
        {0.0001, "0.0001"},
        {0.00001, "1e-05"},
        {1.0 / 3, "0.3333333333333333"},
        {1e21, "1e+21"},
        {5e-324, "5e-324"},
        {12345.678, "12345.678"},
    };

    (void)state;
    for (size_t i = 0; i < LEN(cases); i++) {
        struct buf out = BUF_INIT(128);

        json_plain_real(&out, cases[i].value);
        assert_string_equal(out.data, cases[i].plain);
        buf_clear(&out);
    }
}

static void check_table(const char *text, const char *expected)
{
    struct buf out = BUF_INIT(4096);

    table_align(text, strlen(text), TABLE_MIN_WIDTH, TABLE_PADDING, &out);
    assert_string_equal(out.data, expected);
    buf_clear(&out);
}

static void test_tables(void **state)
{
    (void)state;
    check_table("", "");
    check_table("\n\n", "\n\n");
    check_table("A\tB\n", "A         B\n");
    check_table("NAME\tID\nlongername\tx\n", "NAME         ID\nlongername   x\n");
    check_table("a\tb\t\n", "a         b         \n");
    check_table("\xC3\xA9\tb\naaaaaaaa\tc", "\xC3\xA9          b\naaaaaaaa   c");
    check_table("aaaaaaaaaaaa\tb\nplain\nc\td\n", "aaaaaaaaaaaa   b\nplain\nc         d\n");
    check_table("a\tbbbbbbbbbbbbb\tc\nd\te\n", "a         bbbbbbbbbbbbb   c\nd         e\n");
    check_table("\t\tx\n", "                    x\n");
}

static const struct format_column columns[] = {{"ID", "IMAGE ID"}, {"Size", "SIZE"}, {NULL, NULL}};

/* The list of two rows in one format; owned by caller. */
static char *list(const char *format)
{
    static const struct tmpl_options options = {.missing = TMPL_MISSING_FIELD, .type = "*formatter.imageContext"};
    struct err err = ERR_INIT;
    struct buf out = BUF_INIT(1 << 16);
    struct format *f = format_new(format, "table {{.ID}}\t{{.Size}}", columns, &options, &err);
    json_t *one = json_pack("{s:s,s:s}", "ID", "abcdef", "Size", "1kB"),
           *two = json_pack("{s:s,s:s}", "ID", "x", "Size", "2MB");
    char *result = NULL;

    if (f && format_row(f, one, &err) == 0 && format_row(f, two, &err) == 0 && format_finish(f, &out, &err) == 0)
        result = buf_detach(&out);
    else
        result = xasprintf("error: %s", err.msg);
    buf_clear(&out);
    err_clear(&err);
    format_free(f);
    json_decref(one);
    json_decref(two);
    return result;
}

static void test_formats(void **state)
{
    static const struct template_case cases[] = {
        {NULL, "IMAGE ID   SIZE\nabcdef     1kB\nx          2MB\n"},
        {"", "IMAGE ID   SIZE\nabcdef     1kB\nx          2MB\n"},
        {"table", "IMAGE ID   SIZE\nabcdef     1kB\nx          2MB\n"},
        {"table {{.Size}}\\t{{.ID}}", "SIZE      IMAGE ID\n1kB       abcdef\n2MB       x\n"},
        {"table {{.Size | lower}}", "SIZE\n1kb\n2mb\n"},
        {"tableX {{.ID}}", "X IMAGE ID\nX abcdef\nX x\n"},
        {"table {{.Label \"com.x.my-label_a\"}}",
         "error: template parsing error: template: :1:2: executing \"\" at <.Label>: Label has arguments but cannot be "
         "invoked as function"},
        {"json", "{\"ID\":\"abcdef\",\"Size\":\"1kB\"}\n{\"ID\":\"x\",\"Size\":\"2MB\"}\n"},
        {"{{.ID}}\\n-", "abcdef\n-\nx\n-\n"},
        {"raw", "raw\nraw\n"},
        {"{{", "error: template parsing error: template: :1: unclosed action"},
        {"{{.Nope}}", "error: template parsing error: template: :1:2: executing \"\" at <.Nope>: can't evaluate field "
                      "Nope in type *formatter.imageContext"},
    };

    (void)state;
    for (size_t i = 0; i < LEN(cases); i++) {
        char *result = list(cases[i].text);

        assert_string_equal(result, cases[i].expected);
        free(result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inspect),          cmocka_unit_test(test_list_fields), cmocka_unit_test(test_ceilings),
        cmocka_unit_test(test_broken_templates), cmocka_unit_test(test_json_text),   cmocka_unit_test(test_reals),
        cmocka_unit_test(test_tables),           cmocka_unit_test(test_formats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
