/* link: atp_tree atp_base */
/* The stream of cp: what is put comes out, what is impossible does not, whatever bytes come. */
#include "translate/tree/place.h"
#include "translate/tree/tree.h"

#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROUNDS 40000

/* Writes down what the parser hands on. */
struct seen {
    struct buf text;
    uint64_t left; /* the parser's promise: contents are as long as announced */
    bool in_file, ended;
};

static int on_head(void *arg, const struct tree_head *h, struct err *err)
{
    struct seen *s = arg;

    (void)err;
    buf_addf(&s->text, "head %d %s\n", h->flags, h->base);
    return 0;
}

static int on_entry(void *arg, const struct tree_entry *e, struct err *err)
{
    struct seen *s = arg;

    (void)err;
    assert_false(s->in_file);
    assert_true(tree_path_ok(e->path));
    assert_true(e->mode <= 07777);
    s->in_file = e->type == TREE_FILE;
    s->left = e->size;
    buf_addf(&s->text, "%d %o %u:%u %lld %llu [%s] [%s]\n", e->type, e->mode, e->uid, e->gid, (long long)e->mtime,
             (unsigned long long)e->size, e->path, e->link);
    return 0;
}

static void count(struct seen *s, uint64_t len)
{
    assert_true(s->in_file);
    assert_true(len <= s->left);
    s->left -= len;
}

static int on_data(void *arg, const void *bytes, size_t len, struct err *err)
{
    (void)err;
    count(arg, len);
    buf_addf(&((struct seen *)arg)->text, "data %.*s\n", len < 20 ? (int)len : 20, (const char *)bytes);
    return 0;
}

static int on_hole(void *arg, uint64_t len, struct err *err)
{
    (void)err;
    count(arg, len);
    buf_addf(&((struct seen *)arg)->text, "hole %llu\n", (unsigned long long)len);
    return 0;
}

static int on_file_end(void *arg, struct err *err)
{
    struct seen *s = arg;

    (void)err;
    assert_true(s->in_file && !s->left);
    s->in_file = false;
    return 0;
}

static int on_end(void *arg, struct err *err)
{
    (void)err;
    ((struct seen *)arg)->ended = true;
    return 0;
}

static const struct tree_events events = {on_head, on_entry, on_data, on_hole, on_file_end, on_end, NULL};

/* Parses all of it, `step` bytes at a time; "" or the error. Owned by caller. */
static char *parse(const struct buf *b, size_t step, struct seen *s)
{
    struct tree_parser p;
    struct err err = ERR_INIT;
    char *text;
    int status = 0;

    *s = (struct seen){.text = BUF_INIT(64u << 20)};
    tree_parser_init(&p, &events, s);
    for (size_t at = 0; at < b->len && status == 0; at += step)
        status = tree_parser_feed(&p, b->data + at, b->len - at < step ? b->len - at : step, &err);
    if (status == 0)
        status = tree_parser_finish(&p, &err);
    assert_int_equal(status < 0, err.msg != NULL);
    text = xstrdup(err.msg ? err.msg : "");
    err_clear(&err);
    tree_parser_clear(&p);
    return text;
}

static struct tree_entry entry(uint8_t type, const char *path, const char *link, uint64_t size)
{
    return (struct tree_entry){.type = type, .mode = 0644, .path = path, .link = link, .size = size};
}

static void put(struct buf *b, uint8_t type, const char *path, const char *link, uint64_t size)
{
    struct tree_entry e = entry(type, path, link, size);

    assert_int_equal(tree_put_entry(b, &e), 0);
}

static void head(struct buf *b, uint8_t flags, const char *base)
{
    struct tree_head h = {.flags = flags, .base = base};

    assert_int_equal(tree_put_head(b, &h), 0);
}

