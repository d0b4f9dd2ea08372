#include "backends/state/db.h"

#include "compat/base/alloc.h"
#include "compat/base/err.h"

#include <stdarg.h>
#include <stdlib.h>

int db_fail(struct state *s, struct err *err)
{
    int code = sqlite3_errcode(s->db) & 0xff;

    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
        return err_set(err, 125, "the state file %s is damaged (%s): move it away to start with an empty one", s->path,
                       sqlite3_errmsg(s->db));
    if (code == SQLITE_BUSY)
        return err_set(err, 125, "the state file %s is locked by another process for more than %d s", s->path,
                       STATE_BUSY_MS / 1000);
    if (sqlite3_extended_errcode(s->db) == SQLITE_READONLY_DBMOVED)
        return err_set(err, 125, "the state file %s was moved away or deleted while it was in use", s->path);
    if (code == SQLITE_FULL)
        return err_set(err, 125, "the state file %s: the disk is full", s->path);
    if (code == SQLITE_READONLY || code == SQLITE_PERM || code == SQLITE_CANTOPEN)
        return err_set(err, 125,
                       "the state file %s cannot be written (%s): see to its permissions, or set "
                       "XDG_STATE_HOME to another folder",
                       s->path, sqlite3_errmsg(s->db));
    return err_set(err, 125, "the state file %s: %s (%d)", s->path, sqlite3_errmsg(s->db),
                   sqlite3_extended_errcode(s->db));
}

/* Binds by the letters of types. */
static void bind_all(sqlite3_stmt *st, const char *types, va_list ap)
{
    for (int i = 0; types[i]; i++) {
        if (types[i] == 'i')
            sqlite3_bind_int64(st, i + 1, va_arg(ap, int64_t));
        else
            sqlite3_bind_text(st, i + 1, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
    }
}

static sqlite3_stmt *vprepare(struct state *s, struct err *err, const char *sql, const char *types, va_list ap)
{
    sqlite3_stmt *st = NULL;

    if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) != SQLITE_OK) {
        db_fail(s, err);
        return NULL;
    }
    bind_all(st, types, ap);
    return st;
}

sqlite3_stmt *db_prepare(struct state *s, struct err *err, const char *sql, const char *types, ...)
{
    sqlite3_stmt *st;
    va_list ap;

    va_start(ap, types);
    st = vprepare(s, err, sql, types, ap);
    va_end(ap);
    return st;
}

int db_step(struct state *s, sqlite3_stmt *st, struct err *err)
{
    switch (sqlite3_step(st)) {
    case SQLITE_ROW:
        return 1;
    case SQLITE_DONE:
        return 0;
    default:
        return db_fail(s, err);
    }
}

void db_done(sqlite3_stmt *st)
{
    sqlite3_finalize(st);
}

int db_run(struct state *s, struct err *err, const char *sql, const char *types, ...)
{
    cleanup_stmt sqlite3_stmt *st = NULL;
    va_list ap;
    int got;

    va_start(ap, types);
    st = vprepare(s, err, sql, types, ap);
    va_end(ap);
    if (!st)
        return -1;
    while ((got = db_step(s, st, err)) > 0)
        ;
    return got;
}

int db_one(struct state *s, sqlite3_stmt *st, db_read_fn *read, void *ret, bool *ret_more, struct err *err)
{
    int got = st ? db_step(s, st, err) : -1;

    if (got > 0) {
        read(st, ret);
        if (ret_more)
            *ret_more = db_step(s, st, NULL) > 0;
    }
    return got;
}

int db_list(struct state *s, sqlite3_stmt *st, size_t size, db_read_fn *read, db_clear_fn *clear, void **ret,
            size_t *ret_len, struct err *err)
{
    char *list = NULL;
    size_t len = 0, room = 0;
    int got = -1;

    while (st && (got = db_step(s, st, err)) > 0) {
        if (len == room) {
            room = room ? 2 * room : 16;
            list = xreallocarray(list, room, size);
        }
        read(st, list + len++ * size);
    }
    if (got < 0) {
        while (len > 0)
            clear(list + --len * size);
        free(list);
        return -1;
    }
    *ret = list;
    *ret_len = len;
    return 0;
}

char *db_text(sqlite3_stmt *st, int column)
{
    return xstrdup((const char *)sqlite3_column_text(st, column));
}
