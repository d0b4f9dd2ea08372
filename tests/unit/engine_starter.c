/* link: atp_engine */
/*
 * Execs by the sandbox's starter: the same as by the runtime in everything a process can see, and no way for the
 * container to gain by what it does to the starter.
 */
#include "tests/unit/engine_box.h"

#include "backends/engine/starter/request.h"

#include <sys/socket.h>
#include <sys/syscall.h>

#define SKIP_IN_GVISOR                                                                                                 \
    if (gvisor) {                                                                                                      \
        puts("gVisor has no starter");                                                                                 \
        return;                                                                                                        \
    }

static int by_number(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* What a process can see of itself. Its pid is not in it, nor what changes by itself. */
static const char look[] =
    "grep -vE '^(Pid|NSpid|NStgid|NSpgid|NSsid|Tgid|FDSize|Vm|Rss|.*ctxt|Mems|THP|Hugetlb|SigQ|CoreDumping|SigPnd|"
    "ShdPnd|Name|Ngid|State)' /proc/$$/status; cat /proc/self/limits /proc/self/cgroup /proc/self/oom_score_adj "
    "/proc/self/uid_map /proc/self/attr/current 2>/dev/null; cut -d' ' -f4-5,7 /proc/$$/stat | sed 's/ .* / /'; env | "
    "sort; pwd; umask; for n in cgroup ipc mnt net pid user uts time; do readlink /proc/self/ns/$n; done; ls "
    "/proc/$$/fd; cut -d' ' -f4-10 /proc/self/mountinfo";

/* The words of a request too long for the starter, so that the runtime does it; else the same. */
static char *look_at(struct box *b, bool by_runtime, bool pty, const char *workdir)
{
    struct rt_exec_spec spec = {.pty = pty, .pty_rows = 20, .pty_cols = 70, .workdir = workdir};
    cleanup_free char *filler = xmalloc(60001);
    const char *words[] = {"sh", "-c", look, "sh", by_runtime ? filler : NULL, filler, NULL};
    struct run r;
    char *text;

    memset(filler, 'x', 60000);
    filler[60000] = '\0';
    exec_spec(b, &r, &spec, words);
    rt_exec_stdin(r.e, 0, "", 0, true, NULL, NULL, NULL);
    wait_for(&r.ended);
    text = text_of(rt_exec_stream(r.e, 1));
    assert_int_equal(r.how, RT_END_EXITED);
    assert_int_equal(r.code, 0);
    rt_exec_free(r.e);
    return text;
}

/* Fails with the first line that differs: the whole is too long to be shown. */
static void assert_same_lines(const char *a, const char *b)
{
    while (*a && *b) {
        size_t len = strcspn(a, "\n"), other = strcspn(b, "\n");

        if (len != other || memcmp(a, b, len) != 0)
            fail_msg("by the starter: %.*s; by the runtime: %.*s", (int)len, a, (int)other, b);
        a += len + (a[len] == '\n');
        b += other + (b[other] == '\n');
    }
    assert_string_equal(a, b);
}

static void test_same_as_runtime(void **st)
{
    struct box b;

    (void)st;
    SKIP_IN_GVISOR
    start_box(&b, "sleep 1000");
    for (int pty = 0; pty < 2; pty++) {
        cleanup_free char *by_starter = look_at(&b, false, pty, pty ? NULL : "/usr/bin");
        cleanup_free char *by_runtime = look_at(&b, true, pty, pty ? NULL : "/usr/bin");

        assert_non_null(strstr(by_starter, "Seccomp:\t2"));
        assert_non_null(strstr(by_starter, "PPid:\t0"));
        assert_same_lines(by_starter, by_runtime);
    }
    end_box(&b);
}

/* How long an exec of `true` takes, after a rest of so many milliseconds. */
static double time_exec(struct box *b, unsigned rest)
{
    const char *words[] = {"true", NULL};
    struct rt_exec_spec spec = {0};
    struct run r;
    double began, took;

    if (rest)
        turn_for(rest);
    began = now();
    exec_spec(b, &r, &spec, words);
    wait_for(&r.ended);
    took = now() - began;
    assert_int_equal(r.code, 0);
    rt_exec_free(r.e);
    return took;
}

static double median(double *took, size_t n)
{
    qsort(took, n, sizeof(*took), by_number);
    return took[n / 2];
}

/* For tests/bench/engine_exec.sh, which asks for more rounds; here it is seen that it works. */
static void test_times(void **st)
{
    enum { MOST = 200 };
    static double start[MOST], first[MOST], next[MOST], rested[MOST];
    const char *asked = getenv("ATP_BENCH_ROUNDS");
    size_t rounds = asked ? strtoul(asked, NULL, 10) : 5;

    (void)st;
    assert_in_range(rounds, 1, MOST);
    for (size_t i = 0; i < rounds; i++) {
        double began;
        struct box b;

        turn_for(60); /* or the kernel still has what the round before made it look up */
        began = now();
        start_box(&b, "sleep 1000");
        start[i] = now() - began;
        first[i] = time_exec(&b, 0);
        next[i] = time_exec(&b, 0);
        rested[i] = time_exec(&b, 60);
        end_box(&b);
    }
    print_message(
        "%s: start %.2f ms, first exec %.2f ms, next exec %.2f ms, exec after a rest %.2f ms (medians of %zu)\n",
        rt_name(rt), median(start, rounds), median(first, rounds), median(next, rounds), median(rested, rounds),
        rounds);
}

/* The starter's pid, as this machine has it. */
static pid_t starter_of(const struct box *b)
{
    cleanup_free char *path = xasprintf("%s/containers/%s/x/starter.pid", state, b->id);
    FILE *f = fopen(path, "re");
    int pid = 0;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    fclose(f);
    return pid;
}

static void test_small_and_named(void **st)
{
    cleanup_free char *ps = NULL, *mounts = NULL, *status = NULL;
    struct box b;
    const char *rss;

    (void)st;
    SKIP_IN_GVISOR
    start_box(&b, "sleep 1000");
    ps = exec_text(&b, "ps -o comm,args", 0);
    assert_non_null(strstr(ps, STARTER_NAME));
    mounts = exec_text(&b, "cat /proc/mounts; ls -a / /tmp /root", 0);
    assert_null(strstr(mounts, "starter"));
    status =
        exec_text(&b, "for p in /proc/[0-9]*; do grep -q " STARTER_NAME " $p/comm && cat $p/status; done; true", 0);
    rss = strstr(status, "VmRSS:");
    assert_non_null(rss);
    print_message("resident: %ld kB\n", strtol(rss + 6, NULL, 10));
    assert_true(strtol(rss + 6, NULL, 10) < 100);
    end_box(&b);
}

/* `kill -9 -1` takes the starter too; one that is stopped says nothing; a lost one is no loss. */
static void test_starter_ends(void **st)
{
    struct box b;
    pid_t first, second;
    double began;

    (void)st;
    SKIP_IN_GVISOR
    start_box(&b, "trap : TERM; while :; do sleep 1000 & wait; done");
    free(exec_text(&b, "true", 0));
    first = starter_of(&b);
    for (int i = 0; i < 5; i++) {
        struct run r;

        exec_script(&b, &r, "kill -9 -1; kill -9 $$");
        wait_for(&r.ended);
        rt_exec_free(r.e);
        free(exec_text(&b, "true", 0));
    }
    second = starter_of(&b);
    assert_int_not_equal(first, second);
    assert_int_equal(kill(second, SIGSTOP), 0);
    began = now();
    free(exec_text(&b, "echo on; cat", 0));
    assert_true(now() - began > 4000); /* it got its time */
    began = now();
    free(exec_text(&b, "true", 0));
    assert_true(now() - began < 4000);
    assert_int_not_equal(second, starter_of(&b));
    for (int i = 0; i < 100 && kill(second, 0) == 0; i++)
        usleep(100000); /* killed, and the container's first process has yet to reap it */
    assert_int_equal(kill(second, 0), -1);
    end_box(&b);
}

/* A duplicate of the starter's own end of the socket, as a container's root could get it. */
static int steal_socket(const struct box *b)
{
    pid_t pid = starter_of(b);
    cleanup_close int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    int fd = (int)syscall(SYS_pidfd_getfd, pidfd, 10, 0);

    assert_true(fd >= 0);
    return fd;
}

/* Sends from a child of the engine's own, which is the best that a liar can be, or from us; the child then waits. */
static pid_t lie(int fd, const void *bytes, size_t len, bool from_child)
{
    pid_t pid = from_child ? fork() : 0;

    if (pid > 0)
        return pid;
    if (send(fd, bytes, len, MSG_NOSIGNAL) < 0)
        fail_msg("send: %s", strerror(errno));
    if (!from_child)
        return 0;
    for (;;)
        pause();
}

static void test_lies(void **st)
{
    struct {
        struct starter_report report;
        size_t len;
        bool from_child, survives;
    } lies[] = {
        {{999999, STARTER_STARTED, 0}, sizeof(struct starter_report), false, false}, /* the engine itself */
        {{999999, 77, 0}, sizeof(struct starter_report), false, false},
        {{999999, STARTER_NO_PROGRAM, -1}, sizeof(struct starter_report), false, false},
        {{999999, STARTER_STARTED, 0}, 3, false, false},
        {{999999, STARTER_STARTED, 0},
         sizeof(struct starter_report),
         true,
         true}, /* a child nobody asked for: killed */
    };
    struct box b;

    (void)st;
    SKIP_IN_GVISOR
    start_box(&b, "sleep 1000");
    for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
        int status = 0, fd;
        pid_t before, child;

        free(exec_text(&b, "true", 0));
        before = starter_of(&b);
        fd = steal_socket(&b);
        child = lie(fd, &lies[i].report, lies[i].len, lies[i].from_child);
        close(fd);
        turn_for(100);
        if (child) {
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_int_equal(WTERMSIG(status), SIGKILL);
        }
        free(exec_text(&b, "true", 0));
        assert_int_equal(starter_of(&b) == before, lies[i].survives);
    }
    assert_false(b.ended);
    end_box(&b);
}

