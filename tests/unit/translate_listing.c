/* link: atp_translate atp_docker */
/*
 * Lines of `docker ps`, filters by Go's expressions, and the tables of `docker top`. Texts were compared with docker
 * 28.2.2.
 */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/docker/go_regex.h"
#include "compat/docker/units.h"
#include "translate/container_row.h"
#include "translate/process_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)
#define NOW    (INT64_C(1700000000) * SECOND)
#define ID     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_status(void **state)
{
    static const struct {
        const char *status;
        int code;
        int64_t started, finished; /* seconds ago, -1 = never */
        const char *want;
    } cases[] = {
        {"created", 0, -1, -1, "Created"},
        {"created", 127, -1, -1, "Created"},
        {"running", 0, 0, -1, "Up Less than a second"},
        {"running", 3, 1, 5, "Up 1 second"},
        {"running", 0, 59, -1, "Up 59 seconds"},
        {"running", 0, 60, -1, "Up About a minute"},
        {"running", 0, -5, -1, "Up Less than a second"}, /* the clock went back */
        {"exited", 0, 130, 120, "Exited (0) 2 minutes ago"},
        {"exited", 137, 7200, 3600, "Exited (137) About an hour ago"},
        {"exited", 1, 1, -5, "Exited (1) Less than a second ago"},
        {"restarting", 1, 6, 5, "Restarting (1) 5 seconds ago"},
        {"removing", 0, 6, 5, "Removal In Progress"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct container_row row = {.status = cases[i].status, .exit_code = cases[i].code};
        cleanup_free char *text = NULL;

        row.started_ns = cases[i].started == -1 ? 0 : NOW - cases[i].started * SECOND;
        row.finished_ns = cases[i].finished == -1 ? 0 : NOW - cases[i].finished * SECOND;
        text = container_row_status(&row, NOW);
        assert_string_equal(text, cases[i].want);
    }
}

static void test_cut(void **state)
{
    static const struct {
        const char *text;
        size_t max;
        const char *want;
    } cases[] = {
        {"", 20, ""},
        {"12345678901234567890", 20, "12345678901234567890"},
        {"123456789012345678901", 20, "1234567890123456789…"},
        {"éééé", 4, "éééé"},
        {"ééééé", 4, "ééé…"},
        {"a\xff\xff\xff", 3, "a\xff…"},
        {"ab", 1, "…"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_free char *text = container_row_cut(cases[i].text, cases[i].max);

        assert_string_equal(text, cases[i].want);
    }
}

static const char inspect_text[] =
    "{\"Path\":\"sh\",\"Args\":[\"-c\",\"a \\\"b\\\"\\n\",\"\"],\"Config\":{\"Labels\":{\"a\":\"1\",\"b\":\"x,y\"}},"
    "\"Mounts\":[{\"Type\":\"bind\",\"Source\":\"/a/long/path/here\"},{\"Type\":\"volume\",\"Name\":\"v\"}],"
    "\"NetworkSettings\":{\"Networks\":{\"none\":{}}}}";

static void assert_field(const json_t *row, const char *key, const char *want)
{
    const char *text = json_string_value(json_object_get(row, key));

    if (!text || strcmp(text, want) != 0)
        fail_msg("%s is %s, not %s", key, text ? text : "missing", want);
}

static struct container_row a_row(const json_t *inspect)
{
    return (struct container_row){.id = ID,
                                  .name = "c1",
                                  .image = "x/y:1@sha256:" ID,
                                  .image_id = "sha256:" ID,
                                  .status = "exited",
                                  .created_ns = NOW - 90 * SECOND,
                                  .started_ns = NOW - 80 * SECOND,
                                  .finished_ns = NOW - 70 * SECOND,
                                  .created_at = "then",
                                  .inspect = inspect,
                                  .image_size = 1984311,
                                  .image_name_stands = true};
}

static void test_row(void **state)
{
    json_auto_t *inspect = json_loads(inspect_text, 0, NULL);
    struct container_row row = a_row(inspect);
    json_auto_t *line = container_row_json(&row, false, NOW);

    (void)state;
    assert_field(line, "ID", "0123456789ab");
    assert_field(line, "Image", "x/y:1");
    assert_field(line, "Command", "\"sh -c 'a \\\"b\\\"\\n' \"");
    assert_field(line, "RunningFor", "About a minute ago");
    assert_field(line, "Labels", "a=1,b=x,y");
    assert_field(line, "Mounts", "/a/long/path/h…,v");
    assert_field(line, "LocalVolumes", "1");
    assert_field(line, "Networks", "none");
    assert_field(line, "Size", "0B (virtual 1.98MB)");
    assert_true(json_is_null(json_object_get(line, "Platform")));
}

static void test_row_in_full(void **state)
{
    json_auto_t *inspect = json_loads(inspect_text, 0, NULL);
    struct container_row row = a_row(inspect);
    json_auto_t *line = container_row_json(&row, true, NOW), *renamed = NULL, *args = json_pack("[s]", "b");
    json_auto_t *label = container_row_label("Label", args, &row.inspect);

    (void)state;
    assert_field(line, "ID", ID);
    assert_field(line, "Image", "x/y:1@sha256:" ID);
    assert_field(line, "Mounts", "/a/long/path/here,v");
    assert_string_equal(json_string_value(label), "x,y");
    row.image_name_stands = false;
    row.image_size = 0;
    renamed = container_row_json(&row, false, NOW);
    assert_field(renamed, "Image", "0123456789ab");
    assert_field(renamed, "Size", "0B");
}

static void test_regex(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool found;
    } cases[] = {
        {"", "c1", true},           {"c", "abc", true},         {"^c1$", "c1", true},    {"^c1$", "c11", false},
        {"[", "[", false},          {"c\\d+$", "c12", true},    {"c\\d+$", "cx", false}, {"^(?:a|b)1", "b1", true},
        {"(?i)WEB", "web-1", true}, {"WEB", "web-1", false},    {"[\\d]", "5", true},    {"a.c", "abc", true},
        {"a\\.c", "abc", false},    {"^[\\w-]+$", "a-b", true}, {"(", "(", false},       {"\\", "x", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (go_regex_finds(cases[i].pattern, cases[i].text) != cases[i].found)
            fail_msg("%s in %s", cases[i].pattern, cases[i].text);
}

static void test_stamps(void **state)
{
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        {0, "0001-01-01T00:00:00Z"},
        {1, "1970-01-01T00:00:00.000000001Z"},
        {-1, "1969-12-31T23:59:59.999999999Z"},
        {INT64_C(1709210096) * SECOND, "2024-02-29T12:34:56Z"},
        {INT64_C(1709210096) * SECOND + 120000000, "2024-02-29T12:34:56.12Z"},
    };
    static const char *const bad[] = {"",
                                      "2024",
                                      "2024-02-30T00:00:00Z",
                                      "2023-02-29T00:00:00Z",
                                      "2024-02-29T24:00:00Z",
                                      "2024-02-29T00:00:00",
                                      "2024-02-29T00:00:00.Z",
                                      "2024-02-29T00:00:00Zx",
                                      "2024-02-29 00:00:00Z",
                                      "9999-01-01T00:00:00Z"};
    int64_t ns = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_free char *text = units_stamp(cases[i].ns);

        assert_string_equal(text, cases[i].text);
        assert_int_equal(units_parse_stamp(text, &ns, NULL), 0);
        assert_true(ns == cases[i].ns);
    }
    assert_int_equal(units_parse_stamp("2024-02-29T14:34:56.5000000009+02:00", &ns, NULL), 0);
    assert_true(ns == INT64_C(1709210096) * SECOND + SECOND / 2);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (units_parse_stamp(bad[i], &ns, NULL) == 0)
            fail_msg("'%s' was taken", bad[i]);
}

/* Two processes: one that lives for a minute and more, and a zombie with an odd name. */
static const char processes[] =
    "{\"pid\":7,\"ppid\":0,\"uid\":0,\"user\":\"root\",\"start_ms\":1699999939000,\"tty\":\"pts/0\",\"cpu_ms\":6100,"
    "\"rss\":1048576,\"vsz\":2097152,\"memory\":104857600,\"state\":\"S\",\"comm\":\"sh\",\"argv\":[\"sh\",\"-c\","
    "\"a\\nb\\tc\"]}\n"
    "{\"pid\":12,\"ppid\":7,\"uid\":1000,\"user\":\"1000\",\"start_ms\":1700000001000,\"tty\":\"\",\"cpu_ms\":0,"
    "\"rss\":0,"
    "\"state\":\"Z\",\"comm\":\"od d\",\"argv\":[]}\n";

/* The table without its blanks: cells with one '|' between them. Owned by caller. */
static char *table(const char *words, const char *lines, struct err *err)
{
    cleanup_strlist struct strlist list = STRLIST_INIT;
    cleanup_with(process_table_clear) struct process_table t = {.len = 0};
    cleanup_buf struct buf out = BUF_INIT(1u << 20);
    struct buf squeezed = BUF_INIT(1u << 20);

    if (*words)
        strlist_split(&list, words, ' ');
    if (process_table_parse(&list, &t, err) < 0 || process_table_print(&t, lines, NOW / 1000000, &out, err) < 0)
        return NULL;
    for (size_t i = 0; i < out.len;) {
        size_t blanks = strspn(out.data + i, " ");

        if (blanks > 1)
            buf_addc(&squeezed, '|');
        else
            buf_addc(&squeezed, out.data[i]);
        i += blanks > 1 ? blanks : 1;
    }
    return buf_detach(&squeezed);
}

static void test_top(void **state)
{
    static const struct {
        const char *words, *want;
    } cases[] = {
        {"", "UID|PID|PPID|C|STIME|TTY|TIME|CMD\n"
             "root|7|0|10|22:12|pts/0|00:00:06|sh -c a?b?c\n"
             "1000|12|7|0|22:13|?|00:00:00|[od d]\n"},
        {"-ef", "UID|PID|PPID|C|STIME|TTY|TIME|CMD\n"
                "root|7|0|10|22:12|pts/0|00:00:06|sh -c a?b?c\n"
                "1000|12|7|0|22:13|?|00:00:00|[od d]\n"},
        {"aux", "USER|PID|%CPU|%MEM|VSZ|RSS|TTY|STAT|START|TIME|COMMAND\n"
                "root|7|10.0|0.9|2048|1024|pts/0|S|22:12|0:06|sh -c a?b?c\n"
                "1000|12|0.0|0.0|0|0|?|Z|22:13|0:00|[od d]\n"},
        {"-o pid,etime -o comm", "PID|ELAPSED|COMMAND\n7|01:01|sh\n12|00:00|od d\n"},
        {"-eopid,ppid", "PID|PPID\n7|0\n12|7\n"},
        {"axo pid,args=WHAT,X", "PID|WHAT,X\n7|sh -c a?b?c\n12|[od d]\n"},
        {"-e", "PID|TTY|TIME|CMD\n7|pts/0|00:00:06|sh\n12|?|00:00:00|od d\n"},
        {"x", "PID|TTY|STAT|TIME|COMMAND\n7|pts/0|S|0:06|sh -c a?b?c\n12|?|Z|0:00|[od d]\n"},
    };

    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_err struct err err = ERR_INIT;
        cleanup_free char *text = table(cases[i].words, processes, &err);

        if (!text)
            fail_msg("%s: %s", cases[i].words, err.msg);
        assert_string_equal(text, cases[i].want);
    }
}

