/* link: atp_bsync atp_tsync atp_sys atp_base */
#include "tests/unit/sync_rig.h"

/* A tree with one of everything and every odd name. */
static void make_odd_tree(int d)
{
    char name[256];

    rig_mkdir(d, "empty");
    rig_mkdir(d, "src");
    rig_mkdir(d, "src/deep");
    rig_text(d, "src/a.c", "int a;\n");
    rig_text(d, "src/deep/b", "");
    rig_text(d, "src-a", "sorts between src and src/ by bytes");
    rig_text(d, "new\nline", "newline");
    rig_text(d, "tab\tand 'quotes' \"both\" \\", "quotes");
    rig_text(d, "\xff\xfe not utf-8", "bytes");
    rig_text(d, "-rf", "dash");
    rig_text(d, " ", "space");
    rig_text(d, "...", "dots");
    rig_text(d, ".hidden", "hidden");
    memset(name, 'x', 255);
    name[255] = '\0';
    rig_text(d, name, "longest name");
    assert_int_equal(symlinkat("src/a.c", d, "link"), 0);
    assert_int_equal(symlinkat("/etc/passwd", d, "absolute"), 0);
    assert_int_equal(symlinkat("../../../../escape", d, "escaping"), 0);
    assert_int_equal(symlinkat("no such\nthing", d, "src/dangling"), 0);
    assert_int_equal(linkat(d, "src/a.c", d, "hard1", 0), 0);
    assert_int_equal(linkat(d, "src/a.c", d, "src/deep/hard2", 0), 0);
    rig_text(d, "tool", "#!/bin/sh\n");
    assert_int_equal(fchmodat(d, "tool", 04755, 0), 0);
    assert_int_equal(fchmodat(d, "empty", 01777, 0), 0);
    rig_text(d, "secret", "s");
    assert_int_equal(fchmodat(d, "secret", 0, 0), 0);
    rig_mkdir(d, "readonly");
    rig_text(d, "readonly/file", "r");
    assert_int_equal(fchmodat(d, "readonly", 0555, 0), 0);
    rig_mtime(d, "src/a.c", 1000000000, 123456789);
    rig_mtime(d, "-rf", -5, 999999999);
    rig_mtime(d, "link", 1234567890, 1);
    rig_mtime(d, "src/deep", 1500000000, 7);
    rig_mtime(d, "src", 1400000000, 8);
    rig_mtime(d, ".", 1300000000, 9);
}

/* Everything arrives, and a second and third exchange find nothing to do and change nothing. */
static void everything_travels(void **state)
{
    struct side host = side_new(), box = side_new();
    struct sync_report report;
    struct exchange x = {0};
    char *before, *after;

    (void)state;
    make_odd_tree(host.dirfd);
    rig_mkdir(box.dirfd, "was here");
    rig_text(box.dirfd, "was here/before", "x");
    rig_mkdir(box.dirfd, "link");
    rig_text(box.dirfd, "link/file", "x");
    rig_text(box.dirfd, "src", "a file where a directory comes");
    push_first(&host, &box);
    assert_same_tree(&host, &box);
    before = rig_describe(host.dirfd, NULL, true);
    usleep(20000); /* past the clock's grain, so that nothing needs to be read again */
    report = must(&box, &host, PULL(-1));
    sync_report_clear(&report);
    push(&host, &box);
    report = must(&box, &host, PULL(-1));
    assert_int_equal(report.files + report.deleted + report.conflicts + report.bytes, 0);
    assert_null(report.notes);
    assert_int_equal(exchange_run(&host, &box, PUSH, &x), 0);
    assert_int_equal(x.report.files, 0);
    assert_int_equal(x.stats.hashed_files, 0);
    assert_true(x.bytes <= 256);
    exchange_clear(&x);
    after = rig_describe(host.dirfd, NULL, true);
    assert_string_equal(before, after);
    assert_same_tree(&host, &box);
    free(before);
    free(after);
    side_free(&host);
    side_free(&box);
}

