/* link: atp_proto */
#include "backends/proto/api.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/*
 * Bytes worked out by hand from the field tables of the protocol: key = number << 3 | wire type, then the value. They
 * hold the .proto files to the numbers, and the generator to its promise of presence.
 */

/* The packed form must be exactly these bytes. */
static void assert_packs(const ProtobufCMessage *m, const void *want, size_t len)
{
    uint8_t got[512];

    assert_int_equal(protobuf_c_message_get_packed_size(m), len);
    assert_int_equal(protobuf_c_message_pack(m, got), len);
    assert_memory_equal(got, want, len);
}

#define ASSERT_PACKS(message, ...)                                                                                     \
    do {                                                                                                               \
        const uint8_t want_[] = {__VA_ARGS__};                                                                         \
        assert_packs(&(message)->base, want_, sizeof(want_));                                                          \
    } while (0)

/* An exit code of 0 is sent, and told apart from "still running". */
static void exit_status_presence(void **state)
{
    Modal__TaskCommandRouter__TaskExecWaitResponse w = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_WAIT_RESPONSE__INIT;
    Modal__TaskCommandRouter__TaskExecWaitResponse *back;
    const uint8_t zero[] = {0x08, 0x00}, killed[] = {0x10, 0x09};

    (void)state;
    assert_packs(&w.base, "", 0);
    w.exit_status_case = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_WAIT_RESPONSE__EXIT_STATUS_CODE;
    w.code = 0;
    ASSERT_PACKS(&w, 0x08, 0x00);

    back = modal__task_command_router__task_exec_wait_response__unpack(NULL, 0, zero);
    assert_non_null(back);
    assert_int_equal(back->exit_status_case, MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_WAIT_RESPONSE__EXIT_STATUS__NOT_SET);
    modal__task_command_router__task_exec_wait_response__free_unpacked(back, NULL);

    back = modal__task_command_router__task_exec_wait_response__unpack(NULL, sizeof(zero), zero);
    assert_int_equal(back->exit_status_case, MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_WAIT_RESPONSE__EXIT_STATUS_CODE);
    assert_int_equal(back->code, 0);
    modal__task_command_router__task_exec_wait_response__free_unpacked(back, NULL);

    back = modal__task_command_router__task_exec_wait_response__unpack(NULL, sizeof(killed), killed);
    assert_int_equal(back->exit_status_case, MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_WAIT_RESPONSE__EXIT_STATUS_SIGNAL);
    assert_int_equal(back->signal, 9);
    modal__task_command_router__task_exec_wait_response__free_unpacked(back, NULL);
}

/* The result that is absent while a sandbox runs, and a result that is there with nothing in it. */
static void result_presence(void **state)
{
    const uint8_t running[] = {0x12, 0x00}, present[] = {0x0a, 0x00};
    Modal__Client__SandboxWaitResponse *r;

    (void)state;
    r = modal__client__sandbox_wait_response__unpack(NULL, sizeof(running), running);
    assert_null(r->result);
    assert_non_null(r->metadata);
    modal__client__sandbox_wait_response__free_unpacked(r, NULL);
    r = modal__client__sandbox_wait_response__unpack(NULL, sizeof(present), present);
    assert_non_null(r->result);
    assert_false(r->result->has_status);
    modal__client__sandbox_wait_response__free_unpacked(r, NULL);
}

/* TaskExecStart: repeated argv, enum values, a map as entries. */
static void exec_start(void **state)
{
    Modal__TaskCommandRouter__TaskExecStartRequest m = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_START_REQUEST__INIT;
    Modal__Client__StringEntry e = MODAL__CLIENT__STRING_ENTRY__INIT, *env[] = {&e};
    char *argv[] = {(char *)"a", (char *)""};

    (void)state;
    m.task_id = (char *)"t";
    m.exec_id = (char *)"x";
    m.n_command_args = 2;
    m.command_args = argv;
    m.has_stdout_config = 1;
    m.stdout_config = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDOUT_CONFIG__TASK_EXEC_STDOUT_CONFIG_PIPE;
    m.has_timeout_secs = 1;
    m.timeout_secs = 300;
    e.key = (char *)"K";
    e.value = (char *)"v";
    m.n_env = 1;
    m.env = env;
    ASSERT_PACKS(&m, 0x0a, 1, 't', 0x12, 1, 'x', 0x1a, 1, 'a', 0x1a, 0, 0x20, 1, 0x30, 0xac, 0x02, 0x62, 6, 0x0a, 1,
                 'K', 0x12, 1, 'v');
}

