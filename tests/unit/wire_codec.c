/* link: atp_wire atp_base */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/wire/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NELEM(a) (sizeof(a) / sizeof((a)[0]))

/* Parses the whole of b, expecting exactly one frame of this type; the frame borrows from p. */
static struct wire_frame one_frame(struct wire_parser *p, const struct buf *b, uint8_t type)
{
    struct wire_frame f, extra;

    assert_int_equal(wire_parser_feed(p, b->data, b->len, NULL), 0);
    assert_int_equal(wire_parser_next(p, &f, NULL), 1);
    assert_int_equal(f.type, type);
    assert_int_equal(wire_parser_next(p, &extra, NULL), 0);
    return f;
}

static void test_parser_refuses(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\0\0\0\0\0", 5},       /* type 0 */
        {"\x28\0\0\0\0", 5},     /* one past the last type */
        {"\xff", 1},             /* told at the first byte */
        {"\x0b\x01\0\x10\0", 5}, /* one byte over the limit */
        {"\x0b\xff\xff\xff\xff", 5},
    };

    (void)state;
    for (size_t i = 0; i < NELEM(bad); i++) {
        cleanup_err struct err err = ERR_INIT;
        struct wire_parser p;
        struct wire_frame f;

        wire_parser_init(&p);
        assert_int_equal(wire_parser_feed(&p, bad[i].bytes, bad[i].len, &err), 0);
        assert_int_equal(wire_parser_next(&p, &f, &err), -1);
        assert_non_null(err.msg);
        wire_parser_clear(&p);
    }
}

static void test_parser_cuts(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    struct wire_parser p;
    struct wire_frame f;
    size_t got = 0;

    (void)state;
    wire_put(&b, WIRE_STDIN, "", 0);
    wire_put(&b, WIRE_STDIN, "a\0b", 3);
    wire_put(&b, WIRE_STDIN_EOF, NULL, 0);
    wire_put_resize(&b, 50, 132);
    wire_parser_init(&p);
    for (size_t i = 0; i < b.len; i++) { /* byte by byte */
        assert_int_equal(wire_parser_feed(&p, b.data + i, 1, NULL), 0);
        while (wire_parser_next(&p, &f, NULL) > 0) {
            if (got == 1) {
                assert_int_equal(f.len, 3);
                assert_memory_equal(f.data, "a\0b", 3);
            }
            got++;
        }
    }
    assert_int_equal(got, 4);
    wire_parser_clear(&p);
}

