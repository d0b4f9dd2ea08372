/* link: atp_modal atp_grpc atp_proto atp_sys atp_base */
#include "backends/modal/task_snapshot.h"
#include "tests/unit/modal_rig.h"

#include <dirent.h>

/* Snapshots of running sandboxes, from the client to the disk: what they hold, how often they are made, how they go. */

static struct modal_sandbox start_from(const char *image_id, bool v1, struct modal_task **ret_task)
{
    cleanup_free char *usual = world.image.id;
    struct modal_sandbox sandbox = MODAL_SANDBOX_INIT;
    struct err err = ERR_INIT;

    world.image.id = (char *)image_id;
    create(&sandbox, v1, NULL);
    world.image.id = steal(&usual);
    if (modal_task_open(world.c, sandbox.id, 20000, ret_task, &err) < 0)
        fail_msg("task: %s", err.msg);
    return sandbox;
}

static void end_sandbox(struct modal_sandbox *sandbox, struct modal_task *task)
{
    struct modal_ending ending = MODAL_ENDING_INIT;

    modal_task_free(task);
    assert_int_equal(modal_sandbox_terminate(world.c, sandbox->id, NULL), 0);
    assert_int_equal(modal_sandbox_wait(world.c, sandbox->id, 20000, &ending, NULL), 0);
    modal_ending_clear(&ending);
    modal_sandbox_clear(sandbox);
}

/* Runs a script and holds what it says against `expected`. */
static void expect(struct modal_task *task, const char *script, const char *expected)
{
    struct modal_exec_output output = {0};

    run(task, script, "", &output);
    if (strcmp(output.out, expected) != 0 || output.code != 0)
        fail_msg("%s\nprinted \"%s\", and \"%s\" on stderr, with code %d", script, output.out, output.err, output.code);
    modal_exec_output_clear(&output);
}

static char *snapshot(struct modal_task *task, int64_t ttl_s)
{
    struct err err = ERR_INIT;
    char *id = NULL;

    if (modal_task_snapshot(task, ttl_s, &id, &err) < 0)
        fail_msg("snapshot: %s", err.msg);
    return id;
}

/* How many entries a folder of the engine's image store has. */
static size_t stored(const char *folder)
{
    cleanup_free char *path = xasprintf("%s/state/images/%s", world.dir, folder);
    cleanup_dir DIR *d = opendir(path);
    size_t n = 0;

    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    return n;
}

/* Waits until a folder has that many entries; layers are taken away behind the scenes. */
static void await_stored(const char *folder, size_t n)
{
    for (int i = 0; i < 100 && stored(folder) != n; i++)
        usleep(50000);
    assert_int_equal(stored(folder), n);
}

/* Everything that a file system can hold, changed and removed, while a process goes on writing. */
static void keeps_changes(void **state)
{
    static const char change[] =
        "set -e; umask 0; mkdir -p /d/deep /tmp; echo new >/d/file; ln /d/file /d/deep/second; ln -s ../nowhere "
        "/d/link;"
        "mkfifo -m 622 /d/pipe; chmod 4751 /d/file; mkdir -m 1777 /d/sticky; echo o >/d/owned; chown 1234:4321 "
        "/d/owned;"
        "touch -d '2001-02-03 04:05:06' /d/owned /d/deep; rm /etc/small; dd if=/dev/zero of=/d/sparse bs=1 count=1 "
        "seek=1073741823 2>/dev/null; rm -rf /old; mkdir /old; echo other >/old/other; echo 'odd' >'/d/a\nb \"c'";
    static const char look[] =
        "cat /d/file /d/deep/second /old/other; readlink /d/link; stat -c '%a %h %F' /d/file /d/sticky;"
        "stat -c '%u:%g %Y' /d/owned; stat -c %Y /d/deep; stat -c '%s' /d/sparse; [ $(stat -c %b /d/sparse) -lt 100 ];"
        "ls /old; ls /etc; cat /d/a*; [ /d/file -ef /d/deep/second ]; echo $FROM_IMAGE";
    static const char expected[] =
        "new\nnew\nother\n../nowhere\n4751 2 regular file\n1777 2 directory\n"
        "1234:4321 981173106\n981173106\n1073741824\nother\nbig\nhostname\nhosts\nresolv.conf\nodd\nyes\n";

    const char *runtime = getenv("ATP_ENGINE_RUNTIME");
    bool gvisor = runtime && strcmp(runtime, "runsc") == 0;

    (void)state;
    need_engine();
    for (int v1 = 0; v1 < 2; v1++) {
        struct modal_task *task, *second, *third;
        struct modal_sandbox sandbox = start_from(world.image.id, v1, &task), from, again;
        cleanup_free char *image = NULL, *next = NULL;

        expect(task, change, "");
        expect(task,
               "(while :; do echo x >>/d/growing; echo $$ >/d/replaced.$$; mv /d/replaced.$$ /d/replaced; done) "
               ">/dev/null 2>&1 & echo",
               "\n");
        image = snapshot(task, MODAL_SNAPSHOT_FOREVER);
        expect(task, "test -s /d/growing; rm -rf /d; echo on", "on\n"); /* it goes on, and apart from the image */
        from = start_from(image, v1, &second);
        expect(second, look, expected);
        if (!gvisor) /* which keeps pipes in its memory */
            expect(second, "stat -c '%a %F' /d/pipe", "622 fifo\n");
        expect(second, "rm /old/other; echo more >/d/more; rm -r /d/deep", "");
        next = snapshot(second, 3600);
        again = start_from(next, v1, &third);
        expect(third, "ls /old; cat /d/more; ls -d /d/deep 2>/dev/null; stat -c %h /d/file", "more\n1\n");
        end_sandbox(&again, third);
        end_sandbox(&from, second);
        end_sandbox(&sandbox, task);
        assert_int_equal(modal_image_delete(world.c, image, NULL), 0);
        assert_int_equal(modal_image_delete(world.c, next, NULL), 0);
    }
    await_stored("l", 1); /* the busybox */
}

