/* link: atp_session atp_bsync atp_tsync atp_wire atp_sys atp_base */
#include "tests/unit/agent_rig.h"

/* The life of init: the container's own process, its end, and the ends of init itself. */

static void begin_main(struct run *r, struct rig *rig, const char *script)
{
    run_init(r, rig, script);
    r->start.main = true;
    run_begin(r, NULL, 0);
}

static int wait_init(struct rig *rig)
{
    int code = rig_wait(rig->init, RIG_DEADLINE);

    rig->init = 0;
    return code;
}

/* The client vanishes without a word: after the lease the session goes, the process does not. */
static void test_vanished_client(void **state)
{
    cleanup_free char *file = NULL, *script = NULL;
    struct rig rig;
    struct run r;

    (void)state;
    rig_start(&rig, "--speak-every", "400", "--orphaned-after", "1500", NULL);
    file = xasprintf("%s/vanished", rig.dir);
    script = xasprintf("yes | head -c 20000000; sleep 1.5; echo ok > %s", file);
    run_init(&r, &rig, script);
    r.take_nothing = true;
    run_begin(&r, NULL, 0);
    assert_true(run_turn(&r, RIG_DEADLINE, is_started));
    r.mute = true;
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_int_equal(r.result.end, SESSION_LOST);
    assert_non_null(strstr(r.error, "nothing was heard from the client"));
    assert_false(file_there(file));
    assert_true(wait_for_file(file));
    run_finish(&r);
    run_clear(&r);
    rig_stop(&rig);
}

/* run: the container ends with its process, and its code is init's. */
static void test_main_and_finish(void **state)
{
    struct rig rig;
    struct run r;

    (void)state;
    rig_start(&rig, NULL);
    begin_main(&r, &rig, "echo out; echo err >&2; exit 3");
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_int_equal(r.result.end, SESSION_EXITED);
    assert_int_equal(r.result.code, 3);
    assert_string_equal(r.got[1].data, "out\n");
    assert_string_equal(r.got[2].data, "err\n");
    run_finish(&r); /* FINISH is on its way */
    assert_int_equal(wait_init(&rig), 3);
    run_clear(&r);
    rig_stop(&rig);
}

static void test_main_refused(void **state)
{
    struct rig rig;
    struct run r;

    (void)state;
    rig_start(&rig, NULL);
    run_init(&r, &rig, NULL);
    strlist_add(&r.argv, "nosuch");
    r.start.main = true;
    run_all(&r, NULL, 0);
    assert_int_equal(r.result.code, 127);
    assert_string_equal(r.error, "failed to create task for container: failed to create shim task: OCI runtime create "
                                 "failed: runc create failed: unable to start container process: exec: \"nosuch\": "
                                 "executable file not found in $PATH: unknown");
    assert_int_equal(wait_init(&rig), 127);
    run_clear(&r);
    rig_stop(&rig);
    rig_start(&rig, NULL);
    run_init(&r, &rig, "true");
    r.start.main = true;
    r.start.user = "nobody-x";
    run_all(&r, NULL, 0);
    assert_int_equal(r.result.code, 125);
    assert_string_equal(r.error, "unable to find user nobody-x: no matching entries in passwd file");
    run_clear(&r);
    rig_stop(&rig);
}

static void test_main_makes_cwd(void **state)
{
    cleanup_free char *cwd = NULL, *want = NULL;
    struct rig rig;
    struct run r;

    (void)state;
    rig_start(&rig, NULL);
    cwd = xasprintf("%s/a/b c", rig.dir);
    want = xasprintf("%s\n0:0 755\n", cwd);
    run_init(&r, &rig, "pwd; stat -c '%u:%g %a' .");
    r.start.main = true;
    r.start.cwd = cwd;
    r.start.user = "daemon";
    run_all(&r, NULL, 0);
    assert_string_equal(r.got[1].data, want);
    run_clear(&r);
    rig_stop(&rig);
}

