/* link: atp_translate */
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/toml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* path=type:text for each entry, [path] for each table. */
static void show(const struct toml *t, struct buf *out)
{
    for (size_t i = 0; i < t->tables_len; i++) {
        for (size_t k = 0; k < t->tables[i].path.len; k++)
            buf_addf(out, "%s%s", k ? "/" : "[", t->tables[i].path.items[k]);
        buf_addf(out, "]%d ", t->tables[i].line);
    }
    for (size_t i = 0; i < t->len; i++) {
        for (size_t k = 0; k < t->entries[i].path.len; k++)
            buf_addf(out, "%s%s", k ? "/" : "", t->entries[i].path.items[k]);
        buf_addf(out, "=%c:%s;", "sbif"[t->entries[i].type], t -> entries[i].text);
    }
}

static const struct {
    const char *text, *want, *message;
} table[] = {
    {"", "", NULL},
    {"# c", "", NULL},
    {"\n\r\n \t\n# c\r\n", "", NULL},
    {"\xef\xbb\xbf"
     "a=1",
     "a=i:1;", NULL},
    {"a='x'", "a=s:x;", NULL},
    {"a=\"\"", "a=s:;", NULL},
    {"a=''#c", "a=s:;", NULL},
    {" a\t=\t\"x # y\" # z\r\nb=2", "a=s:x # y;b=i:2;", NULL},
    {"a=\"q\\\"w\\\\e\\tr\\nt\\u00e9\\U0001F600\"", "a=s:q\"w\\e\tr\nt\xc3\xa9\xf0\x9f\x98\x80;", NULL},
    {"a='q\\n\"w'", "a=s:q\\n\"w;", NULL},
    {"a=true\nb=false", "a=b:true;b=b:false;", NULL},
    {"a=0\nb=-17\nc=+1_000\nd=0xfF\ne=0o17\nf=0b1_0", "a=i:0;b=i:-17;c=i:1000;d=i:0xfF;e=i:0o17;f=i:0b10;", NULL},
    {"a=1.5\nb=-0.0\nc=1e3\nd=1.2E-3\ne=inf\nf=-nan", "a=f:1.5;b=f:-0.0;c=f:1e3;d=f:1.2E-3;e=f:inf;f=f:-nan;", NULL},
    {"[work]\ntoken_id = \"ak-1\"\n[home]\n", "[work]1 [home]3 work/token_id=s:ak-1;", NULL},
    {"[ a . \"b.c\" . 'd' ]\nx.y = 1", "[a/b.c/d]1 a/b.c/d/x/y=i:1;", NULL},
    {"\"\" = 1\n\"k\\n\" = 2\n'\\' = 3", "=i:1;k\n=i:2;\\=i:3;", NULL},
    {"a.b=1\na.c=2", "a/b=i:1;a/c=i:2;", NULL},
    {"[a.b]\n[a]\nx=1", "[a/b]1 [a]2 a/x=i:1;", NULL},
    {"1234=1\n-_-=2", "1234=i:1;-_-=i:2;", NULL},

    {"a", NULL, "f:1: '=' is expected after a key"},
    {"\n\na b=1", NULL, "f:3: '=' is expected after a key"},
    {"=1", NULL, "f:1: a key is expected here: letters, digits, '_', '-', or a quoted string"},
    {"a.=1", NULL, "f:1: a key is expected here: letters, digits, '_', '-', or a quoted string"},
    {"\xc3\xa9=1", NULL, "f:1: a key is expected here: letters, digits, '_', '-', or a quoted string"},
    {"[]", NULL, "f:1: a key is expected here: letters, digits, '_', '-', or a quoted string"},
    {"[a", NULL, "f:1: a table's name ends with ']'"},
    {"[a]b=1", NULL, "f:1: something stands after the end of this statement"},
    {"[[a]]", NULL, "f:1: arrays of tables are not read here"},
    {"a=", NULL, "f:1: a value is missing"},
    {"a=#c", NULL, "f:1: a value is missing"},
    {"a=1 2", NULL, "f:1: something stands after the end of this statement"},
    {"a='x' y", NULL, "f:1: something stands after the end of this statement"},
    {"a=1\rb=2", NULL, "f:1: something stands after the end of this statement"},
    {"a=[1]", NULL, "f:1: arrays and inline tables are not read here"},
    {"a={b=1}", NULL, "f:1: arrays and inline tables are not read here"},
    {"a=\"\"\"x\"\"\"", NULL, "f:1: multi-line strings are not read here; write the string on one line"},
    {"a='''x'''", NULL, "f:1: multi-line strings are not read here; write the string on one line"},
    {"x=1\na=\"b", NULL, "f:2: a string does not end on its line"},
    {"a=\"b\n\"", NULL, "f:1: a string does not end on its line"},
    {"a='b\r\n'", NULL, "f:1: a string does not end on its line"},
    {"a=\"b\\", NULL, "f:1: unknown escape in a string; a backslash itself is written \\\\"},
    {"a=\"C:\\home\"", NULL, "f:1: unknown escape in a string; a backslash itself is written \\\\"},
    {"a=\"\\u12\"", NULL, "f:1: a \\u escape has four hexadecimal digits, a \\U escape eight"},
    {"a=\"\\u0000\"", NULL, "f:1: this \\u escape is not a character"},
    {"a=\"\\ud800\"", NULL, "f:1: this \\u escape is not a character"},
    {"a=\"\\UFFFFFFFF\"", NULL, "f:1: this \\u escape is not a character"},
    {"a=\"\x01\"", NULL, "f:1: a string holds a control character"},
    {"a=yes", NULL, "f:1: this value is neither a string in quotes, nor a number, nor true or false"},
    {"a=ak-123", NULL, "f:1: this value is neither a string in quotes, nor a number, nor true or false"},
    {"a=True", NULL, "f:1: this value is neither a string in quotes, nor a number, nor true or false"},
    {"a=012", NULL, "f:1: this value is neither a string in quotes, nor a number, nor true or false"},
    {"a=1__0", NULL, "f:1: this value is neither a string in quotes, nor a number, nor true or false"},
    {"a=1_", NULL, "f:1: this value is neither a string in quotes, nor a number, nor true or false"},
    {"a=1.", NULL, "f:1: this value is neither a string in quotes, nor a number, nor true or false"},
    {"a=.5", NULL, "f:1: this value is neither a string in quotes, nor a number, nor true or false"},
    {"a=0x", NULL, "f:1: this value is neither a string in quotes, nor a number, nor true or false"},
    {"a=2020-01-01", NULL, "f:1: this value is neither a string in quotes, nor a number, nor true or false"},
    {"a=1\n\na=2", NULL, "f:3: 'a' was already defined on line 1"},
    {"a=1\n\"a\"=2", NULL, "f:2: 'a' was already defined on line 1"},
    {"[t]\n[t]", NULL, "f:2: 't' was already defined on line 1"},
    {"a=1\n[a]", NULL, "f:2: 'a' was already defined on line 1"},
    {"a=1\na.b=2", NULL, "f:2: 'b' was already defined on line 1"},
    {"a.b=1\na=2", NULL, "f:2: 'a' was already defined on line 1"},
    {"[a.b]\n[a]\nb=1", NULL, "f:3: 'b' was already defined on line 1"},
    {"a=1\nb='\xff'", NULL, "f:2: this line is not UTF-8 text"},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cleanup_with(toml_clear) struct toml t = {0};
        cleanup_err struct err err = ERR_INIT;
        cleanup_buf struct buf shown = BUF_INIT(LIMIT_CONFIG_FILE);
        int rc = toml_parse("f", table[i].text, strlen(table[i].text), &t, &err);

        if (table[i].message) {
            if (rc == 0)
                fail_msg("'%s' was accepted", table[i].text);
            assert_string_equal(err.msg, table[i].message);
            assert_int_equal(t.len, 0);
            continue;
        }
        if (rc < 0)
            fail_msg("'%s': %s", table[i].text, err.msg);
        show(&t, &shown);
        assert_string_equal(shown.data, table[i].want);
    }
}

