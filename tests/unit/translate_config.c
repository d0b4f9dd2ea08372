/* link: atp_translate */
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define VAR(s) ((char[]){s})

static void show(const struct config *c, struct buf *out)
{
    buf_addf(out, "%s@%d", backend_name(c->backend), c->backend_line);
    for (size_t i = 0; i < c->mirrors.len; i++)
        buf_addf(out, " %s", c->mirrors.items[i]);
    for (size_t i = 0; i < c->lookup.len && memcmp(&c->lookup, &lookup_default, sizeof(c->lookup)); i++)
        buf_addf(out, " lookup=%u", c->lookup.places[i]);
    if (c->no_publish)
        buf_addf(out, " unpublished");
    if (c->modal_server)
        buf_addf(out, " server=%s", c->modal_server);
    if (c->modal_profile)
        buf_addf(out, " modal=%s", c->modal_profile);
    if (c->profile)
        buf_addf(out, " profile=%s", c->profile);
    for (size_t i = 0; i < c->profiles_len; i++) {
        buf_addf(out, " %s@%d{", c->profiles[i].name, c->profiles[i].line);
        for (size_t k = 0; k < c->profiles[i].keys.len; k++)
            buf_addf(out, "%s%s", k ? "," : "", c->profiles[i].keys.items[k]);
        buf_addf(out, "}");
    }
}

static const struct {
    const char *text, *want, *message; /* a message that ends with * is open there */
} table[] = {
    {"", "auto@0", NULL},
    {"\n# c\n", "auto@0", NULL},
    {"---\n", "auto@0", NULL},
    {"{}", "auto@0", NULL},
    {"backend: local", "local@1", NULL},
    {"# c\n\nbackend: 'modal' # c\n", "modal@3", NULL},
    {"{backend: docker, modal: {server: 'http://x:1'}}", "docker@1 server=http://x:1", NULL},
    {"registry:\n  mirrors:\n    docker.io: localhost:5000\n    ghcr.io: m/x\n",
     "auto@0 docker.io=localhost:5000 ghcr.io=m/x", NULL},
    {"images:\n  lookup: [registry, local]\n  publish: false\n", "auto@0 lookup=2 lookup=0 unpublished", NULL},
    {"images: {publish: true, lookup: [local, modal, registry]}", "auto@0", NULL},
    {"modal:\n  profile: work\n", "auto@0 modal=work", NULL},
    {"profile: fast\nprofiles:\n  slow:\n    timeout: 60\n  fast: {timeout: \"3600\", sync.exclude: [.lake, a b], "
     "region: us,\n"
     "    verbose: true}\n",
     "auto@0 profile=fast slow@3{timeout=60} fast@5{timeout=3600,sync.exclude=.lake\na b\n,region=us,verbose=true}",
     NULL},
    {"profiles: {a: {}}", "auto@0 a@1{}", NULL},

    {"images: {lookup: local}", NULL, "c:1: images.lookup: a list is expected here, as [local, modal, registry]"},
    {"images:\n  lookup: []", NULL, "c:2: images.lookup: names no place*"},
    {"images:\n  lookup: [local, hub]", NULL, "c:2: images.lookup: 'hub' is no place*"},
    {"images: {publish: 1}", NULL, "c:1: images.publish: true or false is expected here"},
    {"images: {look: []}", NULL, "c:1: unknown key 'images.look'*"},
    {"null\n", NULL, "c:1: the file: keys and values are expected here"},
    {"x", NULL, "c:1: the file: keys and values are expected here"},
    {"- a\n", NULL, "c:1: the file: keys and values are expected here"},
    {"backends: local", NULL, "c:1: unknown key 'backends'; did you mean 'backend'?"},
    {"\n\nfrobnicate: 1", NULL, "c:3: unknown key 'frobnicate'"},
    {"backend: podman", NULL, "c:1: backend: 'podman' is not a back end; it is one of modal, local, docker, auto"},
    {"backend:", NULL, "c:1: backend: a text is expected here"},
    {"backend: [local]", NULL, "c:1: backend: a text is expected here"},
    {"backend: ''", NULL, "c:1: backend: a text is expected here"},
    {"backend: \"a\\0b\"", NULL, "c:1: backend: a text is expected here"},
    {"? [a]\n: b\n", NULL, "c:1: the file: a text is expected here"},
    {"modal: x", NULL, "c:1: modal: keys and values are expected here"},
    {"modal:\n  profil: x", NULL, "c:2: unknown key 'modal.profil'; did you mean 'profile'?"},
    {"modal:\n  token_secret: x", NULL, "c:2: unknown key 'modal.token_secret'"},
    {"registry:\n  mirror: {}", NULL, "c:2: unknown key 'registry.mirror'; did you mean 'mirrors'?"},
    {"registry: {mirrors: [docker.io=x]}", NULL, "c:1: registry.mirrors: keys and values are expected here"},
    {"registry:\n  mirrors:\n    docker.io: http://x\n", NULL,
     "c:3: registry.mirrors: invalid registry mirror 'docker.io=http://x': *"},
    {"routing:\n  - image: x\n", NULL, "c:1: routing: rules by image, label or flag are not carried out yet"},
    {"profile: x", NULL, "c: profile: there is no 'x' below profiles"},
    {"profiles: [a]", NULL, "c:1: profiles: keys and values are expected here"},
    {"profiles:\n  a:\n", NULL, "c:2: profiles.a: keys and values are expected here"},
    {"profiles:\n  a:\n    timout: 1\n", NULL,
     "c:3: timout: there is no Modal option 'timout'; did you mean 'timeout'?"},
    {"profiles:\n  a:\n    timeout: 0\n", NULL, "c:3: timeout: '0' is not whole seconds from 1 to 86400"},
    {"profiles:\n  a:\n    timeout: {}\n", NULL, "c:3: timeout: a text is expected here"},
    {"profiles:\n  a:\n    region: [[x]]\n", NULL, "c:3: region: a text is expected here"},
    {"profiles:\n  a: &x {timeout: 1}\n  b: *x\n", NULL, "c:3: profiles.b: keys and values are expected here"},
    {"backend: &b local\nprofile: *b\n", NULL, "c:2: profile: a text is expected here"},
    {"backend: local\nbackend: modal\n", NULL, "c:2: *"},
    {"backend: local\n---\nbackend: modal\n", NULL, "c: holds more than one document"},
    {"backend: [local\n", NULL, "c:*"},
    {"a: b: c\n", NULL, "c:1: *"},
    {"\tbackend: local\n", NULL, "c:1: *"},
    {"backend: \"local\n", NULL, "c:*"},
};

