/* link: atp_session atp_bsync atp_tsync atp_wire atp_sys atp_base */
/*
 * One mount, several commands: real sessions on both sides over pipes, in one process and on one loop, so that a test
 * decides which frame is delivered next. Two containers are two agents with a run directory and a target each.
 */
#include "tests/unit/agent_shared.h"

/* ---- two commands at once ---- */

/* Both offer from the same state: the second is asked again, and nothing is lost or said twice. */
static void test_two_ends(void **state)
{
    struct place p;
    struct cmd *a, *b;

    (void)state;
    place_init(&p);
    sh("cd %s; echo 1 > one; echo 2 > two; echo x > gone", p.host);
    run(&p, 0, "true");
    a = cmd_begin(&p, 0, "echo a > a; echo more >> one; rm gone");
    b = cmd_begin(&p, 0, "while test -e gone; do sleep 0.01; done; echo b > b; echo more >> two");
    a->hold_type[WIRE_OFFER] = b->hold_type[WIRE_OFFER] = true;
    UNTIL(&p, waits(&a->in, WIRE_OFFER) && waits(&b->in, WIRE_OFFER));
    assert_int_equal(a->seen_out[WIRE_MOUNT] + b->seen_out[WIRE_MOUNT], 2);
    assert_int_equal(a->seen_in[WIRE_STALE] + b->seen_in[WIRE_STALE], 0);
    a->hold_type[WIRE_OFFER] = false;
    UNTIL(&p, a->done);
    b->hold_type[WIRE_OFFER] = false;
    UNTIL(&p, b->done);
    assert_int_equal(a->seen_out[WIRE_PULL], 0);
    assert_int_equal(b->seen_out[WIRE_PULL], 1);
    assert_string_equal(a->notes.data, "");
    assert_string_equal(b->notes.data, "");
    cmd_end(a);
    cmd_end(b);
    sh("cd %s; test $(cat a) = a; test $(cat b) = b; test $(grep -c more one two | grep -c :1) = 2; test ! -e gone",
       p.host);
    a = cmd_begin(&p, 0, "true"); /* and now all is quiet */
    UNTIL(&p, a->done);
    assert_int_equal(a->seen_out[WIRE_DELTA] + a->seen_in[WIRE_DELTA] + a->seen_in[WIRE_STALE], 0);
    cmd_end(a);
    assert_agree(&p, 0);
    place_clear(&p);
}

/* The first one's PULLED is on its way while the second pushes, works and ends. */
static void test_late_pulled(void **state)
{
    struct place p;
    struct cmd *a, *b;

    (void)state;
    place_init(&p);
    sh("echo 1 > %s/one", p.host);
    run(&p, 0, "true");
    a = cmd_begin(&p, 0, "echo a > a");
    a->hold_type[WIRE_PULLED] = true;
    UNTIL(&p, waits(&a->out, WIRE_PULLED));
    sh("echo host >> %s/one; echo host >> %s/a", p.host, p.host);
    b = cmd_begin(&p, 0, "cat one a; echo b >> a");
    UNTIL(&p, b->done);
    assert_int_equal(b->seen_in[WIRE_STALE], 0); /* what is pending counts when the client shows that it has it */
    assert_string_equal(b->got.data, "1\nhost\na\nhost\n");
    cmd_end(b);
    cmd_end(a); /* now it comes, and changes nothing */
    run(&p, 0, "test \"$(cat a)\" = 'a\nhost\nb'");
    assert_agree(&p, 0);
    assert_no_conflicts(&p);
    place_clear(&p);
}

/* Nobody may start to read or store while another one's push is not stored; and it holds nobody up for ever. */
static void test_push_against_pull(void **state)
{
    struct place p;
    struct cmd *a, *b, *c;

    (void)state;
    place_init(&p);
    sh("echo 1 > %s/one", p.host);
    run(&p, 0, "true");
    b = cmd_begin(&p, 0, "until test -e new; do sleep 0.01; done; head -c 6000000 /dev/urandom > big; echo b > b");
    UNTIL(&p, b->started);
    sh("echo host > %s/new; rm %s/one", p.host, p.host);
    a = cmd_begin(&p, 0, "test -e new; test ! -e one; echo a > a");
    a->hold_type[WIRE_PUSHED] = true;
    UNTIL(&p, waits(&a->in, WIRE_PUSHED)); /* it is in the container, and a has the host's lock */
    c = cmd_begin(&p, 0, "echo c > c");
    UNTIL(&p,
          b->seen_in[WIRE_EXIT] == 1); /* more than is held for it; its offer started from the state before the push */
    for (int i = 0; i < 50; i++)
        turn(&p);
    assert_false(b->done);
    assert_int_equal(c->seen_out[WIRE_MOUNT], 0);
    sh("test ! -e %s/b", p.host);
    a->hold_type[WIRE_PUSHED] = false;
    UNTIL(&p, a->done && b->done && c->done);
    assert_int_equal(b->seen_out[WIRE_PULL] > 0, 1);
    cmd_end(a);
    cmd_end(b);
    cmd_end(c);
    run(&p, 0, "true");
    sh("cd %s; test -e a; test -e b; test -e c; test -e new; test ! -e one; test $(stat -c %%s big) = 6000000", p.host);
    assert_agree(&p, 0);
    assert_no_conflicts(&p);
    place_clear(&p);
}

