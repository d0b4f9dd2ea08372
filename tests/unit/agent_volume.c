/* link: atp_agentcore atp_btree atp_bsync atp_tree atp_wire atp_sys atp_base */
/* Saving and restoring of volumes: what comes back, what a damaged or hostile folder does, what a second save costs. */
#include "backends/agent/volume.h"
#include "backends/agent/volume_manifest.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/limits.h"

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
static char *store, *run_dir;

/* A shell line in the test's folder; its output, owned by caller. */
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

static int set_up(void **state)
{
    (void)state;
    snprintf(base, sizeof(base), "/tmp/atp-volume-XXXXXX");
    if (!mkdtemp(base))
        return -1;
    store = xasprintf("%s/store", base);
    run_dir = xasprintf("%s/run", base);
    expect("mkdir -p store/v run live", "");
    return 0;
}

static int tear_down(void **state)
{
    cleanup_free char *line = xasprintf("rm -rf %s", base);

    (void)state;
    free(sh(line));
    free(store);
    free(run_dir);
    return 0;
}

static struct wire_volume volume_at(const char *name)
{
    return (struct wire_volume){.key = (char *)"v", .target = xasprintf("%s/%s", base, name)};
}

static struct volume_report save(const char *name)
{
    const struct volume_dirs dirs = {store, run_dir};
    struct wire_volume v = volume_at(name);
    struct volume_report report;
    cleanup_err struct err err = ERR_INIT;

    if (volume_save(&dirs, &v, &report, &err) < 0)
        fail_msg("saving: %s", err.msg);
    free(v.target);
    return report;
}

static int restore_with(const char *name, bool nocopy, const char *closed, struct err *err)
{
    const struct volume_dirs dirs = {store, run_dir};
    struct wire_volume v = volume_at(name);
    int rc;

    v.nocopy = nocopy;
    if (closed)
        strlist_add(&v.closed, closed);
    rc = volume_restore(&dirs, &v, err);
    free(v.target);
    strlist_clear(&v.closed);
    return rc;
}

static void restore(const char *name)
{
    cleanup_err struct err err = ERR_INIT;

    if (restore_with(name, /* nocopy= */ false, NULL, &err) < 0)
        fail_msg("restoring: %s", err.msg);
}

#define LOOK(dir)                                                                                                      \
    "cd " dir "; find . -printf '%y %m %U:%G %s %T@ %n %l %p\\n' | sort; find . -type f -exec sha256sum {} + | sort"

static void test_round_trip(void **state)
{
    cleanup_free char *before = NULL, *after = NULL;

    (void)state;
    free(sh("cd live; echo x >f; chown 12:34 f; chmod 4751 f; mkdir -p d/e; chmod 1700 d; ln -s ../gone l; ln f d/g; "
            "mkfifo -m 622 p; : >empty; truncate -s 3M sparse; echo end >>sparse; head -c 2500000 /dev/urandom >big; "
            "touch -d @1.123456789 d/e; touch \"$(printf 'a\\nb')\"; chmod 751 .; chown 5:6 ."));
    save("live");
    free(sh("mkdir back; echo image >back/image"));
    restore("back");
    before = sh(LOOK("live"));
    after = sh(LOOK("back"));
    /* directories' sizes are the file system's own */
    assert_string_equal(before, after);
    expect("test $(du -k back/sparse | cut -f1) -lt 2048 && echo sparse", "sparse\n");
}

static void test_same_and_incremental(void **state)
{
    struct volume_report r;

    (void)state;
    free(sh("cd live; for i in $(seq 100); do head -c 10000 /dev/urandom >$i; done; touch -d '1 hour ago' *"));
    r = save("live");
    assert_true(r.saved);
    assert_int_equal(r.generation, 1);
    usleep(200000); /* or the files count as fresh */
    assert_false(save("live").saved);
    assert_false(save("live").saved);
    free(sh("head -c 500 /dev/urandom >live/50"));
    r = save("live");
    assert_true(r.saved);
    assert_int_equal(r.generation, 2);
    assert_true(r.pack_bytes <= 500);
    free(sh("cp live/1 live/copy"));
    r = save("live");
    assert_true(r.saved);
    assert_int_equal(r.pack_bytes, 0); /* a pack has it */
    expect("ls store/v/generations | wc -l", "2\n");
}

static void test_new_volume(void **state)
{
    (void)state;
    free(sh("mkdir image; echo i >image/f"));
    restore("image");
    expect("cat image/f", "i\n");
    assert_int_equal(restore_with("image", /* nocopy= */ true, NULL, NULL), 0);
    expect("ls -A image", "");
    save("live"); /* empty: as good as new */
    free(sh("echo i >image/f"));
    restore("image");
    expect("cat image/f", "i\n");
}

