/* link: atp_tsync atp_base */
/* The codec: what goes in comes out; whatever is cut or flipped is refused; and the fuzz target over mutated seeds. */
#include "compat/base/alloc.h"
#include "compat/base/limits.h"
#include "compat/base/sha256.h"
#include "tests/fuzz/sync_stream.c"
#include "translate/sync/code.h"
#include "translate/sync/stream_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static unsigned long long seed = 1;

static unsigned rnd(unsigned n)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(seed >> 33) % n;
}

static void add(struct manifest *m, const char *path, uint8_t type, const char *link, const char *leader)
{
    struct manifest_entry e = {.path = path, .type = type, .link = link, .mode = 0644, .mtime = -1};

    e.size = type == MANIFEST_FILE ? 3 : 0;
    assert_non_null(manifest_add(m, &e, leader));
}

/* A stream with one of everything, compressed or not. */
static void make_stream(struct buf *out, bool zstd)
{
    static uint8_t big[200000];
    struct manifest base = MANIFEST_INIT, now = MANIFEST_INIT;
    struct sync_diff d = SYNC_DIFF_INIT;
    struct stream_writer *w = stream_writer_new();
    uint8_t digest[SHA256_LEN] = {7};
    char bytes[4096];
    size_t n;

    if (!zstd)
        stream_writer_no_zstd(w);
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (uint8_t)rnd(i < 100000 ? 256 : 2);
    add(&base, "gone", MANIFEST_FILE, NULL, NULL);
    add(&now, "", MANIFEST_DIR, NULL, NULL);
    add(&now, "dir", MANIFEST_DIR, NULL, NULL);
    add(&now, "dir/a", MANIFEST_FILE, NULL, NULL);
    add(&now, "dir/b", MANIFEST_FILE, NULL, "dir/a");
    add(&now, "left out", MANIFEST_FILE, NULL, NULL);
    add(&now, "link", MANIFEST_SYMLINK, "../somewhere", NULL);
    add(&now, "z", MANIFEST_FILE, NULL, NULL);
    sync_diff_make(&d, &base, &now);
    stream_put_begin(w, 0, digest, d.len);
    for (size_t i = 0; i < d.len; i++)
        stream_put_op(w, &d.ops[i]);
    stream_put_announced(w);
    for (size_t i = 0; i < d.len; i++) {
        struct manifest_entry done = d.ops[i].now ? *d.ops[i].now : *d.ops[i].old;
        struct content c;

        if (d.ops[i].kind != SYNC_OP_FILE)
            continue;
        stream_put_file(w, i);
        stream_put_data(w, "lost", 4);
        if (!strcmp(done.path, "left out")) {
            stream_put_gone(w);
            continue;
        }
        stream_put_again(w);
        content_init(&c);
        content_update(&c, big, sizeof(big));
        content_zeros(&c, 5u << 20);
        content_update(&c, big, 10);
        stream_put_data(w, big, sizeof(big));
        stream_put_hole(w, 5u << 20);
        stream_put_data(w, big, 10);
        done.size = c.size;
        content_final(&c, done.digest);
        stream_put_done(w, &done);
    }
    stream_put_end(w);
    while ((n = stream_writer_take(w, bytes, sizeof(bytes))))
        buf_add(out, bytes, n);
    assert_false(out->overflowed);
    stream_writer_free(w);
    sync_diff_clear(&d);
    manifest_clear(&base);
    manifest_clear(&now);
}

/* Parses len bytes in pieces; returns whether the stream came to its end, -1 if it was refused. counts: events by type.
 */
