/* link: atp_translate */
/*
 * Names, ids, paths, units.
 */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/paths.h"
#include "translate/names.h"
#include "translate/nearest.h"
#include "translate/resources.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_valid_names(void **state)
{
    static const char *const bad[] = {
        "", "/", "a", "/a", "//ab", "_ab", ".ab", "-ab", "a b", "ab/", "a/b", "ab\n", "\xc3\xa9t\xc3\xa9", "*bad"};
    static const char *const good[] = {"ab", "/ab", "a-", "a.", "a_", "0x", "A.b-c_d", "c1"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (name_valid(bad[i]))
            fail_msg("'%s' was accepted", bad[i]);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cleanup_free char *name = NULL;

        assert_int_equal(name_parse(good[i], &name, NULL), 0);
        assert_string_equal(name, good[i] + (good[i][0] == '/'));
    }
}

/* Every random number gives a valid name, neighbours differ, and attempts of one number are all different. */
static void test_generated_names(void **state)
{
    cleanup_free char *first = name_generate(0, 0), *second = name_generate(1, 0), *far = name_generate(UINT64_MAX, 0);
    cleanup_free char *again = name_generate(0, 1), *twelfth = name_generate(0, 12);

    (void)state;
    for (uint64_t r = 0; r < 20000; r += 7) {
        cleanup_free char *name = name_generate(r * 0x9e3779b97f4a7c15u, 0);
        const char *underscore = strchr(name, '_');

        assert_true(name_valid(name));
        assert_non_null(underscore);
        assert_null(strchr(underscore + 1, '_'));
    }
    assert_string_not_equal(first, second);
    assert_true(name_valid(far));
    assert_memory_equal(again, first, strlen(first));
    assert_string_equal(again + strlen(first), "1");
    assert_string_equal(twelfth + strlen(first), "12");
}

static void test_ids(void **state)
{
    uint8_t random[32] = {0};
    char id[CONTAINER_ID_LEN + 1];

    (void)state;
    container_id_make(random, id);
    assert_string_equal(id, "a000000000000000000000000000000000000000000000000000000000000000");
    memset(random, 0x99, sizeof(random));
    container_id_make(random, id);
    assert_int_equal(strspn(id, "0123456789"), 0);
    memset(random, 0xff, sizeof(random));
    container_id_make(random, id);
    assert_int_equal(strspn(id, "f"), 64);
}

static void test_match(void **state)
{
    const char *id = "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789";

    (void)state;
    assert_int_equal(name_match("", id, "web"), 0);
    assert_int_equal(name_match("a", id, "web"), 1);
    assert_int_equal(name_match("abcdef012345", id, NULL), 1);
    assert_int_equal(name_match("abd", id, "web"), 0);
    assert_int_equal(name_match("web", id, "web"), 2);
    assert_int_equal(name_match("/web", id, "web"), 2);
    assert_int_equal(name_match("we", id, "web"), 0);
    assert_int_equal(name_match("abc", id, "abc"), 2);
    assert_int_equal(name_match(id, id, "web"), 3);
}

static void test_paths(void **state)
{
    static const char *const clean[][2] = {
        {"", "."},
        {"/", "/"},
        {"//", "/"},
        {"/..", "/"},
        {"/../../a", "/a"},
        {".", "."},
        {"./", "."},
        {"..", ".."},
        {"../..", "../.."},
        {"a/..", "."},
        {"a/../..", ".."},
        {"../a/..", ".."},
        {"a//b/./c/", "a/b/c"},
        {"/a/b/../../..", "/"},
        {"/a/./", "/a"},
        {"/...", "/..."},
        {"/a/..b", "/a/..b"},
        {"/a/b../c", "/a/b../c"},
        {"a/b/../../c", "c"},
        {"../../a/../b", "../../b"},
        {"/ /\n", "/ /\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(clean) / sizeof(clean[0]); i++) {
        cleanup_free char *got = path_clean(clean[i][0]);

        assert_string_equal(got, clean[i][1]);
    }
    {
        cleanup_free char *a = path_absolute("/w/d", "../x"), *b = path_absolute("/w/d", "/y/."),
                          *c = path_absolute("/", ".");

        assert_string_equal(a, "/w/x");
        assert_string_equal(b, "/y");
        assert_string_equal(c, "/");
    }
    assert_true(path_within("/a", "/a"));
    assert_true(path_within("/a/b", "/a"));
    assert_true(path_within("/a", "/"));
    assert_true(path_within("/", "/"));
    assert_false(path_within("/ab", "/a"));
    assert_false(path_within("/", "/a"));
    assert_int_equal(path_depth("/"), 0);
    assert_int_equal(path_depth("/a/b"), 2);
}

static void test_cpus(void **state)
{
    static const struct {
        int64_t nano;
        unsigned host;
        int rc;
        uint32_t milli;
    } cases[] = {
        {0, 2, 0, 0},
        {0, 0, 0, 0},
        {-1, 0, -1, 0},
        {-1, 2, -1, 0},
        {9999999, 0, -1, 0},
        {9999999, 2, -1, 0},
        {10000000, 2, 0, 10},
        {12999999, 2, 0, 12},
        {1500000000, 2, 0, 1500},
        {2000000000, 2, 0, 2000},
        {2000000001, 2, -1, 0},
        {64000000000, 0, 0, 64000},
        {INT64_MAX, 0, -1, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t milli = 77;

        assert_int_equal(cpus_to_milli(cases[i].nano, cases[i].host, &milli, NULL), cases[i].rc);
        assert_int_equal(milli, cases[i].rc < 0 ? 77 : cases[i].milli);
    }
}

static void test_memory(void **state)
{
    static const struct {
        int64_t bytes;
        int rc;
        uint32_t mib;
    } cases[] = {
        {0, 0, 0},
        {-1, -1, 0},
        {1, -1, 0},
        {6291455, -1, 0},
        {6291456, 0, 6},
        {6291457, 0, 7},
        {1 << 30, 0, 1024},
        {INT64_MAX, -1, 0},
        {(int64_t)UINT32_MAX << 20, 0, UINT32_MAX},
        {((int64_t)UINT32_MAX << 20) + 1, -1, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t mib = 77;

        assert_int_equal(memory_to_mib(cases[i].bytes, &mib, NULL), cases[i].rc);
        assert_int_equal(mib, cases[i].rc < 0 ? 77 : cases[i].mib);
    }
}

static void test_nearest(void **state)
{
    static const char *const words[] = {"timeout", "idle_timeout", "region", "cpu", NULL};

    (void)state;
    assert_string_equal(nearest_word("timout", words), "timeout");
    assert_string_equal(nearest_word("regoin", words), "region");
    assert_string_equal(nearest_word("cpus", words), "cpu");
    assert_null(nearest_word("completely_else", words));
    assert_null(nearest_word("a-word-that-is-far-too-long-to-be-a-typing-error-of-anything", words));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_names), cmocka_unit_test(test_generated_names), cmocka_unit_test(test_ids),
        cmocka_unit_test(test_match),       cmocka_unit_test(test_paths),           cmocka_unit_test(test_cpus),
        cmocka_unit_test(test_memory),      cmocka_unit_test(test_nearest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
