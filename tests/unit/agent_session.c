/* link: atp_session atp_bsync atp_tsync atp_wire atp_sys atp_base */
#include "tests/unit/agent_rig.h"
#include "translate/wire/wire.h"

#include <pwd.h>

#define NELEM(a) (sizeof(a) / sizeof((a)[0]))

static void test_codes_and_streams(void **state)
{
    struct rig *rig = *state;
    struct run r;

    rig_expect(rig, "true", 0, "", "");
    rig_expect(rig, "exit 255", 255, "", "");
    rig_expect(rig, "echo out; echo err >&2; exit 3", 3, "out\n", "err\n");
    rig_expect(rig, "cat; echo no stdin", 0, "no stdin\n", "");
    rig_expect(rig, "pwd; umask; grep -E 'Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | wc -l", 0,
               "/\n0022\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n4\n", "");
    run_init(&r, rig, "kill -TERM $$");
    run_all(&r, NULL, 0);
    assert_int_equal(r.result.end, SESSION_EXITED);
    assert_int_equal(r.result.signal, SIGTERM);
    assert_int_equal(r.result.code, 143);
    run_clear(&r);
}

static void test_env(void **state)
{
    struct run r;

    run_init(&r, *state, NULL);
    strlist_add(&r.argv, "env");
    strlist_add(&r.env, "A=1");
    strlist_add(&r.env, "B=x\ny = z");
    strlist_add(&r.env, "E=");
    run_all(&r, NULL, 0);
    assert_string_equal(r.got[1].data, RIG_PATH "\nA=1\nB=x\ny = z\nE=\nHOME=/root\n");
    run_clear(&r);
    run_init(&r, *state, NULL);
    strlist_add(&r.argv, "env");
    strlist_add(&r.env, "HOME=/x");
    run_all(&r, NULL, 0);
    assert_string_equal(r.got[1].data, RIG_PATH "\nHOME=/x\n");
    run_clear(&r);
}

static void test_users(void **state)
{
    static const struct {
        const char *user, *script, *out;
    } t[] = {
        {"daemon", "id -u; id -g; id -G; echo $HOME", "1\n1\n1\n/usr/sbin\n"},
        {"1", "id -u; id -g", "1\n1\n"},
        {"4711", "id -u; id -g; id -G; echo $HOME", "4711\n0\n0\n/\n"},
        {"4711:4712", "id -u; id -g; id -G", "4711\n4712\n4712\n"},
        {"daemon:bin", "id -u; id -g; id -G", "1\n2\n2\n"},
        {"daemon", "echo x > /dev/stdout; echo y > /proc/self/fd/2; cat /etc/shadow 2>/dev/null || echo no", "x\nno\n"},
    };
    struct run r;

    for (size_t i = 0; i < NELEM(t); i++) {
        run_init(&r, *state, t[i].script);
        r.start.user = t[i].user;
        run_all(&r, NULL, 0);
        assert_string_equal(r.got[1].data, t[i].out);
        run_clear(&r);
    }
}

#define EXEC_TEXT(t) "OCI runtime exec failed: exec failed: unable to start container process: " t ": unknown"

