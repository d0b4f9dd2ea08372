/* link: atp_engine atp_sys atp_base */
#include "backends/engine/img_fold.h"

#include "backends/engine/img_view.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/strlist.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <cmocka.h>

/*
 * Folding against the kernel's own overlay: whatever was done in a stack of layers, the folded layer shows the same.
 * Needs root, for overlay.
 */

#define LAYERS 4 /* the base and three generations */

static char folder[] = "/tmp/atp-fold-XXXXXX";
static bool usable;
static uint64_t seed;

static unsigned pick(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

static void shell(const char *command)
{
    pid_t child = fork();
    int status = -1;

    if (child == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0)
        fail_msg("%s: status %d", command, status);
}

/* ---- what a tree looks like ---- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void describe_file(int dir, const char *name, const struct stat *st, struct buf *out)
{
    cleanup_close int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    char bytes[256], value[64];
    ssize_t n = read(fd, bytes, sizeof(bytes) - 1), len = fgetxattr(fd, "user.note", value, sizeof(value) - 1);

    bytes[n > 0 ? n : 0] = '\0';
    value[len > 0 ? len : 0] = '\0';
    buf_addf(out, " size %lld links %d \"%s\" note \"%s\"", (long long)st->st_size, (int)st->st_nlink, bytes, value);
}

static void describe(int dir, const char *path, struct buf *out)
{
    struct dirent **list = NULL;
    int n = scandirat(dir, path, &list, NULL, by_name);

    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        cleanup_free struct dirent *e = list[i];
        cleanup_free char *at = xasprintf("%s/%s", path, e->d_name);
        char target[256];
        struct stat st;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        assert_int_equal(fstatat(dir, at, &st, AT_SYMLINK_NOFOLLOW), 0);
        buf_addf(out, "%s %o %d:%d %lld.%ld", at, (unsigned)st.st_mode, (int)st.st_uid, (int)st.st_gid,
                 (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
        if (S_ISREG(st.st_mode))
            describe_file(dir, at, &st, out);
        if (S_ISLNK(st.st_mode)) {
            ssize_t len = readlinkat(dir, at, target, sizeof(target) - 1);

            buf_addf(out, " -> %.*s", (int)len, target);
        }
        buf_adds(out, "\n");
        if (S_ISDIR(st.st_mode))
            describe(dir, at, out);
    }
    free(list);
}

/* Mounts the layers (topmost first) and tells what they show. */
static void show(const char *lowers, struct buf *out)
{
    cleanup_free char *options = xasprintf("lowerdir=%s", lowers);
    cleanup_close int fd = -1;

    assert_int_equal(mount("overlay", "view", "overlay", MS_RDONLY, options), 0);
    fd = open("view", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    describe(fd, ".", out);
    close(steal_fd(&fd));
    assert_int_equal(umount2("view", 0), 0);
}

/* ---- what happens in a layer ---- */

/* Few names, so that things often stand in each other's way. */
static void any_path(char *out, size_t size)
{
    static const char *const names[] = {"a", "b", "c", "d e"};
    unsigned depth = 1 + pick(4);
    size_t len = (size_t)snprintf(out, size, "merged");

    while (depth--)
        len += (size_t)snprintf(out + len, size - len, "/%s", names[pick(4)]);
}

static void write_some(const char *path)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (pick(2) ? O_TRUNC : O_APPEND), 0644);

    if (fd < 0)
        return;
    dprintf(fd, "text %u", pick(1000));
    if (pick(4) == 0)
        assert_int_equal(ftruncate(fd, 100000 + pick(100000)), 0);
}

