/* link: atp_grpc atp_proto atp_sys atp_base */
/* Real containers through the real engine: an image of busybox from a mount, sandboxes of both forms, execs. */
#include "tests/unit/engine_boxes.h"

#include <stdlib.h>

static void test_exec(void **state)
{
    cleanup_buf struct buf out = BUF_INIT(65536), err = BUF_INIT(65536), tail = BUF_INIT(65536);
    struct box b;

    NEED_ENGINE();
    b = box_asleep();
    /* The start waits for the sandbox; the same id again is the same exec. */
    assert_int_equal(exec_shell(&b, "one", "cat; echo $FROM_IMAGE $MODAL_SANDBOX_ID >&2; exit 7"), GRPC_OK);
    assert_int_equal(exec_shell(&b, "one", "echo never"), GRPC_OK);
    assert_int_equal(exec_write(&b, "one", 0, "hello ", false), GRPC_OK);
    assert_int_equal(exec_write(&b, "one", 0, "hello ", false), GRPC_OK);   /* a repeat is dropped */
    assert_int_equal(exec_write(&b, "one", 3, "lo world", false), GRPC_OK); /* half of it new */
    assert_int_equal(exec_write(&b, "one", 99, "gap", false), GRPC_FAILED_PRECONDITION);
    assert_int_equal(exec_write(&b, "one", 11, "", true), GRPC_OK);
    assert_int_equal(exec_write(&b, "one", 11, "", true), GRPC_OK);
    assert_int_equal(exec_wait(&b, "one"), 7);
    assert_int_equal(exec_write(&b, "one", 11, "late", false), GRPC_FAILED_PRECONDITION);

    /* Output stays, from any offset, any number of times. */
    for (int i = 0; i < 2; i++) {
        buf_reset(&out);
        assert_int_equal(exec_read(&b, "one", 0, 0, &out), GRPC_OK);
        assert_string_equal(out.data, "hello world");
    }
    assert_int_equal(exec_read(&b, "one", 0, 6, &tail), GRPC_OK);
    assert_string_equal(tail.data, "world");
    buf_reset(&tail);
    assert_int_equal(exec_read(&b, "one", 0, 1000, &tail), GRPC_OK);
    assert_int_equal(tail.len, 0);
    assert_int_equal(exec_read(&b, "one", 1, 0, &err), GRPC_OK);
    assert_memory_equal(err.data, "yes sb-", 7);

    assert_int_equal(exec_wait(&b, "no such exec"), -1000 - GRPC_NOT_FOUND);
    assert_int_equal(exec_shell(&b, "gone", "exec no-such-program"), GRPC_OK);
    assert_int_equal(exec_wait(&b, "gone"), 127);
    box_end(&b);
}

/* What an old exec wrote is given up for the files that it holds; how it ended is still known. */
static void test_many_ended_execs(void **state)
{
    enum { MANY = 400 };
    cleanup_buf struct buf out = BUF_INIT(65536);
    struct box b;

    NEED_ENGINE();
    b = box_asleep();
    for (int i = 0; i < MANY; i++) {
        cleanup_free char *id = xasprintf("many-%d", i), *script = xasprintf("echo %d; exit %d", i, i % 100);

        assert_int_equal(exec_shell(&b, id, script), GRPC_OK);
        assert_int_equal(exec_wait(&b, id), i % 100);
    }
    assert_int_equal(exec_wait(&b, "many-7"), 7);
    assert_int_equal(exec_read(&b, "many-7", 0, 0, &out), GRPC_NOT_FOUND);
    assert_int_equal(exec_write(&b, "many-7", 0, "late", false), GRPC_FAILED_PRECONDITION);
    assert_int_equal(exec_read(&b, "many-399", 0, 0, &out), GRPC_OK);
    assert_string_equal(out.data, "399\n");
    box_end(&b);
}

