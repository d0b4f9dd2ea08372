/* link: atp_blobs atp_sys atp_base */
/* The store of blobs: what is written, noted, swept; by several processes, some of which are killed; and what is
 * damaged. */
#include "backends/blobs/blobs.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/base/sha256.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LAYER "application/vnd.oci.image.layer.v1.tar"

static char folder[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/atp-blobs-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct blobs *open_store(void)
{
    struct err err = ERR_INIT;
    struct blobs *b = blobs_open(folder, &err);

    if (!b)
        fail_msg("%s", err.msg);
    return b;
}

/* "sha256:..." of a text; owned by caller. */
static char *digest_of(const char *text)
{
    char hex[2 * SHA256_LEN + 1];
    uint8_t sum[SHA256_LEN];

    sha256(text, strlen(text), sum);
    sha256_hex(sum, hex);
    return xasprintf("sha256:%s", hex);
}

/* Writes a text; owned by caller. */
static char *put(struct blobs *b, const char *text)
{
    struct err err = ERR_INIT;
    struct blob_writer *w = blob_writer_new(b, &err);
    char *digest = NULL;

    assert_non_null(w);
    assert_int_equal(blob_writer_add(w, text, strlen(text) / 2, &err), 0);
    assert_int_equal(blob_writer_add(w, text + strlen(text) / 2, strlen(text) - strlen(text) / 2, &err), 0);
    assert_int_equal(blob_writer_commit(w, NULL, &digest, &err), 0);
    blob_writer_free(w);
    return digest;
}

static void assert_blob(const struct blobs *b, const char *digest, const char *text)
{
    cleanup_buf struct buf got = BUF_INIT(1 << 20);
    cleanup_err struct err err = ERR_INIT;

    assert_int_equal(blobs_size(b, digest), strlen(text));
    assert_int_equal(blobs_read_text(b, digest, &got, &err), 0);
    assert_string_equal(got.data, text);
}

/* How many files are below a folder of the store. */
static int count_files(const char *kind)
{
    cleanup_free char *command = xasprintf("find %s/%s -type f | wc -l", folder, kind);
    FILE *p = popen(command, "r");
    int n = -1;

    assert_int_equal(fscanf(p, "%d", &n), 1);
    pclose(p);
    return n;
}

static void test_write_and_read(void **state)
{
    struct blobs *b = open_store();
    cleanup_free char *digest = put(b, "hello"), *want = digest_of("hello"), *empty = put(b, "");
    cleanup_err struct err err = ERR_INIT;

    (void)state;
    assert_string_equal(digest, want);
    assert_blob(b, digest, "hello");
    assert_blob(b, empty, "");
    assert_int_equal(count_files("tmp"), 0);
    assert_int_equal(blobs_size(b, "sha256:00"), -1);
    assert_int_equal(blobs_size(b, "md5:00"), -1);
    assert_int_equal(blobs_size(b, NULL), -1);
    assert_int_equal(blobs_size(b, "sha256:../../../../etc/passwd"), -1);
    assert_int_equal(blobs_read(b, "sha256:0000000000000000000000000000000000000000000000000000000000000000", &err),
                     -1);
    assert_int_equal(err.code, ENOENT);
    assert_null(blobs_file(b, "sha256:0000000000000000000000000000000000000000000000000000000000000000"));
    blobs_free(b);
}

static void test_wrong_digest(void **state)
{
    struct blobs *b = open_store();
    cleanup_free char *other = digest_of("other");
    cleanup_err struct err err = ERR_INIT;
    struct blob_writer *w = blob_writer_new(b, &err);

    (void)state;
    assert_int_equal(blob_writer_add(w, "hello", 5, &err), 0);
    assert_int_equal(blob_writer_commit(w, other, NULL, &err), -1);
    assert_non_null(strstr(err.msg, "has the digest sha256:2cf24dba"));
    blob_writer_free(w);
    assert_int_equal(count_files("tmp") + count_files("sha256"), 0);
    blobs_free(b);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_put_file(void **state)
{
    struct blobs *b = open_store();
    cleanup_free char *path = xasprintf("%s/file", folder), *digest = digest_of("contents"), *other = digest_of("x");
    cleanup_free char *other_system = xstrdup("/dev/shm/atp-blobs-XXXXXX");
    cleanup_err struct err err = ERR_INIT;
    int fd = mkstemp(other_system);

    (void)state;
    write_file(path, "contents");
    assert_int_equal(blobs_put_file(b, path, other, &err), -1);
    err_clear(&err);
    assert_int_equal(blobs_put_file(b, path, "nonsense", &err), -1);
    err_clear(&err);
    assert_int_equal(blobs_put_file(b, path, digest, &err), 0);
    assert_int_equal(blobs_put_file(b, path, digest, &err), 0); /* the same file again */
    unlink(path);
    assert_blob(b, digest, "contents");
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(blobs_put_file(b, other_system, other, &err), 0);
    assert_blob(b, other, "x");
    close(fd);
    unlink(other_system);
    assert_int_equal(blobs_put_file(b, path, digest, &err), -1); /* gone */
    assert_int_equal(count_files("tmp"), 0);
    blobs_free(b);
}

/* A blob that was cut short is not taken for one, and is whole again when it comes once more. */
static void test_damage(void **state)
{
    struct blobs *b = open_store();
    cleanup_free char *digest = put(b, "a layer"), *path = blobs_file(b, digest), *again = NULL;
    struct blob_note note = {.size = 7, .media_type = LAYER}, got;
    cleanup_err struct err err = ERR_INIT;
    cleanup_free char *key = digest_of("diff"), *note_path = NULL;

    (void)state;
    snprintf(note.digest, sizeof(note.digest), "%s", digest);
    assert_int_equal(blobs_note(b, key, &note, &err), 0);
    assert_true(blobs_find(b, key, &got));
    assert_string_equal(got.digest, digest);
    assert_string_equal(got.media_type, LAYER);
    assert_int_equal(truncate(path, 3), 0);
    assert_false(blobs_find(b, key, &got));
    again = put(b, "a layer");
    assert_true(blobs_find(b, key, &got));
    assert_blob(b, digest, "a layer");

    note_path = xasprintf("%s/notes/%.2s/%s", folder, key + 7, key + 9);
    write_file(note_path, "sha256:12 5 x\n");
    assert_false(blobs_find(b, key, &got));
    write_file(note_path, "");
    assert_false(blobs_find(b, key, &got));
    assert_int_equal(truncate(note_path, 100000), 0); /* zeros, as a lost disk leaves them */
    assert_false(blobs_find(b, key, &got));
    blobs_free(b);
}

static void test_bad_notes(void **state)
{
    struct blobs *b = open_store();
    cleanup_free char *digest = put(b, "x");
    struct blob_note note = {.size = 1, .media_type = "two words"};
    cleanup_err struct err err = ERR_INIT;

    (void)state;
    snprintf(note.digest, sizeof(note.digest), "%s", digest);
    assert_int_equal(blobs_note(b, digest, &note, &err), -1);
    snprintf(note.media_type, sizeof(note.media_type), LAYER);
    assert_int_equal(blobs_note(b, "sha256:short", &note, &err), -1);
    note.size = -1;
    assert_int_equal(blobs_note(b, digest, &note, &err), -1);
    blobs_free(b);
}

static void test_sweep(void **state)
{
    struct blobs *b = open_store(), *second = open_store();
    cleanup_free char *kept = put(b, "kept"), *noted = put(b, "noted"), *gone = put(b, "gone"), *key = digest_of("key");
    cleanup_free char *old_key = digest_of("old");
    cleanup_strlist struct strlist keep = STRLIST_INIT;
    struct blob_note note = {.size = 5, .media_type = LAYER}, got;
    cleanup_err struct err err = ERR_INIT;
    int64_t bytes = 0;

    (void)state;
    snprintf(note.digest, sizeof(note.digest), "%s", noted);
    assert_int_equal(blobs_note(b, key, &note, &err), 0);
    note.size = 4;
    snprintf(note.digest, sizeof(note.digest), "%s", gone);
    assert_int_equal(blobs_note(b, old_key, &note, &err), 0);
    strlist_add(&keep, kept);
    strlist_add(&keep, key);
    assert_int_equal(blobs_sweep(b, &keep, 0, &bytes, &err), -1); /* not alone */
    err_clear(&err);
    assert_int_equal(blobs_alone(b, &err), 0);
    blobs_free(second);
    assert_int_equal(blobs_alone(b, &err), 1);
    assert_int_equal(blobs_sweep(b, &keep, 3600, &bytes, &err), 0); /* all are young */
    assert_int_equal(bytes, 0);
    assert_int_equal(blobs_alone(b, &err), 1);
    assert_int_equal(blobs_sweep(b, &keep, 0, &bytes, &err), 0);
    assert_true(bytes >= 4);
    assert_blob(b, kept, "kept");
    assert_true(blobs_find(b, key, &got));
    assert_int_equal(blobs_size(b, gone), -1);
    assert_int_equal(count_files("notes"), 1);
    second = open_store(); /* shared again */
    assert_int_equal(blobs_alone(b, &err), 0);
    strlist_clear(&keep);
    blobs_free(b);
    assert_int_equal(blobs_alone(second, &err), 1);
    assert_int_equal(blobs_sweep(second, &keep, 0, &bytes, &err), 0);
    assert_int_equal(count_files("sha256") + count_files("notes"), 0);
    blobs_free(second);
}

/* Writes until it is killed. */
static void write_for_ever(int ready)
{
    struct blobs *b = open_store();
    struct err err = ERR_INIT;

    for (int i = 0;; i++) {
        struct blob_writer *w = blob_writer_new(b, &err);

        for (int k = 0; k < 200; k++)
            blob_writer_add(w, &i, sizeof(i), &err);
        if (i == 3 && write(ready, "x", 1) != 1)
            _exit(1);
        blob_writer_commit(w, NULL, NULL, &err);
        blob_writer_free(w);
    }
}

/* Whenever its writer dies, each blob is whole, and what it was writing goes with the next one who comes. */
static void test_killed_writers(void **state)
{
    cleanup_free char *check = xasprintf(
        "cd %s/sha256 && find . -type f | while read -r f; do n=$(echo \"$f\" | tr -d ./); s=$(sha256sum <\"$f\"); "
        "[ \"$n\" = \"${s%%%% *}\" ] || exit 1; done",
        folder);

    (void)state;
    for (int round = 0; round < 20; round++) {
        int ready[2], status;
        pid_t pid;
        char c;

        assert_int_equal(pipe(ready), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            write_for_ever(ready[1]);
        close(ready[1]);
        assert_int_equal(read(ready[0], &c, 1), 1);
        usleep((useconds_t)(round * 137));
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        close(ready[0]);
        blobs_free(open_store());
        assert_int_equal(count_files("tmp"), 0);
    }
    assert_true(count_files("sha256") >= 3);
    assert_int_equal(pclose(popen(check, "r")), 0);
}

/* Several at once write the same blobs while others come and go; nobody's unfinished file is taken for a leftover. */
static void test_crowd(void **state)
{
    pid_t pids[6];
    struct blobs *b;

    (void)state;
    for (size_t i = 0; i < sizeof(pids) / sizeof(*pids); i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            for (int k = 0; k < 60; k++) {
                cleanup_free char *text = xasprintf("blob %d", k % 10), *want = digest_of(text), *got = NULL;
                struct blobs *mine = blobs_open(folder, NULL);

                got = mine ? put(mine, text) : NULL;
                if (!got || strcmp(got, want) != 0 || blobs_size(mine, got) != (int64_t)strlen(text))
                    _exit(1);
                blobs_free(mine);
            }
            _exit(0);
        }
    }
    for (size_t i = 0; i < sizeof(pids) / sizeof(*pids); i++) {
        int status = -1;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    b = open_store();
    assert_int_equal(count_files("sha256"), 10);
    assert_int_equal(count_files("tmp"), 0);
    blobs_free(b);
}

static void test_unusable_folder(void **state)
{
    cleanup_free char *path = xasprintf("%s/file", folder), *below = xasprintf("%s/store", path);
    cleanup_err struct err err = ERR_INIT;

    (void)state;
    write_file(path, "no folder");
    assert_null(blobs_open(below, &err));
    assert_non_null(err.msg);
    blobs_free(NULL);
    blob_writer_free(NULL);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_write_and_read), CASE(test_wrong_digest),   CASE(test_put_file),
        CASE(test_damage),         CASE(test_bad_notes),      CASE(test_sweep),
        CASE(test_crowd),          CASE(test_killed_writers), CASE(test_unusable_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
