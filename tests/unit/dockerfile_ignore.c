/* link: atp_dockerfile atp_base */
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "translate/dockerfile/ignore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* yes, no: paths parted by blanks, that are left out, and that are not. */
static void test_match(void **state)
{
    static const struct {
        const char *file, *yes, *no;
    } cases[] = {
        {"", "", "a a/b"},
        {"# a\n  \n\t#b\n", "#b", "a b"}, /* a comment begins the line */
        {"\xef\xbb\xbf"
         "a\r\nb",
         "a b a/c", "c"},
        {"a", "a a/b a/b/c", "b b/a ab"},
        {"/a/", "a a/b", "b/a"},
        {"./a//b/../c", "a/c a/c/d", "a a/b"},
        {"  a b  ", "", "a b"},
        {"*", "a a/b .x", ""},
        {"*.md\n!README.md", "a.md", "README.md a/b.md"},
        {"*.md\n!README*.md\nREADME-secret.md", "x.md README-secret.md", "README.md README-x.md"},
        {"!a\na", "a", "b"}, /* the last line decides */
        {"a\n!a/b", "a a/c", "a/b a/b/c"},
        {"a\n!a/b\na/b/c", "a/b/c a/d", "a/b a/b/d"},
        {"**", "a a/b", ""},
        {"**/x", "x a/x a/b/x a/x/y", "xx a/xx"},
        {"**x", "x ax a/bx", "xa"},
        {"a/**", "a/b a/b/c", "a ab"},
        {"a/**/b", "a/b a/x/b a/x/y/b/z", "b ab a/bb"},
        {"a**", "a ab a/b abc/d", "ba"},
        {"**/*.go", "x.go a/x.go a/b/x.go", "x.c"},
        {"**/a*/b", "a/b x/ay/b", "x/y/b a/x/b"},
        {"a?c",
         "abc a\xc3\xa9"
         "c",
         "ac a/c abbc"},
        {"[a-c]x[^0-9]", "axb cxz", "dxb ax1"},
        {"a\\*", "a*", "ab"},
        {"a.c+(x)|{y}$", "a.c+(x)|{y}$", "abc+(x)|{y}$"},
        {"*/temp*\n*/*/temp*\ntemp?", "a/temporary.txt a/b/temp tempa", "temp a/b/c/temp"},
        {"/!x\nx", "x", "y"}, /* what follows the "/" is read once more */
        {"..\n../x", "", "x"},
        {".", "", "a"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct df_ignore *ig = df_ignore_new(cases[i].file, strlen(cases[i].file), ".dockerignore", NULL);
        struct strlist yes = STRLIST_INIT, no = STRLIST_INIT;

        assert_non_null(ig);
        strlist_split(&yes, cases[i].yes, ' ');
        strlist_split(&no, cases[i].no, ' ');
        for (size_t k = 0; k < yes.len; k++) {
            if (*yes.items[k] && !df_ignore_match(ig, yes.items[k]))
                fail_msg("%s does not leave out %s", cases[i].file, yes.items[k]);
        }
        for (size_t k = 0; k < no.len; k++) {
            if (df_ignore_match(ig, no.items[k]))
                fail_msg("%s leaves out %s", cases[i].file, no.items[k]);
        }
        strlist_clear(&yes);
        strlist_clear(&no);
        df_ignore_free(ig);
    }
}

static void test_prunes(void **state)
{
    static const struct {
        const char *file, *dir;
        bool prunes;
    } cases[] = {
        {"a", "a", true},
        {"a", "b", false},
        {"a\n!b", "a", true},
        {"a\n!a/b", "a", false},
        {"a\n!a/b", "a/c", true},
        {"a\n!a/b/c", "a/b", false},
        {"*\n!*.go", "a", false},
        {"*\n!src/**", "src", false},
        {"*\n!src/**", "doc", true},
        {"*\n!src/x*", "src", false},
        {"*\n!**/x", "a/b", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct df_ignore *ig = df_ignore_new(cases[i].file, strlen(cases[i].file), ".dockerignore", NULL);

        if (df_ignore_prunes(ig, cases[i].dir) != cases[i].prunes)
            fail_msg("%s: %s", cases[i].file, cases[i].dir);
        df_ignore_free(ig);
    }
}

static void test_bad(void **state)
{
    static const char *const cases[][2] = {
        {"a\n[", "failed to parse .dockerignore: syntax error in pattern: ["},
        {"a[]b", "failed to parse .dockerignore: syntax error in pattern: a[]b"},
        {"a[x-]", "failed to parse .dockerignore: syntax error in pattern: a[x-]"},
        {"a\\", "failed to parse .dockerignore: syntax error in pattern: a\\"},
        {"!", "failed to parse .dockerignore: illegal exclusion pattern: \"!\""},
        {"! ", "failed to parse .dockerignore: illegal exclusion pattern: \"!\""},
    };
    struct err err = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_null(df_ignore_new(cases[i][0], strlen(cases[i][0]), ".dockerignore", &err));
        assert_string_equal(err.msg, cases[i][1]);
    }
    assert_null(df_ignore_new("a\0b", 3, "x", &err));
    assert_string_equal(err.msg, "failed to parse x: it is no text");
    err_clear(&err);
}

/* --exclude: patterns as they stand. */
static void test_of(void **state)
{
    struct strlist l = STRLIST_INIT;
    struct df_ignore *ig;

    (void)state;
    strlist_add(&l, "**/*.txt");
    strlist_add(&l, "!keep.txt");
    strlist_add(&l, "#x");
    ig = df_ignore_of(&l, NULL);
    assert_true(df_ignore_match(ig, "a/b.txt"));
    assert_false(df_ignore_match(ig, "keep.txt"));
    assert_true(df_ignore_match(ig, "#x"));
    df_ignore_free(ig);
    strlist_clear(&l);
}

static void test_source(void **state)
{
    static const struct {
        const char *pattern, *path;
        int source, deep;
    } cases[] = {
        {"a", "a", 1, 1},      {"a*", "abc", 1, 1},       {"a*", "a/b", 0, 0},     {"*/b", "a/b", 1, 1},
        {"**/b", "a/b", 1, 1}, {"**/b", "b", 0, 1},       {"**/b", "a/c/b", 0, 1}, {"a/**", "a/b/c", 0, 1},
        {"[", "a", -1, -1},    {"[^/]", "/", 0, 0},       {"?", "\xc3\xa9", 1, 1}, {"\\?", "?", 1, 1},
        {"", "", 1, 1},        {"a*b*c", "axbxbc", 1, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(df_source_match(cases[i].pattern, cases[i].path), cases[i].source);
        assert_int_equal(df_pattern_match(cases[i].pattern, cases[i].path), cases[i].deep);
    }
}

/* Many stars must cost time by the product of lengths, not by the power. */
static void test_slow(void **state)
{
    char pattern[512], path[4096];

    (void)state;
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    for (size_t i = 0; i < 250; i++)
        memcpy(pattern + 2 * i, "*a", 2);
    memcpy(pattern + 500, "b", 2);
    assert_int_equal(df_source_match(pattern, path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match), cmocka_unit_test(test_prunes), cmocka_unit_test(test_bad),
        cmocka_unit_test(test_of),    cmocka_unit_test(test_source), cmocka_unit_test(test_slow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
