/* link: atp_modal atp_grpc atp_proto atp_sys atp_base atp_openssl */
#include "backends/modal/exec.h"

#include "backends/modal/client.h"
#include "backends/modal/internal.h"
#include "backends/modal/task.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"
#include "tests/unit/grpc_server.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

/*
 * The duplex stream of an exec against a router that plays a script: calls that overtake each other, connections that
 * break at every place, refusals. The "process" of this router is a file of bytes and a sink.
 */

#define OUT_LEN 300000

static struct script {
    pthread_mutex_t lock;
    struct server_stream *start; /* held back */
    int hold_start;              /* answer it when so many other calls came */
    int before_start;            /* calls that came before its answer */
    bool not_found_before;       /* those are refused; else they wait, too */
    bool started;
    struct server_stream *waiting[8];
    struct server_conn *waiting_conn[8];
    int waiting_count;
    int break_every; /* bytes after which a read's connection breaks; 0: never */
    int reads, starts, writes, waits, access;
    int read_status[16]; /* refusals of reads in turn */
    int write_status;    /* of every write */
    int bad_jwt;         /* calls with this JWT's number are refused */
    struct buf in;       /* what stdin got */
    bool in_eof;
    int exit_case, exit_value; /* 0 none, 1 code, 2 signal */
    bool silent_reads;         /* reads are never answered */
    char exec_id[64];
    char out[OUT_LEN];
    size_t out_len;
} script;

static void reset_script(void)
{
    pthread_mutex_lock(&script.lock);
    buf_clear(&script.in);
    memset((char *)&script + offsetof(struct script, start), 0, sizeof(script) - offsetof(struct script, start));
    buf_init(&script.in, 64 << 20);
    for (size_t i = 0; i < OUT_LEN; i++)
        script.out[i] = (char)(i * 7 + i / 251);
    script.out_len = OUT_LEN;
    script.exit_case = 1;
    pthread_mutex_unlock(&script.lock);
}

static void answer(struct server_conn *c, struct server_stream *s, const void *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = xmalloc(len + 1);

    protobuf_c_message_pack(message, packed);
    grpc_frame_add(&s->answer, packed, len);
    free(packed);
    server_answer(c, s, "0");
}

static void refuse(struct server_conn *c, struct server_stream *s, int status)
{
    static char text[17][4];

    snprintf(text[status], 4, "%d", status);
    s->message = "refused";
    server_answer(c, s, text[status]);
}

/* A JWT is "a.b.c<number>" here: unreadable, so that its life is not known. */
static int jwt_number(const struct server_stream *s)
{
    const char *at = strstr(s->metadata.data, "authorization=Bearer a.b.c");

    return at ? (int)strtol(at + 26, NULL, 10) : -1;
}

static void on_read(struct server_conn *c, struct server_stream *s)
{
    Modal__TaskCommandRouter__TaskExecStdioReadRequest *r =
        modal__task_command_router__task_exec_stdio_read_request__unpack(NULL, s->request.len - 5,
                                                                         (uint8_t *)s->request.data + 5);
    size_t from = (size_t)r->offset, end = script.out_len;
    int n = script.reads++;

    assert_string_equal(r->exec_id, script.exec_id);
    if (r->file_descriptor == 1)
        from = end = 0;
    modal__task_command_router__task_exec_stdio_read_request__free_unpacked(r, NULL);
    if (n < 16 && script.read_status[n]) {
        refuse(c, s, script.read_status[n]);
        return;
    }
    if (script.silent_reads)
        return;
    if (script.break_every && from + (size_t)script.break_every < end) {
        end = from + (size_t)script.break_every;
        s->hold = c->close_after = true;
    }
    while (from < end) {
        Modal__TaskCommandRouter__TaskExecStdioReadResponse m;
        uint8_t packed[5000];

        modal__task_command_router__task_exec_stdio_read_response__init(&m);
        m.has_data = 1;
        m.data.data = (uint8_t *)script.out + from;
        m.data.len = end - from > 4096 ? 4096 : end - from;
        from += m.data.len;
        grpc_frame_add(&s->answer, packed, modal__task_command_router__task_exec_stdio_read_response__pack(&m, packed));
    }
    server_answer(c, s, "0");
}

