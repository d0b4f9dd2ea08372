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
        {"# escape=x\nRUN a",
         "error: dockerfile parse error on line 1: invalid escape token 'x' does not match ` or \\"},
        {"COPY --chown=a:b --link x y", "COPY|--chown=a:b --link|x y@1"},
        {"COPY --x=\"a b\" c d", "COPY|--x=a b|c d@1"},
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
    if (strcmp(name, "PATHS") == 0)
        return "/a/b/c.tar.gz";
    if (strcmp(name, "U") == 0)
        return "\xc3\xb6\xc3\xa4";
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
        {"${A#o}", "ne"},
        {"${A##*n}", "e"},
        {"${A%e}", "on"},
        {"${A%%n*}", "o"},
        {"${A%?}${A#??}", "one"},
        {"${A/n/x}", "oxe"},
        {"${A/n/}", "oe"},
        {"${A//?/x}", "xxx"},
        {"${A//*/x}", "x"},
        {"${A//q/x}", "one"},
        {"${A/'n'/\"$EMPTY-\"}", "o-e"},
        {"${PATHS##*/}", "c.tar.gz"},
        {"${PATHS%%.*}", "/a/b/c"},
        {"${PATHS//\\//_}", "_a_b_c.tar.gz"},
        {"${U#?}", "\xc3\xa4"},
        {"${U%?}", "\xc3\xb6"},
        {"${X#a}", ""},
        {"${A#\\q}",
         "error: failed to process \"${A#\\\\q}\": invalid pattern (\\q) in substitution: invalid escape '\\q'"},
        {"'open",
         "error: failed to process \"'open\": unexpected end of statement while looking for matching single-quote"},
        {"\"open",
         "error: failed to process \"\\\"open\": unexpected end of statement while looking for matching double-quote"},
        {"${", "error: failed to process \"${\": syntax error: missing '}'"},
        {"${}", "error: failed to process \"${}\": syntax error: bad substitution"},
        {"${A", "error: failed to process \"${A\": unsupported modifier (\xef\xbf\xbd) in substitution"},
        {"${A:-x", "error: failed to process \"${A:-x\": syntax error: missing '}'"},
        {"${A/x", "error: failed to process \"${A/x\": syntax error: missing '/' in ${}"},
        {"${A:=x}", "error: failed to process \"${A:=x}\": unsupported modifier (:=) in substitution"},
        {"${X:?is needed}", "error: failed to process \"${X:?is needed}\": X: is needed"},
        {"${EMPTY:?}", "error: failed to process \"${EMPTY:?}\": EMPTY: is not allowed to be empty"},
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
    assert_non_null(strstr(err.msg, ": variables are nested too deeply"));
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
    static const struct df_flag_spec specs[] = {
        {"chown", DF_FLAG_STRING}, {"link", DF_FLAG_BOOL}, {"mount", DF_FLAG_STRINGS}, {NULL, 0}};
    static const char *const cases[][2] = {
        {"--chown=a --link", ""},
        {"--link=FALSE", ""},
        {"--mount=a --mount=b", ""},
        {"--chow=a", "unknown flag: --chow (did you mean chown?)"},
        {"--nothing", "unknown flag: --nothing"},
        {"--chown=a --chown=b", "duplicate flag specified: --chown"},
        {"--chown", "missing a value on flag: --chown"},
        {"--link=", "missing a value on flag: --link"},
        {"--link=x", "expecting boolean value for flag --link, not: x"},
        {"--chown=a -- --chow=b", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct err err = ERR_INIT;
        struct df_instruction in;
        char line[128];

        snprintf(line, sizeof(line), "COPY %s x y", cases[i][0]);
        df_instruction_read(line, '\\', &in);
        if (df_flags_check(&in, specs, &err) == 0)
            assert_string_equal(cases[i][1], "");
        else
            assert_string_equal(err.msg, cases[i][1]);
        df_instruction_clear(&in);
        err_clear(&err);
    }
}

static void test_flag_values(void **state)
{
    struct strlist all = STRLIST_INIT;
    struct df_instruction in;

    (void)state;
    df_instruction_read("RUN --chown=a --link --x=false --mount=1 --mount=\"2 3\" y", '\\', &in);
    assert_string_equal(df_flag(&in, "chown"), "a");
    assert_string_equal(df_flag(&in, "link"), "");
    assert_null(df_flag(&in, "chmod"));
    assert_int_equal(df_flag_bool(&in, "link"), 1);
    assert_int_equal(df_flag_bool(&in, "x"), 0);
    assert_int_equal(df_flag_bool(&in, "none"), -1);
    df_flag_all(&in, "mount", &all);
    assert_int_equal(all.len, 2);
    assert_string_equal(all.items[1], "2 3");
    assert_string_equal(in.rest, "y");
    strlist_clear(&all);
    df_instruction_clear(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),       cmocka_unit_test(test_expand), cmocka_unit_test(test_deep),
        cmocka_unit_test(test_words),       cmocka_unit_test(test_json),   cmocka_unit_test(test_flags),
        cmocka_unit_test(test_flag_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
