/* link: atp_grpc atp_base */
#include "backends/grpc/frame.h"

#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Three messages, one of them empty, fed in pieces of every size from one byte on. */
static void messages_in_pieces(void **state)
{
    struct buf body = BUF_INIT(4096);

    (void)state;
    grpc_frame_add(&body, "hello", 5);
    grpc_frame_add(&body, "", 0);
    grpc_frame_add(&body, "\0\1\2", 3);
    for (size_t piece = 1; piece <= body.len; piece++) {
        struct grpc_parser p;
        const char *want[] = {"hello", "", "\0\1\2"};
        const size_t lens[] = {5, 0, 3};
        size_t got = 0;

        grpc_parser_init(&p, 5);
        for (size_t at = 0; at < body.len; at += piece) {
            const uint8_t *message;
            size_t len;

            assert_int_equal(grpc_parser_push(&p, body.data + at, body.len - at < piece ? body.len - at : piece, NULL),
                             0);
            while (grpc_parser_next(&p, &message, &len, NULL) == 1) {
                assert_true(got < 3);
                assert_int_equal(len, lens[got]);
                assert_memory_equal(message, want[got], len);
                got++;
            }
        }
        assert_int_equal(got, 3);
        assert_true(grpc_parser_idle(&p));
        grpc_parser_clear(&p);
    }
    buf_clear(&body);
}

/* Too long by one, compressed, nonsense, cut off: each is told apart, and nothing is set aside for the long one. */
static void refused_messages(void **state)
{
    const struct {
        uint8_t head[5];
        int result, status;
    } cases[] = {
        {{0, 0, 0, 0, 9}, -1, GRPC_RESOURCE_EXHAUSTED},
        {{0, 0xff, 0xff, 0xff, 0xff}, -1, GRPC_RESOURCE_EXHAUSTED},
        {{1, 0, 0, 0, 1}, -1, GRPC_INTERNAL},
        {{'<', 'h', 't', 'm', 'l'}, -1, GRPC_INTERNAL},
        {{0, 0, 0, 0, 8}, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct grpc_parser p;
        struct err err = ERR_INIT;
        const uint8_t *message;
        size_t len;

        grpc_parser_init(&p, 8);
        grpc_parser_push(&p, cases[i].head, 5, NULL);
        assert_int_equal(grpc_parser_next(&p, &message, &len, &err), cases[i].result);
        assert_int_equal(err.code, cases[i].status);
        assert_false(grpc_parser_idle(&p));
        assert_true(p.bytes.cap < 4096);
        err_clear(&err);
        grpc_parser_clear(&p);
    }
}

/* A peer that ignores flow control is stopped at one window. */
static void pile_has_a_ceiling(void **state)
{
    static char mib[1 << 20];
    struct err err = ERR_INIT;
    struct grpc_parser p;
    size_t pushed = 0;

    (void)state;
    grpc_parser_init(&p, 1 << 20);
    while (pushed < 200 && grpc_parser_push(&p, mib, sizeof(mib), &err) == 0)
        pushed++;
    assert_int_equal(pushed, LIMIT_GRPC_WINDOW / sizeof(mib) + 1);
    assert_int_equal(err.code, GRPC_RESOURCE_EXHAUSTED);
    err_clear(&err);
    grpc_parser_clear(&p);
}

static void percent(void **state)
{
    const struct {
        const char *raw, *escaped;
    } both[] = {{"", ""}, {"plain text", "plain text"}, {"100%", "100%25"}, {"a\nb", "a%0Ab"}, {"\xc3\xa9", "%C3%A9"}};
    const struct {
        const char *escaped, *raw;
    } odd[] = {{"%", "%"}, {"%4", "%4"}, {"%zz", "%zz"}, {"%00x", "?x"}, {"%e9%", "\xe9%"}};

    (void)state;
    for (size_t i = 0; i < sizeof(both) / sizeof(*both); i++) {
        struct buf out = BUF_INIT(100);
        char *back = grpc_percent_decode(both[i].escaped, strlen(both[i].escaped));

        assert_int_equal(grpc_percent_encode(&out, both[i].raw), 0);
        assert_string_equal(out.data, both[i].escaped);
        assert_string_equal(back, both[i].raw);
        free(back);
        buf_clear(&out);
    }
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
        char *back = grpc_percent_decode(odd[i].escaped, strlen(odd[i].escaped));

        assert_string_equal(back, odd[i].raw);
        free(back);
    }
}