static void on_write(struct server_conn *c, struct server_stream *s)
{
    Modal__TaskCommandRouter__TaskExecStdinWriteResponse ok =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_RESPONSE__INIT;
    Modal__TaskCommandRouter__TaskExecStdinWriteRequest *r =
        modal__task_command_router__task_exec_stdin_write_request__unpack(NULL, s->request.len - 5,
                                                                          (uint8_t *)s->request.data + 5);

    script.writes++;
    if (!script.write_status && r->offset == script.in.len && !script.in_eof) {
        buf_add(&script.in, r->data.data, r->data.len);
        script.in_eof = r->eof;
    }
    modal__task_command_router__task_exec_stdin_write_request__free_unpacked(r, NULL);
    if (script.write_status)
        refuse(c, s, script.write_status);
    else if (script.break_every && script.writes % 3 == 1)
        c->close_soon = true; /* taken, but the answer is lost */
    else
        answer(c, s, &ok);
}

static void on_wait(struct server_conn *c, struct server_stream *s)
{
    Modal__TaskCommandRouter__TaskExecWaitResponse m = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_WAIT_RESPONSE__INIT;

    script.waits++;
    m.exit_status_case = (Modal__TaskCommandRouter__TaskExecWaitResponse__ExitStatusCase)script.exit_case;
    if (script.exit_case == 1)
        m.code = script.exit_value;
    else
        m.signal = script.exit_value;
    answer(c, s, &m);
}

static void answer_start(struct server_conn *c, struct server_stream *s)
{
    Modal__TaskCommandRouter__TaskExecStartResponse ok = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_START_RESPONSE__INIT;

    script.started = true;
    answer(c, s, &ok);
}

static void on_start(struct server_conn *c, struct server_stream *s)
{
    Modal__TaskCommandRouter__TaskExecStartRequest *r = modal__task_command_router__task_exec_start_request__unpack(
        NULL, s->request.len - 5, (uint8_t *)s->request.data + 5);

    snprintf(script.exec_id, sizeof(script.exec_id), "%s", r->exec_id);
    modal__task_command_router__task_exec_start_request__free_unpacked(r, NULL);
    script.starts++;
    if (script.hold_start)
        script.start = s;
    else
        answer_start(c, s);
}

static void on_access(struct server_conn *c, struct server_stream *s)
{
    Modal__Client__SandboxGetCommandRouterAccessResponse m =
        MODAL__CLIENT__SANDBOX_GET_COMMAND_ROUTER_ACCESS_RESPONSE__INIT;
    char jwt[32];

    snprintf(jwt, sizeof(jwt), "a.b.c%d", ++script.access);
    m.jwt = jwt;
    m.url = c->server->url;
    answer(c, s, &m);
}

static void on_task_id(struct server_conn *c, struct server_stream *s)
{
    Modal__Client__SandboxGetTaskIdResponse m = MODAL__CLIENT__SANDBOX_GET_TASK_ID_RESPONSE__INIT;

    m.task_id = (char *)"ta-1";
    answer(c, s, &m);
}

static void on_auth(struct server_conn *c, struct server_stream *s)
{
    Modal__Client__AuthTokenGetResponse m = MODAL__CLIENT__AUTH_TOKEN_GET_RESPONSE__INIT;

    m.token = (char *)"x.y.z";
    answer(c, s, &m);
}

static bool router_call(struct server_conn *c, struct server_stream *s, const char *method)
{
    if (strcmp(method, "TaskExecStdioRead") == 0)
        on_read(c, s);
    else if (strcmp(method, "TaskExecStdinWrite") == 0)
        on_write(c, s);
    else if (strcmp(method, "TaskExecWait") == 0)
        on_wait(c, s);
    else
        return false;
    return true;
}

