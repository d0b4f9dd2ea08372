/* link: atp_grpc atp_proto atp_sys atp_base */
/* Real containers through the real engine: an image of busybox from a mount, sandboxes of both forms, execs. */
#include "tests/unit/engine_rig.h"

#include "compat/base/sha256.h"
#include "compat/sys/random.h"

#include <stdlib.h>

#define BUSYBOX "/bin/busybox"

static struct engine_process *shared;
static char *image_id, *app_id;

#define NEED_ENGINE()                                                                                                  \
    do {                                                                                                               \
        (void)state;                                                                                                   \
        if (!image_id)                                                                                                 \
            skip();                                                                                                    \
    } while (0)

/* ---- an image ---- */

/* Uploads busybox and makes a mount of it under several names. */
static char *make_mount(void)
{
    static const char *const names[] = {"/bin/busybox", "/bin/sh",  "/bin/cat",  "/bin/sleep",
                                        "/bin/head",    "/bin/seq", "/bin/true", "/bin/sha256sum"};
    enum { NAMES = sizeof(names) / sizeof(names[0]) };
    Modal__Client__MountPutFileRequest put = MODAL__CLIENT__MOUNT_PUT_FILE_REQUEST__INIT;
    Modal__Client__MountGetOrCreateRequest create = MODAL__CLIENT__MOUNT_GET_OR_CREATE_REQUEST__INIT;
    Modal__Client__MountFile files[NAMES], *list[NAMES];
    Modal__Client__MountGetOrCreateResponse *mount;
    cleanup_buf struct buf bytes = BUF_INIT(16u << 20);
    char hex[2 * SHA256_LEN + 1];
    uint8_t digest[SHA256_LEN];
    void *got = NULL;
    char *id;

    if (fs_read_file(BUSYBOX, &bytes, NULL) < 0)
        return NULL;
    sha256(bytes.data, bytes.len, digest);
    sha256_hex(digest, hex);
    put.sha256_hex = hex;
    put.data_oneof_case = MODAL__CLIENT__MOUNT_PUT_FILE_REQUEST__DATA_ONEOF_DATA;
    put.data.data = (uint8_t *)bytes.data;
    put.data.len = bytes.len;
    assert_int_equal(engine_call(shared, "MountPutFile", &put, NULL, NULL), GRPC_OK);
    for (size_t i = 0; i < NAMES; i++) {
        modal__client__mount_file__init(&files[i]);
        files[i].filename = TEXT(names[i]);
        files[i].sha256_hex = hex;
        files[i].has_mode = 1;
        files[i].mode = 0755;
        list[i] = &files[i];
    }
    create.files = list;
    create.n_files = NAMES;
    create.has_object_creation_type = 1;
    create.object_creation_type = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_EPHEMERAL;
    assert_int_equal(engine_call(shared, "MountGetOrCreate", &create,
                                 &modal__client__mount_get_or_create_response__descriptor, &got),
                     GRPC_OK);
    mount = got;
    id = xstrdup(mount->mount_id);
    modal__client__mount_get_or_create_response__free_unpacked(mount, NULL);
    return id;
}