/* What make looks at: after push, pull, push no time of any file has moved by a nanosecond. */
static void make_stays_happy(void **state)
{
    struct side host = side_new(), box = side_new();
    struct stat c, o;

    (void)state;
    rig_text(host.dirfd, "a.c", "int a;");
    rig_mtime(host.dirfd, "a.c", 1700000000, 123456788);
    push_first(&host, &box);
    rig_text(box.dirfd, "a.o", "object");
    rig_mtime(box.dirfd, "a.o", 1700000000, 123456789);
    pull(&host, &box);
    push(&host, &box);
    pull(&host, &box);
    for (int i = 0; i < 2; i++) {
        int d = i ? box.dirfd : host.dirfd;

        c = rig_stat(d, "a.c");
        o = rig_stat(d, "a.o");
        assert_int_equal(c.st_mtim.tv_nsec, 123456788);
        assert_int_equal(o.st_mtim.tv_nsec, 123456789);
    }
    assert_same_tree(&host, &box);
    side_free(&host);
    side_free(&box);
}

/* The container's special bits stay in the container; its plain bits and its owner (as root) come. */
static void host_drops_special_bits(void **state)
{
    struct side host = side_new(), box = side_new();
    struct stat st;

    (void)state;
    rig_mkdir(host.dirfd, "shared");
    assert_int_equal(fchmodat(host.dirfd, "shared", 02775, 0), 0);
    push_first(&host, &box);
    assert_int_equal(rig_stat(box.dirfd, "shared").st_mode & 07777, 02775);
    rig_text(box.dirfd, "evil", "x");
    assert_int_equal(fchownat(box.dirfd, "evil", 1234, 5678, 0), geteuid() ? -1 : 0);
    assert_int_equal(fchmodat(box.dirfd, "evil", 06751, 0), 0);
    rig_mkdir(box.dirfd, "sticky");
    assert_int_equal(fchmodat(box.dirfd, "sticky", 01777, 0), 0);
    rig_text(box.dirfd, "shared/new", "x");
    pull(&host, &box);
    st = rig_stat(host.dirfd, "evil");
    assert_int_equal(st.st_mode & 07777, 0751);
    assert_int_equal(st.st_uid, geteuid() ? geteuid() : 1234);
    assert_int_equal(rig_stat(host.dirfd, "sticky").st_mode & 07777, 0777);
    /* The host's own bit, which the container did not touch. */
    assert_int_equal(rig_stat(host.dirfd, "shared").st_mode & 07777, 02775);
    /* And nothing goes back: the container keeps its bits. */
    push(&host, &box);
    assert_int_equal(rig_stat(box.dirfd, "evil").st_mode & 07777, 06751);
    assert_int_equal(rig_stat(box.dirfd, "sticky").st_mode & 07777, 01777);
    side_free(&host);
    side_free(&box);
}

/* The first folder below dir/kind; owned by caller, NULL if there is none. */
static char *batch_of(int keep, const char *kind)
{
    int fd = openat(keep, kind, O_RDONLY | O_DIRECTORY);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    char *found = NULL;

    while (d && (e = readdir(d)))
        if (e->d_name[0] != '.') {
            free(found);
            found = xasprintf("%s/%s", kind, e->d_name);
        }
    if (d)
        closedir(d);
    return found;
}

/* Both changed: the host's stays, the container's is kept, the line says where, and after one more push both agree. */
static void conflict_keeps_both(void **state)
{
    struct side host = side_new(), box = side_new();
    int keep = rig_dir();
    struct sync_report report;
    char *batch, *path, *kept;

    (void)state;
    rig_mkdir(host.dirfd, "d");
    rig_text(host.dirfd, "d/f o'o", "base");
    push_first(&host, &box);
    rig_text(host.dirfd, "d/f o'o", "the host's");
    rig_text(box.dirfd, "d/f o'o", "the container's");
    report = must(&box, &host, PULL(keep));
    assert_int_equal(report.conflicts, 1);
    assert_int_equal(report.notes->len, 1);
    assert_non_null(strstr(report.notes->items[0], "to take it: cp -a "));
    assert_text(host.dirfd, "d/f o'o", "the host's");
    batch = batch_of(keep, "conflicts");
    path = xasprintf("%s/d/f o'o", batch);
    kept = rig_read(keep, path);
    assert_string_equal(kept, "the container's");
    push(&host, &box);
    assert_text(box.dirfd, "d/f o'o", "the host's");
    assert_same_tree(&host, &box);
    /* The command that was printed does what it says. */
    {
        char *command = strstr(report.notes->items[0], "cp -a ");
        char *argv[] = {"sh", "-c", command, NULL};
        pid_t pid = fork();
        int status;

        if (pid == 0) {
            execv("/bin/sh", argv);
            _exit(1);
        }
        waitpid(pid, &status, 0);
        assert_int_equal(status, 0);
        assert_text(host.dirfd, "d/f o'o", "the container's");
    }
    sync_report_clear(&report);
    free(batch);
    free(path);
    free(kept);
    rig_remove(keep);
    side_free(&host);
    side_free(&box);
}

