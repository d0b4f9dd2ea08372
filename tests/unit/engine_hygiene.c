/* link: atp_grpc atp_proto atp_sys atp_base */
/*
 * What an engine keeps of sandboxes that have ended: on the disk nothing, in memory and descriptors no more after many
 * than after a few. ATP_TEST_SANDBOXES asks for more of them.
 */
#include "tests/unit/engine_boxes.h"

#include <dirent.h>
#include <stdlib.h>

#define AT_ONCE 10
#define GONE_MS 30000 /* an ended sandbox's folder and descriptors are gone by then */

static size_t entries(const char *path)
{
    DIR *dir = opendir(path);
    size_t n = 0;

    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n > 2 ? n - 2 : 0;
}

static size_t folders(const char *name)
{
    cleanup_free char *path = xasprintf("%s/state/runtime/%s", shared->dir, name);

    return entries(path);
}

static size_t descriptors(void)
{
    cleanup_free char *path = xasprintf("/proc/%d/fd", (int)shared->pid);

    return entries(path);
}

/* Anonymous memory in KiB. A sanitizer keeps what is freed, and the engine is built as this is. */
#ifdef __SANITIZE_ADDRESS__
#define MEMORY_COUNTS false
#else
#define MEMORY_COUNTS true
#endif

static long memory(void)
{
    cleanup_free char *path = xasprintf("/proc/%d/status", (int)shared->pid);
    cleanup_buf struct buf text = BUF_INIT(65536);
    const char *at;

    assert_int_equal(fs_read_file(path, &text, NULL), 0);
    at = strstr(text.data, "RssAnon:");
    assert_non_null(at);
    return strtol(at + 8, NULL, 10);
}

/* Containers' folders are gone a moment after the last end, and what was moved away soon after. */
static void expect_empty_disk(void)
{
    for (int waited = 0; folders("containers") + folders("trash") > 0; waited += 20) {
        if (waited > GONE_MS)
            fail_msg("%zu folders of ended sandboxes, %zu in the trash", folders("containers"), folders("trash"));
        engine_pause(20);
    }
}

/* Waits until the engine has no more descriptors than it had. */
static void expect_descriptors(size_t most)
{
    for (int waited = 0; descriptors() > most; waited += 20) {
        if (waited > GONE_MS)
            fail_msg("%zu descriptors are open, %zu were", descriptors(), most);
        engine_pause(20);
    }
}

/* So many sandboxes that end by themselves, some at a time; each writes files and lines. */
static void run_short(size_t count)
{
    static const char *const words[] = {"/bin/sh", "-c", "echo hello; echo text >/file; exit 3", NULL};

    for (size_t done = 0; done < count; done += AT_ONCE) {
        struct box boxes[AT_ONCE];

        for (size_t i = 0; i < AT_ONCE; i++) {
            Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;

            boxes[i] = box_run(&def, words);
        }
        for (size_t i = 0; i < AT_ONCE; i++) {
            assert_int_equal(box_wait(&boxes[i], NULL), 3);
            box_clear(&boxes[i]);
        }
    }
}

/* One sandbox with so many execs, whose output is read. */
static void run_execs(unsigned count)
{
    struct box b = box_asleep();

    for (unsigned i = 0; i < count; i++) {
        cleanup_free char *id = xasprintf("e%u", i);
        cleanup_buf struct buf out = BUF_INIT(65536);

        assert_int_equal(exec_shell(&b, id, "echo out; echo err >&2"), GRPC_OK);
        assert_int_equal(exec_read(&b, id, 0, 0, &out), GRPC_OK);
        assert_string_equal(out.data, "out\n");
        assert_int_equal(exec_wait(&b, id), 0);
    }
    box_end(&b);
}

static unsigned wanted(unsigned usual)
{
    const char *text = getenv("ATP_TEST_SANDBOXES");

    return text ? (unsigned)strtoul(text, NULL, 10) : usual;
}

