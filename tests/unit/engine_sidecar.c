/* link: atp_grpc atp_proto atp_sys atp_base */
/*
 * Sidecars through the real engine: their life, their names, execs in them, who reaches whom, limits, and what an
 * engine that is killed leaves behind. Under runsc without a network what needs one is skipped.
 */
#include "tests/unit/engine_boxes.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <sched.h>
#include <stdlib.h>

typedef Modal__TaskCommandRouter__TaskContainerCreateRequest create_request;

static bool has_network, gvisor;

static create_request request_of(const struct box *b, const char *name, const char **words)
{
    create_request r = MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_CREATE_REQUEST__INIT;

    r.task_id = b->task;
    r.container_name = TEXT(name);
    r.image_id = image_id;
    r.args = (char **)(uintptr_t)words;
    while (words && words[r.n_args])
        r.n_args++;
    return r;
}

/* The status; the id (owned by caller) when it is OK. */
static int sidecar_create_as(const struct box *b, const create_request *r, char **ret_id)
{
    Modal__TaskCommandRouter__TaskContainerCreateResponse *response;
    void *got = NULL;
    int status = router_call(b, "TaskContainerCreate", r,
                             &modal__task_command_router__task_container_create_response__descriptor, &got);

    if (status != GRPC_OK)
        return status;
    response = got;
    assert_string_equal(response->container_name, r->container_name);
    assert_memory_equal(response->container_id, "ctr-", 4);
    assert_int_equal(strlen(response->container_id), 30);
    if (ret_id)
        *ret_id = xstrdup(response->container_id);
    modal__task_command_router__task_container_create_response__free_unpacked(response, NULL);
    return status;
}

static char *sidecar(const struct box *b, const char *name, const char *script)
{
    const char *words[] = {"/bin/sh", "-c", script, NULL};
    create_request r = request_of(b, name, words);
    char *id = NULL;

    assert_int_equal(sidecar_create_as(b, &r, &id), GRPC_OK);
    return id;
}

/* Status word of the platform and exit code; -1 while it runs, -1000 - status when the call failed. */
static int sidecar_wait(const struct box *b, const char *id, float seconds, int *ret_status)
{
    Modal__TaskCommandRouter__TaskContainerWaitRequest r =
        MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_WAIT_REQUEST__INIT;
    Modal__TaskCommandRouter__TaskContainerWaitResponse *response;
    void *got = NULL;
    int status, code = -1;

    r.task_id = b->task;
    r.container_id = TEXT(id);
    r.has_timeout = 1;
    r.timeout = seconds;
    status = router_call(b, "TaskContainerWait", &r,
                         &modal__task_command_router__task_container_wait_response__descriptor, &got);
    if (status != GRPC_OK)
        return -1000 - status;
    response = got;
    if (response->result) {
        code = response->result->exitcode;
        if (ret_status)
            *ret_status = (int)response->result->status;
    }
    modal__task_command_router__task_container_wait_response__free_unpacked(response, NULL);
    return code;
}

static int sidecar_kill(const struct box *b, const char *id)
{
    Modal__TaskCommandRouter__TaskContainerTerminateRequest r =
        MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_TERMINATE_REQUEST__INIT;

    r.task_id = b->task;
    r.container_id = TEXT(id);
    return router_call(b, "TaskContainerTerminate", &r, NULL, NULL);
}

/* "ID STATUS CODE" of a name, owned by caller; NULL when it is not found. */
static char *sidecar_get(const struct box *b, const char *name, bool ended_too)
{
    Modal__TaskCommandRouter__TaskContainerGetRequest r = MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_GET_REQUEST__INIT;
    Modal__TaskCommandRouter__TaskContainerGetResponse *response;
    void *got = NULL;
    int status;
    char *text;

    r.task_id = b->task;
    r.container_name = TEXT(name);
    r.has_include_terminated = 1;
    r.include_terminated = ended_too;
    status = router_call(b, "TaskContainerGet", &r,
                         &modal__task_command_router__task_container_get_response__descriptor, &got);
    if (status == GRPC_NOT_FOUND)
        return NULL;
    assert_int_equal(status, GRPC_OK);
    response = got;
    assert_string_equal(response->container->container_name, name);
    text = xasprintf("%s %s %d", response->container->container_id, response->container->status,
                     response->container->result ? response->container->result->exitcode : -1);
    modal__task_command_router__task_container_get_response__free_unpacked(response, NULL);
    return text;
}

