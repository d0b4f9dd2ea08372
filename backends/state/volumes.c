#include "backends/state/volumes.h"

#include "backends/state/db.h"

#include <stdlib.h>

#define COLUMNS "name, labels, options, created_ns, anonymous"

void state_volume_clear(struct state_volume *v)
{
    free(v->name);
    free(v->labels);
    free(v->options);
    *v = (struct state_volume){0};
}

static void read_volume(sqlite3_stmt *st, void *ret)
{
    *(struct state_volume *)ret = (struct state_volume){
        .name = db_text(st, 0),
        .labels = db_text(st, 1),
        .options = db_text(st, 2),
        .created_ns = sqlite3_column_int64(st, 3),
        .anonymous = sqlite3_column_int(st, 4),
    };
}

static void clear_volume(void *value)
{
    state_volume_clear(value);
}

/* A statement that says whether it touched a row. */
static int touched(struct state *s, sqlite3_stmt *st, struct err *err)
{
    int got = st ? db_step(s, st, err) : -1;

    if (got > 0 && db_step(s, st, err) < 0)
        return -1;
    return got;
}

int state_volume_add(struct state *s, const struct state_volume *v, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(
        s, err, "INSERT INTO volumes (" COLUMNS ") VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING name",
        "sssii", v->name, v->labels, v->options, v->created_ns, (int64_t)v->anonymous);

    return touched(s, st, err);
}

int state_volume_get(struct state *s, const char *name, struct state_volume *ret, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(s, err, "SELECT " COLUMNS " FROM volumes WHERE name = ?", "s", name);

    return db_one(s, st, read_volume, ret, NULL, err);
}

int state_volume_list(struct state *s, struct state_volume **ret, size_t *ret_len, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(s, err, "SELECT " COLUMNS " FROM volumes ORDER BY name", "");

    return db_list(s, st, sizeof(**ret), read_volume, clear_volume, (void **)ret, ret_len, err);
}

int state_volume_remove(struct state *s, const char *name, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(s, err, "DELETE FROM volumes WHERE name = ? RETURNING name", "s", name);

    return touched(s, st, err);
}

static void read_id(sqlite3_stmt *st, void *ret)
{
    *(char **)ret = db_text(st, 0);
}

int state_volume_id_get(struct state *s, const char *server, const char *name, char **ret, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st =
        db_prepare(s, err, "SELECT modal_id FROM server_volumes WHERE server = ? AND name = ?", "ss", server, name);

    return db_one(s, st, read_id, ret, NULL, err);
}

int state_volume_id_put(struct state *s, const char *server, const char *name, const char *id, struct err *err)
{
    return db_run(s, err,
                  "INSERT INTO server_volumes (server, name, modal_id) VALUES (?, ?, ?)"
                  " ON CONFLICT (server, name) DO UPDATE SET modal_id = excluded.modal_id",
                  "sss", server, name, id);
}

int state_volume_id_drop(struct state *s, const char *server, const char *name, struct err *err)
{
    return db_run(s, err, "DELETE FROM server_volumes WHERE server = ? AND name = ?", "ss", server, name);
}
