/* link: atp_engine atp_sys atp_base */
/* The life of sandboxes and execs in real containers: ends, streams, terminals, time-outs. Needs root, see
 * engine_box.h. */
#include "tests/unit/engine_box.h"

#include "backends/engine/rt_internal.h" /* the ceiling of what is kept */

static void test_spec_refused(void **st)
{
    static const char *const bad_ids[] = {"", "../x", "a/b", ".", "-x", "a b", NULL};
    struct lists l;
    struct box b;
    struct rt_sandbox_spec spec = spec_of(&l, &b, "true");
    struct err err = ERR_INIT;
    struct strlist none = STRLIST_INIT;

    (void)st;
    for (const char *const *id = bad_ids; *id; id++) {
        spec.id = *id;
        assert_null(rt_sandbox_create(rt, &spec, &box_events, &b, &err));
        assert_int_equal(err.exit_code, 125);
    }
    spec.id = "ok";
    spec.hostname = "a\nb";
    assert_null(rt_sandbox_create(rt, &spec, &box_events, &b, &err));
    spec.hostname = "box";
    spec.workdir = "relative";
    assert_null(rt_sandbox_create(rt, &spec, &box_events, &b, &err));
    spec.workdir = "/";
    spec.lowers = &none;
    assert_null(rt_sandbox_create(rt, &spec, &box_events, &b, &err));
    spec.lowers = &l.lowers;
    spec.args = &none;
    assert_null(rt_sandbox_create(rt, &spec, &box_events, &b, &err));
    assert_string_equal(err.msg, "no command specified");
    err_clear(&err);
    spec_clear(&l);
}

static void test_exit_codes(void **st)
{
    static const int codes[] = {0, 1, 42, 127, 128, 137, 255};
    struct box b;

    (void)st;
    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i += 2) {
        cleanup_free char *script = xasprintf("echo to $ODD; echo err >&2; exit %d", codes[i]), *out = NULL,
                          *said = NULL;

        run_box(&b, script, &out, &said);
        assert_int_equal(b.how, RT_END_EXITED);
        assert_int_equal(b.code, codes[i]);
        assert_string_equal(out, "to a=b c d\n");
        assert_string_equal(said, "err\n");
        assert_true(rt_stream_ended(rt_sandbox_stream(b.s, 1)));
        assert_true(b.outputs > 0);
        rt_sandbox_free(b.s);
    }
    start_box(&b, "sleep 1000");
    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
        cleanup_free char *script = xasprintf("exit %d", codes[i]);

        free(exec_text(&b, script, codes[i]));
    }
    end_box(&b);
}

static void test_signals(void **st)
{
    struct box b;
    struct run r;

    (void)st;
    start_box(&b, "sleep 1000");
    exec_script(&b, &r, "kill -TERM $$");
    wait_for(&r.ended);
    if (gvisor) {
        assert_int_equal(r.how, RT_END_EXITED);
        assert_int_equal(r.code, 128 + SIGTERM);
    } else {
        assert_int_equal(r.how, RT_END_SIGNALED);
        assert_int_equal(r.code, SIGTERM);
    }
    rt_exec_free(r.e);
    /* SIGKILL of one's own is not a lost sandbox */
    exec_script(&b, &r, "kill -KILL $$");
    wait_for(&r.ended);
    assert_int_equal(r.how, gvisor ? RT_END_EXITED : RT_END_SIGNALED);
    rt_exec_free(r.e);
    assert_false(b.ended);
    end_box(&b);
}

