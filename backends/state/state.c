#include "backends/state/state.h"

#include "backends/state/db.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"
#include "compat/sys/fs.h"
#include "compat/sys/random.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define SCHEMA_VERSION 1

static const char schema[] =
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
    " sandbox_id TEXT, pid INTEGER NOT NULL, created INTEGER NOT NULL, ending INTEGER NOT NULL);";

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

/* Makes the tables and the scope, under the write lock: of several first users one does it. */
static int create_schema(struct state *s, struct err *err)
{
    char scope[13];
    int version;

    if (random_hex(scope, 12, err) < 0 || run_script(s, "BEGIN IMMEDIATE", err) < 0)
        return -1;
    version = file_version(s, err);
    if (version < 0 || version > 0)
        return run_script(s, "ROLLBACK", err) < 0 ? -1 : version < 0 ? -1 : 0;
    if (run_script(s, schema, err) < 0 || db_run(s, err, "INSERT INTO meta VALUES ('scope', ?)", "s", scope) < 0 ||
        run_script(s, "PRAGMA user_version = 1", err) < 0) {
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    return run_script(s, "COMMIT", err);
}

/* Brings the file to the present schema, or says why it cannot be used. */
static int check_schema(struct state *s, struct err *err)
{
    int version = file_version(s, err);

    if (version < 0)
        return -1;
    if (version > SCHEMA_VERSION)
        return err_set(err, 125,
                       "the state file %s was written by a newer atp-docker (schema %d, this one knows %d): use that "
                       "version, or move the file away",
                       s->path, version, SCHEMA_VERSION);
    return version == SCHEMA_VERSION ? 0 : create_schema(s, err);
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

struct state *state_open(const char *dir, struct err *err)
{
    struct state *s;

    if (fs_mkdirs(dir, 0700, err) < 0)
        return NULL;
    s = xcalloc(1, sizeof(*s));
    s->path = xasprintf("%s/state.db", dir);
    if (sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        db_fail(s, err);
        state_free(s);
        return NULL;
    }
    sqlite3_busy_timeout(s->db, STATE_BUSY_MS);
    chmod(s->path, 0600);
    if (run_script(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON", err) < 0 ||
        check_schema(s, err) < 0 || load_scope(s, err) < 0) {
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