static void test_parser_full_frames(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(8 << 20);
    cleanup_free char *bytes = xcalloc(1, LIMIT_FRAME + 1);
    struct wire_parser p;
    struct wire_frame f;
    size_t got = 0;

    (void)state;
    assert_int_equal(wire_put(&b, WIRE_STDOUT, bytes, LIMIT_FRAME + 1), -1);
    assert_int_equal(b.len, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(wire_put(&b, WIRE_STDOUT, bytes, LIMIT_FRAME), 0);
    wire_parser_init(&p);
    for (size_t at = 0; at < b.len; at += LIMIT_FRAME) {
        size_t n = b.len - at < LIMIT_FRAME ? b.len - at : LIMIT_FRAME;

        assert_int_equal(wire_parser_feed(&p, b.data + at, n, NULL), 0);
        while (wire_parser_next(&p, &f, NULL) > 0)
            got++;
    }
    assert_int_equal(got, 3);
    wire_parser_clear(&p);
}

static void test_put_past_ceiling(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(20);
    char bytes[64] = {0};

    (void)state;
    assert_int_equal(wire_put(&b, WIRE_STDIN, "12345", 5), 0);
    assert_int_equal(wire_put(&b, WIRE_STDIN, bytes, 6), -1);
    assert_int_equal(b.len, 10); /* the first frame is whole, nothing of the second is there */
    assert_false(b.overflowed);
    assert_int_equal(wire_put(&b, WIRE_STDIN, bytes, 5), 0);
}

static void test_hello(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    struct wire_hello h = {.oldest = 1,
                           .newest = 3,
                           .capabilities = WIRE_CAP_TTY | WIRE_CAP_SYNC,
                           .clock_ns = -5,
                           .main_state = WIRE_MAIN_ENDED,
                           .main_code = 137,
                           .init_pid = 1,
                           .program = (char *)"atp-agent 9",
                           .machine = (char *)""};
    struct wire_hello got;
    struct wire_parser p;
    struct wire_frame f;

    (void)state;
    assert_int_equal(wire_put_hello(&b, &h), 0);
    /* a newer peer's HELLO is longer: what we do not know is passed over */
    buf_add(&b, "new!", 4);
    b.data[1] = (char)(b.data[1] + 4);
    wire_parser_init(&p);
    f = one_frame(&p, &b, WIRE_HELLO);
    assert_int_equal(wire_get_hello(&f, &got, NULL), 0);
    assert_int_equal(got.newest, 3);
    assert_int_equal(got.clock_ns, -5);
    assert_int_equal(got.main_code, 137);
    assert_string_equal(got.program, "atp-agent 9");
    assert_string_equal(got.machine, "");
    wire_hello_clear(&got);
    for (size_t n = 0; n < f.len - 4; n++) { /* cut anywhere before */
        struct wire_frame cut = {.type = WIRE_HELLO, .data = f.data, .len = n};

        if (n == f.len - 4 - 22 || n == f.len - 4 - 2) /* all that an older agent says: see there */
            continue;
        assert_int_equal(wire_get_hello(&cut, &got, NULL), -1);
    }
    wire_parser_clear(&p);
}

static void test_hello_version(void **state)
{
    static const struct {
        uint16_t a_oldest, a_newest, b_oldest, b_newest, want;
    } t[] = {{1, 1, 1, 1, 1}, {1, 5, 2, 3, 3}, {2, 3, 1, 5, 3}, {1, 2, 3, 4, 0}, {3, 4, 1, 2, 0}, {1, 3, 3, 9, 3}};

    (void)state;
    for (size_t i = 0; i < NELEM(t); i++) {
        struct wire_hello a = {.oldest = t[i].a_oldest, .newest = t[i].a_newest};
        struct wire_hello b = {.oldest = t[i].b_oldest, .newest = t[i].b_newest};

        assert_int_equal(wire_hello_version(&a, &b), t[i].want);
    }
}

static void test_mount(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    struct wire_mount m = {
        .index = 255, .flags = WIRE_MOUNT_RO | WIRE_MOUNT_FILE, .generation = UINT64_MAX, .target = (char *)"/a\nb"};
    struct wire_mount got;
    struct wire_parser p;
    struct wire_frame f;

    (void)state;
    memset(m.nonce, 7, sizeof(m.nonce));
    strlist_add(&m.exclude, "x/y");
    strlist_add(&m.exclude, "");
    assert_int_equal(wire_put_mount(&b, &m), 0);
    wire_parser_init(&p);
    f = one_frame(&p, &b, WIRE_MOUNT);
    assert_int_equal(wire_get_mount(&f, &got, NULL), 0);
    assert_int_equal(got.index, 255);
    assert_int_equal(got.flags, m.flags);
    assert_true(got.generation == UINT64_MAX);
    assert_memory_equal(got.nonce, m.nonce, WIRE_NONCE);
    assert_string_equal(got.target, "/a\nb");
    assert_int_equal(got.exclude.len, 2);
    assert_string_equal(got.exclude.items[0], "x/y");
    wire_mount_clear(&got);
    for (size_t n = 0; n < f.len; n++) {
        struct wire_frame cut = {.type = WIRE_MOUNT, .data = f.data, .len = n};

        assert_int_equal(wire_get_mount(&cut, &got, NULL), -1);
    }
    strlist_clear(&m.exclude);
    wire_parser_clear(&p);
}

static void test_mount_refuses(void **state)
{
    static const struct wire_mount bad[] = {
        {.index = WIRE_MOUNTS_MAX, .target = (char *)"/a"},
        {.index = 0, .flags = 0x80, .target = (char *)"/a"},
        {.index = 0, .flags = WIRE_MOUNT_SAME, .target = (char *)"/a"}, /* as what? */
        {.index = 0, .flags = WIRE_MOUNT_SAME | WIRE_MOUNT_REPLACE, .generation = 1, .target = (char *)"/a"},
        {.index = 0, .target = (char *)"a"},
        {.index = 0, .target = (char *)""},
    };

    (void)state;
    for (size_t i = 0; i < NELEM(bad); i++) {
        cleanup_buf struct buf b = BUF_INIT(1 << 20);
        struct wire_parser p;
        struct wire_frame f;
        struct wire_mount got;

        assert_int_equal(wire_put_mount(&b, &bad[i]), 0);
        wire_parser_init(&p);
        f = one_frame(&p, &b, WIRE_MOUNT);
        assert_int_equal(wire_get_mount(&f, &got, NULL), -1);
        wire_parser_clear(&p);
    }
}

static void test_offer_and_pull(void **state)
{
    static const struct {
        struct wire_offer offer;
        bool good;
    } t[] = {
        {{.index = 7, .nonce = {1, 2}, .base = 4, .generation = 9}, true},
        {{.full = true, .generation = UINT64_MAX}, true},
        {{.full = true, .base = 4, .generation = 9}, false},
        {{.base = 4, .generation = 4}, false},
        {{.base = 4, .generation = 3}, false},
        {{.generation = 0}, false},
        {{.index = WIRE_MOUNTS_MAX, .generation = 1}, false},
    };
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    struct wire_pull pull = {.index = 5, .nonce = {3}, .generation = 1ull << 50}, got_pull;
    struct wire_parser p;
    struct wire_frame f;

    (void)state;
    wire_parser_init(&p);
    for (size_t i = 0; i < NELEM(t); i++) {
        struct wire_offer got;

        wire_put_offer(&b, &t[i].offer);
        f = one_frame(&p, &b, WIRE_OFFER);
        assert_int_equal(wire_get_offer(&f, &got, NULL), t[i].good ? 0 : -1);
        if (t[i].good) {
            assert_int_equal(got.index, t[i].offer.index);
            assert_int_equal(got.full, t[i].offer.full);
            assert_true(got.base == t[i].offer.base && got.generation == t[i].offer.generation);
            assert_memory_equal(got.nonce, t[i].offer.nonce, WIRE_NONCE);
        }
        f.len--;
        assert_int_equal(wire_get_offer(&f, &got, NULL), -1);
        buf_reset(&b);
    }
    wire_put_pull(&b, &pull);
    f = one_frame(&p, &b, WIRE_PULL);
    assert_int_equal(wire_get_pull(&f, &got_pull, NULL), 0);
    assert_int_equal(got_pull.index, 5);
    assert_true(got_pull.generation == 1ull << 50);
    assert_memory_equal(got_pull.nonce, pull.nonce, WIRE_NONCE);
    f.len--;
    assert_int_equal(wire_get_pull(&f, &got_pull, NULL), -1);
    wire_parser_clear(&p);
}

/* Writes start, reads it back through as many frames as it took; returns their number. */
static size_t start_round_trip(const struct wire_start *start, struct wire_start_reader *reader)
{
    cleanup_buf struct buf b = BUF_INIT(16 << 20);
    struct wire_parser p;
    struct wire_frame f;
    size_t frames = 0;

    assert_int_equal(wire_put_start(&b, start), 0);
    wire_parser_init(&p);
    for (size_t at = 0; at < b.len; at += LIMIT_FRAME) {
        wire_parser_feed(&p, b.data + at, b.len - at < LIMIT_FRAME ? b.len - at : LIMIT_FRAME, NULL);
        while (wire_parser_next(&p, &f, NULL) > 0) {
            assert_false(reader->complete);
            assert_int_equal(wire_start_read(reader, &f, NULL), 0);
            assert_int_equal(wire_start_is_last(&f), reader->complete);
            frames++;
        }
    }
    assert_true(reader->complete);
    wire_parser_clear(&p);
    return frames;
}

static void test_start(void **state)
{
    struct wire_start s = {.flags = WIRE_START_MAIN | WIRE_START_TTY,
                           .rows = 300,
                           .cols = 65535,
                           .user = (char *)"app:7",
                           .cwd = (char *)""};
    struct wire_start_reader r = {0};

    (void)state;
    strlist_add(&s.argv, "sh");
    strlist_add(&s.argv, "");
    strlist_add(&s.argv, "a\nb\xff");
    strlist_add(&s.env, "A=");
    assert_int_equal(start_round_trip(&s, &r), 1);
    assert_int_equal(r.start.flags, s.flags);
    assert_int_equal(r.start.rows, 300);
    assert_int_equal(r.start.cols, 65535);
    assert_string_equal(r.start.user, "app:7");
    assert_string_equal(r.start.cwd, "");
    assert_int_equal(r.start.argv.len, 3);
    assert_string_equal(r.start.argv.items[1], "");
    assert_string_equal(r.start.argv.items[2], "a\nb\xff");
    assert_string_equal(r.start.env.items[0], "A=");
    wire_start_reader_clear(&r);
    strlist_clear(&s.argv);
    strlist_clear(&s.env);
}

/* 1 MiB in many small arguments and some of 128 KiB must pass; what Linux would never take must not. */
static void test_start_large(void **state)
{
    struct wire_start s = {.user = (char *)"", .cwd = (char *)"/"};
    cleanup_free char *big = xcalloc(1, (128 << 10) + 1);
    struct wire_start_reader r = {0};

    (void)state;
    memset(big, 'x', 128 << 10);
    for (int i = 0; i < 100000; i++)
        strlist_addf(&s.argv, "%010d", i);
    for (int i = 0; i < 8; i++)
        strlist_add(&s.argv, big);
    assert_true(start_round_trip(&s, &r) >= 3);
    assert_int_equal(r.start.argv.len, 100008);
    assert_string_equal(r.start.argv.items[99999], "0000099999");
    assert_string_equal(r.start.argv.items[100007], big);
    wire_start_reader_clear(&r);
    for (int i = 0; i < 64; i++)
        strlist_add(&s.env, big);
    {
        cleanup_buf struct buf b = BUF_INIT(64 << 20);

        assert_int_equal(wire_put_start(&b, &s), -1);
        assert_int_equal(b.len, 0);
    }
    strlist_clear(&s.argv);
    strlist_clear(&s.env);
}

static void test_start_refuses(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"", 0},
        {"\2", 1},                            /* last is 0 or 1 */
        {"\1", 1},                            /* no argv, user, cwd */
        {"\0\7\0\0\0\0", 6},                  /* unknown tag */
        {"\0\1\4\0\0\0\xff\xff\xff\xff", 10}, /* unknown flags */
        {"\0\1\3\0\0\0\0\0\0", 9},            /* short flags */
        {"\0\5\2\0\0\0a\0", 8},               /* NUL in an argument */
        {"\0\5\4\0\0\0a", 7},                 /* cut */
        {"\0\5\xff\xff\xff\xff"
         "a",
         7},                            /* length beyond all */
        {"\0\3\0\0\0\0\3\0\0\0\0", 11}, /* user twice */
    };

    (void)state;
    for (size_t i = 0; i < NELEM(bad); i++) {
        struct wire_frame f = {.type = WIRE_START, .data = (const uint8_t *)bad[i].bytes, .len = bad[i].len};
        struct wire_start_reader r = {0};

        if (wire_start_read(&r, &f, NULL) != -1)
            fail_msg("case %zu was taken", i);
        wire_start_reader_clear(&r);
    }
}