static void test_damaged(void **state)
{
    cleanup_err struct err err = ERR_INIT;

    (void)state;
    free(sh("echo one >live/f"));
    save("live");
    free(sh("echo two >live/f"));
    save("live");
    free(sh("mkdir back; cd store/v; truncate -s -1 generations/*2"));
    restore("back");
    expect("cat back/f", "one\n");
    free(sh("echo three >live/f")); /* a number is never given twice */
    assert_int_equal(save("live").generation, 3);
    restore("back");
    expect("cat back/f", "three\n");
    free(sh("rm store/v/packs/*; echo mine >back/f"));
    assert_int_equal(restore_with("back", false, NULL, &err), -1);
    assert_non_null(strstr(err.msg, "damaged"));
    expect("cat back/f", "mine\n");
}

static void test_flipped_bytes(void **state)
{
    cleanup_err struct err err = ERR_INIT;

    (void)state;
    free(sh("head -c 5000 /dev/urandom >live/f"));
    save("live");
    free(sh("mkdir back; printf x | dd of=$(ls store/v/packs/*) bs=1 seek=100 conv=notrunc"));
    assert_int_equal(restore_with("back", false, NULL, &err), -1);
    assert_non_null(strstr(err.msg, "damaged"));
}

static void test_packs_stay_few(void **state)
{
    (void)state;
    for (int i = 0; i < 80; i++) {
        free(sh("head -c 20000 /dev/urandom >live/$(date +%N | cut -c1-3); head -c 100000 /dev/urandom >live/always"));
        save("live");
    }
    free(sh("mkdir back"));
    restore("back");
    expect("diff -r live back && echo same", "same\n");
    expect("test $(ls store/v/packs | wc -l) -lt 80 && echo few", "few\n");
}

static void test_closed(void **state)
{
    cleanup_err struct err err = ERR_INIT;
    const struct volume_dirs dirs = {store, run_dir};
    struct wire_volume v = volume_at("live");
    struct volume_report report;

    (void)state;
    strlist_add(&v.closed, "a/in");
    free(sh("mkdir -p live/a/in; echo not ours >live/a/in/f; echo ours >live/a/g"));
    assert_int_equal(volume_save(&dirs, &v, &report, &err), 0);
    free(v.target);
    strlist_clear(&v.closed);
    free(sh("mkdir -p back/a/in; echo other >back/a/in/h; echo old >back/a/old"));
    assert_int_equal(restore_with("back", false, "a/in", &err), 0);
    expect("cd back; find . -type f | sort; cat a/in/h", "./a/g\n./a/in/h\nother\n");
}

/* ---- a folder that somebody else wrote ---- */

static void entry(struct volume_manifest *m, uint8_t kind, const char *path, const char *link)
{
    struct volume_entry *e = volume_add_entry(m);

    e->kind = kind;
    e->mode = 0777;
    e->path = xstrdup(path);
    e->link = link ? xstrdup(link) : NULL;
}

/* Whether a manifest with these two entries can be read back. */
static bool is_readable(uint8_t kind, const char *path, const char *link)
{
    struct buf b = BUF_INIT(1 << 20);
    struct volume_manifest m = {.generation = 1}, got;
    bool ok;

    entry(&m, VOLUME_DIR, "", NULL);
    entry(&m, kind, path, link);
    assert_int_equal(volume_manifest_put(&m, &b, NULL), 0);
    ok = volume_manifest_get(b.data, b.len, &got, NULL) == 0;
    if (ok)
        volume_manifest_clear(&got);
    volume_manifest_clear(&m);
    buf_clear(&b);
    return ok;
}

static void test_hostile_paths(void **state)
{
    (void)state;
    assert_true(is_readable(VOLUME_FILE, "a", NULL));
    assert_true(is_readable(VOLUME_SYMLINK, "a", "/etc/passwd"));
    assert_false(is_readable(VOLUME_FILE, "../a", NULL));
    assert_false(is_readable(VOLUME_FILE, "a/../../b", NULL));
    assert_false(is_readable(VOLUME_FILE, "/a", NULL));
    assert_false(is_readable(VOLUME_FILE, "a//b", NULL));
    assert_false(is_readable(VOLUME_FILE, "a/", NULL));
    assert_false(is_readable(VOLUME_FILE, ".", NULL));
    assert_false(is_readable(VOLUME_FILE, "", NULL));
    assert_false(is_readable(VOLUME_LINK, "a", "../../etc/passwd"));
    assert_false(is_readable(VOLUME_LINK, "a", "/etc/passwd"));
    assert_false(is_readable(99, "a", NULL));
}