/* Stopped and started many times: every change is there, and neither layers nor images have piled up. */
static void stays_short(void **state)
{
    cleanup_free char *image = xstrdup(world.image.id);

    (void)state;
    need_engine();
    for (int i = 0; i < 14; i++) {
        cleanup_free char *old = steal(&image), *script = NULL, *names = NULL;
        struct modal_task *task;
        struct modal_sandbox sandbox = start_from(old, false, &task);

        script = xasprintf("mkdir -p /kept; echo %d >/kept/%d; echo %d >/kept/same; rm -f /kept/brief.*; echo >"
                           "/kept/brief.%d; dd if=/dev/zero of=/kept/large.%d bs=65536 count=%d 2>/dev/null",
                           i, i, i, i, i % 3, i % 3 == 0 ? 64 : 2);
        expect(task, script, "");
        image = snapshot(task, MODAL_SNAPSHOT_FOREVER);
        if (i > 0)
            assert_int_equal(modal_image_delete(world.c, old, NULL), 0);
        end_sandbox(&sandbox, task);
        assert_true(stored("l") <= 6);
    }
    {
        struct modal_task *task;
        struct modal_sandbox sandbox = start_from(image, false, &task);

        expect(task, "cat /kept/? /kept/1? /kept/same; ls /kept/brief.*; ls /kept | wc -l",
               "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n13\n/kept/brief.13\n19\n");
        assert_int_equal(modal_image_delete(world.c, image, NULL), 0);
        assert_true(stored("l") > 1); /* still in use */
        expect(task, "cat /kept/same", "13\n");
        /* Also what was deleted can be gone on from while it is used. */
        free(image);
        image = snapshot(task, MODAL_SNAPSHOT_FOREVER);
        end_sandbox(&sandbox, task);
        sandbox = start_from(image, false, &task);
        expect(task, "cat /kept/same", "13\n");
        end_sandbox(&sandbox, task);
    }
    assert_int_equal(modal_image_delete(world.c, image, NULL), 0);
    await_stored("l", 1);
    await_stored("images", 1);
}

/* An answer that was lost, a connection that was cut, a token that ran out: one image. */
static void is_made_once(void **state)
{
    static const char *const faults[] = {"lost=TaskSnapshotFilesystem:1", "fail=TaskSnapshotFilesystem:1-3",
                                         "expire-tokens"};
    struct modal_task *task;
    struct modal_sandbox sandbox;

    (void)state;
    need_engine();
    sandbox = start_from(world.image.id, false, &task);
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
        cleanup_free char *image = NULL;

        set_fault(faults[i]);
        image = snapshot(task, MODAL_SNAPSHOT_FOREVER);
        set_fault("");
        assert_int_equal(stored("images"), 2);
        assert_int_equal(modal_image_delete(world.c, image, NULL), 0);
        assert_int_equal(stored("images"), 1);
        assert_int_equal(modal_image_delete(world.c, image, NULL), -1);
    }
    end_sandbox(&sandbox, task);
}

