/* link: atp_translate */
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/credentials.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SECRET "as-TopSecretValue"
#define PAIR   "token_id='ak-1'\ntoken_secret='" SECRET "'\n"

static const struct {
    const char *env[6]; /* K=V */
    const char *toml;   /* NULL = no file */
    const char *config_profile;
    const char *id; /* NULL = not found */
    const char *source, *missing, *message;
} table[] = {
    /* nothing */
    {{NULL}, NULL, NULL, NULL, NULL, "neither MODAL_TOKEN_ID nor t.toml", NULL},
    {{NULL}, "", NULL, NULL, NULL, "neither MODAL_TOKEN_ID nor t.toml", NULL},
    {{"MODAL_TOKEN_ID=", "MODAL_TOKEN_SECRET="}, NULL, NULL, NULL, NULL, "neither MODAL_TOKEN_ID nor t.toml", NULL},
    {{NULL}, "[work]\n" PAIR, NULL, NULL, NULL, "no profile of t.toml is active; set MODAL_PROFILE", NULL},
    {{NULL},
     "[work]\n" PAIR "active=false\n",
     NULL,
     NULL,
     NULL,
     "no profile of t.toml is active; set MODAL_PROFILE",
     NULL},
    {{NULL}, "[default]\n", NULL, NULL, NULL, "the profile 'default' of t.toml has no token", NULL},
    {{NULL}, "[default]\ntoken_id=''\n", NULL, NULL, NULL, "the profile 'default' of t.toml has no token", NULL},

    /* the environment */
    {{"MODAL_TOKEN_ID=ak-e", "MODAL_TOKEN_SECRET=" SECRET},
     NULL,
     NULL,
     "ak-e",
     "MODAL_TOKEN_ID and MODAL_TOKEN_SECRET",
     NULL,
     NULL},
    {{"MODAL_TOKEN_ID=ak-e", "MODAL_TOKEN_SECRET=" SECRET},
     "[default]\n" PAIR,
     NULL,
     "ak-e",
     "MODAL_TOKEN_ID and MODAL_TOKEN_SECRET",
     NULL,
     NULL},
    {{"MODAL_TOKEN_ID=ak-e", "MODAL_TOKEN_SECRET=" SECRET, "MODAL_PROFILE=nope"},
     "[default]\n" PAIR,
     NULL,
     "ak-e",
     "MODAL_TOKEN_ID and MODAL_TOKEN_SECRET",
     NULL,
     NULL},
    {{"MODAL_TOKEN_ID=ak-e", "MODAL_TOKEN_SECRET=" SECRET, "MODAL_PROFILE=nope"},
     NULL,
     NULL,
     "ak-e",
     "MODAL_TOKEN_ID and MODAL_TOKEN_SECRET",
     NULL,
     NULL},
    {{"MODAL_TOKEN_ID=ak-e"},
     NULL,
     NULL,
     NULL,
     NULL,
     NULL,
     "MODAL_TOKEN_ID is set but MODAL_TOKEN_SECRET is not: set both in the environment, or neither"},
    {{"MODAL_TOKEN_SECRET=" SECRET},
     "[default]\n" PAIR,
     NULL,
     NULL,
     NULL,
     NULL,
     "MODAL_TOKEN_SECRET is set but MODAL_TOKEN_ID is not: set both in the environment, or neither"},
    {{"MODAL_TOKEN_ID=", "MODAL_TOKEN_SECRET=" SECRET},
     NULL,
     NULL,
     NULL,
     NULL,
     NULL,
     "MODAL_TOKEN_SECRET is set but MODAL_TOKEN_ID is not: set both in the environment, or neither"},

    /* the file */
    {{NULL}, "[default]\n" PAIR, NULL, "ak-1", "profile default of t.toml", NULL, NULL},
    {{NULL}, "[x]\ntoken_id='no'\n[work]\n" PAIR "active=true\n", NULL, "ak-1", "profile work of t.toml", NULL, NULL},
    {{"MODAL_PROFILE=b"}, "[a]\nactive=true\n[b]\n" PAIR, NULL, "ak-1", "profile b of t.toml", NULL, NULL},
    {{NULL}, "[a]\nactive=true\n[b]\n" PAIR, "b", "ak-1", "profile b of t.toml", NULL, NULL},
    {{"MODAL_PROFILE=b"}, "[a]\n[b]\n" PAIR, "a", "ak-1", "profile b of t.toml", NULL, NULL},
    {{"MODAL_PROFILE=a b"}, "['a b']\n" PAIR, NULL, "ak-1", "profile a b of t.toml", NULL, NULL},
    {{"MODAL_PROFILE=a"},
     "[a]\nactive=true\n" PAIR "[b]\nactive=true\n",
     NULL,
     "ak-1",
     "profile a of t.toml",
     NULL,
     NULL},
    {{NULL},
     "[a]\nactive=true\n[b]\nactive=true\n",
     NULL,
     NULL,
     NULL,
     NULL,
     "t.toml: the profiles 'a' and 'b' are both active; set MODAL_PROFILE or leave one"},
    {{"MODAL_PROFILE=nope"},
     "[a]\n" PAIR,
     NULL,
     NULL,
     NULL,
     NULL,
     "MODAL_PROFILE names the Modal profile 'nope', which t.toml does not have"},
    {{NULL},
     "[a]\n" PAIR,
     "nope",
     NULL,
     NULL,
     NULL,
     "modal.profile of config.yaml names the Modal profile 'nope', which t.toml does not have"},
    {{"MODAL_PROFILE=nope"},
     NULL,
     NULL,
     NULL,
     NULL,
     NULL,
     "the Modal profile 'nope' is asked for, but t.toml does not exist"},
    {{NULL},
     "[default]\ntoken_id='ak-1'\n",
     NULL,
     NULL,
     NULL,
     NULL,
     "the profile 'default' of t.toml has token_id but no token_secret"},
    {{NULL},
     "[default]\ntoken_secret='" SECRET "'\n",
     NULL,
     NULL,
     NULL,
     NULL,
     "the profile 'default' of t.toml has token_secret but no token_id"},
    {{NULL}, "[default]\ntoken_id=5\n", NULL, NULL, NULL, NULL, "t.toml:2: token_id is a string in quotes"},
    {{NULL}, "[default]\nactive='true'\n", NULL, NULL, NULL, NULL, "t.toml:2: active is true or false"},
    {{NULL},
     "token_id='ak-1'\n",
     NULL,
     NULL,
     NULL,
     NULL,
     "t.toml:1: 'token_id' stands outside a profile; a profile begins with a line [name]"},
    {{NULL},
     "[default]\ntoken_secret=" SECRET "\n",
     NULL,
     NULL,
     NULL,
     NULL,
     "t.toml:2: this value is neither a string in quotes, nor a number, nor true or false"},
    {{NULL},
     "[default]\ntoken_secret='" SECRET "'\ntoken_secret='" SECRET "'\n",
     NULL,
     NULL,
     NULL,
     NULL,
     "t.toml:3: 'token_secret' was already defined on line 2"},
};

