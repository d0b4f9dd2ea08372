/* link: atp_bsync atp_tsync atp_sys atp_base */
/* What must not happen: writing outside, half files, lost data on a full disk, files read in two states. */
#include "backends/sync/keep.h"
#include "tests/unit/sync_rig.h"

#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#define NOBODY 65534

/* ---- racing ---- */

/* Swaps d and d/e in the receiver's tree for links to the outside and back, for ever. */
static _Noreturn void racer(int tree)
{
    char *outside = beneath_fd_path(tree), *link = xasprintf("%s.outside", outside);

    for (unsigned i = 0;; i++) {
        const char *name = i % 2 ? "d" : "d/e", *aside = i % 2 ? "d-aside" : "d/e-aside";

        renameat(tree, name, tree, aside);
        symlinkat(link, tree, name);
        usleep(i % 50);
        unlinkat(tree, name, 0);
        renameat(tree, aside, tree, name);
    }
}

/* Counts what lies below fd; the outside must stay as it was. */
static char *outside_now(int outside)
{
    return rig_describe(outside, NULL, false);
}

static void race(bool walk, time_t seconds)
{
    struct side host = side_new(), box = side_new();
    char *tree = beneath_fd_path(host.dirfd), *path = xasprintf("%s.outside", tree), *before, *after;
    unsigned tries = 0, done = 0;
    time_t end;
    int outside;
    pid_t pid;

    assert_int_equal(mkdir(path, 0755), 0);
    outside = open(path, O_RDONLY | O_DIRECTORY);
    rig_mkdir(outside, "e");
    rig_text(outside, "f", "precious");
    rig_text(outside, "gone", "precious");
    rig_text(outside, "e/f", "precious");
    rig_mkdir(host.dirfd, "d");
    rig_mkdir(host.dirfd, "d/e");
    rig_text(host.dirfd, "d/f", "0");
    push_first(&host, &box);
    before = outside_now(outside);
    beneath_force_walk(walk);
    pid = fork();
    if (pid == 0)
        racer(host.dirfd);
    for (end = time(NULL) + seconds; time(NULL) <= end; tries++) {
        struct exchange x = {.full = true};
        char text[32];

        snprintf(text, sizeof(text), "%u", tries);
        rig_text(box.dirfd, "d/f", text);
        rig_text(box.dirfd, "d/e/f", text);
        rig_text(box.dirfd, "d/gone", text);
        if (tries % 3 == 0)
            unlinkat(box.dirfd, "d/gone", 0);
        assert_true(symlinkat("x", box.dirfd, "d/e/l") == 0 || errno == EEXIST);
        assert_true(linkat(box.dirfd, "d/f", box.dirfd, "d/e/h", 0) == 0 || errno == EEXIST);
        done += exchange_run(&box, &host, PULL(-1), &x) == 0;
        exchange_clear(&x);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    beneath_force_walk(false);
    after = outside_now(outside);
    assert_string_equal(before, after);
    assert_true(tries > 10);
    assert_true(done > 0);
    free(before);
    free(after);
    {
        int tmp = open("/tmp", O_RDONLY | O_DIRECTORY);

        beneath_remove_tree(tmp, path + 5);
        close(tmp);
    }
    close(outside);
    free(path);
    free(tree);
    side_free(&host);
    side_free(&box);
}

static void raced_with_openat2(void **state)
{
    const char *seconds = getenv("ATP_RACE_SECONDS");

    (void)state;
    race(false, seconds ? strtol(seconds, NULL, 10) : 2);
}

static void raced_with_the_walk(void **state)
{
    const char *seconds = getenv("ATP_RACE_SECONDS");

    (void)state;
    race(true, seconds ? strtol(seconds, NULL, 10) : 2);
}

/* The user's own link stands where the container believes a directory: it is neither followed nor replaced. */
static void links_are_not_followed(void **state)
{
    struct side host = side_new(), box = side_new();
    int outside = rig_dir(), keep = rig_dir();
    char *target = beneath_fd_path(outside);
    struct sync_report report;

    (void)state;
    rig_mkdir(host.dirfd, "d");
    rig_text(host.dirfd, "d/f", "base");
    push_first(&host, &box);
    rig_text(outside, "f", "precious");
    beneath_remove_tree(host.dirfd, "d");
    assert_int_equal(symlinkat(target, host.dirfd, "d"), 0);
    rig_text(box.dirfd, "d/f", "changed");
    rig_text(box.dirfd, "d/new", "new");
    report = must(&box, &host, PULL(keep));
    assert_true(report.conflicts >= 2);
    sync_report_clear(&report);
    assert_text(outside, "f", "precious");
    assert_false(rig_exists(outside, "new"));
    assert_true(S_ISLNK(rig_stat(host.dirfd, "d").st_mode));
    free(target);
    rig_remove(outside);
    rig_remove(keep);
    side_free(&host);
    side_free(&box);
}

/* A container that ignores an exclusion does not get around it. */
static void exclusions_bind_the_peer(void **state)
{
    struct side host = side_new(), box = side_new();
    struct sync_tree from = {.dirfd = box.dirfd}, to = {.dirfd = host.dirfd};
    struct strlist exclude = STRLIST_INIT;
    struct sync_policy policy = {.host = true, .keep_dirfd = -1, .exclude = &exclude};
    struct manifest now = MANIFEST_INIT, agreed = MANIFEST_INIT;
    struct exchange x = {0};
    struct sync_sender *s;
    struct sync_receiver *r;

    (void)state;
    rig_mkdir(host.dirfd, ".ssh");
    rig_text(host.dirfd, ".ssh/id", "secret");
    rig_mkdir(box.dirfd, ".ssh");
    rig_text(box.dirfd, ".ssh/authorized_keys", "evil");
    strlist_add(&exclude, ".ssh");
    assert_int_equal(sync_scan(&from, NULL, NULL, &now, NULL, &x.err), 0);
    s = sync_sender_new(&from, NULL, &now);
    r = sync_receiver_new(&to, &policy);
    assert_int_equal(exchange_pump(s, r, &x), 0);
    assert_int_equal(sync_receiver_finish(r, &agreed, &x.report, &x.err), 0);
    assert_false(rig_exists(host.dirfd, ".ssh/authorized_keys"));
    assert_text(host.dirfd, ".ssh/id", "secret");
    sync_sender_free(s);
    sync_receiver_free(r);
    manifest_clear(&now);
    manifest_clear(&agreed);
    exchange_clear(&x);
    strlist_clear(&exclude);
    side_free(&host);
    side_free(&box);
}

/* ---- interruption ---- */

static unsigned count_names(int dirfd)
{
    DIR *d = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY));
    unsigned n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

