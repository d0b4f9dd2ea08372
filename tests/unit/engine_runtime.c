/* link: atp_engine atp_sys atp_base */
/*
 * Real containers: needs root and a runtime, 77 when they are not there. ATP_ENGINE_RUNTIME chooses the runtime. The
 * root is a busybox in a folder of its own; everything is below one temporary folder, and at the end nothing may be
 * left.
 */
#include "backends/engine/runtime.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#define PATIENCE 60000 /* ms; two cores may have other work */

static char folder[] = "/tmp/atp-runtime-XXXXXX";
static char *layer, *state;
static uv_loop_t loop;
static struct rt *rt;
static bool gvisor;
static unsigned serial;

/* ---- a test's view of a sandbox and an exec ---- */

struct box {
    struct rt_sandbox *s;
    bool started, ended;
    enum rt_end how;
    int code;
    char message[512];
    char id[32];
    unsigned outputs;
};

struct run {
    struct rt_exec *e;
    bool ended;
    enum rt_end how;
    int code;
    unsigned done; /* stdin writes that were answered */
};

static void box_started(struct rt_sandbox *s, void *arg)
{
    struct box *b = arg;

    (void)s;
    b->started = true;
}

static void box_ended(struct rt_sandbox *s, enum rt_end how, int code, const char *message, void *arg)
{
    struct box *b = arg;

    (void)s;
    assert_false(b->ended); /* once */
    b->ended = true;
    b->how = how;
    b->code = code;
    snprintf(b->message, sizeof(b->message), "%s", message ? message : "");
}

static void box_output(struct rt_sandbox *s, void *arg)
{
    struct box *b = arg;

    (void)s;
    b->outputs++;
}

static const struct rt_sandbox_events box_events = {box_started, box_ended, box_output};

static void run_output(struct rt_exec *e, int fd, void *arg)
{
    (void)e;
    (void)fd;
    (void)arg;
}

static void run_ended(struct rt_exec *e, enum rt_end how, int code, void *arg)
{
    struct run *r = arg;

    (void)e;
    assert_false(r->ended);
    r->ended = true;
    r->how = how;
    r->code = code;
}

static const struct rt_exec_events run_events = {run_output, run_ended};