static void test_exec_words_that_are_refused(void **state)
{
    static const char *const none[] = {NULL}, *const program[] = {"/bin/no-such-program", NULL};
    cleanup_free char *long_word = xcalloc(1, 70001);
    const char *const long_words[] = {"/bin/true", long_word, NULL};
    struct box b, other;

    NEED_ENGINE();
    memset(long_word, 'x', 70000);
    b = box_asleep();
    other = box_asleep();
    assert_int_equal(exec_start_words(&b, "a", 0, none), GRPC_INVALID_ARGUMENT);
    assert_int_equal(exec_start_words(&b, "", 0, program), GRPC_INVALID_ARGUMENT);
    assert_int_equal(exec_start_words(&b, "b", 0, long_words), GRPC_INVALID_ARGUMENT);
    assert_int_equal(exec_start_words(&b, "c", 0, program), GRPC_OK);
    assert_int_equal(exec_wait(&b, "c"), 127);
    /* A token is for one task. */
    free(b.task);
    b.task = xstrdup(other.task);
    assert_int_equal(exec_shell(&b, "d", "true"), GRPC_PERMISSION_DENIED);
    box_end(&b);
    box_end(&other);
}

static void test_exec_timeout_and_deadline(void **state)
{
    static const char *const words[] = {"/bin/sh", "-c", "echo hi; sleep 60", NULL};
    cleanup_buf struct buf out = BUF_INIT(65536);
    struct reading r = {0};
    struct box b;
    int64_t before;

    NEED_ENGINE();
    b = box_asleep();
    assert_int_equal(exec_start_words(&b, "t", 1, words), GRPC_OK);
    assert_int_equal(exec_wait(&b, "t"), -SIGKILL);
    assert_int_equal(exec_read(&b, "t", 0, 0, &out), GRPC_OK);
    assert_string_equal(out.data, "hi\n");

    assert_int_equal(exec_shell(&b, "u", "sleep 60"), GRPC_OK);
    before = loop_now();
    read_begin(&b, "u", 0, 0, 300, &r);
    turn_until_done(&r);
    assert_int_equal(r.status, GRPC_DEADLINE_EXCEEDED);
    assert_in_range(loop_now() - before, 250, 3000);
    box_end(&b);
}

/* Resident memory of the engine in KiB. */
static long engine_memory(void)
{
    cleanup_free char *path = xasprintf("/proc/%d/status", (int)shared->pid);
    cleanup_buf struct buf text = BUF_INIT(65536);

    assert_int_equal(fs_read_file(path, &text, NULL), 0);
    return strtol(strstr(text.data, "VmRSS:") + 6, NULL, 10);
}

/* Much output and a reader that stops: the process is not held up, the engine's memory does not grow, others go on. */
static void test_slow_reader(void **state)
{
    cleanup_buf struct buf small = BUF_INIT(65536);
    struct reading slow = {.pause_after = 1}, fast = {0};
    struct grpc_call *call;
    struct box b;
    long before;

    NEED_ENGINE();
    b = box_asleep();
    assert_int_equal(exec_shell(&b, "big", "head -c 300000000 /dev/zero"), GRPC_OK);
    before = engine_memory();
    call = read_begin(&b, "big", 0, 0, 0, &slow);
    assert_int_equal(exec_wait(&b, "big"), 0); /* with its pipe never emptied by a client */
    for (int i = 0; i < 20; i++)
        loop_step(shared->loop, 20);
    assert_true(slow.total < 300000000);
    assert_true(engine_memory() - before < 100 * 1024); /* the address sanitizer's engine needs more than others */
    assert_int_equal(exec_shell(&b, "small", "echo quick"), GRPC_OK);
    assert_int_equal(exec_read(&b, "small", 0, 0, &small), GRPC_OK);
    assert_string_equal(small.data, "quick\n");
    grpc_call_cancel(call);
    /* All of it is there for one who reads. */
    read_begin(&b, "big", 0, 0, 0, &fast);
    turn_until_done(&fast);
    assert_int_equal(fast.status, GRPC_OK);
    assert_int_equal(fast.total, 300000000);
    box_end(&b);
}

/* ---- the streaming form of stdin ---- */

struct upload {
    struct grpc_call *call;
    int status;
};

static void upload_ended(struct grpc_call *call, const struct grpc_result *result, void *arg)
{
    struct upload *u = arg;

    (void)call;
    u->call = NULL;
    u->status = result->status;
}

static void upload_begin(const struct box *b, struct upload *u)
{
    static const struct grpc_handlers handlers = {NULL, NULL, upload_ended};

    u->status = -1;
    u->call = grpc_call_start(shared->channel, ROUTER "TaskExecStdinWriteStream", &b->router, 20000, &handlers, u);
}