/* Builds lines on a context (may be NULL) or on a base (may be NULL); waits for the end. NULL when it failed. */
static char *build(const char *const *lines, size_t len, const char *context, const char *base)
{
    Modal__Client__ImageGetOrCreateRequest request = MODAL__CLIENT__IMAGE_GET_OR_CREATE_REQUEST__INIT;
    Modal__Client__Image image = MODAL__CLIENT__IMAGE__INIT;
    Modal__Client__BaseImage parent = MODAL__CLIENT__BASE_IMAGE__INIT, *parents[] = {&parent};
    char *words[8];
    void *got = NULL;
    char *id = NULL;

    for (size_t i = 0; i < len; i++)
        words[i] = TEXT(lines[i]);
    image.dockerfile_commands = words;
    image.n_dockerfile_commands = len;
    image.context_mount_id = TEXT(context);
    if (base) {
        parent.docker_tag = TEXT("base");
        parent.image_id = TEXT(base);
        image.base_images = parents;
        image.n_base_images = 1;
    }
    request.image = &image;
    for (int i = 0; i < 200; i++) {
        Modal__Client__ImageGetOrCreateResponse *response;
        int status = 0;

        assert_int_equal(engine_call(shared, "ImageGetOrCreate", &request,
                                     &modal__client__image_get_or_create_response__descriptor, &got),
                         GRPC_OK);
        response = got;
        free(id);
        id = xstrdup(response->image_id);
        status = response->result ? (int)response->result->status : 0;
        modal__client__image_get_or_create_response__free_unpacked(response, NULL);
        if (status == 1)
            return id;
        if (status)
            break;
        engine_pause(25);
    }
    free(id);
    return NULL;
}

static void make_app(void)
{
    Modal__Client__AppGetOrCreateRequest request = MODAL__CLIENT__APP_GET_OR_CREATE_REQUEST__INIT;
    Modal__Client__AppGetOrCreateResponse *app;
    void *got = NULL;

    request.app_name = TEXT("sandboxes");
    request.has_object_creation_type = 1;
    request.object_creation_type = MODAL__CLIENT__OBJECT_CREATION_TYPE__OBJECT_CREATION_TYPE_CREATE_IF_MISSING;
    assert_int_equal(
        engine_call(shared, "AppGetOrCreate", &request, &modal__client__app_get_or_create_response__descriptor, &got),
        GRPC_OK);
    app = got;
    app_id = xstrdup(app->app_id);
    modal__client__app_get_or_create_response__free_unpacked(app, NULL);
}

static int begin(void **state)
{
    static const char *const words[] = {"--fault", "", NULL};
    static const char *const lines[] = {"FROM scratch", "COPY . /", "ENV PATH=/bin FROM_IMAGE=yes"};
    cleanup_free char *mount = NULL;

    (void)state;
    if (geteuid() != 0)
        return 0;
    shared = engine_begin(words);
    if (!shared)
        return 0;
    mount = make_mount();
    if (!mount)
        return 0;
    image_id = build(lines, 3, mount, NULL);
    make_app();
    return image_id ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    if (shared)
        engine_end(shared);
    free(image_id);
    free(app_id);
    return 0;
}

/* ---- sandboxes ---- */

struct box {
    char *id, *task, *jwt;
    struct strlist router; /* headers for the router */
};

static void box_clear(struct box *b)
{
    free(b->id);
    free(b->task);
    free(b->jwt);
    strlist_clear(&b->router);
}

/* Creates a V2 sandbox with this definition; the status, and b when it is OK. */
static int box_create(Modal__Client__Sandbox *def, struct box *b)
{
    Modal__Client__SandboxCreateV2Request request = MODAL__CLIENT__SANDBOX_CREATE_V2_REQUEST__INIT;
    Modal__Client__SandboxCreateV2Response *response;
    void *got = NULL;
    int status;

    request.app_id = app_id;
    request.definition = def;
    status =
        engine_call(shared, "SandboxCreateV2", &request, &modal__client__sandbox_create_v2_response__descriptor, &got);
    if (status != GRPC_OK)
        return status;
    response = got;
    *b = (struct box){.id = xstrdup(response->sandbox_id), .task = xstrdup(response->task_id)};
    assert_int_equal(b->task[strlen(b->task) - 1], 'V');
    assert_string_equal(response->command_router_access->url, shared->tcp_url);
    strlist_addf(&b->router, "authorization=Bearer %s", response->command_router_access->jwt);
    modal__client__sandbox_create_v2_response__free_unpacked(response, NULL);
    return GRPC_OK;
}

/* One that runs these words (NULL-terminated). */
static struct box box_run(Modal__Client__Sandbox *def, const char *const *words)
{
    struct box b = {0};
    char *args[8];

