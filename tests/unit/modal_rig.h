/*
 * The client and the engine for tests of both: the engine as a process of its own on a Unix socket, an image of a
 * busybox, sandboxes of it. Needs root and a static busybox; without them, or without the engine's binary beside the
 * test, everything is skipped. builds_an_image() is the first test of a program that makes sandboxes.
 */
#ifndef ATP_TESTS_MODAL_RIG_H
#define ATP_TESTS_MODAL_RIG_H

/* Not every program uses every helper. */
#pragma GCC diagnostic ignored "-Wunused-function"

#include "backends/modal/client.h"

#include "backends/modal/exec.h"
#include "backends/modal/image.h"
#include "backends/modal/sandbox.h"
#include "backends/modal/task.h"
#include "backends/grpc/frame.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/loop.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define BUSYBOX "/bin/busybox"

static struct {
    bool usable;
    pid_t pid;
    char dir[64], url[128], id[128], secret[128];
    struct loop *loop;
    struct modal_client *c;
    struct modal_cache *cache;
    char *app_id;
    struct modal_image image;
    int calls;
} world;

static void count_call(void *arg, const char *line)
{
    (void)arg;
    world.calls++;
    if (getenv("MODAL_ENGINE_TRACE"))
        fprintf(stderr, "%s\n", line);
}

/* The value of NAME in the file of shell assignments that the engine writes. */
static void read_assignment(const char *text, const char *name, char *to, size_t size)
{
    const char *at = strstr(text, name);
    size_t n = 0;

    *to = '\0';
    if (!at)
        return;
    for (at += strlen(name) + 1; *at && *at != '\n' && n + 1 < size; at++)
        if (*at != '\'' && *at != '"')
            to[n++] = *at;
    to[n] = '\0';
}