static void upload_message(struct upload *u, const Modal__TaskCommandRouter__TaskExecStdinWriteStreamRequest *m)
{
    size_t len = modal__task_command_router__task_exec_stdin_write_stream_request__get_packed_size(m);
    cleanup_free uint8_t *bytes = xmalloc(len + 1);

    modal__task_command_router__task_exec_stdin_write_stream_request__pack(m, bytes);
    if (u->call)
        grpc_call_send(u->call, bytes, len);
}

static void upload_start(const struct box *b, struct upload *u, const char *id, uint64_t offset)
{
    Modal__TaskCommandRouter__TaskExecStdinWriteStreamStart start =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_STREAM_START__INIT;
    Modal__TaskCommandRouter__TaskExecStdinWriteStreamRequest m =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_STREAM_REQUEST__INIT;

    start.task_id = b->task;
    start.exec_id = TEXT(id);
    start.has_offset = 1;
    start.offset = offset;
    m.payload_case = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_STREAM_REQUEST__PAYLOAD_START;
    m.start = &start;
    upload_message(u, &m);
}

static void upload_data(struct upload *u, const void *bytes, size_t len)
{
    Modal__TaskCommandRouter__TaskExecStdinWriteStreamRequest m =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_STREAM_REQUEST__INIT;

    m.payload_case = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_STREAM_REQUEST__PAYLOAD_DATA;
    m.data.data = (uint8_t *)TEXT(bytes);
    m.data.len = len;
    upload_message(u, &m);
}

static void upload_end(struct upload *u)
{
    Modal__TaskCommandRouter__TaskExecStdinWriteStreamEnd over =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_STREAM_END__INIT;
    Modal__TaskCommandRouter__TaskExecStdinWriteStreamRequest m =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_STREAM_REQUEST__INIT;

    m.payload_case = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_STREAM_REQUEST__PAYLOAD_END;
    m.end = &over;
    upload_message(u, &m);
}

static int upload_finish(struct upload *u)
{
    int64_t until = loop_now() + 20000;

    if (u->call)
        grpc_call_finish(u->call);
    while (u->status < 0 && loop_now() < until)
        loop_step(shared->loop, 100);
    return u->status;
}

static uint64_t stdin_status(const struct box *b, const char *id, bool *ret_closed)
{
    Modal__TaskCommandRouter__TaskExecStdinStatusRequest request =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_STATUS_REQUEST__INIT;
    Modal__TaskCommandRouter__TaskExecStdinStatusResponse *response;
    void *got = NULL;
    uint64_t len;

    request.task_id = b->task;
    request.exec_id = TEXT(id);
    assert_int_equal(router_call(b, "TaskExecStdinStatus", &request,
                                 &modal__task_command_router__task_exec_stdin_status_response__descriptor, &got),
                     GRPC_OK);
    response = got;
    len = response->num_bytes_written;
    *ret_closed = response->closed;
    modal__task_command_router__task_exec_stdin_status_response__free_unpacked(response, NULL);
    return len;
}

static void test_streamed_stdin(void **state)
{
    cleanup_free char *chunk = xmalloc(262144);
    cleanup_buf struct buf out = BUF_INIT(65536);
    char hex[2 * SHA256_LEN + 1];
    uint8_t digest[SHA256_LEN];
    struct sha256 sum;
    struct upload u, second;
    struct box b;
    bool closed;

    NEED_ENGINE();
    random_bytes(chunk, 262144, NULL);
    b = box_asleep();
    assert_int_equal(exec_shell(&b, "sum", "sha256sum"), GRPC_OK);
    sha256_init(&sum);

    /* The first stream stops in the middle: a status call ends it, and a second one goes on where it was. */
    upload_begin(&b, &u);
    upload_start(&b, &u, "sum", 0);
    for (int i = 0; i < 20; i++) {
        upload_data(&u, chunk, 262144);
        sha256_update(&sum, chunk, 262144);
    }
    for (int i = 0; i < 200 && stdin_status(&b, "sum", &closed) < 20 * 262144ull && u.status < 0; i++)
        engine_pause(10);
    assert_int_equal(upload_finish(&u), GRPC_CANCELLED);
    assert_false(closed);
    {
        uint64_t at = stdin_status(&b, "sum", &closed);

        upload_begin(&b, &second);
        upload_start(&b, &second, "sum", at);
        for (uint64_t from = at; from < 40 * 262144ull;) {
            size_t in_chunk = (size_t)(from % 262144), len = 262144 - in_chunk;

            upload_data(&second, chunk + in_chunk, len);
            from += len;
        }
        for (int i = 0; i < 20; i++)
            sha256_update(&sum, chunk, 262144);
    }
    upload_end(&second);
    assert_int_equal(upload_finish(&second), GRPC_OK);
    assert_int_equal(stdin_status(&b, "sum", &closed), 40 * 262144);
    assert_true(closed);
    assert_int_equal(exec_wait(&b, "sum"), 0);
    assert_int_equal(exec_read(&b, "sum", 0, 0, &out), GRPC_OK);
    sha256_final(&sum, digest);
    sha256_hex(digest, hex);
    assert_memory_equal(out.data, hex, 64);
    box_end(&b);
}

