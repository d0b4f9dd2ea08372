/* link: atp_engine atp_proto atp_sys atp_base */
/* The engine's volumes: trees, commits and reloads of private copies, hostile copies, a store that is opened again. */
#include "backends/engine/runtime.h"
#include "backends/engine/vol.h"
#include "backends/engine/vol_view.h"
#include "backends/grpc/frame.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char base[64];
static struct volumes *vols;
static struct volume *vol;

static char *sh(const char *line)
{
    cleanup_free char *all = xasprintf("cd %s && { %s; } 2>&1", base, line);
    cleanup_buf struct buf out = BUF_INIT(1 << 20);
    FILE *f = popen(all, "r");
    char bytes[4096];
    size_t n;

    assert_non_null(f);
    while ((n = fread(bytes, 1, sizeof(bytes), f)) > 0)
        buf_add(&out, bytes, n);
    pclose(f);
    return buf_detach(&out);
}

static void expect(const char *line, const char *want)
{
    cleanup_free char *got = sh(line);

    if (strcmp(got, want) != 0)
        fail_msg("%s\n gives %s\n not   %s", line, got, want);
}

static void open_store(void)
{
    cleanup_err struct err err = ERR_INIT;

    vols = volumes_new(base, /* loop= */ NULL, &err);
    if (!vols)
        fail_msg("%s", err.msg);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(base, sizeof(base), "/tmp/atp-vol-XXXXXX");
    if (!mkdtemp(base))
        return -1;
    open_store();
    vol = volume_create(vols, "main", "data", 1, NULL);
    return vol ? 0 : -1;
}

static int tear_down(void **state)
{
    cleanup_free char *line = xasprintf("rm -rf %s", base);

    (void)state;
    volumes_free(vols);
    free(sh(line));
    return 0;
}

/* One mount of the volume; NULL and *ret_status when it is refused. */
static struct vol_views *mount_at(const char *path, const char *sub_path, bool read_only, int *ret_status)
{
    Modal__Client__VolumeMount mount = MODAL__CLIENT__VOLUME_MOUNT__INIT, *list[] = {&mount};
    struct vol_views *views = NULL;
    cleanup_err struct err err = ERR_INIT;

    mount.volume_id = vol->id;
    mount.mount_path = (char *)path;
    mount.sub_path = (char *)sub_path;
    mount.has_read_only = 1;
    mount.read_only = read_only;
    if (vol_views_open(vols, list, 1, &views, &err) < 0 && ret_status)
        *ret_status = err.code;
    return views;
}

/* A shell line in the copy. */
static char *in(const struct vol_views *v, const char *line)
{
    cleanup_free char *all = xasprintf("cd %s && { %s; }", vol_view_mount(v, 0).source, line);

    return sh(all);
}

static void expect_in(const struct vol_views *v, const char *line, const char *want)
{
    cleanup_free char *got = in(v, line);

    assert_string_equal(got, want);
}

static void reload(struct vol_views *v)
{
    cleanup_err struct err err = ERR_INIT;

    if (vol_views_reload(v, &err) < 0)
        fail_msg("%s", err.msg);
}

static void test_private_views(void **state)
{
    struct vol_views *a = mount_at("/v", NULL, false, NULL), *b = mount_at("/v", NULL, false, NULL), *c;

    (void)state;
    free(in(a, "mkdir d; echo one >d/f; ln -s d/f l; chmod 640 d/f; echo gone >g"));
    expect_in(b, "ls -A", "");
    reload(a);
    expect_in(b, "ls -A", "");
    c = mount_at("/v", NULL, false, NULL);
    expect_in(c, "cat l; stat -c %a d/f; ls", "one\n640\nd\ng\nl\n");
    free(in(b, "echo b >own"));
    reload(b);
    expect_in(b, "ls; cat d/f", "d\ng\nl\nown\none\n");
    free(in(b, "rm g; rm -r d; echo plain >d"));
    reload(b);
    reload(a);
    expect_in(a, "ls; cat d own", "d\nl\nown\nplain\nb\n");
    vol_views_close(a);
    vol_views_close(b);
    vol_views_close(c); /* saw nothing, changed nothing */
    expect("ls volumes/views", "");
    c = mount_at("/v", NULL, true, NULL);
    expect_in(c, "ls", "d\nl\nown\n");
    assert_false(vol_view_mount(c, 0).read_write);
    vol_views_close(c);
}

/* Two change one file: the later commit wins, and what only one changed stays. */
static void test_merge(void **state)
{
    struct vol_views *a = mount_at("/v", NULL, false, NULL), *b = mount_at("/v", NULL, false, NULL);

    (void)state;
    free(in(a, "echo a >both; echo a >mine"));
    free(in(b, "echo b >both; echo b >theirs"));
    vol_views_close(a);
    vol_views_close(b);
    a = mount_at("/v", NULL, false, NULL);
    expect_in(a, "cat both mine theirs", "b\na\nb\n");
    vol_views_close(a);
}

