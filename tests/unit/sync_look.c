/* link: atp_bsync atp_tsync atp_sys atp_base */
/*
 * The look ahead of a scan: any number of threads sees the same tree, and none of them ever leaves it or holds more
 * than it may.
 */
#include "backends/sync/look.h"
#include "compat/base/limits.h"
#include "tests/unit/sync_rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

/* A tree of a few hundred directories: wide and flat, narrow and long, with links, a fifo and odd names. */
static void grow(int root)
{
    char path[256];

    for (int i = 0; i < 60; i++) {
        snprintf(path, sizeof(path), "d%d", i);
        rig_mkdir(root, path);
        for (int k = 0; k < i % 7; k++) {
            snprintf(path, sizeof(path), "d%d/sub%d", i, k);
            rig_mkdir(root, path);
            snprintf(path, sizeof(path), "d%d/sub%d/f", i, k);
            rig_text(root, path, path);
        }
        for (int k = 0; k < i % 5; k++) {
            snprintf(path, sizeof(path), "d%d/f-%d", i, k);
            rig_text(root, path, path);
        }
    }
    assert_int_equal(symlinkat("../d2", root, "d1/link"), 0);
    assert_int_equal(linkat(root, "d4/f-1", root, "d9/name", 0), 0);
    assert_int_equal(mkfifoat(root, "d3/fifo", 0600), 0);
    rig_text(root, "d3/ new\nline", "x");
    rig_text(root, "d3/.hidden", "x");
    rig_text(root, "d3/\xff\xfe", "x");
    rig_text(root, "d3.x", "sorts between d3 and d3/f");
    rig_text(root, "d5/.atp-tmp-0000000000000000", "of somebody who is gone");
}

/* One directory in the other, `depth` deep; each with a file. */
static void dig(int root, unsigned depth)
{
    int dir = dup(root);

    for (unsigned i = 0; i < depth; i++) {
        int next;

        rig_mkdir(dir, "d");
        rig_text(dir, "f", "x");
        next = openat(dir, "d", O_RDONLY | O_DIRECTORY);
        assert_true(next >= 0);
        close(dir);
        dir = next;
    }
    close(dir);
}

static void scan(int root, const struct strlist *exclude, unsigned threads, struct manifest *ret,
                 struct sync_scan_stats *ret_stats)
{
    struct sync_tree tree = {.dirfd = root};
    struct err err = ERR_INIT;

    look_force_threads(threads);
    if (sync_scan(&tree, NULL, exclude, ret, ret_stats, &err) < 0)
        fail_msg("%s", err.msg);
    look_force_threads(0);
}

static void assert_same(const struct manifest *a, const struct manifest *b)
{
    assert_int_equal(a->len, b->len);
    for (size_t i = 0; i < a->len; i++) {
        const struct manifest_entry *x = &a->entries[i], *y = &b->entries[i];

        assert_string_equal(x->path, y->path);
        assert_int_equal(x->group, y->group);
        assert_int_equal(x->ino, y->ino);
        assert_int_equal(x->mode, y->mode);
        assert_true(manifest_same_content(x, y));
    }
}

static size_t open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void every_number_of_threads_sees_the_same(void **state)
{
    int root = rig_dir();
    struct manifest one = MANIFEST_INIT, m = MANIFEST_INIT;
    struct sync_scan_stats stats;
    size_t before = open_descriptors();

    (void)state;
    grow(root);
    scan(root, NULL, 1, &one, &stats);
    assert_int_equal(stats.skipped_special, 1);
    assert_false(rig_exists(root, "d5/.atp-tmp-0000000000000000"));
    assert_non_null(manifest_find(&one, "d3/ new\nline"));
    assert_string_equal(manifest_find(&one, "d1/link")->link, "../d2");
    assert_int_equal(manifest_find(&one, "d9/name")->group, manifest_find(&one, "d4/f-1")->group);
    for (int i = 0; i < 40; i++) {
        scan(root, NULL, (unsigned)(i % 5), &m, NULL);
        assert_same(&one, &m);
    }
    assert_int_equal(open_descriptors(), before);
    manifest_clear(&m);
    manifest_clear(&one);
    rig_remove(root);
}

static void what_is_excluded_is_not_entered(void **state)
{
    int root = rig_dir();
    struct strlist exclude = STRLIST_INIT;
    struct manifest m = MANIFEST_INIT;

    (void)state;
    grow(root);
    strlist_add(&exclude, "d6");
    strlist_add(&exclude, "d13/sub1");
    strlist_add(&exclude, "d8/f-1");
    for (unsigned threads = 1; threads <= 4; threads++) {
        scan(root, &exclude, threads, &m, NULL);
        assert_null(manifest_find(&m, "d6"));
        assert_null(manifest_find(&m, "d6/f-0"));
        assert_null(manifest_find(&m, "d13/sub1/f"));
        assert_null(manifest_find(&m, "d8/f-1"));
        assert_non_null(manifest_find(&m, "d13/sub2/f"));
        assert_non_null(manifest_find(&m, "d8/f-0"));
    }
    manifest_clear(&m);
    strlist_clear(&exclude);
    rig_remove(root);
}