static int run(const uint8_t *data, size_t len, size_t piece, unsigned counts[STREAM_END + 1])
{
    struct stream_parser *p = stream_parser_new();
    int ended = 0;

    for (size_t at = 0; at < len && ended >= 0; at += piece) {
        const void *bytes = data + at;
        size_t n = len - at < piece ? len - at : piece;
        struct err err = ERR_INIT;
        struct stream_event event;

        do {
            if (stream_parse(p, &bytes, &n, &event, &err) < 0) {
                assert_non_null(err.msg);
                ended = -1;
                break;
            }
            counts[event.type]++;
            ended |= event.type == STREAM_END;
        } while (event.type != STREAM_MORE);
        err_clear(&err);
    }
    stream_parser_free(p);
    return ended;
}

static void round_trip(void **state)
{
    static const size_t pieces[] = {1, 7, 4096, 1 << 20};

    (void)state;
    for (int zstd = 0; zstd < 2; zstd++)
        for (size_t i = 0; i < 4; i++) {
            struct buf b = BUF_INIT(4 << 20);
            unsigned counts[STREAM_END + 1] = {0};

            make_stream(&b, zstd);
            assert_int_equal(run((uint8_t *)b.data, b.len, pieces[i], counts), 1);
            assert_int_equal(counts[STREAM_ANNOUNCED], 1);
            assert_int_equal(counts[STREAM_FILE], 3);
            assert_int_equal(counts[STREAM_DONE], 2);
            assert_int_equal(counts[STREAM_GONE], 1);
            assert_int_equal(counts[STREAM_AGAIN], 2);
            assert_int_equal(counts[STREAM_HOLE], 2);
            /* And not a byte more. */
            buf_addc(&b, 0);
            assert_int_equal(run((uint8_t *)b.data, b.len, pieces[i], counts), -1);
            buf_clear(&b);
        }
}

/* No prefix is whole, and none but the whole is accepted as whole. */
static void truncated(void **state)
{
    struct buf b = BUF_INIT(4 << 20);

    (void)state;
    make_stream(&b, true);
    for (size_t len = 0; len < b.len; len += len < 600 || b.len - len < 400 ? 1 : 4999) {
        unsigned counts[STREAM_END + 1] = {0};

        assert_int_equal(run((uint8_t *)b.data, len, 1 << 20, counts), 0);
    }
    buf_clear(&b);
}

/* Any bit flipped: refused, or not whole; what is handed out before is announced properly. */
static void flipped(void **state)
{
    struct buf b = BUF_INIT(4 << 20);
    unsigned accepted = 0;

    (void)state;
    make_stream(&b, false);
    for (size_t i = 0; i < 600; i++) {
        size_t at = i < 300 ? i % b.len : rnd((unsigned)b.len);
        unsigned counts[STREAM_END + 1] = {0};
        char bit = (char)(1 << rnd(8));

        b.data[at] ^= bit;
        accepted += run((uint8_t *)b.data, b.len, 1 << 20, counts) == 1;
        b.data[at] ^= bit;
    }
    /* Only data that was thrown away anyway (before AGAIN, or of a file left out) has no digest. */
    assert_true(accepted <= 12);
    buf_clear(&b);
}

/* Puts a record into a block of its own. */
static void put_record(struct buf *b, struct sha256 *control, uint8_t type, const struct buf *payload)
{
    size_t at;

    put_u32(b, (uint32_t)payload->len + 5);
    put_u32(b, (uint32_t)payload->len + 5);
    at = b->len;
    put_u8(b, type);
    put_u32(b, (uint32_t)payload->len);
    buf_add(b, payload->data, payload->len);
    sha256_update(control, b->data + at, b->len - at);
}

struct hostile {
    const char *path;
    uint8_t kind, type;
    const char *extra; /* link text or leader */
};