static void test_nul(void **state)
{
    cleanup_with(toml_clear) struct toml t = {0};
    cleanup_err struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(toml_parse("f", "a=1\nb=\0", 7, &t, &err), -1);
    assert_string_equal(err.msg, "f:2: this line is not UTF-8 text");
}

/* Cut anywhere, a file is an error or a shorter file, and nothing worse. */
static void test_cut_anywhere(void **state)
{
    static const char text[] = "[\"a.b\".c]\r\nk = \"x\\u00e9\" # c\nn = -1_0.5e+3\n'l' = 'v'\nt = true\n";

    (void)state;
    for (size_t len = 0; len < sizeof(text); len++) {
        cleanup_with(toml_clear) struct toml t = {0};
        cleanup_err struct err err = ERR_INIT;

        if (toml_parse("f", text, len, &t, &err) == 0)
            assert_true(t.len <= 4);
        else
            assert_non_null(err.msg);
    }
}

static void test_get(void **state)
{
    static const char text[] =
        "token_id='no'\n[a]\ntoken_id='yes'\n[a.b]\ntoken_id='deep'\n[\"a.b\"]\ntoken_id='dotted'\n";
    cleanup_with(toml_clear) struct toml t = {0};

    (void)state;
    assert_int_equal(toml_parse("f", text, sizeof(text) - 1, &t, NULL), 0);
    assert_string_equal(toml_get(&t, "a", "token_id")->text, "yes");
    assert_int_equal(toml_get(&t, "a", "token_id")->line, 3);
    assert_string_equal(toml_get(&t, "a.b", "token_id")->text, "dotted");
    assert_null(toml_get(&t, "a", "token"));
    assert_null(toml_get(&t, "", "token_id"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_nul),
                                       cmocka_unit_test(test_cut_anywhere), cmocka_unit_test(test_get)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
