/* link: atp_engine atp_sys atp_base */
/* What keeps sandboxes in: limits, namespaces, capabilities, layers, network; and what is left of a killed engine.
 * Needs root. */
#include "tests/unit/engine_box.h"

static void test_memory_limit(void **st)
{
    cleanup_free char *out = NULL;
    struct lists l;
    struct box b;
    struct rt_sandbox_spec spec =
        spec_of(&l, &b, "echo before; dd if=/dev/zero of=/dev/null bs=300M count=1 2>/dev/null; echo code $?");

    (void)st;
    if (rt_limits_reason(rt))
        skip();
    spec.memory_bytes = gvisor ? 192 << 20 : 64 << 20;
    create(&b, &spec);
    spec_clear(&l);
    wait_for(&b.ended);
    out = text_of(rt_sandbox_stream(b.s, 1));
    if (gvisor) /* the sandbox as a whole is one process of the kernel's: it goes */
        assert_null(strstr(out, "code 0"));
    else
        assert_string_equal(out, "before\ncode 137\n");
    rt_sandbox_free(b.s);
}

static void test_cpu_limit(void **st)
{
    cleanup_free char *limited = NULL;
    struct lists l;
    struct box b;
    struct rt_sandbox_spec spec = spec_of(
        &l, &b,
        "a=$(date +%s%N 2>/dev/null); timeout 1 sh -c 'while :; do :; done'; cat /proc/uptime >/dev/null; times");
    unsigned minutes;
    double seconds;
    const char *line;

    (void)st;
    if (rt_limits_reason(rt) || gvisor)
        skip(); /* gVisor counts the time of its own making */
    spec.milli_cpu = 200;
    create(&b, &spec);
    spec_clear(&l);
    wait_for(&b.ended);
    limited = text_of(rt_sandbox_stream(b.s, 1));
    line = strchr(limited, '\n'); /* the second line is the children's */
    assert_non_null(line);
    assert_int_equal(sscanf(line + 1, "%um%lfs", &minutes, &seconds), 2);
    if (minutes || seconds > 0.45)
        fail_msg("a fifth of a CPU for a second: %s", limited);
    rt_sandbox_free(b.s);
}

static void test_pids_limit(void **st)
{
    cleanup_free char *said = NULL, *out = NULL;
    struct lists l;
    struct box b;
    struct rt_sandbox_spec spec =
        spec_of(&l, &b, "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 5 & done; echo all");

    (void)st;
    if (rt_limits_reason(rt) || gvisor)
        skip(); /* gVisor's processes are not the kernel's: the limit holds its threads */
    spec.pids = 12;
    create(&b, &spec);
    spec_clear(&l);
    wait_for(&b.ended);
    out = text_of(rt_sandbox_stream(b.s, 1));
    said = text_of(rt_sandbox_stream(b.s, 2));
    assert_string_equal(out, "");
    assert_non_null(strstr(said, "fork"));
    rt_sandbox_free(b.s);
}