static void alarm_rang(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Turns the loop until *flag; fails after PATIENCE. */
static void wait_for(const bool *flag)
{
    uv_timer_t timer;
    bool late = false;

    uv_timer_init(&loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, alarm_rang, PATIENCE, 0);
    while (!*flag && !late)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(*flag);
}

static void turn_for(unsigned ms)
{
    uv_timer_t timer;
    bool over = false;

    uv_timer_init(&loop, &timer);
    timer.data = &over;
    uv_timer_start(&timer, alarm_rang, ms, 0);
    while (!over)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static const char *environment[] = {"PATH=/bin:/usr/bin", "HOME=/root", "ODD=a=b c\nd", NULL};

static void list_of(struct strlist *l, const char *const *words)
{
    for (; *words; words++)
        strlist_add(l, *words);
}

/* A spec of `sh -c script` with usual values; the lists must be cleared by spec_clear(). */
struct lists {
    struct strlist lowers, args, env;
};

static struct rt_sandbox_spec spec_of(struct lists *l, struct box *b, const char *script)
{
    *l = (struct lists){STRLIST_INIT, STRLIST_INIT, STRLIST_INIT};
    *b = (struct box){0};
    snprintf(b->id, sizeof(b->id), "sb-%d-%u", (int)getpid(), ++serial);
    strlist_add(&l->lowers, layer);
    list_of(&l->env, environment);
    strlist_add(&l->args, "sh");
    strlist_add(&l->args, "-c");
    strlist_add(&l->args, script);
    return (struct rt_sandbox_spec){
        .id = b->id, .hostname = "box", .lowers = &l->lowers, .args = &l->args, .env = &l->env, .workdir = "/"};
}

static void spec_clear(struct lists *l)
{
    strlist_clear(&l->lowers);
    strlist_clear(&l->args);
    strlist_clear(&l->env);
}

static void create(struct box *b, const struct rt_sandbox_spec *spec)
{
    cleanup_err struct err err = ERR_INIT;

    b->s = rt_sandbox_create(rt, spec, &box_events, b, &err);
    if (!b->s)
        fail_msg("create: %s", err.msg);
}

/* Starts `sh -c script` and waits until it runs. */
static void start_box(struct box *b, const char *script)
{
    struct lists l;
    struct rt_sandbox_spec spec = spec_of(&l, b, script);

    create(b, &spec);
    spec_clear(&l);
    while (!b->started && !b->ended)
        uv_run(&loop, UV_RUN_ONCE);
    if (!b->started)
        fail_msg("start: %s", b->message);
}

static void end_box(struct box *b)
{
    if (!b->ended) {
        rt_sandbox_kill(b->s);
        wait_for(&b->ended);
        assert_int_equal(b->how, RT_END_KILLED);
    }
    rt_sandbox_free(b->s);
}

/* All of a stream as a string, owned by caller. */
static char *text_of(struct rt_stream *st)
{
    uint64_t len = rt_stream_len(st);
    char *text = xmalloc(len + 1);

    assert_int_equal(rt_stream_read(st, 0, text, len), (ssize_t)len);
    text[len] = '\0';
    return text;
}

/* Runs `sh -c script` to its end in a sandbox of its own. */
static void run_box(struct box *b, const char *script, char **ret_out, char **ret_err)
{
    struct lists l;
    struct rt_sandbox_spec spec = spec_of(&l, b, script);

    create(b, &spec);
    spec_clear(&l);
    rt_sandbox_stdin(b->s, 0, "", 0, true, NULL, NULL, NULL);
    wait_for(&b->ended);
    if (b->how == RT_END_START_FAILED)
        fail_msg("start: %s", b->message);
    if (ret_out)
        *ret_out = text_of(rt_sandbox_stream(b->s, 1));
    if (ret_err)
        *ret_err = text_of(rt_sandbox_stream(b->s, 2));
}

static void exec_spec(struct box *b, struct run *r, struct rt_exec_spec *spec, const char *const *words)
{
    cleanup_strlist struct strlist args = STRLIST_INIT, env = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;

    list_of(&args, words);
    list_of(&env, environment);
    spec->args = &args;
    spec->env = &env;
    *r = (struct run){0};
    r->e = rt_exec_start(b->s, spec, &run_events, r, &err);
    if (!r->e)
        fail_msg("exec: %s", err.msg);
}

static void exec_script(struct box *b, struct run *r, const char *script)
{
    const char *words[] = {"sh", "-c", script, NULL};
    struct rt_exec_spec spec = {0};

    exec_spec(b, r, &spec, words);
}

/* Runs a script and returns its standard output, owned by caller; the exit code must be as said. */
static char *exec_text(struct box *b, const char *script, int code)
{
    struct run r;
    char *text;

    exec_script(b, &r, script);
    rt_exec_stdin(r.e, 0, "", 0, true, NULL, NULL, NULL);
    wait_for(&r.ended);
    text = text_of(rt_exec_stream(r.e, 1));
    if (r.how != RT_END_EXITED || r.code != code) {
        cleanup_free char *said = text_of(rt_exec_stream(r.e, 2));

        fail_msg("%s: how %d code %d: %s%s", script, r.how, r.code, said,
                 rt_exec_message(r.e) ? rt_exec_message(r.e) : "");
    }
    rt_exec_free(r.e);
    return text;
}

static void stdin_done(void *arg)
{
    ((struct run *)arg)->done++;
}

/* ---- the tests ---- */

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
        assert_int_equal(atol(out), 20 << 20);
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

static void test_memory_limit(void **st)
{
    cleanup_free char *out = NULL;
    struct lists l;
    struct box b;
    struct rt_sandbox_spec spec =
        spec_of(&l, &b, "echo before; dd if=/dev/zero of=/dev/null bs=300M count=1 2>/dev/null; echo code $?");

    (void)st;
    if (rt_limits_reason(rt))
        skip();
    spec.memory_bytes = gvisor ? 192 << 20 : 64 << 20;
    create(&b, &spec);
    spec_clear(&l);
    wait_for(&b.ended);
    out = text_of(rt_sandbox_stream(b.s, 1));
    if (gvisor) /* the sandbox as a whole is one process of the kernel's: it goes */
        assert_null(strstr(out, "code 0"));
    else
        assert_string_equal(out, "before\ncode 137\n");
    rt_sandbox_free(b.s);
}

static void test_cpu_limit(void **st)
{
    cleanup_free char *limited = NULL;
    struct lists l;
    struct box b;
    struct rt_sandbox_spec spec = spec_of(
        &l, &b,
        "a=$(date +%s%N 2>/dev/null); timeout 1 sh -c 'while :; do :; done'; cat /proc/uptime >/dev/null; times");
    unsigned minutes;
    double seconds;
    const char *line;

    (void)st;
    if (rt_limits_reason(rt) || gvisor)
        skip(); /* gVisor counts the time of its own making */
    spec.milli_cpu = 200;
    create(&b, &spec);
    spec_clear(&l);
    wait_for(&b.ended);
    limited = text_of(rt_sandbox_stream(b.s, 1));
    line = strchr(limited, '\n'); /* the second line is the children's */
    assert_non_null(line);
    assert_int_equal(sscanf(line + 1, "%um%lfs", &minutes, &seconds), 2);
    if (minutes || seconds > 0.45)
        fail_msg("a fifth of a CPU for a second: %s", limited);
    rt_sandbox_free(b.s);
}

static void test_pids_limit(void **st)
{
    cleanup_free char *said = NULL, *out = NULL;
    struct lists l;
    struct box b;
    struct rt_sandbox_spec spec =
        spec_of(&l, &b, "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 5 & done; echo all");

    (void)st;
    if (rt_limits_reason(rt) || gvisor)
        skip(); /* gVisor's processes are not the kernel's: the limit holds its threads */
    spec.pids = 12;
    create(&b, &spec);
    spec_clear(&l);
    wait_for(&b.ended);
    out = text_of(rt_sandbox_stream(b.s, 1));
    said = text_of(rt_sandbox_stream(b.s, 2));
    assert_string_equal(out, "");
    assert_non_null(strstr(said, "fork"));
    rt_sandbox_free(b.s);
}

static void test_isolation(void **st)
{
    struct box b;
    char *text;

    (void)st;
    start_box(&b, "sleep 1000");
    text = exec_text(&b, "id -u; hostname; pwd; ls /proc | grep -c '^[0-9]'", 0);
    if (strncmp(text, "0\nbox\n/\n", 8) != 0 || atoi(text + 8) > 8)
        fail_msg("own namespaces: %s", text);
    free(text);
    text = exec_text(&b, "grep CapEff /proc/self/status", 0);
    assert_string_equal(text, gvisor ? "CapEff:\t00000000a80405fb\n" /* it keeps raw sockets to itself */
                                     : "CapEff:\t00000000a80425fb\n");
    free(text);
    text = exec_text(&b, "cat /etc/hostname; grep box /etc/hosts; grep -c nameserver /etc/resolv.conf", 0);
    assert_non_null(strstr(text, "box\n"));
    free(text);
    free(exec_text(&b, "mount -t tmpfs none /tmp 2>/dev/null", gvisor ? 1 : 1));
    free(exec_text(&b, "df /dev/shm | grep -q 65536 && touch /dev/shm/x", 0));
    free(exec_text(
        &b, "echo x > /dev/null && head -c 4 /dev/urandom >/dev/null && test -c /dev/zero && test -c /dev/tty", 0));
    free(exec_text(&b, "mknod /tmp/null c 1 3", 0)); /* CAP_MKNOD is Docker's */
    free(exec_text(&b, "chown 12:34 /tmp/null && chroot / true", 0));
    text = exec_text(&b, "mount -o remount,rw /sys 2>&1; sleep 0", 0);
    free(text);
    if (!gvisor) {
        text = exec_text(&b, "grep Seccomp: /proc/self/status", 0);
        assert_string_equal(text, "Seccomp:\t2\n");
        free(text);
        free(exec_text(&b, "unshare -U true 2>/dev/null", 1));
        free(exec_text(&b, "unshare -m true 2>/dev/null", 1));
        text = exec_text(&b, "unshare -U true 2>&1; sethostname x 2>&1; hostname y 2>&1; sleep 0", 0);
        assert_non_null(strstr(text, "Operation not permitted"));
        free(text);
        free(exec_text(&b, "test -z \"$(cat /proc/kcore /proc/keys /proc/timer_list)\"", 0));
        free(exec_text(&b, "test -z \"$(ls /sys/firmware)\"", 0));
        free(exec_text(&b, "echo 1 > /proc/sys/kernel/domainname", 1));
        free(exec_text(&b, "echo x > /sys/kernel/uevent_helper", 1));
        free(exec_text(&b, "echo b > /proc/sysrq-trigger", 1));
    }
    end_box(&b);
}

static void test_root_is_layered(void **st)
{
    cleanup_free char *top = xasprintf("%s/top", folder), *odd = xasprintf("%s/od:d,\\x", folder), *file = NULL,
                      *text = NULL, *changed = NULL, *shared = xasprintf("%s/shared", folder);
    struct rt_mount mount = {.source = shared, .target = "/.given/dir"};
    struct lists l;
    struct box b;
    struct rt_sandbox_spec spec = spec_of(&l, &b,
                                          "cat /etc/motd /odd; pwd; echo new > /etc/motd; rm /odd; touch made; cat "
                                          "/.given/dir/f; echo x > /.given/dir/f");

    (void)st;
    for (int i = 0; i < 3; i++) {
        const char *dirs[] = {top, odd, shared};
        const char *names[] = {"etc/motd", "odd", "f"};
        FILE *f;

        mkdir(dirs[i], 0755);
        file = xasprintf("%s/etc", dirs[i]);
        mkdir(file, 0755);
        free(file);
        file = xasprintf("%s/%s", dirs[i], names[i]);
        f = fopen(file, "we");
        fputs(names[i], f);
        fputs("\n", f);
        fclose(f);
        free(file);
        file = NULL;
    }
    strlist_insert(&l.lowers, 0, odd);
    strlist_insert(&l.lowers, 0, top);
    strlist_add(&l.lowers, top); /* a repeat */
    for (int i = 0; i < 150; i++) {
        cleanup_free char *empty = xasprintf("%s/empty-%d-with-a-name-that-takes-room-in-the-options", folder, i);

        mkdir(empty, 0755);
        strlist_add(&l.lowers, empty);
    }
    spec.workdir = "/deep/er";
    spec.mounts = &mount;
    spec.mounts_len = 1;
    create(&b, &spec);
    spec_clear(&l);
    wait_for(&b.ended);
    text = text_of(rt_sandbox_stream(b.s, 1));
    if (b.how == RT_END_START_FAILED)
        fail_msg("%s", b.message);
    assert_string_equal(text, "etc/motd\nodd\n/deep/er\nf\n");
    assert_int_equal(b.code, 1); /* the mount is read-only */
    changed = xasprintf("%s/deep/er/made", rt_sandbox_upper(b.s));
    assert_int_equal(access(changed, F_OK), 0);
    free(changed);
    changed = xasprintf("%s/odd", rt_sandbox_upper(b.s));
    {
        struct stat whiteout;

        assert_int_equal(lstat(changed, &whiteout), 0);
        assert_true(S_ISCHR(whiteout.st_mode));
    }
    rt_sandbox_free(b.s);
}

/* ---- network: a namespace behind the host plays the internet ---- */

static int sh(const char *script)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* A server in the background; kill it with stop(). */
static pid_t serve(const char *script)
{
    cleanup_free char *replaced = xasprintf("exec %s", script);
    pid_t pid = fork();

    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", replaced, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void stop(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

#define OUTSIDE "rtoutside"

static void make_outside(void)
{
    assert_int_equal(
        sh("ip netns del " OUTSIDE " 2>/dev/null; ip link del " OUTSIDE " 2>/dev/null; set -e; ip netns add " OUTSIDE
           "; ip link add " OUTSIDE " type veth peer name eth0 netns " OUTSIDE
           "; ip addr add 198.51.100.1/24 dev " OUTSIDE "; ip link set " OUTSIDE " up"
           "; ip -n " OUTSIDE " addr add 198.51.100.2/24 dev eth0; ip -n " OUTSIDE " addr add 203.0.113.2/32 dev eth0"
           "; ip -n " OUTSIDE " link set eth0 up; ip -n " OUTSIDE
           " link set lo up; ip route add 203.0.113.2/32 via 198.51.100.2"),
        0);
}

static void remove_outside(void)
{
    sh("ip netns del " OUTSIDE "; ip link del " OUTSIDE " 2>/dev/null");
}

static char *address_of(struct box *b)
{
    return exec_text(b, "ip -4 -o addr show dev eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/' | tr -d '\\n'", 0);
}

static void test_network(void **st)
{
    cleanup_free char *one = NULL, *two = NULL, *script = NULL, *answer = NULL;
    pid_t servers[2];
    struct box a, b;
    struct run server;

    (void)st;
    if (rt_network_reason(rt)) {
        print_message("skipped: %s\n", rt_network_reason(rt));
        skip();
    }
    make_outside();
    start_box(&a, "sleep 1000");
    start_box(&b, "sleep 1000");
    one = address_of(&a);
    two = address_of(&b);
    assert_string_not_equal(one, two);
    /* Outwards, and to the gateway; the outside sees the host's address, not ours. */
    free(exec_text(&a, "ping -c 1 -W 5 198.51.100.2 >/dev/null && ping -c 1 -W 5 203.0.113.2 >/dev/null", 0));
    free(exec_text(&a, "ping -c 1 -W 5 $(ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p') >/dev/null", 0));
    servers[0] = serve("ip netns exec " OUTSIDE " busybox nc -l -p 8000 -e echo outside");
    script = xasprintf(
        "for i in 1 2 3 4 5 6 7 8 9 10; do nc -w 5 198.51.100.2 8000 </dev/null && exit 0; sleep 0.2; done; exit 1");
    answer = exec_text(&a, script, 0);
    assert_string_equal(answer, "outside\n");
    /* Not to another sandbox */
    exec_script(&b, &server, "nc -l -p 9000 -e echo hello");
    free(script);
    script = xasprintf("ping -c 1 -W 1 %s >/dev/null || nc -w 1 %s 9000 </dev/null", two, two);
    free(exec_text(&a, script, 1));
    /* Not to the host's services, by none of its addresses */
    servers[1] = serve("busybox nc -l -p 9111 -e echo host");
    turn_for(200);
    free(exec_text(&a,
                   "for h in $(ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p') 198.51.100.1; do nc -w 1 $h "
                   "9111 </dev/null && exit 7; done; exit 0",
                   0));
    free(exec_text(&a, "ip -6 addr show dev eth0 | grep -v fe80 | grep inet6", 1));
    rt_exec_free(server.e);
    stop(servers[0]);
    stop(servers[1]);
    end_box(&a);
    end_box(&b);
    remove_outside();
}

static void test_network_allow_list(void **st)
{
    struct lists l;
    struct box b;
    struct rt_sandbox_spec spec = spec_of(&l, &b, "sleep 1000");
    struct strlist cidrs = STRLIST_INIT;
    struct err err = ERR_INIT;

    (void)st;
    strlist_add(&cidrs, "198.51.100.0/24; reboot");
    spec.network = RT_NETWORK_ALLOWLIST;
    spec.allowed_cidrs = &cidrs;
    assert_null(rt_sandbox_create(rt, &spec, &box_events, &b, &err));
    err_clear(&err);
    strlist_clear(&cidrs);
    if (rt_network_reason(rt)) {
        spec_clear(&l);
        skip();
    }
    make_outside();
    strlist_add(&cidrs, "198.51.100.2");
    strlist_add(&cidrs, "2001:db8::/32");
    create(&b, &spec);
    spec_clear(&l);
    strlist_clear(&cidrs);
    free(exec_text(&b, "ping -c 1 -W 5 198.51.100.2 >/dev/null", 0));
    free(exec_text(&b, "ping -c 1 -W 1 203.0.113.2 >/dev/null", 1));
    end_box(&b);
    remove_outside();
}

static void test_network_blocked(void **st)
{
    cleanup_free char *devices = NULL;
    struct lists l;
    struct box b;
    struct rt_sandbox_spec spec = spec_of(
        &l, &b,
        "ls /sys/class/net 2>/dev/null || ip -o link | cut -d: -f2; ping -c 1 -W 2 127.0.0.1 >/dev/null; echo $?");

    (void)st;
    spec.network = RT_NETWORK_BLOCKED;
    create(&b, &spec);
    spec_clear(&l);
    wait_for(&b.ended);
    devices = text_of(rt_sandbox_stream(b.s, 1));
    if (strstr(devices, "eth") || !strstr(devices, "lo") || (!gvisor && !strstr(devices, "\n0\n")))
        fail_msg("devices: %s", devices);
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
    turn_for(gvisor ? 1000 : 100);
    {
        cleanup_free char *left = exec_text(&b, "ps -o args", 0);

        if (strstr(left, "sleep 998"))
            fail_msg("left: %s", left);
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
    assert_true(best_start < 2000);
    assert_true(best_exec < 1000);
}

/* ---- an engine that is killed ---- */

static int count_lines(const char *script)
{
    FILE *p = popen(script, "re");
    char line[4096];
    int n = 0;

    while (fgets(line, sizeof(line), p))
        n++;
    pclose(p);
    return n;
}

/* Things on this machine that bear the name of our folder, or of sandboxes' devices. */
static int leftovers(const char *dir)
{
    cleanup_free char *processes = xasprintf("ps -eo args | grep -E 'sleep 77[7]|%s/run' | grep -v grep", dir);
    cleanup_free char *mounts = xasprintf("grep '%s' /proc/mounts", dir);
    cleanup_free char *ids =
        xasprintf("find /sys/fs/cgroup -maxdepth 5 -name 'doomed-%d-?' 2>/dev/null", (int)getpid());

    return count_lines(processes) + count_lines(mounts) + count_lines(ids);
}

static void doomed_engine(const char *dir, int tell)
{
    struct rt_config config = {.dir = dir, .network = true};
    struct lists l;
    struct box b, c;
    struct rt_sandbox_spec spec;

    uv_loop_init(&loop);
    rt = rt_new(&loop, &config, NULL);
    if (!rt)
        _exit(1);
    spec = spec_of(&l, &b, "(setsid sleep 777) & sleep 777");
    snprintf(b.id, sizeof(b.id), "doomed-%d-a", (int)getppid());
    spec.memory_bytes = rt_limits_reason(rt) ? 0 : 512 << 20;
    b.s = rt_sandbox_create(rt, &spec, &box_events, &b, NULL);
    while (!b.started && !b.ended)
        uv_run(&loop, UV_RUN_ONCE);
    spec = spec_of(&l, &c, "sleep 777");
    snprintf(c.id, sizeof(c.id), "doomed-%d-b", (int)getppid());
    rt_sandbox_create(rt, &spec, &box_events, &c, NULL); /* killed while this one is being made */
    if (write(tell, b.started ? "1" : "0", 1) != 1)
        _exit(1);
    while (true)
        uv_run(&loop, UV_RUN_ONCE);
}

static void test_recovery(void **st)
{
    cleanup_free char *dir = xasprintf("%s/doomed", folder), *containers = xasprintf("%s/containers", dir);
    struct rt_config config = {.dir = dir, .network = true};
    cleanup_err struct err err = ERR_INIT;
    cleanup_free char *count = xasprintf("ls -A %s", containers);
    struct rt *other;
    int pipes[2];
    char started = 0;
    pid_t pid;

    (void)st;
    mkdir(dir, 0700);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0)
        doomed_engine(dir, pipes[1]);
    close(pipes[1]);
    assert_int_equal(read(pipes[0], &started, 1), 1);
    close(pipes[0]);
    assert_int_equal(started, '1');
    assert_null(rt_new(&loop, &config, &err)); /* one engine per folder */
    assert_non_null(strstr(err.msg, "another engine"));
    usleep((useconds_t)(rand() % 20000));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_true(leftovers(dir) > 0);
    err_clear(&err);
    other = rt_new(&loop, &config, &err);
    if (!other)
        fail_msg("recovery: %s", err.msg);
    assert_int_equal(leftovers(dir), 0);
    assert_int_equal(count_lines(count), 0);
    turn_for(50);
    while (waitpid(-1, NULL, WNOHANG) > 0) /* orphans of the dead engine come to us, its parent */
        ;
    rt_free(other);
}

/* ---- around it all ---- */

static void make_layer(void)
{
    static const char *const folders[] = {"bin", "etc", "proc", "sys", "dev", "tmp", "root", "usr", "usr/bin"};
    cleanup_free char *install = NULL;

    layer = xasprintf("%s/layer", folder);
    state = xasprintf("%s/state", folder);
    mkdir(layer, 0755);
    mkdir(state, 0700);
    for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
        cleanup_free char *path = xasprintf("%s/%s", layer, folders[i]);

        mkdir(path, 0755);
    }
    install = xasprintf("cp \"$(command -v busybox)\" %s/bin/busybox && cd %s/bin && for a in $(./busybox --list); do "
                        "test $a = busybox || ln -s busybox $a; done; echo motd > ../etc/motd; echo "
                        "'root:x:0:0::/root:/bin/sh' > ../etc/passwd",
                        layer, layer);
    assert_int_equal(sh(install), 0);
}

static int set_up(void **st)
{
    struct rt_config config = {.network = true};
    cleanup_err struct err err = ERR_INIT;

    (void)st;
    make_layer();
    config.dir = state;
    uv_loop_init(&loop);
    rt = rt_new(&loop, &config, &err);
    if (!rt)
        fail_msg("rt_new: %s", err.msg);
    gvisor = strncmp(rt_name(rt), "runsc", 5) == 0;
    print_message("runtime %s %s; network: %s; limits: %s\n", rt_name(rt), rt_version(rt),
                  rt_network_reason(rt) ? rt_network_reason(rt) : "yes",
                  rt_limits_reason(rt) ? rt_limits_reason(rt) : "yes");
    return 0;
}

/* After rt_free nothing of ours may be on the machine. */
static int tear_down(void **st)
{
    /* Devices and chains bear the number of an engine; one that lives holds a file for it. */
    static const char devices[] = "for n in $(ip -o link | grep -oE ' atp[0-9]+v' | grep -oE '[0-9]+'); do "
                                  "test -e /run/atp-engine/net-$n || echo $n; done";
    static const char chains[] = "for n in $( (iptables -S; iptables -t nat -S) 2>/dev/null | grep -oE ' ATP[0-9]+' | "
                                 "grep -oE '[0-9]+'); do test -e /run/atp-engine/net-$n || echo $n; done";
    cleanup_free char *containers = xasprintf("ls -A %s/containers", state);

    (void)st;
    rt_free(rt);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(leftovers(state), 0);
    assert_int_equal(count_lines(containers), 0);
    assert_int_equal(count_lines(devices), 0);
    assert_int_equal(count_lines(chains), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child, dead or alive */
    assert_int_equal(uv_loop_close(&loop), 0);        /* and no handle */
    return 0;
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
        cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_first_process_terminal),
        cmocka_unit_test(test_timeout_kills_children),
        cmocka_unit_test(test_exec_around_life),
        cmocka_unit_test(test_exec_lost_by_exit),
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_cpu_limit),
        cmocka_unit_test(test_pids_limit),
        cmocka_unit_test(test_isolation),
        cmocka_unit_test(test_root_is_layered),
        cmocka_unit_test(test_network),
        cmocka_unit_test(test_network_allow_list),
        cmocka_unit_test(test_network_blocked),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_free_at_any_time),
        cmocka_unit_test(test_recovery),
        cmocka_unit_test(test_times),
    };
    cleanup_free char *remove = NULL;
    const char *wanted = getenv("ATP_ENGINE_RUNTIME");
    cleanup_free char *look = xasprintf("command -v %s >/dev/null || command -v %s >/dev/null",
                                        wanted && *wanted ? wanted : "crun", wanted && *wanted ? wanted : "runc");
    int failed;

    if (geteuid() != 0) {
        puts("skipped: containers need root");
        return 77;
    }
    if (sh(look) != 0 || sh("command -v busybox >/dev/null") != 0) {
        puts("skipped: no container runtime, or no busybox");
        return 77;
    }
    if (!mkdtemp(folder))
        return 1;
    cmocka_set_test_filter(getenv("ATP_TEST_FILTER"));
    failed = cmocka_run_group_tests(tests, set_up, tear_down);
    remove = xasprintf("rm -rf %s", folder);
    sh(remove);
    free(layer);
    free(state);
    return failed;
}
