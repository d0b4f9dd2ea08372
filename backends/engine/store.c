#include "backends/engine/store.h"

#include "backends/engine/ids.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <jansson.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct store {
    sqlite3 *db;
};

static const char schema[] = "PRAGMA journal_mode=WAL;"
                             "PRAGMA synchronous=NORMAL;"
                             "CREATE TABLE IF NOT EXISTS environments(name TEXT PRIMARY KEY, id TEXT NOT NULL,"
                             " created_at REAL NOT NULL);"
                             "CREATE TABLE IF NOT EXISTS apps(id TEXT PRIMARY KEY, environment TEXT NOT NULL,"
                             " name TEXT NOT NULL, created_at REAL NOT NULL, UNIQUE(environment, name));"
                             "CREATE TABLE IF NOT EXISTS secrets(id TEXT PRIMARY KEY, environment TEXT NOT NULL,"
                             " name TEXT NOT NULL, created_at REAL NOT NULL, env TEXT NOT NULL,"
                             " UNIQUE(environment, name));";

static int db_err(struct store *s, struct err *err)
{
    return err_set(err, 125, "the engine's state: %s", s->db ? sqlite3_errmsg(s->db) : "out of memory");
}

struct store *store_open(const char *dir, struct err *err)
{
    cleanup_free char *path = xasprintf("%s/engine.db", dir);
    struct store *s = xcalloc(1, sizeof(*s));
    mode_t before = umask(077);
    int rc = sqlite3_open(path, &s->db);

    umask(before);
    if (rc != SQLITE_OK || sqlite3_exec(s->db, schema, NULL, NULL, NULL) != SQLITE_OK) {
        db_err(s, err);
        err_wrap(err, "opening %s", path);
        store_close(s);
        return NULL;
    }
    return s;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    sqlite3_close(s->db);
    free(s);
}

