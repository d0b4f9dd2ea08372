/* link: atp_registry atp_translate atp_docker atp_sys atp_base */
/* Tars made by hand, good and hostile, through the reader, the merger and the reader of image archives. */
#include "backends/registry/archive.h"
#include "backends/registry/digest.h"
#include "backends/registry/flatten.h"
#include "backends/registry/tar.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/lib/archive.h"
#include "compat/sys/fs.h"

#include <fcntl.h>
#include <ftw.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

/* ---- making tars ---- */

static void put_header(struct buf *t, const char *name, char type, const char *link, size_t size)
{
    char h[512] = {0};
    unsigned sum = 0;

    snprintf(h, 100, "%s", name);
    snprintf(h + 100, 8, "%07o", 0644);
    snprintf(h + 108, 8, "%07o", 7);
    snprintf(h + 116, 8, "%07o", 8);
    snprintf(h + 124, 12, "%011zo", size);
    snprintf(h + 136, 12, "%011o", 1000000000);
    memset(h + 148, ' ', 8);
    h[156] = type;
    snprintf(h + 157, 100, "%s", link);
    memcpy(h + 257, "ustar\00000", 8);
    for (size_t i = 0; i < sizeof(h); i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    buf_add(t, h, sizeof(h));
}

static void put_data(struct buf *t, const char *data, size_t len)
{
    static const char zeros[512];

    buf_add(t, data, len);
    buf_add(t, zeros, (512 - len % 512) % 512);
}

static void put_file(struct buf *t, const char *name, const char *data)
{
    put_header(t, name, '0', "", strlen(data));
    put_data(t, data, strlen(data));
}

/* A file whose name stands in a pax record. */
static void put_pax_file(struct buf *t, const char *name, const char *data)
{
    char record[512];
    int len = (int)strlen(name) + 7 + 2;

    len = snprintf(record, sizeof(record), "%d path=%s\n", len, name);
    put_header(t, "x", 'x', "", (size_t)len);
    put_data(t, record, (size_t)len);
    put_file(t, "short", data);
}

static void put_end(struct buf *t)
{
    static const char zeros[1024];

    buf_add(t, zeros, sizeof(zeros));
}

/* Writes it to a file; the path is owned by caller. */
static char *save(struct buf *t, const char *name)
{
    char *path = xasprintf("%s/%s", folder, name);
    struct err err = ERR_INIT;

    assert_int_equal(fs_write_file(path, t->data, t->len, 0600, &err), 0);
    buf_clear(t);
    return path;
}

/* Names, types and contents of a tar: "name=contents;dir/;link->target;hard=>target". */
static char *listing(const char *path)
{
    struct err err = ERR_INIT;
    struct archive_entry *e;
    char *out = NULL;
    size_t len;
    FILE *f = open_memstream(&out, &len);
    int fd = open(path, O_RDONLY), r;
    struct tar_reader *t = tar_open(fd, &err);

    while (t && (r = tar_next(t, &e, &err)) > 0) {
        const void *bytes;
        int64_t offset;
        ssize_t n;

        fprintf(f, "%s", archive_entry_pathname(e));
        if (archive_entry_hardlink(e))
            fprintf(f, "=>%s", archive_entry_hardlink(e));
        else if (archive_entry_filetype(e) == AE_IFLNK)
            fprintf(f, "->%s", archive_entry_symlink(e));
        else if (archive_entry_filetype(e) == AE_IFREG)
            fprintf(f, "=");
        while ((n = tar_data(t, &bytes, &offset, &err)) > 0)
            fwrite(bytes, 1, (size_t)n, f);
        fprintf(f, ";");
    }
    if (err.msg)
        fprintf(f, "error: %s", err.msg);
    fclose(f);
    tar_close(t);
    close(fd);
    err_clear(&err);
    return out;
}

static void expect_listing(char *path, const char *expected)
{
    char *got = listing(path);

    assert_string_equal(got, expected);
    free(got);
    free(path);
}

/* ---- tests ---- */

/* Accents stay as they were written, and bytes that are no UTF-8 too, whatever locale the program runs in. */
static void test_names_are_bytes(void **state)
{
    static const char *const locales[] = {"C", "C.UTF-8"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct buf t = BUF_INIT(1u << 20);

        setlocale(LC_ALL, locales[i]);
        put_pax_file(&t, "e\xcc\x81", "nfd");
        put_pax_file(&t, "bad\xff", "latin");
        put_file(&t, "\xc3\xa9", "nfc");
        put_end(&t);
        expect_listing(save(&t, "names"), "e\xcc\x81=nfd;bad\xff=latin;\xc3\xa9=nfc;");
    }
}

static void test_clean_names(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},        {".", ""},      {"./", ""},          {"/", ""},    {"./a", "a"},   {"/a//b/./c/", "a/b/c"},
        {"a/../b", "b"}, {"/../b", "b"}, {"/a/../../b", "b"}, {"..", NULL}, {"../b", NULL}, {"a/../../b", NULL},
        {"...", "..."},  {"..a", "..a"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct err err = ERR_INIT;
        char *got = NULL;

        if (tar_name(cases[i][0], &got, &err) < 0)
            assert_null(cases[i][1]);
        else
            assert_string_equal(got, cases[i][1]);
        free(got);
        err_clear(&err);
    }
}