static void test_round_trip(void **state)
{
    static const size_t steps[] = {1, 7, 1 << 20};
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    struct tree_entry e = {.type = TREE_FILE,
                           .mode = 04755,
                           .uid = 1234,
                           .gid = UINT32_MAX,
                           .mtime = -1,
                           .size = 13,
                           .path = "a b/\xff\n",
                           .link = ""};
    struct seen s;

    (void)state;
    head(&b, 0, "dir");
    put(&b, TREE_DIR, "", "", 0);
    put(&b, TREE_DIR, "a b", "", 0);
    assert_int_equal(tree_put_entry(&b, &e), 0);
    tree_put_data(&b, "abc", 3);
    tree_put_hole(&b, 8);
    tree_put_data(&b, "de", 2);
    put(&b, TREE_FILE, "empty", "", 0);
    put(&b, TREE_HARDLINK, "hard", "a b/\xff\n", 0);
    put(&b, TREE_SYMLINK, "link", "/abs/../x", 0);
    tree_put_end(&b);
    for (size_t i = 0; i < 3; i++) {
        char *error = parse(&b, steps[i], &s);

        assert_string_equal(error, "");
        assert_true(s.ended);
        assert_string_equal(s.text.data, "head 0 dir\n1 644 0:0 0 0 [] []\n1 644 0:0 0 0 [a b] []\n"
                                         "2 4755 1234:4294967295 -1 13 [a b/\xff\n] []\ndata abc\nhole 8\ndata de\n"
                                         "2 644 0:0 0 0 [empty] []\n4 644 0:0 0 0 [hard] [a b/\xff\n]\n"
                                         "3 644 0:0 0 0 [link] [/abs/../x]\n");
        free(error);
        buf_clear(&s.text);
    }
}

static void test_paths(void **state)
{
    static const char *const bad[] = {"/",    "/a",   "a/",  "a//b",  ".",         "..", "./a",
                                      "a/..", "../a", "a/.", "a/./b", "a/../../b", "//", "a/b/.."};
    static const char *const good[] = {"", "a", "a/b", "...", "..a", "a..", "a/.b", " ", "a\nb", "-", "\xff"};
    cleanup_free char *deep = xmalloc(2 * LIMIT_DEPTH + 4), *name = xmalloc(LIMIT_NAME + 2);

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (tree_path_ok(bad[i]))
            fail_msg("taken: %s", bad[i]);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!tree_path_ok(good[i]))
            fail_msg("refused: %s", good[i]);
    memset(name, 'n', LIMIT_NAME + 1);
    name[LIMIT_NAME + 1] = '\0';
    assert_false(tree_path_ok(name));
    assert_true(tree_path_ok(name + 1));
    for (size_t i = 0; i <= LIMIT_DEPTH; i++)
        memcpy(deep + 2 * i, "d/", 2);
    deep[2 * LIMIT_DEPTH + 1] = '\0';
    assert_false(tree_path_ok(deep));
    deep[2 * LIMIT_DEPTH - 1] = '\0';
    assert_true(tree_path_ok(deep));
}

/* A stream that is wrong in one place. */
static void refuses(void (*make)(struct buf *b), const char *part)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    struct seen s;
    char *error;

    make(&b);
    error = parse(&b, 1 << 16, &s);
    if (!strstr(error, part))
        fail_msg("\"%s\" is not in \"%s\"", part, error);
    free(error);
    buf_clear(&s.text);
}

static void root(struct buf *b)
{
    head(b, 0, "x");
    put(b, TREE_DIR, "", "", 0);
}

