/* link: atp_compose */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/compose/load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char *lookup(const void *arg, const char *name)
{
    (void)arg;
    return !strcmp(name, "HOST") ? "h" : NULL;
}

/* Each as docker compose v2.40 has it. */
static const struct {
    const char *text, *want;
} table[] = {
    {"", ""},
    {"# c\n\n  \n", ""},
    {"A=1", "A=1;"},
    {"  A  =  1  \n", "A=1;"},
    {"A: yaml\n", "A=yaml;"},
    {"export A=b\nexport  B=\"$A\"\n", "A=b;B=b;"},
    {"A=\"a b\"\nB='a $A'\nC=a$A\n", "A=a b;B=a $A;C=aa b;"},
    {"A=\"x\\ny\\$B\\t\\\\\\\"\"\n", "A=x\ny$B\t\\\";"},
    {"A='it\\'s'\nB=1\n", "A=it's;B=1;"},
    {"A=\"\\0101\\0\\08\"\n", "A=A\\0\\08;"},
    {"A=a\\nb\n", "A=a\\nb;"},
    {"A=un#quoted\nB=x # comment\nC=\"t\" # c\n", "A=un#quoted;B=x;C=t;"},
    {"A=\"multi\nline\"\nB=2\n", "A=multi\nline;B=2;"},
    {"A=${N:-d}-$HOST-$$x\n", "A=d-h-$x;"},
    {"A=1\nA=2\nB=$A\n", "A=2;B=2;"},
    {"HOST=mine\nB=$HOST\n", "HOST=mine;B=h;"}, /* who asks is before the file */
    {"HOST\nNOBODY\nA=1\n", "HOST=h;A=1;"},
    {"a.b=1\n[x]=2\n9A=3\n", "a.b=1;[x]=2;9A=3;"},
    {"\xef\xbb\xbf"
     "A=1\n",
     "A=1;"},
    {"A=\n B=\n", "A=;B=;"},
    {"A='a'#x\nB=1\n", "A=a;B=1;"},
    {"A=1\r\nB=2\r\n", "A=1;B=2;"},
    {"A\xe2", ""}, /* a character that is cut off */
    {"\xc3\xa9=1\n", "\xc3\xa9=1;"},
    {"A B=1\n", "!line 1: key cannot contain a space"},
    {"\nA=\"x\n", "!line 3: unterminated quoted value \"x"},
    {"A=1\nA!=1\n", "!line 2: unexpected character \"!\" in variable name \"A!=1\""},
    {"A=${\n", "!Invalid template: \"${\""},
    {"A=${X:?must}\n", "!required variable X is missing a value: must"},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cleanup_err struct err err = ERR_INIT;
        struct cnode *vars = cnode_new(CNODE_MAP);
        struct buf got = BUF_INIT(1000);
        size_t left = 1000;

        if (dotenv_parse(table[i].text, lookup, NULL, vars, NULL, &left, &err) < 0)
            buf_addf(&got, "!%s", err.msg);
        for (size_t j = 0; !err.msg && j < vars->len; j++)
            buf_addf(&got, "%s=%s;", vars->keys[j], vars->items[j]->text);
        if (strcmp(got.data, table[i].want) != 0)
            fail_msg("%s\n  want %s\n  got  %s", table[i].text, table[i].want, got.data);
        buf_clear(&got);
        cnode_free(vars);
    }
}

/* A file that doubles a variable each line. */
static void test_growth(void **state)
{
    struct cnode *vars = cnode_new(CNODE_MAP);
    struct buf text = BUF_INIT(10000);
    cleanup_err struct err err = ERR_INIT;
    size_t left = 1u << 20;

    (void)state;
    buf_adds(&text, "A=xxxxxxxx\n");
    for (int i = 0; i < 60; i++)
        buf_adds(&text, "A=$A$A\n");
    assert_int_equal(dotenv_parse(text.data, lookup, NULL, vars, NULL, &left, &err), -1);
    assert_string_equal(err.msg, "variables put in more than 67108864 bytes");
    buf_clear(&text);
    cnode_free(vars);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_growth)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