/* As deep as a tree may be, with room for few descriptors more than that; one level further is refused. */
static void depth_is_bounded(void **state)
{
    int root = rig_dir(), side;
    struct rlimit limit, narrow;
    struct manifest m = MANIFEST_INIT;
    struct err err = ERR_INIT;
    struct sync_tree tree = {.dirfd = root};
    char path[32];

    (void)state;
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "side%d", i);
        rig_mkdir(root, path);
        side = openat(root, path, O_RDONLY | O_DIRECTORY);
        dig(side, LIMIT_DEPTH - 2);
        close(side);
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    narrow = (struct rlimit){.rlim_cur = LIMIT_DEPTH + 4 * 50 + 32, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &narrow), 0);
    for (unsigned threads = 1; threads <= 4; threads++) {
        scan(root, NULL, threads, &m, NULL);
        assert_int_equal(m.len, 1 + 4 * (1 + 2 * (LIMIT_DEPTH - 2)));
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    side = openat(root, "side2", O_RDONLY | O_DIRECTORY);
    assert_int_equal(renameat(root, "side3", root, "side2/d/x"), 0);
    close(side);
    look_force_threads(4);
    assert_int_equal(sync_scan(&tree, NULL, NULL, &m, NULL, &err), -1);
    look_force_threads(0);
    assert_non_null(strstr(err.msg, "too deep"));
    err_clear(&err);
    manifest_clear(&m);
    rig_remove(root);
}

/* ---- a racer ---- */

struct racer {
    int root;
    atomic_bool stop;
};

/* A directory becomes a link to one outside and back, and a file and back. */
static void *race(void *arg)
{
    struct racer *r = arg;

    while (!r->stop) {
        renameat(r->root, "d/turn", r->root, "aside");
        symlinkat("../../..", r->root, "d/turn");
        unlinkat(r->root, "d/turn", 0);
        symlinkat("/etc", r->root, "d/turn");
        unlinkat(r->root, "d/turn", 0);
        close(openat(r->root, "d/turn", O_WRONLY | O_CREAT | O_EXCL, 0600));
        unlinkat(r->root, "d/turn", 0);
        renameat(r->root, "aside", r->root, "d/turn");
    }
    return NULL;
}

static void a_raced_directory_leads_nowhere(void **state)
{
    int root = rig_dir();
    struct racer r = {.root = root};
    pthread_t thread;
    struct manifest m = MANIFEST_INIT;
    time_t end = time(NULL) + 2;

    (void)state;
    rig_mkdir(root, "d");
    rig_mkdir(root, "d/turn");
    rig_mkdir(root, "d/turn/inner");
    rig_text(root, "d/turn/inner/f", "x");
    rig_text(root, "d/turn/g", "x");
    assert_int_equal(pthread_create(&thread, NULL, race, &r), 0);
    while (time(NULL) < end)
        for (unsigned threads = 1; threads <= 4; threads++) {
            scan(root, NULL, threads, &m, NULL);
            for (size_t i = 0; i < m.len; i++) {
                const char *path = m.entries[i].path, *name = strrchr(path, '/');

                name = name ? name + 1 : path;
                if (*path && strcmp(name, "d") && strcmp(name, "turn") && strcmp(name, "aside") &&
                    strcmp(name, "inner") && strcmp(name, "f") && strcmp(name, "g"))
                    fail_msg("the scan left the tree: %s", path);
            }
        }
    r.stop = true;
    pthread_join(thread, NULL);
    manifest_clear(&m);
    rig_remove(root);
}

/* A reader that gives up half way: helpers end, and nothing stays open. */
static void a_look_can_be_left(void **state)
{
    int root = rig_dir();
    size_t before = open_descriptors();

    (void)state;
    grow(root);
    for (unsigned i = 0; i < 60; i++) {
        struct look *l = look_new(beneath_list_open(root), NULL);
        struct look_dir *d = look_root(l);

        look_force_threads(1 + i % 4);
        look_at(l, d);
        for (size_t k = 0; k < i && k < d->len; k++)
            if (d->names[k].kind == LOOK_DIR)
                look_at(l, d->names[k].dir);
        look_free(l);
    }
    look_force_threads(0);
    assert_int_equal(open_descriptors(), before);
    rig_remove(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_of_threads_sees_the_same),
        cmocka_unit_test(what_is_excluded_is_not_entered),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(a_raced_directory_leads_nowhere),
        cmocka_unit_test(a_look_can_be_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
