/* link: atp_translate */
/*
 * -e, --env-file, -l, --label-file. Texts and odd cases were compared with docker 28.2.2.
 */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/env.h"
#include "translate/input.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Files by name; a name that is a number fails with that errno. */
static int read_file(const char *path, struct buf *out, struct err *err, void *arg)
{
    const char *const *files = arg;
    int errnum = (int)strtol(path, NULL, 10);

    if (errnum)
        return err_set_errno(err, 0, errnum, "reading");
    for (; files && files[0]; files += 2)
        if (strcmp(files[0], path) == 0)
            return buf_adds(out, files[1]);
    return err_set_errno(err, 0, ENOENT, "reading");
}

#define VAR(s) ((char[]){s}) /* environ holds plain char */

static char *const client[] = {VAR("HOME=/h"), VAR("EMPTY="), VAR("EQ=a=b"), VAR("FOOBAR=no"), VAR("FOO=yes"), NULL};

static const struct {
    const char *text;
    size_t len;       /* 0 = strlen */
    const char *want; /* entries joined with "|" */
    const char *message;
} files[] = {
    {"", 0, "", NULL},
    {"\n\n \t \n", 0, "", NULL},
    {"# comment\n  # another\n#", 0, "", NULL},
    {"A=1", 0, "A=1", NULL},
    {"A=1\r\nB=2\r\n", 0, "A=1|B=2", NULL},
    {"A=\r", 0, "A=", NULL},
    {"A=x\r\r\n", 0, "A=x\r", NULL},
    {"A=", 0, "A=", NULL},
    {"A==", 0, "A==", NULL},
    {"A=b=c", 0, "A=b=c", NULL},
    {"  \t A=lead", 0, "A=lead", NULL},
    {"\v\fA=1", 0, "A=1", NULL},
    {"\xc2\xa0"
     "A=1",
     0, "A=1", NULL},
    {"\xe3\x80\x80#c", 0, "", NULL},
    {"A= v ", 0, "A= v ", NULL},
    {"A=\"q\"", 0, "A=\"q\"", NULL},
    {"A='q' # no comment", 0, "A='q' # no comment", NULL},
    {"A=$HOME", 0, "A=$HOME", NULL},
    {"A=1\\\nB=2", 0, "A=1\\|B=2", NULL},
    {"\xef\xbb\xbf"
     "A=1",
     0, "A=1", NULL},
    {"\xef\xbb\xbf# c\nA=1", 0, "A=1", NULL},
    {"x\v=1", 0, "x\v=1", NULL},
    {"a.b-c=1", 0, "a.b-c=1", NULL},
    {"1=2", 0, "1=2", NULL},
    {"FOO", 0, "FOO=yes", NULL},
    {"EMPTY\nHOME", 0, "EMPTY=|HOME=/h", NULL},
    {"EQ", 0, "EQ=a=b", NULL},
    {"UNSET\nFO\nFOOBA\n", 0, "", NULL},
    {"A=1\nA=2", 0, "A=1|A=2", NULL},
    {"\xc3\xa9=\xe2\x98\x83", 0, "\xc3\xa9=\xe2\x98\x83", NULL},
    {"export A=1", 0, NULL, "invalid env file (f): variable 'export A' contains whitespaces"},
    {"a b=c", 0, NULL, "invalid env file (f): variable 'a b' contains whitespaces"},
    {"a b", 0, NULL, "invalid env file (f): variable 'a b' contains whitespaces"},
    {"K\tx=1", 0, NULL, "invalid env file (f): variable 'K\tx' contains whitespaces"},
    {"a =1", 0, NULL, "invalid env file (f): variable 'a ' contains whitespaces"},
    {"HOME ", 0, NULL, "invalid env file (f): variable 'HOME ' contains whitespaces"},
    {"\v\f x y=1", 0, NULL, "invalid env file (f): variable 'x y' contains whitespaces"},
    {"ok=1\n\xef\xbb\xbf a b=2", 0, NULL, "invalid env file (f): variable '\xef\xbb\xbf a b' contains whitespaces"},
    {"=v", 0, NULL, "invalid env file (f): no variable name on line '=v'"},
    {"  =", 0, NULL, "invalid env file (f): no variable name on line '='"},
    {"ok=1\n\xff=1", 0, NULL, "invalid env file (f): invalid utf8 bytes at line 2: [255 61 49]"},
    {"#\xff", 0, NULL, "invalid env file (f): invalid utf8 bytes at line 1: [35 255]"},
    {"A=\xed\xa0\x80", 0, NULL, "invalid env file (f): invalid utf8 bytes at line 1: [65 61 237 160 128]"},
    {"A=1\0B=2", 7, NULL, "invalid env file (f): line 1 holds a NUL byte"},
};

static void assert_joined(const struct strlist *list, const char *want)
{
    cleanup_buf struct buf all = BUF_INIT(LIMIT_CONFIG_FILE);

    for (size_t i = 0; i < list->len; i++)
        buf_addf(&all, "%s%s", i ? "|" : "", list->items[i]);
    assert_string_equal(all.data, want);
}