static void test_exit_sanity(void **state)
{
    static const struct {
        struct wire_exit e;
        int want;
    } t[] = {
        {{.kind = WIRE_EXIT_CODE, .value = 0}, 0},
        {{.kind = WIRE_EXIT_CODE, .value = 255}, 0},
        {{.kind = WIRE_EXIT_CODE, .value = 256}, -1},
        {{.kind = WIRE_EXIT_CODE, .value = -1}, -1},
        {{.kind = WIRE_EXIT_SIGNAL, .value = 9}, 0},
        {{.kind = WIRE_EXIT_SIGNAL, .value = 0}, -1},
        {{.kind = WIRE_EXIT_SIGNAL, .value = 65}, -1},
        {{.kind = WIRE_EXIT_REFUSED, .value = 127, .refusal = WIRE_REFUSAL_NOT_FOUND, .text = (char *)"no"}, 0},
        {{.kind = WIRE_EXIT_REFUSED, .value = 0, .refusal = WIRE_REFUSAL_NOT_FOUND}, -1}, /* never a success */
        {{.kind = WIRE_EXIT_REFUSED, .value = 127}, -1},
        {{.kind = 3, .value = 1}, -1},
    };

    (void)state;
    for (size_t i = 0; i < NELEM(t); i++) {
        cleanup_buf struct buf b = BUF_INIT(1 << 20);
        struct wire_parser p;
        struct wire_frame f;
        struct wire_exit got;

        assert_int_equal(wire_put_exit(&b, &t[i].e), 0);
        wire_parser_init(&p);
        f = one_frame(&p, &b, WIRE_EXIT);
        if (wire_get_exit(&f, &got, NULL) != t[i].want)
            fail_msg("case %zu", i);
        if (t[i].want == 0)
            wire_exit_clear(&got);
        wire_parser_clear(&p);
    }
}

