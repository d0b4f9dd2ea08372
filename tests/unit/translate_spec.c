/* link: atp_translate */
/*
 * From a command line, through docker's own option tables, to the spec and the process. Texts of the client were
 * compared with docker 28.2.2.
 */
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"
#include "compat/docker/opt.h"
#include "translate/spec.h"
#include "translate/terms.h"
#include "translate/verdict.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define VAR(s) ((char[]){s})
#define WORDS  40

static char *const client[] = {VAR("FOO=yes"), NULL};
static const uint8_t random_bytes[INPUT_RANDOM_LEN] = {0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, [31] = 0x7f, [32] = 1};

static int read_file(const char *path, struct buf *out, struct err *err, void *arg)
{
    (void)arg;
    if (strcmp(path, "env") == 0)
        return buf_adds(out, "A=file\nB=file\n");
    if (strcmp(path, "labels") == 0)
        return buf_adds(out, "modal.timeout=60\nl=file\n");
    return err_set_errno(err, 0, ENOENT, "reading");
}

static struct input usual(void)
{
    return (struct input){
        .cwd = "/w", .home = "/home/me", .environ = client, .read_file = read_file, .random = random_bytes};
}

/* Parses the words after the command's name and builds the spec. */
static int build(const char *command, const struct input *in, const char *const *words, struct container_spec *s,
                 struct err *err)
{
    cleanup_with(opt_parsed_freep) struct opt_parsed *p = NULL;
    char *argv[WORDS + 1] = {NULL};
    int argc = 0, rc;

    for (; words[argc]; argc++)
        argv[argc] = xstrdup(words[argc]);
    p = opt_parse(cmd_by_path(command), argc, argv, err);
    rc = p ? spec_from_opts(p, in, s, err) : -1;
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return rc;
}

#define SPEC(s)                                                                                                        \
    cleanup_with(spec_clear) struct container_spec s;                                                                  \
    spec_init(&s)
#define RUN(s, ...)                                                                                                    \
    do {                                                                                                               \
        cleanup_err struct err err_ = ERR_INIT;                                                                        \
        struct input in_ = usual();                                                                                    \
        if (build("run", &in_, (const char *const[]){__VA_ARGS__, NULL}, &(s), &err_) < 0)                             \
            fail_msg("%s", err_.msg);                                                                                  \
    } while (0)

static void assert_joined(const struct strlist *list, const char *want)
{
    cleanup_buf struct buf all = BUF_INIT(LIMIT_CONFIG_FILE);

    for (size_t i = 0; i < list->len; i++)
        buf_addf(&all, "%s%s", i ? "|" : "", list->items[i]);
    assert_string_equal(all.data, want);
}

