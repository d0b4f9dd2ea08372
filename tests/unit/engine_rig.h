/*
 * The real engine for tests: started as a process of its own in a fresh folder, reached over TCP or its Unix socket
 * with the project's gRPC client, ended and swept away. Included by one test program at a time.
 */
#ifndef ATP_TESTS_ENGINE_RIG_H
#define ATP_TESTS_ENGINE_RIG_H

#include "backends/grpc/grpc.h"
#include "backends/proto/api.pb-c.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"
#include "compat/sys/fs.h"
#include "compat/sys/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h> /* cmocka wants it first */

#include <cmocka.h>

#define CONTROL "/modal.client.ModalClient/"
#define ROUTER  "/modal.task_command_router.TaskCommandRouter/"
#define TEXT(s) ((char *)(uintptr_t)(s))

struct engine_process {
    char *dir; /* holds state, env, sock, log */
    pid_t pid;
    char *tcp_url, *unix_url, *token_id, *token_secret;
    unsigned port;
    struct loop *loop;
    struct grpc_channel *channel; /* over TCP */
};

static inline void engine_pause(long ms)
{
    const struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&ts, NULL);
}

static inline char *engine_path(const struct engine_process *p, const char *name)
{
    return xasprintf("%s/%s", p->dir, name);
}

/* The program, built beside the folder of the tests. */
static inline char *engine_binary(void)
{
    cleanup_free char *here = fs_program_dir();

    return xasprintf("%s/../bin/atp-engine", here);
}

/* Runs the engine with these arguments (NULL-terminated list of words after the program's name). */
static inline pid_t engine_spawn(const struct strlist *args)
{
    cleanup_free char *binary = engine_binary();
    cleanup_strlist struct strlist argv = STRLIST_INIT;
    pid_t pid;

    strlist_add(&argv, binary);
    strlist_copy(&argv, args);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execv(binary, strlist_argv(&argv));
        _exit(127);
    }
    return pid;
}

/* The value of NAME in an environment file, owned by caller; NULL if it is not there. */
static inline char *engine_env_value(const char *path, const char *name)
{
    cleanup_buf struct buf text = BUF_INIT(65536);
    cleanup_strlist struct strlist lines = STRLIST_INIT;

    if (fs_read_file(path, &text, NULL) < 0)
        return NULL;
    strlist_split(&lines, text.data, '\n');
    return xstrdup(strlist_env_get(&lines, name));
}

static inline void engine_connect(struct engine_process *p)
{
    p->channel = grpc_channel_new(p->loop, p->tcp_url, NULL, NULL);
    assert_non_null(p->channel);
}

/* Reads what the engine wrote about itself, waiting for it. False when the engine ended instead. */
static inline bool engine_read_env(struct engine_process *p)
{
    cleanup_free char *env = engine_path(p, "env"), *socket_env = engine_path(p, "sock.env");

    for (int i = 0; i < 400 && !fs_exists(env); i++) {
        if (waitpid(p->pid, NULL, WNOHANG) == p->pid)
            return false;
        engine_pause(25);
    }
    p->tcp_url = engine_env_value(env, "MODAL_SERVER_URL");
    p->unix_url = engine_env_value(socket_env, "MODAL_SERVER_URL");
    p->token_id = engine_env_value(env, "MODAL_TOKEN_ID");
    p->token_secret = engine_env_value(env, "MODAL_TOKEN_SECRET");
    if (!p->tcp_url)
        return false;
    p->port = (unsigned)strtoul(strrchr(p->tcp_url, ':') + 1, NULL, 10);
    return true;
}

/* Starts one more engine in p->dir (again, after a stop or a kill). extra: NULL-terminated words. */
static inline bool engine_launch(struct engine_process *p, const char *const *extra)
{
    cleanup_strlist struct strlist args = STRLIST_INIT;

    strlist_addf(&args, "--listen");
    strlist_addf(&args, "127.0.0.1:0");
    strlist_addf(&args, "--env-file");
    strlist_addf(&args, "%s/env", p->dir);
    strlist_addf(&args, "--socket");
    strlist_addf(&args, "%s/sock", p->dir);
    strlist_addf(&args, "--state-dir");
    strlist_addf(&args, "%s/state", p->dir);
    strlist_addf(&args, "--log");
    strlist_addf(&args, "%s/log", p->dir);
    while (extra && *extra)
        strlist_add(&args, *extra++);
    p->pid = engine_spawn(&args);
    if (!engine_read_env(p))
        return false;
    engine_connect(p);
    return true;
}

