/* Intents: what was about to be asked of a server, written down before it was. */
#include "backends/state/db.h"

#include <stdlib.h>
#include <string.h>

void state_intent_clear(struct state_intent *in)
{
    free(in->container_id);
    free(in->server);
    free(in->app);
    free(in->sandbox_name);
    free(in->sandbox_id);
    memset(in, 0, sizeof(*in));
}

#define COLUMNS "sandbox_name, container_id, server, app, sandbox_id, pid, created, ending"

int state_intent_add(struct state *s, const struct state_intent *in, struct err *err)
{
    return db_run(s, err, "INSERT OR REPLACE INTO intents (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?)", "sssssiii",
                  in->sandbox_name, in->container_id, in->server, in->app, in->sandbox_id, in->pid, in->created,
                  (int64_t)in->ending);
}

int state_intent_made(struct state *s, const char *sandbox_name, const char *sandbox_id, struct err *err)
{
    return db_run(s, err, "UPDATE intents SET sandbox_id = ? WHERE sandbox_name = ?", "ss", sandbox_id, sandbox_name);
}

int state_intent_ending(struct state *s, const char *sandbox_id, struct err *err)
{
    return db_run(s, err, "UPDATE intents SET ending = 1 WHERE sandbox_id = ?", "s", sandbox_id);
}

int state_intent_drop(struct state *s, const char *name_or_id, struct err *err)
{
    return db_run(s, err, "DELETE FROM intents WHERE sandbox_name = ?1 OR sandbox_id = ?1", "s", name_or_id);
}

/* Reads a row of COLUMNS. */
static void read_intent(sqlite3_stmt *st, void *ret)
{
    *(struct state_intent *)ret = (struct state_intent){
        .sandbox_name = db_text(st, 0),
        .container_id = db_text(st, 1),
        .server = db_text(st, 2),
        .app = db_text(st, 3),
        .sandbox_id = db_text(st, 4),
        .pid = sqlite3_column_int64(st, 5),
        .created = sqlite3_column_int64(st, 6),
        .ending = sqlite3_column_int(st, 7) != 0,
    };
}

static void clear_intent(void *in)
{
    state_intent_clear(in);
}

int state_intent_list(struct state *s, const char *server, struct state_intent **ret, size_t *ret_len, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st =
        db_prepare(s, err, "SELECT " COLUMNS " FROM intents WHERE server = ? ORDER BY created", "s", server);
    void *list = NULL;

    if (db_list(s, st, sizeof(**ret), read_intent, clear_intent, &list, ret_len, err) < 0)
        return -1;
    *ret = list;
    return 0;
}
