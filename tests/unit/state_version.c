/* link: atp_state atp_sys atp_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/state/state.h"
#include "compat/base/alloc.h"
#include "compat/base/buf.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/atp-state-XXXXXX";
static char *scope_file;

static int make_dir(void **state)
{
    (void)state;
    memcpy(dir + sizeof(dir) - 7, "XXXXXX", 7);
    if (!mkdtemp(dir))
        return -1;
    scope_file = xasprintf("%s/config/scope", dir);
    return 0;
}

static void remove_file(const char *name)
{
    cleanup_free char *path = xasprintf("%s/%s", dir, name);

    unlink(path);
}

static void remove_state(void)
{
    remove_file("state.db");
    remove_file("state.db-wal");
    remove_file("state.db-shm");
}

static int remove_dir(void **state)
{
    cleanup_free char *config = xasprintf("%s/config", dir);

    (void)state;
    remove_state();
    unlink(scope_file);
    rmdir(config);
    unlink(config);
    free(scope_file);
    return rmdir(dir); /* fails when a temporary file was left */
}

static struct state *open_state(void)
{
    struct err err = ERR_INIT;
    struct state *s = state_open(dir, scope_file, &err);

    if (!s)
        fail_msg("%s", err.msg);
    return s;
}

static void run_sql(const char *sql)
{
    cleanup_free char *path = xasprintf("%s/state.db", dir);
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* The tables of version 1 as it made them, with a container and an intent in them. */
static const char version_1[] =
    "PRAGMA journal_mode = WAL;"
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);"
    "CREATE TABLE cache (key TEXT PRIMARY KEY, value TEXT NOT NULL, expires INTEGER NOT NULL);"
    "CREATE TABLE images (id TEXT PRIMARY KEY, config TEXT NOT NULL, source TEXT NOT NULL, pull TEXT,"
    " size INTEGER NOT NULL, created INTEGER NOT NULL, added INTEGER NOT NULL);"
    "CREATE TABLE tags (ref TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,"
    " digest TEXT NOT NULL);"
    "CREATE INDEX tags_image ON tags(image);"
    "CREATE TABLE server_images (server TEXT NOT NULL, image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,"
    " layer TEXT NOT NULL, modal_id TEXT NOT NULL, PRIMARY KEY (server, image, layer));"
    "CREATE TABLE containers (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, image TEXT NOT NULL, image_id TEXT,"
    " command TEXT NOT NULL, labels TEXT NOT NULL, status TEXT NOT NULL, server TEXT, sandbox_id TEXT,"
    " auto_remove INTEGER NOT NULL, exit_code INTEGER NOT NULL, created_ns INTEGER NOT NULL,"
    " started_ns INTEGER NOT NULL, finished_ns INTEGER NOT NULL);"
    "CREATE TABLE intents (container_id TEXT PRIMARY KEY, server TEXT NOT NULL, app TEXT NOT NULL,"
    " sandbox_name TEXT NOT NULL, sandbox_id TEXT, pid INTEGER NOT NULL, created INTEGER NOT NULL,"
    " ending INTEGER NOT NULL);"
    "INSERT INTO meta VALUES ('scope', '0123456789ab');"
    "INSERT INTO containers VALUES ('aaaa', 'old', 'x', 'sha256:1', '[\"sh\"]', '[]', 'exited', NULL, NULL, 0, 7, 1, 2,"
    " 3);"
    "INSERT INTO intents VALUES ('aaaa', 'srv', 'app', 'atp-x', 'sb-1', 1, 2, 1);"
    "PRAGMA user_version = 1;";

static void version_1_is_brought_up(void **state)
{
    struct state_container c = {0};
    struct state_intent *intents = NULL;
    struct err err = ERR_INIT;
    struct state *s;
    size_t len = 0;

    (void)state;
    run_sql(version_1);
    s = open_state();
    assert_false(state_is_new(s));
    assert_string_equal(state_scope(s), "0123456789ab");
    assert_int_equal(state_container_find(s, "old", &c, &err), 1);
    assert_int_equal(c.exit_code, 7);
    assert_int_equal(c.finished_ns, 3);
    assert_null(c.record);
    assert_string_equal(c.error, "");
    assert_int_equal(c.restarts, 0);
    state_container_clear(&c);
    assert_int_equal(state_intent_list(s, "srv", &intents, &len, &err), 0);
    assert_int_equal(len, 1);
    assert_true(intents[0].ending);
    state_intent_clear(&intents[0]);
    free(intents);
    state_free(s);
    s = open_state(); /* once is enough */
    state_free(s);
}

/* Several clients of the new version meet a file of the old one: one brings it up, all can use it. */
static void brought_up_by_many(void **state)
{
    (void)state;
    run_sql(version_1);
    for (int i = 0; i < 8; i++) {
        if (fork() == 0) {
            struct state *mine = state_open(dir, scope_file, NULL);
            struct state_container c = {0};
            bool ok = mine && state_container_find(mine, "old", &c, NULL) == 1;

            state_container_clear(&c);
            state_free(mine);
            _exit(ok ? 0 : 1);
        }
    }
    for (int i = 0; i < 8; i++) {
        int status = 0;

        wait(&status);
        assert_int_equal(status, 0);
    }
}

static void newer_file_is_refused(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    state_free(open_state());
    run_sql("PRAGMA user_version = 99");
    assert_null(state_open(dir, scope_file, &err));
    assert_non_null(strstr(err.msg, "written by a newer atp-docker"));
    assert_non_null(strstr(err.msg, "move the file away"));
    err_clear(&err);
}