static int resolve(const char *const *env, const char *toml, const char *profile, struct credentials *c,
                   struct err *err)
{
    char copies[6][96];
    char *environ_[7] = {NULL};
    struct credentials_input in = {.environ = environ_, .toml_path = "t.toml", .toml = toml, .profile = profile};

    for (size_t i = 0; i < 6 && env[i]; i++) {
        snprintf(copies[i], sizeof(copies[i]), "%s", env[i]);
        environ_[i] = copies[i];
    }
    in.toml_len = toml ? strlen(toml) : 0;
    return credentials_resolve(&in, c, err);
}

static void assert_same(const char *got, const char *want)
{
    if (!want)
        assert_null(got);
    else
        assert_string_equal(got, want);
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cleanup_with(credentials_clear) struct credentials c = {0};
        cleanup_err struct err err = ERR_INIT;
        int rc = resolve(table[i].env, table[i].toml, table[i].config_profile, &c, &err);

        if (table[i].message) {
            assert_int_equal(rc, -1);
            assert_string_equal(err.msg, table[i].message);
            assert_null(strstr(err.msg, "Secret"));
            assert_null(c.token_secret);
            continue;
        }
        if (rc < 0)
            fail_msg("%zu: %s", i, err.msg);
        assert_int_equal(c.found, table[i].id != NULL);
        assert_same(c.token_id, table[i].id);
        assert_same(c.token_secret, table[i].id ? SECRET : NULL);
        assert_same(c.source, table[i].source);
        assert_same(c.missing, table[i].missing);
        assert_string_equal(c.server_url, MODAL_DEFAULT_SERVER);
    }
}

static void test_settings(void **state)
{
    static const char toml[] =
        "[default]\n" PAIR "server_url='https://f'\nenvironment='dev'\nimage_builder_version='2025.06'\n";
    static const char *const env[6] = {"MODAL_SERVER_URL=http://e:1", "MODAL_ENVIRONMENT="};
    static const char *const none[6] = {NULL};
    cleanup_with(credentials_clear) struct credentials a = {0}, b = {0}, c = {0};
    struct credentials_input in = {.server_url = "http://cfg"};

    (void)state;
    assert_int_equal(resolve(env, toml, NULL, &a, NULL), 0);
    assert_string_equal(a.server_url, "http://e:1");
    assert_string_equal(a.environment, "dev");
    assert_string_equal(a.image_builder_version, "2025.06");
    assert_string_equal(a.profile, "default");
    assert_int_equal(resolve(none, toml, NULL, &b, NULL), 0);
    assert_string_equal(b.server_url, "https://f");
    assert_int_equal(credentials_resolve(&in, &c, NULL), 0);
    assert_string_equal(c.server_url, "http://cfg");
    assert_string_equal(c.missing, "no MODAL_TOKEN_ID");
}

static void test_path(void **state)
{
    char path[] = "MODAL_CONFIG_PATH=/etc/m.toml", remote[] = "MODAL_IS_REMOTE=1", local[] = "MODAL_IS_REMOTE=0";
    char *with_path[] = {local, path, NULL}, *away[] = {path, remote, NULL};
    cleanup_free char *a = credentials_path(with_path, "/h"), *b = credentials_path(NULL, "/h");

    (void)state;
    assert_string_equal(a, "/etc/m.toml");
    assert_string_equal(b, "/h/.modal.toml");
    assert_null(credentials_path(NULL, NULL));
    assert_null(credentials_path(away, "/h"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_settings),
                                       cmocka_unit_test(test_path)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