/* The other direction: the host pushes onto a file that the container changed. Nothing is lost there either. */
static void push_onto_a_change_is_no_loss(void **state)
{
    struct side host = side_new(), box = side_new();
    int keep = rig_dir();
    struct sync_report report;
    char *batch, *path;

    (void)state;
    rig_text(host.dirfd, "f", "base");
    push_first(&host, &box);
    rig_text(host.dirfd, "f", "the host's");
    rig_text(box.dirfd, "f", "the container's");
    report = must(&host, &box, PUSH);
    assert_int_equal(report.conflicts, 1);
    assert_text(box.dirfd, "f", "the container's");
    sync_report_clear(&report);
    report = must(&box, &host, PULL(keep));
    assert_int_equal(report.conflicts, 1);
    assert_text(host.dirfd, "f", "the host's");
    sync_report_clear(&report);
    batch = batch_of(keep, "conflicts");
    path = xasprintf("%s/f", batch);
    assert_text(keep, path, "the container's");
    push(&host, &box);
    assert_same_tree(&host, &box);
    free(batch);
    free(path);
    rig_remove(keep);
    side_free(&host);
    side_free(&box);
}

/* conflict=container: the container's comes in place, the host's is kept. conflict=fail: nothing happens at all. */
static void other_conflict_policies(void **state)
{
    struct side host = side_new(), box = side_new();
    int keep = rig_dir();
    struct sync_policy policy = PULL(keep);
    struct exchange x = {0};
    char *batch, *path;

    (void)state;
    rig_text(host.dirfd, "f", "base");
    rig_text(host.dirfd, "g", "base");
    push_first(&host, &box);
    rig_text(host.dirfd, "f", "the host's");
    rig_text(box.dirfd, "f", "the container's");
    rig_text(box.dirfd, "a new one", "new");
    policy.conflict = SYNC_CONFLICT_FAIL;
    assert_int_equal(exchange_run(&box, &host, policy, &x), -1);
    assert_non_null(strstr(x.err.msg, "conflict: f"));
    exchange_clear(&x);
    assert_text(host.dirfd, "f", "the host's");
    assert_false(rig_exists(host.dirfd, "a new one"));
    policy.conflict = SYNC_CONFLICT_CONTAINER;
    x = (struct exchange){0};
    assert_int_equal(exchange_run(&box, &host, policy, &x), 0);
    assert_int_equal(x.report.conflicts, 1);
    exchange_clear(&x);
    assert_text(host.dirfd, "f", "the container's");
    batch = batch_of(keep, "conflicts");
    path = xasprintf("%s/f", batch);
    assert_text(keep, path, "the host's");
    assert_same_tree(&host, &box);
    free(batch);
    free(path);
    rig_remove(keep);
    side_free(&host);
    side_free(&box);
}