/* An unchanged host's MOUNT is overtaken by another command's pull: no reason to send anything. */
static void test_same_overtaken(void **state)
{
    struct place p;
    struct cmd *a;

    (void)state;
    place_init(&p);
    sh("echo 1 > %s/one", p.host);
    run(&p, 0, "true");
    a = cmd_begin(&p, 0, "cat b");
    a->hold_type[WIRE_MOUNT] = true;
    UNTIL(&p, waits(&a->out, WIRE_MOUNT));
    run(&p, 0, "echo b > b");
    a->hold_type[WIRE_MOUNT] = false;
    UNTIL(&p, a->done);
    assert_int_equal(a->seen_in[WIRE_STALE], 0);
    assert_string_equal(a->got.data, "b\n");
    cmd_end(a);
    /* but another one's push is: the host is asked to look again */
    a = cmd_begin(&p, 0, "cat one");
    a->hold_type[WIRE_MOUNT] = true;
    UNTIL(&p, waits(&a->out, WIRE_MOUNT));
    sh("echo 2 > %s/one", p.host);
    run(&p, 0, "test $(cat one) = 2");
    a->hold_type[WIRE_MOUNT] = false;
    UNTIL(&p, a->done);
    assert_int_equal(a->seen_in[WIRE_STALE], 1);
    assert_int_equal(a->seen_out[WIRE_DELTA], 0);
    assert_string_equal(a->got.data, "2\n");
    cmd_end(a);
    assert_agree(&p, 0);
    place_clear(&p);
}

static void test_twenty(void **state)
{
    struct cmd *c[20];
    struct place p;

    (void)state;
    place_init(&p);
    sh("cd %s; for i in $(seq 50); do echo $i > f$i; done", p.host);
    run(&p, 0, "true");
    for (int i = 0; i < 20; i++) {
        cleanup_free char *script = xasprintf("echo %d > made%d; echo more >> f%d; rm f%d", i, i, i + 1, i + 21);

        c[i] = cmd_begin(&p, 0, script);
    }
    for (int i = 0; i < 20; i++)
        UNTIL(&p, c[i]->done);
    for (int i = 0; i < 20; i++) {
        cleanup_free char *path = xasprintf("%s/made%d", p.host, i);

        assert_string_equal(c[i]->notes.data, "");
        assert_int_equal(access(path, F_OK), 0);
        cmd_end(c[i]);
    }
    sh("cd %s; test $(ls | wc -l) = 50; test $(cat f* | grep -c more) = 20", p.host);
    assert_agree(&p, 0);
    place_clear(&p);
}

/* ---- kills ---- */

/* The client dies after it carried a pull out and before it stored that: equal contents are no conflict. */
static void test_killed_between_data_and_state(void **state)
{
    struct place p;
    struct cmd *a;

    (void)state;
    place_init(&p);
    sh("cd %s; echo 1 > one; echo 2 > two", p.host);
    run(&p, 0, "true");
    sh("cp %s/mount-0 %s/../before", p.box[0].state, p.box[0].state);
    a = cmd_begin(&p, 0, "echo a > a; echo more >> one; rm two");
    a->hold_type[WIRE_PULLED] = true;
    UNTIL(&p, waits(&a->out, WIRE_PULLED));
    cmd_free(a);
    sh("cp %s/../before %s/mount-0", p.box[0].state, p.box[0].state);
    run(&p, 0, "test $(cat a) = a; test ! -e two; echo b > b");
    run(&p, 0, "true");
    sh("cd %s; test \"$(cat one)\" = '1\nmore'; test -e b", p.host);
    assert_agree(&p, 0);
    assert_no_conflicts(&p);
    place_clear(&p);
}

