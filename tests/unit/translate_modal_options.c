/* link: atp_translate */
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "translate/modal_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define VAR(s) ((char[]){s})

static const struct {
    const char *key, *value;
    int64_t number;      /* when accepted, for keys that are numbers */
    const char *list;    /* joined with | */
    const char *message; /* after "x: " */
} table[] = {
    {"timeout", "86400", 86400, NULL, NULL},
    {"timeout", "1", 1, NULL, NULL},
    {"timeout", "0", 0, NULL, "'0' is not whole seconds from 1 to 86400"},
    {"timeout", "86401", 0, NULL, "'86401' is not whole seconds from 1 to 86400"},
    {"timeout", "-1", 0, NULL, "'-1' is not whole seconds from 1 to 86400"},
    {"timeout", "1h", 0, NULL, "'1h' is not whole seconds from 1 to 86400"},
    {"timeout", " 1", 0, NULL, "' 1' is not whole seconds from 1 to 86400"},
    {"timeout", "", 0, NULL, "'' is not whole seconds from 1 to 86400"},
    {"timeout", "99999999999999999999", 0, NULL, "'99999999999999999999' is not whole seconds from 1 to 86400"},
    {"orphan_grace", "0", 0, NULL, NULL},
    {"idle_timeout", "0", 0, NULL, "'0' is not whole seconds from 1 to 86400"},
    {"block_network", "Yes", 1, NULL, NULL},
    {"block_network", "FALSE", 0, NULL, NULL},
    {"block_network", "", 0, NULL, "'' is not true or false"},
    {"block_network", "maybe", 0, NULL, "'maybe' is not true or false"},
    {"cpu", "0.125", 125, NULL, NULL},
    {"cpu", "64", 64000, NULL, NULL},
    {"cpu", "0", 0, NULL, "'0' is not a number of cores, 0.01 or more"},
    {"cpu", "-2", 0, NULL, "'-2' is not a number of cores, 0.01 or more"},
    {"cpu", "x", 0, NULL, "'x' is not a number of cores, 0.01 or more"},
    {"memory", "512", 512, NULL, NULL},
    {"memory", "1.5g", 1536, NULL, NULL},
    {"memory", "6291457b", 7, NULL, NULL},
    {"memory", "5", 0, NULL, "'5' is not MiB (512) or a size (1g), 6 MiB or more"},
    {"memory", "4294967296", 0, NULL, "'4294967296' is not MiB (512) or a size (1g), 6 MiB or more"},
    {"memory", "", 0, NULL, "'' is not MiB (512) or a size (1g), 6 MiB or more"},
    {"cidr_allowlist", "10.0.0.0/8, 2001:db8::/32", 0, "10.0.0.0/8|2001:db8::/32", NULL},
    {"outbound_cidr_allowlist", "1.2.3.4/32", 0, "1.2.3.4/32", NULL},
    {"cidr_allowlist", "10.0.0.0", 0, NULL, "'10.0.0.0' is not addresses such as 10.0.0.0/8 or 2001:db8::/32"},
    {"cidr_allowlist", "10.0.0.0/33", 0, NULL, "'10.0.0.0/33' is not addresses such as 10.0.0.0/8 or 2001:db8::/32"},
    {"cidr_allowlist", "::/129", 0, NULL, "'::/129' is not addresses such as 10.0.0.0/8 or 2001:db8::/32"},
    {"cidr_allowlist", "10.0.0/8", 0, NULL, "'10.0.0/8' is not addresses such as 10.0.0.0/8 or 2001:db8::/32"},
    {"cidr_allowlist", ",", 0, NULL, "',' is not addresses such as 10.0.0.0/8 or 2001:db8::/32"},
    {"region", "us-east, eu ,,", 0, "us-east|eu", NULL},
    {"region", " , ", 0, NULL, "' , ' is not a list that is not empty"},
    {"sync.exclude", "a,b\nc d \n", 0, "a,b|c d", NULL},
    {"sync.conflict", "host", 0, NULL, NULL},
    {"sync.conflict", "ask", 0, NULL, "'ask' is not one of host|container|fail"},
    {"sync.conflict", "host|container", 0, NULL, "'host|container' is not one of host|container|fail"},
    {"domain_allowlist", "example.com, *.x.org, *", 0, "example.com|*.x.org|*", NULL},
    {"domain_allowlist", "*x.org", 0, NULL, "'*x.org' is not host names such as example.com or *.example.com"},
    {"domain_allowlist", "https://x.org", 0, NULL,
     "'https://x.org' is not host names such as example.com or *.example.com"},
    {"sandbox_env", "A=1,B=", 0, "A=1|B=", NULL},
    {"sandbox_env", "A=1,2\nB=3", 0, "A=1,2|B=3", NULL},
    {"sandbox_env", "A", 0, NULL, "'A' is not NAME=VALUE, or several, a line for each"},
    {"sandbox_env", "1A=x", 0, NULL, "'1A=x' is not NAME=VALUE, or several, a line for each"},
    {"encrypted_ports", "80, 8000", 0, "80|8000", NULL},
    {"encrypted_ports", "0", 0, NULL, "'0' is not ports from 1 to 65535, each once"},
    {"h2_ports", "65536", 0, NULL, "'65536' is not ports from 1 to 65535, each once"},
    {"unencrypted_ports", "80,80", 0, NULL, "'80,80' is not ports from 1 to 65535, each once"},
    {"unencrypted_ports", "80-81", 0, NULL, "'80-81' is not ports from 1 to 65535, each once"},
    {"gpu", "T4", 0, NULL, NULL},
    {"gpu", "A100-80GB:8", 8, NULL, NULL},
    {"gpu", "H100!:2", 2, NULL, NULL},
    {"gpu", "T4:0", 0, NULL, "'T4:0' is not TYPE or TYPE:COUNT with a count from 1 to 64"},
    {"gpu", "T4:65", 65, NULL, "'T4:65' is not TYPE or TYPE:COUNT with a count from 1 to 64"},
    {"gpu", ":1", 0, NULL, "':1' is not TYPE or TYPE:COUNT with a count from 1 to 64"},
    {"gpu", "T 4", 0, NULL, "'T 4' is not TYPE or TYPE:COUNT with a count from 1 to 64"},
    {"app", "My-App_1.x", 0, NULL, NULL},
    {"app", "a b", 0, NULL, "'a b' is not up to 64 letters, digits, '-', '_', '.', and not the form of an App's id"},
    {"app", "ap-0123456789abcdefABCDEF", 0, NULL,
     "'ap-0123456789abcdefABCDEF' is not up to 64 letters, digits, '-', '_', '.', and not the form of an App's id"},
    {"cloud", "", 0, NULL, "'' is not a text that is not empty"},
    {"cloud", "oci", 0, NULL, NULL},
    {"", "1", 0, NULL, "there is no Modal option ''"},
    {"TIMEOUT", "1", 0, NULL, "there is no Modal option 'TIMEOUT'"},
    {"time_out", "1", 0, NULL, "there is no Modal option 'time_out'; did you mean 'timeout'?"},
    {"sync_exclude", "1", 0, NULL, "there is no Modal option 'sync_exclude'; did you mean 'sync.exclude'?"},
};