/* Deletions: carried out where the host did not touch the file, into the trash; kept where it did. */
static void deletions(void **state)
{
    struct side host = side_new(), box = side_new();
    int keep = rig_dir();
    struct sync_report report;
    char *batch, *path;

    (void)state;
    rig_mkdir(host.dirfd, "d");
    rig_text(host.dirfd, "d/plain", "plain");
    rig_text(host.dirfd, "changed", "base");
    rig_text(host.dirfd, "stays", "stays");
    rig_mkdir(host.dirfd, "mixed");
    rig_text(host.dirfd, "mixed/old", "old");
    push_first(&host, &box);
    beneath_remove_tree(box.dirfd, "d");
    beneath_remove_tree(box.dirfd, "changed");
    beneath_remove_tree(box.dirfd, "mixed");
    rig_text(host.dirfd, "changed", "by the host");
    rig_text(host.dirfd, "mixed/new", "by the host");
    report = must(&box, &host, PULL(keep));
    assert_int_equal(report.deleted, 3);        /* d, d/plain, mixed/old */
    assert_int_equal(report.kept_deletions, 2); /* changed, mixed */
    sync_report_clear(&report);
    assert_false(rig_exists(host.dirfd, "d"));
    assert_text(host.dirfd, "changed", "by the host");
    assert_false(rig_exists(host.dirfd, "mixed/old"));
    assert_text(host.dirfd, "mixed/new", "by the host");
    batch = batch_of(keep, "trash");
    path = xasprintf("%s/d/plain", batch);
    assert_text(keep, path, "plain");
    push(&host, &box);
    assert_same_tree(&host, &box);
    free(batch);
    free(path);
    rig_remove(keep);
    side_free(&host);
    side_free(&box);
}

/* The bulk guard: an emptied root and a mass of deletions are kept, unless the user allowed them; moves are no
 * deletions. */
static void bulk_guard(void **state)
{
    struct side host = side_new(), box = side_new();
    struct sync_policy policy = PULL(-1);
    struct sync_report report;
    char name[32];

    (void)state;
    rig_mkdir(host.dirfd, "d");
    for (int i = 0; i < 210; i++) {
        snprintf(name, sizeof(name), i < 150 ? "d/%d" : "%d", i);
        rig_text(host.dirfd, name, name);
    }
    push_first(&host, &box);
    /* 150 of 210 move: fine. */
    assert_int_equal(renameat(box.dirfd, "d", box.dirfd, "e"), 0);
    report = must(&box, &host, policy);
    assert_int_equal(report.kept_deletions, 0);
    sync_report_clear(&report);
    assert_false(rig_exists(host.dirfd, "d"));
    assert_true(rig_exists(host.dirfd, "e/149"));
    /* 150 of 210 go: kept, and said. */
    beneath_remove_tree(box.dirfd, "e");
    report = must(&box, &host, policy);
    assert_int_equal(report.kept_deletions, 151);
    assert_int_equal(report.notes->len, 1);
    sync_report_clear(&report);
    assert_true(rig_exists(host.dirfd, "e/149"));
    push(&host, &box);
    assert_same_tree(&host, &box);
    /* Allowed. */
    beneath_remove_tree(box.dirfd, "e");
    policy.bulk_delete = true;
    report = must(&box, &host, policy);
    assert_int_equal(report.deleted, 151);
    sync_report_clear(&report);
    assert_false(rig_exists(host.dirfd, "e"));
    /* The root is emptied. */
    policy.bulk_delete = false;
    for (int i = 150; i < 210; i++) {
        snprintf(name, sizeof(name), "%d", i);
        assert_int_equal(unlinkat(box.dirfd, name, 0), 0);
    }
    report = must(&box, &host, policy);
    assert_int_equal(report.kept_deletions, 60);
    sync_report_clear(&report);
    assert_true(rig_exists(host.dirfd, "150"));
    side_free(&host);
    side_free(&box);
}

/* Without an ancestor nothing on the host is deleted or overwritten. */
static void no_ancestor_no_harm(void **state)
{
    struct side host = side_new(), box = side_new();
    int keep = rig_dir();
    struct sync_report report;

    (void)state;
    rig_text(host.dirfd, "mine", "mine");
    rig_text(host.dirfd, "both", "mine");
    rig_text(host.dirfd, "same", "same");
    rig_text(box.dirfd, "both", "theirs");
    rig_text(box.dirfd, "same", "same");
    rig_text(box.dirfd, "theirs", "theirs");
    report = must(&box, &host, PULL(keep));
    assert_int_equal(report.conflicts, 1);
    assert_int_equal(report.deleted, 0);
    sync_report_clear(&report);
    assert_text(host.dirfd, "mine", "mine");
    assert_text(host.dirfd, "both", "mine");
    assert_text(host.dirfd, "theirs", "theirs");
    rig_remove(keep);
    side_free(&host);
    side_free(&box);
}

