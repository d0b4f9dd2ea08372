/* link: atp_translate */
/*
 * Image references. Which texts are accepted, and the messages, were compared with `docker pull` 28.2.2.
 */
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "translate/reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEX32 "0123456789abcdef0123456789abcdef"
#define A50   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A247  A50 A50 A50 A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define T128  A50 A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaa"

#define FORMAT "invalid reference format"

/* text -> normal form and familiar form, or the message. */
static const struct {
    const char *text, *normal, *familiar, *message;
} table[] = {
    {"", NULL, NULL, FORMAT},
    {":x", NULL, NULL, FORMAT},
    {"x:", NULL, NULL, FORMAT},
    {"@", NULL, NULL, FORMAT},
    {"/x", NULL, NULL, FORMAT},
    {"x/", NULL, NULL, FORMAT},
    {"a//b", NULL, NULL, FORMAT},
    {"docker.io/", NULL, NULL, FORMAT},
    {"library/", NULL, NULL, FORMAT},
    {"-x", NULL, NULL, FORMAT},
    {"x-", NULL, NULL, FORMAT},
    {"a___b", NULL, NULL, FORMAT},
    {"a-_b", NULL, NULL, FORMAT},
    {"a..b", NULL, NULL, FORMAT},
    {"a._b", NULL, NULL, FORMAT},
    {"foo..bar/x:1", NULL, NULL, FORMAT},
    {"-a.b/x", NULL, NULL, FORMAT},
    {"a.-b/x", NULL, NULL, FORMAT},
    {"x:-a", NULL, NULL, FORMAT},
    {"x:.a", NULL, NULL, FORMAT},
    {"x:y:z", NULL, NULL, FORMAT},
    {"x:" T128 "a", NULL, NULL, FORMAT},
    {"x y", NULL, NULL, FORMAT},
    {"x\n", NULL, NULL, FORMAT},
    {"\xe2\x98\x83.com/x", NULL, NULL, FORMAT},
    {"http://x/y", NULL, NULL, FORMAT},
    {"modal://x:y", NULL, NULL, FORMAT},
    {"a:b/c", NULL, NULL, FORMAT},
    {"a:5000/", NULL, NULL, FORMAT},
    {"a:/x", NULL, NULL, FORMAT},
    {"[::1/x", NULL, NULL, FORMAT},
    {"[]/x.y", NULL, NULL, FORMAT},
    {"[::g]/x", NULL, NULL, FORMAT},
    {"foo@sha256:abc", NULL, NULL, FORMAT},
    {"foo@" HEX64, NULL, NULL, FORMAT},
    {"foo@:" HEX64, NULL, NULL, FORMAT},
    {"foo@sha256:" HEX64 "@sha256:" HEX64, NULL, NULL, FORMAT},
    {"foo@sha256:xyz" HEX64, NULL, NULL, FORMAT},
    {"foo@2sha:" HEX64, NULL, NULL, FORMAT},
    {"foo@sha+:" HEX64, NULL, NULL, FORMAT},
    {"x@sha256:" HEX32, NULL, NULL, "invalid checksum digest length"},
    {"x@sha256:" HEX64 "0", NULL, NULL, "invalid checksum digest length"},
    {"x@sha512:" HEX64, NULL, NULL, "invalid checksum digest length"},
    {"x@sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef", NULL, NULL,
     "invalid checksum digest format"},
    {"x@SHA256:" HEX64, NULL, NULL, "invalid reference format: repository name (library/x@SHA256) must be lowercase"},
    {"a@Foo", NULL, NULL, "invalid reference format: repository name (library/a@Foo) must be lowercase"},
    {"Foo_b/x", NULL, NULL, "repository name must be lowercase"},
    {"Foo_b/x:-", NULL, NULL, FORMAT},
    {"x@sha1:" HEX32, NULL, NULL, "unsupported digest algorithm"},
    {"x@md5:" HEX32, NULL, NULL, "unsupported digest algorithm"},
    {HEX64, NULL, NULL, "invalid repository name (" HEX64 "), cannot specify 64-byte hexadecimal strings"},
    {A247 "a", NULL, NULL, "repository name must not be more than 255 characters"},
    {"Foo", NULL, NULL, "invalid reference format: repository name (library/Foo) must be lowercase"},
    {"Foo:x", NULL, NULL, "invalid reference format: repository name (library/Foo) must be lowercase"},
    {"foo/Bar", NULL, NULL, "invalid reference format: repository name (foo/Bar) must be lowercase"},
    {"a.b/Foo/x:Y", NULL, NULL, "invalid reference format: repository name (Foo/x) must be lowercase"},

    {"x", "docker.io/library/x", "x", NULL},
    {"x:latest", "docker.io/library/x:latest", "x:latest", NULL},
    {"x:_a", "docker.io/library/x:_a", "x:_a", NULL},
    {"x:V1.0-rc_2", "docker.io/library/x:V1.0-rc_2", "x:V1.0-rc_2", NULL},
    {"x:" T128, "docker.io/library/x:" T128, "x:" T128, NULL},
    {A247, "docker.io/library/" A247, A247, NULL},
    {"a:5000", "docker.io/library/a:5000", "a:5000", NULL},
    {"docker.io", "docker.io/library/docker.io", "docker.io", NULL},
    {"docker.io/x", "docker.io/library/x", "x", NULL},
    {"docker.io/library/x", "docker.io/library/x", "x", NULL},
    {"library/x", "docker.io/library/x", "x", NULL},
    {"library/x/y", "docker.io/library/x/y", "library/x/y", NULL},
    {"index.docker.io/x", "docker.io/library/x", "x", NULL},
    {"index.docker.io/u/x:1", "docker.io/u/x:1", "u/x:1", NULL},
    {"docker.io:443/x", "docker.io:443/x", "docker.io:443/x", NULL},
    {"u/x", "docker.io/u/x", "u/x", NULL},
    {"a/b/c/d", "docker.io/a/b/c/d", "a/b/c/d", NULL},
    {"a__b", "docker.io/library/a__b", "a__b", NULL},
    {"a--b", "docker.io/library/a--b", "a--b", NULL},
    {"a-----b.c_d", "docker.io/library/a-----b.c_d", "a-----b.c_d", NULL},
    {"localhost/x", "localhost/x", "localhost/x", NULL},
    {"localhost:5000/x", "localhost:5000/x", "localhost:5000/x", NULL},
    {"localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1", NULL},
    {"LOCALHOST/x", "LOCALHOST/x", "LOCALHOST/x", NULL},
    {"Foo/bar", "Foo/bar", "Foo/bar", NULL},
    {"1.2.3.4/x", "1.2.3.4/x", "1.2.3.4/x", NULL},
    {"1.2.3.4:5/x", "1.2.3.4:5/x", "1.2.3.4:5/x", NULL},
    {"[::1]/x", "[::1]/x", "[::1]/x", NULL},
    {"[2001:db8::1]:5000/x:y", "[2001:db8::1]:5000/x:y", "[2001:db8::1]:5000/x:y", NULL},
    {"xn--7o8h.com/myimage", "xn--7o8h.com/myimage", "xn--7o8h.com/myimage", NULL},
    {"ghcr.io/org/app/part:1", "ghcr.io/org/app/part:1", "ghcr.io/org/app/part:1", NULL},
    {"x@sha256:" HEX64, "docker.io/library/x@sha256:" HEX64, "x@sha256:" HEX64, NULL},
    {"x:t@sha256:" HEX64, "docker.io/library/x:t@sha256:" HEX64, "x:t@sha256:" HEX64, NULL},
    {"r.io/x@sha512:" HEX64 HEX64, "r.io/x@sha512:" HEX64 HEX64, "r.io/x@sha512:" HEX64 HEX64, NULL},
    {"im-abc", "docker.io/library/im-abc", "im-abc", NULL},
};

