/* link: atp_wire atp_base */
#include "tests/fuzz/wire.c" /* the target itself */

#include "compat/base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ROUNDS 60000

static uint32_t seed = 20260813;

static uint32_t rnd(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

/* One of each frame, well formed. */
static void add_seeds(struct buf *b)
{
    struct wire_hello h = {.oldest = 1, .newest = 1, .program = (char *)"p", .machine = (char *)"m"};
    struct wire_mount m = {.target = (char *)"/t"};
    struct wire_delta_end e = {.index = 1};
    struct wire_pushed p = {.index = 1};
    struct wire_offer o = {.index = 1, .base = 1, .generation = 2};
    struct wire_pull pull = {.index = 1, .generation = 3};
    struct wire_start s = {.user = (char *)"u", .cwd = (char *)"/"};
    struct wire_ask a = {.kind = WIRE_ASK_LOGS, .tail = -1, .text = (char *)"t"};
    struct wire_exit x = {.kind = WIRE_EXIT_REFUSED, .refusal = WIRE_REFUSAL_USER, .value = 125, .text = (char *)"no"};

    strlist_add(&m.exclude, "a");
    s.flags = WIRE_START_MAIN;
    s.record = (char *)"{}";
    s.volumes = (char *)"[]";
    s.health.retries = 2;
    strlist_add(&s.health.test, "NONE");
    s.names = (struct wire_names){.token = (char *)"t", .hub = (char *)"h", .self = (char *)"s"};
    strlist_add(&s.names.members, "n/web");
    strlist_add(&s.names.hosts, "a:1.2.3.4");
    strlist_add(&s.argv, "sh");
    strlist_add(&s.env, "A=b");
    wire_put_hello(b, &h);
    wire_put_mount(b, &m);
    wire_put_delta(b, 1, "bytes", 5);
    wire_put_delta_end(b, &e);
    wire_put_pushed(b, &p);
    wire_put_stale(b, 2, true);
    wire_put_offer(b, &o);
    wire_put_pull(b, &pull);
    wire_put_pull_failed(b, 3, "why");
    wire_put_pulled(b, 4, 5);
    wire_put_start(b, &s);
    wire_put_ask(b, &a);
    wire_put_log(b, 1, WIRE_STREAM_STDOUT, "line", 4);
    wire_put_stat(b, &(struct wire_stat){.exists = true, .path = (char *)"/p", .link = (char *)"/l"});
    wire_put_started(b, 6);
    wire_put_close(b, WIRE_STREAM_STDOUT);
    wire_put_credit(b, WIRE_STREAM_STDIN, 7);
    wire_put_resize(b, 8, 9);
    wire_put_signal(b, 10, 1);
    wire_put_exit(b, &x);
    wire_put_error(b, WIRE_ERROR_PUSH, "oh");
    wire_put_join(b, &s.names);
    wire_put_table(b, &(struct wire_table){&(struct wire_member){s.names.self, s.names.members}, 1});
    wire_put_port_open(b, 1, 80);
    wire_put_port_opened(b, 1);
    wire_put_port_data(b, 1, "GET", 3);
    wire_put_port_credit(b, 1, 3);
    wire_put_port_eof(b, 1);
    wire_put_port_closed(b, 1, 0);
    strlist_clear(&m.exclude);
    strlist_clear(&s.argv);
    strlist_clear(&s.env);
    strlist_clear(&s.health.test);
    strlist_clear(&s.names.members);
    strlist_clear(&s.names.hosts);
}

/* Bits flipped, bytes set to edges, pieces cut out and doubled. */
static void mutate(struct buf *b)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff};

    for (uint32_t n = 1 + rnd(6); n && b->len; n--) {
        uint32_t at = rnd((uint32_t)b->len);

        switch (rnd(4)) {
        case 0:
            b->data[at] = (char)(b->data[at] ^ (1 << rnd(8)));
            break;
        case 1:
            b->data[at] = (char)edges[rnd(sizeof(edges))];
            break;
        case 2:
            memmove(b->data + at, b->data + at + 1, b->len - at - 1);
            buf_truncate(b, b->len - 1);
            break;
        default: {
            char *copy = xmemdup(b->data, b->len);

            buf_add(b, copy + at, b->len - at < 64 ? b->len - at : 64);
            free(copy);
        }
        }
    }
}

static void test_mutations(void **state)
{
    struct buf seeds = BUF_INIT(1 << 20), b = BUF_INIT(1 << 20);

    (void)state;
    add_seeds(&seeds);
    assert_int_equal(LLVMFuzzerTestOneInput((const uint8_t *)seeds.data, seeds.len), 0);
    for (int i = 0; i < ROUNDS; i++) {
        buf_reset(&b);
        buf_add(&b, seeds.data, seeds.len);
        mutate(&b);
        assert_int_equal(LLVMFuzzerTestOneInput((const uint8_t *)b.data, b.len), 0);
    }
    buf_clear(&seeds);
    buf_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutations)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