static void test_many_short_lives(void **state)
{
    const unsigned count = wanted(300);
    size_t before;
    long first;

    NEED_ENGINE();
    run_short(50); /* what is made once, and the output of the last few that is kept */
    expect_empty_disk();
    engine_pause(1500);
    before = descriptors();
    first = memory();
    run_short(count);
    expect_empty_disk();
    expect_descriptors(before);
    print_message("%u sandboxes: %zu descriptors, memory %ld -> %ld KiB\n", count, before, first, memory());
    assert_true(!MEMORY_COUNTS || memory() < first + 1024 + (long)count);
}

static void test_many_execs(void **state)
{
    const unsigned count = wanted(30);
    size_t before;
    long first;

    NEED_ENGINE();
    for (int i = 0; i < 5; i++)
        run_execs(20);
    engine_pause(1500);
    before = descriptors();
    first = memory();
    for (unsigned i = 0; i < count; i++)
        run_execs(20);
    expect_empty_disk();
    expect_descriptors(before);
    print_message("%u execs: %zu descriptors, memory %ld -> %ld KiB\n", 20 * count, before, first, memory());
    assert_true(!MEMORY_COUNTS || memory() < first + 1024 + (long)count);
}

/* The result and the output of one that has ended can be asked for, its execs cannot. */
static void test_what_stays(void **state)
{
    static const char *const words[] = {"/bin/sh", "-c", "echo said; exec sleep 600", NULL};
    Modal__TaskCommandRouter__SandboxStdioReadV2Request read =
        MODAL__TASK_COMMAND_ROUTER__SANDBOX_STDIO_READ_V2_REQUEST__INIT;
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    Modal__Client__SandboxTerminateRequest terminate = MODAL__CLIENT__SANDBOX_TERMINATE_REQUEST__INIT;
    void *got = NULL;
    struct box b;
    int status;

    NEED_ENGINE();
    b = box_run(&def, words);
    assert_int_equal(exec_shell(&b, "e", "echo out"), GRPC_OK);
    assert_int_equal(exec_wait(&b, "e"), 0);
    terminate.sandbox_id = b.id;
    assert_int_equal(engine_call(shared, "SandboxTerminateV2", &terminate, NULL, NULL), GRPC_OK);
    expect_empty_disk();
    engine_pause(1500);
    assert_int_equal(box_wait(&b, &status), 137);
    assert_int_equal(exec_wait(&b, "e"), -1000 - GRPC_NOT_FOUND);
    read.task_id = b.task;
    assert_int_equal(router_call(&b, "SandboxStdioReadV2", &read,
                                 &modal__task_command_router__sandbox_stdio_read_v2_response__descriptor, &got),
                     GRPC_OK);
    assert_non_null(got);
    modal__task_command_router__sandbox_stdio_read_v2_response__free_unpacked(got, NULL);
    box_clear(&b);
}

