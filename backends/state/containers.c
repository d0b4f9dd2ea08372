/* Containers and the intents that precede their sandboxes. */
#include "backends/state/db.h"
#include "compat/base/alloc.h"
#include "compat/base/cleanup.h"
#include "compat/base/err.h"

#include <string.h>

#define COLUMNS                                                                                                        \
    "id, name, image, image_id, command, labels, status, server, sandbox_id, auto_remove, exit_code, created_ns, "     \
    "started_ns,"                                                                                                      \
    " finished_ns"

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
    memset(c, 0, sizeof(*c));
}

/* Reads a row of COLUMNS. */
static void read_container(sqlite3_stmt *st, struct state_container *ret)
{
    *ret = (struct state_container){
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

int state_container_add(struct state *s, const struct state_container *c, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st = db_prepare(
        s, err, "INSERT INTO containers (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        "sssssssssiiiii", c->id, c->name, c->image, c->image_id, c->command, c->labels, c->status, c->server,
        c->sandbox_id, (int64_t)c->auto_remove, (int64_t)c->exit_code, c->created_ns, c->started_ns, c->finished_ns);

    if (!st)
        return -1;
    switch (sqlite3_step(st)) {
    case SQLITE_DONE:
        return 0;
    case SQLITE_CONSTRAINT:
        return name_conflict(s, c->name, err);
    default:
        return db_fail(s, err);
    }
}

int state_container_update(struct state *s, const struct state_container *c, struct err *err)
{
    return db_run(s, err,
                  "UPDATE containers SET status = ?, server = ?, sandbox_id = ?, exit_code = ?, started_ns = ?,"
                  " finished_ns = ?, image_id = ? WHERE id = ?",
                  "sssiiiss", c->status, c->server, c->sandbox_id, (int64_t)c->exit_code, c->started_ns, c->finished_ns,
                  c->image_id, c->id);
}

int state_container_remove(struct state *s, const char *id, struct err *err)
{
    return db_run(s, err, "DELETE FROM containers WHERE id = ?", "s", id);
}

/* The single container that st finds: 1, 0 or -1; *ret_more when there is a second one. */
static int read_one(struct state *s, sqlite3_stmt *st, struct state_container *ret, bool *ret_more, struct err *err)
{
    int got = st ? db_step(s, st, err) : -1;

    if (got > 0) {
        read_container(st, ret);
        *ret_more = db_step(s, st, err) > 0;
    }
    return got;
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
        int got = read_one(s, st, ret, &more, err);

        if (got > 0 && more) {
            state_container_clear(ret);
            return err_set(err, 1, "Multiple IDs found with provided prefix: %s", what);
        }
        if (got != 0)
            return got;
    }
    return 0;
}

int state_container_list(struct state *s, struct state_container **ret, size_t *ret_len, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st =
        db_prepare(s, err, "SELECT " COLUMNS " FROM containers ORDER BY created_ns DESC", "");
    struct state_container *list = NULL;
    size_t len = 0;
    int got;

    if (!st)
        return -1;
    while ((got = db_step(s, st, err)) > 0) {
        list = xreallocarray(list, len + 1, sizeof(*list));
        read_container(st, &list[len++]);
    }
    if (got < 0) {
        while (len > 0)
            state_container_clear(&list[--len]);
        free(list);
        return -1;
    }
    *ret = list;
    *ret_len = len;
    return 0;
}

void state_intent_clear(struct state_intent *in)
{
    free(in->container_id);
    free(in->server);
    free(in->app);
    free(in->sandbox_name);
    free(in->sandbox_id);
    memset(in, 0, sizeof(*in));
}

int state_intent_add(struct state *s, const struct state_intent *in, struct err *err)
{
    return db_run(s, err, "INSERT OR REPLACE INTO intents VALUES (?, ?, ?, ?, ?, ?, ?, ?)", "sssssiii",
                  in->container_id, in->server, in->app, in->sandbox_name, in->sandbox_id, in->pid, in->created,
                  (int64_t)in->ending);
}

int state_intent_update(struct state *s, const char *container_id, const char *sandbox_id, bool ending, struct err *err)
{
    return db_run(s, err, "UPDATE intents SET sandbox_id = ?, ending = ? WHERE container_id = ?", "sis", sandbox_id,
                  (int64_t)ending, container_id);
}

int state_intent_drop(struct state *s, const char *container_id, struct err *err)
{
    return db_run(s, err, "DELETE FROM intents WHERE container_id = ?", "s", container_id);
}

int state_intent_list(struct state *s, const char *server, struct state_intent **ret, size_t *ret_len, struct err *err)
{
    cleanup_stmt sqlite3_stmt *st =
        db_prepare(s, err,
                   "SELECT container_id, server, app, sandbox_name, sandbox_id, pid, created, ending"
                   " FROM intents WHERE server = ? ORDER BY created",
                   "s", server);
    struct state_intent *list = NULL;
    size_t len = 0;
    int got;

    if (!st)
        return -1;
    while ((got = db_step(s, st, err)) > 0) {
        list = xreallocarray(list, len + 1, sizeof(*list));
        list[len++] = (struct state_intent){
            .container_id = db_text(st, 0),
            .server = db_text(st, 1),
            .app = db_text(st, 2),
            .sandbox_name = db_text(st, 3),
            .sandbox_id = db_text(st, 4),
            .pid = sqlite3_column_int64(st, 5),
            .created = sqlite3_column_int64(st, 6),
            .ending = sqlite3_column_int(st, 7) != 0,
        };
    }
    if (got < 0) {
        while (len > 0)
            state_intent_clear(&list[--len]);
        free(list);
        return -1;
    }
    *ret = list;
    *ret_len = len;
    return 0;
}
