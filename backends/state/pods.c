/* Pods: sandboxes that hold several containers. */
#include "backends/state/db.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS "id, server, app, sandbox_id, token, networks, created_ns, modal"

void state_pod_clear(struct state_pod *p)
{
    free(p->id);
    free(p->server);
    free(p->app);
    free(p->sandbox_id);
    free(p->token);
    free(p->networks);
    free(p->modal);
    memset(p, 0, sizeof(*p));
}

/* Reads a row of COLUMNS. */
static void read_pod(sqlite3_stmt *st, void *ret)
{
    *(struct state_pod *)ret = (struct state_pod){
        .id = db_text(st, 0),
        .server = db_text(st, 1),
        .app = db_text(st, 2),
        .sandbox_id = db_text(st, 3),
        .token = db_text(st, 4),
        .networks = db_text(st, 5),
        .created_ns = sqlite3_column_int64(st, 6),
        .modal = db_text(st, 7),
    };
}

static void clear_pod(void *p)
{
    state_pod_clear(p);
}

int state_pod_put(struct state *s, const struct state_pod *p, struct err *err)
{
    return db_run(s, err, "INSERT OR REPLACE INTO pods (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?)", "ssssssis",
                  p->id, p->server, p->app, p->sandbox_id, p->token, p->networks, p->created_ns, p->modal);
}

int state_pod_remove(struct state *s, const char *id, struct err *err)
{
    if (db_run(s, err, "DELETE FROM pods WHERE id = ?", "s", id) < 0)
        return -1;
    return sqlite3_changes(s->db) > 0;
}

int state_pod_find(struct state *s, const char *id, struct state_pod *ret, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(s, err, "SELECT " COLUMNS " FROM pods WHERE id = ?", "s", id);

    return db_one(s, st, read_pod, ret, NULL, err);
}

int state_pod_list(struct state *s, const char *server, struct state_pod **ret, size_t *ret_len, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st =
        db_prepare(s, err, "SELECT " COLUMNS " FROM pods WHERE server = ? ORDER BY created_ns, id", "s", server);
    void *list = NULL;

    if (db_list(s, st, sizeof(**ret), read_pod, clear_pod, &list, ret_len, err) < 0)
        return -1;
    *ret = list;
    return 0;
}
