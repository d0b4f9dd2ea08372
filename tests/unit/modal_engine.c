/* link: atp_modal atp_grpc atp_proto atp_sys atp_base */
#include "tests/unit/modal_rig.h"

/*
 * The client against the engine, through everything that a `run` needs: app, image with a build context, sandbox, exec,
 * tags, end. Needs root and a static busybox; without them, or without the engine's binary beside it, it is skipped.
 */

/* A large file, one that is missing, one whose hash is not what the caller said, a folder. */
static void uploads(void **state)
{
    cleanup_free char *path = xasprintf("%s/large", world.dir), *mount = NULL;
    const char *wrong = "0000000000000000000000000000000000000000000000000000000000000000";
    struct modal_mount_file file = {.remote = "/large", .path = path, .mode = 0644};
    struct err err = ERR_INIT;
    FILE *f;

    (void)state;
    need_engine();
    assert_int_equal(modal_mount_create(world.c, world.app_id, &file, 1, &mount, &err), -1);
    assert_non_null(strstr(err.msg, "No such file"));
    err_clear(&err);
    f = fopen(path, "w");
    fputs("begin", f);
    assert_int_equal(ftruncate(fileno(f), 20 << 20), 0);
    fclose(f);
    if (modal_mount_create(world.c, world.app_id, &file, 1, &mount, &err) < 0)
        fail_msg("%s", err.msg);
    file.sha256 = wrong;
    free(mount);
    mount = NULL;
    assert_int_equal(modal_mount_create(world.c, world.app_id, &file, 1, &mount, &err), -1);
    assert_non_null(strstr(err.msg, "changed while"));
    err_clear(&err);
    file = (struct modal_mount_file){.remote = "/dir", .path = world.dir};
    assert_int_equal(modal_mount_create(world.c, world.app_id, &file, 1, &mount, &err), -1);
    assert_non_null(strstr(err.msg, "not a regular file"));
    err_clear(&err);
}

/* A line that no builder can carry out: the reason arrives. */
static void reports_a_bad_build(void **state)
{
    struct modal_image_spec spec = {.app_id = world.app_id};
    struct modal_image image;
    struct err err = ERR_INIT;

    (void)state;
    need_engine();
    strlist_add(&spec.commands, "FROM localhost:1/nothing/here:never");
    assert_int_equal(modal_image_build(world.c, &spec, NULL, NULL, &image, &err), -1);
    assert_non_null(err.msg);
    assert_true(strlen(err.msg) > 10);
    err_clear(&err);
    modal_image_spec_clear(&spec);
}

/* Both kinds of sandbox: exec with streams, codes and environment; the end as the SDKs count it. */
static void runs_in_a_sandbox(void **state)
{
    (void)state;
    need_engine();
    for (int v1 = 0; v1 < 2; v1++) {
        struct modal_sandbox sandbox = MODAL_SANDBOX_INIT;
        struct modal_exec_output output = {0};
        struct modal_ending ending = MODAL_ENDING_INIT;
        struct modal_task *task;
        struct err err = ERR_INIT;
        int calls;

        create(&sandbox, v1, NULL);
        assert_int_equal(modal_sandbox_id_is_v1(sandbox.id), v1);
        calls = world.calls;
        if (modal_task_open(world.c, sandbox.id, 20000, &task, &err) < 0)
            fail_msg("task: %s", err.msg);
        if (!v1)
            assert_int_equal(world.calls, calls); /* create's answer had it all */
        run(task, "echo out; echo err >&2; echo $FROM_IMAGE $FROM_SPEC; cat; exit 42", "through\n", &output);
        assert_string_equal(output.out, "out\nyes a=b\nthrough\n");
        assert_string_equal(output.err, "err\n");
        assert_int_equal(output.code, 42);
        modal_exec_output_clear(&output);
        run(task, "kill -9 $$", "", &output);
        assert_int_equal(output.code, 137);
        modal_exec_output_clear(&output);
        run(task, "stat -c '%a %s' /etc/small /etc/big", "", &output);
        assert_string_equal(output.out, "640 6\n600 5242880\n");
        modal_exec_output_clear(&output);
        run(task, "dd if=/dev/zero bs=65536 count=320 2>/dev/null", "", &output);
        assert_int_equal(output.out_len, 20 << 20);
        modal_exec_output_clear(&output);
        assert_int_equal(modal_sandbox_poll(world.c, sandbox.id, &ending, &err), 0);
        assert_false(ending.finished);
        assert_int_equal(modal_sandbox_terminate(world.c, sandbox.id, &err), 0);
        assert_int_equal(modal_sandbox_wait(world.c, sandbox.id, 20000, &ending, &err), 0);
        assert_true(ending.finished);
        assert_int_equal(ending.exit_code, 137);
        assert_int_equal(modal_sandbox_terminate(world.c, sandbox.id, &err), 0);
        modal_ending_clear(&ending);
        modal_task_free(task);
        modal_sandbox_clear(&sandbox);
    }
}

