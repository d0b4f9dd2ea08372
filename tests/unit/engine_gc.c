/* link: atp_engine atp_sys atp_base */
#include "backends/engine/img_gc.h"

#include "backends/engine/img_blobs.h"
#include "backends/engine/img_export.h"
#include "backends/engine/img_layer.h"
#include "backends/engine/img_store.h"
#include "backends/engine/img_uploads.h"
#include "backends/registry/digest.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* What the image store throws away: layers are made by hand, and used at times that the test chooses. */

#define DAY 86400ll

static char folder[] = "/tmp/atp-gc-XXXXXX";
static int64_t now;

static int make_folder(void **state)
{
    struct timespec ts;

    (void)state;
    clock_gettime(CLOCK_REALTIME, &ts);
    now = ts.tv_sec;
    return mkdtemp(folder) && img_store_open(folder, NULL) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    img_store_remove(folder);
    return 0;
}

/* A key whose first letter tells layers apart. */
static const char *key_of(char name)
{
    static char keys[128][65];

    memset(keys[(int)name], name, 64);
    return keys[(int)name];
}

static void set_age(const char *path, int64_t days)
{
    const struct timespec times[2] = {{.tv_sec = now - days * DAY}, {.tv_sec = now - days * DAY}};

    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* A layer of so many bytes, last used so many days ago; below 0 = none. blob may be NULL. */
static void add_layer(char name, char below, enum img_layer_kind kind, int64_t size, int64_t days, const char *blob)
{
    cleanup_free char *tmp = img_store_tmp(folder, NULL), *root = xasprintf("%s/f", tmp);
    cleanup_free char *at = xasprintf("%s/l/%.20s", folder, key_of(name));
    const struct img_layer_meta meta = {.kind = kind,
                                        .parent = below ? (char *)key_of(below) : NULL,
                                        .diff_id = blob ? (char *)blob : NULL,
                                        .blob = (char *)blob,
                                        .tar_size = -1};

    assert_int_equal(fs_mkdirs(root, 0755, NULL), 0);
    assert_int_equal(img_layer_keep_as(folder, tmp, key_of(name), size, &meta, NULL), 0);
    set_age(at, days);
}

static void add_mount(const char *name, int64_t days)
{
    cleanup_free char *root = xasprintf("%s/cache/%s/f", folder, name), *file = xasprintf("%s/file", root);
    cleanup_free char *at = xasprintf("%s/cache/%s", folder, name), *bytes = xcalloc(1, 100000);

    memset(bytes, 'x', 100000);
    assert_int_equal(fs_mkdirs(root, 0755, NULL), 0);
    assert_int_equal(fs_write_file(file, bytes, 100000, 0600, NULL), 0);
    set_age(at, days);
}

static char *add_blob(const char *text, int64_t days)
{
    cleanup_free char *tmp = img_store_tmp(folder, NULL), *path = NULL;
    char hex[DIGEST_HEX + 1], *digest;

    digest_of(text, strlen(text), hex);
    digest = xasprintf(DIGEST_PREFIX "%s", hex);
    assert_int_equal(fs_write_file(tmp, text, strlen(text), 0600, NULL), 0);
    assert_int_equal(img_blob_keep(folder, digest, tmp, NULL), 0);
    path = img_blob_path(folder, digest);
    set_age(path, days);
    return digest;
}

static struct img_gc gc_of(const char *used)
{
    struct img_gc gc = {.dir = xstrdup(folder),
                        .last_use = img_layer_last_use(),
                        .busy.tv_sec = INT64_MAX,
                        .since.tv_sec = now - 1,
                        .unused_secs = -1,
                        .keep_bytes = -1,
                        .thorough = true};

    for (; *used; used++)
        strlist_add(&gc.used, key_of(*used));
    strlist_sort(&gc.used);
    return gc;
}

/* The letters of the layers that are there. */
static void assert_layers(const char *expected)
{
    cleanup_free char *path = xasprintf("%s/l", folder);
    cleanup_dir DIR *d = opendir(path);
    const struct dirent *e;
    size_t n = 0;

    while ((e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        n++;
        if (!strchr(expected, e->d_name[0]))
            fail_msg("%c is there, of \"%s\" only", e->d_name[0], expected);
    }
    if (n != strlen(expected))
        fail_msg("%zu layers, not \"%s\"", n, expected);
}

static void run(struct img_gc gc, int64_t records, int64_t bytes)
{
    cleanup_free char *tmp = xasprintf("%s/tmp", folder);
    cleanup_dir DIR *d = NULL;
    const struct dirent *e;

    img_gc_run(&gc);
    assert_int_equal(gc.records, records);
    if (bytes >= 0)
        assert_int_equal(gc.bytes, bytes);
    img_gc_clear(&gc);
    d = opendir(tmp);
    while ((e = readdir(d)))
        assert_int_equal(e->d_name[0], '.');
}

static void clear(void)
{
    struct img_gc gc = gc_of("");

    gc.unused_secs = 0;
    gc.since.tv_sec = INT64_MAX;
    img_gc_run(&gc);
    img_gc_clear(&gc);
    assert_layers("");
}

/* Without a limit: what was pulled or snapshot goes when nothing stands on it, what was built stays. */
static void garbage_goes_cache_stays(void **state)
{
    cleanup_free char *base = add_blob("base", 1), *top = add_blob("top", 1), *lost = add_blob("lost", 1);
    cleanup_free char *fresh = add_blob("fresh", 0);

    (void)state;
    add_layer('a', 0, IMG_LAYER_PULLED, 10, 100, base);
    add_layer('b', 'a', IMG_LAYER_BUILT, 10, 100, NULL);
    add_layer('c', 0, IMG_LAYER_PULLED, 10, 0, top);
    add_layer('d', 'c', IMG_LAYER_PULLED, 10, 0, NULL);
    add_layer('e', 'd', IMG_LAYER_SNAPSHOT, 10, 0, NULL);
    add_layer('f', 0, IMG_LAYER_UNKNOWN, 10, 0, NULL);
    add_layer('g', 0, IMG_LAYER_SNAPSHOT, 10, 0, NULL);
    run(gc_of("g"), 0, -1);
    assert_layers("abg");
    assert_true(img_blob_size(folder, base) == 4); /* b's, through a */
    assert_true(img_blob_size(folder, top) == -1);
    assert_true(img_blob_size(folder, lost) == -1);
    assert_true(img_blob_size(folder, fresh) == 5); /* a pull under way may just have kept it */
    clear();
}

/* By age; the use of a layer counts for what it stands on. */
static void old_cache_goes(void **state)
{
    struct img_gc gc;

    (void)state;
    add_layer('a', 0, IMG_LAYER_PULLED, 10, 30, NULL);
    add_layer('b', 'a', IMG_LAYER_BUILT, 10, 30, NULL);
    add_layer('c', 'b', IMG_LAYER_BUILT, 10, 3, NULL);
    add_layer('d', 'b', IMG_LAYER_BUILT, 10, 8, NULL);
    add_layer('e', 0, IMG_LAYER_BUILT, 10, 8, NULL);
    add_mount("old", 8);
    add_mount("new", 1);
    gc = gc_of("");
    gc.unused_secs = 7 * DAY;
    run(gc, 3, -1);
    assert_layers("abc");
    gc = gc_of("");
    gc.unused_secs = 2 * DAY;
    run(gc, 3, 30); /* the base goes with the last layer of the cache that stood on it */
    assert_layers("");
    gc = gc_of("");
    img_gc_count(&gc);
    assert_int_equal(gc.cache_records, 1);
    assert_true(gc.cache_bytes >= 100000 && gc.cache_bytes < 200000);
    img_gc_clear(&gc);
    clear();
}

/* By size: the least recently used first, and never what is below before what is above. */
static void large_cache_goes(void **state)
{
    struct img_gc gc;

    (void)state;
    add_layer('a', 0, IMG_LAYER_BUILT, 100, 9, NULL);
    add_layer('b', 'a', IMG_LAYER_BUILT, 100, 5, NULL);
    add_layer('c', 'b', IMG_LAYER_BUILT, 100, 5, NULL);
    add_layer('d', 0, IMG_LAYER_BUILT, 100, 7, NULL);
    add_layer('e', 0, IMG_LAYER_BUILT, 100, 1, NULL);
    gc = gc_of("");
    gc.keep_bytes = 500;
    run(gc, 0, 0);
    gc = gc_of("");
    gc.keep_bytes = 350;
    run(gc, 2, 200);
    assert_layers("abe");
    gc = gc_of("ab");
    gc.keep_bytes = 0;
    run(gc, 1, 100);
    assert_layers("ab");
    gc = gc_of("");
    gc.both = true; /* old enough, and only until it fits */
    gc.unused_secs = 6 * DAY;
    gc.keep_bytes = 0;
    run(gc, 0, 0);
    clear();
}

/* Whoever uses a layer after the look around keeps it; so does a build that began before. */
static void used_meanwhile_stays(void **state)
{
    struct img_gc gc;

    (void)state;
    add_layer('a', 0, IMG_LAYER_BUILT, 100, 9, NULL);
    add_layer('b', 0, IMG_LAYER_BUILT, 100, 9, NULL);
    add_layer('c', 0, IMG_LAYER_BUILT, 100, 2, NULL);
    gc = gc_of("");
    gc.unused_secs = 0;
    gc.busy.tv_sec = now - 3 * DAY;
    assert_true(img_layer_exists(folder, key_of('a')));
    run(gc, 1, 100);
    assert_layers("ac");
    assert_false(img_layer_exists(folder, key_of('b')));
    clear();
}

/* A note that leads around in a ring, and one without files. */
static void damaged_notes(void **state)
{
    cleanup_free char *bad = xasprintf("%s/l/0123456789abcdef0123", folder);

    (void)state;
    add_layer('a', 'b', IMG_LAYER_PULLED, 100, 9, NULL);
    add_layer('b', 'a', IMG_LAYER_PULLED, 100, 9, NULL);
    add_layer('c', 'c', IMG_LAYER_BUILT, 100, 9, NULL);
    assert_int_equal(mkdir(bad, 0755), 0);
    run(gc_of(""), 0, -1);
    assert_layers("abc"); /* nobody can say which of them is to go first */
    img_layer_remove(folder, key_of('a'));
    img_layer_remove(folder, key_of('c'));
    clear();
}

/* ---- uploads ---- */

static void put_file(const char *text, char hex[DIGEST_HEX + 1])
{
    digest_of(text, strlen(text), hex);
    assert_int_equal(img_store_put(folder, hex, text, strlen(text), NULL), 0);
}

static void age_file(const char *hex, int64_t days)
{
    cleanup_free char *path = img_store_file(folder, hex);

    set_age(path, days);
}

/* Lists that nobody asked for go, then contents that no list has; what a container has mounted keeps its time. */
static void old_uploads_go(void **state)
{
    char kept[DIGEST_HEX + 1], lost[DIGEST_HEX + 1], fresh[DIGEST_HEX + 1], alone[DIGEST_HEX + 1];
    struct images_mount_file old_files[2], new_file;
    cleanup_free char *old = NULL, *recent = NULL, *path = NULL, *laid = NULL, *inside = NULL;
    struct err err = ERR_INIT;
    struct stat before, after;

    (void)state;
    put_file("kept", kept);
    put_file("lost", lost);
    put_file("fresh", fresh);
    put_file("alone", alone);
    old_files[0] = (struct images_mount_file){.filename = "/kept", .sha256_hex = kept, .mode = 0644};
    old_files[1] = (struct images_mount_file){.filename = "/lost", .sha256_hex = lost, .mode = 0755};
    new_file = (struct images_mount_file){.filename = "/again", .sha256_hex = kept, .mode = 0644};
    assert_int_equal(img_mount_put(folder, old_files, 2, &old, &err), 0);
    assert_int_equal(img_mount_put(folder, &new_file, 1, &recent, &err), 0);
    assert_int_equal(img_mount_lay_out(folder, old, &laid, &err), 0);
    age_file(kept, 9);
    age_file(lost, 9);
    age_file(alone, 9);
    path = xasprintf("%s/mounts/%s.json", folder, old);
    set_age(path, 3);
    assert_true(img_uploads_sweep(folder, 7 * DAY) > 0); /* alone */
    assert_false(img_upload_exists(folder, alone));
    assert_true(fs_exists(laid));
    inside = xasprintf("%s/kept", laid);
    assert_int_equal(stat(inside, &before), 0);
    assert_true(img_upload_exists(folder, kept));
    assert_int_equal(stat(inside, &after), 0);
    assert_int_equal(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
    img_uploads_sweep(folder, 0); /* two days at least: the list goes */
    assert_false(fs_exists(laid));
    assert_false(fs_exists(path));
    assert_true(img_upload_exists(folder, kept)); /* another list has it */
    assert_true(img_upload_exists(folder, fresh));
    assert_false(img_upload_exists(folder, lost));
    free(steal(&path));
    path = xasprintf("%s/mounts/%s.json", folder, recent);
    set_age(path, 9);
    age_file(kept, 9);
    {
        struct img_mount m = {0};

        assert_int_equal(img_mount_load(folder, recent, &m, &err), 0); /* a build has asked for it */
        img_mount_clear(&m);
    }
    img_uploads_sweep(folder, 0);
    assert_true(fs_exists(path));
    assert_true(img_upload_exists(folder, kept)); /* and so has this */
    set_age(path, 9);
    img_uploads_sweep(folder, 0);
    assert_false(fs_exists(path));
    assert_true(img_upload_exists(folder, kept));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_uploads_go),       cmocka_unit_test(garbage_goes_cache_stays),
        cmocka_unit_test(old_cache_goes),       cmocka_unit_test(large_cache_goes),
        cmocka_unit_test(used_meanwhile_stays), cmocka_unit_test(damaged_notes),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