/* Announces the operations with correct digests, as a hostile peer would. True if the parser takes the list. */
static bool announce(const struct hostile *ops, size_t count)
{
    struct buf b = BUF_INIT(1 << 20), payload = BUF_INIT(1 << 20);
    struct sha256 control, copy;
    uint8_t digest[SHA256_LEN] = {0};
    unsigned counts[STREAM_END + 1] = {0};

    sha256_init(&control);
    buf_add(&b, STREAM_MAGIC, STREAM_MAGIC_LEN);
    put_u8(&payload, STREAM_VERSION);
    put_u8(&payload, 0);
    buf_add(&payload, digest, sizeof(digest));
    put_varint(&payload, count);
    put_record(&b, &control, RECORD_BEGIN, &payload);
    buf_reset(&payload);
    for (size_t i = 0; i < count; i++) {
        put_u8(&payload, ops[i].kind);
        put_u8(&payload, 0);
        put_path(&payload, i ? ops[i - 1].path : "", ops[i].path);
        if (ops[i].kind == SYNC_OP_DELETE)
            continue;
        put_u8(&payload, ops[i].type);
        put_varint(&payload, 0644);
        put_varint(&payload, 0);
        put_varint(&payload, 0);
        put_signed(&payload, 0);
        if (ops[i].type == MANIFEST_FILE) {
            put_varint(&payload, 0);
            buf_add(&payload, digest, sizeof(digest));
        }
        if (ops[i].extra)
            put_string(&payload, ops[i].extra);
    }
    put_record(&b, &control, RECORD_OPS, &payload);
    buf_reset(&payload);
    copy = control;
    sha256_final(&copy, digest);
    buf_add(&payload, digest, sizeof(digest));
    put_record(&b, &control, RECORD_ANNOUNCED, &payload);
    run((uint8_t *)b.data, b.len, 1 << 20, counts);
    buf_clear(&b);
    buf_clear(&payload);
    return counts[STREAM_ANNOUNCED] == 1;
}

/* Lists that are well-formed and must be refused for what they say. */
static void hostile_lists(void **state)
{
    static const struct hostile good[] = {{"a", SYNC_OP_DIR, MANIFEST_DIR, NULL},
                                          {"a/b", SYNC_OP_FILE, MANIFEST_FILE, NULL}};
    static const struct hostile singles[] = {
        {"..", SYNC_OP_FILE, MANIFEST_FILE, NULL},
        {"../x", SYNC_OP_FILE, MANIFEST_FILE, NULL},
        {"a/../../x", SYNC_OP_FILE, MANIFEST_FILE, NULL},
        {"/etc/passwd", SYNC_OP_FILE, MANIFEST_FILE, NULL},
        {"a//b", SYNC_OP_FILE, MANIFEST_FILE, NULL},
        {"a/", SYNC_OP_FILE, MANIFEST_FILE, NULL},
        {".", SYNC_OP_FILE, MANIFEST_FILE, NULL},
        {"a/.", SYNC_OP_DELETE, 0, NULL},
        {"../x", SYNC_OP_DELETE, 0, NULL},
        {"x", SYNC_OP_DIR, MANIFEST_FILE, NULL},
        {"x", SYNC_OP_FILE, MANIFEST_DIR, NULL},
        {"x", SYNC_OP_META, 9, NULL},
        {"x", 0, MANIFEST_FILE, NULL},
        {"x", 99, MANIFEST_FILE, NULL},
        {"x", SYNC_OP_SYMLINK, MANIFEST_SYMLINK, ""},
        {"x", SYNC_OP_LINK, MANIFEST_FILE, ""},
        {"x", SYNC_OP_LINK, MANIFEST_FILE, "x"},
        {"x", SYNC_OP_LINK, MANIFEST_FILE, "../../etc/passwd"},
        {"x", SYNC_OP_LINK, MANIFEST_FILE, "/etc/passwd"},
        {"x", SYNC_OP_LINK, MANIFEST_FILE, "z"},
    };
    static const struct hostile pairs[][2] = {
        {{"a", SYNC_OP_FILE, MANIFEST_FILE, NULL}, {"a", SYNC_OP_FILE, MANIFEST_FILE, NULL}},
        {{"b", SYNC_OP_FILE, MANIFEST_FILE, NULL}, {"a", SYNC_OP_FILE, MANIFEST_FILE, NULL}},
        {{"a", SYNC_OP_FILE, MANIFEST_FILE, NULL}, {"a/b", SYNC_OP_FILE, MANIFEST_FILE, NULL}},
        {{"a", SYNC_OP_SYMLINK, MANIFEST_SYMLINK, "/etc"}, {"a/passwd", SYNC_OP_FILE, MANIFEST_FILE, NULL}},
        {{"a", SYNC_OP_SYMLINK, MANIFEST_SYMLINK, "/etc"}, {"a/b/c", SYNC_OP_DIR, MANIFEST_DIR, NULL}},
        {{"a", SYNC_OP_META, MANIFEST_SYMLINK, "/etc"}, {"a/b", SYNC_OP_FILE, MANIFEST_FILE, NULL}},
        {{"a", SYNC_OP_DELETE, 0, NULL}, {"a/b", SYNC_OP_FILE, MANIFEST_FILE, NULL}},
    };
    char deep[2 * (LIMIT_DEPTH + 1)], longest[300];
    struct hostile one = {deep, SYNC_OP_DIR, MANIFEST_DIR, NULL};

    (void)state;
    assert_true(announce(good, 2));
    for (size_t i = 0; i < sizeof(singles) / sizeof(singles[0]); i++)
        if (announce(&singles[i], 1))
            fail_msg("accepted %s (%d)", singles[i].path, singles[i].kind);
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        if (announce(pairs[i], 2))
            fail_msg("accepted pair %zu", i);
    memset(deep, '/', sizeof(deep));
    for (size_t i = 0; i < sizeof(deep); i += 2)
        deep[i] = 'd';
    deep[sizeof(deep) - 1] = '\0';
    assert_false(announce(&one, 1));
    deep[2 * LIMIT_DEPTH - 1] = '\0';
    assert_true(announce(&one, 1));
    memset(longest, 'n', sizeof(longest));
    longest[256] = '\0';
    one.path = longest;
    assert_false(announce(&one, 1));
    longest[255] = '\0';
    assert_true(announce(&one, 1));
}