static const struct {
    const char *words[8];
    const char *message;
    int exit_code;
} faults[] = {
    {{"Foo"}, "invalid reference format: repository name (library/Foo) must be lowercase", 125},
    {{"foo:"}, "invalid reference format", 125},
    {{""}, "invalid reference format", 125},
    {{"--pull", "foo", "x"}, "invalid pull option: 'foo': must be one of \"always\", \"missing\" or \"never\"", 125},
    {{"--pull", "foo", "-v", "", "Foo"},
     "invalid pull option: 'foo': must be one of \"always\", \"missing\" or \"never\"",
     125},
    {{"--platform", "foo/bar/baz/z", "x"},
     "error parsing specified platform: \"foo/bar/baz/z\": cannot parse platform specifier: invalid argument",
     125},
    {{"--platform", "a/b/c/d", "Foo"},
     "invalid reference format: repository name (library/Foo) must be lowercase",
     125},
    {{"--platform", "linux/amd64;x", "x"},
     "error parsing specified platform: \"amd64;x\" is an invalid component of \"linux/amd64;x\": platform specifier "
     "component must match \"^[A-Za-z0-9_.-]+$\": invalid argument",
     125},
    {{"--env-file", "nope", "-v", "", "x"}, "invalid empty volume spec", 125},
    {{"--env-file", "nope", "x"}, "open nope: no such file or directory", 125},
    {{"--label-file", "nope", "x"}, "open nope: no such file or directory", 125},
    {{"--network", "", "x"}, "no name set for network", 125},
    {{"--network", "foo", "--network", "none", "x"},
     "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
     125},
    {{"--net", "container:a", "x"},
     "--network container:a is not carried out by atp-docker: sandboxes cannot share a network namespace",
     125},
    {{"--network", "name=n,ip=10.0.0.2", "x"},
     "--network name=n,ip=10.0.0.2 is not carried out by atp-docker: the platform gives out the addresses; use names, "
     "which are answered in every network "
     "(ATP_DOCKER_APPROXIMATE=all goes on without it)",
     125},
    {{"--network", "name=host,alias=y", "x"},
     "network-scoped aliases are only supported for user-defined networks",
     125},
    {{"--network", "name=n,alias=y", "--network-alias", "z", "x"},
     "conflicting options: cannot specify both --network-alias and per-network alias",
     125},
    {{"--network", "n", "--network", "n", "x"}, "network \"n\" is specified multiple times", 125},
    {{"--network", "n", "--network-alias", "a/b", "x"},
     "the network alias \"a/b\" is no name that could be looked up",
     125},
    {{"--cap-drop", "ALL", "--cap-add", "foo", "x"},
     "Error response from daemon: invalid CapAdd: unknown capability: \"CAP_FOO\"",
     125},
    {{"--cpus", "1", "--cpu-quota", "50000", "x"},
     "Error response from daemon: Conflicting options: Nano CPUs and CPU Quota cannot both be set.",
     125},
    {{"--cpu-period", "10", "x"},
     "Error response from daemon: CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
     125},
    {{"--cpuset-cpus", "1-", "x"}, "Error response from daemon: Invalid value 1- for cpuset cpus", 125},
    {{"-m", "64m", "--memory-reservation", "65m", "x"},
     "Error response from daemon: Minimum memory limit can not be less than memory reservation limit, see usage",
     125},
    {{"--log-driver", "paper", "x"},
     "--log-driver is not carried out by atp-docker: logs are kept on this machine; docker logs reads them "
     "(ATP_DOCKER_APPROXIMATE=all goes on without it)",
     125},
    {{"--security-opt", "no-new-privileges", "--security-opt", "seccomp=/x.json", "x"},
     "--security-opt seccomp=/x.json is not carried out by atp-docker: a sandbox has the platform's own confinement, "
     "and no other "
     "(ATP_DOCKER_APPROXIMATE=all goes on without it)",
     125},
    {{"--sysctl", "net.core.somaxconn=9", "--sysctl", "net.ipv4.ip_forward=0", "x"},
     "--sysctl net.ipv4.ip_forward=0 is not carried out by atp-docker: kernel settings of a sandbox cannot be changed "
     "(ATP_DOCKER_APPROXIMATE=all goes on without it)",
     125},
    {{"--device", "/dev/null", "--device", "/dev/null:/dev/zero", "x"},
     "--device /dev/null:/dev/zero is not carried out by atp-docker: devices of a host cannot be passed on "
     "(ATP_DOCKER_APPROXIMATE=all goes on without it)",
     125},
    {{"--ipc", "host", "x"},
     "--ipc is not carried out by atp-docker: namespaces are a sandbox's own and cannot be shared or chosen "
     "(ATP_DOCKER_APPROXIMATE=all goes on without it)",
     125},
    {{"--read-only", "x"},
     "--read-only is not carried out by atp-docker: a sandbox's root can always be written "
     "(ATP_DOCKER_APPROXIMATE=all goes on without it)",
     125},
    {{"--name", "*bad", "x"},
     "Error response from daemon: Invalid container name (*bad), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
     125},
    {{"--name", "a", "x"},
     "Error response from daemon: Invalid container name (a), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
     125},
    {{"-w", "rel", "x"},
     "Error response from daemon: the working directory 'rel' is invalid, it needs to be an absolute path",
     125},
    {{"-m", "5m", "x"}, "Error response from daemon: Minimum memory limit allowed is 6MB", 125},
    {{"--cpus", "0.001", "x"}, "Error response from daemon: Range of CPUs is from 0.01 to 4294967.00", 125},
    {{"-v", "/proc:/x", "x"},
     "-v /proc:/x is not carried out by atp-docker: its files are views into this machine's kernel, which the "
     "container "
     "does not run on",
     125},
    {{"--privileged", "x"},
     "--privileged is not carried out by atp-docker: a sandbox's powers are the platform's and cannot be changed "
     "(ATP_DOCKER_APPROXIMATE=all goes on without it)",
     125},
    {{"--restart", ":3", "x"}, "invalid restart policy format: no policy provided before colon", 125},
    {{"--restart", "no:", "--restart", "on-failure:x", "x"},
     "invalid restart policy format: maximum retry count must be an integer",
     125},
    {{"--restart", "always", "--rm", "x"}, "conflicting options: cannot specify both --restart and --rm", 125},
    {{"--restart", "Always", "x"},
     "Error response from daemon: invalid restart policy: unknown policy 'Always'; use one of 'no', 'always', "
     "'on-failure', or 'unless-stopped'",
     125},
    {{"--restart", "always:3", "x"},
     "Error response from daemon: invalid restart policy: maximum retry count can only be used with 'on-failure'",
     125},
    {{"--restart", "no:-1", "x"},
     "Error response from daemon: invalid restart policy: maximum retry count can only be used with 'on-failure' and "
     "cannot be negative",
     125},
    {{"--restart", "on-failure:-1", "x"},
     "Error response from daemon: invalid restart policy: maximum retry count cannot be negative",
     125},
    {{"-l", "modal.timeout=0", "x"}, "label modal.timeout: '0' is not whole seconds from 1 to 86400", 125},
    {{"-l", "modal.timout=1", "x"},
     "label modal.timout: there is no Modal option 'timout'; did you mean 'timeout'?",
     125},
    {{"-l", "modal.block_network=1", "-l", "modal.cidr_allowlist=10.0.0.0/8", "x"},
     "label modal.block_network and label modal.cidr_allowlist exclude each other: a blocked network has no addresses "
     "to "
     "allow",
     125},
};

