/* Networks of one's own. */
#include "backends/state/db.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS "id, name, driver, labels, options, internal, attachable, created_ns"

void state_network_clear(struct state_network *n)
{
    free(n->id);
    free(n->name);
    free(n->driver);
    free(n->labels);
    free(n->options);
    memset(n, 0, sizeof(*n));
}

/* Reads a row of COLUMNS. */
static void read_network(sqlite3_stmt *st, void *ret)
{
    *(struct state_network *)ret = (struct state_network){
        .id = db_text(st, 0),
        .name = db_text(st, 1),
        .driver = db_text(st, 2),
        .labels = db_text(st, 3),
        .options = db_text(st, 4),
        .internal = sqlite3_column_int(st, 5) != 0,
        .attachable = sqlite3_column_int(st, 6) != 0,
        .created_ns = sqlite3_column_int64(st, 7),
    };
}

static void clear_network(void *n)
{
    state_network_clear(n);
}

int state_network_add(struct state *s, const struct state_network *n, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(
        s, err, "INSERT INTO networks (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?)", "sssssiii", n->id, n->name,
        n->driver, n->labels, n->options, (int64_t)n->internal, (int64_t)n->attachable, n->created_ns);

    if (!st)
        return -1;
    switch (sqlite3_step(st)) {
    case SQLITE_DONE:
        return 0;
    case SQLITE_CONSTRAINT:
        return err_set(err, 1, "network with name %s already exists", n->name);
    default:
        return db_fail(s, err);
    }
}

int state_network_remove(struct state *s, const char *id, struct err *err)
{
    if (db_run(s, err, "DELETE FROM networks WHERE id = ?", "s", id) < 0)
        return -1;
    return sqlite3_changes(s->db) > 0;
}

int state_network_find(struct state *s, const char *what, struct state_network *ret, struct err *err)
{
    static const char *const queries[] = {
        "SELECT " COLUMNS " FROM networks WHERE id = ?",
        "SELECT " COLUMNS " FROM networks WHERE name = ?",
        "SELECT " COLUMNS " FROM networks WHERE id GLOB ? || '*' LIMIT 2",
    };
    bool is_prefix = *what && strspn(what, "0123456789abcdef") == strlen(what);

    for (size_t i = 0; i < (is_prefix ? 3u : 2u); i++) {
        cleanup_stmt sqlite3_stmt *st = db_prepare(s, err, queries[i], "s", what);
        bool more = false;
        int got = db_one(s, st, read_network, ret, &more, err);

        if (got > 0 && more) {
            state_network_clear(ret);
            return err_set(err, 1, "network %s is ambiguous (2 matches found based on ID prefix)", what);
        }
        if (got != 0)
            return got;
    }
    return 0;
}

int state_network_list(struct state *s, struct state_network **ret, size_t *ret_len, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(s, err, "SELECT " COLUMNS " FROM networks ORDER BY name", "");
    void *list = NULL;

    if (db_list(s, st, sizeof(**ret), read_network, clear_network, &list, ret_len, err) < 0)
        return -1;
    *ret = list;
    return 0;
}