static void refuses(void **state)
{
    struct modal_ending ending = MODAL_ENDING_INIT;
    struct modal_task *task;
    struct modal_sandbox sandbox;
    struct err err = ERR_INIT;
    char *image = NULL;

    (void)state;
    need_engine();
    sandbox = start_from(world.image.id, false, &task);
    assert_int_equal(modal_task_snapshot(task, 0, &image, &err), -1);
    assert_int_equal(err.code, GRPC_INVALID_ARGUMENT);
    assert_int_equal(modal_task_snapshot(task, -2, &image, &err), -1);
    assert_int_equal(err.code, GRPC_INVALID_ARGUMENT);
    /* Deeper than any path can be said. */
    expect(task,
           "a=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; i=0; cd /;"
           "while [ $i -lt 45 ]; do mkdir $a && cd $a || break; i=$((i + 1)); done 2>/dev/null; echo $i",
           "45\n");
    assert_int_equal(modal_task_snapshot(task, 60, &image, &err), -1);
    assert_int_equal(err.code, GRPC_FAILED_PRECONDITION);
    assert_non_null(strstr(err.msg, "too deep for an image"));
    modal_sandbox_terminate(world.c, sandbox.id, NULL);
    assert_int_equal(modal_sandbox_wait(world.c, sandbox.id, 20000, &ending, NULL), 0);
    assert_int_equal(modal_task_snapshot(task, 60, &image, &err), -1);
    assert_int_equal(err.code, GRPC_NOT_FOUND);
    assert_null(image);
    modal_ending_clear(&ending);
    err_clear(&err);
    modal_task_free(task);
    modal_sandbox_clear(&sandbox);
    await_stored("l", 1);
    await_stored("tmp", 0);
}

/* An image with an end: gone by itself, but not from under a sandbox. */
static void expires(void **state)
{
    struct modal_task *task, *second;
    struct modal_sandbox sandbox, from;
    cleanup_free char *image = NULL;

    (void)state;
    need_engine();
    sandbox = start_from(world.image.id, false, &task);
    expect(task, "echo brief >/brief", "");
    image = snapshot(task, 2);
    from = start_from(image, false, &second);
    await_stored("images", 1);
    expect(second, "cat /brief", "brief\n");
    assert_int_equal(modal_image_delete(world.c, image, NULL), -1);
    assert_int_equal(stored("l"), 2);
    end_sandbox(&from, second);
    end_sandbox(&sandbox, task);
    await_stored("l", 1);
}

/* The engine dies or is ended in the middle: the next one has whole images only, and nothing that belongs to none. */
static void killed_in_the_middle(void **state)
{
    (void)state;
    need_engine();
    for (int i = 0; i < 4; i++) {
        struct modal_task *task;
        struct modal_sandbox sandbox = start_from(world.image.id, false, &task);
        cleanup_free char *env = xasprintf("%s/env", world.dir);
        char *image = NULL;
        pid_t killer;

        expect(task,
               "dd if=/dev/zero of=/large bs=1M count=200 2>/dev/null; i=0; while [ $i -lt 500 ]; do echo $i >/f.$i;"
               "i=$((i + 1)); done",
               "");
        killer = fork();
        if (killer == 0) {
            usleep((useconds_t)(10000 + i * i * 20000));
            kill(world.pid, i % 2 ? SIGTERM : SIGKILL);
            _exit(0);
        }
        if (modal_task_snapshot(task, 3600, &image, NULL) == 0)
            free(image);
        waitpid(killer, NULL, 0);
        waitpid(world.pid, NULL, 0);
        unlink(env);
        assert_int_equal(start_engine(), 1);
        assert_int_equal(stored("l"), stored("images")); /* each has one layer of its own, or is the busybox */
        assert_int_equal(stored("tmp"), 0);
        modal_task_free(task);
        modal_sandbox_clear(&sandbox);
        sandbox = start_from(world.image.id, false, &task);
        expect(task, "ls /large 2>&1 | wc -l", "1\n");
        end_sandbox(&sandbox, task);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builds_an_image),      cmocka_unit_test(keeps_changes), cmocka_unit_test(stays_short),
        cmocka_unit_test(is_made_once),         cmocka_unit_test(refuses),       cmocka_unit_test(expires),
        cmocka_unit_test(killed_in_the_middle),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
