/* link: atp_translate */
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "translate/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    struct route_facts facts;
    int backend; /* -1 = error */
    bool asks;   /* route_needs_docker */
    const char *text;
} table[] = {
    /* auto */
    {{.setting = BACKEND_AUTO},
     BACKEND_LOCAL,
     false,
     "no Modal credentials, and there is no other docker on this machine"},
    {{.credentials_missing = "neither A nor B"},
     BACKEND_LOCAL,
     false,
     "no Modal credentials (neither A nor B), and there is no other docker on this machine"},
    {{.docker_program = true, .credentials_missing = "none"},
     BACKEND_LOCAL,
     true,
     "no Modal credentials (none), and no docker daemon answers"},
    {{.docker_program = true, .docker_answers = true, .credentials_missing = "none"},
     BACKEND_DOCKER,
     true,
     "no Modal credentials (none), and a docker daemon answers"},
    {{.docker_answers = true, .credentials_missing = "none"},
     BACKEND_LOCAL,
     false,
     "no Modal credentials (none), and there is no other docker on this machine"},
    {{.credentials_from = "profile work", .docker_program = true, .docker_answers = true},
     BACKEND_MODAL,
     false,
     "Modal credentials were found: profile work"},
    /* a daemon that is named */
    {{.docker_host = "tcp://h:1", .docker_host_from = "-H", .docker_program = true},
     BACKEND_DOCKER,
     false,
     "-H names the daemon tcp://h:1"},
    {{.docker_host = "tcp://h:1", .docker_program = true, .credentials_from = "x"},
     BACKEND_DOCKER,
     false,
     "DOCKER_HOST names the daemon tcp://h:1"},
    {{.docker_host = "tcp://h:1", .docker_host_from = "--context"},
     -1,
     false,
     "--context names the daemon tcp://h:1, but there is no other docker on the PATH to hand the command to; "
     "ATP_DOCKER_REAL "
     "names one"},
    {{.setting = BACKEND_LOCAL,
      .setting_from = "ATP_DOCKER_BACKEND",
      .docker_host = "tcp://h:1",
      .docker_program = true},
     BACKEND_LOCAL,
     false,
     "ATP_DOCKER_BACKEND asks for the engine on this machine"},
    {{.setting = BACKEND_DOCKER, .setting_from = "s", .docker_host = "tcp://h:1", .docker_program = true},
     BACKEND_DOCKER,
     false,
     "DOCKER_HOST names the daemon tcp://h:1"},
    /* an explicit wish */
    {{.setting = BACKEND_MODAL, .setting_from = "config.yaml:3", .credentials_from = "env"},
     BACKEND_MODAL,
     false,
     "config.yaml:3 asks for Modal; credentials from env"},
    {{.setting = BACKEND_MODAL, .setting_from = "config.yaml:3", .credentials_missing = "no profile is active"},
     -1,
     false,
     "config.yaml:3 asks for Modal, but there are no credentials: no profile is active"},
    {{.setting = BACKEND_LOCAL, .setting_from = "E", .credentials_from = "env", .docker_program = true},
     BACKEND_LOCAL,
     false,
     "E asks for the engine on this machine"},
    {{.setting = BACKEND_DOCKER, .setting_from = "E", .docker_program = true},
     BACKEND_DOCKER,
     false,
     "E asks for the real docker"},
    {{.setting = BACKEND_DOCKER, .setting_from = "E", .credentials_from = "x"},
     -1,
     false,
     "E asks for docker, but there is no other docker on the PATH; ATP_DOCKER_REAL names one"},
};

static void test_routes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cleanup_with(route_clear) struct route r = {0};
        cleanup_err struct err err = ERR_INIT;
        int rc = route_decide(&table[i].facts, &r, &err);

        assert_int_equal(route_needs_docker(&table[i].facts), table[i].asks);
        if (table[i].backend < 0) {
            assert_int_equal(rc, -1);
            assert_string_equal(err.msg, table[i].text);
            assert_int_equal(err.exit_code, 125);
            continue;
        }
        assert_int_equal(rc, 0);
        assert_int_equal(r.backend, table[i].backend);
        assert_string_equal(r.why, table[i].text);
    }
}

static void test_words(void **state)
{
    static const char *const bad[] = {"", "Modal", "podman", "local "};
    cleanup_err struct err err = ERR_INIT;
    enum backend b = BACKEND_MAX;

    (void)state;
    for (enum backend want = 0; want < BACKEND_MAX; want++) {
        assert_int_equal(backend_parse(backend_name(want), "x", &b, NULL), 0);
        assert_int_equal(b, want);
    }
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(backend_parse(bad[i], "ATP_DOCKER_BACKEND", &b, &err), -1);
    assert_string_equal(err.msg,
                        "ATP_DOCKER_BACKEND: 'local ' is not a back end; it is one of modal, local, docker, auto");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_routes), cmocka_unit_test(test_words)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