static void no_head(struct buf *b)
{
    put(b, TREE_DIR, "", "", 0);
}
static void two_heads(struct buf *b)
{
    head(b, 0, "x");
    head(b, 0, "x");
}
static void bad_base(struct buf *b)
{
    head(b, 0, "..");
}
static void slash_base(struct buf *b)
{
    head(b, 0, "a/b");
}
static void no_root(struct buf *b)
{
    head(b, 0, "x");
    put(b, TREE_DIR, "a", "", 0);
}
static void two_roots(struct buf *b)
{
    root(b);
    put(b, TREE_DIR, "", "", 0);
}
static void climbs(struct buf *b)
{
    root(b);
    put(b, TREE_FILE, "../x", "", 0);
}
static void absolute(struct buf *b)
{
    head(b, TREE_LOOSE, ".");
    put(b, TREE_FILE, "/etc/passwd", "", 0);
}
static void hard_out(struct buf *b)
{
    root(b);
    put(b, TREE_HARDLINK, "a", "../b", 0);
}
static void textless(struct buf *b)
{
    root(b);
    put(b, TREE_SYMLINK, "a", "", 0);
}
static void sized_dir(struct buf *b)
{
    root(b);
    put(b, TREE_DIR, "a", "", 1);
}
static void huge(struct buf *b)
{
    root(b);
    put(b, TREE_FILE, "a", "", UINT64_MAX);
}
static void too_much(struct buf *b)
{
    root(b);
    put(b, TREE_FILE, "a", "", 2);
    tree_put_data(b, "abc", 3);
}
static void after_it(struct buf *b)
{
    root(b);
    put(b, TREE_FILE, "a", "", 1);
    tree_put_data(b, "a", 1);
    tree_put_hole(b, 1);
}
static void overflow(struct buf *b)
{
    root(b);
    put(b, TREE_FILE, "a", "", 10);
    tree_put_hole(b, 5);
    tree_put_hole(b, UINT64_MAX);
}
static void too_little(struct buf *b)
{
    root(b);
    put(b, TREE_FILE, "a", "", 2);
    tree_put_data(b, "a", 1);
    put(b, TREE_FILE, "b", "", 0);
}
static void cut(struct buf *b)
{
    root(b);
}
static void after_end(struct buf *b)
{
    root(b);
    tree_put_end(b);
    put(b, TREE_FILE, "b", "", 0);
}
static void long_record(struct buf *b)
{
    root(b);
    buf_add(b, "\x03\xff\xff\xff\x7f", 5);
}
static void special_mode(struct buf *b)
{
    struct tree_entry e = {.type = TREE_DIR, .mode = 040755, .path = "", .link = ""};

    head(b, 0, "x");
    tree_put_entry(b, &e);
}

static void test_refused(void **state)
{
    (void)state;
    refuses(no_head, "out of order");
    refuses(two_heads, "a second head");
    refuses(bad_base, "a name that is none");
    refuses(slash_base, "a name that is none");
    refuses(no_root, "entries out of order");
    refuses(two_roots, "entries out of order");
    refuses(climbs, "impossible path");
    refuses(absolute, "impossible path");
    refuses(hard_out, "leads out of it");
    refuses(textless, "a link without text");
    refuses(sized_dir, "impossible size");
    refuses(huge, "impossible size");
    refuses(too_much, "more contents");
    refuses(after_it, "more contents");
    refuses(overflow, "more contents");
    refuses(too_little, "fewer contents");
    refuses(cut, "ends too early");
    refuses(after_end, "out of order");
    refuses(long_record, "too long");
    refuses(special_mode, "unknown type or mode");
}

static uint32_t seed = 20261121;

static uint32_t rnd(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

/* Damaged streams: the events' own assertions hold, whatever comes. */
static void test_fuzz(void **state)
{
    cleanup_buf struct buf good = BUF_INIT(1 << 20), b = BUF_INIT(1 << 20);
    unsigned whole = 0;

    (void)state;
    root(&good);
    put(&good, TREE_FILE, "f", "", 10);
    tree_put_data(&good, "0123456", 7);
    tree_put_hole(&good, 3);
    put(&good, TREE_SYMLINK, "l", "f", 0);
    put(&good, TREE_HARDLINK, "h", "f", 0);
    put(&good, TREE_DEVICE, "dev", "", 0);
    tree_put_end(&good);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct seen s;
        char *error;

        buf_reset(&b);
        buf_add(&b, good.data, good.len);
        for (unsigned n = rnd(4); n--;)
            b.data[rnd((uint32_t)b.len)] ^= (char)(1u << rnd(8));
        if (rnd(4) == 0)
            buf_truncate(&b, rnd((uint32_t)b.len));
        error = parse(&b, 1 + rnd(200), &s);
        whole += !*error;
        free(error);
        buf_clear(&s.text);
    }
    assert_true(whole > 1000 && whole < ROUNDS);
}

/* ---- where things go ---- */