/* Files become directories, directories become links, and all of it the other way round. */
static void type_swaps(void **state)
{
    struct side host = side_new(), box = side_new();

    (void)state;
    rig_text(host.dirfd, "file-dir", "f");
    rig_text(host.dirfd, "file-link", "f");
    rig_mkdir(host.dirfd, "dir-file");
    rig_text(host.dirfd, "dir-file/x", "x");
    rig_mkdir(host.dirfd, "dir-link");
    rig_text(host.dirfd, "dir-link/x", "x");
    assert_int_equal(symlinkat("a", host.dirfd, "link-file"), 0);
    assert_int_equal(symlinkat("/etc", host.dirfd, "link-dir"), 0);
    push_first(&host, &box);
    for (int round = 0; round < 2; round++) {
        static const char *const names[] = {"file-dir", "file-link", "dir-file", "dir-link", "link-file", "link-dir"};
        struct side *from = round ? &host : &box, *to = round ? &box : &host;

        for (size_t i = 0; i < 6; i++)
            assert_int_equal(beneath_remove_tree(from->dirfd, names[i]), 0);
        for (size_t i = 0; i < 6; i++) {
            const char *kind = strchr(names[i], '-') + 1;
            char *child = xasprintf("%s/new", names[i]);

            if (round)
                kind = i < 2 ? "link" : i < 4 ? "dir" : "file";
            if (!strcmp(kind, "file"))
                rig_text(from->dirfd, names[i], "swapped");
            else if (!strcmp(kind, "link"))
                assert_int_equal(symlinkat("swapped", from->dirfd, names[i]), 0);
            else
                rig_mkdir(from->dirfd, names[i]), rig_text(from->dirfd, child, "in new dir");
            free(child);
        }
        if (round)
            push(from, to);
        else
            pull(to, from);
        assert_same_tree(&host, &box);
    }
    side_free(&host);
    side_free(&box);
}

/* A directory became a file in the container while the host put something into it: both survive. */
static void swap_against_a_change(void **state)
{
    struct side host = side_new(), box = side_new();
    int keep = rig_dir();
    struct sync_report report;
    char *batch, *path;

    (void)state;
    rig_mkdir(host.dirfd, "d");
    rig_text(host.dirfd, "d/x", "x");
    rig_text(host.dirfd, "f", "f");
    push_first(&host, &box);
    beneath_remove_tree(box.dirfd, "d");
    rig_text(box.dirfd, "d", "now a file");
    beneath_remove_tree(box.dirfd, "f");
    rig_mkdir(box.dirfd, "f");
    rig_text(box.dirfd, "f/in", "inside");
    rig_text(host.dirfd, "d/y", "the host's");
    rig_text(host.dirfd, "f", "the host's");
    report = must(&box, &host, PULL(keep));
    assert_int_equal(report.conflicts, 3); /* d, f, f/in */
    sync_report_clear(&report);
    assert_text(host.dirfd, "d/y", "the host's");
    assert_text(host.dirfd, "f", "the host's");
    batch = batch_of(keep, "conflicts");
    path = xasprintf("%s/d", batch);
    assert_text(keep, path, "now a file");
    free(path);
    path = xasprintf("%s/f/in", batch);
    assert_text(keep, path, "inside");
    push(&host, &box);
    assert_same_tree(&host, &box);
    free(batch);
    free(path);
    rig_remove(keep);
    side_free(&host);
    side_free(&box);
}

/* Names of one file stay names of one file, through writing in place, replacing, regrouping and separating. */
static void hard_links(void **state)
{
    struct side host = side_new(), box = side_new();

    (void)state;
    rig_text(host.dirfd, "a", "one");
    assert_int_equal(linkat(host.dirfd, "a", host.dirfd, "b", 0), 0);
    assert_int_equal(linkat(host.dirfd, "a", host.dirfd, "c", 0), 0);
    push_first(&host, &box);
    assert_same_tree(&host, &box);
    assert_int_equal(rig_stat(box.dirfd, "a").st_ino, rig_stat(box.dirfd, "c").st_ino);
    rig_text(box.dirfd, "b", "written in place");
    pull(&host, &box);
    assert_text(host.dirfd, "c", "written in place");
    assert_same_tree(&host, &box);
    assert_int_equal(unlinkat(box.dirfd, "b", 0), 0);
    rig_text(box.dirfd, "b", "a file of its own");
    pull(&host, &box);
    assert_same_tree(&host, &box);
    assert_int_equal(unlinkat(box.dirfd, "a", 0), 0);
    assert_int_equal(linkat(box.dirfd, "c", box.dirfd, "d", 0), 0);
    pull(&host, &box);
    assert_same_tree(&host, &box);
    assert_int_equal(unlinkat(box.dirfd, "d", 0), 0);
    rig_text(box.dirfd, "d", "written in place"); /* the same content, but a file of its own */
    pull(&host, &box);
    assert_int_not_equal(rig_stat(host.dirfd, "c").st_ino, rig_stat(host.dirfd, "d").st_ino);
    assert_same_tree(&host, &box);
    side_free(&host);
    side_free(&box);
}