static void test_streamed_stdin_errors(void **state)
{
    struct upload u;
    struct box b;
    bool closed;

    NEED_ENGINE();
    b = box_asleep();
    assert_int_equal(exec_shell(&b, "x", "cat >/dev/null"), GRPC_OK);
    upload_begin(&b, &u);
    upload_data(&u, "early", 5);
    assert_int_equal(upload_finish(&u), GRPC_INVALID_ARGUMENT);
    upload_begin(&b, &u);
    upload_start(&b, &u, "x", 5);
    assert_int_equal(upload_finish(&u), GRPC_FAILED_PRECONDITION);
    upload_begin(&b, &u);
    upload_start(&b, &u, "nobody", 0);
    assert_int_equal(upload_finish(&u), GRPC_NOT_FOUND);
    upload_begin(&b, &u);
    upload_start(&b, &u, "x", 0);
    upload_start(&b, &u, "x", 0);
    assert_int_equal(upload_finish(&u), GRPC_INVALID_ARGUMENT);
    upload_begin(&b, &u);
    assert_int_equal(upload_finish(&u), GRPC_INVALID_ARGUMENT);
    upload_begin(&b, &u); /* ends without "end": stdin stays open */
    upload_start(&b, &u, "x", 0);
    upload_data(&u, "some", 4);
    assert_int_equal(upload_finish(&u), GRPC_INVALID_ARGUMENT);
    assert_int_equal(stdin_status(&b, "x", &closed), 4);
    assert_false(closed);
    box_end(&b);
}

/* ---- ends ---- */

static void test_results(void **state)
{
    static const char *const three[] = {"/bin/sh", "-c", "exit 3", NULL}, *const nothing[] = {"/bin/nothing", NULL};
    static const char *const sleeping[] = {"/bin/sleep", "600", NULL};
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    struct box b;
    int status = -1;

    NEED_ENGINE();
    b = box_run(&def, three);
    assert_int_equal(box_wait(&b, &status), 3);
    assert_int_equal(status, MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_FAILURE);
    assert_int_equal(exec_shell(&b, "late", "true"), GRPC_NOT_FOUND);
    box_clear(&b);
    b = box_run(&def, nothing);
    box_wait(&b, &status);
    assert_int_equal(status, MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_INIT_FAILURE);
    box_clear(&b);
    def.has_timeout_secs = 1;
    def.timeout_secs = 1;
    b = box_run(&def, sleeping);
    assert_int_equal(box_wait(&b, &status), 124);
    assert_int_equal(status, MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_TIMEOUT);
    box_clear(&b);
}

/* Whoever waits for an exec is told at once when the sandbox goes; its output so far can be read to the end. */
static void test_exec_goes_with_its_sandbox(void **state)
{
    Modal__Client__SandboxTerminateRequest request = MODAL__CLIENT__SANDBOX_TERMINATE_REQUEST__INIT;
    cleanup_buf struct buf out = BUF_INIT(65536);
    struct reading r = {.out = &out};
    struct box b;

    NEED_ENGINE();
    b = box_asleep();
    assert_int_equal(exec_shell(&b, "e", "echo started; sleep 600"), GRPC_OK);
    read_begin(&b, "e", 0, 0, 20000, &r);
    while (r.total < 8)
        loop_step(shared->loop, 100);
    request.sandbox_id = b.id;
    assert_int_equal(engine_call(shared, "SandboxTerminateV2", &request, NULL, NULL), GRPC_OK);
    assert_int_equal(exec_wait(&b, "e"), -1000 - GRPC_NOT_FOUND);
    turn_until_done(&r);
    assert_int_equal(r.status, GRPC_OK);
    assert_string_equal(out.data, "started\n");
    assert_int_equal(box_wait(&b, NULL), 137);
    box_clear(&b);
}

