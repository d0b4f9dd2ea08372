/* link: atp_session atp_bsync atp_tsync atp_wire atp_sys atp_base */
#include "tests/unit/agent_rig.h"

#include <sched.h>
#include <sys/mount.h>

/*
 * The agent as a container's first process: in a root that holds nothing else, and in busybox, with Docker's default
 * capabilities, under every runtime that is installed. Bundles are made by hand.
 */

static const char config[] =
    "{\"ociVersion\":\"1.0.0\",\"process\":{\"terminal\":false,\"user\":{\"uid\":0,\"gid\":0},"
    "\"args\":[\"" RIG_INSIDE "\",\"init\",\"--orphan-grace\",\"600000\",\"--linger\",\"500\"],"
    "\"env\":[\"PATH=/bin\"],\"cwd\":\"/\",\"capabilities\":{%s},\"noNewPrivileges\":true},"
    "\"root\":{\"path\":\"root\",\"readonly\":false},\"hostname\":\"box\",\"mounts\":["
    "{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
    "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"mode=755\"]},"
    "{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"nosuid\",\"noexec\","
    "\"newinstance\",\"ptmxmode=0666\",\"mode=0620\"]}],"
    "\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"},"
    "{\"type\":\"network\"}]}}";

static const char caps[] =
    "\"CAP_CHOWN\",\"CAP_DAC_OVERRIDE\",\"CAP_FSETID\",\"CAP_FOWNER\",\"CAP_MKNOD\",\"CAP_NET_RAW\","
    "\"CAP_SETGID\",\"CAP_SETUID\",\"CAP_SETFCAP\",\"CAP_SETPCAP\",\"CAP_NET_BIND_SERVICE\","
    "\"CAP_SYS_CHROOT\",\"CAP_KILL\",\"CAP_AUDIT_WRITE\"";

static bool installed(const char *program)
{
    cleanup_free char *line = xasprintf("command -v %s >/dev/null", program);
    pid_t pid = fork();

    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(99);
    }
    return rig_wait(pid, RIG_DEADLINE) == 0;
}

static void write_config(const struct rig *rig)
{
    cleanup_free char *path = xasprintf("%s/config.json", rig->dir);
    cleanup_free char *sets = xasprintf("\"bounding\":[%s],\"effective\":[%s],\"permitted\":[%s]", caps, caps, caps);
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    fprintf(f, config, sets);
    fclose(f);
}

/* The words of a runtime up to its verb. */
static void runtime_words(const struct rig *rig, const char *runtime, struct strlist *l)
{
    strlist_add(l, runtime);
    strlist_addf(l, "--root=%s/state", rig->dir);
    if (!strcmp(runtime, "runsc")) {
        strlist_add(l, "--platform=ptrace");
        strlist_add(l, "--network=none");
        strlist_add(l, "--ignore-cgroups");
    } else if (!strcmp(runtime, "crun")) {
        strlist_add(l, "--cgroup-manager=disabled");
    }
}

static bool container_answers(const struct rig *rig)
{
    pid_t pid = fork();

    if (pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        dup2(null, 2);
        _exit(rig_wait(rig_spawn(rig, "version", null, null), RIG_DEADLINE));
    }
    return rig_wait(pid, RIG_DEADLINE) == 0;
}