/* A name outside the tree still shows what the container wrote in place. */
static void links_out_of_the_tree(void **state)
{
    struct side host = side_new(), box = side_new();
    int store = rig_dir();

    (void)state;
    rig_text(store, "pnpm", "base");
    assert_int_equal(linkat(store, "pnpm", host.dirfd, "f", 0), 0);
    push_first(&host, &box);
    rig_text(box.dirfd, "f", "in place");
    pull(&host, &box);
    assert_text(store, "pnpm", "in place");
    assert_same_tree(&host, &box);
    rig_remove(store);
    side_free(&host);
    side_free(&box);
}

/* A mount of one file keeps its inode on the host, whatever it is called there. */
static void single_file(void **state)
{
    struct side host = side_new(), box = side_new();
    struct sync_report report;
    struct stat before;

    (void)state;
    host.file = "a.conf";
    box.file = "other name.conf";
    rig_text(host.dirfd, "a.conf", "base, rather long");
    rig_text(host.dirfd, "neighbour", "not shared");
    assert_int_equal(symlinkat("/etc/hostname", box.dirfd, "other name.conf"), 0);
    push_first(&host, &box);
    assert_text(box.dirfd, "other name.conf", "base, rather long");
    assert_false(rig_exists(box.dirfd, "neighbour"));
    before = rig_stat(host.dirfd, "a.conf");
    rig_text(box.dirfd, "other name.conf", "short");
    rig_mtime(box.dirfd, "other name.conf", 1600000000, 42);
    pull(&host, &box);
    assert_text(host.dirfd, "a.conf", "short");
    assert_int_equal(rig_stat(host.dirfd, "a.conf").st_ino, before.st_ino);
    assert_int_equal(rig_stat(host.dirfd, "a.conf").st_mtim.tv_nsec, 42);
    /* As docker cannot remove a mount point, its absence means nothing. */
    assert_int_equal(unlinkat(box.dirfd, "other name.conf", 0), 0);
    report = must(&box, &host, PULL(-1));
    sync_report_clear(&report);
    assert_text(host.dirfd, "a.conf", "short");
    side_free(&host);
    side_free(&box);
}

/* Excluded paths are not looked at, not touched, and never look like deletions. */
static void exclusions(void **state)
{
    struct side host = side_new(), box = side_new();
    struct strlist exclude = STRLIST_INIT;
    struct sync_policy policy = PUSH_FIRST;
    struct sync_report report;

    (void)state;
    rig_mkdir(host.dirfd, "node_modules");
    rig_text(host.dirfd, "node_modules/x", "x");
    rig_text(host.dirfd, "f", "f");
    report = must(&host, &box, policy);
    sync_report_clear(&report);
    strlist_add(&exclude, "node_modules");
    policy = PUSH;
    policy.exclude = &exclude;
    rig_text(host.dirfd, "node_modules/y", "y");
    report = must(&host, &box, policy);
    sync_report_clear(&report);
    assert_true(rig_exists(box.dirfd, "node_modules/x"));
    assert_false(rig_exists(box.dirfd, "node_modules/y"));
    rig_text(box.dirfd, "node_modules/z", "z");
    beneath_remove_tree(box.dirfd, "node_modules/x");
    policy = PULL(-1);
    policy.exclude = &exclude;
    report = must(&box, &host, policy);
    sync_report_clear(&report);
    assert_true(rig_exists(host.dirfd, "node_modules/x"));
    assert_false(rig_exists(host.dirfd, "node_modules/z"));
    strlist_clear(&exclude);
    side_free(&host);
    side_free(&box);
}