/* A snapshot keeps the files of a sandbox that ends meanwhile. */
static void test_end_during_a_snapshot(void **state)
{
    Modal__Client__SandboxSnapshotFsAsyncRequest begin_it = MODAL__CLIENT__SANDBOX_SNAPSHOT_FS_ASYNC_REQUEST__INIT;
    Modal__Client__SandboxSnapshotFsAsyncGetRequest get = MODAL__CLIENT__SANDBOX_SNAPSHOT_FS_ASYNC_GET_REQUEST__INIT;
    Modal__Client__SandboxTerminateRequest terminate = MODAL__CLIENT__SANDBOX_TERMINATE_REQUEST__INIT;
    Modal__Client__SandboxSnapshotFsAsyncResponse *begun;
    Modal__Client__SandboxSnapshotFsResponse *made;
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    static const char *const look[] = {"/bin/sh", "-c", "test $(cat /many/* | wc -l) = 3000", NULL};
    cleanup_free char *snapshot = NULL;
    void *got = NULL;
    struct box b;

    NEED_ENGINE();
    b = box_asleep();
    assert_int_equal(
        exec_shell(&b, "e", "mkdir /many; for i in $(seq 3000); do echo $i >/many/$i; done; ln -s busybox /bin/wc"),
        GRPC_OK);
    assert_int_equal(exec_wait(&b, "e"), 0);
    begin_it.sandbox_id = terminate.sandbox_id = b.id;
    assert_int_equal(engine_call(shared, "SandboxSnapshotFsAsync", &begin_it,
                                 &modal__client__sandbox_snapshot_fs_async_response__descriptor, &got),
                     GRPC_OK);
    begun = got;
    assert_int_equal(engine_call(shared, "SandboxTerminateV2", &terminate, NULL, NULL), GRPC_OK);
    box_wait(&b, NULL);
    box_clear(&b);
    snapshot = xstrdup(begun->image_id);
    get.image_id = begun->image_id;
    assert_int_equal(engine_call(shared, "SandboxSnapshotFsAsyncGet", &get,
                                 &modal__client__sandbox_snapshot_fs_response__descriptor, &got),
                     GRPC_OK);
    made = got;
    assert_int_equal(made->result->status, MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_SUCCESS);
    modal__client__sandbox_snapshot_fs_response__free_unpacked(made, NULL);
    modal__client__sandbox_snapshot_fs_async_response__free_unpacked(begun, NULL);
    expect_empty_disk();
    {
        cleanup_free char *plain = steal(&image_id);

        image_id = snapshot;
        b = box_run(&def, look);
        image_id = steal(&plain);
    }
    assert_int_equal(box_wait(&b, NULL), 0);
    box_clear(&b);
}

/* What a killed engine left, in either folder, goes when the next one starts. */
static void test_left_by_a_kill(void **state)
{
    static const char *const words[] = {"--fault", "", NULL};
    cleanup_free char *env = NULL, *left = NULL, *file = NULL;
    struct box b;

    NEED_ENGINE();
    env = engine_path(shared, "env");
    left = xasprintf("%s/state/runtime/trash/sb-left/work/work", shared->dir);
    file = xasprintf("%s/file", left);
    b = box_asleep();
    assert_int_equal(exec_shell(&b, "e", "for i in $(seq 500); do echo $i >/$i; done"), GRPC_OK);
    assert_int_equal(exec_wait(&b, "e"), 0);
    box_clear(&b);
    engine_kill(shared, SIGKILL);
    assert_int_equal(fs_mkdirs(left, 0700, NULL), 0);
    assert_int_equal(fs_write_file(file, "x", 1, 0600, NULL), 0);
    assert_int_equal(folders("containers"), 1);
    unlink(env);
    assert_true(engine_launch(shared, words));
    expect_empty_disk();
}

/* The engine of a folder that was removed ends, and leaves a newer engine's socket alone. */
static void test_folder_removed(void **state)
{
    cleanup_free char *folder = NULL, *away = NULL, *sock = NULL, *env = NULL;
    int status = -1;
    struct box b;
    struct stat st;

    NEED_ENGINE();
    folder = xasprintf("%s/state", shared->dir);
    away = xasprintf("%s/away", shared->dir);
    sock = engine_path(shared, "sock");
    env = engine_path(shared, "sock.env");
    b = box_asleep();
    assert_int_equal(exec_shell(&b, "e", "true"), GRPC_OK);
    assert_int_equal(exec_wait(&b, "e"), 0);
    box_clear(&b);
    assert_int_equal(unlink(sock), 0);
    assert_int_equal(fs_write_file(sock, "another", 7, 0600, NULL), 0);
    assert_int_equal(rename(folder, away), 0);
    for (int waited = 0; waitpid(shared->pid, &status, WNOHANG) == 0 && waited < 15000; waited += 50)
        engine_pause(50);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(stat(sock, &st), 0);
    unlink(sock);
    unlink(env);
    engine_forget(shared);
    shared->pid = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_short_lives), cmocka_unit_test(test_many_execs),
        cmocka_unit_test(test_what_stays),       cmocka_unit_test(test_end_during_a_snapshot),
        cmocka_unit_test(test_left_by_a_kill),   cmocka_unit_test(test_folder_removed),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