/* The agent stored a push whose client is gone; the host then is again as it was before. The container follows. */
static void test_killed_before_pushed(void **state)
{
    struct place p;
    struct cmd *a;

    (void)state;
    place_init(&p);
    sh("cd %s; echo old > f; echo keep > keep; cp -p f ../f", p.host);
    run(&p, 0, "echo own > own");
    sh("cd %s; echo new > f; echo new > g", p.host);
    a = cmd_begin(&p, 0, "true");
    a->hold_type[WIRE_PUSHED] = true;
    UNTIL(&p, waits(&a->in, WIRE_PUSHED));
    cmd_free(a);
    sh("cd %s; cp -p ../f f; rm g", p.host);
    run(&p, 0, "test $(cat f) = old; test ! -e g; test -e own; test -e keep");
    run(&p, 0, "true");
    assert_agree(&p, 0);
    assert_no_conflicts(&p);
    place_clear(&p);
}

/*
 * The agent stored a's push and a is gone before the host did; a command that ran all the while brings its own changes
 * and those of the push, and the host has gone on. Returns the command that ran, done.
 */
static struct cmd *killed_before_saved(struct place *p, const char *script, const char *pushed, const char *after)
{
    struct cmd *a, *b;

    sh("cd %s; for i in f x both reverted; do echo 1 > $i; done", p->host);
    run(p, 0, "true");
    b = cmd_begin(p, 0, script);
    b->hold_type[WIRE_OFFER] = true;
    UNTIL(p, b->started);
    sh("cd %s; %s", p->host, pushed);
    a = cmd_begin(p, 0, "true");
    a->hold_type[WIRE_PUSHED] = true;
    UNTIL(p, waits(&a->in, WIRE_PUSHED)); /* stored: only now may b come to its end */
    sh("echo > %s/go", p->box[0].target);
    UNTIL(p, waits(&b->in, WIRE_OFFER));
    cmd_free(a);
    sh("cd %s; %s", p->host, after);
    b->hold_type[WIRE_OFFER] = false;
    UNTIL(p, b->done);
    assert_int_equal(b->seen_out[WIRE_PULL], 1);
    return b;
}

#define WHEN_GO "until test -e go; do sleep 0.01; done; "

/* What one side alone changed is no conflict, and what the host removed does not come back. */
static void test_killed_before_saved(void **state)
{
    struct place p;
    struct cmd *b;

    (void)state;
    place_init(&p);
    b = killed_before_saved(&p, WHEN_GO "echo b >> x; echo new > new", "echo a >> f; echo a > gone; ln -s f link",
                            "echo b >> f; rm gone; ln -sf x link");
    assert_string_equal(b->notes.data, "");
    cmd_end(b);
    sh("cd %s; test \"$(cat f)\" = '1\na\nb'; test \"$(cat x)\" = '1\nb'; test -e new; test ! -e gone; "
       "test $(readlink link) = x",
       p.host);
    run(&p, 0, "test \"$(cat f)\" = '1\na\nb'; test \"$(cat x)\" = '1\nb'; test ! -e gone");
    assert_agree(&p, 0);
    assert_no_conflicts(&p);
    place_clear(&p);
}

/* And what both did is one, also where the host took back what had been pushed. */
static void test_killed_before_saved_conflict(void **state)
{
    struct place p;
    struct cmd *b;

    (void)state;
    place_init(&p);
    b = killed_before_saved(&p, WHEN_GO "echo b >> both; echo b >> reverted", "echo 2 > reverted",
                            "echo host >> both; echo 1 > reverted");
    assert_non_null(strstr(b->notes.data, "both"));
    assert_non_null(strstr(b->notes.data, "reverted"));
    cmd_end(b);
    sh("cd %s; test \"$(cat both)\" = '1\nhost'; test $(cat reverted) = 1; "
       "test \"$(cat $(find %s -type f -name both))\" = '1\nb'; "
       "test \"$(cat $(find %s -type f -name reverted))\" = '2\nb'",
       p.host, p.keep, p.keep);
    run(&p, 0, "true");
    assert_agree(&p, 0);
    place_clear(&p);
}

/*
 * One command with changes both ways, in which `who` is killed after n frames in all: 0 the client (its process), 1 the
 * agent's session. Returns false if it came to its end before.
 */
