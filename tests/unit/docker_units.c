/* link: atp_docker atp_base */
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/docker/units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define LEN(a) (sizeof(a) / sizeof(*(a)))

/* A text with its value, or with the error that docker shows for it. */
struct number_case {
    const char *text;
    int64_t value;
    const char *error;
};

typedef int parse_fn(const char *s, int64_t *ret_value, struct err *err);

static void check_numbers(parse_fn *parse, const struct number_case *cases, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        struct err err = ERR_INIT;
        int64_t value = -77;
        int rc = parse(cases[i].text, &value, &err);

        if (cases[i].error) {
            assert_int_equal(rc, -1);
            assert_string_equal(err.msg, cases[i].error);
            assert_int_equal(value, -77);
        } else {
            if (rc < 0)
                fail_msg("%s: %s", cases[i].text, err.msg);
            assert_int_equal(value, cases[i].value);
        }
        err_clear(&err);
    }
}

static void test_bytes(void **state)
{
    static const struct number_case cases[] = {
        {"", 0, "invalid size: ''"},
        {"k", 0, "invalid size: 'k'"},
        {"-1", 0, "invalid size: '-1'"},
        {"1x", 0, "invalid suffix: 'x'"},
        {"1ki", 0, "invalid suffix: 'ki'"},
        {"1KIBX", 0, "invalid suffix: 'KIBX'"},
        {"1.5.5", 0, "strconv.ParseFloat: parsing \"1.5.5\": invalid syntax"},
        {"1  k", 0, "strconv.ParseFloat: parsing \"1 \": invalid syntax"},
        {"9e99", 0, "invalid size: '9e99'"},
        {"8388608t", 0, "invalid size: '8388608t'"},
        {"1e999", 0, "strconv.ParseFloat: parsing \"1e999\": value out of range"},
        {"0", 0, NULL},
        {"+1", 1, NULL},
        {"1.9", 1, NULL},
        {".5k", 512, NULL},
        {"1.k", 1024, NULL},
        {"1 k", 1024, NULL},
        {"1.5g", 1610612736, NULL},
        {"512MB", 536870912, NULL},
        {"1GiB", 1073741824, NULL},
        {"7b", 7, NULL},
        {"1p", 1125899906842624, NULL},
        {"1e3k", 1024000, NULL},
    };

    (void)state;
    check_numbers(units_parse_bytes, cases, LEN(cases));
}

static void test_cpus(void **state)
{
    static const struct number_case cases[] = {
        {"", 0, "failed to parse  as a rational number"},
        {"abc", 0, "failed to parse abc as a rational number"},
        {".", 0, "failed to parse . as a rational number"},
        {"1e", 0, "failed to parse 1e as a rational number"},
        {"1/0", 0, "failed to parse 1/0 as a rational number"},
        {"1/3", 0, "value is too precise"},
        {"0.0000000001", 0, "value is too precise"},
        {"0.33333333333333333333333333333333333333333333", 0, "value is too precise"},
        {"1e-10", 0, "value is too precise"},
        {"9999999999", 0, "value 9999999999 is out of range"},
        {"1e999999999999", 0, "value 1e999999999999 is out of range"},
        {"11111111111111111111111111111111111111111111111", 0,
         "value 11111111111111111111111111111111111111111111111 is out of range"},
        {"0", 0, NULL},
        {"00.50", 500000000, NULL},
        {"1.", 1000000000, NULL},
        {".000000001", 1, NULL},
        {"1e-9", 1, NULL},
        {"0e999999", 0, NULL},
        {"1/2", 500000000, NULL},
        {"-1.5", -1500000000, NULL},
        {"0.10000000000000000000000000000000000000", 100000000, NULL},
        {"9223372036.854775807", INT64_MAX, NULL},
    };

    (void)state;
    check_numbers(units_parse_cpus, cases, LEN(cases));
}

static void test_durations(void **state)
{
    static const struct number_case cases[] = {
        {"", 0, "time: invalid duration \"\""},
        {"5", 0, "time: missing unit in duration \"5\""},
        {"5x", 0, "time: unknown unit \"x\" in duration \"5x\""},
        {".s", 0, "time: invalid duration \".s\""},
        {"\xC3\xA9", 0, "time: invalid duration \"\\xc3\\xa9\""},
        {"1s\"", 0, "time: unknown unit \"s\\\"\" in duration \"1s\\\"\""},
        {"9223372036854775808ns", 0, "time: invalid duration \"9223372036854775808ns\""},
        {"2562047h47m16.854775808s", 0, "time: invalid duration \"2562047h47m16.854775808s\""},
        {"99999999999h", 0, "time: invalid duration \"99999999999h\""},
        {"2562047h2562047h", 0, "time: invalid duration \"2562047h2562047h\""},
        {"0", 0, NULL},
        {"-0", 0, NULL},
        {"1m30s", 90000000000, NULL},
        {"-1.5h", -5400000000000, NULL},
        {".5s", 500000000, NULL},
        {"1\xC2\xB5s1\xCE\xBCs1us", 3000, NULL},
        {"1.0000000000000000000000000001s", 1000000000, NULL},
        {"-9223372036854775808ns", INT64_MIN, NULL},
        {"9223372036854775807ns", INT64_MAX, NULL},
    };

    (void)state;
    check_numbers(units_parse_duration, cases, LEN(cases));
}

