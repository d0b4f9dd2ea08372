/* link: atp_translate */
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/modal_pod.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* One container: up to three options, each of a source. */
struct asked {
    const char *who;
    struct {
        enum modal_source source;
        const char *key, *value;
    } said[3];
};

static void fill(struct modal_options *o, const struct asked *a)
{
    modal_options_init(o);
    for (size_t i = 0; i < 3 && a->said[i].key; i++)
        assert_int_equal(modal_options_set(o, a->said[i].source, "x", a->said[i].key, a->said[i].value, NULL), 0);
}

#define LABEL   MODAL_FROM_LABEL
#define SERVICE MODAL_FROM_X_SERVICE
#define TOP     MODAL_FROM_X_TOP
#define ENV     MODAL_FROM_ENV

/* The first settles the sandbox, the second may exist then too, the third comes later. */
static const struct {
    struct asked first, second, late;
    enum modal_key key;
    const char *value;   /* of the sandbox afterwards; NULL: nobody asked */
    const char *message; /* for late, a part of it; NULL: it can live there */
} cases[] = {
    {{"a", {{LABEL, "region", "us"}}}, {"b", {{0}}}, {"c", {{0}}}, MODAL_KEY_REGION, "us", NULL},
    {{"a", {{0}}},
     {"b", {{ENV, "region", "us,eu"}}},
     {"c", {{ENV, "region", "us\neu"}}},
     MODAL_KEY_REGION,
     "us\neu",
     NULL},
    {{"a", {{TOP, "region", "us"}}},
     {"b", {{SERVICE, "region", "eu"}}},
     {"c", {{TOP, "region", "us"}}},
     MODAL_KEY_REGION,
     "eu",
     NULL},
    {{"a", {{SERVICE, "region", "us"}}},
     {"b", {{LABEL, "region", "eu"}}},
     {"b", {{LABEL, "region", "eu"}}},
     MODAL_KEY_REGION,
     "us",
     "b asks for region 'eu' (x) and a for 'us'"},
    {{"a", {{0}}}, {"b", {{0}}}, {"c", {{ENV, "app", "mine"}}}, MODAL_KEY_APP, NULL, "c asks for app (x), but"},
    {{"a", {{0}}},
     {"b", {{LABEL, "verbose", "1"}}},
     {"c", {{LABEL, "verbose", "yes"}}},
     MODAL_KEY_VERBOSE,
     "true",
     NULL},
    {{"a", {{LABEL, "timeout", "60"}}},
     {"b", {{LABEL, "timeout", "90"}}},
     {"c", {{LABEL, "timeout", "90"}}},
     MODAL_KEY_TIMEOUT,
     "90",
     NULL},
    {{"a", {{LABEL, "timeout", "60"}}}, {"b", {{0}}}, {"c", {{0}}}, MODAL_KEY_TIMEOUT, "86400", NULL},
    {{"a", {{LABEL, "timeout", "60"}}},
     {"b", {{LABEL, "timeout", "50"}}},
     {"c", {{0}}},
     MODAL_KEY_TIMEOUT,
     "60",
     "c asks for timeout 86400, but the sandbox that its networks have was made for 60 seconds by a"},
    {{"a", {{LABEL, "gpu", "T4"}}},
     {"b", {{0}}},
     {"a", {{LABEL, "gpu", "T4"}}},
     MODAL_KEY_GPU,
     NULL,
     "a asks for gpu (x), which only a sandbox's main container can have"},
    /* ports */
    {{"a", {{LABEL, "h2_ports", "80"}}},
     {"b", {{LABEL, "h2_ports", "81"}}},
     {"b", {{LABEL, "h2_ports", "81"}}},
     MODAL_KEY_APP,
     NULL,
     NULL},
    {{"a", {{LABEL, "h2_ports", "80"}}},
     {"b", {{0}}},
     {"b", {{LABEL, "h2_ports", "80"}}},
     MODAL_KEY_APP,
     NULL,
     "b (h2_ports) and a (h2_ports) ask both for a tunnel to port 80"},
    {{"a", {{LABEL, "h2_ports", "80"}}},
     {"b", {{0}}},
     {"a", {{LABEL, "encrypted_ports", "80"}}},
     MODAL_KEY_APP,
     NULL,
     "a asks for port 80 in encrypted_ports, but"},
    {{"a", {{0}}}, {"b", {{0}}}, {"a", {{LABEL, "unencrypted_ports", "10611"}}}, MODAL_KEY_APP, NULL, "the hub's own"},
    {{"a", {{0}}}, {"b", {{0}}}, {"a", {{LABEL, "unencrypted_ports", "80"}}}, MODAL_KEY_APP, NULL, "was made without"},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_with(modal_options_clear) struct modal_options first, second, late;
        cleanup_with(modal_pod_clear) struct modal_pod p, again;
        cleanup_free char *text = NULL, *text_again = NULL;
        cleanup_err struct err err = ERR_INIT;
        int got;

        fill(&first, &cases[i].first);
        fill(&second, &cases[i].second);
        fill(&late, &cases[i].late);
        modal_pod_init(&p);
        modal_pod_take(&p, &first, cases[i].first.who, false);
        modal_pod_take(&p, &second, cases[i].second.who, false);
        text = modal_pod_text(&p);
        modal_pod_read(&again, text); /* as the state gives it back */
        text_again = modal_pod_text(&again);
        assert_string_equal(text, text_again);
        if (cases[i].value)
            assert_string_equal(again.values[cases[i].key].text, cases[i].value);
        else
            assert_null(again.values[cases[i].key].text);
        got = modal_pod_check(&again, &late, cases[i].late.who, &err);
        if (got != (cases[i].message ? -1 : 0) || (got < 0 && !strstr(err.msg, cases[i].message)))
            fail_msg("case %zu: %d %s", i, got, err.msg ? err.msg : "");
    }
}

