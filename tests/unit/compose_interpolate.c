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

/* A=1, E is empty, D has a dollar sign; nothing else is set. */
static const char *lookup(const void *arg, const char *name)
{
    (void)arg;
    return !strcmp(name, "A") ? "1" : !strcmp(name, "E") ? "" : !strcmp(name, "D") ? "$A" : NULL;
}

/* Each as docker compose v2.40 has it. An error begins with "!", warnings stand behind "|". */
static const struct {
    const char *text, *want;
} table[] = {
    {"$A ${A} $$A $$$A", "1 1 $A $1"},
    {"$N-${N}", "-|N|N"},
    {"${N:-b} ${E:-b} ${A:-b}", "b b 1"},
    {"${N-b} ${E-b} ${A-b}", "b  1"},
    {"${N:+c}.${E:+c}.${A:+c}", "..c"},
    {"${N+c}.${E+c}.${A+c}", ".c.c"},
    {"${A:?m} ${A?m} ${E?m}", "1 1 "},
    {"${N:?m}", "!required variable N is missing a value: m"},
    {"${E:?m $A}", "!required variable E is missing a value: m 1"},
    {"${N?}", "!required variable N is missing a value"},
    {"${N:-${M:-c}}", "c"},
    {"${N:-$A}${N:-${A}}", "11"},
    {"${A:+${N:-x}y}z", "xyz"},
    {"${A:-${M}}", "1|M"}, /* the word is worked out although nobody wants it */
    {"${A:-${M?gone}}", "!required variable M is missing a value: gone"},
    {"${N:-a}-${N:-b}-${N-c}", "a-b-c"},
    {"${N:-{}}", "{}"},
    {"${N:-{x}}", "{x}"},
    {"${N:-{}} ${N:-{x}}", "{}} {x"}, /* braces are counted over the whole line */
    {"pre${N:-x}post}tail", "prexpost}tail"},
    {"${N:-b:-c} ${N-b-c} ${N:-a?b} ${A:?b-c}", "b:-c b-c a?b 1"},
    {"$5 $ ${A}$", "$5 $ 1$"},
    {"${N:-$$x}", "$x"},
    {"$D ${D:-y}", "$A $A"}, /* what a variable holds is not looked into */
    {"${N:-a b}${N:-\"q\"}", "a b\"q\""},
    {"${_x1:-1}$_x1", "1|_x1"},
    {"${A", "!${A"},
    {"a ${}", "!a ${}"},
    {"${A:b}", "!${A:b}"},
    {"${1A}", "!${1A}"},
    {"${ A }", "!${ A }"},
    {"${a.b}", "!${a.b}"},
    {"${A/x/y}", "!${A/x/y}"},
    {"${N:-${M}", "!${M"},
    {"${N:-x\ny}", "!${N:-x\ny}"},
    {"${N:-x}\n${N:-y}", "x\ny"},
    {"", ""},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cleanup_strlist struct strlist warnings = STRLIST_INIT;
        cleanup_err struct err err = ERR_INIT;
        struct buf got = BUF_INIT(1000);
        cleanup_free char *text = NULL;
        size_t left = 1000;

        if (interpolate_text(table[i].text, lookup, NULL, &warnings, &left, &text, &err) < 0)
            buf_addf(&got, "!%s", err.msg);
        else
            buf_adds(&got, text);
        for (size_t j = 0; text && j < warnings.len; j++) {
            static const char rest[] = "\" variable is not set. Defaulting to a blank string.";
            const char *name = warnings.items[j] + strlen("The \""), *end = strchr(name, '"');

            assert_string_equal(end, rest);
            buf_addf(&got, "|%.*s", (int)(end - name), name);
        }
        if (strcmp(got.data, table[i].want) != 0)
            fail_msg("%s\n  want %s\n  got  %s", table[i].text, table[i].want, got.data);
        buf_clear(&got);
    }
}

static const char *big(const void *arg, const char *name)
{
    (void)name;
    return arg;
}

static void test_ceilings(void **state)
{
    cleanup_free char *text = xmalloc(30000), *ret = NULL;
    cleanup_err struct err err = ERR_INIT;
    size_t left = 1000;

    (void)state;
    assert_int_equal(interpolate_text("$A$A", big, "0123456789", NULL, &left, &ret, &err), 0);
    assert_int_equal(left, 980);
    for (size_t i = 0; i < 200; i++)
        memcpy(text + 2 * i, "$A", 3);
    assert_int_equal(interpolate_text(text, big, "0123456789", NULL, &left, &ret, &err), -1);
    assert_string_equal(err.msg, "variables put in more than 67108864 bytes");
    for (size_t i = 0; i < 5000; i++)
        memcpy(text + 5 * i, "${N:-", 5);
    memset(text + 25000, '}', 4999);
    text[29999] = '\0';
    left = 1u << 20;
    assert_int_equal(interpolate_text(text, lookup, NULL, NULL, &left, &ret, &err), -1);
    assert_string_equal(err.msg, "variables are nested more than 50 deep");
}