static void test_damage(void **state)
{
    struct buf t = BUF_INIT(1u << 20);

    (void)state;
    expect_listing(save(&t, "empty"), "");
    put_end(&t);
    expect_listing(save(&t, "end"), "");
    put_file(&t, "a", "1");
    expect_listing(save(&t, "no-end"), "a=1;");
    put_file(&t, "a", "1");
    buf_truncate(&t, 512);
    expect_listing(save(&t, "cut"), "a=;error: unexpected EOF");
    put_file(&t, "a", "1");
    t.data[0] = 'b';
    expect_listing(save(&t, "sum"), "error: archive/tar: invalid tar header");
    put_file(&t, "a", "1");
    put_file(&t, "b", "2");
    t.data[1024] = 'c';
    expect_listing(save(&t, "second-sum"), "a=1;error: archive/tar: invalid tar header");
    put_header(&t, "huge", '0', "", 07777777777u);
    expect_listing(save(&t, "huge"), "huge=;error: unexpected EOF");
}

static void merge(struct strlist *layers, const char *expected)
{
    struct err err = ERR_INIT;
    char *out = xasprintf("%s/merged", folder);
    int fd = open(out, O_RDWR | O_CREAT | O_TRUNC, 0600);
    bool needed = false;

    assert_int_equal(flatten_needed(layers, &needed, &err), 0);
    assert_true(needed);
    if (flatten_layers(layers, fd, &err) < 0)
        fail_msg("%s", err.msg);
    close(fd);
    strlist_clear(layers);
    expect_listing(out, expected);
}

static void test_merge(void **state)
{
    struct strlist layers = STRLIST_INIT;
    struct buf t = BUF_INIT(1u << 20);

    (void)state;
    put_header(&t, "./", '5', "", 0);
    put_header(&t, "d/", '5', "", 0);
    put_file(&t, "d/gone", "1");
    put_file(&t, "d/stays", "2");
    put_header(&t, "o/", '5', "", 0);
    put_file(&t, "o/old", "3");
    put_header(&t, "dir/", '5', "", 0);
    put_file(&t, "dir/below", "4");
    put_file(&t, "file", "5");
    put_file(&t, "first", "shared");
    put_header(&t, "second", '1', "first", 0);
    put_header(&t, "third", '1', "./first", 0);
    put_file(&t, "back", "6");
    put_file(&t, "d.x", "7");
    put_end(&t);
    strlist_add_owned(&layers, save(&t, "l1"));
    put_file(&t, "d/.wh.gone", "");
    put_file(&t, "o/new", "a");
    put_file(&t, "o/.wh..wh..opq", "");
    put_file(&t, ".wh..wh.plnk", "");
    put_file(&t, "dir", "now a file");
    put_header(&t, "file/", '5', "", 0);
    put_file(&t, "first", "own");
    put_file(&t, ".wh.back", "");
    put_end(&t);
    strlist_add_owned(&layers, save(&t, "l2"));
    put_file(&t, "back", "again");
    put_end(&t);
    strlist_add_owned(&layers, save(&t, "l3"));
    merge(&layers, "./;d/;d/stays=2;o/;second=shared;third=>second;d.x=7;o/new=a;dir=now a file;file/;first=own;"
                   "back=again;");
}

static void test_merge_refuses(void **state)
{
    struct strlist layers = STRLIST_INIT;
    struct buf t = BUF_INIT(1u << 20);
    struct err err = ERR_INIT;
    int fd = open("/dev/null", O_WRONLY);

    (void)state;
    put_file(&t, "d/.wh...", "");
    put_end(&t);
    strlist_add_owned(&layers, save(&t, "w1"));
    assert_int_equal(flatten_layers(&layers, fd, &err), -1);
    assert_string_equal(err.msg, "invalid whiteout");
    strlist_clear(&layers);
    put_file(&t, "../../x", "");
    put_end(&t);
    strlist_add_owned(&layers, save(&t, "w2"));
    assert_int_equal(flatten_layers(&layers, fd, &err), -1);
    assert_non_null(strstr(err.msg, "is outside of the archive"));
    strlist_clear(&layers);
    close(fd);
    err_clear(&err);
}