    def->image_id = image_id;
    def->entrypoint_args = args;
    for (def->n_entrypoint_args = 0; words[def->n_entrypoint_args]; def->n_entrypoint_args++)
        args[def->n_entrypoint_args] = TEXT(words[def->n_entrypoint_args]);
    assert_int_equal(box_create(def, &b), GRPC_OK);
    return b;
}

static struct box box_asleep(void)
{
    static const char *const words[] = {"/bin/sleep", "600", NULL};
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;

    return box_run(&def, words);
}

/* Waits for the end; exit code, and the status where wanted. */
static int box_wait(const struct box *b, int *ret_status)
{
    Modal__Client__SandboxWaitRequest request = MODAL__CLIENT__SANDBOX_WAIT_REQUEST__INIT;
    void *got = NULL;

    request.sandbox_id = b->id;
    request.has_timeout = 1;
    request.timeout = 10;
    for (int i = 0; i < 3; i++) {
        Modal__Client__SandboxWaitResponse *response;
        bool over;
        int code = 0;

        assert_int_equal(
            engine_call(shared, "SandboxWaitV2", &request, &modal__client__sandbox_wait_response__descriptor, &got),
            GRPC_OK);
        response = got;
        over = response->result != NULL;
        if (over) {
            code = response->result->exitcode;
            if (ret_status)
                *ret_status = (int)response->result->status;
        }
        modal__client__sandbox_wait_response__free_unpacked(response, NULL);
        if (over)
            return code;
    }
    fail_msg("%s does not end", b->id);
    return -1;
}

static void box_end(struct box *b)
{
    Modal__Client__SandboxTerminateRequest request = MODAL__CLIENT__SANDBOX_TERMINATE_REQUEST__INIT;

    request.sandbox_id = b->id;
    assert_int_equal(engine_call(shared, "SandboxTerminateV2", &request, NULL, NULL), GRPC_OK);
    box_wait(b, NULL);
    box_clear(b);
}

/* ---- execs ---- */

static int router_call(const struct box *b, const char *method, const void *request,
                       const ProtobufCMessageDescriptor *type, void **ret)
{
    cleanup_free char *path = xasprintf(ROUTER "%s", method);

    return engine_call_with(shared, &b->router, path, request, type, ret, NULL);
}

static int exec_start_words(const struct box *b, const char *id, unsigned timeout, const char *const *words)
{
    Modal__TaskCommandRouter__TaskExecStartRequest request = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_START_REQUEST__INIT;
    char *args[8];

    request.task_id = b->task;
    request.exec_id = TEXT(id);
    request.command_args = args;
    while (words[request.n_command_args]) {
        args[request.n_command_args] = TEXT(words[request.n_command_args]);
        request.n_command_args++;
    }
    request.has_stdout_config = request.has_stderr_config = 1;
    request.stdout_config = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDOUT_CONFIG__TASK_EXEC_STDOUT_CONFIG_PIPE;
    request.stderr_config = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDERR_CONFIG__TASK_EXEC_STDERR_CONFIG_PIPE;
    request.has_timeout_secs = timeout != 0;
    request.timeout_secs = timeout;
    return router_call(b, "TaskExecStart", &request, NULL, NULL);
}

static int exec_shell(const struct box *b, const char *id, const char *script)
{
    const char *const words[] = {"/bin/sh", "-c", script, NULL};

    return exec_start_words(b, id, 0, words);
}

static int exec_write(const struct box *b, const char *id, uint64_t offset, const char *text, bool eof)
{
    Modal__TaskCommandRouter__TaskExecStdinWriteRequest request =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIN_WRITE_REQUEST__INIT;

    request.task_id = b->task;
    request.exec_id = TEXT(id);
    request.has_offset = request.has_data = request.has_eof = 1;
    request.offset = offset;
    request.data.data = (uint8_t *)TEXT(text);
    request.data.len = strlen(text);
    request.eof = eof;
    return router_call(b, "TaskExecStdinWrite", &request, NULL, NULL);
}