/* The end of the container's process is the end of all others, wherever they went; their sessions say 137. */
static void test_main_ends_all(void **state)
{
    struct rig rig;
    struct run main, other, late;
    pid_t pid;

    (void)state;
    rig_start(&rig, NULL);
    run_init(&main, &rig, "setsid sh -c 'trap \"\" TERM HUP; echo $$; exec sleep 300' & read x; exit 4");
    main.start.main = true;
    main.start.attach_stdin = true;
    main.hold_input = true;
    run_begin(&main, NULL, 0);
    assert_true(run_turn(&main, RIG_DEADLINE, has_output));
    pid = (pid_t)strtol(main.got[1].data, NULL, 10);
    run_init(&other, &rig, "echo here; sleep 300");
    run_begin(&other, NULL, 0);
    assert_true(run_turn(&other, RIG_DEADLINE, has_output));
    assert_int_equal(kill(pid, 0), 0);
    assert_int_equal(session_stdin(main.session, "\n", 1), 1);
    run_turn(&main, RIG_DEADLINE, NULL);
    assert_int_equal(main.result.code, 4);
    assert_int_equal(kill(pid, 0), -1); /* gone before EXIT was said, so nothing writes during the pull */
    run_turn(&other, RIG_DEADLINE, NULL);
    assert_int_equal(other.result.code, 137);
    /* and nothing can be started any more */
    run_init(&late, &rig, "true");
    run_all(&late, NULL, 0);
    assert_int_equal(late.result.end, SESSION_REFUSED);
    assert_string_equal(late.error, "container is not running");
    run_finish(&other);
    run_finish(&main);
    assert_int_equal(wait_init(&rig), 4);
    run_clear(&main);
    run_clear(&other);
    run_clear(&late);
    rig_stop(&rig);
}

static void test_second_main(void **state)
{
    struct rig rig;
    struct run main, second;

    (void)state;
    rig_start(&rig, NULL);
    begin_main(&main, &rig, "sleep 300");
    assert_true(run_turn(&main, RIG_DEADLINE, is_started));
    run_init(&second, &rig, "true");
    second.start.main = true;
    run_all(&second, NULL, 0);
    assert_int_equal(second.result.end, SESSION_REFUSED);
    assert_int_equal(kill(rig.init, 0), 0); /* its FINISH did not end the other's container */
    rig_expect(&rig, "echo alive", 0, "alive\n", "");
    session_signal(main.session, SIGKILL, false);
    run_turn(&main, RIG_DEADLINE, NULL);
    assert_int_equal(main.result.code, 137);
    run_finish(&main);
    assert_int_equal(wait_init(&rig), 137);
    run_clear(&main);
    run_clear(&second);
    rig_stop(&rig);
}

/* TERM to init: the processes get TERM, and KILL after the grace; the session still hears how it ended. */
static void test_stop(void **state)
{
    struct rig rig;
    struct run r;
    int64_t at;

    (void)state;
    rig_start(&rig, "--stop-grace", "5000", NULL);
    begin_main(&r, &rig, "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.05; done");
    assert_true(run_turn(&r, RIG_DEADLINE, has_output));
    kill(rig.init, SIGTERM);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_int_equal(r.result.code, 9);
    assert_string_equal(r.got[1].data, "ready\nbye\n");
    run_finish(&r);
    assert_int_equal(wait_init(&rig), 9);
    run_clear(&r);
    rig_stop(&rig);

    rig_start(&rig, "--stop-grace", "300", NULL);
    begin_main(&r, &rig, "trap '' TERM; echo ready; while :; do sleep 0.05; done");
    assert_true(run_turn(&r, RIG_DEADLINE, has_output));
    at = loop_now();
    kill(rig.init, SIGTERM);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_true(loop_now() - at >= 290);
    assert_int_equal(r.result.code, 137);
    run_finish(&r);
    assert_int_equal(wait_init(&rig), 137);
    run_clear(&r);
    rig_stop(&rig);

    rig_start(&rig, NULL); /* nothing ever ran */
    rig_expect(&rig, "true", 0, "", "");
    kill(rig.init, SIGTERM);
    assert_int_equal(wait_init(&rig), 143);
    rig_stop(&rig);
}

/* Nobody ever comes: init ends by itself. */
static void test_orphan_nobody_came(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, "--orphan-grace", "300", NULL);
    assert_int_equal(wait_init(&rig), 0);
    rig_stop(&rig);
}