static void test_faults(void **state)
{
    struct input in = usual();

    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        cleanup_err struct err err = ERR_INIT;
        SPEC(s);

        if (build("run", &in, faults[i].words, &s, &err) == 0)
            fail_msg("'%s %s' was accepted", faults[i].words[0], faults[i].words[1]);
        assert_string_equal(err.msg, faults[i].message);
        assert_int_equal(err.exit_code, faults[i].exit_code);
        assert_int_equal(err.code, SPEC_ERR_PLAIN);
        assert_null(s.name);
    }
}

/* Docker prints this one bare, with another exit code. */
static void test_restart(void **state)
{
    static const struct {
        const char *word;
        enum restart_policy policy;
        int max;
    } cases[] = {{"", RESTART_NO, 0},
                 {"no:", RESTART_NO, 0},
                 {"always", RESTART_ALWAYS, 0},
                 {"unless-stopped:0", RESTART_UNLESS_STOPPED, 0},
                 {"on-failure", RESTART_ON_FAILURE, 0},
                 {"on-failure:3", RESTART_ON_FAILURE, 3},
                 {"on-failure:9223372036854775807", RESTART_ON_FAILURE, INT32_MAX}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        SPEC(s);

        RUN(s, "--restart", cases[i].word, "x");
        assert_int_equal(s.restart, cases[i].policy);
        assert_int_equal(s.restart_max, cases[i].max);
    }
}

static void test_attach_and_detach(void **state)
{
    struct input in = usual();
    cleanup_err struct err err = ERR_INIT;
    SPEC(s);

    (void)state;
    assert_int_equal(build("run", &in, (const char *const[]){"-d", "-a", "stdin", "x", NULL}, &s, &err), -1);
    assert_string_equal(err.msg, "conflicting options: cannot specify both --attach and --detach");
    assert_int_equal(err.exit_code, 1);
    assert_int_equal(err.code, SPEC_ERR_COMPLETE);
}