static void test_refusals(void **state)
{
    static const struct {
        const char *arg, *user, *cwd;
        int code;
        const char *text;
    } t[] = {
        {"nosuch", "", "", 127, EXEC_TEXT("exec: \"nosuch\": executable file not found in $PATH")},
        {"/nosuch", "", "", 127, EXEC_TEXT("exec: \"/nosuch\": stat /nosuch: no such file or directory")},
        {"", "", "", 127, EXEC_TEXT("exec: \"\": executable file not found in $PATH")},
        {"/etc/passwd", "", "", 126, EXEC_TEXT("exec: \"/etc/passwd\": permission denied")},
        {"/etc", "", "", 126, EXEC_TEXT("exec: \"/etc\": is a directory")},
        {"true", "nobody-x", "", 126, "unable to find user nobody-x: no matching entries in passwd file"},
        {"true", "root:nope", "", 126, "unable to find group nope: no matching entries in group file"},
        {"true", "", "/nodir", 127,
         EXEC_TEXT("chdir to cwd (\"/nodir\") set in config.json failed: no such file or directory")},
        {"true", "", "/etc/passwd", 126,
         EXEC_TEXT("chdir to cwd (\"/etc/passwd\") set in config.json failed: not a directory")},
    };
    struct run r;

    for (size_t i = 0; i < NELEM(t); i++) {
        run_init(&r, *state, NULL);
        strlist_add(&r.argv, t[i].arg);
        r.start.user = t[i].user;
        r.start.cwd = t[i].cwd;
        run_all(&r, NULL, 0);
        assert_int_equal(r.result.end, SESSION_REFUSED);
        assert_string_equal(r.error, t[i].text);
        assert_int_equal(r.result.code, t[i].code);
        assert_false(r.started);
        run_clear(&r);
    }
}