/* Cut at every tenth byte: the old file or the new one, and not a name more. */
static void cut_anywhere(void **state)
{
    struct side host = side_new(), box = side_new();
    char bytes[3000];
    uint64_t length;
    struct exchange x = {.chunk = 10};

    (void)state;
    rig_text(host.dirfd, "f", "old");
    push_first(&host, &box);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * i * 2654435761u >> 13);
    rig_write(box.dirfd, "f", bytes, sizeof(bytes));
    for (length = 10;; length += 10) {
        struct stat st;
        int status;

        x = (struct exchange){.chunk = 10, .stop_after = length};
        status = exchange_run(&box, &host, PULL(-1), &x);
        exchange_clear(&x);
        st = rig_stat(host.dirfd, "f");
        assert_int_equal(count_names(host.dirfd), 1);
        assert_true(st.st_size == 3 || st.st_size == sizeof(bytes));
        if (status == 0)
            break;
        assert_int_equal(status, 1);
    }
    assert_true(length > sizeof(bytes));
    assert_same_tree(&host, &box);
    side_free(&host);
    side_free(&box);
}

/* What a killed receiver left is swept by the next scan, and a live one's file is neither swept nor sent. */
static void leftovers(void **state)
{
    struct side host = side_new(), box = side_new();
    char name[BENEATH_TEMP_MAX];
    int fd;

    (void)state;
    rig_text(host.dirfd, BENEATH_TEMP_PREFIX "0123456789abcdef", "left by a kill");
    fd = beneath_temp_open(host.dirfd, name);
    push_first(&host, &box);
    assert_int_equal(count_names(box.dirfd), 0);
    assert_int_equal(count_names(host.dirfd), 1);
    assert_true(rig_exists(host.dirfd, name));
    close(fd);
    side_free(&host);
    side_free(&box);
}