static void test_isolation(void **st)
{
    struct box b;
    char *text;

    (void)st;
    start_box(&b, "sleep 1000");
    text = exec_text(&b, "id -u; hostname; pwd; ls /proc | grep -c '^[0-9]'", 0);
    if (strncmp(text, "0\nbox\n/\n", 8) != 0 || strtol(text + 8, NULL, 10) > 8)
        fail_msg("own namespaces: %s", text);
    free(text);
    text = exec_text(&b, "grep CapEff /proc/self/status", 0);
    assert_string_equal(text, gvisor ? "CapEff:\t00000000a80405fb\n" /* it keeps raw sockets to itself */
                                     : "CapEff:\t00000000a80425fb\n");
    free(text);
    text = exec_text(&b, "cat /etc/hostname; grep box /etc/hosts; grep -c nameserver /etc/resolv.conf", 0);
    assert_non_null(strstr(text, "box\n"));
    free(text);
    free(exec_text(&b, "mount -t tmpfs none /tmp 2>/dev/null", gvisor ? 1 : 1));
    free(exec_text(&b, "df /dev/shm | grep -q 65536 && touch /dev/shm/x", 0));
    free(exec_text(
        &b, "echo x > /dev/null && head -c 4 /dev/urandom >/dev/null && test -c /dev/zero && test -c /dev/tty", 0));
    free(exec_text(&b, "mknod /tmp/null c 1 3", 0)); /* CAP_MKNOD is Docker's */
    free(exec_text(&b, "chown 12:34 /tmp/null && chroot / true", 0));
    text = exec_text(&b, "mount -o remount,rw /sys 2>&1; sleep 0", 0);
    free(text);
    if (!gvisor) {
        text = exec_text(&b, "grep Seccomp: /proc/self/status", 0);
        assert_string_equal(text, "Seccomp:\t2\n");
        free(text);
        free(exec_text(&b, "unshare -U true 2>/dev/null", 1));
        free(exec_text(&b, "unshare -m true 2>/dev/null", 1));
        text = exec_text(&b, "unshare -U true 2>&1; sethostname x 2>&1; hostname y 2>&1; sleep 0", 0);
        assert_non_null(strstr(text, "Operation not permitted"));
        free(text);
        free(exec_text(&b, "test -z \"$(cat /proc/kcore /proc/keys /proc/timer_list)\"", 0));
        free(exec_text(&b, "test -z \"$(ls /sys/firmware)\"", 0));
        free(exec_text(&b, "echo 1 > /proc/sys/kernel/domainname", 1));
        free(exec_text(&b, "echo x > /sys/kernel/uevent_helper", 1));
        free(exec_text(&b, "echo b > /proc/sysrq-trigger", 1));
    }
    end_box(&b);
}

static void test_root_is_layered(void **st)
{
    cleanup_free char *top = xasprintf("%s/top", folder), *odd = xasprintf("%s/od:d,\\x", folder), *file = NULL,
                      *text = NULL, *changed = NULL, *shared = xasprintf("%s/shared", folder);
    struct rt_mount mount = {.source = shared, .target = "/.given/dir"};
    struct lists l;
    struct box b;
    struct rt_sandbox_spec spec = spec_of(&l, &b,
                                          "cat /etc/motd /odd; pwd; echo new > /etc/motd; rm /odd; touch made; cat "
                                          "/.given/dir/f; echo x > /.given/dir/f");

    (void)st;
    for (int i = 0; i < 3; i++) {
        const char *dirs[] = {top, odd, shared};
        const char *names[] = {"etc/motd", "odd", "f"};
        FILE *f;

        mkdir(dirs[i], 0755);
        file = xasprintf("%s/etc", dirs[i]);
        mkdir(file, 0755);
        free(file);
        file = xasprintf("%s/%s", dirs[i], names[i]);
        f = fopen(file, "we");
        fputs(names[i], f);
        fputs("\n", f);
        fclose(f);
        free(file);
        file = NULL;
    }
    strlist_insert(&l.lowers, 0, odd);
    strlist_insert(&l.lowers, 0, top);
    strlist_add(&l.lowers, top); /* a repeat */
    for (int i = 0; i < 150; i++) {
        cleanup_free char *empty = xasprintf("%s/empty-%d-with-a-name-that-takes-room-in-the-options", folder, i);

        mkdir(empty, 0755);
        strlist_add(&l.lowers, empty);
    }
    spec.workdir = "/deep/er";
    spec.mounts = &mount;
    spec.mounts_len = 1;
    create(&b, &spec);
    spec_clear(&l);
    wait_for(&b.ended);
    text = text_of(rt_sandbox_stream(b.s, 1));
    if (b.how == RT_END_START_FAILED)
        fail_msg("%s", b.message);
    assert_string_equal(text, "etc/motd\nodd\n/deep/er\nf\n");
    assert_int_equal(b.code, 1); /* the mount is read-only */
    changed = xasprintf("%s/deep/er/made", rt_sandbox_upper(b.s));
    assert_int_equal(access(changed, F_OK), 0);
    free(changed);
    changed = xasprintf("%s/odd", rt_sandbox_upper(b.s));
    {
        struct stat whiteout;

        assert_int_equal(lstat(changed, &whiteout), 0);
        assert_true(S_ISCHR(whiteout.st_mode));
    }
    rt_sandbox_free(b.s);
}