static void test_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cleanup_with(modal_options_clear) struct modal_options o;
        cleanup_err struct err err = ERR_INIT;
        enum modal_key key = modal_key_find(table[i].key);
        int rc;

        modal_options_init(&o);
        rc = modal_options_set(&o, MODAL_FROM_LABEL, "x", table[i].key, table[i].value, &err);
        if (table[i].message) {
            if (rc == 0)
                fail_msg("%s='%s' was accepted", table[i].key, table[i].value);
            assert_memory_equal(err.msg, "x: ", 3);
            assert_string_equal(err.msg + 3, table[i].message);
            continue;
        }
        if (rc < 0)
            fail_msg("%s", err.msg);
        assert_true(modal_given(&o, key));
        assert_int_equal(modal_int(&o, key), table[i].number);
        if (table[i].list) {
            cleanup_buf struct buf all = BUF_INIT(LIMIT_CONFIG_FILE);

            for (size_t k = 0; k < modal_list(&o, key)->len; k++)
                buf_addf(&all, "%s%s", k ? "|" : "", modal_list(&o, key)->items[k]);
            assert_string_equal(all.data, table[i].list);
        }
    }
}

/* The table itself: sorted, complete, and its defaults are values of their own types. */
static void test_keys(void **state)
{
    cleanup_with(modal_options_clear) struct modal_options o;

    (void)state;
    modal_options_init(&o);
    for (enum modal_key k = 0; k < MODAL_KEY_MAX; k++) {
        assert_non_null(modal_keys[k].name);
        assert_non_null(modal_keys[k].help);
        assert_non_null(modal_keys[k].where);
        assert_true(k == 0 || strcmp(modal_keys[k - 1].name, modal_keys[k].name) < 0);
        assert_int_equal(modal_key_find(modal_keys[k].name), k);
        assert_int_equal(modal_str(&o, k) != NULL, modal_keys[k].def != NULL);
        assert_false(modal_given(&o, k));
    }
    assert_int_equal(modal_int(&o, MODAL_KEY_TIMEOUT), 86400);
    assert_int_equal(modal_int(&o, MODAL_KEY_ORPHAN_GRACE), 600);
    assert_string_equal(modal_str(&o, MODAL_KEY_APP), "atp-docker");
    assert_int_equal(modal_options_check(&o, NULL), 0);
}