/* A message of any length is cut, never a reason to fail. */
static void test_long_text(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    cleanup_free char *text = xcalloc(1, 100001);
    cleanup_free char *got = NULL;
    struct wire_parser p;
    struct wire_frame f;
    uint8_t kind;

    (void)state;
    memset(text, 'y', 100000);
    assert_int_equal(wire_put_error(&b, WIRE_ERROR_PUSH, text), 0);
    wire_parser_init(&p);
    f = one_frame(&p, &b, WIRE_ERROR);
    assert_int_equal(wire_get_error(&f, &kind, &got, NULL), 0);
    assert_int_equal(kind, WIRE_ERROR_PUSH);
    assert_int_equal(strlen(got), 8192);
    wire_parser_clear(&p);
}

static void test_small_frames(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    struct wire_parser p;
    struct wire_frame f;
    uint8_t a, c;
    bool known;
    uint16_t rows, cols, index;
    uint32_t bytes;
    uint64_t generation;

    (void)state;
    wire_parser_init(&p);
    wire_put_signal(&b, 15, WIRE_SIGNAL_GROUP);
    wire_put_signal(&b, 0, WIRE_SIGNAL_GROUP);
    wire_put_signal(&b, 65, 0);
    wire_put_resize(&b, 1, 2);
    wire_put_credit(&b, WIRE_STREAM_OUTPUT, WIRE_WINDOW);
    wire_put_credit(&b, WIRE_STREAM_OUTPUT, WIRE_WINDOW + 1);
    wire_put_credit(&b, WIRE_STREAM_STDERR, 1);
    wire_put_close(&b, WIRE_STREAM_STDERR);
    wire_put_close(&b, WIRE_STREAM_STDIN);
    wire_put_pulled(&b, 3, 1ull << 40);
    wire_put_stale(&b, 300, true);
    assert_int_equal(wire_parser_feed(&p, b.data, b.len, NULL), 0);
    assert_int_equal(wire_parser_next(&p, &f, NULL), 1);
    assert_int_equal(wire_get_signal(&f, &a, &c, NULL), 0);
    assert_int_equal(a, 15);
    assert_int_equal(c, WIRE_SIGNAL_GROUP);
    for (int i = 0; i < 2; i++) {
        wire_parser_next(&p, &f, NULL);
        assert_int_equal(wire_get_signal(&f, &a, &c, NULL), -1);
    }
    wire_parser_next(&p, &f, NULL);
    assert_int_equal(wire_get_resize(&f, &rows, &cols, NULL), 0);
    assert_int_equal(cols, 2);
    wire_parser_next(&p, &f, NULL);
    assert_int_equal(wire_get_credit(&f, &a, &bytes, NULL), 0);
    for (int i = 0; i < 2; i++) {
        wire_parser_next(&p, &f, NULL);
        assert_int_equal(wire_get_credit(&f, &a, &bytes, NULL), -1);
    }
    wire_parser_next(&p, &f, NULL);
    assert_int_equal(wire_get_close(&f, &a, NULL), 0);
    wire_parser_next(&p, &f, NULL);
    assert_int_equal(wire_get_close(&f, &a, NULL), -1);
    wire_parser_next(&p, &f, NULL);
    assert_int_equal(wire_get_pulled(&f, &index, &generation, NULL), 0);
    assert_true(index == 3 && generation == 1ull << 40);
    wire_parser_next(&p, &f, NULL);
    assert_int_equal(wire_get_stale(&f, &index, &known, NULL), -1);
    wire_parser_clear(&p);
}