/* Tags, names and lists, on both kinds. */
static void tags_and_names(void **state)
{
    (void)state;
    need_engine();
    for (int v1 = 0; v1 < 2; v1++) {
        struct modal_sandbox sandbox = MODAL_SANDBOX_INIT, found = MODAL_SANDBOX_INIT;
        struct modal_sandbox_list list = MODAL_SANDBOX_LIST_INIT;
        struct strlist tags = STRLIST_INIT, filter = STRLIST_INIT;
        struct err err = ERR_INIT;
        bool seen = false;

        create(&sandbox, v1, v1 ? "name-one" : "name-two");
        assert_int_equal(
            modal_sandbox_by_name(world.c, "modal-engine-test", v1 ? "name-one" : "name-two", v1, &found, &err), 0);
        assert_string_equal(found.id, sandbox.id);
        modal_sandbox_clear(&found);
        assert_int_equal(modal_sandbox_by_name(world.c, "modal-engine-test", "nobody", v1, &found, &err), -1);
        assert_int_equal(err.code, GRPC_NOT_FOUND);
        err_clear(&err);
        assert_int_equal(modal_sandbox_tags_get(world.c, sandbox.id, &tags, &err), 0);
        strlist_sort(&tags);
        assert_int_equal(tags.len, 2);
        assert_string_equal(tags.items[0], "kind=test");
        strlist_clear(&tags);
        strlist_add(&tags, "only=this=one");
        assert_int_equal(modal_sandbox_tags_set(world.c, sandbox.id, &tags, &err), 0);
        strlist_clear(&tags);
        assert_int_equal(modal_sandbox_tags_get(world.c, sandbox.id, &tags, &err), 0);
        assert_int_equal(tags.len, 1);
        assert_string_equal(tags.items[0], "only=this=one");
        strlist_add(&filter, "only=this=one");
        assert_int_equal(modal_sandbox_list(world.c, world.app_id, &filter, false, v1, &list, &err), 0);
        for (size_t i = 0; i < list.len; i++)
            seen = seen || (strcmp(list.items[i].id, sandbox.id) == 0 && !list.items[i].ending.finished &&
                            list.items[i].created_at > 1e9 && list.items[i].timeout_s == 120);
        assert_true(seen);
        modal_sandbox_list_clear(&list);
        strlist_add(&filter, "kind=nothing");
        assert_int_equal(modal_sandbox_list(world.c, "", &filter, true, v1, &list, &err), 0);
        assert_int_equal(list.len, 0);
        modal_sandbox_terminate_start(world.c, sandbox.id, NULL, NULL);
        assert_int_equal(modal_client_flush(world.c, 5000, &err), 0);
        strlist_clear(&tags);
        strlist_clear(&filter);
        modal_sandbox_clear(&sandbox);
    }
}

/* A second process with the same cache: one call to the control plane less than none. */
static void warm_cache(void **state)
{
    struct modal_client *second;
    struct modal_sandbox sandbox = MODAL_SANDBOX_INIT;
    struct modal_exec_output output = {0};
    struct modal_task *task;
    int calls;

    (void)state;
    need_engine();
    create(&sandbox, false, NULL);
    second = connect_as(world.secret);
    calls = world.calls;
    assert_int_equal(modal_task_open(second, sandbox.id, 0, &task, NULL), 0);
    run(task, "echo warm", "", &output);
    assert_string_equal(output.out, "warm\n");
    assert_true(world.calls - calls <= 3); /* start, stdin, wait; the reads are no unary calls */
    modal_exec_output_clear(&output);
    modal_task_free(task);
    modal_sandbox_terminate(second, sandbox.id, NULL);
    modal_client_free(second);
    modal_sandbox_clear(&sandbox);
}

/* Another secret, and a sandbox that was never there. */
static void refusals(void **state)
{
    struct modal_client *stranger;
    struct modal_ending ending = MODAL_ENDING_INIT;
    struct modal_task *task;
    struct err err = ERR_INIT;

    (void)state;
    need_engine();
    stranger = connect_as("as-wrong");
    assert_int_equal(modal_client_hello(stranger, &err), -1);
    assert_int_equal(err.code, GRPC_UNAUTHENTICATED);
    assert_null(strstr(err.msg, "as-wrong"));
    err_clear(&err);
    modal_client_free(stranger);
    assert_int_equal(modal_client_hello(world.c, &err), 0);
    assert_int_equal(modal_sandbox_poll(world.c, "sb-01BX5ZZKBKACTAV9WEVGEMMVRY", &ending, &err), -1);
    assert_int_equal(err.code, GRPC_NOT_FOUND);
    err_clear(&err);
    assert_int_equal(modal_task_open(world.c, "sb-01BX5ZZKBKACTAV9WEVGEMMVRY", 100, &task, &err), -1);
    assert_int_equal(err.code, GRPC_NOT_FOUND);
    err_clear(&err);
}