static void test_start_failures(void **st)
{
    static const struct {
        const char *word;
        int code;
    } cases[] = {{"nosuch", 127}, {"/no/such", 127}, {"/etc/motd", 126}, {"/etc", 126}};
    struct lists l;
    struct box b;
    struct run r;

    (void)st;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct rt_sandbox_spec spec = spec_of(&l, &b, "");

        strlist_clear(&l.args);
        strlist_add(&l.args, cases[i].word);
        create(&b, &spec);
        spec_clear(&l);
        wait_for(&b.ended);
        print_message("%s: %s\n", cases[i].word, b.message);
        assert_int_equal(b.how, RT_END_START_FAILED);
        assert_int_equal(b.code, cases[i].code);
        assert_false(b.started);
        rt_sandbox_free(b.s);
    }
    start_box(&b, "sleep 1000");
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const char *words[] = {cases[i].word, NULL};
        struct rt_exec_spec spec = {0};

        exec_spec(&b, &r, &spec, words);
        wait_for(&r.ended);
        print_message("%s: %d %s\n", cases[i].word, r.code, rt_exec_message(r.e));
        assert_int_equal(r.how, RT_END_START_FAILED);
        assert_int_equal(r.code, cases[i].code);
        rt_exec_free(r.e);
    }
    end_box(&b);
}

static void test_stdin_rules(void **st)
{
    cleanup_err struct err err = ERR_INIT;
    cleanup_free char *out = NULL;
    uint64_t accepted;
    struct box b;
    struct run r;
    bool closed;

    (void)st;
    start_box(&b, "sleep 1000");
    exec_script(&b, &r, "cat");
    assert_int_equal(rt_exec_stdin(r.e, 0, "hello ", 6, false, stdin_done, &r, &err), 0);
    assert_int_equal(r.done, 0); /* never before it returns */
    assert_int_equal(rt_exec_stdin(r.e, 7, "gap", 3, false, stdin_done, &r, &err), -1);
    assert_int_equal(err.code, ERANGE);
    assert_int_equal(rt_exec_stdin(r.e, 0, "hello ", 6, false, stdin_done, &r, &err), 0);   /* a repeat */
    assert_int_equal(rt_exec_stdin(r.e, 3, "lo world", 8, false, stdin_done, &r, &err), 0); /* half of it new */
    rt_exec_stdin_status(r.e, &accepted, &closed);
    assert_int_equal(accepted, 11);
    assert_false(closed);
    assert_int_equal(rt_exec_stdin(r.e, 11, "\n", 1, true, stdin_done, &r, &err), 0);
    assert_int_equal(rt_exec_stdin(r.e, 11, "\n", 1, true, stdin_done, &r, &err), 0); /* the same again */
    assert_int_equal(rt_exec_stdin(r.e, 12, "more", 4, false, stdin_done, &r, &err), -1);
    assert_int_equal(err.code, EPIPE);
    rt_exec_stdin_status(r.e, &accepted, &closed);
    assert_int_equal(accepted, 12);
    assert_true(closed);
    wait_for(&r.ended);
    turn_for(10);
    assert_int_equal(r.done, 5);
    out = text_of(rt_exec_stream(r.e, 1));
    assert_string_equal(out, "hello world\n");
    assert_int_equal(rt_exec_stdin(r.e, 12, "", 0, true, NULL, NULL, &err), 0);
    rt_exec_free(r.e);

    /* A process that never reads: what is queued does not block us, and its end answers the writer. */
    exec_script(&b, &r, "sleep 0.5");
    {
        cleanup_free char *big = xcalloc(1, 8 << 20);

        assert_int_equal(rt_exec_stdin(r.e, 0, big, 8 << 20, false, stdin_done, &r, &err), 0);
        turn_for(100);
        assert_int_equal(r.done, 0);
        wait_for(&r.ended);
        turn_for(10);
        assert_int_equal(r.done, 1);
        assert_int_equal(rt_exec_stdin(r.e, 8 << 20, "x", 1, false, NULL, NULL, &err), -1);
        assert_int_equal(err.code, EPIPE);
    }
    rt_exec_free(r.e);

    /* A slow reader gets all of a large input. */
    exec_script(&b, &r, "sleep 0.2; wc -c");
    {
        cleanup_free char *big = xcalloc(1, 20 << 20);

        assert_int_equal(rt_exec_stdin(r.e, 0, big, 20 << 20, true, stdin_done, &r, &err), 0);
        wait_for(&r.ended);
        free(out);
        out = text_of(rt_exec_stream(r.e, 1));
        assert_int_equal(strtol(out, NULL, 10), 20 << 20);
    }
    rt_exec_free(r.e);
    end_box(&b);
}