/* A manifest comes back as it was; cut or flipped it is refused. */
static void manifest_round_trip(void **state)
{
    struct manifest m = MANIFEST_INIT, back = MANIFEST_INIT;
    struct buf b = BUF_INIT(1 << 20), again = BUF_INIT(1 << 20);
    struct err err = ERR_INIT;

    (void)state;
    add(&m, "", MANIFEST_DIR, NULL, NULL);
    add(&m, "a", MANIFEST_FILE, NULL, NULL);
    add(&m, "b\n", MANIFEST_FILE, NULL, "a");
    add(&m, "d", MANIFEST_DIR, NULL, NULL);
    add(&m, "d/\xff", MANIFEST_SYMLINK, "/x", NULL);
    add(&m, "d-", MANIFEST_FILE, NULL, NULL);
    m.entries[1].flags = MANIFEST_CONTESTED;
    m.entries[1].ctime = INT64_MIN;
    m.entries[1].ino = UINT64_MAX;
    assert_int_equal(manifest_encode(&m, &b), 0);
    assert_int_equal(manifest_decode(b.data, b.len, &back, &err), 0);
    assert_int_equal(back.len, m.len);
    assert_int_equal(back.entries[2].group, 2);
    assert_int_equal(manifest_encode(&back, &again), 0);
    assert_int_equal(b.len, again.len);
    assert_memory_equal(b.data, again.data, b.len);
    for (size_t i = 0; i < b.len; i++) {
        assert_int_equal(manifest_decode(b.data, i, &back, &err), -1);
        b.data[i] ^= 1;
        assert_int_equal(manifest_decode(b.data, b.len, &back, &err), -1);
        b.data[i] ^= 1;
    }
    assert_int_equal(back.len, m.len);
    err_clear(&err);
    manifest_clear(&m);
    manifest_clear(&back);
    buf_clear(&b);
    buf_clear(&again);
}