static void test_hello_of_an_older_agent(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    struct wire_hello h = {.oldest = 1,
                           .newest = 1,
                           .main_started_ns = 7,
                           .main_ended_ns = -8,
                           .restarts = 9,
                           .health = WIRE_HEALTH_UNHEALTHY,
                           .paused = true,
                           .program = (char *)"p",
                           .machine = (char *)"m"};
    struct wire_hello got;
    struct wire_parser p;
    struct wire_frame f;

    (void)state;
    wire_put_hello(&b, &h);
    wire_parser_init(&p);
    f = one_frame(&p, &b, WIRE_HELLO);
    assert_int_equal(wire_get_hello(&f, &got, NULL), 0);
    assert_true(got.main_started_ns == 7 && got.main_ended_ns == -8 && got.restarts == 9);
    assert_true(got.health == WIRE_HEALTH_UNHEALTHY && got.paused);
    wire_hello_clear(&got);
    f.len -= 2; /* as it was before these were added */
    assert_int_equal(wire_get_hello(&f, &got, NULL), 0);
    assert_true(got.restarts == 9 && got.health == WIRE_HEALTH_NONE && !got.paused);
    wire_hello_clear(&got);
    f.len -= 20;
    assert_int_equal(wire_get_hello(&f, &got, NULL), 0);
    assert_true(got.main_started_ns == 0 && got.main_ended_ns == 0 && got.restarts == 0);
    assert_string_equal(got.machine, "m");
    wire_hello_clear(&got);
    wire_parser_clear(&p);
}

/* A record is longer than one field may be; what only a main process has is not sent for others. */
static void test_start_main(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(8 << 20);
    struct wire_start s = {.flags = WIRE_START_MAIN | WIRE_START_LOG | WIRE_START_DETACHED,
                           .restart = WIRE_RESTART_ON_FAILURE,
                           .restart_max = 0x01020304,
                           .stop_signal = 34,
                           .record = xcalloc(1, (1 << 20) + 1)};
    struct wire_start_reader r = {0};
    struct wire_parser p;
    struct wire_frame f;

    (void)state;
    for (int i = 0; i < 1 << 20; i++)
        s.record[i] = (char)('a' + i % 26);
    strlist_add(&s.argv, "sh");
    assert_int_equal(wire_put_start(&b, &s), 0);
    wire_parser_init(&p);
    for (size_t at = 0; at < b.len; at += LIMIT_FRAME) {
        wire_parser_feed(&p, b.data + at, b.len - at < LIMIT_FRAME ? b.len - at : LIMIT_FRAME, NULL);
        while (wire_parser_next(&p, &f, NULL) > 0)
            assert_int_equal(wire_start_read(&r, &f, NULL), 0);
    }
    assert_true(r.complete);
    assert_int_equal(r.start.flags, s.flags);
    assert_int_equal(r.start.restart, WIRE_RESTART_ON_FAILURE);
    assert_int_equal(r.start.restart_max, 0x01020304);
    assert_int_equal(r.start.stop_signal, 34);
    assert_string_equal(r.start.record, s.record);
    wire_start_reader_clear(&r);
    wire_parser_clear(&p);
    s.flags = 0;
    buf_reset(&b);
    assert_int_equal(wire_put_start(&b, &s), 0);
    assert_true(b.len < 200);
    wire_start_clear(&s);
}