/* Whichever comes first, the higher source stays; of one source the later. */
static void test_precedence(void **state)
{
    static const enum modal_source sources[] = {MODAL_FROM_PROFILE, MODAL_FROM_ENV, MODAL_FROM_X_TOP,
                                                MODAL_FROM_X_SERVICE, MODAL_FROM_LABEL};

    (void)state;
    for (size_t hi = 0; hi < 5; hi++) {
        for (size_t lo = 0; lo <= hi; lo++) {
            cleanup_with(modal_options_clear) struct modal_options up, down;

            modal_options_init(&up);
            modal_options_init(&down);
            modal_options_set(&up, sources[lo], "lo", "timeout", "10", NULL);
            modal_options_set(&up, sources[hi], "hi", "timeout", "20", NULL);
            modal_options_set(&down, sources[hi], "hi", "timeout", "20", NULL);
            modal_options_set(&down, sources[lo], "lo", "timeout", "10", NULL);
            assert_int_equal(modal_int(&up, MODAL_KEY_TIMEOUT), 20);
            assert_int_equal(modal_int(&down, MODAL_KEY_TIMEOUT), hi == lo ? 10 : 20);
        }
    }
}

static void test_spellings(void **state)
{
    cleanup_with(modal_options_clear) struct modal_options o;
    cleanup_strlist struct strlist labels = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    char *const env[] = {VAR("ATP_DOCKER_MODAL_SYNC_EXCLUDE=a"), VAR("ATP_DOCKER_MODAL_VOLUMES_=x"), NULL};
    char *const good[] = {
        VAR("ATP_DOCKER_MODAL_SYNC_EXCLUDE=a"), VAR("ATP_DOCKER_MODAL_"),           VAR("ATP_DOCKER_MODAL_=x"),
        VAR("ATP_DOCKER_MODAL_NONSENSE="),      VAR("XATP_DOCKER_MODAL_TIMEOUT=1"), NULL};

    (void)state;
    modal_options_init(&o);
    assert_int_equal(modal_options_from_env(&o, env, &err), -1);
    assert_string_equal(err.msg,
                        "ATP_DOCKER_MODAL_VOLUMES_: there is no Modal option 'volumes_'; did you mean 'volumes'?");
    assert_int_equal(modal_options_from_env(&o, good, NULL), 0);
    assert_string_equal(modal_list(&o, MODAL_KEY_SYNC_EXCLUDE)->items[0], "a");
    assert_int_equal(modal_int(&o, MODAL_KEY_TIMEOUT), 86400);
    strlist_add(&labels, "modal=1");
    strlist_add(&labels, "amodal.timeout=1");
    strlist_add(&labels, "modal.verbose=1");
    assert_int_equal(modal_options_from_labels(&o, &labels, NULL), 0);
    assert_true(modal_bool(&o, MODAL_KEY_VERBOSE));
    assert_int_equal(modal_int(&o, MODAL_KEY_TIMEOUT), 86400);
    strlist_add(&labels, "modal.=1");
    assert_int_equal(modal_options_from_labels(&o, &labels, NULL), -1);
}