/* Much that says the same becomes little: it still comes piece by piece, for its sender has other things to do. */
static void much_for_little(void **state)
{
    struct side host = side_new();
    struct sync_tree from = {.dirfd = host.dirfd};
    struct manifest now = MANIFEST_INIT;
    struct err err = ERR_INIT;
    struct sync_sender *s;
    size_t size = 48u << 20, total = 0, reads = 0;
    char *big = xmalloc(size), bytes[65536];
    ssize_t n;

    (void)state;
    memset(big, 'x', size);
    rig_write(host.dirfd, "big", big, size);
    assert_int_equal(sync_scan(&from, NULL, NULL, &now, NULL, &err), 0);
    s = sync_sender_new(&from, NULL, &now);
    for (; (n = sync_sender_read(s, bytes, sizeof(bytes), &err)) > 0; reads++)
        total += (size_t)n;
    assert_int_equal(n, 0);
    assert_true(total < sizeof(bytes)); /* one read would have held it all */
    assert_true(reads >= size / (8u << 20));
    sync_sender_free(s);
    manifest_clear(&now);
    free(big);
    side_free(&host);
}

/* ---- files that change while they are read ---- */

/* Sends with a disturbance in the middle of the content; how often it comes. */
static void disturbed(unsigned times, bool expect_sent)
{
    struct side host = side_new(), box = side_new();
    struct sync_tree from = {.dirfd = host.dirfd}, to = {.dirfd = box.dirfd};
    struct sync_policy policy = PUSH_FIRST;
    struct manifest now = MANIFEST_INIT, mine = MANIFEST_INIT, theirs = MANIFEST_INIT;
    struct sync_report report = {0};
    struct err err = ERR_INIT;
    struct sync_sender *s;
    struct sync_receiver *r;
    char *big = xcalloc(1, 1 << 20), bytes[5000];
    int64_t total = 0;
    ssize_t n;

    for (size_t i = 0; i < 1 << 20; i++)
        big[i] = (char)(i * i * 2654435761u >> 17);
    rig_write(host.dirfd, "big", big, 1 << 20);
    rig_text(host.dirfd, "later", "x");
    assert_int_equal(sync_scan(&from, NULL, NULL, &now, NULL, &err), 0);
    s = sync_sender_new(&from, NULL, &now);
    r = sync_receiver_new(&to, &policy);
    while ((n = sync_sender_read(s, bytes, sizeof(bytes), &err)) > 0) {
        total += n;
        assert_int_equal(sync_receiver_write(r, bytes, (size_t)n, &err), 0);
        if (times && total > 300000) {
            big[5]++;
            rig_write(host.dirfd, "big", big, (1 << 20) - times);
            times--;
            /* Once for each time that the file is read. */
            total -= 1 << 20;
        }
    }
    assert_int_equal(n, 0);
    assert_int_equal(sync_receiver_finish(r, &theirs, &report, &err), 0);
    sync_sender_agreed(s, &mine);
    assert_int_equal(rig_exists(box.dirfd, "big"), expect_sent);
    assert_int_equal(manifest_find(&mine, "big") != NULL, expect_sent);
    assert_int_equal(manifest_find(&theirs, "big") != NULL, expect_sent);
    assert_text(box.dirfd, "later", "x");
    if (expect_sent)
        assert_same_tree(&host, &box);
    host.has_agreed = box.has_agreed = true;
    manifest_move(&host.agreed, &mine);
    manifest_move(&box.agreed, &theirs);
    /* And what was left out comes with the next exchange. */
    push(&host, &box);
    assert_same_tree(&host, &box);
    sync_sender_free(s);
    sync_receiver_free(r);
    manifest_clear(&now);
    sync_report_clear(&report);
    free(big);
    side_free(&host);
    side_free(&box);
}

static void moving_files(void **state)
{
    (void)state;
    disturbed(0, true);
    disturbed(1, true);
    disturbed(2, true);
    disturbed(3, false);
}

/* Rule 4: a file written twice within the clock's grain, with the same size, is seen the second time as well. */
static void racy_writes(void **state)
{
    struct side host = side_new(), box = side_new();

    (void)state;
    rig_text(host.dirfd, "f", "....");
    push_first(&host, &box);
    for (int i = 0; i < 300; i++) {
        char text[8];

        snprintf(text, sizeof(text), "%04d", i);
        rig_text(host.dirfd, "f", text);
        push(&host, &box);
        assert_text(box.dirfd, "f", text);
    }
    side_free(&host);
    side_free(&box);
}

/* ---- large things ---- */