static void assert_message(const char *got, const char *want)
{
    size_t len = strlen(want);

    if (want[len - 1] != '*')
        assert_string_equal(got, want);
    else if (strncmp(got, want, len - 1) != 0 || strlen(got) < len)
        fail_msg("'%s' does not begin as '%s'", got, want);
    assert_null(strchr(got, '\n'));
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cleanup_with(config_clear) struct config c;
        cleanup_err struct err err = ERR_INIT;
        cleanup_buf struct buf shown = BUF_INIT(LIMIT_CONFIG_FILE);
        int rc;

        config_init(&c);
        rc = config_parse("c", table[i].text, strlen(table[i].text), &c, &err);
        if (table[i].message) {
            if (rc == 0)
                fail_msg("'%s' was accepted", table[i].text);
            assert_message(err.msg, table[i].message);
            assert_int_equal(err.exit_code, 125);
            continue;
        }
        if (rc < 0)
            fail_msg("'%s': %s", table[i].text, err.msg);
        show(&c, &shown);
        assert_string_equal(shown.data, table[i].want);
    }
}

/* Bytes that are no text, and a file cut anywhere, are errors or shorter files. */
static void test_garbage(void **state)
{
    static const char text[] =
        "profile: f\nprofiles:\n  f: {timeout: \"36\\u0030\", region: ['a', b]}\nregistry:\n  mirrors: {a: b}\n";
    static const char nul[] = "backend: lo\0cal\n", bad[] = "backend: \xff\xfe\n";
    cleanup_with(config_clear) struct config c;

    (void)state;
    config_init(&c);
    assert_int_equal(config_parse("c", nul, sizeof(nul) - 1, &c, NULL), -1);
    assert_int_equal(config_parse("c", bad, sizeof(bad) - 1, &c, NULL), -1);
    for (size_t len = 0; len < sizeof(text); len++) {
        cleanup_with(config_clear) struct config cut;
        cleanup_err struct err err = ERR_INIT;

        config_init(&cut);
        if (config_parse("c", text, len, &cut, &err) < 0)
            assert_non_null(err.msg);
    }
}