/* A line on stderr when the container changes what tools on this machine run. */
static void risky_files_are_named(void **state)
{
    struct side host = side_new(), box = side_new();
    struct sync_report report;

    (void)state;
    rig_mkdir(host.dirfd, ".git");
    rig_mkdir(host.dirfd, ".git/hooks");
    push_first(&host, &box);
    rig_text(box.dirfd, ".git/hooks/pre-commit", "#!/bin/sh");
    rig_text(box.dirfd, ".envrc", "x");
    report = must(&box, &host, PULL(-1));
    assert_int_equal(report.notes->len, 1);
    assert_non_null(strstr(report.notes->items[0], "1 more files"));
    sync_report_clear(&report);
    side_free(&host);
    side_free(&box);
}

/* Special files are counted and do not stop anything. */
static void special_files(void **state)
{
    struct side host = side_new(), box = side_new();
    struct exchange x = {0};

    (void)state;
    assert_int_equal(mkfifoat(host.dirfd, "fifo", 0600), 0);
    rig_text(host.dirfd, "f", "f");
    assert_int_equal(exchange_run(&host, &box, PUSH_FIRST, &x), 0);
    assert_int_equal(x.stats.skipped_special, 1);
    assert_false(rig_exists(box.dirfd, "fifo"));
    exchange_clear(&x);
    side_free(&host);
    side_free(&box);
}

/* A sender and a receiver that disagree about the past find out before anything is written. */
static void stale_base(void **state)
{
    struct side host = side_new(), box = side_new();
    struct exchange x = {0};

    (void)state;
    rig_text(host.dirfd, "f", "f");
    push_first(&host, &box);
    manifest_clear(&box.agreed);
    rig_text(host.dirfd, "f", "changed");
    assert_int_equal(exchange_run(&host, &box, PUSH, &x), -1);
    assert_int_equal(x.err.code, ESTALE);
    assert_text(box.dirfd, "f", "f");
    exchange_clear(&x);
    /* A full exchange mends it. */
    x = (struct exchange){.full = true};
    assert_int_equal(exchange_run(&host, &box, PUSH, &x), 0);
    exchange_clear(&x);
    side_free(&host);
    side_free(&box);
}

/* A full listing against an ancestor still knows what was deleted. */
static void full_with_ancestor(void **state)
{
    struct side host = side_new(), box = side_new();
    struct exchange x = {.full = true};

    (void)state;
    rig_mkdir(host.dirfd, "d");
    rig_text(host.dirfd, "d/gone", "x");
    rig_text(host.dirfd, "changed", "x");
    rig_text(host.dirfd, "same", "x");
    push_first(&host, &box);
    beneath_remove_tree(host.dirfd, "d");
    rig_text(host.dirfd, "changed", "y");
    rig_text(box.dirfd, "own", "the container's");
    assert_int_equal(exchange_run(&host, &box, PUSH, &x), 0);
    assert_false(rig_exists(box.dirfd, "d"));
    assert_text(box.dirfd, "changed", "y");
    assert_text(box.dirfd, "own", "the container's");
    exchange_clear(&x);
    pull(&host, &box);
    assert_same_tree(&host, &box);
    side_free(&host);
    side_free(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_travels),
        cmocka_unit_test(make_stays_happy),
        cmocka_unit_test(host_drops_special_bits),
        cmocka_unit_test(conflict_keeps_both),
        cmocka_unit_test(push_onto_a_change_is_no_loss),
        cmocka_unit_test(other_conflict_policies),
        cmocka_unit_test(deletions),
        cmocka_unit_test(bulk_guard),
        cmocka_unit_test(no_ancestor_no_harm),
        cmocka_unit_test(type_swaps),
        cmocka_unit_test(swap_against_a_change),
        cmocka_unit_test(hard_links),
        cmocka_unit_test(links_out_of_the_tree),
        cmocka_unit_test(single_file),
        cmocka_unit_test(exclusions),
        cmocka_unit_test(risky_files_are_named),
        cmocka_unit_test(special_files),
        cmocka_unit_test(stale_base),
        cmocka_unit_test(full_with_ancestor),
    };

    umask(022);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