/* Reads an archive; its tags and size of the first image, or "error: ...". */
static void expect_archive(char *path, const char *expected)
{
    struct err err = ERR_INIT;
    int fd = open(path, O_RDONLY);
    struct image_archive *a = image_archive_read(fd, folder, &err);
    char got[512];

    if (a)
        snprintf(got, sizeof(got), "%zu %s %lld", image_archive_count(a),
                 image_archive_get(a, 0)->tags.len ? image_archive_get(a, 0)->tags.items[0] : "-",
                 (long long)image_archive_get(a, 0)->size);
    else
        snprintf(got, sizeof(got), "error: %s", err.msg);
    image_archive_free(a);
    close(fd);
    free(path);
    assert_string_equal(got, expected);
    err_clear(&err);
}

#define EMPTY_TAR_ID "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef" /* 1024 zeros */
#define CONFIG       "{\"rootfs\":{\"diff_ids\":[\"" EMPTY_TAR_ID "\"]}}"

static void put_zeros(struct buf *t, const char *name)
{
    static const char zeros[1024];

    put_header(t, name, '0', "", sizeof(zeros));
    put_data(t, zeros, sizeof(zeros));
}

static void test_archives(void **state)
{
    struct buf t = BUF_INIT(1u << 20);

    (void)state;
    put_zeros(&t, "l.tar");
    put_header(&t, "a/layer.tar", '2', "../l.tar", 0);
    put_file(&t, "c.json", CONFIG);
    put_file(&t, "manifest.json", "[{\"Config\":\"c.json\",\"RepoTags\":[\"x/y\"],\"Layers\":[\"a/layer.tar\"]}]");
    put_end(&t);
    expect_archive(save(&t, "good"), "1 x/y:latest 1024");
    put_file(&t, "id1/json", "{\"id\":\"id1\",\"parent\":\"id0\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"x\"]}}");
    put_file(&t, "id0/json", "{\"id\":\"id0\"}");
    put_zeros(&t, "id1/layer.tar");
    put_zeros(&t, "id0/layer.tar");
    put_file(&t, "repositories", "{\"old\":{\"1\":\"id1\"}}");
    put_end(&t);
    expect_archive(save(&t, "legacy"), "1 old:1 2048");
}

static void test_hostile_archives(void **state)
{
    static const char outside[] = "[{\"Config\":\"../../../../etc/passwd\",\"Layers\":[]}]";
    struct buf t = BUF_INIT(1u << 20);

    (void)state;
    put_file(&t, "manifest.json", outside);
    expect_archive(save(&t, "outside"), "error: open ../../../../etc/passwd: no such file or directory");
    put_header(&t, "manifest.json", '2', "/etc/passwd", 0);
    expect_archive(save(&t, "link"), "error: open repositories: no such file or directory");
    put_header(&t, "manifest.json", '2', "loop", 0);
    put_header(&t, "loop", '2', "manifest.json", 0);
    expect_archive(save(&t, "loop"), "error: open repositories: no such file or directory");
    put_file(&t, "manifest.json", "[{\"Config\":\"c\",\"Layers\":[\"gone\"]}]");
    put_file(&t, "c", CONFIG);
    expect_archive(save(&t, "gone"), "error: open gone: no such file or directory");
    put_file(&t, "manifest.json", "[{\"Config\":\"c\",\"Layers\":[]}]");
    put_file(&t, "c", CONFIG);
    expect_archive(save(&t, "count"), "error: invalid manifest, layers length mismatch: expected 1, got 0");
    put_file(&t, "manifest.json", "[{\"Config\":\"c\",\"Layers\":[\"l\"]}]");
    put_file(&t, "c", CONFIG);
    put_file(&t, "l", "other");
    expect_archive(save(&t, "other"),
                   "error: layer l has the diff id "
                   "sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, not " EMPTY_TAR_ID);
    put_file(&t, "manifest.json", "{");
    expect_archive(save(&t, "json"), "error: manifest.json: string or '}' expected near end of file");
    put_file(&t, "manifest.json", "[]");
    expect_archive(save(&t, "none"), "error: invalid manifest.json");
    put_file(&t, "a/json", "{\"parent\":\"a\"}");
    put_zeros(&t, "a/layer.tar");
    put_file(&t, "repositories", "{\"x\":{\"1\":\"a\"}}");
    expect_archive(save(&t, "circle"), "error: max depth exceeded");
}

/* "sha256:..." of a text; owned by caller. */
static char *sum(const char *text)
{
    char hex[DIGEST_HEX + 1];

    digest_of(text, strlen(text), hex);
    return xasprintf(DIGEST_PREFIX "%s", hex);
}