static void test_output_kept(void **st)
{
    const char *words[] = {"dd", "if=/dev/zero", "bs=1M", "count=50", NULL};
    struct rt_exec_spec spec = {.discard_stderr = true};
    struct rt_stream *out;
    struct box b;
    struct run r;
    char part[10];

    (void)st;
    start_box(&b, "sleep 1000");
    exec_spec(&b, &r, &spec, words); /* nobody reads while it runs */
    out = rt_exec_stream(r.e, 1);
    wait_for(&r.ended);
    assert_int_equal(r.code, 0);
    assert_int_equal(rt_stream_len(out), 50 << 20);
    assert_true(rt_stream_ended(rt_exec_stream(r.e, 2)));
    assert_int_equal(rt_stream_len(rt_exec_stream(r.e, 2)), 0);
    assert_int_equal(rt_stream_read(out, (50 << 20) - 3, part, sizeof(part)), 3);
    assert_int_equal(rt_stream_read(out, 50 << 20, part, sizeof(part)), 0);
    assert_int_equal(rt_stream_read(out, 1ull << 40, part, sizeof(part)), 0);
    rt_exec_free(r.e);

    /* Bytes and their order, from any offset */
    exec_script(&b, &r, "seq 1 100000");
    wait_for(&r.ended);
    out = rt_exec_stream(r.e, 1);
    assert_int_equal(rt_stream_len(out), 588895);
    assert_int_equal(rt_stream_read(out, 588895 - 7, part, 7), 7);
    assert_memory_equal(part, "100000\n", 7);
    assert_int_equal(rt_stream_read(out, 0, part, 4), 4);
    assert_memory_equal(part, "1\n2\n", 4);
    rt_exec_free(r.e);

    /* A child that holds the pipe: the exec ends, the output goes on. */
    exec_script(&b, &r, "(sleep 0.3; echo late) & echo early");
    wait_for(&r.ended);
    out = rt_exec_stream(r.e, 1);
    if (!gvisor) {
        assert_int_equal(rt_stream_len(out), 6);
        assert_false(rt_stream_ended(out));
    }
    for (double until = now() + PATIENCE; !rt_stream_ended(out) && now() < until;)
        turn_for(20);
    assert_true(rt_stream_ended(out));
    assert_int_equal(rt_stream_len(out), 11);
    rt_exec_free(r.e);
    end_box(&b);
}

/* Reads on from *at to what there is, which must be lines with the numbers that come next. */
static void read_numbers(struct rt_stream *st, uint64_t *at, unsigned *last)
{
    static char text[65536];
    ssize_t got;

    while ((got = rt_stream_read(st, *at, text, sizeof(text) - 1)) > 0) {
        char *line = text, *newline;

        text[got] = '\0';
        for (; (newline = strchr(line, '\n')); line = newline + 1)
            assert_int_equal(strtoul(line, NULL, 10), ++*last);
        if (line == text)
            return;
        *at += (uint64_t)(line - text);
    }
    assert_int_equal(got, 0);
}