/* Ten gigabytes with one megabyte of data cost about that, in bytes, on disk, in time and in memory. */
static void sparse_file(void **state)
{
    struct side host = side_new(), box = side_new();
    struct exchange x = {0};
    static char data[1 << 19];
    struct rusage before, after;
    struct stat st;
    int fd = openat(host.dirfd, "disk.img", O_RDWR | O_CREAT, 0644);

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * i * 2654435761u >> 17);
    assert_int_equal(pwrite(fd, data, sizeof(data), 3ll << 30), sizeof(data));
    assert_int_equal(pwrite(fd, data, sizeof(data), (9ll << 30) + 12345), sizeof(data));
    assert_int_equal(ftruncate(fd, 10ll << 30), 0);
    close(fd);
    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(exchange_run(&host, &box, PUSH_FIRST, &x), 0);
    getrusage(RUSAGE_SELF, &after);
    assert_true(x.bytes <= 1200 << 10);
    assert_true(after.ru_maxrss - before.ru_maxrss < 32 << 10);
    st = rig_stat(box.dirfd, "disk.img");
    assert_int_equal(st.st_size, 10ll << 30);
    assert_true((long long)st.st_blocks * 512 < 4 << 20);
    assert_same_tree(&host, &box);
    exchange_clear(&x);
    side_free(&host);
    side_free(&box);
}

/* A full disk: an error that names the file, the old file in place, no temporary one. In a mount of the test's own. */
static void full_disk(void **state)
{
    struct side box = side_new();
    pid_t pid;
    int status;

    (void)state;
    if (geteuid() != 0)
        skip();
    pid = fork();
    if (pid == 0) {
        char *path = beneath_fd_path(box.dirfd), *mounted = xasprintf("%s/mnt", path);
        struct side host = side_new();
        static char big[4 << 20];
        struct exchange x = {0};
        int ok = 0;

        if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mkdir(mounted, 0755) < 0 || mount("tmpfs", mounted, "tmpfs", 0, "size=1m") < 0)
            _exit(77);
        box.dirfd = open(mounted, O_RDONLY | O_DIRECTORY);
        rig_text(host.dirfd, "big", "old");
        push_first(&host, &box);
        for (size_t i = 0; i < sizeof(big); i++)
            big[i] = (char)(i * i * 2654435761u >> 17);
        rig_write(host.dirfd, "big", big, sizeof(big));
        for (int explicit_limit = 0; explicit_limit < 2; explicit_limit++) {
            struct sync_policy policy = PUSH;

            policy.max_bytes = explicit_limit ? UINT64_MAX : 0;
            x = (struct exchange){0};
            ok += exchange_run(&host, &box, policy, &x) == -1 && strstr(x.err.msg, "big") != NULL &&
                  rig_stat(box.dirfd, "big").st_size == 3 && count_names(box.dirfd) == 1;
            exchange_clear(&x);
        }
        side_free(&host);
        _exit(ok == 2 ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77);
    side_free(&box);
}

/* ---- as an ordinary user ---- */

/* The whole of it without privilege: owners are the user's, folders and files that may not be written are dealt with.
 */
static int as_nobody(int host_fd, int box_fd)
{
    struct side host = {.dirfd = host_fd, .agreed = MANIFEST_INIT}, box = {.dirfd = box_fd, .agreed = MANIFEST_INIT};
    int bad = 0;

    rig_mkdir(host.dirfd, "ro");
    rig_text(host.dirfd, "ro/f", "1");
    rig_text(host.dirfd, "ro/locked", "1");
    fchmodat(host.dirfd, "ro/locked", 0400, 0);
    fchmodat(host.dirfd, "ro", 0555, 0);
    rig_mtime(host.dirfd, "ro", 1500000000, 5);
    push_first(&host, &box);
    bad |= rig_stat(box.dirfd, "ro").st_uid != NOBODY || rig_stat(box.dirfd, "ro").st_mtim.tv_nsec != 5;
    fchmodat(box.dirfd, "ro", 0755, 0);
    rig_text(box.dirfd, "ro/g", "new");
    unlinkat(box.dirfd, "ro/f", 0);
    unlinkat(box.dirfd, "ro/locked", 0);
    rig_text(box.dirfd, "ro/locked", "2");
    fchmodat(box.dirfd, "ro/locked", 0400, 0);
    fchmodat(box.dirfd, "ro", 0555, 0);
    rig_mtime(box.dirfd, "ro", 1500000001, 6);
    pull(&host, &box);
    push(&host, &box);
    pull(&host, &box);
    assert_same_tree(&host, &box);
    bad |= (rig_stat(host.dirfd, "ro").st_mode & 07777) != 0555 || rig_exists(host.dirfd, "ro/f");
    bad |= rig_stat(host.dirfd, "ro").st_mtim.tv_nsec != 6;
    manifest_clear(&host.agreed);
    manifest_clear(&box.agreed);
    return bad;
}