/* A network's own options are above all; what a service says against them is refused. */
static void test_network(void **state)
{
    const struct asked network = {"n", {{LABEL, "cloud", "aws"}, {LABEL, "timeout", "60"}}};
    const struct asked plain = {"a", {{ENV, "cloud", "gcp"}}}, own = {"b", {{LABEL, "cloud", "gcp"}}};
    const struct asked longer = {"c", {{LABEL, "timeout", "61"}}};
    cleanup_with(modal_options_clear) struct modal_options o, a, b, c, made;
    cleanup_with(modal_pod_clear) struct modal_pod p;

    (void)state;
    modal_pod_init(&p);
    fill(&o, &network);
    fill(&a, &plain);
    fill(&b, &own);
    fill(&c, &longer);
    modal_pod_take(&p, &o, "n", true);
    modal_pod_take(&p, &a, "a", false);
    modal_pod_take(&p, &b, "b", false);
    assert_int_equal(modal_pod_check(&p, &a, "a", NULL), 0);
    assert_int_equal(modal_pod_check(&p, &b, "b", NULL), -1);
    assert_int_equal(modal_pod_check(&p, &c, "c", NULL), -1);
    modal_options_init(&made);
    modal_pod_apply(&p, &made);
    assert_string_equal(modal_str(&made, MODAL_KEY_CLOUD), "aws");
    assert_int_equal(modal_int(&made, MODAL_KEY_TIMEOUT), 60);
}

/* What the state holds may be anything. */
static void test_damaged(void **state)
{
    static const char *const texts[] = {
        NULL,
        "",
        "{",
        "[]",
        "{\"values\": 1, \"ports\": 2}",
        "{\"values\": {\"app\": 1, \"nonsense\": {}}}",
        "{\"ports\": [1, {}, {\"port\": 99999, \"key\": \"h2_ports\", \"who\": \"a\"}, {\"port\": 1, \"key\": \"x\", "
        "\"who\": \"a\"}]}"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cleanup_with(modal_pod_clear) struct modal_pod p;

        modal_pod_read(&p, texts[i]);
        assert_int_equal(p.len, 0);
        assert_null(p.values[MODAL_KEY_APP].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_network),
                                       cmocka_unit_test(test_damaged)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