/* A call on an exec whose start is held back: refused, or kept until the start is answered. */
static void early_call(struct server_conn *c, struct server_stream *s)
{
    if (script.not_found_before) {
        refuse(c, s, GRPC_NOT_FOUND);
    } else {
        script.waiting_conn[script.waiting_count] = c;
        script.waiting[script.waiting_count++] = s;
    }
    if (++script.before_start < script.hold_start)
        return;
    answer_start(c, script.start);
    for (int i = 0; i < script.waiting_count; i++)
        router_call(script.waiting_conn[i], script.waiting[i], strrchr(script.waiting[i]->path, '/') + 1);
}

static bool play(struct server_conn *c, struct server_stream *s, const char *method)
{
    bool router = strncmp(method, "TaskExec", 8) == 0, found = true;

    pthread_mutex_lock(&script.lock);
    if (router && jwt_number(s) == script.bad_jwt)
        refuse(c, s, GRPC_UNAUTHENTICATED);
    else if (strcmp(method, "TaskExecStart") == 0)
        on_start(c, s);
    else if (router && !script.started)
        early_call(c, s);
    else if (strcmp(method, "SandboxGetCommandRouterAccess") == 0)
        on_access(c, s);
    else if (strcmp(method, "SandboxGetTaskIdV2") == 0)
        on_task_id(c, s);
    else if (strcmp(method, "AuthTokenGet") == 0)
        on_auth(c, s);
    else
        found = router_call(c, s, method);
    pthread_mutex_unlock(&script.lock);
    return found;
}

struct bench {
    struct server *server;
    struct loop *loop;
    struct modal_client *c;
    struct modal_task *task;
    struct modal_exec *exec;
    /* what the handlers saw */
    size_t got;
    bool wrong, ended, failed, free_early;
    int code, status, drained;
    char text[128];
};

static void on_stdout(struct modal_exec *exec, const void *data, size_t len, void *arg)
{
    struct bench *b = arg;

    assert_ptr_equal(exec, b->exec);
    if (b->got + len > OUT_LEN || memcmp(script.out + b->got, data, len) != 0)
        b->wrong = true;
    b->got += len;
    if (b->free_early) {
        modal_exec_free(exec);
        b->exec = NULL;
        b->ended = true;
    }
}

static void on_drained(struct modal_exec *exec, void *arg)
{
    struct bench *b = arg;

    (void)exec;
    b->drained++;
}

static void on_exit_code(struct modal_exec *exec, int code, void *arg)
{
    struct bench *b = arg;

    (void)exec;
    assert_false(b->ended);
    b->ended = true;
    b->code = code;
}

static void on_error(struct modal_exec *exec, const struct err *err, void *arg)
{
    struct bench *b = arg;

    (void)exec;
    assert_false(b->ended);
    b->ended = b->failed = true;
    b->status = err->code;
    snprintf(b->text, sizeof(b->text), "%s", err->msg);
}

static const struct modal_exec_handlers handlers = {
    .on_stdout = on_stdout, .on_drained = on_drained, .on_exit = on_exit_code, .on_error = on_error};

static void bench_open(struct bench *b, int64_t lost_ms)
{
    struct modal_client_options options = {.token_id = "ak-1", .token_secret = "as-1", .lost_ms = lost_ms};

    *b = (struct bench){.server = server_start(SERVER_UNIX), .loop = loop_new()};
    atomic_store(&b->server->hook, play);
    options.server_url = b->server->url;
    b->c = modal_client_new(b->loop, &options, NULL);
    assert_int_equal(modal_task_open(b->c, "sb-v2", 1000, &b->task, NULL), 0);
}

static void start(struct bench *b, bool drop_stderr, bool no_wait)
{
    struct modal_exec_options options = {.drop_stderr = drop_stderr, .no_wait = no_wait};

    b->ended = b->failed = false;
    b->got = 0;
    strlist_add(&options.argv, "cat");
    b->exec = modal_exec_start(b->task, &options, &handlers, b, NULL);
    assert_non_null(b->exec);
    modal_exec_options_clear(&options);
}

