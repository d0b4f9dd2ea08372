/*
 * What tests of the runtime share: one engine per program, sandboxes whose root is a busybox, everything below one
 * temporary folder. ATP_ENGINE_RUNTIME chooses the runtime, ATP_TEST_FILTER the test. At the end nothing may be left on
 * the machine.
 */
#ifndef TESTS_UNIT_ENGINE_BOX_H
#define TESTS_UNIT_ENGINE_BOX_H

/* Not every program uses every helper. */
#pragma GCC diagnostic ignored "-Wunused-function"

#include "backends/engine/runtime.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#define PATIENCE 60000 /* ms; two cores may have other work */

static char folder[] = "/tmp/atp-runtime-XXXXXX";
static char *layer, *state;
static uv_loop_t loop;
static struct rt *rt;
static bool gvisor;
static unsigned serial;

/* ---- a test's view of a sandbox and an exec ---- */

struct box {
    struct rt_sandbox *s;
    bool started, ended;
    enum rt_end how;
    int code;
    char message[512];
    char id[32];
    unsigned outputs;
};

struct run {
    struct rt_exec *e;
    bool ended;
    enum rt_end how;
    int code;
    unsigned done; /* stdin writes that were answered */
};

static void box_started(struct rt_sandbox *s, void *arg)
{
    struct box *b = arg;

    (void)s;
    b->started = true;
}

static void box_ended(struct rt_sandbox *s, enum rt_end how, int code, const char *message, void *arg)
{
    struct box *b = arg;

    (void)s;
    assert_false(b->ended); /* once */
    b->ended = true;
    b->how = how;
    b->code = code;
    snprintf(b->message, sizeof(b->message), "%s", message ? message : "");
}

static void box_output(struct rt_sandbox *s, void *arg)
{
    struct box *b = arg;

    (void)s;
    b->outputs++;
}

static const struct rt_sandbox_events box_events = {box_started, box_ended, box_output};

static void run_output(struct rt_exec *e, int fd, void *arg)
{
    (void)e;
    (void)fd;
    (void)arg;
}

static void run_ended(struct rt_exec *e, enum rt_end how, int code, void *arg)
{
    struct run *r = arg;

    (void)e;
    assert_false(r->ended);
    r->ended = true;
    r->how = how;
    r->code = code;
}

static const struct rt_exec_events run_events = {run_output, run_ended};

