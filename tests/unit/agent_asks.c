/* link: atp_session atp_bsync atp_tsync atp_wire atp_sys atp_base */
#include "tests/unit/agent_rig.h"

/* What is asked of a container that stays: attach, stop, signals, restarts, its log, its processes, its record. */

/* The container's process, started and left. */
static void begin_detached(struct rig *rig, const char *script, uint8_t restart, uint32_t restart_max)
{
    struct run r;

    run_init(&r, rig, script);
    r.start.main = r.start.detached = r.start.log = r.start.keep_stdin_open = true;
    r.start.restart = restart;
    r.start.restart_max = restart_max;
    r.start.record = "{\"Id\":\"x\"}";
    run_all(&r, NULL, 0);
    assert_int_equal(r.result.end, SESSION_DETACHED);
    run_clear(&r);
}

/* Asks and expects this much. */
static void expect(struct rig *rig, const struct wire_ask *ask, int code, const char *out)
{
    struct run r;

    run_init(&r, rig, NULL);
    r.ask = ask;
    run_all(&r, NULL, 0);
    if (r.error)
        fail_msg("ask %u: %s", ask->kind, r.error);
    assert_int_equal(r.result.end, SESSION_EXITED);
    assert_int_equal(r.result.code, code);
    if (out)
        assert_string_equal(r.got[1].data, out);
    run_clear(&r);
}

static void expect_refused(struct rig *rig, const struct wire_ask *ask)
{
    struct run r;

    run_init(&r, rig, NULL);
    r.ask = ask;
    run_all(&r, NULL, 0);
    assert_int_equal(r.result.end, SESSION_REFUSED);
    run_clear(&r);
}

static const struct wire_ask stop = {.kind = WIRE_ASK_STOP, .signo = SIGTERM, .grace_ms = 20000};
static const struct wire_ask wait_end = {.kind = WIRE_ASK_ATTACH};
static const struct wire_ask logs = {
    .kind = WIRE_ASK_LOGS, .flags = WIRE_ASK_STDOUT | WIRE_ASK_STDERR, .tail = -1, .text = ""};

/* Until the log is this. */
static void await_log(struct rig *rig, const char *text)
{
    for (int64_t until = loop_now() + RIG_DEADLINE;; usleep(20000)) {
        struct run r;
        bool same;

        run_init(&r, rig, NULL);
        r.ask = &logs;
        run_all(&r, NULL, 0);
        same = r.got[1].data && !strcmp(r.got[1].data, text);
        if (!same && loop_now() > until)
            fail_msg("the log: %s", r.got[1].data);
        run_clear(&r);
        if (same)
            return;
    }
}

static void test_nothing_ran(void **state)
{
    const struct wire_ask record = {.kind = WIRE_ASK_RECORD};
    const struct wire_ask kill_it = {.kind = WIRE_ASK_SIGNAL, .signo = SIGKILL};
    struct rig rig;

    (void)state;
    rig_start(&rig, NULL);
    expect_refused(&rig, &stop);
    expect_refused(&rig, &wait_end);
    expect_refused(&rig, &kill_it);
    expect_refused(&rig, &logs);
    expect_refused(&rig, &record);
    rig_stop(&rig);
}

static void test_stop(void **state)
{
    struct rig rig;
    struct run late;

    (void)state;
    rig_start(&rig, NULL);
    begin_detached(&rig, "trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.05; done", WIRE_RESTART_ALWAYS,
                   0);
    await_log(&rig, "up\n");
    expect(&rig, &stop, 3, ""); /* the policy does not bring it back */
    expect(&rig, &stop, 3, "");
    expect(&rig, &wait_end, 3, "");
    expect(&rig, &logs, 0, "up\nterm\n");
    run_init(&late, &rig, "true");
    run_all(&late, NULL, 0);
    assert_int_equal(late.result.refusal, WIRE_REFUSAL_NOT_RUNNING);
    assert_string_equal(late.error, "container is not running");
    run_clear(&late);
    rig_stop(&rig);
}