static void test_references(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cleanup_with(reference_clear) struct reference r = {0};
        cleanup_err struct err err = ERR_INIT;
        cleanup_free char *normal = NULL, *familiar = NULL;
        int rc = reference_parse(table[i].text, &r, &err);

        if (table[i].message) {
            if (rc == 0)
                fail_msg("'%s' was accepted", table[i].text);
            assert_string_equal(err.msg, table[i].message);
            assert_int_equal(err.exit_code, 125);
            assert_null(r.domain);
            continue;
        }
        if (rc < 0)
            fail_msg("'%s': %s", table[i].text, err.msg);
        normal = reference_string(&r);
        familiar = reference_familiar(&r);
        assert_string_equal(normal, table[i].normal);
        assert_string_equal(familiar, table[i].familiar);
    }
}

/* What was normalised once stays as it is, and the familiar form means the same. */
static void test_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const char *again[] = {table[i].normal, table[i].familiar};

        for (size_t k = 0; !table[i].message && k < 2; k++) {
            cleanup_with(reference_clear) struct reference r = {0};
            cleanup_free char *normal = NULL;

            assert_int_equal(reference_parse(again[k], &r, NULL), 0);
            normal = reference_string(&r);
            assert_string_equal(normal, table[i].normal);
        }
    }
}