/* Exit code, or -signal, or -1000 - status when the call failed. */
static int exec_wait(const struct box *b, const char *id)
{
    Modal__TaskCommandRouter__TaskExecWaitRequest request = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_WAIT_REQUEST__INIT;
    Modal__TaskCommandRouter__TaskExecWaitResponse *response;
    void *got = NULL;
    int status, code;

    request.task_id = b->task;
    request.exec_id = TEXT(id);
    status = router_call(b, "TaskExecWait", &request, &modal__task_command_router__task_exec_wait_response__descriptor,
                         &got);
    if (status != GRPC_OK)
        return -1000 - status;
    response = got;
    code = response->exit_status_case == MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_WAIT_RESPONSE__EXIT_STATUS_CODE
               ? response->code
               : -response->signal;
    modal__task_command_router__task_exec_wait_response__free_unpacked(response, NULL);
    return code;
}

struct reading {
    struct buf *out;
    size_t total;
    int pause_after; /* messages; then the peer is slow for ever */
    int status;      /* -1 while it runs */
};

static void on_message(struct grpc_call *call, const void *data, size_t len, void *arg)
{
    struct reading *r = arg;
    Modal__TaskCommandRouter__TaskExecStdioReadResponse *m =
        modal__task_command_router__task_exec_stdio_read_response__unpack(NULL, len, data);

    assert_non_null(m);
    assert_true(m->data.len > 0); /* an empty chunk is an error for clients */
    r->total += m->data.len;
    if (r->out)
        buf_add(r->out, m->data.data, m->data.len);
    modal__task_command_router__task_exec_stdio_read_response__free_unpacked(m, NULL);
    if (r->pause_after && --r->pause_after == 0)
        grpc_call_pause(call);
}

static void on_end(struct grpc_call *call, const struct grpc_result *result, void *arg)
{
    struct reading *r = arg;

    (void)call;
    r->status = result->status;
}

/* Starts reading the output of an exec from an offset. */
static struct grpc_call *read_begin(const struct box *b, const char *id, int fd, uint64_t offset, int64_t deadline,
                                    struct reading *r)
{
    static const struct grpc_handlers handlers = {on_message, NULL, on_end};
    Modal__TaskCommandRouter__TaskExecStdioReadRequest request =
        MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDIO_READ_REQUEST__INIT;
    struct grpc_call *call;
    uint8_t bytes[512];

    r->status = -1;
    request.task_id = b->task;
    request.exec_id = TEXT(id);
    request.has_offset = request.has_file_descriptor = 1;
    request.offset = offset;
    request.file_descriptor = (Modal__TaskCommandRouter__TaskExecStdioFileDescriptor)fd;
    call = grpc_call_start(shared->channel, ROUTER "TaskExecStdioRead", &b->router, deadline, &handlers, r);
    grpc_call_send(call, bytes, modal__task_command_router__task_exec_stdio_read_request__pack(&request, bytes));
    grpc_call_finish(call);
    return call;
}

static void turn_until_done(struct reading *r)
{
    int64_t until = loop_now() + 20000;

    while (r->status < 0 && loop_now() < until)
        loop_step(shared->loop, 100);
}

/* Reads all output from offset on; the status of the stream. */
static int exec_read(const struct box *b, const char *id, int fd, uint64_t offset, struct buf *out)
{
    struct reading r = {.out = out};

    read_begin(b, id, fd, offset, 20000, &r);
    turn_until_done(&r);
    return r.status;
}

/* ---- tests ---- */

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
    set_fault("slow-start=700");
    before = loop_now();
    b = box_asleep();
    assert_true(loop_now() - before < 600);
    assert_int_equal(exec_shell(&b, "e", "true"), GRPC_OK);
    assert_true(loop_now() - before >= 700);
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