/* What a main process may have: its health check, its names, its volumes; and what may not be read as such. */
static void test_start_services(void **state)
{
    struct wire_start s = {.flags = WIRE_START_MAIN, .volumes = xstrdup("[\"a\"]")}, plain = {.flags = WIRE_START_MAIN};
    struct wire_start_reader r = {0};

    (void)state;
    s.names = (struct wire_names){
        .token = xstrdup("00ff"), .hub = xstrdup("main"), .self = xstrdup("0123456789ab"), .internal = true};
    s.health = (struct wire_health){.interval_ns = INT64_MAX, .timeout_ns = 1, .start_period_ns = 2, .retries = ~0u};
    strlist_add(&s.health.test, "CMD");
    strlist_add(&s.health.test, "");
    strlist_add(&s.names.members, "front/web");
    strlist_add(&s.names.hosts, "db:::1");
    strlist_add(&s.terms, "hostname web");
    strlist_add(&s.terms, "");
    strlist_add(&s.argv, "sh");
    start_round_trip(&s, &r);
    assert_true(r.complete);
    assert_true(r.start.health.interval_ns == INT64_MAX && r.start.health.timeout_ns == 1);
    assert_true(r.start.health.start_period_ns == 2 && r.start.health.start_interval_ns == 0);
    assert_true(r.start.health.retries == ~0u && r.start.health.test.len == 2);
    assert_string_equal(r.start.health.test.items[1], "");
    assert_string_equal(r.start.names.token, "00ff");
    assert_string_equal(r.start.names.hub, "main");
    assert_string_equal(r.start.names.self, "0123456789ab");
    assert_true(r.start.names.internal);
    assert_string_equal(r.start.names.members.items[0], "front/web");
    assert_string_equal(r.start.names.hosts.items[0], "db:::1");
    assert_string_equal(r.start.volumes, "[\"a\"]");
    assert_int_equal(r.start.terms.len, 2);
    assert_string_equal(r.start.terms.items[0], "hostname web");
    wire_start_reader_clear(&r);

    s.flags = 0; /* of an exec nothing of it is sent */
    start_round_trip(&s, &r);
    assert_true(!r.start.health.test.len && !r.start.names.self && !r.start.volumes && !r.start.terms.len);
    wire_start_reader_clear(&r);

    strlist_add(&plain.argv, "sh");
    start_round_trip(&plain, &r);
    assert_true(r.complete && !r.start.health.test.len && !r.start.names.self && !r.start.volumes);
    wire_start_reader_clear(&r);
    wire_start_clear(&s);
    wire_start_clear(&plain);
}

/* A field behind the others that START may not have. */
static void test_start_services_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x09\x01\0\0\0x", 6},                 /* HEALTH too short */
        {"\x0b\x04\0\0\0\2\0\0\0", 9},          /* internal is 2 */
        {"\x0b\x04\0\0\0\0\0\0\0", 9},          /* nobody's names */
        {"\x0b\x05\0\0\0\0\0\0sx", 10},         /* self without an end */
        {"\x0b\x06\0\0\0\0\0\0s\0x", 11},       /* one byte too many */
        {"\x0c\x01\0\0\0x", 6},                 /* a member without NAMES */
        {"\x0d\x01\0\0\0x", 6},                 /* a host without NAMES */
        {"\x0e\x01\0\0\0x\x0e\x01\0\0\0x", 12}, /* VOLUMES twice */
        {"\x0f\x02\0\0\0x\0", 7},               /* a NUL byte within a TERM */
        {"\x10\x00\0\0\0", 5},                  /* no such field */
    };

    (void)state;
    for (size_t i = 0; i < NELEM(bad); i++) {
        cleanup_buf struct buf b = BUF_INIT(1 << 20);
        struct wire_start_reader r = {0};

        buf_add(&b, "\0", 1);
        buf_add(&b, bad[i].bytes, bad[i].len);
        assert_int_equal(wire_start_read(&r, &(struct wire_frame){WIRE_START, (const uint8_t *)b.data, b.len}, NULL),
                         -1);
        wire_start_reader_clear(&r);
    }
}

