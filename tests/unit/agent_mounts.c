/* link: atp_session atp_bsync atp_tsync atp_wire atp_sys atp_base */
#include "tests/unit/agent_rig.h"

#include <sched.h>
#include <sys/mount.h>

/* Mounts: pushed before the command, pulled after it, in the one stream. The host and the container are two folders. */

struct place {
    struct rig rig;
    char *host, *target, *keep;
    int host_fd, keep_fd;
};

static void place_init(struct place *p)
{
    rig_start(&p->rig, "--linger", "300", NULL);
    p->host = xasprintf("%s/host", p->rig.dir);
    p->target = xasprintf("%s/in/work", p->rig.dir);
    p->keep = xasprintf("%s/keep", p->rig.dir);
    sh("mkdir %s %s", p->host, p->keep);
    p->host_fd = open(p->host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p->keep_fd = open(p->keep, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(p->host_fd >= 0 && p->keep_fd >= 0);
}

static void place_clear(struct place *p)
{
    close(p->host_fd);
    close(p->keep_fd);
    rig_stop(&p->rig);
    free(p->host);
    free(p->target);
    free(p->keep);
}

static struct session_mount mount_of(const struct place *p)
{
    return (struct session_mount){.host = {.dirfd = p->host_fd},
                                  .label = p->host,
                                  .target = p->target,
                                  .keep_dirfd = p->keep_fd,
                                  .state_dirfd = -1};
}

/* Runs script in the target with this mount; the result stays in r. */
static void run_in(struct place *p, struct run *r, const struct session_mount *m, const char *script)
{
    run_init(r, &p->rig, script);
    r->start.cwd = p->target;
    run_all(r, m, 1);
}

static void run_ok(struct place *p, const char *script)
{
    struct session_mount m = mount_of(p);
    struct run r;

    run_in(p, &r, &m, script);
    if (r.error)
        fail_msg("%s", r.error);
    if (r.result.code != 0)
        fail_msg("%s: %d: %s", script, r.result.code, r.got[2].data);
    assert_string_equal(r.notes.data, "");
    run_clear(&r);
}

static void test_there_and_back(void **state)
{
    struct place p;

    (void)state;
    place_init(&p);
    sh("cd %s; mkdir -p d/e empty; echo one > one; echo two > d/two; printf '#!/bin/sh\\necho prog\\n' > d/e/prog; "
       "chmod 755 d/e/prog; ln -s ../one d/link; ln one hard; ln -s /nowhere dangling; : > 'odd\nname'; "
       "touch -d '2001-02-03 04:05:06.123456789' d/two d",
       p.host);
    run_ok(&p, "test \"$(cat one d/two)\" = 'one\ntwo'; d/e/prog | grep -q prog; test \"$(readlink d/link)\" = ../one; "
               "test \"$(stat -c %y d/two | cut -c1-29)\" = '2001-02-03 04:05:06.123456789'; test -d empty; "
               "test one -ef hard; test -e 'odd\nname'; test -L dangling");
    /* a no-op command changes nothing at all */
    sh("find %s -printf '%%p %%i %%s %%m %%T@ %%C@\\n' | sort > %s/before", p.host, p.rig.dir);
    run_ok(&p, "true");
    sh("find %s -printf '%%p %%i %%s %%m %%T@ %%C@\\n' | sort | diff %s/before -", p.host, p.rig.dir);
    run_ok(&p,
           "echo new > new; echo more >> d/two; rm d/e/prog; rmdir empty; mkdir -p x/y; ln -s z x/l; chmod 700 x/y; "
           "touch -d '2002-02-02 02:02:02.000000002' new; rm 'odd\nname'; mkfifo fifo");
    sh("cd %s; test \"$(cat new)\" = new; test \"$(cat d/two)\" = 'two\nmore'; test ! -e d/e/prog; test -d d/e; "
       "test ! -e empty; test \"$(readlink x/l)\" = z; test \"$(stat -c %%a x/y)\" = 700; "
       "test \"$(stat -c %%y new | cut -c1-29)\" = '2002-02-02 02:02:02.000000002'; test $(find . -name 'odd*' | wc "
       "-l) = 0; "
       "test ! -e fifo; test one -ef hard; test -z \"$(find . -name '.atp*')\"",
       p.host);
    place_clear(&p);
}

/* What the image has at the target is hidden; the target and its parents are made where they are missing. */
static void test_replaces(void **state)
{
    struct place p;

    (void)state;
    place_init(&p);
    sh("mkdir -p %s/old; echo x > %s/old/file; echo y > %s/y", p.target, p.target, p.target);
    sh("echo host > %s/mine", p.host);
    run_ok(&p, "test \"$(ls)\" = mine");
    sh("test \"$(ls %s)\" = mine", p.host);
    place_clear(&p);
}

static void test_read_only(void **state)
{
    struct session_mount m;
    struct place p;
    struct run r;

    (void)state;
    place_init(&p);
    sh("echo a > %s/a", p.host);
    m = mount_of(&p);
    m.read_only = true;
    run_in(&p, &r, &m, "cat a; echo b > b; rm a");
    assert_int_equal(r.result.code, 0);
    assert_string_equal(r.got[1].data, "a\n");
    sh("test \"$(ls %s)\" = a", p.host);
    run_clear(&r);
    place_clear(&p);
}

static void test_single_file(void **state)
{
    cleanup_free char *target = NULL, *script = NULL;
    struct session_mount m;
    struct place p;
    struct stat before, after;
    struct run r;

    (void)state;
    place_init(&p);
    sh("echo a > %s/conf; echo other > %s/other; mkdir -p %s; ln %s/conf %s/second", p.host, p.host, p.target, p.host,
       p.host);
    assert_int_equal(fstatat(p.host_fd, "conf", &before, 0), 0);
    m = mount_of(&p);
    m.host.file = "conf";
    m.target = target = xasprintf("%s/sub/app.conf", p.target);
    script = xasprintf("cat %s; echo b >> %s; ls %s/sub", target, target, p.target);
    run_in(&p, &r, &m, script);
    if (r.error)
        fail_msg("%s", r.error);
    assert_string_equal(r.got[1].data, "a\napp.conf\n");
    assert_int_equal(fstatat(p.host_fd, "conf", &after, 0), 0);
    assert_int_equal(before.st_ino, after.st_ino); /* in place */
    sh("cd %s; test \"$(cat conf)\" = 'a\nb'; test \"$(cat second)\" = 'a\nb'; test \"$(cat other)\" = other", p.host);
    run_clear(&r);
    place_clear(&p);
}

/* The inner mount is no part of the outer one, on either side, whatever their order. */
static void test_nested(void **state)
{
    cleanup_free char *inner_host = NULL, *inner_target = NULL;
    struct session_mount m[2];
    struct place p;
    struct run r;
    int fd;

    (void)state;
    place_init(&p);
    inner_host = xasprintf("%s/inner", p.rig.dir);
    inner_target = xasprintf("%s/sub", p.target);
    sh("mkdir %s; echo in > %s/in; echo out > %s/out; mkdir %s/sub; echo hidden > %s/sub/hidden", inner_host,
       inner_host, p.host, p.host, p.host);
    fd = open(inner_host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    m[0] = mount_of(&p);
    m[0].host.dirfd = fd;
    m[0].target = inner_target;
    m[0].label = inner_host;
    m[1] = mount_of(&p);
    run_init(&r, &p.rig, "cat out sub/in; ls sub; echo x > sub/x; echo y > y");
    r.start.cwd = p.target;
    run_all(&r, m, 2);
    if (r.error)
        fail_msg("%s", r.error);
    assert_string_equal(r.got[1].data, "out\nin\nin\n");
    sh("test \"$(cat %s/x)\" = x; test \"$(cat %s/sub/hidden)\" = hidden; test \"$(cat %s/y)\" = y; test ! -e %s/sub/x",
       inner_host, p.host, p.host, p.host);
    run_clear(&r);
    close(fd);
    place_clear(&p);
}

/* A mount that is not exchanged this time stays out of the one around it. */
static void test_absent(void **state)
{
    cleanup_free char *inner_target = NULL;
    struct session_mount m[2];
    struct place p;
    struct run r;

    (void)state;
    place_init(&p);
    inner_target = xasprintf("%s/sub", p.target);
    sh("echo out > %s/out; mkdir -p %s; echo theirs > %s/theirs", p.host, inner_target, inner_target);
    m[0] = mount_of(&p);
    m[0].host.dirfd = -1;
    m[0].target = inner_target;
    m[0].absent = true;
    m[1] = mount_of(&p);
    run_init(&r, &p.rig, "cat out sub/theirs; echo x > sub/x; echo y > y");
    r.start.cwd = p.target;
    run_all(&r, m, 2);
    if (r.error)
        fail_msg("%s", r.error);
    assert_string_equal(r.got[1].data, "out\ntheirs\n");
    sh("test $(cat %s/y) = y; test ! -e %s/sub", p.host, p.host);
    run_clear(&r);
    place_clear(&p);
}

/* The agent's own folder is never a target, whatever leads there; nothing is run then. */
static void test_refused_targets(void **state)
{
    cleanup_free char *sneaky = NULL, *sneaky_sub = NULL, *file = NULL, *below_file = NULL;
    const char *targets[8];
    struct place p;
    struct run r;

    (void)state;
    place_init(&p);
    rig_expect(&p.rig, "true", 0, "", ""); /* init has made its folder */
    sneaky = xasprintf("%s/sneaky", p.rig.dir);
    sneaky_sub = xasprintf("%s/mounts/x", sneaky);
    file = xasprintf("%s/file", p.rig.dir);
    below_file = xasprintf("%s/file/x", p.rig.dir);
    sh("ln -s %s %s; echo x > %s", p.rig.run_dir, sneaky, file);
    targets[0] = "/";
    targets[1] = "/.atp";
    targets[2] = "/./.atp//run";
    targets[3] = sneaky;
    targets[4] = sneaky_sub;
    targets[5] = file;
    targets[6] = below_file;
    targets[7] = "/tmp/../etc";
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct session_mount m = mount_of(&p);

        m.target = targets[i];
        run_init(&r, &p.rig, "touch /tmp/atp-must-not-run");
        run_all(&r, &m, 1);
        assert_int_equal(r.result.end, SESSION_PUSH_FAILED);
        assert_int_equal(r.result.code, 125);
        assert_non_null(r.error);
        assert_false(r.started);
        run_clear(&r);
    }
    sh("test ! -e /tmp/atp-must-not-run; test -S %s/agent.sock; test \"$(cat %s)\" = x", p.rig.run_dir, file);
    place_clear(&p);
}

static bool is_ready(struct run *r)
{
    return strstr(r->got[1].data, "ready") != NULL;
}

/* Both changed the same file: the host's stays, the container's is kept, and one line says so. */
static void test_conflict(void **state)
{
    struct session_mount m;
    struct place p;
    struct run r;

    (void)state;
    place_init(&p);
    sh("cd %s; echo old > both; echo old > same; echo old > theirs; echo old > gone", p.host);
    m = mount_of(&p);
    run_init(&r, &p.rig,
             "echo container > both; echo equal > same; echo container > theirs; rm gone; echo ready; read x");
    r.start.cwd = p.target;
    r.start.attach_stdin = true;
    r.hold_input = true;
    run_begin(&r, &m, 1);
    assert_true(run_turn(&r, RIG_DEADLINE, is_ready));
    sh("cd %s; echo host > both; echo equal > same; echo changed > gone", p.host);
    session_stdin_eof(r.session);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_true(r.done);
    if (r.error)
        fail_msg("%s", r.error);
    assert_int_equal(r.result.code, 1); /* read saw the end */
    sh("cd %s; test $(cat both) = host; test $(cat same) = equal; test $(cat theirs) = container; test $(cat gone) = "
       "changed",
       p.host);
    sh("test \"$(find %s -type f -exec cat {} + | grep -c container)\" = 1", p.keep);
    assert_non_null(strstr(r.notes.data, "both"));
    assert_null(strstr(r.notes.data, "same"));
    run_finish(&r);
    run_clear(&r);
    place_clear(&p);
}

/* The host's disk is full: the command's own code counts unless it was 0, and nothing half-made is left. */
static void test_pull_failed(void **state)
{
    struct place p;

    (void)state;
    place_init(&p);
    for (int code = 0; code < 4; code += 3) {
        cleanup_free char *small = xasprintf("%s/small%d", p.rig.dir, code);
        cleanup_free char *script = xasprintf("head -c 2000000 /dev/urandom > big; echo y > y; exit %d", code);
        struct session_mount m = mount_of(&p);
        struct run r;

        assert_int_equal(mkdir(small, 0755), 0);
        assert_int_equal(mount("tmpfs", small, "tmpfs", 0, "size=256k"), 0);
        sh("echo a > %s/a", small);
        m.host.dirfd = open(small, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        m.label = small;
        run_init(&r, &p.rig, script);
        r.start.cwd = p.target;
        run_all(&r, &m, 1);
        assert_int_equal(r.result.end, SESSION_EXITED);
        assert_true(r.result.pull_failed);
        assert_int_equal(r.result.code, code ? code : 125);
        assert_non_null(r.error);
        assert_non_null(strstr(r.error, small));
        sh("cd %s; test $(cat a) = a; test ! -e big; test -z \"$(find . -name '.atp*')\"", small);
        run_clear(&r);
        close(m.host.dirfd);
        assert_int_equal(umount(small), 0);
    }
    place_clear(&p);
}

/* A mount whose state is kept in the folder `state` of the place, as a container's is. */
static struct session_mount kept_mount_of(struct place *p, int *ret_fd)
{
    struct session_mount m = mount_of(p);

    sh("mkdir -p %s/state", p->rig.dir);
    {
        cleanup_free char *path = xasprintf("%s/state", p->rig.dir);

        *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    assert_true(*ret_fd >= 0);
    m.state_dirfd = *ret_fd;
    m.state_name = "mount-0";
    return m;
}

/* A later command in the same container knows what was agreed: little travels, and the container keeps what is its own.
 */
static void test_second_command(void **state)
{
    struct session_mount m;
    struct place p;
    struct run first, second, third, fourth;
    int fd;

    (void)state;
    place_init(&p);
    sh("cd %s; for i in $(seq 300); do echo $i > f$i; done", p.host);
    m = kept_mount_of(&p, &fd);
    run_in(&p, &first, &m, "echo made > made; mkfifo pipe");
    if (first.error)
        fail_msg("%s", first.error);
    assert_int_equal(first.agreed, 2); /* after the push and after the pull */
    sh("cd %s; echo edited > f7; rm f8", p.host);
    run_in(&p, &second, &m, "cat f7; test ! -e f8; test -p pipe && cat made; echo again >> made; rm f9");
    if (second.error)
        fail_msg("%s", second.error);
    assert_string_equal(second.got[1].data, "edited\nmade\n");
    assert_int_equal(second.result.code, 0);
    assert_int_equal(second.generation, first.generation + 2);
    assert_true(second.wire_in < 1500);
    sh("cd %s; test \"$(cat made)\" = 'made\nagain'; test ! -e f8; test ! -e f9; test $(ls | wc -l) = 299", p.host);
    run_in(&p, &third, &m, "true"); /* what was written just now is read once more */
    usleep(30000);
    sh("cd %s; ls -li --time-style=full-iso state run/mounts > before", p.rig.dir);
    run_in(&p, &fourth, &m, "true");
    assert_null(third.error);
    assert_null(fourth.error);
    assert_int_equal(third.agreed + fourth.agreed, 0);
    assert_true(third.wire_in < 350 && fourth.wire_in < 350); /* nothing changed: a few frames */
    sh("cd %s; ls -li --time-style=full-iso state run/mounts | diff before -", p.rig.dir); /* and nothing is stored */
    run_clear(&first);
    run_clear(&second);
    run_clear(&third);
    run_clear(&fourth);
    close(fd);
    place_clear(&p);
}

/* Another container answers under the old name: nothing that we know counts, and nothing is deleted on the host. */
static void test_stale(void **state)
{
    struct session_mount m;
    struct place p;
    struct run first, second;
    int fd;

    (void)state;
    place_init(&p);
    sh("cd %s; echo a > a; echo b > b", p.host);
    m = kept_mount_of(&p, &fd);
    run_in(&p, &first, &m, "true");
    sh("rm -r %s/run/mounts", p.rig.dir);
    sh("rm %s/a", p.target);
    sh("echo c > %s/c; echo own > %s/own", p.host, p.target);
    run_in(&p, &second, &m, "cat a b c own; rm b");
    if (second.error)
        fail_msg("%s", second.error);
    assert_string_equal(second.got[1].data, "a\nb\nc\nown\n");
    sh("cd %s; test -e a; test -e c; test $(cat own) = own", p.host);
    run_clear(&first);
    run_clear(&second);
    close(fd);
    place_clear(&p);
}

static bool all_out(struct run *r)
{
    return r->done || r->wire_out == r->wire_out_max;
}

/* The session is killed in the middle of a push: the command never runs, the target holds whole files only. */
static void test_killed_push(void **state)
{
    static const size_t bytes[] = {3000, 40000, 700000, 3000000, 7000000};
    struct session_mount m;
    struct place p;
    struct run r;

    (void)state;
    place_init(&p);
    sh("cd %s; for i in $(seq 400); do head -c 60000 /dev/zero > f$i; done; head -c 8000000 /dev/urandom > big",
       p.host);
    m = mount_of(&p);
    for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        run_init(&r, &p.rig, "touch ran");
        r.start.cwd = p.rig.dir;
        r.wire_out_max = bytes[i];
        run_begin(&r, &m, 1);
        assert_true(run_turn(&r, RIG_DEADLINE, all_out));
        assert_false(r.done);
        kill(r.agent, SIGKILL);
        run_turn(&r, RIG_DEADLINE, NULL);
        assert_int_equal(r.result.end, SESSION_LOST);
        buf_reset(&r.queue);
        run_finish(&r);
        run_clear(&r);
        sh("if test -e %s/ran; then exit 1; fi; mkdir -p %s; cd %s; for f in f*; do test -e $f || continue; "
           "test $(stat -c %%s $f) = 60000; done",
           p.rig.dir, p.target, p.target);
    }
    run_ok(&p, "test $(ls | wc -l) = 401; cmp big big; test -z \"$(find . -name '.atp*')\"");
    place_clear(&p);
}

/* 20 MiB and 3,000 files, there and back, while stdin and stdout are busy too. */
static void test_with_streams(void **state)
{
    struct session_mount m;
    struct place p;
    struct run r;
    cleanup_free char *input = xcalloc(1, 3 << 20);

    (void)state;
    place_init(&p);
    sh("cd %s; mkdir $(seq 30); for d in $(seq 30); do for i in $(seq 100); do echo $d$i > $d/$i; done; done; "
       "head -c 20000000 /dev/urandom > big",
       p.host);
    m = mount_of(&p);
    memset(input, 'i', 3 << 20);
    run_init(&r, &p.rig, "wc -c; cp big copy; rm -r 7; head -c 3000000 /dev/zero >&2");
    r.start.cwd = p.target;
    r.start.attach_stdin = true;
    r.input = input;
    r.input_len = 3 << 20;
    run_all(&r, &m, 1);
    if (r.error)
        fail_msg("%s", r.error);
    assert_string_equal(r.got[1].data, "3145728\n");
    assert_int_equal(r.got[2].len, 3000000);
    sh("cd %s; cmp big copy; test ! -e 7; test $(find . -type f | wc -l) = 2902", p.host);
    run_clear(&r);
    place_clear(&p);
}

/* A host tree that is not there, and one that cannot be read: the command does not run. */
static void test_push_failed_on_host(void **state)
{
    struct session_mount m;
    struct place p;
    struct run r;

    (void)state;
    place_init(&p);
    m = mount_of(&p);
    m.host.dirfd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    run_in(&p, &r, &m, "touch /tmp/atp-must-not-run");
    assert_int_equal(r.result.end, SESSION_PUSH_FAILED);
    assert_int_equal(r.result.code, 125);
    assert_non_null(strstr(r.error, p.host));
    assert_int_equal(access("/tmp/atp-must-not-run", F_OK), -1);
    close(m.host.dirfd);
    run_clear(&r);
    place_clear(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),  cmocka_unit_test(test_replaces),
        cmocka_unit_test(test_read_only),       cmocka_unit_test(test_single_file),
        cmocka_unit_test(test_nested),          cmocka_unit_test(test_absent),
        cmocka_unit_test(test_refused_targets), cmocka_unit_test(test_conflict),
        cmocka_unit_test(test_pull_failed),     cmocka_unit_test(test_second_command),
        cmocka_unit_test(test_stale),           cmocka_unit_test(test_killed_push),
        cmocka_unit_test(test_with_streams),    cmocka_unit_test(test_push_failed_on_host),
    };

    /* mounts made here end with this process */
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        print_message("needs root\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