/* NULL when the engine cannot run here (no root, no container runtime): skip the test. */
static inline struct engine_process *engine_begin(const char *const *extra)
{
    struct engine_process *p = xcalloc(1, sizeof(*p));
    char dir[] = "/tmp/atp-engine-XXXXXX";

    assert_non_null(mkdtemp(dir));
    p->dir = xstrdup(dir);
    p->loop = loop_new();
    if (engine_launch(p, extra))
        return p;
    assert_true(geteuid() != 0);
    return NULL;
}

static inline void engine_forget(struct engine_process *p)
{
    grpc_channel_free(p->channel);
    p->channel = NULL;
    free(steal(&p->tcp_url));
    free(steal(&p->unix_url));
    free(steal(&p->token_id));
    free(steal(&p->token_secret));
}

/* Ends the engine with a signal; returns waitpid's status. */
static inline int engine_kill(struct engine_process *p, int signo)
{
    int status = 0;

    engine_forget(p);
    assert_int_equal(kill(p->pid, signo), 0);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    p->pid = 0;
    return status;
}

static inline void engine_end(struct engine_process *p)
{
    cleanup_free char *env = engine_path(p, "env"), *sock = engine_path(p, "sock");
    pid_t child;

    if (p->pid)
        assert_int_equal(engine_kill(p, SIGTERM), 0);
    assert_false(fs_exists(env));
    assert_false(fs_exists(sock));
    loop_free(p->loop);
    child = fork();
    if (child == 0) {
        execlp("rm", "rm", "-rf", p->dir, (char *)NULL);
        _exit(127);
    }
    waitpid(child, NULL, 0);
    free(p->dir);
    free(p);
}

/* The headers of a control-plane call; auth_token may be NULL. */
static inline void engine_metadata(const struct engine_process *p, const char *auth_token, struct strlist *ret)
{
    strlist_addf(ret, "x-modal-client-type=1");
    strlist_addf(ret, "x-modal-token-id=%s", p->token_id);
    strlist_addf(ret, "x-modal-token-secret=%s", p->token_secret);
    if (auth_token)
        strlist_addf(ret, "x-modal-auth-token=%s", auth_token);
}

/* One unary call with these headers: its status, and its answer (NULL on failure) to be freed by the caller. */
static inline int engine_call_with(struct engine_process *p, const struct strlist *metadata, const char *path,
                                   const void *request, const ProtobufCMessageDescriptor *type, void **ret,
                                   char **ret_text)
{
    struct grpc_reply reply = GRPC_REPLY_INIT;
    size_t len = protobuf_c_message_get_packed_size(request);
    cleanup_free uint8_t *bytes = xmalloc(len + 1);
    int status;

    protobuf_c_message_pack(request, bytes);
    grpc_call_sync(p->channel, path, metadata, 20000, bytes, len, &reply, NULL);
    status = reply.status;
    if (ret)
        *ret = status == GRPC_OK ? protobuf_c_message_unpack(type, NULL, reply.len, reply.data) : NULL;
    if (ret_text)
        *ret_text = xstrdup(reply.message);
    grpc_reply_clear(&reply);
    return status;
}

/* The same with the right credentials, V2 ones included. */
static inline int engine_call(struct engine_process *p, const char *method, const void *request,
                              const ProtobufCMessageDescriptor *type, void **ret)
{
    cleanup_strlist struct strlist metadata = STRLIST_INIT;
    Modal__Client__AuthTokenGetRequest ask = MODAL__CLIENT__AUTH_TOKEN_GET_REQUEST__INIT;
    Modal__Client__AuthTokenGetResponse *token = NULL;
    cleanup_free char *path = xasprintf(CONTROL "%s", method);
    void *got = NULL;

    engine_metadata(p, NULL, &metadata);
    assert_int_equal(engine_call_with(p, &metadata, CONTROL "AuthTokenGet", &ask,
                                      &modal__client__auth_token_get_response__descriptor, &got, NULL),
                     GRPC_OK);
    token = got;
    strlist_addf(&metadata, "x-modal-auth-token=%s", token->token);
    modal__client__auth_token_get_response__free_unpacked(token, NULL);
    return engine_call_with(p, &metadata, path, request, type, ret, NULL);
}

/* Replaces the faults of an engine that was started with --fault. */
static inline void engine_set_fault(const struct engine_process *p, const char *spec)
{
    cleanup_free char *request =
        xasprintf("PUT /engine/fault HTTP/1.1\r\nHost: x\r\nx-modal-token-id: %s\r\nX-Modal-Token-Secret: %s\r\n"
                  "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                  p->token_id, p->token_secret, strlen(spec), spec);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char answer[13] = "";

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/sock", p->dir);
    assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    assert_int_equal(recv(fd, answer, 12, MSG_WAITALL), 12);
    assert_string_equal(answer, "HTTP/1.1 200");
}

#endif