static void turn(struct bench *b, int64_t ms)
{
    for (int64_t end = loop_now() + ms; !b->ended && loop_now() < end;)
        loop_step(b->loop, 10);
}

static void bench_close(struct bench *b)
{
    modal_exec_free(b->exec);
    modal_task_free(b->task);
    modal_client_free(b->c);
    loop_free(b->loop);
    server_stop(b->server);
}

/* Start, first input and read are all there before the server has answered any of them; nothing else is called. */
static void one_round_trip(void **state)
{
    struct bench b;

    (void)state;
    reset_script();
    bench_open(&b, 0);
    script.hold_start = 2;
    start(&b, true, true);
    assert_int_equal(modal_exec_write(b.exec, "hello ", 6), 0);
    assert_int_equal(modal_exec_write(b.exec, "world", 5), 0);
    modal_exec_write_eof(b.exec);
    assert_int_equal(modal_exec_pending(b.exec), 11);
    turn(&b, 5000);
    assert_true(b.ended && !b.failed && !b.wrong);
    assert_int_equal(b.code, -1);
    assert_int_equal(b.got, OUT_LEN);
    assert_string_equal(script.in.data, "hello world");
    assert_true(script.in_eof);
    assert_int_equal(script.writes, 1);
    assert_int_equal(script.waits, 0);
    assert_int_equal(script.starts + script.reads, 2);
    bench_close(&b);
}

/* Exit codes: 0, a code, a signal, and a server that does not say. */
static void exit_codes(void **state)
{
    const struct {
        int exit_case, value, code;
    } cases[] = {{1, 0, 0}, {1, 42, 42}, {2, 9, 137}, {0, 0, -2}};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct bench b;

        reset_script();
        script.exit_case = cases[i].exit_case;
        script.exit_value = cases[i].value;
        bench_open(&b, 0);
        start(&b, false, false);
        turn(&b, 5000);
        assert_true(b.ended);
        assert_int_equal(b.failed, cases[i].code == -2);
        if (!b.failed)
            assert_int_equal(b.code, cases[i].code);
        bench_close(&b);
    }
}

/* Calls that overtake their start are asked again; after three of them the server gets its calls in turn. */
static void overtaking(void **state)
{
    struct bench b;

    (void)state;
    reset_script();
    bench_open(&b, 0);
    script.hold_start = 3; /* both reads and the write */
    script.not_found_before = true;
    start(&b, false, false);
    modal_exec_write(b.exec, "abc", 3);
    modal_exec_write_eof(b.exec);
    turn(&b, 5000);
    assert_true(b.ended && !b.failed && !b.wrong);
    assert_int_equal(b.got, OUT_LEN);
    assert_string_equal(script.in.data, "abc");
    assert_int_equal(script.starts, 1);
    modal_exec_free(b.exec);
    /* The next one waits for its start: nothing is refused, though the server still would. */
    script.started = false;
    script.hold_start = 0;
    script.before_start = 0;
    script.in_eof = false;
    buf_reset(&script.in);
    start(&b, false, false);
    modal_exec_write(b.exec, "def", 3);
    turn(&b, 5000);
    assert_true(b.ended && !b.failed && !b.wrong);
    assert_int_equal(script.before_start, 0);
    bench_close(&b);
}

/* An exec that is not there after its start was answered: asked three times more, then the end. */
static void never_found(void **state)
{
    struct bench b;

    (void)state;
    reset_script();
    for (int i = 0; i < 16; i++)
        script.read_status[i] = GRPC_NOT_FOUND;
    bench_open(&b, 0);
    start(&b, true, true);
    turn(&b, 5000);
    assert_true(b.failed);
    assert_int_equal(b.status, GRPC_NOT_FOUND);
    assert_true(script.reads >= 4 && script.reads <= 5);
    bench_close(&b);
}

/* The connection breaks after each 40,000 bytes, and the answers to writes are lost: every byte arrives once, both
 * ways. */
