/* link: atp_grpc atp_proto atp_sys atp_base */
/* What a running sandbox offers beside execs, through the real engine: readiness, another outbound policy, tunnels. */
#include "tests/unit/engine_boxes.h"

#include <stdlib.h>

static bool has_network, gvisor;

/* Waits for readiness: the status; when it was in *ret_at. */
static int await_ready(const struct box *b, float seconds, double *ret_at)
{
    Modal__TaskCommandRouter__SandboxWaitUntilReadyTcrRequest r =
        MODAL__TASK_COMMAND_ROUTER__SANDBOX_WAIT_UNTIL_READY_TCR_REQUEST__INIT;
    Modal__TaskCommandRouter__SandboxWaitUntilReadyTcrResponse *response;
    void *got = NULL;
    int status;

    r.task_id = b->task;
    r.has_timeout = 1;
    r.timeout = seconds;
    status = router_call(b, "SandboxWaitUntilReady", &r,
                         &modal__task_command_router__sandbox_wait_until_ready_tcr_response__descriptor, &got);
    if (status != GRPC_OK)
        return status;
    response = got;
    *ret_at = response->ready_at;
    modal__task_command_router__sandbox_wait_until_ready_tcr_response__free_unpacked(response, NULL);
    return status;
}

static void test_ready_by_command(void **state)
{
    static const char *const words[] = {"/bin/sleep", "600", NULL};
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    Modal__Client__Probe probe = MODAL__CLIENT__PROBE__INIT;
    Modal__Client__Probe__ExecCommand command = MODAL__CLIENT__PROBE__EXEC_COMMAND__INIT;
    char *argv[] = {TEXT("sh"), TEXT("-c"), TEXT("echo x >>/tries; [ -e /go ]")};
    double at = 0, again = 0;
    struct box b;

    NEED_ENGINE();
    command.argv = argv;
    command.n_argv = 3;
    probe.probe_oneof_case = MODAL__CLIENT__PROBE__PROBE_ONEOF_EXEC_COMMAND;
    probe.exec_command = &command;
    def.readiness_probe = &probe;
    b = box_run(&def, words);
    assert_int_equal(await_ready(&b, 0.5, &at), GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(exec_shell(&b, "go", "echo >/go"), GRPC_OK);
    assert_int_equal(await_ready(&b, 10, &at), GRPC_OK);
    assert_true(at > 1e9);
    /* Once is for ever. */
    assert_int_equal(exec_shell(&b, "no", "busybox rm /go"), GRPC_OK);
    assert_int_equal(await_ready(&b, 10, &again), GRPC_OK);
    assert_true(at >= again && again >= at);
    assert_int_equal(exec_shell(&b, "tries", "busybox cp /tries /t; sleep 0.5; busybox cmp /t /tries"), GRPC_OK);
    assert_int_equal(exec_wait(&b, "tries"), 0);
    box_end(&b);
}

static void test_ready_by_port(void **state)
{
    static const char *const words[] = {
        "/bin/sh", "-c", "while ! [ -e /go ]; do sleep 0.1; done; busybox nc -ll -p 4321 -e /bin/true", NULL};
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    Modal__Client__Probe probe = MODAL__CLIENT__PROBE__INIT;
    double at = 0;
    struct box b;

    NEED_ENGINE();
    if (!has_network)
        skip();
    probe.probe_oneof_case = MODAL__CLIENT__PROBE__PROBE_ONEOF_TCP_PORT;
    probe.tcp_port = 4321;
    def.readiness_probe = &probe;
    b = box_run(&def, words);
    assert_int_equal(await_ready(&b, 0.5, &at), GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(exec_shell(&b, "go", "echo >/go"), GRPC_OK);
    assert_int_equal(await_ready(&b, 10, &at), GRPC_OK);
    box_end(&b);
}

static void test_probes_that_are_refused(void **state)
{
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    Modal__Client__Probe probe = MODAL__CLIENT__PROBE__INIT;
    Modal__Client__Probe__ExecCommand command = MODAL__CLIENT__PROBE__EXEC_COMMAND__INIT;
    double at = 0;
    struct box b;

    NEED_ENGINE();
    def.image_id = image_id;
    def.readiness_probe = &probe;
    assert_int_equal(box_create(&def, &b), GRPC_INVALID_ARGUMENT); /* neither */
    probe.probe_oneof_case = MODAL__CLIENT__PROBE__PROBE_ONEOF_EXEC_COMMAND;
    probe.exec_command = &command;
    assert_int_equal(box_create(&def, &b), GRPC_INVALID_ARGUMENT);
    probe.probe_oneof_case = MODAL__CLIENT__PROBE__PROBE_ONEOF_TCP_PORT;
    probe.tcp_port = 0;
    assert_int_equal(box_create(&def, &b), GRPC_INVALID_ARGUMENT);
    probe.tcp_port = 65536;
    assert_int_equal(box_create(&def, &b), GRPC_INVALID_ARGUMENT);
    probe.tcp_port = 80;
    probe.has_interval_ms = 1;
    assert_int_equal(box_create(&def, &b), GRPC_INVALID_ARGUMENT);
    b = box_asleep();
    assert_int_equal(await_ready(&b, 5, &at), GRPC_FAILED_PRECONDITION);
    box_end(&b);
}

/* A wait ends with the sandbox. */
static void test_never_ready(void **state)
{
    static const char *const words[] = {"/bin/sleep", "1", NULL};
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    Modal__Client__Probe probe = MODAL__CLIENT__PROBE__INIT;
    double at = 0;
    struct box b;

    NEED_ENGINE();
    probe.probe_oneof_case = MODAL__CLIENT__PROBE__PROBE_ONEOF_TCP_PORT;
    probe.tcp_port = 4321;
    def.readiness_probe = &probe;
    b = box_run(&def, words);
    assert_int_equal(await_ready(&b, 15, &at), GRPC_NOT_FOUND);
    box_wait(&b, NULL);
    box_clear(&b);
}

/* ---- the outbound policy ---- */

static int set_network(const struct box *b, int type, const char *cidr)
{
    Modal__TaskCommandRouter__TaskSetNetworkAccessRequest r =
        MODAL__TASK_COMMAND_ROUTER__TASK_SET_NETWORK_ACCESS_REQUEST__INIT;
    Modal__Client__NetworkAccess access = MODAL__CLIENT__NETWORK_ACCESS__INIT;
    char *cidrs[] = {TEXT(cidr)};

    r.task_id = b->task;
    r.network_access = &access;
    access.has_network_access_type = 1;
    access.network_access_type = (Modal__Client__NetworkAccess__NetworkAccessType)type;
    access.allowed_cidrs = cidrs;
    access.n_allowed_cidrs = cidr != NULL;
    return router_call(b, "TaskSetNetworkAccess", &r, NULL, NULL);
}

enum { OPEN = 1, BLOCKED = 2, ALLOWLIST = 3 };

static void test_network_policy(void **state)
{
    static const char probe[] = "busybox nc -w 1 192.0.2.1 80 </dev/null; exit 0";
    Modal__Client__NetworkAccess access = MODAL__CLIENT__NETWORK_ACCESS__INIT;
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    static const char *const words[] = {"/bin/sleep", "600", NULL};
    struct box b;

    NEED_ENGINE();
    if (!has_network)
        skip();
    b = box_asleep();
    assert_int_equal(set_network(&b, BLOCKED, NULL), GRPC_INVALID_ARGUMENT);
    assert_int_equal(set_network(&b, ALLOWLIST, "everybody"), GRPC_INVALID_ARGUMENT);
    assert_int_equal(set_network(&b, 77, NULL), GRPC_INVALID_ARGUMENT);
    assert_int_equal(set_network(&b, ALLOWLIST, NULL), GRPC_OK);
    assert_int_equal(exec_shell(&b, "probe", probe), GRPC_OK);
    assert_int_equal(exec_wait(&b, "probe"), 0);
    assert_int_equal(set_network(&b, ALLOWLIST, "192.0.2.0/24"), GRPC_OK);
    assert_int_equal(set_network(&b, OPEN, NULL), GRPC_OK);
    assert_int_equal(set_network(&b, OPEN, NULL), GRPC_OK);
    box_end(&b);
    /* One that was made without a network has none to change. */
    access.has_network_access_type = 1;
    access.network_access_type = (Modal__Client__NetworkAccess__NetworkAccessType)BLOCKED;
    def.network_access = &access;
    b = box_run(&def, words);
    assert_int_equal(set_network(&b, OPEN, NULL), GRPC_FAILED_PRECONDITION);
    box_end(&b);
}

/* ---- tunnels ---- */

struct tunnel {
    unsigned port, raw; /* on this machine; raw 0 = none */
};

static int get_tunnels(const struct box *b, struct tunnel *ret, size_t len)
{
    Modal__Client__SandboxGetTunnelsRequest r = MODAL__CLIENT__SANDBOX_GET_TUNNELS_REQUEST__INIT;
    Modal__Client__SandboxGetTunnelsResponse *response;
    void *got = NULL;
    int status;

    r.sandbox_id = b->id;
    r.has_timeout = 1;
    r.timeout = 10;
    status =
        engine_call(shared, "SandboxGetTunnelsV2", &r, &modal__client__sandbox_get_tunnels_response__descriptor, &got);
    if (status != GRPC_OK)
        return status;
    response = got;
    assert_int_equal(response->result->status, 1);
    assert_int_equal(response->n_tunnels, len);
    for (size_t i = 0; i < len; i++) {
        assert_string_equal(response->tunnels[i]->host, "127.0.0.1");
        assert_int_equal(response->tunnels[i]->container_port, 8000 + i);
        ret[i] = (struct tunnel){.port = response->tunnels[i]->port, .raw = response->tunnels[i]->unencrypted_port};
        assert_int_equal(response->tunnels[i]->has_unencrypted_port, ret[i].raw != 0);
    }
    modal__client__sandbox_get_tunnels_response__free_unpacked(response, NULL);
    return status;
}

/* What a program said; its exit code in *ret. Owned by caller. */
static char *output_of(const char *script, int *ret)
{
    FILE *p = popen(script, "re");
    struct buf out = BUF_INIT(16u << 20);
    char bytes[4096];
    size_t n;

    assert_non_null(p);
    while ((n = fread(bytes, 1, sizeof(bytes), p)) > 0)
        buf_add(&out, bytes, n);
    *ret = pclose(p);
    return buf_detach(&out);
}

/* An encrypted port, one for h2, one that is raw too, and one where nobody listens; eight megabytes both ways. */
static void test_tunnels(void **state)
{
    static const char *const words[] = {"/bin/sh", "-c",
                                        "busybox nc -ll -p 8000 -e /bin/cat & busybox nc -ll -p 8001 -e /bin/cat & "
                                        "busybox nc -ll -p 8002 -e /bin/cat & sleep 600",
                                        NULL};
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    Modal__Client__PortSpecs specs = MODAL__CLIENT__PORT_SPECS__INIT;
    Modal__Client__PortSpec ports[4], *list[4];
    cleanup_free char *script = NULL, *text = NULL;
    struct tunnel tunnels[4];
    struct box b;
    int code;

    NEED_ENGINE();
    if (!has_network)
        skip();
    for (unsigned i = 0; i < 4; i++) {
        modal__client__port_spec__init(&ports[i]);
        ports[i].has_port = 1;
        ports[i].port = 8000 + i;
        list[i] = &ports[i];
    }
    ports[1].has_tunnel_type = 1;
    ports[1].tunnel_type = MODAL__CLIENT__TUNNEL_TYPE__TUNNEL_TYPE_H2;
    ports[2].has_unencrypted = ports[2].unencrypted = 1;
    specs.ports = list;
    specs.n_ports = 4;
    def.open_ports_oneof_case = MODAL__CLIENT__SANDBOX__OPEN_PORTS_ONEOF_OPEN_PORTS;
    def.open_ports = &specs;
    b = box_run(&def, words);
    assert_int_equal(get_tunnels(&b, tunnels, 4), GRPC_OK);
    assert_true(tunnels[0].port && tunnels[1].port && tunnels[2].port && tunnels[2].raw);
    assert_true(!tunnels[0].raw && !tunnels[1].raw);
    /* TLS offers what the port was opened for. */
    script = xasprintf(
        "for i in 1 2 3 4 5 6 7 8 9 10; do (echo hello; sleep 1) | timeout 5 openssl s_client -quiet -connect "
        "127.0.0.1:%u 2>/dev/null | grep hello && exit 0; sleep 0.2; done; exit 1",
        tunnels[0].port);
    text = output_of(script, &code);
    assert_string_equal(text, "hello\n");
    for (int i = 0; i < 3; i++) {
        free(script);
        free(text);
        script =
            xasprintf("timeout 5 openssl s_client -alpn h2,http/1.1 -connect 127.0.0.1:%u </dev/null 2>/dev/null | "
                      "grep -c 'ALPN protocol: %s'",
                      tunnels[i].port, i == 1 ? "h2" : "http/1.1");
        text = output_of(script, &code);
        assert_string_equal(text, "1\n");
    }
    free(script);
    free(text);
    script = xasprintf(
        "for i in 1 2 3 4 5; do head -c 8000000 /dev/zero | timeout 20 busybox nc -w 5 127.0.0.1 %u | wc -c | "
        "grep 8000000 && exit 0; sleep 0.3; done",
        tunnels[2].raw);
    text = output_of(script, &code);
    if (!gvisor) /* whose sockets break when a program sends a file from one to another, as this cat does */
        assert_string_equal(text, "8000000\n");
    /* Nobody listens there: closed at once. */
    free(script);
    free(text);
    script = xasprintf(
        "timeout 5 openssl s_client -connect 127.0.0.1:%u </dev/null >/dev/null 2>&1; c=$?; [ $c != 0 ] && [ $c "
        "!= 124 ] && echo closed",
        tunnels[3].port);
    text = output_of(script, &code);
    assert_string_equal(text, "closed\n");
    box_end(&b);
    free(script);
    free(text);
    script = xasprintf("busybox nc -w 2 127.0.0.1 %u </dev/null && echo open; true", tunnels[2].raw);
    text = output_of(script, &code);
    assert_string_equal(text, "");
}

static void test_ports_that_are_refused(void **state)
{
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    Modal__Client__PortSpecs specs = MODAL__CLIENT__PORT_SPECS__INIT;
    Modal__Client__PortSpec one = MODAL__CLIENT__PORT_SPEC__INIT, *list[] = {&one, &one};
    struct tunnel none;
    struct box b;

    NEED_ENGINE();
    specs.ports = list;
    specs.n_ports = 1;
    one.has_port = 1;
    def.image_id = image_id;
    def.open_ports_oneof_case = MODAL__CLIENT__SANDBOX__OPEN_PORTS_ONEOF_OPEN_PORTS;
    def.open_ports = &specs;
    assert_int_equal(box_create(&def, &b), GRPC_INVALID_ARGUMENT);
    one.port = 65536;
    assert_int_equal(box_create(&def, &b), GRPC_INVALID_ARGUMENT);
    one.port = 80;
    specs.n_ports = 2;
    assert_int_equal(box_create(&def, &b), GRPC_INVALID_ARGUMENT);
    specs.n_ports = 1;
    def.has_block_network = def.block_network = 1;
    assert_int_equal(box_create(&def, &b), GRPC_INVALID_ARGUMENT);
    b = box_asleep();
    assert_int_equal(get_tunnels(&b, &none, 0), GRPC_OK);
    box_end(&b);
}

static int begin_tasks(void **state)
{
    const char *runtime = getenv("ATP_ENGINE_RUNTIME");
    int result = begin(state);
    struct box b;

    gvisor = runtime && strstr(runtime, "runsc");

    if (result == 0 && image_id) {
        b = box_asleep();
        assert_int_equal(exec_shell(&b, "net", "busybox ip -4 -o addr show dev eth0 | busybox grep -q inet"), GRPC_OK);
        has_network = exec_wait(&b, "net") == 0;
        box_end(&b);
    }
    return result;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready_by_command),        cmocka_unit_test(test_ready_by_port),
        cmocka_unit_test(test_probes_that_are_refused), cmocka_unit_test(test_never_ready),
        cmocka_unit_test(test_network_policy),          cmocka_unit_test(test_tunnels),
        cmocka_unit_test(test_ports_that_are_refused),
    };

    return cmocka_run_group_tests(tests, begin_tasks, end);
}