/* ---- network: a namespace behind the host plays the internet ---- */

/* A server in the background; kill it with stop(). */
static pid_t serve(const char *script)
{
    cleanup_free char *replaced = xasprintf("exec %s", script);
    pid_t pid = fork();

    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", replaced, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void stop(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

#define OUTSIDE "rtoutside"

static void make_outside(void)
{
    assert_int_equal(
        sh("ip netns del " OUTSIDE " 2>/dev/null; ip link del " OUTSIDE " 2>/dev/null; set -e; ip netns add " OUTSIDE
           "; ip link add " OUTSIDE " type veth peer name eth0 netns " OUTSIDE
           "; ip addr add 198.51.100.1/24 dev " OUTSIDE "; ip link set " OUTSIDE " up"
           "; ip -n " OUTSIDE " addr add 198.51.100.2/24 dev eth0; ip -n " OUTSIDE " addr add 203.0.113.2/32 dev eth0"
           "; ip -n " OUTSIDE " link set eth0 up; ip -n " OUTSIDE
           " link set lo up; ip route add 203.0.113.2/32 via 198.51.100.2"),
        0);
}

static void remove_outside(void)
{
    sh("ip netns del " OUTSIDE "; ip link del " OUTSIDE " 2>/dev/null");
}

static char *address_of(struct box *b)
{
    return exec_text(b, "ip -4 -o addr show dev eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/' | tr -d '\\n'", 0);
}

static void test_network(void **st)
{
    cleanup_free char *one = NULL, *two = NULL, *script = NULL, *answer = NULL;
    pid_t servers[2];
    struct box a, b;
    struct run server;

    (void)st;
    if (rt_network_reason(rt)) {
        print_message("skipped: %s\n", rt_network_reason(rt));
        skip();
    }
    make_outside();
    start_box(&a, "sleep 1000");
    start_box(&b, "sleep 1000");
    one = address_of(&a);
    two = address_of(&b);
    assert_string_not_equal(one, two);
    /* Outwards, and to the gateway; the outside sees the host's address, not ours. */
    if (!gvisor) { /* which has no ping */
        free(exec_text(&a, "ping -c 1 -W 5 198.51.100.2 >/dev/null && ping -c 1 -W 5 203.0.113.2 >/dev/null", 0));
        free(exec_text(&a, "ping -c 1 -W 5 $(ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p') >/dev/null", 0));
    }
    servers[0] = serve("ip netns exec " OUTSIDE " busybox nc -l -p 8000 -e echo outside");
    script = xasprintf(
        "for i in 1 2 3 4 5 6 7 8 9 10; do nc -w 5 198.51.100.2 8000 </dev/null && exit 0; sleep 0.2; done; exit 1");
    answer = exec_text(&a, script, 0);
    assert_string_equal(answer, "outside\n");
    /* Not to another sandbox */
    exec_script(&b, &server, "nc -l -p 9000 -e echo hello");
    free(script);
    script = xasprintf("ping -c 1 -W 1 %s >/dev/null || nc -w 1 %s 9000 </dev/null", two, two);
    free(exec_text(&a, script, 1));
    /* Not to the host's services, by none of its addresses */
    servers[1] = serve("busybox nc -l -p 9111 -e echo host");
    turn_for(200);
    free(exec_text(&a,
                   "for h in $(ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p') 198.51.100.1; do nc -w 1 $h "
                   "9111 </dev/null && exit 7; done; exit 0",
                   0));
    free(exec_text(&a, "ip -6 addr show dev eth0 | grep -v fe80 | grep inet6", 1));
    rt_exec_free(server.e);
    stop(servers[0]);
    stop(servers[1]);
    end_box(&a);
    end_box(&b);
    remove_outside();
}

static void test_network_allow_list(void **st)
{
    struct lists l;
    struct box b;
    pid_t server;
    struct rt_sandbox_spec spec = spec_of(&l, &b, "sleep 1000");
    struct strlist cidrs = STRLIST_INIT;
    struct err err = ERR_INIT;

    (void)st;
    strlist_add(&cidrs, "198.51.100.0/24; reboot");
    spec.network = RT_NETWORK_ALLOWLIST;
    spec.allowed_cidrs = &cidrs;
    assert_null(rt_sandbox_create(rt, &spec, &box_events, &b, &err));
    err_clear(&err);
    strlist_clear(&cidrs);
    if (rt_network_reason(rt)) {
        spec_clear(&l);
        skip();
    }
    make_outside();
    strlist_add(&cidrs, "198.51.100.2");
    strlist_add(&cidrs, "2001:db8::/32");
    create(&b, &spec);
    spec_clear(&l);
    strlist_clear(&cidrs);
    server = serve("ip netns exec " OUTSIDE " busybox nc -ll -p 8000 -e echo outside");
    free(exec_text(&b,
                   "for i in 1 2 3 4 5 6 7 8 9 10; do nc -w 5 198.51.100.2 8000 </dev/null && exit 0; sleep 0.2; done; "
                   "exit 1",
                   0));
    free(exec_text(&b, "nc -w 1 203.0.113.2 8000 </dev/null", 1));
    stop(server);
    if (!gvisor) {
        free(exec_text(&b, "ping -c 1 -W 5 198.51.100.2 >/dev/null", 0));
        free(exec_text(&b, "ping -c 1 -W 1 203.0.113.2 >/dev/null", 1));
    }
    end_box(&b);
    remove_outside();
}

static void policy_set(void *arg, const char *error)
{
    if (error)
        fail_msg("policy: %s", error);
    *(bool *)arg = true;
}

static void set_policy(struct box *b, enum rt_network network, const char *cidr)
{
    cleanup_strlist struct strlist cidrs = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    bool done = false;

    if (cidr)
        strlist_add(&cidrs, cidr);
    if (rt_sandbox_set_network(b->s, network, &cidrs, policy_set, &done, &err) < 0)
        fail_msg("policy: %s", err.msg);
    wait_for(&done);
}

/* Another policy holds at once, for connections that stand as well. */
static void test_network_policy_changes(void **st)
{
    static const char ask[] =
        "for i in 1 2 3 4 5; do nc -w 2 198.51.100.2 8000 </dev/null && exit 0; sleep 0.2; done; exit 1";
    static const char once[] = "nc -w 1 198.51.100.2 8000 </dev/null";
    struct run held;
    pid_t servers[2];
    struct box b;
    char *text;

    (void)st;
    if (rt_network_reason(rt))
        skip();
    make_outside();
    start_box(&b, "sleep 1000");
    servers[0] = serve("ip netns exec " OUTSIDE " busybox nc -ll -p 8000 -e echo outside");
    servers[1] = serve("ip netns exec " OUTSIDE " busybox nc -l -p 8001 -e cat");
    free(exec_text(&b, ask, 0));
    exec_script(&b, &held, "{ echo one; sleep 3; echo two; sleep 1; } | nc -w 2 198.51.100.2 8001 >/tmp/held");
    free(exec_text(&b, "for i in 1 2 3 4 5 6 7 8 9 10; do [ -s /tmp/held ] && exit 0; sleep 0.1; done; exit 1", 0));
    set_policy(&b, RT_NETWORK_ALLOWLIST, NULL);
    free(exec_text(&b, once, 1));
    free(exec_text(&b, "sleep 3.5", 0));
    text = exec_text(&b, "cat /tmp/held", 0);
    assert_string_equal(text, "one\n");
    free(text);
    set_policy(&b, RT_NETWORK_ALLOWLIST, "203.0.113.0/24");
    free(exec_text(&b, once, 1));
    set_policy(&b, RT_NETWORK_ALLOWLIST, "198.51.100.2/32");
    free(exec_text(&b, ask, 0));
    set_policy(&b, RT_NETWORK_OPEN, NULL);
    free(exec_text(&b, ask, 0));
    rt_exec_free(held.e);
    stop(servers[0]);
    stop(servers[1]);
    end_box(&b);
    remove_outside();
}

static void test_network_blocked(void **st)
{
    cleanup_free char *devices = NULL;
    struct lists l;
    struct box b;
    struct rt_sandbox_spec spec = spec_of(
        &l, &b,
        "ls /sys/class/net 2>/dev/null || ip -o link | cut -d: -f2; ping -c 1 -W 2 127.0.0.1 >/dev/null; echo $?");

    (void)st;
    spec.network = RT_NETWORK_BLOCKED;
    create(&b, &spec);
    spec_clear(&l);
    wait_for(&b.ended);
    devices = text_of(rt_sandbox_stream(b.s, 1));
    if (strstr(devices, "eth") || !strstr(devices, "lo") || (!gvisor && !strstr(devices, "\n0\n")))
        fail_msg("devices: %s", devices);
    rt_sandbox_free(b.s);
}

/* ---- an engine that is killed ---- */

static void doomed_engine(const char *dir, int tell)
{
    struct rt_config config = {.dir = dir, .network = true};
    struct lists l;
    struct box b, c;
    struct rt_sandbox_spec spec;
    /* A number that names whose sleep it is */
    cleanup_free char *script = xasprintf("(setsid sleep 77%06d) & sleep 77%06d", (int)getppid(), (int)getppid());

    uv_loop_init(&loop);
    rt = rt_new(&loop, &config, NULL);
    if (!rt)
        _exit(1);
    spec = spec_of(&l, &b, script);
    snprintf(b.id, sizeof(b.id), "doomed-%d-a", (int)getppid());
    spec.memory_bytes = rt_limits_reason(rt) ? 0 : 512 << 20;
    b.s = rt_sandbox_create(rt, &spec, &box_events, &b, NULL);
    while (!b.started && !b.ended)
        uv_run(&loop, UV_RUN_ONCE);
    spec = spec_of(&l, &c, script);
    snprintf(c.id, sizeof(c.id), "doomed-%d-b", (int)getppid());
    rt_sandbox_create(rt, &spec, &box_events, &c, NULL); /* killed while this one is being made */
    if (write(tell, b.started ? "1" : "0", 1) != 1)
        _exit(1);
    while (true)
        uv_run(&loop, UV_RUN_ONCE);
}

static void test_recovery(void **st)
{
    cleanup_free char *dir = xasprintf("%s/doomed", folder), *containers = xasprintf("%s/containers", dir);
    struct rt_config config = {.dir = dir, .network = true};
    cleanup_err struct err err = ERR_INIT;
    cleanup_free char *count = xasprintf("ls -A %s", containers);
    struct rt *other;
    int pipes[2];
    char started = 0;
    pid_t pid;

    (void)st;
    mkdir(dir, 0700);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) { /* a program of its own: this one has threads, and their locks would be copied as they are */
        dup2(pipes[1], 1);
        execl("/proc/self/exe", "engine_isolation", "--doomed", dir, layer, (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    assert_int_equal(read(pipes[0], &started, 1), 1);
    close(pipes[0]);
    assert_int_equal(started, '1');
    assert_null(rt_new(&loop, &config, &err)); /* one engine per folder */
    assert_non_null(strstr(err.msg, "another engine"));
    usleep((useconds_t)(rand() % 20000));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_true(leftovers(dir) > 0);
    err_clear(&err);
    other = rt_new(&loop, &config, &err);
    if (!other)
        fail_msg("recovery: %s", err.msg);
    assert_int_equal(leftovers(dir), 0);
    assert_int_equal(count_lines(count), 0);
    turn_for(50);
    while (waitpid(-1, NULL, WNOHANG) > 0) /* orphans of the dead engine come to us, its parent */
        ;
    rt_free(other);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_limit),       cmocka_unit_test(test_cpu_limit),
        cmocka_unit_test(test_pids_limit),         cmocka_unit_test(test_isolation),
        cmocka_unit_test(test_root_is_layered),    cmocka_unit_test(test_network),
        cmocka_unit_test(test_network_allow_list), cmocka_unit_test(test_network_policy_changes),
        cmocka_unit_test(test_network_blocked),    cmocka_unit_test(test_recovery),
    };

    if (argc == 4 && strcmp(argv[1], "--doomed") == 0) {
        layer = argv[3];
        doomed_engine(argv[2], 1);
    }
    return run_with_engine("engine_isolation", tests, sizeof(tests) / sizeof(*tests));
}