static void broken_connections(void **state)
{
    struct bench b;
    char piece[1000];

    (void)state;
    reset_script();
    bench_open(&b, 0);
    script.break_every = 40000;
    start(&b, true, true);
    for (int i = 0; i < 100; i++) {
        memset(piece, 'a' + i % 26, sizeof(piece));
        assert_int_equal(modal_exec_write(b.exec, piece, sizeof(piece)), 0);
        loop_step(b.loop, 0);
    }
    modal_exec_write_eof(b.exec);
    for (int64_t end = loop_now() + 10000; !(b.ended && script.in_eof) && loop_now() < end;)
        loop_step(b.loop, 10);
    assert_true(b.ended && !b.failed && !b.wrong);
    assert_int_equal(b.got, OUT_LEN);
    assert_true(script.reads >= 8);
    bench_close(&b);
}

/* The same for the input alone, with output that stays open meanwhile. */
static void lost_write_answers(void **state)
{
    struct bench b;
    char piece[1000];

    (void)state;
    reset_script();
    bench_open(&b, 0);
    script.silent_reads = true;
    script.break_every = 1;
    start(&b, true, true);
    for (int i = 0; i < 100; i++) {
        memset(piece, 'a' + i % 26, sizeof(piece));
        modal_exec_write(b.exec, piece, sizeof(piece));
        loop_step(b.loop, 2);
    }
    modal_exec_write_eof(b.exec);
    for (int64_t end = loop_now() + 10000; modal_exec_pending(b.exec) && loop_now() < end;)
        loop_step(b.loop, 10);
    turn(&b, 200);
    assert_false(b.ended);
    assert_true(script.in_eof);
    assert_int_equal(script.in.len, 100000);
    for (size_t i = 0; i < script.in.len; i++)
        assert_int_equal(script.in.data[i], 'a' + i / 1000 % 26);
    bench_close(&b);
}

/* A JWT that is refused is replaced once, for all calls together. */
static void jwt_refused(void **state)
{
    struct bench b;

    (void)state;
    reset_script();
    script.bad_jwt = 1;
    bench_open(&b, 0);
    start(&b, false, false);
    modal_exec_write_eof(b.exec);
    turn(&b, 5000);
    assert_true(b.ended && !b.failed);
    assert_int_equal(b.got, OUT_LEN);
    assert_int_equal(script.access, 2);
    bench_close(&b);
}

/* A process that takes no input: no error, what it says and its code arrive, and later writes are dropped. */
static void closed_stdin(void **state)
{
    struct bench b;

    (void)state;
    reset_script();
    script.write_status = GRPC_FAILED_PRECONDITION;
    script.exit_value = 3;
    bench_open(&b, 0);
    start(&b, true, false);
    modal_exec_write(b.exec, "x", 1);
    turn(&b, 5000);
    assert_true(b.ended && !b.failed);
    assert_int_equal(b.code, 3);
    assert_int_equal(modal_exec_pending(b.exec), 0);
    assert_int_equal(modal_exec_write(b.exec, "y", 1), 0);
    assert_int_equal(modal_exec_pending(b.exec), 0);
    bench_close(&b);
}

/* The server falls silent: an error within the time, not before. */
static void lost_server(void **state)
{
    struct bench b;
    int64_t before;

    (void)state;
    reset_script();
    script.silent_reads = true;
    bench_open(&b, 600);
    start(&b, true, true);
    turn(&b, 1500);
    assert_false(b.ended); /* quiet, but it answers PINGs */
    atomic_store(&b.server->silent, true);
    modal_exec_write(b.exec, "x", 1); /* wakes the server's thread so that it sees the order to be silent */
    before = loop_now();
    turn(&b, 10000);
    assert_true(b.failed);
    assert_int_equal(b.status, GRPC_UNAVAILABLE);
    assert_true(loop_now() - before >= 300 && loop_now() - before < 9000);
    bench_close(&b);
}