/* Nobody reads: the process waits, the engine too, and the file stops growing. Somebody does: nothing was lost. */
static void test_output_ceiling(void **st)
{
    const uint64_t max = 1 << 20, before = rt->output_max;
    struct rt_stream *out;
    unsigned last = 0;
    uint64_t at = 0;
    clock_t busy;
    struct box b;
    struct run r;
    char byte;

    (void)st;
    rt->output_max = max;
    start_box(&b, "seq 1 1000000; exec sleep 1000");
    exec_script(&b, &r, "seq 1 1000000"); /* 6888896 bytes */
    out = rt_exec_stream(r.e, 1);
    for (double until = now() + PATIENCE; rt_stream_len(out) < max && now() < until;)
        turn_for(5);
    busy = clock();
    turn_for(300);
    assert_true(clock() - busy < CLOCKS_PER_SEC / 20);
    assert_int_equal(rt_stream_len(out), max);
    assert_false(r.ended);
    for (double until = now() + PATIENCE; !rt_stream_ended(out) && now() < until;) {
        read_numbers(out, &at, &last);
        turn_for(1);
        assert_true(rt_stream_len(out) - rt_stream_base(out) <= max);
    }
    read_numbers(out, &at, &last);
    wait_for(&r.ended);
    assert_int_equal(r.code, 0);
    assert_int_equal(last, 1000000);
    assert_int_equal(rt_stream_len(out), 6888896);
    assert_true(rt_stream_base(out) > 0);
    assert_int_equal(rt_stream_read(out, 0, &byte, 1), -1);
    assert_int_equal(errno, ENODATA);
    rt_exec_free(r.e);
    /* The first process has gone on without a reader; the end of its words is there. */
    out = rt_sandbox_stream(b.s, 1);
    for (double until = now() + PATIENCE; rt_stream_len(out) < 6888896 && now() < until;)
        turn_for(5);
    assert_true(rt_stream_len(out) - rt_stream_base(out) <= max);
    at = 6888896 - 8;
    last = 999999;
    read_numbers(out, &at, &last);
    assert_int_equal(last, 1000000);
    end_box(&b);
    rt->output_max = before;
}

static bool shows(struct rt_stream *st, const char *text)
{
    cleanup_free char *all = text_of(st);

    return strstr(all, text) != NULL;
}

static void test_terminal(void **st)
{
    const char *words[] = {"sh", "-c", "stty size; tty; read x; echo got $x; cat >/dev/null; exit 5", NULL};
    struct rt_exec_spec spec = {.pty = true, .pty_rows = 33, .pty_cols = 101};
    cleanup_free char *out = NULL;
    struct box b;
    struct run r;

    (void)st;
    start_box(&b, "sleep 1000");
    exec_spec(&b, &r, &spec, words);
    assert_int_equal(rt_exec_stdin(r.e, 0, "words\n", 6, false, NULL, NULL, NULL), 0);
    for (double until = now() + PATIENCE; now() < until && !shows(rt_exec_stream(r.e, 1), "got words");)
        turn_for(20);
    assert_int_equal(rt_exec_stdin(r.e, 6, "", 0, true, NULL, NULL, NULL), 0);
    wait_for(&r.ended);
    if (r.how != RT_END_EXITED)
        fail_msg("how %d: %s", r.how, rt_exec_message(r.e));
    assert_int_equal(r.code, 5);
    out = text_of(rt_exec_stream(r.e, 1));
    if (!strstr(out, "33 101\r\n") || (!gvisor && !strstr(out, "/dev/pts/")) || !strstr(out, "got words\r\n"))
        fail_msg("terminal: %s", out);
    assert_true(rt_stream_ended(rt_exec_stream(r.e, 2)));
    rt_exec_free(r.e);
    end_box(&b);
}

static void test_first_process_terminal(void **st)
{
    cleanup_free char *out = NULL;
    struct lists l;
    struct box b;
    struct rt_sandbox_spec spec =
        spec_of(&l, &b, "test -t 0 && test -t 1 && test -t 2 && stty size; read x; echo got $x");

    (void)st;
    spec.pty = true;
    spec.pty_rows = 10;
    spec.pty_cols = 20;
    create(&b, &spec);
    spec_clear(&l);
    assert_int_equal(rt_sandbox_stdin(b.s, 0, "abc\n", 4, false, NULL, NULL, NULL), 0);
    wait_for(&b.ended);
    out = text_of(rt_sandbox_stream(b.s, 1));
    if ((!gvisor && !strstr(out, "10 20\r\n")) || !strstr(out, "got abc\r\n")) /* gVisor's size comes a moment later */
        fail_msg("terminal: %s (%s)", out, b.message);
    rt_sandbox_free(b.s);
}