static void test_members(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    struct wire_names n = {.token = (char *)"secret", .self = (char *)"0123456789ab", .hub = (char *)"main"}, got_n;
    struct wire_member items[2] = {{.self = (char *)"a"}, {.self = (char *)"b"}};
    struct wire_table t = {.items = items, .len = 2}, got;
    struct wire_parser p;
    struct wire_frame f;

    (void)state;
    strlist_add(&n.members, "net/web");
    strlist_add(&items[1].names, "net/db");
    strlist_add(&items[1].names, "net/db-1");
    wire_parser_init(&p);
    assert_int_equal(wire_put_join(&b, &n), 0);
    f = one_frame(&p, &b, WIRE_JOIN);
    assert_int_equal(wire_get_join(&f, &got_n, NULL), 0);
    assert_string_equal(got_n.token, "secret");
    assert_string_equal(got_n.self, "0123456789ab");
    assert_string_equal(got_n.members.items[0], "net/web");
    assert_null(got_n.hub);
    wire_names_clear(&got_n);
    for (; f.len; f.len--) {
        struct wire_frame cut = {f.type, f.data, f.len - 1};

        assert_int_equal(wire_get_join(&cut, &got_n, NULL), -1);
    }
    wire_parser_clear(&p);

    buf_reset(&b);
    wire_parser_init(&p);
    assert_int_equal(wire_put_table(&b, &t), 0);
    f = one_frame(&p, &b, WIRE_TABLE);
    assert_int_equal(wire_get_table(&f, &got, NULL), 0);
    assert_int_equal(got.len, 2);
    assert_int_equal(got.items[0].names.len, 0);
    assert_string_equal(got.items[1].names.items[1], "net/db-1");
    wire_table_clear(&got);
    for (; f.len; f.len--) {
        struct wire_frame cut = {f.type, f.data, f.len - 1};

        assert_int_equal(wire_get_table(&cut, &got, NULL), -1);
    }
    wire_parser_clear(&p);
    strlist_clear(&n.members);
    strlist_clear(&items[1].names);
}

static void test_ports(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    cleanup_free char *bytes = xcalloc(1, WIRE_CHUNK + 1);
    struct wire_parser p;
    struct wire_frame f;
    uint32_t id, n;
    uint16_t port;
    const uint8_t *at;
    size_t len;

    (void)state;
    wire_parser_init(&p);
    assert_int_equal(wire_put_port_open(&b, ~0u, 65535), 0);
    f = one_frame(&p, &b, WIRE_PORT_OPEN);
    assert_int_equal(wire_get_port_open(&f, &id, &port, NULL), 0);
    assert_true(id == ~0u && port == 65535);
    f.len--;
    assert_int_equal(wire_get_port_open(&f, &id, &port, NULL), -1);
    wire_parser_clear(&p);

    buf_reset(&b);
    wire_parser_init(&p);
    assert_int_equal(wire_put_port_data(&b, 7, bytes, WIRE_CHUNK + 1), -1);
    assert_int_equal(wire_put_port_data(&b, 7, bytes, 0), -1);
    assert_int_equal(b.len, 0);
    assert_int_equal(wire_put_port_data(&b, 7, bytes, WIRE_CHUNK), 0);
    f = one_frame(&p, &b, WIRE_PORT_DATA);
    assert_int_equal(wire_get_port_data(&f, &id, &at, &len, NULL), 0);
    assert_true(id == 7 && len == WIRE_CHUNK);
    f.len = 4;
    assert_int_equal(wire_get_port_data(&f, &id, &at, &len, NULL), -1);
    wire_parser_clear(&p);

    buf_reset(&b);
    wire_parser_init(&p);
    wire_put_port_credit(&b, 1, WIRE_PORT_WINDOW);
    f = one_frame(&p, &b, WIRE_PORT_CREDIT);
    assert_int_equal(wire_get_port_credit(&f, &id, &n, NULL), 0);
    assert_true(id == 1 && n == WIRE_PORT_WINDOW);
    wire_parser_clear(&p);
    buf_reset(&b);
    wire_parser_init(&p);
    wire_put_port_credit(&b, 1, WIRE_PORT_WINDOW + 1);
    f = one_frame(&p, &b, WIRE_PORT_CREDIT);
    assert_int_equal(wire_get_port_credit(&f, &id, &n, NULL), -1);
    wire_parser_clear(&p);

    buf_reset(&b);
    wire_parser_init(&p);
    wire_put_port_closed(&b, 3, 111);
    f = one_frame(&p, &b, WIRE_PORT_CLOSED);
    assert_int_equal(wire_get_port_closed(&f, &id, &n, NULL), 0);
    assert_true(id == 3 && n == 111);
    wire_parser_clear(&p);
    buf_reset(&b);
    wire_parser_init(&p);
    wire_put_port_eof(&b, 9);
    f = one_frame(&p, &b, WIRE_PORT_EOF);
    assert_int_equal(wire_get_port_id(&f, &id, NULL), 0);
    assert_true(id == 9);
    f.len = 3;
    assert_int_equal(wire_get_port_id(&f, &id, NULL), -1);
    wire_parser_clear(&p);
}