/* Writes beyond the ceiling are refused whole; after eof, too. */
static void write_limits(void **state)
{
    struct bench b;
    cleanup_free char *big = xcalloc(1, MODAL_EXEC_STDIN_MAX);

    (void)state;
    reset_script();
    bench_open(&b, 0);
    start(&b, true, true);
    assert_int_equal(modal_exec_write(b.exec, big, MODAL_EXEC_STDIN_MAX - 1), 0);
    assert_int_equal(modal_exec_write(b.exec, "ab", 2), -1);
    assert_int_equal(modal_exec_pending(b.exec), MODAL_EXEC_STDIN_MAX - 1);
    assert_int_equal(modal_exec_write(b.exec, "a", 1), 0);
    modal_exec_write_eof(b.exec);
    assert_int_equal(modal_exec_write(b.exec, "a", 1), -1);
    bench_close(&b);
}

/* Freed in the middle of its own output. */
static void free_in_handler(void **state)
{
    struct bench b;

    (void)state;
    reset_script();
    bench_open(&b, 0);
    b.free_early = true;
    start(&b, false, false);
    turn(&b, 5000);
    assert_null(b.exec);
    assert_true(b.got > 0 && b.got < OUT_LEN);
    b.ended = false;
    turn(&b, 100);
    bench_close(&b);
}

/* A paused exec delivers nothing more; resumed, nothing is missing. */
static void pausing(void **state)
{
    struct bench b;

    (void)state;
    reset_script();
    bench_open(&b, 0);
    start(&b, true, false);
    modal_exec_pause(b.exec);
    turn(&b, 200);
    assert_int_equal(b.got, 0);
    assert_false(b.ended);
    modal_exec_resume(b.exec);
    turn(&b, 5000);
    assert_true(b.ended && !b.failed && !b.wrong);
    assert_int_equal(b.got, OUT_LEN);
    bench_close(&b);
}

/* The collecting form, its ceiling, and arguments that are too long. */
static void run_to_end(void **state)
{
    struct modal_exec_options options = {.drop_stderr = true};
    struct modal_exec_output output = {0};
    struct err err = ERR_INIT;
    struct bench b;
    char *longest = xcalloc(1, 65537);

    (void)state;
    reset_script();
    script.out_len = 1000;
    script.exit_value = 7;
    bench_open(&b, 0);
    strlist_add(&options.argv, "x");
    assert_int_equal(modal_exec_run(b.task, &options, "in", 2, 1000, &output, NULL), 0);
    assert_int_equal(output.code, 7);
    assert_int_equal(output.out_len, 1000);
    assert_memory_equal(output.out, script.out, 1000);
    assert_string_equal(script.in.data, "in");
    modal_exec_output_clear(&output);
    assert_int_equal(modal_exec_run(b.task, &options, "", 0, 999, &output, &err), -1);
    assert_int_equal(err.code, GRPC_RESOURCE_EXHAUSTED);
    err_clear(&err);
    memset(longest, 'x', 65536);
    strlist_add_owned(&options.argv, longest);
    assert_null(modal_exec_start(b.task, &options, &handlers, &b, &err));
    assert_string_equal(err.msg, "the command has 65537 bytes of arguments, the server takes 65536");
    err_clear(&err);
    modal_exec_options_clear(&options);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_round_trip),     cmocka_unit_test(exit_codes),   cmocka_unit_test(overtaking),
        cmocka_unit_test(never_found),        cmocka_unit_test(jwt_refused),  cmocka_unit_test(broken_connections),
        cmocka_unit_test(lost_write_answers), cmocka_unit_test(closed_stdin), cmocka_unit_test(lost_server),
        cmocka_unit_test(write_limits),       cmocka_unit_test(pausing),      cmocka_unit_test(free_in_handler),
        cmocka_unit_test(run_to_end),
    };
    int ret;

    pthread_mutex_init(&script.lock, NULL);
    buf_init(&script.in, 64 << 20);
    signal(SIGPIPE, SIG_IGN);
    ret = cmocka_run_group_tests(tests, NULL, NULL);
    buf_clear(&script.in);
    return ret;
}
