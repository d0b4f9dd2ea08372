/* SQLite in the words that the other files of this room need. Statements are short-lived and prepared where they are
 * used. */
#ifndef ATP_STATE_DB_H
#define ATP_STATE_DB_H

#include "backends/state/state.h"

#include <sqlite3.h>
#include <sys/types.h>

struct state {
    sqlite3 *db;
    char *path;
    char *scope;
    bool is_new;
    dev_t dev; /* the file that was opened */
    ino_t ino;
};

/*
 * Prepares sql and binds args by types: 's' = const char * (NULL allowed), 'i' = int64_t. NULL on error.
 * The caller steps and finalises (db_done).
 */
sqlite3_stmt *db_prepare(struct state *s, struct err *err, const char *sql, const char *types, ...);

/* One row: 1, end: 0, error: -1. */
int db_step(struct state *s, sqlite3_stmt *st, struct err *err);
void db_done(sqlite3_stmt *st); /* NULL is fine */

/* Prepares, runs to the end, finalises. 0, or -1 with err. */
int db_run(struct state *s, struct err *err, const char *sql, const char *types, ...);

/*
 * Rows into values: read fills one of `size` bytes from the statement's row, clear releases it.
 *     db_one    1 = *ret is the first row, 0 = none, -1 = err; *ret_more (may be NULL): there is a second one
 *     db_list   all rows; *ret is an array of *ret_len values, owned by caller
 * Both take a statement that is NULL because it could not be prepared, and fail then.
 */
typedef void db_read_fn(sqlite3_stmt *st, void *ret);
typedef void db_clear_fn(void *value);
int db_one(struct state *s, sqlite3_stmt *st, db_read_fn *read, void *ret, bool *ret_more, struct err *err);
int db_list(struct state *s, sqlite3_stmt *st, size_t size, db_read_fn *read, db_clear_fn *clear, void **ret,
            size_t *ret_len, struct err *err);

char *db_text(sqlite3_stmt *st, int column);   /* owned by caller; NULL for NULL */
int db_fail(struct state *s, struct err *err); /* turns SQLite's last error into err; -1 */

static inline void db_done_handler(sqlite3_stmt **st)
{
    db_done(*st);
}
#define cleanup_stmt __attribute__((cleanup(db_done_handler)))

#endif