struct placing {
    const char *base, *dest, *dir, *name; /* dir NULL: refused with name */
    uint8_t type;
    bool exists, is_dir;
};

static void test_place(void **state)
{
    static const struct placing cases[] = {
        {"f", "/d", "/d", "f", TREE_FILE, true, true},
        {"f", "/d/", "/d/", "f", TREE_FILE, true, true},
        {"f", "/d/n", "/d", "n", TREE_FILE, false, false},
        {"f", "/d/n", "/d", "n", TREE_FILE, true, false},
        {"f", "/d/n/", NULL, "no such directory", TREE_FILE, false, false},
        {"f", "/d/.", NULL, "no such directory", TREE_FILE, false, false},
        {"f", "", NULL, "no such directory", TREE_FILE, false, false},
        {"f", "n", ".", "n", TREE_FILE, false, false},
        {"s", "/d", "/d", "s", TREE_DIR, true, true},
        {".", "/d", "/d", NULL, TREE_DIR, true, true},
        {"/", "/d", "/d", NULL, TREE_DIR, true, true},
        {"s", "/d/n", "/d", "n", TREE_DIR, false, false},
        {"s", "/d/n/", "/d", "n", TREE_DIR, false, false},
        {".", "/d/n", "/d", "n", TREE_DIR, false, false},
        {"s", "/d/n/.", "/d/n", NULL, TREE_DIR, false, false},
        {"s", "/f", NULL, "cannot copy directory", TREE_DIR, true, false},
        {"l", "/d", "/d", "l", TREE_SYMLINK, true, true},
        {"l", "/f", "/", "f", TREE_SYMLINK, true, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct placing *c = &cases[i];
        struct tree_head h = {.base = c->base};
        struct place_dest dest = {.path = c->dest, .exists = c->exists, .is_dir = c->is_dir};
        struct place p = {NULL, NULL};
        cleanup_err struct err err = ERR_INIT;
        int status = place_choose(&h, c->type, &dest, &p, &err);

        assert_int_equal(status, c->dir ? 0 : -1);
        if (status < 0) {
            assert_string_equal(err.msg, c->name);
            continue;
        }
        assert_string_equal(p.dir, c->dir);
        if (c->name)
            assert_string_equal(p.name, c->name);
        else
            assert_null(p.name);
        place_clear(&p);
    }
}

static void test_path_ends(void **state)
{
    static const char *const kept[][3] = {{"/a/b", "b/", "/a/b/"}, {"/a/b", "b/.", "/a/b/."}, {"/", "/", "/"},
                                          {"/", ".", "/."},        {"/a", "a", "/a"},         {"/a", ".", "/a/."},
                                          {"/a", "./", "/a/./"}};
    static const char *const bases[][3] = {{"/a/b", "b", "/a"}, {"/a/b/", "b", "/a"}, {"/a/b/.", ".", "/a/b"},
                                           {"/", "/", "/"},     {"", ".", "."},       {"a", "a", "."},
                                           {"/a", "a", "/"},    {"/a/..", "/", "/"}};

    (void)state;
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        cleanup_free char *got = place_keep_end(kept[i][0], kept[i][1]);

        assert_string_equal(got, kept[i][2]);
    }
    for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        cleanup_free char *base = place_base(bases[i][0]), *parent = place_parent(bases[i][0]);

        assert_string_equal(base, bases[i][1]);
        assert_string_equal(parent, bases[i][2]);
    }
}

static void test_links_that_leave(void **state)
{
    cleanup_err struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(place_check_link("/d", "a/l", "../f", &err), 0);
    assert_int_equal(place_check_link("/d", "l", "/etc/passwd", &err), 0); /* as docker: it is joined, not followed */
    assert_int_equal(place_check_link("/", "l", "../../x", &err), 0);
    assert_int_equal(place_check_link("/d", "a/l", "../../f", &err), -1);
    assert_string_equal(err.msg, "invalid symlink \"/d/a/l\" -> \"../../f\"");
    assert_int_equal(place_check_link("/d", "l", "../dd", &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_fuzz),
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_path_ends),
        cmocka_unit_test(test_links_that_leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