static bool killed_after(struct place *p, int who, unsigned n)
{
    cleanup_free char *script = xasprintf("echo %u >> c; echo %u > c%u; rm -f c%u", n, n, n, n - 1);
    pid_t pid = fork();
    int code;

    assert_true(pid >= 0);
    if (pid == 0) {
        struct cmd *c = cmd_begin(p, 0, script);
        unsigned frames = 0;

        c->held = true;
        while (!c->done || c->out.len) {
            bool moved = deliver_out(c);

            frames += moved;
            if (frames < n && !c->done && deliver_in(c)) {
                frames++;
                moved = true;
            }
            if (frames >= n) {
                kill(who ? c->agent : getpid(), SIGKILL);
                break;
            }
            if (c->gone && !c->in.len)
                break;
            loop_step(p->loop, moved ? 0 : 2);
        }
        if (frames >= n) {
            session_free(c->session);
            _exit(7);
        }
        close(c->to);
        _exit(0);
    }
    code = rig_wait(pid, RIG_DEADLINE);
    assert_true(code == 0 || code == 7 || code == 128 + SIGKILL);
    return code != 0;
}

static void killed_at_each_frame(int who)
{
    struct place p;
    unsigned n = 1;
    bool killed = true;

    place_init(&p);
    sh("cd %s; echo 0 > h; for i in $(seq 20); do echo $i > f$i; done", p.host);
    run(&p, 0, "true");
    for (; killed && n < 60; n++) {
        sh("cd %s; echo %u >> h; echo %u > h%u; rm -f h%u", p.host, n, n, n, n - 1);
        killed = killed_after(&p, who, n);
        /* what the command still does after its session's death comes with a later barrier */
        for (int i = 0; i < 40; i++) {
            cleanup_free char *script = xasprintf(
                "test $(tail -n 1 h) = %u; test -e h%u; test ! -e h%u || exit 1; test \"$(ls -A | grep -c atp)\" = 0",
                n, n, n - 1);

            run(&p, 0, script);
            if (i > 0 && same_trees(&p))
                break;
            usleep(20000);
        }
        assert_agree(&p, 0);
        assert_no_conflicts(&p);
        sh("cd %s; test $(ls f* | wc -l) = 20; for i in $(seq 20); do test $(cat f$i) = $i; done", p.host);
    }
    assert_true(n > 8 && n < 60);
    place_clear(&p);
}

static void test_client_killed(void **state)
{
    (void)state;
    killed_at_each_frame(0);
}

static void test_agent_killed(void **state)
{
    (void)state;
    killed_at_each_frame(1);
}

/* ---- successors, and two containers ---- */

/* A new sandbox on a copy of the old one's files goes on with deltas. */
static void test_successor(void **state)
{
    struct place p;
    struct cmd *a;

    (void)state;
    place_init(&p);
    sh("cd %s; for i in $(seq 100); do echo $i > f$i; done", p.host);
    run(&p, 0, "echo own > own");
    a = cmd_begin(&p, 0, "echo late > late");
    a->hold_type[WIRE_PULLED] = true; /* the copy is made before it comes */
    UNTIL(&p, waits(&a->out, WIRE_PULLED));
    sh("cp -a %s %s.copy", p.box[0].rig.run_dir, p.box[0].rig.run_dir);
    cmd_end(a);
    kill(p.box[0].rig.init, SIGTERM);
    rig_wait(p.box[0].rig.init, RIG_DEADLINE);
    sh("rm -r %s; mv %s.copy %s; rm -f %s/agent.sock; echo edited > %s/f7", p.box[0].rig.run_dir, p.box[0].rig.run_dir,
       p.box[0].rig.run_dir, p.box[0].rig.run_dir, p.host);
    p.box[0].rig.init = rig_spawn(&p.box[0].rig, "init", -1, -1);
    a = cmd_begin(&p, 0, "cat f7 own late; rm f8");
    UNTIL(&p, a->done);
    assert_int_equal(a->seen_in[WIRE_STALE], 0);
    assert_true(a->bytes_out < 1500);
    assert_string_equal(a->got.data, "edited\nown\nlate\n");
    cmd_end(a);
    sh("test ! -e %s/f8", p.host);
    assert_agree(&p, 0);
    place_clear(&p);
}