static void test_files(void **state)
{
    struct input in = {.environ = client};

    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        cleanup_strlist struct strlist out = STRLIST_INIT;
        cleanup_err struct err err = ERR_INIT;
        size_t len = files[i].len ? files[i].len : strlen(files[i].text);
        int rc = env_parse_file("f", files[i].text, len, &in, &out, &err);

        if (files[i].message) {
            assert_int_equal(rc, -1);
            assert_string_equal(err.msg, files[i].message);
            assert_int_equal(err.exit_code, 125);
        } else {
            if (rc < 0)
                fail_msg("'%s': %s", files[i].text, err.msg);
            assert_joined(&out, files[i].want);
        }
    }
}

/* The client reads lines of up to 65535 bytes. */
static void test_long_lines(void **state)
{
    struct input in = {.environ = client};

    (void)state;
    for (size_t len = 65534; len <= 65537; len++) {
        cleanup_strlist struct strlist out = STRLIST_INIT;
        cleanup_err struct err err = ERR_INIT;
        cleanup_free char *text = xmalloc(len + 2);
        int rc;

        memset(text, 'v', len);
        text[1] = '=';
        text[len] = '\n';
        text[len + 1] = '\0';
        rc = env_parse_file("f", text, len + 1, &in, &out, &err);
        assert_int_equal(rc, len <= 65535 ? 0 : -1);
        if (rc < 0)
            assert_string_equal(err.msg, "invalid env file (f): bufio.Scanner: token too long");
        else
            assert_int_equal(strlen(out.items[0]), len);
    }
}

static void collect(const char *const *names, const char *const *words, const char *const *contents, bool labels,
                    const char *want, const char *message)
{
    cleanup_strlist struct strlist f = STRLIST_INIT, w = STRLIST_INIT, out = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    struct input in = {.environ = client, .read_file = read_file, .read_arg = (void *)(uintptr_t)contents};
    int rc;

    for (; *names; names++)
        strlist_add(&f, *names);
    for (; *words; words++)
        strlist_add(&w, *words);
    rc = labels ? labels_collect(&f, &w, &in, &out, &err) : env_collect(&f, &w, &in, &out, &err);
    if (message) {
        assert_int_equal(rc, -1);
        assert_string_equal(err.msg, message);
        return;
    }
    if (rc < 0)
        fail_msg("%s", err.msg);
    assert_joined(&out, want);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void test_collect_env(void **state)
{
    const char *const *contents = LIST("a", "A=1\nB=1\n", "b", "B=2\nFOO\n", "bad", "x y\n");

    (void)state;
    collect(LIST(), LIST(), contents, false, "", NULL);
    collect(LIST("a", "b"), LIST("A=3", "EMPTY", "NOPE", "X=a=\nb"), contents, false,
            "A=1|B=1|B=2|FOO=yes|A=3|EMPTY=|X=a=\nb", NULL);
    collect(LIST(), LIST("=x"), contents, false, NULL, "invalid environment variable: =x");
    collect(LIST(), LIST(""), contents, false, NULL, "invalid environment variable: ");
    collect(LIST("a", "nope"), LIST(), contents, false, NULL, "open nope: no such file or directory");
    collect(LIST(""), LIST(), contents, false, NULL, "open : no such file or directory");
    collect(LIST("bad", "nope"), LIST(), contents, false, NULL,
            "invalid env file (bad): variable 'x y' contains whitespaces");
    collect(LIST("13"), LIST(), contents, false, NULL, "open 13: permission denied");
    collect(LIST("21"), LIST(), contents, false, NULL, "invalid env file (21): read 21: is a directory");
    collect(LIST("27"), LIST(), contents, false, NULL, "invalid env file (27): larger than 4194304 bytes");
}

static void test_collect_labels(void **state)
{
    const char *const *contents = LIST("a", "k=1\nHOME\n", "bad", "=\n");

    (void)state;
    collect(LIST("a"), LIST("k=2", "only", "e=", "x=a=b"), contents, true, "k=2|HOME=|only=|e=|x=a=b", NULL);
    collect(LIST("bad"), LIST(), contents, true, NULL, "invalid env file (bad): no variable name on line '='");
    collect(LIST(), LIST("=x"), contents, true, NULL, "invalid label '=x': empty name");
    collect(LIST("nope"), LIST(), contents, true, NULL, "open nope: no such file or directory");
}

static void test_merge(void **state)
{
    cleanup_strlist struct strlist base = STRLIST_INIT, over = STRLIST_INIT;

    (void)state;
    strlist_add(&base, "A=1");
    strlist_add(&base, "B=2");
    strlist_add(&base, "AB=3");
    strlist_add(&over, "C=5");
    strlist_add(&over, "A=9=9");
    strlist_add(&over, "B");
    strlist_add(&over, "C=");
    strlist_add(&over, "NEVER");
    env_merge(&base, &over);
    assert_joined(&base, "A=9=9|AB=3|C=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),          cmocka_unit_test(test_long_lines), cmocka_unit_test(test_collect_env),
        cmocka_unit_test(test_collect_labels), cmocka_unit_test(test_merge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