struct watching {
    bool done;
    int code;
};

static void on_ending(void *arg, const struct modal_ending *ending, const struct err *err)
{
    struct watching *w = arg;

    w->done = true;
    w->code = err ? -1 : ending->exit_code;
}

/* Watched beside other work: the entrypoint's own exit code. */
static void watches_an_end(void **state)
{
    struct modal_sandbox_spec spec = {.app_id = world.app_id, .image_id = world.image.id, .timeout_s = 60};
    struct modal_sandbox sandbox;
    struct modal_watch *watch;
    struct watching w = {0};
    int64_t end;

    (void)state;
    need_engine();
    strlist_add(&spec.args, "/bin/busybox");
    strlist_add(&spec.args, "sh");
    strlist_add(&spec.args, "-c");
    strlist_add(&spec.args, "sleep 1; exit 5");
    assert_int_equal(modal_sandbox_create(world.c, &spec, &sandbox, NULL), 0);
    watch = modal_sandbox_watch(world.c, sandbox.id, on_ending, &w);
    for (end = loop_now() + 20000; !w.done && loop_now() < end;)
        loop_step(world.loop, 100);
    assert_true(w.done);
    assert_int_equal(w.code, 5);
    modal_watch_free(watch);
    modal_sandbox_spec_clear(&spec);
    modal_sandbox_clear(&sandbox);
}

/* Every token given so far is refused: a new one is fetched, the call made once more. */
static void expired_tokens(void **state)
{
    struct modal_sandbox sandbox = MODAL_SANDBOX_INIT, second = MODAL_SANDBOX_INIT;
    struct modal_exec_output output = {0};
    struct modal_task *task;

    (void)state;
    need_engine();
    create(&sandbox, false, NULL);
    assert_int_equal(modal_task_open(world.c, sandbox.id, 0, &task, NULL), 0);
    set_fault("expire-tokens");
    create(&second, false, NULL);
    run(task, "cat", "still here", &output);
    assert_string_equal(output.out, "still here");
    set_fault("");
    modal_exec_output_clear(&output);
    modal_task_free(task);
    modal_sandbox_terminate(world.c, sandbox.id, NULL);
    modal_sandbox_terminate(world.c, second.id, NULL);
    modal_sandbox_clear(&sandbox);
    modal_sandbox_clear(&second);
}

/* An answer that is lost is not a second sandbox; one that asks for a pause gets it. */
static void lost_answers(void **state)
{
    const char *const faults[] = {"lost=SandboxCreateV2:1", "fail=SandboxCreateV2:1-3",
                                  "fail=*:1:resource_exhausted:0.3"};

    (void)state;
    need_engine();
    for (size_t i = 0; i < 3; i++) {
        struct modal_sandbox sandbox = MODAL_SANDBOX_INIT;
        struct modal_sandbox_list list = MODAL_SANDBOX_LIST_INIT;
        struct strlist filter = STRLIST_INIT;
        struct modal_sandbox_spec spec = {.app_id = world.app_id, .image_id = world.image.id, .timeout_s = 60};
        int64_t before = loop_now();
        struct err err = ERR_INIT;

        set_fault(faults[i]);
        strlist_addf(&spec.tags, "round=%zu", i);
        strlist_addf(&filter, "round=%zu", i);
        strlist_add(&spec.args, "/bin/busybox");
        strlist_add(&spec.args, "sleep");
        strlist_add(&spec.args, "50");
        if (modal_sandbox_create(world.c, &spec, &sandbox, &err) < 0)
            fail_msg("%s: %s", faults[i], err.msg);
        assert_true(i != 2 || loop_now() - before >= 300);
        set_fault("");
        assert_int_equal(modal_sandbox_list(world.c, world.app_id, &filter, true, false, &list, NULL), 0);
        assert_int_equal(list.len, 1);
        assert_string_equal(list.items[0].id, sandbox.id);
        modal_sandbox_list_clear(&list);
        modal_sandbox_terminate(world.c, sandbox.id, NULL);
        modal_sandbox_clear(&sandbox);
        modal_sandbox_spec_clear(&spec);
        strlist_clear(&filter);
    }
}