/* Records have passwords in them: nobody else reads them, not in the log beside the file either. */
static void files_are_private(void **state)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    struct state *s = open_state();

    (void)state;
    assert_int_equal(state_cache_put(s, "k", "v", INT64_MAX, NULL), 0);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        cleanup_free char *file = xasprintf("%s/state.db%s", dir, ends[i]);
        struct stat st;

        assert_int_equal(stat(file, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    state_free(s);
}

static void scope_outlives_the_state(void **state)
{
    struct state *s = open_state();
    cleanup_free char *scope = xstrdup(state_scope(s));
    struct stat st;

    (void)state;
    assert_true(state_is_new(s));
    state_free(s);
    assert_int_equal(stat(scope_file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    remove_state();
    s = open_state();
    assert_string_equal(state_scope(s), scope);
    assert_true(state_is_new(s));
    state_free(s);
    unlink(scope_file); /* and the state outlives the file */
    s = open_state();
    assert_string_equal(state_scope(s), scope);
    assert_false(state_is_new(s));
    state_free(s);
}

static void odd_scope_files(void **state)
{
    static const char *const texts[] = {
        "", "short", "0123456789AB\n", "0123456789abc", "0123456789ab\n\n", "../../../etc\n"};
    struct err err = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cleanup_free char *config = xasprintf("%s/config", dir);
        struct state *s;

        assert_int_equal(fs_mkdirs(config, 0700, &err), 0);
        assert_int_equal(fs_write_file(scope_file, texts[i], strlen(texts[i]), 0600, &err), 0);
        s = open_state();
        assert_int_equal(strlen(state_scope(s)), 12);
        assert_int_equal(strspn(state_scope(s), "0123456789abcdef"), 12);
        state_free(s);
        remove_state();
    }
}

static void config_folder_cannot_be_made(void **state)
{
    cleanup_free char *config = xasprintf("%s/config", dir);
    struct err err = ERR_INIT;
    struct state *s;

    (void)state;
    assert_int_equal(fs_write_file(config, "x", 1, 0600, &err), 0); /* a file is where the folder would be */
    s = open_state();
    assert_int_equal(strlen(state_scope(s)), 12);
    state_free(s);
}

static void vanished_while_in_use(void **state)
{
    struct state *s = open_state(), *other;

    (void)state;
    assert_false(state_is_lost(s));
    remove_state();
    assert_true(state_is_lost(s));
    other = open_state();
    assert_true(state_is_lost(s)); /* a file of the same name is not the one that was opened */
    assert_false(state_is_lost(other));
    state_free(other);
    state_free(s);
}

/* Two writers with copies of one row: each writes what it knows of. */
static void updates_do_not_undo_each_other(void **state)
{
    struct state_container a = {.id = "aaaa",
                                .name = "one",
                                .image = "x",
                                .command = "[]",
                                .labels = "[]",
                                .status = "created",
                                .record = "{}"},
                           b = a, got = {0};
    struct state *s = open_state();
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(state_container_add(s, &a, &err), 0);
    a.status = "running";
    a.started_ns = 5;
    b.name = "two";
    b.record = "{\"Name\":\"two\"}";
    b.sandbox_id = "sb-1";
    b.server = "srv";
    assert_int_equal(state_container_update(s, &a, STATE_PART_STATUS, &err), 1);
    assert_int_equal(state_container_update(s, &b, STATE_PART_IDENTITY | STATE_PART_SANDBOX, &err), 1);
    a.files = "im-1";
    a.restarts = 3;
    a.stopped_by_user = true;
    assert_int_equal(state_container_update(s, &a, STATE_PART_FILES | STATE_PART_STOPPED | STATE_PART_RESTARTS, &err),
                     1);
    assert_int_equal(state_container_find(s, "two", &got, &err), 1);
    assert_string_equal(got.status, "running");
    assert_int_equal(got.started_ns, 5);
    assert_string_equal(got.record, "{\"Name\":\"two\"}");
    assert_string_equal(got.sandbox_id, "sb-1");
    assert_string_equal(got.files, "im-1");
    assert_int_equal(got.restarts, 3);
    assert_true(got.stopped_by_user);
    state_container_clear(&got);
    assert_int_equal(state_container_remove(s, "aaaa", &err), 1);
    assert_int_equal(state_container_remove(s, "aaaa", &err), 0);
    assert_int_equal(state_container_update(s, &a, STATE_PART_STATUS, &err), 0); /* gone: nothing comes back */
    assert_int_equal(state_container_find(s, "aaaa", &got, &err), 0);
    state_free(s);
}

static void renamed_to_a_taken_name(void **state)
{
    struct state_container a = {.id = "aaaa",
                                .name = "one",
                                .image = "x",
                                .command = "[]",
                                .labels = "[]",
                                .status = "created"},
                           b = a;
    struct state *s = open_state();
    struct err err = ERR_INIT;

    (void)state;
    b.id = "bbbb";
    b.name = "two";
    assert_int_equal(state_container_add(s, &a, &err), 0);
    assert_int_equal(state_container_add(s, &b, &err), 0);
    b.name = "one";
    assert_int_equal(state_container_update(s, &b, STATE_PART_IDENTITY, &err), -1);
    assert_non_null(strstr(err.msg, "The container name \"/one\" is already in use by container \"aaaa\""));
    err_clear(&err);
    state_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_are_private, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(version_1_is_brought_up, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(brought_up_by_many, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(newer_file_is_refused, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(scope_outlives_the_state, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(odd_scope_files, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(config_folder_cannot_be_made, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(vanished_while_in_use, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(updates_do_not_undo_each_other, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(renamed_to_a_taken_name, make_dir, remove_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