/* The names, in order, with a comma after each; owned by caller. */
static char *sidecar_names(const struct box *b, bool ended_too)
{
    Modal__TaskCommandRouter__TaskContainerListRequest r =
        MODAL__TASK_COMMAND_ROUTER__TASK_CONTAINER_LIST_REQUEST__INIT;
    Modal__TaskCommandRouter__TaskContainerListResponse *response;
    struct buf names = BUF_INIT(65536);
    void *got = NULL;

    r.task_id = b->task;
    r.has_include_terminated = 1;
    r.include_terminated = ended_too;
    assert_int_equal(router_call(b, "TaskContainerList", &r,
                                 &modal__task_command_router__task_container_list_response__descriptor, &got),
                     GRPC_OK);
    response = got;
    for (size_t i = 0; i < response->n_containers; i++)
        buf_addf(&names, "%s,", response->containers[i]->container_name);
    modal__task_command_router__task_container_list_response__free_unpacked(response, NULL);
    return buf_detach(&names);
}

static int exec_in(const struct box *b, const char *container, const char *id, const char *script)
{
    Modal__TaskCommandRouter__TaskExecStartRequest request = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_START_REQUEST__INIT;
    char *args[] = {TEXT("/bin/sh"), TEXT("-c"), TEXT(script)};

    request.task_id = b->task;
    request.exec_id = TEXT(id);
    request.container_id = TEXT(container);
    request.command_args = args;
    request.n_command_args = 3;
    request.has_stdout_config = 1;
    request.stdout_config = MODAL__TASK_COMMAND_ROUTER__TASK_EXEC_STDOUT_CONFIG__TASK_EXEC_STDOUT_CONFIG_PIPE;
    return router_call(b, "TaskExecStart", &request, NULL, NULL);
}

/* Runs a script in a container ("" = the first one), checks its exit code; what it said, owned by caller. */
static char *said(const struct box *b, const char *container, const char *script, int code)
{
    static unsigned serial;
    cleanup_free char *id = xasprintf("said-%u", ++serial);
    struct buf out = BUF_INIT(1u << 20);
    int got;

    assert_int_equal(exec_in(b, container, id, script), GRPC_OK);
    got = exec_wait(b, id);
    assert_int_equal(exec_read(b, id, 0, 0, &out), GRPC_OK);
    if (got != code)
        fail_msg("%s: exit code %d, not %d; said: %s", script, got, code, out.data);
    return buf_detach(&out);
}

/* ---- life ---- */

static void test_life(void **state)
{
    cleanup_free char *one = NULL, *again = NULL, *quick = NULL, *text = NULL, *expected = NULL, *names = NULL;
    struct box b;
    int status = 0;

    NEED_ENGINE();
    b = box_asleep();
    one = sidecar(&b, "one", "sleep 600");
    expected = xasprintf("%s running -1", one);
    text = sidecar_get(&b, "one", false);
    assert_string_equal(text, expected);
    assert_int_equal(sidecar_wait(&b, one, 0, NULL), -1);
    quick = sidecar(&b, "quick", "exit 3");
    assert_int_equal(sidecar_wait(&b, quick, 10, &status), 3);
    assert_int_equal(status, 2); /* FAILURE */
    assert_null(sidecar_get(&b, "quick", false));

    assert_int_equal(sidecar_kill(&b, one), GRPC_OK);
    assert_int_equal(sidecar_wait(&b, one, 10, &status), 137);
    assert_int_equal(status, 3); /* TERMINATED */
    assert_int_equal(sidecar_kill(&b, one), GRPC_OK);
    assert_int_equal(sidecar_kill(&b, quick), GRPC_OK); /* and keeps its result */
    assert_int_equal(sidecar_wait(&b, quick, 0, NULL), 3);
    /* The name is free; the latest of that name is told. */
    again = sidecar(&b, "one", "sleep 600");
    assert_string_not_equal(again, one);
    names = sidecar_names(&b, false);
    assert_string_equal(names, "one,");
    free(names);
    names = sidecar_names(&b, true);
    assert_string_equal(names, "one,quick,one,");
    assert_int_equal(sidecar_kill(&b, again), GRPC_OK);
    assert_int_equal(sidecar_wait(&b, again, 10, NULL), 137);
    free(text);
    text = sidecar_get(&b, "one", true);
    assert_memory_equal(text, again, 30);
    assert_string_equal(text + 30, " terminated 137");
    assert_int_equal(sidecar_wait(&b, "ctr-nobody", 0, NULL), -1000 - GRPC_NOT_FOUND);
    assert_int_equal(sidecar_kill(&b, "ctr-nobody"), GRPC_NOT_FOUND);
    box_end(&b);
}