/* Prepares sql and binds one value per letter of types: s = const char *, d = double, i = int64. NULL on error. */
static sqlite3_stmt *query(struct store *s, struct err *err, const char *sql, const char *types, ...)
{
    sqlite3_stmt *stmt;
    va_list ap;

    if (sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        db_err(s, err);
        return NULL;
    }
    va_start(ap, types);
    for (int i = 1; types[i - 1]; i++) {
        if (types[i - 1] == 's')
            sqlite3_bind_text(stmt, i, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
        else if (types[i - 1] == 'd')
            sqlite3_bind_double(stmt, i, va_arg(ap, double));
        else
            sqlite3_bind_int64(stmt, i, va_arg(ap, sqlite3_int64));
    }
    va_end(ap);
    return stmt;
}

static void finalize(sqlite3_stmt **stmt)
{
    sqlite3_finalize(*stmt);
}

#define cleanup_stmt cleanup_with(finalize)

/* Runs a statement that gives no rows. */
static int run(struct store *s, sqlite3_stmt *stmt, struct err *err)
{
    if (!stmt)
        return -1;
    return sqlite3_step(stmt) == SQLITE_DONE ? 0 : db_err(s, err);
}

static char *text_of(sqlite3_stmt *stmt, int column)
{
    return xstrdup((const char *)sqlite3_column_text(stmt, column));
}

/* ---- environments ---- */

char *store_environment(struct store *s, const char *name, struct err *err)
{
    cleanup_stmt sqlite3_stmt *found = NULL, *insert = NULL;
    cleanup_free char *id = NULL;

    if (!environment_name_is_valid(name)) {
        err_set(err, 125, "invalid environment name \"%s\"", name);
        return NULL;
    }
    found = query(s, err, "SELECT id FROM environments WHERE name = ?", "s", name);
    if (!found)
        return NULL;
    if (sqlite3_step(found) == SQLITE_ROW)
        return text_of(found, 0);
    id = id_new("en");
    insert =
        query(s, err, "INSERT INTO environments(name, id, created_at) VALUES(?, ?, ?)", "ssd", name, id, unix_now());
    return run(s, insert, err) < 0 ? NULL : steal(&id);
}

int store_environments(struct store *s, struct strlist *ret_names, struct err *err)
{
    cleanup_stmt sqlite3_stmt *stmt = query(s, err, "SELECT name FROM environments ORDER BY created_at, name", "");

    if (!stmt)
        return -1;
    while (sqlite3_step(stmt) == SQLITE_ROW)
        strlist_add(ret_names, (const char *)sqlite3_column_text(stmt, 0));
    return 0;
}

/* ---- apps ---- */

void store_app_clear(struct store_app *app)
{
    free(app->id);
    free(app->environment);
    free(app->name);
    *app = (struct store_app){0};
}

/* The one row of a look-up among apps. */
static int one_app(sqlite3_stmt *stmt, struct store_app *ret)
{
    if (!stmt)
        return -1;
    if (sqlite3_step(stmt) != SQLITE_ROW)
        return 0;
    *ret = (struct store_app){.id = text_of(stmt, 0),
                              .environment = text_of(stmt, 1),
                              .name = text_of(stmt, 2),
                              .created_at = sqlite3_column_double(stmt, 3)};
    return 1;
}

#define SELECT_APP "SELECT id, environment, name, created_at FROM apps "

int store_app_by_name(struct store *s, const char *environment, const char *name, struct store_app *ret,
                      struct err *err)
{
    cleanup_stmt sqlite3_stmt *stmt =
        query(s, err, SELECT_APP "WHERE environment = ? AND name = ?", "ss", environment, name);

    return one_app(stmt, ret);
}

int store_app_by_id(struct store *s, const char *id, struct store_app *ret, struct err *err)
{
    cleanup_stmt sqlite3_stmt *stmt = query(s, err, SELECT_APP "WHERE id = ?", "s", id);

    return one_app(stmt, ret);
}

int store_app_create(struct store *s, const char *environment, const char *name, struct store_app *ret, struct err *err)
{
    cleanup_free char *id = id_new("ap");
    cleanup_stmt sqlite3_stmt *stmt =
        query(s, err, "INSERT INTO apps(id, environment, name, created_at) VALUES(?, ?, ?, ?)", "sssd", id, environment,
              name, unix_now());

    if (run(s, stmt, err) < 0)
        return -1;
    return store_app_by_id(s, id, ret, err);
}

int store_app_nth(struct store *s, const char *environment, size_t index, struct store_app *ret, struct err *err)
{
    cleanup_stmt sqlite3_stmt *stmt =
        query(s, err, SELECT_APP "WHERE environment = ? ORDER BY created_at, id LIMIT 1 OFFSET ?", "si", environment,
              (sqlite3_int64)index);

    return one_app(stmt, ret);
}

/* ---- secrets ---- */

void store_secret_clear(struct store_secret *secret)
{
    free(secret->id);
    free(secret->environment);
    free(secret->name);
    strlist_clear(&secret->env);
    *secret = (struct store_secret){0};
}

/* The one row of a look-up among secrets; env is a JSON list of "K=V". */
static int one_secret(sqlite3_stmt *stmt, struct store_secret *ret)
{
    json_t *env, *item;
    size_t i;

    if (!stmt)
        return -1;
    if (sqlite3_step(stmt) != SQLITE_ROW)
        return 0;
    *ret = (struct store_secret){.id = text_of(stmt, 0),
                                 .environment = text_of(stmt, 1),
                                 .name = text_of(stmt, 2),
                                 .created_at = sqlite3_column_double(stmt, 3)};
    env = json_loads((const char *)sqlite3_column_text(stmt, 4), 0, NULL);
    json_array_foreach(env, i, item) if (json_is_string(item)) strlist_add(&ret->env, json_string_value(item));
    json_decref(env);
    return 1;
}

#define SELECT_SECRET "SELECT id, environment, name, created_at, env FROM secrets "

int store_secret_by_name(struct store *s, const char *environment, const char *name, struct store_secret *ret,
                         struct err *err)
{
    cleanup_stmt sqlite3_stmt *stmt =
        query(s, err, SELECT_SECRET "WHERE environment = ? AND name = ?", "ss", environment, name);

    return one_secret(stmt, ret);
}

int store_secret_by_id(struct store *s, const char *id, struct store_secret *ret, struct err *err)
{
    cleanup_stmt sqlite3_stmt *stmt = query(s, err, SELECT_SECRET "WHERE id = ?", "s", id);

    return one_secret(stmt, ret);
}

int store_secret_put(struct store *s, const struct store_secret *secret, struct err *err)
{
    cleanup_stmt sqlite3_stmt *stmt = NULL;
    cleanup_free char *text = NULL;
    json_t *env = json_array();
    bool is_text = true;

    for (size_t i = 0; i < secret->env.len; i++)
        is_text = json_array_append_new(env, json_string(secret->env.items[i])) == 0 && is_text;
    text = json_dumps(env, JSON_COMPACT);
    json_decref(env);
    if (!is_text)
        return err_set(err, 125, "secret %s holds a value that is not UTF-8", secret->name);
    stmt = query(s, err, "INSERT OR REPLACE INTO secrets(id, environment, name, created_at, env) VALUES(?, ?, ?, ?, ?)",
                 "sssds", secret->id, secret->environment, secret->name, secret->created_at, text);
    return run(s, stmt, err);
}

int store_secret_delete(struct store *s, const char *id, struct err *err)
{
    cleanup_stmt sqlite3_stmt *stmt = query(s, err, "DELETE FROM secrets WHERE id = ?", "s", id);

    if (run(s, stmt, err) < 0)
        return -1;
    return sqlite3_changes(s->db) > 0;
}

int store_secret_before(struct store *s, const char *environment, double before, struct store_secret *ret,
                        struct err *err)
{
    cleanup_stmt sqlite3_stmt *stmt =
        query(s, err, SELECT_SECRET "WHERE environment = ? AND created_at < ? ORDER BY created_at DESC LIMIT 1", "sd",
              environment, before > 0 ? before : 1e18);

    return one_secret(stmt, ret);
}
