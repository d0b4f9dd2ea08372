/* link: atp_dockerfile atp_base */
#include "compat/base/err.h"
#include "translate/dockerfile/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "WORD|flag flag|rest@line;..." of a Dockerfile, or "error: ..." */
static char *parsed(const char *text)
{
    struct strlist lines = STRLIST_INIT;
    struct err err = ERR_INIT;
    struct df_file f;
    char *out = NULL;
    size_t len;
    FILE *s = open_memstream(&out, &len);

    strlist_split(&lines, text, '\n');
    if (df_parse(&lines, &f, &err) < 0) {
        fprintf(s, "error: %s", err.msg);
    } else {
        for (size_t i = 0; i < f.len; i++) {
            fprintf(s, "%s%s|", i ? ";" : "", f.items[i].word);
            for (size_t k = 0; k < f.items[i].flags.len; k++)
                fprintf(s, "%s%s", k ? " " : "", f.items[i].flags.items[k]);
            fprintf(s, "|%s@%d", f.items[i].rest, f.items[i].line);
        }
        df_file_clear(&f);
    }
    fclose(s);
    strlist_clear(&lines);
    err_clear(&err);
    return out;
}

static void test_parse(void **state)
{
    static const char *const cases[][2] = {
        {"", "error: file with no instructions"},
        {"# only a comment\n\n", "error: file with no instructions"},
        {"from a", "FROM||a@1"},
        {"  FROM a  \r", "FROM||a@1"},
        {"\tRUN\techo  x\t", "RUN||echo  x@1"},
        {"FROM a\n\nRUN x", "FROM||a@1;RUN||x@3"},
        {"RUN a \\\n  b\nUSER c", "RUN||a   b@1;USER||c@3"},
        {"RUN a \\  \nb", "RUN||a b@1"},
        {"RUN a \\\n# in between\n\n b", "RUN||a  b@1"},
        {"RUN a \\\\\nUSER b", "RUN||a \\\\@1;USER||b@2"},
        {"RUN a \\", "RUN||a@1"},
        {"\\\nFROM a", "FROM||a@1"},
        {"# escape=`\nRUN a `\nb\\\nUSER c", "RUN||a b\\@2;USER||c@4"},
        {"# Escape = ` \nRUN a `\nb", "RUN||a b@2"},
        {"# syntax=x/y\n#escape=`\nRUN a `\nb", "RUN||a b@3"},
        {"# comment\n# escape=`\nRUN a `\nUSER b", "RUN||a `@3;USER||b@4"},
        {"\n# escape=`\nRUN a `\nUSER b", "RUN||a `@3;USER||b@4"},
        {"# escape=x\nRUN a", "error: dockerfile parse error on line 1: invalid escape token, must be ` or \\: x"},
        {"COPY --chown=a:b --link x y", "COPY|--chown=a:b --link|x y@1"},
        {"COPY --x=\"a b\" c d", "COPY|--x=\"a b\"|c d@1"},
        {"COPY -- --x y", "COPY||--x y@1"},
        {"COPY x --chown=a y", "COPY||x --chown=a y@1"},
        {"RUN x # not a comment", "RUN||x # not a comment@1"},
        {"CMD", "CMD||@1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *got = parsed(cases[i][0]);

        assert_string_equal(got, cases[i][1]);
        free(got);
    }
}

static const char *look_up(const char *name, void *arg)
{
    (void)arg;
    if (strcmp(name, "A") == 0)
        return "one";
    if (strcmp(name, "EMPTY") == 0)
        return "";
    return strcmp(name, "D") == 0 ? "$A" : NULL;
}

static void test_expand(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"$", "$"},
        {"$$A", "A"}, /* $$ is a variable that nobody sets, as in Docker */
        {"a$A", "aone"},
        {"$Ab", ""},
        {"${A}b", "oneb"},
        {"$D", "$A"}, /* values are not looked into */
        {"'$A'", "$A"},
        {"\"$A x\"", "one x"},
        {"\"a\\\"b\\$A\\n\"", "a\"b$A\\n"},
        {"\\$A", "$A"},
        {"a\\ b", "a b"},
        {"a\\", "a"},
        {"${X:-$A}", "one"},
        {"${X:-${EMPTY:-deep}}", "deep"},
        {"${EMPTY-x}", ""},
        {"${EMPTY:-x}", "x"},
        {"${A:+y}${X:+y}${EMPTY:+z}${EMPTY+w}", "yw"},
        {"${A:?no}", "one"},
        {"${X:-'}'}", "}"},
        {"'open", "error: unexpected end of statement while looking for matching single-quote"},
        {"\"open", "error: unexpected end of statement while looking for matching double-quote"},
        {"${", "error: syntax error: bad substitution"},
        {"${}", "error: syntax error: bad substitution"},
        {"${A", "error: unsupported modifier () in substitution"},
        {"${A:-x", "error: unexpected end of statement while looking for matching }"},
        {"${A:=x}", "error: unsupported modifier (:=) in substitution"},
        {"${X:?is needed}", "error: X: is needed"},
        {"${EMPTY:?}", "error: EMPTY: is not allowed to be unset"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct err err = ERR_INIT;
        char *got = NULL, text[256];

        if (df_expand(cases[i][0], '\\', look_up, NULL, &got, &err) < 0)
            snprintf(text, sizeof(text), "error: %s", err.msg);
        else
            snprintf(text, sizeof(text), "%s", got);
        assert_string_equal(text, cases[i][1]);
        free(got);
        err_clear(&err);
    }
}

