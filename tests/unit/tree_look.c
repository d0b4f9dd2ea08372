/* link: atp_tree atp_base */
/* Lists of file systems: the order in which two of them are compared, what counts as a change, and hostile bytes. */
#include "translate/tree/look.h"

#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct tree_look look(uint8_t type, const char *path, const char *link)
{
    return (struct tree_look){.entry = {.type = type,
                                        .mode = 0644,
                                        .uid = 7,
                                        .gid = 8,
                                        .mtime = -5,
                                        .size = type == TREE_FILE ? 9 : 0,
                                        .path = path,
                                        .link = link},
                              .links = type != TREE_DIR,
                              .xattrs = 11};
}

static void test_order(void **state)
{
    static const char *const sorted[] = {"", "a", "a/b", "a/b/c", "a/b.c", "a\x01", "a.b", "ab", "b", "\xff"};

    (void)state;
    for (size_t i = 0; i < sizeof(sorted) / sizeof(sorted[0]); i++)
        for (size_t k = 0; k < sizeof(sorted) / sizeof(sorted[0]); k++) {
            int got = tree_path_compare(sorted[i], sorted[k]);

            if ((got < 0) != (i < k) || (got > 0) != (i > k))
                fail_msg("'%s' and '%s' compare as %d", sorted[i], sorted[k], got);
        }
    assert_true(tree_path_within("a", "a"));
    assert_true(tree_path_within("a/b", "a"));
    assert_false(tree_path_within("ab", "a"));
    assert_false(tree_path_within("", "a"));
}

/* Reads all of b, `step` bytes at a time: how many records; -1 if it is refused. */
static int read_all(const struct buf *b, size_t step)
{
    struct look_reader r;
    struct tree_look l;
    int count = 0, got = 0;

    look_reader_init(&r, 1 << 20);
    for (size_t at = 0; at < b->len && got >= 0; at += step) {
        assert_int_equal(look_reader_feed(&r, b->data + at, b->len - at < step ? b->len - at : step, NULL), 0);
        while ((got = look_reader_next(&r, &l, NULL, NULL)) > 0)
            count++;
    }
    if (got >= 0 && !look_reader_empty(&r))
        got = -1;
    look_reader_clear(&r);
    return got < 0 ? -1 : count;
}

static void test_round_trip(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    struct tree_look all[] = {look(TREE_DIR, "a", ""), look(TREE_FILE, "a/b", ""), look(TREE_SYMLINK, "a.b", "/x y"),
                              look(TREE_DEVICE, "c", "")};
    struct look_reader r;
    struct tree_look l;

    (void)state;
    all[3].entry.block = true;
    all[3].entry.major = 1;
    all[3].entry.minor = UINT32_MAX;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(tree_put_look(&b, &all[i]), 0);
    look_reader_init(&r, 1 << 20);
    assert_int_equal(look_reader_feed(&r, b.data, b.len, NULL), 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(look_reader_next(&r, &l, NULL, NULL), 1);
        assert_true(tree_look_same(&l, &all[i]));
        assert_string_equal(l.entry.path, all[i].entry.path);
    }
    assert_int_equal(look_reader_next(&r, &l, NULL, NULL), 0);
    assert_true(look_reader_empty(&r));
    look_reader_clear(&r);
    assert_int_equal(read_all(&b, 1), 4);
    assert_int_equal(read_all(&b, 7), 4);
    b.len--;
    assert_int_equal(read_all(&b, 7), -1);
}

static void test_changes(void **state)
{
    const struct tree_look a = look(TREE_FILE, "a", "");

    (void)state;
    for (int i = 0; i < 9; i++) {
        struct tree_look c = a;

        assert_true(tree_look_same(&a, &c));
        *(i == 0   ? (uint32_t *)&c.entry.uid
          : i == 1 ? &c.entry.gid
          : i == 2 ? &c.links
          : i == 3 ? &c.entry.major
                   : &c.entry.minor) += i < 5;
        c.entry.mode += i == 5;
        c.entry.mtime += i == 6;
        c.entry.size += i == 7;
        c.xattrs += i == 8;
        assert_false(tree_look_same(&a, &c));
    }
}

static void test_refused(void **state)
{
    const struct tree_look bad[] = {
        look(0, "a", ""),
        look(TREE_TYPE_MAX, "a", ""),
        look(TREE_HARDLINK, "a", "b"),
        look(TREE_FILE, "", ""),
        look(TREE_FILE, "../a", ""),
        look(TREE_FILE, "/a", ""),
        look(TREE_FILE, "a/", ""),
        look(TREE_FILE, "a/./b", ""),
        look(TREE_FILE, "a", "text"),
        look(TREE_SYMLINK, "a", ""),
    };
    const struct tree_look a = look(TREE_FILE, "a", ""), b = look(TREE_FILE, "b", "");

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cleanup_buf struct buf bytes = BUF_INIT(1 << 20);

        tree_put_look(&bytes, &bad[i]);
        if (read_all(&bytes, bytes.len) != -1)
            fail_msg("the record %zu was accepted", i);
    }
    for (int i = 0; i < 2; i++) { /* out of order, and twice */
        cleanup_buf struct buf bytes = BUF_INIT(1 << 20);

        tree_put_look(&bytes, &b);
        tree_put_look(&bytes, i ? &b : &a);
        assert_int_equal(read_all(&bytes, bytes.len), -1);
    }
}

/* Whatever bytes come: no more than an error. */
static void test_fuzz(void **state)
{
    (void)state;
    srandom(4);
    for (int round = 0; round < 20000; round++) {
        cleanup_buf struct buf b = BUF_INIT(1 << 20);
        struct tree_look l = look(round % 2 ? TREE_FILE : TREE_SYMLINK, "some/path", round % 2 ? "" : "to");

        tree_put_look(&b, &l);
        l.entry.path = "some/path2";
        tree_put_look(&b, &l);
        for (int i = 0; i < 1 + round % 4; i++)
            b.data[(size_t)random() % b.len] = (char)random();
        read_all(&b, 1 + (size_t)random() % b.len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),   cmocka_unit_test(test_round_trip), cmocka_unit_test(test_changes),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