/* A value at services.web.<key> after its variables; "!" and the error. */
static char *cast(const char *path, const char *text)
{
    struct compose_input in = {0};
    cleanup_strlist struct strlist warnings = STRLIST_INIT;
    struct loader l = {&in, &warnings, 1000, 10000, 10};
    cleanup_err struct err err = ERR_INIT;
    static const char kinds[] = "~bifs";
    struct cnode *tree = cnode_new(CNODE_MAP), *env = cnode_new(CNODE_MAP), *at = tree, *leaf = cnode_string(text);
    cleanup_strlist struct strlist parts = STRLIST_INIT;
    char *got;

    strlist_split(&parts, path, '.');
    for (size_t i = 0; i < parts.len; i++) {
        bool last = i + 1 == parts.len, list = !last && !strcmp(parts.items[i + 1], "[]");
        struct cnode *next = last ? leaf : cnode_new(list ? CNODE_LIST : CNODE_MAP);

        if (at->kind == CNODE_LIST)
            cnode_add(at, next);
        else
            cnode_set(at, parts.items[i], next);
        at = next;
    }
    got = interpolate(&l, tree, env, &err) < 0 ? xasprintf("!%s", err.msg)
                                               : xasprintf("%c:%s", kinds[leaf->kind], leaf->text);
    if (warnings.len) {
        char *more = xasprintf("%s|%s", got, warnings.items[0]);

        free(got);
        got = more;
    }
    cnode_free(tree);
    cnode_free(env);
    return got;
}

static const struct {
    const char *path, *text, *want;
} casts[] = {
    {"services.web.scale", "${S:-2}", "i:2"},
    {"services.web.scale", "x",
     "!error while interpolating services.web.scale: failed to cast to expected type: strconv.Atoi: parsing \"x\": "
     "invalid syntax"},
    {"services.web.scale", "",
     "!error while interpolating services.web.scale: failed to cast to expected type: "
     "strconv.Atoi: parsing \"\": invalid syntax"},
    {"services.web.cpu_count", "1.5",
     "!error while interpolating services.web.cpu_count: failed to cast to expected "
     "type: strconv.ParseInt: parsing \"1.5\": invalid syntax"},
    {"services.web.pids_limit", "99999999999999999999",
     "!error while interpolating services.web.pids_limit: failed to cast to expected type: strconv.ParseInt: parsing "
     "\"99999999999999999999\": value out of range"},
    {"services.web.cpus", "0.10", "f:0.1"},
    {"services.web.cpus", "a",
     "!error while interpolating services.web.cpus: failed to cast to expected type: "
     "strconv.ParseFloat: parsing \"a\": invalid syntax"},
    {"services.web.tty", "TRUE", "b:true"},
    {"services.web.tty", "yes", "b:true|\"yes\" for boolean is not supported by YAML 1.2, please use `true`"},
    {"services.web.tty", "maybe",
     "!error while interpolating services.web.tty: failed to cast to expected type: invalid boolean: maybe"},
    {"services.web.ports.[].target", "80", "i:80"},
    {"services.web.ports.[].published", "80", "s:80"},
    {"services.web.ulimits.nofile", "10", "i:10"},
    {"services.web.ulimits.nofile.soft", "10", "i:10"},
    {"services.web.ulimits.nofile.other", "10", "s:10"},
    {"networks.n.internal", "false", "b:false"},
    {"scale", "2", "s:2"},
    {"services.web.image", "${x",
     "!invalid interpolation format for services.web.image.\nYou may need to escape any $ "
     "with another $.\n${x"},
    {"services.web.ports.[]", "${N:?n}",
     "!error while interpolating services.web.ports.[]: required variable N is missing a value: n"},
};

static void test_casts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(casts) / sizeof(casts[0]); i++) {
        cleanup_free char *got = cast(casts[i].path, casts[i].text);

        if (strcmp(got, casts[i].want) != 0)
            fail_msg("%s: %s\n  want %s\n  got  %s", casts[i].path, casts[i].text, casts[i].want, got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_ceilings),
        cmocka_unit_test(test_casts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