/* Links on the way: what comes below one lands nowhere. */
static void test_hostile_links(void **state)
{
    cleanup_free char *outside = xasprintf("%s/outside", base), *path = xasprintf("%s/store/v/generations", base);
    struct volume_manifest m = {.generation = 1};
    cleanup_err struct err err = ERR_INIT;
    cleanup_close int dir = -1;

    (void)state;
    free(sh("mkdir -p outside back store/v/generations store/v/packs; echo secret >outside/s"));
    entry(&m, VOLUME_DIR, "", NULL);
    entry(&m, VOLUME_SYMLINK, "l", outside);
    entry(&m, VOLUME_FILE, "l/planted", NULL);
    dir = open(path, O_RDONLY | O_DIRECTORY);
    assert_int_equal(volume_manifest_save(dir, "00000000000000000001", &m, NULL), 0);
    assert_int_equal(restore_with("back", false, NULL, &err), -1);
    volume_manifest_clear(&m);
    m = (struct volume_manifest){.generation = 2};
    entry(&m, VOLUME_DIR, "", NULL);
    entry(&m, VOLUME_SYMLINK, "l", outside);
    entry(&m, VOLUME_LINK, "h", "l/s");
    assert_int_equal(volume_manifest_save(dir, "00000000000000000002", &m, NULL), 0);
    assert_int_equal(restore_with("back", false, NULL, &err), -1);
    volume_manifest_clear(&m);
    expect("ls outside; test ! -e back/h && echo none", "s\nnone\n");
}

static void test_cut_everywhere(void **state)
{
    struct buf b = BUF_INIT(1 << 20);
    struct volume_manifest m = {.generation = 7}, got;

    (void)state;
    entry(&m, VOLUME_DIR, "", NULL);
    entry(&m, VOLUME_FILE, "file", NULL);
    assert_int_equal(volume_manifest_put(&m, &b, NULL), 0);
    for (size_t len = 0; len < b.len; len++)
        assert_int_equal(volume_manifest_get(b.data, len, &got, NULL), -1);
    for (size_t i = 0; i < b.len; i++) {
        b.data[i] ^= 1;
        assert_int_equal(volume_manifest_get(b.data, b.len, &got, NULL), -1);
        b.data[i] ^= 1;
    }
    volume_manifest_clear(&m);
    buf_clear(&b);
}

static void test_list(void **state)
{
    struct wire_volumes list = {.save_s = 5}, got;
    cleanup_free char *text = NULL;
    struct wire_volume *v = wire_volumes_add(&list, "name", "/a b\t%\nc");

    (void)state;
    strlist_add(&v->closed, "x\ty");
    v->read_only = v->nocopy = true;
    v = wire_volumes_add(&list, "tmpfs", "/t");
    v->scratch = true;
    v->mode = 01777;
    text = wire_volumes_text(&list);
    assert_int_equal(wire_volumes_read(text, &got, NULL), 0);
    assert_int_equal(got.len, 2);
    assert_int_equal(got.save_s, 5);
    assert_string_equal(got.items[0].target, "/a b\t%\nc");
    assert_string_equal(got.items[0].closed.items[0], "x\ty");
    assert_true(got.items[0].read_only && got.items[0].nocopy && !got.items[0].scratch);
    assert_true(got.items[1].scratch);
    assert_int_equal(got.items[1].mode, 01777);
    wire_volumes_clear(&got);
    wire_volumes_clear(&list);
    assert_int_equal(wire_volumes_read("save\t1\n../x\t/t\t-\n", &got, NULL), -1);
    assert_int_equal(wire_volumes_read("save\t1\nx\tt\t-\n", &got, NULL), -1);
    assert_int_equal(wire_volumes_read("save\t-1\n", &got, NULL), -1);
    assert_int_equal(wire_volumes_read("save\t1\nx\t/t\twhat\n", &got, NULL), -1);
    assert_int_equal(wire_volumes_read("save\t1\nx\t/t%0\t-\n", &got, NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_same_and_incremental, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_new_volume, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flipped_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_packs_stay_few, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_closed, set_up, tear_down),
        cmocka_unit_test(test_hostile_paths),
        cmocka_unit_test_setup_teardown(test_hostile_links, set_up, tear_down),
        cmocka_unit_test(test_cut_everywhere),
        cmocka_unit_test(test_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