static void joined(const struct strlist *l, struct buf *out)
{
    for (size_t i = 0; i < l->len; i++)
        buf_addf(out, "%s%s", i ? "|" : "", l->items[i]);
}

static void test_profiles(void **state)
{
    static const char text[] = "profile: f-1\nprofiles:\n  f-1: {timeout: 60, cloud: aws}\n  g: {timeout: 5}\n";
    char *const overlay[] = {VAR("ATP_DOCKER_PROFILE_F_1_TIMEOUT=70"), VAR("ATP_DOCKER_PROFILE_F_1_SYNC_EXCLUDE=x"),
                             VAR("ATP_DOCKER_PROFILE_G_TIMEOUT=1"), VAR("ATP_DOCKER_PROFILE_F_1_CLOUD="), NULL};
    char *const chosen[] = {VAR("ATP_DOCKER_PROFILE=g"), NULL};
    char *const made[] = {VAR("ATP_DOCKER_PROFILE=new"), VAR("ATP_DOCKER_PROFILE_NEW_GPU=T4"), NULL};
    char *const wrong[] = {VAR("ATP_DOCKER_PROFILE=nope"), NULL};
    static const struct {
        int env;
        const char *want;
    } cases[] = {
        {0, "timeout=60|cloud=aws"}, {1, "timeout=70|cloud=aws|sync.exclude=x"}, {2, "timeout=5"}, {3, "gpu=T4"}};
    char *const *envs[] = {NULL, overlay, chosen, made};
    cleanup_with(config_clear) struct config c, empty;
    cleanup_strlist struct strlist none = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;

    (void)state;
    config_init(&empty);
    config_init(&c);
    assert_int_equal(config_parse("c", text, sizeof(text) - 1, &c, NULL), 0);
    for (size_t i = 0; i < 4; i++) {
        cleanup_strlist struct strlist keys = STRLIST_INIT;
        cleanup_buf struct buf all = BUF_INIT(LIMIT_CONFIG_FILE);

        assert_int_equal(config_profile(&c, envs[cases[i].env], &keys, NULL), 0);
        joined(&keys, &all);
        assert_string_equal(all.data, cases[i].want);
    }
    assert_int_equal(config_profile(&empty, overlay, &none, NULL), 0);
    assert_int_equal(none.len, 0);
    assert_int_equal(config_profile(&c, wrong, &none, &err), -1);
    assert_string_equal(err.msg, "ATP_DOCKER_PROFILE names the profile 'nope', which config.yaml does not have");
}

static void test_environment(void **state)
{
    char *const bad[][2] = {{VAR("ATP_DOCKER_LOOKUP=hub"), NULL},
                            {VAR("ATP_DOCKER_LOOKUP=local local"), NULL},
                            {VAR("ATP_DOCKER_PUBLISH=no"), NULL}};
    char *const good[] = {VAR("ATP_DOCKER_LOOKUP=registry,local"), VAR("ATP_DOCKER_PUBLISH=1"), NULL};
    char *const empty[] = {VAR("ATP_DOCKER_LOOKUP="), VAR("ATP_DOCKER_PUBLISH="), NULL};
    const char *text = "images: {lookup: [modal], publish: false}";
    struct config c;

    (void)state;
    assert_int_equal(config_parse("c", text, strlen(text), &c, NULL), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = ERR_INIT;

        assert_int_equal(config_environment(&c, bad[i], &err), -1);
        assert_non_null(strstr(err.msg, "ATP_DOCKER_"));
        err_clear(&err);
    }
    assert_int_equal(config_environment(&c, empty, NULL), 0);
    assert_int_equal(config_environment(&c, NULL, NULL), 0);
    assert_true(c.no_publish && c.lookup.len == 1 && c.lookup.places[0] == LOOKUP_MODAL);
    assert_int_equal(config_environment(&c, good, NULL), 0);
    assert_true(!c.no_publish && c.lookup.len == 2 && c.lookup.places[0] == LOOKUP_REGISTRY);
    config_clear(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_environment), cmocka_unit_test(test_table),
                                       cmocka_unit_test(test_garbage), cmocka_unit_test(test_profiles)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