/* Starts the engine on a Unix socket in a folder of its own and waits until it says where it is. */
static int start_engine(void)
{
    char self[4096], engine[4200], env[128], socket_path[128], state[128], text[2048];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    FILE *f;

    if (n <= 0 || geteuid() != 0 || access(BUSYBOX, X_OK) != 0)
        return 0;
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(engine, sizeof(engine), "%s/../bin/atp-engine", self);
    if (getenv("ATP_ENGINE"))
        snprintf(engine, sizeof(engine), "%s", getenv("ATP_ENGINE"));
    if (access(engine, X_OK) != 0)
        return 0;
    snprintf(world.dir, sizeof(world.dir), "/tmp/modal-engine-%d", (int)getpid());
    mkdir(world.dir, 0700);
    snprintf(env, sizeof(env), "%s/env", world.dir);
    snprintf(socket_path, sizeof(socket_path), "%s/sock", world.dir);
    snprintf(state, sizeof(state), "%s/state", world.dir);
    world.pid = fork();
    if (world.pid == 0) {
        char log[128];

        snprintf(log, sizeof(log), "%s/log", world.dir);
        execl(engine, "atp-engine", "--socket", socket_path, "--env-file", env, "--state-dir", state, "--log", log,
              "--token-ttl", "60", "--fault", "", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 100; i++) {
        usleep(100000);
        f = fopen(env, "r");
        if (!f)
            continue;
        text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
        fclose(f);
        read_assignment(text, "MODAL_SERVER_URL", world.url, sizeof(world.url));
        read_assignment(text, "MODAL_TOKEN_ID", world.id, sizeof(world.id));
        read_assignment(text, "MODAL_TOKEN_SECRET", world.secret, sizeof(world.secret));
        if (*world.secret)
            return 1;
    }
    return -1;
}

static struct modal_client *connect_as(const char *secret)
{
    const struct modal_client_options options = {.server_url = world.url,
                                                 .token_id = world.id,
                                                 .token_secret = secret,
                                                 .cache = world.cache,
                                                 .trace = count_call};
    struct modal_client *c = modal_client_new(world.loop, &options, NULL);

    assert_non_null(c);
    return c;
}

static int set_up(void **state)
{
    int started = start_engine();

    (void)state;
    if (started < 0)
        return -1;
    world.usable = started > 0;
    if (!world.usable)
        return 0;
    world.loop = loop_new();
    world.cache = modal_cache_memory_new();
    world.c = connect_as(world.secret);
    return 0;
}

static int tear_down(void **state)
{
    cleanup_free char *command = NULL;
    int status = 0;

    (void)state;
    if (!world.usable)
        return 0;
    modal_image_clear(&world.image);
    free(world.app_id);
    modal_client_free(world.c);
    modal_cache_memory_free(world.cache);
    loop_free(world.loop);
    kill(world.pid, SIGTERM);
    waitpid(world.pid, &status, 0);
    command = xasprintf("rm -rf %s", world.dir);
    if (fork() == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    wait(NULL);
    return 0;
}

static void need_engine(void)
{
    if (!world.usable)
        skip();
}

/* Busybox and a large file of the kind that goes through a blob. */
static void builds_an_image(void **state)
{
    cleanup_free char *mount = NULL, *again = NULL, *big = xcalloc(1, 5 << 20);
    struct modal_mount_file files[] = {
        {.remote = "/bin/busybox", .path = BUSYBOX, .mode = 0755},
        {.remote = "/etc/small", .data = "small\n", .size = 6, .mode = 0640},
        {.remote = "/etc/big", .data = big, .size = 5 << 20, .mode = 0600},
        {.remote = "/old/one", .data = "1\n", .size = 2, .mode = 0644},
        {.remote = "/old/two", .data = "2\n", .size = 2, .mode = 0644},
    };
    struct modal_image_spec spec = {0};
    struct modal_image same;
    struct err err = ERR_INIT;
    struct buf log = BUF_INIT(1 << 20);
    int calls;

    (void)state;
    need_engine();
    memset(big, 'b', 5 << 20);
    assert_int_equal(modal_app_id(world.c, "modal-engine-test", &world.app_id, &err), 0);
    if (modal_mount_create(world.c, world.app_id, files, 5, &mount, &err) < 0)
        fail_msg("mount: %s", err.msg);
    calls = world.calls;
    assert_int_equal(modal_mount_create(world.c, world.app_id, files, 5, &again, &err), 0);
    assert_string_equal(mount, again);
    assert_int_equal(world.calls, calls);
    spec.app_id = world.app_id;
    spec.context_mount_id = mount;
    strlist_add(&spec.commands, "FROM scratch");
    strlist_add(&spec.commands, "COPY . /");
    strlist_add(&spec.commands, "ENV FROM_IMAGE=yes");
    strlist_add(&spec.commands, "ENTRYPOINT []");
    if (modal_image_build(world.c, &spec, NULL, NULL, &world.image, &err) < 0)
        fail_msg("build: %s", err.msg);
    calls = world.calls;
    assert_int_equal(modal_image_build(world.c, &spec, NULL, NULL, &same, &err), 0);
    assert_string_equal(same.id, world.image.id);
    assert_int_equal(world.calls, calls);
    modal_image_clear(&same);
    modal_image_spec_clear(&spec);
    buf_clear(&log);
}

static void create(struct modal_sandbox *sandbox, bool v1, const char *name)
{
    struct modal_sandbox_spec spec = {.app_id = world.app_id, .image_id = world.image.id, .timeout_s = 120};
    struct err err = ERR_INIT;

    spec.v1 = v1;
    spec.name = name;
    spec.network = MODAL_NETWORK_BLOCKED;
    strlist_add(&spec.args, "/bin/busybox");
    strlist_add(&spec.args, "sleep");
    strlist_add(&spec.args, "100");
    strlist_add(&spec.env, "FROM_SPEC=a=b");
    strlist_add(&spec.tags, "kind=test");
    strlist_add(&spec.tags, "v1=maybe");
    if (modal_sandbox_create(world.c, &spec, sandbox, &err) < 0)
        fail_msg("create: %s", err.msg);
    modal_sandbox_spec_clear(&spec);
}

static void run(struct modal_task *task, const char *script, const char *input, struct modal_exec_output *output)
{
    struct modal_exec_options options = {.patience_ms = 20000};
    struct err err = ERR_INIT;

    strlist_add(&options.argv, "/bin/busybox");
    strlist_add(&options.argv, "sh");
    strlist_add(&options.argv, "-c");
    strlist_add(&options.argv, script);
    if (modal_exec_run(task, &options, input, strlen(input), 64 << 20, output, &err) < 0)
        fail_msg("%s: %s", script, err.msg);
    modal_exec_options_clear(&options);
}

/* Sets the engine's faults from now on; "" for none. */
static void set_fault(const char *spec)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cleanup_free char *request = xasprintf(
        "PUT /engine/fault HTTP/1.1\r\nHost: localhost\r\nx-modal-token-id: %s\r\nx-modal-token-secret: %s\r\n"
        "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
        world.id, world.secret, strlen(spec), spec);
    char answer[64] = "";

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", world.dir);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    assert_true(read(fd, answer, sizeof(answer) - 1) > 12);
    assert_memory_equal(answer + 9, "2", 1);
    close(fd);
}

#endif
