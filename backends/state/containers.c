/* Containers. */
#include "backends/state/db.h"
#include "compat/base/err.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS                                                                                                        \
    "id, name, image, image_id, command, labels, status, server, sandbox_id, auto_remove, exit_code, created_ns, "     \
    "started_ns, finished_ns, record, error, files, stopped_by_user, restarts, recovered, pod, networks, ports, "      \
    "health"

void state_container_clear(struct state_container *c)
{
    free(c->id);
    free(c->name);
    free(c->image);
    free(c->image_id);
    free(c->command);
    free(c->labels);
    free(c->status);
    free(c->server);
    free(c->sandbox_id);
    free(c->record);
    free(c->error);
    free(c->files);
    free(c->pod);
    free(c->networks);
    free(c->ports);
    free(c->health);
    memset(c, 0, sizeof(*c));
}

/* Reads a row of COLUMNS. */
static void read_container(sqlite3_stmt *st, void *ret)
{
    *(struct state_container *)ret = (struct state_container){
        .id = db_text(st, 0),
        .name = db_text(st, 1),
        .image = db_text(st, 2),
        .image_id = db_text(st, 3),
        .command = db_text(st, 4),
        .labels = db_text(st, 5),
        .status = db_text(st, 6),
        .server = db_text(st, 7),
        .sandbox_id = db_text(st, 8),
        .auto_remove = sqlite3_column_int(st, 9) != 0,
        .exit_code = sqlite3_column_int(st, 10),
        .created_ns = sqlite3_column_int64(st, 11),
        .started_ns = sqlite3_column_int64(st, 12),
        .finished_ns = sqlite3_column_int64(st, 13),
        .record = db_text(st, 14),
        .error = db_text(st, 15),
        .files = db_text(st, 16),
        .stopped_by_user = sqlite3_column_int(st, 17) != 0,
        .restarts = sqlite3_column_int(st, 18),
        .recovered = sqlite3_column_int(st, 19) != 0,
        .pod = db_text(st, 20),
        .networks = db_text(st, 21),
        .ports = db_text(st, 22),
        .health = db_text(st, 23),
    };
}

/* Docker's text for a name that somebody has. */
static int name_conflict(struct state *s, const char *name, struct err *err)
{
    struct state_container holder = {0};
    int got = state_container_find(s, name, &holder, err);

    if (got < 0)
        return -1;
    err_set(err, 125,
            "Conflict. The container name \"/%s\" is already in use by container \"%s\". You have to remove (or "
            "rename) that container to be able to reuse that name.",
            name, got > 0 ? holder.id : "unknown");
    state_container_clear(&holder);
    return -1;
}

/* Runs an insert or update: the number of rows it changed, -1 = err. A second holder of a name is the only constraint.
 */
static int write_row(struct state *s, sqlite3_stmt *st, const char *name, struct err *err)
{
    if (!st)
        return -1;
    switch (sqlite3_step(st)) {
    case SQLITE_DONE:
        return sqlite3_changes(s->db);
    case SQLITE_CONSTRAINT:
        return name_conflict(s, name, err);
    default:
        return db_fail(s, err);
    }
}

int state_container_add(struct state *s, const struct state_container *c, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(
        s, err,
        "INSERT INTO containers (" COLUMNS
        ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        "sssssssssiiiiisssiiissss", c->id, c->name, c->image, c->image_id, c->command, c->labels, c->status, c->server,
        c->sandbox_id, (int64_t)c->auto_remove, (int64_t)c->exit_code, c->created_ns, c->started_ns, c->finished_ns,
        c->record, c->error ? c->error : "", c->files, (int64_t)c->stopped_by_user, (int64_t)c->restarts,
        (int64_t)c->recovered, c->pod, c->networks, c->ports, c->health);

    return write_row(s, st, c->name, err) < 0 ? -1 : 0;
}

int state_container_update(struct state *s, const struct state_container *c, unsigned parts, struct err *err)
{
    /* one statement whatever the parts: a column keeps its value where its part was not asked for */
    cleanup_stmt sqlite3_stmt *st =
        db_prepare(s, err,
                   "UPDATE containers SET"
                   " status = iif(?1 & 1, ?2, status), error = iif(?1 & 1, ?3, error),"
                   " exit_code = iif(?1 & 1, ?4, exit_code), started_ns = iif(?1 & 1, ?5, started_ns),"
                   " finished_ns = iif(?1 & 1, ?6, finished_ns),"
                   " server = iif(?1 & 2, ?7, server), sandbox_id = iif(?1 & 2, ?8, sandbox_id),"
                   " files = iif(?1 & 4, ?9, files), stopped_by_user = iif(?1 & 8, ?10, stopped_by_user),"
                   " restarts = iif(?1 & 16, ?11, restarts),"
                   " name = iif(?1 & 32, ?12, name), record = iif(?1 & 32, ?13, record),"
                   " pod = iif(?1 & 64, ?14, pod), networks = iif(?1 & 128, ?15, networks),"
                   " ports = iif(?1 & 256, ?16, ports), health = iif(?1 & 512, ?17, health) WHERE id = ?18",
                   "issiiisssiisssssss", (int64_t)parts, c->status, c->error ? c->error : "", (int64_t)c->exit_code,
                   c->started_ns, c->finished_ns, c->server, c->sandbox_id, c->files, (int64_t)c->stopped_by_user,
                   (int64_t)c->restarts, c->name, c->record, c->pod, c->networks, c->ports, c->health, c->id);

    return write_row(s, st, c->name, err);
}

int state_container_remove(struct state *s, const char *id, struct err *err)
{
    if (db_run(s, err, "DELETE FROM containers WHERE id = ?", "s", id) < 0)
        return -1;
    return sqlite3_changes(s->db) > 0;
}

int state_container_find(struct state *s, const char *what, struct state_container *ret, struct err *err)
{
    static const char *const queries[] = {
        "SELECT " COLUMNS " FROM containers WHERE id = ?",
        "SELECT " COLUMNS " FROM containers WHERE name = ?",
        "SELECT " COLUMNS " FROM containers WHERE id GLOB ? || '*' LIMIT 2",
    };
    const char *name = what[0] == '/' ? what + 1 : what;
    bool is_prefix = *what && strspn(what, "0123456789abcdef") == strlen(what);

    for (size_t i = 0; i < (is_prefix ? 3u : 2u); i++) {
        cleanup_stmt sqlite3_stmt *st = db_prepare(s, err, queries[i], "s", i == 1 ? name : what);
        bool more = false;
        int got = db_one(s, st, read_container, ret, &more, err);

        if (got > 0 && more) {
            state_container_clear(ret);
            return err_set(err, 1, "Multiple IDs found with provided prefix: %s", what);
        }
        if (got != 0)
            return got;
    }
    return 0;
}

static void clear_container(void *c)
{
    state_container_clear(c);
}

int state_container_list(struct state *s, struct state_container **ret, size_t *ret_len, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st =
        db_prepare(s, err, "SELECT " COLUMNS " FROM containers ORDER BY created_ns DESC, id", "");
    void *list = NULL;

    if (db_list(s, st, sizeof(**ret), read_container, clear_container, &list, ret_len, err) < 0)
        return -1;
    *ret = list;
    return 0;
}