/* ---- faults, mounts, nothing to run ---- */

static void set_fault(const char *spec)
{
    engine_set_fault(shared, spec);
}

/* A slow start holds execs up, not the creation; a sandbox that dies is an internal failure. */
static void test_faults_of_sandboxes(void **state)
{
    struct box b;
    int64_t before;
    int status = -1;

    NEED_ENGINE();
    set_fault("slow-start=4000");
    before = loop_now();
    b = box_asleep();
    assert_true(loop_now() - before < 3900);
    assert_int_equal(exec_shell(&b, "e", "true"), GRPC_OK);
    assert_true(loop_now() - before >= 4000);
    assert_int_equal(exec_wait(&b, "e"), 0);
    box_end(&b);
    b = box_asleep();
    box_end(&b); /* before it ever started */
    set_fault("die-after=300");
    b = box_asleep();
    assert_int_equal(exec_shell(&b, "e", "sleep 600"), GRPC_OK);
    assert_int_equal(exec_wait(&b, "e"), -1000 - GRPC_NOT_FOUND);
    box_wait(&b, &status);
    assert_int_equal(status, MODAL__CLIENT__GENERIC_RESULT__GENERIC_STATUS__GENERIC_STATUS_INTERNAL_FAILURE);
    box_clear(&b);
    set_fault("");
}

/* A mount adds files to directories that the image has, and brings directories that it does not have. */
static void test_mounts_add_and_hide_nothing(void **state)
{
    static const char *const words[] = {"/bin/sleep", "600", NULL};
    static const char *const names[] = {"/bin/added", "/new/place/file"};
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    Modal__Client__MountPutFileRequest put = MODAL__CLIENT__MOUNT_PUT_FILE_REQUEST__INIT;
    Modal__Client__MountGetOrCreateRequest create = MODAL__CLIENT__MOUNT_GET_OR_CREATE_REQUEST__INIT;
    Modal__Client__MountFile files[2], *list[2];
    Modal__Client__MountGetOrCreateResponse *mount;
    cleanup_buf struct buf out = BUF_INIT(65536);
    char hex[2 * SHA256_LEN + 1];
    uint8_t digest[SHA256_LEN];
    void *got = NULL;
    struct box b;

    NEED_ENGINE();
    sha256("added\n", 6, digest);
    sha256_hex(digest, hex);
    put.sha256_hex = hex;
    put.data_oneof_case = MODAL__CLIENT__MOUNT_PUT_FILE_REQUEST__DATA_ONEOF_DATA;
    put.data.data = (uint8_t *)TEXT("wrong\n");
    put.data.len = 6;
    assert_int_equal(engine_call(shared, "MountPutFile", &put, NULL, NULL), GRPC_INVALID_ARGUMENT);
    put.data.data = (uint8_t *)TEXT("added\n");
    assert_int_equal(engine_call(shared, "MountPutFile", &put, NULL, NULL), GRPC_OK);
    for (size_t i = 0; i < 2; i++) {
        modal__client__mount_file__init(&files[i]);
        files[i].filename = TEXT(names[i]);
        files[i].sha256_hex = hex;
        list[i] = &files[i];
    }
    create.files = list;
    create.n_files = 2;
    assert_int_equal(engine_call(shared, "MountGetOrCreate", &create,
                                 &modal__client__mount_get_or_create_response__descriptor, &got),
                     GRPC_OK);
    mount = got;
    def.mount_ids = &mount->mount_id;
    def.n_mount_ids = 1;
    b = box_run(&def, words);
    modal__client__mount_get_or_create_response__free_unpacked(mount, NULL);
    assert_int_equal(exec_shell(&b, "e", "cat /bin/added /new/place/file; true >/new/place/file || echo refused"),
                     GRPC_OK);
    assert_int_equal(exec_wait(&b, "e"), 0);
    assert_int_equal(exec_read(&b, "e", 0, 0, &out), GRPC_OK);
    assert_string_equal(out.data, "added\nadded\nrefused\n");
    box_end(&b);
}

