/* SQLite in the words that the other files of this room need. Statements are short-lived and prepared where they are
 * used. */
#ifndef ATP_STATE_DB_H
#define ATP_STATE_DB_H

#include "backends/state/state.h"

#include <sqlite3.h>

struct state {
    sqlite3 *db;
    char *path;
    char *scope;
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

char *db_text(sqlite3_stmt *st, int column);   /* owned by caller; NULL for NULL */
int db_fail(struct state *s, struct err *err); /* turns SQLite's last error into err; -1 */

static inline void db_done_handler(sqlite3_stmt **st)
{
    db_done(*st);
}
#define cleanup_stmt __attribute__((cleanup(db_done_handler)))

#endif
