/* link: atp_sys atp_base */
#include "compat/sys/beneath.h"
#include "compat/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static int scratch = -1;
static char scratch_path[] = "/tmp/atp-beneath-test.XXXXXX";

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(scratch_path) || (scratch = open(scratch_path, O_RDONLY | O_DIRECTORY)) < 0)
        return -1;
    mkdirat(scratch, "root", 0755);
    mkdirat(scratch, "root/a", 0755);
    mkdirat(scratch, "root/a/b", 0755);
    mkdirat(scratch, "outside", 0755);
    close(openat(scratch, "outside/secret", O_CREAT | O_WRONLY, 0600));
    return symlinkat("../../outside", scratch, "root/a/up") || symlinkat("b", scratch, "root/a/down") ||
           symlinkat("/proc/self/root", scratch, "root/a/magic");
}

static int tear_down(void **state)
{
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY);

    (void)state;
    beneath_remove_tree(tmp, scratch_path + 5);
    close(tmp);
    close(scratch);
    return 0;
}

/* Paths that must not be walked, and how they fail; both ways to walk agree. */
static void refused_paths(void **state)
{
    static const struct {
        const char *path;
        int errnum; /* 0: any */
    } cases[] = {
        {"..", EINVAL},  {"a/..", EINVAL},         {"a/../a", EINVAL},    {".", EINVAL},
        {"a/.", EINVAL}, {"/etc", EINVAL},         {"a//b", EINVAL},      {"a/", EINVAL},
        {"/", EINVAL},   {"a/b/../../..", EINVAL}, {"a/up", 0},           {"a/up/secret", 0},
        {"a/down", 0},   {"a/magic/etc", 0},       {"a/missing", ENOENT}, {"a/missing/x", ENOENT},
    };
    int root = openat(scratch, "root", O_RDONLY | O_DIRECTORY);
    char longest[5000];

    (void)state;
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    for (int walk = 0; walk < 2; walk++) {
        beneath_force_walk(walk);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            int fd = beneath_open_dir(root, cases[i].path);

            if (fd >= 0)
                fail_msg("opened %s", cases[i].path);
            if (cases[i].errnum && errno != cases[i].errnum)
                fail_msg("%s: %s", cases[i].path, strerror(errno));
            if (!cases[i].errnum)
                assert_true(errno == ELOOP || errno == ENOTDIR);
        }
        assert_int_equal(beneath_open_dir(root, longest), -1);
        assert_int_equal(errno, ENAMETOOLONG);
    }
    beneath_force_walk(false);
    close(root);
}

/* Paths that must work, by both ways. */
static void walks(void **state)
{
    int root = openat(scratch, "root", O_RDONLY | O_DIRECTORY);

    (void)state;
    for (int walk = 0; walk < 2; walk++) {
        const char *name;
        struct stat one, two;
        int fd;

        beneath_force_walk(walk);
        fd = beneath_open_dir(root, "a/b");
        assert_true(fd >= 0);
        assert_int_equal(fstat(fd, &one), 0);
        close(fd);
        fd = beneath_open_parent(root, "a/b", &name);
        assert_true(fd >= 0);
        assert_string_equal(name, "b");
        assert_int_equal(beneath_stat(fd, name, &two), 0);
        assert_int_equal(one.st_ino, two.st_ino);
        close(fd);
        fd = beneath_open_dir(root, "");
        assert_true(fd >= 0);
        close(fd);
    }
    beneath_force_walk(false);
    close(root);
}

/* Every call on one name refuses what is not one. */
static void plain_names_only(void **state)
{
    static const char *const names[] = {"", ".", "..", "a/b", "/", "../outside/secret"};
    int root = openat(scratch, "root", O_RDONLY | O_DIRECTORY);
    struct stat st;

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *n = names[i];

        assert_int_equal(beneath_stat(root, n, &st), -1);
        assert_int_equal(beneath_child_dir(root, n), -1);
        assert_int_equal(beneath_child_list(root, n), -1);
        assert_int_equal(beneath_handle(root, n, &st), -1);
        assert_int_equal(beneath_read_open(root, n, &st), -1);
        assert_int_equal(beneath_write_open(root, n, &st), -1);
        assert_int_equal(beneath_mkdir(root, n, 0700), -1);
        assert_int_equal(beneath_rename(root, n, root, "x"), -1);
        assert_int_equal(beneath_rename(root, "a", root, n), -1);
        assert_int_equal(beneath_unlink(root, n), -1);
        assert_int_equal(beneath_rmdir(root, n), -1);
        assert_int_equal(beneath_symlink("x", root, n), -1);
        assert_int_equal(beneath_link(root, n, root, "x"), -1);
        assert_int_equal(beneath_link(root, "a", root, n), -1);
        assert_null(beneath_readlink(root, n));
        assert_int_equal(beneath_remove_tree(root, n), -1);
        assert_int_equal(errno, EINVAL);
    }
    close(root);
}

/* Files are opened only if they are files, and nothing waits for a fifo. */
static void opens_only_files(void **state)
{
    int dir = openat(scratch, "root/a", O_RDONLY | O_DIRECTORY);
    struct stat st;

    (void)state;
    assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
    alarm(5);
    assert_int_equal(beneath_read_open(dir, "fifo", &st), -1);
    assert_int_equal(beneath_write_open(dir, "fifo", &st), -1);
    assert_int_equal(beneath_handle(dir, "fifo", &st), -1);
    alarm(0);
    assert_int_equal(beneath_read_open(dir, "up", &st), -1);
    assert_int_equal(errno, ELOOP);
    assert_int_equal(beneath_read_open(dir, "b", &st), -1);
    assert_int_equal(errno, EISDIR);
    unlinkat(dir, "fifo", 0);
    close(dir);
}

