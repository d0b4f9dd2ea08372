/* Events. */
#include "backends/state/events.h"

#include "backends/state/db.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define PRUNE_EVERY 64 /* so many may be there above the limit: who writes seldom pays for pruning */

void state_event_clear(struct state_event *e)
{
    free(e->type);
    free(e->action);
    free(e->actor);
    free(e->attributes);
    memset(e, 0, sizeof(*e));
}

/* The oldest go. */
static int prune(struct state *s, int64_t newest, struct err *err)
{
    if (newest % PRUNE_EVERY)
        return 0;
    return db_run(s, err, "DELETE FROM events WHERE seq <= ?", "i", newest - STATE_EVENTS_MAX);
}

int state_event_add(struct state *s, const struct state_event *e, const char *once, struct err *err)
{
    if (db_run(
            s, err,
            "INSERT OR IGNORE INTO events (time_ns, type, action, actor, attributes, once) VALUES (?, ?, ?, ?, ?, ?)",
            "isssss", e->time_ns, e->type, e->action, e->actor, e->attributes, once) < 0)
        return -1;
    if (sqlite3_changes(s->db) == 0)
        return 0;
    return prune(s, sqlite3_last_insert_rowid(s->db), err) < 0 ? -1 : 1;
}

int state_event_has(struct state *s, const char *once, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(s, err, "SELECT 1 FROM events WHERE once = ?", "s", once);

    return st ? db_step(s, st, err) : -1;
}

static void read_event(sqlite3_stmt *st, void *ret)
{
    *(struct state_event *)ret = (struct state_event){
        .seq = sqlite3_column_int64(st, 0),
        .time_ns = sqlite3_column_int64(st, 1),
        .type = db_text(st, 2),
        .action = db_text(st, 3),
        .actor = db_text(st, 4),
        .attributes = db_text(st, 5),
    };
}

static void clear_event(void *e)
{
    state_event_clear(e);
}

int state_event_list(struct state *s, int64_t after, int64_t since_ns, size_t max, struct state_event **ret,
                     size_t *ret_len, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st =
        db_prepare(s, err,
                   "SELECT seq, time_ns, type, action, actor, attributes FROM events WHERE seq > ? AND time_ns >= ?"
                   " ORDER BY seq LIMIT ?",
                   "iii", after, since_ns, (int64_t)max);
    void *list = NULL;

    if (db_list(s, st, sizeof(**ret), read_event, clear_event, &list, ret_len, err) < 0)
        return -1;
    *ret = list;
    return 0;
}

/* One number out of a statement. */
static int one_number(struct state *s, const char *sql, int64_t *ret, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(s, err, sql, "");
    int got = st ? db_step(s, st, err) : -1;

    if (got > 0)
        *ret = sqlite3_column_int64(st, 0);
    return got < 0 ? -1 : 0;
}

int state_event_last(struct state *s, int64_t *ret_seq, struct err *err)
{
    return one_number(s, "SELECT coalesce(max(seq), 0) FROM events", ret_seq, err);
}

int state_changes(struct state *s, int64_t *ret, struct err *err)
{
    return one_number(s, "PRAGMA data_version", ret, err);
}
