/*
 * Sandboxes of a real engine and execs in them, as a client asks for them: for tests of the whole engine. begin() and
 * end() are for the group; a test begins with NEED_ENGINE().
 */
#ifndef ATP_TESTS_ENGINE_BOXES_H
#define ATP_TESTS_ENGINE_BOXES_H

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
static inline char *make_mount(void)
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
static inline char *build(const char *const *lines, size_t len, const char *context, const char *base)
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

static inline void make_app(void)
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

static inline int begin(void **state)
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

static inline int end(void **state)
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

static inline void box_clear(struct box *b)
{
    free(b->id);
    free(b->task);
    free(b->jwt);
    strlist_clear(&b->router);
}

/* Creates a V2 sandbox with this definition; the status, and b when it is OK. */
static inline int box_create(Modal__Client__Sandbox *def, struct box *b)
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
static inline struct box box_run(Modal__Client__Sandbox *def, const char *const *words)
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

static inline struct box box_asleep(void)
{
    static const char *const words[] = {"/bin/sleep", "600", NULL};
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;

    return box_run(&def, words);
}

/* Waits for the end; exit code, and the status where wanted. */
static inline int box_wait(const struct box *b, int *ret_status)
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

static inline void box_end(struct box *b)
{
    Modal__Client__SandboxTerminateRequest request = MODAL__CLIENT__SANDBOX_TERMINATE_REQUEST__INIT;

    request.sandbox_id = b->id;
    assert_int_equal(engine_call(shared, "SandboxTerminateV2", &request, NULL, NULL), GRPC_OK);
    box_wait(b, NULL);
    box_clear(b);
}

/* ---- execs ---- */

static inline int router_call(const struct box *b, const char *method, const void *request,
                              const ProtobufCMessageDescriptor *type, void **ret)
{
    cleanup_free char *path = xasprintf(ROUTER "%s", method);

    return engine_call_with(shared, &b->router, path, request, type, ret, NULL);
}

static inline int exec_start_words(const struct box *b, const char *id, unsigned timeout, const char *const *words)
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

static inline int exec_shell(const struct box *b, const char *id, const char *script)
{
    const char *const words[] = {"/bin/sh", "-c", script, NULL};

    return exec_start_words(b, id, 0, words);
}

static inline int exec_write(const struct box *b, const char *id, uint64_t offset, const char *text, bool eof)
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
static inline int exec_wait(const struct box *b, const char *id)
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

static inline void on_message(struct grpc_call *call, const void *data, size_t len, void *arg)
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

static inline void on_end(struct grpc_call *call, const struct grpc_result *result, void *arg)
{
    struct reading *r = arg;

    (void)call;
    r->status = result->status;
}

/* Starts reading the output of an exec from an offset. */
static inline struct grpc_call *read_begin(const struct box *b, const char *id, int fd, uint64_t offset,
                                           int64_t deadline, struct reading *r)
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

static inline void turn_until_done(struct reading *r)
{
    int64_t until = loop_now() + 20000;

    while (r->status < 0 && loop_now() < until)
        loop_step(shared->loop, 100);
}

/* Reads all output from offset on; the status of the stream. */
static inline int exec_read(const struct box *b, const char *id, int fd, uint64_t offset, struct buf *out)
{
    struct reading r = {.out = out};

    read_begin(b, id, fd, offset, 20000, &r);
    turn_until_done(&r);
    return r.status;
}

#endif