static void ordinary_user(void **state)
{
    int host = rig_dir(), box = rig_dir(), status;
    pid_t pid;

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(fchown(host, NOBODY, NOBODY) | fchown(box, NOBODY, NOBODY), 0);
    pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))
            _exit(2);
        _exit(as_nobody(host, box));
    }
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    rig_remove(host);
    rig_remove(box);
}

/* The trash keeps the newest batches that fit, and nothing else in the folder is touched. */
static void trash_is_bounded(void **state)
{
    int dir = rig_dir(), from = rig_dir();
    static char bytes[64 << 10];
    char *newest = NULL;

    (void)state;
    rig_mkdir(dir, "conflicts");
    rig_text(dir, "conflicts/mine", "kept");
    for (int i = 0; i < 5; i++) {
        struct keep *k = keep_new(dir);

        rig_write(from, "f", bytes, sizeof(bytes));
        assert_int_equal(keep_move(k, KEEP_TRASH, "some/where/f", from, "f"), 0);
        assert_false(rig_exists(from, "f"));
        keep_prune_trash(k, 200 << 10);
        free(newest);
        newest = keep_where(k, KEEP_TRASH, "some/where/f");
        assert_int_equal(access(newest, F_OK), 0);
        keep_free(k);
    }
    {
        int trash = openat(dir, "trash", O_RDONLY | O_DIRECTORY);

        assert_int_equal(count_names(trash), 2);
        close(trash);
    }
    assert_int_equal(access(newest, F_OK), 0);
    assert_text(dir, "conflicts/mine", "kept");
    free(newest);
    rig_remove(dir);
    rig_remove(from);
}

/* ---- ancestors ---- */

static void ancestors(void **state)
{
    struct side s = side_new();
    int dir = rig_dir(), fd;
    struct sync_tree tree = {.dirfd = s.dirfd};
    struct manifest m = MANIFEST_INIT, back = MANIFEST_INIT;
    uint8_t nonce[SYNC_NONCE_LEN] = "0123456789abcde", got[SYNC_NONCE_LEN];
    struct err err = ERR_INIT;
    uint64_t generation = 0;
    struct stat st;

    (void)state;
    rig_text(s.dirfd, "f", "x");
    assert_int_equal(sync_scan(&tree, NULL, NULL, &m, NULL, &err), 0);
    assert_int_equal(sync_ancestor_load(dir, "key", got, &generation, &back, &err), 0);
    assert_int_equal(sync_ancestor_save(dir, "key", nonce, 1, &m, &err), 0);
    assert_int_equal(sync_ancestor_save(dir, "key", nonce, 1ull << 40, &m, &err), 0);
    assert_int_equal(count_names(dir), 1);
    assert_int_equal(sync_ancestor_load(dir, "key", got, &generation, &back, &err), 1);
    assert_memory_equal(got, nonce, sizeof(nonce));
    assert_int_equal(generation, 1ull << 40);
    assert_int_equal(back.len, m.len);
    assert_int_equal(back.entries[1].ino, m.entries[1].ino);
    /* Damaged, cut, or of another kind: as if there were none. */
    st = rig_stat(dir, "key");
    for (off_t at = 0; at < st.st_size; at += 3) {
        char byte;

        fd = openat(dir, "key", O_RDWR);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_int_equal(sync_ancestor_load(dir, "key", got, &generation, &back, &err), 0);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
    }
    fd = openat(dir, "key", O_RDWR);
    assert_int_equal(ftruncate(fd, st.st_size - 1), 0);
    close(fd);
    assert_int_equal(sync_ancestor_load(dir, "key", got, &generation, &back, &err), 0);
    assert_int_equal(sync_ancestor_save(dir, "../key", nonce, 1, &m, &err), -1);
    err_clear(&err);
    manifest_clear(&m);
    manifest_clear(&back);
    rig_remove(dir);
    side_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raced_with_openat2),
        cmocka_unit_test(raced_with_the_walk),
        cmocka_unit_test(links_are_not_followed),
        cmocka_unit_test(exclusions_bind_the_peer),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(leftovers),
        cmocka_unit_test(much_for_little),
        cmocka_unit_test(moving_files),
        cmocka_unit_test(racy_writes),
        cmocka_unit_test(sparse_file),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(ordinary_user),
        cmocka_unit_test(trash_is_bounded),
        cmocka_unit_test(ancestors),
    };

    umask(022);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