static void test_ask(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(4 << 20);
    struct wire_ask a = {.kind = WIRE_ASK_LOGS,
                         .flags = WIRE_ASK_STDERR | WIRE_ASK_FOLLOW,
                         .signo = 64,
                         .grace_ms = -1,
                         .since_ns = INT64_MIN,
                         .until_ns = INT64_MAX,
                         .tail = -1,
                         .text = (char *)"/x"};
    const struct wire_ask bad[] = {
        {.kind = WIRE_ASK_MAX, .text = (char *)""},
        {.kind = 0, .signo = 65, .text = (char *)""},
    };
    cleanup_free char *text = xcalloc(1, WIRE_ASK_TEXT_MAX + 2);
    struct wire_ask got;
    struct wire_parser p;
    struct wire_frame f;

    (void)state;
    wire_parser_init(&p);
    wire_put_ask(&b, &a);
    f = one_frame(&p, &b, WIRE_ASK);
    assert_int_equal(wire_get_ask(&f, &got, NULL), 0);
    assert_true(got.kind == a.kind && got.flags == a.flags && got.signo == 64 && got.grace_ms == -1);
    assert_true(got.since_ns == INT64_MIN && got.until_ns == INT64_MAX && got.tail == -1);
    assert_string_equal(got.text, "/x");
    wire_ask_clear(&got);
    for (size_t i = 0; i < NELEM(bad); i++) {
        buf_reset(&b);
        wire_put_ask(&b, &bad[i]);
        f = one_frame(&p, &b, WIRE_ASK);
        assert_int_equal(wire_get_ask(&f, &got, NULL), -1);
    }
    memset(text, 'x', WIRE_ASK_TEXT_MAX + 1);
    a.text = text;
    buf_reset(&b);
    assert_int_equal(wire_put_ask(&b, &a), -1);
    text[WIRE_ASK_TEXT_MAX] = '\0';
    assert_int_equal(wire_put_ask(&b, &a), 0);
    wire_parser_clear(&p);
}

static void test_log(void **state)
{
    cleanup_buf struct buf b = BUF_INIT(1 << 20);
    struct wire_parser p;
    struct wire_frame f;
    const uint8_t *bytes;
    uint8_t stream;
    int64_t at;
    size_t len;

    (void)state;
    wire_parser_init(&p);
    wire_put_log(&b, -3, WIRE_STREAM_STDERR, "a\0b", 3);
    f = one_frame(&p, &b, WIRE_LOG);
    assert_int_equal(wire_get_log(&f, &at, &stream, &bytes, &len, NULL), 0);
    assert_true(at == -3 && stream == WIRE_STREAM_STDERR && len == 3);
    assert_memory_equal(bytes, "a\0b", 3);
    buf_reset(&b);
    wire_put_log(&b, 0, WIRE_STREAM_STDIN, "x", 1);
    f = one_frame(&p, &b, WIRE_LOG);
    assert_int_equal(wire_get_log(&f, &at, &stream, &bytes, &len, NULL), -1);
    f.len = 8;
    assert_int_equal(wire_get_log(&f, &at, &stream, &bytes, &len, NULL), -1);
    wire_parser_clear(&p);
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 1; i < WIRE_TYPE_MAX; i++)
        assert_string_not_equal(wire_type_name((uint8_t)i), "unknown");
    assert_string_equal(wire_type_name(0), "unknown");
    assert_string_equal(wire_type_name(WIRE_TYPE_MAX), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parser_refuses),
        cmocka_unit_test(test_parser_cuts),
        cmocka_unit_test(test_parser_full_frames),
        cmocka_unit_test(test_put_past_ceiling),
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_hello_version),
        cmocka_unit_test(test_mount),
        cmocka_unit_test(test_mount_refuses),
        cmocka_unit_test(test_offer_and_pull),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_start_large),
        cmocka_unit_test(test_start_refuses),
        cmocka_unit_test(test_exit_sanity),
        cmocka_unit_test(test_long_text),
        cmocka_unit_test(test_small_frames),
        cmocka_unit_test(test_hello_of_an_older_agent),
        cmocka_unit_test(test_start_services),
        cmocka_unit_test(test_start_services_refused),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_start_main),
        cmocka_unit_test(test_ask),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