/* Every key is either carried out or refused by name. */
static void test_refusals(void **state)
{
    static const char *const samples[] = {"1", "aws", "host", "10.0.0.0/8", "512", "native", "A=1"};

    (void)state;
    for (enum modal_key k = 0; k < MODAL_KEY_MAX; k++) {
        cleanup_with(modal_options_clear) struct modal_options o;
        cleanup_err struct err err = ERR_INIT;
        size_t i = 0;

        modal_options_init(&o);
        while (i < 7 && modal_options_set(&o, MODAL_FROM_LABEL, "label", modal_keys[k].name, samples[i], NULL) < 0)
            i++;
        assert_true(i < 7);
        if (k == MODAL_KEY_ENVIRONMENT)
            continue; /* a whole command's: see test_contradictions */
        assert_int_equal(modal_options_check(&o, &err), modal_keys[k].carried_out ? 0 : -1);
        if (!modal_keys[k].carried_out)
            assert_memory_equal(err.msg, "label is not carried out by atp-docker yet (", 44);
    }
}

/* What excludes each other, told by both spellings. */
static void test_contradictions(void **state)
{
    static const struct {
        const char *a, *a_value, *b, *b_value, *message;
    } cases[] = {
        {"block_network", "1", "cidr_allowlist", "10.0.0.0/8",
         "a and b exclude each other: a blocked network has no "
         "addresses to allow"},
        {"block_network", "1", "domain_allowlist", "x.org",
         "a and b exclude each other: a blocked network has no "
         "addresses to allow"},
        {"block_network", "1", "h2_ports", "80",
         "a and b exclude each other: a blocked network cannot be reached "
         "from outside"},
        {"block_network", "1", "inbound_cidr_allowlist", "10.0.0.0/8",
         "a and b exclude each other: a blocked network "
         "cannot be reached from outside"},
        {"encrypted_ports", "1,80", "h2_ports", "80", "a and b both have port 80: a port has a tunnel of one kind"},
        {"environment", "dev", "app", "x",
         "a: a Modal environment is that of a whole command: set ATP_DOCKER_MODAL_ENVIRONMENT or MODAL_ENVIRONMENT"},
        {"block_network", "0", "h2_ports", "80", NULL},
        {"encrypted_ports", "81", "unencrypted_ports", "80", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_with(modal_options_clear) struct modal_options o;
        cleanup_err struct err err = ERR_INIT;

        modal_options_init(&o);
        assert_int_equal(modal_options_set(&o, MODAL_FROM_LABEL, "a", cases[i].a, cases[i].a_value, NULL), 0);
        assert_int_equal(modal_options_set(&o, MODAL_FROM_X_TOP, "b", cases[i].b, cases[i].b_value, NULL), 0);
        assert_int_equal(modal_options_check(&o, &err), cases[i].message ? -1 : 0);
        if (cases[i].message)
            assert_string_equal(err.msg, cases[i].message);
    }
}

/* --gpus says how many, modal.gpu of which type. */
static void test_gpus(void **state)
{
    static const struct {
        const char *word, *modal, *gpu;
    } cases[] = {
        {"all", NULL, "ANY"},
        {"1", NULL, "ANY"},
        {"2", NULL, "ANY:2"},
        {"0", NULL, NULL},
        {"0", "T4", "T4"},
        {"all", "H100:4", "H100:4"},
        {"2", "H100:4", "H100:2"},
        {"1", "H100:4", "H100"},
        {"-1", "T4", "T4"},
        {"count=3,capabilities=gpu", NULL, "ANY:3"},
        {"\"device=0,2\"", NULL, "ANY:2"},
        {"device=0", NULL, "ANY"},
        {"driver=nvidia", NULL, "ANY"},
        {"options=a=b", NULL, "!"},
        {"65", NULL, "!"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_with(modal_options_clear) struct modal_options o;
        bool refused = cases[i].gpu && cases[i].gpu[0] == '!';

        modal_options_init(&o);
        if (cases[i].modal)
            assert_int_equal(modal_options_set(&o, MODAL_FROM_LABEL, "a", "gpu", cases[i].modal, NULL), 0);
        if (modal_options_gpus(&o, cases[i].word, NULL) != (refused ? -1 : 0))
            fail_msg("--gpus %s", cases[i].word);
        if (refused)
            continue;
        if (cases[i].gpu)
            assert_string_equal(modal_str(&o, MODAL_KEY_GPU), cases[i].gpu);
        else
            assert_null(modal_str(&o, MODAL_KEY_GPU));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),    cmocka_unit_test(test_keys),     cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_spellings), cmocka_unit_test(test_refusals), cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_gpus),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