/* An image without anything that could run, and nothing asked for: it sleeps all the same. */
static void test_nothing_to_run(void **state)
{
    static const char *const none[] = {NULL}, *const lines[] = {"FROM scratch", "ENV X=1"};
    static const char *const missing[] = {"/bin/sh", NULL};
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    cleanup_free char *mine = NULL, *empty = NULL;
    struct box b;

    NEED_ENGINE();
    empty = build(lines, 2, NULL, NULL);
    assert_non_null(empty);
    mine = image_id;
    image_id = empty;
    b = box_run(&def, none);
    image_id = steal(&mine);
    assert_int_equal(exec_start_words(&b, "e", 0, missing), GRPC_OK);
    assert_int_equal(exec_wait(&b, "e"), 127);
    box_end(&b);
}

/* What the V1 logs give of bytes that are no text. */
static void test_logs_are_text(void **state)
{
    static const char *const words[] = {"/bin/sh", "-c", "printf 'a\\377b\\303\\251\\n'", NULL};
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    Modal__Client__SandboxGetLogsRequest request = MODAL__CLIENT__SANDBOX_GET_LOGS_REQUEST__INIT;
    Modal__Client__TaskLogsBatch *batch;
    cleanup_strlist struct strlist metadata = STRLIST_INIT;
    struct box b;
    void *got = NULL;

    NEED_ENGINE();
    b = box_run(&def, words);
    assert_int_equal(box_wait(&b, NULL), 0);
    engine_metadata(shared, NULL, &metadata);
    request.sandbox_id = b.id;
    request.has_file_descriptor = 1;
    request.file_descriptor = MODAL__CLIENT__FILE_DESCRIPTOR__FILE_DESCRIPTOR_STDOUT;
    request.has_timeout = 1;
    request.timeout = 5;
    request.last_entry_id = TEXT("6-0"); /* behind all of it: only the end is left */
    assert_int_equal(engine_call_with(shared, &metadata, CONTROL "SandboxGetLogs", &request,
                                      &modal__client__task_logs_batch__descriptor, &got, NULL),
                     GRPC_OK);
    batch = got;
    assert_true(batch->eof);
    assert_int_equal(batch->n_items, 0);
    assert_string_equal(batch->entry_id, "6-0");
    modal__client__task_logs_batch__free_unpacked(batch, NULL);
    request.last_entry_id = TEXT("no such sandbox");
    request.sandbox_id = TEXT("sb-no");
    assert_int_equal(engine_call_with(shared, &metadata, CONTROL "SandboxGetLogs", &request, NULL, NULL, NULL),
                     GRPC_NOT_FOUND);
    box_clear(&b);
}

/* An engine that is killed leaves nothing behind for the next one, which knows images and apps but no sandboxes. */
static void test_killed_with_a_sandbox(void **state)
{
    static const char *const words[] = {"--fault", "", NULL};
    Modal__Client__SandboxWaitRequest wait = MODAL__CLIENT__SANDBOX_WAIT_REQUEST__INIT;
    cleanup_free char *env = NULL, *mounts = NULL;
    cleanup_buf struct buf text = BUF_INIT(1u << 20);
    struct box b, again;

    NEED_ENGINE();
    env = engine_path(shared, "env");
    b = box_asleep();
    assert_int_equal(exec_shell(&b, "e", "sleep 600"), GRPC_OK);
    engine_kill(shared, SIGKILL);
    unlink(env);
    assert_true(engine_launch(shared, words));
    wait.sandbox_id = b.id;
    assert_int_equal(engine_call(shared, "SandboxWaitV2", &wait, NULL, NULL), GRPC_NOT_FOUND);
    assert_int_equal(fs_read_file("/proc/mounts", &text, NULL), 0);
    assert_null(strstr(text.data, b.id));
    again = box_asleep(); /* image and app are still known */
    assert_int_equal(exec_shell(&again, "e", "true"), GRPC_OK);
    assert_int_equal(exec_wait(&again, "e"), 0);
    box_end(&again);
    box_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exec),
        cmocka_unit_test(test_many_ended_execs),
        cmocka_unit_test(test_exec_words_that_are_refused),
        cmocka_unit_test(test_exec_timeout_and_deadline),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_streamed_stdin),
        cmocka_unit_test(test_streamed_stdin_errors),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_exec_goes_with_its_sandbox),
        cmocka_unit_test(test_faults_of_sandboxes),
        cmocka_unit_test(test_mounts_add_and_hide_nothing),
        cmocka_unit_test(test_nothing_to_run),
        cmocka_unit_test(test_logs_are_text),
        cmocka_unit_test(test_killed_with_a_sandbox),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