/* A thousand levels must be an error, not a stack that is used up. */
static void test_deep(void **state)
{
    char text[8192] = "";
    struct err err = ERR_INIT;
    char *got;

    (void)state;
    for (int i = 0; i < 1000; i++)
        memcpy(text + i * 5, "${X:-", 6);
    assert_int_equal(df_expand(text, '\\', look_up, NULL, &got, &err), -1);
    assert_string_equal(err.msg, "variables are nested too deeply");
    err_clear(&err);
}

static void test_words(void **state)
{
    struct strlist l = STRLIST_INIT;
    struct err err = ERR_INIT;

    (void)state;
    df_words(" a=\"b c\"  d\\ e 'f g'h ", '\\', &l);
    assert_int_equal(l.len, 3);
    assert_string_equal(l.items[0], "a=\"b c\"");
    assert_string_equal(l.items[1], "d\\ e");
    assert_string_equal(l.items[2], "'f g'h");
    strlist_clear(&l);
    assert_int_equal(df_pairs("ENV", "a the rest = of it", '\\', &l, &err), 0);
    assert_string_equal(l.items[0], "a");
    assert_string_equal(l.items[1], "the rest = of it");
    strlist_clear(&l);
    assert_int_equal(df_pairs("ENV", "a=1 b=\"x y\" c=", '\\', &l, &err), 0);
    assert_int_equal(l.len, 6);
    assert_string_equal(l.items[3], "\"x y\"");
    assert_string_equal(l.items[5], "");
    strlist_clear(&l);
    assert_int_equal(df_pairs("ENV", "a", '\\', &l, &err), -1);
    assert_string_equal(err.msg, "ENV must have two arguments");
    assert_int_equal(df_pairs("LABEL", "=x", '\\', &l, &err), -1);
    assert_string_equal(err.msg, "LABEL names can not be blank");
    assert_int_equal(df_pairs("ENV", "a=1 b", '\\', &l, &err), -1);
    assert_string_equal(err.msg, "Syntax error - can't find = in \"b\". Must be of the form: name=value");
    strlist_clear(&l);
    err_clear(&err);
}

static void test_json(void **state)
{
    struct strlist l = STRLIST_INIT;

    (void)state;
    assert_true(df_json("[]", &l));
    assert_int_equal(l.len, 0);
    assert_true(df_json("[\"a\\u0041\", \"\"]", &l));
    assert_string_equal(l.items[0], "aA");
    assert_false(df_json("['a']", NULL));
    assert_false(df_json("[\"a\", 1]", NULL));
    assert_false(df_json("[\"a\"] x", NULL));
    assert_false(df_json("echo [\"a\"]", NULL));
    strlist_clear(&l);
}

static void test_flags(void **state)
{
    static const char *const names[] = {"chown", "link", NULL};
    struct strlist lines = STRLIST_INIT;
    struct err err = ERR_INIT;
    struct df_file f;

    (void)state;
    strlist_add(&lines, "COPY --chown=a --link x y\nCOPY --chow=a x y\nCOPY --chown=a --chown=b x y");
    assert_int_equal(df_parse(&lines, &f, &err), 0);
    assert_int_equal(df_check_flags(&f.items[0], names, &err), 0);
    assert_string_equal(df_flag(&f.items[0], "chown"), "a");
    assert_string_equal(df_flag(&f.items[0], "link"), "");
    assert_null(df_flag(&f.items[0], "chmod"));
    assert_int_equal(df_check_flags(&f.items[1], names, &err), -1);
    assert_string_equal(err.msg, "dockerfile parse error on line 2: unknown flag: --chow");
    assert_int_equal(df_check_flags(&f.items[2], names, &err), -1);
    assert_string_equal(err.msg, "dockerfile parse error on line 3: duplicate flag specified: chown");
    df_file_clear(&f);
    strlist_clear(&lines);
    err_clear(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse), cmocka_unit_test(test_expand), cmocka_unit_test(test_deep),
        cmocka_unit_test(test_words), cmocka_unit_test(test_json),   cmocka_unit_test(test_flags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
