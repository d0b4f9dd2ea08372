/* link: atp_translate atp_base */
#include "compat/base/err.h"
#include "translate/detach_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_parse(void **state)
{
    cleanup_err struct err err = ERR_INIT;
    struct detach_keys k;

    (void)state;
    assert_int_equal(detach_keys_parse("ctrl-@,ctrl-[,ctrl-_,a", &k, NULL), 0);
    assert_int_equal(k.len, 4);
    assert_memory_equal(k.keys, "\0\33\37a", 4);
    assert_int_equal(detach_keys_parse("", &k, NULL), 0);
    assert_memory_equal(k.keys, "\20\21", 2);
    assert_int_equal(detach_keys_parse("foo", &k, &err), -1);
    assert_string_equal(err.msg, "invalid detach keys (foo): Unknown character: 'foo'");
    assert_int_equal(detach_keys_parse("a,,b", &k, NULL), -1);
    assert_int_equal(detach_keys_parse("ctrl-A", &k, NULL), -1);
    assert_int_equal(detach_keys_parse("a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a", &k, NULL), -1);
}

static void test_filter(void **state)
{
    struct detach_keys k;
    uint8_t out[64];
    size_t len;

    (void)state;
    detach_keys_parse(NULL, &k, NULL);
    assert_false(detach_keys_filter(&k, (const uint8_t *)"ab\20", 3, out, &len));
    assert_int_equal(len, 2); /* the last one is held back */
    assert_false(detach_keys_filter(&k, (const uint8_t *)"x\20\20", 3, out, &len));
    assert_int_equal(len, 3);
    assert_memory_equal(out, "\20x\20", 3);
    assert_true(detach_keys_filter(&k, (const uint8_t *)"\21rest", 5, out, &len));
    assert_int_equal(len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_filter)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
