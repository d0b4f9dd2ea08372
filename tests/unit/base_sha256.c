/* link: atp_base */
#include "compat/base/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_digest(const void *bytes, size_t len, const char *expected)
{
    uint8_t digest[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];

    sha256(bytes, len, digest);
    sha256_hex(digest, hex);
    assert_string_equal(hex, expected);
}

/* The vectors of FIPS 180-4 and the lengths where the padding needs a second block. */
static void vectors(void **state)
{
    static uint8_t million[1000000];

    (void)state;
    memset(million, 'a', sizeof(million));
    for (int portable = 0; portable < 2; portable++) {
        sha256_force_portable(portable);
        assert_digest("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_digest("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        assert_digest(million, 55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
        assert_digest(million, 64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
        assert_digest(million, sizeof(million), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
    sha256_force_portable(false);
}

/* The processor's branch, if there is one, and the portable one agree on every length and on every way to cut the
 * input. */
static void branches_agree(void **state)
{
    uint8_t bytes[300], one[SHA256_LEN], two[SHA256_LEN];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + 3);
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        struct sha256 s;

        sha256_force_portable(true);
        assert_false(sha256_accelerated());
        sha256(bytes, len, one);
        sha256_force_portable(false);
        sha256_init(&s);
        for (size_t at = 0; at < len;) {
            size_t part = 1 + (at * 31 + len) % 90;

            if (part > len - at)
                part = len - at;
            sha256_update(&s, bytes + at, part);
            at += part;
        }
        sha256_final(&s, two);
        assert_memory_equal(one, two, SHA256_LEN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors), cmocka_unit_test(branches_agree)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