static void test_what_is_refused(void **state)
{
    static const char *names[] = {"",
                                  "main",
                                  "a b",
                                  "../x",
                                  "x\n127.0.0.1 y",
                                  "-/-",
                                  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    const char *words[] = {"/bin/sleep", "600", NULL}, *missing[] = {"/no/such/program", NULL};
    Modal__Client__NetworkAccess access = MODAL__CLIENT__NETWORK_ACCESS__INIT;
    char *domains[] = {TEXT("example.com")};
    create_request r;
    struct box b, other;

    NEED_ENGINE();
    b = box_asleep();
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        r = request_of(&b, names[i], words);
        assert_int_equal(sidecar_create_as(&b, &r, NULL), GRPC_INVALID_ARGUMENT);
    }
    r = request_of(&b, "web", words);
    r.image_id = TEXT("im-nosuchimage");
    assert_int_equal(sidecar_create_as(&b, &r, NULL), GRPC_NOT_FOUND);
    r.image_id = TEXT("");
    assert_int_equal(sidecar_create_as(&b, &r, NULL), GRPC_INVALID_ARGUMENT);
    r = request_of(&b, "web", words);
    r.workdir = TEXT("not/absolute");
    assert_int_equal(sidecar_create_as(&b, &r, NULL), GRPC_INVALID_ARGUMENT);
    r = request_of(&b, "web", words);
    r.network_access = &access;
    access.has_network_access_type = 1;
    access.network_access_type = MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__BLOCKED;
    assert_int_equal(sidecar_create_as(&b, &r, NULL), GRPC_INVALID_ARGUMENT);
    access.network_access_type = MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__ALLOWLIST;
    access.allowed_domains = domains;
    access.n_allowed_domains = 1;
    assert_int_equal(sidecar_create_as(&b, &r, NULL), GRPC_UNIMPLEMENTED);
    r = request_of(&b, "web", missing);
    assert_int_equal(sidecar_create_as(&b, &r, NULL), GRPC_FAILED_PRECONDITION);
    /* None of it took the name. */
    free(sidecar(&b, "web", "sleep 600"));
    r = request_of(&b, "web", words);
    assert_int_equal(sidecar_create_as(&b, &r, NULL), GRPC_ALREADY_EXISTS);
    /* A token is for one task; what has finished takes no more. */
    other = box_asleep();
    r.task_id = other.task;
    assert_int_equal(sidecar_create_as(&b, &r, NULL), GRPC_PERMISSION_DENIED);
    box_end(&other);
    r = request_of(&b, "late", words);
    {
        Modal__Client__SandboxTerminateRequest end = MODAL__CLIENT__SANDBOX_TERMINATE_REQUEST__INIT;

        end.sandbox_id = b.id;
        assert_int_equal(engine_call(shared, "SandboxTerminateV2", &end, NULL, NULL), GRPC_OK);
    }
    box_wait(&b, NULL);
    assert_int_equal(sidecar_create_as(&b, &r, NULL), GRPC_NOT_FOUND);
    box_clear(&b);
}