/* One random deed; many of them cannot be done, which is fine. */
static void act(void)
{
    char path[256], other[256], command[700];

    any_path(path, sizeof(path));
    any_path(other, sizeof(other));
    switch (pick(10)) {
    case 0:
    case 1:
        mkdir(path, 0700 + pick(64));
        break;
    case 2:
    case 3:
        write_some(path);
        break;
    case 4:
        snprintf(command, sizeof(command), "rm -rf '%s'", path);
        shell(command);
        break;
    case 5:
        rename(path, other);
        break;
    case 6:
        if (symlink(other, path) < 0)
            link(other, path);
        break;
    case 7:
        chmod(path, 0400 + pick(256));
        lchown(path, pick(3), pick(3));
        break;
    case 8:
        lsetxattr(path, "user.note", path, strlen(path), 0);
        lsetxattr(path, "security.capability", "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, 0);
        break;
    default:
        snprintf(command, sizeof(command), "cp -a '%s' '%s' 2>/dev/null || true", path, other);
        shell(command);
    }
}

/* The generation i: an upper directory on all that was before. */
static void live(unsigned i, unsigned deeds)
{
    cleanup_buf struct buf options = BUF_INIT(4096);

    buf_adds(&options, "index=off,metacopy=off,redirect_dir=off,lowerdir=");
    for (unsigned k = i; k-- > 0;)
        buf_addf(&options, "l%u%s", k, k ? ":" : "");
    buf_addf(&options, ",upperdir=l%u,workdir=work", i);
    assert_int_equal(mount("overlay", "merged", "overlay", 0, options.data), 0);
    while (deeds--)
        act();
    assert_int_equal(umount2("merged", 0), 0);
}

/* ---- the tests ---- */

static int fold(const char *const *dirs, const char *const *below, const char *target, struct err *err)
{
    cleanup_strlist struct strlist upper = STRLIST_INIT, lower = STRLIST_INIT;
    struct img_fold f = {.dirs = &upper};
    int64_t size = -1;
    int ret;

    for (; *dirs; dirs++)
        strlist_add(&upper, *dirs);
    for (; *below; below++)
        strlist_add(&lower, *below);
    f.below = img_view_open(&lower, NULL);
    assert_int_equal(mkdir(target, 0755), 0);
    ret = img_fold(&f, target, &size, err);
    assert_true(ret < 0 || size >= 0);
    img_view_free(f.below);
    return ret;
}

static int set_up(void **state)
{
    (void)state;
    if (geteuid() != 0 || !mkdtemp(folder) || chdir(folder) < 0)
        return 0;
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0)
        return 0;
    mkdir("view", 0755);
    shell("mkdir t u w && mkdir merged");
    usable = mount("overlay", "view", "overlay", 0, "lowerdir=t,upperdir=u,workdir=w") == 0;
    if (usable)
        umount2("view", 0);
    shell("rmdir t u && rm -rf w");
    return 0;
}

static int tear_down(void **state)
{
    cleanup_free char *command = xasprintf("rm -rf %s", folder);

    (void)state;
    if (chdir("/") == 0)
        shell(command);
    return 0;
}

/* Folds n of the three generations and holds the result against what the kernel shows. */
static void compare(unsigned round, unsigned n, const struct buf *kernel)
{
    static const char *const layers[] = {"l3", "l2", "l1", "l0", NULL};
    cleanup_buf struct buf ours = BUF_INIT(1 << 24), stack = BUF_INIT(64);
    const char *dirs[LAYERS] = {NULL};
    struct err err = ERR_INIT;

    for (unsigned i = 0; i < n; i++)
        dirs[i] = layers[i];
    if (fold(dirs, layers + n, "folded", &err) < 0)
        fail_msg("round %u: %s", round, err.msg);
    buf_adds(&stack, "folded");
    for (unsigned i = n; i < LAYERS; i++)
        buf_addf(&stack, ":%s", layers[i]);
    show(stack.data, &ours);
    if (strcmp(kernel->data, ours.data) != 0)
        fail_msg("round %u, %u folded:\n%s\n---- but\n%s", round, n, kernel->data, ours.data);
    shell("rm -rf folded");
}

static void same_as_the_kernel(void **state)
{
    const char *rounds = getenv("ATP_FOLD_ROUNDS");
    unsigned count = rounds ? (unsigned)strtoul(rounds, NULL, 10) : 30;

    (void)state;
    if (!usable)
        skip();
    for (unsigned round = 0; round < count; round++) {
        cleanup_buf struct buf kernel = BUF_INIT(1 << 24);

        seed = round + 1;
        shell("mkdir l0 l1 l2 l3 work && mkdir -p l0/a/b/c l0/b/a l0/c && echo base >l0/a/b/file && echo 2 >l0/b/b");
        for (unsigned i = 1; i < LAYERS; i++)
            live(i, 10 + pick(40));
        show("l3:l2:l1:l0", &kernel);
        for (unsigned n = 1; n < LAYERS; n++)
            compare(round, n, &kernel);
        shell("rm -rf l0 l1 l2 l3 work");
    }
}

static const char *const nothing[] = {NULL};