/* What execve() itself refuses is the process's own output, as under Docker's runtime. */
static void test_exec_format(void **state)
{
    struct rig *rig = *state;
    cleanup_free char *path = xasprintf("%s/noformat", rig->dir);
    cleanup_free char *text = xasprintf("exec %s: exec format error\n", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    struct run r;

    assert_int_equal(write(fd, "echo hi\n", 8), 8);
    close(fd);
    run_init(&r, rig, NULL);
    strlist_add(&r.argv, path);
    run_all(&r, NULL, 0);
    assert_string_equal(r.got[2].data, text);
    assert_int_equal(r.result.code, 255);
    run_clear(&r);
}

static char *pattern(size_t len)
{
    char *bytes = xmalloc(len);
    uint32_t x = 1;

    for (size_t i = 0; i < len; i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (char)(x >> 24);
    }
    return bytes;
}

/* 50 MiB in and the same 50 MiB out, with a reader that takes little at a time. */
static void test_large_streams(void **state)
{
    size_t len = 50u << 20;
    cleanup_free char *bytes = pattern(len);
    struct run r;

    run_init(&r, *state, "cat; exec >&-; echo end >&2");
    r.start.attach_stdin = true;
    r.input = bytes;
    r.input_len = len;
    r.take_at_once = 20000;
    run_begin(&r, NULL, 0);
    while (!r.done) {
        loop_step(r.loop, 5);
        for (int i = 0; i < 8; i++)
            session_output_ready(r.session);
    }
    run_finish(&r);
    assert_int_equal(r.result.code, 0);
    assert_int_equal(r.got[1].len, len);
    assert_memory_equal(r.got[1].data, bytes, len);
    assert_string_equal(r.got[2].data, "end\n");
    run_clear(&r);
}

/* A process that does not read its stdin neither grows anything nor stops signals and the end. */
static void test_unread_stdin(void **state)
{
    size_t len = 20u << 20;
    cleanup_free char *bytes = pattern(len);
    struct run r;

    run_init(&r, *state, "trap 'exit 42' TERM; echo ready; while :; do sleep 0.05; done");
    r.start.attach_stdin = true;
    r.input = bytes;
    r.input_len = len;
    run_begin(&r, NULL, 0);
    assert_true(run_turn(&r, RIG_DEADLINE, has_output));
    run_turn(&r, 300, NULL);
    assert_true(r.input_sent >= WIRE_WINDOW && r.input_sent <= WIRE_WINDOW + (128 << 10));
    session_signal(r.session, SIGTERM, false);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_int_equal(r.result.code, 42);
    run_finish(&r);
    run_clear(&r);
    run_init(&r, *state, "head -c 10"); /* stdin closed by the process: the rest goes nowhere */
    r.start.attach_stdin = true;
    r.input = bytes;
    r.input_len = len;
    run_all(&r, NULL, 0);
    assert_int_equal(r.result.code, 0);
    assert_int_equal(r.got[1].len, 10);
    run_clear(&r);
}

/* A reader that takes nothing holds the process; one that goes away ends it. */
static void test_gone_reader(void **state)
{
    struct run r;

    run_init(&r, *state, NULL);
    strlist_add(&r.argv, "yes");
    r.take_nothing = true;
    run_begin(&r, NULL, 0);
    assert_true(run_turn(&r, RIG_DEADLINE, is_started));
    run_turn(&r, 500, NULL);
    assert_true(r.wire_in >= WIRE_WINDOW);
    assert_true(r.wire_in < WIRE_WINDOW + (64 << 10));
    session_output_closed(r.session, 1);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_true(r.done);
    assert_int_equal(r.result.code, 128 + SIGPIPE);
    run_finish(&r);
    run_clear(&r);
}

static void test_slow_reader_gets_all(void **state)
{
    struct run r;

    run_init(&r, *state, "head -c 9000000 /dev/zero");
    r.take_nothing = true;
    run_begin(&r, NULL, 0);
    run_turn(&r, 600, NULL);
    assert_false(r.done);
    r.take_nothing = false;
    session_output_ready(r.session);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_true(r.done);
    run_finish(&r);
    assert_int_equal(r.got[1].len, 9000000);
    run_clear(&r);
}

static void test_terminal(void **state)
{
    struct run r;

    run_init(&r, *state,
             "test -t 0 && test -t 1 && test -t 2 && stty size && echo $TERM; tty >/dev/null && echo err >&2");
    r.start.tty = true;
    r.start.attach_stdin = true;
    r.start.rows = 33;
    r.start.cols = 77;
    run_all(&r, NULL, 0);
    assert_string_equal(r.got[1].data, "33 77\r\nxterm\r\nerr\r\n");
    assert_int_equal(r.got[2].len, 0);
    run_clear(&r);
}

static bool has_size(struct run *r)
{
    return strstr(r->got[1].data, "50 132") != NULL;
}

static void test_resize_and_keys(void **state)
{
    struct run r;

    run_init(&r, *state,
             "trap 'stty size' WINCH; trap 'exit 7' INT; stty -echo; echo ready; while :; do sleep 0.05; done");
    r.start.tty = true;
    r.start.attach_stdin = true;
    r.hold_input = true;
    run_begin(&r, NULL, 0);
    assert_true(run_turn(&r, RIG_DEADLINE, has_output));
    session_resize(r.session, 50, 132);
    assert_true(run_turn(&r, RIG_DEADLINE, has_size));
    assert_int_equal(session_stdin(r.session, "\003", 1), 1); /* Ctrl-C is the terminal's business */
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_int_equal(r.result.code, 7);
    run_finish(&r);
    run_clear(&r);
}

static void test_signals(void **state)
{
    struct run r;

    /* before START is even sent: kept until the program runs */
    run_init(&r, *state, "sleep 30");
    run_begin(&r, NULL, 0);
    session_signal(r.session, SIGKILL, false);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_int_equal(r.result.code, 137);
    run_finish(&r);
    run_clear(&r);
    /* to the process only: its child lives on and holds it up; then to the group */
    run_init(
        &r, *state,
        "trap 'echo got' USR1; (trap 'echo child; exit' USR1; echo ready; while :; do sleep 0.05; done) & wait; wait");
    run_begin(&r, NULL, 0);
    assert_true(run_turn(&r, RIG_DEADLINE, has_output));
    session_signal(r.session, SIGUSR1, true);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_non_null(strstr(r.got[1].data, "got\n"));
    assert_non_null(strstr(r.got[1].data, "child\n"));
    run_finish(&r);
    run_clear(&r);
}

static void test_background(void **state)
{
    int64_t at = loop_now(), took = 1000;
    struct run r;

    rig_expect(*state, "sleep 20 & echo main", 0, "main\n", "");
    assert_true(loop_now() - at >= 1000 && loop_now() - at < 18000); /* it lingered and returned */
    for (int i = 0; i < 20 && took >= 1000;
         i++) { /* nobody holds the streams: no linger, which a busy machine may hide */
        at = loop_now();
        rig_expect(*state, "sleep 20 >/dev/null 2>&1 & echo main", 0, "main\n", "");
        took = loop_now() - at;
    }
    assert_true(took < 1000);
    /* a chatty child does not keep it either, and goes on living */
    at = loop_now();
    run_init(&r, *state, "(while :; do echo child; sleep 0.01; done) 2>/dev/null & exit 5");
    run_all(&r, NULL, 0);
    assert_int_equal(r.result.code, 5);
    assert_true(loop_now() - at < 30000);
    run_clear(&r);
}

static void test_arguments(void **state)
{
    cleanup_free char *big = xcalloc(1, 128 << 10);
    struct run r;

    memset(big, 'x', (128 << 10) - 1);
    run_init(&r, *state, "echo $# ${#1} ${#5} $6");
    strlist_add(&r.argv, "sh");
    for (int i = 0; i < 5; i++)
        strlist_add(&r.argv, big);
    for (int i = 0; i < 60000; i++)
        strlist_add(&r.argv, "a b");
    run_all(&r, NULL, 0);
    assert_string_equal(r.got[1].data, "60005 131071 131071 a b\n");
    run_clear(&r);
    run_init(&r, *state, "true"); /* beyond what the system takes: told, not cut */
    memset(big, 'x', (128 << 10) - 1);
    for (int i = 0; i < 40; i++)
        strlist_add(&r.argv, big);
    run_all(&r, NULL, 0);
    assert_non_null(strstr(r.got[2].data, "argument list too long"));
    assert_int_equal(r.result.code, 255);
    run_clear(&r);
    run_init(&r, *state, "true");
    for (int i = 0; i < 80; i++)
        strlist_add(&r.argv, big);
    run_all(&r, NULL, 0);
    assert_int_equal(r.result.end, SESSION_REFUSED);
    assert_int_equal(r.result.code, 126);
    run_clear(&r);
}

/* The session is killed: the process neither dies nor blocks nor gets SIGPIPE. */
static void test_killed_session(void **state)
{
    struct rig *rig = *state;
    cleanup_free char *file = xasprintf("%s/killed", rig->dir);
    cleanup_free char *script = xasprintf("echo ready; i=0; while [ $i -lt 300 ]; do head -c 5000 /dev/zero || exit 1; "
                                          "i=$((i+1)); done; cat; echo ok > %s",
                                          file);
    struct run r;

    run_init(&r, rig, script);
    r.start.attach_stdin = true;
    r.hold_input = true; /* its `cat` ends when the session goes */
    r.take_nothing = true;
    run_begin(&r, NULL, 0);
    assert_true(run_turn(&r, RIG_DEADLINE, is_started));
    assert_int_equal(kill(r.agent, SIGKILL), 0);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_true(r.done);
    assert_int_equal(r.result.end, SESSION_LOST);
    assert_int_equal(r.result.code, 125);
    assert_true(wait_for_file(file));
    run_finish(&r);
    run_clear(&r);
}

/* A client that only keeps its heartbeat is not orphaned; nor is it told that the agent is lost. */
static void test_heartbeat(void **state)
{
    struct run r;

    run_init(&r, *state, "sleep 2; echo end");
    run_begin(&r, NULL, 0);
    session_set_lease(r.session, 200, 800);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_string_equal(r.got[1].data, "end\n");
    run_finish(&r);
    run_clear(&r);
}

/* The agent is stopped: the client finds out within its own time. */
static void test_lost_agent(void **state)
{
    struct run r;

    run_init(&r, *state, "sleep 1");
    run_begin(&r, NULL, 0);
    session_set_lease(r.session, 200, 700);
    assert_true(run_turn(&r, RIG_DEADLINE, is_started));
    kill(r.agent, SIGSTOP);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_true(r.done);
    assert_int_equal(r.result.end, SESSION_LOST);
    assert_non_null(strstr(r.error, "silent"));
    kill(r.agent, SIGKILL);
    run_finish(&r);
    run_clear(&r);
}

static void test_detach(void **state)
{
    struct rig *rig = *state;
    cleanup_free char *file = xasprintf("%s/detached", rig->dir);
    cleanup_free char *script = xasprintf("sleep 0.3; echo ok > %s", file);
    struct run r;

    run_init(&r, rig, script);
    run_begin(&r, NULL, 0);
    assert_true(run_turn(&r, RIG_DEADLINE, is_started));
    session_detach(r.session);
    assert_true(r.done);
    assert_int_equal(r.result.end, SESSION_DETACHED);
    run_finish(&r);
    assert_true(wait_for_file(file));
    run_clear(&r);
}

/* Speaks bytes of our choice to a session; returns how it ended and what it said. */
static int raw_session(struct rig *rig, const void *bytes, size_t len, struct buf *answer)
{
    int in[2], out[2];
    char got[4096];
    pid_t pid;
    ssize_t n;

    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    pid = rig_spawn(rig, "session", in[0], out[1]);
    close(in[0]);
    close(out[1]);
    signal(SIGPIPE, SIG_IGN);
    (void)!write(in[1], bytes, len);
    while ((n = read(out[0], got, sizeof(got))) > 0)
        buf_add(answer, got, (size_t)n);
    close(in[1]);
    close(out[0]);
    return rig_wait(pid, RIG_DEADLINE);
}

/* What is not our protocol ends the session with one ERROR frame, and nothing else happens. */
static void test_nonsense(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *text;
    } t[] = {
        {"GET / HTTP/1.1\r\n\r\n", 18, "unknown frame type"},
        {"\x0b\0\0\0\0", 5, "before HELLO"},
        {"\x01\0\0\0\0", 5, "malformed HELLO"},
        {"\x0b\xff\xff\xff\x7f", 5, "over the limit"},
    };
    struct wire_hello h = {.oldest = 7, .newest = 9, .program = (char *)"newer"};

    for (size_t i = 0; i < NELEM(t); i++) {
        cleanup_buf struct buf answer = BUF_INIT(1 << 20);

        assert_int_equal(raw_session(*state, t[i].bytes, t[i].len, &answer), 0);
        assert_non_null(memmem(answer.data, answer.len, t[i].text, strlen(t[i].text)));
    }
    {
        cleanup_buf struct buf answer = BUF_INIT(1 << 20), hello = BUF_INIT(1 << 20);

        wire_put_hello(&hello, &h);
        raw_session(*state, hello.data, hello.len, &answer);
        assert_non_null(memmem(answer.data, answer.len, "newer speaks versions 7 to 9", 28));
    }
}

static int setup(void **state)
{
    static struct rig rig;

    rig_start(&rig, "--linger", "1000", "--speak-every", "100", "--orphaned-after", "3000", "--stop-grace", "300",
              NULL);
    *state = &rig;
    return 0;
}

static int teardown(void **state)
{
    rig_stop(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes_and_streams),
        cmocka_unit_test(test_env),
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_exec_format),
        cmocka_unit_test(test_large_streams),
        cmocka_unit_test(test_unread_stdin),
        cmocka_unit_test(test_gone_reader),
        cmocka_unit_test(test_slow_reader_gets_all),
        cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_resize_and_keys),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_background),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_killed_session),
        cmocka_unit_test(test_heartbeat),
        cmocka_unit_test(test_lost_agent),
        cmocka_unit_test(test_detach),
        cmocka_unit_test(test_nonsense),
    };

    if (geteuid() != 0) { /* users and groups cannot be changed */
        print_message("needs root\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