/* The image's variables, then the call's own; the directory; what the platform sets. */
static void test_environment(void **state)
{
    cleanup_free char *id = NULL, *text = NULL, *expected = NULL;
    const char *words[] = {"/bin/sh", "-c", "echo $FROM_IMAGE $MINE $PWD $MODAL_SANDBOX_ID >/said; sleep 600", NULL};
    Modal__Client__StringEntry mine = MODAL__CLIENT__STRING_ENTRY__INIT, *env[] = {&mine};
    create_request r;
    struct box b;

    NEED_ENGINE();
    b = box_asleep();
    r = request_of(&b, "web", words);
    mine.key = TEXT("MINE");
    mine.value = TEXT("a b");
    r.env = env;
    r.n_env = 1;
    r.workdir = TEXT("/some/where");
    assert_int_equal(sidecar_create_as(&b, &r, &id), GRPC_OK);
    text = said(&b, id, "while ! [ -s /said ]; do sleep 0.1; done; cat /said; echo $MINE; pwd", 0);
    expected = xasprintf("yes a b /some/where %s\na b\n/some/where\n", b.id);
    assert_string_equal(text, expected);
    free(said(&b, "", "[ -e /said ] && exit 1; [ -z \"$MINE\" ]", 0));
    mine.key = TEXT("not a name");
    assert_int_equal(sidecar_create_as(&b, &r, NULL), GRPC_INVALID_ARGUMENT);
    box_end(&b);
}

/* Without words the image's CMD, and without that it sleeps. */
static void test_no_command(void **state)
{
    cleanup_free char *id = NULL;
    create_request r;
    struct box b;

    NEED_ENGINE();
    b = box_asleep();
    r = request_of(&b, "idle", NULL);
    assert_int_equal(sidecar_create_as(&b, &r, &id), GRPC_OK);
    free(said(&b, id, "exit 0", 0));
    assert_int_equal(sidecar_wait(&b, id, 0, NULL), -1);
    box_end(&b);
}

static void test_execs(void **state)
{
    cleanup_free char *one = NULL, *two = NULL, *text = NULL;
    struct box b;

    NEED_ENGINE();
    b = box_asleep();
    one = sidecar(&b, "one", "echo 1 >/who; sleep 600");
    two = sidecar(&b, "two", "echo 2 >/who; sleep 600");
    text = said(&b, two, "while ! [ -e /who ]; do sleep 0.1; done; cat /who", 0);
    assert_string_equal(text, "2\n");
    /* An exec id is the task's: the same again, anywhere, is the same exec. */
    assert_int_equal(exec_in(&b, one, "same", "exit 5"), GRPC_OK);
    assert_int_equal(exec_in(&b, two, "same", "exit 6"), GRPC_OK);
    assert_int_equal(exec_wait(&b, "same"), 5);
    assert_int_equal(exec_in(&b, "ctr-nobody", "x", "exit 0"), GRPC_NOT_FOUND);
    /* What runs in one that ends is gone; the others go on. */
    assert_int_equal(exec_in(&b, one, "long", "sleep 600"), GRPC_OK);
    assert_int_equal(exec_in(&b, two, "stays", "cat"), GRPC_OK);
    assert_int_equal(sidecar_kill(&b, one), GRPC_OK);
    assert_int_equal(exec_wait(&b, "long"), -1000 - GRPC_NOT_FOUND);
    assert_int_equal(exec_in(&b, one, "late", "exit 0"), GRPC_NOT_FOUND);
    assert_int_equal(exec_write(&b, "stays", 0, "", true), GRPC_OK);
    assert_int_equal(exec_wait(&b, "stays"), 0);
    box_end(&b);
}