static void test_duration_text(void **state)
{
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        {0, "0s"},
        {1, "1ns"},
        {1500, "1.5\xC2\xB5s"},
        {1000000, "1ms"},
        {1500000000, "1.5s"},
        {60000000000, "1m0s"},
        {90500000000, "1m30.5s"},
        {3600000000000, "1h0m0s"},
        {-5400000000000, "-1h30m0s"},
        {INT64_MIN, "-2562047h47m16.854775808s"},
        {INT64_MAX, "2562047h47m16.854775807s"},
    };

    (void)state;
    for (size_t i = 0; i < LEN(cases); i++) {
        cleanup_free char *text = units_duration(cases[i].ns);
        int64_t back = -1;

        assert_string_equal(text, cases[i].text);
        assert_int_equal(units_parse_duration(text, &back, NULL), 0);
        assert_int_equal(back, cases[i].ns);
    }
}

static int parse_int64(const char *s, int64_t *ret_value, struct err *err)
{
    return units_parse_int(s, 64, ret_value, err);
}

static void test_integers(void **state)
{
    static const struct number_case cases[] = {
        {"", 0, "strconv.ParseInt: parsing \"\": invalid syntax"},
        {"0x", 0, "strconv.ParseInt: parsing \"0x\": invalid syntax"},
        {"08", 0, "strconv.ParseInt: parsing \"08\": invalid syntax"},
        {"1__0", 0, "strconv.ParseInt: parsing \"1__0\": invalid syntax"},
        {"_1", 0, "strconv.ParseInt: parsing \"_1\": invalid syntax"},
        {"1_", 0, "strconv.ParseInt: parsing \"1_\": invalid syntax"},
        {"--1", 0, "strconv.ParseInt: parsing \"--1\": invalid syntax"},
        {"9223372036854775808", 0, "strconv.ParseInt: parsing \"9223372036854775808\": value out of range"},
        {"99999999999999999999999", 0, "strconv.ParseInt: parsing \"99999999999999999999999\": value out of range"},
        {"1\xFF", 0, "strconv.ParseInt: parsing \"1\\xff\": invalid syntax"},
        {"0x_1F", 31, NULL},
        {"-0b11", -3, NULL},
        {"0o17", 15, NULL},
        {"017", 15, NULL},
        {"0_7", 7, NULL},
        {"+1_000", 1000, NULL},
        {"-9223372036854775808", INT64_MIN, NULL},
        {"9223372036854775807", INT64_MAX, NULL},
    };
    uint64_t number = 5;
    int64_t small = 5;

    (void)state;
    check_numbers(parse_int64, cases, LEN(cases));
    assert_int_equal(units_parse_uint("65536", 16, &number, NULL), -1);
    assert_int_equal(units_parse_uint("-1", 64, &number, NULL), -1);
    assert_int_equal(number, 5);
    assert_int_equal(units_parse_uint("0xffffffffffffffff", 64, &number, NULL), 0);
    assert_true(number == UINT64_MAX);
    assert_int_equal(units_parse_int10("0x10", 64, &small, NULL), -1);
    assert_int_equal(units_parse_int10("010", 64, &small, NULL), 0);
    assert_int_equal(small, 10);
    assert_int_equal(units_parse_int10("-2147483649", 32, &small, NULL), -1);
}

static void test_bools(void **state)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
    static const char *const neither[] = {"", "yes", "tRUE", "2", " true", "on"};
    bool value;

    (void)state;
    for (size_t i = 0; i < LEN(yes); i++) {
        assert_int_equal(units_parse_bool(yes[i], &value, NULL), 0);
        assert_true(value);
        assert_int_equal(units_parse_bool(no[i], &value, NULL), 0);
        assert_false(value);
        assert_int_equal(units_parse_bool(neither[i], &value, NULL), -1);
    }
}

static void test_ages(void **state)
{
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {
        {-5, "Less than a second"}, {0.9, "Less than a second"}, {1, "1 second"},
        {59.9, "59 seconds"},       {60, "About a minute"},      {119, "About a minute"},
        {120, "2 minutes"},         {3599, "59 minutes"},        {3600, "About an hour"},
        {5399, "About an hour"},    {5401, "2 hours"},           {47.4 * 3600, "47 hours"},
        {48 * 3600, "2 days"},      {13 * 86400, "13 days"},     {14 * 86400, "2 weeks"},
        {59 * 86400, "8 weeks"},    {60 * 86400, "2 months"},    {729 * 86400.0, "24 months"},
        {730 * 86400.0, "2 years"},
    };

    (void)state;
    for (size_t i = 0; i < LEN(cases); i++) {
        cleanup_free char *text = units_age((int64_t)(cases[i].seconds * 1e9));

        assert_string_equal(text, cases[i].text);
    }
}

static void check_owned(char *text, const char *expected)
{
    assert_string_equal(text, expected);
    free(text);
}

static void test_sizes(void **state)
{
    (void)state;
    check_owned(units_size(0), "0B");
    check_owned(units_size(999), "999B");
    check_owned(units_size(13256), "13.26kB");
    check_owned(units_size(1000), "1kB");
    check_owned(units_size(999999), "1000kB");
    check_owned(units_size_digits(4261550, 3), "4.26MB");
    check_owned(units_size_digits(13300, 3), "13.3kB");
    check_owned(units_size_digits(999950, 3), "1e+03kB");
    check_owned(units_size_digits(1e30, 3), "1e+06YB");
    check_owned(units_size_binary(1023), "1023B");
    check_owned(units_size_binary(16773000000.0), "15.62GiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),    cmocka_unit_test(test_cpus),  cmocka_unit_test(test_durations),
        cmocka_unit_test(test_integers), cmocka_unit_test(test_bools), cmocka_unit_test(test_duration_text),
        cmocka_unit_test(test_ages),     cmocka_unit_test(test_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
