/* link: atp_agentcore atp_base */
#include "backends/agent/lookup.h"
#include "backends/agent/user.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NELEM(a) (sizeof(a) / sizeof((a)[0]))

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "# a comment:x:9:9::/no:\n"
                             "\n"
                             "app:x:1000:1001:App:/home/app:/bin/sh\n"
                             "nohome:x:1002:1002:::\n"
                             "short:x\n"
                             "  pad:x:1003:1003::/pad:\n"
                             "app:x:2000:2000::/second:\n"
                             "123:x:3000:3000::/digits:\n"
                             "last:x:1004:1004::/last:"; /* no newline */
static const char group[] = "root:x:0:\n"
                            "app:x:1001:\n"
                            "wheel:x:10:root,app\n"
                            "video:x:44:other,app\n"
                            "bad\n"
                            "apple:x:55:apple\n"
                            "77:x:4000:\n";

static void test_users(void **state)
{
    static const struct {
        const char *spec;
        unsigned uid, gid;
        size_t n_groups;
        unsigned group0;
        const char *home;
    } t[] = {
        {"", 0, 0, 2, 10, "/root"},
        {"root", 0, 0, 2, 10, "/root"},
        {"0", 0, 0, 2, 10, "/root"},
        {"app", 1000, 1001, 3, 10, "/home/app"},  /* the first of two lines */
        {"1000", 1000, 1001, 3, 10, "/home/app"}, /* a bare uid that exists takes that user's groups */
        {"4711", 4711, 0, 1, 0, "/"},             /* unknown: gid 0 */
        {"123", 123, 0, 1, 0, "/"},               /* a number is an id, never a name */
        {"app:", 1000, 1001, 3, 10, "/home/app"},
        {":wheel", 0, 10, 1, 10, "/root"},
        {"app:wheel", 1000, 10, 1, 10, "/home/app"}, /* a given group replaces all others */
        {"app:44", 1000, 44, 1, 44, "/home/app"},
        {"4711:4712", 4711, 4712, 1, 4712, "/"},
        {"app:77", 1000, 77, 1, 77, "/home/app"},
        {"nohome", 1002, 1002, 1, 1002, "/"},
        {"pad", 1003, 1003, 1, 1003, "/pad"},
        {"short", 0, 0, 1, 0, "/"},
        {"last", 1004, 1004, 1, 1004, "/last"},
        {"2147483647", 2147483647, 0, 1, 0, "/"},
    };

    (void)state;
    for (size_t i = 0; i < NELEM(t); i++) {
        cleanup_err struct err err = ERR_INIT;
        struct user u;

        if (user_resolve(t[i].spec, passwd, group, &u, &err) < 0)
            fail_msg("%s: %s", t[i].spec, err.msg);
        if (u.uid != t[i].uid || u.gid != t[i].gid || u.n_groups != t[i].n_groups)
            fail_msg("%s: %u:%u with %zu groups", t[i].spec, u.uid, u.gid, u.n_groups);
        if (u.n_groups)
            assert_int_equal(u.groups[0], t[i].group0);
        assert_string_equal(u.home, t[i].home);
        user_clear(&u);
    }
}

static void test_user_errors(void **state)
{
    static const struct {
        const char *spec, *text;
    } t[] = {
        {"nobody", "unable to find user nobody: no matching entries in passwd file"},
        {"nobody:app", "unable to find user nobody: no matching entries in passwd file"},
        {"app:nope", "unable to find group nope: no matching entries in group file"},
        {"-1", "uids and gids must be in range 0-2147483647"},
        {"2147483648", "uids and gids must be in range 0-2147483647"},
        {"app:4294967296", "uids and gids must be in range 0-2147483647"},
        {"1e3", "unable to find user 1e3: no matching entries in passwd file"},
        {"a\nb", "unable to find user a\nb: no matching entries in passwd file"},
    };

    (void)state;
    for (size_t i = 0; i < NELEM(t); i++) {
        cleanup_err struct err err = ERR_INIT;
        struct user u;

        assert_int_equal(user_resolve(t[i].spec, passwd, group, &u, &err), -1);
        assert_string_equal(err.msg, t[i].text);
    }
}

/* A scratch image has neither file. */
static void test_no_files(void **state)
{
    cleanup_err struct err err = ERR_INIT;
    struct user u;

    (void)state;
    assert_int_equal(user_resolve("", "", "", &u, &err), 0);
    assert_int_equal(u.uid, 0);
    assert_string_equal(u.home, "/");
    user_clear(&u);
    assert_int_equal(user_resolve("5:6", "", "", &u, &err), 0);
    assert_int_equal(u.gid, 6);
    user_clear(&u);
    assert_int_equal(user_resolve("root", "", "", &u, &err), -1);
}

static void touch(const char *path, mode_t mode)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
}

static void test_lookup(void **state)
{
    char dir[] = "/tmp/atp-lookup-XXXXXX";
    cleanup_free char *path = NULL;
    static const struct {
        const char *name;
        int code;
        const char *text;
    } t[] = {
        {"prog", 0, "b/prog"}, /* a/prog is a directory, and b's is found */
        {"plain", 127, "exec: \"plain\": executable file not found in $PATH"},
        {"nosuch", 127, "exec: \"nosuch\": executable file not found in $PATH"},
        {"", 127, "exec: \"\": executable file not found in $PATH"},
        {"q\"\n", 127, "exec: \"q\\\"\\n\": executable file not found in $PATH"},
        {"./b/prog", 0, "./b/prog"},
        {"./nosuch", 127, "exec: \"./nosuch\": stat ./nosuch: no such file or directory"},
        {"./a", 126, "exec: \"./a\": is a directory"},
        {"./b/plain", 126, "exec: \"./b/plain\": permission denied"},
        {"./b/plain/x", 126, "exec: \"./b/plain/x\": stat ./b/plain/x: not a directory"},
    };

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(mkdir("a", 0755) | mkdir("b", 0755) | mkdir("a/prog", 0755), 0);
    touch("b/prog", 0755);
    touch("b/plain", 0644);
    for (size_t i = 0; i < NELEM(t); i++) {
        cleanup_err struct err err = ERR_INIT;
        cleanup_free char *got = lookup_program(t[i].name, "a:/nonexistent:b", &err);

        assert_string_equal(got ? got : err.msg, t[i].text);
        assert_int_equal(err.exit_code, t[i].code);
    }
    path = lookup_program("prog", NULL, NULL);
    assert_null(path);
    assert_int_equal(unlink("b/prog") | unlink("b/plain") | rmdir("a/prog") | rmdir("a") | rmdir("b"), 0);
    assert_int_equal(chdir("/"), 0);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_user_errors),
        cmocka_unit_test(test_no_files),
        cmocka_unit_test(test_lookup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