static void test_latest(void **state)
{
    static const char *const pairs[][2] = {{"x", "docker.io/library/x:latest"},
                                           {"x:1", "docker.io/library/x:1"},
                                           {"x@sha256:" HEX64, "docker.io/library/x@sha256:" HEX64}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        cleanup_with(reference_clear) struct reference r = {0};
        cleanup_free char *s = NULL;

        assert_int_equal(reference_parse(pairs[i][0], &r, NULL), 0);
        reference_add_latest(&r);
        s = reference_string(&r);
        assert_string_equal(s, pairs[i][1]);
    }
}

static void test_image_kinds(void **state)
{
    static const struct {
        const char *text;
        int kind; /* -1 = refused */
        const char *id, *tag;
    } kinds[] = {
        {"modal://", -1, NULL, NULL},
        {"modal://:x", -1, NULL, NULL},
        {"modal://x:", -1, NULL, NULL},
        {"modal://a b", -1, NULL, NULL},
        {"modal://im-x", -1, NULL, NULL},
        {"modal://a/b/c/d", -1, NULL, NULL},
        {"modal://a//b", -1, NULL, NULL},
        {"modal:///b", -1, NULL, NULL},
        {"modal://a/", -1, NULL, NULL},
        {"modal://a:1/b", -1, NULL, NULL},
        {"modal://en-x/b", -1, NULL, NULL},
        {"modal://_a/b", -1, NULL, NULL},
        {"modal://a/im-b", -1, NULL, NULL},
        {"modal://a:b:c", -1, NULL, NULL},
        {"modal://a@sha256:" HEX64, -1, NULL, NULL},
        {"modal://" A50 A50, -1, NULL, NULL},
        {"Im-abc", -1, NULL, NULL},
        {"sha256:" HEX64 "0", IMAGE_REFERENCE, NULL, NULL},
        {"modal://Name_1.x", IMAGE_MODAL_NAME, "Name_1.x", "latest"},
        {"modal://name:v2", IMAGE_MODAL_NAME, "name", "v2"},
        {"modal://main/name", IMAGE_MODAL_NAME, "main/name", "latest"},
        {"modal://w.s/main/name:v2", IMAGE_MODAL_NAME, "w.s/main/name", "v2"},
        {"im-Ab01234567890123456789", IMAGE_MODAL_ID, "im-Ab01234567890123456789", NULL},
        {"im-snapshot-123", IMAGE_MODAL_ID, "im-snapshot-123", NULL},
        {HEX64, IMAGE_ID, HEX64, NULL},
        {"sha256:" HEX64, IMAGE_ID, HEX64, NULL},
        {"im-", -1, NULL, NULL},
        {"im-x:1", IMAGE_REFERENCE, NULL, NULL},
        {"user/im-x", IMAGE_REFERENCE, NULL, NULL},
        {"sha256:abc", IMAGE_REFERENCE, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        cleanup_with(image_ref_clear) struct image_ref r = {0};
        cleanup_err struct err err = ERR_INIT;
        int rc = image_ref_parse(kinds[i].text, &r, &err);

        if (kinds[i].kind < 0) {
            if (rc == 0)
                fail_msg("'%s' was accepted", kinds[i].text);
            assert_non_null(strstr(err.msg, FORMAT));
            continue;
        }
        assert_int_equal(rc, 0);
        assert_int_equal(r.kind, kinds[i].kind);
        assert_string_equal(r.text, kinds[i].text);
        if (kinds[i].id)
            assert_string_equal(r.id, kinds[i].id);
        if (kinds[i].tag)
            assert_string_equal(r.tag, kinds[i].tag);
        if (kinds[i].kind == IMAGE_REFERENCE)
            assert_true(r.ref.tag || r.ref.digest);
    }
}

/* What a word is called in the state and in messages, and which name the server is asked for. */
static void test_names(void **state)
{
    static const struct {
        const char *text, *name, *familiar, *modal;
    } cases[] = {
        {"x@sha256:" HEX64, "docker.io/library/x@sha256:" HEX64, "x@sha256:" HEX64, NULL},
        {"docker.io/x", "docker.io/library/x:latest", "x:latest", NULL},
        {"localhost/x", "localhost/x:latest", "localhost/x:latest", NULL},
        {"localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1", NULL},
        {"ghcr.io/a/x", "ghcr.io/a/x:latest", "ghcr.io/a/x:latest", NULL},
        {"a/b/c/x", "docker.io/a/b/c/x:latest", "a/b/c/x:latest", NULL},
        {"x/im-y", "docker.io/x/im-y:latest", "x/im-y:latest", NULL},
        {"en-a/x", "docker.io/en-a/x:latest", "en-a/x:latest", NULL},
        {A50 "aaaaaaaaaaaaaaa", "docker.io/library/" A50 "aaaaaaaaaaaaaaa:latest", A50 "aaaaaaaaaaaaaaa:latest", NULL},
        {"x", "docker.io/library/x:latest", "x:latest", "x:latest"},
        {"x.y_z:1.2-a", "docker.io/library/x.y_z:1.2-a", "x.y_z:1.2-a", "x.y_z:1.2-a"},
        {"main/x:1", "docker.io/main/x:1", "main/x:1", "main/x:1"},
        {"ws/main/x", "docker.io/ws/main/x:latest", "ws/main/x:latest", "ws/main/x:latest"},
        {"library/x", "docker.io/library/x:latest", "x:latest", "library/x:latest"},
        {"modal://X", "modal://X:latest", "modal://X:latest", "X:latest"},
        {"modal://ws/main/X:1", "modal://ws/main/X:1", "modal://ws/main/X:1", "ws/main/X:1"},
        {HEX64, NULL, "sha256:" HEX64, NULL},
        {"im-abc", NULL, "im-abc", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_with(image_ref_clear) struct image_ref r = {0};
        cleanup_free char *name = NULL, *familiar = NULL, *modal = NULL, *again = NULL;

        assert_int_equal(image_ref_parse(cases[i].text, &r, NULL), 0);
        name = image_ref_name(&r);
        familiar = image_ref_familiar(&r);
        modal = image_ref_modal_tag(&r);
        again = name ? image_name_familiar(name) : NULL;
        if (!!name != !!cases[i].name || !!modal != !!cases[i].modal)
            fail_msg("'%s' is %s, on the server %s", cases[i].text, name, modal);
        if (name)
            assert_string_equal(name, cases[i].name);
        if (name)
            assert_string_equal(again, cases[i].familiar);
        if (modal)
            assert_string_equal(modal, cases[i].modal);
        assert_string_equal(familiar, cases[i].familiar);
        assert_int_equal(name && image_name_is_modal(name), r.kind == IMAGE_MODAL_NAME);
    }
}

static void test_published(void **state)
{
    static const char *const cases[][2] = {
        {"docker.io/library/x@sha256:" HEX64, NULL},
        {"docker.io/user/x:1", NULL},
        {"localhost:5000/x:1", NULL},
        {"modal://x:1", NULL},
        {"docker.io/library/im-x:1", NULL},
        {"docker.io/library/" A50 A50 ":1", NULL},
        {"docker.io/library/x:" A50 A50, NULL},
        {"docker.io/library/a.b__c-d:V1.2", "a.b__c-d:V1.2"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_free char *tag = reference_published(cases[i][0]);

        if (!!tag != !!cases[i][1])
            fail_msg("'%s' is published as %s", cases[i][0], tag);
        if (tag)
            assert_string_equal(tag, cases[i][1]);
    }
}

static void test_lookup(void **state)
{
    static const char *const bad[] = {"", " ,", "local,local", "hub", "local;modal", "Local"};
    struct lookup_order order;
    struct err err = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(lookup_parse(bad[i], "c:1", &order, &err), -1);
        assert_non_null(strstr(err.msg, "c:1: "));
        err_clear(&err);
    }
    assert_int_equal(lookup_parse(" registry,\nmodal", "c", &order, NULL), 0);
    assert_int_equal(order.len, 2);
    assert_int_equal(order.places[0], LOOKUP_REGISTRY);
    assert_int_equal(order.places[1], LOOKUP_MODAL);
    assert_true(lookup_has(&order, LOOKUP_MODAL));
    assert_false(lookup_has(&order, LOOKUP_LOCAL));
    assert_int_equal(lookup_default.len, 3);
}

static void test_short_ids(void **state)
{
    (void)state;
    assert_false(image_ref_may_be_id(""));
    assert_true(image_ref_may_be_id("a"));
    assert_false(image_ref_may_be_id("0123456789aB"));
    assert_false(image_ref_may_be_id(HEX64 "0"));
    assert_true(image_ref_may_be_id("0123456789ab"));
    assert_true(image_ref_may_be_id(HEX64));
}

static void test_mirrors(void **state)
{
    static const char *const bad[] = {"",      "=",     "docker.io", "docker.io=", "=x",
                                      "a b=c", "a=b c", "a=b/",      "a=b/C",      "a=http://b"};
    static const char *const cases[][2] = {{"x:1", "localhost:5000/library/x:1"},
                                           {"u/x@sha256:" HEX64, "localhost:5000/u/x@sha256:" HEX64},
                                           {"ghcr.io/a/b", "m.local/mirror/ghcr/a/b"}};
    cleanup_strlist struct strlist mirrors = STRLIST_INIT;
    cleanup_with(reference_clear) struct reference other = {0}, same = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (mirror_check(bad[i], NULL) == 0)
            fail_msg("'%s' was accepted", bad[i]);
    strlist_add(&mirrors, "docker.io=localhost:5000");
    strlist_add(&mirrors, "ghcr.io=m.local/mirror/ghcr");
    strlist_add(&mirrors, "docker.io=never.used");
    for (size_t i = 0; i < mirrors.len; i++)
        assert_int_equal(mirror_check(mirrors.items[i], NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        cleanup_with(reference_clear) struct reference r = {0}, to = {0};
        cleanup_free char *s = NULL;

        assert_int_equal(reference_parse(cases[i][0], &r, NULL), 0);
        assert_true(mirror_apply(&mirrors, &r, &to));
        s = reference_string(&to);
        assert_string_equal(s, cases[i][1]);
    }
    assert_int_equal(reference_parse("docker.io.evil/x", &other, NULL), 0);
    assert_false(mirror_apply(&mirrors, &other, &same));
    assert_string_equal(same.domain, "docker.io.evil");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_references),  cmocka_unit_test(test_round_trip), cmocka_unit_test(test_latest),
        cmocka_unit_test(test_image_kinds), cmocka_unit_test(test_names),      cmocka_unit_test(test_published),
        cmocka_unit_test(test_lookup),      cmocka_unit_test(test_short_ids),  cmocka_unit_test(test_mirrors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