/* A container of this runtime; with busybox or with nothing in it. */
static void container_start(struct rig *rig, const char *runtime, bool busybox)
{
    struct strlist argv = STRLIST_INIT;

    *rig = (struct rig){0};
    strlist_add(&rig->options,
                "--orphaned-after"); /* who runs one command does not turn the main one's loop meanwhile */
    strlist_add(&rig->options, "600000");
    snprintf(rig->dir, sizeof(rig->dir), "/tmp/atp-agent-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    snprintf(rig->run_dir, sizeof(rig->run_dir), "/.atp/run");
    sh("mkdir -p %s/root/.atp/test %s/root/proc %s/root/dev; cp %s %s/root" RIG_INSIDE, rig->dir, rig->dir, rig->dir,
       rig_agent(), rig->dir);
    if (busybox)
        sh("cd %s/root; mkdir bin etc tmp; cp $(command -v busybox) bin/busybox; for a in sh ls cat id env stat stty "
           "sleep "
           "echo wc head test readlink kill setsid grep touch rm mkdir; do ln -s busybox bin/$a; done; "
           "printf 'root:x:0:0::/root:/bin/sh\\napp:x:1000:1000::/home/app:/bin/sh\\n' > etc/passwd; "
           "printf 'app:x:1000:\\nextra:x:2000:app\\n' > etc/group",
           rig->dir);
    write_config(rig);
    runtime_words(rig, runtime, &argv);
    strlist_add(&argv, "run");
    strlist_addf(&argv, "--bundle=%s", rig->dir);
    strlist_add(&argv, strrchr(rig->dir, '-') + 1);
    rig->init = fork();
    if (rig->init == 0) {
        execvp(argv.items[0], strlist_argv(&argv));
        _exit(99);
    }
    strlist_clear(&argv);
    runtime_words(rig, runtime, &rig->exec);
    strlist_add(&rig->exec, "exec");
    strlist_add(&rig->exec, strrchr(rig->dir, '-') + 1);
    /* the runtime refuses an exec before its container is up, and a session then waits for init by itself */
    for (int64_t until = loop_now() + RIG_DEADLINE;; usleep(20000)) {
        if (container_answers(rig))
            break;
        if (loop_now() > until)
            fail_msg("%s does not start", runtime);
    }
}

/* Ends the container by FINISH and expects its code from the runtime. */
static void container_finish(struct rig *rig, struct run *r, int code)
{
    run_finish(r);
    assert_int_equal(rig_wait(rig->init, RIG_DEADLINE), code);
    rig->init = 0;
    rig_stop(rig);
}

static void begin_main(struct run *r, struct rig *rig, const char *script)
{
    run_init(r, rig, script);
    r->start.main = true;
    r->start.attach_stdin = true;
    r->hold_input = true;
    run_begin(r, NULL, 0);
    if (!run_turn(r, RIG_DEADLINE, has_output))
        fail_msg("the main process says nothing: %s", r->error ? r->error : "no error");
}

/* Nothing but the agent is in the root: it is the program that is run, too. */
static void check_scratch(const char *runtime)
{
    struct session_mount m = {.target = "/work/tree", .label = "tree", .keep_dirfd = -1};
    cleanup_free char *host = NULL;
    struct rig rig;
    struct run r;

    container_start(&rig, runtime, false);
    host = xasprintf("%s/host", rig.dir);
    sh("mkdir %s; echo x > %s/file", host, host);
    m.host.dirfd = open(host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    run_init(&r, &rig, NULL);
    strlist_add(&r.argv, "sh");
    run_all(&r, NULL, 0);
    assert_int_equal(r.result.code, 127);
    run_clear(&r);
    run_init(&r, &rig, NULL);
    strlist_add(&r.argv, RIG_INSIDE);
    strlist_add(&r.argv, "version");
    r.start.user = "root";
    run_all(&r, NULL, 0);
    assert_string_equal(r.error, "unable to find user root: no matching entries in passwd file");
    run_clear(&r);
    run_init(&r, &rig, NULL);
    strlist_add(&r.argv, RIG_INSIDE);
    strlist_add(&r.argv, "version");
    r.start.user = "7:8";
    r.start.tty = true;
    run_all(&r, NULL, 0);
    assert_string_equal(r.got[1].data, "atp-agent " ATP_VERSION "\r\n");
    run_clear(&r);
    run_init(&r, &rig, NULL); /* the only program there is leaves a folder behind */
    strlist_add(&r.argv, RIG_INSIDE);
    strlist_add(&r.argv, "init");
    strlist_add(&r.argv, "--run-dir");
    strlist_add(&r.argv, "made");
    strlist_add(&r.argv, "--orphan-grace");
    strlist_add(&r.argv, "50");
    r.start.cwd = "/work/tree";
    r.start.main = true;
    run_begin(&r, &m, 1);
    run_turn(&r, RIG_DEADLINE, NULL);
    if (r.error)
        fail_msg("%s: %s", runtime, r.error);
    assert_int_equal(r.result.code, 0);
    sh("cd %s; test $(cat file) = x; test $(stat -c %%a made) = 700; test $(ls made | wc -l) = 0", host);
    close(m.host.dirfd);
    container_finish(&rig, &r, 0);
    run_clear(&r);
}

static void check_busybox(const char *runtime)
{
    struct session_mount m = {.target = "/work", .label = "work", .keep_dirfd = -1};
    cleanup_free char *input = xcalloc(1, 9 << 20), *host = NULL;
    struct rig rig;
    struct run main, r;

    container_start(&rig, runtime, true);
    begin_main(&main, &rig, "echo main; setsid sleep 500 & read x; exit 5");
    rig_expect(&rig, "echo out; echo err >&2; exit 3", 3, "out\n", "err\n");
    rig_expect(&rig, "kill -9 $$", 137, "", "");
    rig_expect(&rig, "/etc", 126, "", "sh: /etc: Permission denied\n");
    run_init(&r, &rig,
             "id; echo $HOME; grep CapEff /proc/self/status; echo re > /dev/stdout; touch /x 2>/dev/null || echo no");
    r.start.user = "app";
    run_all(&r, NULL, 0);
    /* gVisor gives the groups in an order of its own, and some ids name the primary group among them. */
    if (!strstr(r.got[1].data, "uid=1000(app) gid=1000(app) groups=") || !strstr(r.got[1].data, "2000(extra)") ||
        !strstr(r.got[1].data, "\n/home/app\nCapEff:\t0000000000000000\nre\nno\n"))
        fail_msg("%s: %s%s", runtime, r.got[1].data, r.error ? r.error : r.got[2].data);
    run_clear(&r);
    run_init(&r, &rig, "stty size; test -t 2 && echo tty");
    r.start.tty = true;
    r.start.rows = 40;
    r.start.cols = 90;
    r.start.user = "app";
    run_all(&r, NULL, 0);
    if (r.error)
        fail_msg("%s: %s", runtime, r.error);
    assert_string_equal(r.got[1].data, "40 90\r\ntty\r\n");
    run_clear(&r);
    memset(input, 'z', 9 << 20);
    host = xasprintf("%s/host", rig.dir);
    sh("mkdir %s; echo one > %s/one; ln -s one %s/link; chmod 750 %s/one", host, host, host, host);
    m.host.dirfd = open(host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    run_init(&r, &rig, "cat link; wc -c; stat -c %a one; echo two > two; rm link; mkdir sub");
    r.start.cwd = "/work";
    r.start.attach_stdin = true;
    r.input = input;
    r.input_len = 9 << 20;
    run_all(&r, &m, 1);
    if (r.error)
        fail_msg("%s: %s", runtime, r.error);
    assert_string_equal(r.got[1].data, "one\n9437184\n750\n");
    sh("cd %s; test $(cat two) = two; test ! -e link; test -d sub", host);
    close(m.host.dirfd);
    run_clear(&r);
    session_stdin(main.session, "\n", 1);
    run_turn(&main, RIG_DEADLINE, NULL);
    assert_int_equal(main.result.code, 5);
    container_finish(&rig, &main, 5);
    run_clear(&main);
}

/* One question to the container's agent; owned by the caller. */
static char *ask_kind(struct rig *rig, uint8_t kind)
{
    const struct wire_ask ask = {.kind = kind};
    struct run r;
    char *out;

    run_init(&r, rig, NULL);
    r.ask = &ask;
    run_all(&r, NULL, 0);
    if (r.error)
        fail_msg("ask %u: %s", kind, r.error);
    out = xstrdup(r.got[1].data);
    run_clear(&r);
    return out;
}

static void await_health(struct rig *rig, const char *status)
{
    int64_t until = loop_now() + RIG_DEADLINE;

    for (;;) {
        cleanup_free char *line = ask_kind(rig, WIRE_ASK_HEALTH);

        if (strstr(line, status))
            return;
        if (loop_now() > until)
            fail_msg("%s", line);
        usleep(50000);
    }
}

static int on_port(void *arg, const struct wire_frame *f, struct err *err)
{
    struct run *r = arg;
    const uint8_t *bytes;
    uint32_t id;
    size_t len;

    if (f->type == WIRE_PORT_DATA && wire_get_port_data(f, &id, &bytes, &len, err) == 0)
        buf_add(&r->got[1], bytes, len);
    if (f->type == WIRE_PORT_CLOSED)
        buf_adds(&r->got[1], "closed");
    return 0;
}

static bool is_ready(struct run *r)
{
    return session_prelude_done(r->session);
}

/* One connection to a port of the container. */
static void check_port(struct rig *rig)
{
    const struct wire_ask ask = {.kind = WIRE_ASK_FORWARD};
    cleanup_buf struct buf frame = BUF_INIT(1024);
    struct session_callbacks callbacks = run_callbacks;
    struct run r;

    callbacks.port = on_port;
    run_init(&r, rig, NULL);
    r.ask = &ask;
    r.callbacks = &callbacks;
    run_begin(&r, NULL, 0);
    assert_true(run_turn(&r, RIG_DEADLINE, is_ready));
    wire_put_port_open(&frame, 1, 8080);
    run_out(&r, frame.data, frame.len);
    assert_true(run_turn(&r, RIG_DEADLINE, has_output));
    assert_true(!strncmp(r.got[1].data, "from inside\n", 12));
    session_detach(r.session);
    run_finish(&r);
    run_clear(&r);
}

static off_t count_now(struct rig *rig)
{
    struct run r;
    off_t size;

    run_init(&r, rig, "wc -c < /tmp/count");
    run_all(&r, NULL, 0);
    size = strtol(r.got[1].data, NULL, 10);
    run_clear(&r);
    return size;
}

/* What the agent does for a container that is a service: names, its port, its health, pause, stats. */
static void check_services(const char *runtime)
{
    struct wire_health health = {.interval_ns = 100000000, .retries = 1};
    struct wire_names names = {.self = (char *)"aaaaaaaaaaaa"};
    struct rig rig;
    struct run r;
    char *line;

    container_start(&rig, runtime, true);
    sh("chmod 1777 %s/root/tmp; printf '10.0.0.5 aaaaaaaaaaaa\n' > %s/root/etc/hosts", rig.dir, rig.dir);
    strlist_add(&health.test, "CMD-SHELL");
    strlist_add(&health.test, "test $(id -u) = 1000 && busybox nslookup web | grep -q 10.0.0.5");
    strlist_add(&names.members, "net/web");
    strlist_add(&names.hosts, "extra:192.0.2.7");
    run_init(&r, &rig,
             "echo up; busybox nc -ll -p 8080 -e echo from inside & "
             "i=0; while test $i -lt 9000; do i=$((i+1)); echo x >> /tmp/count; sleep 0.1; done; kill $!");
    r.start.main = r.start.keep = true;
    r.start.user = "app";
    r.start.health = &health;
    r.start.names = &names;
    run_begin(&r, NULL, 0);
    assert_true(run_turn(&r, RIG_DEADLINE, has_output));
    rig_expect(&rig, "busybox grep -c '^nameserver 127.0.0.11$' /etc/resolv.conf", 0, "1\n", "");
    rig_expect(&rig, "busybox nslookup extra | busybox grep -c 192.0.2.7", 0, "1\n", "");
    await_health(&rig, "\"healthy\"");
    check_port(&rig);
    line = ask_kind(&rig, WIRE_ASK_STATS);
    assert_non_null(strstr(line, "\"pids\":"));
    free(line);
    free(ask_kind(&rig, WIRE_ASK_PAUSE));
    usleep(500000);
    await_health(&rig, "\"unhealthy\""); /* nothing is probed */
    free(ask_kind(&rig, WIRE_ASK_UNPAUSE));
    assert_true(count_now(&rig) > 0);
    await_health(&rig, "\"healthy\"");
    session_signal(r.session, SIGKILL, false);
    run_turn(&r, RIG_DEADLINE, NULL);
    assert_int_equal(r.result.code, 137);
    run_finish(&r);
    run_clear(&r);
    strlist_clear(&health.test);
    strlist_clear(&names.members);
    strlist_clear(&names.hosts);
    rig_stop(&rig);
}

static void check(const char *runtime)
{
    if (!installed(runtime)) {
        print_message("%s is not installed\n", runtime);
        skip();
    }
    check_scratch(runtime);
    check_busybox(runtime);
    check_services(runtime);
}

static void test_crun(void **state)
{
    (void)state;
    check("crun");
}

static void test_runc(void **state)
{
    (void)state;
    check("runc");
}

static void test_runsc(void **state)
{
    (void)state;
    check("runsc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crun),
        cmocka_unit_test(test_runc),
        cmocka_unit_test(test_runsc),
    };

    if (geteuid() != 0 || !installed("busybox") || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        print_message("needs root and a static busybox\n");
        return 77;
    }
    sh("umount -l -a -t cgroup2 2>/dev/null || true"); /* crun refuses a machine with both; only we see it so */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
