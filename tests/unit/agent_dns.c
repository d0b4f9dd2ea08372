/* link: atp_agentcore atp_base */
#include "tests/fuzz/dns.c" /* the target itself */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define ROUNDS 200000

static uint32_t seed = 20261121;

static uint32_t rnd(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

/* A question with EDNS, one for an address, one with other records behind it. */
static const struct {
    const char *bytes;
    size_t len;
} seeds[] = {
    {"\0\7\1\0\0\1\0\0\0\0\0\1\3WeB\5front\0\0\1\0\1\0\0\x29\x10\0\0\0\0\0\0\4\0\1\0\0", 42},
    {"\0\7\1\0\0\1\0\0\0\0\0\0\1"
     "2\1"
     "1\2"
     "10\3"
     "127\7in-addr\4arpa\0\0\x0c\0\1",
     41},
    {"\0\7\1\0\0\1\0\1\0\0\0\0\1a\0\0\1\0\1\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4", 35},
};

static void test_mutations(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        size_t which = rnd(3), len = seeds[which].len;
        uint8_t *m = malloc(len); /* exactly so long: a byte too far is seen by the sanitizers */

        memcpy(m, seeds[which].bytes, len);
        for (uint32_t n = rnd(4); n; n--)
            m[rnd((uint32_t)len)] = rnd(2) ? (uint8_t)rnd(256) : (uint8_t)(rnd(2) ? 0xc0 : 0x3f);
        if (rnd(3) == 0) {
            uint8_t *cut;

            len = 1 + rnd((uint32_t)len);
            cut = malloc(len);
            memcpy(cut, m, len);
            free(m);
            m = cut;
        }
        assert_int_equal(LLVMFuzzerTestOneInput(m, len), 0);
        free(m);
    }
}

static void test_names(void **state)
{
    const uint8_t *m = (const uint8_t *)seeds[0].bytes;
    enum dns_code code = DNS_OK;
    struct dns_query q;
    struct in_addr address;

    (void)state;
    assert_int_equal(dns_read(m, seeds[0].len, &q, &code), 1);
    assert_string_equal(q.name, "web.front");
    assert_true(q.edns && q.udp_max == 4096 && q.type == DNS_A);
    m = (const uint8_t *)seeds[1].bytes;
    assert_int_equal(dns_read(m, seeds[1].len, &q, &code), 1);
    assert_string_equal(q.name, "2.1.10.127.in-addr.arpa");
    assert_true(dns_reverse(q.name, &address));
    assert_int_equal(address.s_addr, htonl(0x7f0a0102));
    assert_false(dns_reverse("256.1.10.127.in-addr.arpa", &address));
    assert_false(dns_reverse("1.10.127.in-addr.arpa", &address));
    assert_false(dns_reverse("1.1.10.127.in-addr.arpa.x", &address));
    assert_false(dns_reverse("-1.1.10.127.in-addr.arpa", &address));
    m = (const uint8_t *)"\0\7\1\0\0\1\0\0\0\0\0\0\3a.b\0\0\1\0\1"; /* a dot within a label is no host's name */
    assert_int_equal(dns_read(m, 21, &q, &code), 1);
    assert_string_equal(q.name, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutations), cmocka_unit_test(test_names)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