static void test_timeout_kills_children(void **st)
{
    const char *words[] = {"sh", "-c", "(setsid sleep 991) & (sleep 992 | sleep 993) & sleep 994", NULL};
    struct rt_exec_spec spec = {.timeout_secs = 1};
    cleanup_free char *left = NULL;
    struct box b;
    struct run r;
    double began;

    (void)st;
    start_box(&b, "sleep 1000");
    began = now();
    exec_spec(&b, &r, &spec, words);
    wait_for(&r.ended);
    assert_int_equal(r.how, RT_END_SIGNALED);
    assert_int_equal(r.code, SIGKILL);
    assert_true(now() - began > 990);
    turn_for(gvisor ? 500 : 20);
    left = exec_text(&b, "ps -o args", 0);
    if (strstr(left, "sleep 99"))
        fail_msg("left: %s", left);
    assert_non_null(strstr(left, "sleep 1000"));
    rt_exec_free(r.e);
    end_box(&b);
}

/* An exec of a sandbox that is only being made waits; one of a sandbox that dies is lost. */
static void test_exec_around_life(void **st)
{
    cleanup_err struct err err = ERR_INIT;
    cleanup_free char *out = NULL;
    struct rt_exec_spec again = {0};
    struct strlist args = STRLIST_INIT;
    struct lists l;
    struct box b;
    struct rt_sandbox_spec spec = spec_of(&l, &b, "sleep 1000");
    struct run early, lost;

    (void)st;
    create(&b, &spec);
    spec_clear(&l);
    exec_script(&b, &early, "cat; hostname");
    rt_exec_stdin(early.e, 0, "in\n", 3, true, NULL, NULL, NULL);
    assert_false(b.started);
    wait_for(&early.ended);
    assert_true(b.started);
    out = text_of(rt_exec_stream(early.e, 1));
    assert_string_equal(out, "in\nbox\n");
    exec_script(&b, &lost, "echo here; sleep 1000");
    for (double until = now() + PATIENCE; now() < until && rt_stream_len(rt_exec_stream(lost.e, 1)) < 5;)
        turn_for(5);
    rt_sandbox_kill(b.s);
    wait_for(&lost.ended);
    wait_for(&b.ended);
    assert_int_equal(b.how, RT_END_KILLED);
    assert_int_equal(lost.how, RT_END_LOST);
    assert_int_equal(lost.code, 137);
    assert_int_equal(rt_stream_len(rt_exec_stream(lost.e, 1)), 5);
    assert_true(rt_stream_ended(rt_exec_stream(lost.e, 1)));
    strlist_add(&args, "true");
    again.args = again.env = &args;
    assert_null(rt_exec_start(b.s, &again, &run_events, &lost, &err));
    strlist_clear(&args);
    rt_sandbox_free(b.s);
}

/* The first process ends by itself: its execs go with it. */
static void test_exec_lost_by_exit(void **st)
{
    struct box b;
    struct run r;

    (void)st;
    start_box(&b, "read x; exit 3");
    exec_script(&b, &r, "sleep 1000");
    turn_for(200);
    assert_false(r.ended);
    rt_sandbox_stdin(b.s, 0, "x\n", 2, false, NULL, NULL, NULL);
    wait_for(&b.ended);
    assert_true(r.ended);
    assert_int_equal(r.how, RT_END_LOST);
    assert_int_equal(r.code, 137);
    assert_int_equal(b.how, RT_END_EXITED);
    assert_int_equal(b.code, 3);
    rt_sandbox_free(b.s);
}

static void test_many_at_once(void **st)
{
    enum { MANY = 20 };
    struct box *boxes = xcalloc(MANY, sizeof(*boxes));
    int many = gvisor ? 5 : MANY;
    double began = now();

    (void)st;
    for (int i = 0; i < many; i++) {
        cleanup_free char *script = xasprintf("echo number %d; exit %d", i, i);
        struct lists l;
        struct rt_sandbox_spec spec = spec_of(&l, &boxes[i], script);

        create(&boxes[i], &spec);
        spec_clear(&l);
    }
    for (int i = 0; i < many; i++) {
        cleanup_free char *want = xasprintf("number %d\n", i), *out = NULL;

        wait_for(&boxes[i].ended);
        assert_int_equal(boxes[i].how, RT_END_EXITED);
        assert_int_equal(boxes[i].code, i);
        out = text_of(rt_sandbox_stream(boxes[i].s, 1));
        assert_string_equal(out, want);
    }
    print_message("%d sandboxes from create to end: %.0f ms\n", many, now() - began);
    for (int i = 0; i < many; i++)
        rt_sandbox_free(boxes[i].s);
    free(boxes);
}