/* Connections are cut in the middle of what goes out and of what comes in: nothing is lost, nothing comes twice. */
static void cut_connections(void **state)
{
    struct modal_sandbox sandbox = MODAL_SANDBOX_INIT;
    struct modal_exec_output output = {0};
    struct modal_task *task;
    size_t len = 6 << 20;
    cleanup_free char *input = xmalloc(len + 1);

    (void)state;
    need_engine();
    for (size_t i = 0; i < len; i++)
        input[i] = (char)('a' + i * 31 % 26);
    input[len] = '\0';
    create(&sandbox, false, NULL);
    /* Each round begins with a connection that will be cut. */
    for (int round = 0; round < 2; round++) {
        set_fault(round ? "drop-in=2500000x3" : "drop=2500000x4");
        assert_int_equal(modal_task_open(world.c, sandbox.id, 0, &task, NULL), 0);
        run(task, "cat", input, &output);
        assert_int_equal(output.out_len, len);
        assert_memory_equal(output.out, input, len);
        assert_int_equal(output.code, 0);
        modal_exec_output_clear(&output);
        modal_task_free(task);
    }
    set_fault("");
    modal_sandbox_terminate(world.c, sandbox.id, NULL);
    modal_sandbox_clear(&sandbox);
}

static void end_stdout(struct modal_exec *exec, int code, void *arg)
{
    (void)exec;
    assert_int_equal(code, -1);
    *(int64_t *)arg = loop_now();
}

static void end_badly(struct modal_exec *exec, const struct err *err, void *arg)
{
    (void)exec;
    (void)arg;
    fail_msg("%s", err->msg);
}

/* With 300 ms each way an exec on a known sandbox costs one round trip, its output included. */
static void one_round_trip(void **state)
{
    static const struct modal_exec_handlers handlers = {.on_exit = end_stdout, .on_error = end_badly};
    struct modal_sandbox sandbox = MODAL_SANDBOX_INIT;
    struct modal_exec_output output = {0};
    struct modal_exec_options options = {.drop_stderr = true, .no_wait = true};
    struct modal_exec *exec;
    struct modal_task *task;
    int64_t began, ended = 0;

    (void)state;
    need_engine();
    create(&sandbox, false, NULL);
    assert_int_equal(modal_task_open(world.c, sandbox.id, 0, &task, NULL), 0);
    run(task, "true", "", &output); /* the container is up */
    modal_exec_output_clear(&output);
    modal_task_free(task);
    set_fault("latency=1000");
    strlist_add(&options.argv, "/bin/busybox");
    strlist_add(&options.argv, "cat");
    began = loop_now();
    assert_int_equal(modal_task_open(world.c, sandbox.id, 0, &task, NULL), 0);
    exec = modal_exec_start(task, &options, &handlers, &ended, NULL);
    modal_exec_write(exec, "x", 1);
    modal_exec_write_eof(exec);
    while (!ended && loop_now() - began < 20000)
        loop_step(world.loop, 10);
    assert_true(ended - began >= 2000);
    assert_true(ended - began < 3950); /* two would be 4000 */
    modal_exec_free(exec);
    modal_task_free(task);
    modal_exec_options_clear(&options);
    set_fault("");
    modal_sandbox_terminate(world.c, sandbox.id, NULL);
    modal_sandbox_clear(&sandbox);
}

/* The sandbox is lost under an exec: an error in good time, and the ending can be asked. */
static void dying_sandbox(void **state)
{
    struct modal_sandbox sandbox = MODAL_SANDBOX_INIT;
    struct modal_exec_options options = {0};
    struct modal_exec_output output = {0};
    struct modal_ending ending = MODAL_ENDING_INIT;
    struct modal_task *task;
    struct err err = ERR_INIT;
    int64_t before;
    int ret;

    (void)state;
    need_engine();
    set_fault("die-after=700");
    create(&sandbox, false, NULL);
    strlist_add(&options.argv, "/bin/busybox");
    strlist_add(&options.argv, "sleep");
    strlist_add(&options.argv, "60");
    before = loop_now();
    assert_int_equal(modal_task_open(world.c, sandbox.id, 0, &task, NULL), 0);
    ret = modal_exec_run(task, &options, "", 0, 1000, &output, &err);
    assert_true(loop_now() - before < 20000);
    set_fault("");
    assert_true(ret < 0 || output.code != 0);
    assert_int_equal(modal_sandbox_wait(world.c, sandbox.id, 10000, &ending, &err), 0);
    assert_true(ending.finished && ending.exit_code != 0);
    err_clear(&err);
    modal_exec_output_clear(&output);
    modal_ending_clear(&ending);
    modal_exec_options_clear(&options);
    modal_task_free(task);
    modal_sandbox_clear(&sandbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builds_an_image),   cmocka_unit_test(uploads),         cmocka_unit_test(reports_a_bad_build),
        cmocka_unit_test(runs_in_a_sandbox), cmocka_unit_test(tags_and_names),  cmocka_unit_test(warm_cache),
        cmocka_unit_test(refusals),          cmocka_unit_test(watches_an_end),  cmocka_unit_test(expired_tokens),
        cmocka_unit_test(lost_answers),      cmocka_unit_test(cut_connections), cmocka_unit_test(one_round_trip),
        cmocka_unit_test(dying_sandbox),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
