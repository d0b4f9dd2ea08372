#include "backends/state/state.h"

#include "backends/state/db.h"
#include "backends/state/scope.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

/*
 * How a file of each version becomes one of the next; an empty file is version 0. A step is never changed once it was
 * released, so a file of any age arrives at the same tables.
 */
static const char *const steps[] = {
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
    " command TEXT NOT NULL, labels TEXT NOT NULL, status TEXT NOT NULL, server TEXT, sandbox_id TEXT, auto_remove "
    "INTEGER NOT NULL,"
    " exit_code INTEGER NOT NULL, created_ns INTEGER NOT NULL, started_ns INTEGER NOT NULL,"
    " finished_ns INTEGER NOT NULL);"
    "CREATE TABLE intents (container_id TEXT PRIMARY KEY, server TEXT NOT NULL, app TEXT NOT NULL, sandbox_name TEXT "
    "NOT NULL,"
    " sandbox_id TEXT, pid INTEGER NOT NULL, created INTEGER NOT NULL, ending INTEGER NOT NULL);",

    "ALTER TABLE containers ADD COLUMN record TEXT;"
    "ALTER TABLE containers ADD COLUMN error TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE containers ADD COLUMN files TEXT;"
    "ALTER TABLE containers ADD COLUMN stopped_by_user INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE containers ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE containers ADD COLUMN recovered INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE intents RENAME TO old_intents;"
    "CREATE TABLE intents (sandbox_name TEXT PRIMARY KEY, container_id TEXT NOT NULL, server TEXT NOT NULL,"
    " app TEXT NOT NULL, sandbox_id TEXT, pid INTEGER NOT NULL, created INTEGER NOT NULL, ending INTEGER NOT NULL);"
    "INSERT INTO intents SELECT sandbox_name, container_id, server, app, sandbox_id, pid, created, ending"
    " FROM old_intents;"
    "DROP TABLE old_intents;",

    "ALTER TABLE images ADD COLUMN layers TEXT;"
    "ALTER TABLE images ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;",

    "ALTER TABLE images ADD COLUMN parent TEXT;",

    "CREATE TABLE networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, driver TEXT NOT NULL,"
    " labels TEXT NOT NULL, options TEXT NOT NULL, internal INTEGER NOT NULL, attachable INTEGER NOT NULL,"
    " created_ns INTEGER NOT NULL);"
    "CREATE TABLE pods (id TEXT PRIMARY KEY, server TEXT NOT NULL, app TEXT NOT NULL, sandbox_id TEXT,"
    " token TEXT NOT NULL, networks TEXT NOT NULL, created_ns INTEGER NOT NULL);"
    "ALTER TABLE containers ADD COLUMN pod TEXT;"
    "ALTER TABLE containers ADD COLUMN networks TEXT;",

    "ALTER TABLE containers ADD COLUMN ports TEXT;"
    "ALTER TABLE containers ADD COLUMN health TEXT;"
    "CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER NOT NULL, type TEXT NOT NULL,"
    " action TEXT NOT NULL, actor TEXT NOT NULL, attributes TEXT NOT NULL, once TEXT UNIQUE);"
    "CREATE INDEX events_time ON events(time_ns);",

    "CREATE TABLE volumes (name TEXT PRIMARY KEY, labels TEXT NOT NULL, options TEXT NOT NULL,"
    " created_ns INTEGER NOT NULL, anonymous INTEGER NOT NULL);"
    "CREATE TABLE server_volumes (server TEXT NOT NULL, name TEXT NOT NULL REFERENCES volumes(name) ON DELETE CASCADE,"
    " modal_id TEXT NOT NULL, PRIMARY KEY (server, name));",

    "ALTER TABLE pods ADD COLUMN modal TEXT;",
};
#define STATE_LOG_PAGES 128 /* half a MiB: read in well under a millisecond */
#define SCHEMA_VERSION  ((int)(sizeof(steps) / sizeof(steps[0])))

/* The version that the file has; 0 for an empty one, -1 for an error. */
static int file_version(struct state *s, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(s, err, "PRAGMA user_version", "");

    if (!st || db_step(s, st, err) < 0)
        return -1;
    return sqlite3_column_int(st, 0);
}

/* Runs several statements. */
static int run_script(struct state *s, const char *sql, struct err *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_fail(s, err);
}

/* The steps from `version` on, and the scope of a new file; within a transaction. */
static int take_steps(struct state *s, int version, const char *scope_file, struct err *err)
{
    char pragma[48];

    for (int v = version; v < SCHEMA_VERSION; v++)
        if (run_script(s, steps[v], err) < 0)
            return -1;
    if (version == 0) {
        char scope[SCOPE_LEN + 1];

        if (scope_make(scope_file, scope, err) < 0 ||
            db_run(s, err, "INSERT INTO meta VALUES ('scope', ?)", "s", scope) < 0)
            return -1;
        s->is_new = true;
    }
    snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", SCHEMA_VERSION);
    return run_script(s, pragma, err);
}

