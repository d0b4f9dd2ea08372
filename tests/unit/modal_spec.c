/* link: atp_modal atp_grpc atp_proto atp_sys atp_base */
#include "backends/modal/sandbox.h"

#include "backends/modal/sandbox_spec.h"
#include "compat/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* The least that a sandbox needs: what is sent also when nothing was asked for, and what is left out. */
static void smallest(void **state)
{
    struct modal_sandbox_spec spec = {.app_id = "ap-1", .image_id = "im-1"};
    struct sandbox_message m;

    (void)state;
    assert_int_equal(sandbox_message_make(&m, &spec, NULL), 0);
    assert_int_equal(m.sandbox.timeout_secs, 300);
    assert_true(m.sandbox.has_timeout_secs);
    assert_int_equal(m.sandbox.network_access->network_access_type,
                     MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__OPEN);
    assert_int_equal(m.sandbox.open_ports_oneof_case, MODAL__CLIENT__SANDBOX__OPEN_PORTS_ONEOF_OPEN_PORTS);
    assert_int_equal(m.sandbox.open_ports->n_ports, 0);
    assert_non_null(m.sandbox.resources->gpu_config);
    assert_null(m.sandbox.resources->gpu_config->gpu_type);
    assert_false(m.sandbox.resources->gpu_config->has_count);
    assert_false(m.sandbox.resources->has_memory_mb || m.sandbox.resources->has_milli_cpu_max);
    assert_false(m.sandbox.has_idle_timeout_secs || m.sandbox.has_verbose || m.sandbox.has_i6pn_enabled);
    assert_null(m.sandbox.name);
    assert_null(m.sandbox.workdir);
    assert_null(m.sandbox.pty_info);
    assert_null(m.sandbox.scheduler_placement);
    sandbox_message_clear(&m);
}

/* Everything at once, and each thing where it belongs. */
static void largest(void **state)
{
    const struct modal_port ports[] = {{80, MODAL_PORT_ENCRYPTED}, {81, MODAL_PORT_H2}, {82, MODAL_PORT_UNENCRYPTED}};
    const struct modal_volume volumes[] = {{"vo-1", "/data", NULL, false}, {"vo-2", "/ro", "sub", true}};
    const struct modal_pty pty = {.rows = 24, .cols = 80};
    struct modal_sandbox_spec spec = {
        .app_id = "ap-1",
        .image_id = "im-1",
        .name = "box",
        .workdir = "/w",
        .cloud = "aws",
        .gpu = "h100:2",
        .timeout_s = 86400,
        .idle_timeout_s = 60,
        .cpu_milli = 125,
        .cpu_milli_max = 2000,
        .memory_mib = 128,
        .memory_mib_max = 512,
        .ports = ports,
        .port_count = 3,
        .volumes = volumes,
        .volume_count = 2,
        .pty = &pty,
        .verbose = true,
        .v1 = true,
    };
    struct sandbox_message m;

    (void)state;
    strlist_add(&spec.args, "sh");
    strlist_add(&spec.regions, "us-east");
    strlist_add(&spec.options, "enable_docker=true");
    assert_int_equal(sandbox_message_make(&m, &spec, NULL), 0);
    assert_int_equal(m.sandbox.n_entrypoint_args, 1);
    assert_string_equal(m.sandbox.name, "box");
    assert_string_equal(m.gpu.gpu_type, "H100");
    assert_int_equal(m.gpu.count, 2);
    assert_int_equal(m.sandbox.idle_timeout_secs, 60);
    assert_int_equal(m.resources.milli_cpu, 125);
    assert_int_equal(m.resources.milli_cpu_max, 2000);
    assert_int_equal(m.resources.memory_mb, 128);
    assert_int_equal(m.resources.memory_mb_max, 512);
    assert_int_equal(m.ports.n_ports, 3);
    assert_false(m.ports.ports[0]->unencrypted || m.ports.ports[0]->has_tunnel_type);
    assert_true(m.ports.ports[1]->has_tunnel_type);
    assert_true(m.ports.ports[2]->unencrypted);
    assert_int_equal(m.sandbox.n_volume_mounts, 2);
    assert_true(m.sandbox.volume_mounts[0]->allow_background_commits);
    assert_null(m.sandbox.volume_mounts[0]->sub_path);
    assert_false(m.sandbox.volume_mounts[0]->has_read_only);
    assert_true(m.sandbox.volume_mounts[1]->read_only);
    assert_string_equal(m.sandbox.scheduler_placement->regions[0], "us-east");
    assert_string_equal(m.sandbox.experimental_options_v2[0]->key, "enable_docker");
    assert_string_equal(m.sandbox.experimental_options_v2[0]->value, "true");
    assert_true(m.pty.no_terminate_on_idle_stdin);
    assert_string_equal(m.pty.env_term, "xterm-256color");
    sandbox_message_clear(&m);
    modal_sandbox_spec_clear(&spec);
}