/* Each verdict, on a table of its own. */
static void test_verdicts(void **state)
{
    static const struct opt_def options[] = {
        {.name = "forgotten", .kind = OPT_STRING, .verdict = VERDICT_OURS},
        {.name = "kept", .kind = OPT_STRING, .verdict = VERDICT_OURS},
        {.name = "last", .kind = OPT_BOOL, .verdict = VERDICT_UNLESS_ALL, .reason = "more"},
        {.name = "less", .kind = OPT_BOOL, .verdict = VERDICT_APPROXIMATED, .reason = "gives less"},
        {.name = "never", .kind = OPT_LIST, .verdict = VERDICT_REFUSED, .reason = "cannot be"},
        {.name = "nothing", .kind = OPT_BOOL, .verdict = VERDICT_IGNORED_SAFE, .reason = "no effect"},
        {.name = "theirs", .kind = OPT_INT, .verdict = VERDICT_DELEGATED, .reason = "only a real docker does this"},
        {.name = "unkept", .kind = OPT_STRING, .verdict = VERDICT_OURS, .alias_of = "kept"},
        {.name = NULL},
    };
    static const struct cmd_def command = {
        .path = "run", .usage = "[OPTIONS]", .summary = "", .options = options, .max_args = -1};
    static const char *const carried[] = {"kept", NULL};
    static const struct {
        const char *word;
        bool strict;
        const char *message; /* NULL = accepted */
        const char *notes;
    } cases[] = {
        {"--kept=1", true, NULL, ""},
        {"--unkept=1", true, NULL, ""},
        {"--nothing", true, NULL, ""},
        {"--less", false, NULL, "--less: gives less"},
        {"--less", true, "--less is not carried out by atp-docker: gives less", ""},
        {"--less=false", true, NULL, ""},
        {"--last", false,
         "--last is not carried out by atp-docker: more (ATP_DOCKER_APPROXIMATE=all goes on without it)", ""},
        {"--last", true, "--last is not carried out by atp-docker: more", ""},
        {"--last=false", true, NULL, ""},
        {"--never=x", false, "--never is not carried out by atp-docker: cannot be", ""},
        {"--never=", false, "--never is not carried out by atp-docker: cannot be", ""},
        {"--theirs=1", false, "--theirs is not carried out by atp-docker: only a real docker does this", ""},
        {"--theirs=0", false, NULL, ""},
        {"--forgotten=1", false, "--forgotten is not carried out by atp-docker yet", ""},
        {"--forgotten=", false, NULL, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct input in = {.strict = cases[i].strict};
        cleanup_strlist struct strlist notes = STRLIST_INIT;
        cleanup_err struct err err = ERR_INIT;
        cleanup_free char *word = xstrdup(cases[i].word);
        cleanup_with(opt_parsed_freep) struct opt_parsed *p = opt_parse(&command, 1, (char *const[]){word, NULL}, NULL);
        int rc;

        assert_non_null(p);
        rc = verdict_check(p, &in, carried, &notes, &err);
        assert_int_equal(rc, cases[i].message ? -1 : 0);
        if (rc < 0)
            assert_string_equal(err.msg, cases[i].message);
        assert_joined(&notes, cases[i].notes);
    }
}

/* Every option of the tables that is given a value other than its default ends in the spec, a note or a refusal. */
static void test_no_option_is_dropped(void **state)
{
    static const char *const kinds[] = {"create", "run"};
    struct input in = usual();
    size_t refused = 0;

    (void)state;
    for (size_t k = 0; k < 2; k++) {
        for (const struct opt_def *def = cmd_by_path(kinds[k])->options; def->name; def++) {
            cleanup_free char *flag = xasprintf("--%s=true", def->name);
            cleanup_err struct err err = ERR_INIT;
            const char *words[] = {flag, "x", NULL};
            SPEC(s);

            if (def->kind != OPT_BOOL ||
                (def->verdict != VERDICT_REFUSED && def->verdict != VERDICT_DELEGATED &&
                 def->verdict != VERDICT_UNLESS_ALL) ||
                def->def)
                continue;
            assert_int_equal(build(kinds[k], &in, words, &s, &err), -1);
            assert_non_null(strstr(err.msg, " is not carried out by atp-docker"));
            refused++;
        }
    }
    assert_true(refused >= 4);
}

static void test_defaults_ask_for_nothing(void **state)
{
    SPEC(s);

    (void)state;
    RUN(s, "--privileged=false", "--restart=no", "--cpu-shares", "0", "--pid", "", "x");
    assert_int_equal(s.notes.len, 0);
}

static void test_plain(void **state)
{
    SPEC(s);

    (void)state;
    RUN(s, "debian");
    assert_string_equal(s.id, "abcdef012345000000000000000000000000000000000000000000000000007f");
    assert_true(s.name_generated);
    assert_true(name_valid(s.name));
    assert_string_equal(s.image.ref.path, "library/debian");
    assert_string_equal(s.image.ref.tag, "latest");
    assert_false(s.tty || s.interactive || s.detach || s.rm || s.quiet || s.attach_stdin || s.entrypoint_set);
    assert_true(s.attach_stdout && s.attach_stderr && s.sig_proxy);
    assert_int_equal(s.pull, PULL_MISSING);
    assert_int_equal(s.network, NETWORK_DEFAULT);
    assert_int_equal(s.milli_cpu, 0);
    assert_int_equal(s.memory_mib, 0);
    assert_int_equal(s.stop_timeout, STOP_TIMEOUT_UNSET);
    assert_null(s.workdir);
    assert_null(s.cidfile);
    assert_int_equal(modal_int(&s.modal, MODAL_KEY_TIMEOUT), 86400);
}

static void test_everything(void **state)
{
    SPEC(s);

    (void)state;
    RUN(s, "-it", "--rm", "--name=/n1", "-e", "A=cli", "-eFOO", "--env-file", "env", "-l", "l=cli",
        "--label-file=labels", "-w/work", "-u", "1000:1000", "--entrypoint", "/bin/sh", "-v", ".:/work", "--mount",
        "type=bind,src=/m,dst=/m,ro", "--pull=always", "-q", "--cidfile", "c", "u/x:1", "-c", "--rm");
    assert_true(s.tty && s.interactive && s.attach_stdin && s.rm && s.quiet && s.entrypoint_set);
    assert_string_equal(s.name, "n1");
    assert_false(s.name_generated);
    assert_joined(&s.env, "A=file|B=file|A=cli|FOO=yes");
    assert_joined(&s.labels, "modal.timeout=60|l=cli");
    assert_int_equal(modal_int(&s.modal, MODAL_KEY_TIMEOUT), 60);
    assert_string_equal(s.workdir, "/work");
    assert_string_equal(s.user, "1000:1000");
    assert_joined(&s.entrypoint, "/bin/sh");
    assert_joined(&s.cmd, "-c|--rm");
    assert_string_equal(s.image.text, "u/x:1");
    assert_int_equal(s.pull, PULL_ALWAYS);
    assert_string_equal(s.cidfile, "c");
    assert_int_equal(s.mounts.len, 2);
    assert_string_equal(s.mounts.items[0].source, "/w");
    assert_true(s.mounts.items[1].readonly);
}

static void test_streams(void **state)
{
    SPEC(s);
    SPEC(out);
    SPEC(off);

    (void)state;
    RUN(s, "-i", "--sig-proxy=false", "x");
    assert_true(s.interactive && s.attach_stdin && s.attach_stdout && s.attach_stderr);
    assert_false(s.sig_proxy);
    RUN(out, "-a", "STDOUT", "-a", "stdin", "x");
    assert_true(out.attach_stdout && out.attach_stdin);
    assert_false(out.attach_stderr || out.interactive);
    RUN(off, "-it=false", "x");
    assert_true(off.interactive);
    assert_false(off.tty);
}

static void test_resources(void **state)
{
    SPEC(docker);
    SPEC(modal);
    SPEC(both);
    SPEC(blocked);

    (void)state;
    RUN(docker, "--cpus", "1.5", "-m", "6291457", "--network", "host", "x");
    assert_int_equal(docker.milli_cpu, 1500);
    assert_int_equal(docker.memory_mib, 7);
    assert_int_equal(docker.memory_bytes, 6291457);
    assert_int_equal(docker.network, NETWORK_HOST);
    RUN(modal, "-l", "modal.cpu=0.125", "-l", "modal.memory=512", "x");
    assert_int_equal(modal.milli_cpu, 125);
    assert_int_equal(modal.memory_mib, 512);
    RUN(both, "-l", "modal.cpu=8", "-l", "modal.memory=1g", "--cpus", "2", "-m", "1g", "x");
    assert_int_equal(both.milli_cpu, 2000);
    assert_int_equal(both.memory_mib, 1024);
    RUN(blocked, "--network", "bridge", "--label=modal.block_network=true", "x");
    assert_int_equal(blocked.network, NETWORK_NONE);
}

/* Labels beat variables, which beat the profile. */
static void test_modal_precedence(void **state)
{
    char *const environ_[] = {VAR("ATP_DOCKER_MODAL_TIMEOUT=20"), VAR("ATP_DOCKER_MODAL_SYNC_EXCLUDE=a, b"),
                              VAR("ATP_DOCKER_MODAL_APP="), NULL};
    cleanup_strlist struct strlist profile = STRLIST_INIT;
    cleanup_err struct err err = ERR_INIT;
    struct input in = usual();
    SPEC(s);

    (void)state;
    strlist_add(&profile, "timeout=10");
    strlist_add(&profile, "region=us-east\neu-west");
    in.environ = environ_;
    in.profile = &profile;
    if (build("run", &in, (const char *const[]){"--label", "modal.timeout=30", "x", NULL}, &s, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(modal_int(&s.modal, MODAL_KEY_TIMEOUT), 30);
    assert_joined(modal_list(&s.modal, MODAL_KEY_SYNC_EXCLUDE), "a|b");
    assert_joined(modal_list(&s.modal, MODAL_KEY_REGION), "us-east|eu-west");
    assert_string_equal(modal_str(&s.modal, MODAL_KEY_APP), "atp-docker");
    assert_joined(&s.labels, "modal.timeout=30");
}

static void test_platform(void **state)
{
    struct input in = usual();
    SPEC(given);
    SPEC(inherited);
    SPEC(none);

    (void)state;
    RUN(given, "--platform", "Linux/ARM64", "x");
    assert_string_equal(given.platform, "linux/arm64");
    in.default_platform = "linux/amd64";
    assert_int_equal(build("run", &in, (const char *const[]){"x", NULL}, &inherited, NULL), 0);
    assert_string_equal(inherited.platform, "linux/amd64");
    RUN(none, "--platform", "", "x");
    assert_null(none.platform);
}

static void test_contradicting_settings(void **state)
{
    struct input in = usual();
    cleanup_err struct err err = ERR_INIT;
    SPEC(s);

    (void)state;
    in.approximate_all = true;
    assert_int_equal(build("run", &in, (const char *const[]){"x", NULL}, &s, &err), 0);
    in.strict = true;
    assert_int_equal(build("run", &in, (const char *const[]){"x", NULL}, &s, &err), -1);
    assert_string_equal(err.msg, "ATP_DOCKER_STRICT=1 and ATP_DOCKER_APPROXIMATE=all contradict each other; set one");
}

/* What each asks of the agent, and what inspect shows of it. */
static void test_terms(void **state)
{
    static const struct {
        const char *words[8];
        const char *host, *lines;
    } cases[] = {
        {{"x"}, NULL, ""},
        {{"-h", "web", "--domainname", "d.org", "x"}, NULL, "hostname web|domainname d.org"},
        {{"--ulimit", "nofile=1:2", "--ulimit", "core=-1", "x"},
         "{\"Ulimits\":[{\"Name\":\"nofile\",\"Hard\":2,\"Soft\":1},{\"Name\":\"core\",\"Hard\":-1,\"Soft\":-1}]}",
         "limit nofile=1:2|limit core=-1:-1"},
        {{"--cap-drop", "all", "--cap-add", "cap_chown", "x"},
         "{\"CapAdd\":[\"cap_chown\"],\"CapDrop\":[\"all\"]}",
         "caps 0000000000000001"},
        {{"--cap-drop", "KILL", "x"}, "{\"CapDrop\":[\"KILL\"]}", "caps 00000000a80425db"},
        {{"--cap-add", "ALL", "--cap-drop", "CHOWN", "x"},
         "{\"CapAdd\":[\"ALL\"],\"CapDrop\":[\"CHOWN\"]}",
         "caps fffffffffffffffe"},
        {{"--security-opt", "no-new-privileges:true", "x"},
         "{\"SecurityOpt\":[\"no-new-privileges:true\"]}",
         "no-new-privileges"},
        {{"--security-opt", "no-new-privileges=false", "x"}, "{\"SecurityOpt\":[\"no-new-privileges=false\"]}", ""},
        {{"--dns", "1.1.1.1", "--dns-search", ".", "--dns-opt", "ndots:2", "x"},
         "{\"Dns\":[\"1.1.1.1\"],\"DnsOptions\":[\"ndots:2\"],\"DnsSearch\":[\".\"]}",
         "dns 1.1.1.1|search .|option ndots:2"},
        {{"--group-add", "7", "--oom-score-adj", "5", "x"},
         "{\"GroupAdd\":[\"7\"],\"OomScoreAdj\":5}",
         "group 7|oom 5"},
        {{"--sysctl", "net.core.somaxconn=9", "x"},
         "{\"Sysctls\":{\"net.core.somaxconn\":\"9\"}}",
         "sysctl net.core.somaxconn=9"},
        {{"--log-opt", "max-size=1m", "--init", "x"},
         "{\"Init\":true,\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"1m\"}}}",
         ""},
        {{"--device", "/dev/null", "x"},
         "{\"Devices\":[{\"PathOnHost\":\"/dev/null\",\"PathInContainer\":\"/dev/null\",\"CgroupPermissions\":"
         "\"rwm\"}]}",
         ""},
    };
    struct input in = usual();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_strlist struct strlist lines = STRLIST_INIT;
        cleanup_err struct err err = ERR_INIT;
        SPEC(s);

        if (build("create", &in, cases[i].words, &s, &err) < 0)
            fail_msg("case %zu: %s", i, err.msg);
        if (!cases[i].host)
            assert_null(s.host);
        else
            assert_string_equal(s.host ? s.host : "", cases[i].host);
        terms_lines(&s, &lines);
        assert_joined(&lines, cases[i].lines);
    }
}

/* Limits in other words. */
static void test_other_limits(void **state)
{
    SPEC(quota);
    SPEC(set);
    SPEC(lower);
    SPEC(reserved);

    (void)state;
    RUN(quota, "--cpu-quota", "50000", "x");
    assert_int_equal(quota.milli_cpu, 500);
    RUN(set, "--cpuset-cpus", "0-1,3", "x");
    assert_int_equal(set.milli_cpu, 3000);
    RUN(lower, "--cpuset-cpus", "0,1", "--cpus", "0.5", "x");
    assert_int_equal(lower.milli_cpu, 500);
    RUN(reserved, "--memory-reservation", "64m", "-m", "128m", "x");
    assert_int_equal(reserved.reserved_mib, 64);
    assert_int_equal(reserved.memory_mib, 128);
}

/* ATP_DOCKER_APPROXIMATE=all goes on without what is refused otherwise; ATP_DOCKER_STRICT=1 refuses what is less. */
static void test_any_approximation(void **state)
{
    const char *const more[] = {"--privileged", "--read-only", "--pids-limit", "5", "--ipc", "host", "x", NULL};
    const char *const less[] = {"--hostname", "web", "x", NULL};
    struct input in = usual();
    cleanup_err struct err err = ERR_INIT;
    SPEC(all);
    SPEC(strict);

    (void)state;
    in.approximate_all = true;
    assert_int_equal(build("run", &in, more, &all, &err), 0);
    assert_int_equal(all.notes.len, 4);
    assert_string_equal(all.host, "{\"IpcMode\":\"host\",\"PidsLimit\":5,\"Privileged\":true,\"ReadonlyRootfs\":true}");
    in.approximate_all = false;
    in.strict = true;
    assert_int_equal(build("run", &in, less, &strict, &err), -1);
    assert_string_equal(err.msg, "--hostname is not carried out by atp-docker: what the kernel calls the machine is "
                                 "changed only where the platform permits it");
}

static void test_host_cpus(void **state)
{
    struct input in = usual();
    cleanup_err struct err err = ERR_INIT;
    SPEC(s);

    (void)state;
    in.host_cpus = 2;
    assert_int_equal(build("run", &in, (const char *const[]){"--cpus", "2", "x", NULL}, &s, &err), 0);
    assert_int_equal(build("run", &in, (const char *const[]){"--cpus", "2.1", "x", NULL}, &s, &err), -1);
    assert_string_equal(err.msg,
                        "Error response from daemon: Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs "
                        "available");
}

/* --- the process --- */

/* Turns "a b c" into a list; NULL = empty. */
static void split(struct strlist *l, const char *s)
{
    if (s)
        strlist_split(l, s, ' ');
}

static void test_argv(void **state)
{
    static const struct {
        const char *image_entrypoint, *image_cmd;
        const char *override; /* NULL = not given, "" = cleared */
        const char *cmd, *want;
    } cases[] = {
        {NULL, NULL, NULL, NULL, NULL},
        {NULL, "def arg", "", NULL, NULL},
        {"ep", "def", "", NULL, NULL},
        {"ep", "def", "", "c", "c"},
        {NULL, "def arg", NULL, NULL, "def|arg"},
        {NULL, "def arg", NULL, "c d", "c|d"},
        {"ep x", "def", NULL, NULL, "ep|x|def"},
        {"ep x", "def", NULL, "c", "ep|x|c"},
        {"ep", NULL, NULL, NULL, "ep"},
        {"ep x", "def", "sh", NULL, "sh"},
        {"ep x", "def", "sh", "-c id", "sh|-c|id"},
        {NULL, "def", "sh", NULL, "sh"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_with(oci_config_clear) struct oci_config image = {0};
        cleanup_with(process_clear) struct process_spec p = {0};
        cleanup_err struct err err = ERR_INIT;
        int rc;
        SPEC(s);

        split(&image.entrypoint, cases[i].image_entrypoint);
        split(&image.cmd, cases[i].image_cmd);
        s.entrypoint_set = cases[i].override != NULL;
        if (cases[i].override && cases[i].override[0])
            split(&s.entrypoint, cases[i].override);
        split(&s.cmd, cases[i].cmd);
        rc = process_from_spec(&s, &image, &p, &err);
        if (!cases[i].want) {
            assert_int_equal(rc, -1);
            assert_string_equal(err.msg, "Error response from daemon: No command specified");
            assert_int_equal(err.exit_code, 125);
        } else {
            assert_int_equal(rc, 0);
            assert_joined(&p.argv, cases[i].want);
        }
    }
}

/* An empty word is a command: it is not found, which is another fault. */
static void test_empty_command(void **state)
{
    cleanup_with(process_clear) struct process_spec p = {0};
    struct oci_config image = {0};
    SPEC(s);

    (void)state;
    RUN(s, "x", "");
    assert_int_equal(process_from_spec(&s, &image, &p, NULL), 0);
    assert_int_equal(p.argv.len, 1);
    assert_string_equal(p.argv.items[0], "");
}

#define PATH_VAR "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static void test_process_environment(void **state)
{
    cleanup_with(oci_config_clear) struct oci_config image = {0};
    cleanup_with(process_clear) struct process_spec plain = {0}, full = {0};
    SPEC(s);
    SPEC(t);

    (void)state;
    RUN(s, "x", "id");
    assert_int_equal(process_from_spec(&s, &image, &plain, NULL), 0);
    assert_joined(&plain.env, PATH_VAR "|HOSTNAME=abcdef012345");
    assert_string_equal(plain.hostname, "abcdef012345");

    split(&image.env, "PATH=/img LANG=C A=img TERM=img broken");
    RUN(t, "-t", "--env-file", "env", "-e", "A=cli", "-e", "FOO", "-e", "UNSET", "-e", "HOSTNAME=h", "x", "id");
    assert_int_equal(process_from_spec(&t, &image, &full, NULL), 0);
    assert_joined(&full.env, "PATH=/img|HOSTNAME=h|TERM=img|A=cli|B=file|FOO=yes|LANG=C");
    assert_true(full.tty);
    assert_false(full.open_stdin);
}

static void test_process_settings(void **state)
{
    cleanup_with(oci_config_clear) struct oci_config image = {0};
    cleanup_with(process_clear) struct process_spec bare = {0}, from_image = {0}, asked = {0};
    SPEC(none);
    SPEC(s);

    (void)state;
    RUN(none, "-i", "x", "id");
    assert_int_equal(process_from_spec(&none, &image, &bare, NULL), 0);
    assert_string_equal(bare.workdir, "/");
    assert_string_equal(bare.user, "");
    assert_string_equal(bare.stop_signal, "SIGTERM");
    assert_int_equal(bare.stop_timeout, 10);
    assert_true(bare.open_stdin);

    image.workdir = xstrdup("srv/../app");
    image.user = xstrdup("app:grp");
    image.stop_signal = xstrdup("SIGQUIT");
    assert_int_equal(process_from_spec(&none, &image, &from_image, NULL), 0);
    assert_string_equal(from_image.workdir, "/app");
    assert_string_equal(from_image.user, "app:grp");
    assert_string_equal(from_image.stop_signal, "SIGQUIT");

    RUN(s, "-w", "/w", "-u", "0", "x", "id");
    s.stop_timeout = -1;
    s.stop_signal = xstrdup("9");
    s.hostname = xstrdup("box");
    assert_int_equal(process_from_spec(&s, &image, &asked, NULL), 0);
    assert_string_equal(asked.workdir, "/w");
    assert_string_equal(asked.user, "0");
    assert_string_equal(asked.stop_signal, "9");
    assert_int_equal(asked.stop_timeout, -1);
    assert_string_equal(asked.hostname, "box");
    assert_joined(&asked.env, PATH_VAR "|HOSTNAME=box");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_attach_and_detach),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_no_option_is_dropped),
        cmocka_unit_test(test_defaults_ask_for_nothing),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_resources),
        cmocka_unit_test(test_modal_precedence),
        cmocka_unit_test(test_platform),
        cmocka_unit_test(test_contradicting_settings),
        cmocka_unit_test(test_terms),
        cmocka_unit_test(test_other_limits),
        cmocka_unit_test(test_any_approximation),
        cmocka_unit_test(test_host_cpus),
        cmocka_unit_test(test_argv),
        cmocka_unit_test(test_empty_command),
        cmocka_unit_test(test_process_environment),
        cmocka_unit_test(test_process_settings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