/* Freed at every moment of a life, also from its own callbacks. */
static void free_on_start(struct rt_sandbox *s, void *arg)
{
    *(bool *)arg = true;
    rt_sandbox_free(s);
}

static void free_on_exit(struct rt_exec *e, enum rt_end how, int code, void *arg)
{
    (void)how;
    (void)code;
    ((struct run *)arg)->ended = true;
    rt_exec_free(e);
}

static void test_free_at_any_time(void **st)
{
    static const struct rt_sandbox_events at_start = {.on_started = free_on_start};
    static const struct rt_exec_events at_exit = {.on_exit = free_on_exit};
    struct rt_exec_spec exec = {0};
    struct strlist args = STRLIST_INIT;
    struct lists l;
    struct box b;
    struct rt_sandbox_spec spec = spec_of(&l, &b, "sleep 1000");
    struct run r = {0};
    bool started = false;

    (void)st;
    create(&b, &spec);
    rt_sandbox_free(b.s); /* while it is being made */
    spec.id = "free-at-start";
    assert_non_null(rt_sandbox_create(rt, &spec, &at_start, &started, NULL));
    wait_for(&started);
    spec_clear(&l);
    start_box(&b, "sleep 1000");
    strlist_add(&args, "/bin/true");
    exec.args = exec.env = &args;
    r.e = rt_exec_start(b.s, &exec, &at_exit, &r, NULL);
    wait_for(&r.ended);
    for (int i = 0; i < 10; i++) { /* at once, while the runtime starts it, while it runs */
        exec_script(&b, &r, "sleep 998");
        turn_for((unsigned)i * 2);
        rt_exec_free(r.e);
    }
    for (double until = now() + PATIENCE;
         ;) { /* runtimes that were at work when nobody wanted it any more take a moment */
        cleanup_free char *left = exec_text(&b, "ps -o args", 0);

        if (!strstr(left, "sleep 998"))
            break;
        if (now() > until)
            fail_msg("left: %s", left);
        turn_for(50);
    }
    exec_script(&b, &r, "sleep 997");
    strlist_clear(&args);
    rt_sandbox_free(b.s); /* with an exec in it that runs */
}

static void test_times(void **st)
{
    enum { ROUNDS = 10 };
    double start[ROUNDS], exec[ROUNDS], best_start = 1e9, best_exec = 1e9;
    struct box b;

    (void)st;
    for (int i = 0; i < ROUNDS; i++) {
        double began = now();

        start_box(&b, "sleep 1000");
        start[i] = now() - began;
        began = now();
        free(exec_text(&b, "true", 0));
        exec[i] = now() - began;
        end_box(&b);
        best_start = start[i] < best_start ? start[i] : best_start;
        best_exec = exec[i] < best_exec ? exec[i] : best_exec;
    }
    print_message("%s %s: start %.1f ms, exec %.1f ms (best of %d)\n", rt_name(rt), rt_version(rt), best_start,
                  best_exec, ROUNDS);
    assert_true(best_start < 6000);
    assert_true(best_exec < 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spec_refused),
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_start_failures),
        cmocka_unit_test(test_stdin_rules),
        cmocka_unit_test(test_output_kept),
        cmocka_unit_test(test_output_ceiling),
        cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_first_process_terminal),
        cmocka_unit_test(test_timeout_kills_children),
        cmocka_unit_test(test_exec_around_life),
        cmocka_unit_test(test_exec_lost_by_exit),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_free_at_any_time),
        cmocka_unit_test(test_times),
    };

    return run_with_engine("engine_runtime", tests, sizeof(tests) / sizeof(*tests));
}