/* Under the write lock: of several first users one brings the file up. */
static int upgrade(struct state *s, const char *scope_file, struct err *err)
{
    int version;

    if (run_script(s, "BEGIN IMMEDIATE", err) < 0)
        return -1;
    version = file_version(s, err);
    if (version < 0 || (version < SCHEMA_VERSION && take_steps(s, version, scope_file, err) < 0)) {
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    return run_script(s, "COMMIT", err);
}

static int load_scope(struct state *s, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(s, err, "SELECT value FROM meta WHERE key = 'scope'", "");
    int got = st ? db_step(s, st, err) : -1;

    if (got < 0)
        return -1;
    if (got == 0)
        return err_set(err, 125, "the state file %s is damaged (no scope): move it away to start with an empty one",
                       s->path);
    s->scope = db_text(st, 0);
    return 0;
}

/* The file, its log and its index are ours alone: records have passwords in them. */
static void keep_private(const struct state *s)
{
    static const char *const ends[] = {"", "-wal", "-shm"};

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        cleanup_free char *path = xasprintf("%s%s", s->path, ends[i]);

        (void)!chmod(path, 0600);
    }
}

/* Brings the file to the present schema, or says why it cannot be used. */
static int check_schema(struct state *s, const char *scope_file, struct err *err)
{
    int version = file_version(s, err);

    if (version < 0)
        return -1;
    if (version > SCHEMA_VERSION)
        return err_set(err, 125,
                       "the state file %s was written by a newer atp-docker (schema %d, this one knows %d): use that "
                       "version, or move the file away",
                       s->path, version, SCHEMA_VERSION);
    if (version == SCHEMA_VERSION)
        return load_scope(s, err);
    if (upgrade(s, scope_file, err) < 0 || load_scope(s, err) < 0)
        return -1;
    keep_private(s);
    scope_keep(scope_file, s->scope);
    return 0;
}

/*
 * How the file is written. The log stays when the last process closes: a checkpoint there, two syncs and two unlinked
 * files, would cost each command more than all else that it does here. Instead whoever makes it grow past
 * STATE_LOG_PAGES writes it back, which also bounds what the next process has to read when it finds itself alone.
 */
static int set_up(struct state *s, struct err *err)
{
    char pragmas[160];

    sqlite3_busy_timeout(s->db, STATE_BUSY_MS);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    snprintf(pragmas, sizeof(pragmas),
             "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;"
             "PRAGMA wal_autocheckpoint = %d",
             STATE_LOG_PAGES);
    return run_script(s, pragmas, err);
}

/* Remembers which file this is. */
static void note_file(struct state *s)
{
    struct stat st;

    if (stat(s->path, &st) == 0) {
        s->ino = st.st_ino;
        s->dev = st.st_dev;
    }
}

/*
 * The folder's lock where the file is not there yet, or empty: SQLite takes an empty file's log for a left-over and
 * deletes it, which several first users would do to each other. -1: not needed, or not to be had; then SQLite's own
 * locks have to do.
 */
static int lock_if_empty(const char *dir, const char *path)
{
    struct stat st;
    int fd;

    if (stat(path, &st) == 0 && st.st_size > 0)
        return -1;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd >= 0 && flock(fd, LOCK_EX) < 0 && errno == EINTR)
        ;
    return fd;
}

/* Opens the file and brings it up. */
static int open_file(struct state *s, const char *scope_file, struct err *err)
{
    if (sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        return db_fail(s, err);
    note_file(s);
    return set_up(s, err) < 0 || check_schema(s, scope_file, err) < 0 ? -1 : 0;
}

struct state *state_open(const char *dir, const char *scope_file, struct err *err)
{
    cleanup_close int lock = -1;
    struct state *s;

    if (fs_mkdirs(dir, 0700, err) < 0)
        return NULL;
    s = xcalloc(1, sizeof(*s));
    s->path = xasprintf("%s/state.db", dir);
    lock = lock_if_empty(dir, s->path);
    if (open_file(s, scope_file, err) < 0) {
        state_free(s);
        return NULL;
    }
    return s;
}

void state_free(struct state *s)
{
    if (!s)
        return;
    sqlite3_close_v2(s->db);
    free(s->path);
    free(s->scope);
    free(s);
}

const char *state_scope(const struct state *s)
{
    return s->scope;
}

bool state_is_new(const struct state *s)
{
    return s->is_new;
}

bool state_is_lost(const struct state *s)
{
    struct stat st;

    return stat(s->path, &st) < 0 || st.st_ino != s->ino || st.st_dev != s->dev;
}

int state_cache_get(struct state *s, const char *key, char **ret, int64_t now, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st =
        db_prepare(s, err, "SELECT value FROM cache WHERE key = ? AND expires > ?", "si", key, now);
    int got = st ? db_step(s, st, err) : -1;

    if (got > 0)
        *ret = db_text(st, 0);
    return got;
}

int state_cache_put(struct state *s, const char *key, const char *value, int64_t expires, struct err *err)
{
    return db_run(s, err, "INSERT OR REPLACE INTO cache VALUES (?, ?, ?)", "ssi", key, value, expires);
}

int state_cache_drop(struct state *s, const char *key, struct err *err)
{
    return db_run(s, err, "DELETE FROM cache WHERE key = ?", "s", key);
}