static void test_stop_needs_kill(void **state)
{
    const struct wire_ask soon = {.kind = WIRE_ASK_STOP, .signo = SIGTERM, .grace_ms = 300};
    int64_t began;
    struct rig rig;

    (void)state;
    rig_start(&rig, NULL);
    begin_detached(&rig, "trap '' TERM; echo up; while :; do sleep 0.05; done", WIRE_RESTART_NO, 0);
    await_log(&rig, "up\n");
    began = loop_now();
    expect(&rig, &soon, 137, "");
    assert_true(loop_now() - began >= 250);
    rig_stop(&rig);
}

/* The policy gives up after its last attempt; who waits hears of that one only. The log has all lives. */
static void test_on_failure(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, NULL);
    begin_detached(&rig, "echo life; exit 5", WIRE_RESTART_ON_FAILURE, 2);
    expect(&rig, &wait_end, 5, "");
    expect(&rig, &logs, 0, "life\nlife\nlife\n");
    rig_stop(&rig);
}

static void test_restart(void **state)
{
    const struct wire_ask restart = {.kind = WIRE_ASK_RESTART, .signo = SIGKILL, .grace_ms = 0};
    struct rig rig;

    (void)state;
    rig_start(&rig, NULL);
    begin_detached(&rig, "echo life; read x; exit 4", WIRE_RESTART_NO, 0);
    await_log(&rig, "life\n");
    expect(&rig, &restart, 137, NULL); /* how the life before ended */
    await_log(&rig, "life\nlife\n");
    expect(&rig, &stop, 143, "");
    expect(&rig, &restart, 143, NULL); /* after its end too */
    await_log(&rig, "life\nlife\nlife\n");
    rig_expect(&rig, "echo in", 0, "in\n", "");
    rig_stop(&rig);
}

/* Two have joined; one feeds it, both hear it, one is slow and holds it until it goes. */
static void test_attach(void **state)
{
    const struct wire_ask both = {.kind = WIRE_ASK_ATTACH, .flags = WIRE_ASK_OUTPUT | WIRE_ASK_STDIN};
    struct rig rig;
    struct run a, b;

    (void)state;
    rig_start(&rig, NULL);
    begin_detached(&rig,
                   "while read x; do [ \"$x\" = flood ] && head -c 9000000 /dev/zero; echo got $x; "
                   "[ \"$x\" = end ] && exit 6; done",
                   WIRE_RESTART_NO, 0);
    run_init(&a, &rig, NULL);
    run_init(&b, &rig, NULL);
    a.ask = b.ask = &both;
    a.hold_input = b.hold_input = true;
    a.input = b.input = "";
    run_begin(&a, NULL, 0);
    run_begin(&b, NULL, 0);
    run_turn(&a, 300, NULL);
    run_turn(&b, 300, NULL);
    session_stdin(a.session, "one\n", 4);
    run_turn(&a, RIG_DEADLINE, has_output);
    run_turn(&b, RIG_DEADLINE, has_output);
    assert_string_equal(a.got[1].data, "got one\n");
    assert_string_equal(b.got[1].data, "got one\n");
    b.take_nothing = true;
    session_stdin(a.session, "flood\nend\n", 10);
    for (int i = 0; i < 20; i++) {
        run_turn(&a, 20, NULL);
        run_turn(&b, 20, NULL);
    }
    assert_false(a.done);
    assert_true(a.got[1].len < 6000000);
    session_detach(b.session);
    run_finish(&b);
    run_turn(&a, RIG_DEADLINE, NULL);
    assert_int_equal(a.result.code, 6);
    assert_int_equal(a.got[1].len, 9000000 + 8 + 10 + 8);
    run_finish(&a);
    run_clear(&a);
    run_clear(&b);
    rig_stop(&rig);
}

static void test_log_tail_and_follow(void **state)
{
    const struct wire_ask none = {.kind = WIRE_ASK_LOGS, .flags = WIRE_ASK_STDOUT | WIRE_ASK_STDERR, .tail = 0};
    const struct wire_ask two = {.kind = WIRE_ASK_LOGS, .flags = WIRE_ASK_STDOUT | WIRE_ASK_STDERR, .tail = 2};
    const struct wire_ask follow = {
        .kind = WIRE_ASK_LOGS, .flags = WIRE_ASK_STDOUT | WIRE_ASK_STDERR | WIRE_ASK_FOLLOW, .tail = -1};
    struct rig rig;

    (void)state;
    rig_start(&rig, NULL);
    begin_detached(&rig, "seq 1000; for i in a b; do sleep 0.3; echo $i; done; printf end", WIRE_RESTART_NO, 0);
    {
        struct run r;

        run_init(&r, &rig, NULL);
        r.ask = &follow;
        run_all(&r, NULL, 0);
        assert_int_equal(r.result.code, 0);
        assert_true(r.got[1].len == 3893 + 7);
        assert_string_equal(r.got[1].data + 3893, "a\nb\nend");
        run_clear(&r);
    }
    expect(&rig, &two, 0, "b\nend");
    expect(&rig, &none, 0, "");
    rig_stop(&rig);
}