static void test_sub_path(void **state)
{
    struct vol_views *a = mount_at("/v", "/x/y/", false, NULL), *b;

    (void)state;
    free(in(a, "echo s >f"));
    vol_views_close(a);
    b = mount_at("/v", NULL, false, NULL);
    expect_in(b, "find . -type f; cat x/y/f", "./x/y/f\ns\n");
    vol_views_close(b);
    assert_null(mount_at("/v", "../x", false, NULL));
}

static void test_refused(void **state)
{
    static const char *const paths[] = {"/", "/root", "/tmp", "relative", "/a/", "/a//b", "/a/../b", ""};
    Modal__Client__VolumeMount one = MODAL__CLIENT__VOLUME_MOUNT__INIT, two = one, *list[] = {&one, &two};
    struct vol_views *views;
    cleanup_err struct err err = ERR_INIT;
    int status = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        assert_null(mount_at(paths[i], NULL, false, &status));
        assert_int_equal(status, GRPC_INVALID_ARGUMENT);
    }
    one.volume_id = two.volume_id = vol->id;
    one.mount_path = (char *)"/a";
    two.mount_path = (char *)"/b";
    assert_int_equal(vol_views_open(vols, list, 2, &views, &err), -1);
    assert_int_equal(err.code, GRPC_INVALID_ARGUMENT);
    err_clear(&err);
    one.volume_id = (char *)"vo-nothing";
    assert_int_equal(vol_views_open(vols, list, 1, &views, &err), -1);
    assert_int_equal(err.code, GRPC_NOT_FOUND);
    expect("ls volumes/views", "");
}

/* Whoever is root in the container puts links where the next state is to be laid out. */
static void test_hostile_copy(void **state)
{
    struct vol_views *a = mount_at("/v", NULL, false, NULL), *b;
    cleanup_free char *line = xasprintf("rm -r d; ln -s %s/outside d", base);

    (void)state;
    free(sh("mkdir outside; echo secret >outside/s"));
    free(in(a, "mkdir d; echo 1 >d/f"));
    reload(a);
    b = mount_at("/v", NULL, false, NULL);
    free(in(b, "echo 2 >d/f; echo 2 >d/g"));
    vol_views_close(b);
    free(in(a, line));
    vol_views_reload(a, NULL);
    expect("ls outside", "s\n");
    free(in(a, "ln -s /etc/passwd p; mkfifo q"));
    vol_views_close(a);
    a = mount_at("/v", NULL, false, NULL);
    expect_in(a, "readlink p; test -e q || echo none", "/etc/passwd\nnone\n");
    vol_views_close(a);
    expect("cat outside/s", "secret\n");
}

static void test_opened_again(void **state)
{
    struct vol_views *a = mount_at("/v", NULL, false, NULL);

    (void)state;
    free(in(a, "echo kept >\"$(printf 'o\\377dd')\"; echo x >x"));
    assert_int_equal(vol_views_commit(a, NULL), 0);
    free(in(a, "echo lost >lost"));
    vol_views_drop(a); /* as a kill -9 does */
    volumes_free(vols);
    free(sh("mkdir -p volumes/views/left/0; echo l >volumes/views/left/0/f; echo junk >volumes/content/junk"));
    open_store();
    vol = volume_by_name(vols, "main", "data");
    assert_non_null(vol);
    a = mount_at("/v", NULL, false, NULL);
    expect_in(a, "ls | wc -l; cat o*", "2\nkept\n");
    expect("test -e volumes/content/junk || echo swept; ls volumes/content | wc -l", "swept\n2\n");
    vol_views_close(a);
    volume_delete(vols, vol);
    expect("ls volumes/content; ls volumes", "content\nviews\n");
}

static void test_paths(void **state)
{
    static const struct {
        const char *path, *want;
    } cases[] = {{"", ""}, {"/", ""}, {"/a//b/./", "a/b"}, {"a/..", NULL}, {"..", NULL}, {"...", "..."}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_free char *got = vol_path(cases[i].path, NULL);

        if (cases[i].want)
            assert_string_equal(got, cases[i].want);
        else
            assert_null(got);
    }
}

static void put(struct vol_tree *t, const char *path, mode_t mode)
{
    struct vol_entry e = {.path = xstrdup(path), .mode = mode};

    assert_int_equal(vol_tree_put(t, &e, NULL), 0);
}

static void test_tree(void **state)
{
    struct vol_tree t = {0};

    (void)state;
    put(&t, "a/b/c", S_IFREG | 0644);
    put(&t, "a-b", S_IFREG | 0644);
    put(&t, "a/z", S_IFREG | 0644);
    assert_int_equal(t.len, 5);
    assert_string_equal(t.items[0].path, "a");
    assert_string_equal(t.items[4].path, "a-b");
    put(&t, "a/b", S_IFREG | 0644); /* a file where a directory was */
    assert_null(vol_tree_find(&t, "a/b/c"));
    put(&t, "a/z/y", S_IFREG | 0644); /* and the other way round */
    assert_true(S_ISDIR(vol_tree_find(&t, "a/z")->mode));
    vol_tree_remove(&t, "a");
    assert_int_equal(t.len, 1);
    vol_tree_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_tree),
        cmocka_unit_test_setup_teardown(test_private_views, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_merge, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sub_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hostile_copy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_opened_again, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