static void timeouts(void **state)
{
    const struct {
        int64_t ms;
        const char *text;
    } out[] = {
        {-5, "1m"}, {0, "1m"}, {1500, "1500m"}, {99999999, "99999999m"}, {100000000, "100000S"}, {100000001, "100001S"},
    };
    const struct {
        const char *text;
        int64_t ms;
    } in[] = {
        {"1H", 3600000},    {"2M", 120000},
        {"3S", 3000},       {"7m", 7},
        {"1u", 1},          {"1000001n", 2},
        {"", -1},           {"m", -1},
        {"12", -1},         {"-1m", -1},
        {"1x", -1},         {"0m", 0},
        {"123456789m", -1}, {"99999999H", 99999999ll * 3600000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(out) / sizeof(*out); i++) {
        char text[GRPC_TIMEOUT_MAX];

        grpc_timeout_format(out[i].ms, text);
        assert_string_equal(text, out[i].text);
    }
    for (size_t i = 0; i < sizeof(in) / sizeof(*in); i++)
        assert_int_equal(grpc_timeout_parse(in[i].text, strlen(in[i].text)), in[i].ms);
}

static void statuses(void **state)
{
    (void)state;
    assert_int_equal(grpc_status_parse("0", 1), GRPC_OK);
    assert_int_equal(grpc_status_parse("16", 2), GRPC_UNAUTHENTICATED);
    assert_int_equal(grpc_status_parse("17", 2), GRPC_UNKNOWN);
    assert_int_equal(grpc_status_parse("", 0), GRPC_UNKNOWN);
    assert_int_equal(grpc_status_parse("-1", 2), GRPC_UNKNOWN);
    assert_int_equal(grpc_status_parse("000", 3), GRPC_UNKNOWN);
    assert_string_equal(grpc_status_name(14), "UNAVAILABLE");
    assert_string_equal(grpc_status_name(99), "UNKNOWN");
    assert_string_equal(grpc_status_name(-1), "UNKNOWN");
}

static void base64(void **state)
{
    const char *const encoded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    struct buf out = BUF_INIT(64);

    (void)state;
    for (size_t len = 0; len <= 6; len++) {
        size_t unpadded = strcspn(encoded[len], "=");

        buf_reset(&out);
        assert_int_equal(grpc_base64_encode(&out, "foobar", len), 0);
        assert_string_equal(out.data, encoded[len]);
        for (int padded = 0; padded < 2; padded++) {
            buf_reset(&out);
            assert_int_equal(grpc_base64_decode(&out, encoded[len], padded ? strlen(encoded[len]) : unpadded), 0);
            assert_int_equal(out.len, len);
            assert_memory_equal(out.data, "foobar", len);
        }
    }
    buf_reset(&out);
    assert_int_equal(grpc_base64_decode(&out, "-_+/", 4), 0);
    assert_memory_equal(out.data, "\xfb\xff\xbf", 3);
    buf_reset(&out);
    buf_adds(&out, "kept");
    assert_int_equal(grpc_base64_decode(&out, "Zm9vZ", 5), -1);
    assert_int_equal(grpc_base64_decode(&out, "Zm 9", 4), -1);
    assert_int_equal(grpc_base64_decode(&out, "Zm=v", 4), -1);
    assert_string_equal(out.data, "kept");
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_in_pieces),
        cmocka_unit_test(refused_messages),
        cmocka_unit_test(pile_has_a_ceiling),
        cmocka_unit_test(percent),
        cmocka_unit_test(timeouts),
        cmocka_unit_test(statuses),
        cmocka_unit_test(base64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