static void test_top_and_record(void **state)
{
    const struct wire_ask top = {.kind = WIRE_ASK_TOP};
    const struct wire_ask record = {.kind = WIRE_ASK_RECORD};
    const struct wire_ask set = {.kind = WIRE_ASK_SET_RECORD, .text = "{\"Id\":\"y\"}"};
    struct rig rig;
    struct run r;

    (void)state;
    rig_start(&rig, NULL);
    begin_detached(&rig, "exec sleep 4321", WIRE_RESTART_NO, 0);
    run_init(&r, &rig, NULL);
    r.ask = &top;
    run_all(&r, NULL, 0);
    assert_int_equal(r.result.code, 0);
    assert_non_null(strstr(r.got[1].data, "\"ppid\":0,"));
    assert_non_null(strstr(r.got[1].data, "\"argv\":[\"sleep\",\"4321\"]}\n"));
    run_clear(&r);
    expect(&rig, &record, 0, "{\"Id\":\"x\"}");
    expect(&rig, &set, 0, "");
    expect(&rig, &record, 0, "{\"Id\":\"y\"}");
    rig_stop(&rig);
}

static unsigned long long number(const char *line, const char *key)
{
    cleanup_free char *quoted = xasprintf("\"%s\":", key);
    const char *at = strstr(line, quoted);

    if (!at)
        fail_msg("no %s in %s", key, line);
    return strtoull(at + strlen(quoted), NULL, 10);
}

/* The start of the last whole line; NULL: there is only one so far. */
static const char *last_line(const char *text)
{
    const char *last = NULL;

    for (const char *at = text, *end; (end = strchr(at, '\n')); at = end + 1)
        if (at != text)
            last = at;
    return last;
}

static bool has_burnt(struct run *r)
{
    const char *last = last_line(r->got[1].data);

    return last && number(last, "cpu_ns") >= number(r->got[1].data, "cpu_ns") + 100000000;
}

/* A line each second, in which what burns shows. */
static void test_stats(void **state)
{
    const struct wire_ask once = {.kind = WIRE_ASK_STATS};
    const struct wire_ask follow = {.kind = WIRE_ASK_STATS, .flags = WIRE_ASK_FOLLOW};
    const char *second;
    struct rig rig;
    struct run r;

    (void)state;
    rig_start(&rig, NULL);
    expect_refused(&rig, &once);
    begin_detached(&rig, "yes >/dev/null & yes >/dev/null & wait", WIRE_RESTART_NO, 0);
    run_init(&r, &rig, NULL);
    r.ask = &follow;
    run_begin(&r, NULL, 0);
    assert_true(run_turn(&r, RIG_DEADLINE, has_burnt));
    second = last_line(r.got[1].data);
    assert_true(number(second, "system_cpu_ns") > number(r.got[1].data, "system_cpu_ns"));
    assert_true(number(second, "read_ns") > number(r.got[1].data, "read_ns") + 900000000);
    assert_int_equal(number(second, "pids"), 3);
    assert_true(number(second, "online_cpus") >= 1);
    assert_true(number(second, "mem_bytes") > 500000 && number(second, "mem_bytes") < number(second, "mem_limit"));
    number(second, "net_rx");
    number(second, "net_tx");
    number(second, "blk_read");
    number(second, "blk_write");
    expect(&rig, &stop, 128 + SIGTERM, "");
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_int_equal(r.result.end, SESSION_EXITED);
    assert_int_equal(r.result.code, 0);
    run_finish(&r);
    run_clear(&r);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_ran),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_stop_needs_kill),
        cmocka_unit_test(test_on_failure),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_attach),
        cmocka_unit_test(test_log_tail_and_follow),
        cmocka_unit_test(test_top_and_record),
        cmocka_unit_test(test_stats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