/* The client vanishes: init stays while the process runs, and for the grace after it. */
static void test_orphan_after_main(void **state)
{
    struct rig rig;
    struct run r;
    int64_t at = loop_now();

    (void)state;
    rig_start(&rig, "--orphan-grace", "3000", "--orphaned-after", "1500", "--speak-every", "400", NULL);
    begin_main(&r, &rig, "sleep 7; exit 6");
    assert_true(run_turn(&r, RIG_DEADLINE, is_started));
    r.mute = true;
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_int_equal(r.result.end, SESSION_LOST);
    run_finish(&r);
    assert_int_equal(wait_init(&rig), 6);
    assert_true(loop_now() - at >= 9900);
    run_clear(&r);
    rig_stop(&rig);
}

/* A session that is connected keeps init alive, whatever has ended. */
static void test_no_orphan_while_spoken_to(void **state)
{
    struct rig rig;
    struct run r;

    (void)state;
    rig_start(&rig, "--orphan-grace", "3000", NULL);
    run_init(&r, &rig, "head -c 6000000 /dev/zero");
    r.take_nothing = true; /* so EXIT waits for us */
    run_begin(&r, NULL, 0);
    run_turn(&r, 4500, NULL);
    assert_int_equal(kill(rig.init, 0), 0);
    r.take_nothing = false;
    session_output_ready(r.session);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_int_equal(r.got[1].len, 6000000);
    run_finish(&r);
    assert_int_equal(wait_init(&rig), 0);
    run_clear(&r);
    rig_stop(&rig);
}

/* Init is killed: the session says so at once. */
static void test_init_killed(void **state)
{
    struct rig rig;
    struct run r;

    (void)state;
    rig_start(&rig, NULL);
    begin_main(&r, &rig, "echo $$; sleep 300");
    assert_true(run_turn(&r, RIG_DEADLINE, has_output));
    kill(rig.init, SIGKILL);
    assert_int_equal(wait_init(&rig), 137);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_int_equal(r.result.end, SESSION_LOST);
    kill((pid_t)strtol(r.got[1].data, NULL, 10), SIGKILL);
    run_finish(&r);
    run_clear(&r);
    rig_stop(&rig);
}

static void test_no_init(void **state)
{
    struct rig rig;
    struct run r;

    (void)state;
    rig_start(&rig, "--init-wait", "200", NULL);
    kill(rig.init, SIGKILL);
    wait_init(&rig);
    run_init(&r, &rig, "true");
    run_begin(&r, NULL, 0);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_int_equal(r.result.end, SESSION_LOST);
    assert_non_null(strstr(r.error, "first process does not answer"));
    run_finish(&r);
    run_clear(&r);
    rig_stop(&rig);
}

/* Only root may command: the directory is closed, and a second init does not take the place of the first. */
static void test_run_dir(void **state)
{
    struct rig rig;
    struct stat st;
    pid_t second;

    (void)state;
    rig_start(&rig, NULL);
    rig_expect(&rig, "true", 0, "", "");
    assert_int_equal(stat(rig.run_dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    second = rig_spawn(&rig, "init", -1, -1);
    assert_int_equal(rig_wait(second, RIG_DEADLINE), 125);
    rig_expect(&rig, "echo same", 0, "same\n", "");
    rig_stop(&rig);
}

static void test_usage(void **state)
{
    static const char *const bad[] = {
        "", "nosuch", "init --linger", "init --linger x", "session --nosuch 1", "init --linger -1"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cleanup_free char *line = xasprintf("'%s' %s 2>/dev/null", rig_agent(), bad[i]);
        pid_t pid = fork();

        if (pid == 0) {
            execl("/bin/sh", "sh", "-c", line, (char *)NULL);
            _exit(99);
        }
        assert_int_equal(rig_wait(pid, RIG_DEADLINE), 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vanished_client),
        cmocka_unit_test(test_main_and_finish),
        cmocka_unit_test(test_main_refused),
        cmocka_unit_test(test_main_makes_cwd),
        cmocka_unit_test(test_main_ends_all),
        cmocka_unit_test(test_second_main),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_orphan_nobody_came),
        cmocka_unit_test(test_orphan_after_main),
        cmocka_unit_test(test_no_orphan_while_spoken_to),
        cmocka_unit_test(test_init_killed),
        cmocka_unit_test(test_no_init),
        cmocka_unit_test(test_run_dir),
        cmocka_unit_test(test_usage),
    };

    if (geteuid() != 0) {
        print_message("needs root\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
