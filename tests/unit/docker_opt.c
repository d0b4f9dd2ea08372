/* link: atp_docker atp_base */
#include "compat/base/alloc.h"
#include "compat/base/err.h"
#include "compat/docker/commands.h"
#include "compat/docker/csv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEN(a)          (sizeof(a) / sizeof(*(a)))
#define PARSE(cmd, ...) parse(cmd, (char *[]){__VA_ARGS__, NULL})

static struct opt_parsed *parse_or_fail(const struct cmd_def *cmd, char *const *argv, struct err *err)
{
    int argc = 0;

    while (argv[argc])
        argc++;
    return opt_parse(cmd, argc, argv, err);
}

/* Parses a line that must be good. */
static struct opt_parsed *parse(const struct cmd_def *cmd, char *const *argv)
{
    struct err err = ERR_INIT;
    struct opt_parsed *p = parse_or_fail(cmd, argv, &err);

    if (!p)
        fail_msg("%s", err.msg);
    return p;
}

static void test_tables_are_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < cmd_defs_len; i++) {
        const struct cmd_def *cmd = cmd_defs[i];

        if (i)
            assert_true(strcmp(cmd_defs[i - 1]->path, cmd->path) < 0);
        assert_non_null(cmd->summary);
        if (cmd->verdict != VERDICT_OURS)
            assert_non_null(cmd->reason);
        for (const struct opt_def *def = cmd->options; def && def->name; def++) {
            if (def > cmd->options && strcmp(def[-1].name, def->name) >= 0)
                fail_msg("%s: --%s is out of order", cmd->path, def->name);
            if (def->verdict != VERDICT_OURS && !def->reason)
                fail_msg("%s: --%s has no reason", cmd->path, def->name);
            if (def->alias_of && (!opt_find(cmd, def->alias_of) || opt_find(cmd, def->alias_of)->kind != def->kind))
                fail_msg("%s: --%s stands for nothing", cmd->path, def->name);
            assert_non_null(def->help);
            assert_true((def->kind == OPT_BOOL) == (def->arg == NULL));
            for (const struct opt_def *other = cmd->options; def->shorthand && other < def; other++)
                assert_int_not_equal(other->shorthand, def->shorthand);
        }
    }
}