/* The first container's own end takes them all along, whatever it was. */
static void test_they_end_with_the_sandbox(void **state)
{
    static const char *const words[] = {"/bin/sh", "-c", "while ! [ -e /go ]; do sleep 0.1; done", NULL};
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    cleanup_free char *one = NULL;
    struct box b;
    int status = 0;

    NEED_ENGINE();
    b = box_run(&def, words);
    one = sidecar(&b, "one", "trap '' TERM; sleep 600");
    assert_int_equal(exec_in(&b, "", "go", "echo >/go"), GRPC_OK);
    assert_int_equal(box_wait(&b, NULL), 0);
    assert_int_equal(sidecar_wait(&b, one, 10, &status), 137);
    assert_int_equal(status, 3);
    box_clear(&b);

    def.has_timeout_secs = 1;
    def.timeout_secs = 1;
    b = box_run(&def, words);
    free(one);
    one = sidecar(&b, "one", "sleep 600");
    assert_int_equal(box_wait(&b, NULL), 124);
    assert_int_equal(sidecar_wait(&b, one, 10, NULL), 137);
    box_clear(&b);
}

/* ---- network ---- */

static char *address_in(const struct box *b, const char *container)
{
    return said(
        b, container,
        "busybox ip -4 -o addr show dev eth0 | busybox sed 's/.*inet \\([0-9.]*\\).*/\\1/' | busybox tr -d '\\n'", 0);
}

#define HOSTS                                                                                                          \
    "busybox grep -v '^$' /etc/hosts | busybox tail -n +8 | busybox sed 's/.*\t//' | busybox sort | busybox tr '\\n' " \
    ","

static void test_names(void **state)
{
    cleanup_free char *one = NULL, *two = NULL, *text = NULL, *address = NULL, *resolved = NULL;
    struct box b;

    NEED_ENGINE();
    if (!has_network)
        skip();
    b = box_asleep();
    one = sidecar(&b, "one", "cat /etc/hosts >/first; sleep 600");
    two = sidecar(&b, "two.b_c", "sleep 600");
    for (int i = 0; i < 3; i++) {
        text = said(&b, i == 0 ? "" : i == 1 ? one : two, HOSTS, 0);
        assert_string_equal(text, "main,one,two.b_c,");
        free(steal(&text));
    }
    address = address_in(&b, two);
    resolved = said(&b, "", "busybox awk '$2 == \"two.b_c\" {printf \"%s\", $1}' /etc/hosts", 0);
    assert_string_equal(resolved, address);
    /* At its start it knew those that were there, and itself. */
    text = said(&b, one, "busybox sed 's/.*\t//' /first | busybox tail -n 2 | busybox tr '\\n' ,", 0);
    assert_string_equal(text, "main,one,");
    free(steal(&text));
    /* Still the mounted file, whatever was done to it; one that goes is gone from it. */
    free(said(&b, one, "echo 1.2.3.4 mine >/etc/hosts; busybox grep -q ' /etc/hosts ' /proc/self/mounts", 0));
    assert_int_equal(sidecar_kill(&b, two), GRPC_OK);
    assert_int_equal(sidecar_wait(&b, two, 10, NULL), 137);
    text = said(&b, one, HOSTS, 0);
    assert_string_equal(text, "main,one,");
    free(said(&b, one, "busybox grep -q ' /etc/hosts ' /proc/self/mounts", 0));
    box_end(&b);
}

/* Whoever reads the names while they change finds a whole file. */
static void test_names_are_never_cut_off(void **state)
{
    cleanup_free char *one = NULL, *counted = NULL;
    struct box b;

    NEED_ENGINE();
    if (!has_network)
        skip();
    b = box_asleep();
    one = sidecar(&b, "one", "sleep 600");
    assert_int_equal(exec_in(&b, "", "reader",
                             "while ! [ -e /stop ]; do busybox grep -q '\tone$' /etc/hosts || exit 9; done; exit 0"),
                     GRPC_OK);
    for (int i = 0; i < 8; i++) {
        cleanup_free char *id = sidecar(&b, "a-rather-long-name-that-comes-and-goes", "sleep 600");

        assert_int_equal(sidecar_kill(&b, id), GRPC_OK);
        assert_int_equal(sidecar_wait(&b, id, 10, NULL), 137);
    }
    free(said(&b, "", "echo >/stop", 0));
    assert_int_equal(exec_wait(&b, "reader"), 0);
    box_end(&b);
}