/* An archive of docker save that is a layout besides; layer is what its manifest names. */
static struct image_archive *read_with_manifest(const char *layer, char **ret_manifest)
{
    cleanup_free char *config_digest = sum(CONFIG), *digest = NULL, *path = NULL;
    cleanup_free char *names = NULL, *index = NULL, *blob = NULL;
    struct buf t = BUF_INIT(1u << 20);
    struct err err = ERR_INIT;
    struct image_archive *a;
    int fd;

    *ret_manifest = xasprintf("{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
                              "\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":"
                              "\"%s\",\"size\":1},\"layers\":[{\"mediaType\":"
                              "\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"%s\",\"size\":1024}]}",
                              config_digest, layer);
    digest = sum(*ret_manifest);
    index = xasprintf("{\"manifests\":[{\"digest\":\"%s\"},{\"digest\":\"%s\"},{}]}", EMPTY_TAR_ID, digest);
    names = xasprintf("[{\"Config\":\"c.json\",\"Layers\":[\"blobs/sha256/%s\"]}]", digest_strip(EMPTY_TAR_ID));
    blob = xasprintf("blobs/sha256/%s", digest_strip(EMPTY_TAR_ID));
    put_zeros(&t, blob);
    free(blob);
    blob = xasprintf("blobs/sha256/%s", digest_strip(digest));
    put_file(&t, blob, *ret_manifest);
    put_file(&t, "c.json", CONFIG);
    put_file(&t, "index.json", index);
    put_file(&t, "manifest.json", names);
    put_end(&t);
    path = save(&t, "both");
    fd = open(path, O_RDONLY);
    a = image_archive_read(fd, folder, &err);
    close(fd);
    if (!a)
        fail_msg("%s", err.msg);
    return a;
}

static void test_kept(void **state)
{
    cleanup_free char *manifest = NULL, *other = NULL, *wrong = sum("other");
    struct image_archive *a = read_with_manifest(EMPTY_TAR_ID, &manifest);
    struct archived_layer layer;
    struct err err = ERR_INIT;

    (void)state;
    assert_string_equal(image_archive_get(a, 0)->manifest, manifest);
    assert_string_equal(image_archive_get(a, 0)->manifest_type, "application/vnd.oci.image.manifest.v1+json");
    assert_int_equal(image_archive_layer(a, 0, 0, &layer, &err), 0);
    assert_string_equal(layer.digest, EMPTY_TAR_ID);
    assert_int_equal(layer.size, 1024);
    assert_string_equal(layer.media_type, "application/vnd.oci.image.layer.v1.tar");
    image_archive_free(a);
    a = read_with_manifest(wrong, &other); /* of other layers than the image is made of: not its manifest */
    assert_null(image_archive_get(a, 0)->manifest);
    image_archive_free(a);
}

/* What a reader that was killed has left goes with the next archive; what another one is at stays. */
static void test_leftovers(void **state)
{
    cleanup_free char *dead = xasprintf("%s/atp-archive-dead", folder), *file = xasprintf("%s/0", dead);
    cleanup_free char *alive = xasprintf("%s/atp-archive-alive", folder);
    struct err err = ERR_INIT;
    struct buf t = BUF_INIT(1u << 20);
    int lock;

    (void)state;
    assert_int_equal(mkdir(dead, 0700), 0);
    assert_int_equal(mkdir(alive, 0700), 0);
    assert_int_equal(fs_write_file(file, "x", 1, 0600, &err), 0);
    lock = open(alive, O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    put_file(&t, "manifest.json", "[]");
    expect_archive(save(&t, "none"), "error: invalid manifest.json");
    assert_int_equal(access(dead, F_OK), -1);
    assert_int_equal(access(alive, F_OK), 0);
    close(lock);
    put_file(&t, "manifest.json", "[]");
    expect_archive(save(&t, "none"), "error: invalid manifest.json");
    assert_int_equal(access(alive, F_OK), -1);
}

/* ---- set-up ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/atp-unit-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

/* Private folders of archives must be gone by now: rmdir of ours after its own files shows it. */
static int remove_folder(void **state)
{
    char *pattern = xasprintf("ls -d %s/atp-archive-* 2>/dev/null", folder);
    FILE *p = popen(pattern, "r");
    int left = fgetc(p) != EOF;

    (void)state;
    pclose(p);
    free(pattern);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return left;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_bytes),  cmocka_unit_test(test_clean_names),
        cmocka_unit_test(test_damage),           cmocka_unit_test(test_merge),
        cmocka_unit_test(test_merge_refuses),    cmocka_unit_test(test_archives),
        cmocka_unit_test(test_hostile_archives), cmocka_unit_test(test_kept),
        cmocka_unit_test(test_leftovers),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