static void test_finding_commands(void **state)
{
    static const struct {
        const char *a, *b;
        const struct cmd_def *cmd;
        int words;
    } cases[] = {
        {"run", "image", &cmd_def_run, 1},
        {"container", "run", &cmd_def_run, 2},
        {"image", "ls", &cmd_def_images, 2},
        {"image", "list", &cmd_def_images, 2},
        {"images", "ls", &cmd_def_images, 1},
        {"container", "ps", &cmd_def_ps, 2},
        {"container", "nope", &cmd_def_container, 1},
        {"container", "", &cmd_def_container, 1},
        {"compose", "up", &cmd_def_compose_up, 2},
        {"builder", "build", &cmd_def_builder_build, 2},
        {"image", "build", &cmd_def_build, 2},
        {"nope", "run", NULL, 0},
        {"ru", "x", NULL, 0},
        {"", "", NULL, 0},
        {"docker", "run", NULL, 0},
        {"container run", "x", NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < LEN(cases); i++) {
        char *argv[] = {(char *)cases[i].a, (char *)cases[i].b};
        int words = 0;

        assert_ptr_equal(cmd_find(2, argv, &words), cases[i].cmd);
        assert_int_equal(words, cases[i].words);
    }
    assert_null(cmd_find(0, NULL, &(int){0}));
    assert_ptr_equal(cmd_by_path(""), &cmd_def_root);
    assert_null(cmd_by_path("nope"));
}

static void test_flag_styles(void **state)
{
    cleanup_with(opt_parsed_freep) struct opt_parsed *p =
        PARSE(&cmd_def_run, "-itw", "/tmp", "--name=a=b", "-eA=1", "-e=B=2", "-e", "C", "--env", "-x=", "--rm",
              "--cpus", "1.5", "-m1g", "--sig-proxy=false", "--init=0", "img", "-it", "--", "--rm=x");

    (void)state;
    assert_true(opt_bool(p, "interactive"));
    assert_true(opt_bool(p, "tty"));
    assert_true(opt_bool(p, "rm"));
    assert_false(opt_bool(p, "sig-proxy"));
    assert_true(opt_given(p, "sig-proxy"));
    assert_true(opt_given(p, "init"));
    assert_false(opt_bool(p, "init"));
    assert_string_equal(opt_str(p, "workdir"), "/tmp");
    assert_string_equal(opt_str(p, "name"), "a=b");
    assert_int_equal(opt_list(p, "env")->len, 4);
    assert_string_equal(opt_list(p, "env")->items[0], "A=1");
    assert_string_equal(opt_list(p, "env")->items[1], "B=2");
    assert_string_equal(opt_list(p, "env")->items[2], "C");
    assert_string_equal(opt_list(p, "env")->items[3], "-x=");
    assert_int_equal(opt_int(p, "cpus"), 1500000000);
    assert_int_equal(opt_int(p, "memory"), 1 << 30);
    assert_int_equal(opt_args(p)->len, 4);
    assert_string_equal(opt_args(p)->items[1], "-it");
    assert_string_equal(opt_args(p)->items[2], "--");
    assert_string_equal(opt_args(p)->items[3], "--rm=x");
}

static void test_defaults(void **state)
{
    cleanup_with(opt_parsed_freep) struct opt_parsed *p = PARSE(&cmd_def_run, "img");

    (void)state;
    assert_true(opt_bool(p, "sig-proxy"));
    assert_false(opt_given(p, "sig-proxy"));
    assert_string_equal(opt_str(p, "pull"), "missing");
    assert_string_equal(opt_str(p, "name"), "");
    assert_int_equal(opt_int(p, "memory-swappiness"), -1);
    assert_int_equal(opt_int(p, "health-interval"), 0);
    assert_int_equal(opt_list(p, "env")->len, 0);
    assert_false(opt_given(p, "no such option"));
    assert_string_equal(opt_str(p, "no such option"), "");
    assert_int_equal(opt_list(p, "no such option")->len, 0);
}

static void test_last_value_wins(void **state)
{
    cleanup_with(opt_parsed_freep) struct opt_parsed *p =
        PARSE(&cmd_def_run, "--name", "a", "--rm", "--name", "b", "--rm=false", "--memory-swap", "1g",
              "--memory-swap=-1", "x");

    (void)state;
    assert_string_equal(opt_str(p, "name"), "b");
    assert_false(opt_bool(p, "rm"));
    assert_int_equal(opt_int(p, "memory-swap"), -1);
}

static void test_aliases(void **state)
{
    cleanup_with(opt_parsed_freep) struct opt_parsed *p = PARSE(&cmd_def_run, "--net", "none", "--network=a", "x");
    cleanup_with(opt_parsed_freep) struct opt_parsed *stop = PARSE(&cmd_def_stop, "--time", "0x10", "c");

    (void)state;
    assert_int_equal(opt_list(p, "network")->len, 2);
    assert_true(opt_given(p, "network"));
    assert_string_equal(opt_str(p, "net"), "a");
    assert_int_equal(opt_int(stop, "timeout"), 16);
    assert_int_equal(opt_notes(stop)->len, 1);
    assert_string_equal(opt_notes(stop)->items[0], "Flag --time has been deprecated, use --timeout instead");
}

static void test_interspersed(void **state)
{
    cleanup_with(opt_parsed_freep) struct opt_parsed *p = PARSE(&cmd_def_rm, "a", "-f", "-", "b", "--", "-v");
    cleanup_with(opt_parsed_freep) struct opt_parsed *exec = PARSE(&cmd_def_exec, "--", "c", "-i");

    (void)state;
    assert_true(opt_bool(p, "force"));
    assert_false(opt_bool(p, "volumes"));
    assert_int_equal(opt_args(p)->len, 4);
    assert_string_equal(opt_args(p)->items[1], "-");
    assert_string_equal(opt_args(p)->items[3], "-v");
    assert_int_equal(opt_args(exec)->len, 2);
    assert_false(opt_bool(exec, "interactive"));
}

static void test_csv_lists(void **state)
{
    cleanup_with(opt_parsed_freep) struct opt_parsed *p =
        PARSE(&cmd_def_rmi, "--platform", "a,\"b,c\"", "--platform=", "--platform", "d", "x");

    (void)state;
    assert_int_equal(opt_list(p, "platform")->len, 3);
    assert_string_equal(opt_list(p, "platform")->items[1], "b,c");
    assert_string_equal(opt_list(p, "platform")->items[2], "d");
}

static void test_help(void **state)
{
    cleanup_with(opt_parsed_freep) struct opt_parsed *p = PARSE(&cmd_def_run, "--help");
    cleanup_with(opt_parsed_freep) struct opt_parsed *h = PARSE(&cmd_def_ps, "-h", "too", "many");
    cleanup_with(opt_parsed_freep) struct opt_parsed *host = PARSE(&cmd_def_run, "-h", "name", "x", "--help");
    cleanup_with(opt_parsed_freep) struct opt_parsed *group = PARSE(&cmd_def_container, "--help");

    (void)state;
    assert_true(opt_help_asked(p));
    assert_true(opt_help_asked(h));
    assert_int_equal(opt_notes(h)->len, 1);
    assert_false(opt_help_asked(host));
    assert_string_equal(opt_str(host, "hostname"), "name");
    assert_true(opt_help_asked(group));
}

static void count(const struct opt_def *def, void *arg)
{
    strlist_add(arg, def->name);
}

static void test_each_given(void **state)
{
    cleanup_with(opt_parsed_freep) struct opt_parsed *p =
        PARSE(&cmd_def_run, "-t", "--net", "x", "-e", "A", "-e", "B", "i");
    cleanup_strlist struct strlist names = STRLIST_INIT;

    (void)state;
    opt_each_given(p, count, &names);
    assert_int_equal(names.len, 3);
    assert_string_equal(names.items[0], "env");
    assert_string_equal(names.items[1], "network");
    assert_string_equal(names.items[2], "tty");
}

/* Bad lines: docker's text and exit code (all measured with the real client). */
static void test_errors(void **state)
{
#define RUN_TAIL                                                                                                       \
    "\n\nUsage:  docker run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'docker run --help' for more information"
    static const struct {
        const struct cmd_def *cmd;
        const char *a, *b;
        int exit_code;
        const char *text;
    } cases[] = {
        {&cmd_def_run, "--foo", NULL, 125, "unknown flag: --foo" RUN_TAIL},
        {&cmd_def_run, "--help", "--foo", 125, "unknown flag: --foo" RUN_TAIL},
        {&cmd_def_run, "-itX", "x", 125, "unknown shorthand flag: 'X' in -X" RUN_TAIL},
        {&cmd_def_run, "-\xC3\xA9", "x", 125, "unknown shorthand flag: '\xC3\x83' in -\xC3\xA9" RUN_TAIL},
        {&cmd_def_run, "--=x", NULL, 125, "bad flag syntax: --=x" RUN_TAIL},
        {&cmd_def_run, "-ite", NULL, 125, "flag needs an argument: 'e' in -e" RUN_TAIL},
        {&cmd_def_run, "--env", NULL, 125, "flag needs an argument: --env" RUN_TAIL},
        {&cmd_def_run, "-d=maybe", "x", 125,
         "invalid argument \"maybe\" for \"-d, --detach\" flag: strconv.ParseBool: parsing \"maybe\": invalid "
         "syntax" RUN_TAIL},
        {&cmd_def_run, "--net=x=y,z", "x", 125,
         "invalid argument \"x=y,z\" for \"--net\" flag: invalid field key x" RUN_TAIL},
        {&cmd_def_run, NULL, NULL, 1,
         "docker: 'docker run' requires at least 1 argument\n\nUsage:  docker run [OPTIONS] IMAGE [COMMAND] "
         "[ARG...]\n\nSee 'docker run --help' for more information"},
        {&cmd_def_ps, "a", NULL, 1,
         "docker: 'docker ps' accepts no arguments\n\nUsage:  docker ps [OPTIONS]\n\nRun 'docker ps --help' for more "
         "information"},
        {&cmd_def_container, "foo", NULL, 1,
         "docker: unknown command: docker container foo\n\nUsage:  docker container\n\nRun 'docker container --help' "
         "for more information"},
        {&cmd_def_compose, "foo", NULL, 1, "unknown docker command: \"compose foo\""},
    };

    (void)state;
    for (size_t i = 0; i < LEN(cases); i++) {
        struct err err = ERR_INIT;
        char *argv[] = {(char *)cases[i].a, (char *)cases[i].b, NULL};

        assert_null(parse_or_fail(cases[i].cmd, argv, &err));
        assert_string_equal(err.msg, cases[i].text);
        assert_int_equal(err.exit_code, cases[i].exit_code);
        err_clear(&err);
        assert_null(parse_or_fail(cases[i].cmd, argv, NULL));
    }
}

static void test_other_spelling(void **state)
{
    struct err err = ERR_INIT;
    char *name = cmd_name(&cmd_def_ps, 2);

    (void)state;
    assert_string_equal(name, "docker container ls");
    free(name);
    assert_null(opt_parse_as(&cmd_def_images, 2, 2, (char *[]){"a", "b"}, &err));
    assert_string_equal(err.msg, "docker: 'docker image ls' requires at most 1 argument\n\nUsage:  docker image ls "
                                 "[OPTIONS] [REPOSITORY[:TAG]]\n\nSRun 'docker image ls --help' for more information");
    err_clear(&err);
    cmd_unknown("foo", &err);
    assert_string_equal(err.msg, "docker: unknown command: docker foo\n\nRun 'docker --help' for more information");
    assert_int_equal(err.exit_code, 1);
    err_clear(&err);
}

static void test_config_folder(void **state)
{
    (void)state;
    setenv("DOCKER_CONFIG", "/cfg", 1);
    unsetenv("DOCKER_CERT_PATH");
    {
        cleanup_with(opt_parsed_freep) struct opt_parsed *p = PARSE(&cmd_def_root, "-D", "ps", "-a");

        assert_string_equal(opt_str(p, "config"), "/cfg");
        assert_string_equal(opt_str(p, "tlskey"), "/cfg/key.pem");
        assert_false(opt_given(p, "config"));
        assert_int_equal(opt_args(p)->len, 2);
    }
    setenv("DOCKER_CERT_PATH", "/certs", 1);
    {
        cleanup_with(opt_parsed_freep) struct opt_parsed *p = PARSE(&cmd_def_root, "--config", "/x", "ps");

        assert_string_equal(opt_str(p, "config"), "/x");
        assert_string_equal(opt_str(p, "tlskey"), "/certs/key.pem");
    }
    unsetenv("DOCKER_CONFIG");
    unsetenv("DOCKER_CERT_PATH");
}

/* Long words and letters beyond ASCII go through every table without harm. */
static void test_odd_words(void **state)
{
    char *huge = xmalloc(200001);

    (void)state;
    memset(huge, 'v', 200000);
    huge[200000] = '\0';
    for (size_t i = 0; i < cmd_defs_len; i++) {
        static const char *const words[] = {"-",      "--", "---", "-=",  "--=", "-\xFF\xFE",
                                            "--\xFF", "",   "=",   "-h=", "-a=", "-\n"};

        for (size_t k = 0; k <= LEN(words); k++) {
            char *argv[] = {k < LEN(words) ? (char *)words[k] : huge, "x"};
            struct err err = ERR_INIT;
            struct opt_parsed *p = opt_parse(cmd_defs[i], 2, argv, &err);

            assert_true(p || err.msg);
            opt_parsed_free(p);
            err_clear(&err);
        }
    }
    huge[0] = '-';
    assert_null(opt_parse(&cmd_def_ps, 1, &huge, NULL));
    free(huge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_are_sound),
        cmocka_unit_test(test_finding_commands),
        cmocka_unit_test(test_flag_styles),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_last_value_wins),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_interspersed),
        cmocka_unit_test(test_csv_lists),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_each_given),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_other_spelling),
        cmocka_unit_test(test_config_folder),
        cmocka_unit_test(test_odd_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