/* Sockets are left out, devices and pipes are not opened, holes are not filled, whiteouts of nothing go. */
static void odd_files(void **state)
{
    static const char *const dirs[] = {"odd", NULL};
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "odd/socket"};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct err err = ERR_INIT;
    struct stat st, other;
    char value;

    (void)state;
    if (!usable)
        skip();
    shell("mkdir odd && mkfifo odd/pipe && mknod odd/watchdog c 10 130 && mknod odd/gone c 0 0 && mkdir odd/dir && "
          "truncate -s 2G odd/hole && echo end >>odd/hole && echo 1 >odd/first && ln odd/first odd/dir/second && "
          "ln -s /etc/passwd odd/link && chmod 2750 odd/dir");
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(setxattr("odd/dir", "trusted.overlay.opaque", "y", 1, 0), 0);
    assert_int_equal(setxattr("odd/dir", "trusted.overlay.redirect", "/etc", 4, 0), 0);
    assert_int_equal(setxattr("odd/dir", "trusted.overlay.overlay.opaque", "x", 1, 0), 0);
    if (fold(dirs, nothing, "folded", &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(stat("folded/socket", &st), -1);
    assert_int_equal(lstat("folded/gone", &st), -1);
    assert_int_equal(stat("folded/pipe", &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(stat("folded/watchdog", &st), 0);
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0xa82);
    assert_int_equal(stat("folded/hole", &st), 0);
    assert_true(st.st_size == (2LL << 30) + 4 && st.st_blocks < 100);
    assert_int_equal(stat("folded/first", &st), 0);
    assert_int_equal(stat("folded/dir/second", &other), 0);
    assert_true(st.st_ino == other.st_ino && st.st_nlink == 2);
    assert_int_equal(lstat("folded/link", &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(stat("folded/dir", &st), 0);
    assert_int_equal(st.st_mode & 07777, 02750);
    assert_int_equal(getxattr("folded/dir", "trusted.overlay.opaque", &value, 1), 1);
    assert_int_equal(getxattr("folded/dir", "trusted.overlay.redirect", NULL, 0), -1);
    assert_int_equal(getxattr("folded/dir", "trusted.overlay.overlay.opaque", &value, 1), 1);
    shell("rm -rf odd folded");
}

static void *play_tricks(void *arg)
{
    const atomic_bool *over = arg;

    while (!atomic_load(over)) {
        rename("race/real", "race/aside");
        symlink("/etc", "race/real");
        unlink("race/real");
        rename("race/aside", "race/real");
        unlink("race/file");
        symlink("/etc/passwd", "race/file");
        rename("race/link.tmp", "race/file");
        truncate("race/real/size", 0);
        truncate("race/real/size", 1 << 20);
        mkdir("race/dir", 0755);
        rmdir("race/dir");
    }
    return NULL;
}

/* A container that changes things under our hands gets some copy of its own things, and nothing of ours. */
static void tricks(void **state)
{
    static const char *const dirs[] = {"race", NULL};
    static const char *const ours[] = {"folded/real/passwd", "folded/real/hostname"};
    atomic_bool over = false;
    pthread_t thread;

    (void)state;
    if (!usable)
        skip();
    shell("mkdir -p race/real && echo mine >race/real/hostname.own && echo size >race/real/size");
    assert_int_equal(pthread_create(&thread, NULL, play_tricks, &over), 0);
    for (int i = 0; i < 300; i++) {
        struct err err = ERR_INIT;
        struct stat st;

        if (fold(dirs, nothing, "folded", &err) < 0)
            fail_msg("%s", err.msg);
        for (size_t k = 0; k < 2; k++)
            if (lstat("folded/real", &st) == 0 && S_ISDIR(st.st_mode))
                assert_int_equal(stat(ours[k], &st), -1);
        assert_false(lstat("folded/file", &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0);
        shell("rm -rf folded");
    }
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    shell("rm -rf race");
}

static void is_given_up(void **state)
{
    cleanup_strlist struct strlist dirs = STRLIST_INIT;
    atomic_bool cancelled = true;
    struct img_fold f = {.dirs = &dirs, .cancelled = &cancelled};
    struct err err = ERR_INIT;
    int64_t size = 7;

    (void)state;
    if (!usable)
        skip();
    shell("mkdir from to && echo 1 >from/1");
    strlist_add(&dirs, "from");
    assert_int_equal(img_fold_weigh("from", &cancelled), -1);
    assert_int_equal(img_fold(&f, "to", &size, &err), -1);
    assert_int_equal(size, 7);
    assert_string_equal(err.msg, "cancelled");
    err_clear(&err);
    shell("rm -rf from to");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_the_kernel),
        cmocka_unit_test(odd_files),
        cmocka_unit_test(tricks),
        cmocka_unit_test(is_given_up),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