/* A temporary file is swept once its writer is gone, and not before; nothing else ever is. */
static void sweeping(void **state)
{
    int dir = openat(scratch, "root", O_RDONLY | O_DIRECTORY), fd;
    char name[BENEATH_TEMP_MAX];
    struct stat st;

    (void)state;
    fd = beneath_temp_open(dir, name);
    assert_true(fd >= 0);
    assert_false(beneath_temp_sweep(dir, name));
    close(fd);
    assert_true(beneath_temp_sweep(dir, name));
    assert_int_equal(beneath_stat(dir, name, &st), -1);
    fd = beneath_temp_symlink("/nowhere", dir, name);
    assert_true(fd >= 0);
    assert_false(beneath_temp_sweep(dir, name));
    close(fd);
    assert_true(beneath_temp_sweep(dir, name));
    assert_false(beneath_temp_sweep(dir, "a"));
    close(dir);
}

/* Times to the nanosecond, before 1970 too; modes with all twelve bits; both on descriptors that may not be read. */
static void attributes(void **state)
{
    static const int64_t times[] = {0, 1, 999999999, 1000000000, -1, -999999999, -1000000001, 1700000000123456789};
    int root = openat(scratch, "root", O_RDONLY | O_DIRECTORY);
    int held = beneath_open_dir(root, "a");
    struct stat st;

    (void)state;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        assert_int_equal(beneath_set_mtime(held, times[i]), 0);
        assert_int_equal(fstat(held, &st), 0);
        assert_int_equal(beneath_mtime(&st), times[i]);
    }
    assert_int_equal(beneath_chmod(held, 01753), 0);
    assert_int_equal(fstat(held, &st), 0);
    assert_int_equal(st.st_mode & 07777, 01753);
    assert_int_equal(beneath_chmod(held, 0755), 0);
    assert_int_equal(beneath_link_set_mtime(held, "up", 1234567890123456789), 0);
    assert_int_equal(beneath_stat(held, "up", &st), 0);
    assert_int_equal(beneath_mtime(&st), 1234567890123456789);
    close(held);
    close(root);
}

/* Removing a tree that somebody swaps for a link removes the link, never what it points to. */
static void remove_tree_stays_inside(void **state)
{
    int dir = openat(scratch, "root", O_RDONLY | O_DIRECTORY);
    struct stat st;

    (void)state;
    mkdirat(dir, "x", 0755);
    mkdirat(dir, "x/y", 0755);
    symlinkat("../../../outside", dir, "x/y/out");
    mkdirat(dir, "x/y/locked", 0);
    assert_int_equal(beneath_remove_tree(dir, "x"), 0);
    assert_int_equal(beneath_stat(dir, "x", &st), -1);
    assert_int_equal(beneath_remove_tree(dir, "x"), 0);
    assert_int_equal(fstatat(scratch, "outside/secret", &st, 0), 0);
    close(dir);
}

/* Swaps root/race between a directory and a link out of the tree, for ever. */
static _Noreturn void racer(void)
{
    int root = openat(scratch, "root", O_RDONLY | O_DIRECTORY);

    for (;;) {
        renameat(root, "race", root, "race.dir");
        symlinkat("../outside", root, "race");
        unlinkat(root, "race", 0);
        renameat(root, "race.dir", root, "race");
    }
}

/* Nothing that is written below a raced directory ever lands outside, by both ways to walk. */
static void raced(void **state)
{
    int root = openat(scratch, "root", O_RDONLY | O_DIRECTORY);
    unsigned long inside = 0, refused = 0;
    struct stat st;
    pid_t pid;

    (void)state;
    mkdirat(root, "race", 0755);
    mkdirat(root, "race/deep", 0755);
    mkdirat(scratch, "outside/deep", 0755);
    pid = fork();
    if (pid == 0)
        racer();
    for (int walk = 0; walk < 2; walk++) {
        time_t end = time(NULL) + 1;

        beneath_force_walk(walk);
        while (time(NULL) <= end) {
            const char *name;
            char temp[BENEATH_TEMP_MAX];
            int dir = beneath_open_parent(root, "race/deep/file", &name), fd;

            if (dir < 0) {
                refused++;
                continue;
            }
            fd = beneath_temp_open(dir, temp);
            assert_true(fd >= 0);
            assert_int_equal(beneath_rename(dir, temp, dir, name), 0);
            inside++;
            close(fd);
            close(dir);
        }
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    beneath_force_walk(false);
    assert_int_equal(fstatat(scratch, "outside/deep/file", &st, 0), -1);
    /* Else nothing was raced. */
    assert_true(inside > 0);
    assert_true(refused > 0);
    close(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_paths),
        cmocka_unit_test(walks),
        cmocka_unit_test(plain_names_only),
        cmocka_unit_test(opens_only_files),
        cmocka_unit_test(sweeping),
        cmocka_unit_test(attributes),
        cmocka_unit_test(remove_tree_stays_inside),
        cmocka_unit_test(raced),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