/* A datagram socket in the network of a container, by the engine's note of its first process. */
static int socket_in(const char *container)
{
    cleanup_free char *note = xasprintf("%s/state/runtime/containers/%s/init", shared->dir, container), *path = NULL;
    cleanup_close int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), theirs = -1;
    cleanup_buf struct buf text = BUF_INIT(1024);
    struct timeval patience = {.tv_sec = 10};
    int fd;

    assert_int_equal(fs_read_file(note, &text, NULL), 0);
    path = xasprintf("/proc/%ld/ns/net", strtol(text.data, NULL, 10));
    theirs = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(own >= 0 && theirs >= 0);
    assert_int_equal(setns(theirs, CLONE_NEWNET), 0);
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setns(own, CLONE_NEWNET), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

static void udp_between(const char *from, const char *to, const char *address)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(7001)}, sender;
    cleanup_close int client = socket_in(from), server = socket_in(to);
    socklen_t len = sizeof(sender);
    char bytes[16] = "";

    assert_int_equal(inet_pton(AF_INET, address, &name.sin_addr), 1);
    assert_int_equal(bind(server, (const struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(sendto(client, "ask", 4, 0, (const struct sockaddr *)&name, sizeof(name)), 4);
    assert_int_equal(recvfrom(server, bytes, sizeof(bytes), 0, (struct sockaddr *)&sender, &len), 4);
    assert_int_equal(sendto(server, "yes", 4, 0, (const struct sockaddr *)&sender, len), 4);
    assert_int_equal(recv(client, bytes, sizeof(bytes), 0), 4);
    assert_string_equal(bytes, "yes");
}

/* A try until it works, for a listener may still be on its way. */
#define TRY(what) "for i in 1 2 3 4 5 6 7 8 9 10; do " what " && exit 0; busybox sleep 0.3; done; exit 1"

static void test_neighbours(void **state)
{
    cleanup_free char *one = NULL, *two = NULL, *alien = NULL, *text = NULL, *to_alien = NULL, *foreign = NULL;
    cleanup_free char *address = NULL;
    struct box b, other;

    NEED_ENGINE();
    if (!has_network)
        skip();
    b = box_asleep();
    other = box_asleep();
    one = sidecar(&b, "one", "busybox nc -ll -p 80 -e /bin/busybox echo tcp & sleep 600");
    two = sidecar(&b, "two", "sleep 600");
    alien = sidecar(&other, "one", "busybox nc -ll -p 80 -e /bin/busybox echo alien & sleep 600");
    text = said(&b, "", TRY("busybox nc -w 3 one 80 </dev/null"), 0);
    assert_string_equal(text, "tcp\n");
    free(steal(&text));
    text = said(&b, two, TRY("busybox nc -w 3 one 80 </dev/null"), 0);
    assert_string_equal(text, "tcp\n");
    free(steal(&text));
    address = address_in(&b, one);
    udp_between(b.id, one, address);
    udp_between(two, one, address);
    if (!gvisor)
        free(said(&b, one, "busybox ping -c 1 -W 5 main >/dev/null && busybox ping -c 1 -W 5 two >/dev/null", 0));
    /* Each has a localhost of its own. */
    free(said(&b, two, "busybox nc -w 1 127.0.0.1 80 </dev/null", 1));
    /* Another sandbox's containers are not reached, by either side, nor is a name of theirs known. */
    foreign = address_in(&other, alien);
    to_alien = xasprintf("busybox nc -w 2 %s 80 </dev/null || busybox ping -c 1 -W 1 %s >/dev/null", foreign, foreign);
    free(said(&b, "", to_alien, 1));
    free(said(&b, one, to_alien, 1));
    free(steal(&text));
    text = said(&other, "", TRY("busybox nc -w 3 one 80 </dev/null"), 0);
    assert_string_equal(text, "alien\n");
    box_end(&other);
    box_end(&b);
}

/* An empty allow list keeps everybody but the neighbours out, for the first container and for others. */
static void test_closed_network(void **state)
{
    Modal__Client__NetworkAccess access = MODAL__CLIENT__NETWORK_ACCESS__INIT;
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    static const char *const words[] = {"/bin/sh", "-c", "busybox nc -ll -p 80 -e /bin/busybox echo main & sleep 600",
                                        NULL};
    const char *sleeping[] = {"/bin/sh", "-c", "busybox nc -ll -p 80 -e /bin/busybox echo shut & sleep 600", NULL};
    static const char outside[] =
        "g=$(busybox ip route | busybox sed -n 's/default via \\([0-9.]*\\).*/\\1/p'); "
        "busybox nc -w 2 8.8.8.8 53 </dev/null || busybox ping -c 1 -W 1 192.0.2.1 >/dev/null";
    cleanup_free char *shut = NULL, *open = NULL, *text = NULL;
    create_request r;
    struct box b;

    NEED_ENGINE();
    if (!has_network)
        skip();
    access.has_network_access_type = 1;
    access.network_access_type = MODAL__CLIENT__NETWORK_ACCESS__NETWORK_ACCESS_TYPE__ALLOWLIST;
    def.network_access = &access;
    b = box_run(&def, words);
    r = request_of(&b, "shut", sleeping);
    r.network_access = &access;
    assert_int_equal(sidecar_create_as(&b, &r, &shut), GRPC_OK);
    open = sidecar(&b, "open", "sleep 600");
    for (int i = 0; i < 3; i++) {
        const char *from = i == 0 ? "" : i == 1 ? shut : open;

        text = said(&b, from, TRY("busybox nc -w 3 main 80 </dev/null"), 0);
        assert_string_equal(text, "main\n");
        free(steal(&text));
        text = said(&b, from, TRY("busybox nc -w 3 shut 80 </dev/null"), 0);
        assert_string_equal(text, "shut\n");
        free(steal(&text));
    }
    free(said(&b, "", outside, 1));
    free(said(&b, shut, outside, 1));
    box_end(&b);
}

/* ---- limits ---- */

/* What all containers take together is held against the sandbox's limit. */
static void test_limits_are_for_the_sum(void **state)
{
    Modal__Client__Sandbox def = MODAL__CLIENT__SANDBOX__INIT;
    Modal__Client__Resources resources = MODAL__CLIENT__RESOURCES__INIT;
    static const char *const words[] = {"/bin/sleep", "600", NULL};
    static const char fill[] = "busybox dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null; sleep 600";
    cleanup_free char *one = NULL, *two = NULL;
    struct box b;

    NEED_ENGINE();
    if (gvisor)
        skip();
    resources.has_memory_mb_max = 1;
    resources.memory_mb_max = 64;
    def.resources = &resources;
    b = box_run(&def, words);
    one = sidecar(&b, "one", fill);
    free(said(
        &b, one,
        "while [ $(busybox stat -c %s /dev/shm/x 2>/dev/null || echo 0) -lt 41943040 ]; do busybox sleep 0.1; done",
        0));
    two = sidecar(&b, "two", "busybox dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null || exit 9; exit 0");
    assert_int_not_equal(sidecar_wait(&b, two, 15, NULL), 0);
    box_end(&b);
}

/* ---- what is left ---- */

static unsigned count_entries(const char *path)
{
    cleanup_dir DIR *dir = opendir(path);
    const struct dirent *e;
    unsigned n = 0;

    while (dir && (e = readdir(dir)))
        n += e->d_name[0] != '.';
    return n;
}

/* Many that come and go leave no descriptor, no folder, no cgroup, and no device. */
static void test_leftovers(void **state)
{
    enum { MANY = 24 };
    cleanup_free char *fds = NULL, *folders = NULL, *cgroups = NULL;
    unsigned before, at_first, devices;
    struct box b;

    NEED_ENGINE();
    fds = xasprintf("/proc/%d/fd", (int)shared->pid);
    folders = engine_path(shared, "state/runtime/containers");
    b = box_asleep();
    free(said(&b, "", "exit 0", 0));
    for (int i = 0; i < 100 && count_entries(folders) > 1; i++)
        engine_pause(100); /* the sandboxes of the tests before are still being put away */
    before = count_entries(fds);
    at_first = count_entries(folders);
    assert_int_equal(at_first, 1);
    devices = count_entries("/sys/class/net");
    for (int i = 0; i < MANY; i++) {
        cleanup_free char *id = sidecar(&b, "one", i % 2 ? "sleep 600" : "exit 0");

        free(cgroups);
        cgroups = xasprintf("find /sys/fs/cgroup -name %s | grep . && exit 1; exit 0", id);
        if (i % 2)
            assert_int_equal(sidecar_kill(&b, id), GRPC_OK);
        assert_int_equal(sidecar_wait(&b, id, 10, NULL), i % 2 ? 137 : 0);
    }
    for (int i = 0; i < 60 && (count_entries(fds) > before || count_entries(folders) > at_first); i++)
        engine_pause(100); /* a moment after their end */
    assert_in_range(count_entries(fds), 0, before);
    assert_int_equal(count_entries(folders), at_first);
    assert_true(count_entries("/sys/class/net") < devices + MANY / 2); /* others make devices too */
    assert_int_equal(WEXITSTATUS(pclose(popen(cgroups, "re"))), 0);
    box_end(&b);
}

/* ---- an engine that is killed ---- */

/* Processes of this machine whose command line has the word. */
static unsigned count_processes(const char *word)
{
    cleanup_dir DIR *dir = opendir("/proc");
    const struct dirent *e;
    unsigned n = 0;

    while (dir && (e = readdir(dir))) {
        cleanup_free char *path = xasprintf("/proc/%s/cmdline", e->d_name);
        cleanup_close int fd = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        char text[512];
        ssize_t len = fd >= 0 ? read(fd, text, sizeof(text)) : 0;

        n += len > 0 && memmem(text, (size_t)len, word, strlen(word)) != NULL;
    }
    return n;
}

static void test_recovery(void **state)
{
    static const char *const extra[] = {"--fault", "", NULL};
    cleanup_free char *script = xasprintf("sleep 600.%d", (int)getpid()), *word = xasprintf("600.%d", (int)getpid());
    cleanup_free char *env = NULL, *one = NULL, *two = NULL;
    struct box b;

    NEED_ENGINE();
    env = engine_path(shared, "env");
    b = box_asleep();
    one = sidecar(&b, "one", script);
    two = sidecar(&b, "two", script);
    assert_true(count_processes(gvisor ? one : word) >= 1); /* what runs in gVisor is not seen, gVisor is */
    assert_true(count_processes(gvisor ? two : word) >= 1);
    assert_int_equal(WTERMSIG(engine_kill(shared, SIGKILL)), SIGKILL);
    unlink(env);
    assert_true(engine_launch(shared, extra));
    assert_int_equal(count_processes(word) + count_processes(one) + count_processes(two), 0);
    box_clear(&b);
    free(image_id);
    image_id = NULL; /* what follows needs a new one */
}

/* Asks whether a container has a way out. */
static int begin_sidecars(void **state)
{
    const char *runtime = getenv("ATP_ENGINE_RUNTIME");
    int result = begin(state);
    struct box b;

    gvisor = runtime && strstr(runtime, "runsc");
    if (result == 0 && image_id) {
        b = box_asleep();
        assert_int_equal(exec_shell(&b, "net", "busybox ip -4 -o addr show dev eth0 | busybox grep -q inet"), GRPC_OK);
        has_network = exec_wait(&b, "net") == 0;
        box_end(&b);
    }
    return result;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_no_command),
        cmocka_unit_test(test_execs),
        cmocka_unit_test(test_they_end_with_the_sandbox),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_are_never_cut_off),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_closed_network),
        cmocka_unit_test(test_limits_are_for_the_sum),
        cmocka_unit_test(test_leftovers),
        cmocka_unit_test(test_recovery), /* the last one */
    };

    return cmocka_run_group_tests(tests, begin_sidecars, end);
}