/* Contradictions and nonsense, each refused with a sentence of its own. */
static void refused(void **state)
{
    const struct modal_port zero = {0, MODAL_PORT_ENCRYPTED}, one = {1, MODAL_PORT_ENCRYPTED};
    const struct modal_volume relative = {"vo-1", "data", NULL, false};
    const struct {
        struct modal_sandbox_spec spec;
        const char *text;
    } cases[] = {
        {{.workdir = "w"}, "not absolute"},
        {{.gpu = "T4"}, "GPU"},
        {{.gpu = "T4:", .v1 = true}, "invalid GPU"},
        {{.gpu = "T4:0", .v1 = true}, "invalid GPU"},
        {{.gpu = "T4:-1", .v1 = true}, "invalid GPU"},
        {{.gpu = "T4:1x", .v1 = true}, "invalid GPU"},
        {{.gpu = ":1", .v1 = true}, "invalid GPU"},
        {{.gpu = "T4:65", .v1 = true}, "invalid GPU"},
        {{.network = MODAL_NETWORK_BLOCKED, .ports = &one, .port_count = 1}, "blocked network"},
        {{.network = MODAL_NETWORK_BLOCKED, .i6pn = true}, "blocked network"},
        {{.ports = &zero, .port_count = 1}, "port 0"},
        {{.volumes = &relative, .volume_count = 1}, "not absolute"},
        {{.cpu_milli = 2, .cpu_milli_max = 1}, "CPU limit"},
        {{.memory_mib = 2, .memory_mib_max = 1}, "memory limit"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct sandbox_message m;
        struct err err = ERR_INIT;

        assert_int_equal(sandbox_message_make(&m, &cases[i].spec, &err), -1);
        assert_non_null(strstr(err.msg, cases[i].text));
        assert_int_equal(err.exit_code, 125);
        err_clear(&err);
        sandbox_message_clear(&m);
    }
}

/* Lists with the wrong network, an empty allow list, arguments at their limit and one above. */
static void lists_and_limits(void **state)
{
    struct modal_sandbox_spec spec = {.network = MODAL_NETWORK_ALLOWLIST};
    struct sandbox_message m;
    char *argument = calloc(1, 65538);

    (void)state;
    assert_int_equal(sandbox_message_make(&m, &spec, NULL), 0);
    assert_int_equal(m.network.network_access_type, MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__ALLOWLIST);
    assert_int_equal(m.network.n_allowed_cidrs + m.network.n_allowed_domains, 0);
    sandbox_message_clear(&m);
    strlist_add(&spec.cidrs, "10.0.0.0/8");
    spec.network = MODAL_NETWORK_OPEN;
    assert_int_equal(sandbox_message_make(&m, &spec, NULL), -1);
    sandbox_message_clear(&m);
    modal_sandbox_spec_clear(&spec);
    memset(argument, 'x', 65536);
    strlist_add(&spec.args, argument);
    assert_int_equal(sandbox_message_make(&m, &spec, NULL), 0);
    sandbox_message_clear(&m);
    strlist_add(&spec.args, "x");
    assert_int_equal(sandbox_message_make(&m, &spec, NULL), -1);
    sandbox_message_clear(&m);
    modal_sandbox_spec_clear(&spec);
    free(argument);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smallest),
        cmocka_unit_test(largest),
        cmocka_unit_test(refused),
        cmocka_unit_test(lists_and_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