static void test_top_refuses(void **state)
{
    static const struct {
        const char *words, *message;
    } cases[] = {
        {"-o cmd", "Error response from daemon: Couldn't find PID field in ps output"},
        {"-o pid=", "Error response from daemon: Couldn't find PID field in ps output"},
        {"-o pid,nope", "Error response from daemon: ps: error: unknown user-defined format specifier \"nope\""},
        {"-f -o pid", "Error response from daemon: ps: error: conflicting format options"},
        {"-eo", "Error response from daemon: ps: error: format specification must follow -o"},
        {"-l", "docker top: the ps option '-l' is not carried out by atp-docker: there are -e, -f, -o KEYS, aux"},
        {"--sort=pid",
         "docker top: the ps option '--sort=pid' is not carried out by atp-docker: there are -e, -f, -o KEYS, aux"},
        {"auxf", "docker top: the ps option 'auxf' is not carried out by atp-docker: there are -e, -f, -o KEYS, aux"},
    };
    cleanup_err struct err err = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (table(cases[i].words, processes, &err))
            fail_msg("%s was taken", cases[i].words);
        assert_string_equal(err.msg, cases[i].message);
        assert_int_equal(err.exit_code, 1);
    }
    assert_null(table("", "{\"pid\":1}\n[]\n", &err));
    assert_string_equal(err.msg, "the agent's list of processes is not understood");
}

/* What a container may say of itself: wrong types, numbers beyond every range. */
static void test_top_hostile(void **state)
{
    cleanup_free char *text =
        table("-o pid,user,args,etime,pcpu,time,stime",
              "{\"pid\":\"x\",\"user\":3,\"argv\":[1,\"\\u001b[2J\"],\"start_ms\":-9223372036854775807,"
              "\"cpu_ms\":9223372036854775807}\n{\"start_ms\":9223372036854775807,\"argv\":{}}\n",
              NULL);

    (void)state;
    assert_non_null(text);
    assert_null(strchr(text, 0x1b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status),      cmocka_unit_test(test_cut),         cmocka_unit_test(test_row),
        cmocka_unit_test(test_row_in_full), cmocka_unit_test(test_regex),       cmocka_unit_test(test_stamps),
        cmocka_unit_test(test_top),         cmocka_unit_test(test_top_refuses), cmocka_unit_test(test_top_hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