/* More reports than were asked for: the engine does not listen for ever. */
static void test_flood(void **st)
{
    struct starter_report report = {999999, STARTER_NO_PROGRAM, 2};
    bool heard = true;
    struct box b;
    int fd;

    (void)st;
    SKIP_IN_GVISOR
    start_box(&b, "sleep 1000");
    free(exec_text(&b, "true", 0));
    fd = steal_socket(&b);
    for (int i = 0; i < 1000 && heard; i++) {
        heard = send(fd, &report, sizeof(report), MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_false(heard);
    assert_int_equal(errno, EPIPE);
    close(fd);
    free(exec_text(&b, "true", 0));
    end_box(&b);
}

/* No room for another process: that one fails, and says so as the runtime does. */
static void test_no_process(void **st)
{
    const char *words[] = {"true", NULL};
    struct rt_exec_spec spec = {0};
    struct lists l;
    struct box b;
    struct run r;

    (void)st;
    SKIP_IN_GVISOR
    if (rt_limits_reason(rt))
        return;
    spec_of(&l, &b, "");
    spec_clear(&l);
    struct rt_sandbox_spec box = spec_of(&l, &b, "(sleep 1; while :; do sleep 1000 & done) & exec sleep 1000");
    box.pids = 12;
    create(&b, &box);
    spec_clear(&l);
    while (!b.started && !b.ended)
        uv_run(&loop, UV_RUN_ONCE);
    free(exec_text(&b, "true", 0));
    turn_for(1500);
    exec_spec(&b, &r, &spec, words);
    wait_for(&r.ended);
    print_message("%d: %s\n", r.code, rt_exec_message(r.e));
    assert_int_equal(r.how, RT_END_START_FAILED);
    assert_int_equal(r.code, 128);
    rt_exec_free(r.e);
    end_box(&b);
}

/* Hundreds at once, some let go before they have begun: every answer is there, and nothing stays. */
static void test_many(void **st)
{
    enum { MANY = 200 };
    static struct run runs[MANY];
    cleanup_free char *left = NULL;
    struct box b;

    (void)st;
    start_box(&b, "sleep 1000");
    for (int i = 0; i < (gvisor ? 10 : MANY); i++) {
        cleanup_free char *script = xasprintf("echo %d; exit %d", i, i % 100);

        exec_script(&b, &runs[i], script);
    }
    for (int i = 0; i < (gvisor ? 10 : MANY); i++) {
        cleanup_free char *want = xasprintf("%d\n", i), *got = NULL;

        if (i % 7 == 3) {
            rt_exec_free(runs[i].e);
            continue;
        }
        wait_for(&runs[i].ended);
        got = text_of(rt_exec_stream(runs[i].e, 1));
        assert_int_equal(runs[i].how, RT_END_EXITED);
        assert_int_equal(runs[i].code, i % 100);
        assert_string_equal(got, want);
        rt_exec_free(runs[i].e);
    }
    turn_for(100);
    left = exec_text(&b, "ps -o args | grep -c '[e]cho' || true", 0);
    assert_string_equal(left, "0\n");
    end_box(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_runtime),
        cmocka_unit_test(test_small_and_named),
        cmocka_unit_test(test_starter_ends),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_no_process),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_times),
    };

    return run_with_engine("engine_starter", tests, sizeof(tests) / sizeof(*tests));
}