static void alarm_rang(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Turns the loop until *flag; fails after PATIENCE. */
static void wait_for(const bool *flag)
{
    uv_timer_t timer;
    bool late = false;

    uv_timer_init(&loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, alarm_rang, PATIENCE, 0);
    while (!*flag && !late)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(*flag);
}

static void turn_for(unsigned ms)
{
    uv_timer_t timer;
    bool over = false;

    uv_timer_init(&loop, &timer);
    timer.data = &over;
    uv_timer_start(&timer, alarm_rang, ms, 0);
    while (!over)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static const char *environment[] = {"PATH=/bin:/usr/bin", "HOME=/root", "ODD=a=b c\nd", NULL};

static void list_of(struct strlist *l, const char *const *words)
{
    for (; *words; words++)
        strlist_add(l, *words);
}

/* A spec of `sh -c script` with usual values; the lists must be cleared by spec_clear(). */
struct lists {
    struct strlist lowers, args, env;
};

static struct rt_sandbox_spec spec_of(struct lists *l, struct box *b, const char *script)
{
    *l = (struct lists){STRLIST_INIT, STRLIST_INIT, STRLIST_INIT};
    *b = (struct box){0};
    snprintf(b->id, sizeof(b->id), "sb-%d-%u", (int)getpid(), ++serial);
    strlist_add(&l->lowers, layer);
    list_of(&l->env, environment);
    strlist_add(&l->args, "sh");
    strlist_add(&l->args, "-c");
    strlist_add(&l->args, script);
    return (struct rt_sandbox_spec){
        .id = b->id, .hostname = "box", .lowers = &l->lowers, .args = &l->args, .env = &l->env, .workdir = "/"};
}

static void spec_clear(struct lists *l)
{
    strlist_clear(&l->lowers);
    strlist_clear(&l->args);
    strlist_clear(&l->env);
}

static void create(struct box *b, const struct rt_sandbox_spec *spec)
{
    cleanup_err struct err err = ERR_INIT;

    b->s = rt_sandbox_create(rt, spec, &box_events, b, &err);
    if (!b->s)
        fail_msg("create: %s", err.msg);
}

/* Starts `sh -c script` and waits until it runs. */
static void start_box(struct box *b, const char *script)
{
    struct lists l;
    struct rt_sandbox_spec spec = spec_of(&l, b, script);

    create(b, &spec);
    spec_clear(&l);
    while (!b->started && !b->ended)
        uv_run(&loop, UV_RUN_ONCE);
    if (!b->started)
        fail_msg("start: %s", b->message);
}

static void end_box(struct box *b)
{
    if (!b->ended) {
        rt_sandbox_kill(b->s);
        wait_for(&b->ended);
        assert_int_equal(b->how, RT_END_KILLED);
    }
    rt_sandbox_free(b->s);
}

/* All of a stream as a string, owned by caller. */
static char *text_of(struct rt_stream *st)
{
    uint64_t len = rt_stream_len(st);
    char *text = xmalloc(len + 1);

    assert_int_equal(rt_stream_read(st, 0, text, len), (ssize_t)len);
    text[len] = '\0';
    return text;
}

/* Runs `sh -c script` to its end in a sandbox of its own. */
static void run_box(struct box *b, const char *script, char **ret_out, char **ret_err)
{
    struct lists l;
    struct rt_sandbox_spec spec = spec_of(&l, b, script);

    create(b, &spec);
    spec_clear(&l);
    rt_sandbox_stdin(b->s, 0, "", 0, true, NULL, NULL, NULL);
    wait_for(&b->ended);
    if (b->how == RT_END_START_FAILED)
        fail_msg("start: %s", b->message);
    if (ret_out)
        *ret_out = text_of(rt_sandbox_stream(b->s, 1));
    if (ret_err)
        *ret_err = text_of(rt_sandbox_stream(b->s, 2));
}

static void exec_spec(struct box *b, struct run *r, struct rt_exec_spec *spec, const char *const *words)
{
    cleanup_strlist struct strlist args = STRLIST_INIT, env = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;

    list_of(&args, words);
    list_of(&env, environment);
    spec->args = &args;
    spec->env = &env;
    *r = (struct run){0};
    r->e = rt_exec_start(b->s, spec, &run_events, r, &err);
    if (!r->e)
        fail_msg("exec: %s", err.msg);
}

static void exec_script(struct box *b, struct run *r, const char *script)
{
    const char *words[] = {"sh", "-c", script, NULL};
    struct rt_exec_spec spec = {0};

    exec_spec(b, r, &spec, words);
}

/* Runs a script and returns its standard output, owned by caller; the exit code must be as said. */
static char *exec_text(struct box *b, const char *script, int code)
{
    struct run r;
    char *text;

    exec_script(b, &r, script);
    rt_exec_stdin(r.e, 0, "", 0, true, NULL, NULL, NULL);
    wait_for(&r.ended);
    text = text_of(rt_exec_stream(r.e, 1));
    if (r.how != RT_END_EXITED || r.code != code) {
        cleanup_free char *said = text_of(rt_exec_stream(r.e, 2));

        fail_msg("%s: how %d code %d: %s%s", script, r.how, r.code, said,
                 rt_exec_message(r.e) ? rt_exec_message(r.e) : "");
    }
    rt_exec_free(r.e);
    return text;
}

static void stdin_done(void *arg)
{
    ((struct run *)arg)->done++;
}

/* ---- the machine ---- */

static int sh(const char *script)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int count_lines(const char *script)
{
    FILE *p = popen(script, "re");
    char line[4096];
    int n = 0;

    while (fgets(line, sizeof(line), p))
        n++;
    pclose(p);
    return n;
}

/* Things on this machine that bear the name of our folder, or of sandboxes' devices. */
static int leftovers(const char *dir)
{
    cleanup_free char *processes =
        xasprintf("ps -eo args | grep -E '[s]leep 77%06d|%s/run' | grep -v grep", (int)getpid(), dir);
    cleanup_free char *mounts = xasprintf("grep '%s' /proc/mounts", dir);
    cleanup_free char *ids =
        xasprintf("find /sys/fs/cgroup -maxdepth 5 -name 'doomed-%d-?' 2>/dev/null", (int)getpid());

    return count_lines(processes) + count_lines(mounts) + count_lines(ids);
}

static void make_layer(void)
{
    static const char *const folders[] = {"bin", "etc", "proc", "sys", "dev", "tmp", "root", "usr", "usr/bin"};
    cleanup_free char *install = NULL;

    layer = xasprintf("%s/layer", folder);
    state = xasprintf("%s/state", folder);
    mkdir(layer, 0755);
    mkdir(state, 0700);
    for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
        cleanup_free char *path = xasprintf("%s/%s", layer, folders[i]);

        mkdir(path, 0755);
    }
    install = xasprintf("cp \"$(command -v busybox)\" %s/bin/busybox && cd %s/bin && for a in $(./busybox --list); do "
                        "test $a = busybox || ln -s busybox $a; done; echo motd > ../etc/motd; echo "
                        "'root:x:0:0::/root:/bin/sh' > ../etc/passwd",
                        layer, layer);
    assert_int_equal(sh(install), 0);
}

static int set_up(void **st)
{
    struct rt_config config = {.network = true};
    cleanup_err struct err err = ERR_INIT;

    (void)st;
    make_layer();
    config.dir = state;
    uv_loop_init(&loop);
    rt = rt_new(&loop, &config, &err);
    if (!rt)
        fail_msg("rt_new: %s", err.msg);
    gvisor = strncmp(rt_name(rt), "runsc", 5) == 0;
    print_message("runtime %s %s; network: %s; limits: %s\n", rt_name(rt), rt_version(rt),
                  rt_network_reason(rt) ? rt_network_reason(rt) : "yes",
                  rt_limits_reason(rt) ? rt_limits_reason(rt) : "yes");
    return 0;
}

#define HELD "test -e /run/atp-engine/net-$n || grep -q \"@atp-engine-net-$n$\" /proc/net/unix"

/* After rt_free nothing of ours may be on the machine. */
static int tear_down(void **st)
{
    /* Devices and chains bear the number of an engine; one that lives holds a file for it, and a socket's name. */
    static const char devices[] =
        "for n in $(ip -o link | grep -oE ' atp[0-9]+v' | grep -oE '[0-9]+'); do " HELD " || echo $n; done";
    static const char chains[] = "for n in $( (iptables -S; iptables -t nat -S) 2>/dev/null | grep -oE ' ATP[0-9]+' | "
                                 "grep -oE '[0-9]+'); do " HELD " || echo $n; done";
    cleanup_free char *containers = xasprintf("ls -A %s/containers", state);

    (void)st;
    rt_free(rt);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(leftovers(state), 0);
    assert_int_equal(count_lines(containers), 0);
    assert_int_equal(count_lines(devices), 0);
    assert_int_equal(count_lines(chains), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child, dead or alive */
    assert_int_equal(uv_loop_close(&loop), 0);        /* and no handle */
    return 0;
}

/* Runs a group of tests around one engine; 77 when containers cannot be made here. */
static int run_with_engine(const char *name, const struct CMUnitTest *tests, size_t len)
{
    const char *wanted = getenv("ATP_ENGINE_RUNTIME");
    const char *first = wanted && *wanted ? wanted : "crun", *second = wanted && *wanted ? wanted : "runc";
    cleanup_free char *look = xasprintf("command -v %s >/dev/null || command -v %s >/dev/null", first, second);
    cleanup_free char *remove = NULL;
    int failed;

    if (geteuid() != 0) {
        puts("skipped: containers need root");
        return 77;
    }
    if (sh(look) != 0 || sh("command -v busybox >/dev/null") != 0) {
        puts("skipped: no container runtime, or no busybox");
        return 77;
    }
    if (!mkdtemp(folder))
        return 1;
    cmocka_set_test_filter(getenv("ATP_TEST_FILTER"));
    failed = _cmocka_run_group_tests(name, tests, len, set_up, tear_down);
    remove = xasprintf("rm -rf %s", folder);
    sh(remove);
    free(layer);
    free(state);
    return failed;
}

#endif