/* The digest of a long file does not depend on where its holes are said to be. */
static void content_digest(void **state)
{
    uint8_t *bytes = xcalloc(3, CONTENT_PIECE), plain[SHA256_LEN], one[SHA256_LEN], two[SHA256_LEN];
    struct content c;

    (void)state;
    bytes[CONTENT_PIECE + 5] = 1;
    for (uint64_t len = CONTENT_PIECE - 1; len <= 3 * CONTENT_PIECE;
         len += len % CONTENT_PIECE == 1 ? CONTENT_PIECE - 2 : 1) {
        uint64_t hole = CONTENT_PIECE - 1000 < len ? CONTENT_PIECE - 1000 : len, tail;

        content_init(&c);
        content_update(&c, bytes, len);
        content_final(&c, one);
        content_init(&c);
        content_zeros(&c, hole);
        tail = len > CONTENT_PIECE + 6 ? CONTENT_PIECE + 6 : len;
        content_update(&c, bytes + hole, tail - hole);
        content_zeros(&c, len - tail);
        content_final(&c, two);
        assert_memory_equal(one, two, sizeof(one));
        sha256(bytes, len, plain);
        assert_int_equal(memcmp(plain, one, sizeof(one)) == 0, len <= CONTENT_PIECE);
    }
    /* A terabyte of nothing takes no time to speak of. */
    content_init(&c);
    content_zeros(&c, 1ull << 40);
    content_final(&c, one);
    free(bytes);
}

/* Mutated seeds through the fuzz target, for two seconds. */
static void fuzzed(void **state)
{
    struct buf seeds[3] = {BUF_INIT(4 << 20), BUF_INIT(4 << 20), BUF_INIT(4 << 20)};
    struct manifest m = MANIFEST_INIT;
    const char *seconds = getenv("ATP_FUZZ_SECONDS");
    time_t end = time(NULL) + (seconds ? strtol(seconds, NULL, 10) : 2);
    unsigned long runs = 0;

    (void)state;
    buf_addc(&seeds[0], 0);
    make_stream(&seeds[0], true);
    buf_addc(&seeds[1], 1);
    make_stream(&seeds[1], false);
    buf_consume(&seeds[1], 17);
    seeds[1].data[0] = 1;
    add(&m, "", MANIFEST_DIR, NULL, NULL);
    add(&m, "abc", MANIFEST_FILE, NULL, NULL);
    add(&m, "abd", MANIFEST_FILE, NULL, "abc");
    buf_addc(&seeds[2], 2);
    manifest_encode(&m, &seeds[2]);
    for (seed = (unsigned long long)time(NULL); time(NULL) < end; runs++) {
        const struct buf *s = &seeds[rnd(3)];
        size_t len = rnd(3) ? s->len : 1 + rnd((unsigned)s->len);
        uint8_t *copy;

        if (len > 2000 && rnd(4))
            len = 2000;
        copy = xmemdup(s->data, len);
        for (unsigned k = 1 + rnd(6); k; k--)
            if (len > 1)
                copy[1 + rnd((unsigned)len - 1)] = (uint8_t)rnd(256);
        /* A manifest's digest is mended, or no mutation would get past it. */
        if (copy[0] % 3 == 2 && len > 33)
            sha256(copy + 1, len - 33, copy + len - 32);
        LLVMFuzzerTestOneInput(copy, len);
        free(copy);
    }
    assert_true(runs > 100);
    manifest_clear(&m);
    for (int i = 0; i < 3; i++)
        buf_clear(&seeds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),    cmocka_unit_test(truncated),           cmocka_unit_test(flipped),
        cmocka_unit_test(hostile_lists), cmocka_unit_test(manifest_round_trip), cmocka_unit_test(content_digest),
        cmocka_unit_test(fuzzed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
