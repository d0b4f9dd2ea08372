/* link: atp_wire atp_base */
#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "translate/wire/share.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct share example = {
    .op = SHARE_ENTRY,
    .flags = SHARE_RO,
    .from = 7,
    .number = 1ull << 40,
    .kind = SHARE_LINK,
    .mode = 04751,
    .uid = 12,
    .gid = UINT32_MAX,
    .mtime_ns = -5,
    .size = 1ull << 50,
    .path = "a/..b/c",
    .link = "a/.d",
    .text = "self",
    .bytes = (const uint8_t *)"x\0y",
    .len = 3,
};

static struct wire_frame frame_of(const struct buf *b)
{
    return (struct wire_frame){
        .type = WIRE_SHARE, .data = (const uint8_t *)b->data + WIRE_HEADER, .len = b->len - WIRE_HEADER};
}

static void test_there_and_back(void **state)
{
    struct buf b = BUF_INIT(LIMIT_FRAME);
    struct share got;
    struct wire_frame f;

    (void)state;
    assert_int_equal(share_put(&b, &example), 0);
    f = frame_of(&b);
    assert_int_equal(share_get(&f, &got, NULL), 0);
    assert_int_equal(got.op, SHARE_ENTRY);
    assert_int_equal(got.flags, SHARE_RO);
    assert_int_equal(got.from, 7);
    assert_true(got.number == 1ull << 40);
    assert_int_equal(got.kind, SHARE_LINK);
    assert_int_equal(got.mode, 04751);
    assert_int_equal(got.uid, 12);
    assert_true(got.gid == UINT32_MAX);
    assert_int_equal(got.mtime_ns, -5);
    assert_true(got.size == 1ull << 50);
    assert_string_equal(got.path, "a/..b/c");
    assert_string_equal(got.link, "a/.d");
    assert_string_equal(got.text, "self");
    assert_int_equal(got.len, 3);
    assert_memory_equal(got.bytes, "x\0y", 3);
    share_clear(&got);
    for (size_t n = 0; n < f.len; n++) { /* cut anywhere */
        struct wire_frame cut = {.type = WIRE_SHARE, .data = f.data, .len = n};

        assert_int_equal(share_get(&cut, &got, NULL), -1);
    }
    buf_clear(&b);
}

static void refuse(struct share s)
{
    struct buf b = BUF_INIT(LIMIT_FRAME);
    struct share got;
    struct wire_frame f;

    assert_int_equal(share_put(&b, &s), 0);
    f = frame_of(&b);
    assert_int_equal(share_get(&f, &got, NULL), -1);
    buf_clear(&b);
}

/* A member that is not to be trusted names nothing outside of the volume. */
static void test_paths(void **state)
{
    static const char *const bad[] = {"/", "/a", "a/", "a//b", "..", "../a", "a/..", "a/../b", ".", "a/./b", "./a"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct share s = example;

        s.path = (char *)bad[i];
        refuse(s);
        s.op = SHARE_GONE;
        refuse(s);
        s = example;
        s.link = (char *)bad[i];
        refuse(s);
    }
}

static void test_values(void **state)
{
    struct share s = example;

    (void)state;
    s.op = 0;
    refuse(s);
    s.op = SHARE_OP_MAX;
    refuse(s);
    s = example;
    s.kind = 0;
    refuse(s);
    s.kind = SHARE_KIND_MAX;
    refuse(s);
    s = example;
    s.size = 1ull << 63;
    refuse(s);
    s = example;
    s.op = SHARE_DATA;
    s.number = INT64_MAX;
    refuse(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