/* An older copy: the host is right, what it did meanwhile is done again, and nothing is lost or deleted on it. */
static void test_older_copy(void **state)
{
    struct place p;

    (void)state;
    place_init(&p);
    sh("cd %s; echo 1 > f; echo 1 > stays; echo 1 > goes", p.host);
    run(&p, 0, "echo own > own");
    sh("cp -a %s %s.copy; cp -a %s %s.copy", p.box[0].rig.run_dir, p.box[0].rig.run_dir, p.box[0].target,
       p.box[0].target);
    run(&p, 0, "echo later > later; echo 2 > f");
    sh("cd %s; rm goes; echo host > host", p.host);
    run(&p, 0, "true");
    kill(p.box[0].rig.init, SIGTERM);
    rig_wait(p.box[0].rig.init, RIG_DEADLINE);
    sh("for d in %s %s; do rm -r $d; mv $d.copy $d; done; rm -f %s/agent.sock", p.box[0].rig.run_dir, p.box[0].target,
       p.box[0].rig.run_dir);
    p.box[0].rig.init = rig_spawn(&p.box[0].rig, "init", -1, -1);
    run(&p, 0, "test $(cat f) = 2; test -e later; test -e host; test ! -e goes; test -e own; echo x > x");
    run(&p, 0, "true");
    sh("cd %s; test $(cat f) = 2; test -e later; test -e host; test ! -e goes; test -e own; test -e x; test -e stays",
       p.host);
    assert_agree(&p, 0);
    assert_no_conflicts(&p);
    place_clear(&p);
}

static void test_two_containers(void **state)
{
    struct place p;
    struct cmd *a, *b;

    (void)state;
    place_init(&p);
    sh("cd %s; echo 1 > one; echo 1 > both; echo 1 > gone", p.host);
    run(&p, 0, "echo a > a");
    run(&p, 1, "test $(cat a) = a; echo b > b; rm gone");
    run(&p, 0, "test $(cat b) = b; test ! -e gone");
    /* both at once: other files pass by each other, the same file is a conflict for the second */
    a = cmd_begin(&p, 0, "echo a > new-a; echo a > both");
    b = cmd_begin(&p, 1, "echo b > new-b; echo b > both");
    a->hold_type[WIRE_OFFER] = b->hold_type[WIRE_OFFER] = true;
    UNTIL(&p, waits(&a->in, WIRE_OFFER) && waits(&b->in, WIRE_OFFER));
    a->hold_type[WIRE_OFFER] = false;
    UNTIL(&p, a->done);
    b->hold_type[WIRE_OFFER] = false;
    UNTIL(&p, b->done);
    assert_string_equal(a->notes.data, "");
    assert_non_null(strstr(b->notes.data, "both"));
    cmd_end(a);
    cmd_end(b);
    sh("cd %s; test $(cat both) = a; test -e new-a; test -e new-b; test $(cat $(find %s -type f -name both)) = b",
       p.host, p.keep);
    run(&p, 0, "test $(cat both) = a");
    run(&p, 1, "test $(cat both) = a");
    run(&p, 0, "true");
    assert_agree(&p, 0);
    assert_agree(&p, 1);
    place_clear(&p);
}

/* A state that the host lost: nothing of the container's is removed, nothing on the host either. */
static void test_host_lost_its_state(void **state)
{
    struct place p;

    (void)state;
    place_init(&p);
    sh("cd %s; echo 1 > one; echo 2 > two", p.host);
    run(&p, 0, "echo own > own");
    sh("rm %s/mount-0; rm %s/two", p.box[0].state, p.host);
    run(&p, 0, "test -e own; test -e two; echo new > new");
    sh("cd %s; test -e own; test -e two; test -e one; test -e new", p.host);
    assert_agree(&p, 0);
    place_clear(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_ends),
        cmocka_unit_test(test_late_pulled),
        cmocka_unit_test(test_push_against_pull),
        cmocka_unit_test(test_same_overtaken),
        cmocka_unit_test(test_twenty),
        cmocka_unit_test(test_killed_between_data_and_state),
        cmocka_unit_test(test_killed_before_pushed),
        cmocka_unit_test(test_killed_before_saved),
        cmocka_unit_test(test_killed_before_saved_conflict),
        cmocka_unit_test(test_client_killed),
        cmocka_unit_test(test_agent_killed),
        cmocka_unit_test(test_successor),
        cmocka_unit_test(test_older_copy),
        cmocka_unit_test(test_two_containers),
        cmocka_unit_test(test_host_lost_its_state),
    };

    if (geteuid() != 0) {
        print_message("needs root\n");
        return 77;
    }
    signal(SIGPIPE, SIG_IGN);
    cmocka_set_test_filter(getenv("ATP_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