/* Field numbers above 15 take two key bytes: network_access 22, name 30, idle_timeout_secs 33, options 41. */
static void sandbox_definition(void **state)
{
    Modal__Client__Sandbox s = MODAL__CLIENT__SANDBOX__INIT;
    Modal__Client__NetworkAccess n = MODAL__CLIENT__NETWORK_ACCESS__INIT;
    Modal__Client__PortSpecs ports = MODAL__CLIENT__PORT_SPECS__INIT;
    Modal__Client__StringEntry e = MODAL__CLIENT__STRING_ENTRY__INIT, *options[] = {&e};

    (void)state;
    s.image_id = (char *)"im";
    s.has_timeout_secs = 1;
    s.timeout_secs = 300;
    s.open_ports_oneof_case = MODAL__CLIENT__SANDBOX__OPEN_PORTS_ONEOF_OPEN_PORTS;
    s.open_ports = &ports;
    n.has_network_access_type = 1;
    n.network_access_type = MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__OPEN;
    s.network_access = &n;
    s.name = (char *)"n";
    s.has_idle_timeout_secs = 1;
    s.idle_timeout_secs = 0;
    e.key = (char *)"a";
    e.value = (char *)"1";
    s.n_experimental_options_v2 = 1;
    s.experimental_options_v2 = options;
    ASSERT_PACKS(&s, 0x1a, 2, 'i', 'm', 0x38, 0xac, 0x02, 0xa2, 0x01, 0, 0xb2, 0x01, 2, 0x08, 1, 0xf2, 0x01, 1, 'n',
                 0x88, 0x02, 0, 0xca, 0x02, 6, 0x0a, 1, 'a', 0x12, 1, '1');
}

/* The newer path of BlobCreate, floats, 64-bit numbers, and the error details. */
static void assorted(void **state)
{
    Modal__Client__BlobCreateRequest b = MODAL__CLIENT__BLOB_CREATE_REQUEST__INIT;
    Modal__Client__RPCRetryPolicy p = MODAL__CLIENT__RPCRETRY_POLICY__INIT;
    Modal__Client__SandboxListRequest l = MODAL__CLIENT__SANDBOX_LIST_REQUEST__INIT;
    Modal__TaskCommandRouter__TaskExecStdinWriteRequest w =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_REQUEST__INIT;

    (void)state;
    b.has_content_length = 1;
    b.content_length = 1;
    ASSERT_PACKS(&b, 0x18, 1);
    p.has_retry_after_secs = 1;
    p.retry_after_secs = 1.5f;
    ASSERT_PACKS(&p, 0x0d, 0x00, 0x00, 0xc0, 0x3f);
    l.has_before_timestamp = 1;
    l.before_timestamp = 1.0;
    ASSERT_PACKS(&l, 0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f);
    w.has_offset = 1;
    w.offset = 1ull << 35;
    w.has_eof = 1;
    w.eof = 1;
    ASSERT_PACKS(&w, 0x18, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x28, 0x01);
}

/* A field that we do not know, as a newer server would send, is no error; cut-off bytes are. */
static void unknown_and_broken(void **state)
{
    const uint8_t unknown[] = {0x0a, 2, 'i', 'd', 0xfa, 0x3f, 3, 'n', 'e', 'w'}, cut[] = {0x0a, 5, 'i'};
    Modal__Client__AppGetOrCreateResponse *r;

    (void)state;
    r = modal__client__app_get_or_create_response__unpack(NULL, sizeof(unknown), unknown);
    assert_non_null(r);
    assert_string_equal(r->app_id, "id");
    modal__client__app_get_or_create_response__free_unpacked(r, NULL);
    assert_null(modal__client__app_get_or_create_response__unpack(NULL, sizeof(cut), cut));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_status_presence), cmocka_unit_test(result_presence), cmocka_unit_test(exec_start),
        cmocka_unit_test(sandbox_definition),   cmocka_unit_test(assorted),        cmocka_unit_test(unknown_and_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
